/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots and change tracking's switch: methods of one machine that end in a task. */
#include "vsphere/vim_snapshot.h"

#include "vsphere/vim_build.h"
#include "vsphere/vim_change.h"
#include "vsphere/vim_property.h"
#include "vsphere/vim_start.h"

/* Disks of a snapshot with the memory that holds them. */
struct disks_box {
    struct vim_disks disks;
    struct wire_arena arena;
};

static bool create_plain(struct vim *vim, const struct vim_ref *vm,
                         const struct vim_snapshot_spec *spec, struct vim_wait *wait,
                         struct vim_ref *ret, struct err *err)
{
    struct wire_CreateSnapshot_Task args = {
        ._this = *vm,
        .name = spec->name,
        .description = spec->description,
        .memory = WIRE_FALSE,
        .quiesce = WIRE_BOOL(spec->is_quiesced),
    };
    struct vim_call call = {.type = wire_type_CreateSnapshot_Task(), .args = &args};
    return vim_start(vim, &call, wait, ret, err);
}

/* A server without this method does nothing and gets the plain one. */
static bool create_with_timeout(struct vim *vim, const struct vim_ref *vm,
                                const struct vim_snapshot_spec *spec,
                                struct vim_wait *wait, struct vim_ref *ret,
                                struct err *err)
{
    if (spec->quiesce_timeout_min < 5 || spec->quiesce_timeout_min > 240)
        return err_set(err, FAIL_INPUT,
                       "a quiesce time-out of %u minutes is not in 5 .. 240",
                       spec->quiesce_timeout_min);
    struct wire_VirtualMachineGuestQuiesceSpec quiesce = {
        .timeout = WIRE_INT(spec->quiesce_timeout_min),
    };
    struct wire_CreateSnapshotEx_Task args = {
        ._this = *vm,
        .name = spec->name,
        .description = spec->description,
        .memory = WIRE_FALSE,
        .quiesceSpec = &quiesce,
    };
    struct vim_call call = {.type = wire_type_CreateSnapshotEx_Task(), .args = &args};
    struct err tried = ERR_INIT;
    if (vim_start(vim, &call, wait, ret, &tried))
        return true;
    if (vim_call_is_unknown(&call))
        return create_plain(vim, vm, spec, wait, ret, err);
    *err = tried;
    return false;
}

bool vim_snapshot_create(struct vim *vim, const struct vim_ref *vm,
                         const struct vim_snapshot_spec *spec, struct vim_wait *wait,
                         struct vim_ref *ret_snapshot, struct err *err)
{
    struct vim_ref made = {0};
    bool has_timeout = spec->is_quiesced && spec->quiesce_timeout_min > 0;
    bool ok = has_timeout ? create_with_timeout(vim, vm, spec, wait, &made, err)
                          : create_plain(vim, vm, spec, wait, &made, err);
    if (!ok)
        return err_wrap(err, "snapshot of '%s'", vm->id);
    if (!vim_ref_is_set(&made))
        return err_set(err, FAIL_CORRUPT,
                       "snapshot of '%s': the task ended without naming it", vm->id);
    *ret_snapshot = made;
    return true;
}

bool vim_snapshot_remove(struct vim *vim, const struct vim_ref *snapshot,
                         struct vim_wait *wait, struct err *err)
{
    struct wire_RemoveSnapshot_Task args = {
        ._this = *snapshot,
        .removeChildren = WIRE_FALSE,
        .consolidate = WIRE_TRUE,
    };
    struct vim_call call = {.type = wire_type_RemoveSnapshot_Task(), .args = &args};
    return vim_start(vim, &call, wait, NULL, err) ||
           err_wrap(err, "snapshot '%s'", snapshot->id);
}

bool vim_consolidate(struct vim *vim, const struct vim_ref *vm, struct vim_wait *wait,
                     struct err *err)
{
    struct wire_ConsolidateVMDisks_Task args = {._this = *vm};
    struct vim_call call = {.type = wire_type_ConsolidateVMDisks_Task(), .args = &args};
    return vim_start(vim, &call, wait, NULL, err) || err_wrap(err, "'%s'", vm->id);
}

bool vim_cbt_set(struct vim *vim, const struct vim_ref *vm, bool is_enabled,
                 struct vim_wait *wait, struct err *err)
{
    struct wire_VirtualMachineConfigSpec spec = {
        .changeTrackingEnabled = WIRE_BOOL(is_enabled),
    };
    struct wire_ReconfigVM_Task args = {._this = *vm, .spec = &spec};
    struct vim_call call = {.type = wire_type_ReconfigVM_Task(), .args = &args};
    return vim_start(vim, &call, wait, NULL, err) ||
           err_wrap(err, "change tracking of '%s'", vm->id);
}

struct vim_disks *vim_snapshot_disks(struct vim *vim, const struct vim_ref *snapshot,
                                     const struct cancel *cancel, struct err *err)
{
    struct disks_box *box = xcalloc(1, sizeof *box);
    AUTO(vim_disks_free) struct vim_disks *disks = &box->disks;
    struct wire_DeviceProperties told;
    struct vim_one one = {
        .ref = snapshot,
        .properties = wire_type_DeviceProperties(),
        .arena = &box->arena,
        .ret = &told,
    };
    if (!vim_property_get(vim, &one, cancel, err) ||
        !vim_build_disks(&told, &box->arena, disks, err))
        return NULL;
    return TAKE(disks);
}

void vim_disks_free(struct vim_disks *disks)
{
    if (!disks)
        return;
    struct disks_box *box = (struct disks_box *)disks;
    wire_arena_release(&box->arena);
    free(box);
}
