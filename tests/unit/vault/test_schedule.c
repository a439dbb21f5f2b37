/* SPDX-License-Identifier: Apache-2.0 */
/* When the next delta begins, how long a retry waits, who goes first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vault/schedule.h"

#define HOUR ((uint64_t)60 * 60 * 1000)

static void test_next_delta(void **state)
{
    (void)state;
    const struct sched_rules rules = {HOUR, 12 * HOUR};
    /* at once after the initial cycle, however long that took */
    assert_int_equal(sched_next_delta_ms(&rules, true, 5000, 30 * HOUR), 5000);
    /* the article's own example: 4 hours -> 2 hours */
    assert_int_equal(sched_next_delta_ms(&rules, false, 0, 4 * HOUR), 2 * HOUR);
    assert_int_equal(sched_next_delta_ms(&rules, false, 0, 1), HOUR);
    assert_int_equal(sched_next_delta_ms(&rules, false, 0, 2 * HOUR), HOUR);
    assert_int_equal(sched_next_delta_ms(&rules, false, 0, 100 * HOUR), 12 * HOUR);
    assert_int_equal(sched_next_delta_ms(&rules, false, 0, UINT64_MAX), 12 * HOUR);
    assert_int_equal(sched_next_delta_ms(&rules, false, UINT64_MAX - 1, 0), UINT64_MAX);
    const struct sched_rules crossed = {HOUR, 1000};
    assert_int_equal(sched_next_delta_ms(&crossed, false, 0, 0), 1000);
}

static void test_backoff(void **state)
{
    (void)state;
    assert_int_equal(sched_backoff_ms(0, 77), 0);
    uint64_t before = 0;
    for (uint32_t failures = 1; failures < 100; failures++) {
        uint64_t least = sched_backoff_ms(failures, 0);
        for (uint64_t random = 0; random < 5000; random += 333) {
            uint64_t ms = sched_backoff_ms(failures, random);
            assert_true(ms >= least && ms <= 2 * least && ms <= 300000);
        }
        assert_true(least >= before);
        before = least;
    }
    assert_int_equal(sched_backoff_ms(1, 0), 500);
    assert_int_equal(sched_backoff_ms(UINT32_MAX, 0), 150000);
}

static struct sched_candidate candidate(enum sched_class class, bool is_ongoing,
                                        uint64_t due_ms, uint64_t order)
{
    return (struct sched_candidate){class, is_ongoing, due_ms, order, true};
}

static void test_who_goes_first(void **state)
{
    (void)state;
    uint64_t next;
    struct sched_candidate c[] = {
        candidate(SCHED_DELTA, false, 10, 1),
        candidate(SCHED_INITIAL, false, 90, 2),
        candidate(SCHED_DELTA, true, 95, 3),
        candidate(SCHED_ON_DEMAND, false, 99, 4),
        candidate(SCHED_ON_DEMAND, false, 99, 3),
    };
    assert_int_equal(sched_pick(c, 5, 100, &next), 4); /* on-demand, asked for first */
    assert_int_equal(sched_pick(c, 3, 100, &next), 2); /* under way already */
    assert_int_equal(sched_pick(c, 2, 100, &next), 1); /* initial before delta */
    assert_int_equal(sched_pick(c, 1, 100, &next), 0);
    assert_int_equal(sched_pick(c, 0, 100, &next), 0);
    assert_true(next == UINT64_MAX);
}

static void test_what_is_not_due_waits(void **state)
{
    (void)state;
    uint64_t next;
    struct sched_candidate c[] = {
        candidate(SCHED_ON_DEMAND, false, 300, 1),
        candidate(SCHED_DELTA, false, 200, 2),
        candidate(SCHED_DELTA, false, 50, 3),
    };
    assert_int_equal(sched_pick(c, 3, 100, &next), 2);
    assert_int_equal(next, 200);
    c[2].can_start_now = false; /* its machine is worked on */
    assert_int_equal(sched_pick(c, 3, 100, &next), 3);
    assert_int_equal(next, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next_delta),
        cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_who_goes_first),
        cmocka_unit_test(test_what_is_not_due_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
