/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys from keys: HMAC-SHA256(key, label with its closing NUL | data | text). Internal to
 * block/. No label is a prefix of another because each one ends with its NUL.
 */
#ifndef BLOCK_DERIVE_H
#define BLOCK_DERIVE_H

#include "base/secret.h"

#define DERIVED_KEY_BYTES 32
/* A shorter input key is a caller's mistake (FAIL_BUG). */
#define DERIVE_KEY_MIN_BYTES 16

struct derive_input {
    const char *label;
    const uint8_t *data; /* may be NULL when data_bytes is 0 */
    size_t data_bytes;
    const char *text; /* may be NULL */
};

/* The caller wipes ret. Any thread. */
MUST_CHECK bool derive_key(const struct secret *key, const struct derive_input *input,
                           uint8_t ret[DERIVED_KEY_BYTES], struct err *err);

#endif
