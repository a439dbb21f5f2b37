/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open disk: its blob, its lanes, and for a new one which parts were put to (a zero
 * elsewhere needs no request).
 */
#include "target/azure_disk.h"

#include <inttypes.h>
#include <stdatomic.h>

/* ---- what was put to ---- */

#define WORD_BITS 64

static uint64_t unit_count(uint64_t disk_bytes)
{
    return round_up(disk_bytes, AZURE_TOUCH_BYTES) / AZURE_TOUCH_BYTES;
}

void azure_disk_touch(struct azure_disk *disk, uint64_t start_bytes, uint64_t end_bytes)
{
    if (!disk->touched)
        return;
    for (uint64_t unit = start_bytes / AZURE_TOUCH_BYTES; unit < unit_count(end_bytes);
         unit++)
        (void)atomic_fetch_or(&disk->touched[unit / WORD_BITS], UINT64_C(1)
                                                                    << unit % WORD_BITS);
}

bool azure_disk_is_touched(const struct azure_disk *disk, uint64_t start_bytes,
                           uint64_t end_bytes)
{
    if (!disk->touched)
        return true;
    for (uint64_t unit = start_bytes / AZURE_TOUCH_BYTES; unit < unit_count(end_bytes);
         unit++)
        if (atomic_load(&disk->touched[unit / WORD_BITS]) >> unit % WORD_BITS & 1)
            return true;
    return false;
}

/* ---- the disk ---- */

void azure_replica_close(struct replica_disk *base)
{
    struct azure_disk *disk = (struct azure_disk *)base;
    if (!disk)
        return;
    page_crew_free(disk->crew);
    page_blob_close(disk->blob);
    if (disk->closed)
        disk->closed(disk->ctx);
    free((void *)disk->touched);
    free(disk->label);
    free(disk);
}

static void prepare_to_write(struct azure_disk *disk,
                             const struct azure_replica_spec *spec)
{
    struct page_crew_options options = {.blob = disk->blob,
                                        .max_lanes = spec->max_lanes,
                                        .no_rate_limit = spec->no_rate_limit};
    disk->crew = page_crew_new(&options);
    if (spec->is_new)
        disk->touched =
            xcalloc(unit_count(disk->disk_bytes) / WORD_BITS + 1, sizeof *disk->touched);
}

bool azure_replica_open(const struct target_ops *ops,
                        const struct azure_replica_spec *spec, struct replica_disk **ret,
                        struct err *err)
{
    struct azure_disk *disk = xcalloc(1, sizeof *disk);
    uint64_t blob_bytes;
    *disk = (struct azure_disk){.base = {.ops = ops},
                                .blob = spec->blob,
                                .label = xstrdup(spec->label),
                                .disk_bytes = spec->disk_bytes,
                                .closed = spec->closed,
                                .ctx = spec->ctx};
    bool ok = page_blob_size(disk->blob, &blob_bytes, err) ||
              err_wrap(err, "replica disk '%s'", disk->label);
    if (ok && blob_bytes < spec->disk_bytes)
        ok = err_set(err, FAIL_CORRUPT,
                     "replica disk '%s' has %" PRIu64 " bytes where %" PRIu64
                     " are expected; somebody cut it: stop the replication of this "
                     "machine and start it again",
                     disk->label, blob_bytes, spec->disk_bytes);
    if (!ok) {
        azure_replica_close(&disk->base);
        return false;
    }
    if (spec->for_writing)
        prepare_to_write(disk, spec);
    *ret = &disk->base;
    return true;
}

bool azure_replica_read(struct replica_disk *base, uint64_t offset_bytes, uint8_t *data,
                        size_t data_bytes, struct err *err)
{
    struct azure_disk *disk = (struct azure_disk *)base;
    return data_bytes == 0 ||
           page_blob_get(disk->blob, offset_bytes, data, data_bytes, err) ||
           err_wrap(err, "read replica disk '%s'", disk->label);
}

bool azure_replica_flush(struct replica_disk *disk, struct err *err)
{
    (void)disk, (void)err; /* what was drained was answered, and is durable */
    return true;
}

uint64_t azure_replica_bytes(const struct replica_disk *disk)
{
    return ((const struct azure_disk *)disk)->disk_bytes;
}

bool azure_replica_allocated(struct replica_disk *base, struct extents *ret,
                             struct err *err)
{
    struct azure_disk *disk = (struct azure_disk *)base;
    if (!page_blob_ranges(disk->blob, ret, err))
        return err_wrap(err, "allocation of replica disk '%s'", disk->label);
    extents_clip(ret, disk->disk_bytes);
    return true;
}
