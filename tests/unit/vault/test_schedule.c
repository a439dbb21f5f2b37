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

static void test_ranks(void **state)
{
    (void)state;
    /* on-demand > what is under way > initial > delta > what fails again and again */
    static const struct {
        enum sched_class class;
        bool is_ongoing;
        uint32_t failures;
    } order[] = {
        {SCHED_ON_DEMAND, true, 9}, {SCHED_ON_DEMAND, false, 0}, {SCHED_INITIAL, true, 3},
        {SCHED_DELTA, true, 1},     {SCHED_INITIAL, false, 0},   {SCHED_DELTA, false, 0},
        {SCHED_INITIAL, true, 4},
    };
    for (size_t i = 0; i < ARRAY_COUNT(order); i++)
        assert_int_equal(
            sched_rank(order[i].class, order[i].is_ongoing, order[i].failures), i);
    assert_int_equal(sched_rank(SCHED_DELTA, true, UINT32_MAX), SCHED_RANKS - 1);
}

static void test_classes(void **state)
{
    (void)state;
    assert_int_equal(sched_class_of(OP_REPLICATE, false), SCHED_INITIAL);
    assert_int_equal(sched_class_of(OP_MIGRATE, true), SCHED_ON_DEMAND);
    assert_int_equal(sched_class_of(OP_SYNC, true), SCHED_ON_DEMAND);
    assert_int_equal(sched_class_of(OP_SYNC, false), SCHED_INITIAL);
    assert_int_equal(sched_class_of(OP_RESUME, true), SCHED_DELTA);
    assert_int_equal(sched_class_of(OP_RESUME, false), SCHED_INITIAL);
    assert_int_equal(sched_class_of(OP_RESYNC, true), SCHED_DELTA);
    assert_int_equal(sched_class_of(OP_REPAIR, true), SCHED_DELTA);
}

static void test_which_machines_have_a_schedule(void **state)
{
    (void)state;
    struct machine_facts facts = {.name = "vm", .migration = MIGRATION_TEST_PENDING};
    for (unsigned s = 0; s < STATE_COUNT; s++) {
        facts.state = (enum machine_state)s;
        bool runs = s == STATE_INITIAL || s == STATE_DELTA || s == STATE_RESUMING ||
                    s == STATE_RESYNC;
        facts.migration = MIGRATION_TEST_PENDING;
        assert_int_equal(sched_runs_by_schedule(&facts), runs);
        facts.migration = MIGRATION_RUNNING;
        assert_false(sched_runs_by_schedule(&facts));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next_delta),
        cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_which_machines_have_a_schedule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
