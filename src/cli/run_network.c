/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kedge network: what the doctor found, as a table; what connections see; what a circuit
 * needs. With --offline the daemon's program is run for one answer, so that the way can
 * be looked at before the daemon is ever started.
 */
#include "base/process.h"
#include "base/text.h"
#include "cli/runs.h"
#include "cli/table.h"

#include <limits.h>

#define OFFLINE_MS ((uint64_t)120 * 1000)

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

static struct table_look look_of(const struct cli *cli)
{
    return (struct table_look){
        .width = cli->width, .has_colour = cli->has_colour, .is_utf8 = cli->is_utf8};
}

/* ---- where the answer comes from ---- */

/* The daemon's error is on its last line, "kedged: TEXT". */
static bool explain_offline(struct err *err)
{
    const char *text = strstr(err->text, "kedged: ");
    char copy[ERR_TEXT_BYTES];
    if (!text)
        return false;
    text_copy(copy, sizeof copy, text + strlen("kedged: "));
    return err_set(err, FAIL_INPUT, "%s", copy);
}

static json_t *ask_offline(struct cli *cli, const char *option, struct err *err)
{
    char daemon[PATH_MAX];
    AUTO(buf_release) struct buf answer = {0};
    const char *config = cli_text(cli, "config");
    cli_find_daemon(daemon);
    const char *const with_config[] = {daemon, "--config", config, option, NULL};
    const char *const without[] = {daemon, option, NULL};
    if (!process_run(config ? with_config : without, OFFLINE_MS, NULL, &answer, err)) {
        (void)explain_offline(err);
        return NULL;
    }
    return json_parse("answer of kedged", buf_text(&answer), answer.bytes, err);
}

static json_t *ask(struct cli *cli, const char *path, const json_t *body,
                   const char *offline_option, struct err *err)
{
    if (cli_flag(cli, "offline"))
        return ask_offline(cli, offline_option, err);
    return cli_connect(cli, err) ? cli_call(cli, "POST", path, body, err) : NULL;
}

/* ---- check ---- */

static enum style style_of(const char *verdict)
{
    static const struct {
        const char *verdict;
        enum style style;
    } STYLES[] = {{"ok", STYLE_GREEN},
                  {"skipped", STYLE_DIM},
                  {"warning", STYLE_YELLOW},
                  {"failed", STYLE_RED}};
    for (size_t i = 0; i < ARRAY_COUNT(STYLES); i++)
        if (strcmp(STYLES[i].verdict, verdict) == 0)
            return STYLES[i].style;
    return STYLE_PLAIN;
}

static void put_steps(const struct cli *cli, const json_t *endpoint, struct buf *out)
{
    const struct table_look look = look_of(cli);
    const json_t *step;
    size_t i;
    text_style(out, &look, STYLE_BOLD);
    text_fit(out, field(endpoint, "role"), 80, cli->is_utf8);
    text_plain(out, &look);
    buf_append_text(out, "  ");
    text_fit(out, field(endpoint, "host"), 255, cli->is_utf8);
    buf_append_text(out, "  (");
    text_fit(out, field(endpoint, "label"), 80, cli->is_utf8);
    buf_append_text(out, ")\n");
    json_array_foreach(json_object_get(endpoint, "steps"), i, step)
    {
        const char *verdict = field(step, "verdict"), *remedy = field(step, "remedy");
        buf_printf(out, "  %-11.20s ", field(step, "step"));
        text_style(out, &look, style_of(verdict));
        buf_printf(out, "%-7.10s", verdict);
        text_plain(out, &look);
        buf_append_text(out, "  ");
        text_fit(out, field(step, "cause"), 1000, cli->is_utf8);
        if (*remedy) {
            buf_append_text(out, "; ");
            text_fit(out, remedy, 1000, cli->is_utf8);
        }
        buf_put_u8(out, '\n');
    }
}

static void put_report(const struct cli *cli, const json_t *report, struct buf *out)
{
    char took[TEXT_HUMAN_BYTES];
    const json_t *endpoint;
    size_t i;
    json_array_foreach(json_object_get(report, "endpoints"), i, endpoint)
    {
        put_steps(cli, endpoint, out);
        buf_put_u8(out, '\n');
    }
    buf_printf(out, "%zu endpoint%s, worst: %s, %s\n", i, i == 1 ? "" : "s",
               field(report, "verdict"), text_duration(number(report, "took_ms"), took));
}

/* Names the first failed step. */
static bool judge(const json_t *report, struct err *err)
{
    const json_t *endpoint, *step;
    size_t i, j;
    json_array_foreach(json_object_get(report, "endpoints"), i, endpoint)
    {
        json_array_foreach(json_object_get(endpoint, "steps"), j, step)
        {
            if (strcmp(field(step, "verdict"), "failed") == 0)
                return err_set(err, FAIL_CONFLICT, "%s '%.100s': '%s' failed; see above",
                               field(endpoint, "role"), field(endpoint, "host"),
                               field(step, "step"));
        }
    }
    return true;
}

bool run_network_check(struct cli *cli, struct err *err)
{
    AUTO(buf_release) struct buf option = {0};
    AUTO(json_free) json_t *body = json_object();
    struct buf out = {0};
    const char *role = cli->arg_count ? cli->args[0] : NULL;
    buf_printf(&option, "--check-network%s%s", role ? "=" : "", role ? role : "");
    if (role)
        json_put_text(body, "role", role);
    AUTO(json_free)
    json_t *report = ask(cli, "/v1/network/check", body, buf_text(&option), err);
    if (!report)
        return false;
    if (!cli->is_json)
        put_report(cli, report, &out);
    bool ok = cli->is_json ? cli_write_json(cli, report, err) : cli_write(&out, err);
    return ok && judge(report, err);
}

/* ---- status ---- */

bool run_network_status(struct cli *cli, struct err *err)
{
    static const struct table_column COLUMNS[] = {
        {"ROLE", .min_width = 8},
        {"HOST", .min_width = 12},
        {"ADDRESS", .min_width = 12},
        {"CLASS", .min_width = 0},
        {"WAY", .min_width = 8, .drop_order = 3},
        {"LATENCY", .is_right = true, .drop_order = 2},
        {"ANSWERS", .is_right = true, .drop_order = 4},
        {"FAILURES", .is_right = true},
        {"RULE", .min_width = 10, .drop_order = 5},
        {"PROBLEM", .min_width = 10}};
    AUTO(json_free) json_t *answer = cli_call(cli, "GET", "/v1/network", NULL, err);
    if (!answer)
        return false;
    if (cli->is_json)
        return cli_write_json(cli, answer, err);
    struct buf out = {0};
    const struct table_look look = look_of(cli);
    AUTO(table_free) struct table *table = table_new(COLUMNS, ARRAY_COUNT(COLUMNS));
    const json_t *row;
    size_t i;
    json_array_foreach(json_object_get(answer, "connections"), i, row)
    {
        const char *proxy = field(row, "proxy");
        table_cell(table, STYLE_BOLD, "%s", field(row, "role"));
        table_cell(table, STYLE_PLAIN, "%s", field(row, "host"));
        table_cell(table, STYLE_PLAIN, "%s", field(row, "address"));
        table_cell(table, STYLE_PLAIN, "%s", field(row, "class"));
        table_cell(table, STYLE_PLAIN, "%s", *proxy ? proxy : "direct");
        table_cell(table, STYLE_PLAIN, "%llu ms",
                   (unsigned long long)number(row, "latency_ms"));
        table_cell(table, STYLE_PLAIN, "%llu",
                   (unsigned long long)number(row, "answers"));
        table_cell(table, number(row, "failures") ? STYLE_YELLOW : STYLE_PLAIN, "%llu",
                   (unsigned long long)number(row, "failures"));
        table_cell(table, STYLE_DIM, "%s", field(row, "rule"));
        table_cell(table, STYLE_RED, "%s", field(row, "problem"));
    }
    table_render(table, &look, &out);
    const json_t *last = json_object_get(answer, "last_check");
    if (json_is_object(last))
        buf_printf(&out, "\nlast check: %s\n", field(last, "verdict"));
    return cli_write(&out, err);
}

/* ---- plan ---- */

static void put_communities(const json_t *list, struct buf *out)
{
    const json_t *item;
    size_t i;
    json_array_foreach(list, i, item)
        buf_printf(out, "  %-12s %s\n", field(item, "community"), field(item, "what"));
}

static void put_plan(const json_t *plan, struct buf *out)
{
    const json_t *item;
    size_t i;
    buf_printf(out, "Microsoft peering\n\nRoute filter, BGP communities:\n");
    put_communities(json_object_get(plan, "communities"), out);
    if (json_array_size(json_object_get(plan, "storage_communities"))) {
        buf_append_text(out, "For the data alone, instead of the regional ones:\n");
        put_communities(json_object_get(plan, "storage_communities"), out);
    }
    buf_append_text(out, "\nProxy bypass (data; the others as wanted):\n");
    json_array_foreach(json_object_get(plan, "microsoft_peering"), i, item)
        buf_printf(out, "  %s%s\n", field(item, "rule"),
                   json_is_true(json_object_get(item, "data")) ? "   data" : "");
    buf_printf(out, "In appliance.json:\n  %s\n", field(plan, "appliance_json"));
    buf_append_text(out, "\nStill needs the internet:\n");
    json_array_foreach(json_object_get(plan, "internet"), i, item)
        buf_printf(out, "  %s%s\n", field(item, "address"),
                   json_is_true(json_object_get(item, "optional")) ? "   optional" : "");
    buf_append_text(out, "\nPrivate peering\n\nProxy bypass, only:\n");
    json_array_foreach(json_object_get(plan, "private_peering"), i, item)
        buf_printf(out, "  %s\n", json_string_value(item));
    buf_append_text(out, "Not a wildcard: the state store has no private endpoint.\n");
    buf_printf(out, "\nCommunities by: %s, %s\n", field(plan, "source"),
               field(plan, "source_date"));
}

bool run_network_plan(struct cli *cli, struct err *err)
{
    AUTO(buf_release) struct buf option = {0};
    const char *from = field(cli->request, "source_region");
    const char *to = field(cli->request, "target_region");
    const char *cloud = field(cli->request, "cloud");
    struct buf out = {0};
    if (!*from || !*to)
        return err_set(err, FAIL_INPUT,
                       "both regions are needed; write --source-region REGION "
                       "--target-region REGION");
    buf_printf(&option, "--plan-network=%s,%s%s%s", from, to, *cloud ? "," : "", cloud);
    AUTO(json_free)
    json_t *plan = ask(cli, "/v1/network/plan", cli->request, buf_text(&option), err);
    if (!plan)
        return false;
    if (cli->is_json)
        return cli_write_json(cli, plan, err);
    put_plan(plan, &out);
    return cli_write(&out, err);
}
