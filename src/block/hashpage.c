/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One page of the hash map (doc/formats/hashmap.md). The checksum covers the page up to
 * itself and is seeded with the second half of the map's identity, so all 128 bits of it
 * are bound although the page stores 64. A page of zeros (a hole) does not verify.
 */
#include "block/hashpage.h"

#include "base/bytes.h"

#include <assert.h>

#include <xxhash.h>

enum {
    AT_NUMBER = HASHPAGE_DIGESTS * DIGEST_BYTES,
    AT_MAP = AT_NUMBER + 8,
    AT_RESERVED = AT_MAP + 8,
    AT_CHECKSUM = AT_RESERVED + 8
};
_Static_assert(AT_CHECKSUM + 8 == HASHPAGE_BYTES, "a page is full");

static uint64_t checksum(const uint8_t *page, const struct id *map)
{
    return XXH3_64bits_withSeed(page, AT_CHECKSUM, get_u64le(map->bytes + 8));
}

void hashpage_init(uint8_t page[HASHPAGE_BYTES])
{
    memset(page, 0, HASHPAGE_BYTES);
}

bool hashpage_verify(const uint8_t page[HASHPAGE_BYTES], const struct id *map,
                     uint64_t page_no)
{
    return get_u64le(page + AT_NUMBER) == page_no &&
           memcmp(page + AT_MAP, map->bytes, 8) == 0 &&
           get_u64le(page + AT_RESERVED) == 0 &&
           get_u64le(page + AT_CHECKSUM) == checksum(page, map);
}

void hashpage_finish(uint8_t page[HASHPAGE_BYTES], const struct id *map, uint64_t page_no)
{
    put_u64le(page + AT_NUMBER, page_no);
    memcpy(page + AT_MAP, map->bytes, 8);
    put_u64le(page + AT_RESERVED, 0);
    put_u64le(page + AT_CHECKSUM, checksum(page, map));
}

void hashpage_get(const uint8_t page[HASHPAGE_BYTES], size_t slot, struct digest *ret)
{
    assert(slot < HASHPAGE_DIGESTS);
    memcpy(ret->bytes, page + slot * DIGEST_BYTES, DIGEST_BYTES);
}

void hashpage_set(uint8_t page[HASHPAGE_BYTES], size_t slot, const struct digest *digest)
{
    assert(slot < HASHPAGE_DIGESTS);
    memcpy(page + slot * DIGEST_BYTES, digest->bytes, DIGEST_BYTES);
}
