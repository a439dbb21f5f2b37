/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual machines made from disks that have a system on them already.
 *
 * V1  nothing of a guest is set (no osProfile, no image): the service takes the disk as
 * it is, and the limits of a computer name do not apply; V2  removing the VM never
 * removes a disk or a NIC (deleteOption Detach): whoever made them removes them.
 */
#include "azure/compute_impl.h"

#include "base/text.h"

/* ---- create ---- */

/* Every id is at that path of one of the items, and there are no more of them. */
static bool ids_are_same(const json_t *items, const char *path, const char *const *ids,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        while (at < json_array_size(items) &&
               !arm_id_is_same(compute_text(json_array_get(items, at), path), ids[i]))
            at++;
        if (at == json_array_size(items))
            return false;
    }
    return json_array_size(items) == count;
}

static const char *vm_difference(const void *ctx, const json_t *vm)
{
    const struct azure_vm_make *make = ctx;
    const json_t *storage = compute_at(vm, "properties.storageProfile");
    if (strcasecmp(compute_text(vm, "properties.hardwareProfile.vmSize"), make->size) !=
        0)
        return "size";
    if (!arm_id_is_same(compute_text(storage, "osDisk.managedDisk.id"),
                        make->disk_ids[0]))
        return "OS disk";
    if (!ids_are_same(json_object_get(storage, "dataDisks"), "managedDisk.id",
                      make->disk_ids + 1, make->disk_count - 1))
        return "set of data disks";
    if (!ids_are_same(compute_at(vm, "properties.networkProfile.networkInterfaces"), "id",
                      make->nic_ids, make->nic_count))
        return "set of NICs";
    return NULL;
}

static json_t *attached_disk(const char *id, const char *caching)
{
    json_t *disk = json_object();
    json_put_text(disk, "createOption", "Attach");
    json_put_text(disk, "caching", caching);
    json_put_take(disk, "managedDisk", compute_reference(id));
    json_put_text(disk, "deleteOption", "Detach"); /* V2 */
    return disk;
}

static json_t *storage_profile(const struct azure_vm_make *make)
{
    json_t *profile = json_object(), *data = json_array();
    json_t *boot = attached_disk(make->disk_ids[0], "ReadWrite");
    json_put_text(boot, "osType", make->os_type);
    json_put_take(profile, "osDisk", boot);
    for (size_t i = 1; i < make->disk_count; i++) {
        json_t *disk = attached_disk(make->disk_ids[i], "None");
        json_put_u64(disk, "lun", i - 1);
        (void)json_array_append_new(data, disk); /* aborts on no memory */
    }
    json_put_take(profile, "dataDisks", data);
    return profile;
}

static json_t *network_profile(const struct azure_vm_make *make)
{
    json_t *profile = json_object(), *nics = json_array();
    for (size_t i = 0; i < make->nic_count; i++) {
        json_t *nic = compute_reference(make->nic_ids[i]), *properties = json_object();
        json_put_bool(properties, "primary", i == 0);
        json_put_text(properties, "deleteOption", "Detach");
        json_put_take(nic, "properties", properties);
        (void)json_array_append_new(nics, nic); /* aborts on no memory */
    }
    json_put_take(profile, "networkInterfaces", nics);
    return profile;
}

static json_t *vm_body(const struct compute_item *item, const struct azure_vm_make *make)
{
    json_t *properties, *hardware = json_object();
    json_t *body = compute_body(item, &properties);
    json_put_text(hardware, "vmSize", make->size);
    json_put_take(properties, "hardwareProfile", hardware);
    json_put_take(properties, "storageProfile", storage_profile(make));
    json_put_take(properties, "networkProfile", network_profile(make));
    json_put_take(properties, "diagnosticsProfile",
                  json_pack("{s:{s:b}}", "bootDiagnostics", "enabled", 1));
    if (make->availability_set_id)
        json_put_take(properties, "availabilitySet",
                      compute_reference(make->availability_set_id));
    if (make->proximity_group_id)
        json_put_take(properties, "proximityPlacementGroup",
                      compute_reference(make->proximity_group_id));
    if (make->license_type)
        json_put_text(properties, "licenseType", make->license_type);
    return body;
}

bool azure_vm_create(struct arm *arm, const struct azure_vm_make *make,
                     const struct cancel *cancel, struct err *err)
{
    struct compute_item item = {.id = make->id,
                                .api_version = AZURE_VERSION_COMPUTE,
                                .location = make->location,
                                .zone = make->zone,
                                .noun = "virtual machine",
                                .tags = &make->tags,
                                .cancel = cancel,
                                .knows_if_none_match = true,
                                .make = make,
                                .difference = vm_difference};
    if (make->disk_count == 0 || make->nic_count == 0)
        return err_set(err, FAIL_INPUT,
                       "virtual machine '%s' has %zu disks and %zu NICs; it needs one of "
                       "each at least",
                       arm_id_name(make->id), make->disk_count, make->nic_count);
    return compute_create(arm, &item, vm_body(&item, make), err);
}

bool azure_vm_remove(struct arm *arm, const char *id, struct err *err)
{
    return compute_remove(arm, id, AZURE_VERSION_COMPUTE, "virtual machine", err);
}

/* ---- one that is there ---- */

/* "PowerState/running" gives "running". */
static void take_power(const json_t *statuses, char out[AZURE_STATE_BYTES])
{
    static const char PREFIX[] = "PowerState/";
    for (size_t i = 0; i < json_array_size(statuses); i++) {
        const char *code = compute_text(json_array_get(statuses, i), "code");
        if (strncasecmp(code, PREFIX, sizeof PREFIX - 1) == 0)
            text_copy(out, AZURE_STATE_BYTES, code + sizeof PREFIX - 1);
    }
}

/* The first message of that level. */
static void take_problem(const json_t *statuses, const char *level, size_t out_bytes,
                         char *out)
{
    for (size_t i = 0; i < json_array_size(statuses) && !*out; i++) {
        const json_t *status = json_array_get(statuses, i);
        if (strcasecmp(compute_text(status, "level"), level) != 0)
            continue;
        const char *message = compute_text(status, "message");
        compute_line(out, out_bytes,
                     *message ? message : compute_text(status, "displayStatus"));
    }
}

static void take_worst(const json_t *view, size_t out_bytes, char *out)
{
    static const char *const LEVELS[] = {"Error", "Warning"};
    const json_t *disks = json_object_get(view, "disks");
    for (size_t i = 0; i < ARRAY_COUNT(LEVELS); i++) {
        take_problem(json_object_get(view, "statuses"), LEVELS[i], out_bytes, out);
        take_problem(compute_at(view, "vmAgent.statuses"), LEVELS[i], out_bytes, out);
        for (size_t d = 0; d < json_array_size(disks); d++)
            take_problem(json_object_get(json_array_get(disks, d), "statuses"), LEVELS[i],
                         out_bytes, out);
    }
}

bool azure_vm_get(struct arm *arm, const char *id, struct azure_vm_info *ret,
                  struct err *err)
{
    char what[COMPUTE_WHAT_BYTES];
    AUTO(json_free) json_t *vm = NULL;
    (void)snprintf(what, sizeof what, "look at virtual machine '%s'", arm_id_name(id));
    struct arm_call call = {.method = "GET",
                            .path = id,
                            .api_version = AZURE_VERSION_COMPUTE,
                            .expand = "instanceView",
                            .what = what};
    if (!arm_run(arm, &call, &vm, err))
        return false;
    const json_t *view = compute_at(vm, "properties.instanceView");
    const json_t *agent = json_array_get(compute_at(view, "vmAgent.statuses"), 0);
    *ret = (struct azure_vm_info){0};
    text_copy(ret->provisioning, sizeof ret->provisioning,
              compute_text(vm, "properties.provisioningState"));
    text_copy(ret->agent, sizeof ret->agent, compute_text(agent, "displayStatus"));
    take_power(json_object_get(view, "statuses"), ret->power);
    take_worst(view, sizeof ret->problem, ret->problem);
    return true;
}

bool azure_vm_diagnostics(struct arm *arm, const char *id, struct secret **ret_screen,
                          struct secret **ret_serial, struct err *err)
{
    char what[COMPUTE_WHAT_BYTES];
    AUTO(json_free) json_t *result = NULL;
    AUTO(buf_release) struct buf path = {0};
    buf_printf(&path, "%s/retrieveBootDiagnosticsData", id);
    (void)snprintf(what, sizeof what, "boot diagnostics of virtual machine '%s'",
                   arm_id_name(id));
    struct arm_call call = {.method = "POST",
                            .path = buf_text(&path),
                            .api_version = AZURE_VERSION_COMPUTE,
                            .what = what};
    if (!arm_run(arm, &call, &result, err))
        return false;
    *ret_screen = compute_take_secret(result, "consoleScreenshotBlobUri");
    *ret_serial = compute_take_secret(result, "serialConsoleLogBlobUri");
    return true;
}
