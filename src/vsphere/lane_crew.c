/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C1  a read is in the queue, with one worker, or in the done list; there is one count in
 *     done_fd for each in the done list.
 * C2  after lane_crew_close no worker lives, so no buffer is touched. Reads that no
 * worker has begun are not begun.
 */
#include "vsphere/lane_crew.h"

#include "base/queue.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct lane_crew {
    /* Set by lane_crew_open, never changed. */
    struct lane base;
    struct lane_crew_options options;
    struct queue *queue;
    int done_fd; /* a semaphore */
    uint32_t thread_count;
    pthread_t threads[LANE_CREW_MAX];
    /* The lane's thread's. */
    size_t in_flight;
    /* Guarded by lock. */
    pthread_mutex_t lock;
    struct lane_read *first_done;
    struct lane_read *last_done;
    uint64_t read_bytes;
    /* Atomic. */
    _Atomic bool is_closing;
};

static void put_done(struct lane_crew *crew, struct lane_read *read)
{
    LOCK_GUARD(&crew->lock);
    crew->read_bytes += read->ok ? read->length_bytes : 0;
    read->next = NULL;
    if (crew->last_done)
        crew->last_done->next = read;
    else
        crew->first_done = read;
    crew->last_done = read;
    (void)eventfd_write(crew->done_fd, 1); /* only fails at 2^64 - 1 */
}

static void *work(void *context)
{
    struct lane_crew *crew = context;
    for (struct lane_read *read; (read = queue_take(crew->queue));) {
        if (atomic_load(&crew->is_closing))
            continue;
        err_clear(&read->err);
        read->ok = crew->options.read(crew->options.file, read, &read->err);
        put_done(crew, read);
    }
    return NULL;
}

void lane_crew_close(struct lane *base)
{
    struct lane_crew *crew = (struct lane_crew *)base;
    if (!crew)
        return;
    atomic_store(&crew->is_closing, true);
    queue_close(crew->queue);
    for (uint32_t i = 0; i < crew->thread_count; i++)
        (void)pthread_join(crew->threads[i], NULL); /* was made */
    queue_free(crew->queue);
    crew->options.close(crew->options.file);
    if (crew->done_fd >= 0)
        (void)close(crew->done_fd); /* nothing was written that could be lost */
    (void)pthread_mutex_destroy(&crew->lock);
    free(crew);
}

static bool start_threads(struct lane_crew *crew, struct err *err)
{
    uint32_t count = MIN_OF(crew->options.thread_count, LANE_CREW_MAX);
    for (; crew->thread_count < count; crew->thread_count++) {
        int why = pthread_create(&crew->threads[crew->thread_count], NULL, work, crew);
        if (why != 0)
            return err_errno(err, why, "thread of a lane");
    }
    return true;
}

bool lane_crew_open(const struct lane_crew_options *options, struct lane **ret,
                    struct err *err)
{
    struct lane_crew *crew = xcalloc(1, sizeof *crew);
    crew->base.ops = options->ops;
    crew->options = *options;
    crew->queue = queue_new(LANE_MAX_IN_FLIGHT);
    (void)pthread_mutex_init(&crew->lock, NULL); /* default attributes cannot fail */
    crew->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
    bool ok = crew->done_fd >= 0 || err_errno(err, errno, "eventfd of a lane");
    if (!ok || !start_threads(crew, err)) {
        lane_crew_close(&crew->base);
        return false;
    }
    *ret = &crew->base;
    return true;
}

bool lane_crew_submit(struct lane *base, struct lane_read *read, struct err *err)
{
    struct lane_crew *crew = (struct lane_crew *)base;
    uint64_t length = read->length_bytes;
    uint64_t disk_bytes = crew->options.disk_bytes;
    if (length == 0 || length > LANE_READ_MAX_BYTES || length % SECTOR_BYTES ||
        read->offset_bytes % SECTOR_BYTES || read->offset_bytes > disk_bytes ||
        length > disk_bytes - read->offset_bytes)
        return err_set(err, FAIL_INPUT,
                       "read of %llu bytes at %llu of a disk of %llu bytes",
                       (unsigned long long)length, (unsigned long long)read->offset_bytes,
                       (unsigned long long)disk_bytes);
    if (crew->in_flight == LANE_MAX_IN_FLIGHT)
        return err_set(err, FAIL_BUG, "more than %d reads in flight", LANE_MAX_IN_FLIGHT);
    if (!queue_put(crew->queue, read)) /* never full: it holds as many as may be */
        return err_set(err, FAIL_BUG, "the lane is closed");
    crew->in_flight++;
    return true;
}

struct lane_read *lane_crew_next(struct lane *base, const struct cancel *cancel,
                                 struct err *err)
{
    struct lane_crew *crew = (struct lane_crew *)base;
    eventfd_t one;
    if (crew->in_flight == 0) {
        (void)err_set(err, FAIL_BUG, "no read in flight");
        return NULL;
    }
    while (eventfd_read(crew->done_fd, &one) != 0) {
        struct pollfd p[2] = {{crew->done_fd, POLLIN, 0},
                              {cancel ? cancel->event_fd : -1, POLLIN, 0}};
        if (!cancel_check(cancel, err))
            return NULL;
        if (poll(p, ARRAY_COUNT(p), -1) < 0 && errno != EINTR) {
            (void)err_errno(err, errno, "wait for a lane");
            return NULL;
        }
    }
    LOCK_GUARD(&crew->lock);
    struct lane_read *read = crew->first_done;
    crew->first_done = read->next;
    if (!crew->first_done)
        crew->last_done = NULL;
    crew->in_flight--;
    return read;
}

void lane_crew_counters(const struct lane *base, struct lane_counters *ret)
{
    struct lane_crew *crew = (struct lane_crew *)base;
    LOCK_GUARD(&crew->lock);
    *ret = (struct lane_counters){.read_bytes = crew->read_bytes,
                                  .wire_bytes = crew->read_bytes};
}
