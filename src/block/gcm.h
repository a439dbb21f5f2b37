/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-256-GCM with one context that is keyed once per segment and started once per
 * record. Internal to block/. One direction and one thread per context.
 *
 * gcm_new -> gcm_rekey -> { gcm_start, gcm_update ..., gcm_seal | gcm_open } ...
 */
#ifndef BLOCK_GCM_H
#define BLOCK_GCM_H

#include "base/err.h"

#define GCM_KEY_BYTES   32
#define GCM_NONCE_BYTES 12
#define GCM_TAG_BYTES   16

enum gcm_direction { GCM_OPEN = 0, GCM_SEAL = 1 };

struct gcm;

MUST_CHECK struct gcm *gcm_new(enum gcm_direction direction, struct err *err);
void gcm_free(struct gcm *gcm);
AUTO_CLEANUP(struct gcm, gcm_free);

MUST_CHECK bool gcm_rekey(struct gcm *gcm, const uint8_t key[GCM_KEY_BYTES],
                          struct err *err);

/* The nonce must never have been used to seal under this key. */
MUST_CHECK bool gcm_start(struct gcm *gcm, const uint8_t nonce[GCM_NONCE_BYTES],
                          const uint8_t *aad, size_t aad_bytes, struct err *err);

/* in == out is fine; at most SEALED_MAX_BYTES. What GCM_OPEN puts out is not to be
 * trusted before gcm_open said yes. */
MUST_CHECK bool gcm_update(struct gcm *gcm, const uint8_t *in, uint8_t *out,
                           size_t data_bytes, struct err *err);

MUST_CHECK bool gcm_seal(struct gcm *gcm, uint8_t ret_tag[GCM_TAG_BYTES],
                         struct err *err);

/* false without *err being touched: the tag does not match (the caller names what). */
MUST_CHECK bool gcm_open(struct gcm *gcm, const uint8_t tag[GCM_TAG_BYTES]);

#endif
