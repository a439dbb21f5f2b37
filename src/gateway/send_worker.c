/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker: takes chunks, keeps several reads in flight, hands what was read to
 * send_record.c.
 *
 * A slot is an aligned window of the disk, as large as one read. Slots are finished in
 * the order in which they were started, so records of neighbouring blocks stay
 * neighbours.
 */
#include "gateway/send_impl.h"

#include <stdatomic.h>

#define GAP_MAX_BYTES (32 * KIB) /* read over a smaller gap rather than ask twice */

/* ---- reading ---- */

static bool need_reader(struct worker *w, size_t disk_index, struct err *err)
{
    if (w->reader && w->reader_disk == disk_index)
        return true;
    reader_close(w->reader);
    w->reader = NULL;
    w->cursor.is_loaded = false;
    w->reader_disk = disk_index;
    return snapshot_reader_open(w->cycle->snapshot, disk_index, &w->reader, err);
}

static bool submit_range(struct worker *w, struct slot *slot, uint64_t start_bytes,
                         uint64_t end_bytes, struct err *err)
{
    struct read_request *request = w->requests;
    w->requests = request->next;
    *request =
        (struct read_request){.offset_bytes = start_bytes,
                              .length_bytes = (uint32_t)(end_bytes - start_bytes),
                              .data = slot->data + (start_bytes - slot->window_bytes),
                              .tag = slot};
    atomic_fetch_add(&w->cycle->context.progress->read_bytes, end_bytes - start_bytes);
    slot->waiting++;
    if (reader_submit(w->reader, request, err))
        return true;
    slot->waiting--;
    return false;
}

/* Fills a slot from chunk extent *at on; *from: where in it to begin. */
static bool start_slot(struct worker *w, struct slot *slot, size_t *at, uint64_t *from,
                       struct err *err)
{
    const struct extent *e = w->chunk.extents;
    uint64_t start = MAX_OF(e[*at].start_bytes, *from);
    slot->window_bytes = round_down(start, w->slot_bytes);
    slot->first = *at;
    slot->count = 0;
    uint64_t window_end = slot->window_bytes + w->slot_bytes, end = start;
    uint32_t ranges = 0;
    while (*at < w->chunk.count && MAX_OF(e[*at].start_bytes, *from) < window_end) {
        uint64_t next = MAX_OF(e[*at].start_bytes, *from);
        if (next - end > GAP_MAX_BYTES && ranges + 1 < w->slot_ranges_max) {
            if (!submit_range(w, slot, start, end, err))
                return false;
            ranges++;
            start = next;
        }
        end = MIN_OF(e[*at].end_bytes, window_end);
        slot->count++;
        *from = end;
        if (end < e[*at].end_bytes)
            break;
        (*at)++;
    }
    return submit_range(w, slot, start, end, err);
}

static bool finish_slot(struct worker *w, struct slot *slot, struct err *err)
{
    while (slot->waiting) {
        struct read_request *request = reader_next(w->reader, &w->send->stop, err);
        if (!request)
            return false;
        struct slot *of = request->tag;
        of->waiting--;
        bool ok = request->ok;
        if (!ok)
            *err = request->err;
        request->next = w->requests;
        w->requests = request;
        if (!ok)
            return false;
    }
    return record_slot(w, slot, err);
}

static bool read_chunk(struct worker *w, struct err *err)
{
    size_t at = 0, head = 0, tail = 0;
    uint64_t from = 0;
    if (!need_reader(w, w->chunk.disk_index, err))
        return false;
    while (at < w->chunk.count || head < tail) {
        while (at < w->chunk.count && tail - head < w->slot_count) {
            if (!start_slot(w, &w->slots[tail % w->slot_count], &at, &from, err))
                return false;
            tail++;
        }
        if (!finish_slot(w, &w->slots[head % w->slot_count], err))
            return false;
        head++;
    }
    return true;
}

static bool hole_chunk(struct worker *w, struct err *err)
{
    for (size_t i = 0; i < w->chunk.count; i++) {
        const struct extent *e = &w->chunk.extents[i];
        if (!record_run(w, RECORD_ZERO, e->start_bytes, e->end_bytes, err))
            return false;
        atomic_fetch_add(&w->cycle->context.progress->zero_bytes,
                         e->end_bytes - e->start_bytes);
    }
    return true;
}

static bool work_off(struct worker *w, struct err *err)
{
    size_t disk_index = 0;
    while (work_take(&w->send->work, &w->chunk)) {
        if (!cancel_check(&w->send->stop, err))
            return false;
        if (disk_index != w->chunk.disk_index && !record_flush(w, disk_index, err))
            return false;
        disk_index = w->chunk.disk_index;
        if (!(w->chunk.is_hole ? hole_chunk(w, err) : read_chunk(w, err)))
            return err_wrap(err, "disk '%s'",
                            w->cycle->context.machine->disks[disk_index].label);
    }
    return record_flush(w, disk_index, err) && record_close_segment(w, err);
}

/* ---- life ---- */

static bool worker_init(struct worker *w, struct send *send, struct err *err)
{
    const struct cycle_context *context = &send->cycle->context;
    w->send = send;
    w->cycle = send->cycle;
    w->slot_count = context->options.reads_in_flight;
    w->slot_bytes = context->options.read_bytes;
    w->slot_ranges_max = MAX_OF(READER_MAX_IN_FLIGHT / w->slot_count, 1);
    size_t requests = READER_MAX_IN_FLIGHT;
    w->request_memory = xcalloc(requests, sizeof *w->request_memory);
    for (size_t i = 0; i < requests; i++) {
        w->request_memory[i].next = w->requests;
        w->requests = &w->request_memory[i];
    }
    w->slot_memory = aligned_alloc(4096, w->slot_count * w->slot_bytes);
    if (!w->slot_memory)
        abort();
    for (uint32_t i = 0; i < w->slot_count; i++)
        w->slots[i].data = w->slot_memory + i * w->slot_bytes;
    w->writer = segment_writer_new(context->data_key, &context->key_id, err);
    w->packer = w->writer ? packer_new(err) : NULL;
    w->digester = w->packer ? digester_new(context->data_key, err) : NULL;
    return w->digester != NULL;
}

static void worker_release(struct worker *w)
{
    reader_close(w->reader);
    if (w->buffer)
        pool_give(w->send->pool, w->buffer);
    journal_entry_release(&w->entry);
    segment_writer_free(w->writer);
    packer_free(w->packer);
    digester_free(w->digester);
    free(w->slot_memory);
    free(w->request_memory);
}

void worker_run(struct send *send)
{
    struct worker *w = xcalloc(1, sizeof *w);
    struct err err = ERR_INIT;
    if (!worker_init(w, send, &err) || !work_off(w, &err))
        send_fail(send, &err);
    worker_release(w);
    free(w);
}
