/* SPDX-License-Identifier: Apache-2.0 */
/* Plans: tables that are read or refused, and what comes out of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "vault/planner.h"

#define MINUTE   ((uint64_t)60 * 1000)
#define HOUR     (60 * MINUTE)
#define START_MS UINT64_C(1767571200000) /* Monday 2026-01-05 00:00 UTC */

static void init(struct planner *planner)
{
    planner_init(planner);
    planner->options.start_ms = START_MS;
}

static void read_table(struct planner *planner, const char *table)
{
    struct err err = ERR_INIT;
    if (!planner_read_csv(planner, table, strlen(table), &err))
        fail_msg("%s", err.text);
}

static void expect_refused(const char *table, const char *text)
{
    struct err err = ERR_INIT;
    struct planner planner;
    init(&planner);
    assert_false(planner_read_csv(&planner, table, strlen(table), &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    if (!strstr(err.text, text))
        fail_msg("'%s' does not say '%s'", err.text, text);
    planner_release(&planner);
}

static void test_a_table(void **state)
{
    (void)state;
    struct planner planner;
    init(&planner);
    read_table(
        &planner,
        "\xef\xbb\xbfused_pct, name ,size_gib,datastore,disks,pattern,"
        "churn_mib_per_h,gateway,host,read_mib_per_s\r\n"
        "# a comment\r\n"
        "\r\n"
        "50,db-1,100,\"ds 1;ds 2\",3,scattered,250,gw-2,\"esx \"\"a\"\",1\",80.5\r\n"
        ",web-1,20.5,,,,,,,\r\n");
    assert_int_equal(planner.count, 2);
    const struct plan_machine *m = &planner.machines[0];
    assert_string_equal(m->name, "db-1");
    assert_int_equal(m->used_bytes, 50 * GIB);
    assert_int_equal(m->datastore_count, 2);
    assert_string_equal(m->datastores[0], "ds 1");
    assert_string_equal(m->datastores[1], "ds 2");
    assert_int_equal(m->disk_count, 3);
    assert_int_equal(m->pattern, CHURN_SCATTERED);
    assert_int_equal(m->churn_bytes_hour, 250 * MIB);
    assert_string_equal(m->gateway, "gw-2");
    assert_string_equal(m->host, "esx \"a\",1");
    assert_int_equal(m->read_bps, (uint64_t)(80.5 * (double)MIB));
    m = &planner.machines[1];
    assert_string_equal(m->gateway, "local");
    assert_int_equal(m->used_bytes, 20 * GIB + GIB / 2);
    assert_int_equal(m->disk_count, 1);
    assert_int_equal(m->datastore_count, 0);
    assert_int_equal(m->pattern, CHURN_SKEWED);
    assert_int_equal(m->churn_bytes_hour, PLAN_CHURN_BYTES_HOUR(m->used_bytes));
    planner_release(&planner);
}

static void test_tables_that_are_refused(void **state)
{
    (void)state;
    expect_refused("", "the table has no machines");
    expect_refused("name,size_gib\n", "the table has no machines");
    expect_refused("size_gib\n1\n", "line 1: there is no column 'name'");
    expect_refused("name\nx\n", "line 1: there is no column 'size_gib'");
    expect_refused("name,size_gib,colour\n", "line 1: unknown column 'colour'");
    expect_refused("name,size_gib,name\n", "line 1: column 'name' is there twice");
    expect_refused("name,size_gib\na,1,2\n", "line 2: 3 fields; the header has 2");
    expect_refused("name,size_gib\na,-1\n", "line 2: size_gib: '-1'");
    expect_refused("name,size_gib\na,nan\n", "line 2: size_gib: 'nan'");
    expect_refused("name,size_gib\na,0x10\n", "line 2: size_gib: '0x10'");
    expect_refused("name,size_gib\na,1e9\n", "line 2: size_gib: '1e9'");
    expect_refused("name,size_gib\na,99999999\n", "line 2: size_gib: '99999999'");
    expect_refused("name,size_gib\na,\n", "line 2: size_gib: ''");
    expect_refused("name,size_gib\n,1\n", "line 2: name");
    expect_refused("name,size_gib\na b,1\n", "line 2: name");
    expect_refused("name,size_gib\na,1\na,2\n", "machine 'a' is there twice");
    expect_refused("name,size_gib,disks\na,1,0\n", "line 2: disks");
    expect_refused("name,size_gib,disks\na,1,61\n", "line 2: disks");
    expect_refused("name,size_gib,used_pct\na,1,101\n", "line 2: used_pct");
    expect_refused("name,size_gib,pattern\na,1,odd\n", "known are 'skewed'");
    expect_refused("name,size_gib,datastore\na,1,d;e;d\n", "'d' is there twice");
    expect_refused("name,size_gib,datastore\na,1,1;2;3;4;5;6;7;8;9\n", "more than 8");
    expect_refused("name,size_gib\n\"a,1\n", "line 2: the quote of field 1 has no end");
    expect_refused("name,size_gib\n\"a\"b,1\n", "line 2: text after the quote");
    AUTO(buf_release) struct buf table = {0};
    buf_append_text(&table, "name,size_gib,host\na,1,");
    for (int i = 0; i < 2000; i++)
        buf_put_u8(&table, 'x');
    expect_refused(buf_text(&table), "line 2: field 3 is longer");
    buf_clear(&table);
    for (int i = 0; i < 40; i++)
        buf_append_text(&table, "name,");
    expect_refused(buf_text(&table), "line 1: more than 32 fields");
    struct err err = ERR_INIT;
    struct planner planner;
    init(&planner);
    assert_false(planner_read_csv(&planner, "name,size_gib\na\0b,1\n", 21, &err));
    assert_non_null(strstr(err.text, "line 2: the line holds a NUL"));
    planner_release(&planner);
}

static void test_more_machines_than_can_be_planned(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct planner planner;
    AUTO(buf_release) struct buf table = {0};
    init(&planner);
    buf_append_text(&table, "name,size_gib\n");
    for (unsigned i = 0; i <= PLAN_MAX_MACHINES; i++)
        buf_printf(&table, "m%u,1\n", i);
    assert_false(planner_read_csv(&planner, buf_text(&table), table.bytes, &err));
    assert_int_equal(err.kind, FAIL_LIMIT);
    planner_release(&planner);
}

static struct plan_result run(struct planner *planner)
{
    struct err err = ERR_INIT;
    struct plan_result result;
    if (!planner_run(planner, &result, &err))
        fail_msg("%s", err.text);
    return result;
}

static void test_one_machine(void **state)
{
    (void)state;
    AUTO(planner_release) struct planner planner;
    init(&planner);
    planner.link_bps = 10 * 1000 * 1000;
    read_table(&planner, "name,size_gib,churn_mib_per_h\nvm,10,100\n");
    AUTO(plan_result_release) struct plan_result result = run(&planner);
    const struct plan_row *row = &result.rows[0];
    /* 10 GiB at 70 % over 10 MB/s, and 40 s beside */
    uint64_t initial_ms = 10 * GIB * 7 / 10 / 10000 + 40000;
    assert_int_equal(row->initial_started_ms, START_MS);
    assert_in_range(row->initial_ended_ms - START_MS, initial_ms - 1000,
                    initial_ms + 1000);
    assert_int_equal(row->initial_waited_ms, 0);
    assert_true(row->is_settled && row->keeps_up && !row->is_refused);
    /* at most what was written: 100 MiB/h and a fifth more, for an hour and a bit */
    assert_in_range(row->delta_longest_ms, 40000, 40000 + 15000);
    assert_int_equal(row->interval_ms, HOUR);
    /* shutdown, the final delta, boot */
    assert_in_range(row->cutover_ms, 3 * MINUTE + 40000, 3 * MINUTE + 55000);
    assert_int_equal(row->cutover_waited_ms, 0);
    assert_false(result.is_cut);
}

static void test_what_cannot_keep_up_is_told(void **state)
{
    (void)state;
    AUTO(planner_release) struct planner planner;
    init(&planner);
    planner.link_bps = 1000 * 1000;
    planner.horizon_ms = 60 * 24 * HOUR;
    read_table(&planner, "name,size_gib,churn_mib_per_h,pattern\n"
                         "calm,10,10,skewed\nbusy,500,20000,scattered\n");
    AUTO(plan_result_release) struct plan_result result = run(&planner);
    assert_true(result.rows[0].keeps_up);
    assert_true(result.rows[0].delta_mean_ms > 0);
    assert_false(result.rows[1].keeps_up && result.rows[1].is_settled);
}

static void test_blackout_and_limits_count(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    AUTO(planner_release) struct planner planner;
    AUTO(zone_close) struct zone *utc = zone_open("UTC", &err);
    init(&planner);
    assert_true(blackout_parse("Monday;0:00;8h", &planner.blackout, &err));
    planner.zone = utc;
    planner.options.limits.gateway_cycles = 1;
    planner.options.fleet.gateway_machines = 2;
    read_table(&planner, "name,size_gib\na,10\nb,10\nc,10\n");
    AUTO(plan_result_release) struct plan_result result = run(&planner);
    assert_int_equal(result.rows[0].initial_started_ms, START_MS + 8 * HOUR);
    assert_int_equal(result.rows[1].initial_started_ms, result.rows[0].initial_ended_ms);
    assert_true(result.rows[2].is_refused);
    assert_int_equal(result.rows[2].initial_ended_ms, 0);
    assert_int_equal(result.rows[2].cutover_ms, 0);
    assert_true(result.rows[1].cutover_ms > 0);
}

static void test_cutovers_at_once_wait_for_each_other(void **state)
{
    (void)state;
    uint64_t longest_ms[2] = {0};
    for (size_t i = 0; i < 2; i++) {
        struct planner planner;
        init(&planner);
        planner.options.limits.gateway_cycles = 2;
        planner.cutover_at_once = i ? 8 : 1;
        read_table(&planner, "name,size_gib\na,9\nb,9\nc,9\nd,9\ne,9\nf,9\ng,9\nh,9\n");
        AUTO(plan_result_release) struct plan_result result = run(&planner);
        for (size_t k = 0; k < 8; k++) {
            assert_true(result.rows[k].cutover_ms > 0);
            longest_ms[i] = MAX_OF(longest_ms[i], result.rows[k].cutover_ms);
        }
        planner_release(&planner);
    }
    assert_true(longest_ms[1] > 3 * longest_ms[0]);
}

static void test_a_replicating_machine_goes_on_from_where_it_is(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    AUTO(planner_release) struct planner planner;
    init(&planner);
    struct plan_machine m = planner.fallback;
    (void)snprintf(m.name, sizeof m.name, "running");
    m.used_bytes = 100 * GIB;
    m.churn_bytes_hour = GIB;
    m.pattern = CHURN_MEASURED;
    m.read_bps = 50 * MIB;
    m.sent_pct = 40;
    m.recovery_ms = START_MS - HOUR;
    m.next_due_ms = START_MS + 10 * MINUTE;
    m.last_duration_ms = 2 * MINUTE;
    assert_true(planner_add(&planner, &m, &err));
    AUTO(plan_result_release) struct plan_result result = run(&planner);
    const struct plan_row *row = &result.rows[0];
    assert_int_equal(row->initial_ended_ms, 0); /* long ago */
    assert_true(row->is_settled);
    /* a GiB or so, read with 50 MiB/s */
    assert_in_range(row->delta_longest_ms, 40000 + 15000, 40000 + 35000);
}

static void test_the_same_plan_twice(void **state)
{
    (void)state;
    AUTO(planner_release) struct planner planner;
    init(&planner);
    read_table(&planner, "name,size_gib\na,30\nb,40\nc,50\n");
    AUTO(plan_result_release) struct plan_result one = run(&planner);
    AUTO(plan_result_release) struct plan_result two = run(&planner);
    assert_memory_equal(one.rows, two.rows, 3 * sizeof *one.rows);
    planner.options.seed = 99;
    AUTO(plan_result_release) struct plan_result other = run(&planner);
    assert_memory_not_equal(one.rows, other.rows, 3 * sizeof *one.rows);
}

static void test_the_work_is_bounded(void **state)
{
    (void)state;
    AUTO(planner_release) struct planner planner;
    init(&planner);
    planner.steps_max = 10;
    read_table(&planner, "name,size_gib\na,30\nb,40\nc,50\n");
    AUTO(plan_result_release) struct plan_result result = run(&planner);
    assert_true(result.is_cut);
    assert_true(result.steps <= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_table),
        cmocka_unit_test(test_tables_that_are_refused),
        cmocka_unit_test(test_more_machines_than_can_be_planned),
        cmocka_unit_test(test_one_machine),
        cmocka_unit_test(test_what_cannot_keep_up_is_told),
        cmocka_unit_test(test_blackout_and_limits_count),
        cmocka_unit_test(test_cutovers_at_once_wait_for_each_other),
        cmocka_unit_test(test_a_replicating_machine_goes_on_from_where_it_is),
        cmocka_unit_test(test_the_same_plan_twice),
        cmocka_unit_test(test_the_work_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
