/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The "https" transport: flat files of powered-off machines, read in ranges. An HTTP
 * connection answers one request at a time, so a lane is a crew of threads with a
 * connection each; what is submitted waits in a queue, what is done in a list with a
 * descriptor.
 *
 * W1  a read is in the queue, with one worker, or in the done list.
 * W2  after lane_close no worker lives, so no buffer is touched.
 */
#include "vsphere/https_transport.h"

#include "base/queue.h"
#include "base/text.h"
#include "vsphere/https_file.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CREW_DEFAULT 8
#define CREW_MAX     32

static const struct transport_ops OPS;

struct https_transport {
    /* Set by open, never changed. */
    struct transport base;
    struct https_session *session;
    const struct cancel *cancel;
    uint32_t crew_count;
    char *datacenter;
    struct transport_disk *disks;
    size_t disk_count;
};

struct https_lane;

struct worker {
    struct https_lane *lane;
    pthread_t thread;
};

struct https_lane {
    /* Set by lane_open, never changed. */
    struct lane base;
    struct https_file *file;
    uint64_t disk_bytes;
    struct queue *queue;
    int done_fd; /* a semaphore: one for each done read */
    uint32_t crew_count;
    struct worker crew[CREW_MAX];
    struct cancel closing;
    /* The lane's thread's. */
    size_t in_flight;
    /* Guarded by lock. */
    pthread_mutex_t lock;
    struct lane_read *first_done;
    struct lane_read *last_done;
    struct lane_counters counters;
};

/* ---- workers ---- */

static void put_done(struct https_lane *lane, struct lane_read *read,
                     struct https_reader *reader)
{
    LOCK_GUARD(&lane->lock);
    struct lane_counters *counters = &lane->counters;
    counters->read_bytes += read->ok ? read->length_bytes : 0;
    counters->wire_bytes += reader->wire_bytes;
    counters->asked_again_bytes += reader->asked_again_bytes;
    counters->reconnects += reader->reconnects;
    reader->wire_bytes = reader->asked_again_bytes = reader->reconnects = 0;
    read->next = NULL;
    if (lane->last_done)
        lane->last_done->next = read;
    else
        lane->first_done = read;
    lane->last_done = read;
    (void)eventfd_write(lane->done_fd, 1); /* only fails at 2^64 - 1 */
}

static void *work(void *context)
{
    struct worker *worker = context;
    struct https_lane *lane = worker->lane;
    struct https_reader reader = {0};
    for (struct lane_read *read; (read = queue_take(lane->queue));) {
        err_clear(&read->err);
        read->ok = https_file_read(lane->file, &reader, read, &lane->closing, &read->err);
        put_done(lane, read, &reader);
    }
    https_reader_release(&reader);
    return NULL;
}

/* ---- lane ---- */

static void https_lane_close(struct lane *base)
{
    struct https_lane *lane = (struct https_lane *)base;
    if (!lane)
        return;
    cancel_set(&lane->closing);
    queue_close(lane->queue);
    for (uint32_t i = 0; i < lane->crew_count; i++)
        (void)pthread_join(lane->crew[i].thread, NULL); /* was made */
    queue_free(lane->queue);
    https_file_close(lane->file);
    cancel_release(&lane->closing);
    if (lane->done_fd >= 0)
        (void)close(lane->done_fd);
    (void)pthread_mutex_destroy(&lane->lock);
    free(lane);
}

static bool start_crew(struct https_lane *lane, uint32_t count, struct err *err)
{
    for (; lane->crew_count < count; lane->crew_count++) {
        struct worker *worker = &lane->crew[lane->crew_count];
        worker->lane = lane;
        int why = pthread_create(&worker->thread, NULL, work, worker);
        if (why != 0)
            return err_errno(err, why, "thread of an https lane");
    }
    return true;
}

static bool https_lane_open(struct transport *base, size_t disk_index, struct lane **ret,
                            struct err *err)
{
    struct https_transport *https = (struct https_transport *)base;
    if (disk_index >= https->disk_count)
        return err_set(err, FAIL_BUG, "disk %zu of %zu", disk_index, https->disk_count);
    const struct transport_disk *disk = &https->disks[disk_index];
    struct https_name name = {.file_name = disk->file_name,
                              .datacenter = https->datacenter};
    struct https_file *file = NULL;
    if (!https_file_open(https->session, &name, disk->disk_bytes, https->cancel, &file,
                         err))
        return false;
    struct https_lane *lane = xcalloc(1, sizeof *lane);
    lane->base.ops = &OPS;
    lane->file = file;
    lane->disk_bytes = disk->disk_bytes;
    lane->queue = queue_new(LANE_MAX_IN_FLIGHT);
    cancel_init(&lane->closing);
    (void)pthread_mutex_init(&lane->lock, NULL);
    lane->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
    bool ok = lane->done_fd >= 0 || err_errno(err, errno, "eventfd of an https lane");
    if (!ok || !start_crew(lane, https->crew_count, err)) {
        https_lane_close(&lane->base);
        return false;
    }
    *ret = &lane->base;
    return true;
}

static bool https_lane_submit(struct lane *base, struct lane_read *read, struct err *err)
{
    struct https_lane *lane = (struct https_lane *)base;
    uint64_t length = read->length_bytes;
    if (length == 0 || length > LANE_READ_MAX_BYTES || length % SECTOR_BYTES ||
        read->offset_bytes % SECTOR_BYTES || read->offset_bytes > lane->disk_bytes ||
        length > lane->disk_bytes - read->offset_bytes)
        return err_set(err, FAIL_INPUT,
                       "read of %llu bytes at %llu of a disk of %llu bytes",
                       (unsigned long long)length, (unsigned long long)read->offset_bytes,
                       (unsigned long long)lane->disk_bytes);
    if (lane->in_flight == LANE_MAX_IN_FLIGHT)
        return err_set(err, FAIL_BUG, "more than %d reads in flight", LANE_MAX_IN_FLIGHT);
    if (!queue_put(lane->queue, read)) /* never full: it holds as many as may be */
        return err_set(err, FAIL_BUG, "the lane is closed");
    lane->in_flight++;
    return true;
}

static struct lane_read *https_lane_next(struct lane *base, const struct cancel *cancel,
                                         struct err *err)
{
    struct https_lane *lane = (struct https_lane *)base;
    eventfd_t one;
    if (lane->in_flight == 0) {
        (void)err_set(err, FAIL_BUG, "no read in flight");
        return NULL;
    }
    while (eventfd_read(lane->done_fd, &one) != 0) {
        struct pollfd p[2] = {{lane->done_fd, POLLIN, 0},
                              {cancel ? cancel->event_fd : -1, POLLIN, 0}};
        if (!cancel_check(cancel, err))
            return NULL;
        if (poll(p, ARRAY_COUNT(p), -1) < 0 && errno != EINTR) {
            (void)err_errno(err, errno, "wait for an https lane");
            return NULL;
        }
    }
    LOCK_GUARD(&lane->lock);
    struct lane_read *read = lane->first_done;
    lane->first_done = read->next;
    if (!lane->first_done)
        lane->last_done = NULL;
    lane->in_flight--;
    return read;
}

static void https_lane_counters(const struct lane *base, struct lane_counters *ret)
{
    struct https_lane *lane = (struct https_lane *)base;
    LOCK_GUARD(&lane->lock);
    *ret = lane->counters;
}

/* ---- transport ---- */

static void https_transport_close(struct transport *base)
{
    struct https_transport *https = (struct https_transport *)base;
    if (!https)
        return;
    https_session_close(https->session);
    free(https->datacenter);
    free(https->disks);
    free(https);
}

static bool https_transport_open(const struct transport_machine *machine,
                                 const struct cancel *cancel, struct transport **ret,
                                 struct err *err)
{
    const struct transport_options *options = &machine->options;
    if (machine->is_powered_on)
        return err_set(
            err, FAIL_CONFLICT,
            "the https transport reads powered-off machines only: ESXi refuses "
            "the flat files of a running one; use nfc");
    struct https_session *session = https_session_open(machine->vim, options, err);
    if (!session)
        return false;
    struct https_transport *https = xcalloc(1, sizeof *https);
    https->base.ops = &OPS;
    https->session = session;
    https->cancel = cancel;
    https->crew_count = options->max_in_flight ? options->max_in_flight : CREW_DEFAULT;
    https->crew_count = MIN_OF(https->crew_count, CREW_MAX);
    https->datacenter = xstrdup(machine->datacenter ? machine->datacenter : "");
    https->disks = xcalloc(machine->disk_count, sizeof *https->disks);
    https->disk_count = machine->disk_count;
    for (size_t i = 0; i < machine->disk_count; i++)
        https->disks[i] = machine->disks[i];
    *ret = &https->base;
    return true;
}

static const struct transport_ops OPS = {
    .name = "https",
    .open = https_transport_open,
    .lane_open = https_lane_open,
    .submit = https_lane_submit,
    .next = https_lane_next,
    .counters = https_lane_counters,
    .lane_close = https_lane_close,
    .close = https_transport_close,
};

const struct transport_ops *https_transport(void)
{
    return &OPS;
}
