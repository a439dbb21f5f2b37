/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a cycle must bring.
 *
 *   no recovery point      what is allocated in the source          (kind initial)
 *   changes known          what changed since the base's change id  (delta, on-demand)
 *   not tracked, or lost   the whole disk, compared by digest       (resync)
 *   caught lying           the same (tracking_check.c)
 * plus, always, the extents of a cycle that is in doubt, and what lies beyond the old end
 * of a disk that grew. The plan is durable before data moves; its bitmap is the source
 * bitmap.
 */
#include "gateway/cycle_impl.h"

#include "base/clock.h"
#include "base/text.h"

static const struct plan_disk *find_disk(const struct plan *plan, const struct id *disk)
{
    for (size_t i = 0; plan && i < plan->disk_count; i++)
        if (id_equal(&plan->disks[i].disk, disk))
            return &plan->disks[i];
    return NULL;
}

static bool add_extents(struct bitmap *bitmap, const struct extents *set, struct err *err)
{
    for (size_t i = 0; i < set->count; i++) {
        uint64_t end = MIN_OF(set->items[i].end_bytes, bitmap->disk_bytes);
        if (set->items[i].start_bytes < end &&
            !bitmap_set(bitmap, set->items[i].start_bytes, end, err))
            return false;
    }
    return true;
}

static bool wanted_extents(struct cycle *cycle, size_t i, struct plan_disk *disk,
                           const struct snapshot_disk_info *info, struct err *err)
{
    AUTO(extents_release) struct extents set = {0};
    disk->by_hash = false;
    if (cycle->plan.base_cycle == 0) {
        if (!snapshot_allocated(cycle->snapshot, i, &set, err))
            return false;
        extents_coarsen(&set, BLOCK_BYTES,
                        disk->disk_bytes); /* whole blocks get a digest */
    } else if (info->knowledge == CHANGES_KNOWN && !cycle->context.compare_all) {
        if (!snapshot_changes(cycle->snapshot, i, &set, err))
            return false;
    } else {
        disk->by_hash = true;
        extents_add(&set, 0, disk->disk_bytes);
    }
    return add_extents(&disk->bitmap, &set, err);
}

static bool plan_one_disk(struct cycle *cycle, size_t i, const struct plan *base,
                          const struct plan *doubt, struct err *err)
{
    const struct machine_disk *def = &cycle->context.machine->disks[i];
    struct plan_disk *disk = &cycle->plan.disks[i];
    struct snapshot_disk_info info;
    if (!snapshot_disk_info(cycle->snapshot, i, &info, err))
        return false;
    if (info.disk_bytes == 0 || info.disk_bytes % SECTOR_BYTES)
        return err_set(err, FAIL_INPUT,
                       "size %llu is not a multiple of 512 bytes; resize the disk to one",
                       (unsigned long long)info.disk_bytes);
    disk->disk = def->id;
    disk->disk_bytes = info.disk_bytes;
    text_copy(disk->change_id, sizeof disk->change_id, info.change_id);
    bitmap_init(&disk->bitmap, info.disk_bytes);
    if (!wanted_extents(cycle, i, disk, &info, err))
        return false;
    const struct plan_disk *before = find_disk(base, &def->id);
    if (before && before->disk_bytes < info.disk_bytes &&
        !bitmap_set(&disk->bitmap, before->disk_bytes, info.disk_bytes, err))
        return false;
    const struct plan_disk *torn = find_disk(doubt, &def->id);
    return !torn || add_extents(&disk->bitmap, &torn->bitmap.runs, err);
}

static enum cycle_kind kind_of(const struct plan *plan, bool on_demand)
{
    if (plan->base_cycle == 0)
        return CYCLE_INITIAL;
    for (size_t i = 0; i < plan->disk_count; i++)
        if (plan->disks[i].by_hash)
            return CYCLE_RESYNC;
    return on_demand ? CYCLE_ON_DEMAND : CYCLE_DELTA;
}

bool plan_make(struct cycle *cycle, uint64_t number, bool on_demand,
               const struct plan *base, const struct plan *doubt, struct err *err)
{
    struct plan *plan = &cycle->plan;
    plan->machine = cycle->context.machine->id;
    plan->cycle = number;
    plan->base_cycle = cycle->replica.recovery_point;
    plan->wall_ms = clock_wall_ms();
    text_copy(plan->snapshot, sizeof plan->snapshot, snapshot_handle(cycle->snapshot));
    plan->disk_count = cycle->context.machine->disk_count;
    plan->disks = xcalloc(plan->disk_count, sizeof *plan->disks);
    for (size_t i = 0; i < plan->disk_count; i++)
        if (!plan_one_disk(cycle, i, base, doubt, err))
            return err_wrap(err, "plan of disk '%s'",
                            cycle->context.machine->disks[i].label);
    plan->kind = kind_of(plan, on_demand);
    return true;
}

bool plan_holes(struct cycle *cycle, size_t disk_index, struct extents *ret,
                struct err *err)
{
    const struct plan_disk *disk = &cycle->plan.disks[disk_index];
    AUTO(extents_release) struct extents allocated = {0};
    extents_clear(ret);
    if (!disk->by_hash)
        return true;
    if (!snapshot_allocated(cycle->snapshot, disk_index, &allocated, err))
        return false;
    extents_coarsen(&allocated, BLOCK_BYTES,
                    disk->disk_bytes); /* whole blocks are compared */
    extents_subtract(&disk->bitmap.runs, &allocated, ret);
    return true;
}
