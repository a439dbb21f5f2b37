/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blobs on a bad day: storms of 503, answers that are lost after the put took effect,
 * connections cut in mid-body, SAS that end, tokens. What a good day looks like is in
 * contract_store.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "http/exchange.h"
#include "http/json.h"
#include "http/sign.h"
#include "store/store.h"
#include "support/azurite.h"

#include <stdatomic.h>
#include <sys/stat.h>

#define OBJECTS 40

static char dir[] = "/tmp/kedge-blob-XXXXXX";
static struct azurite *azurite;
static struct issuer issuer; /* port 0: not started */

/* ---- stores ---- */

static const char *key_credential(void)
{
    AUTO(free) char *key_file = file_join(dir, "account.key");
    AUTO(buf_release) struct buf extra = {0};
    buf_printf(&extra, ", \"key_file\": \"%s\"", key_file);
    return azurite_credential(dir, "key.json", "shared-key", buf_text(&extra));
}

static const char *sas_credential(const char *permissions, long ends_in_s)
{
    char sas[512];
    AUTO(free) char *sas_file = file_join(dir, "sas");
    AUTO(buf_release) struct buf extra = {0};
    azurite_sas(permissions, ends_in_s, sas);
    (void)azurite_write(dir, "sas", sas);
    buf_printf(&extra, ", \"sas_file\": \"%s\"", sas_file);
    return azurite_credential(dir, "sas.json", "sas", buf_text(&extra));
}

static struct store *open_at(unsigned port, const char *container, const char *credential,
                             struct err *err)
{
    char url[160];
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%u/" AZURITE_ACCOUNT "/%s", port,
                   container);
    struct store_blob_options options = {.url = url,
                                         .credential_file = credential,
                                         .retry_for_ms = 60000,
                                         .retry_base_ms = 4};
    return store_blob_open(&options, err);
}

static struct store *must_open(unsigned port, const char *container,
                               const char *credential)
{
    struct err err = ERR_INIT;
    struct store *store = open_at(port, container, credential, &err);
    if (!store)
        fail_msg("%s", err.text);
    return store;
}

static struct fault_proxy *start_proxy(struct fault_proxy_options options)
{
    static char cert[64], ca[64];
    (void)snprintf(cert, sizeof cert, "%s/good.pem", dir);
    (void)snprintf(ca, sizeof ca, "%s/ca.pem", dir);
    options.azurite_port = azurite_port(azurite);
    options.cert_file = cert;
    options.ca_file = ca;
    options.seed = 7;
    return fault_proxy_start(&options);
}

/* ---- storms ---- */

static void fill(uint8_t *data, size_t bytes, uint32_t seed)
{
    for (size_t i = 0; i < bytes; i++) {
        seed = seed * 1664525u + 1013904223u;
        data[i] = (uint8_t)(seed >> 24);
    }
}

static bool count_one(void *ctx, const char *name, uint64_t bytes, struct err *err)
{
    (void)name, (void)bytes, (void)err;
    ++*(size_t *)ctx;
    return true;
}

static void put_get_list_remove(struct store *store)
{
    struct err err = ERR_INIT;
    uint8_t data[20000];
    char name[32];
    size_t listed = 0;
    for (uint32_t i = 0; i < OBJECTS; i++) {
        (void)snprintf(name, sizeof name, "s/%u", i);
        fill(data, sizeof data, i);
        if (!store_put(store, name, data, sizeof data - i, STORE_IF_ABSENT, &err))
            fail_msg("%s", err.text);
        if (store_put(store, name, data, 1, STORE_IF_ABSENT, &err))
            fail_msg("a second put of '%s' won", name);
        assert_int_equal(err.kind, FAIL_CONFLICT);
        err_clear(&err);
    }
    for (uint32_t i = 0; i < OBJECTS; i++) {
        AUTO(buf_release) struct buf got = {0};
        (void)snprintf(name, sizeof name, "s/%u", i);
        fill(data, sizeof data, i);
        if (!store_get_all(store, name, MIB, &got, &err))
            fail_msg("%s", err.text);
        assert_int_equal(got.bytes, sizeof data - i);
        assert_memory_equal(got.data, data, got.bytes);
    }
    if (!store_list(store, "s/", count_one, &listed, &err))
        fail_msg("%s", err.text);
    assert_int_equal(listed, OBJECTS);
    if (!store_remove_prefix(store, "s/", &err))
        fail_msg("%s", err.text);
    listed = 0;
    if (!store_list(store, "", count_one, &listed, &err))
        fail_msg("%s", err.text);
    assert_int_equal(listed, 0);
}

static void ride_out(const char *container, struct fault_proxy_options options)
{
    struct fault_proxy *proxy = start_proxy(options);
    struct store *store = must_open(fault_proxy_port(proxy), container, key_credential());
    put_get_list_remove(store);
    print_message("%s: %u faults in %u requests\n", container, fault_proxy_faults(proxy),
                  fault_proxy_requests(proxy));
    assert_true(fault_proxy_faults(proxy) > 0);
    store_close(store);
    fault_proxy_stop(proxy);
}

static void storms_are_ridden_out(void **state)
{
    (void)state;
    ride_out("storm1", (struct fault_proxy_options){.refuse_per_mille = 10});
    ride_out("storm10", (struct fault_proxy_options){.refuse_per_mille = 100});
    ride_out("storm50", (struct fault_proxy_options){.refuse_per_mille = 500});
}

/* A put that took effect but whose answer was lost is found to be ours; one of somebody
 * else is not. put_get_list_remove looks for both. */
static void lost_answers_are_found_out(void **state)
{
    (void)state;
    ride_out("lost1", (struct fault_proxy_options){.accept_per_mille = 10});
    ride_out("lost10", (struct fault_proxy_options){.accept_per_mille = 100});
    ride_out("lost50", (struct fault_proxy_options){.accept_per_mille = 500});
}

static void cut_bodies_are_read_again(void **state)
{
    (void)state;
    ride_out("cut50", (struct fault_proxy_options){.cut_per_mille = 500});
}

static void everything_at_once(void **state)
{
    (void)state;
    ride_out("all", (struct fault_proxy_options){.refuse_per_mille = 150,
                                                 .accept_per_mille = 150,
                                                 .cut_per_mille = 150});
}

static void large_objects_go_in_pieces(void **state)
{
    struct err err = ERR_INIT;
    size_t bytes = 41 * MIB + 13, got = 0;
    (void)state;
    AUTO(free) uint8_t *data = xcalloc(1, bytes);
    AUTO(free) uint8_t *back = xcalloc(1, bytes + 1);
    fill(data, bytes, 3);
    struct fault_proxy *proxy = start_proxy((struct fault_proxy_options){
        .refuse_per_mille = 100, .accept_per_mille = 100, .cut_per_mille = 50});
    struct store *store = must_open(fault_proxy_port(proxy), "large", key_credential());
    for (int mode = 0; mode < 2; mode++) {
        if (!store_put(store, "l/1", data, bytes, mode ? STORE_REPLACE : STORE_IF_ABSENT,
                       &err))
            fail_msg("%s", err.text);
        if (!store_get(store, "l/1", 0, back, bytes + 1, &got, &err))
            fail_msg("%s", err.text);
        assert_int_equal(got, bytes);
        assert_memory_equal(back, data, bytes);
        data[bytes / 2]++;
        assert_false(store_put(store, "l/1", data, bytes, STORE_IF_ABSENT, &err));
        assert_int_equal(err.kind, FAIL_CONFLICT);
        err_clear(&err);
    }
    store_close(store);
    fault_proxy_stop(proxy);
}

static void what_was_damaged_on_the_way_is_not_kept(void **state)
{
    struct err err = ERR_INIT;
    uint64_t bytes;
    (void)state;
    struct fault_proxy *proxy =
        start_proxy((struct fault_proxy_options){.damage_per_mille = 1000});
    struct store *store = must_open(fault_proxy_port(proxy), "damage", key_credential());
    assert_false(store_put(store, "d", (const uint8_t *)"12345", 5, STORE_REPLACE, &err));
    err_clear(&err);
    assert_false(store_size(store, "d", &bytes, &err));
    assert_int_equal(err.kind, FAIL_GONE);
    store_close(store);
    fault_proxy_stop(proxy);
}

static void a_put_costs_one_request(void **state)
{
    struct err err = ERR_INIT;
    char name[32];
    (void)state;
    struct fault_proxy *proxy = start_proxy((struct fault_proxy_options){0});
    struct store *store = must_open(fault_proxy_port(proxy), "count", key_credential());
    unsigned before = fault_proxy_requests(proxy);
    for (int i = 0; i < 50; i++) {
        (void)snprintf(name, sizeof name, "m/c/%d", i);
        if (!store_put(store, name, (const uint8_t *)"x", 1, STORE_REPLACE, &err))
            fail_msg("%s", err.text);
    }
    /* Besides: two parents looked at, the folder surveyed, and a checksum that the
     * emulator does not know. */
    assert_int_equal(fault_proxy_requests(proxy), before + 50 + 4);
    store_close(store);
    fault_proxy_stop(proxy);
}

/* ---- credentials ---- */

/* The emulator looks at what a token says, not who signed it. */
static void make_token(struct buf *token)
{
    AUTO(json_free) json_t *claims = json_object();
    AUTO(buf_release) struct buf plain = {0};
    uint64_t now_s = clock_wall_ms() / 1000;
    json_put_text(claims, "aud", "https://storage.azure.com");
    json_put_text(claims, "iss",
                  "https://sts.windows.net/11111111-1111-1111-1111-111111111111/");
    json_put_text(claims, "oid", "22222222-2222-2222-2222-222222222222");
    json_put_text(claims, "tid", "11111111-1111-1111-1111-111111111111");
    json_put_u64(claims, "iat", now_s - 10);
    json_put_u64(claims, "nbf", now_s - 10);
    json_put_u64(claims, "exp", now_s + 3600);
    json_print(claims, &plain);
    sign_base64_url("{\"alg\":\"RS256\",\"typ\":\"JWT\"}", 27, token);
    buf_put_u8(token, '.');
    sign_base64_url(plain.data, plain.bytes, token);
    buf_append_text(token, ".c2lnbmF0dXJl");
}

static void put_one(struct store *store, const char *name)
{
    struct err err = ERR_INIT;
    if (!store_put(store, name, (const uint8_t *)"x", 1, STORE_REPLACE, &err))
        fail_msg("%s", err.text);
}

static void a_sas_works_ends_and_is_renewed(void **state)
{
    struct err err = ERR_INIT;
    unsigned port = azurite_port(azurite);
    (void)state;
    struct store *store = must_open(port, "sas", sas_credential("racwdl", 3600));
    put_one(store, "a");
    store_close(store);

    assert_null(open_at(port, "sas", sas_credential("racwdl", -5), &err));
    assert_int_equal(err.kind, FAIL_AUTH);
    assert_non_null(strstr(err.text, "ended on "));
    assert_null(strstr(err.text, "sig="));
    err_clear(&err);

    store = must_open(port, "sas", sas_credential("racwdl", 2));
    put_one(store, "b");
    clock_sleep_ms(2500);
    assert_false(store_put(store, "c", (const uint8_t *)"x", 1, STORE_REPLACE, &err));
    assert_int_equal(err.kind, FAIL_AUTH);
    assert_non_null(strstr(err.text, "put a new one there"));
    (void)sas_credential("racwdl", 3600); /* somebody does */
    put_one(store, "c");
    store_close(store);

    store = must_open(port, "sas", sas_credential("rl", 3600));
    err_clear(&err);
    assert_false(store_put(store, "d", (const uint8_t *)"x", 1, STORE_REPLACE, &err));
    assert_int_equal(err.kind, FAIL_AUTH);
    assert_non_null(strstr(err.text, "Storage Blob Data Contributor"));
    assert_non_null(strstr(err.text, "request id "));
    assert_null(strstr(err.text, "sig="));
    store_close(store);
}

/* ---- SAS of a container, signed by the account key or by a user's delegation key ----
 */

struct delegation {
    char oid[64], tid[64], start[32], end[32], service[8], version[16];
};

static void time_text(long from_now_s, char out[32])
{
    time_t t = time(NULL) + from_now_s;
    struct tm tm;
    (void)gmtime_r(&t, &tm);
    assert_int_not_equal(strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm), 0);
}

static void container_sas(const char *container, const char *key64,
                          const struct delegation *d, char out[1024])
{
    char end[32];
    uint8_t mac[SIGN_SHA256_BYTES];
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf text = {0}, mac64 = {0}, signature = {0}, sas = {0};
    AUTO(secret_free) struct secret *key = sign_unbase64(key64, strlen(key64), &err);
    time_text(3600, end);
    buf_printf(&text, "racwdl\n\n%s\n/blob/" AZURITE_ACCOUNT "/%s\n", end, container);
    if (d)
        buf_printf(&text, "%s\n%s\n%s\n%s\n%s\n%s\n\n\n\n", d->oid, d->tid, d->start,
                   d->end, d->service, d->version);
    else
        buf_append_text(&text, "\n");
    buf_append_text(&text, "\nhttps\n2020-12-06\nc\n\n\n\n\n\n\n");
    sign_hmac_sha256(key, text.data, text.bytes, mac);
    sign_base64(mac, sizeof mac, &mac64);
    sign_percent(mac64.data, mac64.bytes, &signature);
    buf_printf(&sas, "sv=2020-12-06&sr=c&sp=racwdl&se=%s&spr=https&sig=%s", end,
               buf_text(&signature));
    if (d)
        buf_printf(&sas, "&skoid=%s&sktid=%s&skt=%s&ske=%s&sks=%s&skv=%s", d->oid, d->tid,
                   d->start, d->end, d->service, d->version);
    (void)snprintf(out, 1024, "%s", buf_text(&sas));
}

static void use_sas(const char *container, const char *sas)
{
    AUTO(free) char *sas_file = file_join(dir, "container.sas");
    AUTO(buf_release) struct buf extra = {0};
    (void)azurite_write(dir, "container.sas", sas);
    buf_printf(&extra, ", \"sas_file\": \"%s\"", sas_file);
    const char *credential =
        azurite_credential(dir, "container.json", "sas", buf_text(&extra));
    struct store *store = must_open(azurite_port(azurite), container, credential);
    put_get_list_remove(store);
    store_close(store);
}

static void a_service_sas_works(void **state)
{
    char sas[1024];
    (void)state;
    store_close(must_open(azurite_port(azurite), "service", key_credential()));
    container_sas("service", azurite_key(), NULL, sas);
    use_sas("service", sas);
}

/* What an administrator does with `az storage container generate-sas --as-user`. */
static void get_delegation_key(struct delegation *d, char key[128])
{
    char url[64], start[32], end[32], authorization[1024];
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf token = {0}, body = {0};
    AUTO(free) char *ca = file_join(dir, "ca.pem");
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%u", azurite_port(azurite));
    struct http_endpoint_options way = {.url = url, .ca_file = ca};
    AUTO(http_endpoint_close)
    struct http_endpoint *endpoint = http_endpoint_open(&way, &err);
    make_token(&token);
    (void)snprintf(authorization, sizeof authorization, "Bearer %s", buf_text(&token));
    time_text(-60, start);
    time_text(3600, end);
    buf_printf(&body, "<KeyInfo><Start>%s</Start><Expiry>%s</Expiry></KeyInfo>", start,
               end);
    const struct http_header headers[] = {{"Authorization", authorization, NULL},
                                          {"x-ms-version", "2024-08-04", NULL}};
    struct http_request request = {.method = "POST",
                                   .path = "/" AZURITE_ACCOUNT
                                           "?restype=service&comp=userdelegationkey",
                                   .headers = headers,
                                   .header_count = 2,
                                   .body = body.data,
                                   .body_bytes = body.bytes};
    AUTO(http_answer_release) struct http_answer got = {0};
    if (!http_exchange(endpoint, &request, &got, &err))
        fail_msg("%s", err.text);
    const char *text = buf_text(&got.body);
    static const char *const NAMES[] = {"SignedOid",    "SignedTid",     "SignedStart",
                                        "SignedExpiry", "SignedService", "SignedVersion",
                                        "Value"};
    char *const outs[] = {d->oid, d->tid, d->start, d->end, d->service, d->version, key};
    const size_t sizes[] = {sizeof d->oid,
                            sizeof d->tid,
                            sizeof d->start,
                            sizeof d->end,
                            sizeof d->service,
                            sizeof d->version,
                            128};
    for (size_t i = 0; i < ARRAY_COUNT(NAMES); i++) {
        char tag[32];
        (void)snprintf(tag, sizeof tag, "<%s>", NAMES[i]);
        const char *at = strstr(text, tag);
        if (!at)
            fail_msg("status %u: %s", got.status, text);
        at += strlen(tag);
        (void)snprintf(outs[i], sizes[i], "%.*s", (int)strcspn(at, "<"), at);
    }
}

static void a_user_delegation_sas_works(void **state)
{
    struct delegation delegation;
    char sas[1024], key[128];
    (void)state;
    store_close(must_open(azurite_port(azurite), "delegated", key_credential()));
    get_delegation_key(&delegation, key);
    container_sas("delegated", key, &delegation, sas);
    use_sas("delegated", sas);
}

static void a_wrong_key_is_named(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    AUTO(free) char *key_file = file_join(dir, "wrong.key");
    AUTO(buf_release) struct buf extra = {0};
    buf_printf(&extra, ", \"key_file\": \"%s\"", key_file);
    (void)azurite_write(dir, "wrong.key", "AAAA");
    const char *path =
        azurite_credential(dir, "wrong.json", "shared-key", buf_text(&extra));
    assert_null(open_at(azurite_port(azurite), "wrong", path, &err));
    assert_int_equal(err.kind, FAIL_AUTH);
    if (!strstr(err.text, "HTTP status 40") || !strstr(err.text, "; check the "))
        fail_msg("%s", err.text);
    (void)azurite_write(dir, "wrong.key", "not base64!");
    assert_null(open_at(azurite_port(azurite), "wrong", path, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    assert_null(strstr(err.text, "not base64!"));
}

/* ---- tokens ---- */

/* A stand-in for Entra ID. */
static atomic_uint tokens_given;

static void issue(void *ctx, const struct served_request *request,
                  struct served_reply *reply)
{
    (void)ctx, (void)request;
    AUTO(buf_release) struct buf token = {0};
    make_token(&token);
    buf_printf(&reply->body, "{\"access_token\": \"%s\", \"expires_in\": 3600}",
               buf_text(&token));
    atomic_fetch_add(&tokens_given, 1);
}

static void tokens_open_the_container(void **state)
{
    (void)state;
    AUTO(free) char *cert = file_join(dir, "good.pem");
    AUTO(free) char *secret = file_join(dir, "client.secret");
    struct http_server_options options = {.handler = issue, .cert_file = cert};
    struct http_server *entra = http_server_start(&options);
    AUTO(buf_release) struct buf extra = {0};
    (void)azurite_write(dir, "client.secret", "pass");
    buf_printf(&extra,
               ", \"tenant\": \"t\", \"client\": \"c\", \"secret_file\": \"%s\", "
               "\"authority\": \"https://127.0.0.1:%u\"",
               secret, http_server_port(entra));
    struct store *store = must_open(
        azurite_port(azurite), "oauth",
        azurite_credential(dir, "oauth.json", "client-secret", buf_text(&extra)));
    put_get_list_remove(store);
    assert_int_equal(atomic_load(&tokens_given), 1);
    store_close(store);
    http_server_stop(entra);
}

/* Credential kinds against an issuer that nobody of ours wrote, and its tokens against
 * the emulator. */
static void a_real_issuer_is_convinced(void **state)
{
    static const struct {
        const char *kind, *client, *file, *text; /* text NULL: of test_certs_make */
        bool is_good;
    } CASES[] = {
        {"client-secret", "by-secret", "client.secret", "good secret + 1", true},
        {"client-secret", "by-secret", "client.secret", "a guess", false},
        {"client-certificate", "by-certificate", "client.pem", NULL, true},
        {"client-certificate", "by-certificate", "self.pem", NULL, false},
    };
    (void)state;
    issuer = issuer_start(dir, ISSUER_SCRIPT);
    if (!issuer.port) {
        print_message("KEDGE_OIDC_PROVIDER names no oidc-provider package\n");
        skip();
    }
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        struct err err = ERR_INIT;
        AUTO(free) char *file = file_join(dir, CASES[i].file);
        AUTO(buf_release) struct buf extra = {0};
        if (CASES[i].text)
            (void)azurite_write(dir, CASES[i].file, CASES[i].text);
        assert_int_equal(chmod(file, 0600), 0);
        buf_printf(&extra,
                   ", \"tenant\": \"tenant-1\", \"client\": \"%s\", \"%s\": \"%s\", "
                   "\"authority\": \"https://127.0.0.1:%u\"",
                   CASES[i].client, CASES[i].text ? "secret_file" : "certificate_file",
                   file, issuer.port);
        const char *credential =
            azurite_credential(dir, "real.json", CASES[i].kind, buf_text(&extra));
        struct store *store = open_at(azurite_port(azurite), "real", credential, &err);
        if ((store != NULL) != CASES[i].is_good ||
            (!store && (err.kind != FAIL_AUTH || !strstr(err.text, "invalid_client"))))
            fail_msg("%zu: %s", i, err.text);
        if (store)
            put_get_list_remove(store);
        store_close(store);
    }
}

static int start(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    test_certs_make(dir);
    (void)azurite_write(dir, "account.key", azurite_key());
    azurite = azurite_start(dir);
    return 0;
}

static int stop(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    azurite_stop(azurite);
    if (issuer.port)
        issuer_stop(issuer);
    return file_remove_tree(dir, &err) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(storms_are_ridden_out),
        cmocka_unit_test(lost_answers_are_found_out),
        cmocka_unit_test(cut_bodies_are_read_again),
        cmocka_unit_test(everything_at_once),
        cmocka_unit_test(large_objects_go_in_pieces),
        cmocka_unit_test(what_was_damaged_on_the_way_is_not_kept),
        cmocka_unit_test(a_put_costs_one_request),
        cmocka_unit_test(a_sas_works_ends_and_is_renewed),
        cmocka_unit_test(a_service_sas_works),
        cmocka_unit_test(a_user_delegation_sas_works),
        cmocka_unit_test(a_wrong_key_is_named),
        cmocka_unit_test(tokens_open_the_container),
        cmocka_unit_test(a_real_issuer_is_convinced),
    };
    if (!azurite_is_there()) {
        (void)fprintf(stderr, "skipped: KEDGE_AZURITE names no azurite package\n");
        return 77;
    }
    return cmocka_run_group_tests_name("store_blob", tests, start, stop);
}
