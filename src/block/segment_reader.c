/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a segment that may be anything: cut, rotten, swapped, replayed or made up.
 *
 * R1  Nothing is used as a length before it was compared with a constant bound and with
 *     the bytes that are left.
 * R2  Nothing of a record is handed out before its tag matched, it unpacked to exactly
 * its length and every block's digest matched. R3  The position moves last: after a
 * failure the next call fails the same way. R4  No allocation per record. Stored content
 * is decrypted straight to where the caller wants it, packed content by way of `scratch`.
 * Invariants S1..S5 of the format: segment.h.
 */
#include "block/segment_format.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct segment_reader {
    const struct secret *data_key;
    struct gcm *gcm;
    struct packer *packer;
    struct digester *digester;
    struct segment_name name;
    const uint8_t *data; /* NULL: no segment is open */
    size_t data_bytes;
    size_t at_bytes;
    bool has_expected_tag;
    bool is_ended;
    uint8_t expected_tag[SEAL_TAG_BYTES];
    uint32_t index;
    struct segment_counts counts;
    struct piece pieces[RECORD_MAX_PIECES];
    struct digest digests[RECORD_MAX_BLOCKS];
    uint8_t *scratch; /* RECORD_SPAN_MAX_BYTES */
};

/* A record's header as read, before it is believed. */
struct raw_record {
    const uint8_t *at;
    size_t table_count; /* pieces in the table */
    size_t digest_count;
    size_t packed_bytes;
    size_t total_bytes; /* header to tag */
};

struct segment_reader *segment_reader_new(const struct secret *data_key, struct err *err)
{
    AUTO(segment_reader_free) struct segment_reader *reader = xcalloc(1, sizeof *reader);
    reader->data_key = data_key;
    reader->scratch = xcalloc(1, RECORD_SPAN_MAX_BYTES);
    reader->gcm = gcm_new(GCM_OPEN, err);
    if (!reader->gcm)
        return NULL;
    reader->packer = packer_new(err);
    if (!reader->packer)
        return NULL;
    reader->digester = digester_new(data_key, err);
    if (!reader->digester)
        return NULL;
    return TAKE(reader);
}

void segment_reader_free(struct segment_reader *reader)
{
    if (!reader)
        return;
    gcm_free(reader->gcm);
    packer_free(reader->packer);
    digester_free(reader->digester);
    free(reader->scratch);
    free(reader);
}

static bool segment_corrupt(const struct segment_name *name, const char *problem,
                            struct err *err)
{
    char disk[ID_TEXT_BYTES];
    return err_set(err, FAIL_CORRUPT,
                   "segment %u of cycle %" PRIu64 " of disk %s: %s; the cycle fails and "
                   "its extents are sent again",
                   name->seq, name->cycle, id_text(&name->disk, disk), problem);
}

static bool record_corrupt(const struct segment_reader *reader, const char *problem,
                           struct err *err)
{
    char text[160];
    (void)snprintf(text, sizeof text, "record %u at byte %zu: %s", reader->index,
                   reader->at_bytes, problem);
    return segment_corrupt(&reader->name, text, err);
}

static bool has_only_zeros(const uint8_t *data, size_t data_bytes)
{
    uint8_t all = 0;
    for (size_t i = 0; i < data_bytes; i++)
        all |= data[i];
    return all == 0;
}

static const char *header_problem(const struct segment_name *name, const uint8_t *header)
{
    if (memcmp(header + SEGMENT_AT_MAGIC, SEGMENT_MAGIC, SEGMENT_MAGIC_BYTES) != 0)
        return "wrong magic";
    if (get_u16le(header + SEGMENT_AT_VERSION) != SEGMENT_VERSION)
        return "unknown version";
    if (get_u16le(header + SEGMENT_AT_HEADER_BYTES) != SEGMENT_HEADER_BYTES ||
        get_u32le(header + SEGMENT_AT_BLOCK_BYTES) != BLOCK_BYTES)
        return "wrong header or block size";
    if (get_u32le(header + SEGMENT_AT_FLAGS) != 0 ||
        !has_only_zeros(header + SEGMENT_AT_RESERVED,
                        SEGMENT_HEADER_BYTES - SEGMENT_AT_RESERVED))
        return "reserved bytes are set";
    if (memcmp(header + SEGMENT_AT_MACHINE, name->machine.bytes, ID_BYTES) != 0)
        return "it belongs to another machine";
    if (memcmp(header + SEGMENT_AT_DISK, name->disk.bytes, ID_BYTES) != 0)
        return "it belongs to another disk";
    if (get_u64le(header + SEGMENT_AT_CYCLE) != name->cycle)
        return "it belongs to another cycle";
    if (get_u32le(header + SEGMENT_AT_SEQ) != name->seq)
        return "it has another sequence number";
    return NULL;
}

bool segment_reader_begin(struct segment_reader *reader, const struct segment_name *name,
                          const uint8_t *data, size_t data_bytes,
                          const uint8_t expected_tag[SEAL_TAG_BYTES], struct err *err)
{
    reader->data = NULL;
    const char *problem = NULL;
    if (data_bytes < SEGMENT_HEADER_BYTES + segment_record_bytes(0, 0, 0))
        problem = "cut short";
    else if (data_bytes > SEGMENT_MAX_BYTES)
        problem = "longer than any segment";
    else
        problem = header_problem(name, data);
    if (problem)
        return segment_corrupt(name, problem, err);
    if (!segment_rekey(reader->gcm, reader->data_key, data, err))
        return false;
    reader->name = *name;
    reader->data = data;
    reader->data_bytes = data_bytes;
    reader->at_bytes = SEGMENT_HEADER_BYTES;
    reader->has_expected_tag = expected_tag != NULL;
    if (expected_tag)
        memcpy(reader->expected_tag, expected_tag, SEAL_TAG_BYTES);
    reader->is_ended = false;
    reader->index = 0;
    reader->counts = (struct segment_counts){0};
    return true;
}

/* R1: all lengths of the record, against the bounds and the bytes that are left. */
static const char *read_sizes(const struct segment_reader *reader, struct raw_record *raw)
{
    size_t left = reader->data_bytes - reader->at_bytes;
    raw->at = reader->data + reader->at_bytes;
    if (left == 0)
        return "the END record is missing, the segment is cut";
    if (left < segment_record_bytes(0, 0, 0))
        return "cut short";
    if (get_u32le(raw->at + RECORD_AT_MAGIC) != RECORD_MAGIC)
        return "wrong record magic";
    if (reader->index >= SEGMENT_MAX_RECORDS)
        return "too many records";
    if (get_u32le(raw->at + RECORD_AT_INDEX) != reader->index)
        return "record is out of order";
    if (get_u16le(raw->at + RECORD_AT_RESERVED_A) ||
        get_u64le(raw->at + RECORD_AT_RESERVED_B))
        return "reserved bytes are set";
    raw->table_count = get_u16le(raw->at + RECORD_AT_PIECE_COUNT);
    raw->digest_count = get_u16le(raw->at + RECORD_AT_DIGEST_COUNT);
    raw->packed_bytes = 0;
    if (raw->at[RECORD_AT_KIND] != RECORD_END)
        raw->packed_bytes = get_u32le(raw->at + RECORD_AT_PACKED_BYTES);
    if (raw->table_count > RECORD_MAX_PIECES || raw->digest_count > RECORD_MAX_BLOCKS ||
        raw->packed_bytes > RECORD_SPAN_MAX_BYTES)
        return "a count is out of bounds";
    raw->total_bytes =
        segment_record_bytes(raw->table_count, raw->digest_count, raw->packed_bytes);
    if (raw->total_bytes > left)
        return "cut short";
    return NULL;
}

/* The pieces from the table, or the one that covers the span. */
static void read_pieces(struct segment_reader *reader, const struct raw_record *raw,
                        struct record *ret)
{
    const uint8_t *table = raw->at + RECORD_HEADER_BYTES;
    for (size_t i = 0; i < raw->table_count; i++, table += RECORD_PIECE_BYTES)
        reader->pieces[i] = (struct piece){.start_sectors = get_u32le(table),
                                           .count_sectors = get_u32le(table + 4)};
    ret->piece_count = raw->table_count;
    if (raw->table_count == 0 && ret->kind == RECORD_DATA) {
        uint64_t sectors = ret->length_bytes / SECTOR_BYTES;
        /* too long for a piece is too long for a span: data_problem says so */
        reader->pieces[0] = (struct piece){
            .count_sectors = (uint32_t)MIN_OF(sectors, SPAN_MAX_SECTORS + 1)};
        ret->piece_count = 1;
    }
    ret->pieces = ret->piece_count ? reader->pieces : NULL;
}

/* Fields of a DATA, ZERO or SAME record; all rules that need no key. */
static const char *read_fields(struct segment_reader *reader,
                               const struct raw_record *raw, struct record *ret)
{
    const uint8_t *at = raw->at;
    *ret = (struct record){
        .kind = (enum record_kind)at[RECORD_AT_KIND],
        .offset_bytes = get_u64le(at + RECORD_AT_OFFSET),
        .length_bytes = get_u64le(at + RECORD_AT_LENGTH),
        .content_bytes = get_u32le(at + RECORD_AT_CONTENT_BYTES),
        .digest_count = raw->digest_count,
        .method = (enum pack_method)at[RECORD_AT_METHOD],
        .stored_bytes = (uint32_t)raw->total_bytes,
    };
    read_pieces(reader, raw, ret);
    const char *problem = segment_record_problem(ret);
    if (problem)
        return problem;
    if (raw->table_count == 1 && segment_has_plain_span(ret))
        return "piece table is not needed";
    if (ret->method > PACK_ZSTD)
        return "unknown packing";
    if (ret->kind != RECORD_DATA)
        return raw->packed_bytes || ret->method ? "a record without content has content"
                                                : NULL;
    if (ret->method == PACK_STORED ? raw->packed_bytes != ret->content_bytes
                                   : raw->packed_bytes >= ret->content_bytes)
        return "packed length is impossible";
    return NULL;
}

static const char *read_end(const struct segment_reader *reader,
                            const struct raw_record *raw, struct record *ret)
{
    const uint8_t *at = raw->at;
    const struct segment_counts *counts = &reader->counts;
    *ret =
        (struct record){.kind = RECORD_END, .stored_bytes = (uint32_t)raw->total_bytes};
    if (raw->table_count || raw->digest_count || at[RECORD_AT_METHOD] ||
        get_u32le(at + END_AT_RESERVED))
        return "reserved bytes are set";
    if (get_u64le(at + END_AT_CONTENT_BYTES) != counts->content_bytes ||
        get_u32le(at + END_AT_DATA_COUNT) != counts->data ||
        get_u32le(at + END_AT_ZERO_COUNT) != counts->zero ||
        get_u32le(at + END_AT_SAME_COUNT) != counts->same)
        return "counts of the END record do not match what was read";
    if (raw->total_bytes != reader->data_bytes - reader->at_bytes)
        return "bytes follow the END record";
    if (reader->has_expected_tag &&
        memcmp(at + RECORD_HEADER_BYTES, reader->expected_tag, SEAL_TAG_BYTES) != 0)
        return "it is not the segment that the manifest names";
    return NULL;
}

/* Decrypts digests and content; packed content is left in scratch. */
static bool open_seal(struct segment_reader *reader, const struct raw_record *raw,
                      uint8_t *content_to, struct err *err)
{
    uint8_t nonce[GCM_NONCE_BYTES];
    size_t aad_bytes = RECORD_HEADER_BYTES + raw->table_count * RECORD_PIECE_BYTES;
    size_t digests_bytes = raw->digest_count * DIGEST_BYTES;
    const uint8_t *payload = raw->at + aad_bytes;
    segment_nonce(reader->index, nonce);
    if (!gcm_start(reader->gcm, nonce, raw->at, aad_bytes, err) ||
        !gcm_update(reader->gcm, payload, (uint8_t *)reader->digests, digests_bytes,
                    err) ||
        !gcm_update(reader->gcm, payload + digests_bytes, content_to, raw->packed_bytes,
                    err))
        return false;
    if (!gcm_open(reader->gcm, payload + digests_bytes + raw->packed_bytes))
        return record_corrupt(reader, "seal is broken (damaged, or another data key)",
                              err);
    return true;
}

/* S5: content as it was before packing, block by block. */
static bool check_digests(struct segment_reader *reader, const struct record *record,
                          struct err *err)
{
    struct record_block blocks[RECORD_MAX_BLOCKS];
    size_t count = record_split(record, blocks);
    for (size_t i = 0; i < count; i++) {
        struct digest digest;
        if (!digester_compute(reader->digester, record->content + blocks[i].start_bytes,
                              blocks[i].part_bytes, &digest, err))
            return false;
        if (!digest_equal(&digest, &record->digests[i]))
            return record_corrupt(reader, "content does not match its checksum", err);
    }
    return true;
}

static bool open_content(struct segment_reader *reader, const struct raw_record *raw,
                         uint8_t *content_buffer, struct record *ret, struct err *err)
{
    bool is_stored = ret->method == PACK_STORED;
    if (!open_seal(reader, raw, is_stored ? content_buffer : reader->scratch, err))
        return false;
    if (ret->kind != RECORD_DATA)
        return true;
    if (!is_stored &&
        !packer_unpack(reader->packer, ret->method, reader->scratch, raw->packed_bytes,
                       content_buffer, ret->content_bytes, err)) {
        char text[96];
        (void)snprintf(text, sizeof text, "%.90s", err->text);
        return record_corrupt(reader, text, err);
    }
    ret->content = content_buffer;
    ret->digests = reader->digests;
    return check_digests(reader, ret, err);
}

bool segment_reader_next(struct segment_reader *reader, uint8_t *content_buffer,
                         struct record *ret, struct err *err)
{
    struct raw_record raw;
    struct record record;
    if (!reader->data || reader->is_ended)
        return err_set(err, FAIL_BUG, "segment: read without an open segment");
    const char *problem = read_sizes(reader, &raw);
    if (!problem)
        problem = raw.at[RECORD_AT_KIND] == RECORD_END
                      ? read_end(reader, &raw, &record)
                      : read_fields(reader, &raw, &record);
    if (problem)
        return record_corrupt(reader, problem, err);
    if (!open_content(reader, &raw, content_buffer, &record, err))
        return false;
    segment_count(&reader->counts, &record);
    reader->is_ended = record.kind == RECORD_END;
    reader->at_bytes += raw.total_bytes;
    reader->index++;
    *ret = record;
    return true;
}
