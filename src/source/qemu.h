/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the qemu source share: the machine as QMP shows it right now, the
 * nodes and bitmaps that are ours in it, and the snapshot. Each operation opens QMP, does
 * its work and closes it: a QMP socket has room for one client, and a restarted QEMU is
 * simply found again.
 *
 * Everything of ours in a QEMU has a name that starts with QEMU_OUR_PREFIX:
 *   bitmap        kedge-<cycle>-<nonce>          export  kedge-<cycle>-<nonce>-<disk>
 *   node          kedge-<nonce>-<role><disk>     files   kedge-<vm>-<nonce>-<disk>.qcow2
 */
#ifndef SOURCE_QEMU_H
#define SOURCE_QEMU_H

#include "qemu/nbd.h"
#include "qemu/qmp.h"
#include "source/source.h"

#define QEMU_OUR_PREFIX    "kedge-"
#define QEMU_NAME_BYTES    128
#define QEMU_NONCE_BYTES   9  /* 8 hex digits */
#define QEMU_TAG_BYTES     17 /* 16 hex digits */
#define QEMU_CALL_MS       60000
#define QEMU_OPEN_MS       15000
#define QEMU_GRANULARITY   65536
#define QEMU_MIN_MAJOR     7 /* copy-before-write with on-cbw-error: 7.1 */
#define QEMU_MIN_MINOR     1
#define QEMU_CBW_TIMEOUT_S 10 /* a scratch file that hangs breaks the snapshot */
#define QEMU_SCRATCH_MIN   (4 * MIB)

struct qemu_source {
    struct source base;
    /* Set by source_qemu_open, never changed. */
    char *qmp_path;
    char *name; /* NULL: from QMP */
    char *scratch_dir;
    char *socket_path;        /* of the NBD server, in scratch_dir */
    char tag[QEMU_TAG_BYTES]; /* of this VM's files: hash of the QMP path */
    uint64_t granularity_bytes;
    uint64_t scratch_max_bytes;
};

MUST_CHECK struct qmp *qemu_connect(const struct qemu_source *source, struct err *err);

/* ---- the machine as it is (qemu_inventory.c) ---- */

struct qemu_disk {
    char key[QEMU_NAME_BYTES];  /* stable over restarts: node name or drive id */
    char node[QEMU_NAME_BYTES]; /* the disk's own node, below any filter of ours */
    char qdev[256];             /* QOM path that has the property 'drive' */
    char format[32];
    char file[512];
    char order[160]; /* sorts as the guest numbers its disks */
    char bus[32];
    char serial[64];
    char iothread[128]; /* QOM path of the thread that serves it; "": the main loop */
    uint64_t disk_bytes;
    bool is_read_only;
    bool is_key_stable;
    bool keeps_bitmaps; /* qcow2 v3: bitmaps survive a clean end of QEMU */
};

struct qemu_inventory {
    size_t count;
    struct qemu_disk disks[MACHINE_MAX_DISKS];
    json_t *nodes; /* query-named-block-nodes */
    bool has_uefi_flash;
};

MUST_CHECK struct qemu_inventory *qemu_inventory_read(struct qmp *qmp, struct err *err);
void qemu_inventory_free(struct qemu_inventory *inventory);
AUTO_CLEANUP(struct qemu_inventory, qemu_inventory_free);
const struct qemu_disk *qemu_inventory_find(const struct qemu_inventory *inventory,
                                            const char *key);
/* The node's entry of query-named-block-nodes, borrowed; NULL. */
const json_t *qemu_inventory_node(const struct qemu_inventory *inventory,
                                  const char *node);

/* A property, or NULL when there is none (not an error). */
MUST_CHECK bool qemu_qom_get(struct qmp *qmp, const char *path, const char *property,
                             json_t **ret, struct err *err);
/* The same as text, "" when there is none or it is no text. */
MUST_CHECK bool qemu_qom_text(struct qmp *qmp, const char *path, const char *property,
                              char *out, size_t out_bytes, struct err *err);
/* How the guest's firmware meets the device: "01.0/00.0/0". */
MUST_CHECK bool qemu_device_order(struct qmp *qmp, const char *path, char *out,
                                  size_t out_bytes, struct err *err);

/* ---- definition (qemu_discover.c) ---- */
MUST_CHECK bool qemu_describe(const struct qemu_source *source, struct qmp *qmp,
                              struct machine_def *ret, struct err *err);
MUST_CHECK bool qemu_discover(struct source *base, struct machine_def **ret_machines,
                              size_t *ret_count, struct err *err);

/* ---- pre-flight (qemu_check.c) ---- */
MUST_CHECK bool qemu_check(struct source *base, const struct machine_def *machine,
                           struct findings *findings, struct err *err);
/* The version, no block job at work (none is ours), and disks that can be moved onto a
 * filter: what must hold before anything is changed. */
MUST_CHECK bool qemu_require_version(struct qmp *qmp, struct err *err);
MUST_CHECK bool qemu_require_quiet(struct qmp *qmp,
                                   const struct qemu_inventory *inventory,
                                   struct err *err);

/* ---- our nodes (qemu_graph.c) ---- */

/* The block graph by node name; who is below whom. */
struct qemu_graph;
MUST_CHECK struct qemu_graph *qemu_graph_read(struct qmp *qmp, struct err *err);
void qemu_graph_free(struct qemu_graph *graph);
AUTO_CLEANUP(struct qemu_graph, qemu_graph_free);
/* The "file" child of a node; NULL when there is none. */
const char *qemu_graph_file_child(const struct qemu_graph *graph, const char *node);
/* The first node on the way down that is not ours. */
const char *qemu_graph_below_ours(const struct qemu_graph *graph, const char *node);
/* Whether each node below (and including) this one is reached by one way only. QEMU 7.2
 * ends itself in blockdev-reopen when not (an assertion on drain counters). */
bool qemu_graph_is_tree(const struct qemu_graph *graph, const char *node);
bool qemu_is_ours(const char *name);

enum qemu_role { ROLE_TARGET, ROLE_PASS, ROLE_CBW, ROLE_ACCESS };
void qemu_node_name(const char *nonce, enum qemu_role role, size_t disk_index,
                    char out[QEMU_NAME_BYTES]);

/* Takes exports, filters, scratch files and the NBD server of ours away; bitmaps stay.
 * Nothing there is success; can be repeated at any stage. */
MUST_CHECK bool qemu_teardown(const struct qemu_source *source, struct qmp *qmp,
                              struct err *err);
void qemu_scratch_path(const struct qemu_source *source, const char *nonce,
                       size_t disk_index, struct buf *out);

/* ---- change records (qemu_bitmap.c) ---- */

struct qemu_change_id {
    char bitmap[QEMU_NAME_BYTES]; /* "" none */
    uint64_t cycle;
    uint64_t disk_bytes;
};
/* "" gives an empty one; anything else that is not ours: FAIL_INPUT. */
MUST_CHECK bool qemu_change_id_parse(const char *text, struct qemu_change_id *ret,
                                     struct err *err);
void qemu_change_id_print(const struct qemu_change_id *id, char out[CHANGE_ID_MAX]);

/* Brings the disk's bitmaps of ours to rest: exactly `keep` (the one of that change id),
 * enabled and whole, others merged into it or removed. *ret_is_whole false: there is no
 * trustworthy record (why says it), nothing of ours is left on the disk. */
MUST_CHECK bool qemu_bitmaps_settle(struct qmp *qmp,
                                    const struct qemu_inventory *inventory,
                                    const struct qemu_disk *disk,
                                    const struct qemu_change_id *keep, bool *ret_is_whole,
                                    char why[200], struct err *err);
/* Whether the bitmap is there and consistent, whatever is enabled. */
bool qemu_bitmap_is_sound(const struct qemu_inventory *inventory, const char *node,
                          const char *bitmap);

/* ---- snapshot (qemu_snapshot.c), its making (qemu_fleece.c) ---- */

struct qemu_snapshot_disk {
    char key[QEMU_NAME_BYTES];
    char node[QEMU_NAME_BYTES];
    char qdev[256];
    char label[128];
    uint64_t disk_bytes;
    bool keeps_bitmaps;
    struct qemu_change_id previous;
    enum change_knowledge knowledge;
    char why[200];
};

struct qemu_snapshot {
    struct snapshot base;
    struct qemu_source *source; /* borrowed: outlives the snapshot */
    char machine[MACHINE_NAME_BYTES];
    char name[QEMU_NAME_BYTES]; /* kedge-<cycle>-<nonce>: bitmap and handle */
    char nonce[QEMU_NONCE_BYTES];
    uint64_t cycle;
    bool is_resumed;
    size_t disk_count;
    struct qemu_snapshot_disk disks[MACHINE_MAX_DISKS];
};

MUST_CHECK bool qemu_snapshot_open(struct source *base,
                                   const struct snapshot_request *request,
                                   const struct cancel *cancel, struct snapshot **ret,
                                   struct err *err);
MUST_CHECK bool qemu_snapshot_end(struct snapshot *base, enum snapshot_outcome outcome,
                                  struct err *err);
void qemu_export_name(const struct qemu_snapshot *snapshot, size_t disk_index,
                      char out[QEMU_NAME_BYTES]);
/* Scratch files, filters, bitmaps, the instant, exports. */
MUST_CHECK bool qemu_fleece_start(struct qemu_snapshot *snapshot, struct qmp *qmp,
                                  const struct cancel *cancel, struct err *err);

/* ---- reading (qemu_reader.c) ---- */
MUST_CHECK bool qemu_changes(struct snapshot *base, size_t disk_index,
                             struct extents *ret, struct err *err);
MUST_CHECK bool qemu_allocated(struct snapshot *base, size_t disk_index,
                               struct extents *ret, struct err *err);
MUST_CHECK bool qemu_reader_open(struct snapshot *base, size_t disk_index,
                                 struct reader **ret, struct err *err);

#endif
