/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blackout windows as intervals: each window gives one interval a week, [start, start +
 * duration), and an instant is inside when any of them holds it. Only the latest start of
 * a window matters: it ends last.
 *
 * Invariants: B1 blackout_at(t) stays the same from t until the instant it names; B2
 * until_ms itself is outside; B3 what is printed parses to the same windows.
 */
#include "vault/blackout.h"

#include <stdlib.h>
#include <string.h>

#include "http/json.h"
#include "vault/weektext.h"

#define MINUTE_MS       ((uint64_t)60 * 1000)
#define DAY_MIN         1440u
#define DURATION_MAX    (366u * DAY_MIN)
#define HORIZON_MS      (400 * (uint64_t)DAY_MIN * MINUTE_MS)
#define DAY_REMEDY      "write the day as Monday .. Sunday"
#define TIME_REMEDY     "write the time as H:MM, 0:00 to 23:59"
#define DURATION_REMEDY "write the duration like 7h, 1d7h or 8m, at most 366d"

/* ---- text ---- */

/* "1d7h30m": each unit at most once, in this order. */
static bool read_duration(struct weektext *w, uint32_t *ret_min)
{
    static const struct {
        char unit;
        uint32_t minutes;
    } UNITS[] = {{'d', DAY_MIN}, {'h', 60}, {'m', 1}};
    uint64_t total = 0;
    size_t next = 0;
    weektext_blanks(w);
    const char *start = w->at;
    while (!weektext_is_end(w)) {
        uint32_t number;
        const char *at = w->at;
        if (!weektext_number(w, 6, &number))
            return false;
        while (next < ARRAY_COUNT(UNITS) &&
               (w->at == w->end || (*w->at | 0x20) != UNITS[next].unit))
            next++;
        if (next == ARRAY_COUNT(UNITS)) {
            w->at = at;
            return false;
        }
        w->at++;
        total += (uint64_t)number * UNITS[next++].minutes;
    }
    *ret_min = (uint32_t)total;
    if (total >= 1 && total <= DURATION_MAX)
        return true;
    w->at = start;
    return false;
}

static bool read_window(struct weektext *w, struct blackout_window *ret, struct err *err)
{
    if (!weektext_weekday(w, false, &ret->weekday))
        return weektext_fail(w, DAY_REMEDY, err);
    if (!weektext_char(w, ';'))
        return weektext_fail(w, "write ';' between day and time", err);
    weektext_blanks(w);
    if (!weektext_time(w, false, &ret->start_minute))
        return weektext_fail(w, TIME_REMEDY, err);
    if (!weektext_char(w, ';'))
        return weektext_fail(w, "write ';' between time and duration", err);
    if (!read_duration(w, &ret->duration_min))
        return weektext_fail(w, DURATION_REMEDY, err);
    return true;
}

bool blackout_parse(const char *text, struct blackout *ret, struct err *err)
{
    struct blackout blackout = {.count = 0};
    struct weektext w = {.text = text, .part_name = "window"};
    const char *next = text;
    if (strlen(text) > BLACKOUT_TEXT_MAX_BYTES)
        return err_set(err, FAIL_LIMIT, "blackout windows of %zu bytes; %d are allowed",
                       strlen(text), BLACKOUT_TEXT_MAX_BYTES);
    while (weektext_next_part(&w, &next, '|')) {
        if (w.part == 1 && !next && weektext_is_end(&w))
            break; /* no windows at all */
        if (blackout.count == BLACKOUT_MAX_WINDOWS)
            return err_set(err, FAIL_LIMIT, "more than %d blackout windows",
                           BLACKOUT_MAX_WINDOWS);
        if (!read_window(&w, &blackout.windows[blackout.count++], err))
            return false;
    }
    *ret = blackout;
    return true;
}

void blackout_print_window(const struct blackout_window *window, struct buf *out)
{
    uint32_t days = window->duration_min / DAY_MIN;
    uint32_t hours = window->duration_min / 60 % 24, minutes = window->duration_min % 60;
    buf_printf(out, "%s;%u:%02u;", zone_weekday_name(window->weekday),
               window->start_minute / 60, window->start_minute % 60);
    if (days)
        buf_printf(out, "%ud", days);
    if (hours)
        buf_printf(out, "%uh", hours);
    if (minutes)
        buf_printf(out, "%um", minutes);
}

void blackout_print(const struct blackout *blackout, struct buf *out)
{
    for (size_t i = 0; i < blackout->count; i++) {
        if (i)
            buf_append_text(out, " | ");
        blackout_print_window(&blackout->windows[i], out);
    }
}

char *blackout_file_text(const char *name, const char *data, size_t data_bytes,
                         struct err *err)
{
    static const char MARK[] = "\xef\xbb\xbf";
    const char *text;
    if (data_bytes >= 3 && memcmp(data, MARK, 3) == 0) {
        data += 3;
        data_bytes -= 3;
    }
    AUTO(json_free) json_t *root = json_parse(name, data, data_bytes, err);
    if (!root)
        return NULL;
    if (!json_is_object(root)) {
        (void)err_set(err, FAIL_INPUT,
                      "%s: write {\"BlackoutWindows\": \"Monday;7:00;7h\"}", name);
        return NULL;
    }
    if (!json_opt_text(root, "BlackoutWindows", "", &text, err)) {
        (void)err_wrap(err, "%s", name);
        return NULL;
    }
    return xstrdup(text);
}

/* ---- time ---- */

static uint64_t start_on(const struct blackout_window *window, const struct zone *zone,
                         int64_t day)
{
    return zone_instant(zone, day, window->start_minute * 60);
}

/* The last start at or before the instant. */
static uint64_t last_start(const struct blackout_window *window, const struct zone *zone,
                           uint64_t at_ms)
{
    struct zone_time local = zone_local(zone, at_ms);
    int64_t day = local.day - (local.weekday + 7 - window->weekday) % 7;
    uint64_t start_ms = start_on(window, zone, day);
    return start_ms <= at_ms ? start_ms : start_on(window, zone, day - 7);
}

static uint64_t next_start(const struct blackout_window *window, const struct zone *zone,
                           uint64_t at_ms)
{
    struct zone_time local = zone_local(zone, at_ms);
    int64_t day = local.day + (window->weekday + 7 - local.weekday) % 7;
    uint64_t start_ms = start_on(window, zone, day);
    return start_ms > at_ms ? start_ms : start_on(window, zone, day + 7);
}

/* The latest end among the windows that hold the instant; 0: none does. */
static uint64_t covered_until(const struct blackout *blackout, const struct zone *zone,
                              uint64_t at_ms, size_t *ret_window)
{
    uint64_t latest_ms = 0;
    for (size_t i = 0; i < blackout->count; i++) {
        const struct blackout_window *window = &blackout->windows[i];
        uint64_t end_ms =
            last_start(window, zone, at_ms) + window->duration_min * MINUTE_MS;
        if (end_ms <= at_ms || end_ms <= latest_ms)
            continue;
        latest_ms = end_ms;
        *ret_window = i;
    }
    return latest_ms;
}

static struct blackout_status outside(const struct blackout *blackout,
                                      const struct zone *zone, uint64_t now_ms)
{
    struct blackout_status status = {.next_start_ms = BLACKOUT_NEVER};
    for (size_t i = 0; i < blackout->count; i++) {
        uint64_t start_ms = next_start(&blackout->windows[i], zone, now_ms);
        if (start_ms < status.next_start_ms) {
            status.next_start_ms = start_ms;
            status.window = i;
        }
    }
    return status;
}

struct blackout_status blackout_at(const struct blackout *blackout,
                                   const struct zone *zone, uint64_t now_ms)
{
    struct blackout_status status = {.is_inside = true};
    size_t ignored = 0;
    uint64_t end_ms = covered_until(blackout, zone, now_ms, &status.window);
    if (end_ms == 0)
        return outside(blackout, zone, now_ms);
    while (end_ms) {
        status.until_ms = end_ms;
        if (end_ms - now_ms > HORIZON_MS) {
            status.until_ms = BLACKOUT_NEVER;
            break;
        }
        end_ms = covered_until(blackout, zone, end_ms, &ignored);
    }
    return status;
}
