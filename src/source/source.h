/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where machines are read from: one operations table in front of vsphere, qemu, image and
 * fault. A source knows machines, makes points in time of all disks of one
 * machine, tells what changed since an earlier one, and reads them.
 *
 * Life of a cycle here: snapshot_open -> (disk_info, changes, allocated, readers) ->
 * snapshot_end. A snapshot outlives this process: snapshot_open with its handle finds it
 * again after a crash (snapshot_is_resumed), as long as the source's own process lives.
 *
 * Change ids. snapshot_open gets, per disk, the change id of the last *applied* cycle (""
 * for none). A source that tracks changes keeps recording from that id until
 * snapshot_end(APPLIED) of a later one, so a cycle that failed, or a gateway that died at
 * any instant, loses nothing.
 *
 * Threads: struct source and struct snapshot are used by one thread at a time; each
 * reader by one thread, several readers of one snapshot side by side.
 */
#ifndef SOURCE_SOURCE_H
#define SOURCE_SOURCE_H

#include "base/cancel.h"
#include "base/finding.h"
#include "block/cycleobj.h"
#include "block/machine.h"
#include "http/json.h"

struct source;
struct snapshot;
struct reader;

struct snapshot_request {
    const struct machine_def *machine;
    uint64_t cycle; /* names the snapshot, recognisably ours */
    const char *previous_change_ids[MACHINE_MAX_DISKS]; /* "" none */
    const char *resume_handle; /* plan.snapshot of an unfinished cycle; NULL: none */
    uint64_t resume_cycle;     /* the one it belongs to */
    bool quiesce;              /* ask the guest (agent) to flush; falls back, aloud */
};

/* What people and limits want to know of an open snapshot; "" what is not known. */
struct snapshot_facts {
    char host[128];   /* where the machine runs now */
    char notice[400]; /* what was not as asked for: quiescing, tracking, space */
    struct {
        char datastore[80]; /* where the disk lies now */
        char reading[480];  /* how it is read: "nfc (nbdssl, skipz)" */
    } disks[MACHINE_MAX_DISKS];
};

enum change_knowledge {
    CHANGES_KNOWN, /* snapshot_changes gives exactly what changed, or a superset */
    CHANGES_NONE,  /* this source does not track: compare by content hash */
    CHANGES_LOST,  /* it tracked, but the record is broken: resync by hash; see why */
};

struct snapshot_disk_info {
    uint64_t disk_bytes;           /* at this point in time */
    char change_id[CHANGE_ID_MAX]; /* of this point in time; "" when not tracked */
    enum change_knowledge knowledge;
    char why[200]; /* for CHANGES_LOST and CHANGES_NONE */
};

enum snapshot_outcome {
    SNAPSHOT_APPLIED,  /* the recovery point is committed: older change records may go */
    SNAPSHOT_FAILED,   /* nothing was applied: what was recorded is merged back */
    SNAPSHOT_DETACHED, /* we go away, it stays: a later open with the handle resumes it */
};

/* One read in flight. The caller owns it and its buffer until reader_next returns it. */
struct read_request {
    uint64_t offset_bytes;     /* multiple of SECTOR_BYTES */
    uint32_t length_bytes;     /* 1 sector .. READ_MAX_BYTES */
    uint8_t *data;             /* filled on success */
    void *tag;                 /* the caller's */
    bool ok;                   /* set by reader_next */
    struct err err;            /* when !ok */
    struct read_request *next; /* the reader's own */
};
#define READ_MAX_BYTES (4 * MIB)

struct source_ops {
    const char *kind; /* "vsphere", "qemu", "image", "fault" */
    bool (*discover)(struct source *source, struct machine_def **ret_machines,
                     size_t *ret_count, struct err *err);
    bool (*find)(struct source *source, const char *name, struct machine_def *ret,
                 struct err *err); /* NULL: discover and look */
    bool (*inventory)(struct source *source, json_t **ret,
                      struct err *err); /* NULL: there is only what discover shows */
    bool (*check)(struct source *source, const struct machine_def *machine,
                  struct findings *findings, struct err *err);
    bool (*snapshot_open)(struct source *source, const struct snapshot_request *request,
                          const struct cancel *cancel, struct snapshot **ret,
                          struct err *err);
    bool (*shutdown)(struct source *source, const struct machine_def *machine,
                     uint64_t deadline_ms, const struct cancel *cancel, struct err *err);
    bool (*startup)(struct source *source, const struct machine_def *machine,
                    const struct cancel *cancel, struct err *err); /* NULL: cannot */
    bool (*forget)(struct source *source, const struct machine_def *machine,
                   struct err *err);
    void (*close)(struct source *source);
    /* of a snapshot */
    bool (*disk_info)(struct snapshot *snapshot, size_t disk_index,
                      struct snapshot_disk_info *ret, struct err *err);
    bool (*changes)(struct snapshot *snapshot, size_t disk_index, struct extents *ret,
                    struct err *err);
    bool (*allocated)(struct snapshot *snapshot, size_t disk_index, struct extents *ret,
                      struct err *err);
    const char *(*handle)(const struct snapshot *snapshot);
    bool (*is_resumed)(const struct snapshot *snapshot);
    void (*facts)(struct snapshot *snapshot, struct snapshot_facts *ret); /* or NULL */
    bool (*snapshot_end)(struct snapshot *snapshot, enum snapshot_outcome outcome,
                         struct err *err);
    /* of a reader */
    bool (*reader_open)(struct snapshot *snapshot, size_t disk_index, struct reader **ret,
                        struct err *err);
    bool (*submit)(struct reader *reader, struct read_request *request, struct err *err);
    struct read_request *(*next)(struct reader *reader, const struct cancel *cancel,
                                 struct err *err);
    void (*reader_close)(struct reader *reader);
};

/* Every implementation's structs begin with these. */
struct source {
    const struct source_ops *ops;
};
struct snapshot {
    const struct source_ops *ops;
};
struct reader {
    const struct source_ops *ops;
};

/* All machines of this source. *ret_machines is malloc'ed, the caller frees it. */
MUST_CHECK bool source_discover(struct source *source, struct machine_def **ret_machines,
                                size_t *ret_count, struct err *err);

/* One machine by name or key. FAIL_GONE: there is none; FAIL_CONFLICT: several have that
 * name. */
MUST_CHECK bool source_find(struct source *source, const char *name,
                            struct machine_def *ret, struct err *err);

/*
 * All that the source knows about itself and its machines, as an object of the API:
 * "machines" (name, key, cpus, memory_bytes, firmware, running, disks, nics as for
 * discover, and what else this kind knows) and lists of places, hosts, datastores,
 * networks. *ret is NULL for a kind that has no more than discover; else the caller's.
 */
MUST_CHECK bool source_inventory(struct source *source, json_t **ret, struct err *err);

/* Pre-flight; changes nothing. Findings, blockers included, are not an error of this
 * call. */
MUST_CHECK bool source_check(struct source *source, const struct machine_def *machine,
                             struct findings *findings, struct err *err);

/* The point in time of all disks at one instant. The old snapshot of a cycle that failed
 * without snapshot_end (we crashed) is found and cleaned up here first. cancel is
 * borrowed until the snapshot ends. */
MUST_CHECK bool source_snapshot_open(struct source *source,
                                     const struct snapshot_request *request,
                                     const struct cancel *cancel, struct snapshot **ret,
                                     struct err *err);

/* Asks the guest to shut down and waits for it; FAIL_TRANSIENT when it does not in time.
 * After it a snapshot still works (the source's disks stay readable): QEMU stays, its
 * guest is off. */
MUST_CHECK bool source_shutdown(struct source *source, const struct machine_def *machine,
                                uint64_t deadline_ms, const struct cancel *cancel,
                                struct err *err);

/* Lets a machine that was shut down run again, when its migration failed. A source that
 * cannot: FAIL_CONFLICT. */
MUST_CHECK bool source_startup(struct source *source, const struct machine_def *machine,
                               const struct cancel *cancel, struct err *err);

/* Removes everything of ours from the machine at the source: bitmaps, exports, scratch,
 * snapshots. */
MUST_CHECK bool source_forget(struct source *source, const struct machine_def *machine,
                              struct err *err);
void source_close(struct source *source);
AUTO_CLEANUP(struct source, source_close);

MUST_CHECK bool snapshot_disk_info(struct snapshot *snapshot, size_t disk_index,
                                   struct snapshot_disk_info *ret, struct err *err);
/* Only with CHANGES_KNOWN. Sector aligned, within the disk. */
MUST_CHECK bool snapshot_changes(struct snapshot *snapshot, size_t disk_index,
                                 struct extents *ret, struct err *err);
/* What may hold something other than zeros. Sector aligned, within the disk. */
MUST_CHECK bool snapshot_allocated(struct snapshot *snapshot, size_t disk_index,
                                   struct extents *ret, struct err *err);
/* Text to be kept in the plan; what resume_handle wants. */
const char *snapshot_handle(const struct snapshot *snapshot);
/* true: the very same point in time was found again. */
bool snapshot_is_resumed(const struct snapshot *snapshot);

/* Any thread, while readers work too. All "" when the kind knows nothing. */
void snapshot_facts_get(struct snapshot *snapshot, struct snapshot_facts *ret);

/* Ends and frees the snapshot, whatever is returned. */
MUST_CHECK bool snapshot_end(struct snapshot *snapshot, enum snapshot_outcome outcome,
                             struct err *err);

MUST_CHECK bool snapshot_reader_open(struct snapshot *snapshot, size_t disk_index,
                                     struct reader **ret, struct err *err);
/* Starts a read; up to READER_MAX_IN_FLIGHT at once. */
#define READER_MAX_IN_FLIGHT 64
MUST_CHECK bool reader_submit(struct reader *reader, struct read_request *request,
                              struct err *err);
/* Waits for any finished read. NULL with *err: none in flight is FAIL_BUG, FAIL_CANCELED.
 */
MUST_CHECK struct read_request *reader_next(struct reader *reader,
                                            const struct cancel *cancel, struct err *err);
/* Waits for reads in flight, drops them. NULL is fine. */
void reader_close(struct reader *reader);
AUTO_CLEANUP(struct reader, reader_close);

/* ---- implementations ---- */

struct source_qemu_options {
    const char *qmp_path; /* the VM's QMP Unix socket */
    const char *name;     /* machine name, when the VM has none; NULL: from QMP */
    const char
        *scratch_dir; /* for copy-before-write files; the VM's QEMU must reach it */
    uint64_t granularity_bytes; /* of dirty bitmaps; 0: 65536 */
    uint64_t
        scratch_max_bytes; /* a cycle whose scratch grows beyond fails; 0: no bound */
};
MUST_CHECK bool source_qemu_open(const struct source_qemu_options *options,
                                 struct source **ret, struct err *err);

struct source_image_options {
    const char *name;         /* machine name */
    const char *const *paths; /* raw or qcow2 files or block devices, in disk order */
    size_t path_count;
    const char
        *changes_path; /* of disk 0, "offset length" lines: known changes; NULL: none */
    uint32_t cpus;     /* of the definition; 0: 1 */
    uint64_t memory_bytes; /* 0: 256 MiB */
};
MUST_CHECK bool source_image_open(const struct source_image_options *options,
                                  struct source **ret, struct err *err);

struct source_vsphere_options {
    const char *url;  /* "https://vcenter.example" or an ESXi host's */
    const char *user; /* "administrator@vsphere.local" */
    const char *password_file;
    const char *ca_file;      /* PEM; NULL: the system's */
    const char *fingerprint;  /* SHA-256 of the certificate, instead of a chain; NULL */
    const char *proxy_url;    /* NULL: direct */
    const char *datacenter;   /* only machines below this path, "DC0"; NULL: all */
    const char *name_pattern; /* only machines whose name matches: "web-*"; NULL: all */
    const char *const *transports; /* in order of preference; none: nfc, https */
    size_t transport_count;
    bool nfc_plain;                /* unencrypted to the host (nbd) */
    const char *nfc_compression;   /* stored, zlib, fastlz, skipz; NULL: skipz */
    uint32_t in_flight;            /* reads per connection; 0: the transport's own */
    uint64_t host_budget_bytes;    /* NFC reads in flight per host; 0: 32 MiB */
    const char *vddk_library;      /* libvixDiskLib.so of the user; NULL */
    const char *hotadd_machine;    /* the machine we run in: its name or instance UUID;
                                    * NULL: the one with this system's BIOS UUID */
    const char *hotadd_record_dir; /* where attached disks are noted, durable; NULL:
                                    * /var/lib/kedge/hotadd */
    const char *hotadd_device_dir; /* where they appear; NULL: /dev/disk/by-id */
    bool quiesce;                  /* of every cycle */
    bool may_power_off;            /* at a migration, when the guest does not shut down */
    bool has_floor;                /* floor_bytes counts; else 10 GiB */
    uint64_t floor_bytes; /* free on each datastore, or no cycle runs; 0: no guard */
    uint64_t create_ms;   /* bound of making a snapshot; 0: 20 min */
    uint64_t rest_ms;     /* bound of attempts at removing one; 0: 10 min */
};
/* Logs in. Any number of sources for one server may be open; they share the session. */
MUST_CHECK bool source_vsphere_open(const struct source_vsphere_options *options,
                                    struct source **ret, struct err *err);

struct source_fault_options {
    uint64_t seed;
    uint32_t rate_per_million; /* of reads that misbehave */
    uint64_t after_reads;      /* none before that many */
    enum err_kind kind;        /* of injected errors */
    uint32_t delay_ms;         /* of every read */
    bool corrupt;              /* flips a bit instead of failing */
    const char *trigger_path;  /* misbehave only while this file exists; NULL: always */
};
/* Wraps and takes ownership of inner. */
MUST_CHECK struct source *source_fault_new(struct source *inner,
                                           const struct source_fault_options *options);

#endif
