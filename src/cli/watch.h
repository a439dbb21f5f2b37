/* SPDX-License-Identifier: Apache-2.0 */
/* The live table: views of the API to one frame of text (pure), and the loop around it.
 */
#ifndef CLI_WATCH_H
#define CLI_WATCH_H

#include "cli/cli.h"
#include "cli/table.h"

#define WATCH_MAX_EVENTS 64

struct watch_view {
    const json_t *status;   /* Status, or NULL before the first answer */
    const json_t *machines; /* array of Machine */
    const json_t *events;   /* array of Event, oldest first */
    const json_t *throttle; /* Throttle */
    const char *trouble;    /* why the daemon does not answer; NULL: it does */
    uint64_t now_ms;        /* wall clock */
};

/* One frame of at most height lines (0: no bound), none wider than look->width. Pure. */
void watch_render(const struct watch_view *view, const struct table_look *look,
                  int height, struct buf *out);

/* The machines as a table, at most limit of them. */
void watch_render_machines(const json_t *machines, uint64_t now_ms, size_t limit,
                           const struct table_look *look, struct buf *out);

/* Table and notes without header and events, as `kedge status` prints them. */
void watch_render_summary(const struct watch_view *view, const struct table_look *look,
                          struct buf *out);

/* "214.0 MiB/s"; "" for none. */
const char *watch_rate(const json_t *rate, char out[32]);
/* "12:03:45", local time. */
const char *watch_clock(uint64_t wall_ms, char out[16]);
/* 0..1000 of a Cycle; 0 for null. */
unsigned watch_permille(const json_t *cycle);

/* kedge status --watch: until q, Ctrl-C, or the reader of the pipe has gone. */
MUST_CHECK bool watch_run(struct cli *cli, struct err *err);

#endif
