/* SPDX-License-Identifier: Apache-2.0 */
/* Objects written by version 1 read the same for ever, and are still written the same. */
#include "check_block.h"

#include "../../golden/golden.h"

#include "base/file.h"
#include "base/text.h"

#include <ctype.h>

static void load(enum golden_item item, struct buf *ret)
{
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf text = {0};
    AUTO(free) char *path = file_join(GOLDEN_DIR, golden_file(item));
    assert_ok(file_read(path, 1 * MIB, &text, &err), err);
    size_t digits = 0;
    for (size_t i = 0; i < text.bytes; i++)
        if (!isspace(text.data[i]))
            text.data[digits++] = text.data[i];
    text.data[digits] = 0;
    buf_reserve(ret, digits / 2);
    assert_ok(text_unhex((const char *)text.data, ret->data, digits / 2, &err), err);
    ret->bytes = digits / 2;
}

static void test_written_the_same(void **unused)
{
    (void)unused;
    for (int item = 0; item < GOLDEN_COUNT; item++) {
        struct err err = ERR_INIT;
        AUTO(buf_release) struct buf file = {0};
        AUTO(buf_release) struct buf made = {0};
        if (!golden_is_exact((enum golden_item)item))
            continue;
        load((enum golden_item)item, &file);
        assert_ok(golden_make((enum golden_item)item, &made, &err), err);
        assert_int_equal(file.bytes, made.bytes);
        assert_memory_equal(file.data, made.data, made.bytes);
    }
}

static void test_bitmap_and_page(void **unused)
{
    (void)unused;
    struct err err = ERR_INIT;
    AUTO(bitmap_release) struct bitmap want = {0};
    AUTO(bitmap_release) struct bitmap got = {0};
    AUTO(buf_release) struct buf file = {0};
    load(GOLDEN_BITMAP, &file);
    assert_ok(bitmap_decode(file.data, file.bytes, &got, &err), err);
    golden_bitmap(&want);
    assert_true(bitmap_equal(&want, &got));
    assert_int_equal(bitmap_set_sectors(&got), 1 + 128 + 1048576);

    AUTO(buf_release) struct buf page = {0};
    struct id map;
    struct digest digest;
    load(GOLDEN_HASHPAGE, &page);
    golden_id(0x40, &map);
    assert_int_equal(page.bytes, HASHPAGE_BYTES);
    assert_true(hashpage_verify(page.data, &map, GOLDEN_HASHPAGE_NO));
    hashpage_get(page.data, 50, &digest);
    assert_int_equal(digest.bytes[15], 65);
    hashpage_get(page.data, 51, &digest);
    assert_true(digest_is_unknown(&digest));
}

static void test_plan(void **unused)
{
    (void)unused;
    struct err err = ERR_INIT;
    AUTO(plan_release) struct plan want = {0};
    AUTO(plan_release) struct plan got = {0};
    AUTO(buf_release) struct buf file = {0};
    load(GOLDEN_PLAN, &file);
    golden_plan(&want);
    assert_ok(plan_decode(file.data, file.bytes, &got, &err), err);
    assert_true(id_equal(&got.machine, &want.machine));
    assert_int_equal(got.cycle, 5);
    assert_int_equal(got.base_cycle, 4);
    assert_int_equal(got.kind, CYCLE_DELTA);
    assert_int_equal(got.wall_ms, 1700000000123);
    assert_string_equal(got.snapshot, "kedge-5");
    assert_int_equal(got.disk_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(id_equal(&got.disks[i].disk, &want.disks[i].disk));
        assert_int_equal(got.disks[i].disk_bytes, want.disks[i].disk_bytes);
        assert_int_equal(got.disks[i].by_hash, i == 1);
        assert_string_equal(got.disks[i].change_id, i == 0 ? "52 de 0f/17" : "");
        assert_true(bitmap_equal(&got.disks[i].bitmap, &want.disks[i].bitmap));
    }
}

static void check_journal(const struct buf *payload)
{
    struct err err = ERR_INIT;
    AUTO(journal_entry_release) struct journal_entry want = {0};
    AUTO(journal_entry_release) struct journal_entry got = {0};
    golden_journal(&want);
    assert_ok(journal_entry_decode(payload->data, payload->bytes, &got, &err), err);
    assert_int_equal(got.disk_index, 1);
    assert_int_equal(got.seq, 3);
    assert_int_equal(got.segment_bytes, 4096);
    assert_int_equal(got.content_bytes, 1536);
    assert_memory_equal(got.salt, want.salt, sizeof got.salt);
    assert_memory_equal(got.tag, want.tag, sizeof got.tag);
    assert_true(extents_equal(&got.covered, &want.covered));
    assert_int_equal(got.block_count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(got.blocks[i].block, want.blocks[i].block);
        assert_true(digest_equal(&got.blocks[i].digest, &want.blocks[i].digest));
    }
}

static void test_journal_and_sealed(void **unused)
{
    (void)unused;
    struct err err = ERR_INIT;
    AUTO(secret_free) struct secret *key = golden_key();
    AUTO(buf_release) struct buf plain = {0};
    AUTO(buf_release) struct buf sealed = {0};
    AUTO(buf_release) struct buf opened = {0};
    load(GOLDEN_JOURNAL, &plain);
    check_journal(&plain);
    load(GOLDEN_SEALED, &sealed);
    assert_ok(sealed_decode(key, SEALED_JOURNAL, GOLDEN_SEALED_CONTEXT, sealed.data,
                            sealed.bytes, &opened, &err),
              err);
    check_journal(&opened);
}

static void test_manifest(void **unused)
{
    (void)unused;
    struct err err = ERR_INIT;
    AUTO(manifest_release) struct manifest want = {0};
    AUTO(manifest_release) struct manifest got = {0};
    AUTO(buf_release) struct buf file = {0};
    load(GOLDEN_MANIFEST, &file);
    golden_manifest(&want);
    assert_ok(manifest_decode(file.data, file.bytes, &got, &err), err);
    assert_true(id_equal(&got.machine, &want.machine));
    assert_int_equal(got.cycle, 5);
    assert_int_equal(got.base_cycle, 4);
    assert_int_equal(got.kind, CYCLE_DELTA);
    assert_int_equal(got.segment_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(got.segments[i].disk_index, 1 - i);
        assert_int_equal(got.segments[i].seq, i);
        assert_int_equal(got.segments[i].segment_bytes, 4096 + i);
        assert_memory_equal(got.segments[i].salt, want.segments[i].salt, 32);
        assert_memory_equal(got.segments[i].tag, want.segments[i].tag, 16);
    }
}

static void read_segment(enum golden_item item, enum pack_method method)
{
    struct err err = ERR_INIT;
    struct segment_name name;
    struct record want[GOLDEN_RECORDS];
    struct digest digests[GOLDEN_RECORDS][RECORD_MAX_BLOCKS];
    struct record got;
    AUTO(buf_release) struct buf file = {0};
    AUTO(secret_free) struct secret *key = golden_key();
    AUTO(free) uint8_t *content = xcalloc(1, RECORD_SPAN_MAX_BYTES);
    AUTO(segment_reader_free)
    struct segment_reader *reader = segment_reader_new(key, &err);
    load(item, &file);
    golden_name(&name);
    assert_ok(golden_records(want, digests, &err), err);
    assert_ok(segment_reader_begin(reader, &name, file.data, file.bytes, NULL, &err),
              err);
    for (size_t i = 0; i < GOLDEN_RECORDS; i++) {
        assert_ok(segment_reader_next(reader, content, &got, &err), err);
        assert_int_equal(got.kind, want[i].kind);
        assert_int_equal(got.offset_bytes, want[i].offset_bytes);
        assert_int_equal(got.length_bytes, want[i].length_bytes);
        assert_int_equal(got.piece_count, want[i].piece_count);
        for (size_t p = 0; p < got.piece_count; p++)
            assert_memory_equal(&got.pieces[p], &want[i].pieces[p], sizeof got.pieces[p]);
        assert_int_equal(got.content_bytes, want[i].content_bytes);
        if (got.kind != RECORD_DATA)
            continue;
        assert_int_equal(got.method, method);
        assert_memory_equal(got.content, want[i].content, got.content_bytes);
        assert_int_equal(got.digest_count, want[i].digest_count);
    }
    assert_ok(segment_reader_next(reader, content, &got, &err), err);
    assert_int_equal(got.kind, RECORD_END);
}

static void test_segments(void **unused)
{
    (void)unused;
    read_segment(GOLDEN_SEGMENT_STORED, PACK_STORED);
    read_segment(GOLDEN_SEGMENT_LZ4, PACK_LZ4);
    read_segment(GOLDEN_SEGMENT_ZSTD, PACK_ZSTD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_the_same),
        cmocka_unit_test(test_bitmap_and_page),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_journal_and_sealed),
        cmocka_unit_test(test_manifest),
        cmocka_unit_test(test_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
