/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The persistent map of block digests of one replica disk: what the replica holds at the
 * recovery point named in its header. doc/formats/hashmap.md.
 *
 * It is a cache that may be lost or damaged at any time: whatever is missing, torn or
 * rotten reads as "unknown", and an unknown block is sent. It is never ahead of the
 * replica: entries change only between hashmap_begin and hashmap_commit, from the journal
 * of a committed cycle, and a crash in between leaves the map marked as unfinished (cycle
 * 0), to be advanced again from the same journal. Size on disk: 16 bytes per block that
 * was ever sent (a sparse file). Threads: lookups by many, each with its own cursor;
 * changes by one while nobody looks up.
 */
#ifndef GATEWAY_HASHMAP_H
#define GATEWAY_HASHMAP_H

#include "block/cycleobj.h"
#include "block/hashpage.h"

struct hashmap;

/* One page, kept by the looker; zero-initialise, one per thread. */
struct hashmap_cursor {
    bool is_loaded;
    uint64_t page_no;
    uint8_t page[HASHPAGE_BYTES];
};

/* Opens or makes the map; one that is damaged or of another disk is made anew. */
MUST_CHECK struct hashmap *hashmap_open(const char *path, const struct id *disk,
                                        struct err *err);
void hashmap_close(struct hashmap *map);
AUTO_CLEANUP(struct hashmap, hashmap_close);

/* In hashmap_cycle: the map describes no recovery point but the replica beneath the
 * initial cycle of that number, where this one has not written yet (carry.c). */
#define HASHMAP_BENEATH ((uint64_t)1 << 63)

/* The cycle whose content the map describes; 0: none (take every block as unknown). */
uint64_t hashmap_cycle(const struct hashmap *map);

/* The digest of a block, all zero when unknown. */
void hashmap_get(const struct hashmap *map, struct hashmap_cursor *cursor, uint64_t block,
                 struct digest *ret);

/* Marks the map unfinished, durably. Forgets everything first when its cycle is not
 * base_cycle. */
MUST_CHECK bool hashmap_begin(struct hashmap *map, uint64_t base_cycle, struct err *err);
/* What one segment brought: listed blocks get their digest, other covered ones are
 * unknown. */
MUST_CHECK bool hashmap_apply(struct hashmap *map, struct journal_entry *entry,
                              struct err *err);
/* Durable: now describes that cycle. */
MUST_CHECK bool hashmap_commit(struct hashmap *map, uint64_t cycle, struct err *err);

#endif
