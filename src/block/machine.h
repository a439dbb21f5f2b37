/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a machine is, as far as replication and the target VM need to know: CPU count,
 * memory, firmware, disks in boot order, network cards. Filled by a source, stored by the
 * vault (JSON by http/machine_json.h), used by a target. Plain data, fixed sizes; copy by
 * assignment.
 */
#ifndef BLOCK_MACHINE_H
#define BLOCK_MACHINE_H

#include "base/id.h"

#define MACHINE_NAME_BYTES 64
#define MACHINE_MAX_DISKS  60 /* as the system of the seed articles */
#define MACHINE_MAX_NICS   10
#define MACHINE_PATH_BYTES 1024

enum machine_firmware { FIRMWARE_BIOS, FIRMWARE_UEFI };

struct machine_disk {
    struct id id; /* made by us when the machine is enabled; zero in a discovery result */
    char key[128];   /* the source's own stable name: QEMU node name, file path */
    char label[128]; /* for people: file name */
    uint64_t disk_bytes;
    char bus[32];       /* "nvme", "virtio", "scsi", "ide"; "" unknown */
    char serial[64];    /* as the guest sees it; "" none */
    char datastore[80]; /* where its file lies now: limits count by it; "" unknown */
};

struct machine_nic {
    char mac[18]; /* "52:54:00:12:34:56" */
    char model[32];
    char network[64];
};

struct machine_def {
    struct id id; /* ours; zero in a discovery result */
    char name[MACHINE_NAME_BYTES];
    char
        key[128]; /* the source's own stable identity: QMP UUID or name, "image:<name>" */
    uint32_t cpus;
    uint64_t memory_bytes;
    enum machine_firmware firmware;
    char machine_type[32]; /* QEMU: "q35", "pc"; "" unknown */
    bool is_running;
    char host[128]; /* runs there now: limits count by it; "" unknown or no limit */
    /* Direct kernel boot (QEMU -kernel): paths on the source host, "" when booted from
     * disk. */
    char kernel[MACHINE_PATH_BYTES];
    char initrd[MACHINE_PATH_BYTES];
    char kernel_args[1024];
    size_t disk_count;
    struct machine_disk disks[MACHINE_MAX_DISKS];
    size_t nic_count;
    struct machine_nic nics[MACHINE_MAX_NICS];
};

#endif
