/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replica disks come into being, are opened, change their size.
 *
 * The layout never promises more bytes than a disk has: grown disks grow before the
 * layout says so, cut ones are cut after it. What a crash leaves beyond the end is cut
 * off before a disk grows again, so a new part always reads as zeros.
 */
#include "target/local.h"

#include "base/file.h"
#include "qemu/image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <inttypes.h>
#include <unistd.h>

static bool is_finished_machine(const struct local_layout *layout)
{
    AUTO(free) char *path = file_join(layout->dir, "vm/vm.json");
    return file_exists(path);
}

static bool check_device(const char *path, uint64_t disk_bytes, int *ret_fd,
                         struct err *err)
{
    uint64_t device_bytes;
    int is_read_only = 0;
    AUTO(close_fd) int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "open device '%s'", path);
    /* open() lets it pass. */
    if (ioctl(fd, BLKROGET, &is_read_only) == 0 && is_read_only)
        return err_set(
            err, FAIL_INPUT,
            "device '%s' is read-only; make it writable (blockdev --setrw), or "
            "choose another one",
            path);
    if (!file_size(fd, path, &device_bytes, err))
        return false;
    if (device_bytes < disk_bytes)
        return err_set(err, FAIL_INPUT,
                       "device '%s' has %" PRIu64 " bytes, the disk %" PRIu64
                       "; choose a device at least as large",
                       path, device_bytes, disk_bytes);
    *ret_fd = fd;
    fd = -1;
    return true;
}

static bool make_device(const char *path, uint64_t disk_bytes, struct err *err)
{
    AUTO(close_fd) int fd = -1;
    if (!check_device(path, disk_bytes, &fd, err) ||
        !local_raw_punch(fd, path, 0, disk_bytes, err))
        return false;
    if (fsync(fd) != 0)
        return err_errno(err, errno, "flush device '%s'", path);
    return true;
}

static bool make_raw(const char *path, uint64_t disk_bytes, struct err *err)
{
    AUTO(close_fd)
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(err, errno, "create replica disk '%s'", path);
    if (ftruncate(fd, (off_t)disk_bytes) != 0 || fsync(fd) != 0)
        return err_errno(err, errno, "make replica disk '%s' of %" PRIu64 " bytes", path,
                         disk_bytes);
    return true;
}

static bool make_disks(struct local *local, struct local_layout *layout, struct err *err)
{
    for (size_t i = 0; i < layout->disk_count; i++) {
        struct local_disk *disk = &layout->disks[i];
        const char *device = local_device_of(local, layout->machine.name, i);
        if (device)
            (void)snprintf(disk->device, sizeof disk->device, "%s", device);
        AUTO(free) char *path = local_layout_file(layout, i, 0);
        bool ok = device             ? make_device(path, disk->disk_bytes, err)
                  : layout->is_qcow2 ? image_create(path, disk->disk_bytes, err)
                                     : make_raw(path, disk->disk_bytes, err);
        if (!ok)
            return false;
    }
    return true;
}

/* The same machine asked for again. */
static bool confirm(struct local_layout *layout, const struct machine_def *machine,
                    struct err *err)
{
    bool same = layout->disk_count == machine->disk_count;
    for (size_t i = 0; same && i < layout->disk_count; i++)
        same = layout->disks[i].disk_bytes == machine->disks[i].disk_bytes;
    if (!same)
        return err_set(err, FAIL_CONFLICT,
                       "a replica of machine '%s' with other disks is here already; stop "
                       "its replication first",
                       machine->name);
    if (!id_is_zero(&layout->machine.id) && !id_is_zero(&machine->id) &&
        !id_equal(&layout->machine.id, &machine->id))
        return err_set(
            err, FAIL_CONFLICT,
            "'%s' is the name of another machine's replica here; rename one of "
            "them",
            machine->name);
    if (layout->is_migrated)
        return err_set(err, FAIL_CONFLICT, "machine '%s' was migrated already",
                       machine->name);
    layout->machine = *machine;
    return local_layout_save(layout, err);
}

bool local_replica_create(struct target *target, const struct machine_def *machine,
                          struct err *err)
{
    struct local *local = (struct local *)target;
    struct err why = ERR_INIT;
    if (!local_check_machine(machine, err))
        return false;
    HOLD_MACHINE(&local->leases, machine->name);
    AUTO(local_layout_free)
    struct local_layout *layout = local_layout_open(local->dir, machine->name, &why);
    if (layout)
        return confirm(layout, machine, err);
    if (why.kind != FAIL_GONE) {
        *err = why;
        return false;
    }
    layout = local_layout_new(local->dir, machine->name);
    if (is_finished_machine(layout))
        return err_set(err, FAIL_CONFLICT,
                       "'%s' holds a migrated VM; move that folder away, or rename the "
                       "machine",
                       layout->dir);
    layout->machine = *machine;
    layout->is_qcow2 = local->format == LOCAL_QCOW2;
    layout->disk_count = machine->disk_count;
    for (size_t i = 0; i < machine->disk_count; i++) {
        layout->disks[i].disk_bytes = machine->disks[i].disk_bytes;
        layout->disks[i].chain_count = 1;
        if (local_device_of(local, machine->name, i) && layout->is_qcow2)
            return err_set(err, FAIL_INPUT,
                           "disk %zu of machine '%s' is mapped to a device, which needs "
                           "format raw",
                           i, machine->name);
    }
    return file_make_dirs(layout->dir, err) && make_disks(local, layout, err) &&
           file_sync_parent(layout->dir, err) && local_layout_save(layout, err);
}

static bool check_index(const struct local_layout *layout, size_t disk_index,
                        struct err *err)
{
    return disk_index < layout->disk_count ||
           err_set(err, FAIL_INPUT, "machine '%s' has no disk %zu, only %zu disks",
                   layout->machine.name, disk_index, layout->disk_count);
}

bool local_disk_open(struct target *target, const struct machine_def *machine,
                     size_t disk_index, bool for_writing, struct replica_disk **ret,
                     struct err *err)
{
    struct local *local = (struct local *)target;
    if (!local_check_machine(machine, err))
        return false;
    HOLD_MACHINE(&local->leases, machine->name);
    AUTO(local_layout_free)
    struct local_layout *layout = local_layout_open(local->dir, machine->name, err);
    if (!layout || !check_index(layout, disk_index, err))
        return false;
    if (for_writing && layout->is_migrated)
        return err_set(err, FAIL_CONFLICT,
                       "machine '%s' was migrated: its disks belong to the VM now",
                       machine->name);
    if (for_writing && !local_chain_collapse(local, layout, err))
        return false; /* what a crash left of a clean-up is done now */
    const struct local_disk *disk = &layout->disks[disk_index];
    uint64_t head = local_layout_head(disk);
    AUTO(free) char *path = local_layout_file(layout, disk_index, head);
    struct local_disk_spec spec = {
        .local = local,
        .lease = lease_take(&local->leases, machine->name, for_writing),
        .path = path,
        .run_dir = layout->dir,
        .disk_bytes = disk->disk_bytes,
        .is_qcow2 = local_layout_is_qcow2(layout, head),
        .is_device = head == 0 && disk->device[0],
        .for_writing = for_writing,
    };
    return spec.is_qcow2 ? local_nbd_open(&spec, ret, err)
                         : local_raw_open(&spec, ret, err);
}

static bool set_file_size(const char *path, bool is_qcow2, uint64_t disk_bytes,
                          struct err *err)
{
    if (is_qcow2)
        return image_resize(path, IMAGE_QCOW2, disk_bytes, err);
    AUTO(close_fd) int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)disk_bytes) != 0 || fsync(fd) != 0)
        return err_errno(err, errno, "resize '%s' to %" PRIu64 " bytes", path,
                         disk_bytes);
    return true;
}

static bool grow_device(const char *path, uint64_t from_bytes, uint64_t to_bytes,
                        struct err *err)
{
    AUTO(close_fd) int fd = -1;
    return check_device(path, to_bytes, &fd, err) &&
           local_raw_punch(fd, path, from_bytes, to_bytes, err) &&
           (fsync(fd) == 0 || err_errno(err, errno, "flush device '%s'", path));
}

static bool resize(struct local_layout *layout, size_t disk_index, uint64_t to_bytes,
                   struct err *err)
{
    struct local_disk *disk = &layout->disks[disk_index];
    uint64_t from_bytes = disk->disk_bytes, head = local_layout_head(disk);
    bool is_qcow2 = local_layout_is_qcow2(layout, head);
    bool is_device = head == 0 && disk->device[0];
    AUTO(free) char *path = local_layout_file(layout, disk_index, head);
    disk->disk_bytes = to_bytes;
    layout->machine.disks[disk_index].disk_bytes = to_bytes;
    if (to_bytes < from_bytes)
        return local_layout_save(layout, err) &&
               (is_device || set_file_size(path, is_qcow2, to_bytes, err));
    bool ok = is_device ? grow_device(path, from_bytes, to_bytes, err)
                        : set_file_size(path, is_qcow2, from_bytes, err) &&
                              set_file_size(path, is_qcow2, to_bytes, err);
    return ok && local_layout_save(layout, err);
}

bool local_disk_resize(struct target *target, const struct machine_def *machine,
                       size_t disk_index, uint64_t disk_bytes, struct err *err)
{
    struct local *local = (struct local *)target;
    if (!local_check_machine(machine, err))
        return false;
    HOLD_MACHINE(&local->leases, machine->name);
    AUTO(local_layout_free)
    struct local_layout *layout = local_layout_open(local->dir, machine->name, err);
    if (!layout || !check_index(layout, disk_index, err))
        return false;
    if (lease_exists(&local->leases, machine->name, false) || layout->is_migrated)
        return err_set(err, FAIL_CONFLICT,
                       "disk %zu of machine '%s' is in use and can't change its size now",
                       disk_index, machine->name);
    return layout->disks[disk_index].disk_bytes == disk_bytes ||
           resize(layout, disk_index, disk_bytes, err);
}
