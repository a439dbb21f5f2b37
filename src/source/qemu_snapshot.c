/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cycle's point in time: opened, found again, ended.
 *
 * Opening always begins by bringing the machine to rest: whatever a dead process left
 * (exports, filters, scratch files, bitmaps) is taken away or merged first, by name, so
 * there is no state on our side that could be wrong. A snapshot is found again only when
 * all of it is there: every export of that very name and every bitmap; the exports are
 * made last, so a half-made snapshot never passes for a whole one.
 *
 * Ending is the same coming to rest, with the bitmap to keep chosen by the outcome: the
 * new one when the cycle was applied, the previous one when it failed.
 */
#include "source/qemu.h"

#include "base/log.h"
#include "base/text.h"

void qemu_export_name(const struct qemu_snapshot *snapshot, size_t disk_index,
                      char out[QEMU_NAME_BYTES])
{
    (void)snprintf(out, QEMU_NAME_BYTES, "%.100s-%zu", snapshot->name, disk_index);
}

/* ---- whose disks ---- */

static bool refuse_new_disks(const struct machine_def *machine,
                             const struct qemu_inventory *inventory, struct err *err)
{
    for (size_t i = 0; i < inventory->count; i++) {
        const struct qemu_disk *disk = &inventory->disks[i];
        bool is_known = false;
        for (size_t j = 0; j < machine->disk_count; j++)
            is_known = is_known || strcmp(machine->disks[j].key, disk->key) == 0;
        if (!is_known)
            return err_set(err, FAIL_CONFLICT,
                           "machine '%s' has a new disk '%s' (%s) that is not "
                           "replicated; detach it, or stop and replicate the machine "
                           "again to include it",
                           machine->name, disk->key, disk->file);
    }
    return true;
}

static bool take_disks(struct qemu_snapshot *snapshot,
                       const struct snapshot_request *request,
                       const struct qemu_inventory *inventory, struct err *err)
{
    const struct machine_def *machine = request->machine;
    for (size_t i = 0; i < machine->disk_count; i++) {
        const struct qemu_disk *from =
            qemu_inventory_find(inventory, machine->disks[i].key);
        struct qemu_snapshot_disk *to = &snapshot->disks[i];
        if (!from)
            return err_set(
                err, FAIL_GONE,
                "disk '%s' of machine '%s' is not attached any more; attach it "
                "again, or stop and replicate the machine without it",
                machine->disks[i].key, machine->name);
        if (from->is_read_only)
            return err_set(err, FAIL_CONFLICT,
                           "disk '%s' of machine '%s' is read-only in QEMU and cannot be "
                           "tracked; detach it or attach it writable",
                           from->key, machine->name);
        if (from->disk_bytes == 0 || from->disk_bytes % SECTOR_BYTES)
            return err_set(err, FAIL_INPUT,
                           "disk '%s' of machine '%s' has %llu bytes, not whole sectors "
                           "of 512; resize it",
                           from->key, machine->name,
                           (unsigned long long)from->disk_bytes);
        text_copy(to->key, sizeof to->key, from->key);
        text_copy(to->node, sizeof to->node, from->node);
        text_copy(to->qdev, sizeof to->qdev, from->qdev);
        text_copy(to->label, sizeof to->label, machine->disks[i].label);
        to->disk_bytes = from->disk_bytes;
        to->keeps_bitmaps = from->keeps_bitmaps;
    }
    snapshot->disk_count = machine->disk_count;
    return refuse_new_disks(machine, inventory, err);
}

/* A change id that does not even parse is a lost record, not the end of replication. */
static void take_change_ids(struct qemu_snapshot *snapshot,
                            const struct snapshot_request *request)
{
    for (size_t i = 0; i < snapshot->disk_count; i++) {
        struct qemu_snapshot_disk *disk = &snapshot->disks[i];
        struct err failed = ERR_INIT;
        if (qemu_change_id_parse(request->previous_change_ids[i], &disk->previous,
                                 &failed)) {
            disk->knowledge = disk->previous.bitmap[0] ? CHANGES_KNOWN : CHANGES_NONE;
            text_copy(disk->why, sizeof disk->why,
                      disk->previous.bitmap[0] ? "" : "no earlier cycle");
        } else {
            disk->previous = (struct qemu_change_id){0};
            disk->knowledge = CHANGES_LOST;
            text_copy(disk->why, sizeof disk->why, failed.text);
        }
    }
}

/* ---- coming to rest ---- */

static bool settle_disk(struct qemu_snapshot_disk *disk, struct qmp *qmp,
                        const struct qemu_inventory *inventory,
                        const struct qemu_change_id *keep, struct err *err)
{
    const struct qemu_disk *now = qemu_inventory_find(inventory, disk->key);
    char why[200] = "";
    bool is_whole;
    if (!now)
        return true; /* detached meanwhile: its bitmaps went with it */
    if (!qemu_bitmaps_settle(qmp, inventory, now, keep, &is_whole, why, err))
        return false;
    if (!is_whole && disk->knowledge == CHANGES_KNOWN) {
        disk->knowledge = CHANGES_LOST;
        text_copy(disk->why, sizeof disk->why, why);
    }
    return true;
}

static bool settle_to_previous(struct qemu_snapshot *snapshot, struct qmp *qmp,
                               const struct qemu_inventory *inventory, struct err *err)
{
    for (size_t i = 0; i < snapshot->disk_count; i++)
        if (!settle_disk(&snapshot->disks[i], qmp, inventory,
                         &snapshot->disks[i].previous, err))
            return false;
    return true;
}

/* Takes away what a failed open made; best effort, the next open does it again. */
static void undo_open(struct qemu_snapshot *snapshot, struct qmp *qmp)
{
    struct err ignored = ERR_INIT;
    if (!qemu_teardown(snapshot->source, qmp, &ignored))
        return;
    AUTO(qemu_inventory_free)
    struct qemu_inventory *inventory = qemu_inventory_read(qmp, &ignored);
    if (inventory && !settle_to_previous(snapshot, qmp, inventory, &ignored))
        log_debug("qemu_undo_failed", "machine=%s", snapshot->machine);
}

/* ---- finding it again ---- */

/* Takes name and nonce from a handle of ours for the cycle it belongs to. */
static bool take_handle(struct qemu_snapshot *snapshot,
                        const struct snapshot_request *request)
{
    const char *handle = request->resume_handle;
    char prefix[48];
    if (!handle)
        return false;
    (void)snprintf(prefix, sizeof prefix, QEMU_OUR_PREFIX "%llu-",
                   (unsigned long long)request->resume_cycle);
    if (!text_starts_with(handle, prefix) ||
        strlen(handle) != strlen(prefix) + QEMU_NONCE_BYTES - 1)
        return false;
    text_copy(snapshot->name, sizeof snapshot->name, handle);
    text_copy(snapshot->nonce, sizeof snapshot->nonce, handle + strlen(prefix));
    return true;
}

static bool has_export(const json_t *exports, const char *id)
{
    const json_t *item;
    size_t i;
    json_array_foreach(exports, i, item)
    {
        const char *text = json_string_value(json_object_get(item, "id"));
        if (text && strcmp(text, id) == 0)
            return !json_is_true(json_object_get(item, "shutting-down"));
    }
    return false;
}

static bool find_again(struct qemu_snapshot *snapshot, struct qmp *qmp,
                       const struct qemu_inventory *inventory, bool *ret_found,
                       struct err *err)
{
    AUTO(json_free) json_t *exports = NULL;
    *ret_found = false;
    if (!qmp_call(qmp, "query-block-exports", NULL, QEMU_CALL_MS, &exports, err))
        return false;
    for (size_t i = 0; i < snapshot->disk_count; i++) {
        struct qemu_snapshot_disk *disk = &snapshot->disks[i];
        char id[QEMU_NAME_BYTES];
        qemu_export_name(snapshot, i, id);
        if (!has_export(exports, id) ||
            !qemu_bitmap_is_sound(inventory, disk->node, snapshot->name))
            return true;
    }
    for (size_t i = 0; i < snapshot->disk_count; i++) {
        struct qemu_snapshot_disk *disk = &snapshot->disks[i];
        if (disk->knowledge == CHANGES_KNOWN &&
            !qemu_bitmap_is_sound(inventory, disk->node, disk->previous.bitmap)) {
            disk->knowledge = CHANGES_LOST;
            (void)snprintf(disk->why, sizeof disk->why,
                           "the change record of cycle %llu was lost before this cycle",
                           (unsigned long long)disk->previous.cycle);
        }
    }
    *ret_found = snapshot->is_resumed = true;
    return true;
}

/* ---- open ---- */

static void name_snapshot(struct qemu_snapshot *snapshot)
{
    struct id random = id_random();
    text_hex(random.bytes, (QEMU_NONCE_BYTES - 1) / 2, snapshot->nonce);
    (void)snprintf(snapshot->name, sizeof snapshot->name, QEMU_OUR_PREFIX "%llu-%s",
                   (unsigned long long)snapshot->cycle, snapshot->nonce);
}

static bool prepare(struct qemu_snapshot *snapshot,
                    const struct snapshot_request *request,
                    const struct qemu_inventory *inventory, struct err *err)
{
    if (!take_disks(snapshot, request, inventory, err))
        return false;
    take_change_ids(snapshot, request);
    return true;
}

/* Something of ours is at rest, then the new point in time is made. */
static bool open_new(struct qemu_snapshot *snapshot,
                     const struct snapshot_request *request, struct qmp *qmp,
                     const struct cancel *cancel, struct err *err)
{
    if (!qemu_teardown(snapshot->source, qmp, err))
        return false;
    AUTO(qemu_inventory_free)
    struct qemu_inventory *inventory = qemu_inventory_read(qmp, err);
    if (!inventory || !qemu_require_quiet(qmp, inventory, err) ||
        !prepare(snapshot, request, inventory, err) ||
        !settle_to_previous(snapshot, qmp, inventory, err))
        return false;
    name_snapshot(snapshot);
    if (qemu_fleece_start(snapshot, qmp, cancel, err))
        return true;
    undo_open(snapshot, qmp);
    return false;
}

static bool open_with(struct qemu_snapshot *snapshot,
                      const struct snapshot_request *request, struct qmp *qmp,
                      const struct cancel *cancel, struct err *err)
{
    bool is_found = false;
    if (take_handle(snapshot, request)) {
        AUTO(qemu_inventory_free)
        struct qemu_inventory *inventory = qemu_inventory_read(qmp, err);
        if (!inventory || !prepare(snapshot, request, inventory, err) ||
            !find_again(snapshot, qmp, inventory, &is_found, err))
            return false;
    }
    snapshot->cycle = is_found ? request->resume_cycle : request->cycle;
    return is_found || open_new(snapshot, request, qmp, cancel, err);
}

bool qemu_snapshot_open(struct source *base, const struct snapshot_request *request,
                        const struct cancel *cancel, struct snapshot **ret,
                        struct err *err)
{
    struct qemu_source *source = (struct qemu_source *)base;
    AUTO(qmp_close) struct qmp *qmp = qemu_connect(source, err);
    if (!qmp || !qemu_require_version(qmp, err))
        return false;
    AUTO(free) struct qemu_snapshot *snapshot = xcalloc(1, sizeof *snapshot);
    snapshot->base.ops = base->ops;
    snapshot->source = source;
    text_copy(snapshot->machine, sizeof snapshot->machine, request->machine->name);
    if (!open_with(snapshot, request, qmp, cancel, err))
        return err_wrap(err, "snapshot of machine '%s'", request->machine->name);
    if (request->quiesce)
        log_warn("quiesce_unavailable",
                 "machine=%s snapshot=%s reason=\"this source has no channel to a guest "
                 "agent\" result=crash-consistent",
                 snapshot->machine, snapshot->name);
    *ret = &TAKE(snapshot)->base;
    return true;
}

/* ---- end ---- */

static bool end_with(struct qemu_snapshot *snapshot, enum snapshot_outcome outcome,
                     struct err *err)
{
    AUTO(qmp_close) struct qmp *qmp = qemu_connect(snapshot->source, err);
    if (!qmp || !qemu_teardown(snapshot->source, qmp, err))
        return false;
    AUTO(qemu_inventory_free)
    struct qemu_inventory *inventory = qemu_inventory_read(qmp, err);
    if (!inventory)
        return false;
    if (outcome == SNAPSHOT_FAILED)
        return settle_to_previous(snapshot, qmp, inventory, err);
    struct qemu_change_id keep = {.cycle = snapshot->cycle};
    text_copy(keep.bitmap, sizeof keep.bitmap, snapshot->name);
    for (size_t i = 0; i < snapshot->disk_count; i++)
        if (!settle_disk(&snapshot->disks[i], qmp, inventory, &keep, err))
            return false;
    return true;
}

bool qemu_snapshot_end(struct snapshot *base, enum snapshot_outcome outcome,
                       struct err *err)
{
    AUTO(free) struct qemu_snapshot *snapshot = (struct qemu_snapshot *)base;
    if (outcome == SNAPSHOT_DETACHED)
        return true;
    return end_with(snapshot, outcome, err) ||
           err_wrap(err, "end snapshot '%s' of machine '%s'", snapshot->name,
                    snapshot->machine);
}
