/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets of half-open byte ranges [start_bytes, end_bytes).
 *
 * Canonical always: sorted, disjoint, not touching (neighbours are merged), never empty
 * ranges. So equal sets have equal arrays. Made for millions of extents: adding in
 * ascending order costs O(1) amortised, set operations are one linear merge. Pure; one
 * thread at a time per set.
 */
#ifndef BLOCK_EXTENTS_H
#define BLOCK_EXTENTS_H

#include "base/err.h"

struct extent {
    uint64_t start_bytes;
    uint64_t end_bytes;
};

struct extents {
    struct extent *items;
    size_t count;
    size_t cap;
};

void extents_release(struct extents *set);
static inline void auto_extents_release(struct extents *set)
{
    extents_release(set);
}
void extents_clear(struct extents *set); /* keeps the memory */

/* Adds a range (merging); start == end adds nothing. Out of order costs O(count). */
void extents_add(struct extents *set, uint64_t start_bytes, uint64_t end_bytes);

/* Adds `count` ranges in any order, overlapping or empty ones allowed: O(n log n). */
void extents_add_unsorted(struct extents *set, const struct extent *items, size_t count);

void extents_copy(struct extents *to, const struct extents *from);

/* ret = a op b; ret must be another set than a and b; its old content is replaced. */
void extents_union(const struct extents *a, const struct extents *b, struct extents *ret);
void extents_intersect(const struct extents *a, const struct extents *b,
                       struct extents *ret);
void extents_subtract(const struct extents *a, const struct extents *b,
                      struct extents *ret);

/* Grows every extent outwards to multiples of unit_bytes (a power of two), cut at
 * limit_bytes; in place. */
void extents_coarsen(struct extents *set, uint64_t unit_bytes, uint64_t limit_bytes);

/* Cuts everything at and beyond limit_bytes; in place. */
void extents_clip(struct extents *set, uint64_t limit_bytes);

/* Joins neighbours whose gap is at most gap_bytes; in place. */
void extents_close_gaps(struct extents *set, uint64_t gap_bytes);

uint64_t extents_total_bytes(const struct extents *set);
bool extents_equal(const struct extents *a, const struct extents *b);
/* true when every byte of [start, end) is in the set. O(log count) */
bool extents_contain(const struct extents *set, uint64_t start_bytes, uint64_t end_bytes);
/* Index of the first extent that ends after offset_bytes; count when none. O(log count)
 */
size_t extents_find(const struct extents *set, uint64_t offset_bytes);

#endif
