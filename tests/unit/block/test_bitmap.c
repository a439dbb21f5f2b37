/* SPDX-License-Identifier: Apache-2.0 */
/* The sector bitmap: rounding, difference, and a serial form that forgives nothing. */
#include "check_block.h"

#include "base/bytes.h"
#include "block/bitmap.h"

#include <xxhash.h>

#define HEADER_BYTES 32

static void random_bitmap(uint64_t seed, struct bitmap *bitmap)
{
    struct err err = ERR_INIT;
    uint64_t state = seed;
    bitmap_init(bitmap, (1 + prng_below(&state, 1u << 20)) * SECTOR_BYTES);
    size_t count = prng_below(&state, 50);
    for (size_t i = 0; i < count; i++) {
        uint64_t start = prng_below(&state, bitmap->disk_bytes);
        uint64_t end = start + prng_below(&state, bitmap->disk_bytes - start);
        if (prng_below(&state, 3))
            end = MIN_OF(end, start + 4096);
        assert_ok(bitmap_set(bitmap, start, end, &err), err);
    }
}

static void test_round_trip(void **unused)
{
    (void)unused;
    struct err err = ERR_INIT;
    for (uint64_t seed = 0; seed < 500; seed++) {
        AUTO(bitmap_release) struct bitmap bitmap = {0};
        AUTO(bitmap_release) struct bitmap back = {0};
        AUTO(buf_release) struct buf raw = {0};
        AUTO(buf_release) struct buf again = {0};
        random_bitmap(seed, &bitmap);
        bitmap_encode(&bitmap, &raw);
        assert_ok(bitmap_decode(raw.data, raw.bytes, &back, &err), err);
        assert_true(bitmap_equal(&bitmap, &back));
        bitmap_encode(&back, &again);
        assert_int_equal(raw.bytes, again.bytes);
        assert_memory_equal(raw.data, again.data, raw.bytes);
    }
}

static void test_grows_to_sectors(void **unused)
{
    (void)unused;
    struct err err = ERR_INIT;
    AUTO(bitmap_release) struct bitmap bitmap = {0};
    bitmap_init(&bitmap, 10 * SECTOR_BYTES);
    assert_ok(bitmap_set(&bitmap, 511, 513, &err), err);
    assert_int_equal(bitmap_set_sectors(&bitmap), 2);
    assert_ok(bitmap_set(&bitmap, 5119, 5120, &err), err);
    assert_int_equal(bitmap_set_sectors(&bitmap), 3);
    assert_ok(bitmap_set(&bitmap, 5120, 5120, &err), err);
    assert_int_equal(bitmap_set_sectors(&bitmap), 3);
    assert_false(bitmap_set(&bitmap, 5119, 5121, &err));
    assert_int_equal(err.kind, FAIL_BUG);
    err_clear(&err);
    assert_false(bitmap_set(&bitmap, 2, 1, &err));
    assert_int_equal(err.kind, FAIL_BUG);
}

static void test_difference(void **unused)
{
    (void)unused;
    struct err err = ERR_INIT;
    AUTO(bitmap_release) struct bitmap a = {0};
    AUTO(bitmap_release) struct bitmap b = {0};
    AUTO(extents_release) struct extents only_a = {0};
    AUTO(extents_release) struct extents only_b = {0};
    bitmap_init(&a, 1 * MIB);
    bitmap_init(&b, 1 * MIB);
    assert_ok(bitmap_set(&a, 0, 8192, &err), err);
    assert_ok(bitmap_set(&b, 4096, 12288, &err), err);
    assert_false(bitmap_equal(&a, &b));
    bitmap_difference(&a, &b, &only_a, &only_b);
    assert_int_equal(only_a.count, 1);
    assert_int_equal(only_a.items[0].end_bytes, 4096);
    assert_int_equal(only_b.items[0].start_bytes, 8192);
    extents_copy(&b.runs, &a.runs);
    assert_true(bitmap_equal(&a, &b));
    b.disk_bytes += SECTOR_BYTES;
    assert_false(bitmap_equal(&a, &b));
}

static void expect_corrupt(const uint8_t *data, size_t data_bytes)
{
    struct err err = ERR_INIT;
    AUTO(bitmap_release) struct bitmap bitmap = {0};
    assert_false(bitmap_decode(data, data_bytes, &bitmap, &err));
    assert_int_equal(err.kind, FAIL_CORRUPT);
}

static void test_every_flip_and_cut(void **unused)
{
    (void)unused;
    AUTO(bitmap_release) struct bitmap bitmap = {0};
    AUTO(buf_release) struct buf raw = {0};
    struct err err = ERR_INIT;
    bitmap_init(&bitmap, 1 * GIB);
    for (uint64_t i = 0; i < 20; i++)
        assert_ok(bitmap_set(&bitmap, i * i * MIB, i * i * MIB + i * 4096, &err), err);
    bitmap_encode(&bitmap, &raw);
    assert_true(raw.bytes > HEADER_BYTES + 40);
    for (size_t bit = 0; bit < raw.bytes * 8; bit++) {
        raw.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        expect_corrupt(raw.data, raw.bytes);
        raw.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t cut = 0; cut < raw.bytes; cut++) {
        AUTO(free) uint8_t *exact = xcalloc(1, cut); /* ASan sees a read behind it */
        memcpy(exact, raw.data, cut);
        expect_corrupt(exact, cut);
    }
    buf_put_u8(&raw, 0);
    expect_corrupt(raw.data, raw.bytes);
}

/* A form with a right checksum that no encoder makes. */
static void expect_refused(uint64_t disk_bytes, uint64_t count, const char *runs,
                           size_t runs_bytes)
{
    AUTO(buf_release) struct buf raw = {0};
    buf_append(&raw, "KDGBMP01", 8);
    buf_put_u16le(&raw, 1);
    buf_put_u16le(&raw, HEADER_BYTES);
    buf_put_u32le(&raw, SECTOR_BYTES);
    buf_put_u64le(&raw, disk_bytes);
    buf_put_u64le(&raw, count);
    buf_append(&raw, runs, runs_bytes);
    buf_put_u64le(&raw, XXH3_64bits(raw.data, raw.bytes));
    expect_corrupt(raw.data, raw.bytes);
}

static void test_hostile_forms(void **unused)
{
    (void)unused;
    const uint64_t disk = 100 * SECTOR_BYTES;
    expect_refused(disk + 1, 0, "", 0);                   /* not whole sectors */
    expect_refused(disk, 1, "\x00\x00", 2);               /* empty run */
    expect_refused(disk, 2, "\x00\x01\x00\x01", 4);       /* touching runs */
    expect_refused(disk, 1, "\x80\x00\x01", 3);           /* long form of 0 */
    expect_refused(disk, 1, "\x60\x05", 2);               /* one sector too far */
    expect_refused(disk, 2, "\x00\x01", 2);               /* count too high */
    expect_refused(disk, 1, "\x00\x01\x01\x01", 4);       /* count too low */
    expect_refused(disk, UINT64_MAX, "\x00\x01", 2);      /* count without bound */
    expect_refused(disk, BITMAP_MAX_RUNS, "\x00\x01", 2); /* no allocation by count */
    expect_refused(disk, 1, "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                   11); /* wraps */
    expect_refused(disk, 1, "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x03",
                   11); /* > 64 */
    expect_refused(UINT64_MAX - 511, 1, "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                   11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_grows_to_sectors),
        cmocka_unit_test(test_difference),    cmocka_unit_test(test_every_flip_and_cut),
        cmocka_unit_test(test_hostile_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
