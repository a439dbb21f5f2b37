/* SPDX-License-Identifier: Apache-2.0 */
/* The fault store does what its options say, the same each time, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "store/store.h"

#include <unistd.h>

#define ALWAYS 1000000u

static struct store *fault_over_memory(const struct store_fault_options *options)
{
    return store_fault_new(store_memory_new(), options);
}

static bool put(struct store *store, const char *name, const char *text, struct err *err)
{
    return store_put(store, name, (const uint8_t *)text, strlen(text), STORE_IF_ABSENT,
                     err);
}

static uint64_t pattern_of(uint64_t seed, uint32_t rate_per_million)
{
    struct store_fault_options options = {
        .seed = seed, .rate_per_million = rate_per_million, .kind = FAIL_TRANSIENT};
    AUTO(store_close) struct store *store = fault_over_memory(&options);
    uint64_t pattern = 0;
    for (unsigned i = 0; i < 64; i++) {
        struct err err = ERR_INIT;
        if (!store_remove(store, "x", &err)) {
            assert_int_equal(err.kind, FAIL_TRANSIENT);
            pattern |= (uint64_t)1 << i;
        }
    }
    return pattern;
}

static void rate_and_seed(void **state)
{
    (void)state;
    assert_true(pattern_of(1, 0) == 0);
    assert_true(pattern_of(1, ALWAYS) == UINT64_MAX);
    assert_true(pattern_of(1, ALWAYS / 2) == pattern_of(1, ALWAYS / 2));
    assert_true(pattern_of(1, ALWAYS / 2) != pattern_of(2, ALWAYS / 2));
    int failed = 0;
    for (uint64_t seed = 0; seed < 20; seed++)
        failed += __builtin_popcountll(pattern_of(seed, ALWAYS / 4));
    assert_in_range(failed, 240, 400); /* of 1280; 320 expected */
}

static void after_calls_and_trigger(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    char path[] = "/tmp/kedge-trigger-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    struct store_fault_options options = {.rate_per_million = ALWAYS,
                                          .after_calls = 2,
                                          .kind = FAIL_IO,
                                          .trigger_path = path};
    AUTO(store_close) struct store *store = fault_over_memory(&options);
    assert_true(put(store, "a", "1", &err));
    assert_true(put(store, "b", "2", &err));
    assert_false(put(store, "c", "3", &err));
    assert_int_equal(unlink(path), 0);
    assert_true(put(store, "c", "3", &err));
}

static void drop_after_ack(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    uint64_t bytes;
    struct store_fault_options options = {
        .rate_per_million = ALWAYS, .kind = FAIL_NONE, .drop_after_ack = true};
    AUTO(store_close) struct store *store = fault_over_memory(&options);
    assert_true(put(store, "a", "lost", &err));
    assert_false(store_size(store, "a", &bytes, &err));
    assert_int_equal(err.kind, FAIL_GONE);
}

static void torn_put(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct store_fault_options options = {
        .rate_per_million = ALWAYS, .kind = FAIL_NONE, .torn_put = true};
    AUTO(store_close) struct store *store = fault_over_memory(&options);
    assert_false(put(store, "a", "0123456789", &err));
    assert_int_equal(err.kind, FAIL_IO);
    AUTO(buf_release) struct buf got = {0};
    assert_true(store_get_all(store, "a", 100, &got, &err));
    assert_string_equal(buf_text(&got), "01234");
    /* The rules of the contract stay: what exists is a conflict, not a torn one. */
    assert_false(put(store, "a", "0123456789", &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
}

static void corrupt_get_flips_one_bit(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct store_fault_options options = {
        .rate_per_million = ALWAYS, .after_calls = 1, .corrupt_get = true};
    AUTO(store_close) struct store *store = fault_over_memory(&options);
    const char *text = "some content that is long enough";
    assert_true(put(store, "a", text, &err));
    for (int i = 0; i < 50; i++) {
        uint8_t data[64];
        size_t got = 0;
        int flipped = 0;
        assert_true(store_get(store, "a", 0, data, sizeof data, &got, &err));
        assert_int_equal(got, strlen(text));
        for (size_t at = 0; at < got; at++)
            flipped += __builtin_popcount((unsigned)(data[at] ^ (uint8_t)text[at]));
        assert_int_equal(flipped, 1);
    }
    size_t got = 1;
    assert_true(store_get(store, "a", 1000, NULL, 0, &got, &err)); /* nothing to flip */
    assert_int_equal(got, 0);
}

static void delay(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct store_fault_options options = {.rate_per_million = ALWAYS, .delay_ms = 30};
    AUTO(store_close) struct store *store = fault_over_memory(&options);
    uint64_t start_ms = clock_mono_ms();
    assert_true(put(store, "a", "x", &err));
    assert_true(clock_mono_ms() - start_ms >= 29);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rate_and_seed),  cmocka_unit_test(after_calls_and_trigger),
        cmocka_unit_test(drop_after_ack), cmocka_unit_test(torn_put),
        cmocka_unit_test(delay),          cmocka_unit_test(corrupt_get_flips_one_bit),
    };
    return cmocka_run_group_tests_name("store_fault", tests, NULL, NULL);
}
