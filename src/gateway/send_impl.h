/* SPDX-License-Identifier: Apache-2.0 */
/* The pipeline of cycle_send: work list, workers, putters. Not for others. */
#ifndef GATEWAY_SEND_IMPL_H
#define GATEWAY_SEND_IMPL_H

#include "base/pool.h"
#include "base/queue.h"
#include "gateway/cycle_impl.h"

/* A worker takes this much of one disk at a time: long enough that the applier can join
 * neighbouring blocks to large writes, short enough that workers finish together. */
#define CHUNK_BYTES       (4 * MIB)
#define CHUNK_MAX_EXTENTS (256 + RECORD_MAX_PIECES)

struct chunk {
    size_t disk_index;
    bool is_hole; /* nothing to read: the source has no data there */
    size_t count;
    struct extent extents[CHUNK_MAX_EXTENTS];
};

/* What is still to be done: a cursor over the extents of all disks. */
struct work {
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct extents read[MACHINE_MAX_DISKS];
    struct extents holes[MACHINE_MAX_DISKS];
    size_t disk_count, disk_index, at;
    uint64_t offset_bytes; /* within extent `at`; 0: its start */
    bool in_holes;
    uint64_t span_bytes; /* chunks end on multiples of it */
};

MUST_CHECK bool work_init(struct work *work, struct cycle *cycle, struct err *err);
void work_release(struct work *work);
/* false: nothing left. */
bool work_take(struct work *work, struct chunk *ret);

/* A finished segment on its way to the log store. */
struct parcel {
    uint8_t *buffer; /* of the pool */
    struct journal_entry entry;
};

struct send {
    /* Set by send_run, never changed. */
    struct cycle *cycle;
    struct pool *pool;
    struct queue *parcels;
    struct cancel stop; /* set on the first error or the caller's cancel */
    struct work work;
    /* Guarded by lock. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct err first_err;
    size_t workers_left, putters_left;
    pthread_mutex_t segment_lock; /* on_segment and the manifest, one at a time */
    /* Atomic. */
    _Atomic uint32_t next_seq[MACHINE_MAX_DISKS];
};

/* First error wins; everybody stops. */
void send_fail(struct send *send, const struct err *err);

/* A run of SAME records' blocks is cut here. */
#define RUN_MAX_BLOCKS 1024u

struct slot {
    size_t waiting; /* reads not yet back */
    uint64_t window_bytes;
    size_t first, count; /* of chunk.extents */
    uint8_t *data;
};

struct run {
    enum record_kind kind;
    uint64_t start_bytes, end_bytes; /* empty: equal */
};

struct worker {
    struct send *send;
    struct cycle *cycle;
    struct segment_writer *writer;
    struct packer *packer;
    struct digester *digester;
    struct reader *reader;
    size_t reader_disk;
    struct hashmap_cursor cursor;
    /* The open segment; buffer NULL: none. */
    uint8_t *buffer;
    size_t segment_disk;
    struct journal_entry entry;
    struct run run;
    struct block_digest run_blocks[RUN_MAX_BLOCKS]; /* of a SAME run */
    size_t run_block_count;
    /* Reading. */
    struct chunk chunk;
    uint32_t slot_count;
    uint64_t slot_bytes;
    uint32_t slot_ranges_max; /* reads one slot may have in flight */
    struct slot slots[READER_MAX_IN_FLIGHT];
    uint8_t *slot_memory;
    struct read_request *requests; /* a free list */
    struct read_request *request_memory;
    /* One span being put together. */
    struct piece pieces[RECORD_MAX_PIECES];
    struct digest digests[RECORD_MAX_BLOCKS];
};

/* ---- send_record.c: what was read becomes records ---- */

MUST_CHECK bool record_slot(struct worker *w, const struct slot *slot, struct err *err);
/* Adds a range to the pending run of zero or same ranges. */
MUST_CHECK bool record_run(struct worker *w, enum record_kind kind, uint64_t start_bytes,
                           uint64_t end_bytes, struct err *err);
/* Before the worker turns to another disk, and at the end. */
MUST_CHECK bool record_flush(struct worker *w, size_t disk_index, struct err *err);
MUST_CHECK bool record_close_segment(struct worker *w, struct err *err);

/* ---- send_worker.c ---- */

/* Thread body of a worker; returns when there is no work left or on stop. */
void worker_run(struct send *send);

#endif
