/* SPDX-License-Identifier: Apache-2.0 */
/* The cursor of weektext.h. Positions are bytes counted from 1, as editors count. */
#include "vault/weektext.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/zone.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool weektext_next_part(struct weektext *w, const char **next, char separator)
{
    if (!*next)
        return false;
    const char *stop = strchr(*next, separator);
    w->at = *next;
    w->end = stop ? stop : *next + strlen(*next);
    *next = stop ? stop + 1 : NULL;
    w->part++;
    while (w->end > w->at && is_blank(w->end[-1]))
        w->end--;
    weektext_blanks(w);
    return true;
}

void weektext_blanks(struct weektext *w)
{
    while (w->at < w->end && is_blank(*w->at))
        w->at++;
}

bool weektext_char(struct weektext *w, char wanted)
{
    weektext_blanks(w);
    if (w->at == w->end || *w->at != wanted)
        return false;
    w->at++;
    return true;
}

bool weektext_number(struct weektext *w, unsigned max_digits, uint32_t *ret)
{
    uint32_t v = 0;
    unsigned digits = 0;
    weektext_blanks(w);
    for (; w->at < w->end && isdigit((unsigned char)*w->at); w->at++) {
        if (digits++ == max_digits)
            return false;
        v = v * 10 + (uint32_t)(*w->at - '0');
    }
    *ret = v;
    return digits > 0;
}

bool weektext_weekday(struct weektext *w, bool is_short, uint32_t *ret)
{
    weektext_blanks(w);
    size_t length = 0;
    while (w->at + length < w->end && isalpha((unsigned char)w->at[length]))
        length++;
    for (uint32_t day = 0; day < 7; day++) {
        const char *name = zone_weekday_name(day);
        bool is_whole = strlen(name) == length;
        if ((is_whole || (is_short && length == 3)) &&
            strncasecmp(name, w->at, length) == 0) {
            w->at += length;
            *ret = day;
            return true;
        }
    }
    return false;
}

bool weektext_time(struct weektext *w, bool is_end, uint32_t *ret_minutes)
{
    uint32_t hours, minutes;
    const char *start = w->at;
    if (!weektext_number(w, 2, &hours) || !weektext_char(w, ':'))
        return false;
    const char *minutes_at = w->at;
    if (!weektext_number(w, 2, &minutes) || w->at - minutes_at != 2)
        return false;
    *ret_minutes = hours * 60 + minutes;
    if ((hours < 24 && minutes < 60) || (is_end && hours == 24 && minutes == 0))
        return true;
    w->at = start; /* the error names the time's begin */
    return false;
}

bool weektext_is_end(struct weektext *w)
{
    weektext_blanks(w);
    return w->at == w->end;
}

bool weektext_fail(const struct weektext *w, const char *expected, struct err *err)
{
    size_t position = (size_t)(w->at - w->text) + 1;
    int length = (int)MIN_OF((size_t)(w->end - w->at), (size_t)24);
    if (length == 0)
        return err_set(err, FAIL_INPUT, "%s %zu, character %zu: nothing here; %s",
                       w->part_name, w->part, position, expected);
    return err_set(err, FAIL_INPUT, "%s %zu, character %zu at '%.*s': %s", w->part_name,
                   w->part, position, length, w->at, expected);
}
