/* SPDX-License-Identifier: Apache-2.0 */
/* When and how fast data leaves, and what is left over: throttle, blackout, orphans. */
#include "base/clock.h"
#include "base/text.h"
#include "cli/runs.h"
#include "cli/table.h"
#include "cli/watch.h"

#include <time.h>

static const char *field(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static uint64_t number(const json_t *object, const char *key)
{
    double v = json_number_value(json_object_get(object, key));
    return v > 0 ? (uint64_t)v : 0;
}

/* "Mon 23 Nov 07:00", local time. */
static const char *day_and_time(uint64_t wall_ms, char out[32])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm parts;
    if (!localtime_r(&seconds, &parts) ||
        strftime(out, 32, "%a %e %b %H:%M", &parts) == 0)
        text_copy(out, 32, "?");
    return out;
}

/* ---- throttle ---- */

static bool show_throttle(struct cli *cli, const json_t *answer, struct err *err)
{
    struct buf out = {0};
    char rate[32], when[32];
    uint64_t next_ms = number(answer, "next_change_ms");
    if (cli->is_json)
        return cli_write_json(cli, answer, err);
    const json_t *now = json_object_get(answer, "bytes_per_second");
    const json_t *standing = json_object_get(answer, "standing_bytes_per_second");
    buf_printf(&out, "throttle: %s", *watch_rate(now, rate) ? rate : "off");
    if (*field(answer, "rule"))
        buf_printf(&out, " (rule '%s')", field(answer, "rule"));
    buf_put_u8(&out, '\n');
    if (*field(answer, "calendar")) {
        buf_printf(&out, "standing: %s\ncalendar: %s (%s)\n",
                   *watch_rate(standing, rate) ? rate : "off", field(answer, "calendar"),
                   field(answer, "time_zone"));
        if (next_ms)
            buf_printf(&out, "changes:  %s\n", day_and_time(next_ms, when));
    }
    return cli_write(&out, err);
}

static bool put_throttle(struct cli *cli, const json_t *body, struct err *err)
{
    AUTO(json_free)
    json_t *answer = cli_call(cli, "PUT", "/v1/throttle", body, err);
    return answer && show_throttle(cli, answer, err);
}

static bool get_throttle(struct cli *cli, struct err *err)
{
    AUTO(json_free)
    json_t *answer = cli_call(cli, "GET", "/v1/throttle", NULL, err);
    return answer && show_throttle(cli, answer, err);
}

bool run_throttle(struct cli *cli, struct err *err)
{
    AUTO(json_free) json_t *body = json_object();
    uint64_t rate_bps;
    if (cli->arg_count == 0)
        return get_throttle(cli, err);
    if (!text_parse_rate(cli->args[0], &rate_bps, err))
        return false;
    json_put_u64(body, "bytes_per_second", rate_bps);
    return put_throttle(cli, body, err);
}

bool run_throttle_calendar(struct cli *cli, struct err *err)
{
    AUTO(json_free) json_t *body = json_object();
    if (cli->arg_count == 0)
        return get_throttle(cli, err);
    bool is_off = strcmp(cli->args[0], "off") == 0;
    json_put_text(body, "calendar", is_off ? "" : cli->args[0]);
    return put_throttle(cli, body, err);
}

/* ---- blackout ---- */

static bool show_blackout(struct cli *cli, const json_t *answer, struct err *err)
{
    struct buf out = {0};
    char when[32];
    const char *windows = field(answer, "windows");
    uint64_t until_ms = number(answer, "until_ms");
    uint64_t next_ms = number(answer, "next_start_ms");
    if (cli->is_json)
        return cli_write_json(cli, answer, err);
    buf_printf(&out, "windows: %s\n", *windows ? windows : "none");
    if (*windows)
        buf_printf(&out, "zone:    %s\n", field(answer, "time_zone"));
    if (*field(answer, "file"))
        buf_printf(&out, "file:    %s\n", field(answer, "file"));
    if (json_is_true(json_object_get(answer, "inside")))
        buf_printf(&out, "now:     inside '%s', no cycle begins until %s\n",
                   field(answer, "window"),
                   until_ms ? day_and_time(until_ms, when) : "the windows are changed");
    else if (next_ms)
        buf_printf(&out, "next:    '%s' on %s\n", field(answer, "window"),
                   day_and_time(next_ms, when));
    return cli_write(&out, err);
}

bool run_blackout_show(struct cli *cli, struct err *err)
{
    AUTO(json_free)
    json_t *answer = cli_call(cli, "GET", "/v1/blackout", NULL, err);
    return answer && show_blackout(cli, answer, err);
}

static bool put_blackout(struct cli *cli, const char *windows, struct err *err)
{
    AUTO(json_free) json_t *body = json_object();
    json_put_text(body, "windows", windows);
    AUTO(json_free)
    json_t *answer = cli_call(cli, "PUT", "/v1/blackout", body, err);
    return answer && show_blackout(cli, answer, err);
}

bool run_blackout_set(struct cli *cli, struct err *err)
{
    return put_blackout(cli, cli->args[0], err);
}

bool run_blackout_clear(struct cli *cli, struct err *err)
{
    return put_blackout(cli, "", err);
}

/* ---- orphans ---- */

static bool show_orphans(struct cli *cli, const json_t *answer, const char *none,
                         struct err *err)
{
    static const struct table_column COLUMNS[] = {{"KIND", .min_width = 8},
                                                  {"MACHINE", .min_width = 8},
                                                  {"WHAT", .min_width = 16},
                                                  {"OURS", .min_width = 0},
                                                  {"ID", .drop_order = 1}};
    struct buf out = {0};
    const json_t *list = json_object_get(answer, "orphans"), *orphan;
    size_t i;
    if (cli->is_json)
        return cli_write_json(cli, answer, err);
    if (json_array_size(list) == 0) {
        buf_printf(&out, "%s\n", none);
        return cli_write(&out, err);
    }
    AUTO(table_free) struct table *table = table_new(COLUMNS, ARRAY_COUNT(COLUMNS));
    json_array_foreach((json_t *)(uintptr_t)list, i, orphan)
    {
        bool is_ours = json_is_true(json_object_get(orphan, "ours"));
        table_cell(table, STYLE_PLAIN, "%s", field(orphan, "kind"));
        table_cell(table, STYLE_BOLD, "%s", field(orphan, "machine"));
        table_cell(table, STYLE_PLAIN, "%s", field(orphan, "what"));
        table_cell(table, is_ours ? STYLE_PLAIN : STYLE_YELLOW, "%s",
                   is_ours ? "yes" : "not known, left alone");
        table_cell(table, STYLE_DIM, "%s", field(orphan, "machine_id"));
    }
    const struct table_look look = {
        .width = cli->width, .has_colour = cli->has_colour, .is_utf8 = cli->is_utf8};
    table_render(table, &look, &out);
    return cli_write(&out, err);
}

bool run_orphans_list(struct cli *cli, struct err *err)
{
    AUTO(json_free) json_t *answer = cli_call(cli, "GET", "/v1/orphans", NULL, err);
    return answer && show_orphans(cli, answer, "nothing is left over", err);
}

bool run_orphans_clean(struct cli *cli, struct err *err)
{
    AUTO(json_free)
    json_t *answer = cli_call(cli, "POST", "/v1/orphans/clean", NULL, err);
    return answer && show_orphans(cli, answer, "nothing was removed", err);
}
