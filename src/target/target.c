/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front of every target: checks what any implementation would have to check (so none
 * can forget it), then calls through the table of the object at hand.
 */
#include "target/target.h"

#include <inttypes.h>

bool target_check(struct target *target, const struct machine_def *machine,
                  struct findings *findings, struct err *err)
{
    return target->ops->check(target, machine, findings, err);
}

bool target_replica_create(struct target *target, const struct machine_def *machine,
                           struct err *err)
{
    for (size_t i = 0; i < machine->disk_count; i++)
        if (machine->disks[i].disk_bytes == 0 ||
            machine->disks[i].disk_bytes % SECTOR_BYTES)
            return err_set(err, FAIL_INPUT,
                           "disk %zu of machine '%s' has %" PRIu64
                           " bytes; a disk size is a multiple of %u above 0",
                           i, machine->name, machine->disks[i].disk_bytes, SECTOR_BYTES);
    if (machine->disk_count == 0 || machine->disk_count > MACHINE_MAX_DISKS)
        return err_set(err, FAIL_INPUT, "machine '%s' has %zu disks; 1 to %d can be kept",
                       machine->name, machine->disk_count, MACHINE_MAX_DISKS);
    return target->ops->replica_create(target, machine, err);
}

bool target_disk_open(struct target *target, const struct machine_def *machine,
                      size_t disk_index, bool for_writing, struct replica_disk **ret,
                      struct err *err)
{
    return target->ops->disk_open(target, machine, disk_index, for_writing, ret, err);
}

bool target_disk_resize(struct target *target, const struct machine_def *machine,
                        size_t disk_index, uint64_t disk_bytes, struct err *err)
{
    if (disk_bytes == 0 || disk_bytes % SECTOR_BYTES)
        return err_set(err, FAIL_INPUT,
                       "new size %" PRIu64 " of disk %zu of machine '%s'; a disk size is "
                       "a multiple of %u above 0",
                       disk_bytes, disk_index, machine->name, SECTOR_BYTES);
    return target->ops->disk_resize(target, machine, disk_index, disk_bytes, err);
}

bool target_test_start(struct target *target, const struct machine_def *machine,
                       const struct test_options *options, const struct cancel *cancel,
                       struct vm_info *ret, struct err *err)
{
    return target->ops->test_start(target, machine, options, cancel, ret, err);
}

bool target_test_cleanup(struct target *target, const struct machine_def *machine,
                         const char *test_name, struct err *err)
{
    return target->ops->test_cleanup(target, machine, test_name, err);
}

bool target_migrate(struct target *target, const struct machine_def *machine,
                    const struct test_options *options, const struct cancel *cancel,
                    struct vm_info *ret, struct err *err)
{
    return target->ops->migrate(target, machine, options, cancel, ret, err);
}

bool target_complete(struct target *target, const struct machine_def *machine,
                     struct err *err)
{
    return target->ops->complete(target, machine, err);
}

bool target_remove(struct target *target, const struct machine_def *machine,
                   struct err *err)
{
    return target->ops->remove(target, machine, err);
}

bool target_list(struct target *target, target_each each, void *ctx, struct err *err)
{
    return !target->ops->list || target->ops->list(target, each, ctx, err);
}

bool target_inventory(struct target *target, target_each_thing each, void *ctx,
                      struct err *err)
{
    if (!target->ops->inventory)
        return err_set(err, FAIL_INPUT, "a target of kind '%s' has no inventory",
                       target->ops->kind);
    return target->ops->inventory(target, each, ctx, err);
}

void target_close(struct target *target)
{
    if (target)
        target->ops->close(target);
}

static bool check_range(const struct replica_disk *disk, uint64_t offset_bytes,
                        uint64_t length_bytes, struct err *err)
{
    uint64_t end_bytes, disk_bytes = disk->ops->disk_bytes(disk);
    if (offset_bytes % SECTOR_BYTES || length_bytes % SECTOR_BYTES)
        return err_set(err, FAIL_INPUT,
                       "range at %" PRIu64 " of %" PRIu64
                       " bytes is not whole sectors of %u bytes",
                       offset_bytes, length_bytes, SECTOR_BYTES);
    if (!add_u64(offset_bytes, length_bytes, &end_bytes) || end_bytes > disk_bytes)
        return err_set(err, FAIL_INPUT,
                       "range at %" PRIu64 " of %" PRIu64
                       " bytes ends beyond the replica disk of %" PRIu64 " bytes",
                       offset_bytes, length_bytes, disk_bytes);
    return true;
}

bool replica_disk_read(struct replica_disk *disk, uint64_t offset_bytes, uint8_t *data,
                       size_t data_bytes, struct err *err)
{
    return check_range(disk, offset_bytes, data_bytes, err) &&
           disk->ops->read(disk, offset_bytes, data, data_bytes, err);
}

bool replica_disk_flush(struct replica_disk *disk, struct err *err)
{
    return disk->ops->flush(disk, err);
}

uint64_t replica_disk_bytes(const struct replica_disk *disk)
{
    return disk->ops->disk_bytes(disk);
}

bool replica_disk_allocated(struct replica_disk *disk, struct extents *ret,
                            struct err *err)
{
    return disk->ops->allocated(disk, ret, err);
}

void replica_disk_close(struct replica_disk *disk)
{
    if (disk)
        disk->ops->disk_close(disk);
}

bool replica_disk_writer_open(struct replica_disk *disk, struct replica_writer **ret,
                              struct err *err)
{
    if (!disk->ops->writer_open(disk, ret, err))
        return false;
    (*ret)->disk = disk;
    return true;
}

uint8_t *replica_writer_room(struct replica_writer *writer)
{
    return writer->ops->room(writer);
}

bool replica_writer_put(struct replica_writer *writer, uint64_t offset_bytes,
                        const uint8_t *data, size_t data_bytes, struct err *err)
{
    return check_range(writer->disk, offset_bytes, data_bytes, err) &&
           writer->ops->put(writer, offset_bytes, data, data_bytes, err);
}

bool replica_writer_zero(struct replica_writer *writer, uint64_t start_bytes,
                         uint64_t end_bytes, struct err *err)
{
    if (end_bytes < start_bytes)
        return err_set(err, FAIL_INPUT,
                       "zero range ends at %" PRIu64 ", before its start at %" PRIu64,
                       end_bytes, start_bytes);
    return check_range(writer->disk, start_bytes, end_bytes - start_bytes, err) &&
           writer->ops->zero(writer, start_bytes, end_bytes, err);
}

bool replica_writer_drain(struct replica_writer *writer, struct err *err)
{
    return writer->ops->drain(writer, err);
}

void replica_writer_close(struct replica_writer *writer)
{
    if (writer)
        writer->ops->writer_close(writer);
}
