/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disks of a running QEMU, as the guest numbers them.
 *
 * query-block tells the guest's devices, query-named-block-nodes the images. A disk's key
 * must outlive a restart of QEMU: the node name when the user gave one, else the name of
 * its -drive (automatic node names, "#block123", change at each start). Devices that are
 * no disks of the guest are left out: CD-ROM and floppy drives, firmware flash, drives
 * without a medium or without a device. A filter of ours on top (an open snapshot) is
 * looked through.
 */
#include "source/qemu.h"

#include "base/text.h"

#define ORDER_MAX_DEPTH 8

void qemu_inventory_free(struct qemu_inventory *inventory)
{
    if (!inventory)
        return;
    json_decref(inventory->nodes);
    free(inventory);
}

const struct qemu_disk *qemu_inventory_find(const struct qemu_inventory *inventory,
                                            const char *key)
{
    for (size_t i = 0; i < inventory->count; i++)
        if (strcmp(inventory->disks[i].key, key) == 0)
            return &inventory->disks[i];
    return NULL;
}

const json_t *qemu_inventory_node(const struct qemu_inventory *inventory,
                                  const char *node)
{
    const json_t *item;
    size_t i;
    json_array_foreach(inventory->nodes, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "node-name"));
        if (name && strcmp(name, node) == 0)
            return item;
    }
    return NULL;
}

bool qemu_qom_get(struct qmp *qmp, const char *path, const char *property, json_t **ret,
                  struct err *err)
{
    struct err failed = ERR_INIT;
    json_t *arguments = json_object();
    json_put_text(arguments, "path", path);
    json_put_text(arguments, "property", property);
    *ret = NULL;
    if (qmp_call(qmp, "qom-get", arguments, QEMU_CALL_MS, ret, &failed))
        return true;
    if (failed.kind == FAIL_IO || failed.kind == FAIL_GONE)
        return true; /* no such object or property */
    *err = failed;
    return false;
}

bool qemu_qom_text(struct qmp *qmp, const char *path, const char *property, char *out,
                   size_t out_bytes, struct err *err)
{
    AUTO(json_free) json_t *value = NULL;
    if (!qemu_qom_get(qmp, path, property, &value, err))
        return false;
    const char *text = json_string_value(value);
    text_copy(out, out_bytes, text ? text : "");
    return true;
}

/* Cuts the last component; false at the root. */
static bool path_up(char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return false;
    *slash = '\0';
    return true;
}

/* One device's place on its bus: PCI address, SCSI target and unit, IDE unit; "" none. */
static bool place_on_bus(struct qmp *qmp, const char *path, char *out, size_t out_bytes,
                         struct err *err)
{
    static const char *const numbers[] = {"channel", "scsi-id", "lun", "unit"};
    AUTO(buf_release) struct buf text = {0};
    if (!qemu_qom_text(qmp, path, "legacy-addr", out, out_bytes, err))
        return false;
    if (out[0])
        return true;
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        AUTO(json_free) json_t *value = NULL;
        if (!qemu_qom_get(qmp, path, numbers[i], &value, err))
            return false;
        if (json_is_integer(value))
            buf_printf(&text, "%s%05lld", text.bytes ? "." : "",
                       (long long)json_integer_value(value));
    }
    text_copy(out, out_bytes, buf_text(&text));
    return true;
}

bool qemu_device_order(struct qmp *qmp, const char *path, char *out, size_t out_bytes,
                       struct err *err)
{
    char at[256], bus[256], place[64], order[160] = "";
    text_copy(at, sizeof at, path);
    for (int depth = 0; depth < ORDER_MAX_DEPTH; depth++) {
        char before[sizeof order];
        if (!place_on_bus(qmp, at, place, sizeof place, err) ||
            !qemu_qom_text(qmp, at, "parent_bus", bus, sizeof bus, err))
            return false;
        text_copy(before, sizeof before, order);
        if (place[0])
            (void)snprintf(order, sizeof order, "%.60s/%.90s", place, before);
        if (!bus[0] || !path_up(bus)) /* the bus's path is its controller's and a name */
            break;
        text_copy(at, sizeof at, bus);
    }
    text_copy(out, out_bytes, order);
    return true;
}

/* The iothread of the device, or of a controller above it. */
static bool find_iothread(struct qmp *qmp, const char *path, char *out, size_t out_bytes,
                          struct err *err)
{
    char at[256], bus[256];
    text_copy(at, sizeof at, path);
    for (int depth = 0; depth < ORDER_MAX_DEPTH; depth++) {
        AUTO(json_free) json_t *mapping = NULL;
        if (!qemu_qom_text(qmp, at, "iothread", out, out_bytes, err) ||
            !qemu_qom_get(qmp, at, "iothread-vq-mapping", &mapping, err) ||
            !qemu_qom_text(qmp, at, "parent_bus", bus, sizeof bus, err))
            return false;
        if (json_array_size(mapping) > 0)
            text_copy(out, out_bytes, "iothread-vq-mapping");
        if (out[0] || !bus[0] || !path_up(bus))
            return true;
        text_copy(at, sizeof at, bus);
    }
    return true;
}

static const char *bus_of_type(const char *type)
{
    static const struct {
        const char *part;
        const char *bus;
    } buses[] = {{"virtio-blk", "virtio"}, {"nvme", "nvme"}, {"scsi", "scsi"},
                 {"ide-", "ide"},          {"usb", "usb"},   {"sd-card", "sd"}};
    for (size_t i = 0; i < ARRAY_COUNT(buses); i++)
        if (strstr(type, buses[i].part))
            return buses[i].bus;
    return "";
}

/* Device types that hold no disk of the guest's. */
static bool is_no_disk(const char *type)
{
    return strstr(type, "-cd") || strstr(type, "floppy") ||
           text_starts_with(type, "cfi.");
}

/* What the image's own node says; a node that is not listed leaves the disk empty. */
static bool fill_from_node(struct qemu_inventory *inventory, struct qemu_disk *disk,
                           struct err *err)
{
    const json_t *node = qemu_inventory_node(inventory, disk->node);
    const json_t *image = json_object_get(node, "image");
    const char *format, *file, *compat;
    if (!node || !image)
        return err_set(err, FAIL_CONFLICT, "disk '%s': node '%s' is not there any more",
                       disk->key, disk->node);
    if (!json_get_text(node, "drv", &format, err) ||
        !json_opt_text(node, "file", "", &file, err) ||
        !json_get_bool(node, "ro", &disk->is_read_only, err) ||
        !json_get_u64(image, "virtual-size", &disk->disk_bytes, err))
        return err_wrap(err, "disk '%s'", disk->key);
    const json_t *data =
        json_object_get(json_object_get(image, "format-specific"), "data");
    if (!data)
        compat = "";
    else if (!json_opt_text(data, "compat", "", &compat, err))
        return err_wrap(err, "disk '%s'", disk->key);
    text_copy(disk->format, sizeof disk->format, format);
    text_copy(disk->file, sizeof disk->file, file);
    disk->keeps_bitmaps = strcmp(format, "qcow2") == 0 && strcmp(compat, "0.10") != 0 &&
                          !disk->is_read_only;
    return true;
}

/* One entry of query-block; *ret_is_disk false: to be left out. */
static bool read_block(struct qmp *qmp, const json_t *block,
                       const struct qemu_graph *graph, struct qemu_disk *disk,
                       bool *ret_is_disk, struct err *err)
{
    const json_t *inserted = json_object_get(block, "inserted");
    const char *node = json_string_value(json_object_get(inserted, "node-name"));
    const char *qdev = json_string_value(json_object_get(block, "qdev"));
    const char *device = json_string_value(json_object_get(block, "device"));
    char type[64];
    *ret_is_disk = false;
    if (!node || !qdev || !qdev[0])
        return true;
    (void)snprintf(disk->qdev, sizeof disk->qdev, "%s%s",
                   qdev[0] == '/' ? "" : "/machine/peripheral/", qdev);
    if (!qemu_qom_text(qmp, disk->qdev, "type", type, sizeof type, err))
        return false;
    if (is_no_disk(type))
        return true;
    node = qemu_graph_below_ours(graph, node);
    if (!node)
        return err_set(err, FAIL_CONFLICT, "device '%s' has no image", disk->qdev);
    text_copy(disk->node, sizeof disk->node, node);
    disk->is_key_stable = node[0] != '#' || (device && device[0]);
    text_copy(disk->key, sizeof disk->key,
              node[0] != '#'        ? node
              : device && device[0] ? device
                                    : disk->qdev);
    text_copy(disk->bus, sizeof disk->bus, bus_of_type(type));
    *ret_is_disk = true;
    return qemu_qom_text(qmp, disk->qdev, "serial", disk->serial, sizeof disk->serial,
                         err) &&
           find_iothread(qmp, disk->qdev, disk->iothread, sizeof disk->iothread, err) &&
           qemu_device_order(qmp, disk->qdev, disk->order, sizeof disk->order, err);
}

/* Stable: disks of the same place (none known) keep QEMU's order. */
static void sort_disks(struct qemu_inventory *inventory)
{
    for (size_t i = 1; i < inventory->count; i++) {
        struct qemu_disk moving = inventory->disks[i];
        size_t at = i;
        for (; at > 0 && strcmp(inventory->disks[at - 1].order, moving.order) > 0; at--)
            inventory->disks[at] = inventory->disks[at - 1];
        inventory->disks[at] = moving;
    }
}

static bool find_flash(struct qmp *qmp, struct qemu_inventory *inventory, struct err *err)
{
    char text[512];
    if (!qemu_qom_text(qmp, "/machine", "pflash0", text, sizeof text, err))
        return false;
    inventory->has_uefi_flash = text[0] != '\0';
    if (!qemu_qom_text(qmp, "/machine", "firmware", text, sizeof text, err))
        return false;
    if (strcasestr(text, "ovmf") || strcasestr(text, "edk2") || strcasestr(text, "uefi"))
        inventory->has_uefi_flash = true;
    return true;
}

struct qemu_inventory *qemu_inventory_read(struct qmp *qmp, struct err *err)
{
    AUTO(qemu_inventory_free)
    struct qemu_inventory *inventory = xcalloc(1, sizeof *inventory);
    AUTO(json_free) json_t *blocks = NULL;
    AUTO(qemu_graph_free) struct qemu_graph *graph = qemu_graph_read(qmp, err);
    json_t *flat = json_object(), *block;
    size_t i;
    json_put_bool(flat, "flat", true);
    if (!graph) {
        json_decref(flat);
        return NULL;
    }
    if (!qmp_call(qmp, "query-named-block-nodes", flat, QEMU_CALL_MS, &inventory->nodes,
                  err) ||
        !qmp_call(qmp, "query-block", NULL, QEMU_CALL_MS, &blocks, err) ||
        !find_flash(qmp, inventory, err))
        return NULL;
    json_array_foreach(blocks, i, block)
    {
        bool is_disk;
        struct qemu_disk disk = {0};
        if (!read_block(qmp, block, graph, &disk, &is_disk, err))
            return NULL;
        if (!is_disk)
            continue;
        if (inventory->count == MACHINE_MAX_DISKS) {
            (void)err_set(err, FAIL_LIMIT, "the machine has more than %d disks",
                          MACHINE_MAX_DISKS);
            return NULL;
        }
        if (!fill_from_node(inventory, &disk, err))
            return NULL;
        inventory->disks[inventory->count++] = disk;
    }
    sort_disks(inventory);
    return TAKE(inventory);
}
