/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changed-block tracking: made effective, and asked.
 *
 * T1  the flag of a running machine is only a wish until the machine was stunned once:
 *     a snapshot that comes and goes does that, before the cycle's own snapshot;
 * T2  any fault of the question for changes means that the record is lost, and the disk
 *     is compared by content: never "no changes" (since vSphere 6.5 a damaged record does
 *     not even always give a fault: the gateway's samples are for that);
 * T3  what is allocated is believed only for a replica that is still all zeros, on VMFS,
 *     from a tracker that works: else the whole disk is read.
 */
#include "source/vsphere.h"

#include "base/log.h"
#include "base/text.h"

/* ---- making it effective ---- */

/* Comes and goes under a name of ours, so that a crash in between is cleaned up. */
static bool stun(struct vsphere_snapshot *snapshot, const struct cancel *cancel,
                 struct err *err)
{
    struct vsphere_source *source = snapshot->source;
    char description[200];
    struct vim_ref made;
    struct vim_wait wait = {.deadline_ms = source->create_ms, .cancel = cancel};
    vsphere_snapshot_describe(snapshot, description, sizeof description);
    struct vim_snapshot_spec spec = {.name = VSPHERE_OUR_PREFIX "enables-tracking",
                                     .description = description};
    if (!vim_snapshot_create(source->vim, &snapshot->vm, &spec, &wait, &made, err))
        return err_wrap(err, "snapshot that makes change tracking effective");
    struct vsphere_rest rest = {.vim = source->vim,
                                .vm = &snapshot->vm,
                                .machine_id = &snapshot->machine_id,
                                .deadline_ms = source->rest_ms,
                                .cancel = cancel};
    return vsphere_come_to_rest(&rest, err);
}

static bool set_flag(struct vsphere_snapshot *snapshot, bool is_enabled,
                     const struct cancel *cancel, struct err *err)
{
    struct vim_wait wait = {.deadline_ms = snapshot->source->create_ms, .cancel = cancel};
    if (!vim_cbt_set(snapshot->source->vim, &snapshot->vm, is_enabled, &wait, err))
        return err_wrap(err, "switch change tracking %s", is_enabled ? "on" : "off");
    return !snapshot->is_powered_on || stun(snapshot, cancel, err);
}

bool vsphere_track_enable(struct vsphere_snapshot *snapshot,
                          const struct vim_machine *machine, const struct cancel *cancel,
                          bool *ret_was_off, struct err *err)
{
    *ret_was_off = !machine->is_cbt_enabled;
    if (machine->is_cbt_enabled)
        return true;
    if (!machine->is_cbt_supported ||
        (machine->hardware_version && machine->hardware_version < VSPHERE_MIN_HARDWARE))
        return err_set(err, FAIL_CONFLICT,
                       "machine '%s' (virtual hardware %s) cannot track changes; upgrade "
                       "its virtual hardware to version %d or later",
                       snapshot->machine, machine->hardware, VSPHERE_MIN_HARDWARE);
    return set_flag(snapshot, true, cancel, err);
}

bool vsphere_track_reset(struct vsphere_snapshot *snapshot, const struct cancel *cancel,
                         struct err *err)
{
    return set_flag(snapshot, false, cancel, err) &&
           set_flag(snapshot, true, cancel, err);
}

/* ---- asking ---- */

static bool query(const struct vsphere_snapshot *snapshot, size_t disk_index,
                  const char *change_id, struct extents *ret, struct err *err)
{
    const struct vsphere_disk *disk = &snapshot->disks[disk_index];
    struct vim_change_query ask = {.vm = snapshot->vm,
                                   .snapshot = snapshot->ref,
                                   .device_key = disk->frozen.device_key,
                                   .disk_bytes = disk->frozen.disk_bytes,
                                   .change_id = change_id};
    return vim_changed_extents(snapshot->source->vim, &ask, NULL, ret, err);
}

/* Errors that say nothing about the tracking itself. */
static bool is_about_the_way(enum err_kind kind)
{
    return kind == FAIL_TRANSIENT || kind == FAIL_AUTH || kind == FAIL_GONE ||
           kind == FAIL_CANCELED || kind == FAIL_BUG;
}

/* T2; asked once, when somebody wants to know. A cycle that goes on has its plan. */
static bool need_changes(struct vsphere_snapshot *snapshot, size_t disk_index,
                         struct err *err)
{
    struct vsphere_disk *disk = &snapshot->disks[disk_index];
    struct err why = ERR_INIT;
    if (disk->knowledge != CHANGES_KNOWN || disk->has_changes)
        return true;
    if (query(snapshot, disk_index, disk->previous_raw, &disk->changes, &why)) {
        disk->has_changes = true;
        return true;
    }
    if (is_about_the_way(why.kind)) {
        *err = why;
        return err_wrap(err, "changes of disk '%s'", disk->label);
    }
    disk->knowledge = CHANGES_LOST;
    text_copy(disk->why, sizeof disk->why, why.text);
    return true;
}

bool vsphere_disk_info(struct snapshot *base, size_t disk_index,
                       struct snapshot_disk_info *ret, struct err *err)
{
    struct vsphere_snapshot *snapshot = (struct vsphere_snapshot *)base;
    if (disk_index >= snapshot->disk_count)
        return err_set(err, FAIL_BUG, "no disk %zu in the snapshot", disk_index);
    const struct vsphere_disk *disk = &snapshot->disks[disk_index];
    if (!snapshot->is_resumed && !need_changes(snapshot, disk_index, err))
        return false;
    *ret = (struct snapshot_disk_info){.disk_bytes = disk->frozen.disk_bytes,
                                       .knowledge = disk->knowledge};
    text_copy(ret->change_id, sizeof ret->change_id, disk->change_id);
    text_copy(ret->why, sizeof ret->why, disk->why);
    return true;
}

bool vsphere_changes(struct snapshot *base, size_t disk_index, struct extents *ret,
                     struct err *err)
{
    struct vsphere_snapshot *snapshot = (struct vsphere_snapshot *)base;
    struct vsphere_disk *disk = &snapshot->disks[disk_index];
    if (!need_changes(snapshot, disk_index, err))
        return false;
    if (disk->knowledge != CHANGES_KNOWN)
        return err_set(err, FAIL_CONFLICT, "changes of disk '%s': %s", disk->label,
                       disk->why);
    extents_copy(ret, &disk->changes);
    /* A change of a part of a sector cannot be; whole sectors are the contract. */
    extents_coarsen(ret, SECTOR_BYTES, disk->frozen.disk_bytes);
    return true;
}

/* "*" is what has been written or allocated on VMFS; elsewhere it may say too little. */
static bool is_on_vmfs(struct vsphere_snapshot *snapshot, const struct vsphere_disk *disk)
{
    struct err ignored = ERR_INIT;
    if (!vim_ref_is_set(&disk->datastore_ref))
        return false;
    AUTO(vim_datastore_free)
    struct vim_datastore *store =
        vim_datastore_get(snapshot->source->vim, &disk->datastore_ref, NULL, &ignored);
    return store && strcmp(store->type, "VMFS") == 0;
}

bool vsphere_allocated(struct snapshot *base, size_t disk_index, struct extents *ret,
                       struct err *err)
{
    struct vsphere_snapshot *snapshot = (struct vsphere_snapshot *)base;
    struct vsphere_disk *disk = &snapshot->disks[disk_index];
    struct err why = ERR_INIT;
    extents_clear(ret);
    if (disk->is_first && disk->raw_change_id[0] && is_on_vmfs(snapshot, disk)) {
        if (query(snapshot, disk_index, VIM_CHANGE_ALL, ret, &why)) {
            extents_coarsen(ret, SECTOR_BYTES, disk->frozen.disk_bytes);
            return true;
        }
        if (is_about_the_way(why.kind)) {
            *err = why;
            return err_wrap(err, "allocated areas of disk '%s'", disk->label);
        }
        log_debug("vsphere_allocated_unknown", "machine=%s disk=%d text=\"%s\"",
                  snapshot->machine, disk->frozen.device_key, why.text);
        extents_clear(ret);
    }
    extents_add(ret, 0, disk->frozen.disk_bytes);
    return true;
}
