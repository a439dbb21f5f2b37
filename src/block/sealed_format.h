/* SPDX-License-Identifier: Apache-2.0 */
/* What sealed.c shares with its tests only: where the fields are and a chosen salt. */
#ifndef BLOCK_SEALED_FORMAT_H
#define BLOCK_SEALED_FORMAT_H

#include "block/sealed.h"

#define SEALED_MAGIC        "KDGOBJ01"
#define SEALED_MAGIC_BYTES  8
#define SEALED_VERSION      1
#define SEALED_SALT_BYTES   32
#define SEALED_HEADER_BYTES 64

enum sealed_field {
    SEALED_AT_MAGIC = 0,
    SEALED_AT_VERSION = 8,
    SEALED_AT_KIND = 10,
    SEALED_AT_RESERVED_A = 12,
    SEALED_AT_SALT = 16,
    SEALED_AT_PAYLOAD_BYTES = 48,
    SEALED_AT_RESERVED_B = 56
};

struct sealed_spec {
    const struct secret *key;
    enum sealed_kind kind;
    const char *context;
    uint8_t salt[SEALED_SALT_BYTES];
};

/* sealed_encode with a chosen salt. Only for golden files: a salt is used once. */
MUST_CHECK bool sealed_encode_salted(const struct sealed_spec *spec,
                                     const uint8_t *payload, size_t payload_bytes,
                                     struct buf *out, struct err *err);

#endif
