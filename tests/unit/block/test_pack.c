/* SPDX-License-Identifier: Apache-2.0 */
/* Packing: round trips, when it stores, and that bad packed data never gets through. */
#include "check_block.h"

#include "block/pack.h"

#define CAP 70000

struct box {
    struct packer *packer;
    uint8_t in[CAP];
    uint8_t packed[CAP];
    uint8_t out[CAP];
    size_t packed_bytes;
    enum pack_method used;
};

static struct box *new_box(void)
{
    struct err err = ERR_INIT;
    struct box *box = xcalloc(1, sizeof *box);
    box->packer = packer_new(&err);
    assert_non_null(box->packer);
    return box;
}

static void free_box(struct box *box)
{
    packer_free(box->packer);
    free(box);
}

/* kind 0: text-like, 1: random, 2: random with a tail that packs */
static void fill(struct box *box, uint64_t seed, int kind, size_t bytes)
{
    uint64_t state = seed;
    prng_fill(&state, box->in, bytes);
    for (size_t i = 0; i < bytes; i++)
        if (kind == 0 || (kind == 2 && i > bytes / 2))
            box->in[i] = (uint8_t)("kedge sails"[i % 11] + (box->in[i] > 250));
}

static void pack_and_back(struct box *box, enum pack_method method, int level,
                          size_t bytes)
{
    struct err err = ERR_INIT;
    assert_ok(packer_pack(box->packer, method, level, box->in, bytes, box->packed, bytes,
                          &box->packed_bytes, &box->used, &err),
              err);
    memset(box->out, 0xee, bytes);
    assert_ok(packer_unpack(box->packer, box->used, box->packed, box->packed_bytes,
                            box->out, bytes, &err),
              err);
    assert_memory_equal(box->in, box->out, bytes);
    if (box->used == PACK_STORED)
        assert_int_equal(box->packed_bytes, bytes);
    else
        assert_true(box->packed_bytes <= bytes - bytes / 32 && box->packed_bytes < bytes);
}

static void test_round_trips(void **unused)
{
    (void)unused;
    static const int ZSTD_LEVELS[] = {-5, 1, 3, 9, 1};
    struct box *box = new_box();
    for (uint64_t seed = 0; seed < 300; seed++) {
        uint64_t state = seed;
        size_t bytes =
            prng_below(&state, 2) ? prng_below(&state, 200) : prng_below(&state, CAP);
        fill(box, seed, (int)(seed % 3), bytes);
        pack_and_back(box, PACK_STORED, 0, bytes);
        pack_and_back(box, PACK_LZ4, 1 + (int)(seed % 9), bytes);
        pack_and_back(box, PACK_ZSTD, ZSTD_LEVELS[seed % 5], bytes);
    }
    free_box(box);
}

static void test_stores_what_does_not_shrink(void **unused)
{
    (void)unused;
    struct box *box = new_box();
    for (int method = PACK_LZ4; method <= PACK_ZSTD; method++) {
        fill(box, 5, 1, 65536);
        pack_and_back(box, (enum pack_method)method, 1, 65536);
        assert_int_equal(box->used, PACK_STORED);
        memset(box->in, 'x', 1024); /* saves 1/64 at most: not worth unpacking */
        pack_and_back(box, (enum pack_method)method, 1, 65536);
        assert_int_equal(box->used, PACK_STORED);
        fill(box, 5, 0, 65536);
        pack_and_back(box, (enum pack_method)method, 1, 65536);
        assert_int_equal(box->used, method);
    }
    free_box(box);
}

static bool unpacks(struct box *box, enum pack_method method, size_t in_bytes,
                    size_t out_bytes)
{
    struct err err = ERR_INIT;
    AUTO(free) uint8_t *in = xcalloc(1, in_bytes); /* exact, so that ASan sees more */
    AUTO(free) uint8_t *out = xcalloc(1, out_bytes);
    memcpy(in, box->packed, in_bytes);
    bool ok = packer_unpack(box->packer, method, in, in_bytes, out, out_bytes, &err);
    if (!ok)
        assert_int_equal(err.kind, FAIL_CORRUPT);
    return ok;
}

static void test_bad_data(void **unused)
{
    (void)unused;
    struct box *box = new_box();
    for (int method = PACK_STORED; method <= PACK_ZSTD; method++) {
        fill(box, 9, 0, 3000);
        pack_and_back(box, (enum pack_method)method, 1, 3000);
        assert_true(unpacks(box, box->used, box->packed_bytes, 3000));
        assert_false(unpacks(box, box->used, box->packed_bytes, 2999));
        assert_false(unpacks(box, box->used, box->packed_bytes, 3001));
        for (size_t cut = 0; cut < box->packed_bytes; cut++)
            assert_false(unpacks(box, box->used, cut, 3000));
        for (size_t bit = 0; bit < box->packed_bytes * 8; bit++) {
            box->packed[bit / 8] ^= (uint8_t)(1u << bit % 8);
            (void)unpacks(box, box->used, box->packed_bytes, 3000); /* must not crash */
            box->packed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    assert_false(unpacks(box, (enum pack_method)3, 10, 10));
    free_box(box);
}

static void test_caller_mistakes(void **unused)
{
    (void)unused;
    struct err err = ERR_INIT;
    struct box *box = new_box();
    assert_false(packer_pack(box->packer, PACK_LZ4, 1, box->in, 100, box->packed, 99,
                             &box->packed_bytes, &box->used, &err));
    assert_int_equal(err.kind, FAIL_BUG);
    err_clear(&err);
    assert_false(packer_pack(box->packer, (enum pack_method)9, 1, box->in, 100,
                             box->packed, 100, &box->packed_bytes, &box->used, &err));
    assert_int_equal(err.kind, FAIL_BUG);
    free_box(box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_stores_what_does_not_shrink),
        cmocka_unit_test(test_bad_data),
        cmocka_unit_test(test_caller_mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
