/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One 4 KiB page of the persistent block hash map: digests of 254 neighbouring blocks,
 * the page's number, the map's identity and a checksum, so that a torn, misplaced or
 * rotten page reads as "unknown" and never as a wrong digest. doc/formats/hashmap.md. The
 * file itself is kept by gateway/hashmap.h. Pure.
 */
#ifndef BLOCK_HASHPAGE_H
#define BLOCK_HASHPAGE_H

#include "base/id.h"
#include "block/digest.h"

#define HASHPAGE_BYTES 4096u
#define HASHPAGE_DIGESTS                                                                 \
    254u /* 254 * 16 + 8 number + 8 map + 8 checksum + 8 reserved                        \
          */

/* All unknown. */
void hashpage_init(uint8_t page[HASHPAGE_BYTES]);

/* Checks a page read from page_no of map *map; false: it must be taken as all unknown. */
bool hashpage_verify(const uint8_t page[HASHPAGE_BYTES], const struct id *map,
                     uint64_t page_no);

/* Stamps number, map and checksum before it is written. */
void hashpage_finish(uint8_t page[HASHPAGE_BYTES], const struct id *map,
                     uint64_t page_no);

/* slot < HASHPAGE_DIGESTS */
void hashpage_get(const uint8_t page[HASHPAGE_BYTES], size_t slot, struct digest *ret);
void hashpage_set(uint8_t page[HASHPAGE_BYTES], size_t slot, const struct digest *digest);

#endif
