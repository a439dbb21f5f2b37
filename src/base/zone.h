/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time zones as values: any number of them side by side, none of them the process's own.
 * (localtime_r knows only the one in TZ, and changing TZ while threads run is a race.)
 *
 * Read from the system's compiled zone files (RFC 9636), whose footer gives the rule for
 * the years after the last listed change. Constant after zone_open; any thread.
 */
#ifndef BASE_ZONE_H
#define BASE_ZONE_H

#include "base/buf.h"
#include "base/err.h"

struct zone;

/* name: "Europe/Berlin", a POSIX rule like "CET-1CEST,M3.5.0,M10.5.0/3", "UTC"; NULL or
 * "": the system's (TZ, else /etc/localtime, else UTC). FAIL_INPUT: no such zone. */
MUST_CHECK struct zone *zone_open(const char *name, struct err *err);
void zone_close(struct zone *zone);
AUTO_CLEANUP(struct zone, zone_close);

/* A compiled zone file in memory. FAIL_CORRUPT. Pure. */
MUST_CHECK struct zone *zone_parse(const char *name, const uint8_t *data,
                                   size_t data_bytes, struct err *err);

const char *zone_name(const struct zone *zone); /* as it was asked for, or "local" */

/* The clock on the wall. */
struct zone_time {
    int64_t day;      /* local days since 1970-01-01 */
    uint32_t weekday; /* 0 Sunday .. 6 Saturday */
    uint32_t second;  /* of the day, 0 .. 86399 */
    int32_t offset_s; /* east of UTC */
};

struct zone_time zone_local(const struct zone *zone, uint64_t wall_ms);

/* When that clock shows this time, in ms since 1970-01-01 UTC. A time that it shows twice
 * (set back): the first; one that it leaves out (set forward): the instant of the change.
 * second may be 86400. Before 1970: 0. */
uint64_t zone_instant(const struct zone *zone, int64_t day, uint32_t second);

#define ZONE_TEXT_BYTES 48
/* "Monday 2026-11-23 07:00 +01:00"; out is returned. */
const char *zone_text(const struct zone *zone, uint64_t wall_ms,
                      char out[ZONE_TEXT_BYTES]);

/* "Sunday" .. "Saturday" */
const char *zone_weekday_name(uint32_t weekday);

#endif
