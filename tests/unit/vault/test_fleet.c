/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fleets of 1 to 10,000 machines over hours to a year of simulated time, on the vault's
 * own states, schedule, limits and windows. fleet_rig.c checks every step; what is
 * asserted here is what each fleet adds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fleet_rig.h"

static void test_one_machine(void **state)
{
    (void)state;
    struct fleet_rig *rig = rig_new(1, 1);
    rig->bound_ms = 0; /* alone, it never waits */
    rig_start(rig);
    rig_run(rig, 7 * DAY);
    struct fleet_progress p = fleet_progress(rig->fleet, 0);
    assert_int_equal(p.facts.state, STATE_DELTA);
    assert_int_equal(p.facts.migration, MIGRATION_TEST_PENDING);
    /* one an hour and a minute or so, for a week */
    assert_in_range(p.deltas, 160, 168);
    /* 40 GiB at 60 % over 125 MB/s, and what is beside the transfer */
    uint64_t expected_ms = 40 * GIB * 60 / 100 * 1000 / 125000000 + 40000;
    assert_in_range(p.initial_ended_ms - p.initial_started_ms, expected_ms - 1000,
                    expected_ms + 1000);
    rig_free(rig);
}

static void test_sixty_machines_share_one_gateway(void **state)
{
    (void)state;
    struct fleet_rig *rig = rig_new(60, 1);
    rig->bound_ms = 6 * HOUR;
    rig_start(rig);
    rig_run(rig, HOUR / 60);
    /* 15 snapshots bound a datastore of 12 machines with 2 disks: 7 of them */
    assert_int_equal(oracle_peak_pct(rig->oracle, 1), 100);
    rig_run(rig, 3 * DAY);
    assert_int_equal(rig_with_recovery_point(rig), 60);
    rig_free(rig);
}

static void test_301st_is_refused_and_a_second_gateway_takes_it(void **state)
{
    (void)state;
    struct fleet_rig *rig = rig_new(301, 2);
    rig->machines[300].gateway = "gw-0";
    rig_start(rig);
    rig_run(rig, HOUR);
    assert_int_equal(rig->refused, 1);
    assert_true(fleet_progress(rig->fleet, 300).is_refused);
    rig_free(rig);

    rig = rig_new(301, 2);
    rig_start(rig);
    rig_run(rig, 2 * DAY);
    assert_int_equal(rig->refused, 0);
    assert_int_equal(rig_with_recovery_point(rig), 301);
    rig_free(rig);

    rig = rig_new(300, 1);
    rig->check_every = 7;
    rig_start(rig);
    rig_run(rig, 2 * DAY);
    assert_int_equal(rig->refused, 0);
    assert_int_equal(rig_with_recovery_point(rig), 300);
    rig_free(rig);
}

static void test_501st_of_all_is_refused(void **state)
{
    (void)state;
    struct fleet_rig *rig = rig_new(501, 2);
    rig_start(rig);
    rig_run(rig, MINUTE);
    assert_int_equal(rig->refused, 1);
    assert_true(fleet_progress(rig->fleet, 500).is_refused);
    rig_free(rig);
}

/* A sanitizer makes it ten times slower: some weeks are enough to find what it looks for.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define YEAR_DAYS 20
#else
#define YEAR_DAYS 365
#endif

static void test_a_year_of_500_machines(void **state)
{
    (void)state;
    uint64_t began_ms = clock_mono_ms();
    struct fleet_rig *rig = rig_new(500, 2);
    rig->check_every = 997;
    rig->bound_ms = 2 * DAY;
    for (size_t i = 0; i < rig->count; i += 2)
        rig->machines[i].pattern = CHURN_SCATTERED;
    rig_start(rig);
    rig_run(rig, 2 * DAY); /* deltas wait for the initial cycles */
    assert_int_equal(rig_with_recovery_point(rig), 500);
    rig->bound_ms = 2 * HOUR;
    rig_run(rig, DAY);
    rig->longest_wait_ms = 0;
    rig_run(rig, (YEAR_DAYS - 3) * DAY);
    for (size_t i = 0; i < rig->count; i++)
        assert_true(fleet_progress(rig->fleet, i).deltas > 20 * YEAR_DAYS);
    printf("[   INFO   ] %llu cycles in %llu ms; longest wait %llu min\n",
           (unsigned long long)rig->starts,
           (unsigned long long)(clock_mono_ms() - began_ms),
           (unsigned long long)(rig->longest_wait_ms / MINUTE));
    assert_true(clock_mono_ms() - began_ms < 60000);
    rig_free(rig);
}

static void test_10000_machines_with_100000_disks(void **state)
{
    (void)state;
    struct fleet_rig *rig = rig_new(10000, 34);
    rig->options.fleet = (struct fleet_limits){300, 0};
    rig->options.limits.host_disks = 32;
    rig->check_every = 4999;
    for (size_t i = 0; i < rig->count; i++) {
        rig->machines[i].disk_count = 10;
        rig->datastores[i][0].disks = 10;
        rig->machines[i].used_bytes = (20 + i % 60) * GIB;
        rig->machines[i].churn_bytes_hour = (i % 50) * 20 * MIB;
    }
    rig_start(rig);
    rig_run(rig, 4 * DAY);
    assert_int_equal(rig->refused, 0);
    assert_int_equal(rig_with_recovery_point(rig), 10000);
    rig_free(rig);
}

/* The same churn in bytes: hot files are read once a cycle, scattered writes dirty a
 * tracked block each. */
static void test_skewed_against_every_other_sector(void **state)
{
    (void)state;
    struct fleet_rig *rig = rig_new(2, 1);
    for (size_t i = 0; i < 2; i++) {
        rig->machines[i].churn_bytes_hour = 4 * GIB;
        rig->machines[i].used_bytes = 200 * GIB;
    }
    rig->machines[1].pattern = CHURN_SCATTERED;
    rig_start(rig);
    rig_run(rig, 3 * DAY);
    struct fleet_progress hot = fleet_progress(rig->fleet, 0);
    struct fleet_progress scattered = fleet_progress(rig->fleet, 1);
    assert_true(hot.last_read_bytes < 6 * GIB);
    assert_true(scattered.last_read_bytes > 8 * hot.last_read_bytes);
    assert_true(scattered.delta_longest_ms > 3 * hot.delta_longest_ms);
    rig_free(rig);
    const uint64_t used = 100 * GIB;
    assert_int_equal(churn_changed_bytes(CHURN_SKEWED, used, 0), 0);
    assert_true(churn_changed_bytes(CHURN_SKEWED, used, UINT64_MAX) <= used / 20);
    assert_true(churn_changed_bytes(CHURN_SCATTERED, used, UINT64_MAX) <= used);
    assert_int_equal(churn_changed_bytes(CHURN_SCATTERED, 0, 5), 0);
    /* few writes: 64 KiB for each of 4 KiB */
    assert_in_range(churn_changed_bytes(CHURN_SCATTERED, used, MIB), 15 * MIB, 16 * MIB);
}

static void test_hosts_and_datastores_at_their_limits(void **state)
{
    (void)state;
    /* all on two hosts and three datastores, some with more disks than any limit */
    struct fleet_rig *rig = rig_new(80, 1);
    for (size_t i = 0; i < rig->count; i++) {
        uint32_t disks = i % 17 == 0 ? 20 : 1 + (uint32_t)(i % 5);
        rig->machines[i].host = i % 3 ? "esx-a" : "esx-b";
        rig->machines[i].disk_count = disks;
        rig->machines[i].datastore_count = 1 + (i % 2 && disks > 1);
        rig->datastores[i][0] = (struct admission_datastore){"ds-a", disks};
        if (rig->machines[i].datastore_count == 2) {
            rig->datastores[i][0].disks = disks - 1;
            rig->datastores[i][1] =
                (struct admission_datastore){i % 4 == 1 ? "ds-b" : "ds-c", 1};
        }
        rig->machines[i].used_bytes = 10 * GIB;
    }
    rig->machines[79].disk_count = 60;
    rig->datastores[79][0].disks = 60;
    rig->machines[79].datastore_count = 1;
    rig->bound_ms = 12 * HOUR;
    rig_start(rig);
    rig_run(rig, 10 * DAY);
    assert_int_equal(rig_with_recovery_point(rig), 80);
    for (unsigned kind = 0; kind < 2; kind++)
        assert_in_range(oracle_peak_pct(rig->oracle, kind), 90, 100);
    for (size_t i = 0; i < rig->count; i++)
        assert_true(fleet_progress(rig->fleet, i).deltas > 20);
    rig_free(rig);
}

static void test_the_gateway_at_its_limit(void **state)
{
    (void)state;
    struct fleet_rig *rig = rig_new(120, 1);
    for (size_t i = 0; i < rig->count; i++) {
        rig->machines[i].host = "";
        rig->machines[i].datastore_count = 0;
        rig->machines[i].disk_count = 1 + (uint32_t)(i % 9);
    }
    rig->bound_ms = 12 * HOUR;
    rig_start(rig);
    rig_run(rig, 5 * DAY);
    assert_int_equal(oracle_peak_pct(rig->oracle, 2), 100);
    assert_int_equal(rig_with_recovery_point(rig), 120);
    rig_free(rig);
    rig = rig_new(40, 1);
    rig->options.limits.gateway_cycles = 4;
    rig->bound_ms = 12 * HOUR;
    rig_start(rig);
    rig_run(rig, 5 * DAY);
    assert_int_equal(oracle_peak_pct(rig->oracle, 3), 100);
    assert_int_equal(rig_with_recovery_point(rig), 40);
    rig_free(rig);
}

static void test_gateways_die_and_come_back(void **state)
{
    (void)state;
    struct fleet_rig *rig = rig_new(500, 2);
    uint64_t seed = 42;
    rig->check_every = 13;
    rig_start(rig);
    for (int i = 0; i < 200; i++) {
        rig_run(rig, 20 * MINUTE + (i % 7) * 11 * MINUTE);
        seed = seed * UINT64_C(6364136223846793005) + 1;
        rig_set_gateway(rig, seed >> 40 & 1, seed >> 41 & 1);
    }
    rig_set_gateway(rig, 0, true);
    rig_set_gateway(rig, 1, true);
    rig_run(rig, 2 * DAY);
    assert_true(rig->interrupted > 100);
    assert_int_equal(rig_with_recovery_point(rig), 500);
    for (size_t i = 0; i < rig->count; i++)
        assert_true(fleet_progress(rig->fleet, i).deltas > 20);
    rig_free(rig);
}

static void test_an_interrupted_cycle_goes_before_new_ones(void **state)
{
    (void)state;
    struct fleet_rig *rig = rig_new(20, 1);
    rig->options.limits.gateway_cycles = 1;
    rig_start(rig);
    rig_run(rig, 5 * MINUTE + 30000); /* in the middle of a later initial cycle */
    size_t running = rig->count;
    for (size_t i = 0; i < rig->count; i++)
        running = fleet_progress(rig->fleet, i).is_running ? i : running;
    assert_true(running < rig->count);
    struct fleet_progress before = fleet_progress(rig->fleet, running);
    rig_set_gateway(rig, 0, false);
    assert_false(fleet_progress(rig->fleet, running).is_running);
    struct admission_wait wait;
    assert_true(fleet_why(rig->fleet, running, &wait));
    assert_int_equal(wait.reason, WAIT_GATEWAY_DOWN);
    rig_run(rig, 3 * HOUR);
    rig_set_gateway(rig, 0, true);
    struct fleet_progress after = fleet_progress(rig->fleet, running);
    assert_true(after.is_running && after.started_ms > before.started_ms + 3 * HOUR);
    rig_free(rig);
}

static void test_nothing_starts_in_a_blackout(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct fleet_rig *rig = rig_new(400, 2);
    AUTO(zone_close) struct zone *berlin = zone_open("CET-1CEST,M3.5.0,M10.5.0/3", &err);
    AUTO(zone_close) struct zone *utc = zone_open("UTC", &err);
    assert_non_null(berlin);
    assert_non_null(utc);
    struct blackout windows[2];
    /* office hours; over midnight and the end of the week; over each other; across both
     * changes of the clock in this simulated year */
    rig_blackout(rig, 0, &windows[0],
                 "Monday;7:00;10h | Tuesday;7:00;10h | Wednesday;7:00;1d2h | "
                 "Thursday;6:00;10h | Saturday;22:00;12h | Sunday;1:30;2h",
                 berlin);
    rig_blackout(rig, 1, &windows[1], "Friday;23:00;2d3h", utc);
    rig->check_every = 101;
    rig->bound_ms = 3 * DAY;
    rig_start(rig);
    rig_run(rig, 320 * DAY);
    assert_int_equal(rig_with_recovery_point(rig), 400);
    assert_true(rig->longest_wait_ms > DAY); /* somebody did have to wait for a window */
    rig_free(rig);
}

static void test_a_migration_in_a_blackout(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct fleet_rig *rig = rig_new(3, 1);
    AUTO(zone_close) struct zone *utc = zone_open("UTC", &err);
    struct blackout windows;
    rig_blackout(rig, 0, &windows, "Monday;12:00;6h", utc);
    rig_start(rig);
    rig_run(rig, 13 * HOUR);
    assert_false(fleet_migrate(rig->fleet, 0, false, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    assert_true(fleet_migrate(rig->fleet, 1, true, &err));
    rig_run(rig, HOUR);
    assert_int_equal(fleet_progress(rig->fleet, 1).facts.state, STATE_MIGRATED);
    assert_int_equal(fleet_progress(rig->fleet, 0).facts.state, STATE_DELTA);
    rig_run(rig, 5 * HOUR);
    err_clear(&err);
    assert_true(fleet_migrate(rig->fleet, 0, false, &err));
    rig_run(rig, HOUR);
    assert_int_equal(rig->migrated, 2);
    rig_free(rig);
}

static void test_cycles_that_always_fail_starve_nobody(void **state)
{
    (void)state;
    /* Two dozen machines whose initial cycle never ends well, on the hosts of all others
     */
    struct fleet_rig *rig = rig_new(48, 1);
    rig->options.limits.gateway_cycles = 4;
    for (size_t i = 0; i < rig->count; i++) {
        rig->machines[i].host = "esx-a";
        rig->machines[i].used_bytes = 5 * GIB;
        rig->machines[i].fail_million = i % 2 ? 1000000 : 0;
        rig->machines[i].enabled_ms = i % 2 ? 0 : rig->options.start_ms + 6 * HOUR;
    }
    rig->bound_ms = DAY;
    rig_start(rig);
    rig_run(rig, 10 * DAY);
    assert_int_equal(rig_with_recovery_point(rig), 24);
    for (size_t i = 0; i < rig->count; i += 2)
        assert_true(fleet_progress(rig->fleet, i).deltas > 50);
    assert_true(rig->failed > 1000);
    rig_free(rig);
}

static void test_now_and_then_one_fails(void **state)
{
    (void)state;
    struct fleet_rig *rig = rig_new(100, 1);
    rig->check_every = 7;
    rig->bound_ms = 12 * HOUR;
    for (size_t i = 0; i < rig->count; i++)
        rig->machines[i].fail_million = 50000;
    rig_start(rig);
    rig_run(rig, 30 * DAY);
    assert_int_equal(rig_with_recovery_point(rig), 100);
    assert_true(rig->failed > 500);
    rig_free(rig);
}

static void test_everybody_migrates_at_once(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct fleet_rig *rig = rig_new(500, 2);
    rig->check_every = 5;
    rig->bound_ms = DAY;
    rig_start(rig);
    rig_run(rig, 3 * DAY);
    for (size_t i = 0; i < rig->count; i++) {
        if (!fleet_migrate(rig->fleet, i, false, &err))
            fail_msg("%s", err.text);
    }
    rig_run(rig, DAY);
    assert_int_equal(rig->migrated, 500);
    for (size_t i = 0; i < rig->count; i++) {
        struct fleet_progress p = fleet_progress(rig->fleet, i);
        assert_int_equal(p.facts.state, STATE_MIGRATED);
        assert_int_equal(p.facts.migration, MIGRATION_DONE);
        assert_true(p.migrated_ms > p.migrate_asked_ms);
    }
    uint64_t starts = rig->starts;
    rig_run(rig, 30 * DAY); /* whoever has migrated has no more cycles */
    assert_int_equal(rig->starts, starts);
    rig_free(rig);
}

static void test_a_migration_goes_before_all_that_wait(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct fleet_rig *rig = rig_new(60, 1);
    rig->options.limits.gateway_cycles = 2;
    for (size_t i = 1; i < rig->count; i++)
        rig->machines[i].enabled_ms = rig->options.start_ms + 4 * HOUR;
    rig_start(rig);
    rig_run(rig, 4 * HOUR + MINUTE); /* 59 initial cycles wait or run */
    assert_true(fleet_migrate(rig->fleet, 0, false, &err));
    rig_run(rig, 3 * HOUR);
    struct fleet_progress p = fleet_progress(rig->fleet, 0);
    assert_int_equal(p.facts.state, STATE_MIGRATED);
    /* it waited at most for one of the two that ran */
    assert_true(p.started_ms - p.migrate_asked_ms < 10 * MINUTE);
    rig_free(rig);
}

static uint64_t hash_of_run(uint64_t seed)
{
    struct fleet_rig *rig = rig_new(50, 1);
    rig->options.seed = seed;
    rig_start(rig);
    rig_run(rig, 2 * DAY);
    uint64_t hash = rig->hash;
    rig_free(rig);
    return hash;
}

static void test_the_seed_decides(void **state)
{
    (void)state;
    assert_true(hash_of_run(7) == hash_of_run(7));
    assert_true(hash_of_run(7) != hash_of_run(8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_machine),
        cmocka_unit_test(test_sixty_machines_share_one_gateway),
        cmocka_unit_test(test_301st_is_refused_and_a_second_gateway_takes_it),
        cmocka_unit_test(test_501st_of_all_is_refused),
        cmocka_unit_test(test_a_year_of_500_machines),
        cmocka_unit_test(test_10000_machines_with_100000_disks),
        cmocka_unit_test(test_skewed_against_every_other_sector),
        cmocka_unit_test(test_hosts_and_datastores_at_their_limits),
        cmocka_unit_test(test_the_gateway_at_its_limit),
        cmocka_unit_test(test_gateways_die_and_come_back),
        cmocka_unit_test(test_an_interrupted_cycle_goes_before_new_ones),
        cmocka_unit_test(test_nothing_starts_in_a_blackout),
        cmocka_unit_test(test_a_migration_in_a_blackout),
        cmocka_unit_test(test_cycles_that_always_fail_starve_nobody),
        cmocka_unit_test(test_now_and_then_one_fails),
        cmocka_unit_test(test_everybody_migrates_at_once),
        cmocka_unit_test(test_a_migration_goes_before_all_that_wait),
        cmocka_unit_test(test_the_seed_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
