/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a machine is, out of its properties. Nothing is guessed: what the server does not
 * tell stays "", 0 or unknown. Numbers that cannot be (negative sizes) are FAIL_CORRUPT.
 */
#include "vsphere/vim_build.h"

#include <stdlib.h>

#include "base/text.h"

const char *vim_power_name(enum vim_power power)
{
    switch (power) {
    case VIM_POWER_ON:
        return "on";
    case VIM_POWER_OFF:
        return "off";
    case VIM_POWER_SUSPENDED:
        return "suspended";
    case VIM_POWER_UNKNOWN:
        break;
    }
    return "unknown";
}

enum vim_power vim_power_from_name(const char *name)
{
    if (!name)
        return VIM_POWER_UNKNOWN;
    if (strcmp(name, "poweredOn") == 0)
        return VIM_POWER_ON;
    if (strcmp(name, "poweredOff") == 0)
        return VIM_POWER_OFF;
    return strcmp(name, "suspended") == 0 ? VIM_POWER_SUSPENDED : VIM_POWER_UNKNOWN;
}

bool vim_disk_is_independent(const struct vim_disk *disk)
{
    return *disk->mode && strcmp(disk->mode, "persistent") != 0;
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

const char *vim_name_decode(struct wire_arena *arena, const char *name, struct err *err)
{
    static const struct {
        const char *escape;
        char c;
    } escapes[] = {{"%2f", '/'}, {"%5c", '\\'}, {"%25", '%'}};
    if (!name || !strchr(name, '%'))
        return or_empty(name);
    char *out = wire_alloc(arena, strlen(name) + 1, 1, err);
    if (!out)
        return NULL;
    char *to = out;
    while (*name) {
        char c = *name;
        size_t used = 1;
        for (size_t i = 0; c == '%' && used == 1 && i < ARRAY_COUNT(escapes); i++)
            if (strncasecmp(name, escapes[i].escape, 3) == 0) {
                used = 3;
                c = escapes[i].c;
                break;
            }
        *to++ = c;
        name += used;
    }
    return out;
}

static enum vim_backing backing_of(const char *type)
{
    static const struct {
        const char *type;
        enum vim_backing backing;
    } known[] = {
        {"VirtualDiskFlatVer2BackingInfo", VIM_BACKING_FLAT},
        {"VirtualDiskSparseVer2BackingInfo", VIM_BACKING_SPARSE},
        {"VirtualDiskSeSparseBackingInfo", VIM_BACKING_SE_SPARSE},
        {"VirtualDiskRawDiskMappingVer1BackingInfo", VIM_BACKING_RDM},
        {"VirtualDiskRawDiskVer2BackingInfo", VIM_BACKING_RAW},
        {"VirtualDiskPartitionedRawDiskVer2BackingInfo", VIM_BACKING_RAW},
        {"VirtualDiskLocalPMemBackingInfo", VIM_BACKING_LOCAL_PMEM},
    };
    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        if (strcmp(known[i].type, type) == 0)
            return known[i].backing;
    return VIM_BACKING_OTHER;
}

static bool set_chain(const struct wire_VirtualDeviceBackingInfo *backing,
                      struct wire_arena *arena, struct vim_disk *ret, struct err *err)
{
    size_t count = 0;
    for (const struct wire_VirtualDeviceBackingInfo *at = backing->parent; at;
         at = at->parent)
        count++;
    if (count == 0)
        return true;
    const char **chain = wire_alloc(arena, count, sizeof *chain, err);
    if (!chain)
        return false;
    size_t i = 0;
    for (const struct wire_VirtualDeviceBackingInfo *at = backing->parent; at;
         at = at->parent)
        chain[i++] = or_empty(at->fileName);
    ret->chain = chain;
    ret->chain_count = count;
    return true;
}

static bool set_backing(const struct wire_VirtualDeviceBackingInfo *backing,
                        struct wire_arena *arena, struct vim_disk *ret, struct err *err)
{
    static const struct wire_VirtualDeviceBackingInfo none;
    if (!backing)
        backing = &none;
    ret->backing_type = or_empty(backing->xsi_type);
    ret->backing = backing_of(ret->backing_type);
    ret->file_name =
        or_empty(backing->fileName ? backing->fileName : backing->descriptorFileName);
    ret->datastore = backing->datastore;
    ret->mode = or_empty(backing->diskMode);
    ret->sharing = or_empty(backing->sharing);
    ret->uuid = or_empty(backing->uuid);
    ret->change_id = or_empty(backing->changeId);
    ret->content_id = or_empty(backing->contentId);
    ret->is_thin = backing->thinProvisioned == WIRE_TRUE;
    ret->is_eagerly_scrubbed = backing->eagerlyScrub == WIRE_TRUE;
    ret->is_encrypted = backing->keyId != NULL;
    ret->is_physical_rdm = backing->compatibilityMode &&
                           strcmp(backing->compatibilityMode, "physicalMode") == 0;
    ret->lun_uuid = or_empty(backing->lunUuid);
    return set_chain(backing, arena, ret, err);
}

static bool set_capacity(const struct wire_VirtualDevice *device, struct vim_disk *ret,
                         struct err *err)
{
    int64_t bytes = device->capacityInBytes.value;
    int64_t kib = device->capacityInKB.value;
    if (bytes < 0 || kib < 0 || kib > INT64_MAX / 1024)
        return err_set(err, FAIL_CORRUPT, "disk %d has an impossible capacity", ret->key);
    ret->disk_bytes =
        device->capacityInBytes.is_set ? (uint64_t)bytes : (uint64_t)kib * 1024;
    return true;
}

static const struct wire_VirtualDevice *find_device(
    const struct wire_VirtualDevice *devices, size_t count, int64_t key)
{
    for (size_t i = 0; i < count; i++)
        if (devices[i].key.value == key)
            return &devices[i];
    return NULL;
}

static bool is_type(const struct wire_VirtualDevice *device, const char *type)
{
    return device->xsi_type && strcmp(device->xsi_type, type) == 0;
}

static bool build_disk(const struct wire_VirtualDevice *device,
                       const struct wire_VirtualDevice *controller,
                       struct wire_arena *arena, struct vim_disk *ret, struct err *err)
{
    ret->key = (int32_t)device->key.value;
    ret->label = or_empty(device->deviceInfo ? device->deviceInfo->label : NULL);
    ret->controller_key = (int32_t)device->controllerKey.value;
    ret->controller_type = or_empty(controller ? controller->xsi_type : NULL);
    ret->controller_bus = controller && controller->busNumber.is_set
                              ? (int32_t)controller->busNumber.value
                              : -1;
    ret->bus_sharing = or_empty(controller ? controller->sharedBus : NULL);
    ret->unit = device->unitNumber.is_set ? (int32_t)device->unitNumber.value : -1;
    return set_capacity(device, ret, err) &&
           set_backing(device->backing, arena, ret, err);
}

static int compare_disks(const void *a, const void *b)
{
    const struct vim_disk *x = a;
    const struct vim_disk *y = b;
    if (x->controller_key != y->controller_key)
        return x->controller_key < y->controller_key ? -1 : 1;
    if (x->unit != y->unit)
        return x->unit < y->unit ? -1 : 1;
    return x->key < y->key ? -1 : x->key > y->key;
}

static bool build_disks(const struct wire_VirtualDevice *devices, size_t count,
                        struct wire_arena *arena, struct vim_disks *ret, struct err *err)
{
    size_t disk_count = 0;
    for (size_t i = 0; i < count; i++)
        disk_count += is_type(&devices[i], "VirtualDisk");
    struct vim_disk *disks =
        wire_alloc(arena, MAX_OF(disk_count, (size_t)1), sizeof *disks, err);
    if (!disks)
        return false;
    size_t at = 0;
    for (size_t i = 0; i < count; i++)
        if (is_type(&devices[i], "VirtualDisk") &&
            !build_disk(&devices[i],
                        find_device(devices, count, devices[i].controllerKey.value),
                        arena, &disks[at++], err))
            return false;
    qsort(disks, disk_count, sizeof *disks, compare_disks);
    *ret = (struct vim_disks){.items = disks, .count = disk_count};
    return true;
}

bool vim_build_disks(const struct wire_DeviceProperties *told, struct wire_arena *arena,
                     struct vim_disks *ret, struct err *err)
{
    return build_disks(told->devices.items, told->devices.count, arena, ret, err);
}

static bool build_nic(const struct wire_VirtualDevice *device,
                      const struct vim_portgroups *portgroups, struct wire_arena *arena,
                      struct vim_nic *ret, struct err *err)
{
    const struct wire_VirtualDeviceBackingInfo *backing = device->backing;
    const char *network = NULL;
    ret->key = (int32_t)device->key.value;
    ret->label = or_empty(device->deviceInfo ? device->deviceInfo->label : NULL);
    ret->type = or_empty(device->xsi_type);
    ret->mac = or_empty(device->macAddress);
    ret->portgroup_key = "";
    ret->is_connected =
        device->connectable && device->connectable->connected == WIRE_TRUE;
    if (backing && backing->port) {
        ret->portgroup_key = or_empty(backing->port->portgroupKey);
        network = ret->portgroup_key;
        for (size_t i = 0; portgroups && i < portgroups->count; i++)
            if (strcmp(portgroups->items[i].key, ret->portgroup_key) == 0)
                network = portgroups->items[i].name;
    } else if (backing) {
        ret->network_ref = backing->network;
        network = backing->deviceName ? backing->deviceName : backing->opaqueNetworkId;
    }
    ret->network = vim_name_decode(arena, network, err);
    return ret->network != NULL;
}

static bool build_nics(const struct wire_MachineProperties *told,
                       const struct vim_portgroups *portgroups, struct wire_arena *arena,
                       struct vim_machine *ret, struct err *err)
{
    size_t count = 0;
    for (size_t i = 0; i < told->devices.count; i++)
        count += told->devices.items[i].macAddress != NULL;
    struct vim_nic *nics = wire_alloc(arena, MAX_OF(count, (size_t)1), sizeof *nics, err);
    if (!nics)
        return false;
    size_t at = 0;
    for (size_t i = 0; i < told->devices.count; i++)
        if (told->devices.items[i].macAddress &&
            !build_nic(&told->devices.items[i], portgroups, arena, &nics[at++], err))
            return false;
    ret->nics = nics;
    ret->nic_count = count;
    return true;
}

static size_t count_snapshots(const struct wire_VirtualMachineSnapshotTree *trees,
                              size_t count)
{
    size_t all = count;
    for (size_t i = 0; i < count; i++)
        all += count_snapshots(trees[i].childSnapshotList.items,
                               trees[i].childSnapshotList.count);
    return all;
}

struct snapshot_list {
    struct vim_snapshot *items;
    size_t count;
    const struct vim_ref *current;
    struct wire_arena *arena;
};

static bool add_snapshots(struct snapshot_list *list,
                          const struct wire_VirtualMachineSnapshotTree *trees,
                          size_t count, int32_t parent_index, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct wire_VirtualMachineSnapshotTree *tree = &trees[i];
        int32_t index = (int32_t)list->count++;
        struct vim_snapshot *snapshot = &list->items[index];
        *snapshot = (struct vim_snapshot){
            .ref = tree->snapshot,
            .id = (int32_t)tree->id.value,
            .name = vim_name_decode(list->arena, tree->name, err),
            .description = or_empty(tree->description),
            .created_wall_ms = wire_time_ms(tree->createTime),
            .power = vim_power_from_name(tree->state),
            .is_quiesced = tree->quiesced == WIRE_TRUE,
            .is_current = vim_ref_equal(&tree->snapshot, list->current),
            .parent_index = parent_index,
        };
        if (!snapshot->name || !add_snapshots(list, tree->childSnapshotList.items,
                                              tree->childSnapshotList.count, index, err))
            return false;
    }
    return true;
}

static bool build_snapshots(const struct wire_VirtualMachineSnapshotInfo *told,
                            struct wire_arena *arena, struct vim_machine *ret,
                            struct err *err)
{
    if (!told)
        return true;
    size_t count =
        count_snapshots(told->rootSnapshotList.items, told->rootSnapshotList.count);
    struct snapshot_list list = {
        .items =
            wire_alloc(arena, MAX_OF(count, (size_t)1), sizeof(struct vim_snapshot), err),
        .current = &told->currentSnapshot,
        .arena = arena,
    };
    if (!list.items || !add_snapshots(&list, told->rootSnapshotList.items,
                                      told->rootSnapshotList.count, -1, err))
        return false;
    ret->snapshots = list.items;
    ret->snapshot_count = list.count;
    return true;
}

static void set_texts(const struct wire_MachineProperties *told, struct vim_machine *ret)
{
    ret->folder_path = "";
    ret->uuid = or_empty(told->uuid);
    ret->instance_uuid = or_empty(told->instance_uuid);
    ret->vmx_file = or_empty(told->vmx_file);
    ret->hardware = or_empty(told->version);
    ret->firmware = or_empty(told->firmware);
    ret->guest_id = or_empty(told->guest_id);
    ret->guest_name = or_empty(told->guest_name);
    ret->guest_host_name = or_empty(told->guest_host_name);
    ret->guest_address = or_empty(told->guest_address);
    ret->connection = or_empty(told->connection);
    ret->tools_status = or_empty(told->tools_status);
}

static void set_numbers(const struct wire_MachineProperties *told,
                        struct vim_machine *ret)
{
    if (text_starts_with(ret->hardware, "vmx-"))
        ret->hardware_version =
            (unsigned)MIN_OF(strtoul(ret->hardware + 4, NULL, 10), 1000ul);
    ret->cpus = (uint32_t)MAX_OF(told->cpus.value, (int64_t)0);
    ret->cores_per_socket = (uint32_t)MAX_OF(told->cores_per_socket.value, (int64_t)0);
    int64_t memory_mb = told->memory_mb.value;
    if (memory_mb > 0 && memory_mb < INT64_MAX / (int64_t)MIB)
        ret->memory_bytes = (uint64_t)memory_mb * MIB;
    ret->power = vim_power_from_name(told->power);
}

static void set_flags(const struct wire_MachineProperties *told, struct vim_machine *ret)
{
    ret->has_secure_boot = told->secure_boot == WIRE_TRUE;
    ret->is_template = told->is_template == WIRE_TRUE;
    ret->has_tools_running =
        told->tools_running && strcmp(told->tools_running, "guestToolsRunning") == 0;
    ret->is_cbt_supported = told->cbt_supported != WIRE_FALSE;
    ret->is_cbt_enabled = told->cbt_enabled == WIRE_TRUE;
    ret->is_consolidation_needed = told->consolidation_needed == WIRE_TRUE;
    ret->is_fault_tolerant = told->fault_tolerance && *told->fault_tolerance &&
                             strcmp(told->fault_tolerance, "notConfigured") != 0;
    ret->is_encrypted = told->key_id != NULL;
    ret->is_snapshot_supported = told->snapshots_supported != WIRE_FALSE;
    for (size_t i = 0; i < told->devices.count; i++) {
        const char *type = or_empty(told->devices.items[i].xsi_type);
        ret->has_tpm |= strcmp(type, "VirtualTPM") == 0;
        ret->has_passthrough |= strcmp(type, "VirtualPCIPassthrough") == 0;
    }
}

bool vim_build_machine(const struct wire_MachineProperties *told,
                       const struct vim_portgroups *portgroups, struct wire_arena *arena,
                       struct vim_machine *ret, struct err *err)
{
    ret->name = vim_name_decode(arena, told->name, err);
    if (!ret->name)
        return false;
    ret->parent = told->parent;
    ret->host = told->host;
    ret->resource_pool = told->resource_pool;
    ret->datastores = told->datastores.items;
    ret->datastore_count = told->datastores.count;
    set_texts(told, ret);
    set_numbers(told, ret);
    set_flags(told, ret);
    struct vim_disks disks = {0};
    if (!build_disks(told->devices.items, told->devices.count, arena, &disks, err))
        return false;
    ret->disks = disks.items;
    ret->disk_count = disks.count;
    return build_nics(told, portgroups, arena, ret, err) &&
           build_snapshots(told->snapshot, arena, ret, err);
}
