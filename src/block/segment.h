/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment: one object of the log store, many records, sealed. doc/formats/segment.md
 * says it byte by byte.
 *
 *   header (128 bytes, plain) | record | record | ... | END record
 *
 * S1  key: HMAC-SHA256(data key, "kedge segment" | header). The header holds 32 fresh
 * random bytes (salt), so every segment has a key of its own, and each header bit is
 * bound. S2  nonce: the record's index, counted from 0 under that key. Never reused by
 * construction. S3  each record's plain header and piece table are associated data of its
 * AES-256-GCM seal. S4  the END record holds the counts, so truncation is noticed; its
 * tag names the segment in the manifest, so a lost, swapped or replayed segment is
 * noticed there. S5  a record's content is checked after decompression against the
 * digests made before packing.
 *
 * Record kinds: DATA (pieces of the disk and their content), ZERO (a range that is now
 * zero), SAME (a range that changed or was in doubt, whose content the replica already
 * holds), END.
 */
#ifndef BLOCK_SEGMENT_H
#define BLOCK_SEGMENT_H

#include "base/id.h"
#include "base/secret.h"
#include "block/digest.h"
#include "block/pack.h"

/* The unit of digests and of the hash map. On disk: never changes within version 1. */
#define BLOCK_BYTES 65536u
/* A record covers at most this span of the disk, aligned to itself. */
#define RECORD_SPAN_MAX_BYTES (1 * MIB)
#define RECORD_MAX_BLOCKS     (RECORD_SPAN_MAX_BYTES / BLOCK_BYTES)
#define RECORD_MAX_PIECES     2048u /* 1 MiB of every other sector, halved by merging */
#define RECORD_HEADER_BYTES   48u
#define RECORD_PIECE_BYTES    8u
#define SEAL_TAG_BYTES        16u
#define SEGMENT_HEADER_BYTES  128u
#define SEGMENT_SALT_BYTES    32u
#define SEGMENT_MAX_BYTES     (64 * MIB)
#define SEGMENT_MAX_RECORDS   (1u << 20)

struct segment_name {
    struct id machine;
    struct id disk;
    uint64_t cycle;
    uint32_t seq; /* counts from 0 within (cycle, disk) */
};

/* Where a DATA record's content belongs: sectors relative to record.offset_bytes. */
struct piece {
    uint32_t start_sectors;
    uint32_t count_sectors;
};

enum record_kind { RECORD_DATA = 1, RECORD_ZERO = 2, RECORD_SAME = 3, RECORD_END = 4 };

struct record {
    enum record_kind kind;
    uint64_t offset_bytes; /* of the range; multiple of SECTOR_BYTES */
    uint64_t length_bytes; /* of the range covered (span for DATA) */
    /* DATA only; pieces ascend, do not touch, never cross RECORD_SPAN_MAX_BYTES. */
    size_t piece_count;
    const struct piece *pieces;
    size_t content_bytes;   /* sum of the pieces */
    const uint8_t *content; /* the pieces' bytes one after the other */
    /* One digest for each BLOCK_BYTES block that has pieces, over that block's piece
     * bytes. */
    size_t digest_count;
    const struct digest *digests;
    enum pack_method method;
    uint32_t stored_bytes; /* what it takes in the segment, header to tag */
};

/* The part of a DATA record's content that belongs to one block. */
struct record_block {
    uint64_t block;     /* disk offset / BLOCK_BYTES */
    size_t start_bytes; /* within content */
    size_t part_bytes;  /* less than BLOCK_BYTES when only a part of the block is there */
};

/* Splits content by blocks, ascending: digests[i] is the digest of part i. Uses offset,
 * length and pieces only. Returns the count (at most RECORD_MAX_BLOCKS), 0 when the
 * record breaks a rule of the format. */
size_t record_split(const struct record *record,
                    struct record_block ret[RECORD_MAX_BLOCKS]);

/* ---- writing ---- */

struct segment_writer; /* one thread */

/* Borrows data_key for its life. key_id names the data key. */
MUST_CHECK struct segment_writer *segment_writer_new(const struct secret *data_key,
                                                     const struct id *key_id,
                                                     struct err *err);
void segment_writer_free(struct segment_writer *writer);
AUTO_CLEANUP(struct segment_writer, segment_writer_free);

/* Starts a segment in buffer (borrowed until segment_writer_end). */
MUST_CHECK bool segment_writer_begin(struct segment_writer *writer,
                                     const struct segment_name *name, uint8_t *buffer,
                                     size_t buffer_bytes, struct err *err);

/* Whether a DATA record of that size (stored, the worst case), reserve_bytes more and the
 * END record still fit. */
bool segment_writer_fits(const struct segment_writer *writer, size_t content_bytes,
                         size_t piece_count, size_t digest_count, size_t reserve_bytes);

/* kind, offset, length, pieces, content and digests of *record are input. Packs with
 * method and level into the buffer, seals in place. FAIL_BUG when it does not fit. */
MUST_CHECK bool segment_writer_add(struct segment_writer *writer,
                                   const struct record *record, struct packer *packer,
                                   enum pack_method method, int level, struct err *err);

size_t segment_writer_used_bytes(const struct segment_writer *writer);
size_t segment_writer_record_count(const struct segment_writer *writer);

/* Appends END. ret_bytes: the size of the object; ret_tag: its END tag. */
MUST_CHECK bool segment_writer_end(struct segment_writer *writer, size_t *ret_bytes,
                                   uint8_t ret_tag[SEAL_TAG_BYTES],
                                   uint8_t ret_salt[SEGMENT_SALT_BYTES], struct err *err);

/* ---- reading ---- */

struct segment_reader; /* one thread */

MUST_CHECK struct segment_reader *segment_reader_new(const struct secret *data_key,
                                                     struct err *err);
void segment_reader_free(struct segment_reader *reader);
AUTO_CLEANUP(struct segment_reader, segment_reader_free);

/* Checks size, magic, version and that it is the segment called *name. expected_tag (may
 * be NULL): the END tag from the manifest, compared when END is read. data is borrowed.
 */
MUST_CHECK bool segment_reader_begin(struct segment_reader *reader,
                                     const struct segment_name *name, const uint8_t *data,
                                     size_t data_bytes,
                                     const uint8_t expected_tag[SEAL_TAG_BYTES],
                                     struct err *err);

/*
 * Opens, unpacks and verifies the next record. content_buffer has RECORD_SPAN_MAX_BYTES;
 * pieces, digests and content of *ret are valid until the next call. After END: ret->kind
 * is RECORD_END and nothing may follow. Any damage is FAIL_CORRUPT and names the record.
 */
MUST_CHECK bool segment_reader_next(struct segment_reader *reader,
                                    uint8_t *content_buffer, struct record *ret,
                                    struct err *err);

#endif
