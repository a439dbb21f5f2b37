/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An extent set of whole sectors as varint pairs (gap, length) in sectors: the body of
 * the bitmap and of a journal entry's `covered`. Internal to block/. The gap of the first
 * run counts from 0 and may be 0, later gaps and all lengths are at least 1: so each set
 * has exactly one form. Pure.
 */
#ifndef BLOCK_RUNS_H
#define BLOCK_RUNS_H

#include "block/cursor.h"
#include "block/extents.h"

/* The shortest possible run. */
#define RUN_MIN_BYTES 2

/* Appends the runs (not their count). Every bound must be a multiple of SECTOR_BYTES. */
void runs_encode(const struct extents *set, struct buf *out);

/* Appends `count` runs to the empty set *ret; false: not canonical, cut, or beyond
 * limit_bytes. What was read so far stays in *ret for release. */
MUST_CHECK bool runs_decode(struct cursor *from, uint64_t count, uint64_t limit_bytes,
                            struct extents *ret);

#endif
