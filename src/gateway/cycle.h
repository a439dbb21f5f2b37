/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One cycle on the source side: point in time -> plan -> segments in the log store ->
 * manifest.
 *
 *   cycle_open   settles what an earlier cycle left (cycle_settle), takes the snapshot or
 * finds an unfinished cycle's again, writes the plan cycle_send   reads, skips, packs,
 * seals, stores, journals; ends with the manifest durable. After a crash or a cancel:
 * only what was not acknowledged is sent again (the applier works) cycle_end    releases
 * the snapshot; applied: advances the hash map, removes the logs
 *
 * The kind is found here, not asked for: no recovery point -> initial; changes known ->
 * delta; unknown or lost -> resync (compare by digest, send what differs). Threads: one
 * caller; cycle_send makes options.workers + options.putters threads of its own. Memory:
 * see cycle_memory_bytes; independent of disk size but for the plan's runs.
 */
#ifndef GATEWAY_CYCLE_H
#define GATEWAY_CYCLE_H

#include "base/throttle.h"
#include "block/names.h"
#include "source/source.h"
#include "store/store.h"

struct cycle_options {
    uint32_t workers;           /* 0: 2; at most 16 */
    uint32_t putters;           /* 0: 2; puts to the log store at once; at most 16 */
    uint32_t segment_bytes;     /* 0: 4 MiB; 2 MiB .. 64 MiB */
    uint32_t record_span_bytes; /* 0: 64 KiB; 64 KiB or 1 MiB (compact) */
    enum pack_method method;    /* as in options: PACK_STORED means just that */
    int level;                  /* LZ4 acceleration or zstd level */
    uint32_t read_bytes;        /* 0: 256 KiB; one read request; <= READ_MAX_BYTES */
    uint32_t reads_in_flight;   /* 0: 4 per worker; <= READER_MAX_IN_FLIGHT */
    bool skip_same;     /* use the hash map to skip what the replica holds already */
    uint32_t check_ppm; /* blocks per million of a disk whose "unchanged" is checked in
                         * each delta; 0: none. Needs skip_same and a map_dir */
    bool quiesce;
};

#define TRACKING_CHECK_PPM       1000u      /* by default */
#define TRACKING_CHECK_MAX_BYTES (64 * MIB) /* read for it per disk and cycle */

/* Defaults: lz4 level 1, skip_same on, check_ppm TRACKING_CHECK_PPM, the rest 0. */
struct cycle_options cycle_options_default(void);

/*
 * The size of segments for a cycle that has so much to bring. What is known of a segment
 * (its line in the manifest and the names in the stores, some 200 bytes) stays in memory
 * while a cycle lasts; so segments double when the plan is four times larger, from 1 TiB
 * on: both costs then grow with the root. configured_bytes is the least.
 */
uint32_t cycle_segment_bytes(uint32_t configured_bytes, uint64_t planned_bytes);

/* Buffers of the data path for these options, in bytes. */
uint64_t cycle_memory_bytes(const struct cycle_options *options);

/* Byte-accurate and read at any time by anybody. All Atomic. */
struct cycle_progress {
    _Atomic uint64_t planned_bytes; /* the source bitmap, all disks */
    _Atomic uint64_t done_bytes;    /* acknowledged, of planned_bytes */
    _Atomic uint64_t read_bytes;
    _Atomic uint64_t zero_bytes;
    _Atomic uint64_t same_bytes;    /* not sent: the replica holds it */
    _Atomic uint64_t content_bytes; /* of DATA records, before packing */
    _Atomic uint64_t stored_bytes;  /* segments acknowledged by the log store */
    _Atomic uint64_t segments;
    _Atomic uint64_t checked_bytes; /* read to check the source's change records */
    _Atomic uint64_t lies;          /* disks whose record was wrong */
};

/* Called once per acknowledged segment (also for those of an earlier run, on resume), by
 * putter threads, one at a time. false with *err ends the cycle with that error. */
typedef bool (*cycle_segment_fn)(void *ctx, const struct manifest_segment *segment,
                                 struct err *err);

struct cycle_context {
    const struct machine_def *machine; /* ids set; disks in order */
    const struct secret *data_key;
    struct id key_id;
    struct source *source;
    struct store *log_store;
    struct store *state_store;
    const char *map_dir;         /* hash maps of this machine's disks; NULL: none kept */
    struct throttle *throttle;   /* NULL: none */
    const struct cancel *cancel; /* NULL: never */
    bool compare_all; /* no change record is believed: every disk is compared by digest */
    struct cycle_progress *progress;
    struct cycle_options options;
    cycle_segment_fn on_segment; /* NULL: nobody streams */
    void *on_segment_ctx;
};

struct cycle;

/* next_cycle: a number greater than any used for this machine; used unless an unfinished
 * cycle is resumed. on_demand: marks the kind (delta -> on-demand). */
MUST_CHECK bool cycle_open(const struct cycle_context *context, uint64_t next_cycle,
                           bool on_demand, struct cycle **ret, struct err *err);
const struct plan *cycle_plan(const struct cycle *cycle);
bool cycle_is_resumed(const struct cycle *cycle);
/* Whether the applier may stream (there is no recovery point to keep whole). */
bool cycle_may_stream(const struct cycle *cycle);
/* Whether the source's change record of that disk was caught lying in this cycle: it said
 * unchanged of the block at *ret_offset_bytes, which had changed. The disk is then
 * compared whole by this cycle. */
bool cycle_caught_lie(const struct cycle *cycle, size_t disk_index,
                      uint64_t *ret_offset_bytes);
/* The point in time, for verify; valid until cycle_end. */
struct snapshot *cycle_snapshot(struct cycle *cycle);

/*
 * An initial cycle goes on where one that died has stopped: dead is the cycle whose
 * journalled segments the replica holds, all of them and flushed (apply_stream_carried; 0
 * is fine: nothing to do). Their blocks are then compared by digest and sent as SAME when
 * equal. A damaged journal carries nothing and is no error. Once, before cycle_send.
 */
MUST_CHECK bool cycle_carry(struct cycle *cycle, uint64_t dead, struct err *err);

MUST_CHECK bool cycle_send(struct cycle *cycle, struct err *err);

/* Ends and frees the cycle whatever is returned. SNAPSHOT_DETACHED: everything stays for
 * a resume. */
MUST_CHECK bool cycle_end(struct cycle *cycle, enum snapshot_outcome outcome,
                          struct err *err);

/* Idempotent clean-up after crashes: advances the hash maps to the committed recovery
 * point, removes objects of cycles before it and its own segments. Called by cycle_open.
 */
MUST_CHECK bool cycle_settle(const struct cycle_context *context, struct err *err);

/* Everything of this machine in both stores and the maps (stop, complete). */
MUST_CHECK bool cycle_forget(const struct cycle_context *context, struct err *err);

#endif
