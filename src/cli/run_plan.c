/* SPDX-License-Identifier: Apache-2.0 */
/* kedge plan: what the daemon computes of a fleet, as a table with a summary. */
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/runs.h"
#include "cli/table.h"

#define FLEET_MAX_BYTES ((size_t)1000000) /* as the API takes it */

static const char *field(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static uint64_t number(const json_t *object, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(object, key));
    return v > 0 ? (uint64_t)v : 0;
}

static bool has(const json_t *object, const char *key)
{
    return json_is_integer(json_object_get(object, key));
}

/* "2026-11-22 04:15 UTC" */
static const char *instant(uint64_t wall_ms, char out[CLOCK_TEXT_BYTES])
{
    (void)clock_wall_text(wall_ms, out);
    out[10] = ' ';
    text_copy(out + 16, CLOCK_TEXT_BYTES - 16, " UTC");
    return out;
}

static bool add_fleet(struct cli *cli, struct err *err)
{
    const char *path = cli_text(cli, "fleet");
    AUTO(buf_release) struct buf text = {0};
    if (!path)
        return true;
    if (!file_read(path, FLEET_MAX_BYTES, &text, err))
        return err_wrap(err, "--fleet");
    json_t *table = json_stringn(buf_text(&text), text.bytes);
    if (!table)
        return err_set(err, FAIL_INPUT, "--fleet '%s' is not UTF-8 text", path);
    json_put_take(cli->request, "table", table);
    return true;
}

static void put_duration(struct table *table, const json_t *row, const char *key)
{
    char text[TEXT_HUMAN_BYTES];
    if (has(row, key))
        table_cell(table, STYLE_PLAIN, "%s", text_duration(number(row, key), text));
    else
        table_cell(table, STYLE_DIM, "-");
}

static void add_row(struct table *table, const json_t *row)
{
    char text[TEXT_HUMAN_BYTES], at[CLOCK_TEXT_BYTES];
    table_cell(table, STYLE_BOLD, "%s", field(row, "name"));
    table_cell(table, STYLE_PLAIN, "%s", field(row, "gateway"));
    table_cell(table, STYLE_PLAIN, "%s", field(row, "host"));
    table_cell(table, STYLE_PLAIN, "%s", text_bytes(number(row, "used_bytes"), text));
    if (json_is_true(json_object_get(row, "refused")))
        table_cell(table, STYLE_RED, "refused");
    else if (has(row, "initial_end_ms"))
        table_cell(table, STYLE_PLAIN, "%s", instant(number(row, "initial_end_ms"), at));
    else
        table_cell(table, STYLE_DIM, "-");
    put_duration(table, row, "initial_wait_ms");
    put_duration(table, row, "delta_ms");
    put_duration(table, row, "delta_every_ms");
    put_duration(table, row, "cutover_ms");
    table_cell(table, STYLE_RED, "%s",
               json_is_false(json_object_get(row, "keeps_up")) ? "falls behind" : "");
}

static void put_summary(const json_t *plan, struct buf *out)
{
    char text[TEXT_HUMAN_BYTES], at[CLOCK_TEXT_BYTES];
    uint64_t rate = number(plan, "bandwidth_bps");
    buf_printf(out, "\n%llu machine%s, %s%s, %llu %% sent of what is read\n",
               (unsigned long long)number(plan, "machine_count"),
               number(plan, "machine_count") == 1 ? "" : "s",
               rate ? text_bytes(rate, text) : "no bound of bandwidth",
               rate ? "/s a gateway" : "", (unsigned long long)number(plan, "sent_pct"));
    if (has(plan, "initial_end_ms"))
        buf_printf(out, "initial replication done   %s\n",
                   instant(number(plan, "initial_end_ms"), at));
    if (has(plan, "delta_longest_ms"))
        buf_printf(out, "longest delta              %s\n",
                   text_duration(number(plan, "delta_longest_ms"), text));
    if (has(plan, "cutover_longest_ms"))
        buf_printf(out, "longest cutover            %s, %llu at a time\n",
                   text_duration(number(plan, "cutover_longest_ms"), text),
                   (unsigned long long)number(plan, "cutover_at_once"));
    if (number(plan, "refused"))
        buf_printf(out, "refused                    %llu; add a scale-out gateway\n",
                   (unsigned long long)number(plan, "refused"));
    if (number(plan, "unfinished"))
        buf_printf(out, "not done within the plan   %llu\n",
                   (unsigned long long)number(plan, "unfinished"));
    if (json_is_false(json_object_get(plan, "is_whole")))
        buf_append_text(out, "The plan was cut off before everything was known.\n");
}

bool run_plan(struct cli *cli, struct err *err)
{
    static const struct table_column COLUMNS[] = {
        {"MACHINE", .min_width = 8},
        {"GATEWAY", .min_width = 6, .drop_order = 5},
        {"HOST", .min_width = 6, .drop_order = 4},
        {"SIZE", .is_right = true, .drop_order = 3},
        {"INITIAL DONE", .min_width = 0},
        {"QUEUED", .is_right = true, .drop_order = 2},
        {"DELTA", .is_right = true},
        {"EVERY", .is_right = true, .drop_order = 1},
        {"CUTOVER", .is_right = true},
        {"", .min_width = 1}};
    if (cli->arg_count)
        json_put_text(cli->request, "machine", cli->args[0]);
    if (!add_fleet(cli, err))
        return false;
    AUTO(json_free) json_t *plan = cli_call(cli, "POST", "/v1/plan", cli->request, err);
    if (!plan)
        return text_starts_with(err->text, "line ")
                   ? err_wrap(err, "%s", cli_text(cli, "fleet"))
                   : false;
    if (cli->is_json)
        return cli_write_json(cli, plan, err);
    struct buf out = {0};
    const struct table_look look = {
        .width = cli->width, .has_colour = cli->has_colour, .is_utf8 = cli->is_utf8};
    AUTO(table_free) struct table *table = table_new(COLUMNS, ARRAY_COUNT(COLUMNS));
    const json_t *row;
    size_t i;
    json_array_foreach(json_object_get(plan, "machines"), i, row) add_row(table, row);
    table_render(table, &look, &out);
    put_summary(plan, &out);
    return cli_write(&out, err);
}
