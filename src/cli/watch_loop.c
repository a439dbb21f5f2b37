/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kedge status --watch.
 *
 * On a terminal: fetch, draw, wait; the loop goes on while the daemon is away and says
 * so, because a watcher is what one looks at while it is restarted. Piped: one line for
 * each change, so that a log of it can be read and grepped.
 */
#include "base/clock.h"
#include "base/text.h"
#include "cli/term.h"
#include "cli/watch.h"

#include <signal.h>

#define FRAME_MS      250
#define PIPED_MS      1000
#define LIST_KEPT     64
#define PIPED_STEP    100 /* permille between two lines of one cycle */
#define CALL_QUICK_MS 3000

struct watch {
    struct cli *cli;
    json_t *status, *machines, *events, *throttle;
    uint64_t next_event;
    struct err trouble;
    json_t *printed; /* piped: machine name -> its last line's key */
};

static bool fetch(struct watch *watch, const char *path, json_t **slot)
{
    const struct http_call call = {
        .method = "GET", .path = path, .deadline_ms = CALL_QUICK_MS};
    struct err err = ERR_INIT;
    json_t *answer = http_call(watch->cli->client, &call, &err);
    if (!answer) {
        watch->trouble = err;
        return false;
    }
    json_decref(*slot);
    *slot = answer;
    return true;
}

static void fetch_events(struct watch *watch)
{
    char since[32];
    AUTO(buf_release) struct buf path = {0};
    AUTO(json_free) json_t *answer = NULL;
    (void)snprintf(since, sizeof since, "%llu", (unsigned long long)watch->next_event);
    buf_append_text(&path, "/v1/events");
    http_query_add(&path, "since", since);
    http_query_add(&path, "limit", "1000");
    if (!fetch(watch, buf_text(&path), &answer))
        return;
    (void)json_array_extend(watch->events, json_object_get(answer, "events"));
    while (json_array_size(watch->events) > LIST_KEPT)
        (void)json_array_remove(watch->events, 0);
    watch->next_event = (uint64_t)json_integer_value(json_object_get(answer, "next"));
}

static bool fetch_all(struct watch *watch)
{
    err_clear(&watch->trouble);
    if (!fetch(watch, "/v1/status", &watch->status) ||
        !fetch(watch, "/v1/machines", &watch->machines) ||
        !fetch(watch, "/v1/throttle", &watch->throttle))
        return false;
    fetch_events(watch);
    return watch->trouble.kind == FAIL_NONE;
}

static void fill_view(const struct watch *watch, struct watch_view *view)
{
    *view = (struct watch_view){
        .status = watch->status,
        .machines = json_object_get(watch->machines, "machines"),
        .events = watch->events,
        .throttle = watch->throttle,
        .trouble = watch->trouble.kind != FAIL_NONE ? watch->trouble.text : NULL,
        .now_ms = clock_wall_ms()};
}

static void render(const struct watch *watch, int width, int height, struct buf *frame)
{
    struct watch_view view;
    const struct table_look look = {.width = width,
                                    .has_colour = watch->cli->has_colour,
                                    .is_utf8 = watch->cli->is_utf8};
    fill_view(watch, &view);
    watch_render(&view, &look, height, frame);
}

static void watch_terminal(struct watch *watch)
{
    int width = 80, height = 24;
    char key = 0;
    AUTO(buf_release) struct buf frame = {0};
    term_enter(true);
    for (enum term_event event = TERM_TIME; event != TERM_END;) {
        if (event == TERM_TIME)
            (void)fetch_all(watch);       /* trouble is part of the frame */
        (void)term_size(&width, &height); /* keeps the last one when it is not known */
        buf_clear(&frame);
        render(watch, width, height, &frame);
        term_draw(&frame, 0);
        event = term_wait(FRAME_MS, &key);
        if (event == TERM_KEY && (key == 'q' || key == 'Q' || key == 4))
            break;
    }
    term_leave();
    buf_clear(&frame);
    render(watch, width, 0, &frame);
    (void)fwrite(buf_text(&frame), 1, frame.bytes, stdout); /* the last state stays */
}

/* ---- piped ---- */

static const char *field(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* What a reader of the log wants a new line for. */
static void line_key(const json_t *machine, struct buf *key)
{
    const json_t *cycle = json_object_get(machine, "cycle");
    const json_t *number = json_object_get(cycle, "number");
    buf_printf(key, "%s|%s|%s|%lld|%u", field(machine, "state"),
               field(machine, "migration_state"), field(cycle, "phase"),
               (long long)json_integer_value(number), watch_permille(cycle) / PIPED_STEP);
}

static void print_line(const json_t *machine, struct buf *out)
{
    char clock[16], rate[32], sent[32];
    const json_t *cycle = json_object_get(machine, "cycle");
    buf_printf(out, "%s %s: %s", watch_clock(clock_wall_ms(), clock),
               field(machine, "name"), field(machine, "status"));
    const char *migration = field(machine, "migration_state");
    if (*migration && strcmp(migration, "none") != 0)
        buf_printf(out, ", %s", field(machine, "migration_status"));
    if (json_is_object(cycle))
        buf_printf(out, ", %s cycle %lld %s %u%%, read %s, sent %s", field(cycle, "kind"),
                   (long long)json_integer_value(json_object_get(cycle, "number")),
                   field(cycle, "phase"), watch_permille(cycle) / 10,
                   watch_rate(json_object_get(cycle, "rate_bps"), rate),
                   watch_rate(json_object_get(cycle, "sent_bps"), sent));
    buf_put_u8(out, '\n');
}

static bool print_changes(struct watch *watch, struct err *err)
{
    const json_t *machine;
    size_t i;
    struct buf out = {0};
    json_array_foreach(json_object_get(watch->machines, "machines"), i, machine)
    {
        AUTO(buf_release) struct buf key = {0};
        const char *name = field(machine, "name");
        line_key(machine, &key);
        if (strcmp(field(watch->printed, name), buf_text(&key)) == 0)
            continue;
        json_put_text(watch->printed, name, buf_text(&key));
        if (watch->cli->is_json) {
            json_print(machine, &out);
            buf_put_u8(&out, '\n');
        } else {
            print_line(machine, &out);
        }
    }
    return cli_write(&out, err);
}

static bool watch_pipe(struct watch *watch, struct err *err)
{
    for (bool is_away = false;; clock_sleep_ms(PIPED_MS)) {
        if (fetch_all(watch)) {
            is_away = false;
            if (!print_changes(watch, err))
                return false;
        } else if (!is_away) {
            is_away = true;
            (void)fprintf(stderr, "kedge: %s; trying again\n", watch->trouble.text);
        }
    }
}

bool watch_run(struct cli *cli, struct err *err)
{
    struct watch watch = {.cli = cli, .events = json_array(), .printed = json_object()};
    AUTO(json_free) json_t *first = cli_call(cli, "GET", "/v1/status", NULL, err);
    bool ok = first != NULL; /* a wrong socket is an error, not something to wait for */
    if (ok && cli->is_terminal && !cli->is_json)
        watch_terminal(&watch);
    else if (ok)
        ok = watch_pipe(&watch, err);
    json_decref(watch.status);
    json_decref(watch.machines);
    json_decref(watch.events);
    json_decref(watch.throttle);
    json_decref(watch.printed);
    return ok;
}
