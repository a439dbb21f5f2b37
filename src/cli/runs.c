/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that ask once and print: sources, targets, machines, events. */
#include "cli/runs.h"

#include "base/clock.h"
#include "base/text.h"
#include "cli/table.h"
#include "cli/watch.h"

#define FOLLOW_WAIT_MS 20000
#define EVENTS_SHOWN   1000 /* without --since and --last */

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

static struct table_look look_of(const struct cli *cli)
{
    return (struct table_look){
        .width = cli->width, .has_colour = cli->has_colour, .is_utf8 = cli->is_utf8};
}

static bool print_table(const struct cli *cli, const struct table *table, struct err *err)
{
    struct buf out = {0};
    const struct table_look look = look_of(cli);
    table_render(table, &look, &out);
    return cli_write(&out, err);
}

/* GET path; NULL list_key: the answer itself. With --json it is printed, *ret_done. */
static json_t *ask(struct cli *cli, const char *path, bool *ret_done, struct err *err)
{
    json_t *answer = cli_call(cli, "GET", path, NULL, err);
    *ret_done = answer && cli->is_json;
    if (*ret_done && !cli_write_json(cli, answer, err)) {
        json_decref(answer);
        return NULL;
    }
    return answer;
}

/* ---- sources and targets ---- */

static bool add_endpoint(struct cli *cli, const char *path, const char *what,
                         struct err *err)
{
    AUTO(json_free) json_t *body = json_object();
    json_put_text(body, "name", cli->args[0]);
    json_put_text(body, "kind", cli->args[1]);
    json_put_take(body, "options", json_incref(cli->request));
    AUTO(json_free) json_t *answer = cli_call(cli, "POST", path, body, err);
    if (!answer)
        return false;
    if (cli->is_json)
        return cli_write_json(cli, answer, err);
    struct buf out = {0};
    buf_printf(&out, "%s '%s' added\n", what, cli->args[0]);
    return cli_write(&out, err);
}

static bool remove_endpoint(struct cli *cli, const char *folder, const char *what,
                            struct err *err)
{
    AUTO(buf_release) struct buf path = {0};
    buf_append_text(&path, folder);
    http_path_add(&path, cli->args[0]);
    AUTO(json_free) json_t *answer = cli_call(cli, "DELETE", buf_text(&path), NULL, err);
    if (!answer)
        return false;
    if (cli->is_json)
        return cli_write_json(cli, answer, err);
    struct buf out = {0};
    buf_printf(&out, "%s '%s' removed\n", what, cli->args[0]);
    return cli_write(&out, err);
}

/* Who works on a target when we do not, and when he was seen. */
static void applier_cell(struct table *table, const json_t *applier)
{
    char ago[TEXT_HUMAN_BYTES];
    bool is_working = strcmp(field(applier, "state"), "working") == 0;
    if (!json_is_object(applier))
        table_cell(table, STYLE_DIM, "-");
    else
        table_cell(table, is_working ? STYLE_PLAIN : STYLE_YELLOW, "%s, %s, seen %s ago",
                   field(applier, "name"), field(applier, "state"),
                   text_duration(number(applier, "silent_ms"), ago));
}

static bool list_endpoints(struct cli *cli, const char *path, const char *key,
                           struct err *err)
{
    static const struct table_column COLUMNS[] = {{"NAME", .min_width = 8},
                                                  {"KIND", .min_width = 0},
                                                  {"MACHINES", .is_right = true},
                                                  {"OPTIONS", .min_width = 10},
                                                  {"APPLIER", .drop_order = 1}};
    bool has_appliers = strcmp(key, "targets") == 0;
    bool is_done;
    AUTO(json_free) json_t *answer = ask(cli, path, &is_done, err);
    if (!answer || is_done)
        return answer != NULL;
    AUTO(table_free)
    struct table *table = table_new(COLUMNS, ARRAY_COUNT(COLUMNS) - !has_appliers);
    const json_t *one;
    size_t i;
    json_array_foreach(json_object_get(answer, key), i, one)
    {
        AUTO(buf_release) struct buf options = {0};
        json_print(json_object_get(one, "options"), &options);
        table_cell(table, STYLE_BOLD, "%s", field(one, "name"));
        table_cell(table, STYLE_PLAIN, "%s", field(one, "kind"));
        table_cell(table, STYLE_PLAIN, "%llu",
                   (unsigned long long)number(one, "machines"));
        table_cell(table, STYLE_DIM, "%s", buf_text(&options));
        if (has_appliers)
            applier_cell(table, json_object_get(one, "applier"));
    }
    return print_table(cli, table, err);
}

bool run_source_add(struct cli *cli, struct err *err)
{
    return add_endpoint(cli, "/v1/sources", "source", err);
}

bool run_source_remove(struct cli *cli, struct err *err)
{
    return remove_endpoint(cli, "/v1/sources", "source", err);
}

bool run_source_list(struct cli *cli, struct err *err)
{
    return list_endpoints(cli, "/v1/sources", "sources", err);
}

bool run_target_add(struct cli *cli, struct err *err)
{
    return add_endpoint(cli, "/v1/targets", "target", err);
}

bool run_target_remove(struct cli *cli, struct err *err)
{
    return remove_endpoint(cli, "/v1/targets", "target", err);
}

bool run_target_list(struct cli *cli, struct err *err)
{
    return list_endpoints(cli, "/v1/targets", "targets", err);
}

static void print_finding(const struct cli *cli, const json_t *finding, struct buf *out)
{
    static const struct {
        const char *severity, *mark, *plain;
        enum style style;
    } MARKS[] = {{"ok", "✓", "ok", STYLE_GREEN},
                 {"warning", "!", "warning", STYLE_YELLOW},
                 {"blocker", "✗", "blocker", STYLE_RED}};
    const struct table_look look = look_of(cli);
    const char *severity = field(finding, "severity"), *remedy = field(finding, "remedy");
    size_t i = 0;
    while (i + 1 < ARRAY_COUNT(MARKS) && strcmp(MARKS[i].severity, severity) != 0)
        i++;
    text_style(out, &look, MARKS[i].style);
    buf_append_text(out, cli->is_utf8 ? MARKS[i].mark : MARKS[i].plain);
    text_plain(out, &look);
    AUTO(buf_release) struct buf line = {0};
    buf_printf(&line, " %s: %s", field(finding, "what"), field(finding, "why"));
    text_fit(out, buf_text(&line), 2000, cli->is_utf8);
    if (*remedy) {
        buf_append_text(out, "; ");
        text_fit(out, remedy, 1000, cli->is_utf8);
    }
    buf_put_u8(out, '\n');
}

static bool check_endpoint(struct cli *cli, const char *folder, const char *what,
                           struct err *err)
{
    AUTO(buf_release) struct buf path = {0};
    struct buf out = {0};
    size_t blockers = 0, i;
    const json_t *finding;
    buf_append_text(&path, folder);
    http_path_add(&path, cli->args[0]);
    http_path_add(&path, "check");
    AUTO(json_free) json_t *answer = cli_call(cli, "POST", buf_text(&path), NULL, err);
    if (!answer)
        return false;
    json_array_foreach(json_object_get(answer, "findings"), i, finding)
    {
        if (strcmp(field(finding, "severity"), "blocker") == 0)
            blockers++;
        print_finding(cli, finding, &out);
    }
    if (!out.bytes)
        buf_printf(&out, "%s '%s': nothing stands in the way\n", what, cli->args[0]);
    bool ok;
    if (cli->is_json) {
        buf_release(&out);
        ok = cli_write_json(cli, answer, err);
    } else {
        ok = cli_write(&out, err);
    }
    if (ok && blockers)
        return err_set(err, FAIL_CONFLICT,
                       "%s '%s' has %zu blocker%s; see the remedies above", what,
                       cli->args[0], blockers, blockers == 1 ? "" : "s");
    return ok;
}

bool run_source_check(struct cli *cli, struct err *err)
{
    return check_endpoint(cli, "/v1/sources", "source", err);
}

bool run_target_check(struct cli *cli, struct err *err)
{
    return check_endpoint(cli, "/v1/targets", "target", err);
}

bool run_target_inventory(struct cli *cli, struct err *err)
{
    static const struct table_column COLUMNS[] = {
        {"KIND", .min_width = 4},    {"NAME", .min_width = 10},
        {"MACHINE", .min_width = 7}, {"ROLE", .min_width = 4},
        {"SIZE", .is_right = true},  {"STORED", .is_right = true},
        {"STATE", .min_width = 0},   {"OWNER", .min_width = 5}};
    bool is_done;
    AUTO(buf_release) struct buf path = {0};
    buf_append_text(&path, "/v1/targets");
    http_path_add(&path, cli->args[0]);
    http_path_add(&path, "inventory");
    AUTO(json_free) json_t *answer = ask(cli, buf_text(&path), &is_done, err);
    if (!answer || is_done)
        return answer != NULL;
    AUTO(table_free) struct table *table = table_new(COLUMNS, ARRAY_COUNT(COLUMNS));
    const json_t *thing;
    size_t i;
    json_array_foreach(json_object_get(answer, "things"), i, thing)
    {
        char size[TEXT_HUMAN_BYTES];
        bool is_known = json_is_true(json_object_get(thing, "known"));
        table_cell(table, STYLE_PLAIN, "%s", field(thing, "kind"));
        table_cell(table, STYLE_BOLD, "%s", field(thing, "name"));
        table_cell(table, STYLE_PLAIN, "%s", field(thing, "machine"));
        table_cell(table, STYLE_PLAIN, "%s", field(thing, "role"));
        for (int stored = 0; stored < 2; stored++) {
            uint64_t bytes = number(thing, stored ? "allocated_bytes" : "size_bytes");
            table_cell(table, STYLE_PLAIN, "%s", bytes ? text_bytes(bytes, size) : "");
        }
        table_cell(table, STYLE_PLAIN, "%s", field(thing, "state"));
        table_cell(table, is_known ? STYLE_PLAIN : STYLE_RED, "%s",
                   is_known ? "kedge" : "orphan");
    }
    return print_table(cli, table, err);
}

uint64_t run_disk_bytes(const json_t *machine)
{
    uint64_t total = 0;
    const json_t *disk;
    size_t i;
    json_array_foreach(json_object_get(machine, "disks"), i, disk) total +=
        number(disk, "bytes");
    return total;
}

/* ---- machines ---- */

/* The only target there is, when none is named. */
static bool choose_target(struct cli *cli, struct buf *ret, struct err *err)
{
    if (cli_text(cli, "target")) {
        buf_append_text(ret, cli_text(cli, "target"));
        return true;
    }
    AUTO(json_free) json_t *answer = cli_call(cli, "GET", "/v1/targets", NULL, err);
    if (!answer)
        return false;
    const json_t *targets = json_object_get(answer, "targets");
    if (json_array_size(targets) != 1)
        return err_set(err, FAIL_INPUT, "there are %zu targets; name one with --target%s",
                       json_array_size(targets),
                       json_array_size(targets) ? "" : " after 'kedge target add'");
    buf_append_text(ret, field(json_array_get(targets, 0), "name"));
    return true;
}

bool run_replicate(struct cli *cli, struct err *err)
{
    AUTO(buf_release) struct buf target = {0};
    AUTO(json_free) json_t *body = json_object();
    if (!choose_target(cli, &target, err))
        return false;
    json_put_text(body, "source", cli->args[0]);
    json_put_text(body, "machine", cli->args[1]);
    json_put_text(body, "target", buf_text(&target));
    json_put_take(body, "options", json_incref(cli->request));
    AUTO(json_free) json_t *started = cli_call(cli, "POST", "/v1/machines", body, err);
    return started && cli_follow_job(cli, started, err);
}

bool run_operate(struct cli *cli, struct err *err)
{
    AUTO(buf_release) struct buf path = {0};
    buf_append_text(&path, "/v1/machines");
    http_path_add(&path, cli->args[0]);
    http_path_add(&path, "operations");
    http_path_add(&path, cli->command->name);
    if (strcmp(cli->command->name, "migrate") == 0 &&
        !json_object_get(cli->request, "shutdown"))
        json_put_bool(cli->request, "shutdown", true);
    AUTO(json_free)
    json_t *started = cli_call(cli, "POST", buf_text(&path), cli->request, err);
    return started && cli_follow_job(cli, started, err);
}

bool run_list(struct cli *cli, struct err *err)
{
    static const struct table_column COLUMNS[] = {
        {"MACHINE", .min_width = 8},
        {"SOURCE", .min_width = 6, .drop_order = 3},
        {"TARGET", .min_width = 6, .drop_order = 4},
        {"STATUS", .min_width = 12},
        {"MIGRATION", .min_width = 12, .drop_order = 2},
        {"DISKS", .is_right = true, .drop_order = 1},
        {"WAITS FOR", .min_width = 12, .drop_order = 5}};
    bool is_done;
    AUTO(json_free) json_t *answer = ask(cli, "/v1/machines", &is_done, err);
    if (!answer || is_done)
        return answer != NULL;
    AUTO(table_free) struct table *table = table_new(COLUMNS, ARRAY_COUNT(COLUMNS));
    const json_t *machine;
    size_t i;
    char size[TEXT_HUMAN_BYTES];
    json_array_foreach(json_object_get(answer, "machines"), i, machine)
    {
        table_cell(table, STYLE_BOLD, "%s", field(machine, "name"));
        table_cell(table, STYLE_PLAIN, "%s", field(machine, "source"));
        table_cell(table, STYLE_PLAIN, "%s", field(machine, "target"));
        table_cell(table, STYLE_PLAIN, "%s", field(machine, "status"));
        table_cell(table, STYLE_PLAIN, "%s", field(machine, "migration_status"));
        table_cell(table, STYLE_PLAIN, "%s", text_bytes(run_disk_bytes(machine), size));
        table_cell(table, STYLE_DIM, "%s",
                   field(json_object_get(machine, "waiting"), "text"));
    }
    return print_table(cli, table, err);
}

/* ---- events, document ---- */

static void print_event(const struct cli *cli, const json_t *event, struct buf *out)
{
    char clock[16];
    if (cli->is_json) {
        json_print(event, out);
        buf_put_u8(out, '\n');
        return;
    }
    const struct table_look look = look_of(cli);
    const char *level = field(event, "level"), *machine = field(event, "machine");
    AUTO(buf_release) struct buf line = {0};
    const char *who = field(event, "who");
    bool is_asked = *who && strcmp(who, "kedged") != 0;
    buf_printf(&line, "%s  %s%s%s%s%s%s", watch_clock(number(event, "ts_ms"), clock),
               machine, *machine ? "  " : "", field(event, "text"), is_asked ? " (" : "",
               is_asked ? who : "", is_asked ? ")" : "");
    enum style style = strcmp(level, "error") == 0     ? STYLE_RED
                       : strcmp(level, "warning") == 0 ? STYLE_YELLOW
                                                       : STYLE_PLAIN;
    text_style(out, &look, style);
    text_fit(out, buf_text(&line), 2000, cli->is_utf8);
    if (style != STYLE_PLAIN)
        text_plain(out, &look);
    buf_put_u8(out, '\n');
}

/* One page of events after *since; wait_ms 0: none is fine. */
static bool print_events(struct cli *cli, uint64_t *since, uint64_t wait_ms,
                         size_t *ret_count, struct err *err)
{
    AUTO(buf_release) struct buf path = {0};
    struct buf out = {0};
    char text[32];
    const json_t *event;
    size_t i;
    buf_append_text(&path, "/v1/events");
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)*since);
    http_query_add(&path, "since", text);
    http_query_add(&path, "limit", "1000");
    if (wait_ms) {
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)wait_ms);
        http_query_add(&path, "wait_ms", text);
    }
    if (*since == 0) {
        uint64_t last = number(cli->flags, "last");
        (void)snprintf(text, sizeof text, "%llu",
                       (unsigned long long)(last ? last : EVENTS_SHOWN));
        http_query_add(&path, "last", text);
    }
    AUTO(json_free) json_t *answer = cli_call(cli, "GET", buf_text(&path), NULL, err);
    if (!answer)
        return false;
    const json_t *events = json_object_get(answer, "events");
    json_array_foreach((json_t *)(uintptr_t)events, i, event)
        print_event(cli, event, &out);
    *ret_count = json_array_size(events);
    *since = number(answer, "next");
    return cli_write(&out, err);
}

bool run_events(struct cli *cli, struct err *err)
{
    uint64_t since = number(cli->flags, "since");
    size_t count;
    do {
        if (!print_events(cli, &since, 0, &count, err))
            return false;
    } while (count);
    while (cli_flag(cli, "follow"))
        if (!print_events(cli, &since, FOLLOW_WAIT_MS, &count, err))
            return false;
    return true;
}

bool run_openapi(struct cli *cli, struct err *err)
{
    AUTO(json_free) json_t *answer = cli_call(cli, "GET", "/v1/openapi.json", NULL, err);
    return answer && cli_write_json(cli, answer, err);
}
