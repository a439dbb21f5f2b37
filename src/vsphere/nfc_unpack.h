/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a host packed: SkipZ, FastLZ and zlib, unpacked straight into the reader's buffer.
 * The input is hostile: every step is bounded at both ends, and what comes out is
 * exactly as long as was announced or the call fails.
 *
 * SkipZ, from the notes: u32 length of the plain data, u32 0, then records of u32 offset,
 * u32 length and the bytes, in ascending order; what lies between is zero.
 * FastLZ is Ariya Hidayat's format (MIT), level in the top three bits of the first byte.
 */
#ifndef VSPHERE_NFC_UNPACK_H
#define VSPHERE_NFC_UNPACK_H

#include "base/err.h"
#include "vsphere/nfc_quirks.h"

struct nfc_unpacker; /* one thread at a time; no memory is taken per call */

MUST_CHECK struct nfc_unpacker *nfc_unpacker_new(void);
void nfc_unpacker_free(struct nfc_unpacker *unpacker);
AUTO_CLEANUP(struct nfc_unpacker, nfc_unpacker_free);

struct nfc_packed {
    enum nfc_compression compression;
    const uint8_t *data;
    size_t data_bytes;
};
/* Exactly out_bytes are written. FAIL_CORRUPT: it does not unpack to that; out holds
 * rubbish then. */
MUST_CHECK bool nfc_unpack(struct nfc_unpacker *unpacker, const struct nfc_packed *packed,
                           uint8_t *out, size_t out_bytes, struct err *err);

#endif
