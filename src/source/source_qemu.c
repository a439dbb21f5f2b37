/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The QEMU source: its operations table, opening, shutting the guest down, forgetting.
 * The rest by role: qemu_inventory.c (disks as they are), qemu_discover.c, qemu_check.c,
 * qemu_graph.c (what is ours, and taking it away), qemu_bitmap.c (change records),
 * qemu_fleece.c (the instant), qemu_snapshot.c (its life), qemu_reader.c.
 *
 * Must never: leave the guest paused, make one of its writes fail, or hold the QMP socket
 * between operations.
 */
#include "source/qemu.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "source/nbd_reader.h"

#include <sys/un.h>
#include <unistd.h>

#define GRANULARITY_MIN 512
#define GRANULARITY_MAX (64 * MIB)
#define STATUS_EVERY_MS 200
#define POWER_EVERY_MS  10000 /* a guest that still boots misses the first request */

struct qmp *qemu_connect(const struct qemu_source *source, struct err *err)
{
    return qmp_open(source->qmp_path, QEMU_OPEN_MS, err);
}

static bool qemu_disk_info(struct snapshot *base, size_t disk_index,
                           struct snapshot_disk_info *ret, struct err *err)
{
    const struct qemu_snapshot *snapshot = (const struct qemu_snapshot *)base;
    if (disk_index >= snapshot->disk_count)
        return err_set(err, FAIL_BUG, "no disk %zu in the snapshot", disk_index);
    const struct qemu_snapshot_disk *disk = &snapshot->disks[disk_index];
    struct qemu_change_id id = {.disk_bytes = disk->disk_bytes};
    text_copy(id.bitmap, sizeof id.bitmap, snapshot->name);
    *ret = (struct snapshot_disk_info){.disk_bytes = disk->disk_bytes,
                                       .knowledge = disk->knowledge};
    qemu_change_id_print(&id, ret->change_id);
    text_copy(ret->why, sizeof ret->why, disk->why);
    return true;
}

static const char *qemu_handle(const struct snapshot *base)
{
    return ((const struct qemu_snapshot *)base)->name;
}

static bool qemu_is_resumed(const struct snapshot *base)
{
    return ((const struct qemu_snapshot *)base)->is_resumed;
}

/* ---- shutdown ---- */

static bool read_status(struct qmp *qmp, char *out, size_t out_bytes, struct err *err)
{
    AUTO(json_free) json_t *answer = NULL;
    const char *status;
    if (!qmp_call(qmp, "query-status", NULL, QEMU_CALL_MS, &answer, err) ||
        !json_get_text(answer, "status", &status, err))
        return false;
    text_copy(out, out_bytes, status);
    return true;
}

/* QEMU stays when the guest powers off, whatever it was started with. */
static bool keep_process(struct qmp *qmp, struct err *err)
{
    json_t *arguments = json_object();
    json_put_text(arguments, "shutdown", "pause");
    return qmp_call(qmp, "set-action", arguments, QEMU_CALL_MS, NULL, err);
}

static bool wait_off(struct qmp *qmp, const struct machine_def *machine,
                     uint64_t deadline_ms, const struct cancel *cancel, struct err *err)
{
    uint64_t start_ms = clock_mono_ms(), asked_ms = 0;
    char status[32];
    for (;;) {
        uint64_t now_ms = clock_mono_ms();
        if (!read_status(qmp, status, sizeof status, err))
            return false;
        if (strcmp(status, "shutdown") == 0)
            return true;
        if (strcmp(status, "running") != 0)
            return err_set(err, FAIL_CONFLICT,
                           "machine is '%s' and cannot react; let it run (cont) or power "
                           "it off",
                           status);
        if (now_ms - start_ms >= deadline_ms)
            return err_set(err, FAIL_TRANSIENT,
                           "the guest did not shut down in %llu s; shut it down inside, "
                           "or migrate without shutting down",
                           (unsigned long long)(deadline_ms / 1000));
        if (asked_ms == 0 || now_ms - asked_ms >= POWER_EVERY_MS) {
            if (!qmp_call(qmp, "system_powerdown", NULL, QEMU_CALL_MS, NULL, err))
                return false;
            asked_ms = now_ms;
        }
        if (!cancel_sleep_ms(cancel, STATUS_EVERY_MS, err))
            return err_wrap(err, "machine '%s'", machine->name);
    }
}

static bool qemu_shutdown(struct source *base, const struct machine_def *machine,
                          uint64_t deadline_ms, const struct cancel *cancel,
                          struct err *err)
{
    const struct qemu_source *source = (const struct qemu_source *)base;
    AUTO(qmp_close) struct qmp *qmp = qemu_connect(source, err);
    return (qmp && keep_process(qmp, err) &&
            wait_off(qmp, machine, deadline_ms, cancel, err)) ||
           err_wrap(err, "shut down machine '%s'", machine->name);
}

/* ---- forget ---- */

static bool qemu_forget(struct source *base, const struct machine_def *machine,
                        struct err *err)
{
    const struct qemu_source *source = (const struct qemu_source *)base;
    const struct qemu_change_id none = {0};
    AUTO(qmp_close) struct qmp *qmp = qemu_connect(source, err);
    if (!qmp || !qemu_teardown(source, qmp, err))
        return err_wrap(err, "forget machine '%s'", machine->name);
    AUTO(qemu_inventory_free)
    struct qemu_inventory *inventory = qemu_inventory_read(qmp, err);
    if (!inventory)
        return err_wrap(err, "forget machine '%s'", machine->name);
    for (size_t i = 0; i < inventory->count; i++) {
        char why[200];
        bool is_whole;
        if (!qemu_bitmaps_settle(qmp, inventory, &inventory->disks[i], &none, &is_whole,
                                 why, err))
            return err_wrap(err, "forget machine '%s'", machine->name);
    }
    return true;
}

/* ---- life ---- */

static void qemu_close(struct source *base)
{
    struct qemu_source *source = (struct qemu_source *)base;
    if (!source)
        return;
    free(source->qmp_path);
    free(source->name);
    free(source->scratch_dir);
    free(source->socket_path);
    free(source);
}

static const struct source_ops qemu_ops = {
    .kind = "qemu",
    .discover = qemu_discover,
    .check = qemu_check,
    .snapshot_open = qemu_snapshot_open,
    .shutdown = qemu_shutdown,
    .forget = qemu_forget,
    .close = qemu_close,
    .disk_info = qemu_disk_info,
    .changes = qemu_changes,
    .allocated = qemu_allocated,
    .handle = qemu_handle,
    .is_resumed = qemu_is_resumed,
    .snapshot_end = qemu_snapshot_end,
    .reader_open = qemu_reader_open,
    .submit = nbd_reader_submit,
    .next = nbd_reader_next,
    .reader_close = nbd_reader_close,
};

/* FNV-1a: tells the machines apart that share a scratch folder; no secret in it. */
static void tag_of_path(const char *path, char out[QEMU_TAG_BYTES])
{
    uint64_t hash = 14695981039346656037u;
    for (const char *at = path; *at; at++)
        hash = (hash ^ (uint8_t)*at) * 1099511628211u;
    (void)snprintf(out, QEMU_TAG_BYTES, "%016llx", (unsigned long long)hash);
}

/* QEMU may run in another folder than we. */
static char *absolute_path(const char *path)
{
    if (path[0] == '/')
        return xstrdup(path);
    AUTO(free) char *here = getcwd(NULL, 0);
    return file_join(here ? here : "/", path);
}

static bool check_options(const struct source_qemu_options *options, struct err *err)
{
    uint64_t granularity = options->granularity_bytes;
    if (!options->qmp_path || !options->qmp_path[0] || !options->scratch_dir ||
        !options->scratch_dir[0])
        return err_set(
            err, FAIL_INPUT,
            "a QEMU source needs the path of a QMP socket and a scratch folder");
    if (granularity && (granularity < GRANULARITY_MIN || granularity > GRANULARITY_MAX ||
                        (granularity & (granularity - 1))))
        return err_set(err, FAIL_INPUT,
                       "bitmap granularity %llu is no power of two from %d to %llu",
                       (unsigned long long)granularity, GRANULARITY_MIN,
                       (unsigned long long)GRANULARITY_MAX);
    return true;
}

bool source_qemu_open(const struct source_qemu_options *options, struct source **ret,
                      struct err *err)
{
    struct sockaddr_un address;
    AUTO(buf_release) struct buf path = {0};
    if (!check_options(options, err) ||
        (options->name && !text_check_name("machine name", options->name, err)))
        return false;
    struct qemu_source *source = xcalloc(1, sizeof *source);
    source->base.ops = &qemu_ops;
    source->qmp_path = absolute_path(options->qmp_path);
    source->scratch_dir = absolute_path(options->scratch_dir);
    source->name = options->name ? xstrdup(options->name) : NULL;
    source->granularity_bytes =
        options->granularity_bytes ? options->granularity_bytes : QEMU_GRANULARITY;
    source->scratch_max_bytes = options->scratch_max_bytes;
    tag_of_path(source->qmp_path, source->tag);
    buf_printf(&path, "%s/" QEMU_OUR_PREFIX "%s.nbd", source->scratch_dir, source->tag);
    source->socket_path = buf_take_text(&path);
    if (strlen(source->socket_path) >= sizeof address.sun_path) {
        (void)err_set(err, FAIL_INPUT,
                      "scratch folder '%s': its path is too long for a socket in it; at "
                      "most %zu bytes",
                      source->scratch_dir, sizeof address.sun_path - 32);
        qemu_close(&source->base);
        return false;
    }
    *ret = &source->base;
    return true;
}
