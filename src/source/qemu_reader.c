/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a point in time through its NBD export, and what the export says of changes and
 * allocation.
 *
 * When QEMU cannot save old data (scratch file at its bound, its file system full, or
 * hanging) it breaks the snapshot: from then on every read fails, none is wrong. The
 * error that NBD can carry for it is EINVAL, so the cause is looked up here and named.
 */
#include "source/qemu.h"

#include "base/text.h"
#include "source/nbd_reader.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define NEARLY_FULL_BYTES (1 * MIB)

static uint64_t scratch_used_bytes(const struct qemu_snapshot *snapshot, size_t i)
{
    AUTO(buf_release) struct buf path = {0};
    struct stat st;
    qemu_scratch_path(snapshot->source, snapshot->nonce, i, &path);
    if (stat(buf_text(&path), &st) != 0)
        return 0;
    return (uint64_t)st.st_blocks * 512;
}

static uint64_t scratch_used_total(const struct qemu_snapshot *snapshot)
{
    uint64_t total_bytes = 0;
    for (size_t i = 0; i < snapshot->disk_count; i++)
        total_bytes += scratch_used_bytes(snapshot, i);
    return total_bytes;
}

static bool set_scratch_full(const struct qemu_snapshot *snapshot, struct err *err)
{
    char used[TEXT_HUMAN_BYTES], most[TEXT_HUMAN_BYTES];
    return err_set(
        err, FAIL_NO_SPACE,
        "snapshot of machine '%s' was given up: its scratch files in '%s' hold "
        "%s of at most %s; raise scratch_max, or run the cycle when the guest "
        "writes less",
        snapshot->machine, snapshot->source->scratch_dir,
        text_bytes(scratch_used_total(snapshot), used),
        text_bytes(snapshot->source->scratch_max_bytes, most));
}

static bool is_any_scratch_full(const struct qemu_snapshot *snapshot)
{
    uint64_t most_bytes = snapshot->source->scratch_max_bytes;
    if (most_bytes == 0)
        return false;
    most_bytes = MAX_OF(most_bytes, QEMU_SCRATCH_MIN);
    for (size_t i = 0; i < snapshot->disk_count; i++)
        if (scratch_used_bytes(snapshot, i) + NEARLY_FULL_BYTES >= most_bytes)
            return true;
    return false;
}

static void explain(const void *context, struct err *err)
{
    const struct qemu_snapshot *snapshot = context;
    struct statvfs fs;
    if (err->kind == FAIL_GONE || err->kind == FAIL_CANCELED)
        return;
    if (err->kind == FAIL_TRANSIENT) {
        (void)err_wrap(err,
                       "machine '%s': its QEMU or the export ended; the cycle must "
                       "start again",
                       snapshot->machine);
        return;
    }
    if (is_any_scratch_full(snapshot)) {
        (void)set_scratch_full(snapshot, err);
    } else if (statvfs(snapshot->source->scratch_dir, &fs) == 0 &&
               (uint64_t)fs.f_bavail * fs.f_frsize < NEARLY_FULL_BYTES) {
        (void)err_set(err, FAIL_NO_SPACE,
                      "snapshot of machine '%s' was given up: scratch folder '%s' is "
                      "full; make room there",
                      snapshot->machine, snapshot->source->scratch_dir);
    } else if (err->sys_errno == EINVAL) {
        (void)err_set(err, FAIL_IO,
                      "snapshot of machine '%s' is broken: QEMU could not save old data "
                      "to '%s' in %d s; is that folder's disk failing or too slow?",
                      snapshot->machine, snapshot->source->scratch_dir,
                      QEMU_CBW_TIMEOUT_S);
    }
}

static bool watch(const void *context, struct err *err)
{
    const struct qemu_snapshot *snapshot = context;
    uint64_t most_bytes = snapshot->source->scratch_max_bytes;
    if (most_bytes && scratch_used_total(snapshot) > MAX_OF(most_bytes, QEMU_SCRATCH_MIN))
        return set_scratch_full(snapshot, err);
    return true;
}

bool qemu_reader_open(struct snapshot *base, size_t disk_index, struct reader **ret,
                      struct err *err)
{
    const struct qemu_snapshot *snapshot = (const struct qemu_snapshot *)base;
    char name[QEMU_NAME_BYTES];
    if (disk_index >= snapshot->disk_count)
        return err_set(err, FAIL_BUG, "no disk %zu in the snapshot", disk_index);
    qemu_export_name(snapshot, disk_index, name);
    struct nbd_reader_options options = {
        .ops = base->ops,
        .socket_path = snapshot->source->socket_path,
        .export_name = name,
        .disk_bytes = snapshot->disks[disk_index].disk_bytes,
        .explain = explain,
        .watch = watch,
        .context = snapshot,
    };
    return nbd_reader_open(&options, ret, err) ||
           err_wrap(err, "disk '%s'", snapshot->disks[disk_index].key);
}

static bool ask_export(const struct qemu_snapshot *snapshot, size_t disk_index,
                       const struct nbd_status_query *query, struct extents *ret,
                       struct err *err)
{
    AUTO(nbd_client_close) struct nbd_client *client = NULL;
    const struct qemu_snapshot_disk *disk = &snapshot->disks[disk_index];
    const char *const contexts[] = {query->context, NULL};
    char name[QEMU_NAME_BYTES];
    qemu_export_name(snapshot, disk_index, name);
    struct nbd_client_options options = {.socket_path = snapshot->source->socket_path,
                                         .export_name = name,
                                         .contexts = contexts};
    if (!nbd_client_open(&options, &client, err) ||
        !nbd_client_block_status(client, query, NULL, ret, err)) {
        explain(snapshot, err);
        return err_wrap(err, "disk '%s'", disk->key);
    }
    if (nbd_client_size(client) < disk->disk_bytes)
        return err_set(err, FAIL_CONFLICT, "disk '%s': its export has another size",
                       disk->key);
    extents_clip(ret, disk->disk_bytes);
    return true;
}

bool qemu_changes(struct snapshot *base, size_t disk_index, struct extents *ret,
                  struct err *err)
{
    const struct qemu_snapshot *snapshot = (const struct qemu_snapshot *)base;
    if (disk_index >= snapshot->disk_count)
        return err_set(err, FAIL_BUG, "no disk %zu in the snapshot", disk_index);
    const struct qemu_snapshot_disk *disk = &snapshot->disks[disk_index];
    AUTO(buf_release) struct buf context = {0};
    buf_printf(&context, "qemu:dirty-bitmap:%s", disk->previous.bitmap);
    struct nbd_status_query query = {.context = buf_text(&context),
                                     .mask = NBD_STATUS_DIRTY,
                                     .want = NBD_STATUS_DIRTY};
    if (!ask_export(snapshot, disk_index, &query, ret, err))
        return false;
    /* QEMU grows a bitmap with its disk, the new part clean. */
    if (disk->previous.disk_bytes < disk->disk_bytes)
        extents_add(ret, disk->previous.disk_bytes, disk->disk_bytes);
    return true;
}

bool qemu_allocated(struct snapshot *base, size_t disk_index, struct extents *ret,
                    struct err *err)
{
    const struct qemu_snapshot *snapshot = (const struct qemu_snapshot *)base;
    struct nbd_status_query query = {
        .context = "base:allocation", .mask = NBD_STATUS_ZERO, .want = 0};
    if (disk_index >= snapshot->disk_count)
        return err_set(err, FAIL_BUG, "no disk %zu in the snapshot", disk_index);
    return ask_export(snapshot, disk_index, &query, ret, err);
}
