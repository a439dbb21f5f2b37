/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records that a cycle leaves behind beside its segments: plan, journal entries,
 * manifest. Encoded to bytes here (doc/formats/cycle.md), sealed by block/sealed.h,
 * stored by others. Decoders are strict and bound every count before allocating. Pure.
 */
#ifndef BLOCK_CYCLEOBJ_H
#define BLOCK_CYCLEOBJ_H

#include "base/id.h"
#include "block/bitmap.h"
#include "block/machine.h"
#include "block/segment.h"

#define CYCLE_MAX_DISKS 64u
#define CHANGE_ID_MAX   128u /* text, NUL included */
#define SNAPSHOT_MAX    512u /* source's own handle, text, NUL included */

enum cycle_kind {
    CYCLE_INITIAL = 1,
    CYCLE_DELTA = 2,
    CYCLE_ON_DEMAND = 3,
    CYCLE_RESYNC = 4
};

const char *cycle_kind_name(
    enum cycle_kind kind); /* "initial" "delta" "on-demand" "resync" */

/* One disk in a cycle's plan. */
struct plan_disk {
    struct id disk;
    uint64_t disk_bytes;
    char
        change_id[CHANGE_ID_MAX]; /* of this cycle's point in time; "" without tracking */
    bool by_hash;                 /* unchanged blocks are found by digest, sent as SAME */
    struct bitmap bitmap;         /* the source bitmap: what this cycle must bring */
};

struct plan {
    struct id machine;
    uint64_t cycle; /* counts from 1 per machine, never reused */
    enum cycle_kind kind;
    uint64_t base_cycle;         /* recovery point this one builds on; 0: none */
    uint64_t wall_ms;            /* the instant of the snapshot */
    char snapshot[SNAPSHOT_MAX]; /* what the source needs to find its snapshot again */
    size_t disk_count;
    struct plan_disk *disks; /* owned */
};

/* Whether it is of exactly these disks, in this order. */
bool plan_is_of(const struct plan *plan, const struct machine_def *machine);
void plan_release(struct plan *plan);
static inline void auto_plan_release(struct plan *plan)
{
    plan_release(plan);
}
void plan_encode(const struct plan *plan, struct buf *out);
MUST_CHECK bool plan_decode(const uint8_t *data, size_t data_bytes, struct plan *ret,
                            struct err *err);

/* What a DATA or ZERO record taught about a block: its digest, or (unknown) that only a
 * part of it changed. */
struct block_digest {
    uint64_t block; /* offset / BLOCK_BYTES */
    struct digest digest;
};

/* One acknowledged segment. */
struct journal_entry {
    uint32_t disk_index;
    uint32_t seq;
    uint64_t segment_bytes;
    uint64_t content_bytes; /* of DATA records */
    uint8_t salt[SEGMENT_SALT_BYTES];
    uint8_t tag[SEAL_TAG_BYTES];
    struct extents covered; /* byte ranges that need not be sent again */
    size_t block_count;
    size_t block_cap;
    struct block_digest *blocks; /* owned; ascending is not required */
};

void journal_entry_release(struct journal_entry *entry);
static inline void auto_journal_entry_release(struct journal_entry *entry)
{
    journal_entry_release(entry);
}
void journal_entry_add_block(struct journal_entry *entry, uint64_t block,
                             const struct digest *digest);
void journal_entry_encode(const struct journal_entry *entry, struct buf *out);
MUST_CHECK bool journal_entry_decode(const uint8_t *data, size_t data_bytes,
                                     struct journal_entry *ret, struct err *err);

/* The cycle is whole: exactly these segments, in any order. */
struct manifest_segment {
    uint32_t disk_index;
    uint32_t seq;
    uint64_t segment_bytes;
    uint8_t salt[SEGMENT_SALT_BYTES];
    uint8_t tag[SEAL_TAG_BYTES];
};

struct manifest {
    struct id machine;
    uint64_t cycle;
    uint64_t base_cycle;
    enum cycle_kind kind;
    size_t segment_count;
    size_t segment_cap;
    struct manifest_segment *segments; /* owned */
};

/* How a manifest names the segment of that entry. */
struct manifest_segment journal_entry_segment(const struct journal_entry *entry);

void manifest_release(struct manifest *manifest);
static inline void auto_manifest_release(struct manifest *manifest)
{
    manifest_release(manifest);
}
void manifest_add(struct manifest *manifest, const struct manifest_segment *segment);
/* By disk, then sequence number; manifest_find wants it so. */
void manifest_sort(struct manifest *manifest);
/* NULL: not listed. */
const struct manifest_segment *manifest_find(const struct manifest *manifest,
                                             uint32_t disk_index, uint32_t seq);
/* Which segments there were, whatever their order; zero-initialise. Tells two lists apart
 * but by a chance of 2^-64: tags are as good as random, and both lists were sealed. */
struct manifest_sum {
    uint64_t count;
    uint64_t low, high; /* of the tags */
};
void manifest_sum_add(struct manifest_sum *sum, const struct manifest_segment *segment);

void manifest_encode(const struct manifest *manifest, struct buf *out);
MUST_CHECK bool manifest_decode(const uint8_t *data, size_t data_bytes,
                                struct manifest *ret, struct err *err);

#endif
