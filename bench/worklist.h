/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_WORKLIST_H
#define BENCH_WORKLIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "measure.h"

#define CELL_BYTES     (4 * KIB)
#define BLOCK_BYTES    (64 * KIB)
#define UNIT_MAX_BYTES MIB
#define UNIT_MAX_CELLS (UNIT_MAX_BYTES / CELL_BYTES)
#define GROUP_BYTES    (4 * MIB)

/* Which 4 KiB cells of a unit are meant. */
struct mask {
    uint64_t bits[UNIT_MAX_CELLS / 64];
};

static inline bool mask_has(const struct mask *mask, size_t cell)
{
    return (mask->bits[cell / 64] >> (cell % 64) & 1) != 0;
}

static inline void mask_add(struct mask *mask, size_t cell)
{
    mask->bits[cell / 64] |= (uint64_t)1 << (cell % 64);
}

/* Start and end of the first run of set cells at or after `from`; false when none is
 * left. */
bool mask_next_run(const struct mask *mask, size_t from, size_t cells, size_t *ret_start,
                   size_t *ret_end);
size_t mask_count(const struct mask *mask);

struct item {
    uint64_t offset_bytes; /* of the unit */
    struct mask mask;
};

/*
 * The units to send, ascending, and how they are handed out: a group is what lies in one
 * 4 MiB range, so that a worker's neighbours on disk stay neighbours in its segment.
 */
struct worklist {
    struct item *items;
    size_t item_count;
    size_t *group_first; /* group_count + 1 entries */
    size_t group_count;
    size_t unit_bytes;
    bool has_map; /* from an extents file: zero cells must be sent too */
};

/* extents_path NULL means the whole image. */
void worklist_init(struct worklist *list, uint64_t image_bytes, size_t unit_bytes,
                   const char *extents_path);
void worklist_release(struct worklist *list);

#endif
