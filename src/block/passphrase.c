/* SPDX-License-Identifier: Apache-2.0 */
/* One call of the library; the cost comes out of a file and is bounded before it is paid.
 */
#include "block/passphrase.h"

#include <openssl/evp.h>

#define MEMORY_MAX_BYTES (1 * GIB)

struct secret *passphrase_key(const struct secret *passphrase,
                              const struct passphrase_cost *cost,
                              const uint8_t salt[PASSPHRASE_SALT_BYTES], struct err *err)
{
    uint8_t key[PASSPHRASE_KEY_BYTES];
    bool is_bounded = cost->log2_n >= 10 && cost->log2_n <= 20 && cost->r >= 1 &&
                      cost->r <= 16 && cost->p >= 1 && cost->p <= 16;
    uint64_t n = is_bounded ? (uint64_t)1 << cost->log2_n : 0;
    if (!is_bounded || 128 * (uint64_t)cost->r * n > MEMORY_MAX_BYTES) {
        (void)err_set(err, FAIL_LIMIT, "scrypt with N=2^%u r=%u p=%u is out of bounds",
                      cost->log2_n, cost->r, cost->p);
        return NULL;
    }
    /* The library counts its own small buffers besides. */
    if (EVP_PBE_scrypt((const char *)passphrase->data, passphrase->bytes, salt,
                       PASSPHRASE_SALT_BYTES, n, cost->r, cost->p, MEMORY_MAX_BYTES + MIB,
                       key, sizeof key) != 1) {
        (void)err_set(err, FAIL_LIMIT,
                      "scrypt with N=2^%u r=%u p=%u failed; is memory short?",
                      cost->log2_n, cost->r, cost->p);
        return NULL;
    }
    struct secret *made = secret_new(key, sizeof key);
    secret_wipe(key, sizeof key);
    return made;
}
