/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plan, journal entry and manifest to bytes and back (doc/formats/cycle.md).
 *
 * C1  One value has one form; decoders refuse every other one and excess bytes.
 * C2  No allocation is larger than a small multiple of the bytes given: each count is
 *     held against the bytes that are left.
 * C3  Decoders fill *ret, or leave it empty and released.
 */
#include "block/cycleobj.h"

#include "base/bytes.h"
#include "block/cursor.h"
#include "block/runs.h"

#include <assert.h>
#include <stdlib.h>

#define VERSION                1
#define DISK_LIMIT_BYTES       ((uint64_t)1 << 62)
#define BLOCK_LIMIT            (DISK_LIMIT_BYTES / BLOCK_BYTES)
#define MANIFEST_HEADER_BYTES  48
#define MANIFEST_SEGMENT_BYTES 64
#define BLOCK_MIN_BYTES        (1 + DIGEST_BYTES)

const char *cycle_kind_name(enum cycle_kind kind)
{
    switch (kind) {
    case CYCLE_INITIAL:
        return "initial";
    case CYCLE_DELTA:
        return "delta";
    case CYCLE_ON_DEMAND:
        return "on-demand";
    case CYCLE_RESYNC:
        return "resync";
    }
    return "unknown";
}

static bool corrupt(struct err *err, const char *what, size_t data_bytes,
                    const char *problem)
{
    return err_set(err, FAIL_CORRUPT, "%s of %zu bytes: %s", what, data_bytes, problem);
}

static void put_text(struct buf *out, const char *text, size_t cap)
{
    size_t n = strnlen(text, cap);
    assert(n < cap);
    buf_put_u16le(out, (uint16_t)n);
    buf_append(out, text, n);
}

/* cap with the NUL; text with a NUL inside is refused. */
static bool get_text(struct cursor *from, char *ret, size_t cap)
{
    size_t n = cursor_u16(from);
    if (n >= cap)
        return false;
    cursor_copy(from, ret, n);
    ret[n] = 0;
    return !from->bad && strlen(ret) == n;
}

static bool is_cycle_valid(unsigned kind, uint64_t cycle, uint64_t base_cycle)
{
    return kind >= CYCLE_INITIAL && kind <= CYCLE_RESYNC && cycle > 0 &&
           base_cycle < cycle;
}

/* ---- plan ---- */

bool plan_is_of(const struct plan *plan, const struct machine_def *machine)
{
    bool is_same = plan->disk_count == machine->disk_count;
    for (size_t i = 0; is_same && i < plan->disk_count; i++)
        is_same = id_equal(&plan->disks[i].disk, &machine->disks[i].id);
    return is_same;
}

void plan_release(struct plan *plan)
{
    for (size_t i = 0; i < plan->disk_count; i++)
        bitmap_release(&plan->disks[i].bitmap);
    free(plan->disks);
    *plan = (struct plan){0};
}

void plan_encode(const struct plan *plan, struct buf *out)
{
    assert(plan->disk_count <= CYCLE_MAX_DISKS);
    buf_put_u16le(out, VERSION);
    buf_put_u8(out, (uint8_t)plan->kind);
    buf_put_u8(out, (uint8_t)plan->disk_count);
    buf_append(out, plan->machine.bytes, ID_BYTES);
    buf_put_u64le(out, plan->cycle);
    buf_put_u64le(out, plan->base_cycle);
    buf_put_u64le(out, plan->wall_ms);
    put_text(out, plan->snapshot, SNAPSHOT_MAX);
    AUTO(buf_release) struct buf bitmap = {0};
    for (size_t i = 0; i < plan->disk_count; i++) {
        const struct plan_disk *disk = &plan->disks[i];
        assert(disk->disk_bytes == disk->bitmap.disk_bytes);
        buf_append(out, disk->disk.bytes, ID_BYTES);
        buf_put_u64le(out, disk->disk_bytes);
        buf_put_u8(out, disk->by_hash ? 1 : 0);
        put_text(out, disk->change_id, CHANGE_ID_MAX);
        buf_clear(&bitmap);
        bitmap_encode(&disk->bitmap, &bitmap);
        buf_put_u64le(out, bitmap.bytes);
        buf_append(out, bitmap.data, bitmap.bytes);
    }
}

static const char *decode_plan_disk(struct cursor *from, struct plan *plan,
                                    struct err *err)
{
    struct plan_disk *disk = &plan->disks[plan->disk_count];
    cursor_copy(from, disk->disk.bytes, ID_BYTES);
    disk->disk_bytes = cursor_u64(from);
    uint8_t by_hash = cursor_u8(from);
    if (from->bad || by_hash > 1)
        return "disk is cut or its flag is wrong";
    disk->by_hash = by_hash;
    if (!get_text(from, disk->change_id, CHANGE_ID_MAX))
        return "change id is cut or too long";
    uint64_t bitmap_bytes = cursor_u64(from);
    if (from->bad || bitmap_bytes > cursor_left_bytes(from))
        return "bitmap is cut";
    plan->disk_count++; /* from here on plan_release frees its bitmap */
    if (!bitmap_decode(cursor_take(from, bitmap_bytes), bitmap_bytes, &disk->bitmap, err))
        return "bitmap is damaged";
    if (disk->bitmap.disk_bytes != disk->disk_bytes)
        return "bitmap is of another disk size";
    for (size_t i = 0; i + 1 < plan->disk_count; i++)
        if (id_equal(&plan->disks[i].disk, &disk->disk))
            return "one disk is there twice";
    return NULL;
}

static const char *decode_plan(struct cursor *from, struct plan *ret, struct err *err)
{
    uint16_t version = cursor_u16(from);
    unsigned kind = cursor_u8(from);
    size_t disk_count = cursor_u8(from);
    cursor_copy(from, ret->machine.bytes, ID_BYTES);
    ret->cycle = cursor_u64(from);
    ret->base_cycle = cursor_u64(from);
    ret->wall_ms = cursor_u64(from);
    if (from->bad || version != VERSION)
        return "cut, or an unknown version";
    if (!is_cycle_valid(kind, ret->cycle, ret->base_cycle))
        return "cycle numbers are impossible";
    ret->kind = (enum cycle_kind)kind;
    if (!get_text(from, ret->snapshot, SNAPSHOT_MAX))
        return "snapshot is cut or too long";
    if (disk_count > CYCLE_MAX_DISKS)
        return "too many disks";
    ret->disks = xcalloc(disk_count, sizeof *ret->disks);
    while (ret->disk_count < disk_count) {
        const char *problem = decode_plan_disk(from, ret, err);
        if (problem)
            return problem;
    }
    return from->at == from->end ? NULL : "excess bytes";
}

bool plan_decode(const uint8_t *data, size_t data_bytes, struct plan *ret,
                 struct err *err)
{
    *ret = (struct plan){0};
    struct cursor from = {.at = data, .end = data + data_bytes};
    const char *problem = decode_plan(&from, ret, err);
    if (!problem)
        return true;
    plan_release(ret);
    return corrupt(err, "cycle plan", data_bytes, problem);
}

/* ---- journal entry ---- */

void journal_entry_release(struct journal_entry *entry)
{
    extents_release(&entry->covered);
    free(entry->blocks);
    *entry = (struct journal_entry){0};
}

void journal_entry_add_block(struct journal_entry *entry, uint64_t block,
                             const struct digest *digest)
{
    if (entry->block_count == entry->block_cap) {
        entry->block_cap = entry->block_cap ? entry->block_cap * 2 : 64;
        entry->blocks = xrealloc(entry->blocks, entry->block_cap, sizeof *entry->blocks);
    }
    entry->blocks[entry->block_count++] =
        (struct block_digest){.block = block, .digest = *digest};
}

/* Signed differences: small either way is short. */
static uint64_t zigzag(uint64_t delta)
{
    return (delta << 1) ^ (0 - (delta >> 63));
}

static uint64_t unzigzag(uint64_t v)
{
    return (v >> 1) ^ (0 - (v & 1));
}

static void put_varint(struct buf *out, uint64_t v)
{
    uint8_t raw[VARINT_MAX_BYTES];
    buf_append(out, raw, varint_put(raw, v));
}

void journal_entry_encode(const struct journal_entry *entry, struct buf *out)
{
    buf_put_u16le(out, VERSION);
    buf_put_u16le(out, 0);
    buf_put_u32le(out, entry->disk_index);
    buf_put_u32le(out, entry->seq);
    buf_put_u64le(out, entry->segment_bytes);
    buf_put_u64le(out, entry->content_bytes);
    buf_append(out, entry->salt, SEGMENT_SALT_BYTES);
    buf_append(out, entry->tag, SEAL_TAG_BYTES);
    put_varint(out, entry->covered.count);
    runs_encode(&entry->covered, out);
    put_varint(out, entry->block_count);
    uint64_t last = 0;
    for (size_t i = 0; i < entry->block_count; i++) {
        uint64_t block = entry->blocks[i].block;
        assert(block < BLOCK_LIMIT);
        put_varint(out, zigzag(block - last));
        buf_append(out, entry->blocks[i].digest.bytes, DIGEST_BYTES);
        last = block;
    }
}

static const char *decode_blocks(struct cursor *from, struct journal_entry *ret)
{
    uint64_t count = cursor_varint(from);
    uint64_t block = 0;
    if (from->bad || count > cursor_left_bytes(from) / BLOCK_MIN_BYTES)
        return "block list is cut";
    ret->blocks = xcalloc(count, sizeof *ret->blocks);
    ret->block_cap = count;
    for (uint64_t i = 0; i < count; i++) {
        block += unzigzag(cursor_varint(from));
        ret->blocks[i].block = block;
        cursor_copy(from, ret->blocks[i].digest.bytes, DIGEST_BYTES);
        if (from->bad || block >= BLOCK_LIMIT)
            return "block list is cut or beyond any disk";
    }
    ret->block_count = count;
    return from->at == from->end ? NULL : "excess bytes";
}

static const char *decode_journal_entry(struct cursor *from, struct journal_entry *ret)
{
    uint16_t version = cursor_u16(from);
    uint16_t reserved = cursor_u16(from);
    ret->disk_index = cursor_u32(from);
    ret->seq = cursor_u32(from);
    ret->segment_bytes = cursor_u64(from);
    ret->content_bytes = cursor_u64(from);
    cursor_copy(from, ret->salt, SEGMENT_SALT_BYTES);
    cursor_copy(from, ret->tag, SEAL_TAG_BYTES);
    uint64_t runs = cursor_varint(from);
    if (from->bad || version != VERSION || reserved)
        return "cut, or an unknown version";
    if (ret->disk_index >= CYCLE_MAX_DISKS || ret->segment_bytes > SEGMENT_MAX_BYTES)
        return "disk number or segment size is impossible";
    if (!runs_decode(from, runs, DISK_LIMIT_BYTES, &ret->covered))
        return "covered ranges are cut or out of order";
    return decode_blocks(from, ret);
}

bool journal_entry_decode(const uint8_t *data, size_t data_bytes,
                          struct journal_entry *ret, struct err *err)
{
    *ret = (struct journal_entry){0};
    struct cursor from = {.at = data, .end = data + data_bytes};
    const char *problem = decode_journal_entry(&from, ret);
    if (!problem)
        return true;
    journal_entry_release(ret);
    return corrupt(err, "journal entry", data_bytes, problem);
}

/* ---- manifest ---- */

struct manifest_segment journal_entry_segment(const struct journal_entry *entry)
{
    struct manifest_segment segment = {.disk_index = entry->disk_index,
                                       .seq = entry->seq,
                                       .segment_bytes = entry->segment_bytes};
    memcpy(segment.salt, entry->salt, sizeof segment.salt);
    memcpy(segment.tag, entry->tag, sizeof segment.tag);
    return segment;
}

void manifest_release(struct manifest *manifest)
{
    free(manifest->segments);
    *manifest = (struct manifest){0};
}

void manifest_add(struct manifest *manifest, const struct manifest_segment *segment)
{
    if (manifest->segment_count == manifest->segment_cap) {
        manifest->segment_cap = manifest->segment_cap ? manifest->segment_cap * 2 : 64;
        manifest->segments = xrealloc(manifest->segments, manifest->segment_cap,
                                      sizeof *manifest->segments);
    }
    manifest->segments[manifest->segment_count++] = *segment;
}

void manifest_sum_add(struct manifest_sum *sum, const struct manifest_segment *segment)
{
    sum->count++;
    sum->low += get_u64le(segment->tag);
    sum->high += get_u64le(segment->tag + 8) ^
                 ((uint64_t)segment->disk_index << 32 | segment->seq);
}

static int by_disk_and_seq(const void *a, const void *b)
{
    const struct manifest_segment *x = a, *y = b;
    if (x->disk_index != y->disk_index)
        return x->disk_index < y->disk_index ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

void manifest_sort(struct manifest *manifest)
{
    if (manifest->segment_count)
        qsort(manifest->segments, manifest->segment_count, sizeof *manifest->segments,
              by_disk_and_seq);
}

const struct manifest_segment *manifest_find(const struct manifest *manifest,
                                             uint32_t disk_index, uint32_t seq)
{
    struct manifest_segment key = {.disk_index = disk_index, .seq = seq};
    return manifest->segment_count
               ? bsearch(&key, manifest->segments, manifest->segment_count, sizeof key,
                         by_disk_and_seq)
               : NULL;
}

void manifest_encode(const struct manifest *manifest, struct buf *out)
{
    buf_reserve(out,
                MANIFEST_HEADER_BYTES + manifest->segment_count * MANIFEST_SEGMENT_BYTES);
    buf_put_u16le(out, VERSION);
    buf_put_u8(out, (uint8_t)manifest->kind);
    buf_put_u8(out, 0);
    buf_put_u32le(out, 0);
    buf_append(out, manifest->machine.bytes, ID_BYTES);
    buf_put_u64le(out, manifest->cycle);
    buf_put_u64le(out, manifest->base_cycle);
    buf_put_u64le(out, manifest->segment_count);
    for (size_t i = 0; i < manifest->segment_count; i++) {
        const struct manifest_segment *segment = &manifest->segments[i];
        buf_put_u32le(out, segment->disk_index);
        buf_put_u32le(out, segment->seq);
        buf_put_u64le(out, segment->segment_bytes);
        buf_append(out, segment->salt, SEGMENT_SALT_BYTES);
        buf_append(out, segment->tag, SEAL_TAG_BYTES);
    }
}

static int by_key(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static bool has_twice(const struct manifest *manifest)
{
    size_t count = manifest->segment_count;
    AUTO(free) uint64_t *keys = xcalloc(count, sizeof *keys);
    for (size_t i = 0; i < count; i++)
        keys[i] =
            (uint64_t)manifest->segments[i].disk_index << 32 | manifest->segments[i].seq;
    qsort(keys, count, sizeof *keys, by_key);
    for (size_t i = 1; i < count; i++)
        if (keys[i] == keys[i - 1])
            return true;
    return false;
}

static const char *decode_manifest(struct cursor *from, struct manifest *ret)
{
    uint16_t version = cursor_u16(from);
    unsigned kind = cursor_u8(from);
    bool reserved = (cursor_u8(from) | cursor_u32(from)) != 0;
    cursor_copy(from, ret->machine.bytes, ID_BYTES);
    ret->cycle = cursor_u64(from);
    ret->base_cycle = cursor_u64(from);
    uint64_t count = cursor_u64(from);
    if (from->bad || version != VERSION || reserved)
        return "cut, or an unknown version";
    if (!is_cycle_valid(kind, ret->cycle, ret->base_cycle))
        return "cycle numbers are impossible";
    ret->kind = (enum cycle_kind)kind;
    if (cursor_left_bytes(from) % MANIFEST_SEGMENT_BYTES ||
        count != cursor_left_bytes(from) / MANIFEST_SEGMENT_BYTES)
        return "count of segments does not match the length";
    ret->segments = xcalloc(count, sizeof *ret->segments);
    ret->segment_cap = count;
    while (ret->segment_count < count) {
        struct manifest_segment *segment = &ret->segments[ret->segment_count++];
        segment->disk_index = cursor_u32(from);
        segment->seq = cursor_u32(from);
        segment->segment_bytes = cursor_u64(from);
        cursor_copy(from, segment->salt, SEGMENT_SALT_BYTES);
        cursor_copy(from, segment->tag, SEAL_TAG_BYTES);
        if (segment->disk_index >= CYCLE_MAX_DISKS ||
            segment->segment_bytes > SEGMENT_MAX_BYTES)
            return "disk number or segment size is impossible";
    }
    return has_twice(ret) ? "one segment is there twice" : NULL;
}

bool manifest_decode(const uint8_t *data, size_t data_bytes, struct manifest *ret,
                     struct err *err)
{
    *ret = (struct manifest){0};
    struct cursor from = {.at = data, .end = data + data_bytes};
    const char *problem = decode_manifest(&from, ret);
    if (!problem)
        return true;
    manifest_release(ret);
    return corrupt(err, "cycle manifest", data_bytes, problem);
}
