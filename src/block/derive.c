/* SPDX-License-Identifier: Apache-2.0 */
/* Derives one key from another; one HMAC, so one call of the library's one-shot form. */
#include "block/derive.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

static bool feed(EVP_MAC_CTX *ctx, const struct derive_input *input)
{
    return EVP_MAC_update(ctx, (const unsigned char *)input->label,
                          strlen(input->label) + 1) == 1 &&
           (!input->data_bytes ||
            EVP_MAC_update(ctx, input->data, input->data_bytes) == 1) &&
           (!input->text || EVP_MAC_update(ctx, (const unsigned char *)input->text,
                                           strlen(input->text)) == 1);
}

bool derive_key(const struct secret *key, const struct derive_input *input,
                uint8_t ret[DERIVED_KEY_BYTES], struct err *err)
{
    if (key->bytes < DERIVE_KEY_MIN_BYTES)
        return err_set(err, FAIL_BUG, "derive key '%s': input key has only %zu bytes",
                       input->label, key->bytes);
    char digest_name[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest_name, 0),
        OSSL_PARAM_construct_end(),
    };
    size_t got_bytes = 0;
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
    bool ok = ctx && EVP_MAC_init(ctx, key->data, key->bytes, params) == 1 &&
              feed(ctx, input) &&
              EVP_MAC_final(ctx, ret, &got_bytes, DERIVED_KEY_BYTES) == 1 &&
              got_bytes == DERIVED_KEY_BYTES;
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
    if (!ok)
        return err_set(err, FAIL_BUG, "derive key '%s': HMAC-SHA256 failed",
                       input->label);
    return true;
}
