/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of sectors as pairs of varints. */
#include "block/runs.h"

#include <assert.h>

void runs_encode(const struct extents *set, struct buf *out)
{
    uint64_t at = 0;
    for (size_t i = 0; i < set->count; i++) {
        uint64_t start = set->items[i].start_bytes;
        uint64_t end = set->items[i].end_bytes;
        assert((start | end) % SECTOR_BYTES == 0);
        uint8_t raw[2 * VARINT_MAX_BYTES];
        size_t n = varint_put(raw, start / SECTOR_BYTES - at);
        n += varint_put(raw + n, (end - start) / SECTOR_BYTES);
        buf_append(out, raw, n);
        at = end / SECTOR_BYTES;
    }
}

bool runs_decode(struct cursor *from, uint64_t count, uint64_t limit_bytes,
                 struct extents *ret)
{
    uint64_t limit = limit_bytes / SECTOR_BYTES;
    uint64_t at = 0;
    if (count > cursor_left_bytes(from) / RUN_MIN_BYTES)
        return false;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t gap = cursor_varint(from);
        uint64_t length = cursor_varint(from);
        if (from->bad || length == 0 || (gap == 0 && i > 0) || gap > limit - at ||
            length > limit - at - gap)
            return false;
        extents_add(ret, (at + gap) * SECTOR_BYTES, (at + gap + length) * SECTOR_BYTES);
        at += gap + length;
    }
    return true;
}
