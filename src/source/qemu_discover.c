/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine definition out of QMP: identity, CPUs, memory, firmware, direct kernel boot,
 * disks in the guest's order, network cards in PCI order. Changes nothing.
 */
#include "source/qemu.h"

#include "base/text.h"

static bool query_text(struct qmp *qmp, const char *command, const char *key, char *out,
                       size_t out_bytes, struct err *err)
{
    AUTO(json_free) json_t *answer = NULL;
    const char *text;
    if (!qmp_call(qmp, command, NULL, QEMU_CALL_MS, &answer, err) ||
        !json_opt_text(answer, key, "", &text, err))
        return err_wrap(err, "%s", command);
    text_copy(out, out_bytes, text);
    return true;
}

/* "pc-q35-7.2-machine" -> "q35"; "pc-i440fx-7.2-machine" -> "pc". */
static void shorten_machine_type(char *type)
{
    char *suffix = strstr(type, "-machine");
    if (strstr(type, "q35"))
        text_copy(type, 4, "q35");
    else if (strstr(type, "i440fx") || text_starts_with(type, "pc-"))
        text_copy(type, 3, "pc");
    else if (suffix)
        *suffix = '\0';
}

static bool describe_board(const struct qemu_source *source, struct qmp *qmp,
                           struct machine_def *ret, struct err *err)
{
    char uuid[64], name[MACHINE_NAME_BYTES], status[32], type[128];
    if (!query_text(qmp, "query-uuid", "UUID", uuid, sizeof uuid, err) ||
        !query_text(qmp, "query-name", "name", name, sizeof name, err) ||
        !query_text(qmp, "query-status", "status", status, sizeof status, err) ||
        !qemu_qom_text(qmp, "/machine", "type", type, sizeof type, err) ||
        !qemu_qom_text(qmp, "/machine", "kernel", ret->kernel, sizeof ret->kernel, err) ||
        !qemu_qom_text(qmp, "/machine", "initrd", ret->initrd, sizeof ret->initrd, err) ||
        !qemu_qom_text(qmp, "/machine", "append", ret->kernel_args,
                       sizeof ret->kernel_args, err))
        return false;
    bool has_uuid = uuid[strspn(uuid, "0-")] != '\0';
    const char *file = strrchr(source->qmp_path, '/');
    text_copy(ret->name, sizeof ret->name,
              source->name ? source->name
              : name[0]    ? name
              : has_uuid   ? uuid
              : file       ? file + 1
                           : source->qmp_path);
    if (has_uuid)
        text_copy(ret->key, sizeof ret->key, uuid);
    else
        (void)snprintf(ret->key, sizeof ret->key, "qemu:%s", ret->name);
    shorten_machine_type(type);
    text_copy(ret->machine_type, sizeof ret->machine_type, type);
    ret->is_running = strcmp(status, "running") == 0;
    return true;
}

static bool describe_size(struct qmp *qmp, struct machine_def *ret, struct err *err)
{
    AUTO(json_free) json_t *cpus = NULL;
    AUTO(json_free) json_t *memory = NULL;
    uint64_t base_bytes, plugged_bytes;
    if (!qmp_call(qmp, "query-cpus-fast", NULL, QEMU_CALL_MS, &cpus, err) ||
        !qmp_call(qmp, "query-memory-size-summary", NULL, QEMU_CALL_MS, &memory, err) ||
        !json_get_u64(memory, "base-memory", &base_bytes, err) ||
        !json_opt_u64(memory, "plugged-memory", 0, &plugged_bytes, err))
        return false;
    ret->cpus = (uint32_t)MAX_OF(json_array_size(cpus), 1);
    ret->memory_bytes = base_bytes + plugged_bytes;
    return true;
}

static void describe_disks(const struct qemu_inventory *inventory,
                           struct machine_def *ret)
{
    ret->firmware = inventory->has_uefi_flash ? FIRMWARE_UEFI : FIRMWARE_BIOS;
    ret->disk_count = inventory->count;
    for (size_t i = 0; i < inventory->count; i++) {
        const struct qemu_disk *from = &inventory->disks[i];
        struct machine_disk *to = &ret->disks[i];
        const char *slash = strrchr(from->file, '/');
        text_copy(to->key, sizeof to->key, from->key);
        text_copy(to->label, sizeof to->label, slash ? slash + 1 : from->file);
        text_copy(to->bus, sizeof to->bus, from->bus);
        text_copy(to->serial, sizeof to->serial, from->serial);
        to->disk_bytes = from->disk_bytes;
    }
}

/* ---- network cards ---- */

struct found_nic {
    char order[160];
    struct machine_nic nic;
};

static bool is_nic_type(const char *type)
{
    static const char *const parts[] = {"virtio-net", "e1000", "rtl8139", "vmxnet3",
                                        "ne2k",       "pcnet", "i825",    "usb-net",
                                        "tulip",      "igb"};
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++)
        if (strstr(type, parts[i]))
            return true;
    return false;
}

static bool add_nic(struct qmp *qmp, const char *path, const char *model,
                    struct found_nic *nics, size_t *count, struct err *err)
{
    struct found_nic found = {0};
    if (!qemu_qom_text(qmp, path, "mac", found.nic.mac, sizeof found.nic.mac, err) ||
        !qemu_qom_text(qmp, path, "netdev", found.nic.network, sizeof found.nic.network,
                       err) ||
        !qemu_device_order(qmp, path, found.order, sizeof found.order, err))
        return false;
    if (!found.nic.mac[0])
        return true;
    if (*count == MACHINE_MAX_NICS)
        return err_set(err, FAIL_LIMIT, "the machine has more than %d network cards",
                       MACHINE_MAX_NICS);
    text_copy(found.nic.model, sizeof found.nic.model, model);
    size_t at = (*count)++;
    for (; at > 0 && strcmp(nics[at - 1].order, found.order) > 0; at--)
        nics[at] = nics[at - 1];
    nics[at] = found;
    return true;
}

static bool add_nics_of(struct qmp *qmp, const char *folder, struct found_nic *nics,
                        size_t *count, struct err *err)
{
    AUTO(json_free) json_t *children = NULL;
    json_t *arguments = json_object(), *child;
    size_t i;
    json_put_text(arguments, "path", folder);
    if (!qmp_call(qmp, "qom-list", arguments, QEMU_CALL_MS, &children, err))
        return false;
    json_array_foreach(children, i, child)
    {
        const char *name, *type;
        char model[32] = "", path[256];
        if (!json_get_text(child, "name", &name, err) ||
            !json_get_text(child, "type", &type, err))
            return false;
        if (!text_starts_with(type, "child<") || !is_nic_type(type))
            continue;
        text_copy(model, sizeof model, type + strlen("child<"));
        model[strcspn(model, ">")] = '\0';
        (void)snprintf(path, sizeof path, "%s/%s", folder, name);
        if (!add_nic(qmp, path, model, nics, count, err))
            return false;
    }
    return true;
}

static bool describe_nics(struct qmp *qmp, struct machine_def *ret, struct err *err)
{
    struct found_nic nics[MACHINE_MAX_NICS];
    size_t count = 0;
    if (!add_nics_of(qmp, "/machine/unattached", nics, &count, err) ||
        !add_nics_of(qmp, "/machine/peripheral", nics, &count, err) ||
        !add_nics_of(qmp, "/machine/peripheral-anon", nics, &count, err))
        return false;
    ret->nic_count = count;
    for (size_t i = 0; i < count; i++)
        ret->nics[i] = nics[i].nic;
    return true;
}

bool qemu_describe(const struct qemu_source *source, struct qmp *qmp,
                   struct machine_def *ret, struct err *err)
{
    *ret = (struct machine_def){0};
    if (!describe_board(source, qmp, ret, err) || !describe_size(qmp, ret, err))
        return false;
    AUTO(qemu_inventory_free)
    struct qemu_inventory *inventory = qemu_inventory_read(qmp, err);
    if (!inventory)
        return false;
    describe_disks(inventory, ret);
    return describe_nics(qmp, ret, err);
}

bool qemu_discover(struct source *base, struct machine_def **ret_machines,
                   size_t *ret_count, struct err *err)
{
    const struct qemu_source *source = (const struct qemu_source *)base;
    AUTO(qmp_close) struct qmp *qmp = qemu_connect(source, err);
    if (!qmp)
        return false;
    AUTO(free) struct machine_def *machine = xcalloc(1, sizeof *machine);
    if (!qemu_describe(source, qmp, machine, err))
        return false;
    *ret_machines = TAKE(machine);
    *ret_count = 1;
    return true;
}
