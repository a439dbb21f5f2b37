/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The staging buffers of one replica writer: joins neighbouring puts to long writes and
 * keeps several of them in flight while the next data is unpacked. Knows nothing of
 * files: a sink (raw file, NBD server, page blob) does the writing. One thread.
 */
#ifndef TARGET_STAGE_H
#define TARGET_STAGE_H

#include "base/err.h"

#define STAGE_MAX_BUFFERS 8
#define STAGE_ROOM_BYTES  (1 * MIB) /* RECORD_SPAN_MAX_BYTES of the contract */
#define STAGE_SLOTS       16        /* writes in flight */
#define STAGE_ALIGN_BYTES 4096u

struct stage;

struct stage_shape {
    size_t buffer_count; /* 2 .. STAGE_MAX_BUFFERS */
    size_t buffer_bytes; /* each, and of the longest write; above STAGE_ROOM_BYTES */
};

struct stage_sink {
    /* Starts to write; *ret_done: finished already (wait never gives that slot). The data
     * stays where it is until then. data NULL: zeros, from stage_zero only. */
    bool (*start)(void *ctx, size_t slot, const uint8_t *data, size_t data_bytes,
                  uint64_t offset_bytes, bool *ret_done, struct err *err);
    /* Waits until any started write has ended. *ret_slot is set also when that write
     * failed. */
    bool (*wait)(void *ctx, size_t *ret_slot, struct err *err);
    void *ctx;
};

MUST_CHECK struct stage *stage_new(const struct stage_sink *sink,
                                   const struct stage_shape *shape);
/* Waits for what is in flight (its memory is ours), drops what was not submitted. */
void stage_free(struct stage *stage);

uint8_t *stage_room(struct stage *stage);
MUST_CHECK bool stage_put(struct stage *stage, uint64_t offset_bytes, const uint8_t *data,
                          size_t data_bytes, struct err *err);
/* Zeros as one more write, ordered against those of the same bytes. */
MUST_CHECK bool stage_zero(struct stage *stage, uint64_t start_bytes, uint64_t end_bytes,
                           struct err *err);
/* Submits the open run and waits for every write that touches [start, end). */
MUST_CHECK bool stage_settle(struct stage *stage, uint64_t start_bytes,
                             uint64_t end_bytes, struct err *err);
MUST_CHECK bool stage_drain(struct stage *stage, struct err *err);

#endif
