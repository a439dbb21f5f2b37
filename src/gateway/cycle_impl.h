/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of one cycle (cycle, plan, journal, settle, send); not for others.
 */
#ifndef GATEWAY_CYCLE_IMPL_H
#define GATEWAY_CYCLE_IMPL_H

#include "gateway/cycle.h"
#include "gateway/hashmap.h"
#include "store/cycle_store.h"

#define PLAN_MAX_BYTES    (1 * GIB)
#define JOURNAL_MAX_BYTES (64 * MIB)

struct cycle_lie {
    bool is_caught;
    uint64_t offset_bytes;
};

struct cycle {
    /* Set by cycle_open, never changed. */
    struct cycle_context context;
    struct snapshot *snapshot;
    struct plan plan;
    struct replica_state replica; /* as it was at the start */
    bool is_resumed;
    bool may_skip; /* the hash maps tell the truth about the base */
    struct hashmap *maps[MACHINE_MAX_DISKS];
    struct cycle_lie lies[MACHINE_MAX_DISKS]; /* tracking_check.c */
    /* What earlier runs of this cycle have sent: read by journal_load. */
    struct extents covered[MACHINE_MAX_DISKS];
    uint32_t next_seq[MACHINE_MAX_DISKS];
    struct manifest manifest; /* guarded by the pipeline's lock while it runs */
};

/* ---- cycle.c ---- */
struct cycle_store context_state_store(const struct cycle_context *context);
struct cycle_store context_log_store(const struct cycle_context *context);

/* ---- plan.c ---- */
MUST_CHECK bool plan_make(struct cycle *cycle, uint64_t number, bool on_demand,
                          const struct plan *base, const struct plan *doubt,
                          struct err *err);
/* Extents of a disk that need no reading: unallocated in the source (compare-by-hash
 * plans). */
MUST_CHECK bool plan_holes(struct cycle *cycle, size_t disk_index, struct extents *ret,
                           struct err *err);

/* ---- tracking_check.c ---- */
/* Compares samples of what is not planned with the maps; a disk whose change record lies
 * is planned whole. Before the plan is stored, after the maps are open. */
MUST_CHECK bool tracking_check(struct cycle *cycle, struct err *err);

/* ---- journal.c ---- */
MUST_CHECK bool journal_store(const struct cycle *cycle,
                              const struct journal_entry *entry, struct err *err);
/* Fills covered, next_seq, manifest, progress and tells on_segment. */
MUST_CHECK bool journal_load(struct cycle *cycle, struct err *err);

/* ---- settle.c ---- */
/* The newest cycle with a plan beyond the recovery point; 0: none. */
MUST_CHECK bool find_unfinished(const struct cycle_context *context,
                                uint64_t recovery_point, uint64_t *ret, struct err *err);
MUST_CHECK bool remove_cycle_data(const struct cycle_context *context, uint64_t number,
                                  bool keep_plan, struct err *err);
MUST_CHECK bool open_map(const struct cycle_context *context, size_t disk_index,
                         struct hashmap **ret, struct err *err);

/* ---- send.c ---- */
MUST_CHECK bool send_run(struct cycle *cycle, struct err *err);

#endif
