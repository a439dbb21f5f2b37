/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_DIGEST_H
#define BENCH_DIGEST_H

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_MAX_BYTES 64
#define SEAL_NONCE_BYTES 12
#define SEAL_TAG_BYTES   16

enum digest_kind { DIGEST_NONE, DIGEST_XXH3, DIGEST_SHA256, DIGEST_GMAC, DIGEST_BLAKE2B };

/* One per thread. */
struct digest {
    enum digest_kind kind;
    EVP_MD *md;
    EVP_MD_CTX *md_ctx;
    EVP_CIPHER_CTX *gmac;
};

void digest_init(struct digest *digest, enum digest_kind kind);
void digest_release(struct digest *digest);

/* Writes the digest to ret_sum and returns its length: 16 for xxh3 and gmac. */
size_t digest_run(struct digest *digest, const void *data, size_t data_bytes,
                  uint8_t ret_sum[DIGEST_MAX_BYTES]);

/* Dies when the name is none of "none xxh3 sha256 gmac blake2b". */
enum digest_kind digest_kind_parse(const char *name);
const char *digest_kind_name(enum digest_kind kind);

/* AES-256-GCM, fixed bench key, nonce made of a counter. One per thread. */
struct seal {
    EVP_CIPHER_CTX *enc;
    EVP_CIPHER_CTX *dec;
};

void seal_init(struct seal *seal);
void seal_release(struct seal *seal);

/* ret_out gets data_bytes of cipher text, then the tag. In place is allowed. */
void seal_run(struct seal *seal, uint64_t nonce, const void *data, size_t data_bytes,
              uint8_t *ret_out);

/* The inverse; dies when the tag does not match. data_bytes counts the cipher text only.
 */
void seal_open(struct seal *seal, uint64_t nonce, const uint8_t *data, size_t data_bytes,
               uint8_t *ret_out);

#endif
