/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a segment into the caller's buffer: pack to where the payload goes, seal there.
 *
 * W1  Room for the END record is kept back always: segment_writer_end cannot fail for
 * room. W2  A record is added whole or not at all: used_bytes moves last. W3  The index
 * is the nonce; it moves with used_bytes, and a failed seal closes the segment, so no
 * nonce is used for two plaintexts. Invariants S1..S5 of the format: segment.h.
 */
#include "block/segment_format.h"

#include "base/bytes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define END_BYTES (RECORD_HEADER_BYTES + SEAL_TAG_BYTES)

struct segment_writer {
    const struct secret *data_key;
    struct id key_id;
    struct gcm *gcm;
    uint8_t *buffer; /* NULL: no segment is open */
    size_t cap_bytes;
    size_t used_bytes;
    uint32_t record_count;
    struct segment_counts counts;
};

struct segment_writer *segment_writer_new(const struct secret *data_key,
                                          const struct id *key_id, struct err *err)
{
    AUTO(segment_writer_free) struct segment_writer *writer = xcalloc(1, sizeof *writer);
    writer->data_key = data_key;
    writer->key_id = *key_id;
    writer->gcm = gcm_new(GCM_SEAL, err);
    if (!writer->gcm)
        return NULL;
    return TAKE(writer);
}

void segment_writer_free(struct segment_writer *writer)
{
    if (!writer)
        return;
    gcm_free(writer->gcm);
    free(writer);
}

bool segment_writer_begin(struct segment_writer *writer, const struct segment_name *name,
                          uint8_t *buffer, size_t buffer_bytes, struct err *err)
{
    uint8_t salt[SEGMENT_SALT_BYTES];
    secret_random(salt, sizeof salt);
    return segment_writer_begin_salted(writer, name, salt, buffer, buffer_bytes, err);
}

bool segment_writer_begin_salted(struct segment_writer *writer,
                                 const struct segment_name *name,
                                 const uint8_t salt[SEGMENT_SALT_BYTES], uint8_t *buffer,
                                 size_t buffer_bytes, struct err *err)
{
    writer->buffer = NULL;
    if (buffer_bytes < SEGMENT_HEADER_BYTES + END_BYTES)
        return err_set(err, FAIL_BUG, "segment buffer of %zu bytes holds no segment",
                       buffer_bytes);
    memset(buffer, 0, SEGMENT_HEADER_BYTES);
    memcpy(buffer + SEGMENT_AT_MAGIC, SEGMENT_MAGIC, SEGMENT_MAGIC_BYTES);
    put_u16le(buffer + SEGMENT_AT_VERSION, SEGMENT_VERSION);
    put_u16le(buffer + SEGMENT_AT_HEADER_BYTES, SEGMENT_HEADER_BYTES);
    put_u32le(buffer + SEGMENT_AT_BLOCK_BYTES, BLOCK_BYTES);
    memcpy(buffer + SEGMENT_AT_MACHINE, name->machine.bytes, ID_BYTES);
    memcpy(buffer + SEGMENT_AT_DISK, name->disk.bytes, ID_BYTES);
    put_u64le(buffer + SEGMENT_AT_CYCLE, name->cycle);
    put_u32le(buffer + SEGMENT_AT_SEQ, name->seq);
    memcpy(buffer + SEGMENT_AT_KEY_ID, writer->key_id.bytes, ID_BYTES);
    memcpy(buffer + SEGMENT_AT_SALT, salt, SEGMENT_SALT_BYTES);
    if (!segment_rekey(writer->gcm, writer->data_key, buffer, err))
        return false;
    writer->buffer = buffer;
    writer->cap_bytes = MIN_OF(buffer_bytes, SEGMENT_MAX_BYTES);
    writer->used_bytes = SEGMENT_HEADER_BYTES;
    writer->record_count = 0;
    writer->counts = (struct segment_counts){0};
    return true;
}

bool segment_writer_fits(const struct segment_writer *writer, size_t content_bytes,
                         size_t piece_count, size_t digest_count, size_t reserve_bytes)
{
    if (!writer->buffer || writer->record_count + 1 >= SEGMENT_MAX_RECORDS ||
        content_bytes > RECORD_SPAN_MAX_BYTES || piece_count > RECORD_MAX_PIECES ||
        digest_count > RECORD_MAX_BLOCKS)
        return false;
    return segment_record_bytes(piece_count, digest_count, content_bytes) +
               reserve_bytes + END_BYTES <=
           writer->cap_bytes - writer->used_bytes;
}

/* Seals header | table as associated data and payload in place; writes the tag. */
static bool seal_record(struct segment_writer *writer, uint8_t *at, size_t aad_bytes,
                        size_t payload_bytes, struct err *err)
{
    uint8_t nonce[GCM_NONCE_BYTES];
    uint8_t *payload = at + aad_bytes;
    segment_nonce(writer->record_count, nonce);
    if (gcm_start(writer->gcm, nonce, at, aad_bytes, err) &&
        gcm_update(writer->gcm, payload, payload, payload_bytes, err) &&
        gcm_seal(writer->gcm, payload + payload_bytes, err)) {
        writer->used_bytes += aad_bytes + payload_bytes + SEAL_TAG_BYTES;
        writer->record_count++;
        return true;
    }
    writer->buffer = NULL; /* W3 */
    return false;
}

static void put_header(const struct segment_writer *writer, const struct record *record,
                       uint8_t *at)
{
    memset(at, 0, RECORD_HEADER_BYTES);
    put_u32le(at + RECORD_AT_MAGIC, RECORD_MAGIC);
    at[RECORD_AT_KIND] = (uint8_t)record->kind;
    put_u64le(at + RECORD_AT_OFFSET, record->offset_bytes);
    put_u64le(at + RECORD_AT_LENGTH, record->length_bytes);
    put_u32le(at + RECORD_AT_CONTENT_BYTES, (uint32_t)record->content_bytes);
    put_u32le(at + RECORD_AT_INDEX, writer->record_count);
    put_u16le(at + RECORD_AT_DIGEST_COUNT, (uint16_t)record->digest_count);
}

/* Table, digests and packed content of a DATA record; the header's last two fields. */
static bool put_data(const struct record *record, struct packer *packer,
                     enum pack_method method, int level, uint8_t *at, struct err *err)
{
    size_t pieces = segment_has_plain_span(record) ? 0 : record->piece_count;
    uint8_t *to = at + RECORD_HEADER_BYTES;
    size_t packed_bytes = 0;
    enum pack_method used = PACK_STORED;
    for (size_t i = 0; i < pieces; i++, to += RECORD_PIECE_BYTES) {
        put_u32le(to, record->pieces[i].start_sectors);
        put_u32le(to + 4, record->pieces[i].count_sectors);
    }
    memcpy(to, record->digests, record->digest_count * DIGEST_BYTES);
    to += record->digest_count * DIGEST_BYTES;
    if (!packer_pack(packer, method, level, record->content, record->content_bytes, to,
                     record->content_bytes, &packed_bytes, &used, err))
        return false;
    at[RECORD_AT_METHOD] = (uint8_t)used;
    put_u16le(at + RECORD_AT_PIECE_COUNT, (uint16_t)pieces);
    put_u32le(at + RECORD_AT_PACKED_BYTES, (uint32_t)packed_bytes);
    return true;
}

bool segment_writer_add(struct segment_writer *writer, const struct record *record,
                        struct packer *packer, enum pack_method method, int level,
                        struct err *err)
{
    if (!writer->buffer)
        return err_set(err, FAIL_BUG, "segment: a record without an open segment");
    const char *problem = segment_record_problem(record);
    if (problem)
        return err_set(err, FAIL_BUG, "segment: record %u cannot be written: %s",
                       writer->record_count, problem);
    size_t pieces =
        record->piece_count && segment_has_plain_span(record) ? 0 : record->piece_count;
    if (!segment_writer_fits(writer, record->content_bytes, pieces, record->digest_count,
                             0))
        return err_set(err, FAIL_BUG, "segment: record %u of %zu bytes does not fit",
                       writer->record_count, record->content_bytes);
    uint8_t *at = writer->buffer + writer->used_bytes;
    put_header(writer, record, at);
    if (record->kind == RECORD_DATA && !put_data(record, packer, method, level, at, err))
        return false;
    size_t aad_bytes = RECORD_HEADER_BYTES + pieces * RECORD_PIECE_BYTES;
    size_t payload_bytes =
        record->digest_count * DIGEST_BYTES + get_u32le(at + RECORD_AT_PACKED_BYTES);
    if (!seal_record(writer, at, aad_bytes, payload_bytes, err))
        return false;
    segment_count(&writer->counts, record);
    return true;
}

size_t segment_writer_used_bytes(const struct segment_writer *writer)
{
    return writer->used_bytes;
}

size_t segment_writer_record_count(const struct segment_writer *writer)
{
    return writer->record_count;
}

bool segment_writer_end(struct segment_writer *writer, size_t *ret_bytes,
                        uint8_t ret_tag[SEAL_TAG_BYTES],
                        uint8_t ret_salt[SEGMENT_SALT_BYTES], struct err *err)
{
    if (!writer->buffer)
        return err_set(err, FAIL_BUG, "segment: end without an open segment");
    assert(writer->cap_bytes - writer->used_bytes >= END_BYTES); /* W1 */
    uint8_t *at = writer->buffer + writer->used_bytes;
    memset(at, 0, RECORD_HEADER_BYTES);
    put_u32le(at + RECORD_AT_MAGIC, RECORD_MAGIC);
    at[RECORD_AT_KIND] = RECORD_END;
    put_u64le(at + END_AT_CONTENT_BYTES, writer->counts.content_bytes);
    put_u32le(at + END_AT_DATA_COUNT, writer->counts.data);
    put_u32le(at + END_AT_ZERO_COUNT, writer->counts.zero);
    put_u32le(at + END_AT_SAME_COUNT, writer->counts.same);
    put_u32le(at + RECORD_AT_INDEX, writer->record_count);
    if (!seal_record(writer, at, RECORD_HEADER_BYTES, 0, err))
        return false;
    *ret_bytes = writer->used_bytes;
    memcpy(ret_tag, at + RECORD_HEADER_BYTES, SEAL_TAG_BYTES);
    memcpy(ret_salt, writer->buffer + SEGMENT_AT_SALT, SEGMENT_SALT_BYTES);
    writer->buffer = NULL;
    return true;
}
