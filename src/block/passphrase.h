/* SPDX-License-Identifier: Apache-2.0 */
/* A key out of a passphrase: scrypt (RFC 7914). Pure, any thread; takes time and memory
 * on purpose. */
#ifndef BLOCK_PASSPHRASE_H
#define BLOCK_PASSPHRASE_H

#include "base/secret.h"

#define PASSPHRASE_SALT_BYTES 32
#define PASSPHRASE_KEY_BYTES  32

/* Memory 128 * r * 2^log2_n bytes, time in proportion to that times p. */
struct passphrase_cost {
    uint32_t log2_n; /* 10 .. 20 */
    uint32_t r;      /* 1 .. 16 */
    uint32_t p;      /* 1 .. 16 */
};

/* 128 MiB and about half a second. */
#define PASSPHRASE_COST ((struct passphrase_cost){.log2_n = 17, .r = 8, .p = 1})

/* PASSPHRASE_KEY_BYTES of key. FAIL_LIMIT: the cost is out of the bounds above, or over
 * 1 GiB. */
MUST_CHECK struct secret *passphrase_key(const struct secret *passphrase,
                                         const struct passphrase_cost *cost,
                                         const uint8_t salt[PASSPHRASE_SALT_BYTES],
                                         struct err *err);

#endif
