/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the vsphere source share. Roles:
 *
 *   source_vsphere.c    operations table, options, shutdown, startup, forget
 *   vsphere_session.c   one login per server and account, shared by all pieces of work
 *   vsphere_discover.c  machines as definitions      vsphere_inventory.c  as JSON
 *   vsphere_check.c     pre-flight of a machine      vsphere_reach.c      of its places
 *   vsphere_change_id.c what is remembered per disk, and what it still says
 *   vsphere_track.c     change tracking made effective, questions to it
 *   vsphere_rest.c      snapshots of ours taken away, disks consolidated
 *   vsphere_snapshot.c  a cycle's point in time      vsphere_space.c      datastore guard
 *   vsphere_lane.c      choice of transport          vsphere_reader.c     reads over it
 *
 * Everything of ours at the server is a snapshot whose name begins with
 * VSPHERE_OUR_PREFIX and whose description holds the id of the machine here. Nothing
 * else is ever removed.
 */
#ifndef SOURCE_VSPHERE_H
#define SOURCE_VSPHERE_H

#include "source/source.h"
#include "vsphere/transport.h"
#include "vsphere/vim_change.h"
#include "vsphere/vim_inventory.h"
#include "vsphere/vim_snapshot.h"

#define VSPHERE_OUR_PREFIX  "kedge-"
#define VSPHERE_NAME_BYTES  64
#define VSPHERE_RAW_BYTES   CHANGE_ID_MAX /* of the server's own change id */
#define VSPHERE_FLOOR_BYTES (10 * GIB)
#define VSPHERE_TRANSPORTS  4

#define VSPHERE_CREATE_MS      ((uint64_t)20 * 60 * 1000) /* one snapshot task */
#define VSPHERE_REST_MS        ((uint64_t)10 * 60 * 1000) /* attempts at coming to rest */
#define VSPHERE_MERGE_MS       ((uint64_t)2 * 60 * 60 * 1000) /* one removal: it moves data */
#define VSPHERE_GUARD_EVERY_MS 20000
#define VSPHERE_MIN_HARDWARE   7 /* change tracking needs virtual hardware 7 */

/* ---- session (vsphere_session.c) ---- */

/* A login that all sources with the same options share. Any thread. */
struct vsphere_session;
MUST_CHECK struct vsphere_session *vsphere_session_take(const struct vim_options *options,
                                                        struct err *err);
struct vim *vsphere_session_vim(struct vsphere_session *session);
/* For a transport that logs in by itself. Borrowed until given back. */
const struct secret *vsphere_session_password(const struct vsphere_session *session);
/* The last one logs out. NULL is fine. */
void vsphere_session_give(struct vsphere_session *session);

/* ---- source (source_vsphere.c) ---- */

struct vsphere_hosts; /* what a check found out about hosts: vsphere_reach.c */

struct vsphere_source {
    struct source base;
    /* Set by source_vsphere_open, never changed. */
    struct vsphere_session *session;
    struct vim *vim; /* the session's */
    char *user;
    char *datacenter;   /* NULL: all */
    char *name_pattern; /* NULL: all */
    const struct transport_ops *transports[VSPHERE_TRANSPORTS];
    size_t transport_count;
    struct transport_options transport_options;
    struct nfc_quirks quirks;
    char *vddk_library;
    char *hotadd_machine; /* NULL: by this system's BIOS UUID */
    char *hotadd_record_dir;
    char *hotadd_device_dir;
    uint64_t floor_bytes;
    uint64_t create_ms;
    uint64_t rest_ms;
    bool quiesce;
    bool may_power_off;
    /* Of the checks; one thread. */
    struct vsphere_hosts *hosts;
};

/* The machine as it is now, by its key. FAIL_GONE names it. */
MUST_CHECK struct vim_machine *vsphere_machine_get(const struct vsphere_source *source,
                                                   const struct machine_def *machine,
                                                   const struct cancel *cancel,
                                                   struct err *err);

/* ---- definitions (vsphere_discover.c) ---- */

/* host_name: NULL or "" unknown. Templates too; disks in the guest's order. */
void vsphere_define(const struct vim_machine *machine, const char *host_name,
                    struct machine_def *ret);
/* "[store] dir/x.vmdk" -> "store"; "" when there is none. */
void vsphere_datastore_of(const char *file_name, char *out, size_t out_bytes);
void vsphere_disk_key(int32_t device_key, char *out, size_t out_bytes);
/* The disk with the key of a machine_disk; NULL. */
const struct vim_disk *vsphere_disk_find(const struct vim_disk *disks, size_t count,
                                         const char *key);
/* The path of the datacenter that the folder is in: "DC0"; "" unknown or none. */
void vsphere_datacenter_of(struct vim *vim, const struct vim_ref *folder,
                           const struct cancel *cancel, char *out, size_t out_bytes);
/* Whether the filters of the source's options let this machine through. */
bool vsphere_is_wanted(const struct vsphere_source *source,
                       const struct vim_machine *machine);
MUST_CHECK bool vsphere_discover(struct source *base, struct machine_def **ret_machines,
                                 size_t *ret_count, struct err *err);
MUST_CHECK bool vsphere_find(struct source *base, const char *name,
                             struct machine_def *ret, struct err *err);
MUST_CHECK bool vsphere_inventory(struct source *base, json_t **ret, struct err *err);

/* ---- pre-flight ---- */

MUST_CHECK bool vsphere_check(struct source *base, const struct machine_def *machine,
                              struct findings *findings, struct err *err);
/* What the machine itself shows; now_ms: wall clock, for the age of snapshots. Pure. */
void vsphere_check_machine(const struct vim_machine *machine,
                           const struct machine_def *def, uint64_t now_ms,
                           struct findings *findings);
/* Why no snapshot can hold this disk ("" when one can), and what to do. Pure. */
bool vsphere_disk_is_frozen(const struct vim_disk *disk, const char **ret_why,
                            const char **ret_remedy);
/* Hosts, datastores and privileges; errors become findings. */
void vsphere_check_places(struct vsphere_source *source,
                          const struct vim_machine *machine, struct findings *findings);
void vsphere_hosts_free(struct vsphere_hosts *hosts);

/* ---- change ids (vsphere_change_id.c) ---- */

/* What a change id is good for: that disk of that machine, of that size, at that place.
 */
struct vsphere_identity {
    const char *instance_uuid;
    const char *backing_uuid;
    const char *file_name; /* of the frozen disk; its folder counts */
    int32_t device_key;
    uint64_t disk_bytes;
};

/* out "" when raw is "" or too long to be kept. */
void vsphere_change_id_print(const struct vsphere_identity *identity, const char *raw,
                             char out[CHANGE_ID_MAX]);
/*
 * What the id of an earlier cycle says about the disk as it is now, whose own id is
 * raw_now. CHANGES_KNOWN: *ret_raw is the server's id to ask with. Else why names the
 * reason.
 */
enum change_knowledge vsphere_change_id_compare(const char *previous,
                                                const struct vsphere_identity *now,
                                                const char *raw_now,
                                                char ret_raw[VSPHERE_RAW_BYTES],
                                                char why[200]);

/* ---- snapshot (vsphere_snapshot.c) ---- */

struct vsphere_disk {
    /* Set by snapshot_open, never changed while readers are open. */
    char label[128];
    struct transport_disk frozen;
    char datastore[80];
    struct vim_ref datastore_ref;
    char change_id[CHANGE_ID_MAX];         /* of this point in time, as we keep it */
    char raw_change_id[VSPHERE_RAW_BYTES]; /* "" when not tracked */
    char previous_raw[VSPHERE_RAW_BYTES];  /* to ask with, when knowledge is KNOWN */
    bool is_first;                         /* no earlier cycle: the replica is all zero */
    enum change_knowledge knowledge;
    char why[200];
    /* Of the thread that owns the snapshot. */
    bool has_changes; /* asked already */
    struct extents changes;
    /* Guarded by the snapshot's lock. */
    char reading[400];                      /* for people */
    uint64_t asked_again_bytes, reconnects; /* of lanes that were closed */
};

struct vsphere_snapshot {
    struct snapshot base;
    /* Set by snapshot_open, never changed. */
    struct vsphere_source *source; /* borrowed: outlives the snapshot */
    struct id machine_id;
    char machine[MACHINE_NAME_BYTES];
    const struct cancel *cancel; /* borrowed until the end; may be NULL */
    struct vim_ref vm;
    struct vim_ref folder; /* the machine's parent */
    struct vim_ref host;
    char host_name[128];
    struct vim_ref ref; /* the snapshot */
    char name[VSPHERE_NAME_BYTES];
    char handle[SNAPSHOT_MAX];
    uint64_t cycle;
    bool is_resumed;
    bool is_powered_on;
    size_t disk_count;
    struct vsphere_disk disks[MACHINE_MAX_DISKS];
    /* Held over the opening of transports and lanes: one at a time. */
    pthread_mutex_t open_lock;
    struct transport *transports[VSPHERE_TRANSPORTS];
    char refused[VSPHERE_TRANSPORTS][160]; /* why it cannot read this machine; "" can */
    bool is_suspect[VSPHERE_TRANSPORTS]; /* a lane did not open: asked after the others */
    /* Guarded by lock. */
    pthread_mutex_t lock;
    char notice[400]; /* what people should know */
    /* Atomic. */
    _Atomic uint64_t guard_mono_ms; /* of the last look at the datastores */
    _Atomic bool is_space_low;
};

MUST_CHECK bool vsphere_snapshot_open(struct source *base,
                                      const struct snapshot_request *request,
                                      const struct cancel *cancel, struct snapshot **ret,
                                      struct err *err);
MUST_CHECK bool vsphere_snapshot_end(struct snapshot *base, enum snapshot_outcome outcome,
                                     struct err *err);
/* Adds a sentence for people, and logs it. Any thread. */
void vsphere_notice(struct vsphere_snapshot *snapshot, const char *event, const char *fmt,
                    ...) PRINTF_LIKE(3, 4);

/* ---- tracking (vsphere_track.c) ---- */

/* Sets the flag when it is not set and, on a running machine, lets it take effect with a
 * snapshot that comes and goes. *ret_was_off: it was not set. */
MUST_CHECK bool vsphere_track_enable(struct vsphere_snapshot *snapshot,
                                     const struct vim_machine *machine,
                                     const struct cancel *cancel, bool *ret_was_off,
                                     struct err *err);
/* Off, on: a new epoch on every disk. No snapshot may exist. */
MUST_CHECK bool vsphere_track_reset(struct vsphere_snapshot *snapshot,
                                    const struct cancel *cancel, struct err *err);
MUST_CHECK bool vsphere_disk_info(struct snapshot *base, size_t disk_index,
                                  struct snapshot_disk_info *ret, struct err *err);
MUST_CHECK bool vsphere_changes(struct snapshot *base, size_t disk_index,
                                struct extents *ret, struct err *err);
MUST_CHECK bool vsphere_allocated(struct snapshot *base, size_t disk_index,
                                  struct extents *ret, struct err *err);

/* ---- coming to rest (vsphere_rest.c) ---- */

/* Name and description of a snapshot of that machine. */
void vsphere_snapshot_name(struct vsphere_snapshot *snapshot);
void vsphere_snapshot_describe(const struct vsphere_snapshot *snapshot, char *out,
                               size_t out_bytes);
/* Made by the Kedge that knows the machine under this id. */
bool vsphere_snapshot_is_ours(const struct vim_snapshot *snapshot,
                              const struct id *machine_id);
/* Made by some Kedge. */
bool vsphere_snapshot_is_kedge(const struct vim_snapshot *snapshot);

struct vsphere_rest {
    struct vim *vim;
    const struct vim_ref *vm;
    const struct id *machine_id;
    const struct vim_ref *keep;  /* of ours, stays; NULL: none */
    uint64_t deadline_ms;        /* of all attempts; one removal may outlast it */
    const struct cancel *cancel; /* or NULL */
};
/* Removes every snapshot of ours but `keep`, consolidates when the host asks for it,
 * tries again with growing pauses. A machine that is gone has nothing of ours: true. */
MUST_CHECK bool vsphere_come_to_rest(const struct vsphere_rest *rest, struct err *err);

/* ---- datastore guard (vsphere_space.c) ---- */

/* FAIL_NO_SPACE when a datastore of the disks is under the floor; a notice when it is
 * under twice the floor. */
MUST_CHECK bool vsphere_space_check(struct vsphere_snapshot *snapshot,
                                    const struct cancel *cancel, struct err *err);
/* The same now and then, from any reader's thread; keeps the session alive too. */
MUST_CHECK bool vsphere_space_guard(struct vsphere_snapshot *snapshot,
                                    const struct cancel *cancel, struct err *err);

/* ---- reading ---- */

/* By the first transport of the list that opens; the reasons of the others are kept. */
MUST_CHECK bool vsphere_lane_open(struct vsphere_snapshot *snapshot, size_t disk_index,
                                  struct lane **ret, struct err *err);
/* After the last reader is closed. */
void vsphere_lanes_close(struct vsphere_snapshot *snapshot);

MUST_CHECK bool vsphere_reader_open(struct snapshot *base, size_t disk_index,
                                    struct reader **ret, struct err *err);
/* Over a lane; owns it. snapshot NULL: no guard, nothing is counted (tests). */
MUST_CHECK struct reader *vsphere_reader_new(const struct source_ops *ops,
                                             struct vsphere_snapshot *snapshot,
                                             size_t disk_index, struct lane *lane);
bool vsphere_reader_submit(struct reader *base, struct read_request *request,
                           struct err *err);
struct read_request *vsphere_reader_next(struct reader *base, const struct cancel *cancel,
                                         struct err *err);
void vsphere_reader_close(struct reader *base);

#endif
