/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calendar as a function of weekday and minute. The next change is found by looking
 * at every minute of the coming eight days: clocks that are set forward or back need no
 * case of their own then.
 */
#include "vault/rate_calendar.h"

#include <string.h>

#include "base/text.h"
#include "vault/weektext.h"

#define DAY_MIN    1440u
#define MINUTE_MS  ((uint64_t)60 * 1000)
#define ALL_DAYS   0x7fu
#define AHEAD_MIN  (8 * DAY_MIN)
#define RATE_BYTES 32

#define DAYS_REMEDY "write days like Mon-Fri, Sat,Sun or *"
#define TIME_REMEDY "write times like 08:00-18:00"
#define RATE_REMEDY "write the bound like 10MB/s, 80Mbit/s or 0"

/* ---- text ---- */

/* "Mon", "Mon-Fri" (round the week's end, too). */
static bool read_range(struct weektext *w, uint32_t *days)
{
    uint32_t first, last;
    if (!weektext_weekday(w, true, &first))
        return false;
    last = first;
    if (w->at < w->end && *w->at == '-') {
        w->at++;
        if (!weektext_weekday(w, true, &last))
            return false;
    }
    for (uint32_t day = first;; day = (day + 1) % 7) {
        *days |= 1u << day;
        if (day == last)
            return true;
    }
}

static bool read_days(struct weektext *w, uint32_t *ret)
{
    *ret = 0;
    if (weektext_char(w, '*')) {
        *ret = ALL_DAYS;
        return true;
    }
    do {
        if (!read_range(w, ret))
            return false;
    } while (w->at < w->end && *w->at == ',' && w->at++);
    return true;
}

static bool has_time(const struct weektext *w)
{
    size_t length = (size_t)(w->end - w->at);
    const char *blank = memchr(w->at, ' ', length);
    return memchr(w->at, ':', blank ? (size_t)(blank - w->at) : length) != NULL;
}

static bool read_rate(struct weektext *w, uint64_t *ret)
{
    char text[RATE_BYTES];
    struct err ignored = ERR_INIT; /* the caller names the character */
    size_t length = (size_t)(w->end - w->at);
    if (length == 0 || length >= sizeof text)
        return false;
    memcpy(text, w->at, length);
    text[length] = 0;
    return text_parse_rate(text, ret, &ignored);
}

static bool read_rule(struct weektext *w, struct rate_rule *ret, struct err *err)
{
    ret->start_minute = 0;
    ret->end_minute = DAY_MIN;
    if (!read_days(w, &ret->days))
        return weektext_fail(w, DAYS_REMEDY, err);
    weektext_blanks(w);
    if (has_time(w) &&
        (!weektext_time(w, false, &ret->start_minute) || !weektext_char(w, '-') ||
         !weektext_time(w, true, &ret->end_minute)))
        return weektext_fail(w, TIME_REMEDY, err);
    weektext_blanks(w);
    if (!read_rate(w, &ret->rate_bps))
        return weektext_fail(w, RATE_REMEDY, err);
    return true;
}

bool rate_calendar_parse(const char *text, struct rate_calendar *ret, struct err *err)
{
    struct rate_calendar calendar = {.count = 0};
    struct weektext w = {.text = text, .part_name = "rule"};
    const char *next = text;
    if (strlen(text) > RATE_CALENDAR_TEXT_MAX_BYTES)
        return err_set(err, FAIL_LIMIT, "a calendar of %zu bytes; %d are allowed",
                       strlen(text), RATE_CALENDAR_TEXT_MAX_BYTES);
    while (weektext_next_part(&w, &next, ';')) {
        if (!next && weektext_is_end(&w))
            break; /* nothing, or a ';' at the end */
        if (calendar.count == RATE_CALENDAR_MAX_RULES)
            return err_set(err, FAIL_LIMIT, "more than %d rules",
                           RATE_CALENDAR_MAX_RULES);
        if (!read_rule(&w, &calendar.rules[calendar.count++], err))
            return false;
    }
    *ret = calendar;
    return true;
}

static void print_days(uint32_t days, struct buf *out)
{
    bool is_first = true;
    if (days == ALL_DAYS) {
        buf_put_u8(out, '*');
        return;
    }
    for (uint32_t i = 1; i <= 7; i++) { /* Monday first */
        if (!(days >> i % 7 & 1u))
            continue;
        buf_printf(out, "%s%.3s", is_first ? "" : ",", zone_weekday_name(i % 7));
        is_first = false;
    }
}

void rate_calendar_print_rule(const struct rate_rule *rule, struct buf *out)
{
    print_days(rule->days, out);
    if (rule->start_minute != 0 || rule->end_minute != DAY_MIN)
        buf_printf(out, " %02u:%02u-%02u:%02u", rule->start_minute / 60,
                   rule->start_minute % 60, rule->end_minute / 60, rule->end_minute % 60);
    if (rule->rate_bps && rule->rate_bps % MIB == 0)
        buf_printf(out, " %lluMB/s", (unsigned long long)(rule->rate_bps / MIB));
    else
        buf_printf(out, " %llu", (unsigned long long)rule->rate_bps);
}

void rate_calendar_print(const struct rate_calendar *calendar, struct buf *out)
{
    for (size_t i = 0; i < calendar->count; i++) {
        if (i)
            buf_append_text(out, "; ");
        rate_calendar_print_rule(&calendar->rules[i], out);
    }
}

/* ---- time ---- */

static bool holds(const struct rate_rule *rule, uint32_t weekday, uint32_t minute)
{
    bool is_today = rule->days >> weekday & 1u;
    bool was_yesterday = rule->days >> (weekday + 6) % 7 & 1u;
    if (rule->start_minute < rule->end_minute)
        return is_today && minute >= rule->start_minute && minute < rule->end_minute;
    return (is_today && minute >= rule->start_minute) ||
           (was_yesterday && minute < rule->end_minute);
}

size_t rate_calendar_rule(const struct rate_calendar *calendar, const struct zone *zone,
                          uint64_t now_ms)
{
    size_t i = 0;
    if (calendar->count == 0)
        return 0;
    struct zone_time local = zone_local(zone, now_ms);
    while (i < calendar->count &&
           !holds(&calendar->rules[i], local.weekday, local.second / 60))
        i++;
    return i;
}

uint64_t rate_calendar_next_ms(const struct rate_calendar *calendar,
                               const struct zone *zone, uint64_t now_ms)
{
    if (calendar->count == 0)
        return RATE_CALENDAR_NEVER;
    size_t now = rate_calendar_rule(calendar, zone, now_ms);
    uint64_t at_ms = now_ms - now_ms % MINUTE_MS;
    for (uint32_t i = 0; i < AHEAD_MIN; i++) {
        at_ms += MINUTE_MS;
        if (rate_calendar_rule(calendar, zone, at_ms) != now)
            return at_ms;
    }
    return RATE_CALENDAR_NEVER;
}
