/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring of buffers, filled from front to back by runs (puts that follow each other on
 * the disk). A run is submitted when a put does not continue it, when its buffer is full
 * or when somebody asks; the next run begins behind it in the same buffer, so data
 * unpacked into the room is never copied, whatever its offset turns out to be.
 *
 * S1  buffer bytes below `fill` are never written to again before the buffer is reset;
 * S2  a buffer is reset only when none of its runs is open or in flight;
 * S3  the open run lies in the current buffer and ends at `fill`;
 * S4  the first failure is kept and given to every later call: a writer that lost one
 *     write never reports success again.
 */
#include "target/stage.h"

#include <assert.h>
#include <sys/mman.h>

struct stage_slot {
    bool is_busy;
    uint8_t buffer;
    uint64_t start_bytes;
    uint64_t end_bytes;
};

struct stage_buffer {
    uint8_t *data;
    size_t fill_bytes;
    size_t in_flight;
};

struct stage {
    struct stage_sink sink;
    struct stage_shape shape;
    struct stage_buffer buffers[STAGE_MAX_BUFFERS];
    size_t current;
    uint64_t run_offset_bytes; /* on the disk */
    size_t run_at_bytes;       /* in the buffer */
    size_t run_bytes;          /* 0: no open run */
    struct stage_slot slots[STAGE_SLOTS];
    size_t in_flight;
    struct err failed; /* S4 */
};

struct stage *stage_new(const struct stage_sink *sink, const struct stage_shape *shape)
{
    struct stage *stage = xcalloc(1, sizeof *stage);
    assert(shape->buffer_count > 1 && shape->buffer_count <= STAGE_MAX_BUFFERS);
    stage->sink = *sink;
    stage->shape = *shape;
    for (size_t i = 0; i < shape->buffer_count; i++) {
        void *p = mmap(NULL, shape->buffer_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            abort(); /* out of memory, as xcalloc does */
        stage->buffers[i].data = p;
    }
    return stage;
}

static void keep_failure(struct stage *stage, const struct err *err)
{
    if (stage->failed.kind == FAIL_NONE)
        stage->failed = *err;
}

static bool give_failure(const struct stage *stage, struct err *err)
{
    if (stage->failed.kind == FAIL_NONE)
        return true;
    *err = stage->failed;
    return false;
}

static void wait_one(struct stage *stage)
{
    struct err err = ERR_INIT;
    size_t at = STAGE_SLOTS;
    if (!stage->sink.wait(stage->sink.ctx, &at, &err))
        keep_failure(stage, &err);
    assert(at < STAGE_SLOTS && stage->slots[at].is_busy);
    stage->slots[at].is_busy = false;
    stage->buffers[stage->slots[at].buffer].in_flight--;
    stage->in_flight--;
}

static bool is_touched(const struct stage *stage, uint64_t start_bytes,
                       uint64_t end_bytes)
{
    for (size_t i = 0; i < STAGE_SLOTS; i++)
        if (stage->slots[i].is_busy && stage->slots[i].start_bytes < end_bytes &&
            start_bytes < stage->slots[i].end_bytes)
            return true;
    return false;
}

/* Waits for what is in the way of a write to [start, end): a slot, and earlier writes of
 * the same bytes (the later one must win). */
static size_t make_way(struct stage *stage, uint64_t start_bytes, uint64_t end_bytes)
{
    size_t at = 0;
    while (stage->in_flight == STAGE_SLOTS)
        wait_one(stage);
    while (is_touched(stage, start_bytes, end_bytes))
        wait_one(stage);
    while (stage->slots[at].is_busy)
        at++;
    return at;
}

/* data NULL: zeros. */
static void start(struct stage *stage, const uint8_t *data, uint64_t start_bytes,
                  uint64_t end_bytes)
{
    struct err err = ERR_INIT;
    bool is_done = false;
    size_t at = make_way(stage, start_bytes, end_bytes);
    if (stage->failed.kind != FAIL_NONE)
        return; /* S4: nothing more is worth writing */
    if (!stage->sink.start(stage->sink.ctx, at, data, (size_t)(end_bytes - start_bytes),
                           start_bytes, &is_done, &err)) {
        keep_failure(stage, &err);
        return;
    }
    if (is_done)
        return;
    /* Zeros lie in no buffer; that they are counted in the current one costs nothing. */
    stage->slots[at] =
        (struct stage_slot){true, (uint8_t)stage->current, start_bytes, end_bytes};
    stage->buffers[stage->current].in_flight++;
    stage->in_flight++;
}

static void submit(struct stage *stage)
{
    size_t bytes = stage->run_bytes;
    stage->run_bytes = 0;
    if (bytes)
        start(stage, stage->buffers[stage->current].data + stage->run_at_bytes,
              stage->run_offset_bytes, stage->run_offset_bytes + bytes);
}

/* The next buffer, empty. */
static void turn_over(struct stage *stage)
{
    submit(stage);
    stage->current = (stage->current + 1) % stage->shape.buffer_count;
    struct stage_buffer *buffer = &stage->buffers[stage->current];
    while (buffer->in_flight)
        wait_one(stage);
    buffer->fill_bytes = 0; /* S2 */
}

uint8_t *stage_room(struct stage *stage)
{
    if (stage->shape.buffer_bytes - stage->buffers[stage->current].fill_bytes <
        STAGE_ROOM_BYTES)
        turn_over(stage);
    return stage->buffers[stage->current].data +
           stage->buffers[stage->current].fill_bytes;
}

/* Makes [fill, …) the place where data for offset_bytes goes; true: continues the run. */
static void begin_run(struct stage *stage, uint64_t offset_bytes, bool in_room)
{
    struct stage_buffer *buffer = &stage->buffers[stage->current];
    if (stage->run_bytes && stage->run_offset_bytes + stage->run_bytes == offset_bytes)
        return;
    submit(stage);
    if (!in_room) { /* copied data may as well lie as direct writes want it */
        size_t fill = (size_t)round_up(buffer->fill_bytes, STAGE_ALIGN_BYTES) +
                      (size_t)(offset_bytes % STAGE_ALIGN_BYTES);
        if (fill + SECTOR_BYTES > stage->shape.buffer_bytes) {
            turn_over(stage);
            buffer = &stage->buffers[stage->current];
            fill = (size_t)(offset_bytes % STAGE_ALIGN_BYTES);
        }
        buffer->fill_bytes = fill;
    }
    stage->run_offset_bytes = offset_bytes;
    stage->run_at_bytes = buffer->fill_bytes;
}

bool stage_put(struct stage *stage, uint64_t offset_bytes, const uint8_t *data,
               size_t data_bytes, struct err *err)
{
    while (data_bytes && stage->failed.kind == FAIL_NONE) {
        struct stage_buffer *buffer = &stage->buffers[stage->current];
        bool in_room = data == buffer->data + buffer->fill_bytes;
        if (!in_room && buffer->fill_bytes == stage->shape.buffer_bytes) {
            turn_over(stage);
            continue;
        }
        begin_run(stage, offset_bytes, in_room);
        buffer = &stage->buffers[stage->current];
        size_t room_bytes = stage->shape.buffer_bytes - buffer->fill_bytes;
        size_t take_bytes = MIN_OF(room_bytes, data_bytes);
        assert(!in_room || take_bytes == data_bytes);
        if (!in_room)
            memmove(buffer->data + buffer->fill_bytes, data, take_bytes);
        buffer->fill_bytes += take_bytes;
        stage->run_bytes += take_bytes;
        offset_bytes += take_bytes;
        data += take_bytes;
        data_bytes -= take_bytes;
    }
    return give_failure(stage, err);
}

bool stage_settle(struct stage *stage, uint64_t start_bytes, uint64_t end_bytes,
                  struct err *err)
{
    submit(stage);
    while (is_touched(stage, start_bytes, end_bytes))
        wait_one(stage);
    return give_failure(stage, err);
}

bool stage_zero(struct stage *stage, uint64_t start_bytes, uint64_t end_bytes,
                struct err *err)
{
    submit(stage);
    if (start_bytes < end_bytes)
        start(stage, NULL, start_bytes, end_bytes);
    return give_failure(stage, err);
}

bool stage_drain(struct stage *stage, struct err *err)
{
    submit(stage);
    while (stage->in_flight)
        wait_one(stage);
    return give_failure(stage, err);
}

void stage_free(struct stage *stage)
{
    if (!stage)
        return;
    while (stage->in_flight)
        wait_one(stage);
    for (size_t i = 0; i < stage->shape.buffer_count; i++)
        (void)munmap(stage->buffers[i].data, stage->shape.buffer_bytes); /* whole */
    free(stage);
}
