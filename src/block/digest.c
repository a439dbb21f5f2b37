/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES256(k2, GMAC(k1, content, IV 0)).
 *
 * GMAC is AES-256-GCM with nothing but associated data. Its IV is fixed on purpose: GHASH
 * is used as a keyed universal hash, and the tag, which would leak under a repeated IV,
 * never leaves this file unencrypted: a digest is that tag under the block cipher k2.
 *
 * D1  k1, k2 come from the data key by labels of their own and are used nowhere else.
 * D2  The key schedules are made once; a call only resets the IV (6..8 GB/s measured).
 * D3  A digest is never all zero nor all 0xff (see the header).
 *
 * Must never: hand out the GMAC value, or be used as a MAC for anything sent outside.
 */
#include "block/digest.h"

#include "block/derive.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#define DATA_MAX_BYTES (16 * MIB)

struct digester {
    EVP_CIPHER_CTX *gmac;
    EVP_CIPHER_CTX *ecb;
};

static const uint8_t ZERO_IV[12];

static bool start_cipher(EVP_CIPHER_CTX **ret, const EVP_CIPHER *cipher,
                         const struct secret *data_key, const char *label,
                         struct err *err)
{
    uint8_t key[DERIVED_KEY_BYTES];
    const struct derive_input input = {.label = label};
    if (!derive_key(data_key, &input, key, err))
        return false;
    *ret = EVP_CIPHER_CTX_new();
    bool ok = *ret && EVP_EncryptInit_ex(*ret, cipher, NULL, key, NULL) == 1 &&
              EVP_CIPHER_CTX_set_padding(*ret, 0) == 1;
    secret_wipe(key, sizeof key);
    return ok ||
           err_set(err, FAIL_BUG, "%s: cipher missing in the crypto library", label);
}

struct digester *digester_new(const struct secret *data_key, struct err *err)
{
    AUTO(digester_free) struct digester *digester = xcalloc(1, sizeof *digester);
    if (!start_cipher(&digester->gmac, EVP_aes_256_gcm(), data_key, "kedge digest 1 gmac",
                      err) ||
        !start_cipher(&digester->ecb, EVP_aes_256_ecb(), data_key, "kedge digest 1 aes",
                      err))
        return NULL;
    return TAKE(digester);
}

void digester_free(struct digester *digester)
{
    if (!digester)
        return;
    EVP_CIPHER_CTX_free(digester->gmac); /* wipes the key schedule */
    EVP_CIPHER_CTX_free(digester->ecb);
    free(digester);
}

static bool is_reserved(const struct digest *digest)
{
    uint8_t all_or = 0;
    uint8_t all_and = 0xff;
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        all_or |= digest->bytes[i];
        all_and &= digest->bytes[i];
    }
    return all_or == 0 || all_and == 0xff;
}

bool digester_compute(struct digester *digester, const uint8_t *data, size_t data_bytes,
                      struct digest *ret, struct err *err)
{
    uint8_t gmac[DIGEST_BYTES];
    uint8_t unused[DIGEST_BYTES];
    struct digest digest;
    int out_bytes;
    if (data_bytes == 0 || data_bytes > DATA_MAX_BYTES)
        return err_set(err, FAIL_BUG,
                       "digest of %zu bytes asked for, 1 to %zu are allowed", data_bytes,
                       (size_t)DATA_MAX_BYTES);
    bool ok =
        EVP_EncryptInit_ex(digester->gmac, NULL, NULL, NULL, ZERO_IV) == 1 &&
        EVP_EncryptUpdate(digester->gmac, NULL, &out_bytes, data, (int)data_bytes) == 1 &&
        EVP_EncryptFinal_ex(digester->gmac, unused, &out_bytes) == 1 &&
        EVP_CIPHER_CTX_ctrl(digester->gmac, EVP_CTRL_AEAD_GET_TAG, sizeof gmac, gmac) ==
            1 &&
        EVP_EncryptUpdate(digester->ecb, digest.bytes, &out_bytes, gmac, sizeof gmac) ==
            1 &&
        out_bytes == DIGEST_BYTES;
    if (!ok)
        return err_set(err, FAIL_BUG, "digest of %zu bytes: crypto library failed",
                       data_bytes);
    if (is_reserved(&digest))
        digest.bytes[0] ^= 1;
    *ret = digest;
    return true;
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
    return memcmp(a->bytes, b->bytes, DIGEST_BYTES) == 0;
}

bool digest_is_unknown(const struct digest *digest)
{
    static const struct digest UNKNOWN;
    return digest_equal(digest, &UNKNOWN);
}
