/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_def <-> JSON. Reading is strict: a definition decides what a VM is started
 * with, so a text that does not fit is an error, never a shorter text.
 */
#include "http/machine_json.h"

#include "base/text.h"

#include <inttypes.h>

static void put_id(json_t *object, const struct id *id)
{
    char text[ID_TEXT_BYTES];
    if (!id_is_zero(id))
        json_put_text(object, "id", id_text(id, text));
}

static void put_some(json_t *object, const char *key, const char *text)
{
    if (text[0])
        json_put_text(object, key, text);
}

static json_t *disk_to_json(const struct machine_disk *disk)
{
    json_t *json = json_object();
    put_id(json, &disk->id);
    put_some(json, "key", disk->key);
    put_some(json, "label", disk->label);
    json_put_u64(json, "disk_bytes", disk->disk_bytes);
    put_some(json, "bus", disk->bus);
    put_some(json, "serial", disk->serial);
    put_some(json, "datastore", disk->datastore);
    return json;
}

static json_t *nic_to_json(const struct machine_nic *nic)
{
    json_t *json = json_object();
    put_some(json, "mac", nic->mac);
    put_some(json, "model", nic->model);
    put_some(json, "network", nic->network);
    return json;
}

static void append_take(json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) != 0)
        abort(); /* out of memory */
}

json_t *machine_to_json(const struct machine_def *machine)
{
    json_t *json = json_object(), *disks = json_array(), *nics = json_array();
    if (!json || !disks || !nics)
        abort(); /* out of memory */
    put_id(json, &machine->id);
    json_put_text(json, "name", machine->name);
    put_some(json, "key", machine->key);
    json_put_u64(json, "cpus", machine->cpus);
    json_put_u64(json, "memory_bytes", machine->memory_bytes);
    json_put_text(json, "firmware", machine->firmware == FIRMWARE_UEFI ? "uefi" : "bios");
    put_some(json, "machine_type", machine->machine_type);
    json_put_bool(json, "is_running", machine->is_running);
    put_some(json, "host", machine->host);
    put_some(json, "kernel", machine->kernel);
    put_some(json, "initrd", machine->initrd);
    put_some(json, "kernel_args", machine->kernel_args);
    for (size_t i = 0; i < machine->disk_count; i++)
        append_take(disks, disk_to_json(&machine->disks[i]));
    for (size_t i = 0; i < machine->nic_count; i++)
        append_take(nics, nic_to_json(&machine->nics[i]));
    json_put_take(json, "disks", disks);
    json_put_take(json, "nics", nics);
    return json;
}

static bool get_id(const json_t *json, struct id *ret, struct err *err)
{
    const char *text;
    if (!json_opt_text(json, "id", "", &text, err))
        return false;
    if (text[0] && !id_parse(text, ret, err))
        return err_wrap(err, "'id'");
    return true;
}

static bool get_some(const json_t *json, const char *key, char *out, size_t out_bytes,
                     struct err *err)
{
    const char *text;
    if (!json_opt_text(json, key, "", &text, err))
        return false;
    if (strlen(text) >= out_bytes)
        return err_set(err, FAIL_LIMIT, "'%s' is longer than %zu bytes", key,
                       out_bytes - 1);
    text_copy(out, out_bytes, text);
    return true;
}

static bool disk_from_json(const json_t *json, struct machine_disk *ret, struct err *err)
{
    static const char *const KEYS[] = {"id",  "key",    "label",     "disk_bytes",
                                       "bus", "serial", "datastore", NULL};
    return json_only_keys(json, KEYS, err) && get_id(json, &ret->id, err) &&
           get_some(json, "key", ret->key, sizeof ret->key, err) &&
           get_some(json, "label", ret->label, sizeof ret->label, err) &&
           json_get_u64(json, "disk_bytes", &ret->disk_bytes, err) &&
           get_some(json, "bus", ret->bus, sizeof ret->bus, err) &&
           get_some(json, "serial", ret->serial, sizeof ret->serial, err) &&
           get_some(json, "datastore", ret->datastore, sizeof ret->datastore, err);
}

static bool nic_from_json(const json_t *json, struct machine_nic *ret, struct err *err)
{
    static const char *const KEYS[] = {"mac", "model", "network", NULL};
    return json_only_keys(json, KEYS, err) &&
           get_some(json, "mac", ret->mac, sizeof ret->mac, err) &&
           get_some(json, "model", ret->model, sizeof ret->model, err) &&
           get_some(json, "network", ret->network, sizeof ret->network, err);
}

static bool get_firmware(const json_t *json, enum machine_firmware *ret, struct err *err)
{
    const char *text;
    if (!json_opt_text(json, "firmware", "bios", &text, err))
        return false;
    if (strcmp(text, "bios") != 0 && strcmp(text, "uefi") != 0)
        return err_set(err, FAIL_INPUT,
                       "'firmware' must be 'bios' or 'uefi', not '%.40s'", text);
    *ret = strcmp(text, "uefi") == 0 ? FIRMWARE_UEFI : FIRMWARE_BIOS;
    return true;
}

static bool get_scalars(const json_t *json, struct machine_def *ret, struct err *err)
{
    const char *name;
    uint64_t cpus;
    if (!json_get_text(json, "name", &name, err) ||
        !get_some(json, "name", ret->name, sizeof ret->name, err) ||
        !json_get_u64(json, "cpus", &cpus, err))
        return false;
    if (cpus < 1 || cpus > UINT32_MAX)
        return err_set(err, FAIL_INPUT, "'cpus' is %" PRIu64 "; it must be 1 or more",
                       cpus);
    ret->cpus = (uint32_t)cpus;
    return get_id(json, &ret->id, err) &&
           get_some(json, "key", ret->key, sizeof ret->key, err) &&
           json_get_u64(json, "memory_bytes", &ret->memory_bytes, err) &&
           get_firmware(json, &ret->firmware, err) &&
           get_some(json, "machine_type", ret->machine_type, sizeof ret->machine_type,
                    err) &&
           json_opt_bool(json, "is_running", false, &ret->is_running, err) &&
           get_some(json, "host", ret->host, sizeof ret->host, err) &&
           get_some(json, "kernel", ret->kernel, sizeof ret->kernel, err) &&
           get_some(json, "initrd", ret->initrd, sizeof ret->initrd, err) &&
           get_some(json, "kernel_args", ret->kernel_args, sizeof ret->kernel_args, err);
}

static bool get_disks(const json_t *json, struct machine_def *ret, struct err *err)
{
    json_t *disks;
    if (!json_get_array(json, "disks", &disks, err))
        return false;
    ret->disk_count = json_array_size(disks);
    if (ret->disk_count > MACHINE_MAX_DISKS)
        return err_set(err, FAIL_LIMIT, "%zu disks; a machine can have %d",
                       ret->disk_count, MACHINE_MAX_DISKS);
    for (size_t i = 0; i < ret->disk_count; i++)
        if (!disk_from_json(json_array_get(disks, i), &ret->disks[i], err))
            return err_wrap(err, "disk %zu", i);
    return true;
}

static bool get_nics(const json_t *json, struct machine_def *ret, struct err *err)
{
    json_t *nics = json_object_get(json, "nics");
    if (!nics)
        return true;
    if (!json_get_array(json, "nics", &nics, err))
        return false;
    ret->nic_count = json_array_size(nics);
    if (ret->nic_count > MACHINE_MAX_NICS)
        return err_set(err, FAIL_LIMIT, "%zu network cards; a machine can have %d",
                       ret->nic_count, MACHINE_MAX_NICS);
    for (size_t i = 0; i < ret->nic_count; i++)
        if (!nic_from_json(json_array_get(nics, i), &ret->nics[i], err))
            return err_wrap(err, "network card %zu", i);
    return true;
}

bool machine_from_json(const json_t *json, struct machine_def *ret, struct err *err)
{
    static const char *const KEYS[] = {
        "id",       "name",         "key",        "cpus", "memory_bytes",
        "firmware", "machine_type", "is_running", "host", "kernel",
        "initrd",   "kernel_args",  "disks",      "nics", NULL};
    if (!json_is_object(json))
        return err_set(err, FAIL_INPUT, "a machine definition must be a JSON object");
    AUTO(free) struct machine_def *def = xcalloc(1, sizeof *def);
    if (!json_only_keys(json, KEYS, err) || !get_scalars(json, def, err) ||
        !get_disks(json, def, err) || !get_nics(json, def, err))
        return err_wrap(err, "machine definition");
    *ret = *def;
    return true;
}
