/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sector bitmap and its serial form (doc/formats/bitmap.md).
 *
 * B1  Every bound in `runs` is a multiple of SECTOR_BYTES and <= disk_bytes.
 * B2  One set has one serial form: encode(decode(x)) == x, so equal bitmaps are equal
 *     bytes.
 * B3  A decoder allocates in proportion to the bytes it was given, never to a count that
 *     is written in them.
 */
#include "block/bitmap.h"

#include "base/bytes.h"
#include "block/runs.h"

#include <assert.h>
#include <inttypes.h>

#include <xxhash.h>

#define MAGIC          "KDGBMP01"
#define MAGIC_BYTES    8
#define VERSION        1
#define HEADER_BYTES   32
#define CHECKSUM_BYTES 8

void bitmap_init(struct bitmap *bitmap, uint64_t disk_bytes)
{
    assert(disk_bytes % SECTOR_BYTES == 0);
    *bitmap = (struct bitmap){.disk_bytes = disk_bytes};
}

void bitmap_release(struct bitmap *bitmap)
{
    extents_release(&bitmap->runs);
    bitmap->disk_bytes = 0;
}

bool bitmap_set(struct bitmap *bitmap, uint64_t start_bytes, uint64_t end_bytes,
                struct err *err)
{
    if (start_bytes > end_bytes || end_bytes > bitmap->disk_bytes)
        return err_set(err, FAIL_BUG,
                       "bitmap: range %" PRIu64 " to %" PRIu64
                       " is not within the disk of %" PRIu64 " bytes",
                       start_bytes, end_bytes, bitmap->disk_bytes);
    if (start_bytes == end_bytes)
        return true;
    if (bitmap->runs.count >= BITMAP_MAX_RUNS)
        return err_set(err, FAIL_LIMIT,
                       "bitmap: more than %u runs; the disk is too "
                       "fragmented for one cycle",
                       BITMAP_MAX_RUNS);
    extents_add(&bitmap->runs, round_down(start_bytes, SECTOR_BYTES),
                round_up(end_bytes, SECTOR_BYTES)); /* cannot overflow: <= disk_bytes */
    return true;
}

uint64_t bitmap_set_sectors(const struct bitmap *bitmap)
{
    return extents_total_bytes(&bitmap->runs) / SECTOR_BYTES;
}

bool bitmap_equal(const struct bitmap *a, const struct bitmap *b)
{
    return a->disk_bytes == b->disk_bytes && extents_equal(&a->runs, &b->runs);
}

void bitmap_difference(const struct bitmap *a, const struct bitmap *b,
                       struct extents *ret_only_a, struct extents *ret_only_b)
{
    extents_subtract(&a->runs, &b->runs, ret_only_a);
    extents_subtract(&b->runs, &a->runs, ret_only_b);
}

void bitmap_encode(const struct bitmap *bitmap, struct buf *out)
{
    assert(bitmap->runs.count <= BITMAP_MAX_RUNS);
    size_t start = out->bytes;
    buf_append(out, MAGIC, MAGIC_BYTES);
    buf_put_u16le(out, VERSION);
    buf_put_u16le(out, HEADER_BYTES);
    buf_put_u32le(out, SECTOR_BYTES);
    buf_put_u64le(out, bitmap->disk_bytes);
    buf_put_u64le(out, bitmap->runs.count);
    runs_encode(&bitmap->runs, out);
    buf_put_u64le(out, XXH3_64bits(out->data + start, out->bytes - start));
}

static const char *decode(struct cursor *from, struct bitmap *ret)
{
    if (memcmp(cursor_take(from, MAGIC_BYTES), MAGIC, MAGIC_BYTES) != 0)
        return "wrong magic";
    if (cursor_u16(from) != VERSION || cursor_u16(from) != HEADER_BYTES)
        return "unknown version";
    if (cursor_u32(from) != SECTOR_BYTES)
        return "wrong sector size";
    ret->disk_bytes = cursor_u64(from);
    uint64_t count = cursor_u64(from);
    if (ret->disk_bytes % SECTOR_BYTES)
        return "disk size is not whole sectors";
    if (count > BITMAP_MAX_RUNS)
        return "too many runs";
    if (!runs_decode(from, count, ret->disk_bytes, &ret->runs))
        return "runs are cut, out of order or beyond the disk";
    if (from->at != from->end)
        return "bytes behind the last run";
    return NULL;
}

bool bitmap_decode(const uint8_t *data, size_t data_bytes, struct bitmap *ret,
                   struct err *err)
{
    *ret = (struct bitmap){0};
    const char *problem = "cut short";
    if (data_bytes >= HEADER_BYTES + CHECKSUM_BYTES) {
        size_t body_bytes = data_bytes - CHECKSUM_BYTES;
        struct cursor from = {.at = data, .end = data + body_bytes};
        if (XXH3_64bits(data, body_bytes) != get_u64le(data + body_bytes))
            problem = "checksum does not match";
        else
            problem = decode(&from, ret);
    }
    if (problem)
        return err_set(err, FAIL_CORRUPT, "sector bitmap of %zu bytes: %s", data_bytes,
                       problem);
    return true;
}
