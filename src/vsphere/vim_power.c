/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power, guest shutdown, and disks attached and detached. What is in the wanted state
 * already is success: a caller that died in between may simply ask again.
 */
#include "base/text.h"
#include "vsphere/vim_build.h"
#include "vsphere/vim_property.h"
#include "vsphere/vim_start.h"
#include "vsphere/vim_watch.h"

static const struct cancel *cancel_of(const struct vim_wait *wait)
{
    return wait ? wait->cancel : NULL;
}

static bool change_power(struct vim *vim, const struct vim_ref *vm, struct vim_call *call,
                         enum vim_power wanted, struct vim_wait *wait, struct err *err)
{
    struct vim_state state;
    struct err tried = ERR_INIT;
    if (vim_start(vim, call, wait, NULL, &tried))
        return true;
    if (tried.kind == FAIL_CONFLICT &&
        vim_state_get(vim, vm, cancel_of(wait), &state, &tried) && state.power == wanted)
        return true;
    *err = tried;
    return false;
}

bool vim_power_on(struct vim *vim, const struct vim_ref *vm, struct vim_wait *wait,
                  struct err *err)
{
    struct wire_PowerOnVM_Task args = {._this = *vm};
    struct vim_call call = {.type = wire_type_PowerOnVM_Task(), .args = &args};
    return change_power(vim, vm, &call, VIM_POWER_ON, wait, err);
}

bool vim_power_off(struct vim *vim, const struct vim_ref *vm, struct vim_wait *wait,
                   struct err *err)
{
    struct wire_PowerOffVM_Task args = {._this = *vm};
    struct vim_call call = {.type = wire_type_PowerOffVM_Task(), .args = &args};
    return change_power(vim, vm, &call, VIM_POWER_OFF, wait, err);
}

bool vim_guest_shutdown(struct vim *vim, const struct vim_ref *vm,
                        const struct cancel *cancel, struct err *err)
{
    struct wire_ShutdownGuest args = {._this = *vm};
    struct vim_call call = {
        .type = wire_type_ShutdownGuest(),
        .args = &args,
        .cancel = cancel,
    };
    return vim_call_send(vim, &call, err);
}

struct power_watch {
    const struct wire_PowerProperties *properties;
    enum vim_power wanted;
};

static enum vim_watch_next on_power(void *arg)
{
    const struct power_watch *watch = arg;
    return vim_power_from_name(watch->properties->power) == watch->wanted ? VIM_WATCH_DONE
                                                                          : VIM_WATCH_ON;
}

bool vim_power_wait(struct vim *vim, const struct vim_ref *vm, enum vim_power power,
                    struct vim_wait *wait, struct err *err)
{
    AUTO(wire_arena_release) struct wire_arena arena = {0};
    struct wire_PowerProperties properties = {0};
    struct power_watch state = {.properties = &properties, .wanted = power};
    struct vim_watch watch = {
        .object = vm,
        .properties = wire_type_PowerProperties(),
        .ret = &properties,
        .arena = &arena,
        .deadline_ms = vim_wait_deadline_ms(wait),
        .cancel = cancel_of(wait),
        .on_change = on_power,
        .arg = &state,
    };
    return vim_watch_run(vim, &watch, err) ||
           err_wrap(err, "waiting for '%s' to be powered %s", vm->id,
                    vim_power_name(power));
}

static bool read_disks(struct vim *vim, const struct vim_ref *vm,
                       struct wire_arena *arena, const struct cancel *cancel,
                       struct vim_disks *ret, struct err *err)
{
    struct wire_DeviceProperties told;
    struct vim_one one = {
        .ref = vm,
        .properties = wire_type_DeviceProperties(),
        .arena = arena,
        .ret = &told,
    };
    return vim_property_get(vim, &one, cancel, err) &&
           vim_build_disks(&told, arena, ret, err);
}

static bool change_device(struct vim *vim, const struct vim_ref *vm,
                          struct wire_VirtualDeviceConfigSpec *change,
                          struct vim_wait *wait, struct err *err)
{
    struct wire_VirtualMachineConfigSpec spec = {.deviceChange = {change, 1}};
    struct wire_ReconfigVM_Task args = {._this = *vm, .spec = &spec};
    struct vim_call call = {.type = wire_type_ReconfigVM_Task(), .args = &args};
    return vim_start(vim, &call, wait, NULL, err);
}

static bool has_key(const struct vim_disks *disks, int32_t key)
{
    for (size_t i = 0; i < disks->count; i++)
        if (disks->items[i].key == key)
            return true;
    return false;
}

static bool attach_now(struct vim *vim, const struct vim_ref *vm,
                       const struct vim_attach *attach, struct vim_wait *wait,
                       struct err *err)
{
    struct wire_VirtualDeviceBackingInfo backing = {
        .xsi_type = "VirtualDiskFlatVer2BackingInfo",
        .fileName = attach->file_name,
        .diskMode = attach->mode ? attach->mode : "independent_nonpersistent",
    };
    struct wire_VirtualDevice device = {
        .xsi_type = "VirtualDisk",
        .key = WIRE_INT(-1),
        .backing = &backing,
        .controllerKey = WIRE_INT(attach->controller_key),
        .capacityInKB = WIRE_INT(0), /* the file knows */
    };
    if (attach->unit >= 0)
        device.unitNumber = WIRE_INT(attach->unit);
    struct wire_VirtualDeviceConfigSpec change = {.operation = "add", .device = &device};
    return change_device(vim, vm, &change, wait, err);
}

bool vim_disk_attach(struct vim *vim, const struct vim_ref *vm,
                     const struct vim_attach *attach, struct vim_wait *wait,
                     int32_t *ret_key, struct err *err)
{
    AUTO(wire_arena_release) struct wire_arena arena = {0};
    struct vim_disks before = {0};
    struct vim_disks after = {0};
    if (!read_disks(vim, vm, &arena, cancel_of(wait), &before, err) ||
        !attach_now(vim, vm, attach, wait, err) ||
        !read_disks(vim, vm, &arena, cancel_of(wait), &after, err))
        return err_wrap(err, "attach '%s' to '%s'", attach->file_name, vm->id);
    for (size_t i = 0; i < after.count; i++)
        if (!has_key(&before, after.items[i].key)) {
            *ret_key = after.items[i].key;
            return true;
        }
    return err_set(err, FAIL_GONE, "'%s' was attached to '%s' but is not among its disks",
                   attach->file_name, vm->id);
}

bool vim_disk_detach(struct vim *vim, const struct vim_ref *vm, int32_t device_key,
                     struct vim_wait *wait, struct err *err)
{
    AUTO(wire_arena_release) struct wire_arena arena = {0};
    struct vim_disks disks = {0};
    if (!read_disks(vim, vm, &arena, cancel_of(wait), &disks, err))
        return false;
    const struct vim_disk *disk = NULL;
    for (size_t i = 0; i < disks.count; i++)
        if (disks.items[i].key == device_key)
            disk = &disks.items[i];
    if (!disk)
        return true;
    struct wire_VirtualDevice device = {
        .xsi_type = "VirtualDisk",
        .key = WIRE_INT(device_key),
        .controllerKey = WIRE_INT(disk->controller_key),
        .unitNumber = WIRE_INT(disk->unit),
        .capacityInKB = WIRE_INT((int64_t)(disk->disk_bytes / KIB)),
    };
    struct wire_VirtualDeviceConfigSpec change = {
        .operation = "remove", /* without a file operation: the file stays */
        .device = &device,
    };
    return change_device(vim, vm, &change, wait, err) ||
           err_wrap(err, "detach disk %d from '%s'", device_key, vm->id);
}
