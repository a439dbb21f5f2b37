/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads of any length over one lane, which takes at most LANE_READ_MAX_BYTES at once and
 * LANE_MAX_IN_FLIGHT of them: a read is cut into pieces, pieces go out in the order of
 * asking as soon as there is room, and a read is finished when its last piece is back.
 * The first piece that fails fails the read; its pieces that are out are waited for,
 * because they write into the caller's buffer.
 */
#include "source/vsphere.h"

struct part {
    struct lane_read read;
    size_t slot;
    struct part *next; /* in the free list */
};

/* One read of the caller's. */
struct slot {
    struct read_request *request; /* NULL: free */
    uint32_t sent_bytes;
    uint32_t out; /* pieces in the lane */
    bool is_failed;
};

struct vsphere_reader {
    struct reader base;
    struct vsphere_snapshot *snapshot; /* NULL: no guard */
    struct lane *lane;                 /* owned */
    size_t disk_index;
    struct slot slots[READER_MAX_IN_FLIGHT];
    size_t order[READER_MAX_IN_FLIGHT]; /* slots with something to send, first asked
                                         * first; a ring */
    size_t first, waiting;
    struct part parts[LANE_MAX_IN_FLIGHT];
    struct part *free_parts;
    size_t out;                /* pieces in the lane */
    struct read_request *done; /* finished, oldest first */
    struct read_request **done_end;
};

struct reader *vsphere_reader_new(const struct source_ops *ops,
                                  struct vsphere_snapshot *snapshot, size_t disk_index,
                                  struct lane *lane)
{
    struct vsphere_reader *reader = xcalloc(1, sizeof *reader);
    reader->base.ops = ops;
    reader->snapshot = snapshot;
    reader->disk_index = disk_index;
    reader->lane = lane;
    reader->done_end = &reader->done;
    for (size_t i = 0; i < LANE_MAX_IN_FLIGHT; i++) {
        reader->parts[i].next = reader->free_parts;
        reader->free_parts = &reader->parts[i];
    }
    return &reader->base;
}

bool vsphere_reader_open(struct snapshot *base, size_t disk_index, struct reader **ret,
                         struct err *err)
{
    struct vsphere_snapshot *snapshot = (struct vsphere_snapshot *)base;
    struct lane *lane;
    if (disk_index >= snapshot->disk_count)
        return err_set(err, FAIL_BUG, "no disk %zu in the snapshot", disk_index);
    if (!vsphere_lane_open(snapshot, disk_index, &lane, err))
        return false;
    *ret = vsphere_reader_new(base->ops, snapshot, disk_index, lane);
    return true;
}

/* The slot has nothing in the lane and nothing to send. */
static void finish(struct vsphere_reader *reader, struct slot *slot)
{
    struct read_request *request = slot->request;
    request->ok = !slot->is_failed;
    request->next = NULL;
    *reader->done_end = request;
    reader->done_end = &request->next;
    *slot = (struct slot){0};
}

static void fail(struct slot *slot, const struct err *why)
{
    if (slot->is_failed)
        return;
    slot->is_failed = true;
    slot->request->err = *why;
}

/* One piece of the slot; false: the lane did not take it, the slot is failed. */
static bool send_part(struct vsphere_reader *reader, size_t at)
{
    struct slot *slot = &reader->slots[at];
    struct read_request *request = slot->request;
    struct part *part = reader->free_parts;
    struct err why = ERR_INIT;
    uint32_t left = request->length_bytes - slot->sent_bytes;
    part->read =
        (struct lane_read){.offset_bytes = request->offset_bytes + slot->sent_bytes,
                           .length_bytes = MIN_OF(left, (uint32_t)LANE_READ_MAX_BYTES),
                           .data = request->data + slot->sent_bytes,
                           .tag = part};
    part->slot = at;
    if (!reader->lane->ops->submit(reader->lane, &part->read, &why)) {
        fail(slot, &why);
        return false;
    }
    reader->free_parts = part->next;
    slot->sent_bytes += part->read.length_bytes;
    slot->out++;
    reader->out++;
    return true;
}

/* Sends while there is room in the lane and something to send. */
static void pump(struct vsphere_reader *reader)
{
    while (reader->waiting && reader->free_parts) {
        size_t at = reader->order[reader->first];
        struct slot *slot = &reader->slots[at];
        bool goes_on = !slot->is_failed && send_part(reader, at) &&
                       slot->sent_bytes < slot->request->length_bytes;
        if (goes_on)
            continue;
        reader->first = (reader->first + 1) % READER_MAX_IN_FLIGHT;
        reader->waiting--;
        if (slot->is_failed && slot->out == 0)
            finish(reader, slot);
    }
}

bool vsphere_reader_submit(struct reader *base, struct read_request *request,
                           struct err *err)
{
    struct vsphere_reader *reader = (struct vsphere_reader *)base;
    size_t at = 0;
    while (at < READER_MAX_IN_FLIGHT && reader->slots[at].request)
        at++;
    if (at == READER_MAX_IN_FLIGHT)
        return err_set(err, FAIL_BUG, "more than %d reads in flight",
                       READER_MAX_IN_FLIGHT);
    reader->slots[at].request = request;
    reader->order[(reader->first + reader->waiting) % READER_MAX_IN_FLIGHT] = at;
    reader->waiting++;
    pump(reader);
    return true;
}

/* A piece is back. */
static void take(struct vsphere_reader *reader, struct lane_read *read)
{
    struct part *part = read->tag;
    struct slot *slot = &reader->slots[part->slot];
    if (!read->ok)
        fail(slot, &read->err);
    slot->out--;
    reader->out--;
    part->next = reader->free_parts;
    reader->free_parts = part;
    bool is_waiting = false; /* in the ring: pump takes it out */
    for (size_t i = 0; i < reader->waiting; i++)
        is_waiting =
            is_waiting ||
            reader->order[(reader->first + i) % READER_MAX_IN_FLIGHT] == part->slot;
    if (slot->out == 0 && !is_waiting)
        finish(reader, slot);
}

struct read_request *vsphere_reader_next(struct reader *base, const struct cancel *cancel,
                                         struct err *err)
{
    struct vsphere_reader *reader = (struct vsphere_reader *)base;
    if (reader->snapshot && !vsphere_space_guard(reader->snapshot, cancel, err))
        return NULL;
    while (!reader->done) {
        if (reader->out == 0) {
            (void)err_set(err, FAIL_BUG, "no read in flight");
            return NULL;
        }
        struct lane_read *read = reader->lane->ops->next(reader->lane, cancel, err);
        if (!read)
            return NULL;
        take(reader, read);
        pump(reader);
    }
    struct read_request *request = reader->done;
    reader->done = request->next;
    if (!reader->done)
        reader->done_end = &reader->done;
    return request;
}

/* What the lane had to ask twice is not lost with it. */
static void count(const struct vsphere_reader *reader)
{
    struct lane_counters counters = {0};
    if (!reader->snapshot)
        return;
    reader->lane->ops->counters(reader->lane, &counters);
    LOCK_GUARD(&reader->snapshot->lock);
    struct vsphere_disk *disk = &reader->snapshot->disks[reader->disk_index];
    disk->asked_again_bytes += counters.asked_again_bytes;
    disk->reconnects += counters.reconnects;
}

void vsphere_reader_close(struct reader *base)
{
    struct vsphere_reader *reader = (struct vsphere_reader *)base;
    if (!reader)
        return;
    count(reader);
    reader->lane->ops->lane_close(reader->lane);
    free(reader);
}
