/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source that misbehaves on purpose, in front of any other: reads that fail, answer
 * late, or come back with a flipped bit. For tests and for demonstrations on a real
 * machine; everything but reads passes through.
 *
 * Which read misbehaves follows from the seed and the read's number alone, so a run can
 * be repeated. A corrupted read is one that the inner source did without failing.
 */
#include "source/source.h"

#include "base/clock.h"
#include "base/file.h"

#include <stdatomic.h>

struct fault_source {
    struct source base;
    /* Set by source_fault_new, never changed. */
    struct source *inner; /* owned */
    struct source_fault_options options;
    char *trigger_path; /* NULL: always */
    /* Atomic. */
    _Atomic uint64_t read_count;
};

struct fault_snapshot {
    struct snapshot base;
    struct fault_source *source;
    struct snapshot *inner; /* owned */
};

struct fault_reader {
    struct reader base;
    struct fault_source *source;
    struct reader *inner; /* owned */
};

#define INNER_SOURCE(s)   (((struct fault_source *)(s))->inner)
#define INNER_SNAPSHOT(s) (((struct fault_snapshot *)(s))->inner)

/* splitmix64: one well-mixed number from two. */
static uint64_t mix(uint64_t seed, uint64_t number)
{
    uint64_t z = seed + (number + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static bool is_armed(const struct fault_source *source)
{
    return !source->trigger_path || file_exists(source->trigger_path);
}

static bool fault_discover(struct source *source, struct machine_def **ret_machines,
                           size_t *ret_count, struct err *err)
{
    return source_discover(INNER_SOURCE(source), ret_machines, ret_count, err);
}

static bool fault_find(struct source *source, const char *name, struct machine_def *ret,
                       struct err *err)
{
    return source_find(INNER_SOURCE(source), name, ret, err);
}

static bool fault_inventory(struct source *source, json_t **ret, struct err *err)
{
    return source_inventory(INNER_SOURCE(source), ret, err);
}

static bool fault_check(struct source *source, const struct machine_def *machine,
                        struct findings *findings, struct err *err)
{
    return source_check(INNER_SOURCE(source), machine, findings, err);
}

static bool fault_snapshot_open(struct source *source,
                                const struct snapshot_request *request,
                                const struct cancel *cancel, struct snapshot **ret,
                                struct err *err)
{
    struct snapshot *inner;
    if (!source_snapshot_open(INNER_SOURCE(source), request, cancel, &inner, err))
        return false;
    struct fault_snapshot *snapshot = xcalloc(1, sizeof *snapshot);
    snapshot->base.ops = source->ops;
    snapshot->source = (struct fault_source *)source;
    snapshot->inner = inner;
    *ret = &snapshot->base;
    return true;
}

static bool fault_shutdown(struct source *source, const struct machine_def *machine,
                           uint64_t deadline_ms, const struct cancel *cancel,
                           struct err *err)
{
    return source_shutdown(INNER_SOURCE(source), machine, deadline_ms, cancel, err);
}

static bool fault_startup(struct source *source, const struct machine_def *machine,
                          const struct cancel *cancel, struct err *err)
{
    return source_startup(INNER_SOURCE(source), machine, cancel, err);
}

static bool fault_forget(struct source *source, const struct machine_def *machine,
                         struct err *err)
{
    return source_forget(INNER_SOURCE(source), machine, err);
}

static void fault_close(struct source *base)
{
    struct fault_source *source = (struct fault_source *)base;
    source_close(source->inner);
    free(source->trigger_path);
    free(source);
}

static bool fault_disk_info(struct snapshot *snapshot, size_t disk_index,
                            struct snapshot_disk_info *ret, struct err *err)
{
    return snapshot_disk_info(INNER_SNAPSHOT(snapshot), disk_index, ret, err);
}

static bool fault_changes(struct snapshot *snapshot, size_t disk_index,
                          struct extents *ret, struct err *err)
{
    return snapshot_changes(INNER_SNAPSHOT(snapshot), disk_index, ret, err);
}

static bool fault_allocated(struct snapshot *snapshot, size_t disk_index,
                            struct extents *ret, struct err *err)
{
    return snapshot_allocated(INNER_SNAPSHOT(snapshot), disk_index, ret, err);
}

static const char *fault_handle(const struct snapshot *snapshot)
{
    return snapshot_handle(((const struct fault_snapshot *)snapshot)->inner);
}

static bool fault_is_resumed(const struct snapshot *snapshot)
{
    return snapshot_is_resumed(((const struct fault_snapshot *)snapshot)->inner);
}

static void fault_facts(struct snapshot *snapshot, struct snapshot_facts *ret)
{
    snapshot_facts_get(INNER_SNAPSHOT(snapshot), ret);
}

static bool fault_snapshot_end(struct snapshot *base, enum snapshot_outcome outcome,
                               struct err *err)
{
    bool ok = snapshot_end(INNER_SNAPSHOT(base), outcome, err);
    free(base);
    return ok;
}

static bool fault_reader_open(struct snapshot *base, size_t disk_index,
                              struct reader **ret, struct err *err)
{
    struct reader *inner;
    if (!snapshot_reader_open(INNER_SNAPSHOT(base), disk_index, &inner, err))
        return false;
    struct fault_reader *reader = xcalloc(1, sizeof *reader);
    reader->base.ops = base->ops;
    reader->source = ((struct fault_snapshot *)base)->source;
    reader->inner = inner;
    *ret = &reader->base;
    return true;
}

static bool fault_submit(struct reader *base, struct read_request *request,
                         struct err *err)
{
    return reader_submit(((struct fault_reader *)base)->inner, request, err);
}

static struct read_request *fault_next(struct reader *base, const struct cancel *cancel,
                                       struct err *err)
{
    struct fault_reader *reader = (struct fault_reader *)base;
    struct fault_source *source = reader->source;
    const struct source_fault_options *options = &source->options;
    struct read_request *request = reader_next(reader->inner, cancel, err);
    if (!request || !request->ok || !is_armed(source))
        return request;
    uint64_t number = atomic_fetch_add(&source->read_count, 1);
    uint64_t dice = mix(options->seed, number);
    if (options->delay_ms)
        clock_sleep_ms(options->delay_ms);
    if (number < options->after_reads || dice % 1000000 >= options->rate_per_million)
        return request;
    if (options->corrupt) {
        uint64_t bit = mix(dice, number) % ((uint64_t)request->length_bytes * 8);
        request->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        return request;
    }
    request->ok = false;
    (void)err_set(&request->err, options->kind == FAIL_NONE ? FAIL_IO : options->kind,
                  "read %u bytes at %llu: injected fault %llu", request->length_bytes,
                  (unsigned long long)request->offset_bytes, (unsigned long long)number);
    return request;
}

static void fault_reader_close(struct reader *base)
{
    reader_close(((struct fault_reader *)base)->inner);
    free(base);
}

static const struct source_ops fault_ops = {
    .kind = "fault",
    .discover = fault_discover,
    .find = fault_find,
    .inventory = fault_inventory,
    .check = fault_check,
    .snapshot_open = fault_snapshot_open,
    .shutdown = fault_shutdown,
    .startup = fault_startup,
    .forget = fault_forget,
    .close = fault_close,
    .disk_info = fault_disk_info,
    .changes = fault_changes,
    .allocated = fault_allocated,
    .handle = fault_handle,
    .is_resumed = fault_is_resumed,
    .facts = fault_facts,
    .snapshot_end = fault_snapshot_end,
    .reader_open = fault_reader_open,
    .submit = fault_submit,
    .next = fault_next,
    .reader_close = fault_reader_close,
};

struct source *source_fault_new(struct source *inner,
                                const struct source_fault_options *options)
{
    struct fault_source *source = xcalloc(1, sizeof *source);
    source->base.ops = &fault_ops;
    source->inner = inner;
    source->options = *options;
    if (options->trigger_path)
        source->trigger_path = xstrdup(options->trigger_path);
    return &source->base;
}
