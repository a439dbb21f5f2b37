/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One cycle on the target side: manifest -> verify all -> write -> flush -> compare
 * bitmaps -> commit the recovery point.
 *
 * A1  with a recovery point to keep, not one byte is written before every record of the
 * cycle was opened, unpacked and checked; A2  the intent ("applying N") is durable before
 * the first write; a crash after it is healed by writing the cycle again (redo), its
 * segments stay until the commit; A3  the commit is one durable replacement of the
 * replica state, after flush and after source bitmap == target bitmap; A4  without a
 * recovery point a cycle may stream: its extents are "in doubt" until the commit; A5
 * before the doubt moves from a dead initial cycle to the next one, what the dead one's
 * journal names was written again and flushed; A6 a replica state older than a recovery
 * point that is known to be committed is refused.
 *
 * Threads: one caller per machine; workers of its own (options.workers). Memory: per
 * worker one segment buffer, 1 MiB, and the replica writer's staging.
 */
#ifndef APPLIER_APPLIER_H
#define APPLIER_APPLIER_H

#include "block/names.h"
#include "store/store.h"
#include "target/target.h"

/* All Atomic. */
struct apply_progress {
    _Atomic uint64_t segments_total; /* known once the manifest is */
    _Atomic uint64_t segments_verified;
    _Atomic uint64_t segments_applied;
    _Atomic uint64_t written_bytes;
    _Atomic uint64_t zeroed_bytes;
    _Atomic uint64_t same_bytes;
};

struct apply_context {
    const struct machine_def *machine;
    const struct secret *data_key;
    struct target *target;
    struct store *log_store;
    struct store *state_store;
    const struct cancel *cancel; /* NULL: never */
    struct apply_progress *progress;
    uint32_t workers;     /* 0: 3; at most 16 */
    uint64_t known_point; /* newest recovery point known from elsewhere; 0: none */
};

/*
 * The replica's state; all zero (machine id set) when there is none. FAIL_CONFLICT when
 * it is older than known_point: whoever controls the state store may put an older object
 * back, its seal is good; a cycle built on it would apply to a base that the replica has
 * left (A6).
 */
MUST_CHECK bool apply_state_get(const struct apply_context *context,
                                struct replica_state *ret, struct err *err);

/* Finishes what a crash interrupted (redo). When the log is damaged so that it cannot be
 * finished: marks the cycle in doubt, FAIL_CORRUPT. Nothing to do is success. */
MUST_CHECK bool apply_recover(const struct apply_context *context, struct err *err);

/* A whole cycle whose manifest is there. Already committed is success. FAIL_CORRUPT and
 * nothing written when anything does not check. */
MUST_CHECK bool apply_cycle(const struct apply_context *context, uint64_t cycle,
                            struct err *err);

/* ---- streaming (A4) ---- */

struct apply_stream;

/*
 * Marks the cycle in doubt (durable), starts the workers. When another initial cycle died
 * in doubt, every segment that its journal names is written and flushed before (A5): what
 * it had brought stays. A log too damaged for that is logged and costs only that.
 */
MUST_CHECK bool apply_stream_open(const struct apply_context *context,
                                  const struct plan *plan, struct apply_stream **ret,
                                  struct err *err);
/* The dead initial cycle all of whose journalled segments are on the replica; 0: none. */
uint64_t apply_stream_carried(const struct apply_stream *stream);
/* Waits for room in the queue. Once a worker failed: its error. Any one thread at a time.
 */
MUST_CHECK bool apply_stream_push(struct apply_stream *stream,
                                  const struct manifest_segment *segment,
                                  struct err *err);
/* After cycle_send: drains, checks the manifest against what was applied (missing
 * segments are fetched), compares bitmaps, commits. Frees the stream whatever is
 * returned. */
MUST_CHECK bool apply_stream_finish(struct apply_stream *stream, struct err *err);
/* Gives up; the cycle stays in doubt. NULL is fine. */
void apply_stream_cancel(struct apply_stream *stream);

#endif
