/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines of a vCenter or host as definitions. A machine is known by its instance UUID,
 * which survives renames, moves and a new registration; a disk by its device key, which
 * never changes while it is attached (another disk under the same key is noticed by its
 * change id). Names are cut at whole characters.
 */
#include "source/vsphere.h"

#include "base/text.h"

#include <fnmatch.h>
#include <inttypes.h>

#define MOREF_PREFIX "moref:"

/* As text_copy, but never through a UTF-8 character. */
static void copy_name(char *out, size_t out_bytes, const char *text)
{
    text_copy(out, out_bytes, text);
    if (strlen(text) < out_bytes)
        return;
    size_t end = strlen(out);
    while (end > 0 && ((uint8_t)text[end] & 0xc0) == 0x80)
        end--;
    out[end] = 0;
}

void vsphere_datastore_of(const char *file_name, char *out, size_t out_bytes)
{
    const char *end = strchr(file_name, ']');
    out[0] = 0;
    if (file_name[0] != '[' || !end)
        return;
    char store[256];
    size_t bytes = MIN_OF((size_t)(end - file_name - 1), sizeof store - 1);
    memcpy(store, file_name + 1, bytes);
    store[bytes] = 0;
    copy_name(out, out_bytes, store);
}

void vsphere_disk_key(int32_t device_key, char *out, size_t out_bytes)
{
    (void)snprintf(out, out_bytes, "%" PRId32, device_key);
}

const struct vim_disk *vsphere_disk_find(const struct vim_disk *disks, size_t count,
                                         const char *key)
{
    char text[16];
    for (size_t i = 0; i < count; i++) {
        vsphere_disk_key(disks[i].key, text, sizeof text);
        if (strcmp(text, key) == 0)
            return &disks[i];
    }
    return NULL;
}

/* What the guest has a driver for; the target finds the nearest that it can give. */
static const char *bus_of(const char *controller_type)
{
    static const struct {
        const char *type, *bus;
    } BUSES[] = {
        {"ParaVirtualSCSIController", "pvscsi"},
        {"VirtualLsiLogicSASController", "lsisas"},
        {"VirtualLsiLogicController", "lsilogic"},
        {"VirtualBusLogicController", "buslogic"},
        {"VirtualAHCIController", "sata"},
        {"VirtualIDEController", "ide"},
        {"VirtualNVMEController", "nvme"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(BUSES); i++)
        if (strcmp(BUSES[i].type, controller_type) == 0)
            return BUSES[i].bus;
    return "";
}

static void define_disk(const struct vim_disk *from, struct machine_disk *to)
{
    vsphere_disk_key(from->key, to->key, sizeof to->key);
    copy_name(to->label, sizeof to->label, from->label[0] ? from->label : to->key);
    to->disk_bytes = from->disk_bytes;
    text_copy(to->bus, sizeof to->bus, bus_of(from->controller_type));
    vsphere_datastore_of(from->file_name, to->datastore, sizeof to->datastore);
}

/* "VirtualVmxnet3" -> "vmxnet3" */
static void define_nic(const struct vim_nic *from, struct machine_nic *to)
{
    const char *type =
        text_starts_with(from->type, "Virtual") ? from->type + 7 : from->type;
    text_copy(to->mac, sizeof to->mac, from->mac);
    text_copy(to->model, sizeof to->model, type);
    for (char *at = to->model; *at; at++)
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
    copy_name(to->network, sizeof to->network, from->network);
}

void vsphere_define(const struct vim_machine *machine, const char *host_name,
                    struct machine_def *ret)
{
    *ret = (struct machine_def){0};
    copy_name(ret->name, sizeof ret->name, machine->name);
    if (machine->instance_uuid[0])
        text_copy(ret->key, sizeof ret->key, machine->instance_uuid);
    else
        (void)snprintf(ret->key, sizeof ret->key, MOREF_PREFIX "%.100s", machine->ref.id);
    ret->cpus = machine->cpus ? machine->cpus : 1;
    ret->memory_bytes = machine->memory_bytes;
    ret->firmware = strcmp(machine->firmware, "efi") == 0 ? FIRMWARE_UEFI : FIRMWARE_BIOS;
    ret->is_running = machine->power == VIM_POWER_ON;
    copy_name(ret->host, sizeof ret->host, host_name ? host_name : "");
    ret->disk_count = MIN_OF(machine->disk_count, (size_t)MACHINE_MAX_DISKS);
    for (size_t i = 0; i < ret->disk_count; i++)
        define_disk(&machine->disks[i], &ret->disks[i]);
    ret->nic_count = MIN_OF(machine->nic_count, (size_t)MACHINE_MAX_NICS);
    for (size_t i = 0; i < ret->nic_count; i++)
        define_nic(&machine->nics[i], &ret->nics[i]);
}

/* ---- which ---- */

bool vsphere_is_wanted(const struct vsphere_source *source,
                       const struct vim_machine *machine)
{
    size_t bytes = source->datacenter ? strlen(source->datacenter) : 0;
    if (machine->is_template)
        return false;
    if (bytes && (strncmp(machine->folder_path, source->datacenter, bytes) != 0 ||
                  (machine->folder_path[bytes] && machine->folder_path[bytes] != '/')))
        return false;
    return !source->name_pattern ||
           fnmatch(source->name_pattern, machine->name, FNM_NOESCAPE) == 0;
}

/* ---- the walk ---- */

struct host_name {
    struct vim_ref ref;
    char name[128];
};

struct walk {
    const struct vsphere_source *source;
    struct host_name *hosts; /* owned */
    size_t host_count, host_cap;
    struct machine_def *machines; /* owned */
    size_t count, cap;
};

static void walk_release(struct walk *walk)
{
    free(walk->hosts);
    free(walk->machines);
}

static bool on_host(void *arg, const struct vim_host *host, struct err *err)
{
    struct walk *walk = arg;
    (void)err;
    if (walk->host_count == walk->host_cap) {
        walk->host_cap = walk->host_cap ? 2 * walk->host_cap : 16;
        walk->hosts = xrealloc(walk->hosts, walk->host_cap, sizeof *walk->hosts);
    }
    struct host_name *to = &walk->hosts[walk->host_count++];
    to->ref = host->ref;
    text_copy(to->name, sizeof to->name, host->name);
    return true;
}

static bool on_machine(void *arg, const struct vim_machine *machine, struct err *err)
{
    struct walk *walk = arg;
    const char *host = "";
    (void)err;
    if (!vsphere_is_wanted(walk->source, machine))
        return true;
    for (size_t i = 0; i < walk->host_count; i++)
        if (vim_ref_equal(&walk->hosts[i].ref, &machine->host))
            host = walk->hosts[i].name;
    if (walk->count == walk->cap) {
        walk->cap = walk->cap ? 2 * walk->cap : 16;
        walk->machines = xrealloc(walk->machines, walk->cap, sizeof *walk->machines);
    }
    vsphere_define(machine, host, &walk->machines[walk->count++]);
    return true;
}

bool vsphere_discover(struct source *base, struct machine_def **ret_machines,
                      size_t *ret_count, struct err *err)
{
    struct vsphere_source *source = (struct vsphere_source *)base;
    __attribute__((cleanup(walk_release))) struct walk walk = {.source = source};
    struct vim_visitor visitor = {.arg = &walk, .host = on_host, .machine = on_machine};
    if (!vim_inventory_walk(source->vim, &visitor, NULL, err))
        return err_wrap(err, "list the machines");
    *ret_machines = TAKE(walk.machines);
    *ret_count = walk.count;
    return true;
}

/* ---- where ---- */

struct datacenter_find {
    const struct vim_ref *folder;
    char folder_path[512];
    size_t count, cap;
    char (*paths)[256]; /* of the datacenters; owned */
};

static bool on_place(void *arg, const struct vim_place *place, struct err *err)
{
    struct datacenter_find *find = arg;
    (void)err;
    if (vim_ref_equal(&place->ref, find->folder))
        text_copy(find->folder_path, sizeof find->folder_path, place->path);
    if (strcmp(place->ref.type, "Datacenter") != 0)
        return true;
    if (find->count == find->cap) {
        find->cap = find->cap ? 2 * find->cap : 8;
        find->paths = xrealloc(find->paths, find->cap, sizeof *find->paths);
    }
    text_copy(find->paths[find->count++], sizeof *find->paths, place->path);
    return true;
}

void vsphere_datacenter_of(struct vim *vim, const struct vim_ref *folder,
                           const struct cancel *cancel, char *out, size_t out_bytes)
{
    struct datacenter_find find = {.folder = folder};
    struct vim_visitor visitor = {.arg = &find, .place = on_place};
    struct err ignored = ERR_INIT; /* unknown is an answer */
    out[0] = 0;
    if (vim_ref_is_set(folder) && vim_inventory_walk(vim, &visitor, cancel, &ignored))
        for (size_t i = 0; i < find.count; i++)
            if (text_starts_with(find.folder_path, find.paths[i]) &&
                find.folder_path[strlen(find.paths[i])] == '/')
                text_copy(out, out_bytes, find.paths[i]);
    free(find.paths);
}

/* ---- one ---- */

struct vim_machine *vsphere_machine_get(const struct vsphere_source *source,
                                        const struct machine_def *machine,
                                        const struct cancel *cancel, struct err *err)
{
    struct vim_ref vm;
    bool is_moref = text_starts_with(machine->key, MOREF_PREFIX);
    if (!vim_machine_find(source->vim, is_moref ? VIM_FIND_MOREF : VIM_FIND_INSTANCE_UUID,
                          machine->key + (is_moref ? strlen(MOREF_PREFIX) : 0), cancel,
                          &vm, err)) {
        (void)err_wrap(err, "machine '%s'", machine->name);
        return NULL;
    }
    struct vim_machine *found = vim_machine_get(source->vim, &vm, cancel, err);
    if (!found)
        (void)err_wrap(err, "machine '%s'", machine->name);
    return found;
}

/* By what a person may know of it: name, UUID, or moref. */
static bool find_ref(const struct vsphere_source *source, const char *name,
                     struct vim_ref *ret, struct err *err)
{
    static const enum vim_find WAYS[] = {VIM_FIND_INSTANCE_UUID, VIM_FIND_MOREF};
    if (vim_machine_find(source->vim, VIM_FIND_NAME, name, NULL, ret, err))
        return true;
    if (err->kind != FAIL_GONE)
        return false;
    for (size_t i = 0; i < ARRAY_COUNT(WAYS); i++) {
        struct err why = ERR_INIT;
        if (vim_machine_find(source->vim, WAYS[i], name, NULL, ret, &why)) {
            err_clear(err);
            return true;
        }
    }
    return false;
}

bool vsphere_find(struct source *base, const char *name, struct machine_def *ret,
                  struct err *err)
{
    const struct vsphere_source *source = (const struct vsphere_source *)base;
    struct vim_ref vm;
    if (!find_ref(source, name, &vm, err))
        return false;
    AUTO(vim_machine_free)
    struct vim_machine *machine = vim_machine_get(source->vim, &vm, NULL, err);
    if (!machine)
        return false;
    if (machine->is_template)
        return err_set(err, FAIL_CONFLICT,
                       "'%s' is a template; convert it to a machine to replicate it",
                       machine->name);
    if (machine->disk_count > MACHINE_MAX_DISKS)
        return err_set(err, FAIL_LIMIT,
                       "machine '%s' has %zu disks; %d can be replicated", machine->name,
                       machine->disk_count, MACHINE_MAX_DISKS);
    struct err ignored =
        ERR_INIT; /* a host that is gone: only the limit by host suffers */
    AUTO(vim_host_free)
    struct vim_host *host =
        vim_ref_is_set(&machine->host)
            ? vim_host_get(source->vim, &machine->host, NULL, &ignored)
            : NULL;
    vsphere_define(machine, host ? host->name : "", ret);
    return true;
}
