/* SPDX-License-Identifier: Apache-2.0 */
/* What is repeated, how long, and what a refusal says, against a server by script. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "azure/request.h"
#include "azure/signer.h"
#include "base/clock.h"
#include "base/file.h"
#include "http/sign.h"
#include "support/http_server.h"

#include <stdatomic.h>

/* The server's answers, one after another; the last one stays. */
struct step {
    unsigned status;
    enum served_manner manner;
    const char *headers, *body;
};

static const struct step *steps;
static atomic_uint asked;
static char first_id[64], last_id[64];

static void answer(void *ctx, const struct served_request *request,
                   struct served_reply *reply)
{
    (void)ctx;
    unsigned at = atomic_fetch_add(&asked, 1);
    const struct step *step = steps;
    for (unsigned i = 0; i < at && step[1].status; i++)
        step++;
    reply->status = step->status;
    reply->manner = step->manner;
    buf_append_text(&reply->headers, step->headers ? step->headers : "");
    buf_append_text(&reply->body, step->body ? step->body : "");
    (void)served_header(request, "x-ms-client-request-id", last_id, sizeof last_id);
    if (at == 0)
        memcpy(first_id, last_id, sizeof first_id);
}

struct rig {
    struct http_server *server;
    struct http_endpoint *endpoint;
    struct azure_client_options client;
};

static void rig_start(struct rig *rig, const struct step *script)
{
    char url[64];
    struct err err = ERR_INIT;
    struct http_server_options options = {.handler = answer};
    steps = script;
    atomic_store(&asked, 0);
    *rig = (struct rig){.server = http_server_start(&options)};
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", http_server_port(rig->server));
    struct http_endpoint_options way = {.url = url};
    rig->endpoint = http_endpoint_open(&way, &err);
    assert_non_null(rig->endpoint);
    rig->client = (struct azure_client_options){
        .endpoint = rig->endpoint, .retry_for_ms = 5000, .retry_base_ms = 2};
}

static void rig_stop(struct rig *rig)
{
    http_endpoint_close(rig->endpoint);
    http_server_stop(rig->server);
}

static struct azure_request a_put(void)
{
    return (struct azure_request){.what = "put blob 'x'",
                                  .method = "PUT",
                                  .path = "/c/x",
                                  .body = "body",
                                  .body_bytes = 4};
}

/* ---- repeated or not ---- */

static void later_is_repeated(void **state)
{
    static const struct step SCRIPT[] = {{.status = 503},
                                         {.status = 500},
                                         {.status = 429},
                                         {.status = 408},
                                         {.status = 502},
                                         {.status = 504},
                                         {.status = 200, .manner = SERVE_NOTHING},
                                         {.status = 200, .manner = SERVE_RESET},
                                         {.status = 201},
                                         {0}};
    struct rig rig;
    struct err err = ERR_INIT;
    AUTO(http_answer_release) struct http_answer got = {0};
    (void)state;
    rig_start(&rig, SCRIPT);
    struct azure_request request = a_put();
    if (!azure_send(&rig.client, &request, &got, &err))
        fail_msg("%s", err.text);
    assert_int_equal(got.status, 201);
    assert_int_equal(atomic_load(&asked), 9);
    assert_true(request.may_have_happened);
    assert_string_equal(first_id, last_id); /* one id for all attempts */
    assert_string_equal(last_id, request.client_id);
    rig_stop(&rig);
}

static void what_was_turned_away_has_not_happened(void **state)
{
    static const struct step SCRIPT[] = {
        {.status = 503}, {.status = 429}, {.status = 409}, {0}};
    struct rig rig;
    struct err err = ERR_INIT;
    AUTO(http_answer_release) struct http_answer got = {0};
    (void)state;
    rig_start(&rig, SCRIPT);
    struct azure_request request = a_put();
    request.is_once = true;
    assert_true(azure_send(&rig.client, &request, &got, &err));
    assert_int_equal(got.status, 409);
    assert_false(request.may_have_happened);
    rig_stop(&rig);
}

static void once_is_once(void **state)
{
    static const struct step SCRIPTS[][2] = {
        {{.status = 500}, {0}}, {{.status = 200, .manner = SERVE_RESET}, {0}}};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct rig rig;
        struct err err = ERR_INIT;
        AUTO(http_answer_release) struct http_answer got = {0};
        rig_start(&rig, SCRIPTS[i]);
        struct azure_request request = a_put();
        request.is_once = true;
        bool is_answered = azure_send(&rig.client, &request, &got, &err);
        assert_int_equal(is_answered, i == 0);
        assert_int_equal(atomic_load(&asked), 1);
        assert_true(request.may_have_happened);
        rig_stop(&rig);
    }
}

static void others_are_not_repeated(void **state)
{
    static const unsigned STATUSES[] = {200, 206, 304, 400, 404, 409, 412, 416, 501};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(STATUSES); i++) {
        struct rig rig;
        struct err err = ERR_INIT;
        struct step script[2] = {{.status = STATUSES[i]}, {0}};
        AUTO(http_answer_release) struct http_answer got = {0};
        rig_start(&rig, script);
        struct azure_request request = a_put();
        assert_true(azure_send(&rig.client, &request, &got, &err));
        assert_int_equal(got.status, STATUSES[i]);
        assert_int_equal(atomic_load(&asked), 1);
        rig_stop(&rig);
    }
}

static void damage_on_the_way_is_repeated(void **state)
{
    static const struct step SCRIPT[] = {
        {.status = 400, .headers = "x-ms-error-code: Md5Mismatch\r\n"},
        {.status = 201},
        {0}};
    struct rig rig;
    struct err err = ERR_INIT;
    AUTO(http_answer_release) struct http_answer got = {0};
    (void)state;
    rig_start(&rig, SCRIPT);
    struct azure_request request = a_put();
    assert_true(azure_send(&rig.client, &request, &got, &err));
    assert_int_equal(got.status, 201);
    rig_stop(&rig);
}

static void patience_ends(void **state)
{
    static const struct step SCRIPT[] = {
        {.status = 503,
         .headers = "x-ms-error-code: ServerBusy\r\nx-ms-request-id: r-1\r\n"},
        {0}};
    struct rig rig;
    struct err err = ERR_INIT;
    struct http_answer got = {0};
    (void)state;
    rig_start(&rig, SCRIPT);
    rig.client.retry_for_ms = 300;
    struct azure_request request = a_put();
    uint64_t started = clock_mono_ms();
    assert_false(azure_send(&rig.client, &request, &got, &err));
    assert_in_range(clock_mono_ms() - started, 0, 600);
    assert_true(atomic_load(&asked) > 3);
    assert_int_equal(err.kind, FAIL_TRANSIENT);
    assert_non_null(strstr(err.text, "put blob 'x'"));
    assert_non_null(strstr(err.text, "ServerBusy"));
    assert_non_null(strstr(err.text, "request id r-1"));
    assert_non_null(strstr(err.text, request.client_id));
    rig_stop(&rig);
}

static void retry_after_is_obeyed(void **state)
{
    static const struct step SCRIPTS[][3] = {
        {{.status = 503, .headers = "Retry-After: 1\r\n"}, {.status = 201}, {0}},
        {{.status = 503, .headers = "x-ms-retry-after-ms: 900\r\n"},
         {.status = 201},
         {0}},
    };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct rig rig;
        struct err err = ERR_INIT;
        AUTO(http_answer_release) struct http_answer got = {0};
        rig_start(&rig, SCRIPTS[i]);
        struct azure_request request = a_put();
        uint64_t started = clock_mono_ms();
        assert_true(azure_send(&rig.client, &request, &got, &err));
        assert_in_range(clock_mono_ms() - started, 890, 2500);
        rig_stop(&rig);
    }
    /* One that is longer than our patience ends it at once. */
    static const struct step LONG[] = {{.status = 503, .headers = "Retry-After: 120\r\n"},
                                       {0}};
    struct rig rig;
    struct err err = ERR_INIT;
    struct http_answer got = {0};
    rig_start(&rig, LONG);
    struct azure_request request = a_put();
    uint64_t started = clock_mono_ms();
    assert_false(azure_send(&rig.client, &request, &got, &err));
    assert_in_range(clock_mono_ms() - started, 0, 1000);
    rig_stop(&rig);
}

static void *set_soon(void *cancel)
{
    clock_sleep_ms(100);
    cancel_set(cancel);
    return NULL;
}

static void cancel_ends_the_waiting(void **state)
{
    static const struct step SCRIPT[] = {{.status = 503, .headers = "Retry-After: 3\r\n"},
                                         {0}};
    struct rig rig;
    struct err err = ERR_INIT;
    struct http_answer got = {0};
    struct cancel cancel;
    pthread_t thread;
    (void)state;
    cancel_init(&cancel);
    rig_start(&rig, SCRIPT);
    struct azure_request request = a_put();
    request.cancel = &cancel;
    uint64_t started = clock_mono_ms();
    assert_int_equal(pthread_create(&thread, NULL, set_soon, &cancel), 0);
    assert_false(azure_send(&rig.client, &request, &got, &err));
    assert_int_equal(err.kind, FAIL_CANCELED);
    assert_in_range(clock_mono_ms() - started, 50, 1000);
    assert_int_equal(pthread_join(thread, NULL), 0);
    cancel_release(&cancel);
    rig_stop(&rig);
}

/* ---- refusals ---- */

static void refusals_name_kind_reason_and_remedy(void **state)
{
    static const struct {
        struct step step;
        enum err_kind kind;
        const char *part, *remedy;
    } CASES[] = {
        {{.status = 403,
          .headers = "x-ms-error-code: AuthenticationFailed\r\nx-ms-request-id: q\r\n"},
         FAIL_AUTH,
         "AuthenticationFailed (HTTP status 403, request id q",
         "; check the credential"},
        {{.status = 404,
          .body = "\xef\xbb\xbf<?xml version=\"1.0\"?><Error><Code>BlobNotFound</Code>"
                  "<Message>not here; gone\nRequestId: 1</Message></Error>"},
         FAIL_GONE,
         "BlobNotFound: not here, gone (",
         NULL},
        {{.status = 403,
          .headers = "x-ms-error-code: AuthorizationPermissionMismatch\r\n"},
         FAIL_AUTH,
         "Mismatch",
         "Storage Blob Data Contributor"},
        {{.status = 401,
          .body = "{\"error\": \"invalid_client\", \"error_description\": "
                  "\"AADSTS7000222: The provided client secret keys are expired.\\r\\n"
                  "Trace ID: x\"}"},
         FAIL_AUTH,
         ": AADSTS7000222: The provided",
         "has expired; make a new one"},
        {{.status = 429,
          .body = "{\"error\": {\"code\": \"TooManyRequests\", "
                  "\"message\": \"slow down\"}}"},
         FAIL_TRANSIENT,
         "TooManyRequests: slow down",
         NULL},
        {{.status = 409}, FAIL_CONFLICT, "HTTP status 409", NULL},
        {{.status = 413}, FAIL_LIMIT, "HTTP status 413", NULL},
        {{.status = 404, .body = "<Error><Code>"}, FAIL_GONE, "HTTP status 404", NULL},
        {{.status = 400, .body = "{\"error\": 5}"}, FAIL_INPUT, "HTTP status 400", NULL},
        {{.status = 302, .body = "<html>"}, FAIL_CORRUPT, "HTTP status 302", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        struct rig rig;
        struct err err = ERR_INIT;
        struct step script[2] = {CASES[i].step, {0}};
        AUTO(http_answer_release) struct http_answer got = {0};
        rig_start(&rig, script);
        rig.client.retry_for_ms = 1; /* 429 too */
        struct azure_request request = a_put();
        if (azure_send(&rig.client, &request, &got, &err))
            assert_false(azure_refused(&request, &got, &err));
        if (err.kind != CASES[i].kind || !strstr(err.text, CASES[i].part) ||
            (CASES[i].remedy && !strstr(err.text, CASES[i].remedy)))
            fail_msg("%zu: kind %s: %s", i, err_kind_name(err.kind), err.text);
        rig_stop(&rig);
    }
}

static void a_wrong_clock_is_named(void **state)
{
    static const struct {
        long off_s;
        const char *part;
    } CASES[] = {{-3600, "s ahead; set it by NTP"}, {3600, "s behind; set it by NTP"}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct rig rig;
        struct err err = ERR_INIT;
        char date[AZURE_DATE_BYTES], headers[160];
        long off_s = i < 2 ? CASES[i].off_s : 30;
        AUTO(http_answer_release) struct http_answer got = {0};
        (void)snprintf(
            headers, sizeof headers,
            "x-ms-error-code: AuthenticationFailed\r\nDate: %s\r\n",
            azure_date_text((uint64_t)((long)(clock_wall_ms() / 1000) + off_s), date));
        struct step script[2] = {{.status = 403, .headers = headers}, {0}};
        rig_start(&rig, script);
        struct azure_request request = a_put();
        assert_true(azure_send(&rig.client, &request, &got, &err));
        assert_false(azure_refused(&request, &got, &err));
        if (i < 2 ? !strstr(err.text, CASES[i].part) : strstr(err.text, "NTP") != NULL)
            fail_msg("%s", err.text);
        rig_stop(&rig);
    }
}

/* ---- a key that is rotated while we run ---- */

static char dir[] = "/tmp/kedge-azure-XXXXXX";
static const char *good_key; /* base64 */
static atomic_uint refused;

static void check_signature(void *ctx, const struct served_request *served,
                            struct served_reply *reply)
{
    (void)ctx;
    char given[256] = "", date[64] = "", id[64] = "";
    struct err err = ERR_INIT;
    uint8_t mac[SIGN_SHA256_BYTES];
    AUTO(buf_release) struct buf text = {0}, wanted = {0};
    AUTO(secret_free)
    struct secret *key = sign_unbase64(good_key, strlen(good_key), &err);
    (void)served_header(served, "Authorization", given, sizeof given);
    (void)served_header(served, "x-ms-date", date, sizeof date);
    (void)served_header(served, "x-ms-client-request-id", id, sizeof id);
    buf_printf(&text,
               "PUT\n\n\n4\n\n\n\n\n\n\n\n\nx-ms-client-request-id:%s\nx-ms-date:%s\n"
               "x-ms-version:2024-08-04\n/acc/c/x",
               id, date);
    sign_hmac_sha256(key, text.data, text.bytes, mac);
    buf_append_text(&wanted, "SharedKey acc:");
    sign_base64(mac, sizeof mac, &wanted);
    if (strcmp(given, buf_text(&wanted)) == 0) {
        reply->status = 201;
        return;
    }
    reply->status = 403;
    buf_append_text(&reply->headers, "x-ms-error-code: AuthenticationFailed\r\n");
    atomic_fetch_add(&refused, 1);
}

#define PUTTERS 6

struct putter {
    pthread_t thread;
    const struct azure_client_options *client;
    bool ok;
};

static void *put_once(void *ctx)
{
    struct putter *putter = ctx;
    struct err err = ERR_INIT;
    AUTO(http_answer_release) struct http_answer got = {0};
    struct azure_request request = a_put();
    putter->ok = azure_send(putter->client, &request, &got, &err) && got.status == 201;
    return NULL;
}

static bool put_many(const struct azure_client_options *client)
{
    struct putter putters[PUTTERS];
    bool ok = true;
    for (size_t i = 0; i < PUTTERS; i++) {
        putters[i] = (struct putter){.client = client};
        assert_int_equal(pthread_create(&putters[i].thread, NULL, put_once, &putters[i]),
                         0);
    }
    for (size_t i = 0; i < PUTTERS; i++) {
        assert_int_equal(pthread_join(putters[i].thread, NULL), 0);
        ok = ok && putters[i].ok;
    }
    return ok;
}

static void a_rotated_key_is_read_again(void **state)
{
    struct err err = ERR_INIT;
    char url[64];
    (void)state;
    assert_non_null(mkdtemp(dir));
    AUTO(free) char *path = file_join(dir, "key");
    assert_true(file_write_durable(path, "T2xkIG9uZQ==", 12, 0600, &err));
    struct azure_access access = {.kind = AZURE_SHARED_KEY, .secret_file = path};
    struct azure_signer_options signer = {
        .access = &access, .cloud = azure_cloud_of_host(""), .account = "acc"};
    struct http_server_options options = {.handler = check_signature};
    struct http_server *server = http_server_start(&options);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", http_server_port(server));
    struct http_endpoint_options way = {.url = url};
    struct azure_client_options client = {.endpoint = http_endpoint_open(&way, &err),
                                          .signer = azure_signer_open(&signer, &err),
                                          .retry_base_ms = 2};
    good_key = "T2xkIG9uZQ==";
    assert_true(put_many(&client));
    good_key = "TmV3IG9uZQ==";
    assert_false(put_many(&client)); /* the file still holds the old one */
    assert_true(file_write_durable(path, "TmV3IG9uZQ==\n", 13, 0600, &err));
    assert_true(put_many(&client)); /* each of them, whoever reads it first */
    unsigned before = atomic_load(&refused);
    assert_true(put_many(&client));
    assert_int_equal(atomic_load(&refused), before);
    azure_signer_close(client.signer);
    http_endpoint_close(client.endpoint);
    http_server_stop(server);
    assert_true(file_remove_tree(dir, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later_is_repeated),
        cmocka_unit_test(what_was_turned_away_has_not_happened),
        cmocka_unit_test(once_is_once),
        cmocka_unit_test(others_are_not_repeated),
        cmocka_unit_test(damage_on_the_way_is_repeated),
        cmocka_unit_test(patience_ends),
        cmocka_unit_test(retry_after_is_obeyed),
        cmocka_unit_test(cancel_ends_the_waiting),
        cmocka_unit_test(refusals_name_kind_reason_and_remedy),
        cmocka_unit_test(a_wrong_clock_is_named),
        cmocka_unit_test(a_rotated_key_is_read_again),
    };
    return cmocka_run_group_tests_name("azure_request", tests, NULL, NULL);
}
