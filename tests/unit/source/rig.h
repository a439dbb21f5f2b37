/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real QEMU without a guest system, and what the guest's disks must hold. Writes go
 * through the devices' own block backends, as a guest's would.
 */
#ifndef TESTS_SOURCE_RIG_H
#define TESTS_SOURCE_RIG_H

#include "qemu/qmp.h"
#include "source/source.h"

#define RIG_DISKS 2

struct rig {
    char dir[64];
    char qmp_path[96];
    char scratch_dir[96];
    char disk_paths[RIG_DISKS][96];
    uint64_t disk_bytes[RIG_DISKS]; /* set before rig_init: another size */
    uint8_t *model[RIG_DISKS];      /* what the disks hold now */
    const char *format_1;           /* of disk 1: "qcow2" or "raw" */
    const char *device_1;           /* -device of disk 1; NULL: virtio-blk-pci */
    bool has_base_image;            /* disk 0 is an overlay of another image */
    const char *boot_sector; /* hex of a boot sector for disk 0, machine runs; or NULL */
    const char *extra[12];   /* more arguments, NULL-ended */
    int pid;
};

/* Exits the test (77) when there is no QEMU. */
void rig_init(struct rig *rig);
void rig_start(struct rig *rig);
void rig_quit(struct rig *rig); /* cleanly: bitmaps are stored */
void rig_kill(struct rig *rig);
void rig_release(struct rig *rig);

json_t *rig_call(struct rig *rig, const char *command, json_t *arguments);
/* As the guest does; the model follows. */
void rig_write(struct rig *rig, size_t disk, int pattern, uint64_t offset_bytes,
               uint64_t length_bytes);
/* The same without the model, for offsets that only QEMU judges. */
void rig_command(struct rig *rig, size_t disk, const char *text);
/* Names of our bitmaps on a disk, with flags: "kedge-1-abc+" (recording), blank-joined.
 */
char *rig_bitmaps(struct rig *rig, size_t disk);
/* How many nodes, exports and scratch files of ours there are. */
size_t rig_leftovers(struct rig *rig);

struct source *rig_source(struct rig *rig, uint64_t scratch_max_bytes);
struct machine_def *rig_machine(struct source *source); /* free() it */

/* Opens, or fails the test. change_ids: of the last applied cycle, "" none. */
struct snapshot *rig_open(struct source *source, const struct machine_def *machine,
                          uint64_t cycle, char change_ids[][CHANGE_ID_MAX],
                          const char *resume_handle);
/* New ids of all disks. */
void rig_change_ids(struct snapshot *snapshot, size_t count, char ids[][CHANGE_ID_MAX]);

/* The whole disk through `in_flight` reads at once; free() it. */
uint8_t *rig_read_disk(struct snapshot *snapshot, size_t disk, size_t in_flight);
uint8_t *rig_copy_model(const struct rig *rig, size_t disk);
void rig_expect_disk(struct snapshot *snapshot, size_t disk, const uint8_t *expected,
                     uint64_t bytes);

#endif
