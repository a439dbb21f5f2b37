/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Comparison of a snapshot with a replica. The source is the slow side: VERIFY_SLOTS
 * reads of it are in flight while the replica is read in this thread, in the order in
 * which source reads finish. Memory: VERIFY_SLOTS + 1 buffers of 1 MiB.
 *
 * Invariants: V1 every byte that either side may hold is compared: the extents are the
 * union of both allocation maps; V2 differences are whole sectors, in ascending order
 * within a disk; V3 an unequal size is a difference, never an error.
 * Must never do: write to either side, trust digests or the hash map.
 */
#include "vault/verify.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"

#define VERIFY_SLOTS      4u
#define VERIFY_READ_BYTES (1 * MIB)

struct comparison {
    const struct verify_context *context;
    struct verify_result *result;
    size_t disk_index;
    struct reader *reader;
    struct replica_disk *replica;
    struct read_request requests[VERIFY_SLOTS];
    uint8_t *replica_data;
    struct extents extents; /* what is compared */
    size_t extent_index;    /* next read: position in extents */
    uint64_t offset_bytes;
    struct extents different; /* of this disk */
};

/* One more stretch of at most VERIFY_READ_BYTES; false when there is none left. */
static bool next_stretch(struct comparison *c, uint64_t *ret_offset_bytes,
                         uint32_t *ret_bytes)
{
    if (c->extent_index >= c->extents.count)
        return false;
    const struct extent *extent = &c->extents.items[c->extent_index];
    uint64_t offset_bytes = MAX_OF(c->offset_bytes, extent->start_bytes);
    uint64_t end_bytes = MIN_OF(extent->end_bytes, offset_bytes + VERIFY_READ_BYTES);
    *ret_offset_bytes = offset_bytes;
    *ret_bytes = (uint32_t)(end_bytes - offset_bytes);
    c->offset_bytes = end_bytes;
    if (end_bytes == extent->end_bytes)
        c->extent_index++;
    return true;
}

static bool submit_next(struct comparison *c, struct read_request *request, bool *ret_any,
                        struct err *err)
{
    *ret_any = next_stretch(c, &request->offset_bytes, &request->length_bytes);
    return !*ret_any || reader_submit(c->reader, request, err);
}

static void note_differences(struct comparison *c, uint64_t offset_bytes,
                             const uint8_t *source, size_t data_bytes)
{
    if (memcmp(source, c->replica_data, data_bytes) == 0)
        return;
    for (size_t at = 0; at < data_bytes; at += SECTOR_BYTES) {
        size_t bytes = MIN_OF((size_t)SECTOR_BYTES, data_bytes - at);
        if (memcmp(source + at, c->replica_data + at, bytes) != 0) {
            c->result->different_bytes += bytes;
            /* Reads finish in any order: keep every range until the disk is done, but
             * not without bound. */
            if (c->different.count < 4096)
                extents_add(&c->different, offset_bytes + at, offset_bytes + at + bytes);
        }
    }
}

static bool compare_one(struct comparison *c, const struct read_request *request,
                        struct err *err)
{
    const char *label = c->context->machine->disks[c->disk_index].label;
    if (!request->ok) {
        *err = request->err;
        return err_wrap(err, "read disk '%s' of the source", label);
    }
    if (!replica_disk_read(c->replica, request->offset_bytes, c->replica_data,
                           request->length_bytes, err))
        return err_wrap(err, "read replica of disk '%s'", label);
    note_differences(c, request->offset_bytes, request->data, request->length_bytes);
    c->result->compared_bytes += request->length_bytes;
    if (c->context->done_bytes)
        atomic_fetch_add(c->context->done_bytes, request->length_bytes);
    return true;
}

static bool compare_extents(struct comparison *c, struct err *err)
{
    size_t in_flight = 0;
    for (size_t i = 0; i < VERIFY_SLOTS; i++) {
        bool is_any = false;
        if (!submit_next(c, &c->requests[i], &is_any, err))
            return false;
        in_flight += is_any;
    }
    while (in_flight > 0) {
        if (!cancel_check(c->context->cancel, err))
            return false;
        struct read_request *request = reader_next(c->reader, c->context->cancel, err);
        if (!request)
            return false;
        in_flight--;
        bool is_any = false;
        if (!compare_one(c, request, err) || !submit_next(c, request, &is_any, err))
            return false;
        in_flight += is_any;
    }
    return true;
}

static void keep_differences(struct comparison *c)
{
    struct verify_result *result = c->result;
    for (size_t i = 0;
         i < c->different.count && result->difference_count < VERIFY_MAX_DIFFERENCES; i++)
        result->differences[result->difference_count++] = (struct verify_difference){
            .disk_index = c->disk_index,
            .start_bytes = c->different.items[i].start_bytes,
            .end_bytes = c->different.items[i].end_bytes,
        };
}

/* Both allocation maps, cut at the smaller size; the rest of the larger one differs. */
static bool plan_disk(struct comparison *c, struct err *err)
{
    AUTO(extents_release) struct extents source = {0};
    AUTO(extents_release) struct extents replica = {0};
    struct snapshot_disk_info info;
    if (!snapshot_disk_info(c->context->snapshot, c->disk_index, &info, err) ||
        !snapshot_allocated(c->context->snapshot, c->disk_index, &source, err) ||
        !replica_disk_allocated(c->replica, &replica, err))
        return false;
    uint64_t replica_bytes = replica_disk_bytes(c->replica);
    uint64_t common_bytes = MIN_OF(info.disk_bytes, replica_bytes);
    uint64_t larger_bytes = MAX_OF(info.disk_bytes, replica_bytes);
    extents_union(&source, &replica, &c->extents);
    extents_clip(&c->extents, common_bytes);
    c->result->disk_bytes += larger_bytes;
    c->result->different_bytes += larger_bytes - common_bytes;
    extents_add(&c->different, common_bytes, larger_bytes);
    if (c->context->total_bytes)
        atomic_fetch_add(c->context->total_bytes, extents_total_bytes(&c->extents));
    return true;
}

static bool compare_disk(const struct verify_context *context, size_t disk_index,
                         struct pool *pool, struct verify_result *result, struct err *err)
{
    struct comparison c = {
        .context = context, .result = result, .disk_index = disk_index};
    uint8_t *buffers[VERIFY_SLOTS + 1] = {0};
    bool ok = target_disk_open(context->target, context->machine, disk_index, false,
                               &c.replica, err) &&
              snapshot_reader_open(context->snapshot, disk_index, &c.reader, err) &&
              plan_disk(&c, err);
    for (size_t i = 0; ok && i < ARRAY_COUNT(buffers); i++)
        ok = (buffers[i] = pool_take(pool, context->cancel, err)) != NULL;
    if (ok) {
        for (size_t i = 0; i < VERIFY_SLOTS; i++)
            c.requests[i].data = buffers[i];
        c.replica_data = buffers[VERIFY_SLOTS];
        ok = compare_extents(&c, err);
    }
    keep_differences(&c);
    reader_close(c.reader); /* waits for reads in flight: before their buffers go */
    replica_disk_close(c.replica);
    for (size_t i = 0; i < ARRAY_COUNT(buffers); i++)
        pool_give(pool, buffers[i]);
    extents_release(&c.extents);
    extents_release(&c.different);
    return ok;
}

bool verify_replica(const struct verify_context *context, struct verify_result *ret,
                    struct err *err)
{
    AUTO(pool_free) struct pool *pool = pool_new(VERIFY_SLOTS + 1, VERIFY_READ_BYTES);
    struct verify_result result = {0};
    for (size_t i = 0; i < context->machine->disk_count; i++) {
        if (!compare_disk(context, i, pool, &result, err))
            return err_wrap(err, "compare disk '%s'", context->machine->disks[i].label);
    }
    *ret = result;
    return true;
}

void verify_text(const struct machine_def *machine, const struct verify_result *result,
                 char *out, size_t out_bytes)
{
    AUTO(buf_release) struct buf text = {0};
    for (size_t i = 0; i < result->difference_count && i < 3; i++) {
        const struct verify_difference *d = &result->differences[i];
        buf_printf(&text, "%sdisk '%s' differs in bytes %llu..%llu", i ? ", " : "",
                   machine->disks[d->disk_index].label,
                   (unsigned long long)d->start_bytes, (unsigned long long)d->end_bytes);
    }
    if (result->difference_count > 3)
        buf_append_text(&text, " and more");
    (void)snprintf(out, out_bytes, "%s", buf_text(&text));
}
