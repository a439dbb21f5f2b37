/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LZ4 block format and zstd frames, through contexts that are made once.
 *
 * The output room given to the packers is already the most that would be accepted (1/32
 * less than the input): content that does not shrink is given up on early, not packed to
 * the end and thrown away.
 *
 * A zstd frame carries neither checksum nor content size nor dictionary id: the record
 * around it has all three better. Must never: trust a length inside packed data; what
 * comes out must be exactly as long as the record says.
 */
#include "block/pack.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <lz4.h>
#include <zstd.h>
#include <zstd_errors.h>

struct packer {
    void *lz4_state;
    ZSTD_CCtx *zstd_pack; /* both on first use: an LZ4 user never pays for them */
    ZSTD_DCtx *zstd_unpack;
    int zstd_level;
};

struct packer *packer_new(struct err *err)
{
    (void)err; /* only memory is needed, and that is there or the process ends */
    struct packer *packer = xcalloc(1, sizeof *packer);
    packer->lz4_state = xcalloc(1, (size_t)LZ4_sizeofState());
    return packer;
}

void packer_free(struct packer *packer)
{
    if (!packer)
        return;
    free(packer->lz4_state);
    (void)ZSTD_freeCCtx(packer->zstd_pack); /* always 0 */
    (void)ZSTD_freeDCtx(packer->zstd_unpack);
    free(packer);
}

static bool zstd_start(struct packer *packer, int level, struct err *err)
{
    if (!packer->zstd_pack) {
        packer->zstd_pack = ZSTD_createCCtx();
        if (!packer->zstd_pack ||
            ZSTD_isError(
                ZSTD_CCtx_setParameter(packer->zstd_pack, ZSTD_c_contentSizeFlag, 0)) ||
            ZSTD_isError(
                ZSTD_CCtx_setParameter(packer->zstd_pack, ZSTD_c_checksumFlag, 0)))
            return err_set(err, FAIL_BUG, "zstd: no packing context");
        packer->zstd_level = INT_MIN;
    }
    if (level != packer->zstd_level) {
        size_t code =
            ZSTD_CCtx_setParameter(packer->zstd_pack, ZSTD_c_compressionLevel, level);
        if (ZSTD_isError(code))
            return err_set(err, FAIL_BUG, "zstd level %d: %s", level,
                           ZSTD_getErrorName(code));
        packer->zstd_level = level;
    }
    return true;
}

/* *ret_bytes: what it shrank to, 0 when it does not fit into out_cap. */
static bool zstd_pack(struct packer *packer, const uint8_t *in, size_t in_bytes,
                      uint8_t *out, size_t out_cap, size_t *ret_bytes)
{
    size_t code = ZSTD_compress2(packer->zstd_pack, out, out_cap, in, in_bytes);
    *ret_bytes = ZSTD_isError(code) ? 0 : code;
    return *ret_bytes > 0 || ZSTD_getErrorCode(code) == ZSTD_error_dstSize_tooSmall;
}

bool packer_pack(struct packer *packer, enum pack_method method, int level,
                 const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_cap,
                 size_t *ret_bytes, enum pack_method *ret_method, struct err *err)
{
    if (out_cap < in_bytes || in_bytes > LZ4_MAX_INPUT_SIZE)
        return err_set(err, FAIL_BUG, "pack %zu bytes into %zu: no room", in_bytes,
                       out_cap);
    size_t accept_bytes = in_bytes ? in_bytes - MAX_OF(in_bytes / 32, 1) : 0;
    size_t packed_bytes = 0;
    switch (in_bytes ? method : PACK_STORED) {
    case PACK_STORED:
        break;
    case PACK_LZ4: {
        int n =
            LZ4_compress_fast_extState(packer->lz4_state, (const char *)in, (char *)out,
                                       (int)in_bytes, (int)accept_bytes, level);
        packed_bytes = n > 0 ? (size_t)n : 0;
        break;
    }
    case PACK_ZSTD:
        if (!zstd_start(packer, level, err))
            return false;
        if (!zstd_pack(packer, in, in_bytes, out, accept_bytes, &packed_bytes))
            return err_set(err, FAIL_BUG, "zstd: packing %zu bytes failed", in_bytes);
        break;
    default:
        return err_set(err, FAIL_BUG, "pack method %d is unknown", (int)method);
    }
    if (packed_bytes == 0) {
        if (in_bytes)
            memcpy(out, in, in_bytes);
        *ret_bytes = in_bytes;
        *ret_method = PACK_STORED;
    } else {
        *ret_bytes = packed_bytes;
        *ret_method = method;
    }
    return true;
}

static bool zstd_unpack(struct packer *packer, const uint8_t *in, size_t in_bytes,
                        uint8_t *out, size_t out_bytes, struct err *err)
{
    if (!packer->zstd_unpack) {
        packer->zstd_unpack = ZSTD_createDCtx();
        if (!packer->zstd_unpack)
            return err_set(err, FAIL_BUG, "zstd: no unpacking context");
    }
    size_t n = ZSTD_decompressDCtx(packer->zstd_unpack, out, out_bytes, in, in_bytes);
    if (ZSTD_isError(n))
        return err_set(err, FAIL_CORRUPT, "zstd data of %zu bytes: %s", in_bytes,
                       ZSTD_getErrorName(n));
    if (n != out_bytes)
        return err_set(err, FAIL_CORRUPT, "zstd data unpacks to %zu bytes, not %zu", n,
                       out_bytes);
    return true;
}

bool packer_unpack(struct packer *packer, enum pack_method method, const uint8_t *in,
                   size_t in_bytes, uint8_t *out, size_t out_bytes, struct err *err)
{
    if (in_bytes > INT_MAX || out_bytes > LZ4_MAX_INPUT_SIZE)
        return err_set(err, FAIL_CORRUPT, "packed data of %zu bytes is too large",
                       in_bytes);
    switch (method) {
    case PACK_STORED:
        if (in_bytes != out_bytes)
            return err_set(err, FAIL_CORRUPT, "stored data has %zu bytes, not %zu",
                           in_bytes, out_bytes);
        if (in_bytes)
            memcpy(out, in, in_bytes);
        return true;
    case PACK_LZ4: {
        int n = LZ4_decompress_safe((const char *)in, (char *)out, (int)in_bytes,
                                    (int)out_bytes);
        if (n < 0 || (size_t)n != out_bytes)
            return err_set(err, FAIL_CORRUPT, "lz4 data does not unpack to %zu bytes",
                           out_bytes);
        return true;
    }
    case PACK_ZSTD:
        return zstd_unpack(packer, in, in_bytes, out, out_bytes, err);
    default:
        return err_set(err, FAIL_CORRUPT,
                       "pack method %d is unknown; written by a newer "
                       "version?",
                       (int)method);
    }
}
