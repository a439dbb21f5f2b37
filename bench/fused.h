/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_FUSED_H
#define BENCH_FUSED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "digest.h"
#include "worklist.h"

#define MAX_THREADS   64
#define SEGMENT_BYTES (2 * MIB)
#define DIRECT_ALIGN  4096

enum codec { CODEC_NONE, CODEC_LZ4, CODEC_ZSTD };

/*
 * The log: segments, each starting at a multiple of 4 KiB, then the index (one
 * index_entry a segment), then in the last 4 KiB a footer. Host byte order: a log never
 * leaves the machine that measured it.
 *
 * A segment is records end to end. A record: header, mask of the unit's cells, digest of
 * the plain cells, then cipher text of packed_bytes and the tag; packed_bytes 0 = zeroes,
 * and then neither cipher text nor tag.
 */
struct record {
    uint64_t offset_bytes;
    uint32_t packed_bytes;
    uint8_t codec;
    uint8_t mask_bytes;
    uint8_t sum_bytes;
    uint8_t reserved;
};
/* All of a record but its cipher text. */
#define RECORD_HEAD_MAX_BYTES                                                            \
    (sizeof(struct record) + sizeof(struct mask) + DIGEST_MAX_BYTES + SEAL_TAG_BYTES)

struct index_entry {
    uint64_t offset_bytes;
    uint64_t used_bytes;
};

#define FOOTER_MAGIC 0x31676f6c6465736bu
struct footer {
    uint64_t magic;
    uint64_t image_bytes;
    uint64_t index_offset_bytes;
    uint64_t segment_count;
    uint32_t digest_kind;
    uint32_t unit_bytes;
};

struct options {
    const char *image; /* send, scan */
    const char *log;   /* send, receive; NULL on send: no sink */
    const char *replica;
    const char *extents;
    unsigned threads;
    enum codec codec;
    int level;
    enum digest_kind digest;
    bool is_new;             /* receive: truncate the replica first */
    size_t direct_min_bytes; /* receive: shorter runs go through the page cache */
};

struct totals {
    atomic_uint_fast64_t read_bytes;   /* plain bytes looked at */
    atomic_uint_fast64_t data_bytes;   /* of them, carried (not zero) */
    atomic_uint_fast64_t stored_bytes; /* log bytes */
    enum digest_kind digest;
};

void run_send(const struct options *options, struct totals *totals);
void run_scan(const struct options *options, struct totals *totals);
void run_receive(const struct options *options, struct totals *totals);

static inline bool bytes_are_zero(const uint8_t *p, size_t bytes)
{
    return p[0] == 0 && __builtin_memcmp(p, p + 1, bytes - 1) == 0;
}

#endif
