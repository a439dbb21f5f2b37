/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the segment writer and reader share: where the fields are and what a record may
 * be. Internal to block/ and to its tests (golden files, fuzzers). doc/formats/segment.md
 * describes the same bytes for people.
 */
#ifndef BLOCK_SEGMENT_FORMAT_H
#define BLOCK_SEGMENT_FORMAT_H

#include "block/gcm.h"
#include "block/segment.h"

#define SEGMENT_MAGIC       "KDGSEG01"
#define SEGMENT_MAGIC_BYTES 8
#define SEGMENT_VERSION     1
#define RECORD_MAGIC        0x4345524bu /* "KREC" */
#define SPAN_MAX_SECTORS    ((uint32_t)(RECORD_SPAN_MAX_BYTES / SECTOR_BYTES))
/* Offsets and lengths end below this, so that sums cannot overflow. */
#define DISK_LIMIT_BYTES ((uint64_t)1 << 62)

enum segment_field {
    SEGMENT_AT_MAGIC = 0,
    SEGMENT_AT_VERSION = 8,
    SEGMENT_AT_HEADER_BYTES = 10,
    SEGMENT_AT_BLOCK_BYTES = 12,
    SEGMENT_AT_MACHINE = 16,
    SEGMENT_AT_DISK = 32,
    SEGMENT_AT_CYCLE = 48,
    SEGMENT_AT_SEQ = 56,
    SEGMENT_AT_FLAGS = 60,
    SEGMENT_AT_KEY_ID = 64,
    SEGMENT_AT_SALT = 80,
    SEGMENT_AT_RESERVED = 112
};

enum record_field {
    RECORD_AT_MAGIC = 0,
    RECORD_AT_KIND = 4,
    RECORD_AT_METHOD = 5,
    RECORD_AT_PIECE_COUNT = 6,
    RECORD_AT_OFFSET = 8,
    RECORD_AT_LENGTH = 16,
    RECORD_AT_CONTENT_BYTES = 24,
    RECORD_AT_PACKED_BYTES = 28,
    RECORD_AT_INDEX = 32,
    RECORD_AT_DIGEST_COUNT = 36,
    RECORD_AT_RESERVED_A = 38,
    RECORD_AT_RESERVED_B = 40,
    /* END uses the bytes of offset, length and content for its counts. */
    END_AT_CONTENT_BYTES = 8,
    END_AT_DATA_COUNT = 16,
    END_AT_ZERO_COUNT = 20,
    END_AT_SAME_COUNT = 24,
    END_AT_RESERVED = 28
};

/* Counts of the records so far, by kind; END carries them. */
struct segment_counts {
    uint64_t content_bytes;
    uint32_t data;
    uint32_t zero;
    uint32_t same;
};

/* Header to tag. piece_count as on disk (0: one piece covers the whole span). */
size_t segment_record_bytes(size_t piece_count, size_t digest_count, size_t packed_bytes);

/* NULL, or in words which rule *record breaks (contents and digests are not looked at).
 */
const char *segment_record_problem(const struct record *record);

/* Whether the one piece needs no table. */
bool segment_has_plain_span(const struct record *record);

void segment_count(struct segment_counts *counts, const struct record *record);

/* The nonce of record `index` under its segment's key. */
void segment_nonce(uint32_t index, uint8_t ret[GCM_NONCE_BYTES]);

/* Keys gcm for the segment with that header. */
MUST_CHECK bool segment_rekey(struct gcm *gcm, const struct secret *data_key,
                              const uint8_t header[SEGMENT_HEADER_BYTES],
                              struct err *err);

/* segment_writer_begin with a chosen salt. Only for golden files and known answers: the
 * same salt twice under one name would use nonces twice. */
MUST_CHECK bool segment_writer_begin_salted(struct segment_writer *writer,
                                            const struct segment_name *name,
                                            const uint8_t salt[SEGMENT_SALT_BYTES],
                                            uint8_t *buffer, size_t buffer_bytes,
                                            struct err *err);

#endif
