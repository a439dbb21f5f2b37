/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The throttle's calendar: which bound holds at which time of the week.
 *
 * Written "Mon-Fri 08:00-18:00 10MB/s; Sat,Sun 0; * 40MB/s": rules, of which the first
 * that holds counts. Days: names, lists, ranges, or * for all; times by the clock on the
 * gateway's wall, over midnight when the end is not after the begin, all day without;
 * then the bound, 0 for none. No rule holds: no bound.
 *
 * Pure: text, zone and instant are arguments. Any thread.
 */
#ifndef VAULT_RATE_CALENDAR_H
#define VAULT_RATE_CALENDAR_H

#include "base/buf.h"
#include "base/zone.h"

#define RATE_CALENDAR_MAX_RULES      64
#define RATE_CALENDAR_TEXT_MAX_BYTES 4096
#define RATE_CALENDAR_NEVER          UINT64_MAX

struct rate_rule {
    uint32_t days;         /* bit 0 Sunday .. bit 6 Saturday */
    uint32_t start_minute; /* of the local day */
    uint32_t end_minute;   /* up to 1440; not after start: on the next day */
    uint64_t rate_bps;     /* 0: no bound */
};

struct rate_calendar {
    struct rate_rule rules[RATE_CALENDAR_MAX_RULES];
    size_t count;
};

/* FAIL_INPUT names the rule and the character; *ret untouched. */
MUST_CHECK bool rate_calendar_parse(const char *text, struct rate_calendar *ret,
                                    struct err *err);
void rate_calendar_print(const struct rate_calendar *calendar, struct buf *out);
void rate_calendar_print_rule(const struct rate_rule *rule, struct buf *out);

/* The rule that holds; count: none. */
size_t rate_calendar_rule(const struct rate_calendar *calendar, const struct zone *zone,
                          uint64_t now_ms);

/* When another rule (or none) begins to hold, to the minute; RATE_CALENDAR_NEVER. Takes
 * about a millisecond. */
uint64_t rate_calendar_next_ms(const struct rate_calendar *calendar,
                               const struct zone *zone, uint64_t now_ms);

#endif
