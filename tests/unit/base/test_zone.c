/* SPDX-License-Identifier: Apache-2.0 */
/* Time zones: against the C library for a century and many zones; both kinds of days on
 * which the clock is changed; damaged files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/text.h"
#include "base/zone.h"

#define HOUR_MS ((uint64_t)3600 * 1000)

static struct zone *open_zone(const char *name)
{
    struct err err = ERR_INIT;
    struct zone *zone = zone_open(name, &err);
    if (!zone)
        fail_msg("%s", err.text);
    return zone;
}

static void matches_the_c_library(void **state)
{
    static const char *const NAMES[] = {"Europe/Berlin",
                                        "America/New_York",
                                        "Australia/Lord_Howe",
                                        "Asia/Kathmandu",
                                        "America/St_Johns",
                                        "Africa/Casablanca",
                                        "Pacific/Chatham",
                                        "Asia/Tehran",
                                        "America/Sao_Paulo",
                                        "Europe/Dublin",
                                        "UTC",
                                        "Asia/Gaza",
                                        "CET-1CEST,M3.5.0,M10.5.0/3",
                                        "NZST-12NZDT,M9.5.0,M4.1.0/3",
                                        "<-03>3",
                                        "EST5EDT,J60,J300/1:30"};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(NAMES); i++) {
        AUTO(zone_close) struct zone *zone = open_zone(NAMES[i]);
        assert_int_equal(setenv("TZ", NAMES[i], 1), 0);
        tzset();
        /* every 5 h 7 min from 1970 to 2090: meets each hour of the day */
        for (uint64_t s = 0; s < UINT64_C(3786912000); s += 18420) {
            time_t t = (time_t)s;
            struct tm tm;
            assert_non_null(localtime_r(&t, &tm));
            struct zone_time local = zone_local(zone, s * 1000);
            uint32_t second = (uint32_t)(tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec);
            if (local.offset_s != tm.tm_gmtoff || local.second != second ||
                local.weekday != (uint32_t)tm.tm_wday)
                fail_msg("%s at %llu: offset %d, expected %ld", NAMES[i],
                         (unsigned long long)s, local.offset_s, tm.tm_gmtoff);
        }
    }
    (void)unsetenv("TZ");
    tzset();
}

/* Every local minute around the days on which clocks change goes there and back. */
static void there_and_back(void **state)
{
    static const char *const NAMES[] = {"Europe/Berlin", "America/New_York",
                                        "Australia/Lord_Howe"};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(NAMES); i++) {
        AUTO(zone_close) struct zone *zone = open_zone(NAMES[i]);
        uint64_t end_ms = UINT64_C(1798761600000); /* 2027 */
        for (uint64_t t = UINT64_C(1767225600000); t < end_ms; t += 600000) {
            struct zone_time local = zone_local(zone, t);
            uint64_t back = zone_instant(zone, local.day, local.second);
            struct zone_time again = zone_local(zone, back);
            assert_int_equal(again.second, local.second);
            assert_int_equal(again.day, local.day);
            assert_true(back <= t); /* shown twice: the first */
            assert_true(t - back <= HOUR_MS);
        }
    }
}

static void clocks_set_forward_and_back(void **state)
{
    (void)state;
    AUTO(zone_close) struct zone *berlin = open_zone("Europe/Berlin");
    AUTO(zone_close) struct zone *howe = open_zone("Australia/Lord_Howe");
    char text[ZONE_TEXT_BYTES];
    int64_t march = 20541, october = 20751; /* 2026-03-29, 2026-10-25 */
    /* 02:30 is left out: the instant of the change, 01:00 UTC */
    assert_int_equal(zone_instant(berlin, march, 9000), UINT64_C(1774746000000));
    assert_string_equal(zone_text(berlin, UINT64_C(1774746000000), text),
                        "Sunday 2026-03-29 03:00 +02:00");
    /* 02:30 comes twice: the first, 00:30 UTC */
    assert_int_equal(zone_instant(berlin, october, 9000), UINT64_C(1792888200000));
    assert_string_equal(zone_text(berlin, UINT64_C(1792888200000), text),
                        "Sunday 2026-10-25 02:30 +02:00");
    /* half an hour forward at 02:00 of 2026-10-04: 02:10 is left out */
    assert_int_equal(zone_instant(howe, 20730, 7800), zone_instant(howe, 20730, 7200));
    assert_string_equal(zone_text(howe, zone_instant(howe, 20730, 7800), text),
                        "Sunday 2026-10-04 02:30 +11:00");
    /* 24:00 is the next day's begin */
    assert_int_equal(zone_instant(berlin, march, 86400),
                     zone_instant(berlin, march + 1, 0));
}

static void unknown_names(void **state)
{
    static const char *const NAMES[] = {"Europe/Atlantis", "../../etc/passwd",
                                        "/etc/passwd",     "CET",
                                        "nonsense!",       "CET-1CEST,M13.5.0,M10.5.0/3"};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(NAMES); i++) {
        struct err err = ERR_INIT;
        AUTO(zone_close) struct zone *zone = zone_open(NAMES[i], &err);
        if (strcmp(NAMES[i], "CET") == 0) {
            assert_non_null(zone);
            continue;
        }
        assert_null(zone);
        assert_int_equal(err.kind, FAIL_INPUT);
    }
}

static void damaged_files(void **state)
{
    (void)state;
    AUTO(buf_release) struct buf good = {0};
    struct err err = ERR_INIT;
    assert_true(file_read("/usr/share/zoneinfo/Europe/Berlin", 1 << 20, &good, &err));
    AUTO(zone_close) struct zone *zone = zone_parse("b", good.data, good.bytes, &err);
    assert_non_null(zone);
    for (size_t cut = 0; cut < good.bytes; cut += cut < 200 ? 1 : 13) {
        err_clear(&err);
        struct zone *part = zone_parse("b", good.data, cut, &err);
        assert_null(part);
        assert_int_equal(err.kind, FAIL_CORRUPT);
    }
    uint32_t x = 7;
    for (int i = 0; i < 20000; i++) {
        AUTO(buf_release) struct buf bad = {0};
        buf_append(&bad, good.data, good.bytes);
        for (int k = 0; k < 3; k++) {
            x = x * 1664525u + 1013904223u;
            size_t at = i % 2 ? (x >> 8) % 64 : (x >> 8) % good.bytes;
            bad.data[at] = (uint8_t)(x >> 3);
        }
        err_clear(&err);
        AUTO(zone_close) struct zone *other = zone_parse("b", bad.data, bad.bytes, &err);
        if (other)
            (void)zone_local(other, UINT64_C(1774746000000) + x % 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_the_c_library), cmocka_unit_test(there_and_back),
        cmocka_unit_test(clocks_set_forward_and_back), cmocka_unit_test(unknown_names),
        cmocka_unit_test(damaged_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
