/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One writer: a stage that joins puts, and a job a slot for the disk's lanes.
 *
 * W1  a job is the slot's from start to wait; the stage orders those of the same bytes;
 * W2  what is all zeros is never sent: nothing on a part of a new disk that was not put
 * to, a clear elsewhere; W3  a part is noted as put to before the put leaves, and by the
 * writer's own thread, so its own later zeros see it; W4  a writer that is closed ends
 * its jobs: the lanes' requests by its cancel, those that wait by taking them back. No
 * job outlives it.
 */
#include "target/azure_disk.h"
#include "target/stage.h"

#include "block/zero.h"

#include <inttypes.h>

#define SHAPE ((struct stage_shape){AZURE_WRITER_BYTES / PAGE_PUT_MAX, PAGE_PUT_MAX})

struct azure_writer {
    struct replica_writer base;
    struct azure_disk *disk;
    struct stage *stage;
    struct cancel cancel;
    struct page_done done;
    struct page_job jobs[STAGE_SLOTS]; /* W1 */
};

/* ---- the stage's sink ---- */

static bool start(void *ctx, size_t slot, const uint8_t *data, size_t data_bytes,
                  uint64_t offset_bytes, bool *ret_done, struct err *err)
{
    struct azure_writer *writer = ctx;
    uint64_t end_bytes = offset_bytes + data_bytes;
    if (data && block_is_zero(data, data_bytes))
        data = NULL;
    *ret_done = !data && !azure_disk_is_touched(writer->disk, offset_bytes, end_bytes);
    if (*ret_done) /* W2 */
        return true;
    if (data)
        azure_disk_touch(writer->disk, offset_bytes, end_bytes); /* W3 */
    struct page_job *job = &writer->jobs[slot];
    job->done = &writer->done;
    job->write = (struct page_write){.offset_bytes = offset_bytes,
                                     .data = {data, data_bytes},
                                     .cancel = &writer->cancel};
    return page_crew_submit(writer->disk->crew, job, err) ||
           err_wrap(err, "replica disk '%s'", writer->disk->label);
}

static bool wait_any(void *ctx, size_t *ret_slot, struct err *err)
{
    struct azure_writer *writer = ctx;
    struct page_job *job = page_crew_wait(writer->disk->crew, &writer->done);
    *ret_slot = (size_t)(job - writer->jobs);
    if (job->ok)
        return true;
    *err = job->err;
    return err_wrap(err, "write replica disk '%s' at %" PRIu64, writer->disk->label,
                    job->write.offset_bytes);
}

/* ---- rows of the operations table ---- */

bool azure_writer_open(struct replica_disk *base, struct replica_writer **ret,
                       struct err *err)
{
    struct azure_disk *disk = (struct azure_disk *)base;
    if (!disk->crew)
        return err_set(err, FAIL_BUG, "replica disk '%s' was not opened for writing",
                       disk->label);
    struct azure_writer *writer = xcalloc(1, sizeof *writer);
    struct stage_sink sink = {.start = start, .wait = wait_any, .ctx = writer};
    writer->base.ops = base->ops;
    writer->disk = disk;
    cancel_init(&writer->cancel);
    page_done_init(&writer->done);
    writer->stage = stage_new(&sink, &SHAPE);
    *ret = &writer->base;
    return true;
}

uint8_t *azure_writer_room(struct replica_writer *base)
{
    return stage_room(((struct azure_writer *)base)->stage);
}

bool azure_writer_put(struct replica_writer *base, uint64_t offset_bytes,
                      const uint8_t *data, size_t data_bytes, struct err *err)
{
    return stage_put(((struct azure_writer *)base)->stage, offset_bytes, data, data_bytes,
                     err);
}

bool azure_writer_zero(struct replica_writer *base, uint64_t start_bytes,
                       uint64_t end_bytes, struct err *err)
{
    return stage_zero(((struct azure_writer *)base)->stage, start_bytes, end_bytes, err);
}

bool azure_writer_drain(struct replica_writer *base, struct err *err)
{
    return stage_drain(((struct azure_writer *)base)->stage, err);
}

void azure_writer_close(struct replica_writer *base)
{
    struct azure_writer *writer = (struct azure_writer *)base;
    cancel_set(&writer->cancel);
    page_crew_drop(writer->disk->crew, &writer->done); /* W4 */
    stage_free(writer->stage);
    page_done_release(&writer->done);
    cancel_release(&writer->cancel);
    free(writer);
}
