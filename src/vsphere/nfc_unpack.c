/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three small decoders with one rule: an index is compared with what is left before it
 * is used, never after. None of them trusts a length inside the data; none can write
 * outside out or read outside the input.
 */
#include "vsphere/nfc_unpack.h"

#include "base/bytes.h"

#include <stdlib.h>

#include <zlib.h>

#define SKIPZ_HEAD_BYTES   8
#define SKIPZ_RECORD_BYTES 8
#define FASTLZ_FAR_BYTES   8192 /* distance added to the 16 bits of a far match */

struct nfc_unpacker {
    z_stream zlib;
    bool has_zlib; /* made at the first need */
};

struct nfc_unpacker *nfc_unpacker_new(void)
{
    return xcalloc(1, sizeof(struct nfc_unpacker));
}

void nfc_unpacker_free(struct nfc_unpacker *unpacker)
{
    if (!unpacker)
        return;
    if (unpacker->has_zlib)
        (void)inflateEnd(&unpacker->zlib); /* only complains of a stream not made */
    free(unpacker);
}

static bool skipz(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes)
{
    size_t done = 0;
    size_t at = SKIPZ_HEAD_BYTES;
    if (in_bytes < SKIPZ_HEAD_BYTES || get_u32le(in) != out_bytes || get_u32le(in + 4))
        return false;
    while (at < in_bytes) {
        if (in_bytes - at < SKIPZ_RECORD_BYTES)
            return false;
        size_t offset = get_u32le(in + at);
        size_t length = get_u32le(in + at + 4);
        at += SKIPZ_RECORD_BYTES;
        if (offset < done || offset > out_bytes || length > out_bytes - offset ||
            length > in_bytes - at)
            return false;
        memset(out + done, 0, offset - done);
        memcpy(out + offset, in + at, length);
        done = offset + length;
        at += length;
    }
    memset(out + done, 0, out_bytes - done);
    return true;
}

struct fastlz {
    const uint8_t *in;
    size_t in_bytes;
    size_t at;
    uint8_t *out;
    size_t out_bytes;
    size_t done;
    bool is_level_2;
};

static bool fastlz_literals(struct fastlz *lz, size_t count)
{
    if (count > lz->in_bytes - lz->at || count > lz->out_bytes - lz->done)
        return false;
    memcpy(lz->out + lz->done, lz->in + lz->at, count);
    lz->at += count;
    lz->done += count;
    return true;
}

/* The rest of a match's length: one byte, on level 2 more while they are 255. */
static bool fastlz_length(struct fastlz *lz, size_t *length)
{
    uint8_t more;
    do {
        if (lz->at == lz->in_bytes)
            return false;
        more = lz->in[lz->at++];
        *length += more;
    } while (lz->is_level_2 && more == 255);
    return true;
}

static void copy_back(uint8_t *to, size_t distance, size_t length)
{
    const uint8_t *from = to - distance;
    if (distance >= length) {
        memcpy(to, from, length);
    } else if (distance == 1) {
        memset(to, *from, length);
    } else {
        for (size_t i = 0; i < length;
             i++) /* overlaps: each byte may be one just written */
            to[i] = from[i];
    }
}

static bool fastlz_match(struct fastlz *lz, uint8_t first)
{
    size_t length = (size_t)(first >> 5) + 2;
    size_t high = first & 31;
    if (length == 9 && !fastlz_length(lz, &length))
        return false;
    if (lz->at == lz->in_bytes)
        return false;
    size_t low = lz->in[lz->at++];
    size_t distance = (high << 8 | low) + 1;
    if (lz->is_level_2 && high == 31 && low == 255) {
        if (lz->in_bytes - lz->at < 2)
            return false;
        distance = ((size_t)lz->in[lz->at] << 8 | lz->in[lz->at + 1]) + FASTLZ_FAR_BYTES;
        lz->at += 2;
    }
    if (distance > lz->done || length > lz->out_bytes - lz->done)
        return false;
    copy_back(lz->out + lz->done, distance, length);
    lz->done += length;
    return true;
}

static bool fastlz(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes)
{
    struct fastlz lz = {
        .in = in, .in_bytes = in_bytes, .at = 1, .out = out, .out_bytes = out_bytes};
    if (in_bytes == 0 || in[0] >> 5 > 1)
        return false;
    lz.is_level_2 = in[0] >> 5 == 1;
    if (!fastlz_literals(&lz, (size_t)(in[0] & 31) + 1))
        return false;
    while (lz.at < in_bytes) {
        uint8_t first = in[lz.at++];
        bool ok = first >> 5 == 0 ? fastlz_literals(&lz, (size_t)first + 1)
                                  : fastlz_match(&lz, first);
        if (!ok)
            return false;
    }
    return lz.done == out_bytes;
}

static bool unzlib(struct nfc_unpacker *unpacker, const uint8_t *in, size_t in_bytes,
                   uint8_t *out, size_t out_bytes)
{
    z_stream *z = &unpacker->zlib;
    if (in_bytes > UINT32_MAX || out_bytes > UINT32_MAX)
        return false;
    if (unpacker->has_zlib ? inflateReset(z) != Z_OK : inflateInit(z) != Z_OK)
        return false;
    unpacker->has_zlib = true;
    z->next_in = (Bytef *)(uintptr_t)in; /* the library only reads it */
    z->avail_in = (uInt)in_bytes;
    z->next_out = out;
    z->avail_out = (uInt)out_bytes;
    return inflate(z, Z_FINISH) == Z_STREAM_END && z->avail_in == 0 && z->avail_out == 0;
}

bool nfc_unpack(struct nfc_unpacker *unpacker, const struct nfc_packed *packed,
                uint8_t *out, size_t out_bytes, struct err *err)
{
    const uint8_t *in = packed->data;
    size_t in_bytes = packed->data_bytes;
    bool ok = false;
    switch (packed->compression) {
    case NFC_STORED:
        ok = in_bytes == out_bytes;
        if (ok)
            memcpy(out, in, out_bytes);
        break;
    case NFC_ZLIB:
        ok = unzlib(unpacker, in, in_bytes, out, out_bytes);
        break;
    case NFC_FASTLZ:
        ok = fastlz(in, in_bytes, out, out_bytes);
        break;
    case NFC_SKIPZ:
        ok = skipz(in, in_bytes, out, out_bytes);
        break;
    }
    if (!ok)
        return err_set(err, FAIL_CORRUPT,
                       "%zu bytes of %s data do not unpack to %zu bytes", in_bytes,
                       nfc_compression_name(packed->compression), out_bytes);
    return true;
}
