/* SPDX-License-Identifier: Apache-2.0 */
/* What a daemon with only the applier role does. */
#include "base/text.h"
#include "cli/runs.h"
#include "cli/table.h"

#include <inttypes.h>
#include <string.h>

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

static void add_order(struct table *table, const json_t *order)
{
    char written[TEXT_HUMAN_BYTES];
    table_cell(table, STYLE_BOLD, "%s", field(order, "what"));
    table_cell(table, STYLE_PLAIN, "%s", field(order, "machine"));
    table_cell(table, STYLE_PLAIN, "%s", field(order, "target"));
    table_cell(table, STYLE_PLAIN, "%s", field(order, "state"));
    table_cell(table, STYLE_PLAIN, "%" PRIu64 " of %" PRIu64,
               number(order, "segments_applied"), number(order, "segments_total"));
    table_cell(table, STYLE_PLAIN, "%s",
               text_bytes(number(order, "written_bytes"), written));
}

bool run_applier(struct cli *cli, struct err *err)
{
    static const struct table_column COLUMNS[] = {
        {"WHAT", .min_width = 8},       {"MACHINE", .min_width = 8},
        {"TARGET", .min_width = 8},     {"STATE", .min_width = 5},
        {"SEGMENTS", .is_right = true}, {"WRITTEN", .is_right = true}};
    struct buf out = {0};
    char ago[TEXT_HUMAN_BYTES];
    size_t i;
    const json_t *order;
    AUTO(json_free) json_t *answer = cli_call(cli, "GET", "/v1/applier", NULL, err);
    if (!answer)
        return false;
    if (cli->is_json)
        return cli_write_json(cli, answer, err);
    buf_printf(&out, "applier %s, %" PRIu64 " orders done, last beat %s ago%s\n",
               field(answer, "name"), number(answer, "done"),
               text_duration(number(answer, "silent_ms"), ago),
               json_is_true(json_object_get(answer, "fenced"))
                   ? "; it stopped its work, because the state store is out of reach"
                   : "");
    if (*field(answer, "error"))
        buf_printf(&out, "state store: %s\n", field(answer, "error"));
    AUTO(table_free) struct table *table = table_new(COLUMNS, ARRAY_COUNT(COLUMNS));
    json_array_foreach(json_object_get(answer, "orders"), i, order)
    {
        add_order(table, order);
    }
    if (json_array_size(json_object_get(answer, "orders"))) {
        const struct table_look look = {
            .width = cli->width, .has_colour = cli->has_colour, .is_utf8 = cli->is_utf8};
        buf_put_u8(&out, '\n');
        table_render(table, &look, &out);
    }
    return cli_write(&out, err);
}
