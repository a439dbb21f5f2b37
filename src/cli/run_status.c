/* SPDX-License-Identifier: Apache-2.0 */
/* kedge status: the table of all machines, or everything about one. */
#include "base/clock.h"
#include "base/text.h"
#include "cli/runs.h"
#include "cli/watch.h"

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

/* "name   value", the value made safe for the screen. */
static void put(const struct cli *cli, struct buf *out, const char *name,
                const char *value)
{
    if (!*value)
        return;
    buf_printf(out, "%-16s ", name);
    text_fit(out, value, 1000, cli->is_utf8);
    buf_put_u8(out, '\n');
}

/* Of a target that a remote one works on. */
static void put_applier(const struct cli *cli, struct buf *out, const json_t *applier)
{
    AUTO(buf_release) struct buf text = {0};
    char ago[TEXT_HUMAN_BYTES];
    const char *state = field(applier, "state");
    if (!json_is_object(applier))
        return;
    buf_printf(&text, "%s, %s", field(applier, "name"), state);
    if (strcmp(state, "working") != 0)
        buf_printf(&text, " for %s; what needs it waits",
                   text_duration(number(applier, "silent_ms"), ago));
    else if (*field(applier, "host"))
        buf_printf(&text, " at %s", field(applier, "host"));
    put(cli, out, "applier", buf_text(&text));
}

static void print_facts(const struct cli *cli, const json_t *machine, struct buf *out)
{
    AUTO(buf_release) struct buf text = {0};
    char size[TEXT_HUMAN_BYTES];
    const json_t *disk, *operation;
    size_t i;
    put(cli, out, "machine", field(machine, "name"));
    put(cli, out, "id", field(machine, "id"));
    buf_printf(&text, "%s -> %s", field(machine, "source"), field(machine, "target"));
    put(cli, out, "from, to", buf_text(&text));
    put_applier(cli, out, json_object_get(machine, "applier"));
    put(cli, out, "status", field(machine, "status"));
    put(cli, out, "migration", field(machine, "migration_status"));
    put(cli, out, "waits for", field(json_object_get(machine, "waiting"), "text"));
    buf_clear(&text);
    buf_printf(&text, "%llu cpus, %s, %s", (unsigned long long)number(machine, "cpus"),
               text_bytes(number(machine, "memory_bytes"), size),
               field(machine, "firmware"));
    put(cli, out, "hardware", buf_text(&text));
    put(cli, out, "host", field(machine, "host"));
    json_array_foreach(json_object_get(machine, "disks"), i, disk)
    {
        buf_clear(&text);
        const char *reading = field(disk, "reading");
        buf_printf(&text, "%s, %s%s%s", field(disk, "label"),
                   text_bytes(number(disk, "bytes"), size), *reading ? ", by " : "",
                   reading);
        put(cli, out, "disk", buf_text(&text));
    }
    put(cli, out, "last error", field(json_object_get(machine, "last_error"), "text"));
    buf_clear(&text);
    json_array_foreach(json_object_get(machine, "allowed_operations"), i, operation)
        buf_printf(&text, "%s%s", i ? ", " : "", json_string_value(operation));
    put(cli, out, "possible now", buf_text(&text));
    json_array_foreach(json_object_get(machine, "refused_operations"), i, operation)
    {
        const char *why = strchr(field(operation, "text"), ';'); /* behind the state */
        buf_clear(&text);
        buf_printf(&text, "%s:%s", field(operation, "operation"), why ? why + 1 : "");
        put(cli, out, "refused", buf_text(&text));
    }
    if (number(machine, "migration_job")) {
        buf_clear(&text);
        buf_printf(&text, "job %llu",
                   (unsigned long long)number(machine, "migration_job"));
        put(cli, out, "last migration", buf_text(&text));
    }
}

static void print_times(const struct cli *cli, const json_t *machine, struct buf *out)
{
    char clock[16], duration[TEXT_HUMAN_BYTES];
    AUTO(buf_release) struct buf text = {0};
    uint64_t now = clock_wall_ms(), next = number(machine, "next_cycle_at_ms");
    const json_t *point = json_object_get(machine, "recovery_point");
    uint64_t at = number(point, "at_ms");
    if (at) {
        buf_printf(&text, "cycle %llu, %s (%s ago)",
                   (unsigned long long)number(point, "cycle"), watch_clock(at, clock),
                   text_duration(now > at ? now - at : 0, duration));
        put(cli, out, "recovery point", buf_text(&text));
    }
    buf_clear(&text);
    if (next) {
        buf_printf(&text, "%s (in %s)", watch_clock(next, clock),
                   text_duration(next > now ? next - now : 0, duration));
        put(cli, out, "next cycle", buf_text(&text));
    }
}

static void print_vm(const struct cli *cli, const char *what, const json_t *vm,
                     struct buf *out)
{
    char duration[TEXT_HUMAN_BYTES];
    AUTO(buf_release) struct buf text = {0};
    if (!json_is_object(vm))
        return;
    buf_printf(&text, "%s, booted in %s (%s)", field(vm, "name"),
               text_duration(number(vm, "boot_ms"), duration), field(vm, "how_booted"));
    put(cli, out, what, buf_text(&text));
    put(cli, out, "  screen", field(vm, "screen_png"));
    put(cli, out, "  console", field(vm, "serial_log"));
    put(cli, out, "  qmp", field(vm, "qmp_path"));
}

static void add_cycle(struct table *table, const json_t *cycle)
{
    char clock[16], text[TEXT_HUMAN_BYTES];
    const char *state = field(cycle, "state");
    const char *error = field(cycle, "error");
    uint64_t from = number(cycle, "started_ms"), to = number(cycle, "ended_ms");
    table_cell(table, STYLE_PLAIN, "%llu", (unsigned long long)number(cycle, "number"));
    table_cell(table, STYLE_PLAIN, "%s", field(cycle, "kind"));
    table_cell(table, *error ? STYLE_RED : STYLE_GREEN, "%s", state);
    table_cell(table, STYLE_PLAIN, "%s", watch_clock(from, clock));
    table_cell(table, STYLE_PLAIN, "%s", to > from ? text_duration(to - from, text) : "");
    table_cell(table, STYLE_PLAIN, "%s",
               text_bytes(number(cycle, "planned_bytes"), text));
    table_cell(table, STYLE_PLAIN, "%s", text_bytes(number(cycle, "same_bytes"), text));
    table_cell(table, STYLE_PLAIN, "%s", text_bytes(number(cycle, "stored_bytes"), text));
    table_cell(table, STYLE_RED, "%s", error);
}

static void print_cycles(const json_t *machine, const struct table_look *look,
                         struct buf *out)
{
    static const struct table_column COLUMNS[] = {
        {"CYCLE", .is_right = true},
        {"KIND", .drop_order = 5},
        {"STATE", .min_width = 0},
        {"BEGAN", .drop_order = 3},
        {"TOOK", .is_right = true},
        {"CHANGED", .is_right = true, .drop_order = 2},
        {"SAME", .is_right = true, .drop_order = 4},
        {"SENT", .is_right = true, .drop_order = 1},
        {"ERROR", .min_width = 8}};
    const json_t *cycles = json_object_get(machine, "last_cycles"), *cycle;
    size_t i;
    if (json_array_size(cycles) == 0)
        return;
    AUTO(table_free) struct table *table = table_new(COLUMNS, ARRAY_COUNT(COLUMNS));
    json_array_foreach((json_t *)(uintptr_t)cycles, i, cycle) add_cycle(table, cycle);
    buf_put_u8(out, '\n');
    table_render(table, look, out);
}

static bool show_one(struct cli *cli, struct err *err)
{
    AUTO(buf_release) struct buf path = {0};
    struct buf out = {0};
    buf_append_text(&path, "/v1/machines");
    http_path_add(&path, cli->args[0]);
    AUTO(json_free) json_t *machine = cli_call(cli, "GET", buf_text(&path), NULL, err);
    if (!machine)
        return false;
    if (cli->is_json)
        return cli_write_json(cli, machine, err);
    const struct table_look look = {
        .width = cli->width, .has_colour = cli->has_colour, .is_utf8 = cli->is_utf8};
    const json_t *test;
    size_t i;
    print_facts(cli, machine, &out);
    print_times(cli, machine, &out);
    json_array_foreach(json_object_get(machine, "tests"), i, test)
        print_vm(cli, "test", test, &out);
    print_vm(cli, "migrated to", json_object_get(machine, "vm"), &out);
    if (json_is_object(json_object_get(machine, "cycle"))) {
        AUTO(json_free) json_t *list = json_array();
        (void)json_array_append(list, machine);
        buf_put_u8(&out, '\n');
        watch_render_machines(list, clock_wall_ms(), 1, &look, &out);
    }
    print_cycles(machine, &look, &out);
    return cli_write(&out, err);
}

bool run_status(struct cli *cli, struct err *err)
{
    if (cli_flag(cli, "watch") && cli->arg_count)
        return err_set(err, FAIL_INPUT, "--watch shows all machines; leave '%.60s' out",
                       cli->args[0]);
    if (cli_flag(cli, "watch"))
        return watch_run(cli, err);
    if (cli->arg_count)
        return show_one(cli, err);
    AUTO(json_free) json_t *answer = cli_call(cli, "GET", "/v1/machines", NULL, err);
    if (!answer)
        return false;
    if (cli->is_json)
        return cli_write_json(cli, answer, err);
    struct buf out = {0};
    const struct table_look look = {
        .width = cli->width, .has_colour = cli->has_colour, .is_utf8 = cli->is_utf8};
    const struct watch_view view = {.status =
                                        answer, /* there is one: "no machines yet" */
                                    .machines = json_object_get(answer, "machines"),
                                    .now_ms = clock_wall_ms()};
    watch_render_summary(&view, &look, &out);
    return cli_write(&out, err);
}
