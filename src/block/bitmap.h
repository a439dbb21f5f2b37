/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sector bitmap: one bit for each 512-byte sector of a disk, kept as runs.
 *
 * The source bitmap says what a cycle must bring, the target bitmap what it wrote; a
 * cycle may commit only when they are equal (seed article, "Validate replication").
 * Serial form: see doc/formats/bitmap.md (magic, version, disk size, run count, LEB128
 * gaps and lengths, XXH3-64 of all before). Pure; one thread at a time.
 */
#ifndef BLOCK_BITMAP_H
#define BLOCK_BITMAP_H

#include "base/buf.h"
#include "block/extents.h"

#define BITMAP_MAX_RUNS (64u << 20)

struct bitmap {
    uint64_t disk_bytes; /* a multiple of SECTOR_BYTES */
    struct extents runs; /* byte ranges, all multiples of SECTOR_BYTES, <= disk_bytes */
};

void bitmap_init(struct bitmap *bitmap, uint64_t disk_bytes);
void bitmap_release(struct bitmap *bitmap);
static inline void auto_bitmap_release(struct bitmap *bitmap)
{
    bitmap_release(bitmap);
}

/* Grown outwards to whole sectors; false with FAIL_BUG beyond the disk. */
MUST_CHECK bool bitmap_set(struct bitmap *bitmap, uint64_t start_bytes,
                           uint64_t end_bytes, struct err *err);

uint64_t bitmap_set_sectors(const struct bitmap *bitmap);
bool bitmap_equal(const struct bitmap *a, const struct bitmap *b);

/* What is only in a, what is only in b (byte ranges). */
void bitmap_difference(const struct bitmap *a, const struct bitmap *b,
                       struct extents *ret_only_a, struct extents *ret_only_b);

/* Appends the serial form. */
void bitmap_encode(const struct bitmap *bitmap, struct buf *out);

/* Strict: any flipped bit, cut, non-canonical run or excess byte is FAIL_CORRUPT. *ret is
 * initialised by this call, also on failure (release it). */
MUST_CHECK bool bitmap_decode(const uint8_t *data, size_t data_bytes, struct bitmap *ret,
                              struct err *err);

#endif
