/* SPDX-License-Identifier: Apache-2.0 */
/* base/pool, base/queue, base/throttle and base/process: waiting, ending, giving up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/pool.h"
#include "base/process.h"
#include "base/queue.h"
#include "base/throttle.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

/* ---- pool ---- */

static void *give_later(void *ctx)
{
    void **args = ctx;
    clock_sleep_ms(30);
    pool_give(args[0], args[1]);
    return NULL;
}

static void *cancel_later(void *ctx)
{
    clock_sleep_ms(30);
    cancel_set(ctx);
    return NULL;
}

static void pool_bounds_and_waits(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    AUTO(pool_free) struct pool *pool = pool_new(2, 5000);
    assert_int_equal(pool_each_bytes(pool), 8192);
    assert_int_equal(pool_total_bytes(pool), 16384);
    uint8_t *a = pool_take(pool, NULL, &err), *b = pool_take(pool, NULL, &err);
    assert_true(a && b && a != b);
    assert_int_equal((uintptr_t)a % 4096, 0);
    assert_int_equal((uintptr_t)b % 4096, 0);
    memset(a, 1, 8192);
    memset(b, 2, 8192);
    assert_int_equal(a[8191], 1); /* they do not overlap */
    void *args[] = {pool, b};
    pthread_t thread;
    uint64_t start_ms = clock_mono_ms();
    assert_int_equal(pthread_create(&thread, NULL, give_later, args), 0);
    assert_ptr_equal(pool_take(pool, NULL, &err), b);
    assert_true(clock_mono_ms() - start_ms >= 29);
    assert_int_equal(pthread_join(thread, NULL), 0);
    struct cancel cancel;
    cancel_init(&cancel);
    assert_int_equal(pthread_create(&thread, NULL, cancel_later, &cancel), 0);
    assert_null(pool_take(pool, &cancel, &err));
    assert_int_equal(err.kind, FAIL_CANCELED);
    assert_int_equal(pthread_join(thread, NULL), 0);
    cancel_release(&cancel);
    pool_give(pool, NULL);
    pool_give(pool, a);
    pool_give(pool, b);
}

/* ---- queue ---- */

#define ITEMS     20000
#define PRODUCERS 3

struct traffic {
    struct queue *queue;
    _Atomic uint64_t sum, count;
};

static void *produce(void *ctx)
{
    struct traffic *traffic = ctx;
    for (uintptr_t i = 1; i <= ITEMS; i++)
        if (!queue_put(traffic->queue, (void *)i))
            return ctx;
    return NULL;
}

static void *consume(void *ctx)
{
    struct traffic *traffic = ctx;
    for (void *item; (item = queue_take(traffic->queue)) != NULL;) {
        atomic_fetch_add(&traffic->sum, (uintptr_t)item);
        atomic_fetch_add(&traffic->count, 1);
    }
    return NULL;
}

static void queue_loses_and_doubles_nothing(void **state)
{
    (void)state;
    struct traffic traffic = {.queue = queue_new(7)};
    pthread_t producers[PRODUCERS], consumers[2];
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&consumers[i], NULL, consume, &traffic), 0);
    for (size_t i = 0; i < PRODUCERS; i++)
        assert_int_equal(pthread_create(&producers[i], NULL, produce, &traffic), 0);
    for (size_t i = 0; i < PRODUCERS; i++) {
        void *failed = &traffic;
        assert_int_equal(pthread_join(producers[i], &failed), 0);
        assert_null(failed);
    }
    queue_close(traffic.queue); /* takers drain, then end */
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_join(consumers[i], NULL), 0);
    assert_int_equal(traffic.count, PRODUCERS * ITEMS);
    assert_int_equal(traffic.sum, PRODUCERS * (uint64_t)ITEMS * (ITEMS + 1) / 2);
    queue_free(traffic.queue);
}

static void queue_is_in_order_and_close_refuses(void **state)
{
    (void)state;
    int one = 1, two = 2, three = 3;
    struct queue *queue = queue_new(2);
    assert_true(queue_put(queue, &one));
    assert_true(queue_put(queue, &two));
    queue_close(queue);
    assert_false(queue_put(queue, &three)); /* full, but it does not wait */
    assert_ptr_equal(queue_take(queue), &one);
    assert_ptr_equal(queue_take(queue), &two);
    assert_null(queue_take(queue));
    queue_close(queue);
    queue_free(queue);
}

static void *put_one_more(void *ctx)
{
    return queue_put(ctx, ctx) ? NULL : ctx;
}

static void close_wakes_a_waiting_putter(void **state)
{
    (void)state;
    struct queue *queue = queue_new(1);
    pthread_t thread;
    void *refused = NULL;
    assert_true(queue_put(queue, queue));
    assert_int_equal(pthread_create(&thread, NULL, put_one_more, queue), 0);
    clock_sleep_ms(20);
    queue_close(queue);
    assert_int_equal(pthread_join(thread, &refused), 0);
    assert_ptr_equal(refused, queue);
    assert_ptr_equal(queue_take(queue), queue);
    queue_free(queue);
}

/* ---- throttle ---- */

static uint64_t time_of_passing(struct throttle *throttle, unsigned times, uint64_t bytes)
{
    struct err err = ERR_INIT;
    uint64_t start_ms = clock_mono_ms();
    for (unsigned i = 0; i < times; i++)
        assert_true(throttle_pass(throttle, bytes, NULL, &err));
    return clock_mono_ms() - start_ms;
}

static void throttle_keeps_the_rate(void **state)
{
    (void)state;
    struct throttle *throttle = throttle_new(1000000);
    uint64_t took_ms = time_of_passing(throttle, 6, 100000);
    /* The last one may go before it is paid for: 500 ms, less the bucket's 250 at most.
     */
    assert_true(took_ms >= 240);
    assert_true(took_ms < 3000); /* a busy machine */
    assert_int_equal(throttle_rate(throttle), 1000000);
    throttle_set_rate(throttle, 0);
    assert_true(time_of_passing(throttle, 100, GIB) < 1000);
    throttle_free(throttle);
    assert_true(time_of_passing(NULL, 10, GIB) < 1000);
    throttle_free(NULL);
}

static void *raise_rate(void *ctx)
{
    clock_sleep_ms(30);
    throttle_set_rate(ctx, 100000000);
    return NULL;
}

static void a_new_rate_and_a_cancel_take_effect_at_once(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct throttle *throttle = throttle_new(1000);
    pthread_t thread;
    assert_true(throttle_pass(throttle, 60000, NULL, &err)); /* owes 60 s */
    struct cancel cancel;
    cancel_init(&cancel);
    assert_int_equal(pthread_create(&thread, NULL, cancel_later, &cancel), 0);
    uint64_t start_ms = clock_mono_ms();
    assert_false(throttle_pass(throttle, 1, &cancel, &err));
    assert_int_equal(err.kind, FAIL_CANCELED);
    assert_true(clock_mono_ms() - start_ms < 5000);
    assert_int_equal(pthread_join(thread, NULL), 0);
    cancel_release(&cancel);
    assert_int_equal(pthread_create(&thread, NULL, raise_rate, throttle), 0);
    assert_true(time_of_passing(throttle, 1, 1) < 5000);
    assert_int_equal(pthread_join(thread, NULL), 0);
    throttle_free(throttle);
}

struct sender {
    struct throttle *throttle;
    const struct cancel *cancel;
    uint64_t each_bytes;
    uint64_t passed_bytes;
    pthread_t thread;
};

static void *send_always(void *ctx)
{
    struct sender *sender = ctx;
    struct err err = ERR_INIT;
    while (throttle_pass(sender->throttle, sender->each_bytes, sender->cancel, &err))
        sender->passed_bytes += sender->each_bytes;
    return NULL;
}

/* Two machines with two senders each: small pieces against large ones, which would crowd
 * them out in a queue of whole pieces. Both get half, and together the rate. */
static void senders_share_the_rate(void **state)
{
    (void)state;
    struct throttle *throttle = throttle_new(40000000);
    struct sender senders[4];
    struct cancel cancel;
    cancel_init(&cancel);
    for (size_t i = 0; i < 4; i++) {
        senders[i] = (struct sender){.throttle = throttle,
                                     .cancel = &cancel,
                                     .each_bytes = i < 2 ? MIB : 128 * KIB};
        assert_int_equal(
            pthread_create(&senders[i].thread, NULL, send_always, &senders[i]), 0);
    }
    clock_sleep_ms(1500);
    cancel_set(&cancel);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_join(senders[i].thread, NULL), 0);
    uint64_t large = senders[0].passed_bytes + senders[1].passed_bytes;
    uint64_t small = senders[2].passed_bytes + senders[3].passed_bytes;
    assert_in_range(large * 100 / (large + small), 40, 60);
    assert_in_range(large + small, 30000000, 90000000);
    cancel_release(&cancel);
    throttle_free(throttle);
}

/* ---- process ---- */

#define SH(script)                                                                       \
    (const char *const[])                                                                \
    {                                                                                    \
        "sh", "-c", script, NULL                                                         \
    }

static void a_child_runs_and_is_heard(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf out = {0};
    assert_true(process_run(SH("echo hello; echo noise >&2"), 10000, NULL, &out, &err));
    assert_string_equal(buf_text(&out), "hello\n");
    assert_true(process_run(SH("cat"), 10000, NULL, NULL, &err)); /* input is empty */
    assert_false(process_run(SH("echo a >&2; echo 'the reason' >&2; exit 3"), 10000, NULL,
                             NULL, &err));
    assert_int_equal(err.kind, FAIL_IO);
    assert_string_equal(err.text, "'sh' ended with status 3: the reason");
    assert_false(process_run(SH("kill -9 $$"), 10000, NULL, NULL, &err));
    assert_non_null(strstr(err.text, "signal 9"));
    const char *const nowhere[] = {"/no/such/program", NULL};
    assert_false(process_run(nowhere, 10000, NULL, NULL, &err));
    assert_int_equal(err.kind, FAIL_GONE);
    assert_non_null(strstr(err.text, "/no/such/program"));
}

static void a_child_inherits_nothing(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf out = {0};
    assert_int_equal(setenv("KEDGE_TEST_SECRET", "leaked", 1), 0);
    int fd = open("/dev/null", O_RDONLY); /* no O_CLOEXEC, on purpose */
    int high = fcntl(fd, F_DUPFD, 200);
    assert_true(fd >= 0 && high >= 200);
    assert_true(process_run(SH("env; ls /proc/self/fd"), 10000, NULL, &out, &err));
    assert_null(strstr(buf_text(&out), "leaked"));
    assert_null(strstr(buf_text(&out), "200"));
    assert_non_null(strstr(buf_text(&out), "PATH="));
    (void)close(fd);
    (void)close(high);
}

static void much_output_is_cut_without_a_gap(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf out = {0};
    assert_true(process_run(SH("yes 0123456 | head -c 3000000; yes | head -c 300000 >&2"),
                            20000, NULL, &out, &err));
    assert_int_equal(out.bytes, PROCESS_OUTPUT_MAX_BYTES);
    for (size_t i = 0; i < out.bytes; i++)
        assert_int_equal(out.data[i], "0123456\n"[i % 8]);
}

static void a_child_past_its_deadline_is_killed(void **state)
{
    (void)state;
    static const char *const SCRIPTS[] = {
        "exec sleep 30",
        "exec >&- 2>&-; exec sleep 30", /* closes its outputs and goes on */
        "trap '' TERM INT HUP; while :; do sleep 1; done",
    };
    for (size_t i = 0; i < ARRAY_COUNT(SCRIPTS); i++) {
        struct err err = ERR_INIT;
        uint64_t start_ms = clock_mono_ms();
        assert_false(process_run(SH(SCRIPTS[i]), 150, NULL, NULL, &err));
        assert_int_equal(err.kind, FAIL_TRANSIENT);
        assert_in_range(clock_mono_ms() - start_ms, 149, 5000);
    }
    struct err err = ERR_INIT;
    struct cancel cancel;
    pthread_t thread;
    cancel_init(&cancel);
    assert_int_equal(pthread_create(&thread, NULL, cancel_later, &cancel), 0);
    assert_false(process_run(SH(SCRIPTS[1]), 20000, &cancel, NULL, &err));
    assert_int_equal(err.kind, FAIL_CANCELED);
    assert_int_equal(pthread_join(thread, NULL), 0);
    cancel_release(&cancel);
}

static void a_started_child_is_stopped(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    char log[] = "/tmp/kedge-log-XXXXXX";
    int fd = mkstemp(log), gentle = 0, stubborn = 0;
    assert_true(fd >= 0);
    (void)close(fd);
    assert_true(
        process_start(SH("echo out; echo err >&2; exec sleep 60"), log, &gentle, &err));
    assert_true(process_start(SH("trap '' TERM; echo ready; while :; do sleep 1; done"),
                              log, &stubborn, &err));
    AUTO(buf_release) struct buf text = {0};
    for (int i = 0; i < 500 && !strstr(buf_text(&text), "ready"); i++) {
        clock_sleep_ms(10);
        buf_clear(&text);
        assert_true(file_read(log, MIB, &text, &err));
    }
    assert_non_null(strstr(buf_text(&text), "ready"));
    assert_true(process_is_alive(gentle) && process_is_alive(stubborn));
    assert_int_equal(getsid(gentle), gentle); /* survives us */
    assert_true(process_stop(gentle, 5000, &err));
    assert_true(process_stop(stubborn, 50, &err));
    assert_false(process_is_alive(gentle) || process_is_alive(stubborn));
    assert_true(process_stop(gentle, 50, &err)); /* gone is success */
    buf_clear(&text);
    assert_true(file_read(log, MIB, &text, &err));
    assert_non_null(strstr(buf_text(&text), "out"));
    assert_non_null(strstr(buf_text(&text), "err"));
    assert_false(process_start(SH("true"), "/no/such/folder/log", &gentle, &err));
    (void)unlink(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_bounds_and_waits),
        cmocka_unit_test(queue_loses_and_doubles_nothing),
        cmocka_unit_test(queue_is_in_order_and_close_refuses),
        cmocka_unit_test(close_wakes_a_waiting_putter),
        cmocka_unit_test(throttle_keeps_the_rate),
        cmocka_unit_test(a_new_rate_and_a_cancel_take_effect_at_once),
        cmocka_unit_test(senders_share_the_rate),
        cmocka_unit_test(a_child_runs_and_is_heard),
        cmocka_unit_test(a_child_inherits_nothing),
        cmocka_unit_test(much_output_is_cut_without_a_gap),
        cmocka_unit_test(a_child_past_its_deadline_is_killed),
        cmocka_unit_test(a_started_child_is_stopped),
    };
    return cmocka_run_group_tests_name("flow", tests, NULL, NULL);
}
