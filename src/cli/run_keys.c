/* SPDX-License-Identifier: Apache-2.0 */
/* Master keys: status and rotation. */
#include "base/clock.h"
#include "base/text.h"
#include "cli/runs.h"
#include "cli/table.h"

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

static void add_master(struct table *table, const json_t *master)
{
    char when[CLOCK_TEXT_BYTES] = "";
    bool is_current = json_is_true(json_object_get(master, "current"));
    bool is_enabled = json_is_true(json_object_get(master, "enabled"));
    uint64_t created_ms = number(master, "created_ms");
    if (created_ms)
        (void)clock_wall_text(created_ms, when);
    table_cell(table, is_current ? STYLE_BOLD : STYLE_PLAIN, "%s",
               *field(master, "master") ? field(master, "master") : "not known");
    table_cell(table, is_enabled ? STYLE_PLAIN : STYLE_YELLOW, "%s",
               !is_enabled  ? "disabled"
               : is_current ? "newest"
                            : "earlier");
    table_cell(table, STYLE_PLAIN, "%llu",
               (unsigned long long)number(master, "machines"));
    table_cell(table, STYLE_DIM, "%.10s", when);
}

bool run_keys_status(struct cli *cli, struct err *err)
{
    static const struct table_column COLUMNS[] = {{"MASTER", .min_width = 16},
                                                  {"STATE", .min_width = 8},
                                                  {"MACHINES", .min_width = 8},
                                                  {"MADE", .drop_order = 1}};
    struct buf out = {0};
    size_t i;
    const json_t *master;
    AUTO(json_free) json_t *answer = cli_call(cli, "GET", "/v1/keys", NULL, err);
    if (!answer)
        return false;
    if (cli->is_json)
        return cli_write_json(cli, answer, err);
    bool has_passphrase = json_is_true(json_object_get(answer, "passphrase"));
    buf_printf(&out, "%s  %s%s\n\n", field(answer, "kind"), field(answer, "where"),
               has_passphrase ? " (with a passphrase)" : "");
    AUTO(table_free) struct table *table = table_new(COLUMNS, ARRAY_COUNT(COLUMNS));
    json_array_foreach(json_object_get(answer, "masters"), i, master)
    {
        add_master(table, master);
    }
    const struct table_look look = {
        .width = cli->width, .has_colour = cli->has_colour, .is_utf8 = cli->is_utf8};
    table_render(table, &look, &out);
    uint64_t pending = number(answer, "pending");
    if (pending)
        buf_printf(&out,
                   "\n%llu of %llu machines are not wrapped with the newest; run 'kedge "
                   "keys rewrap'\n",
                   (unsigned long long)pending,
                   (unsigned long long)number(answer, "machines"));
    return cli_write(&out, err);
}

bool run_keys_rotate(struct cli *cli, struct err *err)
{
    struct buf out = {0};
    bool is_new = strcmp(cli->command->name, "keys rotate") == 0;
    AUTO(json_free)
    json_t *answer =
        cli_call(cli, "POST", is_new ? "/v1/keys/rotate" : "/v1/keys/rewrap", NULL, err);
    if (!answer)
        return false;
    if (cli->is_json)
        return cli_write_json(cli, answer, err);
    buf_printf(&out, "%smaster %s; %llu of %llu data keys were wrapped anew\n",
               is_new ? "new " : "", field(answer, "master"),
               (unsigned long long)number(answer, "rewrapped"),
               (unsigned long long)number(answer, "machines"));
    if (is_new && text_starts_with(field(answer, "master"), "file:"))
        buf_append_text(&out, "make a new copy of the key file, in a safe place\n");
    return cli_write(&out, err);
}
