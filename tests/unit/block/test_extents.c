/* SPDX-License-Identifier: Apache-2.0 */
/* Extent sets against a naive array of bits, and their edges. */
#include "check_block.h"

#include "block/extents.h"

#define UNIVERSE 400

static void assert_canonical(const struct extents *set)
{
    for (size_t i = 0; i < set->count; i++) {
        assert_true(set->items[i].start_bytes < set->items[i].end_bytes);
        if (i > 0)
            assert_true(set->items[i - 1].end_bytes < set->items[i].start_bytes);
    }
}

static void assert_bits(const struct extents *set, const bool *bits)
{
    assert_canonical(set);
    bool got[UNIVERSE] = {0};
    uint64_t total = 0;
    for (size_t i = 0; i < set->count; i++)
        for (uint64_t at = set->items[i].start_bytes; at < set->items[i].end_bytes; at++)
            got[at] = true;
    for (size_t i = 0; i < UNIVERSE; i++) {
        assert_int_equal(got[i], bits[i]);
        total += bits[i];
    }
    assert_int_equal(extents_total_bytes(set), total);
}

static void random_set(uint64_t *state, struct extents *set, bool *bits)
{
    struct extent items[40];
    size_t count = prng_below(state, 40);
    uint64_t max_length = 1 + prng_below(state, 30);
    bool one_by_one = prng_below(state, 2);
    memset(bits, 0, UNIVERSE);
    for (size_t i = 0; i < count; i++) {
        uint64_t start = prng_below(state, UNIVERSE - 30);
        uint64_t end = start + prng_below(state, max_length);
        items[i] = (struct extent){start, end};
        for (uint64_t at = start; at < end; at++)
            bits[at] = true;
        if (one_by_one)
            extents_add(set, start, end);
    }
    if (!one_by_one) {
        size_t half = count / 2;
        extents_add_unsorted(set, items, half);
        extents_add_unsorted(set, items + half, count - half);
    }
    assert_bits(set, bits);
}

static void check_operations(const struct extents *a, const bool *bits_a,
                             const struct extents *b, const bool *bits_b)
{
    AUTO(extents_release) struct extents ret = {0};
    bool want[UNIVERSE];
    extents_union(a, b, &ret);
    for (size_t i = 0; i < UNIVERSE; i++)
        want[i] = bits_a[i] || bits_b[i];
    assert_bits(&ret, want);
    extents_intersect(a, b, &ret);
    for (size_t i = 0; i < UNIVERSE; i++)
        want[i] = bits_a[i] && bits_b[i];
    assert_bits(&ret, want);
    extents_subtract(a, b, &ret);
    for (size_t i = 0; i < UNIVERSE; i++)
        want[i] = bits_a[i] && !bits_b[i];
    assert_bits(&ret, want);
    assert_int_equal(extents_equal(a, b), memcmp(bits_a, bits_b, UNIVERSE) == 0);
}

static void check_in_place(uint64_t *state, const struct extents *a, const bool *bits)
{
    AUTO(extents_release) struct extents ret = {0};
    bool want[UNIVERSE] = {0};
    uint64_t unit = 1u << prng_below(state, 6);
    uint64_t limit = prng_below(state, UNIVERSE);
    extents_copy(&ret, a);
    extents_coarsen(&ret, unit, limit);
    for (size_t i = 0; i < UNIVERSE; i++)
        for (uint64_t at = round_down(i, unit);
             bits[i] && at < round_down(i, unit) + unit; at++)
            if (at < limit)
                want[at] = true;
    assert_bits(&ret, want);
    extents_copy(&ret, a);
    extents_clip(&ret, limit);
    for (size_t i = 0; i < UNIVERSE; i++)
        want[i] = bits[i] && i < limit;
    assert_bits(&ret, want);
    uint64_t gap = prng_below(state, 8);
    extents_copy(&ret, a);
    extents_close_gaps(&ret, gap);
    memcpy(want, bits, sizeof want);
    for (size_t i = 0; i + 1 < UNIVERSE; i++) {
        size_t next = i + 1;
        while (next < UNIVERSE && !bits[next])
            next++;
        if (bits[i] && next < UNIVERSE && next - i - 1 <= gap)
            memset(want + i, 1, next - i);
    }
    assert_bits(&ret, want);
}

static void check_questions(uint64_t *state, const struct extents *a, const bool *bits)
{
    uint64_t start = prng_below(state, UNIVERSE);
    uint64_t end = start + prng_below(state, UNIVERSE - start);
    bool all = true;
    for (uint64_t at = start; at < end; at++)
        all = all && bits[at];
    assert_int_equal(extents_contain(a, start, end), all);
    size_t found = extents_find(a, start);
    assert_true(found == a->count || a->items[found].end_bytes > start);
    assert_true(found == 0 || a->items[found - 1].end_bytes <= start);
}

static void test_against_bits(void **unused)
{
    (void)unused;
    for (uint64_t seed = 0; seed < 3000; seed++) {
        uint64_t state = seed;
        AUTO(extents_release) struct extents a = {0};
        AUTO(extents_release) struct extents b = {0};
        bool bits_a[UNIVERSE];
        bool bits_b[UNIVERSE];
        random_set(&state, &a, bits_a);
        random_set(&state, &b, bits_b);
        check_operations(&a, bits_a, &b, bits_b);
        check_operations(&b, bits_b, &a, bits_a);
        check_in_place(&state, &a, bits_a);
        check_questions(&state, &a, bits_a);
    }
}

static void test_neighbours_merge(void **unused)
{
    (void)unused;
    AUTO(extents_release) struct extents set = {0};
    extents_add(&set, 10, 20);
    extents_add(&set, 30, 40);
    extents_add(&set, 25, 25);
    assert_int_equal(set.count, 2);
    extents_add(&set, 20, 30); /* touches both sides */
    assert_int_equal(set.count, 1);
    assert_int_equal(set.items[0].start_bytes, 10);
    assert_int_equal(set.items[0].end_bytes, 40);
    extents_add(&set, 0, 9); /* a gap of one byte stays */
    assert_int_equal(set.count, 2);
}

static void test_end_of_range(void **unused)
{
    (void)unused;
    AUTO(extents_release) struct extents set = {0};
    AUTO(extents_release) struct extents ret = {0};
    extents_add(&set, UINT64_MAX - 5, UINT64_MAX);
    extents_add(&set, 0, 1);
    assert_true(extents_contain(&set, UINT64_MAX - 5, UINT64_MAX));
    assert_int_equal(extents_find(&set, UINT64_MAX), 2);
    extents_copy(&ret, &set);
    extents_coarsen(&ret, 4096, UINT64_MAX);
    assert_int_equal(ret.items[1].start_bytes, UINT64_MAX - 4095);
    assert_int_equal(ret.items[1].end_bytes, UINT64_MAX);
    extents_clip(&ret, UINT64_MAX);
    assert_int_equal(ret.count, 2);
    extents_clip(&ret, 0);
    assert_int_equal(ret.count, 0);
    extents_copy(&set, &set);
    assert_int_equal(set.count, 2);
}

/* Quadratic behaviour would not end within the test's time. */
static void test_millions(void **unused)
{
    (void)unused;
    enum { COUNT = 2000000 };
    AUTO(free) struct extent *items = xcalloc(COUNT, sizeof *items);
    for (size_t i = 0; i < COUNT; i++) { /* every slot once, in scattered order */
        uint64_t slot = i * 1299709 % COUNT;
        items[i] = (struct extent){slot * 8192, slot * 8192 + 4096};
    }
    AUTO(extents_release) struct extents a = {0};
    AUTO(extents_release) struct extents b = {0};
    AUTO(extents_release) struct extents ret = {0};
    extents_add_unsorted(&a, items, COUNT);
    assert_int_equal(a.count, COUNT);
    assert_canonical(&a);
    for (uint64_t i = 0; i < COUNT; i++)
        extents_add(&b, i * 8192 + 4096, i * 8192 + 8192);
    extents_intersect(&a, &b, &ret);
    assert_int_equal(ret.count, 0);
    extents_subtract(&a, &b, &ret);
    assert_true(extents_equal(&a, &ret));
    extents_union(&a, &b, &ret);
    assert_int_equal(ret.count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_bits),
        cmocka_unit_test(test_neighbours_merge),
        cmocka_unit_test(test_end_of_range),
        cmocka_unit_test(test_millions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
