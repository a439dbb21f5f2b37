/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The work list: planned minus covered, handed out in chunks.
 *
 * W1  a chunk ends where a record span ends, so no two workers ever share a block;
 * W2  a chunk holds at most CHUNK_BYTES of data (holes: any length, they cost nothing)
 * and at most CHUNK_MAX_EXTENTS extents.
 */
#include "gateway/send_impl.h"

bool work_init(struct work *work, struct cycle *cycle, struct err *err)
{
    (void)pthread_mutex_init(&work->lock, NULL); /* default attributes cannot fail */
    work->disk_count = cycle->plan.disk_count;
    work->span_bytes = cycle->context.options.record_span_bytes;
    for (size_t i = 0; i < work->disk_count; i++) {
        AUTO(extents_release) struct extents left = {0};
        AUTO(extents_release) struct extents holes = {0};
        extents_subtract(&cycle->plan.disks[i].bitmap.runs, &cycle->covered[i], &left);
        if (!plan_holes(cycle, i, &holes, err))
            return false;
        extents_subtract(&left, &holes, &work->read[i]);
        extents_intersect(&left, &holes, &work->holes[i]);
    }
    return true;
}

void work_release(struct work *work)
{
    for (size_t i = 0; i < MACHINE_MAX_DISKS; i++) {
        extents_release(&work->read[i]);
        extents_release(&work->holes[i]);
    }
    (void)pthread_mutex_destroy(&work->lock); /* nobody holds it */
}

static const struct extents *current_set(const struct work *work)
{
    return work->in_holes ? &work->holes[work->disk_index]
                          : &work->read[work->disk_index];
}

/* Moves to the next set that has something left; false at the end. */
static bool find_set(struct work *work)
{
    while (work->disk_index < work->disk_count) {
        if (work->at < current_set(work)->count)
            return true;
        work->at = 0;
        work->offset_bytes = 0;
        if (work->in_holes)
            work->disk_index++;
        work->in_holes = !work->in_holes;
    }
    return false;
}

/* Takes from the current extent up to limit_bytes (a disk offset). */
static void take_until(struct work *work, struct chunk *chunk, uint64_t limit_bytes)
{
    const struct extent *e = &current_set(work)->items[work->at];
    uint64_t start = MAX_OF(e->start_bytes, work->offset_bytes);
    uint64_t end = MIN_OF(e->end_bytes, limit_bytes);
    chunk->extents[chunk->count++] = (struct extent){start, end};
    if (end == e->end_bytes) {
        work->at++;
        work->offset_bytes = 0;
    } else {
        work->offset_bytes = end;
    }
}

static uint64_t next_start(const struct work *work)
{
    const struct extent *e = &current_set(work)->items[work->at];
    return MAX_OF(e->start_bytes, work->offset_bytes);
}

bool work_take(struct work *work, struct chunk *ret)
{
    LOCK_GUARD(&work->lock);
    if (!find_set(work))
        return false;
    *ret = (struct chunk){.disk_index = work->disk_index, .is_hole = work->in_holes};
    const struct extents *set = current_set(work);
    uint64_t taken_bytes = 0, limit = UINT64_MAX;
    while (work->at < set->count && ret->count < CHUNK_MAX_EXTENTS) {
        uint64_t start = next_start(work);
        if (start >= limit)
            break;
        if (!ret->is_hole && limit == UINT64_MAX) {
            uint64_t room = CHUNK_BYTES - taken_bytes;
            uint64_t reach = round_down(start + room, work->span_bytes);
            reach = MAX_OF(reach, round_down(start, work->span_bytes) + work->span_bytes);
            uint64_t end = MIN_OF(set->items[work->at].end_bytes, reach);
            taken_bytes += end - start;
            if (taken_bytes >= CHUNK_BYTES || end == reach || ret->count >= 255)
                limit =
                    round_up(end, work->span_bytes); /* W1: finish this span, then stop */
        }
        take_until(work, ret, limit);
    }
    return true;
}
