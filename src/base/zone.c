/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiled zone files (RFC 9636): a list of instants with the offset that holds from each
 * on, then a footer with a POSIX rule ("CET-1CEST,M3.5.0,M10.5.0/3") for all later years.
 * Version 1 data (32 bits) is skipped when there is more.
 *
 * Invariants: Z1 the instants rise strictly; Z2 nothing of the file is believed before
 * its sizes were checked against its length; Z3 offsets are within +-26 h.
 */
#include "base/zone.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/text.h"

#define FILE_MAX_BYTES   (256 * KIB)
#define HEADER_BYTES     44
#define DAY_S            ((int64_t)86400)
#define OFFSET_MAX_S     (26 * 3600)
#define SYSTEM_FOLDER    "/usr/share/zoneinfo"
#define SYSTEM_LOCALTIME "/etc/localtime"

/* When a rule changes: the day of the year, and the second of that day. */
struct rule_date {
    char form;        /* 'J': 1..365 without 29 Feb; '0': 0..365; 'M': month, week, day */
    int32_t month;    /* 1..12 */
    int32_t week;     /* 1..5, 5 is the last */
    int32_t day;      /* weekday 0..6, or day of the year */
    int32_t second_s; /* of the local day; may lie outside of it */
};

struct zone_rule {
    bool has_dst;
    int32_t standard_s, dst_s; /* east of UTC */
    struct rule_date start, end;
};

struct zone {
    /* Set when opened, never changed. */
    char *name;
    int64_t *times;   /* instants, seconds */
    int32_t *offsets; /* from times[i] on */
    size_t count;
    int32_t first_s; /* before times[0] */
    bool has_rule;   /* for what is after the last instant */
    struct zone_rule rule;
};

/* ---- the calendar ---- */

static int64_t seconds_of(int32_t year, int32_t month, int32_t day)
{
    struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day};
    return (int64_t)timegm(&tm);
}

static int32_t weekday_of(int64_t seconds)
{
    int64_t days = seconds / DAY_S - (seconds % DAY_S < 0);
    return (int32_t)(((days + 4) % 7 + 7) % 7); /* 1970-01-01 was a Thursday */
}

/* Local seconds at which the rule changes in that year. */
static int64_t rule_seconds(const struct rule_date *date, int32_t year)
{
    if (date->form == 'M') {
        int64_t first = seconds_of(year, date->month, 1);
        int64_t next = seconds_of(year, date->month + 1, 1);
        int64_t at = first + (int64_t)((date->day - weekday_of(first) + 7) % 7 +
                                       7 * (date->week - 1)) *
                                 DAY_S;
        while (at >= next)
            at -= 7 * DAY_S;
        return at + date->second_s;
    }
    int64_t begin = seconds_of(year, 1, 1);
    bool is_leap = seconds_of(year + 1, 1, 1) - begin == 366 * DAY_S;
    int32_t day = date->day;
    if (date->form == 'J')
        day = day - 1 + (is_leap && day >= 60);
    return begin + day * DAY_S + date->second_s;
}

static int32_t rule_offset(const struct zone_rule *rule, int64_t utc_s)
{
    if (!rule->has_dst)
        return rule->standard_s;
    time_t local = (time_t)(utc_s + rule->standard_s);
    struct tm tm;
    if (!gmtime_r(&local, &tm))
        return rule->standard_s;
    int32_t year = tm.tm_year + 1900;
    int64_t start = rule_seconds(&rule->start, year) - rule->standard_s;
    int64_t end = rule_seconds(&rule->end, year) - rule->dst_s;
    bool is_dst =
        start < end ? utc_s >= start && utc_s < end : !(utc_s >= end && utc_s < start);
    return is_dst ? rule->dst_s : rule->standard_s;
}

static int32_t offset_at(const struct zone *zone, int64_t utc_s)
{
    if (zone->count == 0 || utc_s >= zone->times[zone->count - 1]) {
        if (zone->has_rule)
            return rule_offset(&zone->rule, utc_s);
        return zone->count ? zone->offsets[zone->count - 1] : zone->first_s;
    }
    if (utc_s < zone->times[0])
        return zone->first_s;
    size_t low = 0, high = zone->count; /* times[low] <= utc_s < times[high] */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (zone->times[middle] <= utc_s)
            low = middle;
        else
            high = middle;
    }
    return zone->offsets[low];
}

/* ---- the POSIX rule ---- */

struct cursor {
    const char *at;
};

static bool take_number(struct cursor *c, int32_t min, int32_t max, int32_t *ret)
{
    int32_t v = 0, digits = 0;
    while (*c->at >= '0' && *c->at <= '9' && digits < 4) {
        v = v * 10 + (*c->at++ - '0');
        digits++;
    }
    *ret = v;
    return digits > 0 && v >= min && v <= max;
}

static bool take_char(struct cursor *c, char wanted)
{
    if (*c->at != wanted)
        return false;
    c->at++;
    return true;
}

/* [+-]hh[:mm[:ss]] */
static bool take_time(struct cursor *c, int32_t max_hours, int32_t *ret_s)
{
    int32_t sign = 1, hours, minutes = 0, seconds = 0;
    if (take_char(c, '-'))
        sign = -1;
    else
        (void)take_char(c, '+');
    if (!take_number(c, 0, max_hours, &hours))
        return false;
    if (take_char(c, ':') && (!take_number(c, 0, 59, &minutes) ||
                              (take_char(c, ':') && !take_number(c, 0, 59, &seconds))))
        return false;
    *ret_s = sign * (hours * 3600 + minutes * 60 + seconds);
    return true;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool take_name(struct cursor *c)
{
    const char *start = c->at;
    if (take_char(c, '<')) {
        while (*c->at && *c->at != '>')
            c->at++;
        return take_char(c, '>');
    }
    while (is_letter(*c->at))
        c->at++;
    return c->at - start >= 3;
}

static bool take_date(struct cursor *c, struct rule_date *ret)
{
    bool ok;
    ret->form = '0';
    if (take_char(c, 'M')) {
        ret->form = 'M';
        ok = take_number(c, 1, 12, &ret->month) && take_char(c, '.') &&
             take_number(c, 1, 5, &ret->week) && take_char(c, '.') &&
             take_number(c, 0, 6, &ret->day);
    } else if (take_char(c, 'J')) {
        ret->form = 'J';
        ok = take_number(c, 1, 365, &ret->day);
    } else {
        ok = take_number(c, 0, 365, &ret->day);
    }
    ret->second_s = 2 * 3600;
    return ok && (!take_char(c, '/') || take_time(c, 167, &ret->second_s));
}

/* POSIX counts offsets to the west. */
static bool parse_rule(const char *text, struct zone_rule *ret)
{
    struct cursor c = {text};
    int32_t west_s;
    *ret = (struct zone_rule){0};
    if (!take_name(&c) || !take_time(&c, 24, &west_s))
        return false;
    ret->standard_s = -west_s;
    if (*c.at == 0)
        return true;
    ret->has_dst = true;
    ret->dst_s = ret->standard_s + 3600;
    if (!take_name(&c))
        return false;
    if (*c.at != ',' && *c.at != 0) {
        if (!take_time(&c, 24, &west_s))
            return false;
        ret->dst_s = -west_s;
    }
    return take_char(&c, ',') && take_date(&c, &ret->start) && take_char(&c, ',') &&
           take_date(&c, &ret->end) && *c.at == 0;
}

/* ---- the file ---- */

struct counts {
    uint32_t isut, isstd, leap, time, type, text;
};

static uint32_t get_u32be(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t get_time(const uint8_t *p, size_t width)
{
    if (width == 4)
        return (int32_t)get_u32be(p);
    return (int64_t)((uint64_t)get_u32be(p) << 32 | get_u32be(p + 4));
}

static bool read_header(const uint8_t *data, size_t data_bytes, struct counts *ret)
{
    if (data_bytes < HEADER_BYTES || memcmp(data, "TZif", 4) != 0)
        return false;
    uint32_t *fields[] = {&ret->isut, &ret->isstd, &ret->leap,
                          &ret->time, &ret->type,  &ret->text};
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        *fields[i] = get_u32be(data + 20 + 4 * i);
        if (*fields[i] > 65536)
            return false;
    }
    return ret->type >= 1 && ret->type <= 256;
}

static size_t block_bytes(const struct counts *n, size_t width)
{
    return (size_t)n->time * (width + 1) + (size_t)n->type * 6 + n->text +
           (size_t)n->leap * (width + 4) + n->isstd + n->isut;
}

static bool take_offset(const uint8_t *types, const struct counts *n, uint8_t type,
                        int32_t *ret)
{
    if (type >= n->type)
        return false;
    *ret = (int32_t)get_u32be(types + (size_t)type * 6);
    return *ret >= -OFFSET_MAX_S && *ret <= OFFSET_MAX_S;
}

static bool read_block(struct zone *zone, const uint8_t *data, const struct counts *n,
                       size_t width)
{
    const uint8_t *indices = data + (size_t)n->time * width;
    const uint8_t *types = indices + n->time;
    zone->times = xcalloc((size_t)n->time + 1, sizeof *zone->times);
    zone->offsets = xcalloc((size_t)n->time + 1, sizeof *zone->offsets);
    if (!take_offset(types, n, 0, &zone->first_s))
        return false;
    for (uint32_t i = 0; i < n->time; i++) {
        zone->times[i] = get_time(data + (size_t)i * width, width);
        if (!take_offset(types, n, indices[i], &zone->offsets[i]) ||
            (i && zone->times[i] <= zone->times[i - 1]))
            return false;
    }
    zone->count = n->time;
    return true;
}

/* "\n<rule>\n" behind the data; an empty rule means that there is none. */
static bool read_footer(struct zone *zone, const uint8_t *data, size_t data_bytes)
{
    char text[128];
    if (data_bytes < 2 || data[0] != '\n')
        return false;
    const uint8_t *stop = memchr(data + 1, '\n', data_bytes - 1);
    size_t length = stop ? (size_t)(stop - data - 1) : 0;
    if (!stop || length >= sizeof text || memchr(data + 1, 0, length))
        return false;
    memcpy(text, data + 1, length);
    text[length] = 0;
    zone->has_rule = length > 0;
    return length == 0 || parse_rule(text, &zone->rule);
}

static bool read_zone(struct zone *zone, const uint8_t *data, size_t data_bytes)
{
    struct counts n;
    if (!read_header(data, data_bytes, &n))
        return false;
    size_t first = block_bytes(&n, 4);
    if (first > data_bytes - HEADER_BYTES)
        return false;
    if (data[4] < '2')
        return read_block(zone, data + HEADER_BYTES, &n, 4);
    data += HEADER_BYTES + first;
    data_bytes -= HEADER_BYTES + first;
    if (!read_header(data, data_bytes, &n))
        return false;
    size_t second = block_bytes(&n, 8);
    return second <= data_bytes - HEADER_BYTES &&
           read_block(zone, data + HEADER_BYTES, &n, 8) &&
           read_footer(zone, data + HEADER_BYTES + second,
                       data_bytes - HEADER_BYTES - second);
}

struct zone *zone_parse(const char *name, const uint8_t *data, size_t data_bytes,
                        struct err *err)
{
    AUTO(zone_close) struct zone *zone = xcalloc(1, sizeof *zone);
    zone->name = xstrdup(name);
    if (data_bytes <= FILE_MAX_BYTES && read_zone(zone, data, data_bytes))
        return TAKE(zone);
    (void)err_set(err, FAIL_CORRUPT,
                  "time zone '%s': its file is damaged; install tzdata again", name);
    return NULL;
}

/* ---- opening ---- */

static struct zone *open_file(const char *name, const char *path, struct err *err)
{
    AUTO(buf_release) struct buf data = {0};
    if (!file_read(path, FILE_MAX_BYTES, &data, err))
        return NULL;
    return zone_parse(name, data.data, data.bytes, err);
}

/* Letters, digits and "/_+-" only: a name stays within the folder. */
static bool is_file_name(const char *name)
{
    if (!is_letter(name[0]) || strlen(name) > 64)
        return false;
    for (const char *p = name; *p; p++)
        if (!is_letter(*p) && !(*p >= '0' && *p <= '9') && !strchr("/_+-", *p))
            return false;
    return true;
}

static struct zone *open_rule(const char *name, struct err *err)
{
    struct zone_rule rule;
    if (!parse_rule(name, &rule) && strcmp(name, "UTC") != 0) {
        (void)err_set(err, FAIL_INPUT,
                      "time zone '%.64s' is not known; write one like Europe/Berlin",
                      name);
        return NULL;
    }
    struct zone *zone = xcalloc(1, sizeof *zone);
    zone->name = xstrdup(name);
    zone->has_rule = true;
    zone->rule = rule; /* of "UTC": all zero */
    return zone;
}

static struct zone *open_named(const char *name, struct err *err)
{
    if (is_file_name(name)) {
        struct err why = ERR_INIT;
        AUTO(free) char *path = file_join(SYSTEM_FOLDER, name);
        struct zone *zone = open_file(name, path, &why);
        if (zone || why.kind == FAIL_CORRUPT) {
            if (!zone)
                *err = why;
            return zone;
        }
    }
    return open_rule(name, err);
}

struct zone *zone_open(const char *name, struct err *err)
{
    struct err why = ERR_INIT;
    if (name && *name)
        return open_named(name, err);
    const char *from_env = getenv("TZ");
    if (from_env && *from_env)
        return open_named(from_env + (*from_env == ':'), err);
    struct zone *zone = open_file("local", SYSTEM_LOCALTIME, &why);
    if (!zone && why.kind == FAIL_GONE)
        return open_rule("UTC", err);
    if (!zone)
        *err = why;
    return zone;
}

void zone_close(struct zone *zone)
{
    if (!zone)
        return;
    free(zone->name);
    free(zone->times);
    free(zone->offsets);
    free(zone);
}

const char *zone_name(const struct zone *zone)
{
    return zone->name;
}

/* ---- use ---- */

struct zone_time zone_local(const struct zone *zone, uint64_t wall_ms)
{
    int64_t utc_s = (int64_t)(wall_ms / 1000);
    int32_t offset_s = offset_at(zone, utc_s);
    int64_t local_s = utc_s + offset_s;
    int64_t day = local_s / DAY_S - (local_s % DAY_S < 0);
    return (struct zone_time){.day = day,
                              .weekday = (uint32_t)weekday_of(local_s),
                              .second = (uint32_t)(local_s - day * DAY_S),
                              .offset_s = offset_s};
}

/* The first instant in (low, high] whose offset is not that of low. */
static int64_t change_between(const struct zone *zone, int64_t low, int64_t high)
{
    int32_t before = offset_at(zone, low);
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (offset_at(zone, middle) == before)
            low = middle;
        else
            high = middle;
    }
    return high;
}

uint64_t zone_instant(const struct zone *zone, int64_t day, uint32_t second)
{
    int64_t local_s = day * DAY_S + second;
    int32_t before_s = offset_at(zone, local_s - DAY_S);
    int32_t after_s = offset_at(zone, local_s + DAY_S);
    int64_t by_before = local_s - before_s, by_after = local_s - after_s, utc_s;
    bool is_before = offset_at(zone, by_before) == before_s;
    bool is_after = offset_at(zone, by_after) == after_s;
    if (is_before && is_after)
        utc_s = MIN_OF(by_before, by_after);
    else if (is_before || is_after)
        utc_s = is_before ? by_before : by_after;
    else
        utc_s = change_between(zone, MIN_OF(by_before, by_after),
                               MAX_OF(by_before, by_after));
    return utc_s > 0 ? (uint64_t)utc_s * 1000 : 0;
}

const char *zone_weekday_name(uint32_t weekday)
{
    static const char *const names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};
    return names[weekday % 7];
}

const char *zone_text(const struct zone *zone, uint64_t wall_ms,
                      char out[ZONE_TEXT_BYTES])
{
    struct zone_time at = zone_local(zone, wall_ms);
    time_t local = (time_t)(at.day * DAY_S + at.second);
    struct tm tm;
    char date[24];
    int32_t minutes = abs(at.offset_s) / 60;
    if (!gmtime_r(&local, &tm) || strftime(date, sizeof date, "%Y-%m-%d %H:%M", &tm) == 0)
        text_copy(date, sizeof date, "?");
    (void)snprintf(out, ZONE_TEXT_BYTES, "%s %s %c%02d:%02d",
                   zone_weekday_name(at.weekday), date, at.offset_s < 0 ? '-' : '+',
                   minutes / 60, minutes % 60);
    return out;
}
