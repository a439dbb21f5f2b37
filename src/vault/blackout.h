/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blackout windows: times of the week in which no cycle begins. Cycles that run go on to
 * their end.
 *
 * Written "Monday;7:00;7h | Tuesday;8:00;1d7h": day, time by the clock on the gateway's
 * wall, duration (days, hours, minutes, in this order). A window begins when that clock
 * shows the time (a time that is left out when the clock is set forward: at the change;
 * one that is shown twice: the first) and lasts so many real hours, over midnight, over
 * the end of the week, over other windows.
 *
 * A migrate job is not held back by a blackout: it is refused when it is asked for inside
 * one (vault_operate), or fails in its first step, before anything is touched; an
 * interrupted one goes on. Everything else that would begin a cycle waits.
 *
 * Pure: text, zone and instant are arguments. Any thread.
 */
#ifndef VAULT_BLACKOUT_H
#define VAULT_BLACKOUT_H

#include "base/buf.h"
#include "base/zone.h"

#define BLACKOUT_MAX_WINDOWS    64
#define BLACKOUT_TEXT_MAX_BYTES 4096
#define BLACKOUT_NEVER          UINT64_MAX

struct blackout_window {
    uint32_t weekday;      /* 0 Sunday .. 6 Saturday */
    uint32_t start_minute; /* of the local day */
    uint32_t duration_min; /* 1 .. 366 days */
};

struct blackout {
    struct blackout_window windows[BLACKOUT_MAX_WINDOWS];
    size_t count; /* 0: no blackout ever */
};

/* "" and blanks: no windows. FAIL_INPUT names the window and the character (counted from
 * 1); *ret untouched. */
MUST_CHECK bool blackout_parse(const char *text, struct blackout *ret, struct err *err);

/* The windows as text that blackout_parse reads. */
void blackout_print(const struct blackout *blackout, struct buf *out);
void blackout_print_window(const struct blackout_window *window, struct buf *out);

struct blackout_status {
    bool is_inside;
    size_t window;          /* inside: the one that holds; outside: the next one */
    uint64_t until_ms;      /* inside: the first instant outside of every window, which
                             * may join others; BLACKOUT_NEVER; outside: 0 */
    uint64_t next_start_ms; /* outside: when the next window begins; BLACKOUT_NEVER:
                             * there is none; inside: 0 */
};

/* What holds at this instant; the same answer holds until until_ms or next_start_ms, so
 * that a caller need not ask again before. zone may be NULL when there is no window. */
struct blackout_status blackout_at(const struct blackout *blackout,
                                   const struct zone *zone, uint64_t now_ms);

/*
 * The string out of a GatewayDataWorker.json: {"BlackoutWindows": "…", …}; other keys are
 * not looked at, a byte order mark is skipped. name: for errors. malloc'ed; "" when the
 * key is not there. FAIL_INPUT: no JSON object, or the key holds no text.
 */
MUST_CHECK char *blackout_file_text(const char *name, const char *data, size_t data_bytes,
                                    struct err *err);

#endif
