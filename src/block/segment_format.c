/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of a record, checked by the writer (a breach is our bug) and by the reader (a
 * breach is damage) with the same code, so that nothing can be written that is not read.
 */
#include "block/segment_format.h"

#include "base/bytes.h"
#include "block/derive.h"

#include <string.h>

size_t segment_record_bytes(size_t piece_count, size_t digest_count, size_t packed_bytes)
{
    return RECORD_HEADER_BYTES + piece_count * RECORD_PIECE_BYTES +
           digest_count * DIGEST_BYTES + packed_bytes + SEAL_TAG_BYTES;
}

static const char *range_problem(const struct record *record)
{
    if (record->offset_bytes % SECTOR_BYTES || record->length_bytes % SECTOR_BYTES)
        return "range is not whole sectors";
    if (record->length_bytes == 0)
        return "range is empty";
    if (record->offset_bytes >= DISK_LIMIT_BYTES ||
        record->length_bytes > DISK_LIMIT_BYTES - record->offset_bytes)
        return "range is beyond any disk";
    return NULL;
}

static const char *pieces_problem(const struct record *record)
{
    uint64_t sum_sectors = 0;
    uint64_t span_sectors = record->length_bytes / SECTOR_BYTES;
    uint64_t at = 0;
    if (record->piece_count == 0 || record->piece_count > RECORD_MAX_PIECES)
        return "count of pieces is out of bounds";
    for (size_t i = 0; i < record->piece_count; i++) {
        uint64_t start = record->pieces[i].start_sectors;
        uint64_t count = record->pieces[i].count_sectors;
        if (count == 0)
            return "a piece is empty";
        if (i > 0 && start <= at)
            return "pieces touch or do not ascend";
        if (start + count > span_sectors)
            return "a piece is outside of the span";
        sum_sectors += count;
        at = start + count;
    }
    if (record->content_bytes != sum_sectors * SECTOR_BYTES)
        return "content length is not the sum of the pieces";
    return NULL;
}

/* Needs valid pieces. */
static size_t split(const struct record *record,
                    struct record_block ret[RECORD_MAX_BLOCKS])
{
    size_t blocks = 0;
    size_t content_at = 0;
    for (size_t i = 0; i < record->piece_count; i++) {
        const struct piece *piece = &record->pieces[i];
        uint64_t at =
            record->offset_bytes + (uint64_t)piece->start_sectors * SECTOR_BYTES;
        uint64_t end = at + (uint64_t)piece->count_sectors * SECTOR_BYTES;
        while (at < end) {
            uint64_t block = at / BLOCK_BYTES;
            uint64_t stop = MIN_OF(end, (block + 1) * BLOCK_BYTES);
            if (!blocks || ret[blocks - 1].block != block)
                ret[blocks++] =
                    (struct record_block){.block = block, .start_bytes = content_at};
            ret[blocks - 1].part_bytes += (size_t)(stop - at);
            content_at += (size_t)(stop - at);
            at = stop;
        }
    }
    return blocks;
}

static const char *data_problem(const struct record *record)
{
    struct record_block blocks[RECORD_MAX_BLOCKS];
    uint64_t last = record->offset_bytes + record->length_bytes - 1;
    if (record->offset_bytes / RECORD_SPAN_MAX_BYTES != last / RECORD_SPAN_MAX_BYTES)
        return "span crosses an aligned MiB";
    const char *problem = pieces_problem(record);
    if (problem)
        return problem;
    if (record->digest_count != split(record, blocks))
        return "count of digests is not the count of blocks";
    return NULL;
}

const char *segment_record_problem(const struct record *record)
{
    const char *problem = range_problem(record);
    if (problem)
        return problem;
    switch (record->kind) {
    case RECORD_DATA:
        return data_problem(record);
    case RECORD_ZERO:
    case RECORD_SAME:
        if (record->piece_count || record->content_bytes || record->digest_count)
            return "a record without content has content";
        return NULL;
    default:
        return "unknown kind";
    }
}

size_t record_split(const struct record *record,
                    struct record_block ret[RECORD_MAX_BLOCKS])
{
    uint64_t last = record->offset_bytes + record->length_bytes - 1;
    if (record->kind != RECORD_DATA || range_problem(record) ||
        record->offset_bytes / RECORD_SPAN_MAX_BYTES != last / RECORD_SPAN_MAX_BYTES)
        return 0;
    struct record shape = *record;
    shape.content_bytes = 0;
    for (size_t i = 0; i < record->piece_count; i++)
        shape.content_bytes += (size_t)record->pieces[i].count_sectors * SECTOR_BYTES;
    return pieces_problem(&shape) ? 0 : split(record, ret);
}

bool segment_has_plain_span(const struct record *record)
{
    return record->piece_count == 1 && record->pieces[0].start_sectors == 0 &&
           record->pieces[0].count_sectors == record->length_bytes / SECTOR_BYTES;
}

void segment_count(struct segment_counts *counts, const struct record *record)
{
    counts->content_bytes += record->content_bytes;
    counts->data += record->kind == RECORD_DATA;
    counts->zero += record->kind == RECORD_ZERO;
    counts->same += record->kind == RECORD_SAME;
}

void segment_nonce(uint32_t index, uint8_t ret[GCM_NONCE_BYTES])
{
    memset(ret, 0, GCM_NONCE_BYTES);
    put_u32le(ret, index);
}

bool segment_rekey(struct gcm *gcm, const struct secret *data_key,
                   const uint8_t header[SEGMENT_HEADER_BYTES], struct err *err)
{
    uint8_t key[DERIVED_KEY_BYTES];
    const struct derive_input input = {
        .label = "kedge segment", .data = header, .data_bytes = SEGMENT_HEADER_BYTES};
    bool ok = derive_key(data_key, &input, key, err) && gcm_rekey(gcm, key, err);
    secret_wipe(key, sizeof key);
    return ok;
}
