/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kedge discover: what the sources have, as a table of machines or as a tree of places.
 * The tree is made of the machines' folder paths, so it is the same for a source that
 * knows places and for one that does not.
 */
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
    double v = json_number_value(json_object_get(object, key));
    return v > 0 ? (uint64_t)v : 0;
}

static struct table_look look_of(const struct cli *cli)
{
    return (struct table_look){
        .width = cli->width, .has_colour = cli->has_colour, .is_utf8 = cli->is_utf8};
}

static void add_found(struct table *table, const json_t *machine)
{
    char size[TEXT_HUMAN_BYTES];
    table_cell(table, STYLE_PLAIN, "%s", field(machine, "source"));
    table_cell(table, STYLE_BOLD, "%s", field(machine, "name"));
    table_cell(table, STYLE_PLAIN, "%s",
               json_is_true(json_object_get(machine, "running")) ? "running" : "off");
    table_cell(table, STYLE_PLAIN, "%llu", (unsigned long long)number(machine, "cpus"));
    table_cell(table, STYLE_PLAIN, "%s",
               text_bytes(number(machine, "memory_bytes"), size));
    table_cell(table, STYLE_PLAIN, "%s", field(machine, "firmware"));
    table_cell(table, STYLE_PLAIN, "%zu, %s",
               json_array_size(json_object_get(machine, "disks")),
               text_bytes(run_disk_bytes(machine), size));
    bool is_known = json_is_true(json_object_get(machine, "replicating"));
    table_cell(table, is_known ? STYLE_GREEN : STYLE_DIM, "%s", is_known ? "yes" : "no");
}

/* A source that does not answer hides none of the others, but is an error. */
static bool tell_unreachable(const json_t *answer, struct err *err)
{
    const json_t *errors = json_object_get(answer, "errors");
    const json_t *first = json_array_get(errors, 0);
    if (!first)
        return true;
    enum err_kind kind = err_kind_from_name(field(first, "kind"));
    (void)err_set(err, kind == FAIL_NONE ? FAIL_BUG : kind, "source '%s': %s",
                  field(first, "source"), field(first, "text"));
    if (json_array_size(errors) > 1)
        return err_wrap(err, "%zu sources do not answer, the first",
                        json_array_size(errors));
    return false;
}

/* ---- the tree ---- */

static int by_place(const void *a, const void *b)
{
    const json_t *x = *(const json_t *const *)a, *y = *(const json_t *const *)b;
    int order = strcmp(field(x, "source"), field(y, "source"));
    order = order ? order : strcmp(field(x, "folder"), field(y, "folder"));
    return order ? order : strcmp(field(x, "name"), field(y, "name"));
}

static void indent(struct buf *out, size_t depth)
{
    for (size_t i = 0; i < depth; i++)
        buf_append_text(out, "  ");
}

/* One line of the tree; text from a server is made safe for the screen. */
static void put_line(const struct cli *cli, struct buf *out, size_t depth,
                     enum style style, const struct buf *text)
{
    const struct table_look look = look_of(cli);
    indent(out, depth);
    text_style(out, &look, style);
    text_fit(out, buf_text(text), 1000, cli->is_utf8);
    text_plain(out, &look);
    buf_put_u8(out, '\n');
}

/* The parts of a path that differ from the one before; returns the depth below it. */
static size_t put_folder(const struct cli *cli, struct buf *out, const char *folder,
                         const char *before)
{
    size_t depth = 1;
    bool is_new = false;
    while (*folder) {
        size_t length = strcspn(folder, "/"), old = strcspn(before, "/");
        is_new = is_new || length != old || strncmp(folder, before, length) != 0;
        if (is_new) {
            AUTO(buf_release) struct buf name = {0};
            buf_append(&name, folder, length);
            put_line(cli, out, depth, STYLE_CYAN, &name);
        }
        folder += length + (folder[length] == '/');
        before += old + (before[old] == '/');
        depth++;
    }
    return depth;
}

static void put_machine(const struct cli *cli, struct buf *out, size_t depth,
                        const json_t *machine)
{
    AUTO(buf_release) struct buf text = {0};
    char memory[TEXT_HUMAN_BYTES], size[TEXT_HUMAN_BYTES];
    const json_t *disks = json_object_get(machine, "disks"), *disk;
    const char *guest = field(machine, "guest"), *host = field(machine, "host");
    size_t snapshots = json_array_size(json_object_get(machine, "snapshots")), i;
    bool is_running = json_is_true(json_object_get(machine, "running"));
    bool is_known = json_is_true(json_object_get(machine, "replicating"));
    buf_printf(&text, "%s  %s, %llu cpus, %s", field(machine, "name"),
               is_running ? "running" : "off",
               (unsigned long long)number(machine, "cpus"),
               text_bytes(number(machine, "memory_bytes"), memory));
    buf_printf(&text, "%s%s%s%s", *host ? ", on " : "", host, *guest ? ", " : "", guest);
    if (snapshots)
        buf_printf(&text, ", %zu snapshot%s", snapshots, snapshots == 1 ? "" : "s");
    buf_append_text(&text, is_known ? ", replicated" : "");
    put_line(cli, out, depth, is_known ? STYLE_GREEN : STYLE_BOLD, &text);
    json_array_foreach((json_t *)(uintptr_t)disks, i, disk)
    {
        const char *file = field(disk, "file");
        buf_clear(&text);
        buf_printf(&text, "%s  %s%s%s", field(disk, "label"),
                   text_bytes(number(disk, "bytes"), size), *file ? "  " : "", file);
        put_line(cli, out, depth + 1, STYLE_DIM, &text);
    }
}

static void put_hosts(const struct cli *cli, struct buf *out, const json_t *inventory)
{
    const json_t *hosts = json_object_get(inventory, "hosts"), *host;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)hosts, i, host)
    {
        AUTO(buf_release) struct buf text = {0};
        char memory[TEXT_HUMAN_BYTES];
        buf_printf(
            &text, "host %s  ESXi %s, %llu cpus, %s, %s%s", field(host, "path"),
            field(host, "version"), (unsigned long long)number(host, "cpu_threads"),
            text_bytes(number(host, "memory_bytes"), memory), field(host, "connection"),
            json_is_true(json_object_get(host, "in_maintenance")) ? ", in maintenance"
                                                                  : "");
        put_line(cli, out, 1, STYLE_PLAIN, &text);
    }
}

static void put_stores(const struct cli *cli, struct buf *out, const json_t *inventory)
{
    const json_t *stores = json_object_get(inventory, "datastores"), *store;
    const json_t *networks = json_object_get(inventory, "networks"), *network;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)stores, i, store)
    {
        AUTO(buf_release) struct buf text = {0};
        char free_text[TEXT_HUMAN_BYTES], size[TEXT_HUMAN_BYTES];
        buf_printf(
            &text, "datastore %s  %s, %s free of %s%s", field(store, "name"),
            field(store, "type"), text_bytes(number(store, "free_bytes"), free_text),
            text_bytes(number(store, "capacity_bytes"), size),
            json_is_true(json_object_get(store, "accessible")) ? "" : ", not accessible");
        put_line(cli, out, 1, STYLE_PLAIN, &text);
    }
    json_array_foreach((json_t *)(uintptr_t)networks, i, network)
    {
        AUTO(buf_release) struct buf text = {0};
        buf_printf(&text, "network %s", field(network, "name"));
        put_line(cli, out, 1, STYLE_PLAIN, &text);
    }
}

static void put_source(const struct cli *cli, struct buf *out, const json_t *answer,
                       const char *source)
{
    const json_t *all = json_object_get(answer, "inventories"), *inventory;
    AUTO(buf_release) struct buf text = {0};
    size_t i;
    buf_append_text(&text, source);
    json_array_foreach((json_t *)(uintptr_t)all, i, inventory)
    {
        if (strcmp(field(inventory, "source"), source) != 0)
            continue;
        buf_printf(&text, "  %s", field(json_object_get(inventory, "server"), "name"));
        put_line(cli, out, 0, STYLE_BOLD, &text);
        put_hosts(cli, out, inventory);
        put_stores(cli, out, inventory);
        return;
    }
    put_line(cli, out, 0, STYLE_BOLD, &text);
}

static bool print_tree(struct cli *cli, const json_t *answer, struct err *err)
{
    const json_t *machines = json_object_get(answer, "machines");
    size_t count = json_array_size(machines);
    AUTO(free) const json_t **sorted = xcalloc(count + 1, sizeof *sorted);
    struct buf out = {0};
    const char *source = "", *folder = "";
    for (size_t i = 0; i < count; i++)
        sorted[i] = json_array_get(machines, i);
    qsort((void *)sorted, count, sizeof *sorted, by_place);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(source, field(sorted[i], "source")) != 0) {
            source = field(sorted[i], "source");
            folder = "";
            put_source(cli, &out, answer, source);
        }
        size_t depth = put_folder(cli, &out, field(sorted[i], "folder"), folder);
        folder = field(sorted[i], "folder");
        put_machine(cli, &out, depth, sorted[i]);
    }
    return cli_write(&out, err);
}

bool run_discover(struct cli *cli, struct err *err)
{
    static const struct table_column COLUMNS[] = {
        {"SOURCE", .min_width = 6, .drop_order = 1},
        {"MACHINE", .min_width = 8},
        {"POWER", .drop_order = 2},
        {"CPUS", .is_right = true, .drop_order = 3},
        {"MEMORY", .is_right = true, .drop_order = 4},
        {"FIRMWARE", .drop_order = 5},
        {"DISKS", .min_width = 0},
        {"REPLICATED", .min_width = 0}};
    AUTO(buf_release) struct buf path = {0};
    buf_append_text(&path, "/v1/discover");
    if (cli_text(cli, "source"))
        http_query_add(&path, "source", cli_text(cli, "source"));
    AUTO(json_free) json_t *answer = cli_call(cli, "GET", buf_text(&path), NULL, err);
    if (!answer)
        return false;
    if (cli->is_json)
        return cli_write_json(cli, answer, err);
    if (cli_flag(cli, "tree"))
        return print_tree(cli, answer, err) && tell_unreachable(answer, err);
    AUTO(table_free) struct table *table = table_new(COLUMNS, ARRAY_COUNT(COLUMNS));
    const json_t *machine;
    size_t i;
    json_array_foreach(json_object_get(answer, "machines"), i, machine)
        add_found(table, machine);
    struct buf out = {0};
    const struct table_look look = look_of(cli);
    table_render(table, &look, &out);
    return cli_write(&out, err) && tell_unreachable(answer, err);
}
