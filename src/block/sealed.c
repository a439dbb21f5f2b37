/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealed objects (doc/formats/sealed.md): header | ciphertext | tag.
 *
 * O1  Every object has a key of its own (32 random bytes go into it), so the nonce is
 *     constant zero and can never repeat under a key.
 * O2  Key and tag bind each bit of the header and the context.
 * O3  Nothing is appended to the caller's buffer unless all of it verified.
 */
#include "block/sealed_format.h"

#include "base/bytes.h"
#include "block/derive.h"
#include "block/gcm.h"

static const uint8_t ZERO_NONCE[GCM_NONCE_BYTES];

static bool start(const struct secret *key, const char *context, const uint8_t *header,
                  struct gcm *gcm, struct err *err)
{
    uint8_t derived[DERIVED_KEY_BYTES];
    const struct derive_input input = {.label = "kedge object",
                                       .data = header,
                                       .data_bytes = SEALED_HEADER_BYTES,
                                       .text = context};
    bool ok = derive_key(key, &input, derived, err) && gcm_rekey(gcm, derived, err) &&
              gcm_start(gcm, ZERO_NONCE, header, SEALED_HEADER_BYTES, err);
    secret_wipe(derived, sizeof derived);
    return ok;
}

bool sealed_encode(const struct secret *key, enum sealed_kind kind, const char *context,
                   const uint8_t *payload, size_t payload_bytes, struct buf *out,
                   struct err *err)
{
    struct sealed_spec spec = {.key = key, .kind = kind, .context = context};
    secret_random(spec.salt, sizeof spec.salt);
    return sealed_encode_salted(&spec, payload, payload_bytes, out, err);
}

bool sealed_encode_salted(const struct sealed_spec *spec, const uint8_t *payload,
                          size_t payload_bytes, struct buf *out, struct err *err)
{
    if (payload_bytes > SEALED_MAX_BYTES - SEALED_HEADER_BYTES - GCM_TAG_BYTES)
        return err_set(err, FAIL_LIMIT,
                       "object '%s' of %zu bytes is larger than a sealed object may be",
                       spec->context, payload_bytes);
    AUTO(gcm_free) struct gcm *gcm = gcm_new(GCM_SEAL, err);
    if (!gcm)
        return false;
    size_t start_bytes = out->bytes;
    buf_reserve(out, SEALED_HEADER_BYTES + payload_bytes + GCM_TAG_BYTES);
    uint8_t *header = out->data + start_bytes;
    memset(header, 0, SEALED_HEADER_BYTES);
    memcpy(header + SEALED_AT_MAGIC, SEALED_MAGIC, SEALED_MAGIC_BYTES);
    put_u16le(header + SEALED_AT_VERSION, SEALED_VERSION);
    put_u16le(header + SEALED_AT_KIND, (uint16_t)spec->kind);
    memcpy(header + SEALED_AT_SALT, spec->salt, SEALED_SALT_BYTES);
    put_u64le(header + SEALED_AT_PAYLOAD_BYTES, payload_bytes);
    uint8_t *body = header + SEALED_HEADER_BYTES;
    if (!start(spec->key, spec->context, header, gcm, err) ||
        !gcm_update(gcm, payload, body, payload_bytes, err) ||
        !gcm_seal(gcm, body + payload_bytes, err))
        return false;
    out->bytes += SEALED_HEADER_BYTES + payload_bytes + GCM_TAG_BYTES;
    out->data[out->bytes] = 0;
    return true;
}

static const char *header_problem(enum sealed_kind kind, const uint8_t *data,
                                  size_t data_bytes)
{
    if (data_bytes < SEALED_HEADER_BYTES + GCM_TAG_BYTES)
        return "cut short";
    if (data_bytes > SEALED_MAX_BYTES)
        return "longer than any sealed object";
    if (memcmp(data + SEALED_AT_MAGIC, SEALED_MAGIC, SEALED_MAGIC_BYTES) != 0)
        return "wrong magic";
    if (get_u16le(data + SEALED_AT_VERSION) != SEALED_VERSION)
        return "unknown version";
    if (get_u16le(data + SEALED_AT_KIND) != (uint16_t)kind)
        return "an object of another kind";
    if (get_u32le(data + SEALED_AT_RESERVED_A) || get_u64le(data + SEALED_AT_RESERVED_B))
        return "reserved bytes are set";
    if (get_u64le(data + SEALED_AT_PAYLOAD_BYTES) !=
        data_bytes - SEALED_HEADER_BYTES - GCM_TAG_BYTES)
        return "length does not match, cut or with bytes added";
    return NULL;
}

bool sealed_decode(const struct secret *key, enum sealed_kind kind, const char *context,
                   const uint8_t *data, size_t data_bytes, struct buf *ret,
                   struct err *err)
{
    const char *problem = header_problem(kind, data, data_bytes);
    if (problem)
        return err_set(err, FAIL_CORRUPT, "sealed object '%s': %s", context, problem);
    AUTO(gcm_free) struct gcm *gcm = gcm_new(GCM_OPEN, err);
    if (!gcm)
        return false;
    size_t payload_bytes = data_bytes - SEALED_HEADER_BYTES - GCM_TAG_BYTES;
    buf_reserve(ret, payload_bytes);
    uint8_t *to = ret->data + ret->bytes;
    if (!start(key, context, data, gcm, err) ||
        !gcm_update(gcm, data + SEALED_HEADER_BYTES, to, payload_bytes, err))
        return false;
    if (!gcm_open(gcm, data + SEALED_HEADER_BYTES + payload_bytes)) {
        secret_wipe(to, payload_bytes); /* O3 */
        *to = 0;
        return err_set(err, FAIL_CORRUPT,
                       "sealed object '%s': seal is broken (damaged, moved from another "
                       "name, or another key)",
                       context);
    }
    ret->bytes += payload_bytes;
    ret->data[ret->bytes] = 0;
    return true;
}
