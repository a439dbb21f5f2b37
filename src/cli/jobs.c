/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Following a job: a line that moves on a terminal, a line for each step when piped, the
 * job itself with --json. The job does not depend on us: Ctrl-C leaves it running.
 */
#include "base/clock.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/runs.h"
#include "cli/table.h"
#include "cli/term.h"
#include "cli/watch.h"

#define POLL_MS       200
#define MAX_AWAY_MS   60000
#define MAX_BAR_WIDTH 30

struct follow {
    struct cli *cli;
    uint64_t id;
    json_t *job, *machine; /* the last views */
    char step[128];        /* the step that was told of last */
    uint64_t step_since_ms, away_since_ms;
    unsigned spin;
    bool is_unheard; /* standard output is closed */
    int drawn;       /* lines of the moving part */
};

static const char *field(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static uint64_t number(const json_t *object, const char *key)
{
    return (uint64_t)json_number_value(json_object_get(object, key));
}

static bool is_over(const json_t *job)
{
    const char *state = field(job, "state");
    return strcmp(state, "succeeded") == 0 || strcmp(state, "failed") == 0 ||
           strcmp(state, "canceled") == 0;
}

static json_t *get(struct follow *follow, const char *folder, const char *name,
                   struct err *err)
{
    AUTO(buf_release) struct buf path = {0};
    buf_append_text(&path, "/v1");
    http_path_add(&path, folder);
    http_path_add(&path, name);
    return cli_call(follow->cli, "GET", buf_text(&path), NULL, err);
}

/* A daemon that is restarted comes back with the same job: wait for it. */
static bool refresh(struct follow *follow, struct err *err)
{
    char id[32];
    struct err why = ERR_INIT, ignored = ERR_INIT;
    (void)snprintf(id, sizeof id, "%llu", (unsigned long long)follow->id);
    json_t *job = get(follow, "jobs", id, &why);
    if (!job) {
        uint64_t now = clock_mono_ms();
        if (why.kind == FAIL_TRANSIENT && follow->away_since_ms == 0)
            follow->away_since_ms = now;
        if (why.kind == FAIL_TRANSIENT && now - follow->away_since_ms < MAX_AWAY_MS)
            return true;
        *err = why;
        return false;
    }
    follow->away_since_ms = 0;
    json_decref(follow->job);
    follow->job = job;
    const char *machine = field(job, "machine");
    json_t *view = *machine ? get(follow, "machines", machine, &ignored) : NULL;
    json_decref(follow->machine); /* gone after complete and stop: no view then */
    follow->machine = view;
    return true;
}

/* ---- the moving line ---- */

static void put_rates(const json_t *cycle, struct buf *out)
{
    char rate[32], eta[TEXT_HUMAN_BYTES];
    if (*watch_rate(json_object_get(cycle, "rate_bps"), rate))
        buf_printf(out, "  read %s", rate);
    if (*watch_rate(json_object_get(cycle, "sent_bps"), rate))
        buf_printf(out, "  sent %s", rate);
    if (json_is_number(json_object_get(cycle, "eta_ms")))
        buf_printf(out, "  ETA %s",
                   text_duration(number(cycle, "eta_ms") / 1000 * 1000, eta));
}

static void draw(struct follow *follow)
{
    static const char *const SPINNER[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧"};
    int width = 80, height = 24;
    (void)term_size(&width, &height); /* keeps the default */
    const struct cli *cli = follow->cli;
    const struct table_look look = {
        .width = width, .has_colour = cli->has_colour, .is_utf8 = cli->is_utf8};
    const json_t *cycle = json_object_get(follow->machine, "cycle");
    AUTO(buf_release) struct buf line = {0}, text = {0}, tail = {0};
    const char *step = field(follow->job, "step");
    buf_printf(&text, " %s %s", field(follow->job, "operation"),
               field(follow->job, "machine"));
    if (follow->away_since_ms)
        buf_append_text(&text, ": kedged is away, waiting for it");
    else
        buf_printf(&text, ": %s", *step ? step : field(follow->job, "state"));
    bool has_bar = json_is_object(cycle) && !follow->away_since_ms;
    if (has_bar)
        put_rates(cycle, &tail);
    int left = width - 1 - text_columns(buf_text(&text));
    text_style(&line, &look, STYLE_CYAN);
    buf_append_text(&line, cli->is_utf8 ? SPINNER[follow->spin++ % 8] : "*");
    text_plain(&line, &look);
    text_fit(&line, buf_text(&text), width - 1, cli->is_utf8);
    int bar = MIN_OF(left - 8, MAX_BAR_WIDTH);
    if (has_bar && bar >= 8) {
        unsigned permille = watch_permille(cycle);
        int tail_columns = text_columns(buf_text(&tail));
        if (left - 8 - tail_columns >= 8)
            bar = MIN_OF(left - 8 - tail_columns, MAX_BAR_WIDTH);
        else
            buf_clear(&tail);
        buf_append_text(&line, "  ");
        text_bar(&line, permille, bar, &look, STYLE_CYAN);
        buf_printf(&line, " %3u%%%s", permille / 10, buf_text(&tail));
    }
    buf_put_u8(&line, '\n');
    term_draw(&line, follow->drawn);
    follow->drawn = 1;
}

/* A finished step becomes a line that stays. */
static void tell_step(struct follow *follow)
{
    const struct cli *cli = follow->cli;
    const char *step = field(follow->job, "step");
    char took[TEXT_HUMAN_BYTES];
    uint64_t now = clock_mono_ms();
    bool is_done = is_over(follow->job);
    if (strcmp(step, follow->step) == 0 && !is_done)
        return;
    const struct table_look look = {.has_colour = cli->has_colour,
                                    .is_utf8 = cli->is_utf8};
    AUTO(buf_release) struct buf line = {0};
    bool is_failed = is_done && strcmp(field(follow->job, "state"), "succeeded") != 0;
    if (cli->is_terminal && follow->step[0]) {
        text_style(&line, &look, is_failed ? STYLE_RED : STYLE_GREEN);
        buf_append_text(&line, is_failed ? (cli->is_utf8 ? "✗" : "!")
                                         : (cli->is_utf8 ? "✓" : "+"));
        text_plain(&line, &look);
        buf_put_u8(&line, ' ');
        text_fit(&line, follow->step, 60, cli->is_utf8);
        buf_printf(&line, " (%s)\n", text_duration(now - follow->step_since_ms, took));
        term_draw(&line, follow->drawn);
        follow->drawn = 0;
    } else if (!cli->is_terminal && *step && !is_done && !follow->is_unheard) {
        buf_printf(&line, "%s %s: ", field(follow->job, "operation"),
                   field(follow->job, "machine"));
        text_fit(&line, step, 200, cli->is_utf8);
        buf_put_u8(&line, '\n');
        struct err lost = ERR_INIT;
        if (!cli_write(&line, &lost)) /* nobody reads any more; the job goes on */
            follow->is_unheard = true;
    }
    text_copy(follow->step, sizeof follow->step, step);
    follow->step_since_ms = now;
}

static bool follow_loop(struct follow *follow, struct err *err)
{
    const struct cli *cli = follow->cli;
    bool is_live = cli->is_terminal && !cli->is_json;
    char key;
    for (;;) {
        if (!refresh(follow, err))
            return false;
        if (!cli->is_json && follow->job)
            tell_step(follow);
        if (follow->job && is_over(follow->job))
            return true;
        if (is_live && follow->job)
            draw(follow);
        if (!is_live)
            clock_sleep_ms(POLL_MS);
        else if (term_wait(POLL_MS, &key) == TERM_END)
            return err_set(err, FAIL_CANCELED,
                           "not waiting any more; job %llu goes on, see 'kedge job %llu "
                           "--follow'",
                           (unsigned long long)follow->id,
                           (unsigned long long)follow->id);
    }
}

/* ---- how it ended ---- */

/* Numbers of bytes and milliseconds are written for people; --json has them as they are.
 */
static void put_result_value(const char *key, const json_t *value, struct buf *out)
{
    char text[TEXT_HUMAN_BYTES];
    double v = json_number_value(value);
    if (json_is_string(value))
        buf_append_text(out, json_string_value(value));
    else if (json_is_number(value) && v >= 0 && text_ends_with(key, "_bytes"))
        buf_append_text(out, text_bytes((uint64_t)v, text));
    else if (json_is_number(value) && v >= 0 && text_ends_with(key, "_ms") && v < 1e11)
        buf_append_text(out, text_duration((uint64_t)v, text));
    else
        json_print(value, out);
}

static void print_result(const struct cli *cli, const json_t *result, struct buf *out)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)result, key, value)
    {
        AUTO(buf_release) struct buf text = {0};
        if (json_is_array(value) && json_array_size(value) == 0)
            continue;
        put_result_value(key, value, &text);
        buf_append_text(out, "  ");
        text_fit(out, key, 60, cli->is_utf8);
        buf_append_text(out, ": ");
        text_fit(out, buf_text(&text), 2000, cli->is_utf8);
        buf_put_u8(out, '\n');
    }
}

static bool tell_end(struct follow *follow, struct err *err)
{
    const struct cli *cli = follow->cli;
    const json_t *job = follow->job, *error = json_object_get(job, "error");
    const char *state = field(job, "state");
    struct buf out = {0};
    char took[TEXT_HUMAN_BYTES];
    uint64_t from = number(job, "started_ms"), to = number(job, "ended_ms");
    if (cli->is_json && !cli_write_json(cli, job, err))
        return false;
    if (strcmp(state, "failed") == 0) {
        enum err_kind kind = err_kind_from_name(field(error, "kind"));
        return err_set(err, kind == FAIL_NONE ? FAIL_BUG : kind, "%s of '%s' failed: %s",
                       field(job, "operation"), field(job, "machine"),
                       field(error, "text"));
    }
    if (strcmp(state, "canceled") == 0)
        return err_set(err, FAIL_CANCELED, "%s of '%s' was canceled",
                       field(job, "operation"), field(job, "machine"));
    if (cli->is_json)
        return true;
    buf_printf(&out, "%s %s: done in %s\n", field(job, "operation"),
               field(job, "machine"), text_duration(to > from ? to - from : 0, took));
    print_result(cli, json_object_get(job, "result"), &out);
    return cli_write(&out, err);
}

static bool follow_id(struct cli *cli, uint64_t id, struct err *err)
{
    struct follow follow = {.cli = cli, .id = id, .step_since_ms = clock_mono_ms()};
    bool is_live = cli->is_terminal && !cli->is_json;
    if (is_live)
        term_enter(false);
    bool ok = follow_loop(&follow, err);
    if (is_live)
        term_leave();
    ok = ok && tell_end(&follow, err);
    json_decref(follow.job);
    json_decref(follow.machine);
    return ok;
}

bool cli_follow_job(struct cli *cli, const json_t *started, struct err *err)
{
    uint64_t id;
    if (!json_get_u64(started, "job", &id, err))
        return err_wrap(err, "answer of kedged");
    if (!cli_flag(cli, "no-wait"))
        return follow_id(cli, id, err);
    if (cli->is_json)
        return cli_write_json(cli, started, err);
    struct buf out = {0};
    buf_printf(&out, "job %llu\n", (unsigned long long)id);
    return cli_write(&out, err);
}

/* ---- kedge jobs, kedge job ---- */

static enum style style_of(const char *state)
{
    return strcmp(state, "failed") == 0      ? STYLE_RED
           : strcmp(state, "succeeded") == 0 ? STYLE_GREEN
           : strcmp(state, "running") == 0   ? STYLE_CYAN
                                             : STYLE_DIM;
}

static void add_job(struct table *table, const json_t *job)
{
    char clock[16], took[TEXT_HUMAN_BYTES];
    const char *state = field(job, "state");
    uint64_t from = number(job, "started_ms"), to = number(job, "ended_ms");
    if (!to)
        to = clock_wall_ms();
    table_cell(table, STYLE_PLAIN, "%llu", (unsigned long long)number(job, "id"));
    table_cell(table, STYLE_PLAIN, "%s", watch_clock(number(job, "created_ms"), clock));
    table_cell(table, STYLE_BOLD, "%s", field(job, "machine"));
    table_cell(table, STYLE_PLAIN, "%s", field(job, "operation"));
    table_cell(table, style_of(state), "%s", state);
    table_cell(table, STYLE_PLAIN, "%s",
               from && to > from ? text_duration(to - from, took) : "");
    const char *error = field(json_object_get(job, "error"), "text");
    table_cell(table, STYLE_PLAIN, "%s", *error ? error : field(job, "step"));
}

static void print_jobs(const struct cli *cli, const json_t *jobs, struct buf *out)
{
    static const struct table_column COLUMNS[] = {
        {"JOB", .is_right = true},
        {"AT", .drop_order = 2},
        {"MACHINE", .min_width = 8},
        {"OPERATION", .min_width = 8},
        {"STATE", .min_width = 0},
        {"TOOK", .is_right = true, .drop_order = 3},
        {"STEP OR ERROR", .min_width = 10, .drop_order = 1}};
    AUTO(table_free) struct table *table = table_new(COLUMNS, ARRAY_COUNT(COLUMNS));
    const json_t *job;
    size_t i;
    const struct table_look look = {
        .width = cli->width, .has_colour = cli->has_colour, .is_utf8 = cli->is_utf8};
    json_array_foreach((json_t *)(uintptr_t)jobs, i, job) add_job(table, job);
    table_render(table, &look, out);
}

bool run_jobs(struct cli *cli, struct err *err)
{
    AUTO(buf_release) struct buf path = {0};
    struct buf out = {0};
    char limit[32];
    buf_append_text(&path, "/v1/jobs");
    if (cli_text(cli, "machine"))
        http_query_add(&path, "machine", cli_text(cli, "machine"));
    if (json_object_get(cli->flags, "limit")) {
        (void)snprintf(limit, sizeof limit, "%llu",
                       (unsigned long long)number(cli->flags, "limit"));
        http_query_add(&path, "limit", limit);
    }
    AUTO(json_free) json_t *answer = cli_call(cli, "GET", buf_text(&path), NULL, err);
    if (!answer)
        return false;
    if (cli->is_json)
        return cli_write_json(cli, answer, err);
    print_jobs(cli, json_object_get(answer, "jobs"), &out);
    return cli_write(&out, err);
}

bool run_job(struct cli *cli, struct err *err)
{
    uint64_t id;
    struct err why;
    struct buf out = {0};
    AUTO(buf_release) struct buf path = {0};
    if (!text_parse_u64(cli->args[0], 1, INT64_MAX, &id, &why))
        return err_set(err, FAIL_INPUT,
                       "'%.60s' is not a job; jobs are whole numbers, see 'kedge jobs'",
                       cli->args[0]);
    buf_append_text(&path, "/v1/jobs");
    http_path_add(&path, cli->args[0]);
    bool is_cancel = cli_flag(cli, "cancel");
    AUTO(json_free)
    json_t *job = cli_call(cli, is_cancel ? "DELETE" : "GET", buf_text(&path), NULL, err);
    if (!job)
        return false;
    if (cli_flag(cli, "follow"))
        return follow_id(cli, id, err);
    if (cli->is_json)
        return cli_write_json(cli, job, err);
    AUTO(json_free) json_t *list = json_array();
    (void)json_array_append(list, job);
    print_jobs(cli, list, &out);
    print_result(cli, json_object_get(job, "result"), &out);
    return cli_write(&out, err);
}
