/* SPDX-License-Identifier: Apache-2.0 */
/* Blackout windows: the format, the file, windows over midnight, over the end of the
 * week, over each other, over a change of the clock; malformed ones by window and
 * character. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vault/blackout.h"

#define MINUTE_MS ((uint64_t)60000)
#define HOUR_MS   (60 * MINUTE_MS)
#define DAY_MS    (24 * HOUR_MS)

static struct zone *zone_of(const char *name)
{
    struct err err = ERR_INIT;
    struct zone *zone = zone_open(name, &err);
    if (!zone)
        fail_msg("%s", err.text);
    return zone;
}

static struct blackout windows(const char *text)
{
    struct err err = ERR_INIT;
    struct blackout blackout;
    if (!blackout_parse(text, &blackout, &err))
        fail_msg("%s", err.text);
    return blackout;
}

/* Minutes since Monday 2026-11-23 00:00 local. */
static uint64_t monday(const struct zone *zone, uint64_t minutes)
{
    return zone_instant(zone, 20780, 0) + minutes * MINUTE_MS;
}

static void expect_inside(const char *text, const struct zone *zone, uint64_t from_min,
                          uint64_t to_min)
{
    struct blackout blackout = windows(text);
    struct blackout_status before =
        blackout_at(&blackout, zone, monday(zone, from_min) - 1);
    assert_false(before.is_inside);
    assert_int_equal(before.next_start_ms, monday(zone, from_min));
    for (uint64_t at = monday(zone, from_min); at < monday(zone, to_min);
         at += 7 * MINUTE_MS) {
        struct blackout_status status = blackout_at(&blackout, zone, at);
        assert_true(status.is_inside);
        assert_int_equal(status.until_ms, monday(zone, to_min));
    }
    assert_false(blackout_at(&blackout, zone, monday(zone, to_min)).is_inside);
}

static void test_shapes(void **state)
{
    (void)state;
    AUTO(zone_close) struct zone *utc = zone_of("UTC");
    expect_inside("Monday;7:00;7h", utc, 7 * 60, 14 * 60);
    expect_inside("Tuesday;8:00;1d7h", utc, 32 * 60, 63 * 60);
    expect_inside("Monday;23:30;1h", utc, 23 * 60 + 30, 24 * 60 + 30); /* midnight */
    expect_inside("Sunday;22:00;5h", utc, 166 * 60, 171 * 60); /* end of the week */
    expect_inside("Friday;13:00;8m", utc, 109 * 60, 109 * 60 + 8);
    /* over each other, and one right after the other */
    expect_inside("Monday;7:00;2h | Monday;8:00;3h | Monday;11:00;30m", utc, 7 * 60,
                  11 * 60 + 30);
    expect_inside("Wednesday;0:00;6d23h59m", utc, 48 * 60, (48 + 168) * 60 - 1);
}

static void test_a_week_and_more_never_ends(void **state)
{
    (void)state;
    AUTO(zone_close) struct zone *utc = zone_of("UTC");
    const char *const texts[] = {"Monday;7:00;7d", "Friday;1:00;30d", "Monday;0:00;366d",
                                 "Monday;0:00;4d | Friday;0:00;3d"};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        struct blackout blackout = windows(texts[i]);
        for (uint64_t h = 0; h < 200; h += 5) {
            struct blackout_status status =
                blackout_at(&blackout, utc, monday(utc, h * 60));
            assert_true(status.is_inside);
            assert_true(status.until_ms == BLACKOUT_NEVER);
        }
    }
    struct blackout none = windows("");
    struct blackout_status status = blackout_at(&none, NULL, 0);
    assert_false(status.is_inside);
    assert_true(status.next_start_ms == BLACKOUT_NEVER);
}

/* B1, B2 for every minute of two weeks around each change of the clock. */
static void check_every_minute(const struct blackout *blackout, const struct zone *zone,
                               uint64_t from_ms, uint64_t to_ms)
{
    struct blackout_status last = blackout_at(blackout, zone, from_ms);
    for (uint64_t at = from_ms + MINUTE_MS; at < to_ms; at += MINUTE_MS) {
        struct blackout_status now = blackout_at(blackout, zone, at);
        uint64_t changes_ms = last.is_inside ? last.until_ms : last.next_start_ms;
        if (at < changes_ms) {
            assert_int_equal(now.is_inside, last.is_inside);
            assert_true(now.until_ms == last.until_ms);
            assert_true(now.next_start_ms == last.next_start_ms);
        } else {
            assert_int_not_equal(now.is_inside, last.is_inside);
        }
        last = now;
    }
}

static void test_every_minute_of_a_year(void **state)
{
    (void)state;
    static const char *const zones[] = {"Europe/Berlin", "America/New_York",
                                        "Australia/Lord_Howe", "Africa/Casablanca"};
    struct blackout blackout =
        windows("Sunday;1:45;1h | Sunday;2:15;15m | Saturday;23:59;1h | Monday;7:00;7h | "
                "Wednesday;16:00;1d | Wednesday;20:00;2h");
    for (size_t i = 0; i < ARRAY_COUNT(zones); i++) {
        AUTO(zone_close) struct zone *zone = zone_of(zones[i]);
        uint64_t from_ms = zone_instant(zone, 20454, 0); /* 2026-01-01 */
        check_every_minute(&blackout, zone, from_ms, from_ms + 366 * DAY_MS);
    }
}

static void expect_span(const char *text, const struct zone *zone, uint64_t look_ms,
                        uint64_t start_ms, uint64_t end_ms)
{
    struct blackout blackout = windows(text);
    struct blackout_status before = blackout_at(&blackout, zone, look_ms);
    assert_false(before.is_inside);
    assert_int_equal(before.next_start_ms, start_ms);
    assert_int_equal(blackout_at(&blackout, zone, start_ms).until_ms, end_ms);
}

/* Each: the clock says the begin, real hours count to the end. */
static void test_the_clock_is_changed(void **state)
{
    (void)state;
    AUTO(zone_close) struct zone *berlin = zone_of("Europe/Berlin");
    AUTO(zone_close) struct zone *york = zone_of("America/New_York");
    AUTO(zone_close) struct zone *howe = zone_of("Australia/Lord_Howe");
    uint64_t spring = UINT64_C(1774746000000); /* 2026-03-29 01:00 UTC: 2:00 -> 3:00 */
    uint64_t autumn = UINT64_C(1792890000000); /* 2026-10-25 01:00 UTC: 3:00 -> 2:00 */
    expect_span("Sunday;1:00;2h", berlin, spring - DAY_MS, spring - HOUR_MS,
                spring + HOUR_MS); /* 1:00 to 4:00 on the wall */
    expect_span("Sunday;2:30;1h", berlin, spring - DAY_MS, spring, spring + HOUR_MS);
    expect_span("Sunday;2:30;1h", berlin, autumn - DAY_MS, autumn - HOUR_MS / 2,
                autumn + HOUR_MS / 2);
    expect_span("Saturday;12:00;1d", berlin, autumn - 2 * DAY_MS, autumn - 15 * HOUR_MS,
                autumn + 9 * HOUR_MS);
    spring = UINT64_C(1772953200000); /* 2026-03-08 07:00 UTC */
    autumn = UINT64_C(1793512800000); /* 2026-11-01 06:00 UTC */
    expect_span("Sunday;2:30;30m", york, spring - DAY_MS, spring, spring + HOUR_MS / 2);
    expect_span("Sunday;1:30;2h", york, autumn - DAY_MS, autumn - HOUR_MS / 2,
                autumn + 3 * HOUR_MS / 2);
    spring = UINT64_C(1791041400000); /* 2026-10-03 15:30 UTC: 2:00 -> 2:30 */
    autumn = UINT64_C(1775314800000); /* 2026-04-04 15:00 UTC: 2:00 -> 1:30 */
    expect_span("Sunday;2:10;1h", howe, spring - DAY_MS, spring, spring + HOUR_MS);
    expect_span("Sunday;1:45;1h", howe, autumn - DAY_MS, autumn - HOUR_MS / 4,
                autumn + 3 * HOUR_MS / 4);
}

static void test_malformed(void **state)
{
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"Mondy;7:00;7h", "window 1, character 1 at 'Mondy;7:00;7h': write the day"},
        {"Monday;7:00;7h | Tuesday;8:60;1d",
         "window 2, character 26 at '8:60;1d': write the time"},
        {"Monday;7:00;7h | Tuesday 8:00;1d",
         "window 2, character 26 at '8:00;1d': write ';'"},
        {"Monday;24:00;1h", "window 1, character 8 at '24:00;1h'"},
        {"Monday;7:5;1h", "window 1, character 11 at ';1h'"},
        {"Monday;7:00;", "window 1, character 13: nothing here; write the duration"},
        {"Monday;7:00;0h", "window 1, character 13 at '0h'"},
        {"Monday;7:00;7h30", "window 1, character 15 at '30'"},
        {"Monday;7:00;1h1d", "window 1, character 15 at '1d'"},
        {"Monday;7:00;-1h", "window 1, character 13 at '-1h'"},
        {"Monday;7:00;367d", "window 1, character 13 at '367d'"},
        {"Monday;7:00;7h |", "window 2, character 17: nothing here; write the day"},
        {"| Monday;7:00;7h", "window 1, character 1: nothing here"},
        {"List of blackout windows", "window 1, character 1"},
        {"Mon;7:00;7h", "window 1, character 1"},
        {"Monday;7:00;99999999999d", "window 1, character 19"},
        {"Monday;7:00;7h;", "window 1, character 15 at ';'"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct blackout blackout = {.count = 42};
        struct err err = ERR_INIT;
        assert_false(blackout_parse(rows[i].text, &blackout, &err));
        assert_int_equal(err.kind, FAIL_INPUT);
        if (!strstr(err.text, rows[i].error))
            fail_msg("'%s': %s", rows[i].text, err.text);
        assert_int_equal(blackout.count, 42); /* what was there stays */
    }
    AUTO(buf_release) struct buf many = {0};
    for (int i = 0; i <= BLACKOUT_MAX_WINDOWS; i++)
        buf_printf(&many, "%sMonday;7:00;1h", i ? "|" : "");
    struct blackout blackout;
    struct err err = ERR_INIT;
    assert_false(blackout_parse(buf_text(&many), &blackout, &err));
    assert_int_equal(err.kind, FAIL_LIMIT);
}

static void test_print_and_parse(void **state)
{
    (void)state;
    const char *text = "Monday;7:00;7h | Tuesday;8:00;1d7h | Wednesday;16:00;1d | "
                       "Thursday;18:00;5h | Friday;13:00;8m";
    struct blackout blackout = windows(text);
    AUTO(buf_release) struct buf out = {0};
    blackout_print(&blackout, &out);
    assert_string_equal(buf_text(&out), text);
    struct blackout again = windows(" monday ; 7:00 ; 7h|\tTUESDAY;08:00;1D7H ");
    AUTO(buf_release) struct buf short_out = {0};
    blackout_print(&again, &short_out);
    assert_string_equal(buf_text(&short_out), "Monday;7:00;7h | Tuesday;8:00;1d7h");
}

static void test_the_file(void **state)
{
    (void)state;
    static const char good[] =
        "\xef\xbb\xbf{\r\n    \r\n    \"BlackoutWindows\": \"Monday;7:00;7h | "
        "Tuesday;8:00;1d7h\",\r\n    \"HostBufferSizeInMB\": \"128\"\r\n}\r\n";
    struct err err = ERR_INIT;
    AUTO(free) char *text = blackout_file_text("f.json", good, sizeof good - 1, &err);
    assert_string_equal(text, "Monday;7:00;7h | Tuesday;8:00;1d7h");
    AUTO(free) char *none = blackout_file_text("f.json", "{}", 2, &err);
    assert_string_equal(none, "");
    const char *const bad[] = {"", "[]", "{\"BlackoutWindows\": 7}",
                               "{\"BlackoutWindows\"",
                               "{\"BlackoutWindows\":\"a\",\"BlackoutWindows\":\"b\"}"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        err_clear(&err);
        assert_null(blackout_file_text("f.json", bad[i], strlen(bad[i]), &err));
        assert_non_null(strstr(err.text, "f.json"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_a_week_and_more_never_ends),
        cmocka_unit_test(test_every_minute_of_a_year),
        cmocka_unit_test(test_the_clock_is_changed),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_print_and_parse),
        cmocka_unit_test(test_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
