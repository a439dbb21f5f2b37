/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same life of a read as in nfc_lane.c, over a socket to a child instead of a
 * connection to a host: waiting, asked, done; a child that dies, falls silent or refuses
 * a read is replaced, what was asked waits again, and a read that is refused twice fails
 * alone.
 */
#include "vsphere/vddk_lane.h"

#include "vsphere/nfc_reads.h"
#include "vsphere/vddk_process.h"

#include <stdlib.h>

#define DEPTH_DEFAULT 8
#define ATTEMPTS      3
#define REFUSALS_MAX  2
#define RESTART_MS    500

struct vddk_lane {
    struct lane base;
    struct vddk_lane_options options;
    char *file_name;
    struct nfc_reads reads;
    struct vddk_process process;
    bool is_open;
    uint32_t next_id;
    uint32_t depth;
    uint32_t setbacks; /* since the last good read */
    struct err why;
    struct lane_counters counters;
};

static void drop_child(struct vddk_lane *lane)
{
    if (!lane->is_open)
        return;
    vddk_process_close(&lane->process);
    lane->is_open = false;
    lane->counters.asked_again_bytes += nfc_reads_requeue(&lane->reads);
}

static void setback(struct vddk_lane *lane, struct err *why)
{
    if (lane->is_open && why->kind == FAIL_TRANSIENT)
        (void)vddk_process_explain(&lane->process, why);
    drop_child(lane);
    lane->why = *why;
    lane->setbacks++;
}

static void fail_all(struct vddk_lane *lane, const struct err *why)
{
    drop_child(lane);
    for (size_t i = 0; i < LANE_MAX_IN_FLIGHT; i++)
        if (lane->reads.slots[i].read)
            nfc_reads_finish(&lane->reads, &lane->reads.slots[i], why);
    lane->setbacks = 0;
}

static bool start_child(struct vddk_lane *lane, const struct cancel *cancel,
                        struct err *err)
{
    uint32_t attempts = lane->options.attempts ? lane->options.attempts : ATTEMPTS;
    for (;;) {
        struct err why = ERR_INIT;
        if (lane->setbacks >= attempts) {
            *err = lane->why;
            return err_wrap(err, "gave up after %u starts", lane->setbacks);
        }
        if (lane->setbacks > 1 && !cancel_sleep_ms(cancel, RESTART_MS, err))
            return false;
        lane->options.file_name = lane->file_name;
        if (vddk_process_open(&lane->options, cancel, &lane->process, &why)) {
            lane->is_open = true;
            return true;
        }
        if (why.kind != FAIL_TRANSIENT) {
            *err = why;
            return false;
        }
        setback(lane, &why);
    }
}

bool vddk_lane_open(const struct vddk_lane_options *options, struct lane **ret,
                    struct err *err)
{
    struct vddk_lane *lane = xcalloc(1, sizeof *lane);
    lane->base.ops = options->ops;
    lane->options = *options;
    lane->file_name = xstrdup(options->file_name);
    lane->depth = options->max_in_flight ? options->max_in_flight : DEPTH_DEFAULT;
    lane->depth = MIN_OF(lane->depth, VDDK_IN_FLIGHT_MAX);
    if (!start_child(lane, options->cancel, err)) {
        vddk_lane_close(&lane->base);
        return false;
    }
    *ret = &lane->base;
    return true;
}

void vddk_lane_close(struct lane *base)
{
    struct vddk_lane *lane = (struct vddk_lane *)base;
    if (!lane)
        return;
    drop_child(lane);
    free(lane->file_name);
    free(lane);
}

static bool pump(struct vddk_lane *lane, struct err *err)
{
    struct nfc_reads *reads = &lane->reads;
    while (reads->first && reads->asked_count < lane->depth) {
        uint8_t raw[VDDK_HEAD_BYTES];
        const struct lane_read *read = reads->first->read;
        struct vddk_head head = {.type = VDDK_READ,
                                 .id = lane->next_id,
                                 .offset_bytes = read->offset_bytes,
                                 .length_bytes = read->length_bytes};
        vddk_head_put(raw, &head);
        nfc_reads_asked(reads, lane->next_id++);
        lane->next_id %= VDDK_NO_ID;
        if (!nfc_stream_write(&lane->process.stream, raw, sizeof raw, err))
            return false;
    }
    return true;
}

bool vddk_lane_submit(struct lane *base, struct lane_read *read, struct err *err)
{
    struct vddk_lane *lane = (struct vddk_lane *)base;
    struct err why = ERR_INIT;
    if (!nfc_reads_submit(&lane->reads, read, lane->options.disk_bytes, err))
        return false;
    if (!lane->is_open)
        return true; /* vddk_lane_next starts a child */
    lane->process.stream.cancel = lane->options.cancel;
    if (!pump(lane, &why))
        setback(lane, &why);
    return true;
}

static bool receive(struct vddk_lane *lane, struct err *err)
{
    struct vddk_head head;
    struct vddk_process *process = &lane->process;
    if (!vddk_process_receive(process, &head, err))
        return false;
    struct nfc_slot *slot = nfc_reads_find(&lane->reads, head.id);
    if (!slot || (head.type == VDDK_DATA && head.length_bytes != slot->left_bytes))
        return err_set(err, FAIL_CORRUPT, "kedge-vddk: an answer that was not asked for");
    if (head.type == VDDK_FAILED) {
        (void)vddk_process_failed(process, &head, err);
        if (++slot->refusals >= REFUSALS_MAX)
            nfc_reads_finish(&lane->reads, slot, err);
        return false;
    }
    if (head.type != VDDK_DATA)
        return err_set(err, FAIL_CORRUPT, "kedge-vddk: an answer that is none");
    if (!nfc_stream_read(&process->stream, slot->read->data, head.length_bytes, err))
        return false;
    lane->counters.read_bytes += head.length_bytes;
    lane->counters.wire_bytes += head.length_bytes;
    lane->setbacks = 0;
    nfc_reads_finish(&lane->reads, slot, NULL);
    return true;
}

static bool step(struct vddk_lane *lane, struct err *err)
{
    struct nfc_stream *stream = &lane->process.stream;
    if (!pump(lane, err))
        return false;
    switch (nfc_stream_wait(stream, -1, stream->silence_ms, err)) {
    case NFC_WAKE_DATA:
        return receive(lane, err);
    case NFC_WAKE_TIMEOUT:
        return err_set(err, FAIL_TRANSIENT, "vddk: no answer for %u ms",
                       stream->silence_ms);
    case NFC_WAKE_OTHER:
    case NFC_WAKE_CANCEL:
        break;
    }
    return false;
}

/* false: *why ends the call (FAIL_CANCELED) or all reads. */
static bool turn(struct vddk_lane *lane, const struct cancel *cancel, struct err *why)
{
    struct err loss = ERR_INIT;
    if (!lane->is_open) {
        if (!start_child(lane, cancel, why))
            return false;
        lane->counters.reconnects++;
    }
    lane->process.stream.cancel = cancel;
    if (step(lane, &loss))
        return true;
    if (loss.kind == FAIL_CANCELED) {
        drop_child(lane);
        *why = loss;
        return false;
    }
    setback(lane, &loss);
    return true;
}

struct lane_read *vddk_lane_next(struct lane *base, const struct cancel *cancel,
                                 struct err *err)
{
    struct vddk_lane *lane = (struct vddk_lane *)base;
    for (;;) {
        struct err why = ERR_INIT;
        struct lane_read *read = nfc_reads_take(&lane->reads);
        if (read)
            return read;
        if (!cancel_check(cancel, err))
            return NULL;
        if (lane->reads.count == 0) {
            (void)err_set(err, FAIL_BUG, "no read in flight");
            return NULL;
        }
        if (turn(lane, cancel, &why))
            continue;
        if (why.kind == FAIL_CANCELED) {
            *err = why;
            return NULL;
        }
        fail_all(lane, &why);
    }
}

void vddk_lane_counters(const struct lane *base, struct lane_counters *ret)
{
    *ret = ((const struct vddk_lane *)base)->counters;
}
