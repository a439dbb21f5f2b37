/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of the block graph is ours, and how it is taken away again.
 *
 * While a snapshot is open a disk looks like this (names end in the disk's number):
 *
 *   device -> kedge-N-pass -> kedge-N-cbw -> the disk's own node
 *                                  \-> kedge-N-tgt (scratch, old data)
 *             export -> kedge-N-acc -/   (reads scratch where there is, else the disk)
 *
 * Teardown finds everything by name, never by what we remember, so it works after a crash
 * of ours at any instant and when half of it is missing:
 *  G1 exports and access nodes go first: while something else sits on the cbw node it
 *     forbids writes that bypass it, so the device could not be moved off.
 *  G2 one blockdev-reopen moves all pass nodes off their cbw nodes; then the devices get
 *     their own node back; only then nodes are deleted.
 *  G3 the guest's requests always have a whole path to the disk.
 *
 * x-debug-query-block-graph is marked unstable but is the only command that tells which
 * node is below which (there since QEMU 4.0, checked with 7.2).
 */
#include "source/qemu.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <unistd.h>

#define RETRY_FOR_MS  10000
#define RETRY_STEP_MS 20

struct graph_node {
    uint64_t id;
    uint64_t file_child; /* 0: none; QEMU counts from 1 */
    char name[QEMU_NAME_BYTES];
};

struct graph_edge {
    uint64_t parent;
    uint64_t child;
};

struct qemu_graph {
    size_t count;
    struct graph_node *nodes;
    size_t edge_count;
    struct graph_edge *edges;
};

bool qemu_is_ours(const char *name)
{
    return text_starts_with(name, QEMU_OUR_PREFIX);
}

static const char *const role_names[] = {[ROLE_TARGET] = "tgt",
                                         [ROLE_PASS] = "pass",
                                         [ROLE_CBW] = "cbw",
                                         [ROLE_ACCESS] = "acc"};

void qemu_node_name(const char *nonce, enum qemu_role role, size_t disk_index,
                    char out[QEMU_NAME_BYTES])
{
    (void)snprintf(out, QEMU_NAME_BYTES, QEMU_OUR_PREFIX "%s-%s%zu", nonce,
                   role_names[role], disk_index);
}

/* The role stands behind the last dash: the nonce is hex, and may begin with "acc". */
static bool has_role(const char *name, enum qemu_role role)
{
    return qemu_is_ours(name) &&
           text_starts_with(strrchr(name, '-') + 1, role_names[role]);
}

void qemu_graph_free(struct qemu_graph *graph)
{
    if (!graph)
        return;
    free(graph->nodes);
    free(graph->edges);
    free(graph);
}

static struct graph_node *graph_by_id(const struct qemu_graph *graph, uint64_t id)
{
    for (size_t i = 0; id && i < graph->count; i++)
        if (graph->nodes[i].id == id)
            return &graph->nodes[i];
    return NULL;
}

static struct graph_node *graph_by_name(const struct qemu_graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->count; i++)
        if (strcmp(graph->nodes[i].name, name) == 0)
            return &graph->nodes[i];
    return NULL;
}

struct qemu_graph *qemu_graph_read(struct qmp *qmp, struct err *err)
{
    AUTO(json_free) json_t *answer = NULL;
    json_t *nodes, *edges, *item;
    size_t i;
    if (!qmp_call(qmp, "x-debug-query-block-graph", NULL, QEMU_CALL_MS, &answer, err) ||
        !json_get_array(answer, "nodes", &nodes, err) ||
        !json_get_array(answer, "edges", &edges, err))
        return NULL;
    AUTO(qemu_graph_free) struct qemu_graph *graph = xcalloc(1, sizeof *graph);
    graph->nodes = xcalloc(json_array_size(nodes) + 1, sizeof *graph->nodes);
    json_array_foreach(nodes, i, item)
    {
        struct graph_node *node = &graph->nodes[graph->count];
        const char *type, *name;
        if (!json_opt_text(item, "type", "", &type, err) ||
            !json_opt_text(item, "name", "", &name, err) ||
            !json_get_u64(item, "id", &node->id, err))
            return NULL;
        text_copy(node->name, sizeof node->name, name);
        if (strcmp(type, "block-driver") == 0)
            graph->count++;
    }
    graph->edges = xcalloc(json_array_size(edges) + 1, sizeof *graph->edges);
    json_array_foreach(edges, i, item)
    {
        uint64_t parent, child;
        const char *name;
        if (!json_opt_text(item, "name", "", &name, err) ||
            !json_get_u64(item, "parent", &parent, err) ||
            !json_get_u64(item, "child", &child, err))
            return NULL;
        struct graph_node *node = graph_by_id(graph, parent);
        graph->edges[graph->edge_count++] = (struct graph_edge){parent, child};
        if (node && strcmp(name, "file") == 0)
            node->file_child = child;
    }
    return TAKE(graph);
}

const char *qemu_graph_file_child(const struct qemu_graph *graph, const char *node)
{
    const struct graph_node *found = graph_by_name(graph, node);
    const struct graph_node *child = found ? graph_by_id(graph, found->file_child) : NULL;
    return child ? child->name : NULL;
}

const char *qemu_graph_below_ours(const struct qemu_graph *graph, const char *node)
{
    for (size_t depth = 0; node && qemu_is_ours(node) && depth <= graph->count; depth++)
        node = qemu_graph_file_child(graph, node);
    return node;
}

/* Counts how often each node is reached; bounded, for a graph is not always a tree. */
static bool visit_once(const struct qemu_graph *graph, uint64_t id, bool *visited)
{
    const struct graph_node *node = graph_by_id(graph, id);
    if (!node)
        return true;
    size_t index = (size_t)(node - graph->nodes);
    if (visited[index])
        return false;
    visited[index] = true;
    for (size_t i = 0; i < graph->edge_count; i++)
        if (graph->edges[i].parent == id &&
            !visit_once(graph, graph->edges[i].child, visited))
            return false;
    return true;
}

bool qemu_graph_is_tree(const struct qemu_graph *graph, const char *node)
{
    const struct graph_node *top = graph_by_name(graph, node);
    AUTO(free) bool *visited = xcalloc(graph->count + 1, sizeof *visited);
    return top && visit_once(graph, top->id, visited);
}

/* ---- exports ---- */

static bool delete_exports(struct qmp *qmp, size_t *ret_ours, size_t *ret_others,
                           struct err *err)
{
    AUTO(json_free) json_t *exports = NULL;
    json_t *item;
    size_t i;
    *ret_ours = *ret_others = 0;
    if (!qmp_call(qmp, "query-block-exports", NULL, QEMU_CALL_MS, &exports, err))
        return false;
    json_array_foreach(exports, i, item)
    {
        const char *id;
        bool is_going;
        if (!json_get_text(item, "id", &id, err) ||
            !json_opt_bool(item, "shutting-down", false, &is_going, err))
            return false;
        if (!qemu_is_ours(id)) {
            (*ret_others)++;
            continue;
        }
        (*ret_ours)++;
        if (is_going)
            continue;
        json_t *arguments = json_object();
        json_put_text(arguments, "id", id);
        json_put_text(arguments, "mode", "hard");
        if (!qmp_call(qmp, "block-export-del", arguments, QEMU_CALL_MS, NULL, err))
            return false;
    }
    return true;
}

static bool exports_away(const struct qemu_source *source, struct qmp *qmp,
                         struct err *err)
{
    uint64_t until_ms = clock_mono_ms() + RETRY_FOR_MS;
    size_t ours, others;
    for (;;) {
        if (!delete_exports(qmp, &ours, &others, err))
            return false;
        if (ours == 0)
            break;
        if (clock_mono_ms() > until_ms)
            return err_set(err, FAIL_TRANSIENT,
                           "an NBD export of ours does not end; try again");
        clock_sleep_ms(RETRY_STEP_MS);
    }
    /* The server is ours when its socket is where we put it; then nobody needs it now. */
    if (others == 0 && file_exists(source->socket_path)) {
        struct err failed = ERR_INIT; /* when it was an earlier QEMU's */
        if (!qmp_call(qmp, "nbd-server-stop", NULL, QEMU_CALL_MS, NULL, &failed))
            log_debug("nbd_server_not_running", "socket=%s", source->socket_path);
        if (unlink(source->socket_path) != 0 && errno != ENOENT)
            return err_errno(err, errno, "remove '%s'", source->socket_path);
    }
    return true;
}

/* ---- nodes ---- */

static bool delete_node(struct qmp *qmp, const char *name, struct err *err)
{
    uint64_t until_ms = clock_mono_ms() + RETRY_FOR_MS;
    for (;;) {
        struct err failed = ERR_INIT;
        json_t *arguments = json_object();
        json_put_text(arguments, "node-name", name);
        if (qmp_call(qmp, "blockdev-del", arguments, QEMU_CALL_MS, NULL, &failed))
            return true;
        if (failed.kind != FAIL_IO || clock_mono_ms() > until_ms) {
            *err = failed; /* a client's connection may hold it for an instant */
            return false;
        }
        clock_sleep_ms(RETRY_STEP_MS);
    }
}

static bool delete_role(const struct qemu_graph *graph, struct qmp *qmp,
                        enum qemu_role role, struct err *err)
{
    for (size_t i = 0; i < graph->count; i++)
        if (has_role(graph->nodes[i].name, role) &&
            !delete_node(qmp, graph->nodes[i].name, err))
            return false;
    return true;
}

/* G2: every pass node that is on a cbw node goes to the disk's own node, all at once. */
static bool leave_cbw(const struct qemu_graph *graph, struct qmp *qmp, struct err *err)
{
    json_t *options = json_array();
    for (size_t i = 0; i < graph->count; i++) {
        const char *name = graph->nodes[i].name;
        const char *child = qemu_graph_file_child(graph, name);
        const char *own = qemu_graph_below_ours(graph, name);
        if (!has_role(name, ROLE_PASS) || !child || !own || !qemu_is_ours(child))
            continue;
        json_t *one = json_object();
        json_put_text(one, "driver", "raw");
        json_put_text(one, "node-name", name);
        json_put_text(one, "file", own);
        (void)json_array_append_new(options, one); /* fails only without memory */
    }
    if (json_array_size(options) == 0) {
        json_decref(options);
        return true;
    }
    json_t *arguments = json_object();
    json_put_take(arguments, "options", options);
    return qmp_call(qmp, "blockdev-reopen", arguments, QEMU_CALL_MS, NULL, err);
}

static bool give_devices_back(const struct qemu_graph *graph, struct qmp *qmp,
                              struct err *err)
{
    AUTO(json_free) json_t *blocks = NULL;
    json_t *item;
    size_t i;
    if (!qmp_call(qmp, "query-block", NULL, QEMU_CALL_MS, &blocks, err))
        return false;
    json_array_foreach(blocks, i, item)
    {
        const char *node = json_string_value(
            json_object_get(json_object_get(item, "inserted"), "node-name"));
        const char *qdev = json_string_value(json_object_get(item, "qdev"));
        const char *own = node ? qemu_graph_below_ours(graph, node) : NULL;
        if (!node || !qdev || !own || !qemu_is_ours(node))
            continue;
        AUTO(buf_release) struct buf path = {0};
        buf_printf(&path, "%s%s", qdev[0] == '/' ? "" : "/machine/peripheral/", qdev);
        json_t *arguments = json_object();
        json_put_text(arguments, "path", buf_text(&path));
        json_put_text(arguments, "property", "drive");
        json_put_text(arguments, "value", own);
        if (!qmp_call(qmp, "qom-set", arguments, QEMU_CALL_MS, NULL, err))
            return false;
    }
    return true;
}

/* ---- scratch files ---- */

void qemu_scratch_path(const struct qemu_source *source, const char *nonce,
                       size_t disk_index, struct buf *out)
{
    buf_printf(out, "%s/" QEMU_OUR_PREFIX "%s-%s-%zu.qcow2", source->scratch_dir,
               source->tag, nonce, disk_index);
}

static bool remove_scratch(const struct qemu_source *source, struct err *err)
{
    char prefix[64];
    DIR *dir = opendir(source->scratch_dir);
    if (!dir && errno == ENOENT)
        return true;
    if (!dir)
        return err_errno(err, errno, "open scratch folder '%s'", source->scratch_dir);
    (void)snprintf(prefix, sizeof prefix, QEMU_OUR_PREFIX "%s-", source->tag);
    bool ok = true;
    for (const struct dirent *entry; ok && (entry = readdir(dir));) {
        if (!text_starts_with(entry->d_name, prefix) ||
            !text_ends_with(entry->d_name, ".qcow2"))
            continue;
        if (unlinkat(dirfd(dir), entry->d_name, 0) != 0 && errno != ENOENT)
            ok = err_errno(err, errno, "remove scratch file '%s/%s'", source->scratch_dir,
                           entry->d_name);
    }
    (void)closedir(dir); /* only read from */
    return ok;
}

bool qemu_teardown(const struct qemu_source *source, struct qmp *qmp, struct err *err)
{
    if (!exports_away(source, qmp, err))
        return err_wrap(err, "end the snapshot");
    AUTO(qemu_graph_free) struct qemu_graph *graph = qemu_graph_read(qmp, err);
    if (!graph || !delete_role(graph, qmp, ROLE_ACCESS, err) ||
        !leave_cbw(graph, qmp, err) || !give_devices_back(graph, qmp, err) ||
        !delete_role(graph, qmp, ROLE_PASS, err) ||
        !delete_role(graph, qmp, ROLE_CBW, err) ||
        !delete_role(graph, qmp, ROLE_TARGET, err))
        return err_wrap(err, "end the snapshot");
    return remove_scratch(source, err);
}
