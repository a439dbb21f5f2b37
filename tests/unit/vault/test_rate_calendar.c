/* SPDX-License-Identifier: Apache-2.0 */
/* The throttle's calendar: rules, order, midnight, week's end, changes of the clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vault/rate_calendar.h"

#define MINUTE_MS ((uint64_t)60000)

static struct zone *zone_of(const char *name)
{
    struct err err = ERR_INIT;
    struct zone *zone = zone_open(name, &err);
    if (!zone)
        fail_msg("%s", err.text);
    return zone;
}

static struct rate_calendar calendar_of(const char *text)
{
    struct err err = ERR_INIT;
    struct rate_calendar calendar;
    if (!rate_calendar_parse(text, &calendar, &err))
        fail_msg("%s", err.text);
    return calendar;
}

/* day 0 is Monday 2026-11-23 */
static uint64_t at(const struct zone *zone, int64_t day, uint32_t hour, uint32_t minute)
{
    return zone_instant(zone, 20780 + day, (hour * 60 + minute) * 60);
}

static void test_office_hours(void **state)
{
    (void)state;
    AUTO(zone_close) struct zone *zone = zone_of("Europe/Berlin");
    struct rate_calendar c =
        calendar_of("Mon-Fri 08:00-18:00 10MB/s; Sat,Sun 0; * 40MB/s");
    assert_int_equal(c.count, 3);
    assert_int_equal(c.rules[0].rate_bps, 10 * MIB);
    assert_int_equal(rate_calendar_rule(&c, zone, at(zone, 0, 7, 59)), 2);
    assert_int_equal(rate_calendar_rule(&c, zone, at(zone, 0, 8, 0)), 0);
    assert_int_equal(rate_calendar_rule(&c, zone, at(zone, 4, 17, 59)), 0);
    assert_int_equal(rate_calendar_rule(&c, zone, at(zone, 4, 18, 0)), 2);
    assert_int_equal(rate_calendar_rule(&c, zone, at(zone, 5, 12, 0)), 1);
    assert_int_equal(rate_calendar_next_ms(&c, zone, at(zone, 0, 7, 59) + 5),
                     at(zone, 0, 8, 0));
    assert_int_equal(rate_calendar_next_ms(&c, zone, at(zone, 4, 19, 0)),
                     at(zone, 5, 0, 0));
}

static void test_midnight_and_no_rule(void **state)
{
    (void)state;
    AUTO(zone_close) struct zone *zone = zone_of("UTC");
    struct rate_calendar c = calendar_of("Sun 22:00-06:00 1M");
    assert_int_equal(rate_calendar_rule(&c, zone, at(zone, 6, 21, 59)), 1); /* none */
    assert_int_equal(rate_calendar_rule(&c, zone, at(zone, 6, 22, 0)), 0);
    assert_int_equal(rate_calendar_rule(&c, zone, at(zone, 7, 5, 59)), 0);
    assert_int_equal(rate_calendar_rule(&c, zone, at(zone, 7, 6, 0)), 1);
    struct rate_calendar always = calendar_of("* 5M");
    assert_true(rate_calendar_next_ms(&always, zone, at(zone, 0, 0, 0)) ==
                RATE_CALENDAR_NEVER);
    struct rate_calendar none = calendar_of("  ");
    assert_int_equal(rate_calendar_rule(&none, NULL, 0), 0);
    assert_true(rate_calendar_next_ms(&none, NULL, 0) == RATE_CALENDAR_NEVER);
    struct rate_calendar wrap = calendar_of("Sat-Mon 0; * 1M;");
    assert_int_equal(wrap.rules[0].days, 1u << 6 | 1u << 0 | 1u << 1);
}

/* Clock times: the hour that is left out ends a rule early, the one that is shown twice
 * makes it longer. */
static void test_the_clock_is_changed(void **state)
{
    (void)state;
    AUTO(zone_close) struct zone *zone = zone_of("Europe/Berlin");
    struct rate_calendar c = calendar_of("Sun 02:00-03:00 1M");
    uint64_t spring = UINT64_C(1774746000000), autumn = UINT64_C(1792890000000);
    assert_int_equal(rate_calendar_rule(&c, zone, spring - 1), 1);
    assert_int_equal(rate_calendar_rule(&c, zone, spring), 1); /* it is 03:00 */
    assert_int_equal(rate_calendar_rule(&c, zone, autumn - 60 * MINUTE_MS), 0);
    assert_int_equal(rate_calendar_rule(&c, zone, autumn + 59 * MINUTE_MS), 0);
    assert_int_equal(rate_calendar_rule(&c, zone, autumn + 60 * MINUTE_MS), 1);
    assert_int_equal(rate_calendar_next_ms(&c, zone, autumn - 61 * MINUTE_MS),
                     autumn - 60 * MINUTE_MS);
}

static void test_malformed(void **state)
{
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"Mon-Fry 1M", "rule 1, character 5 at 'Fry 1M': write days"},
        {"* 1M; Mon 25:00-26:00 1M", "rule 2, character 11 at '25:00"},
        {"* 08:00-18:00", "rule 1, character 14: nothing here; write the bound"},
        {"* 08:00 1M", "rule 1, character 9 at '1M': write times"},
        {"* ten", "rule 1, character 3 at 'ten': write the bound"},
        {"; * 1M", "rule 1, character 1: nothing here"},
        {"* 08:00-18:00 1M 2M", "rule 1, character 15 at '1M 2M'"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct rate_calendar calendar = {.count = 42};
        struct err err = ERR_INIT;
        assert_false(rate_calendar_parse(rows[i].text, &calendar, &err));
        assert_int_equal(err.kind, FAIL_INPUT);
        if (!strstr(err.text, rows[i].error))
            fail_msg("'%s': %s", rows[i].text, err.text);
        assert_int_equal(calendar.count, 42);
    }
}

static void test_print_and_parse(void **state)
{
    (void)state;
    struct rate_calendar c =
        calendar_of("mon-fri 8:00-18:00 10MB/s;Sat 80Mbit/s ; * 22:00-6:00 off");
    AUTO(buf_release) struct buf out = {0}, again = {0};
    rate_calendar_print(&c, &out);
    assert_string_equal(buf_text(&out), "Mon,Tue,Wed,Thu,Fri 08:00-18:00 10MB/s; "
                                        "Sat 10000000; * 22:00-06:00 0");
    struct rate_calendar back = calendar_of(buf_text(&out));
    rate_calendar_print(&back, &again);
    assert_string_equal(buf_text(&again), buf_text(&out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_office_hours),
        cmocka_unit_test(test_midnight_and_no_rule),
        cmocka_unit_test(test_the_clock_is_changed),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_print_and_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
