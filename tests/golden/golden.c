/* SPDX-License-Identifier: Apache-2.0 */
/* The values of the golden objects (golden.h). */
#include "golden.h"

#include "base/text.h"
#include "block/sealed_format.h"
#include "block/segment_format.h"

#include <string.h>

#define CONTENT_BYTES (3 * SECTOR_BYTES)

const char *golden_file(enum golden_item item)
{
    static const char *const FILES[GOLDEN_COUNT] = {
        [GOLDEN_BITMAP] = "bitmap-v1.hex",
        [GOLDEN_PLAN] = "plan-v1.hex",
        [GOLDEN_JOURNAL] = "journal-v1.hex",
        [GOLDEN_MANIFEST] = "manifest-v1.hex",
        [GOLDEN_SEALED] = "sealed-v1.hex",
        [GOLDEN_HASHPAGE] = "hashpage-v1.hex",
        [GOLDEN_SEGMENT_STORED] = "segment-stored-v1.hex",
        [GOLDEN_SEGMENT_LZ4] = "segment-lz4-v1.hex",
        [GOLDEN_SEGMENT_ZSTD] = "segment-zstd-v1.hex",
    };
    return FILES[item];
}

bool golden_is_exact(enum golden_item item)
{
    return item != GOLDEN_SEGMENT_LZ4 && item != GOLDEN_SEGMENT_ZSTD;
}

static void count_up(uint8_t first, uint8_t *data, size_t data_bytes)
{
    for (size_t i = 0; i < data_bytes; i++)
        data[i] = (uint8_t)(first + i);
}

struct secret *golden_key(void)
{
    uint8_t raw[32];
    count_up(0, raw, sizeof raw);
    return secret_new(raw, sizeof raw);
}

void golden_id(uint8_t first, struct id *ret)
{
    count_up(first, ret->bytes, ID_BYTES);
}

void golden_name(struct segment_name *ret)
{
    *ret = (struct segment_name){.cycle = 5, .seq = 3};
    golden_id(0x20, &ret->machine);
    golden_id(0x40, &ret->disk);
}

void golden_bitmap(struct bitmap *ret)
{
    bitmap_init(ret, 1 * GIB);
    extents_add(&ret->runs, 0, 512);
    extents_add(&ret->runs, 65536, 131072);
    extents_add(&ret->runs, 512 * MIB, 1 * GIB);
}

void golden_plan(struct plan *ret)
{
    *ret = (struct plan){.cycle = 5,
                         .kind = CYCLE_DELTA,
                         .base_cycle = 4,
                         .wall_ms = 1700000000123,
                         .snapshot = "kedge-5",
                         .disk_count = 2};
    golden_id(0x20, &ret->machine);
    ret->disks = xcalloc(2, sizeof *ret->disks);
    golden_id(0x40, &ret->disks[0].disk);
    golden_id(0x60, &ret->disks[1].disk);
    ret->disks[0].disk_bytes = 1 * GIB;
    text_copy(ret->disks[0].change_id, CHANGE_ID_MAX, "52 de 0f/17");
    golden_bitmap(&ret->disks[0].bitmap);
    ret->disks[1].disk_bytes = 4096;
    ret->disks[1].by_hash = true;
    bitmap_init(&ret->disks[1].bitmap, 4096);
}

void golden_journal(struct journal_entry *ret)
{
    struct digest digest;
    *ret = (struct journal_entry){
        .disk_index = 1, .seq = 3, .segment_bytes = 4096, .content_bytes = 1536};
    count_up(0x80, ret->salt, sizeof ret->salt);
    count_up(0xa0, ret->tag, sizeof ret->tag);
    extents_add(&ret->covered, 512, 1024);
    extents_add(&ret->covered, 1 * MIB, 5 * MIB);
    count_up(0xb0, digest.bytes, DIGEST_BYTES);
    journal_entry_add_block(ret, 300, &digest);
    journal_entry_add_block(ret, 16, &(struct digest){{0}});
    journal_entry_add_block(ret, 17, &digest);
}

void golden_manifest(struct manifest *ret)
{
    *ret = (struct manifest){.cycle = 5, .base_cycle = 4, .kind = CYCLE_DELTA};
    golden_id(0x20, &ret->machine);
    for (uint32_t i = 0; i < 2; i++) {
        struct manifest_segment segment = {
            .disk_index = 1 - i, .seq = i, .segment_bytes = 4096 + i};
        count_up((uint8_t)(0x80 + i), segment.salt, sizeof segment.salt);
        count_up((uint8_t)(0xa0 + i), segment.tag, sizeof segment.tag);
        manifest_add(ret, &segment);
    }
}

void golden_hashpage(uint8_t page[HASHPAGE_BYTES])
{
    struct id map;
    golden_id(0x40, &map);
    hashpage_init(page);
    for (size_t slot = 0; slot < HASHPAGE_DIGESTS; slot += 50) {
        struct digest digest;
        count_up((uint8_t)slot, digest.bytes, DIGEST_BYTES);
        hashpage_set(page, slot, &digest);
    }
    hashpage_finish(page, &map, GOLDEN_HASHPAGE_NO);
}

bool golden_records(struct record ret[GOLDEN_RECORDS],
                    struct digest digests[GOLDEN_RECORDS][RECORD_MAX_BLOCKS],
                    struct err *err)
{
    static uint8_t content[CONTENT_BYTES];
    static const struct piece SPAN[] = {{0, 3}};
    static const struct piece PIECES[] = {{1, 1}, {4, 2}};
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (uint8_t)(i % 32);
    ret[0] = (struct record){.kind = RECORD_DATA, /* two blocks, one piece */
                             .offset_bytes = BLOCK_BYTES - SECTOR_BYTES,
                             .length_bytes = CONTENT_BYTES,
                             .piece_count = 1,
                             .pieces = SPAN,
                             .digest_count = 2};
    ret[1] = (struct record){
        .kind = RECORD_ZERO, .offset_bytes = 4 * MIB, .length_bytes = 9 * MIB};
    ret[2] = (struct record){.kind = RECORD_DATA, /* one block, two pieces */
                             .offset_bytes = 20 * MIB,
                             .length_bytes = 8 * SECTOR_BYTES,
                             .piece_count = 2,
                             .pieces = PIECES,
                             .digest_count = 1};
    ret[3] = (struct record){
        .kind = RECORD_SAME, .offset_bytes = 1 * TIB, .length_bytes = BLOCK_BYTES};
    AUTO(secret_free) struct secret *key = golden_key();
    AUTO(digester_free) struct digester *digester = digester_new(key, err);
    if (!digester)
        return false;
    for (size_t i = 0; i < GOLDEN_RECORDS; i++) {
        struct record_block blocks[RECORD_MAX_BLOCKS];
        size_t count = record_split(&ret[i], blocks);
        for (size_t b = 0; b < count; b++)
            if (!digester_compute(digester, content + blocks[b].start_bytes,
                                  blocks[b].part_bytes, &digests[i][b], err))
                return false;
        if (ret[i].kind == RECORD_DATA) {
            ret[i].content_bytes = CONTENT_BYTES;
            ret[i].content = content;
            ret[i].digests = digests[i];
        }
    }
    return true;
}

static bool make_segment(enum pack_method method, struct buf *out, struct err *err)
{
    struct record records[GOLDEN_RECORDS];
    struct digest digests[GOLDEN_RECORDS][RECORD_MAX_BLOCKS];
    struct segment_name name;
    struct id key_id;
    uint8_t salt[SEGMENT_SALT_BYTES];
    uint8_t tag[SEAL_TAG_BYTES];
    size_t bytes;
    golden_name(&name);
    golden_id(0x60, &key_id);
    count_up(0x80, salt, sizeof salt);
    AUTO(secret_free) struct secret *key = golden_key();
    AUTO(packer_free) struct packer *packer = packer_new(err);
    AUTO(segment_writer_free)
    struct segment_writer *writer = packer ? segment_writer_new(key, &key_id, err) : NULL;
    buf_reserve(out, 64 * KIB);
    if (!writer || !golden_records(records, digests, err) ||
        !segment_writer_begin_salted(writer, &name, salt, out->data, 64 * KIB, err))
        return false;
    for (size_t i = 0; i < GOLDEN_RECORDS; i++)
        if (!segment_writer_add(writer, &records[i], packer, method, 1, err))
            return false;
    if (!segment_writer_end(writer, &bytes, tag, salt, err))
        return false;
    out->bytes += bytes;
    return true;
}

static bool make_sealed(struct buf *out, struct err *err)
{
    AUTO(secret_free) struct secret *key = golden_key();
    AUTO(buf_release) struct buf payload = {0};
    struct sealed_spec spec = {
        .key = key, .kind = SEALED_JOURNAL, .context = GOLDEN_SEALED_CONTEXT};
    count_up(0x80, spec.salt, sizeof spec.salt);
    return golden_make(GOLDEN_JOURNAL, &payload, err) &&
           sealed_encode_salted(&spec, payload.data, payload.bytes, out, err);
}

bool golden_make(enum golden_item item, struct buf *out, struct err *err)
{
    AUTO(bitmap_release) struct bitmap bitmap = {0};
    AUTO(plan_release) struct plan plan = {0};
    AUTO(journal_entry_release) struct journal_entry entry = {0};
    AUTO(manifest_release) struct manifest manifest = {0};
    uint8_t page[HASHPAGE_BYTES];
    switch (item) {
    case GOLDEN_BITMAP:
        golden_bitmap(&bitmap);
        bitmap_encode(&bitmap, out);
        return true;
    case GOLDEN_PLAN:
        golden_plan(&plan);
        plan_encode(&plan, out);
        return true;
    case GOLDEN_JOURNAL:
        golden_journal(&entry);
        journal_entry_encode(&entry, out);
        return true;
    case GOLDEN_MANIFEST:
        golden_manifest(&manifest);
        manifest_encode(&manifest, out);
        return true;
    case GOLDEN_HASHPAGE:
        golden_hashpage(page);
        buf_append(out, page, sizeof page);
        return true;
    case GOLDEN_SEALED:
        return make_sealed(out, err);
    case GOLDEN_SEGMENT_STORED:
        return make_segment(PACK_STORED, out, err);
    case GOLDEN_SEGMENT_LZ4:
        return make_segment(PACK_LZ4, out, err);
    case GOLDEN_SEGMENT_ZSTD:
        return make_segment(PACK_ZSTD, out, err);
    case GOLDEN_COUNT:
        break;
    }
    return err_set(err, FAIL_BUG, "no golden object %d", (int)item);
}
