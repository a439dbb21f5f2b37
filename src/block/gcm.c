/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thin layer over EVP that keeps the expanded key: initialising a context with a key
 * costs about 300 ns, giving it the next nonce about 50.
 */
#include "block/gcm.h"

#include <stdlib.h>

#include <openssl/evp.h>

#define UPDATE_MAX_BYTES (1 * GIB)

struct gcm {
    EVP_CIPHER_CTX *ctx;
    enum gcm_direction direction;
};

struct gcm *gcm_new(enum gcm_direction direction, struct err *err)
{
    struct gcm *gcm = xcalloc(1, sizeof *gcm);
    gcm->direction = direction;
    gcm->ctx = EVP_CIPHER_CTX_new();
    if (!gcm->ctx || EVP_CipherInit_ex(gcm->ctx, EVP_aes_256_gcm(), NULL, NULL, NULL,
                                       (int)direction) != 1) {
        (void)err_set(err, FAIL_BUG, "AES-256-GCM is missing in the crypto library");
        gcm_free(gcm);
        return NULL;
    }
    return gcm;
}

void gcm_free(struct gcm *gcm)
{
    if (!gcm)
        return;
    EVP_CIPHER_CTX_free(gcm->ctx); /* wipes the key schedule */
    free(gcm);
}

bool gcm_rekey(struct gcm *gcm, const uint8_t key[GCM_KEY_BYTES], struct err *err)
{
    if (EVP_CipherInit_ex(gcm->ctx, NULL, NULL, key, NULL, -1) != 1)
        return err_set(err, FAIL_BUG, "AES-256-GCM: key was not taken");
    return true;
}

bool gcm_start(struct gcm *gcm, const uint8_t nonce[GCM_NONCE_BYTES], const uint8_t *aad,
               size_t aad_bytes, struct err *err)
{
    int out_bytes;
    if (aad_bytes > UPDATE_MAX_BYTES ||
        EVP_CipherInit_ex(gcm->ctx, NULL, NULL, NULL, nonce, -1) != 1 ||
        EVP_CipherUpdate(gcm->ctx, NULL, &out_bytes, aad, (int)aad_bytes) != 1)
        return err_set(err, FAIL_BUG, "AES-256-GCM: start failed");
    return true;
}

bool gcm_update(struct gcm *gcm, const uint8_t *in, uint8_t *out, size_t data_bytes,
                struct err *err)
{
    int out_bytes;
    if (!data_bytes)
        return true;
    if (data_bytes > UPDATE_MAX_BYTES ||
        EVP_CipherUpdate(gcm->ctx, out, &out_bytes, in, (int)data_bytes) != 1 ||
        (size_t)out_bytes != data_bytes)
        return err_set(err, FAIL_BUG, "AES-256-GCM: %zu bytes were not taken",
                       data_bytes);
    return true;
}

bool gcm_seal(struct gcm *gcm, uint8_t ret_tag[GCM_TAG_BYTES], struct err *err)
{
    uint8_t unused[GCM_TAG_BYTES];
    int out_bytes;
    if (EVP_CipherFinal_ex(gcm->ctx, unused, &out_bytes) != 1 ||
        EVP_CIPHER_CTX_ctrl(gcm->ctx, EVP_CTRL_AEAD_GET_TAG, GCM_TAG_BYTES, ret_tag) != 1)
        return err_set(err, FAIL_BUG, "AES-256-GCM: no tag");
    return true;
}

bool gcm_open(struct gcm *gcm, const uint8_t tag[GCM_TAG_BYTES])
{
    uint8_t expected[GCM_TAG_BYTES];
    uint8_t unused[GCM_TAG_BYTES];
    int out_bytes;
    for (size_t i = 0; i < GCM_TAG_BYTES; i++)
        expected[i] = tag[i]; /* the library takes a pointer to non-const */
    return EVP_CIPHER_CTX_ctrl(gcm->ctx, EVP_CTRL_AEAD_SET_TAG, GCM_TAG_BYTES,
                               expected) == 1 &&
           EVP_CipherFinal_ex(gcm->ctx, unused, &out_bytes) == 1;
}
