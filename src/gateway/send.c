/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pipeline:
 *
 *   work list -> workers: read | zero? | digest | same? | pack | seal -> parcels ->
 * putters: throttle, log store, journal, on_segment
 *
 * P1  memory: the pool's segment buffers and the workers' read slots, nothing that grows
 * with the disk; a worker that finds no free buffer waits (back-pressure from the store);
 * P2  a segment counts as done when its journal entry is durable;
 * P3  the manifest is written when every planned extent is covered, checked here;
 * P4  the first error stops all; what was acknowledged stays for a resume.
 */
#include "gateway/send_impl.h"

#include "base/clock.h"
#include "base/fault.h"

#include <stdatomic.h>

#define PUT_TRIES       6
#define PUT_BACKOFF_MS  200
#define WATCH_CANCEL_NS 50000000L

void send_fail(struct send *send, const struct err *err)
{
    {
        LOCK_GUARD(&send->lock);
        if (send->first_err.kind == FAIL_NONE)
            send->first_err = *err;
    }
    cancel_set(&send->stop);
}

static bool put_segment(struct send *send, const struct parcel *parcel, const char *name,
                        struct err *err)
{
    const struct cycle_context *context = &send->cycle->context;
    uint64_t backoff_ms = PUT_BACKOFF_MS;
    for (int tries = 1;; tries++) {
        struct err why = ERR_INIT;
        if (store_put(context->log_store, name, parcel->buffer,
                      (size_t)parcel->entry.segment_bytes, STORE_IF_ABSENT, &why))
            return true;
        if (why.kind == FAIL_CONFLICT && tries > 1)
            return true; /* an earlier try of ours arrived: the salt in the name is ours
                            alone */
        if (why.kind != FAIL_TRANSIENT || tries == PUT_TRIES) {
            *err = why;
            return false;
        }
        uint64_t wait_ms = MAX_OF(backoff_ms, (uint64_t)why.retry_after_ms);
        if (!cancel_sleep_ms(&send->stop, wait_ms, err))
            return false;
        backoff_ms *= 2;
    }
}

static void count_parcel(struct send *send, const struct parcel *parcel)
{
    struct cycle_progress *p = send->cycle->context.progress;
    atomic_fetch_add(&p->done_bytes, extents_total_bytes(&parcel->entry.covered));
    atomic_fetch_add(&p->stored_bytes, parcel->entry.segment_bytes);
    atomic_fetch_add(&p->segments, 1);
}

static bool tell_segment(struct send *send, const struct journal_entry *entry,
                         struct err *err)
{
    const struct cycle_context *context = &send->cycle->context;
    struct manifest_segment segment = journal_entry_segment(entry);
    LOCK_GUARD(&send->segment_lock);
    manifest_add(&send->cycle->manifest, &segment);
    return !context->on_segment ||
           context->on_segment(context->on_segment_ctx, &segment, err);
}

static bool deliver(struct send *send, const struct parcel *parcel, struct err *err)
{
    const struct cycle_context *context = &send->cycle->context;
    const struct journal_entry *entry = &parcel->entry;
    char name[NAMES_MAX];
    name_segment(&context->machine->id, send->cycle->plan.cycle, entry->disk_index,
                 entry->seq, entry->salt, name);
    if (!throttle_pass(context->throttle, entry->segment_bytes, &send->stop, err) ||
        FAULT(CYCLE_BEFORE_SEGMENT, err))
        return false;
    if (!put_segment(send, parcel, name, err))
        return err_wrap(err, "segment '%s'", name);
    if (FAULT(CYCLE_AFTER_SEGMENT, err) || !journal_store(send->cycle, entry, err))
        return false;
    count_parcel(send, parcel);
    return tell_segment(send, entry, err);
}

static void leave(struct send *send, size_t *counter)
{
    LOCK_GUARD(&send->lock);
    (*counter)--;
    (void)pthread_cond_signal(&send->changed); /* cannot fail */
}

static void *putter_main(void *ctx)
{
    struct send *send = ctx;
    for (struct parcel *parcel; (parcel = queue_take(send->parcels)) != NULL;) {
        struct err err = ERR_INIT;
        if (!cancel_is_set(&send->stop) && !deliver(send, parcel, &err))
            send_fail(send, &err);
        pool_give(send->pool, parcel->buffer);
        journal_entry_release(&parcel->entry);
        free(parcel);
    }
    leave(send, &send->putters_left);
    return NULL;
}

static void *worker_main(void *ctx)
{
    struct send *send = ctx;
    worker_run(send);
    leave(send, &send->workers_left);
    return NULL;
}

/* Waits until *counter is 0, watching the caller's cancel meanwhile. */
static void wait_for(struct send *send, const size_t *counter)
{
    const struct cancel *cancel = send->cycle->context.cancel;
    LOCK_GUARD(&send->lock);
    while (*counter > 0) {
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until); /* always there */
        until.tv_nsec += WATCH_CANCEL_NS;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_nsec -= 1000000000L;
            until.tv_sec++;
        }
        (void)pthread_cond_timedwait(&send->changed, &send->lock,
                                     &until); /* looks again */
        if (cancel_is_set(cancel) && !cancel_is_set(&send->stop)) {
            if (send->first_err.kind == FAIL_NONE)
                (void)err_set(&send->first_err, FAIL_CANCELED, "canceled");
            cancel_set(&send->stop);
        }
    }
}

static void start_threads(struct send *send, pthread_t *threads)
{
    const struct cycle_options *o = &send->cycle->context.options;
    send->workers_left = o->workers;
    send->putters_left = o->putters;
    for (uint32_t i = 0; i < o->workers + o->putters; i++)
        if (pthread_create(&threads[i], NULL, i < o->workers ? worker_main : putter_main,
                           send) != 0)
            abort(); /* out of threads: restart and resume */
}

/* P3: chunks are disjoint by construction (W1), so equal sums mean equal sets; the
 * applier compares the sets themselves. */
static bool check_covered(const struct cycle *cycle, struct err *err)
{
    struct cycle_progress *p = cycle->context.progress;
    uint64_t planned = atomic_load(&p->planned_bytes), done = atomic_load(&p->done_bytes);
    if (planned != done)
        return err_set(err, FAIL_BUG, "%llu bytes planned, %llu covered",
                       (unsigned long long)planned, (unsigned long long)done);
    return true;
}

static void run_threads(struct send *send)
{
    pthread_t threads[32];
    const struct cycle_options *o = &send->cycle->context.options;
    start_threads(send, threads);
    wait_for(send, &send->workers_left);
    queue_close(send->parcels);
    wait_for(send, &send->putters_left);
    for (uint32_t i = 0; i < o->workers + o->putters; i++)
        (void)pthread_join(threads[i], NULL); /* ours, and about to end */
}

static bool put_manifest(const struct cycle *cycle, struct err *err)
{
    struct cycle_store cs = context_log_store(&cycle->context);
    return !FAULT(CYCLE_BEFORE_MANIFEST, err) &&
           cycle_store_put_manifest(&cs, &cycle->manifest, err) &&
           !FAULT(CYCLE_AFTER_MANIFEST, err);
}

bool send_run(struct cycle *cycle, struct err *err)
{
    const struct cycle_options *o = &cycle->context.options;
    struct send *send = xcalloc(1, sizeof *send);
    send->cycle = cycle;
    (void)pthread_mutex_init(&send->lock, NULL); /* default attributes cannot fail */
    (void)pthread_mutex_init(&send->segment_lock, NULL);
    (void)pthread_cond_init(&send->changed, NULL);
    cancel_init(&send->stop);
    for (size_t i = 0; i < cycle->plan.disk_count; i++)
        atomic_init(&send->next_seq[i], cycle->next_seq[i]);
    bool ok = work_init(&send->work, cycle, err);
    if (ok) {
        send->pool = pool_new(o->workers + o->putters + 1, o->segment_bytes);
        send->parcels = queue_new(o->workers + o->putters + 1);
        run_threads(send);
        if (send->first_err.kind != FAIL_NONE) {
            *err = send->first_err;
            ok = false;
        }
        queue_free(send->parcels);
        pool_free(send->pool);
    }
    work_release(&send->work);
    cancel_release(&send->stop);
    (void)pthread_cond_destroy(&send->changed);
    (void)pthread_mutex_destroy(&send->segment_lock);
    (void)pthread_mutex_destroy(&send->lock);
    free(send);
    ok = ok && check_covered(cycle, err) && put_manifest(cycle, err);
    manifest_release(&cycle->manifest); /* large, and in the store now */
    return ok;
}
