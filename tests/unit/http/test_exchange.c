/* SPDX-License-Identifier: Apache-2.0 */
/* One exchange against a server that we script: bounds, ends, connections, threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/clock.h"
#include "rig.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- requests and answers ---- */

static void what_is_sent_arrives(void **state)
{
    static const char *const METHODS[] = {"PUT", "POST", "DELETE", "PATCH"};
    static const size_t SIZES[] = {0, 1, 65535, 3 * MIB + 7};
    struct rig rig;
    (void)state;
    AUTO(free) uint8_t *body = xcalloc(1, 4 * MIB);
    secret_random(body, 4 * MIB);
    rig_start(&rig, "good.pem", trusting());
    for (size_t i = 0; i < ARRAY_COUNT(METHODS); i++)
        for (size_t j = 0; j < ARRAY_COUNT(SIZES); j++) {
            struct err err = ERR_INIT;
            AUTO(http_answer_release) struct http_answer got = {0};
            struct http_request request = {.method = METHODS[i],
                                           .path = "/echo",
                                           .body = body,
                                           .body_bytes = SIZES[j]};
            if (!http_exchange(rig.endpoint, &request, &got, &err))
                fail_msg("%s %zu: %s", METHODS[i], SIZES[j], err.text);
            assert_int_equal(got.body.bytes, SIZES[j]);
            if (SIZES[j])
                assert_memory_equal(got.body.data, body, SIZES[j]);
        }
    rig_stop(&rig);
}

static void headers_go_both_ways(void **state)
{
    struct rig rig;
    struct err err = ERR_INIT;
    char value[32], tiny[2];
    AUTO(secret_free) struct secret *token = secret_new("s3cret", 6);
    AUTO(http_answer_release) struct http_answer got = {0};
    (void)state;
    rig_start(&rig, NULL, (struct http_endpoint_options){0});
    const struct http_header headers[] = {{"Authorization", "Bearer ", token},
                                          {"x-ms-version", "2024-08-04", NULL},
                                          {"X-Empty", "", NULL}};
    struct http_request request = {
        .method = "PUT", .path = "/headers?a=b", .headers = headers, .header_count = 3};
    assert_true(http_exchange(rig.endpoint, &request, &got, &err));
    const char *seen = buf_text(&got.body);
    assert_non_null(strstr(seen, "PUT /headers?a=b HTTP/1.1\r\n"));
    assert_non_null(strstr(seen, "\r\nAuthorization: Bearer s3cret\r\n"));
    assert_non_null(strstr(seen, "\r\nx-ms-version: 2024-08-04\r\n"));
    assert_non_null(strstr(seen, "\r\nX-Empty:\r\n"));
    assert_non_null(strstr(seen, "\r\nContent-Length: 0\r\n"));
    assert_null(strstr(seen, "Expect:"));
    assert_null(strstr(seen, "Content-Type:"));
    assert_true(http_answer_header(&got, "x-connection", value, sizeof value));
    assert_string_equal(value, "1");
    assert_false(http_answer_header(&got, "x-connectio", value, sizeof value));
    assert_false(http_answer_header(&got, "content-length", tiny, sizeof tiny));
    assert_true(strncmp(got.address, "127.0.0.1:", 10) == 0);
    rig_stop(&rig);
}

static void requests_that_could_smuggle_are_refused(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig, NULL, (struct http_endpoint_options){0});
    static const char *const PATHS[] = {"x", "", "/a b", "/a\r\nX: y", "/a#b", "/\x7f"};
    for (size_t i = 0; i < ARRAY_COUNT(PATHS); i++)
        assert_fails(rig.endpoint, (struct http_request){.path = PATHS[i]}, FAIL_INPUT,
                     "not encoded");
    AUTO(secret_free) struct secret *two_lines = secret_new("a\nb", 3);
    const struct http_header bad[] = {{"A", "x\r\nB: y", NULL},
                                      {"A: b", "x", NULL},
                                      {"", "x", NULL},
                                      {"A", "", two_lines}};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_fails(rig.endpoint, REQUEST(.headers = &bad[i], .header_count = 1),
                     FAIL_INPUT, "not allowed");
    assert_int_equal(http_server_connections(rig.server), 0);
    rig_stop(&rig);
}

static void every_status_is_an_answer(void **state)
{
    static const unsigned STATUSES[] = {200, 201, 204, 304, 301, 307, 400, 401,
                                        403, 404, 412, 416, 429, 500, 503};
    struct rig rig;
    (void)state;
    rig_start(&rig, NULL, (struct http_endpoint_options){0});
    atomic_store(&answered, 0);
    for (size_t i = 0; i < ARRAY_COUNT(STATUSES); i++) {
        struct err err = ERR_INIT;
        char path[32];
        AUTO(http_answer_release) struct http_answer got = {0};
        (void)snprintf(path, sizeof path, "/status/%u", STATUSES[i]);
        struct http_request request = {.method = "GET", .path = path};
        if (!http_exchange(rig.endpoint, &request, &got, &err))
            fail_msg("%s: %s", path, err.text);
        assert_int_equal(got.status, STATUSES[i]);
    }
    assert_int_equal(atomic_load(&answered), ARRAY_COUNT(STATUSES)); /* none followed */
    rig_stop(&rig);
}

static void into_takes_2xx_only_and_no_more_than_fits(void **state)
{
    struct rig rig;
    struct err err = ERR_INIT;
    uint8_t room[1000 + 1];
    (void)state;
    rig_start(&rig, "good.pem", trusting());
    static const size_t SIZES[] = {0, 1, 999, 1000};
    for (size_t i = 0; i < ARRAY_COUNT(SIZES); i++) {
        char path[32];
        AUTO(http_answer_release) struct http_answer got = {0};
        memset(room, '#', sizeof room);
        (void)snprintf(path, sizeof path, "/bytes/%zu", SIZES[i]);
        struct http_request request = {
            .method = "GET", .path = path, .into = room, .into_bytes = 1000};
        assert_true(http_exchange(rig.endpoint, &request, &got, &err));
        assert_int_equal(got.into_bytes, SIZES[i]);
        assert_int_equal(got.body.bytes, 0);
        for (size_t j = 0; j < SIZES[i]; j++)
            assert_int_equal(room[j], (uint8_t)(j * 7 + j / 251));
        assert_int_equal(room[SIZES[i]], '#');
    }
    memset(room, '#', sizeof room);
    assert_fails(
        rig.endpoint,
        (struct http_request){.path = "/bytes/1001", .into = room, .into_bytes = 1000},
        FAIL_LIMIT, "larger than 1000 bytes");
    assert_int_equal(room[1000], '#');
    struct http_request request = {.method = "PUT",
                                   .path = "/status/404",
                                   .body = "why",
                                   .body_bytes = 3,
                                   .into = room,
                                   .into_bytes = 2};
    AUTO(http_answer_release) struct http_answer got = {0};
    assert_true(http_exchange(rig.endpoint, &request, &got, &err));
    assert_int_equal(got.into_bytes, 0);
    rig_stop(&rig);
}

static void answers_are_bounded(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig, "good.pem", trusting());
    assert_gets(rig.endpoint, "/bytes/16777216", 16 * MIB);
    assert_fails(rig.endpoint, (struct http_request){.path = "/bytes/16777217"},
                 FAIL_LIMIT, "larger than 16777216 bytes");
    assert_fails(rig.endpoint,
                 (struct http_request){.path = "/bytes/11", .max_answer_bytes = 10},
                 FAIL_LIMIT, "larger than 10 bytes");
    assert_fails(rig.endpoint, (struct http_request){.path = "/many-headers"}, FAIL_LIMIT,
                 "headers");
    assert_gets(rig.endpoint, "/bytes/10", 10);
    rig_stop(&rig);
}

static void a_head_has_no_body(void **state)
{
    struct rig rig;
    struct err err = ERR_INIT;
    char length[32];
    AUTO(http_answer_release) struct http_answer got = {0};
    (void)state;
    rig_start(&rig, NULL, (struct http_endpoint_options){0});
    struct http_request request = {.method = "HEAD", .path = "/bytes/123456789"};
    request.path = "/bytes/12345";
    assert_true(http_exchange(rig.endpoint, &request, &got, &err));
    assert_true(http_answer_header(&got, "Content-Length", length, sizeof length));
    assert_string_equal(length, "12345");
    assert_int_equal(got.body.bytes, 0);
    assert_gets(rig.endpoint, "/bytes/10", 10);
    assert_int_equal(http_server_connections(rig.server), 1);
    rig_stop(&rig);
}

/* ---- connections ---- */

static void connections_are_kept(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig, "good.pem", trusting());
    for (int i = 0; i < 20; i++)
        assert_gets(rig.endpoint, "/bytes/1000", 1000);
    assert_int_equal(http_server_connections(rig.server), 1);
    assert_gets(rig.endpoint, "/bytes/10?close-after", 10);
    assert_gets(rig.endpoint, "/bytes/10", 10);
    assert_int_equal(http_server_connections(rig.server), 2);
    rig_stop(&rig);
}

static void a_broken_connection_is_transient_and_sends_once(void **state)
{
    static const char *const PATHS[] = {"/echo?nothing", "/echo?reset",
                                        "/bytes/10000?half-close"};
    static const char *const METHODS[] = {"PUT", "POST"};
    struct rig rig;
    (void)state;
    rig_start(&rig, "good.pem", trusting());
    for (size_t i = 0; i < ARRAY_COUNT(PATHS); i++)
        for (size_t j = 0; j < 2 * ARRAY_COUNT(METHODS); j++) {
            assert_gets(rig.endpoint, "/bytes/10", 10); /* a kept one is used */
            atomic_store(&answered, 0);
            assert_fails(rig.endpoint,
                         (struct http_request){.method = METHODS[j / 2],
                                               .path = PATHS[i],
                                               .body = "body",
                                               .body_bytes = j % 2 ? 4 : 0},
                         FAIL_TRANSIENT, "connection to");
            /* A PUT without a body may be repeated, it is idempotent. */
            if (j != 0)
                assert_int_equal(atomic_load(&answered), 1);
        }
    rig_stop(&rig);
}

static void a_unix_socket(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    struct http_server_options options = {.handler = answer,
                                          .socket_path = file_in_dir("socket")};
    struct http_server *server = http_server_start(&options);
    struct http_endpoint_options way = {.url = "http://localhost",
                                        .socket_path = file_in_dir("socket")};
    AUTO(http_endpoint_close)
    struct http_endpoint *endpoint = http_endpoint_open(&way, &err);
    AUTO(http_answer_release) struct http_answer got = {0};
    struct http_request request = REQUEST(.method = "GET");
    assert_true(http_exchange(endpoint, &request, &got, &err));
    assert_string_equal(got.address, "unix");
    http_server_stop(server);
    assert_int_equal(unlink(file_in_dir("socket")), 0);
    assert_fails(endpoint, REQUEST(), FAIL_TRANSIENT, "nobody answers");
}

/* ---- ends ---- */

static void deadlines_and_stalls(void **state)
{
    static const char *const PATHS[] = {"/bytes/10?silence", "/bytes/10000?half-stall"};
    struct rig rig;
    (void)state;
    rig_start(&rig, "good.pem", trusting());
    for (size_t i = 0; i < 2; i++) {
        uint64_t started = clock_mono_ms();
        assert_fails(rig.endpoint,
                     (struct http_request){.path = PATHS[i], .deadline_ms = 300},
                     FAIL_TRANSIENT, "did not answer in time");
        assert_in_range(clock_mono_ms() - started, 290, 1500);
        started = clock_mono_ms();
        assert_fails(rig.endpoint,
                     (struct http_request){.path = PATHS[i], .stall_ms = 300},
                     FAIL_TRANSIENT, "silent for 300 ms");
        assert_in_range(clock_mono_ms() - started, 290, 1500);
    }
    assert_gets(rig.endpoint, "/bytes/10", 10);
    rig_stop(&rig);
}

static void *set_soon(void *cancel)
{
    clock_sleep_ms(150);
    cancel_set(cancel);
    return NULL;
}

static void cancel_ends_it_at_once(void **state)
{
    struct rig rig;
    struct cancel cancel;
    pthread_t thread;
    (void)state;
    rig_start(&rig, "good.pem", trusting());
    static const char *const PATHS[] = {"/bytes/10?silence", "/bytes/10000?half-stall"};
    for (size_t i = 0; i < 2; i++) {
        cancel_init(&cancel);
        uint64_t started = clock_mono_ms();
        assert_int_equal(pthread_create(&thread, NULL, set_soon, &cancel), 0);
        assert_fails(rig.endpoint,
                     (struct http_request){.path = PATHS[i], .cancel = &cancel},
                     FAIL_CANCELED, "canceled");
        assert_in_range(clock_mono_ms() - started, 140, 230 + 500);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_fails(rig.endpoint, REQUEST(.cancel = &cancel), FAIL_CANCELED, "canceled");
        cancel_release(&cancel);
    }
    assert_gets(rig.endpoint, "/bytes/10", 10);
    rig_stop(&rig);
}

/* Takes one request, 64 KiB every 40 ms, and answers. */
static void *read_slowly(void *ctx)
{
    static const char ANSWER[] = "HTTP/1.1 200 Answer\r\nContent-Length: 0\r\n\r\n";
    static char piece[64 * 1024];
    const int *listen_fd = ctx;
    AUTO(close_fd) int fd = accept(*listen_fd, NULL, NULL);
    size_t want = 3 * MIB;
    for (ssize_t n; want && (n = recv(fd, piece, sizeof piece, 0)) > 0;) {
        want -= MIN_OF(want, (size_t)n);
        clock_sleep_ms(40);
    }
    (void)send(fd, ANSWER, sizeof ANSWER - 1, MSG_NOSIGNAL); /* the client looks */
    return NULL;
}

/* The system takes the body at once; only its queue shows that bytes still move. */
static void a_slow_uplink_is_not_silent(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int small = 64 * 1024;
    char url[64];
    struct err err = ERR_INIT;
    pthread_t thread;
    (void)state;
    AUTO(free) uint8_t *body = xcalloc(1, 3 * MIB);
    AUTO(close_fd) int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(pthread_create(&thread, NULL, read_slowly, &fd), 0);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", ntohs(address.sin_port));
    struct http_endpoint_options way = {.url = url};
    AUTO(http_endpoint_close)
    struct http_endpoint *endpoint = http_endpoint_open(&way, &err);
    AUTO(http_answer_release) struct http_answer got = {0};
    struct http_request request = {.method = "PUT",
                                   .path = "/",
                                   .body = body,
                                   .body_bytes = 3 * MIB,
                                   .stall_ms = 400};
    uint64_t started = clock_mono_ms();
    if (!http_exchange(endpoint, &request, &got, &err))
        fail_msg("%s", err.text);
    assert_true(clock_mono_ms() - started > 1000);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void nobody_listens(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    struct http_endpoint_options way = {.url = "http://127.0.0.1:1"};
    AUTO(http_endpoint_close)
    struct http_endpoint *endpoint = http_endpoint_open(&way, &err);
    assert_fails(endpoint, REQUEST(), FAIL_TRANSIENT, "nobody answers");
    way.url = "http://nowhere.invalid";
    AUTO(http_endpoint_close)
    struct http_endpoint *nowhere = http_endpoint_open(&way, &err);
    assert_fails(nowhere, REQUEST(), FAIL_TRANSIENT, "nowhere.invalid");
    uint8_t pin[HTTP_PIN_BYTES];
    assert_false(http_endpoint_fingerprint(nowhere, pin, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
}

/* ---- many at once ---- */

#define THREADS 12
#define CALLS   40

struct worker {
    pthread_t thread;
    struct http_endpoint *endpoint;
    unsigned number, failures;
};

static void *call_often(void *ctx)
{
    struct worker *worker = ctx;
    uint8_t sent[5000], got_bytes[5000];
    for (unsigned i = 0; i < CALLS; i++) {
        struct err err = ERR_INIT;
        struct http_answer got = {0};
        memset(sent, (int)(worker->number * CALLS + i), sizeof sent);
        struct http_request request = {.method = "PUT",
                                       .path = "/echo",
                                       .body = sent,
                                       .body_bytes = 1 + i * 100,
                                       .into = got_bytes,
                                       .into_bytes = sizeof got_bytes};
        bool ok = http_exchange(worker->endpoint, &request, &got, &err);
        if (!ok || got.into_bytes != request.body_bytes ||
            memcmp(sent, got_bytes, got.into_bytes) != 0)
            worker->failures++;
        if (ok)
            http_answer_release(&got);
    }
    return NULL;
}

static void many_threads_share_an_endpoint(void **state)
{
    struct worker workers[THREADS];
    struct rig rig;
    (void)state;
    struct http_endpoint_options way = trusting();
    way.max_idle = THREADS;
    rig_start(&rig, "good.pem", way);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.endpoint = rig.endpoint, .number = i};
        assert_int_equal(
            pthread_create(&workers[i].thread, NULL, call_often, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        assert_int_equal(workers[i].failures, 0);
    }
    assert_in_range(http_server_connections(rig.server), 1, THREADS);
    rig_stop(&rig);
}

/* ---- texts ---- */

static void fingerprints_as_text(void **state)
{
    struct err err = ERR_INIT;
    uint8_t pin[HTTP_PIN_BYTES], back[HTTP_PIN_BYTES];
    char text[HTTP_PIN_TEXT_BYTES], bare[65];
    (void)state;
    for (size_t i = 0; i < sizeof pin; i++)
        pin[i] = (uint8_t)(i * 9);
    assert_int_equal(strlen(http_pin_text(pin, text)), 95);
    assert_true(strncmp(text, "00:09:12:1B", 11) == 0);
    assert_true(http_pin_parse(text, back, &err));
    assert_memory_equal(pin, back, sizeof pin);
    for (size_t i = 0, j = 0; text[i]; i++)
        if (text[i] != ':')
            bare[j++] = text[i];
    bare[64] = 0;
    assert_true(http_pin_parse(bare, back, &err));
    assert_memory_equal(pin, back, sizeof pin);
    static const char *const BAD[] = {"", "AB", ":", "zz"};
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++)
        assert_false(http_pin_parse(BAD[i], back, &err));
    text[4] = ':';
    assert_false(http_pin_parse(text, back, &err));
    bare[63] = ':';
    assert_false(http_pin_parse(bare, back, &err));
    bare[63] = 'G';
    assert_false(http_pin_parse(bare, back, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
}

static void odd_addresses_are_refused(void **state)
{
    static const char *const URLS[] = {"",
                                       "ftp://x",
                                       "x:80",
                                       "http://",
                                       "http://x/path",
                                       "http://user@host",
                                       "http://user:p@host",
                                       "http://host?q",
                                       "http://host#f",
                                       "http://ho st",
                                       "file:///etc/passwd",
                                       "http://host:99999"};
    static const char *const PROXIES[] = {"", "socks5://x", "https://x", "http://u:p@x:1",
                                          "http://x/path"};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(URLS); i++) {
        struct err err = ERR_INIT;
        struct http_endpoint_options way = {.url = URLS[i]};
        if (http_endpoint_open(&way, &err))
            fail_msg("'%s' was taken", URLS[i]);
        assert_int_equal(err.kind, FAIL_INPUT);
    }
    for (size_t i = 0; i < ARRAY_COUNT(PROXIES); i++) {
        struct err err = ERR_INIT;
        struct http_endpoint_options way = {.url = "http://x", .proxy_url = PROXIES[i]};
        if (http_endpoint_open(&way, &err))
            fail_msg("'%s' was taken", PROXIES[i]);
        assert_int_equal(err.kind, FAIL_INPUT);
        assert_null(strstr(err.text, "u:p"));
    }
}

static void a_proxy_password_needs_a_user(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    AUTO(secret_free) struct secret *password = secret_new("p", 1);
    struct http_endpoint_options way = {.url = "http://x", .proxy_password = password};
    assert_null(http_endpoint_open(&way, &err));
    way.proxy_url = "http://p:1";
    assert_null(http_endpoint_open(&way, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sent_arrives),
        cmocka_unit_test(headers_go_both_ways),
        cmocka_unit_test(requests_that_could_smuggle_are_refused),
        cmocka_unit_test(every_status_is_an_answer),
        cmocka_unit_test(into_takes_2xx_only_and_no_more_than_fits),
        cmocka_unit_test(answers_are_bounded),
        cmocka_unit_test(a_head_has_no_body),
        cmocka_unit_test(connections_are_kept),
        cmocka_unit_test(a_broken_connection_is_transient_and_sends_once),
        cmocka_unit_test(a_unix_socket),
        cmocka_unit_test(deadlines_and_stalls),
        cmocka_unit_test(cancel_ends_it_at_once),
        cmocka_unit_test(a_slow_uplink_is_not_silent),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(many_threads_share_an_endpoint),
        cmocka_unit_test(fingerprints_as_text),
        cmocka_unit_test(odd_addresses_are_refused),
        cmocka_unit_test(a_proxy_password_needs_a_user),
    };
    return cmocka_run_group_tests_name("exchange", tests, rig_make_dir, rig_remove_dir);
}
