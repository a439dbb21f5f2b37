/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the local target; nobody outside target/local*.c includes this.
 *
 * On disk, below <dir>/<machine>/:
 *   replica.json      the layout (local_layout.h): the one truth; written durably
 *   disk<N>.raw       base of replica disk N (or .qcow2, or a device elsewhere)
 *   disk<N>.g<G>.qcow2  overlay: replica disk N since the test that froze what is below
 *   tests/<test>/     clone disks, firmware variables, sockets, logs of one test VM
 *   vm/               the migrated VM: vm.json, start.sh, firmware variables, sockets
 *   evidence/         <vm>.png and <vm>.serial.log of each VM; never removed by a test
 */
#ifndef TARGET_LOCAL_H
#define TARGET_LOCAL_H

#include "target/lease.h"
#include "target/local_layout.h"
#include "target/stage.h"
#include "target/target.h"

#define LOCAL_MAX_CHAIN 32

/* Of a writer; as it was measured best for files and the block server. */
#define LOCAL_STAGE_SHAPE ((struct stage_shape){2, 3 * MIB})

struct local_device {
    char machine[MACHINE_NAME_BYTES];
    size_t disk_index;
    char path[MACHINE_PATH_BYTES];
};

struct local {
    struct target base;
    /* Set by target_local_open, never changed. */
    char *dir;
    enum local_format format;
    char *qemu_path;
    char *accel;
    bool plain_writes;
    struct local_device *devices;
    size_t device_count;
    struct leases leases; /* has its own lock */
};

/* What an opened disk needs; copied. */
struct local_disk_spec {
    struct local *local;
    struct lease *lease; /* taken */
    const char *path;
    const char *run_dir; /* for sockets and logs of a block server */
    uint64_t disk_bytes;
    bool is_qcow2;
    bool is_device;
    bool for_writing;
};

/* ---- local.c ---- */
/* Device of the map; NULL: a file. */
const char *local_device_of(const struct local *local, const char *machine,
                            size_t disk_index);
/* Every name becomes a folder or a file: checked at each door. */
MUST_CHECK bool local_check_machine(const struct machine_def *machine, struct err *err);

/* ---- local_raw.c, local_nbd.c: take spec->lease, also on failure ---- */
MUST_CHECK bool local_raw_open(const struct local_disk_spec *spec,
                               struct replica_disk **ret, struct err *err);
MUST_CHECK bool local_nbd_open(const struct local_disk_spec *spec,
                               struct replica_disk **ret, struct err *err);
/* Makes [start, end) of a file or device read as zeros. */
MUST_CHECK bool local_raw_punch(int fd, const char *name, uint64_t start_bytes,
                                uint64_t end_bytes, struct err *err);

/* ---- local_chain.c ---- */
/* Freezes all heads of the machine and makes a clone of each: one switch of the layout,
 * in which `test` appears. */
MUST_CHECK bool local_chain_freeze(struct local *local, struct local_layout *layout,
                                   const struct local_test *test, struct err *err);
/* Merges overlays that no test stands on into what is below them. Nothing to do while a
 * disk of the machine is open, or when the chains are short already. */
MUST_CHECK bool local_chain_collapse(struct local *local, struct local_layout *layout,
                                     struct err *err);

/* ---- local_vm.c ---- */
struct vm_process;
/* The picture and the serial log of a VM; makes the folder. */
MUST_CHECK bool local_evidence(const struct local_layout *layout, const char *vm_name,
                               struct vm_info *info, struct err *err);
/* Waits for the proof of boot and fills info. */
MUST_CHECK bool local_prove(const struct vm_process *process, const char *run_dir,
                            const struct test_options *options,
                            const struct cancel *cancel, struct vm_info *info,
                            struct err *err);
/* Removes the sockets of a run folder that lie elsewhere, then the folder. */
MUST_CHECK bool local_drop_run_dir(const char *run_dir, struct err *err);

/* ---- rows of the operations table ---- */
bool local_replica_create(struct target *target, const struct machine_def *machine,
                          struct err *err);
bool local_disk_open(struct target *target, const struct machine_def *machine,
                     size_t disk_index, bool for_writing, struct replica_disk **ret,
                     struct err *err);
bool local_disk_resize(struct target *target, const struct machine_def *machine,
                       size_t disk_index, uint64_t disk_bytes, struct err *err);
bool local_check(struct target *target, const struct machine_def *machine,
                 struct findings *findings, struct err *err);
bool local_test_start(struct target *target, const struct machine_def *machine,
                      const struct test_options *options, const struct cancel *cancel,
                      struct vm_info *ret, struct err *err);
bool local_test_cleanup(struct target *target, const struct machine_def *machine,
                        const char *test_name, struct err *err);
bool local_migrate(struct target *target, const struct machine_def *machine,
                   const struct test_options *options, const struct cancel *cancel,
                   struct vm_info *ret, struct err *err);
bool local_complete(struct target *target, const struct machine_def *machine,
                    struct err *err);
bool local_remove(struct target *target, const struct machine_def *machine,
                  struct err *err);

/* local_list.c */
bool local_list(struct target *target, target_each each, void *ctx, struct err *err);
bool local_inventory(struct target *target, target_each_thing each, void *ctx,
                     struct err *err);

#endif
