/* SPDX-License-Identifier: Apache-2.0 */
/*
 * D1  the device is only read, and marked read-only as far as we may: what the guest's
 *     own services (volume managers, array assembly) write to a non-persistent disk would
 *     be read back instead of what the snapshot froze.
 * D2  no byte is read before the device's size was compared with the frozen disk's.
 *
 * Reads pass the page cache by: each block is read once. What is not aligned for that,
 * and what is not a block device with sectors of 512 bytes, goes through the cache.
 */
#include "vsphere/hotadd_device.h"

#include "base/clock.h"
#include "base/file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define NAA_DIGITS  32
#define POLL_MS     50
#define ALIGN_BYTES 512

struct hotadd_device {
    char *path;
    int fd;
    int direct_fd; /* -1: none */
};

static bool naa_of(const char *uuid, char ret[NAA_DIGITS + 1])
{
    size_t digits = 0;
    for (const char *at = uuid; *at; at++) {
        if (*at == '-' || *at == ' ')
            continue;
        if (digits == NAA_DIGITS || !isxdigit((unsigned char)*at))
            return false;
        ret[digits++] = (char)tolower((unsigned char)*at);
    }
    ret[digits] = 0;
    return digits == NAA_DIGITS;
}

/* false with *err FAIL_GONE: neither name is there (yet). */
static bool open_either(struct hotadd_device *device, const char *dir, const char *naa,
                        struct err *err)
{
    static const char *const prefixes[] = {"wwn-0x", "scsi-3"};
    for (size_t i = 0; i < ARRAY_COUNT(prefixes); i++) {
        struct buf path = {0};
        buf_printf(&path, "%s/%s%s", dir, prefixes[i], naa);
        free(device->path);
        device->path = buf_take_text(&path);
        device->fd = open(device->path, O_RDONLY | O_CLOEXEC);
        if (device->fd >= 0)
            return true;
        if (errno != ENOENT && errno != ENXIO && errno != ENODEV) {
            (void)err_errno(err, errno, "open '%s'", device->path);
            return err_hint(err, "may this process read block devices (group 'disk')?");
        }
    }
    return err_set(err, FAIL_GONE, "'%s' is not there", device->path);
}

static bool wait_for(struct hotadd_device *device,
                     const struct hotadd_device_place *place, const struct cancel *cancel,
                     struct err *err)
{
    char naa[NAA_DIGITS + 1];
    if (!naa_of(place->uuid, naa))
        return err_set(err, FAIL_CONFLICT, "'%.60s' is not a disk's UUID: no device name",
                       place->uuid);
    uint64_t end_ms = clock_mono_ms() + place->wait_ms;
    for (;;) {
        struct err why = ERR_INIT;
        if (open_either(device, place->dir, naa, &why))
            return true;
        if (why.kind != FAIL_GONE) {
            *err = why;
            return false;
        }
        if (clock_mono_ms() >= end_ms)
            return err_set(err, FAIL_CONFLICT,
                           "the disk was attached but '%s/wwn-0x%s' did not appear "
                           "within %u ms; is disk.EnableUUID TRUE on this machine, and "
                           "is this the machine it was attached to?",
                           place->dir, naa, place->wait_ms);
        if (!cancel_sleep_ms(cancel, POLL_MS, err))
            return false;
    }
}

static bool check_size(const struct hotadd_device *device, uint64_t disk_bytes,
                       struct err *err)
{
    uint64_t found_bytes = 0;
    if (!file_size(device->fd, device->path, &found_bytes, err))
        return false;
    return found_bytes == disk_bytes ||
           err_set(err, FAIL_CONFLICT,
                   "'%s' has %llu bytes, the snapshot's disk has %llu: the disk was "
                   "resized, or it is not this disk",
                   device->path, (unsigned long long)found_bytes,
                   (unsigned long long)disk_bytes);
}

static void open_direct(struct hotadd_device *device)
{
    int sector_bytes = 0;
    int read_only = 1;
    if (ioctl(device->fd, BLKSSZGET, &sector_bytes) != 0)
        return;                                    /* a regular file */
    (void)ioctl(device->fd, BLKROSET, &read_only); /* needs CAP_SYS_ADMIN */
    if (sector_bytes == ALIGN_BYTES)
        device->direct_fd = open(device->path, O_RDONLY | O_CLOEXEC | O_DIRECT);
}

bool hotadd_device_open(const struct hotadd_device_place *place,
                        const struct cancel *cancel, struct hotadd_device **ret,
                        struct err *err)
{
    AUTO(hotadd_device_close) struct hotadd_device *device = xcalloc(1, sizeof *device);
    device->fd = device->direct_fd = -1;
    if (!wait_for(device, place, cancel, err) ||
        !check_size(device, place->disk_bytes, err))
        return false;
    open_direct(device);
    *ret = TAKE(device);
    return true;
}

bool hotadd_device_read(const struct hotadd_device *device, struct lane_read *read,
                        struct err *err)
{
    bool is_direct = device->direct_fd >= 0 && (uintptr_t)read->data % ALIGN_BYTES == 0;
    if (file_pread_full(is_direct ? device->direct_fd : device->fd, device->path,
                        read->data, read->length_bytes, read->offset_bytes, err))
        return true;
    err->kind = FAIL_TRANSIENT; /* whatever it was: the disk can be attached anew */
    return false;
}

void hotadd_device_close(struct hotadd_device *device)
{
    if (!device)
        return;
    if (device->fd >= 0)
        (void)close(device->fd); /* only read */
    if (device->direct_fd >= 0)
        (void)close(device->direct_fd);
    free(device->path);
    free(device);
}
