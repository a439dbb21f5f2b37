/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which transport reads a disk: the first of the source's list that opens a lane to it.
 * The reasons of those before it are kept, for people. A transport that does not open at
 * all is not tried again for this snapshot. One whose lane did not open took its time
 * over it (it tries again by itself): for the other disks it comes after those that work.
 */
#include "source/vsphere.h"

#include "base/log.h"
#include "base/text.h"

/* "nfc (nbdssl, skipz)" */
static void say_reading(const struct vsphere_source *source,
                        const struct transport_ops *ops, char *out, size_t out_bytes)
{
    if (strcmp(ops->name, "nfc") == 0)
        (void)snprintf(out, out_bytes, "nfc (%s, %s)",
                       source->transport_options.is_plain ? "nbd" : "nbdssl",
                       nfc_compression_name(source->quirks.compression));
    else
        text_copy(out, out_bytes, ops->name);
}

/* Caller holds open_lock. */
static bool need_transport(struct vsphere_snapshot *snapshot, size_t at, struct err *err)
{
    const struct vsphere_source *source = snapshot->source;
    const struct transport_ops *ops = source->transports[at];
    char datacenter[256] = "";
    if (snapshot->transports[at])
        return true;
    if (snapshot->refused[at][0])
        return err_set(err, FAIL_CONFLICT, "%s", snapshot->refused[at]);
    if (strcmp(ops->name, "https") == 0 && vim_about(source->vim)->is_vcenter)
        vsphere_datacenter_of(source->vim, &snapshot->folder, snapshot->cancel,
                              datacenter, sizeof datacenter);
    AUTO(free)
    struct transport_disk *disks = xcalloc(snapshot->disk_count, sizeof *disks);
    for (size_t i = 0; i < snapshot->disk_count; i++)
        disks[i] = snapshot->disks[i].frozen;
    struct transport_machine machine = {.vim = source->vim,
                                        .vm = snapshot->vm,
                                        .host = snapshot->host,
                                        .snapshot = snapshot->ref,
                                        .is_powered_on = snapshot->is_powered_on,
                                        .datacenter = datacenter,
                                        .disks = disks,
                                        .disk_count = snapshot->disk_count,
                                        .options = source->transport_options};
    if (ops->open(&machine, snapshot->cancel, &snapshot->transports[at], err))
        return true;
    if (err->kind == FAIL_CONFLICT)
        text_copy(snapshot->refused[at], sizeof snapshot->refused[at], err->text);
    return false;
}

static bool try_one(struct vsphere_snapshot *snapshot, size_t at, size_t disk_index,
                    struct lane **ret, struct err *err)
{
    return need_transport(snapshot, at, err) &&
           snapshot->source->transports[at]->lane_open(snapshot->transports[at],
                                                       disk_index, ret, err);
}

static void note_choice(struct vsphere_snapshot *snapshot, size_t disk_index, size_t at,
                        const struct buf *reasons)
{
    struct vsphere_disk *disk = &snapshot->disks[disk_index];
    char reading[64];
    say_reading(snapshot->source, snapshot->source->transports[at], reading,
                sizeof reading);
    LOCK_GUARD(&snapshot->lock);
    if (reasons->bytes || !text_starts_with(disk->reading, reading))
        (void)snprintf(disk->reading, sizeof disk->reading, "%s%s%s", reading,
                       reasons->bytes ? "; not " : "", buf_text(reasons));
}

/* A later try may find what this one did not. */
static enum err_kind worse(enum err_kind so_far, enum err_kind kind)
{
    return so_far == FAIL_NONE || kind == FAIL_TRANSIENT ? kind : so_far;
}

/* The order of trying: as given, suspects last. */
static size_t order_transports(const struct vsphere_snapshot *snapshot,
                               size_t order[VSPHERE_TRANSPORTS])
{
    size_t count = 0;
    for (int suspects = 0; suspects < 2; suspects++)
        for (size_t at = 0; at < snapshot->source->transport_count; at++)
            if (snapshot->is_suspect[at] == (suspects == 1))
                order[count++] = at;
    return count;
}

static void note_refusal(struct vsphere_snapshot *snapshot, size_t disk_index, size_t at,
                         const struct err *why, struct buf *reasons)
{
    const char *name = snapshot->source->transports[at]->name;
    snapshot->is_suspect[at] = true;
    log_debug("vsphere_transport_refused",
              "machine=%s disk=%zu transport=%s kind=%s text=\"%s\"", snapshot->machine,
              disk_index, name, err_kind_name(why->kind), why->text);
    buf_printf(reasons, "%s%s: %.300s", reasons->bytes ? "; " : "", name, why->text);
}

bool vsphere_lane_open(struct vsphere_snapshot *snapshot, size_t disk_index,
                       struct lane **ret, struct err *err)
{
    AUTO(buf_release) struct buf reasons = {0};
    enum err_kind kind = FAIL_NONE;
    size_t order[VSPHERE_TRANSPORTS];
    LOCK_GUARD(&snapshot->open_lock);
    size_t count = order_transports(snapshot, order);
    for (size_t i = 0; i < count; i++) {
        struct err why = ERR_INIT;
        if (try_one(snapshot, order[i], disk_index, ret, &why)) {
            note_choice(snapshot, disk_index, order[i], &reasons);
            return true;
        }
        if (why.kind == FAIL_CANCELED) {
            *err = why;
            return false;
        }
        note_refusal(snapshot, disk_index, order[i], &why, &reasons);
        kind = worse(kind, why.kind);
    }
    return err_set(err, kind, "no transport reads disk '%s': %s",
                   snapshot->disks[disk_index].label, buf_text(&reasons));
}

void vsphere_lanes_close(struct vsphere_snapshot *snapshot)
{
    for (size_t at = 0; at < snapshot->source->transport_count; at++) {
        if (snapshot->transports[at])
            snapshot->source->transports[at]->close(snapshot->transports[at]);
        snapshot->transports[at] = NULL;
    }
}
