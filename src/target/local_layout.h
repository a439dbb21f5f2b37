/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layout of one machine's replica: which files, in which order, make up each disk,
 * which tests stand on which of them, and whether the machine was migrated. Kept in
 * replica.json, replaced durably as a whole; every change of the replica's shape is
 * exactly one such replacement.
 */
#ifndef TARGET_LOCAL_LAYOUT_H
#define TARGET_LOCAL_LAYOUT_H

#include "block/machine.h"

#define LOCAL_MAX_TESTS  16
#define LOCAL_FILE_BYTES 64

struct local_disk {
    uint64_t disk_bytes;
    char device[MACHINE_PATH_BYTES]; /* base is this device; "" a file of ours */
    /* Base first, head (where the applier writes) last. Name of overlay k > 0:
     * local_layout_file. */
    size_t chain_count;
    uint64_t generations[40]; /* [0] is 0: the base */
};

struct local_test {
    char name[MACHINE_NAME_BYTES];
    uint64_t frozen_generations[MACHINE_MAX_DISKS]; /* what each clone stands on */
    int pid;                                        /* 0: no VM */
    uint64_t pid_start_ticks;
};

struct local_layout {
    struct machine_def machine; /* as of replica_create and the resizes since */
    bool is_qcow2;              /* format of the base files */
    uint64_t next_generation;
    size_t disk_count;
    struct local_disk disks[MACHINE_MAX_DISKS];
    size_t test_count;
    struct local_test tests[LOCAL_MAX_TESTS];
    bool is_migrated;
    int vm_pid;
    uint64_t vm_pid_start_ticks;
    char *dir; /* "<target dir>/<machine>"; owned */
};

MUST_CHECK struct local_layout *local_layout_new(const char *target_dir,
                                                 const char *machine_name);
void local_layout_free(struct local_layout *layout);
AUTO_CLEANUP(struct local_layout, local_layout_free);

/* FAIL_GONE: no replica of that machine here. Removes what a crash left behind: files and
 * test folders that the layout does not name, and the processes that use them. */
MUST_CHECK struct local_layout *local_layout_open(const char *target_dir,
                                                  const char *machine_name,
                                                  struct err *err);
/* The same, but looks only. */
MUST_CHECK struct local_layout *local_layout_read(const char *target_dir,
                                                  const char *machine_name,
                                                  struct err *err);
MUST_CHECK bool local_layout_save(const struct local_layout *layout, struct err *err);

/* Removes sockets and logs of block servers, and ends the servers; only when no disk of
 * the machine is open. */
MUST_CHECK bool local_layout_sweep_servers(const struct local_layout *layout,
                                           struct err *err);
/* Ends block servers that run in this folder. */
MUST_CHECK bool local_layout_kill_servers(const char *layout_dir, struct err *err);

/* Whole path of one file of a chain; owned by the caller. */
MUST_CHECK char *local_layout_file(const struct local_layout *layout, size_t disk_index,
                                   uint64_t generation);
bool local_layout_is_qcow2(const struct local_layout *layout, uint64_t generation);
static inline uint64_t local_layout_head(const struct local_disk *disk)
{
    return disk->generations[disk->chain_count - 1];
}
MUST_CHECK char *local_layout_test_dir(const struct local_layout *layout,
                                       const char *test_name);
/* Index; test_count when there is none. */
size_t local_layout_find_test(const struct local_layout *layout, const char *test_name);
void local_layout_drop_test(struct local_layout *layout, size_t at);

#endif
