/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker has read becomes records of its own open segment.
 *
 * R1  each record span becomes at most one DATA record; zero and same ranges are
 * collected over slots and written as one record per run; R2  the journal entry of a
 * segment tells of exactly the ranges whose records are in it: a run that is still
 * pending belongs to the segment in which it is written; R3  only a block that was read
 * whole is compared with, or noted for, the hash map.
 */
#include "gateway/send_impl.h"

#include "block/zero.h"

#include <stdatomic.h>

#define RECORD_HEADROOM 16 /* pending runs and END still fit behind a DATA record */

/* ---- segment ---- */

static bool open_segment(struct worker *w, size_t disk_index, struct err *err)
{
    const struct plan *plan = &w->cycle->plan;
    struct segment_name name = {.machine = plan->machine,
                                .disk = plan->disks[disk_index].disk,
                                .cycle = plan->cycle,
                                .seq =
                                    atomic_fetch_add(&w->send->next_seq[disk_index], 1)};
    w->buffer = pool_take(w->send->pool, &w->send->stop, err);
    if (!w->buffer)
        return false;
    w->segment_disk = disk_index;
    w->entry =
        (struct journal_entry){.disk_index = (uint32_t)disk_index, .seq = name.seq};
    return segment_writer_begin(w->writer, &name, w->buffer,
                                pool_each_bytes(w->send->pool), err);
}

bool record_close_segment(struct worker *w, struct err *err)
{
    if (!w->buffer)
        return true;
    size_t bytes = 0;
    if (!segment_writer_end(w->writer, &bytes, w->entry.tag, w->entry.salt, err))
        return false;
    w->entry.segment_bytes = bytes;
    struct parcel *parcel = xcalloc(1, sizeof *parcel);
    *parcel = (struct parcel){.buffer = w->buffer, .entry = w->entry};
    w->entry = (struct journal_entry){0};
    w->buffer = NULL;
    if (queue_put(w->send->parcels, parcel))
        return true;
    pool_give(w->send->pool, parcel->buffer);
    journal_entry_release(&parcel->entry);
    free(parcel);
    return err_set(err, FAIL_CANCELED, "canceled");
}

static bool add_record(struct worker *w, const struct record *record, struct err *err)
{
    const struct cycle_options *o = &w->cycle->context.options;
    return segment_writer_add(w->writer, record, w->packer, o->method, o->level, err);
}

/* An open segment of that disk with room for such a record and for pending runs. */
static bool need_room(struct worker *w, size_t disk_index, size_t content_bytes,
                      size_t piece_count, size_t digest_count, struct err *err)
{
    size_t reserve = RECORD_HEADROOM * (RECORD_HEADER_BYTES + SEAL_TAG_BYTES);
    if (w->buffer && w->segment_disk == disk_index &&
        segment_writer_fits(w->writer, content_bytes, piece_count, digest_count, reserve))
        return true;
    return record_close_segment(w, err) && open_segment(w, disk_index, err);
}

/* ---- runs of zero and same ranges ---- */

bool record_flush(struct worker *w, size_t disk_index, struct err *err)
{
    struct run run = w->run;
    if (run.start_bytes == run.end_bytes)
        return true;
    w->run = (struct run){0};
    struct record record = {.kind = run.kind,
                            .offset_bytes = run.start_bytes,
                            .length_bytes = run.end_bytes - run.start_bytes};
    if (!need_room(w, disk_index, 0, 0, 0, err) || !add_record(w, &record, err))
        return false;
    extents_add(&w->entry.covered, run.start_bytes, run.end_bytes);
    for (size_t i = 0; i < w->run_block_count; i++)
        journal_entry_add_block(&w->entry, w->run_blocks[i].block,
                                &w->run_blocks[i].digest);
    w->run_block_count = 0;
    return true;
}

bool record_run(struct worker *w, enum record_kind kind, uint64_t start_bytes,
                uint64_t end_bytes, struct err *err)
{
    if (w->run.kind == kind && w->run.end_bytes == start_bytes &&
        w->run_block_count < RUN_MAX_BLOCKS) {
        w->run.end_bytes = end_bytes;
        return true;
    }
    if (!record_flush(w, w->chunk.disk_index, err))
        return false;
    w->run = (struct run){kind, start_bytes, end_bytes};
    return true;
}

/* ---- one span of a slot ---- */

/* The pieces of one block, gathered at the front of what is still to be packed. */
struct gather {
    uint64_t span_bytes; /* disk offset of the span */
    uint8_t *content;    /* packed pieces of the record so far lie at content[0, bytes) */
    size_t bytes;
    size_t piece_count;
    size_t digest_count;
};

static void add_piece(struct gather *g, struct piece *pieces, uint64_t start_bytes,
                      uint64_t end_bytes)
{
    uint32_t start = (uint32_t)((start_bytes - g->span_bytes) / SECTOR_BYTES);
    uint32_t count = (uint32_t)((end_bytes - start_bytes) / SECTOR_BYTES);
    if (g->piece_count) {
        struct piece *last = &pieces[g->piece_count - 1];
        if (last->start_sectors + last->count_sectors == start) {
            last->count_sectors += count;
            return;
        }
    }
    pieces[g->piece_count++] = (struct piece){start, count};
}

static bool is_same(struct worker *w, size_t disk_index, uint64_t block,
                    const struct digest *digest)
{
    struct digest known;
    if (!w->cycle->may_skip)
        return false;
    hashmap_get(w->cycle->maps[disk_index], &w->cursor, block, &known);
    return !digest_is_unknown(&known) && digest_equal(&known, digest);
}

static bool note_same(struct worker *w, uint64_t start_bytes, uint64_t end_bytes,
                      const struct digest *digest, struct err *err)
{
    atomic_fetch_add(&w->cycle->context.progress->same_bytes, end_bytes - start_bytes);
    if (!record_run(w, RECORD_SAME, start_bytes, end_bytes, err))
        return false;
    w->run_blocks[w->run_block_count++] =
        (struct block_digest){start_bytes / BLOCK_BYTES, *digest};
    return true;
}

/* Extents [first, end) of the chunk, cut to one block: zero, same, or added to the
 * gather. */
static bool sort_block(struct worker *w, const struct slot *slot, struct gather *g,
                       const struct extent *parts, size_t count, struct err *err)
{
    size_t disk_index = w->chunk.disk_index, bytes = 0;
    uint64_t block = parts[0].start_bytes / BLOCK_BYTES;
    uint64_t block_end =
        MIN_OF((block + 1) * BLOCK_BYTES, w->cycle->plan.disks[disk_index].disk_bytes);
    uint8_t *to = g->content + g->bytes;
    struct digest digest;
    bool is_zero = true;
    for (size_t i = 0; i < count; i++) {
        size_t part = (size_t)(parts[i].end_bytes - parts[i].start_bytes);
        const uint8_t *from = slot->data + (parts[i].start_bytes - slot->window_bytes);
        is_zero = is_zero && block_is_zero(from, part);
        if (to + bytes != from)
            memmove(to + bytes, from, part);
        bytes += part;
    }
    if (is_zero) {
        atomic_fetch_add(&w->cycle->context.progress->zero_bytes, bytes);
        for (size_t i = 0; i < count; i++)
            if (!record_run(w, RECORD_ZERO, parts[i].start_bytes, parts[i].end_bytes,
                            err))
                return false;
        return true;
    }
    if (!digester_compute(w->digester, to, bytes, &digest, err))
        return false;
    bool is_whole = bytes == block_end - block * BLOCK_BYTES;
    if (is_whole && is_same(w, disk_index, block, &digest))
        return note_same(w, parts[0].start_bytes, block_end, &digest, err);
    for (size_t i = 0; i < count; i++)
        add_piece(g, w->pieces, parts[i].start_bytes, parts[i].end_bytes);
    w->digests[g->digest_count++] = digest;
    g->bytes += bytes;
    return true;
}

static void journal_record(struct worker *w, const struct record *record)
{
    struct record_block blocks[RECORD_MAX_BLOCKS];
    uint64_t disk_bytes = w->cycle->plan.disks[w->segment_disk].disk_bytes;
    size_t count = record_split(record, blocks);
    for (size_t i = 0; i < record->piece_count; i++) {
        uint64_t start = record->offset_bytes +
                         (uint64_t)record->pieces[i].start_sectors * SECTOR_BYTES;
        extents_add(&w->entry.covered, start,
                    start + (uint64_t)record->pieces[i].count_sectors * SECTOR_BYTES);
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t start = blocks[i].block * BLOCK_BYTES;
        if (blocks[i].part_bytes == MIN_OF(BLOCK_BYTES, disk_bytes - start))
            journal_entry_add_block(&w->entry, blocks[i].block, &record->digests[i]);
    }
    w->entry.content_bytes += record->content_bytes;
}

static bool write_span(struct worker *w, struct gather *g, struct err *err)
{
    if (g->piece_count == 0)
        return true;
    if (!record_flush(w, w->chunk.disk_index, err) ||
        !need_room(w, w->chunk.disk_index, g->bytes, g->piece_count, g->digest_count,
                   err))
        return false;
    uint32_t first = w->pieces[0].start_sectors;
    const struct piece *last = &w->pieces[g->piece_count - 1];
    struct record record = {
        .kind = RECORD_DATA,
        .offset_bytes = g->span_bytes + (uint64_t)first * SECTOR_BYTES,
        .length_bytes =
            (uint64_t)(last->start_sectors + last->count_sectors - first) * SECTOR_BYTES,
        .piece_count = g->piece_count,
        .pieces = w->pieces,
        .content_bytes = g->bytes,
        .content = g->content,
        .digest_count = g->digest_count,
        .digests = w->digests};
    for (size_t i = 0; i < g->piece_count; i++)
        w->pieces[i].start_sectors -= first;
    if (!add_record(w, &record, err))
        return false;
    journal_record(w, &record);
    atomic_fetch_add(&w->cycle->context.progress->content_bytes, g->bytes);
    return true;
}

/* Cuts extents at block ends and hands them on block by block. */
bool record_slot(struct worker *w, const struct slot *slot, struct err *err)
{
    uint64_t span = w->cycle->context.options.record_span_bytes;
    struct gather g = {.span_bytes = UINT64_MAX};
    struct extent parts[BLOCK_BYTES / SECTOR_BYTES];
    size_t count = 0;
    for (size_t i = slot->first; i < slot->first + slot->count; i++) {
        uint64_t at = MAX_OF(w->chunk.extents[i].start_bytes, slot->window_bytes);
        uint64_t end =
            MIN_OF(w->chunk.extents[i].end_bytes, slot->window_bytes + w->slot_bytes);
        while (at < end) {
            uint64_t stop = MIN_OF(end, round_down(at, BLOCK_BYTES) + BLOCK_BYTES);
            if (count && parts[0].start_bytes / BLOCK_BYTES != at / BLOCK_BYTES) {
                if (!sort_block(w, slot, &g, parts, count, err))
                    return false;
                count = 0;
            }
            if (count == 0 && round_down(at, span) != g.span_bytes) {
                if (!write_span(w, &g, err))
                    return false;
                g = (struct gather){.span_bytes = round_down(at, span)};
                g.content = slot->data + (at - slot->window_bytes);
            }
            parts[count++] = (struct extent){at, stop};
            at = stop;
        }
    }
    return (count == 0 || sort_block(w, slot, &g, parts, count, err)) &&
           write_span(w, &g, err);
}
