/* SPDX-License-Identifier: Apache-2.0 */
/* The QMP client against a scripted peer: order, events, and everything hostile. */
#include "qemu/qmp.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n"
#define READY    "{\"return\": {}, \"id\": 1}\r\n"

/* Sent at once, before the client's Nth line is waited for. NULL: close. */
struct script {
    const char *greeting;
    const char *answers[6];
    size_t flood_bytes; /* without a line end, after the greeting */
};

struct peer {
    char dir[64];
    char path[96];
    int fd;
    pthread_t thread;
    const struct script *script;
};

static void say(int fd, const char *text)
{
    if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
        return; /* the client has gone: that is its right */
}

static void *peer_run(void *context)
{
    struct peer *peer = context;
    char line[4096];
    int fd = accept4(peer->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return NULL;
    if (peer->script->greeting)
        say(fd, peer->script->greeting);
    AUTO(free) char *flood = xcalloc(1, MIB + 1);
    memset(flood, 'x', MIB);
    for (size_t sent = 0; sent < peer->script->flood_bytes; sent += MIB)
        say(fd, flood);
    for (size_t i = 0; i < ARRAY_COUNT(peer->script->answers); i++) {
        if (read(fd, line, sizeof line) <= 0 || !peer->script->answers[i])
            break;
        say(fd, peer->script->answers[i]);
    }
    (void)close(fd);
    return NULL;
}

static void peer_start(struct peer *peer, const struct script *script)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    *peer = (struct peer){.script = script};
    text_copy(peer->dir, sizeof peer->dir, "/tmp/kedge-qmp-XXXXXX");
    assert_non_null(mkdtemp(peer->dir));
    (void)snprintf(peer->path, sizeof peer->path, "%s/qmp", peer->dir);
    text_copy(address.sun_path, sizeof address.sun_path, peer->path);
    peer->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(peer->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(peer->fd, 1), 0);
    assert_int_equal(pthread_create(&peer->thread, NULL, peer_run, peer), 0);
}

static void peer_stop(struct peer *peer)
{
    struct err err = ERR_INIT;
    (void)shutdown(peer->fd, SHUT_RDWR);
    assert_int_equal(pthread_join(peer->thread, NULL), 0);
    (void)close(peer->fd);
    assert_true(file_remove_tree(peer->dir, &err));
}

static void test_events_and_late_answers(void **state)
{
    static const struct script script = {
        .greeting = GREETING,
        .answers = {READY,
                    /* to the first call, that runs out of time: an event only */
                    "{\"event\": \"A\", \"data\": {\"n\": 1}}\r\n",
                    /* to the second: the first one's answer, then events, then its own */
                    "{\"return\": \"late\", \"id\": 2}\r\n"
                    "{\"event\": \"B\"}\r\n{\"event\": \"A\", \"data\": {\"n\": 2}}\r\n"
                    "{\"return\": \"right\", \"id\": 3}\r\n",
                    "{\"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"no d0\"}, "
                    "\"id\": 4}\r\n",
                    "{\"error\": {}, \"id\": 5}\r\n"},
    };
    struct peer peer;
    struct err err = ERR_INIT;
    (void)state;
    peer_start(&peer, &script);
    struct qmp *qmp = qmp_open(peer.path, 5000, &err);
    assert_non_null(qmp);
    assert_false(qmp_call(qmp, "first", NULL, 200, NULL, &err));
    assert_int_equal(err.kind, FAIL_TRANSIENT);
    AUTO(json_free) json_t *value = NULL;
    assert_true(qmp_call(qmp, "second", json_object(), 5000, &value, &err));
    assert_string_equal(json_string_value(value), "right");
    for (int n = 1; n <= 2; n++) { /* each once, in order, whatever is in between */
        AUTO(json_free) json_t *data = NULL;
        assert_true(qmp_wait_event(qmp, "A", 5000, NULL, &data, &err));
        assert_int_equal(json_integer_value(json_object_get(data, "n")), n);
    }
    AUTO(json_free) json_t *empty = NULL;
    assert_true(qmp_wait_event(qmp, "B", 5000, NULL, &empty, &err));
    assert_true(json_is_object(empty));
    err_clear(&err);
    assert_false(qmp_wait_event(qmp, "A", 50, NULL, NULL, &err));
    assert_int_equal(err.kind, FAIL_TRANSIENT);
    err_clear(&err);
    assert_false(qmp_call(qmp, "third", NULL, 5000, NULL, &err));
    assert_int_equal(err.kind, FAIL_GONE);
    assert_string_equal(err.text, "QMP third: no d0");
    err_clear(&err);
    assert_false(qmp_call(qmp, "fourth", NULL, 5000, NULL, &err));
    assert_int_equal(err.kind, FAIL_IO);
    err_clear(&err);
    assert_false(qmp_call(qmp, "fifth", NULL, 5000, NULL, &err)); /* it hangs up */
    assert_int_equal(err.kind, FAIL_TRANSIENT);
    qmp_close(qmp);
    qmp_close(NULL);
    peer_stop(&peer);
}

static void expect_open_fails(const struct script *script, enum err_kind kind)
{
    struct peer peer;
    struct err err = ERR_INIT;
    peer_start(&peer, script);
    uint64_t start_ms = clock_mono_ms();
    struct qmp *qmp = qmp_open(peer.path, 500, &err);
    print_message("%s\n", err.text);
    assert_null(qmp);
    assert_int_equal(err.kind, kind);
    assert_in_range(clock_mono_ms() - start_ms, 0, 5000);
    peer_stop(&peer);
}

static void test_hostile_greetings(void **state)
{
    static const struct script
        silent = {.greeting = NULL},
        garbage = {.greeting = "SSH-2.0-OpenSSH_9.2\r\n"},
        other_json = {.greeting = "{\"return\": {}}\r\n"},
        no_object = {.greeting = "[1, 2]\r\n"},
        cut = {.greeting = "{\"QMP\": {}", .answers = {NULL}},
        no_ready = {.greeting = GREETING, .answers = {NULL}},
        refused = {.greeting = GREETING,
                   .answers = {"{\"error\": {\"class\": \"CommandNotFound\", \"desc\": "
                               "\"busy\"}, \"id\": 1}\r\n"}},
        twice = {.greeting = "{\"QMP\": {}, \"QMP\": {}}\r\n"};
    (void)state;
    expect_open_fails(&silent, FAIL_TRANSIENT);
    expect_open_fails(&garbage, FAIL_INPUT);
    expect_open_fails(&other_json, FAIL_INPUT);
    expect_open_fails(&no_object, FAIL_INPUT);
    expect_open_fails(&cut, FAIL_TRANSIENT);
    expect_open_fails(&no_ready, FAIL_TRANSIENT);
    expect_open_fails(&refused, FAIL_IO);
    expect_open_fails(&twice, FAIL_INPUT);
}

static void test_endless_line(void **state)
{
    static const struct script flood = {.greeting = "{\"QMP\": \"",
                                        .flood_bytes = 40 * MIB};
    struct peer peer;
    struct err err = ERR_INIT;
    (void)state;
    peer_start(&peer, &flood);
    assert_null(qmp_open(peer.path, 20000, &err));
    assert_int_equal(err.kind, FAIL_LIMIT);
    peer_stop(&peer);
}

static void test_event_flood_is_bounded(void **state)
{
    AUTO(buf_release) struct buf events = {0};
    (void)state;
    for (int i = 0; i < QMP_MAX_EVENTS + 50; i++)
        buf_printf(&events, "{\"event\": \"E\", \"data\": {\"n\": %d}}\r\n", i);
    buf_append_text(&events, "{\"return\": {}, \"id\": 2}\r\n");
    struct script script = {.greeting = GREETING, .answers = {READY, buf_text(&events)}};
    struct peer peer;
    struct err err = ERR_INIT;
    peer_start(&peer, &script);
    struct qmp *qmp = qmp_open(peer.path, 5000, &err);
    assert_non_null(qmp);
    assert_true(qmp_call(qmp, "go", NULL, 5000, NULL, &err));
    for (int i = 50; i < QMP_MAX_EVENTS + 50; i++) {
        AUTO(json_free) json_t *data = NULL;
        assert_true(qmp_wait_event(qmp, "E", 1000, NULL, &data, &err));
        assert_int_equal(json_integer_value(json_object_get(data, "n")), i);
    }
    struct cancel cancel;
    cancel_init(&cancel);
    cancel_set(&cancel);
    assert_false(qmp_wait_event(qmp, "E", 60000, &cancel, NULL, &err));
    assert_int_equal(err.kind, FAIL_CANCELED);
    cancel_release(&cancel);
    qmp_close(qmp);
    peer_stop(&peer);
}

static void test_paths(void **state)
{
    struct err err = ERR_INIT;
    char longest[300];
    (void)state;
    assert_null(qmp_open("/nonexistent/qmp", 1000, &err));
    assert_non_null(strstr(err.text, "; "));
    err_clear(&err);
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_null(qmp_open(longest, 1000, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_and_late_answers),
        cmocka_unit_test(test_hostile_greetings),
        cmocka_unit_test(test_endless_line),
        cmocka_unit_test(test_event_flood_is_bounded),
        cmocka_unit_test(test_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
