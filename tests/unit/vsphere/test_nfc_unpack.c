/* SPDX-License-Identifier: Apache-2.0 */
/* SkipZ, FastLZ and zlib: the format to the byte, round trips, and hostile input. */
#include "vsphere/nfc_unpack.h"

#include "base/bytes.h"
#include "fake_pack.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define GUARD 0xa5

static struct nfc_unpacker *unpacker;

/* Out of an exact allocation into one with guards behind it. */
static bool unpack(enum nfc_compression method, const void *data, size_t bytes,
                   uint8_t *out, size_t out_bytes)
{
    struct err err = ERR_INIT;
    AUTO(free) uint8_t *in = xcalloc(1, bytes);
    AUTO(free) uint8_t *room = xcalloc(1, out_bytes + 16);
    struct nfc_packed packed = {method, in, bytes};
    memcpy(in, data, bytes);
    memset(room, 0x5a, out_bytes);
    memset(room + out_bytes, GUARD, 16);
    bool ok = nfc_unpack(unpacker, &packed, room, out_bytes, &err);
    for (size_t i = 0; i < 16; i++)
        assert_int_equal(room[out_bytes + i], GUARD);
    assert_true(ok || err.kind == FAIL_CORRUPT);
    memcpy(out, room, out_bytes);
    return ok;
}

static void expect(enum nfc_compression method, const void *data, size_t bytes,
                   const void *plain, size_t plain_bytes)
{
    AUTO(free) uint8_t *out = xcalloc(1, plain_bytes);
    assert_true(unpack(method, data, bytes, out, plain_bytes));
    assert_memory_equal(out, plain, plain_bytes);
}

static void refuse(enum nfc_compression method, const void *data, size_t bytes,
                   size_t plain_bytes)
{
    AUTO(free) uint8_t *out = xcalloc(1, plain_bytes);
    assert_false(unpack(method, data, bytes, out, plain_bytes));
}

static void skipz_vectors(void **state)
{
    (void)state;
    static const uint8_t zeros[512];
    uint8_t plain[16] = {0};
    static const uint8_t empty[] = {16, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t two[] = {16, 0, 0, 0, 0, 0,  0, 0, 2, 0, 0, 0, 3, 0,
                                  0,  0, 1, 2, 3, 15, 0, 0, 0, 1, 0, 0, 0, 9};
    expect(NFC_SKIPZ, empty, sizeof empty, zeros, 16);
    plain[2] = 1;
    plain[3] = 2;
    plain[4] = 3;
    plain[15] = 9;
    expect(NFC_SKIPZ, two, sizeof two, plain, 16);
}

static void skipz_refuses(void **state)
{
    (void)state;
    uint8_t raw[32] = {16, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 4};
    refuse(NFC_SKIPZ, raw, 7, 16);  /* no head */
    refuse(NFC_SKIPZ, raw, 8, 15);  /* another length than announced */
    refuse(NFC_SKIPZ, raw, 12, 16); /* half a record head */
    refuse(NFC_SKIPZ, raw, 19, 16); /* data cut */
    put_u32le(raw + 8, 13);
    refuse(NFC_SKIPZ, raw, 20, 16); /* beyond the end */
    put_u32le(raw + 8, 0xfffffffe);
    refuse(NFC_SKIPZ, raw, 20, 16); /* offset + length wraps in 32 bits */
    put_u32le(raw + 8, 8);
    put_u32le(raw + 12, 0xffffffff);
    refuse(NFC_SKIPZ, raw, 20, 16);
    put_u32le(raw + 12, 4);
    put_u32le(raw + 4, 1);
    refuse(NFC_SKIPZ, raw, 20, 16); /* the second word is 0 */
    put_u32le(raw + 4, 0);
    /* descending records: the first would be wiped by the gap of the second */
    static const uint8_t down[] = {16, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1,
                                   0,  0, 0, 7, 4, 0, 0, 0, 1, 0, 0, 0, 7};
    refuse(NFC_SKIPZ, down, sizeof down, 16);
}

static void fastlz_vectors(void **state)
{
    (void)state;
    /* "a", then 9 + 0 = 9 more by distance 1 */
    static const uint8_t run[] = {0x00, 'a', 0xe0, 0, 0};
    expect(NFC_FASTLZ, run, sizeof run, "aaaaaaaaaa", 10);
    /* "abc", then length 3 (t=1) at distance 3, then a literal */
    static const uint8_t again[] = {0x02, 'a', 'b', 'c', 0x20, 2, 0x00, 'x'};
    expect(NFC_FASTLZ, again, sizeof again, "abcabcx", 7);
    /* overlapping copy at distance 2, length 8 (t=6) */
    static const uint8_t overlap[] = {0x01, 'a', 'b', 0xc0, 1};
    expect(NFC_FASTLZ, overlap, sizeof overlap, "ababababab", 10);
    /* level 2: length bytes go on while they are 255: 9 + 255 + 1 = 265 */
    static const uint8_t long_run[] = {0x20, 'z', 0xe0, 255, 1, 0};
    uint8_t plain[266];
    memset(plain, 'z', sizeof plain);
    expect(NFC_FASTLZ, long_run, sizeof long_run, plain, sizeof plain);
    /* level 1: one length byte only, then the distance */
    static const uint8_t short_run[] = {0x00, 'z', 0xe0, 255, 0};
    expect(NFC_FASTLZ, short_run, sizeof short_run, plain, 265);
}

/* A far match at the smallest distance, 8192: the near form cannot say it. */
static void fastlz_far_match(void **state)
{
    (void)state;
    uint8_t plain[8192 + 4];
    uint8_t packed[9000];
    size_t used = 0;
    for (size_t i = 0; i < 8192; i++)
        plain[i] = (uint8_t)(i * 7 + (i >> 8));
    memcpy(plain + 8192, plain, 4);
    for (size_t at = 0; at < 8192; at += 32) {
        packed[used++] = 31;
        memcpy(packed + used, plain + at, 32);
        used += 32;
    }
    packed[0] |= 0x20;
    packed[used++] = 2 << 5 | 31; /* length 4 */
    packed[used++] = 255;
    packed[used++] = 0;
    packed[used++] = 0;
    expect(NFC_FASTLZ, packed, used, plain, sizeof plain);
    packed[used - 1] = 1; /* one byte before the start */
    refuse(NFC_FASTLZ, packed, used, sizeof plain);
    /* On level 1 the same two bytes are an ordinary distance of 8192. */
    packed[0] &= 0x1f;
    expect(NFC_FASTLZ, packed, used - 2, plain, sizeof plain);
}

static void fastlz_refuses(void **state)
{
    (void)state;
    static const uint8_t nothing[1];
    refuse(NFC_FASTLZ, nothing, 0, 16);
    static const uint8_t level_3[] = {0x40, 'a'};
    refuse(NFC_FASTLZ, level_3, 2, 1);
    static const uint8_t cut[] = {0x05, 'a', 'b'};
    refuse(NFC_FASTLZ, cut, 3, 6);
    static const uint8_t before_start[] = {0x00, 'a', 0x20, 1};
    refuse(NFC_FASTLZ, before_start, 4, 4);
    static const uint8_t too_long[] = {0x00, 'a', 0x20, 0};
    refuse(NFC_FASTLZ, too_long, 4, 3);
    refuse(NFC_FASTLZ, too_long, 4, 5); /* and too short */
    refuse(NFC_FASTLZ, too_long, 3, 4); /* no distance */
    static const uint8_t no_length[] = {0x20, 'a', 0xe0, 255};
    refuse(NFC_FASTLZ, no_length, 4, 4000);
    static const uint8_t half_far[] = {0x20, 'a', 0x3f, 255, 0};
    refuse(NFC_FASTLZ, half_far, 5, 4);
}

static void zlib_refuses(void **state)
{
    (void)state;
    uint8_t plain[4096] = {1, 2, 3};
    uint8_t packed[4096];
    size_t n = fake_pack(1, plain, sizeof plain, packed, sizeof packed);
    expect(NFC_ZLIB, packed, n, plain, sizeof plain);
    refuse(NFC_ZLIB, packed, n, sizeof plain - 1);
    refuse(NFC_ZLIB, packed, n, sizeof plain + 1);
    refuse(NFC_ZLIB, packed, n - 1, sizeof plain);
    refuse(NFC_ZLIB, packed, n + 1, sizeof plain); /* something behind it */
    packed[n - 1] ^= 1;                            /* Adler-32 */
    refuse(NFC_ZLIB, packed, n, sizeof plain);
    packed[n - 1] ^= 1;
    expect(NFC_ZLIB, packed, n, plain, sizeof plain); /* not spoiled by what was before */
    refuse(NFC_STORED, packed, n, n + 1);
}

static uint64_t prng(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    return z ^ (z >> 31);
}

/* Zeros, runs, text that repeats near and far, noise. */
static void make_content(uint64_t seed, uint8_t *data, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        size_t wish = 1 + prng(&seed) % 3000;
        size_t n = MIN_OF(bytes - at, wish);
        size_t back = 1 + prng(&seed) % 70000;
        switch (prng(&seed) % 4) {
        case 0:
            memset(data + at, 0, n);
            break;
        case 1:
            memset(data + at, (int)prng(&seed), n);
            break;
        case 2:
            for (size_t i = 0; i < n; i++)
                data[at + i] = at + i >= back ? data[at + i - back] : (uint8_t)i;
            break;
        default:
            for (size_t i = 0; i < n; i++)
                data[at + i] = (uint8_t)prng(&seed);
            break;
        }
        at += n;
    }
}

static void round_trips(void **state)
{
    (void)state;
    static const size_t lengths[] = {512, 1024, 65024, 65536, 131072, 1048576};
    AUTO(free) uint8_t *plain = xcalloc(1, MIB);
    AUTO(free) uint8_t *packed = xcalloc(1, 2 * MIB);
    for (uint64_t seed = 0; seed < 60; seed++) {
        size_t bytes = lengths[seed % ARRAY_COUNT(lengths)];
        make_content(seed, plain, bytes);
        for (uint32_t method = 1; method <= 3; method++) {
            size_t n = fake_pack(method, plain, bytes, packed, 2 * MIB);
            assert_true(n > 0);
            expect((enum nfc_compression)method, packed, n, plain, bytes);
        }
        size_t n = fake_fastlz(1 + (int)(seed & 1), plain, bytes, packed, 2 * MIB);
        expect(NFC_FASTLZ, packed, n, plain, bytes);
    }
}

/* Whatever is damaged: an error or other bytes, never one outside (the guards, ASan). */
static void damaged(void **state)
{
    (void)state;
    uint8_t plain[16384];
    uint8_t packed[32768];
    uint8_t out[16384];
    for (uint64_t seed = 0; seed < 3000; seed++) {
        uint64_t random = seed;
        uint32_t method = 1 + (uint32_t)(seed % 3);
        make_content(seed / 30, plain, sizeof plain);
        size_t n = fake_pack(method, plain, sizeof plain, packed, sizeof packed);
        for (uint64_t i = 1 + prng(&random) % 3; i > 0; i--)
            packed[prng(&random) % n] = (uint8_t)prng(&random);
        if (prng(&random) % 4 == 0)
            n = prng(&random) % n;
        (void)unpack((enum nfc_compression)method, packed, n, out, sizeof out);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(skipz_vectors),  cmocka_unit_test(skipz_refuses),
        cmocka_unit_test(fastlz_vectors), cmocka_unit_test(fastlz_far_match),
        cmocka_unit_test(fastlz_refuses), cmocka_unit_test(zlib_refuses),
        cmocka_unit_test(round_trips),    cmocka_unit_test(damaged),
    };
    unpacker = nfc_unpacker_new();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    nfc_unpacker_free(unpacker);
    return failed;
}
