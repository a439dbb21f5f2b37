/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The crew: N threads, each with a segment buffer, a segment reader and, when writing, a
 * replica writer of its own for the disk at hand.
 *
 * K1  a record reaches the replica only after its seal, its unpacking and its digests
 * were checked; K2  content is unpacked into the replica writer's own room: a run of
 * neighbouring blocks is written without a copy; K3  the ranges seen are summed with
 * their lengths: two records for one sector are noticed because the sum is larger than
 * the set; K4  a worker's ranges are folded into the set of all as soon as they are many:
 * workers see every other piece of the disk, only together do the pieces join.
 */
#include "applier/crew.h"

#include "base/fault.h"
#include "base/queue.h"

#include <stdatomic.h>

#define DEFAULT_WORKERS 3
#define QUEUE_SEGMENTS  8
#define SEEN_MAX        16384u /* ranges a worker keeps to itself, K4 */

struct seen {
    struct extent *items;
    size_t count, cap;
};

struct crew_worker {
    struct crew *crew;
    pthread_t thread;
    struct segment_reader *reader;
    uint8_t *buffer; /* the segment */
    size_t buffer_bytes;
    uint8_t *scratch; /* RECORD_SPAN_MAX_BYTES, when verifying */
    struct replica_writer *writer;
    size_t writer_disk;
    struct seen seen[CYCLE_MAX_DISKS];
};

struct crew {
    /* Set by crew_start, never changed. */
    const struct apply_context *context;
    const struct plan *plan;
    enum crew_mode mode;
    struct queue *queue;
    struct replica_disk *disks[CYCLE_MAX_DISKS];
    size_t worker_count;
    struct crew_worker *workers;
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct err first_err;
    struct extents target_bitmap[CYCLE_MAX_DISKS];
    uint64_t seen_bytes[CYCLE_MAX_DISKS]; /* K3: with what was seen twice */
    /* Atomic. */
    _Atomic bool is_failed;
};

static void crew_fail(struct crew *crew, const struct err *err)
{
    LOCK_GUARD(&crew->lock);
    if (crew->first_err.kind == FAIL_NONE)
        crew->first_err = *err;
    atomic_store(&crew->is_failed, true);
}

/* ---- one segment ---- */

static bool fetch(struct crew_worker *w, const struct manifest_segment *segment,
                  struct err *err)
{
    const struct apply_context *context = w->crew->context;
    char name[NAMES_MAX];
    size_t got = 0, bytes = (size_t)segment->segment_bytes;
    if (segment->segment_bytes > SEGMENT_MAX_BYTES || bytes < SEGMENT_HEADER_BYTES)
        return err_set(err, FAIL_CORRUPT, "segment %u of disk %u says it has %llu bytes",
                       segment->seq, segment->disk_index,
                       (unsigned long long)segment->segment_bytes);
    if (bytes > w->buffer_bytes) {
        free(w->buffer);
        w->buffer_bytes = round_up(bytes, MIB);
        w->buffer = aligned_alloc(4096, w->buffer_bytes);
        if (!w->buffer)
            abort();
    }
    name_segment(&context->machine->id, w->crew->plan->cycle, segment->disk_index,
                 segment->seq, segment->salt, name);
    if (!store_get(context->log_store, name, 0, w->buffer, bytes, &got, err)) {
        if (err->kind == FAIL_GONE)
            err->kind =
                FAIL_CORRUPT; /* the manifest says it exists: the log is damaged */
        return err_wrap(err, "segment '%s'", name);
    }
    if (got != bytes)
        return err_set(err, FAIL_CORRUPT, "segment '%s' has %zu of %zu bytes", name, got,
                       bytes);
    return true;
}

/* K4 */
static void fold_seen(struct crew *crew, struct seen *seen, size_t disk_index)
{
    LOCK_GUARD(&crew->lock);
    for (size_t i = 0; i < seen->count; i++)
        crew->seen_bytes[disk_index] +=
            seen->items[i].end_bytes - seen->items[i].start_bytes;
    extents_add_unsorted(&crew->target_bitmap[disk_index], seen->items, seen->count);
    seen->count = 0;
}

static void note_seen(struct crew_worker *w, size_t disk_index, uint64_t start_bytes,
                      uint64_t end_bytes)
{
    struct seen *seen = &w->seen[disk_index];
    if (seen->count && seen->items[seen->count - 1].end_bytes == start_bytes) {
        seen->items[seen->count - 1].end_bytes = end_bytes;
        return;
    }
    if (seen->count == SEEN_MAX)
        fold_seen(w->crew, seen, disk_index);
    if (seen->count == seen->cap) {
        seen->cap = seen->cap ? 2 * seen->cap : 256;
        seen->items = xrealloc(seen->items, seen->cap, sizeof *seen->items);
    }
    seen->items[seen->count++] = (struct extent){start_bytes, end_bytes};
}

static bool write_pieces(struct crew_worker *w, const struct record *record,
                         struct err *err)
{
    const uint8_t *content = record->content;
    for (size_t i = 0; i < record->piece_count; i++) {
        uint64_t at = record->offset_bytes +
                      (uint64_t)record->pieces[i].start_sectors * SECTOR_BYTES;
        size_t bytes = (size_t)record->pieces[i].count_sectors * SECTOR_BYTES;
        if (!replica_writer_put(w->writer, at, content, bytes, err))
            return false;
        content += bytes;
    }
    atomic_fetch_add(&w->crew->context->progress->written_bytes, record->content_bytes);
    return true;
}

static bool use_record(struct crew_worker *w, size_t disk_index,
                       const struct record *record, struct err *err)
{
    struct apply_progress *progress = w->crew->context->progress;
    bool is_write = w->crew->mode == CREW_WRITE;
    uint64_t end = record->offset_bytes + record->length_bytes;
    if (end > w->crew->plan->disks[disk_index].disk_bytes)
        return err_set(err, FAIL_CORRUPT, "a record reaches beyond the end of disk %zu",
                       disk_index);
    if (record->kind == RECORD_DATA) {
        for (size_t i = 0; i < record->piece_count; i++) {
            uint64_t at = record->offset_bytes +
                          (uint64_t)record->pieces[i].start_sectors * SECTOR_BYTES;
            note_seen(w, disk_index, at,
                      at + (uint64_t)record->pieces[i].count_sectors * SECTOR_BYTES);
        }
        return !is_write || write_pieces(w, record, err);
    }
    note_seen(w, disk_index, record->offset_bytes, end);
    if (!is_write)
        return true;
    atomic_fetch_add(record->kind == RECORD_ZERO ? &progress->zeroed_bytes
                                                 : &progress->same_bytes,
                     record->length_bytes);
    return record->kind != RECORD_ZERO ||
           replica_writer_zero(w->writer, record->offset_bytes, end, err);
}

static bool release_writer(struct crew_worker *w, struct err *err)
{
    bool ok = !w->writer || replica_writer_drain(w->writer, err);
    replica_writer_close(w->writer);
    w->writer = NULL;
    return ok;
}

static bool need_writer(struct crew_worker *w, size_t disk_index, struct err *err)
{
    if (w->crew->mode == CREW_VERIFY || (w->writer && w->writer_disk == disk_index))
        return true;
    w->writer_disk = disk_index;
    return release_writer(w, err) &&
           replica_disk_writer_open(w->crew->disks[disk_index], &w->writer, err);
}

static bool work_segment(struct crew_worker *w, const struct manifest_segment *segment,
                         struct err *err)
{
    struct crew *crew = w->crew;
    const struct plan *plan = crew->plan;
    struct record record = {0};
    if (segment->disk_index >= plan->disk_count)
        return err_set(err, FAIL_CORRUPT, "a segment names disk %u of %zu",
                       segment->disk_index, plan->disk_count);
    struct segment_name name = {.machine = plan->machine,
                                .disk = plan->disks[segment->disk_index].disk,
                                .cycle = plan->cycle,
                                .seq = segment->seq};
    if (crew->mode == CREW_WRITE && FAULT(APPLY_IN_WRITE, err))
        return false;
    if (!fetch(w, segment, err) || !need_writer(w, segment->disk_index, err) ||
        !segment_reader_begin(w->reader, &name, w->buffer, (size_t)segment->segment_bytes,
                              segment->tag, err))
        return false;
    while (record.kind != RECORD_END) {
        uint8_t *room = w->writer ? replica_writer_room(w->writer) : w->scratch;
        if (!segment_reader_next(w->reader, room, &record, err))
            return false;
        if (record.kind != RECORD_END &&
            !use_record(w, segment->disk_index, &record, err))
            return false;
    }
    atomic_fetch_add(crew->mode == CREW_VERIFY
                         ? &crew->context->progress->segments_verified
                         : &crew->context->progress->segments_applied,
                     1);
    return true;
}

/* ---- threads ---- */

static void *worker_main(void *ctx)
{
    struct crew_worker *w = ctx;
    struct err err = ERR_INIT;
    for (struct manifest_segment *segment; (segment = queue_take(w->crew->queue)) != NULL;
         free(segment)) {
        if (atomic_load(&w->crew->is_failed))
            continue;
        if (!cancel_check(w->crew->context->cancel, &err) ||
            !work_segment(w, segment, &err))
            crew_fail(w->crew, &err);
    }
    if (!atomic_load(&w->crew->is_failed) && !release_writer(w, &err))
        crew_fail(w->crew, &err);
    replica_writer_close(w->writer);
    w->writer = NULL;
    return NULL;
}

static bool open_disks(struct crew *crew, struct err *err)
{
    for (size_t i = 0; i < crew->plan->disk_count && crew->mode == CREW_WRITE; i++) {
        if (!target_disk_open(crew->context->target, crew->context->machine, i, true,
                              &crew->disks[i], err))
            return err_wrap(err, "open replica disk %zu", i);
        uint64_t have = replica_disk_bytes(crew->disks[i]);
        if (have < crew->plan->disks[i].disk_bytes)
            return err_set(err, FAIL_CONFLICT,
                           "replica disk %zu has %llu bytes, the source has %llu", i,
                           (unsigned long long)have,
                           (unsigned long long)crew->plan->disks[i].disk_bytes);
    }
    return true;
}

static void crew_free(struct crew *crew)
{
    if (!crew)
        return;
    for (size_t i = 0; i < crew->worker_count; i++) {
        struct crew_worker *w = &crew->workers[i];
        segment_reader_free(w->reader);
        free(w->buffer);
        free(w->scratch);
        for (size_t d = 0; d < CYCLE_MAX_DISKS; d++)
            free(w->seen[d].items);
    }
    for (size_t i = 0; i < CYCLE_MAX_DISKS; i++) {
        replica_disk_close(crew->disks[i]);
        extents_release(&crew->target_bitmap[i]);
    }
    queue_free(crew->queue);
    (void)pthread_mutex_destroy(&crew->lock); /* nobody holds it */
    free(crew->workers);
    free(crew);
}
AUTO_CLEANUP(struct crew, crew_free);

static bool start_workers(struct crew *crew, struct err *err)
{
    for (size_t i = 0; i < crew->worker_count; i++) {
        struct crew_worker *w = &crew->workers[i];
        w->crew = crew;
        w->reader = segment_reader_new(crew->context->data_key, err);
        if (!w->reader)
            return false;
        if (crew->mode == CREW_VERIFY)
            w->scratch = xcalloc(1, RECORD_SPAN_MAX_BYTES);
    }
    for (size_t i = 0; i < crew->worker_count; i++)
        if (pthread_create(&crew->workers[i].thread, NULL, worker_main,
                           &crew->workers[i]))
            abort(); /* out of threads: restart and resume */
    return true;
}

struct crew *crew_start(const struct apply_context *context, const struct plan *plan,
                        enum crew_mode mode, struct err *err)
{
    AUTO(crew_free) struct crew *crew = xcalloc(1, sizeof *crew);
    crew->context = context;
    crew->plan = plan;
    crew->mode = mode;
    (void)pthread_mutex_init(&crew->lock, NULL); /* default attributes cannot fail */
    crew->queue = queue_new(QUEUE_SEGMENTS);
    crew->worker_count =
        MIN_OF(context->workers ? context->workers : DEFAULT_WORKERS, 16u);
    crew->workers = xcalloc(crew->worker_count, sizeof *crew->workers);
    if (!open_disks(crew, err) || !start_workers(crew, err))
        return NULL;
    return TAKE(crew);
}

static bool crew_check(struct crew *crew, struct err *err)
{
    if (!atomic_load(&crew->is_failed))
        return true;
    LOCK_GUARD(&crew->lock);
    *err = crew->first_err;
    return false;
}

bool crew_push(struct crew *crew, const struct manifest_segment *segment, struct err *err)
{
    if (!crew_check(crew, err))
        return false;
    struct manifest_segment *copy = xcalloc(1, sizeof *copy);
    *copy = *segment;
    if (queue_put(crew->queue, copy))
        return true;
    free(copy);
    return err_set(err, FAIL_BUG, "the crew has finished already");
}

static void join_workers(struct crew *crew)
{
    queue_close(crew->queue);
    for (size_t i = 0; i < crew->worker_count; i++)
        (void)pthread_join(crew->workers[i].thread, NULL); /* ours */
}

/* After the workers have ended. */
static bool compare_disk(struct crew *crew, size_t disk_index, struct err *err)
{
    const struct plan_disk *disk = &crew->plan->disks[disk_index];
    const struct extents *set = &crew->target_bitmap[disk_index];
    for (size_t i = 0; i < crew->worker_count; i++)
        fold_seen(crew, &crew->workers[i].seen[disk_index], disk_index);
    if (extents_total_bytes(set) != crew->seen_bytes[disk_index]) /* K3 */
        return err_set(err, FAIL_CORRUPT, "disk %zu: some sectors were sent twice",
                       disk_index);
    if (extents_equal(set, &disk->bitmap.runs))
        return true;
    AUTO(extents_release) struct extents missing = {0};
    AUTO(extents_release) struct extents excess = {0};
    extents_subtract(&disk->bitmap.runs, set, &missing);
    extents_subtract(set, &disk->bitmap.runs, &excess);
    const struct extents *which = missing.count ? &missing : &excess;
    return err_set(
        err, FAIL_CORRUPT,
        "disk %zu: source and target bitmap differ: %llu sectors missing, %llu too "
        "many, the first at byte %llu",
        disk_index, (unsigned long long)(extents_total_bytes(&missing) / SECTOR_BYTES),
        (unsigned long long)(extents_total_bytes(&excess) / SECTOR_BYTES),
        (unsigned long long)which->items[0].start_bytes);
}

bool crew_finish(struct crew *crew, bool is_complete, struct err *err)
{
    AUTO(crew_free) __attribute__((unused)) struct crew *owned = crew;
    join_workers(crew);
    if (!crew_check(crew, err))
        return false;
    if (crew->mode == CREW_WRITE) {
        if (FAULT(APPLY_BEFORE_FLUSH, err))
            return false;
        for (size_t i = 0; i < crew->plan->disk_count; i++)
            if (!replica_disk_flush(crew->disks[i], err))
                return err_wrap(err, "flush replica disk %zu", i);
    }
    for (size_t i = 0; is_complete && i < crew->plan->disk_count; i++)
        if (!compare_disk(crew, i, err))
            return false;
    return true;
}

void crew_cancel(struct crew *crew)
{
    if (!crew)
        return;
    struct err canceled = ERR_INIT;
    (void)err_set(&canceled, FAIL_CANCELED, "canceled");
    crew_fail(crew, &canceled);
    join_workers(crew);
    crew_free(crew);
}
