/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small sealed objects of the state store and the log store: plan, journal entry,
 * manifest, replica state. magic "KDGOBJ01", kind, salt (32 random bytes), payload
 * length, AES-256-GCM of the payload under a key derived from (data key, whole header,
 * context), tag. The context is text that says which object it must be ("<machine>
 * <cycle> journal 17"): not stored, so an object moved to another name does not open.
 * doc/formats/sealed.md
 */
#ifndef BLOCK_SEALED_H
#define BLOCK_SEALED_H

#include "base/buf.h"
#include "base/secret.h"

#define SEALED_MAX_BYTES (1 * GIB)

enum sealed_kind {
    SEALED_PLAN = 1,
    SEALED_JOURNAL = 2,
    SEALED_MANIFEST = 3,
    SEALED_REPLICA = 4,
    SEALED_KEY = 5,
    SEALED_MASTER = 6,
    SEALED_MESSAGE = 7,
}; /* values are on disk */

/* Appends the sealed object to out. */
MUST_CHECK bool sealed_encode(const struct secret *key, enum sealed_kind kind,
                              const char *context, const uint8_t *payload,
                              size_t payload_bytes, struct buf *out, struct err *err);

/* Appends the payload to ret. Any damage or another context: FAIL_CORRUPT. */
MUST_CHECK bool sealed_decode(const struct secret *key, enum sealed_kind kind,
                              const char *context, const uint8_t *data, size_t data_bytes,
                              struct buf *ret, struct err *err);

#endif
