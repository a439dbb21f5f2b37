/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chain of steps against servers of this process: which step fails, and that nothing
 * is tried after it. Proxies, names and accounts are in tests/net.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "azure/request.h"
#include "base/clock.h"
#include "base/file.h"
#include "doctor/list.h"
#include "support/http_server.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <sys/socket.h>

static char dir[] = "/tmp/kedge-doctor-XXXXXX";
static char ca_file[64], credential_file[64];
static atomic_uint asked; /* requests that reached a server */
static atomic_int date_offset_s;

static void answer(void *ctx, const struct served_request *request,
                   struct served_reply *reply)
{
    char date[AZURE_DATE_BYTES];
    (void)ctx, (void)request;
    atomic_fetch_add(&asked, 1);
    uint64_t now_s = clock_wall_ms() / 1000;
    buf_printf(&reply->headers, "Date: %s\r\n",
               azure_date_text(now_s + (uint64_t)atomic_load(&date_offset_s), date));
    reply->status = 400;
}

struct served {
    struct http_server *server;
    char url[64];
};

static struct served serve(const char *cert, bool only_tls11)
{
    char path[80];
    (void)snprintf(path, sizeof path, "%s/%s", dir, cert ? cert : "");
    struct http_server_options options = {
        .handler = answer, .cert_file = cert ? path : NULL, .only_tls11 = only_tls11};
    struct served served = {.server = http_server_start(&options)};
    (void)snprintf(served.url, sizeof served.url, "https://127.0.0.1:%u",
                   http_server_port(served.server));
    return served;
}

static struct doctor_report look_at(const struct doctor_list *list,
                                    const struct cancel *cancel)
{
    struct doctor_report report;
    struct doctor_options options = {
        .targets = list->items, .count = list->count, .cancel = cancel};
    doctor_run(&options, &report);
    assert_int_equal(report.count, list->count);
    return report;
}

static const struct doctor_step *step_of(const struct doctor_result *result,
                                         const char *name)
{
    for (size_t i = 0; i < result->step_count; i++)
        if (strcmp(result->steps[i].name, name) == 0)
            return &result->steps[i];
    fail_msg("there is no step '%s'", name);
    return NULL;
}

/* All before it are well, it failed with those words and a remedy, none after it was
 * tried. */
static void assert_first_failure(const struct doctor_result *result, const char *name,
                                 const char *part)
{
    const struct doctor_step *failed = step_of(result, name);
    if (failed->verdict != DOCTOR_FAILED || !strstr(failed->cause, part))
        fail_msg("'%s' is %s: %s", name, doctor_verdict_name(failed->verdict),
                 failed->cause);
    assert_true(failed->remedy[0] != 0);
    assert_ptr_equal(failed, doctor_first_failure(result));
    for (const struct doctor_step *s = result->steps;
         s < result->steps + result->step_count; s++)
        if (s != failed)
            assert_int_equal(s->verdict, s < failed ? DOCTOR_OK : DOCTOR_SKIPPED);
}

static void assert_one(const char *url, const char *ca, const char *step,
                       const char *part)
{
    AUTO(doctor_list_release) struct doctor_list list = {0};
    doctor_list_add_https(&list, ROLE_VCENTER, "source 'x'", url, ca, NULL);
    AUTO(doctor_report_release) struct doctor_report report = look_at(&list, NULL);
    if (step) {
        assert_first_failure(&report.results[0], step, part);
        assert_int_equal(doctor_worst(&report), DOCTOR_FAILED);
    } else if (doctor_worst(&report) != DOCTOR_OK) {
        fail_msg("%s", doctor_first_failure(&report.results[0])->cause);
    }
}

static void a_good_server_is_well(void **state)
{
    struct served served = serve("good.pem", false);
    (void)state;
    assert_one(served.url, ca_file, NULL, NULL);
    http_server_stop(served.server);
}

static void each_certificate_has_its_own_words(void **state)
{
    static const struct {
        const char *cert;
        bool has_ca;
        const char *part;
    } BAD[] = {{"wrong_name.pem", true, "certificate is for other.test, not for"},
               {"expired.pem", true, "has expired on"},
               {"good.pem", false, "is not trusted"},
               {"self.pem", true, "is not trusted: self"}};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++) {
        struct served served = serve(BAD[i].cert, false);
        unsigned before = atomic_load(&asked);
        assert_one(served.url, BAD[i].has_ca ? ca_file : NULL, "tls", BAD[i].part);
        assert_int_equal(atomic_load(&asked), before); /* it was told nothing */
        http_server_stop(served.server);
    }
}

static void a_pin_takes_the_place_of_chain_name_and_age(void **state)
{
    struct served served = serve("expired.pem", false);
    struct err err = ERR_INIT;
    uint8_t pin[HTTP_PIN_BYTES];
    struct http_endpoint_options way = {.url = served.url};
    (void)state;
    AUTO(http_endpoint_close)
    struct http_endpoint *endpoint = http_endpoint_open(&way, &err);
    assert_true(http_endpoint_fingerprint(endpoint, pin, &err));
    for (int wrong = 0; wrong < 2; wrong++) {
        AUTO(doctor_list_release) struct doctor_list list = {0};
        pin[0] = (uint8_t)(pin[0] + wrong);
        doctor_list_add_https(&list, ROLE_VCENTER, "source 'x'", served.url, NULL, pin);
        AUTO(doctor_report_release) struct doctor_report report = look_at(&list, NULL);
        if (wrong)
            assert_first_failure(&report.results[0], "tls", "not the pinned one");
        else
            assert_int_equal(doctor_worst(&report), DOCTOR_OK);
    }
    http_server_stop(served.server);
}

static void old_tls_is_named(void **state)
{
    struct served served = serve("good.pem", true);
    (void)state;
    assert_one(served.url, ca_file, "tls", "speaks TLSv1.1 at most");
    http_server_stop(served.server);
}

static void no_tls_and_nobody_are_told_apart(void **state)
{
    struct served served = serve(NULL, false);
    char closed[64];
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    (void)state;
    assert_one(served.url, ca_file, "tls", "does not speak TLS");
    http_server_stop(served.server);
    /* A port that is taken and not listened on refuses. */
    AUTO(close_fd) int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &bytes), 0);
    (void)snprintf(closed, sizeof closed, "https://127.0.0.1:%u",
                   ntohs(address.sin_port));
    assert_one(closed, ca_file, "connect", "127.0.0.1");
}

/* Of an ESXi host's NFC service no more is asked than that it takes connections. */
static void a_port_is_connected_to_and_no_more(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    (void)state;
    AUTO(close_fd) int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &bytes), 0);
    for (int listens = 0; listens < 2; listens++) {
        AUTO(doctor_list_release) struct doctor_list list = {0};
        doctor_list_add_port(&list, ROLE_ESXI, "disk data (NFC)", "127.0.0.1",
                             ntohs(address.sin_port));
        if (listens)
            assert_int_equal(listen(fd, 1), 0);
        AUTO(doctor_report_release) struct doctor_report report = look_at(&list, NULL);
        const struct doctor_result *result = &report.results[0];
        if (!listens)
            assert_first_failure(result, "connect", "127.0.0.1");
        else if (doctor_worst(&report) != DOCTOR_OK)
            fail_msg("%s", doctor_first_failure(result)->cause);
        assert_string_equal(result->steps[result->step_count - 1].name, "connect");
    }
}

static void a_clock_that_is_off_is_a_warning_then_a_failure(void **state)
{
    struct served served = serve("good.pem", false);
    (void)state;
    atomic_store(&date_offset_s, 1200);
    assert_one(served.url, ca_file, "clock", "s behind that of '127.0.0.1'");
    atomic_store(&date_offset_s, -1200);
    assert_one(served.url, ca_file, "clock", "s ahead of that of '127.0.0.1'");
    atomic_store(&date_offset_s, 150);
    AUTO(doctor_list_release) struct doctor_list list = {0};
    doctor_list_add_https(&list, ROLE_VCENTER, "source 'x'", served.url, ca_file, NULL);
    AUTO(doctor_report_release) struct doctor_report report = look_at(&list, NULL);
    assert_int_equal(step_of(&report.results[0], "clock")->verdict, DOCTOR_WARNING);
    atomic_store(&date_offset_s, 0);
    http_server_stop(served.server);
}

static void a_canceled_look_ends_with_skipped_steps(void **state)
{
    struct served served = serve("good.pem", false);
    struct cancel cancel;
    (void)state;
    cancel_init(&cancel);
    cancel_set(&cancel);
    AUTO(doctor_list_release) struct doctor_list list = {0};
    doctor_list_add_https(&list, ROLE_VCENTER, "source 'x'", served.url, ca_file, NULL);
    AUTO(doctor_report_release) struct doctor_report report = look_at(&list, &cancel);
    assert_int_equal(doctor_worst(&report), DOCTOR_SKIPPED);
    assert_int_equal(http_server_connections(served.server), 0);
    cancel_release(&cancel);
    http_server_stop(served.server);
}

static void a_credential_file_that_is_wrong_is_the_first_step(void **state)
{
    AUTO(doctor_list_release) struct doctor_list list = {0};
    (void)state;
    doctor_list_add_store(&list, ROLE_LOG_STORE, "log_store",
                          "blob:https://lsa.blob.core.windows.net/logs",
                          "/nonexistent/credential");
    AUTO(doctor_report_release) struct doctor_report report = look_at(&list, NULL);
    assert_first_failure(&report.results[0], "settings", "/nonexistent/credential");
}

static void the_list_has_each_endpoint_once(void **state)
{
    AUTO(doctor_list_release) struct doctor_list list = {0};
    (void)state;
    doctor_list_add_store(&list, ROLE_LOG_STORE, "log_store", "dir:/var/log", "");
    assert_int_equal(list.count, 0); /* not on the network */
    for (int i = 0; i < 2; i++) {
        doctor_list_add_store(&list, ROLE_LOG_STORE, "log_store",
                              "blob:https://lsa.blob.core.windows.net/logs",
                              credential_file);
        doctor_list_add_store(&list, ROLE_STATE_STORE, "state_store",
                              "blob:https://gwsa.blob.core.windows.net/states",
                              credential_file);
        doctor_list_add_arm(&list,
                            &(struct doctor_arm){.label = "target 'a'",
                                                 .credential_file = credential_file,
                                                 .subscription = "s",
                                                 .resource_group = "g"});
    }
    assert_int_equal(list.count, 4); /* with the issuer of their tokens, once */
    assert_int_equal(list.items[1].role, ROLE_ENTRA);
    assert_string_equal(list.items[1].url, "https://login.example.test");
    assert_string_equal(list.items[0].subscription, "s");
    assert_int_equal(list.items[3].role, ROLE_ARM);
    assert_string_equal(list.items[3].url, "https://management.azure.com");
    doctor_list_keep(&list, ROLE_STATE_STORE);
    assert_int_equal(list.count, 1);
    for (int i = 0; i < 2 * DOCTOR_MAX_TARGETS; i++) {
        char url[64];
        (void)snprintf(url, sizeof url, "https://host%d", i);
        doctor_list_add_https(&list, ROLE_VCENTER, "source", url, NULL, NULL);
    }
    assert_int_equal(list.count, DOCTOR_MAX_TARGETS);
}

static void the_json_has_every_step(void **state)
{
    struct served served = serve("good.pem", false);
    AUTO(doctor_list_release) struct doctor_list list = {0};
    (void)state;
    for (int i = 0; i < 20; i++) { /* more than threads */
        char url[80];
        (void)snprintf(url, sizeof url, "%s/%d", served.url, i);
        doctor_list_add_https(&list, (enum path_role)(i % ROLE_LOCAL), "x", url, ca_file,
                              NULL);
    }
    AUTO(doctor_report_release) struct doctor_report report = look_at(&list, NULL);
    AUTO(json_free) json_t *json = doctor_report_json(&report);
    const json_t *endpoints = json_object_get(json, "endpoints"), *one;
    size_t i;
    assert_int_equal(json_array_size(endpoints), list.count);
    assert_string_equal(json_string_value(json_object_get(json, "verdict")), "ok");
    json_array_foreach(endpoints, i, one)
    {
        assert_string_equal(json_string_value(json_object_get(one, "role")),
                            path_role_name(list.items[i].role));
        assert_int_equal(json_array_size(json_object_get(one, "steps")), 5);
    }
    http_server_stop(served.server);
}

static int make_dir(void **state)
{
    struct err err = ERR_INIT;
    static const char CREDENTIAL[] =
        "{\"kind\": \"client-secret\", \"tenant\": \"t\", \"client\": \"c\", "
        "\"secret_file\": \"/nonexistent\", \"authority\": "
        "\"https://login.example.test\"}";
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    test_certs_make(dir);
    (void)snprintf(ca_file, sizeof ca_file, "%s/ca.pem", dir);
    (void)snprintf(credential_file, sizeof credential_file, "%s/credential.json", dir);
    return file_write_durable(credential_file, CREDENTIAL, sizeof CREDENTIAL - 1, 0600,
                              &err)
               ? 0
               : -1;
}

static int remove_dir(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    return file_remove_tree(dir, &err) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_server_is_well),
        cmocka_unit_test(each_certificate_has_its_own_words),
        cmocka_unit_test(a_pin_takes_the_place_of_chain_name_and_age),
        cmocka_unit_test(old_tls_is_named),
        cmocka_unit_test(no_tls_and_nobody_are_told_apart),
        cmocka_unit_test(a_port_is_connected_to_and_no_more),
        cmocka_unit_test(a_clock_that_is_off_is_a_warning_then_a_failure),
        cmocka_unit_test(a_canceled_look_ends_with_skipped_steps),
        cmocka_unit_test(a_credential_file_that_is_wrong_is_the_first_step),
        cmocka_unit_test(the_list_has_each_endpoint_once),
        cmocka_unit_test(the_json_has_every_step),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
