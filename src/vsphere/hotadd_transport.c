/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The "hotadd" transport: we run in a machine of that server, have the frozen disks
 * attached to it, and read them as block devices.
 *
 * T1  a disk is attached when its first lane opens and detached when the transport
 * closes, after the last lane has closed its device; one whose first lane fails, at once.
 * T2  the record is locked while the transport lives; what a run that crashed left in it
 *     is taken off before anything is attached, what it left for other machines likewise.
 * T3  a disk that cannot be taken off stays in the record: the next open tries again.
 */
#include "vsphere/hotadd_transport.h"

#include "base/log.h"
#include "base/text.h"
#include "vsphere/hotadd_device.h"
#include "vsphere/hotadd_gateway.h"
#include "vsphere/lane_crew.h"

#include <stdlib.h>

#define CREW_DEFAULT       8
#define DEVICE_WAIT_MS     30000u
#define RECORD_WAIT_MS     (60ull * 1000)
#define DEVICE_DIR_DEFAULT "/dev/disk/by-id"

static const struct transport_ops OPS;

struct hotadd_disk {
    struct transport_disk frozen;
    bool is_attached;
    char uuid[HOTADD_DISK_UUID_BYTES];
};

struct hotadd_transport {
    /* Set by open, never changed. */
    struct transport base;
    struct hotadd_gateway gateway;
    const struct cancel *cancel;
    uint32_t thread_count;
    uint32_t device_wait_ms;
    char *device_dir;
    /* The transport's thread's. */
    struct hotadd_record *record;
    struct hotadd_disk *disks;
    size_t disk_count;
};

/* ---- lanes ---- */

static bool read_device(void *file, struct lane_read *read, struct err *err)
{
    return hotadd_device_read(file, read, err);
}

static void close_device(void *file)
{
    hotadd_device_close(file);
}

static bool open_device(const struct hotadd_transport *hotadd,
                        const struct hotadd_disk *disk, struct lane **ret,
                        struct err *err)
{
    struct hotadd_device_place place = {.dir = hotadd->device_dir,
                                        .uuid = disk->uuid,
                                        .disk_bytes = disk->frozen.disk_bytes,
                                        .wait_ms = hotadd->device_wait_ms};
    struct hotadd_device *device = NULL;
    if (!hotadd_device_open(&place, hotadd->cancel, &device, err))
        return false;
    struct lane_crew_options crew = {.ops = &OPS,
                                     .disk_bytes = disk->frozen.disk_bytes,
                                     .thread_count = hotadd->thread_count,
                                     .file = device,
                                     .read = read_device,
                                     .close = close_device};
    return lane_crew_open(&crew, ret, err);
}

static bool hotadd_lane_open(struct transport *base, size_t disk_index, struct lane **ret,
                             struct err *err)
{
    struct hotadd_transport *hotadd = (struct hotadd_transport *)base;
    struct err why = ERR_INIT;
    if (disk_index >= hotadd->disk_count)
        return err_set(err, FAIL_BUG, "disk %zu of %zu", disk_index, hotadd->disk_count);
    struct hotadd_disk *disk = &hotadd->disks[disk_index];
    bool is_first = !disk->is_attached;
    if (is_first &&
        !hotadd_attach(&hotadd->gateway, hotadd->record, disk->frozen.file_name,
                       hotadd->cancel, disk->uuid, err))
        return false;
    disk->is_attached = true;
    if (open_device(hotadd, disk, ret, err))
        return true;
    if (!is_first)
        return false;
    disk->is_attached = false; /* T1 */
    if (!hotadd_detach(&hotadd->gateway, hotadd->record, disk->frozen.file_name, &why))
        (void)err_hint(err, "and then: %.150s", why.text);
    return false;
}

/* ---- transport ---- */

static void hotadd_transport_close(struct transport *base)
{
    struct hotadd_transport *hotadd = (struct hotadd_transport *)base;
    struct err why = ERR_INIT;
    char quoted[LOG_QUOTED_BYTES];
    if (!hotadd)
        return;
    if (hotadd->record && !hotadd_detach_all(&hotadd->gateway, hotadd->record, &why))
        log_warn("hotadd_disk_left",
                 "text=%s remedy=\"it is detached when this machine's disks are read "
                 "next; until then its snapshot cannot be consolidated\"",
                 log_quote(why.text, quoted));
    hotadd_record_close(hotadd->record);
    free(hotadd->device_dir);
    free(hotadd->disks);
    free(hotadd);
}

static struct hotadd_transport *transport_new(const struct transport_machine *machine,
                                              const struct cancel *cancel)
{
    const struct transport_options *options = &machine->options;
    struct hotadd_transport *hotadd = xcalloc(1, sizeof *hotadd);
    hotadd->base.ops = &OPS;
    hotadd->cancel = cancel;
    hotadd->thread_count = options->max_in_flight ? options->max_in_flight : CREW_DEFAULT;
    hotadd->device_wait_ms = options->silence_ms ? options->silence_ms : DEVICE_WAIT_MS;
    hotadd->device_dir = xstrdup(options->hotadd_device_dir ? options->hotadd_device_dir
                                                            : DEVICE_DIR_DEFAULT);
    hotadd->disks = xcalloc(machine->disk_count, sizeof *hotadd->disks);
    hotadd->disk_count = machine->disk_count;
    for (size_t i = 0; i < machine->disk_count; i++)
        hotadd->disks[i].frozen = machine->disks[i];
    return hotadd;
}

static bool open_record(struct hotadd_transport *hotadd,
                        const struct transport_machine *machine, struct err *err)
{
    const char *dir = machine->options.hotadd_record_dir;
    char name[HOTADD_NAME_BYTES];
    if (!dir)
        dir = HOTADD_RECORD_DIR;
    hotadd_record_name(hotadd->gateway.server, machine->vm.id, name);
    if (!hotadd_record_open(dir, name, RECORD_WAIT_MS, hotadd->cancel, &hotadd->record,
                            err) ||
        !hotadd_detach_all(&hotadd->gateway, hotadd->record, err))
        return err_wrap(err, "disks that an earlier run left attached");
    hotadd_sweep(machine->vim, dir);
    return true;
}

static bool hotadd_transport_open(const struct transport_machine *machine,
                                  const struct cancel *cancel, struct transport **ret,
                                  struct err *err)
{
    struct hotadd_gateway gateway;
    if (!hotadd_gateway_find(machine->vim, machine->options.hotadd_machine, cancel,
                             &gateway, err))
        return false;
    if (vim_ref_equal(&gateway.vm, &machine->vm))
        return err_set(err, FAIL_CONFLICT,
                       "the hotadd transport does not read the machine it runs in; use "
                       "nfc");
    struct hotadd_transport *hotadd = transport_new(machine, cancel);
    hotadd->gateway = gateway;
    if (!open_record(hotadd, machine, err)) {
        hotadd_record_close(TAKE(hotadd->record)); /* not tried once more */
        hotadd_transport_close(&hotadd->base);
        return false;
    }
    *ret = &hotadd->base;
    return true;
}

static const struct transport_ops OPS = {
    .name = "hotadd",
    .open = hotadd_transport_open,
    .lane_open = hotadd_lane_open,
    .submit = lane_crew_submit,
    .next = lane_crew_next,
    .counters = lane_crew_counters,
    .lane_close = lane_crew_close,
    .close = hotadd_transport_close,
};

const struct transport_ops *hotadd_transport(void)
{
    return &OPS;
}
