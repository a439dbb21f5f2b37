/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   submit -> waiting --(depth, budget)--> asked --(all fragments)--> done -> next
 *                 ^--------- connection lost ---------|
 *
 * Every loss is handled in one way: the connection is closed, what was asked waits again,
 * and the next turn of the loop makes a new connection. `setbacks` counts losses since
 * the last read that was completed; it chooses the back-off and ends the trying. So a
 * connection that is cut every few MiB for a whole disk is fine, one that never delivers
 * is not.
 *
 * A host out of NFC memory: half the reads in flight and small buffers, then waiting; a
 * read more in flight again after GROW_AFTER_READS good ones.
 *
 * L1  budget is held for exactly the reads with has_budget; each way a read ends gives it
 *     back.
 * L2  a byte is written only to the buffer of a read that is asked, inside its range,
 *     where nothing was written on this connection.
 * L3  a message that was begun is read to its end or the connection is dropped.
 */
#include "vsphere/nfc_lane.h"

#include "base/clock.h"
#include "vsphere/nfc_budget.h"
#include "vsphere/nfc_reads.h"
#include "vsphere/nfc_unpack.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#define ATTEMPTS           8
#define BACKOFF_FIRST_MS   250
#define BACKOFF_MAX_MS     8000
#define REFUSALS_MAX       2   /* of one read: then the fault is the read's */
#define GROW_AFTER_READS   128 /* good ones, until one more is in flight */
#define BUDGET_WAIT_MAX_MS (10 * 60 * 1000ull)
#define IDLE_TOLD_MS       30000
#define STREAM_BUFFER_BYTES                                                              \
    (NFC_PACKED_MAX_BYTES(LANE_READ_MAX_BYTES) + 64 * KIB) /* a fragment and a head */

struct nfc_lane {
    struct lane base;
    struct nfc_lane_options options;
    struct nfc_reads reads;
    struct nfc_session session;
    bool is_open;
    struct nfc_learned learned;
    struct nfc_share *share;
    struct nfc_unpacker *unpacker;
    struct lane_counters counters; /* wire_bytes: of connections that are gone */
    uint32_t depth;                /* reads in flight now allowed */
    uint32_t good_reads;           /* since depth changed */
    uint32_t setbacks;
    struct err why; /* of the last setback */
    uint64_t last_heard_ms;
    uint64_t idle_ms;     /* before the reads in flight were asked */
    uint32_t last_op_id;  /* whose fragment came last */
    bool is_last_partial; /* and that read was not complete by it */
    char *file_name;
};

static uint32_t depth_max(const struct nfc_lane *lane)
{
    uint32_t depth = lane->options.target->quirks.max_in_flight;
    return MAX_OF(1, MIN_OF(depth, NFC_IN_FLIGHT_MAX));
}

static void drop_connection(struct nfc_lane *lane, bool politely)
{
    if (!lane->is_open)
        return;
    lane->counters.wire_bytes += lane->session.stream.received_bytes;
    nfc_session_close(&lane->session, politely);
    lane->is_open = false;
    lane->counters.asked_again_bytes += nfc_reads_requeue(&lane->reads);
}

static void setback(struct nfc_lane *lane, const struct err *why)
{
    if (lane->idle_ms > IDLE_TOLD_MS && why->kind == FAIL_TRANSIENT)
        nfc_unproven_met(NFC_MET_IDLE_LOSS, "after %llu ms without a read: %.200s",
                         (unsigned long long)lane->idle_ms, why->text);
    drop_connection(lane, false);
    lane->why = *why;
    lane->setbacks++;
    if (why->kind != FAIL_NO_SPACE)
        return;
    lane->depth = MAX_OF(1, lane->depth / 2);
    lane->good_reads = 0;
    lane->learned.small_buffers = true;
}

static void finish(struct nfc_lane *lane, struct nfc_slot *slot, const struct err *why)
{
    if (slot->has_budget)
        nfc_share_give(lane->share, slot->read->length_bytes);
    slot->has_budget = false;
    nfc_reads_finish(&lane->reads, slot, why);
}

/* All reads end with *why; later ones begin anew. */
static void fail_all(struct nfc_lane *lane, const struct err *why)
{
    drop_connection(lane, false);
    nfc_share_forgo(lane->share);
    for (size_t i = 0; i < LANE_MAX_IN_FLIGHT; i++)
        if (lane->reads.slots[i].read)
            finish(lane, &lane->reads.slots[i], why);
    lane->setbacks = 0;
}

/* ---- connecting ---- */

static bool is_worth_retrying(enum err_kind kind)
{
    return kind == FAIL_TRANSIENT || kind == FAIL_CORRUPT || kind == FAIL_NO_SPACE;
}

static bool connect_once(struct nfc_lane *lane, const struct cancel *cancel,
                         struct err *err)
{
    struct nfc_session_options options = {.target = lane->options.target,
                                          .file_name = lane->file_name,
                                          .disk_bytes = lane->options.disk_bytes,
                                          .buffer_bytes = STREAM_BUFFER_BYTES};
    if (!nfc_session_open(&options, &lane->learned, cancel, &lane->session, err))
        return false;
    lane->is_open = true;
    lane->last_heard_ms = clock_mono_ms();
    lane->idle_ms = 0;
    lane->is_last_partial = false;
    if (lane->share)
        return nfc_share_move(lane->share, lane->session.host, err);
    lane->share =
        nfc_share_open(lane->session.host, lane->options.host_budget_bytes, err);
    return lane->share != NULL;
}

static bool gave_up(const struct nfc_lane *lane, struct err *err)
{
    *err = lane->why;
    if (err->kind == FAIL_NO_SPACE)
        err->kind = FAIL_TRANSIENT;
    return err_wrap(err, "nfc: gave up after %u connections without progress",
                    lane->setbacks);
}

/* Makes the connection, with back-off, up to the bound. */
static bool connect_lane(struct nfc_lane *lane, const struct cancel *cancel,
                         struct err *err)
{
    uint32_t attempts = lane->options.attempts ? lane->options.attempts : ATTEMPTS;
    for (;;) {
        struct err why = ERR_INIT;
        if (lane->setbacks >= attempts)
            return gave_up(lane, err);
        if (lane->setbacks > 1 || (lane->setbacks && lane->why.kind == FAIL_NO_SPACE)) {
            uint64_t wait_ms = BACKOFF_FIRST_MS << MIN_OF(lane->setbacks - 1, 5);
            if (!cancel_sleep_ms(cancel, MIN_OF(wait_ms, BACKOFF_MAX_MS), err))
                return false;
        }
        if (connect_once(lane, cancel, &why))
            return true;
        if (!is_worth_retrying(why.kind)) {
            drop_connection(lane, false);
            *err = why;
            return false;
        }
        setback(lane, &why);
    }
}

bool nfc_lane_open(const struct nfc_lane_options *options, struct lane **ret,
                   struct err *err)
{
    struct nfc_lane *lane = xcalloc(1, sizeof *lane);
    lane->base.ops = options->ops;
    lane->options = *options;
    lane->file_name = xstrdup(options->file_name);
    lane->unpacker = nfc_unpacker_new();
    lane->depth = depth_max(lane);
    if (!connect_lane(lane, options->cancel, err)) {
        nfc_lane_close(&lane->base);
        return false;
    }
    *ret = &lane->base;
    return true;
}

void nfc_lane_close(struct lane *base)
{
    struct nfc_lane *lane = (struct nfc_lane *)base;
    if (!lane)
        return;
    drop_connection(lane, lane->reads.asked_count == 0);
    nfc_share_close(lane->share);
    nfc_unpacker_free(lane->unpacker);
    free(lane->file_name);
    free(lane);
}

/* ---- asking ---- */

/* Sends what depth and budget allow, in one write. */
static bool pump(struct nfc_lane *lane, struct err *err)
{
    uint8_t batch[NFC_IN_FLIGHT_MAX * NFC_IO_READ_BYTES];
    size_t used = 0;
    struct nfc_reads *reads = &lane->reads;
    if (reads->asked_count == 0)
        lane->idle_ms = clock_mono_ms() - lane->last_heard_ms;
    while (reads->first && reads->asked_count < lane->depth) {
        struct nfc_slot *slot = reads->first;
        struct nfc_io io = {.handle = lane->session.handle,
                            .compression = lane->options.target->quirks.compression,
                            .offset_bytes = slot->read->offset_bytes,
                            .length_bytes = slot->read->length_bytes};
        if (!slot->has_budget && !nfc_share_ask(lane->share, io.length_bytes))
            break;
        slot->has_budget = true;
        nfc_put_io_read(batch + used, lane->session.next_op_id, &io);
        used += NFC_IO_READ_BYTES;
        nfc_reads_asked(reads, lane->session.next_op_id++);
    }
    return used == 0 || nfc_stream_write(&lane->session.stream, batch, used, err);
}

bool nfc_lane_submit(struct lane *base, struct lane_read *read, struct err *err)
{
    struct nfc_lane *lane = (struct nfc_lane *)base;
    struct err why = ERR_INIT;
    if (!nfc_reads_submit(&lane->reads, read, lane->options.disk_bytes, err))
        return false;
    if (!lane->is_open)
        return true; /* nfc_lane_next connects */
    lane->session.stream.cancel = lane->options.cancel;
    if (!pump(lane, &why))
        setback(lane, &why);
    return true;
}

/* ---- answers ---- */

static void note_order(struct nfc_lane *lane, const struct nfc_slot *slot,
                       const struct nfc_fragment *fragment)
{
    uint32_t got_bytes = slot->read->length_bytes - slot->left_bytes;
    if (lane->reads.asked_count > 1)
        nfc_unproven_met(NFC_MET_PIPELINING, "%zu reads in flight",
                         lane->reads.asked_count);
    if (fragment->offset_bytes != got_bytes)
        nfc_unproven_met(NFC_MET_OUT_OF_ORDER, "piece at %u came after %u bytes",
                         fragment->offset_bytes, got_bytes);
    if (lane->is_last_partial && lane->last_op_id != slot->op_id)
        nfc_unproven_met(NFC_MET_INTERLEAVED, "read %u between pieces of %u", slot->op_id,
                         lane->last_op_id);
    lane->last_op_id = slot->op_id;
}

static bool receive_data(struct nfc_lane *lane, const struct nfc_slot *slot,
                         const struct nfc_fragment *fragment, struct err *err)
{
    struct nfc_stream *stream = &lane->session.stream;
    uint8_t *out = slot->read->data + fragment->offset_bytes;
    if (fragment->compression == NFC_STORED)
        return nfc_stream_read(stream, out, fragment->plain_bytes, err);
    struct nfc_packed packed = {.compression = fragment->compression,
                                .data =
                                    nfc_stream_borrow(stream, fragment->extra_bytes, err),
                                .data_bytes = fragment->extra_bytes};
    return packed.data &&
           nfc_unpack(lane->unpacker, &packed, out, fragment->plain_bytes, err);
}

static void complete(struct nfc_lane *lane, struct nfc_slot *slot)
{
    lane->counters.read_bytes += slot->read->length_bytes;
    lane->setbacks = 0;
    finish(lane, slot, NULL);
    if (++lane->good_reads < GROW_AFTER_READS)
        return;
    lane->good_reads = 0;
    lane->depth = MIN_OF(lane->depth + 1, depth_max(lane));
}

static bool receive_fragment(struct nfc_lane *lane, const struct nfc_header *header,
                             const uint8_t *payload, struct err *err)
{
    struct nfc_fragment fragment;
    struct nfc_slot *slot = nfc_reads_find(&lane->reads, header->op_id);
    struct nfc_fragment_bounds bounds = {
        .request_max_bytes = LANE_READ_MAX_BYTES,
        .io_reply_min_bytes = lane->options.target->quirks.io_reply_min_bytes};
    if (!slot)
        return err_set(err, FAIL_CORRUPT,
                       "NFC: an answer to read %u, which was not asked", header->op_id);
    if (!nfc_fragment_parse(payload, header->payload_bytes, &bounds, &fragment, err) ||
        !nfc_slot_check(slot, &fragment, err))
        return false;
    if (header->payload_bytes < NFC_IO_BYTES)
        nfc_unproven_met(NFC_MET_SHORT_IO_REPLY, "%u bytes", header->payload_bytes);
    note_order(lane, slot, &fragment);
    if (!receive_data(lane, slot, &fragment, err))
        return false;
    lane->is_last_partial = !nfc_slot_cover(slot, &fragment);
    if (!lane->is_last_partial)
        complete(lane, slot);
    return true;
}

/* An ERROR's layout is unknown, so the connection is not used any further. */
static bool receive_refusal(struct nfc_lane *lane, const struct nfc_header *header,
                            const uint8_t *payload, struct err *err)
{
    struct nfc_slot *slot = nfc_reads_find(&lane->reads, header->op_id);
    char operation[120];
    (void)snprintf(operation, sizeof operation, "read %u bytes at %llu",
                   slot ? slot->read->length_bytes : 0,
                   slot ? (unsigned long long)slot->read->offset_bytes : 0);
    (void)nfc_session_refused(lane->options.target, operation, header, payload, err);
    if (!slot || err->kind == FAIL_NO_SPACE)
        return false;
    if (++slot->refusals >= REFUSALS_MAX)
        finish(lane, slot, err);
    err->kind = FAIL_TRANSIENT; /* of the connection: the others are asked again */
    return false;
}

static bool receive_message(struct nfc_lane *lane, struct err *err)
{
    struct nfc_header header;
    const uint8_t *payload;
    if (!nfc_session_receive(&lane->session, &header, &payload, err))
        return false;
    lane->last_heard_ms = clock_mono_ms();
    if (header.type == NFC_IO)
        return receive_fragment(lane, &header, payload, err);
    if (header.type == NFC_ERROR)
        return receive_refusal(lane, &header, payload, err);
    nfc_unproven_met(NFC_MET_UNKNOWN_MESSAGE, "type %u, %u bytes", header.type,
                     header.payload_bytes);
    return err_set(err, FAIL_CORRUPT, "NFC: a message of type %u while reading",
                   header.type);
}

/* ---- the loop ---- */

/* Nothing is in flight and the host's budget is used up by other lanes. */
static bool wait_for_budget(struct nfc_lane *lane, const struct cancel *cancel,
                            struct err *err)
{
    uint64_t until_ms = clock_mono_ms() + BUDGET_WAIT_MAX_MS;
    for (;;) {
        struct pollfd p[2] = {{nfc_share_fd(lane->share), POLLIN, 0},
                              {cancel ? cancel->event_fd : -1, POLLIN, 0}};
        uint64_t now_ms = clock_mono_ms();
        if (!cancel_check(cancel, err))
            return false;
        if (now_ms >= until_ms)
            return err_set(err, FAIL_TRANSIENT,
                           "host '%s': no NFC budget in %llu s; other disks of this "
                           "gateway hold all of it",
                           lane->session.host, BUDGET_WAIT_MAX_MS / 1000);
        int n = poll(p, ARRAY_COUNT(p), (int)MIN_OF(until_ms - now_ms, 60000));
        if (n < 0 && errno != EINTR)
            return err_errno(err, errno, "wait for the NFC budget");
        if (n > 0 && p[0].revents)
            return true;
    }
}

/* One step on an open connection. false: the connection is lost, or canceled. */
static bool step(struct nfc_lane *lane, struct err *err)
{
    struct nfc_stream *stream = &lane->session.stream;
    if (!pump(lane, err))
        return false;
    switch (nfc_stream_wait(stream, nfc_share_fd(lane->share), stream->silence_ms, err)) {
    case NFC_WAKE_DATA:
        return receive_message(lane, err);
    case NFC_WAKE_OTHER:
        return true; /* granted: the next turn asks */
    case NFC_WAKE_TIMEOUT:
        return err_set(err, FAIL_TRANSIENT, "NFC connection to '%s': silent for %u ms",
                       stream->peer, stream->silence_ms);
    case NFC_WAKE_CANCEL:
        break;
    }
    return false;
}

/* One turn with reads to do; what fails them is put in *why, and false returned. */
static bool turn(struct nfc_lane *lane, const struct cancel *cancel, struct err *why)
{
    struct err loss = ERR_INIT;
    if (!lane->is_open) {
        if (!connect_lane(lane, cancel, why))
            return false;
        lane->counters.reconnects++;
    }
    lane->session.stream.cancel = cancel;
    if (lane->reads.asked_count == 0) {
        if (!pump(lane, &loss)) {
            setback(lane, &loss);
            return true;
        }
        if (lane->reads.asked_count == 0)
            return wait_for_budget(lane, cancel, why);
    }
    if (step(lane, &loss))
        return true;
    if (loss.kind == FAIL_CANCELED) {
        drop_connection(lane, false); /* perhaps in the middle of a message (L3) */
        *why = loss;
        return false;
    }
    setback(lane, &loss);
    return true;
}

struct lane_read *nfc_lane_next(struct lane *base, const struct cancel *cancel,
                                struct err *err)
{
    struct nfc_lane *lane = (struct nfc_lane *)base;
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

void nfc_lane_counters(const struct lane *base, struct lane_counters *ret)
{
    const struct nfc_lane *lane = (const struct nfc_lane *)base;
    *ret = lane->counters;
    if (lane->is_open)
        ret->wire_bytes += lane->session.stream.received_bytes;
}
