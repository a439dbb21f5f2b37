/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the small languages of the week (blackout windows, throttle calendar): a cursor
 * over one line whose errors name the character. Pure.
 */
#ifndef VAULT_WEEKTEXT_H
#define VAULT_WEEKTEXT_H

#include "base/err.h"

struct weektext {
    const char *text; /* the whole line */
    const char *at;
    const char *end;       /* of the part that is read now */
    const char *part_name; /* "window" */
    size_t part;           /* which one, from 1 */
};

/* The next part up to the separator (or the end) becomes [at, end) without blanks around
 * it. false: there was none left. `*next` begins as text and is moved. */
bool weektext_next_part(struct weektext *w, const char **next, char separator);

void weektext_blanks(struct weektext *w);
/* Blanks, then this character. */
bool weektext_char(struct weektext *w, char wanted);
/* 1 to max_digits digits. */
bool weektext_number(struct weektext *w, unsigned max_digits, uint32_t *ret);
/* "Monday"; with is_short also "Mon"; in any case. 0 is Sunday. */
bool weektext_weekday(struct weektext *w, bool is_short, uint32_t *ret);
/* "7:00", "24:00" only with is_end: minutes of the day. */
bool weektext_time(struct weektext *w, bool is_end, uint32_t *ret_minutes);
bool weektext_is_end(struct weektext *w);

/* FAIL_INPUT: "window 2 ('Tuesdy;8:00;1d'), character 27: expected"; always false. */
bool weektext_fail(const struct weektext *w, const char *expected, struct err *err);

#endif
