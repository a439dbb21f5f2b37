/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Change tracking is checked, not believed. In every cycle that trusts change records, a
 * random sample of the blocks that the source calls unchanged is read and compared with
 * the digests of what the replica holds. One block that differs is proof that the record
 * lies about this disk: the plan then holds all of it, compared by digest, in this very
 * cycle.
 *
 * Q1  a block counts only when the replica's content is known (the hash map describes
 *     exactly the base, and knows the block) and no part of it is in the plan; so a
 *     difference cannot have another cause;
 * Q2  what it costs is bounded before it begins: a share of the disk's blocks, and at
 *     most TRACKING_CHECK_MAX_BYTES of reading per disk and cycle;
 * Q3  blocks of zeros have no digest and are not checked; a lie that hides among them is
 *     found when the same lie hits content.
 * It runs before the plan is stored, so a cycle that is resumed has its answer in it.
 */
#include "gateway/cycle_impl.h"

#include "base/log.h"

#include <stdatomic.h>

#define DRAWS_MIN     16 /* a small disk is checked too */
#define READS_AT_ONCE 16
#define MILLION       1000000u

struct picks {
    size_t count;
    uint64_t blocks[TRACKING_CHECK_MAX_BYTES / BLOCK_BYTES];
};

struct check {
    struct cycle *cycle;
    size_t disk_index;
    struct digester *digester;
    struct reader *reader;
    struct hashmap_cursor cursor;
    struct picks picks;
    uint8_t *memory;
    struct read_request requests[READS_AT_ONCE];
};

static void check_free(struct check *check)
{
    if (!check)
        return;
    reader_close(check->reader);
    digester_free(check->digester);
    free(check->memory);
    free(check);
}
AUTO_CLEANUP(struct check, check_free);

/* splitmix64, seeded by the kernel for each disk. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static bool is_planned(const struct extents *planned, uint64_t start, uint64_t end)
{
    size_t at = extents_find(planned, start);
    return at < planned->count && planned->items[at].start_bytes < end;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* Each draw hits any block of the disk; those that Q1 lets through are kept. So the share
 * of the allocated blocks that is read is the share that was drawn. */
static void pick(struct check *check)
{
    struct cycle *cycle = check->cycle;
    const struct plan_disk *disk = &cycle->plan.disks[check->disk_index];
    uint64_t blocks = (disk->disk_bytes + BLOCK_BYTES - 1) / BLOCK_BYTES, random;
    uint64_t draws = blocks * cycle->context.options.check_ppm / MILLION;
    struct picks *picks = &check->picks;
    secret_random(&random, sizeof random);
    draws = MAX_OF(draws, MIN_OF(blocks, (uint64_t)DRAWS_MIN));
    for (; draws && picks->count < ARRAY_COUNT(picks->blocks); draws--) {
        uint64_t block = next_random(&random) % blocks, start = block * BLOCK_BYTES;
        struct digest known;
        if (is_planned(&disk->bitmap.runs, start, start + BLOCK_BYTES))
            continue;
        hashmap_get(cycle->maps[check->disk_index], &check->cursor, block, &known);
        if (!digest_is_unknown(&known))
            picks->blocks[picks->count++] = block;
    }
    qsort(picks->blocks, picks->count, sizeof *picks->blocks, by_number);
}

static bool submit(struct check *check, size_t at, struct err *err)
{
    struct read_request *request = &check->requests[at % READS_AT_ONCE];
    uint64_t start = check->picks.blocks[at] * BLOCK_BYTES;
    uint64_t disk_bytes = check->cycle->plan.disks[check->disk_index].disk_bytes;
    *request = (struct read_request){
        .offset_bytes = start,
        .length_bytes = (uint32_t)MIN_OF(BLOCK_BYTES, disk_bytes - start),
        .data = check->memory + (at % READS_AT_ONCE) * BLOCK_BYTES};
    return reader_submit(check->reader, request, err);
}

/* *ret_lies: the block is not what the replica holds. */
static bool compare(struct check *check, const struct read_request *request,
                    bool *ret_lies, struct err *err)
{
    struct cycle *cycle = check->cycle;
    struct digest known, now;
    if (!request->ok) {
        *err = request->err;
        return false;
    }
    if (!digester_compute(check->digester, request->data, request->length_bytes, &now,
                          err))
        return false;
    hashmap_get(cycle->maps[check->disk_index], &check->cursor,
                request->offset_bytes / BLOCK_BYTES, &known);
    *ret_lies = !digest_equal(&known, &now);
    atomic_fetch_add(&cycle->context.progress->checked_bytes, request->length_bytes);
    return true;
}

/* Reads the picks, READS_AT_ONCE at a time; stops at the first lie. */
static bool read_picks(struct check *check, bool *ret_lies, uint64_t *ret_offset_bytes,
                       struct err *err)
{
    size_t count = check->picks.count;
    for (size_t first = 0; first < count; first += READS_AT_ONCE) {
        size_t end = MIN_OF(first + READS_AT_ONCE, count);
        for (size_t at = first; at < end; at++)
            if (!submit(check, at, err))
                return false;
        for (size_t at = first; at < end; at++) {
            const struct read_request *request =
                reader_next(check->reader, check->cycle->context.cancel, err);
            if (!request || !compare(check, request, ret_lies, err))
                return false;
            *ret_offset_bytes = request->offset_bytes;
            if (*ret_lies)
                return true;
        }
    }
    return true;
}

static bool check_disk(struct cycle *cycle, size_t disk_index, bool *ret_lies,
                       uint64_t *ret_offset_bytes, struct err *err)
{
    AUTO(check_free) struct check *check = xcalloc(1, sizeof *check);
    check->cycle = cycle;
    check->disk_index = disk_index;
    *ret_lies = false;
    pick(check);
    if (check->picks.count == 0)
        return true;
    check->memory = aligned_alloc(4096, READS_AT_ONCE * BLOCK_BYTES);
    if (!check->memory)
        abort(); /* out of memory */
    check->digester = digester_new(cycle->context.data_key, err);
    return check->digester &&
           snapshot_reader_open(cycle->snapshot, disk_index, &check->reader, err) &&
           read_picks(check, ret_lies, ret_offset_bytes, err);
}

static bool take_whole(struct cycle *cycle, size_t disk_index, uint64_t offset_bytes,
                       struct err *err)
{
    struct plan_disk *disk = &cycle->plan.disks[disk_index];
    log_warn("tracking_lies", "machine=%s disk=%zu offset_bytes=%llu",
             cycle->context.machine->name, disk_index, (unsigned long long)offset_bytes);
    cycle->lies[disk_index] = (struct cycle_lie){true, offset_bytes};
    cycle->plan.kind = CYCLE_RESYNC;
    disk->by_hash = true;
    atomic_fetch_add(&cycle->context.progress->lies, 1);
    return bitmap_set(&disk->bitmap, 0, disk->disk_bytes, err);
}

bool tracking_check(struct cycle *cycle, struct err *err)
{
    struct cycle_progress *progress = cycle->context.progress;
    atomic_store(&progress->checked_bytes, 0);
    atomic_store(&progress->lies, 0);
    if (!cycle->may_skip || cycle->plan.base_cycle == 0 ||
        cycle->context.options.check_ppm == 0)
        return true;
    for (size_t i = 0; i < cycle->plan.disk_count; i++) {
        uint64_t offset_bytes = 0;
        bool lies;
        if (cycle->plan.disks[i].by_hash)
            continue;
        if (!check_disk(cycle, i, &lies, &offset_bytes, err))
            return err_wrap(err, "check of the change record of disk '%s'",
                            cycle->context.machine->disks[i].label);
        if (lies && !take_whole(cycle, i, offset_bytes, err))
            return false;
    }
    return true;
}
