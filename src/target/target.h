/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where machines go: replica disks that take recovery points, test clones, the final VM.
 * One operations table in front of local, azure and a fault-injecting one.
 *
 * The target knows nothing of cycles or formats: the applier writes to replica disks and
 * says when a recovery point is complete. Threads: struct target by several threads,
 * calls about one machine by one at a time; each replica_writer by one thread, several
 * per disk side by side.
 */
#ifndef TARGET_TARGET_H
#define TARGET_TARGET_H

#include "base/cancel.h"
#include "base/finding.h"
#include "block/extents.h"
#include "block/machine.h"

struct target;
struct replica_disk;   /* one open disk of a replica */
struct replica_writer; /* one thread's writes to it */

struct test_options {
    const char *test_name; /* unique per machine: "t1"; names the clone and the VM */
    const char *network;   /* "" or "isolated": no link to anything; "user": NAT */
    bool start;            /* false: make the clone, do not boot */
    const char *marker;    /* text on the serial console that proves the boot; "" none */
    uint64_t boot_deadline_ms; /* how long to wait for the proof */
    /* Called once the clone exists and only the boot is waited for: from here on the
     * replica's disks may be opened and take recovery points. NULL: nobody wants to know.
     */
    void (*on_cloned)(void *ctx);
    void *on_cloned_ctx;
};

struct vm_info {
    char name[MACHINE_NAME_BYTES + 32];
    char how_booted[64]; /* "serial marker", "guest agent", "settled screen", "" not
                            proved */
    uint64_t boot_ms;    /* from start to proof */
    char screen_png[MACHINE_PATH_BYTES]; /* evidence; "" none */
    char serial_log[MACHINE_PATH_BYTES];
    char qmp_path[MACHINE_PATH_BYTES];
    int pid;
    size_t disk_count;
    char disk_paths[MACHINE_MAX_DISKS][MACHINE_PATH_BYTES]; /* what the VM runs on */
};

/* Something that a target holds. */
struct target_item {
    const struct machine_def *machine; /* as it was when the replica was made */
    const char *test_name;             /* NULL: the replica itself */
    bool is_migrated;                  /* the replica is a VM's now */
};
typedef bool (*target_each)(void *ctx, const struct target_item *item, struct err *err);

/* One thing that exists at a target because of us, down to what a bill names. */
struct target_thing {
    const char *kind;         /* "page blob", "snapshot", "disk", "nic", "vm", "file" */
    const char *name;         /* for people */
    const char *id;           /* what the target's own tools call it */
    const char *machine;      /* name; "" when no layout tells it */
    const char *machine_id;   /* as tagged; "" unknown */
    const char *role;         /* "replica", "test-<name>", "vm", "layout" */
    const char *state;        /* as the target says; "" none */
    uint64_t size_bytes;      /* 0: it has none */
    uint64_t allocated_bytes; /* what is stored of it, where that is less */
    bool is_known;            /* a layout names it; else an orphan */
};
typedef bool (*target_each_thing)(void *ctx, const struct target_thing *thing,
                                  struct err *err);

struct target_ops {
    const char *kind; /* "local", "azure", "fault" */
    bool (*check)(struct target *target, const struct machine_def *machine,
                  struct findings *findings, struct err *err);
    bool (*replica_create)(struct target *target, const struct machine_def *machine,
                           struct err *err);
    bool (*disk_open)(struct target *target, const struct machine_def *machine,
                      size_t disk_index, bool for_writing, struct replica_disk **ret,
                      struct err *err);
    bool (*disk_resize)(struct target *target, const struct machine_def *machine,
                        size_t disk_index, uint64_t disk_bytes, struct err *err);
    bool (*test_start)(struct target *target, const struct machine_def *machine,
                       const struct test_options *options, const struct cancel *cancel,
                       struct vm_info *ret, struct err *err);
    bool (*test_cleanup)(struct target *target, const struct machine_def *machine,
                         const char *test_name, struct err *err);
    bool (*migrate)(struct target *target, const struct machine_def *machine,
                    const struct test_options *options, const struct cancel *cancel,
                    struct vm_info *ret, struct err *err);
    bool (*complete)(struct target *target, const struct machine_def *machine,
                     struct err *err);
    bool (*remove)(struct target *target, const struct machine_def *machine,
                   struct err *err);
    /* NULL: cannot tell. */
    bool (*list)(struct target *target, target_each each, void *ctx, struct err *err);
    /* NULL: cannot tell. */
    bool (*inventory)(struct target *target, target_each_thing each, void *ctx,
                      struct err *err);
    void (*close)(struct target *target);
    /* of an open disk */
    bool (*read)(struct replica_disk *disk, uint64_t offset_bytes, uint8_t *data,
                 size_t data_bytes, struct err *err);
    bool (*flush)(struct replica_disk *disk, struct err *err);
    uint64_t (*disk_bytes)(const struct replica_disk *disk);
    void (*disk_close)(struct replica_disk *disk);
    bool (*allocated)(struct replica_disk *disk, struct extents *ret, struct err *err);
    /* of a writer */
    bool (*writer_open)(struct replica_disk *disk, struct replica_writer **ret,
                        struct err *err);
    uint8_t *(*room)(struct replica_writer *writer);
    bool (*put)(struct replica_writer *writer, uint64_t offset_bytes, const uint8_t *data,
                size_t data_bytes, struct err *err);
    bool (*zero)(struct replica_writer *writer, uint64_t start_bytes, uint64_t end_bytes,
                 struct err *err);
    bool (*drain)(struct replica_writer *writer, struct err *err);
    void (*writer_close)(struct replica_writer *writer);
};

/* Every implementation's structs begin with these. */
struct target {
    const struct target_ops *ops;
};
struct replica_disk {
    const struct target_ops *ops;
};
struct replica_writer {
    const struct target_ops *ops;
    struct replica_disk *disk; /* set by replica_disk_writer_open */
};

/* Pre-flight: room, tools, permissions, name clashes; and, where that costs money, what
 * will be made. machine NULL: the target alone. Changes nothing. */
MUST_CHECK bool target_check(struct target *target, const struct machine_def *machine,
                             struct findings *findings, struct err *err);

/* Makes all replica disks, all zeros, and keeps the definition. Done already is success
 * when sizes agree (FAIL_CONFLICT otherwise). */
MUST_CHECK bool target_replica_create(struct target *target,
                                      const struct machine_def *machine, struct err *err);

/* The current state of the replica: writes of the applier go here. */
MUST_CHECK bool target_disk_open(struct target *target, const struct machine_def *machine,
                                 size_t disk_index, bool for_writing,
                                 struct replica_disk **ret, struct err *err);
/* Grows or cuts the replica disk (source disk was resized); durable. */
MUST_CHECK bool target_disk_resize(struct target *target,
                                   const struct machine_def *machine, size_t disk_index,
                                   uint64_t disk_bytes, struct err *err);

/* A VM named "<machine>-<test_name>" from a clone of the replica as it is now: shares its
 * blocks, takes seconds whatever the size, never writes to it. The replica may take
 * further recovery points while tests run. */
MUST_CHECK bool target_test_start(struct target *target,
                                  const struct machine_def *machine,
                                  const struct test_options *options,
                                  const struct cancel *cancel, struct vm_info *ret,
                                  struct err *err);
/* Ends the VM, removes the clone. Gone already is success. Evidence (PNG, log) stays. */
MUST_CHECK bool target_test_cleanup(struct target *target,
                                    const struct machine_def *machine,
                                    const char *test_name, struct err *err);

/* The final VM on the replica disks themselves: same CPUs, memory, firmware, disk order,
 * MACs. FAIL_CONFLICT while a test exists. */
MUST_CHECK bool target_migrate(struct target *target, const struct machine_def *machine,
                               const struct test_options *options,
                               const struct cancel *cancel, struct vm_info *ret,
                               struct err *err);
/* After migrate: removes what only replication needed; VM, its disks and evidence stay.
 */
MUST_CHECK bool target_complete(struct target *target, const struct machine_def *machine,
                                struct err *err);
/* Stop replication: removes replica disks, tests, definition. FAIL_CONFLICT after
 * migrate. */
MUST_CHECK bool target_remove(struct target *target, const struct machine_def *machine,
                              struct err *err);
/* Everything of ours that is there: each replica, then each of its tests; each()
 * returning false ends the listing with its error. A target that cannot tell lists
 * nothing. */
MUST_CHECK bool target_list(struct target *target, target_each each, void *ctx,
                            struct err *err);
/* Everything of ours that is there, one by one, by looking at the target itself and not
 * at the layouts alone; as target_list otherwise. FAIL_INPUT: the target cannot tell. */
MUST_CHECK bool target_inventory(struct target *target, target_each_thing each, void *ctx,
                                 struct err *err);
void target_close(struct target *target);
AUTO_CLEANUP(struct target, target_close);

MUST_CHECK bool replica_disk_read(struct replica_disk *disk, uint64_t offset_bytes,
                                  uint8_t *data, size_t data_bytes, struct err *err);
/* After every writer was drained: all is on stable storage. */
MUST_CHECK bool replica_disk_flush(struct replica_disk *disk, struct err *err);
uint64_t replica_disk_bytes(const struct replica_disk *disk);
/* What may be other than zeros. */
MUST_CHECK bool replica_disk_allocated(struct replica_disk *disk, struct extents *ret,
                                       struct err *err);
void replica_disk_close(struct replica_disk *disk);
AUTO_CLEANUP(struct replica_disk, replica_disk_close);

MUST_CHECK bool replica_disk_writer_open(struct replica_disk *disk,
                                         struct replica_writer **ret, struct err *err);
/*
 * Room for the next RECORD_SPAN_MAX_BYTES (1 MiB) in the writer's own staging buffer.
 * Data unpacked there and then put at the offset where the last put ended costs no copy:
 * neighbouring puts are joined to one write of up to 4 MiB. Never NULL. Valid until the
 * next put, zero or drain.
 */
uint8_t *replica_writer_room(struct replica_writer *writer);
/* data may lie in the room or anywhere else (then it is copied). Errors of earlier writes
 * may show up here or in drain. Sector aligned. */
MUST_CHECK bool replica_writer_put(struct replica_writer *writer, uint64_t offset_bytes,
                                   const uint8_t *data, size_t data_bytes,
                                   struct err *err);
/* Makes the range read as zeros: punches holes where it can. Ordered against this
 * writer's own earlier puts. */
MUST_CHECK bool replica_writer_zero(struct replica_writer *writer, uint64_t start_bytes,
                                    uint64_t end_bytes, struct err *err);
/* Waits until everything put is written (not yet flushed to stable storage). */
MUST_CHECK bool replica_writer_drain(struct replica_writer *writer, struct err *err);
void replica_writer_close(struct replica_writer *writer); /* drops what was not drained */
AUTO_CLEANUP(struct replica_writer, replica_writer_close);

/* ---- implementations ---- */

enum local_format { LOCAL_RAW, LOCAL_QCOW2 };

struct target_local_options {
    const char *dir; /* replicas, tests, VMs, evidence live below it */
    enum local_format format;
    const char *qemu_path; /* NULL: "qemu-system-x86_64" */
    const char
        *accel; /* "auto": probe /dev/kvm with a deadline, else tcg; "kvm"; "tcg" */
    /* Replica disk i of machine m on an existing block device instead of a file: lines
     * "<machine> <index> <device>"; NULL: none. */
    const char *device_map_path;
    /* No O_DIRECT, no io_uring: what is used anyway where the kernel refuses them. */
    bool plain_writes;
};
MUST_CHECK bool target_local_open(const struct target_local_options *options,
                                  struct target **ret, struct err *err);

#define AZURE_MAX_USER_TAGS 15 /* on what an azure target makes */

/* Texts are borrowed for the target's life; NULL or "" where nothing else is said: not
 * given. */
struct target_azure_options {
    const char *name; /* the target's, for the tag of what it makes */
    const char *subscription, *resource_group, *location;
    const char *credential_file;         /* azure/access.h, for Resource Manager */
    const char *endpoint;                /* of Resource Manager, instead of the cloud's */
    const char *replica_container;       /* URL; azure/blob.h */
    const char *replica_credential_file; /* azure/access.h, for that */
    const char *storage_account_id;      /* resource id of its account */
    const char *network_id, *subnet;
    const char *test_network_id, *test_subnet;
    const char *vm_size;  /* not given: the smallest that fits */
    const char *disk_sku; /* not given: StandardSSD_LRS */
    const char *replica;  /* "auto", "page-blob", "upload" */
    const char *zone, *availability_set_id, *proximity_group_id;
    const char *security_group_id, *license_type, *encryption_set_id;
    const char *os_type;     /* not given: Linux */
    const char *const *tags; /* "NAME=VALUE", for everything */
    size_t tag_count;
    const char *machine_settings; /* path of a JSON file; target/azure_wish.h */
    const char *evidence_dir;     /* made when needed; copied */
    uint64_t poll_ms;             /* pause between two looks at something slow; 0: 5 s */
    uint64_t retry_for_ms;        /* as of azure_client_options */
    uint64_t retry_base_ms;
};
/* Asks the storage account and nobody else. */
MUST_CHECK bool target_azure_open(const struct target_azure_options *options,
                                  struct target **ret, struct err *err);

struct target_fault_options {
    uint64_t seed;
    uint32_t rate_per_million; /* of writes that misbehave */
    uint64_t after_writes;
    enum err_kind kind;
    bool corrupt; /* writes a flipped bit */
    uint32_t delay_ms;
    const char *trigger_path; /* NULL: always */
};
/* Wraps and takes ownership of inner. */
MUST_CHECK struct target *target_fault_new(struct target *inner,
                                           const struct target_fault_options *options);

#endif
