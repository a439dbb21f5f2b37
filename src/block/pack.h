/* SPDX-License-Identifier: Apache-2.0 */
/* Compression of one record's content. One packer per thread; no allocation per call. */
#ifndef BLOCK_PACK_H
#define BLOCK_PACK_H

#include "base/err.h"

enum pack_method {
    PACK_STORED = 0,
    PACK_LZ4 = 1,
    PACK_ZSTD = 2
}; /* values are on disk */

struct packer;

MUST_CHECK struct packer *packer_new(struct err *err);
void packer_free(struct packer *packer);
AUTO_CLEANUP(struct packer, packer_free);

/*
 * Packs in[0, in_bytes) into out[0, out_cap); out_cap >= in_bytes. When packing does not
 * shrink by at least 1/32 the content is stored and *ret_method says so. level: LZ4
 * acceleration (1..) or zstd level (may be negative).
 */
MUST_CHECK bool packer_pack(struct packer *packer, enum pack_method method, int level,
                            const uint8_t *in, size_t in_bytes, uint8_t *out,
                            size_t out_cap, size_t *ret_bytes,
                            enum pack_method *ret_method, struct err *err);

/* Exactly out_bytes must come out, else FAIL_CORRUPT. */
MUST_CHECK bool packer_unpack(struct packer *packer, enum pack_method method,
                              const uint8_t *in, size_t in_bytes, uint8_t *out,
                              size_t out_bytes, struct err *err);

#endif
