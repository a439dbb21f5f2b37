/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inventory as an object of the API: places, hosts, datastores, networks, and per
 * machine what discover shows together with what only vSphere knows. Written while the
 * server's pages come in; nothing else is kept of them.
 */
#include "source/vsphere.h"

#include "base/text.h"

struct inventory {
    const struct vsphere_source *source;
    json_t *places, *hosts, *datastores, *networks, *machines; /* of the result */
    json_t *host_names;                                        /* id -> name; owned */
};

static void append(json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) != 0)
        abort(); /* out of memory */
}

static bool on_place(void *arg, const struct vim_place *place, struct err *err)
{
    struct inventory *inventory = arg;
    json_t *view = json_object();
    (void)err;
    json_put_text(view, "kind", place->ref.type);
    json_put_text(view, "id", place->ref.id);
    json_put_text(view, "name", place->name);
    json_put_text(view, "path", place->path);
    append(inventory->places, view);
    return true;
}

static bool on_host(void *arg, const struct vim_host *host, struct err *err)
{
    struct inventory *inventory = arg;
    json_t *view = json_object();
    (void)err;
    json_put_text(view, "id", host->ref.id);
    json_put_text(view, "name", host->name);
    json_put_text(view, "path", host->path);
    json_put_text(view, "version", host->version);
    json_put_text(view, "build", host->build);
    json_put_text(view, "connection", host->connection);
    json_put_text(view, "power", host->power);
    json_put_bool(view, "in_maintenance", host->is_in_maintenance);
    json_put_u64(view, "cpu_threads", host->cpu_threads);
    json_put_u64(view, "memory_bytes", host->memory_bytes);
    append(inventory->hosts, view);
    json_put_text(inventory->host_names, host->ref.id, host->name);
    return true;
}

static bool on_datastore(void *arg, const struct vim_datastore *store, struct err *err)
{
    struct inventory *inventory = arg;
    json_t *view = json_object();
    (void)err;
    json_put_text(view, "id", store->ref.id);
    json_put_text(view, "name", store->name);
    json_put_text(view, "datacenter", store->datacenter);
    json_put_text(view, "type", store->type);
    json_put_u64(view, "capacity_bytes", store->capacity_bytes);
    json_put_u64(view, "free_bytes", store->free_bytes);
    json_put_bool(view, "accessible", store->is_accessible);
    json_put_bool(view, "in_maintenance", store->is_in_maintenance);
    json_put_bool(view, "shared", store->is_shared);
    append(inventory->datastores, view);
    return true;
}

static bool on_network(void *arg, const struct vim_network *network, struct err *err)
{
    struct inventory *inventory = arg;
    json_t *view = json_object();
    (void)err;
    json_put_text(view, "id", network->ref.id);
    json_put_text(view, "name", network->name);
    append(inventory->networks, view);
    return true;
}

/* ---- machines ---- */

static json_t *disk_view(const struct machine_disk *def, const struct vim_disk *disk)
{
    json_t *view = json_object();
    json_put_text(view, "label", def->label);
    json_put_text(view, "key", def->key);
    json_put_u64(view, "bytes", def->disk_bytes);
    json_put_text(view, "bus", def->bus);
    json_put_text(view, "serial", def->serial);
    json_put_text(view, "datastore", def->datastore);
    json_put_text(view, "file", disk->file_name);
    json_put_text(view, "mode", disk->mode);
    json_put_text(view, "sharing",
                  disk->sharing[0] && strcmp(disk->sharing, "sharingNone") != 0
                      ? disk->sharing
                      : disk->bus_sharing);
    json_put_text(view, "backing", disk->backing_type);
    json_put_bool(view, "thin", disk->is_thin);
    json_put_bool(view, "rdm",
                  disk->backing == VIM_BACKING_RDM || disk->backing == VIM_BACKING_RAW);
    json_put_bool(view, "encrypted", disk->is_encrypted);
    json_put_u64(view, "chain_links", disk->chain_count + 1);
    return view;
}

static json_t *nic_view(const struct machine_nic *nic)
{
    json_t *view = json_object();
    json_put_text(view, "mac", nic->mac);
    json_put_text(view, "model", nic->model);
    json_put_text(view, "network", nic->network);
    return view;
}

static json_t *snapshot_view(const struct vim_snapshot *snapshot)
{
    json_t *view = json_object();
    json_put_text(view, "name", snapshot->name);
    json_put_text(view, "description", snapshot->description);
    if (snapshot->created_wall_ms)
        json_put_u64(view, "created_ms", snapshot->created_wall_ms);
    else
        json_put_take(view, "created_ms", json_null());
    json_put_bool(view, "kedge", vsphere_snapshot_is_kedge(snapshot));
    return view;
}

static void put_facts(json_t *view, const struct vim_machine *machine)
{
    json_put_text(view, "id", machine->ref.id);
    json_put_text(view, "folder", machine->folder_path);
    json_put_text(view, "power", vim_power_name(machine->power));
    json_put_text(view, "connection", machine->connection);
    json_put_text(view, "uuid", machine->uuid);
    json_put_text(view, "hardware", machine->hardware);
    json_put_text(view, "guest", machine->guest_name);
    json_put_text(view, "guest_host", machine->guest_host_name);
    json_put_text(view, "guest_address", machine->guest_address);
    json_put_text(view, "tools", machine->tools_status);
    json_put_bool(view, "tools_running", machine->has_tools_running);
    json_put_bool(view, "secure_boot", machine->has_secure_boot);
    json_put_bool(view, "tracking", machine->is_cbt_enabled);
    json_put_bool(view, "consolidation_needed", machine->is_consolidation_needed);
    json_put_bool(view, "fault_tolerant", machine->is_fault_tolerant);
    json_put_bool(view, "encrypted", machine->is_encrypted);
}

static json_t *machine_view(const struct vim_machine *machine,
                            const struct machine_def *def)
{
    json_t *view = json_object(), *disks = json_array(), *nics = json_array(),
           *snapshots = json_array();
    json_put_text(view, "name", def->name);
    json_put_text(view, "key", def->key);
    json_put_u64(view, "cpus", def->cpus);
    json_put_u64(view, "memory_bytes", def->memory_bytes);
    json_put_text(view, "firmware", def->firmware == FIRMWARE_UEFI ? "uefi" : "bios");
    json_put_bool(view, "running", def->is_running);
    json_put_text(view, "host", def->host);
    put_facts(view, machine);
    for (size_t i = 0; i < def->disk_count; i++)
        append(disks, disk_view(&def->disks[i], &machine->disks[i]));
    for (size_t i = 0; i < def->nic_count; i++)
        append(nics, nic_view(&def->nics[i]));
    for (size_t i = 0; i < machine->snapshot_count; i++)
        append(snapshots, snapshot_view(&machine->snapshots[i]));
    json_put_take(view, "disks", disks);
    json_put_take(view, "nics", nics);
    json_put_take(view, "snapshots", snapshots);
    return view;
}

static bool on_machine(void *arg, const struct vim_machine *machine, struct err *err)
{
    struct inventory *inventory = arg;
    (void)err;
    if (!vsphere_is_wanted(inventory->source, machine))
        return true;
    AUTO(free) struct machine_def *def = xcalloc(1, sizeof *def);
    vsphere_define(
        machine,
        json_string_value(json_object_get(inventory->host_names, machine->host.id)), def);
    append(inventory->machines, machine_view(machine, def));
    return true;
}

static json_t *server_view(const struct vim_about *about)
{
    json_t *view = json_object();
    json_put_text(view, "name", about->full_name);
    json_put_text(view, "version", about->version);
    json_put_text(view, "build", about->build);
    json_put_bool(view, "vcenter", about->is_vcenter);
    return view;
}

bool vsphere_inventory(struct source *base, json_t **ret, struct err *err)
{
    const struct vsphere_source *source = (const struct vsphere_source *)base;
    struct inventory inventory = {.source = source,
                                  .places = json_array(),
                                  .hosts = json_array(),
                                  .datastores = json_array(),
                                  .networks = json_array(),
                                  .machines = json_array()};
    AUTO(json_free) json_t *names = json_object();
    AUTO(json_free) json_t *all = json_object();
    inventory.host_names = names;
    struct vim_visitor visitor = {.arg = &inventory,
                                  .place = on_place,
                                  .host = on_host,
                                  .datastore = on_datastore,
                                  .network = on_network,
                                  .machine = on_machine};
    json_put_take(all, "server", server_view(vim_about(source->vim)));
    json_put_take(all, "places", inventory.places);
    json_put_take(all, "hosts", inventory.hosts);
    json_put_take(all, "datastores", inventory.datastores);
    json_put_take(all, "networks", inventory.networks);
    json_put_take(all, "machines", inventory.machines);
    if (!vim_inventory_walk(source->vim, &visitor, NULL, err))
        return err_wrap(err, "read the inventory");
    *ret = TAKE(all);
    return true;
}
