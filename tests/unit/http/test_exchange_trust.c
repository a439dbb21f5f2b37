/* SPDX-License-Identifier: Apache-2.0 */
/* Whom an exchange trusts, and the ways through proxies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/secret.h"
#include "rig.h"

/* ---- trust ---- */

static void chain_and_name_are_checked(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig, "good.pem", trusting());
    assert_gets(rig.endpoint, "/bytes/10", 10);
    rig_stop(&rig);
    static const struct {
        const char *cert;
        bool has_ca;
        const char *part;
    } BAD[] = {
        {"wrong_name.pem", true, "not trusted"},
        {"expired.pem", true, "expired"},
        {"good.pem", false, "unable to get local issuer"},
        {"self.pem", true, "self"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++) {
        struct http_endpoint_options none = {0};
        atomic_store(&answered, 0);
        rig_start(&rig, BAD[i].cert, BAD[i].has_ca ? trusting() : none);
        assert_fails(rig.endpoint, REQUEST(), FAIL_AUTH, BAD[i].part);
        assert_fails(rig.endpoint, REQUEST(), FAIL_AUTH, "fingerprint is ");
        assert_int_equal(atomic_load(&answered), 0); /* it was told nothing */
        rig_stop(&rig);
    }
}

static void the_pin_alone_decides(void **state)
{
    static const char *const CERTS[] = {"good.pem", "wrong_name.pem", "expired.pem",
                                        "self.pem"};
    struct err err = ERR_INIT;
    struct rig rig;
    uint8_t pin[HTTP_PIN_BYTES], other[HTTP_PIN_BYTES];
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(CERTS); i++) {
        char text[HTTP_PIN_TEXT_BYTES];
        atomic_store(&answered, 0);
        rig_start(&rig, CERTS[i], (struct http_endpoint_options){0});
        if (!http_endpoint_fingerprint(rig.endpoint, pin, &err))
            fail_msg("%s", err.text);
        assert_int_equal(atomic_load(&answered), 0);
        http_endpoint_close(rig.endpoint);

        struct http_endpoint_options way = {.url = rig.url, .pin = pin};
        rig.endpoint = http_endpoint_open(&way, &err);
        assert_gets(rig.endpoint, "/bytes/10", 10);
        assert_gets(rig.endpoint, "/bytes/11?close-after", 11);
        assert_gets(rig.endpoint, "/bytes/12", 12); /* a second handshake */
        http_endpoint_close(rig.endpoint);

        memcpy(other, pin, sizeof pin);
        other[31] ^= 1;
        way.pin = other;
        way.ca_file = file_in_dir("ca.pem"); /* does not help */
        rig.endpoint = http_endpoint_open(&way, &err);
        atomic_store(&answered, 0);
        assert_fails(rig.endpoint, REQUEST(), FAIL_AUTH, "not the pinned one");
        assert_fails(rig.endpoint, REQUEST(), FAIL_AUTH, http_pin_text(pin, text));
        assert_int_equal(atomic_load(&answered), 0);
        rig_stop(&rig);
    }
}

static void old_tls_and_no_tls_are_refused(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    struct http_server_options options = {
        .handler = answer, .cert_file = file_in_dir("good.pem"), .only_tls11 = true};
    struct http_server *server = http_server_start(&options);
    char url[64];
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%u", http_server_port(server));
    struct http_endpoint_options way = trusting();
    way.url = url;
    AUTO(http_endpoint_close)
    struct http_endpoint *endpoint = http_endpoint_open(&way, &err);
    assert_fails(endpoint, REQUEST(), FAIL_AUTH, "TLS 1.2");
    http_server_stop(server);

    struct rig rig;
    rig_start(&rig, NULL, (struct http_endpoint_options){0});
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%u", http_server_port(rig.server));
    AUTO(http_endpoint_close)
    struct http_endpoint *plain = http_endpoint_open(&way, &err);
    assert_fails(plain, REQUEST(), FAIL_INPUT, "does not speak TLS");
    rig_stop(&rig);
}

static void client_certificates(void **state)
{
    struct err err = ERR_INIT;
    char url[64];
    (void)state;
    struct http_server_options options = {.handler = answer,
                                          .cert_file = file_in_dir("good.pem"),
                                          .client_ca = file_in_dir("ca.pem")};
    struct http_server *server = http_server_start(&options);
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%u", http_server_port(server));
    struct http_endpoint_options way = trusting();
    way.url = url;
    way.client_cert_file = file_in_dir("client.pem");
    AUTO(http_endpoint_close)
    struct http_endpoint *with = http_endpoint_open(&way, &err);
    assert_gets(with, "/bytes/10", 10);
    way.client_cert_file = NULL;
    AUTO(http_endpoint_close)
    struct http_endpoint *without = http_endpoint_open(&way, &err);
    struct http_answer got = {0};
    struct http_request request = REQUEST(.method = "GET");
    assert_false(http_exchange(without, &request, &got, &err));
    way.client_cert_file = file_in_dir("nothing.pem");
    AUTO(http_endpoint_close)
    struct http_endpoint *missing = http_endpoint_open(&way, &err);
    assert_fails(missing, REQUEST(), FAIL_INPUT, "client certificate");
    way =
        (struct http_endpoint_options){.url = url, .ca_file = file_in_dir("nothing.pem")};
    AUTO(http_endpoint_close)
    struct http_endpoint *no_ca = http_endpoint_open(&way, &err);
    assert_fails(no_ca, REQUEST(), FAIL_INPUT, "nothing.pem");
    http_server_stop(server);
}

/* ---- proxies ---- */

static void start_proxy(struct http_server **proxy, char url[64], const char *user,
                        struct http_server_options options)
{
    *proxy = http_server_start(&options);
    (void)snprintf(url, 64, "http://%s127.0.0.1:%u", user, http_server_port(*proxy));
}

static void proxies_are_asked_to_connect(void **state)
{
    static const char *const CERTS[] = {NULL, "good.pem"};
    struct http_server *proxy;
    struct rig rig;
    char url[64];
    (void)state;
    start_proxy(&proxy, url, "", (struct http_server_options){0});
    for (size_t i = 0; i < 2; i++) {
        struct http_endpoint_options way = trusting();
        struct err err = ERR_INIT;
        AUTO(http_answer_release) struct http_answer got = {0};
        char unexpected[8];
        way.proxy_url = url;
        rig_start(&rig, CERTS[i], way);
        unsigned before = http_server_connections(proxy);
        assert_gets(rig.endpoint, "/bytes/10", 10);
        assert_gets(rig.endpoint, "/bytes/100000", 100000);
        assert_int_equal(http_server_connections(proxy), before + 1);
        struct http_request request = REQUEST(.method = "GET");
        assert_true(http_exchange(rig.endpoint, &request, &got, &err));
        /* The proxy's own headers are not the answer's. */
        assert_false(http_answer_header(&got, "X-Proxy", unexpected, sizeof unexpected));
        rig_stop(&rig);
    }
    http_server_stop(proxy);
}

static void proxy_credentials(void **state)
{
    struct http_server *proxy;
    struct rig rig;
    char url[64], anonymous_url[64];
    AUTO(secret_free) struct secret *password = secret_new("pass word:1", 11);
    AUTO(secret_free) struct secret *wrong = secret_new("guess", 5);
    (void)state;
    start_proxy(&proxy, url, "us%40er@", /* base64 of "us@er:pass word:1" */
                (struct http_server_options){.proxy_basic = "dXNAZXI6cGFzcyB3b3JkOjE="});
    (void)snprintf(anonymous_url, sizeof anonymous_url, "http://127.0.0.1:%u",
                   http_server_port(proxy));
    struct http_endpoint_options way = trusting();
    way.proxy_url = url;
    way.proxy_password = password;
    rig_start(&rig, "good.pem", way);
    assert_gets(rig.endpoint, "/bytes/10", 10);
    rig_stop(&rig);
    way.proxy_password = wrong;
    rig_start(&rig, "good.pem", way);
    assert_fails(rig.endpoint, REQUEST(), FAIL_AUTH, "other credentials");
    assert_fails(rig.endpoint, REQUEST(), FAIL_AUTH, "check its user");
    rig_stop(&rig);
    way.proxy_url = anonymous_url;
    way.proxy_password = NULL;
    rig_start(&rig, "good.pem", way);
    assert_fails(rig.endpoint, REQUEST(), FAIL_AUTH, "wants credentials");
    rig_stop(&rig);
    http_server_stop(proxy);
}

static void proxies_that_refuse(void **state)
{
    static const struct {
        unsigned status;
        enum err_kind kind;
    } CASES[] = {{403, FAIL_AUTH}, {502, FAIL_TRANSIENT}, {503, FAIL_TRANSIENT}};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        struct http_server *proxy;
        struct rig rig;
        char url[64];
        start_proxy(&proxy, url, "",
                    (struct http_server_options){.proxy_status = CASES[i].status});
        struct http_endpoint_options way = trusting();
        way.proxy_url = url;
        rig_start(&rig, "good.pem", way);
        assert_fails(rig.endpoint, REQUEST(), CASES[i].kind, "does not connect to");
        http_server_stop(proxy);
        assert_fails(rig.endpoint, REQUEST(), FAIL_TRANSIENT, "nobody answers");
        rig_stop(&rig);
    }
}

static void the_environments_proxies_are_not_used(void **state)
{
    struct rig rig;
    (void)state;
    assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
    assert_int_equal(setenv("all_proxy", "http://127.0.0.1:1", 1), 0);
    rig_start(&rig, NULL, (struct http_endpoint_options){0});
    assert_gets(rig.endpoint, "/bytes/10", 10);
    rig_stop(&rig);
    (void)unsetenv("http_proxy");
    (void)unsetenv("all_proxy");
    /* Nor does its list of exceptions count against a proxy that was named. */
    struct http_server *proxy;
    char url[64];
    assert_int_equal(setenv("no_proxy", "*", 1), 0);
    start_proxy(&proxy, url, "", (struct http_server_options){0});
    rig_start(&rig, NULL, (struct http_endpoint_options){.proxy_url = url});
    assert_gets(rig.endpoint, "/bytes/10", 10);
    assert_int_equal(http_server_connections(proxy), 1);
    rig_stop(&rig);
    http_server_stop(proxy);
    (void)unsetenv("no_proxy");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chain_and_name_are_checked),
        cmocka_unit_test(the_pin_alone_decides),
        cmocka_unit_test(old_tls_and_no_tls_are_refused),
        cmocka_unit_test(client_certificates),
        cmocka_unit_test(proxies_are_asked_to_connect),
        cmocka_unit_test(proxy_credentials),
        cmocka_unit_test(proxies_that_refuse),
        cmocka_unit_test(the_environments_proxies_are_not_used),
    };
    return cmocka_run_group_tests_name("exchange_trust", tests, rig_make_dir,
                                       rig_remove_dir);
}
