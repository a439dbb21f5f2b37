/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The digests that are compared, and AES-256-GCM, through OpenSSL's EVP with every
 * algorithm fetched once: a fetch per block costs more than the block.
 *
 * `gmac` is AES-256-GCM over associated data only, with one fixed nonce: GHASH plus a
 * constant, which makes it a keyed universal hash (two different blocks of n 16-byte
 * words collide with probability <= (n + 1) / 2^128 for whoever does not know the key).
 * Two tags of known data under one nonce give the hash key away, so whoever uses it must
 * keep the tags as secret as the key. It is measured here because it runs at the speed of
 * the cipher.
 */
#include "digest.h"

#include <openssl/evp.h>
#include <string.h>
#include <xxhash.h>

#include "measure.h"

static const uint8_t bench_key[32] = "kedge bench key, not a secret..";
static const char *const kind_names[] = {"none", "xxh3", "sha256", "gmac", "blake2b"};

static EVP_CIPHER_CTX *gcm_new(int is_encrypt)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

    if (cipher == NULL || ctx == NULL ||
        EVP_CipherInit_ex2(ctx, cipher, bench_key, NULL, is_encrypt, NULL) != 1)
        die("set up AES-256-GCM");
    EVP_CIPHER_free(cipher);
    return ctx;
}

void digest_init(struct digest *digest, enum digest_kind kind)
{
    *digest = (struct digest){.kind = kind};
    if (kind == DIGEST_GMAC)
        digest->gmac = gcm_new(1);
    if (kind == DIGEST_SHA256 || kind == DIGEST_BLAKE2B) {
        digest->md =
            EVP_MD_fetch(NULL, kind == DIGEST_SHA256 ? "SHA256" : "BLAKE2B-512", NULL);
        digest->md_ctx = EVP_MD_CTX_new();
        if (digest->md == NULL || digest->md_ctx == NULL)
            die("set up %s", kind_names[kind]);
    }
}

void digest_release(struct digest *digest)
{
    EVP_CIPHER_CTX_free(digest->gmac);
    EVP_MD_CTX_free(digest->md_ctx);
    EVP_MD_free(digest->md);
}

static void gmac_run(EVP_CIPHER_CTX *ctx, const void *data, size_t data_bytes,
                     uint8_t *sum)
{
    static const uint8_t fixed_nonce[SEAL_NONCE_BYTES] = "kedge-gmac";
    int done = 0;

    if (EVP_EncryptInit_ex2(ctx, NULL, NULL, fixed_nonce, NULL) != 1 ||
        EVP_EncryptUpdate(ctx, NULL, &done, data, (int)data_bytes) != 1 ||
        EVP_EncryptFinal_ex(ctx, sum, &done) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG_BYTES, sum) != 1)
        die("gmac");
}

size_t digest_run(struct digest *digest, const void *data, size_t data_bytes,
                  uint8_t ret_sum[DIGEST_MAX_BYTES])
{
    XXH128_hash_t xxh;
    unsigned sum_bytes = 0;

    switch (digest->kind) {
    case DIGEST_NONE:
        return 0;
    case DIGEST_XXH3:
        xxh = XXH3_128bits(data, data_bytes);
        memcpy(ret_sum, &xxh, sizeof(xxh));
        return sizeof(xxh);
    case DIGEST_GMAC:
        gmac_run(digest->gmac, data, data_bytes, ret_sum);
        return SEAL_TAG_BYTES;
    case DIGEST_SHA256:
    case DIGEST_BLAKE2B:
        break;
    }
    if (EVP_DigestInit_ex2(digest->md_ctx, digest->md, NULL) != 1 ||
        EVP_DigestUpdate(digest->md_ctx, data, data_bytes) != 1 ||
        EVP_DigestFinal_ex(digest->md_ctx, ret_sum, &sum_bytes) != 1)
        die("digest");
    return sum_bytes;
}

enum digest_kind digest_kind_parse(const char *name)
{
    for (size_t i = 0; i < sizeof(kind_names) / sizeof(kind_names[0]); i++)
        if (strcmp(name, kind_names[i]) == 0)
            return (enum digest_kind)i;
    die("unknown digest '%s'; known: none xxh3 sha256 gmac blake2b", name);
}

const char *digest_kind_name(enum digest_kind kind)
{
    return kind_names[kind];
}

void seal_init(struct seal *seal)
{
    seal->enc = gcm_new(1);
    seal->dec = gcm_new(0);
}

void seal_release(struct seal *seal)
{
    EVP_CIPHER_CTX_free(seal->enc);
    EVP_CIPHER_CTX_free(seal->dec);
}

static void nonce_make(uint64_t counter, uint8_t ret_nonce[SEAL_NONCE_BYTES])
{
    memset(ret_nonce, 0, SEAL_NONCE_BYTES);
    memcpy(ret_nonce, &counter, sizeof(counter));
}

void seal_run(struct seal *seal, uint64_t nonce, const void *data, size_t data_bytes,
              uint8_t *ret_out)
{
    uint8_t iv[SEAL_NONCE_BYTES];
    int done = 0;
    int last = 0;

    nonce_make(nonce, iv);
    if (EVP_EncryptInit_ex2(seal->enc, NULL, NULL, iv, NULL) != 1 ||
        EVP_EncryptUpdate(seal->enc, ret_out, &done, data, (int)data_bytes) != 1 ||
        EVP_EncryptFinal_ex(seal->enc, ret_out + done, &last) != 1 ||
        EVP_CIPHER_CTX_ctrl(seal->enc, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG_BYTES,
                            ret_out + data_bytes) != 1)
        die("seal");
}

void seal_open(struct seal *seal, uint64_t nonce, const uint8_t *data, size_t data_bytes,
               uint8_t *ret_out)
{
    uint8_t iv[SEAL_NONCE_BYTES];
    uint8_t tag[SEAL_TAG_BYTES];
    int done = 0;
    int last = 0;

    nonce_make(nonce, iv);
    memcpy(tag, data + data_bytes, sizeof(tag));
    if (EVP_DecryptInit_ex2(seal->dec, NULL, NULL, iv, NULL) != 1 ||
        EVP_DecryptUpdate(seal->dec, ret_out, &done, data, (int)data_bytes) != 1 ||
        EVP_CIPHER_CTX_ctrl(seal->dec, EVP_CTRL_AEAD_SET_TAG, sizeof(tag), tag) != 1 ||
        EVP_DecryptFinal_ex(seal->dec, ret_out + done, &last) != 1)
        die("record %llu does not authenticate", (unsigned long long)nonce);
}
