/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What says when: byte 0 picks blackout windows, the throttle's calendar, a blackout file
 * or a compiled time zone. What parses must print to something that parses to the same,
 * and every instant must have an answer that holds until the instant it names.
 */
#include "fuzz.h"

#include "base/zone.h"
#include "vault/blackout.h"
#include "vault/rate_calendar.h"

#define NOW_MS UINT64_C(1795417200000)

static struct zone *berlin(void)
{
    static struct zone *zone;
    struct err err = ERR_INIT;
    if (!zone)
        zone = zone_open("CET-1CEST,M3.5.0,M10.5.0/3", &err);
    return zone;
}

static void check_status(const struct blackout *blackout)
{
    struct blackout_status now = blackout_at(blackout, berlin(), NOW_MS);
    uint64_t next_ms = now.is_inside ? now.until_ms : now.next_start_ms;
    if (next_ms == BLACKOUT_NEVER)
        return;
    if (next_ms <= NOW_MS ||
        blackout_at(blackout, berlin(), next_ms).is_inside == now.is_inside ||
        blackout_at(blackout, berlin(), next_ms - 1).is_inside != now.is_inside)
        abort();
}

static void try_blackout(const char *text)
{
    struct blackout blackout = {.count = 0}, again = {.count = 0};
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf out = {0};
    if (!blackout_parse(text, &blackout, &err)) {
        if (err.kind != FAIL_INPUT && err.kind != FAIL_LIMIT)
            abort();
        return;
    }
    blackout_print(&blackout, &out);
    if (out.bytes <= BLACKOUT_TEXT_MAX_BYTES &&
        (!blackout_parse(buf_text(&out), &again, &err) || again.count != blackout.count ||
         memcmp(again.windows, blackout.windows,
                blackout.count * sizeof *again.windows) != 0))
        abort();
    check_status(&blackout);
}

static void try_calendar(const char *text)
{
    struct rate_calendar calendar = {.count = 0}, again = {.count = 0};
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf out = {0};
    if (!rate_calendar_parse(text, &calendar, &err)) {
        if (err.kind != FAIL_INPUT && err.kind != FAIL_LIMIT)
            abort();
        return;
    }
    rate_calendar_print(&calendar, &out);
    if (out.bytes <= RATE_CALENDAR_TEXT_MAX_BYTES &&
        (!rate_calendar_parse(buf_text(&out), &again, &err) ||
         again.count != calendar.count))
        abort();
    (void)rate_calendar_rule(&calendar, berlin(), NOW_MS);
}

static void try_zone(const uint8_t *data, size_t data_bytes)
{
    struct err err = ERR_INIT;
    AUTO(zone_close) struct zone *zone = zone_parse("fuzz", data, data_bytes, &err);
    if (!zone && err.kind != FAIL_CORRUPT)
        abort();
    for (uint64_t at_ms = 0; zone && at_ms < 2 * NOW_MS; at_ms += NOW_MS / 5) {
        struct zone_time local = zone_local(zone, at_ms);
        if (local.second > 86399 || local.weekday > 6)
            abort();
        (void)zone_instant(zone, local.day, local.second);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_bytes)
{
    AUTO(buf_release) struct buf text = {0};
    struct err err = ERR_INIT;
    if (data_bytes == 0)
        return 0;
    buf_append(&text, data + 1, data_bytes - 1);
    switch (data[0] & 3) {
    case 0:
        try_blackout(buf_text(&text));
        break;
    case 1:
        try_calendar(buf_text(&text));
        break;
    case 2:
        free(blackout_file_text("fuzz", buf_text(&text), text.bytes, &err));
        break;
    default:
        try_zone(data + 1, data_bytes - 1);
    }
    return 0;
}
