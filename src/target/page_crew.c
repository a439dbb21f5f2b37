/* SPDX-License-Identifier: Apache-2.0 */
/*
 * K1  a job is in the queue, with one lane, or in its submitter's done list;
 * K2  at most window.size lanes have one: a lane beyond that sleeps, whatever waits;
 * K3  a lane is made when a job waits, the window allows one more and none is idle: a
 * disk that nobody writes to has no thread; K4  a submitter calls one lane, and a lane
 * that goes to work calls the next when there is room and work for it; a lane that ends
 * its job looks for the next one itself. The limits are those per blob of the vendor's
 * "Scalability targets for Blob storage".
 */
#include "target/page_crew.h"

#include "base/throttle.h"
#include "target/lane_window.h"

#define REQUESTS_PER_S    500
#define BYTES_PER_S       (60 * MIB)
#define DEFAULT_MAX_LANES 8

struct page_crew {
    /* Set by page_crew_new, never changed. */
    struct page_blob *blob;
    struct throttle *requests, *bytes; /* NULL: no limit */
    pthread_mutex_t lock;
    pthread_cond_t work;
    /* Guarded by lock. */
    struct lane_window window;
    struct page_job *first, **end; /* the queue */
    uint32_t active, idle, lane_count;
    bool is_closing;
    pthread_t lanes[PAGE_CREW_MAX_LANES];
};

void page_done_init(struct page_done *done)
{
    *done = (struct page_done){.first = NULL};
    (void)pthread_cond_init(&done->any, NULL); /* default attributes cannot fail */
}

void page_done_release(struct page_done *done)
{
    (void)pthread_cond_destroy(&done->any); /* nobody waits */
}

static void give_locked(struct page_job *job)
{
    struct page_done *done = job->done;
    job->next = done->first;
    done->first = job;
    (void)pthread_cond_signal(&done->any);
}

/* ---- lanes ---- */

static bool has_room_locked(const struct page_crew *crew)
{
    return crew->first && crew->active < crew->window.size;
}

static struct page_job *take_locked(struct page_crew *crew)
{
    struct page_job *job = crew->first;
    crew->first = job->next;
    if (!crew->first)
        crew->end = &crew->first;
    crew->active++;
    return job;
}

static void *work(void *ctx);

/* K3, K4. false: there is no lane and none can be made. */
static bool call_lane_locked(struct page_crew *crew, struct err *err)
{
    if (!has_room_locked(crew))
        return true;
    if (crew->idle > 0 || crew->lane_count >= crew->window.size) {
        (void)pthread_cond_signal(&crew->work);
        return true;
    }
    int why = pthread_create(&crew->lanes[crew->lane_count], NULL, work, crew);
    crew->lane_count += why == 0;
    return crew->lane_count > 0 || err_errno(err, why, "thread that writes a disk");
}

static bool perform(struct page_crew *crew, struct page_job *job, bool *ret_busy)
{
    const struct page_write *write = &job->write;
    uint64_t body_bytes = write->data.data ? write->data.bytes : 0;
    *ret_busy = false;
    return cancel_check(write->cancel, &job->err) &&
           throttle_pass(crew->requests, 1, write->cancel, &job->err) &&
           throttle_pass(crew->bytes, body_bytes, write->cancel, &job->err) &&
           page_blob_write(crew->blob, write, ret_busy, &job->err);
}

static void *work(void *ctx)
{
    struct page_crew *crew = ctx;
    struct err ignored = ERR_INIT; /* there is a lane: this one */
    LOCK_GUARD(&crew->lock);
    for (;;) {
        while (!has_room_locked(crew) && !crew->is_closing) {
            crew->idle++;
            (void)pthread_cond_wait(&crew->work, &crew->lock); /* we hold it */
            crew->idle--;
        }
        if (!has_room_locked(crew))
            return NULL;
        struct page_job *job = take_locked(crew);
        uint64_t begun = lane_window_begin(&crew->window);
        (void)call_lane_locked(crew, &ignored);
        (void)pthread_mutex_unlock(&crew->lock);
        bool is_busy;
        job->ok = perform(crew, job, &is_busy);
        (void)pthread_mutex_lock(&crew->lock);
        crew->active--;
        lane_window_end(&crew->window, begun, is_busy);
        give_locked(job);
    }
}

/* ---- the submitter's side ---- */

bool page_crew_submit(struct page_crew *crew, struct page_job *job, struct err *err)
{
    err_clear(&job->err);
    job->next = NULL;
    LOCK_GUARD(&crew->lock);
    struct page_job **at = crew->end;
    *at = job;
    crew->end = &job->next;
    if (call_lane_locked(crew, err))
        return true;
    *at = NULL; /* there is no lane, so nobody took it meanwhile */
    crew->end = at;
    return false;
}

struct page_job *page_crew_wait(struct page_crew *crew, struct page_done *done)
{
    LOCK_GUARD(&crew->lock);
    while (!done->first)
        (void)pthread_cond_wait(&done->any, &crew->lock); /* we hold it */
    struct page_job *job = done->first;
    done->first = job->next;
    return job;
}

void page_crew_drop(struct page_crew *crew, struct page_done *done)
{
    LOCK_GUARD(&crew->lock);
    struct page_job **at = &crew->first;
    while (*at) {
        struct page_job *job = *at;
        if (job->done != done) {
            at = &job->next;
            continue;
        }
        *at = job->next;
        job->ok = err_set(&job->err, FAIL_CANCELED, "dropped before it was written");
        give_locked(job);
    }
    crew->end = at;
}

uint32_t page_crew_window(struct page_crew *crew)
{
    LOCK_GUARD(&crew->lock);
    return crew->window.size;
}

struct page_crew *page_crew_new(const struct page_crew_options *options)
{
    struct page_crew *crew = xcalloc(1, sizeof *crew);
    uint32_t max_lanes = options->max_lanes ? options->max_lanes : DEFAULT_MAX_LANES;
    crew->blob = options->blob;
    if (!options->no_rate_limit) {
        crew->requests = throttle_new(REQUESTS_PER_S);
        crew->bytes = throttle_new(BYTES_PER_S);
    }
    (void)pthread_mutex_init(&crew->lock, NULL); /* default attributes cannot fail */
    (void)pthread_cond_init(&crew->work, NULL);
    lane_window_init(&crew->window, MIN_OF(max_lanes, PAGE_CREW_MAX_LANES));
    crew->end = &crew->first;
    return crew;
}

void page_crew_free(struct page_crew *crew)
{
    if (!crew)
        return;
    {
        LOCK_GUARD(&crew->lock);
        crew->is_closing = true;
        (void)pthread_cond_broadcast(&crew->work);
    }
    for (uint32_t i = 0; i < crew->lane_count; i++)
        (void)pthread_join(crew->lanes[i], NULL); /* was made */
    throttle_free(crew->requests);
    throttle_free(crew->bytes);
    (void)pthread_cond_destroy(&crew->work);
    (void)pthread_mutex_destroy(&crew->lock);
    free(crew);
}
