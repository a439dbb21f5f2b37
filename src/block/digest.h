/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content digest of a block: checksum before compression, and what decides that a
 * block need not be sent because the replica holds the same content.
 *
 * digest = AES256(k2, GMAC(k1, content, fixed IV)): a keyed universal hash (GHASH) under
 * a block cipher. A guest cannot aim for a collision without k1; a leaked digest tells
 * nothing about k1. k1, k2 come from the machine's data key. Collision chance of two
 * different 64 KiB blocks: at most 2^-115. Why this and not SHA-256 or BLAKE3:
 * doc/decisions/0002-digest.md. A digest is never all zero bytes nor all 0xff (those mean
 * "unknown" and are reserved in the hash map): such a value is replaced by itself with
 * bit 0 of byte 0 flipped.
 */
#ifndef BLOCK_DIGEST_H
#define BLOCK_DIGEST_H

#include "base/secret.h"

#define DIGEST_BYTES 16

struct digest {
    uint8_t bytes[DIGEST_BYTES];
};

struct digester; /* one thread at a time; make one per thread */

MUST_CHECK struct digester *digester_new(const struct secret *data_key, struct err *err);
void digester_free(struct digester *digester);
AUTO_CLEANUP(struct digester, digester_free);

/* data_bytes 1 .. 16 MiB. Cannot fail but for FAIL_BUG inside the crypto library. */
MUST_CHECK bool digester_compute(struct digester *digester, const uint8_t *data,
                                 size_t data_bytes, struct digest *ret, struct err *err);

bool digest_equal(const struct digest *a, const struct digest *b);
bool digest_is_unknown(const struct digest *digest); /* all zero */

#endif
