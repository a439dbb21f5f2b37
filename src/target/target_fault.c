/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A target whose writes misbehave on purpose: by a rate, after a number of writes, while
 * a file exists; with an error, a flipped bit or a delay. Everything else goes through to
 * the target inside. The n-th write of one seed always fares the same.
 */
#include "target/target.h"

#include "base/clock.h"
#include "base/file.h"

#include <stdatomic.h>

struct fault_target {
    struct target base;
    /* Set by target_fault_new, never changed. */
    struct target *inner;
    struct target_fault_options options;
    char *trigger_path;
    /* Atomic. */
    _Atomic uint64_t writes;
};

struct fault_disk {
    struct replica_disk base;
    struct fault_target *target;
    struct replica_disk *inner;
};

struct fault_writer {
    struct replica_writer base;
    struct fault_target *target;
    struct replica_writer *inner;
};

static struct target *inner_of(struct target *target)
{
    return ((struct fault_target *)target)->inner;
}

/* splitmix64: spreads (seed, n) evenly. */
static uint64_t mix(uint64_t v)
{
    v += 0x9e3779b97f4a7c15u;
    v = (v ^ (v >> 30)) * 0xbf58476d1ce4e5b9u;
    v = (v ^ (v >> 27)) * 0x94d049bb133111ebu;
    return v ^ (v >> 31);
}

/* true: this write misbehaves; *ret_random is its own number. */
static bool is_hit(struct fault_target *target, uint64_t *ret_random)
{
    uint64_t n = atomic_fetch_add(&target->writes, 1);
    *ret_random = mix(target->options.seed ^ mix(n));
    return n >= target->options.after_writes &&
           *ret_random % 1000000 < target->options.rate_per_million &&
           (!target->trigger_path || file_exists(target->trigger_path));
}

static bool fault_check(struct target *target, const struct machine_def *machine,
                        struct findings *findings, struct err *err)
{
    return target_check(inner_of(target), machine, findings, err);
}

static bool fault_replica_create(struct target *target, const struct machine_def *machine,
                                 struct err *err)
{
    return target_replica_create(inner_of(target), machine, err);
}

static const struct target_ops FAULT_OPS;

static bool fault_disk_open(struct target *target, const struct machine_def *machine,
                            size_t disk_index, bool for_writing,
                            struct replica_disk **ret, struct err *err)
{
    struct replica_disk *inner;
    if (!target_disk_open(inner_of(target), machine, disk_index, for_writing, &inner,
                          err))
        return false;
    struct fault_disk *disk = xcalloc(1, sizeof *disk);
    disk->base.ops = &FAULT_OPS;
    disk->target = (struct fault_target *)target;
    disk->inner = inner;
    *ret = &disk->base;
    return true;
}

static bool fault_disk_resize(struct target *target, const struct machine_def *machine,
                              size_t disk_index, uint64_t disk_bytes, struct err *err)
{
    return target_disk_resize(inner_of(target), machine, disk_index, disk_bytes, err);
}

static bool fault_test_start(struct target *target, const struct machine_def *machine,
                             const struct test_options *options,
                             const struct cancel *cancel, struct vm_info *ret,
                             struct err *err)
{
    return target_test_start(inner_of(target), machine, options, cancel, ret, err);
}

static bool fault_test_cleanup(struct target *target, const struct machine_def *machine,
                               const char *test_name, struct err *err)
{
    return target_test_cleanup(inner_of(target), machine, test_name, err);
}

static bool fault_migrate(struct target *target, const struct machine_def *machine,
                          const struct test_options *options, const struct cancel *cancel,
                          struct vm_info *ret, struct err *err)
{
    return target_migrate(inner_of(target), machine, options, cancel, ret, err);
}

static bool fault_complete(struct target *target, const struct machine_def *machine,
                           struct err *err)
{
    return target_complete(inner_of(target), machine, err);
}

static bool fault_remove(struct target *target, const struct machine_def *machine,
                         struct err *err)
{
    return target_remove(inner_of(target), machine, err);
}

static bool fault_list(struct target *target, target_each each, void *ctx,
                       struct err *err)
{
    return target_list(inner_of(target), each, ctx, err);
}

static bool fault_inventory(struct target *target, target_each_thing each, void *ctx,
                            struct err *err)
{
    return target_inventory(inner_of(target), each, ctx, err);
}

static void fault_close(struct target *base)
{
    struct fault_target *target = (struct fault_target *)base;
    target_close(target->inner);
    free(target->trigger_path);
    free(target);
}

static bool fault_read(struct replica_disk *disk, uint64_t offset_bytes, uint8_t *data,
                       size_t data_bytes, struct err *err)
{
    return replica_disk_read(((struct fault_disk *)disk)->inner, offset_bytes, data,
                             data_bytes, err);
}

static bool fault_flush(struct replica_disk *disk, struct err *err)
{
    return replica_disk_flush(((struct fault_disk *)disk)->inner, err);
}

static uint64_t fault_disk_bytes(const struct replica_disk *disk)
{
    return replica_disk_bytes(((const struct fault_disk *)disk)->inner);
}

static void fault_disk_close(struct replica_disk *disk)
{
    replica_disk_close(((struct fault_disk *)disk)->inner);
    free(disk);
}

static bool fault_allocated(struct replica_disk *disk, struct extents *ret,
                            struct err *err)
{
    return replica_disk_allocated(((struct fault_disk *)disk)->inner, ret, err);
}

static bool fault_writer_open(struct replica_disk *base, struct replica_writer **ret,
                              struct err *err)
{
    struct fault_disk *disk = (struct fault_disk *)base;
    struct replica_writer *inner;
    if (!replica_disk_writer_open(disk->inner, &inner, err))
        return false;
    struct fault_writer *writer = xcalloc(1, sizeof *writer);
    writer->base.ops = &FAULT_OPS;
    writer->target = disk->target;
    writer->inner = inner;
    *ret = &writer->base;
    return true;
}

static uint8_t *fault_room(struct replica_writer *writer)
{
    return replica_writer_room(((struct fault_writer *)writer)->inner);
}

static bool fault_put(struct replica_writer *base, uint64_t offset_bytes,
                      const uint8_t *data, size_t data_bytes, struct err *err)
{
    struct fault_writer *writer = (struct fault_writer *)base;
    const struct target_fault_options *options = &writer->target->options;
    uint64_t random;
    if (!is_hit(writer->target, &random) || data_bytes == 0)
        return replica_writer_put(writer->inner, offset_bytes, data, data_bytes, err);
    if (options->delay_ms)
        clock_sleep_ms(options->delay_ms);
    if (options->corrupt) {
        AUTO(free) uint8_t *copy = xcalloc(1, data_bytes);
        memcpy(copy, data, data_bytes);
        uint64_t bit = mix(random) % (data_bytes * 8);
        copy[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        return replica_writer_put(writer->inner, offset_bytes, copy, data_bytes, err);
    }
    if (options->kind != FAIL_NONE)
        return err_set(err, options->kind, "write at %llu of a replica disk told to fail",
                       (unsigned long long)offset_bytes);
    return replica_writer_put(writer->inner, offset_bytes, data, data_bytes, err);
}

static bool fault_zero(struct replica_writer *writer, uint64_t start_bytes,
                       uint64_t end_bytes, struct err *err)
{
    return replica_writer_zero(((struct fault_writer *)writer)->inner, start_bytes,
                               end_bytes, err);
}

static bool fault_drain(struct replica_writer *writer, struct err *err)
{
    return replica_writer_drain(((struct fault_writer *)writer)->inner, err);
}

static void fault_writer_close(struct replica_writer *writer)
{
    replica_writer_close(((struct fault_writer *)writer)->inner);
    free(writer);
}

static const struct target_ops FAULT_OPS = {
    .kind = "fault",
    .check = fault_check,
    .replica_create = fault_replica_create,
    .disk_open = fault_disk_open,
    .disk_resize = fault_disk_resize,
    .test_start = fault_test_start,
    .test_cleanup = fault_test_cleanup,
    .migrate = fault_migrate,
    .complete = fault_complete,
    .remove = fault_remove,
    .list = fault_list,
    .inventory = fault_inventory,
    .close = fault_close,
    .read = fault_read,
    .flush = fault_flush,
    .disk_bytes = fault_disk_bytes,
    .disk_close = fault_disk_close,
    .allocated = fault_allocated,
    .writer_open = fault_writer_open,
    .room = fault_room,
    .put = fault_put,
    .zero = fault_zero,
    .drain = fault_drain,
    .writer_close = fault_writer_close,
};

struct target *target_fault_new(struct target *inner,
                                const struct target_fault_options *options)
{
    struct fault_target *target = xcalloc(1, sizeof *target);
    target->base.ops = &FAULT_OPS;
    target->inner = inner;
    target->options = *options;
    target->trigger_path = options->trigger_path ? xstrdup(options->trigger_path) : NULL;
    return &target->base;
}
