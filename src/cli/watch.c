/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of the live table. Everything is computed from the views of one moment: the
 * same input gives the same text, which is how the tests look at it.
 */
#include "cli/watch.h"

#include "base/clock.h"
#include "base/text.h"

#include <time.h>

#define STALE_AFTER_MS (13 * UINT64_C(3600000)) /* older than the longest delta pause */

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static uint64_t number_at(const json_t *object, const char *key)
{
    double v = json_number_value(json_object_get(object, key));
    return v > 0 ? (uint64_t)v : 0;
}

static bool has_at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value && !json_is_null(value);
}

const char *watch_rate(const json_t *rate, char out[32])
{
    char bytes[TEXT_HUMAN_BYTES];
    double v = json_number_value(rate);
    out[0] = 0;
    if (v >= 1)
        (void)snprintf(out, 32, "%s/s", text_bytes((uint64_t)v, bytes));
    return out;
}

const char *watch_clock(uint64_t wall_ms, char out[16])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm parts;
    if (!localtime_r(&seconds, &parts) || strftime(out, 16, "%H:%M:%S", &parts) == 0)
        text_copy(out, 16, "--:--:--");
    return out;
}

unsigned watch_permille(const json_t *cycle)
{
    bool is_compare = strcmp(text_at(cycle, "phase"), "compare") == 0 &&
                      number_at(cycle, "compare_total_bytes") > 0;
    uint64_t planned =
        number_at(cycle, is_compare ? "compare_total_bytes" : "planned_bytes");
    uint64_t done = number_at(cycle, is_compare ? "compared_bytes" : "done_bytes");
    if (planned == 0)
        return 0;
    double part = (double)done / (double)planned;
    return part >= 1 ? 1000 : (unsigned)(part * 1000);
}

/* "8s", "2m 13s": whole seconds, for what changes on the screen. */
static const char *short_time(uint64_t ms, char out[TEXT_HUMAN_BYTES])
{
    if (ms < 10000)
        (void)snprintf(out, TEXT_HUMAN_BYTES, "%us", (unsigned)((ms + 999) / 1000));
    else
        (void)text_duration(ms, out);
    return out;
}

static enum style style_of_state(const char *state)
{
    static const struct {
        const char *part;
        enum style style;
    } STYLES[] = {{"failed", STYLE_RED},     {"repair", STYLE_YELLOW},
                  {"paus", STYLE_YELLOW},    {"stop", STYLE_YELLOW},
                  {"queued", STYLE_DIM},     {"delta-sync", STYLE_GREEN},
                  {"migrated", STYLE_GREEN}, {"", STYLE_CYAN}};
    for (size_t i = 0;; i++)
        if (strstr(state, STYLES[i].part))
            return STYLES[i].style;
}

/* The replication status, until a migration is what matters. */
static void put_status(struct table *table, const json_t *machine)
{
    static const char *const QUIET[] = {"", "none", "test-pending"};
    const char *state = text_at(machine, "state");
    const char *migration = text_at(machine, "migration_state");
    bool is_quiet = false;
    for (size_t i = 0; i < ARRAY_COUNT(QUIET); i++)
        is_quiet = is_quiet || strcmp(migration, QUIET[i]) == 0;
    bool is_replicating = has_at(machine, "cycle") || strstr(state, "failed");
    if (strcmp(migration, "migrated") == 0)
        table_cell(table, STYLE_GREEN, "Migrated");
    else if (!is_quiet && !is_replicating)
        table_cell(table, style_of_state(migration), "%s",
                   text_at(machine, "migration_status"));
    else
        table_cell(table, style_of_state(state), "%s", text_at(machine, "status"));
}

static void put_point(struct table *table, const json_t *machine, uint64_t now_ms)
{
    char age_text[TEXT_HUMAN_BYTES];
    const json_t *point = json_object_get(machine, "recovery_point");
    uint64_t at = number_at(point, "at_ms");
    uint64_t age = now_ms > at ? now_ms - at : 0;
    if (!at)
        table_cell(table, STYLE_DIM, "–");
    else
        table_cell(table, age > STALE_AFTER_MS ? STYLE_RED : STYLE_PLAIN, "%s ago",
                   short_time(age, age_text));
}

/* What happens while no cycle runs: the job's step, or when the next cycle begins. */
static void put_idle(struct table *table, const json_t *machine, uint64_t now_ms)
{
    char wait[TEXT_HUMAN_BYTES];
    const json_t *job = json_object_get(machine, "job");
    const char *step = text_at(job, "step");
    uint64_t next = number_at(machine, "next_cycle_at_ms");
    if (has_at(machine, "waiting")) {
        table_cell(table, STYLE_YELLOW, "waits");
        table_cell(table, STYLE_DIM, "%s",
                   text_at(json_object_get(machine, "waiting"), "text"));
    } else if (json_is_object(job)) {
        table_cell(table, STYLE_PLAIN, "%s", *step ? step : text_at(job, "operation"));
        table_cell(table, STYLE_DIM, "%s", "");
    } else {
        table_cell(table, STYLE_DIM, "%s", "");
        if (next > now_ms)
            table_cell(table, STYLE_DIM, "next in %s", short_time(next - now_ms, wait));
        else
            table_cell(table, STYLE_DIM, "%s", "");
    }
    table_cell(table, STYLE_DIM, "%s", "");
}

static void put_progress(struct table *table, const json_t *machine, uint64_t now_ms)
{
    const json_t *cycle = json_object_get(machine, "cycle");
    if (!json_is_object(cycle)) {
        put_idle(table, machine, now_ms);
        return;
    }
    unsigned permille = watch_permille(cycle);
    const char *phase = text_at(cycle, "phase");
    bool is_repair = strcmp(text_at(cycle, "kind"), "resync") == 0;
    table_cell(table, STYLE_PLAIN, "%s%s", phase,
               json_is_true(json_object_get(cycle, "resumed")) ? " (resumed)" : "");
    table_bar(table, is_repair ? STYLE_YELLOW : STYLE_CYAN, permille);
    table_cell(table, STYLE_BOLD, "%u%%", permille / 10);
}

static void put_rates(struct table *table, const json_t *machine)
{
    char rate[32], eta[TEXT_HUMAN_BYTES];
    const json_t *cycle = json_object_get(machine, "cycle");
    uint64_t content = number_at(cycle, "content_bytes");
    uint64_t stored = number_at(cycle, "stored_bytes");
    table_cell(table, STYLE_PLAIN, "%s",
               watch_rate(json_object_get(cycle, "rate_bps"), rate));
    table_cell(table, STYLE_PLAIN, "%s",
               watch_rate(json_object_get(cycle, "sent_bps"), rate));
    if (stored && content)
        table_cell(table, STYLE_PLAIN, "%.1fx", (double)content / (double)stored);
    else
        table_cell(table, STYLE_DIM, "%s", "");
    if (has_at(cycle, "eta_ms"))
        table_cell(table, STYLE_PLAIN, "%s", short_time(number_at(cycle, "eta_ms"), eta));
    else
        table_cell(table, STYLE_DIM, "%s", "");
}

void watch_render_machines(const json_t *machines, uint64_t now_ms, size_t limit,
                           const struct table_look *look, struct buf *out)
{
    static const struct table_column COLUMNS[] = {
        {"MACHINE", .min_width = 8},
        {"STATUS", .min_width = 22, .drop_order = 2},
        {"PHASE", .min_width = 8, .drop_order = 5},
        {"PROGRESS", .is_bar = true},
        {"", .is_right = true},
        {"READ", .is_right = true, .drop_order = 4},
        {"SENT", .is_right = true, .drop_order = 6},
        {"RATIO", .is_right = true, .drop_order = 7},
        {"ETA", .is_right = true, .drop_order = 3},
        {"RECOVERY POINT", .is_right = true, .drop_order = 8}};
    AUTO(table_free) struct table *table = table_new(COLUMNS, ARRAY_COUNT(COLUMNS));
    for (size_t i = 0; i < json_array_size(machines) && i < limit; i++) {
        const json_t *machine = json_array_get(machines, i);
        table_cell(table, STYLE_BOLD, "%s", text_at(machine, "name"));
        put_status(table, machine);
        put_progress(table, machine, now_ms);
        put_rates(table, machine);
        put_point(table, machine, now_ms);
    }
    table_render(table, look, out);
}

/* ---- the frame ---- */

struct frame {
    const struct table_look *look;
    struct buf *out;
    int lines, height; /* height 0: no bound */
};

static bool has_room(const struct frame *frame, int lines)
{
    return frame->height == 0 || frame->lines + lines <= frame->height;
}

/* One styled line, cut to the width. */
static void put_line(struct frame *frame, enum style style, const char *text)
{
    int width = frame->look->width > 0 ? frame->look->width : 1000;
    if (!has_room(frame, 1))
        return;
    text_style(frame->out, frame->look, style);
    text_fit(frame->out, text, width, frame->look->is_utf8);
    if (style != STYLE_PLAIN)
        text_plain(frame->out, frame->look);
    buf_put_u8(frame->out, '\n');
    frame->lines++;
}

static void put_header(struct frame *frame, const struct watch_view *view)
{
    char clock[16], rate[32], up[TEXT_HUMAN_BYTES];
    AUTO(buf_release) struct buf line = {0};
    const char *dot = frame->look->is_utf8 ? "·" : "|";
    size_t count = json_array_size(view->machines);
    uint64_t bound = number_at(view->throttle, "bytes_per_second");
    (void)watch_rate(json_object_get(view->throttle, "bytes_per_second"), rate);
    buf_printf(&line, "kedge %s  %s  %s  %zu machine%s", text_at(view->status, "version"),
               watch_clock(view->now_ms, clock), dot, count, count == 1 ? "" : "s");
    buf_printf(&line, "  %s  throttle %s", dot, bound ? rate : "off");
    if (*text_at(view->throttle, "rule"))
        buf_printf(&line, " (%s)", text_at(view->throttle, "rule"));
    if (json_is_true(json_object_get(view->status, "in_blackout")))
        buf_printf(&line, "  %s  blackout%s%s", dot,
                   has_at(view->status, "blackout_until_ms") ? " until " : "",
                   has_at(view->status, "blackout_until_ms")
                       ? watch_clock(number_at(view->status, "blackout_until_ms"), clock)
                       : "");
    if (view->status)
        buf_printf(&line, "  %s  up %s", dot,
                   short_time(number_at(view->status, "uptime_ms"), up));
    put_line(frame, STYLE_BOLD, buf_text(&line));
    if (view->trouble)
        put_line(frame, STYLE_RED, view->trouble);
    put_line(frame, STYLE_PLAIN, "");
}

static void put_notes(struct frame *frame, const struct watch_view *view)
{
    const json_t *machine, *test;
    size_t i, j;
    json_array_foreach((json_t *)(uintptr_t)view->machines, i, machine)
    {
        AUTO(buf_release) struct buf line = {0};
        const json_t *error = json_object_get(machine, "last_error");
        if (json_is_object(error)) {
            buf_printf(&line, "%s %s: %s", frame->look->is_utf8 ? "✗" : "!",
                       text_at(machine, "name"), text_at(error, "text"));
            put_line(frame, STYLE_RED, buf_text(&line));
        }
        json_array_foreach(json_object_get(machine, "tests"), j, test)
        {
            char took[TEXT_HUMAN_BYTES];
            buf_clear(&line);
            buf_printf(&line, "%s %s: test '%s' booted in %s (%s)",
                       frame->look->is_utf8 ? "✓" : "+", text_at(machine, "name"),
                       text_at(test, "name"),
                       text_duration(number_at(test, "boot_ms"), took),
                       text_at(test, "how_booted"));
            put_line(frame, STYLE_GREEN, buf_text(&line));
        }
    }
}

static void put_events(struct frame *frame, const struct watch_view *view)
{
    size_t count = json_array_size(view->events);
    int room = frame->height ? frame->height - frame->lines - 2 : 5;
    size_t shown = MIN_OF(count, (size_t)MAX_OF(MIN_OF(room, 8), 0));
    if (shown == 0)
        return;
    put_line(frame, STYLE_PLAIN, "");
    put_line(frame, STYLE_DIM, "Last events");
    for (size_t i = count - shown; i < count; i++) {
        const json_t *event = json_array_get(view->events, i);
        const char *level = text_at(event, "level"), *machine = text_at(event, "machine");
        char clock[16];
        AUTO(buf_release) struct buf line = {0};
        buf_printf(&line, "%s  %s%s%s", watch_clock(number_at(event, "ts_ms"), clock),
                   machine, *machine ? "  " : "", text_at(event, "text"));
        put_line(frame,
                 strcmp(level, "error") == 0     ? STYLE_RED
                 : strcmp(level, "warning") == 0 ? STYLE_YELLOW
                                                 : STYLE_PLAIN,
                 buf_text(&line));
    }
}

static void put_machines(struct frame *frame, const struct watch_view *view)
{
    size_t count = json_array_size(view->machines), shown = count;
    if (count == 0) {
        put_line(frame, STYLE_DIM,
                 view->status ? "no machines yet; see 'kedge help replicate'" : "...");
        return;
    }
    if (!has_room(frame, 2))
        return;
    size_t room = frame->height ? (size_t)(frame->height - frame->lines - 1) : count;
    if (shown > room)
        shown = room - 1;
    watch_render_machines(view->machines, view->now_ms, shown, frame->look, frame->out);
    frame->lines += (int)shown + 1;
    if (shown < count) {
        char more[64];
        (void)snprintf(more, sizeof more, "and %zu more; see 'kedge list'",
                       count - shown);
        put_line(frame, STYLE_DIM, more);
    }
}

void watch_render(const struct watch_view *view, const struct table_look *look,
                  int height, struct buf *out)
{
    struct frame frame = {.look = look, .out = out, .height = height};
    put_header(&frame, view);
    put_machines(&frame, view);
    put_notes(&frame, view);
    put_events(&frame, view);
}

void watch_render_summary(const struct watch_view *view, const struct table_look *look,
                          struct buf *out)
{
    struct frame frame = {.look = look, .out = out};
    put_machines(&frame, view);
    put_notes(&frame, view);
}
