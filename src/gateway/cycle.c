/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One cycle from its snapshot to its end.
 *
 * C1  base: the change ids come from the plan of the committed recovery point, nothing
 * else; C2  a cycle is resumed only when the source has the very same point in time; its
 * plan, journal and segments are then valid as they are; C3  the plan of a new cycle is
 * durable before its first segment; C4  the snapshot is released before the maps advance:
 * both are repeated by cycle_settle. The hash maps are consulted only when they describe
 * exactly the base and nothing is in doubt.
 */
#include "gateway/cycle_impl.h"

#include "base/fault.h"
#include "base/log.h"

#include <stdatomic.h>

static void cycle_free(struct cycle *cycle)
{
    if (!cycle)
        return;
    for (size_t i = 0; i < MACHINE_MAX_DISKS; i++) {
        hashmap_close(cycle->maps[i]);
        extents_release(&cycle->covered[i]);
    }
    plan_release(&cycle->plan);
    manifest_release(&cycle->manifest);
    free(cycle);
}
AUTO_CLEANUP(struct cycle, cycle_free);

static bool check_options(const struct cycle_options *o, struct err *err)
{
    if (o->workers > 16 || o->putters > 16)
        return err_set(err, FAIL_INPUT, "more than 16 workers or putters");
    if (o->segment_bytes &&
        (o->segment_bytes < 2 * MIB || o->segment_bytes > SEGMENT_MAX_BYTES))
        return err_set(err, FAIL_INPUT, "segment size %u; allowed is 2 MiB to 64 MiB",
                       o->segment_bytes);
    if (o->record_span_bytes && o->record_span_bytes != BLOCK_BYTES &&
        o->record_span_bytes != RECORD_SPAN_MAX_BYTES)
        return err_set(err, FAIL_INPUT, "record span %u; allowed is 64 KiB or 1 MiB",
                       o->record_span_bytes);
    return true;
}

struct cycle_options cycle_options_default(void)
{
    return (struct cycle_options){.method = PACK_LZ4,
                                  .level = 1,
                                  .skip_same = true,
                                  .check_ppm = TRACKING_CHECK_PPM};
}

static void fill_defaults(struct cycle_options *o)
{
    o->workers = o->workers ? o->workers : 2;
    o->putters = o->putters ? o->putters : 2;
    o->segment_bytes = o->segment_bytes ? o->segment_bytes : (uint32_t)(4 * MIB);
    o->record_span_bytes = o->record_span_bytes ? o->record_span_bytes : BLOCK_BYTES;
    o->read_bytes = o->read_bytes ? o->read_bytes : (uint32_t)(256 * KIB);
    o->read_bytes = MAX_OF(o->read_bytes, o->record_span_bytes);
    o->reads_in_flight = o->reads_in_flight ? o->reads_in_flight : 4;
    o->reads_in_flight = MIN_OF(o->reads_in_flight, READER_MAX_IN_FLIGHT);
}

uint32_t cycle_segment_bytes(uint32_t configured_bytes, uint64_t planned_bytes)
{
    uint64_t bytes = 4 * MIB;
    for (uint64_t reach = 1 * TIB; planned_bytes > reach && bytes < SEGMENT_MAX_BYTES;
         reach *= 4)
        bytes *= 2;
    return planned_bytes > 1 * TIB ? (uint32_t)MAX_OF(bytes, configured_bytes)
                                   : configured_bytes;
}

uint64_t cycle_memory_bytes(const struct cycle_options *options)
{
    struct cycle_options o = *options;
    fill_defaults(&o);
    return (uint64_t)(o.workers + o.putters + 1) * o.segment_bytes +
           (uint64_t)o.workers * o.reads_in_flight * o.read_bytes;
}

struct cycle_store context_state_store(const struct cycle_context *context)
{
    return (struct cycle_store){context->state_store, context->data_key,
                                &context->machine->id};
}

struct cycle_store context_log_store(const struct cycle_context *context)
{
    return (struct cycle_store){context->log_store, context->data_key,
                                &context->machine->id};
}

/* What of an earlier, unfinished cycle and of the base must be known to open a new one.
 */
struct earlier {
    bool has_base, has_unfinished, has_doubt;
    struct plan base, unfinished, doubt;
};

static void earlier_release(struct earlier *earlier)
{
    plan_release(&earlier->base);
    plan_release(&earlier->unfinished);
    plan_release(&earlier->doubt);
}

static bool load_earlier(const struct cycle *cycle, struct earlier *ret,
                         uint64_t *ret_newest, struct err *err)
{
    const struct cycle_context *context = &cycle->context;
    const struct replica_state *replica = &cycle->replica;
    struct cycle_store cs = context_state_store(context);
    uint64_t unfinished;
    if (!find_unfinished(context, replica->recovery_point, &unfinished, err))
        return false;
    *ret_newest = MAX_OF(unfinished, replica->recovery_point);
    ret->has_base = replica->recovery_point != 0;
    if (ret->has_base &&
        !cycle_store_get_plan(&cs, replica->recovery_point, &ret->base, err))
        return err_hint(
            err, "without it the changes since the recovery point are unknown; ask for a "
                 "resync");
    ret->has_doubt = replica->doubt != 0;
    if (ret->has_doubt && !cycle_store_get_plan(&cs, replica->doubt, &ret->doubt, err))
        return false;
    struct err why = ERR_INIT;
    ret->has_unfinished =
        unfinished && cycle_store_get_plan(&cs, unfinished, &ret->unfinished, &why);
    if (unfinished && !ret->has_unfinished && why.kind != FAIL_CORRUPT) {
        *err = why;
        return false;
    }
    return true;
}

static void change_id_of(const struct earlier *earlier, const struct id *disk,
                         const char **ret)
{
    *ret = "";
    for (size_t i = 0; earlier->has_base && i < earlier->base.disk_count; i++)
        if (id_equal(&earlier->base.disks[i].disk, disk))
            *ret = earlier->base.disks[i].change_id;
}

static bool take_snapshot(struct cycle *cycle, const struct earlier *earlier,
                          uint64_t number, struct err *err)
{
    const struct machine_def *machine = cycle->context.machine;
    struct snapshot_request request = {
        .machine = machine, .cycle = number, .quiesce = cycle->context.options.quiesce};
    for (size_t i = 0; i < machine->disk_count; i++)
        change_id_of(earlier, &machine->disks[i].id, &request.previous_change_ids[i]);
    if (earlier->has_unfinished && plan_is_of(&earlier->unfinished, machine) &&
        earlier->unfinished.base_cycle == cycle->replica.recovery_point) {
        request.resume_handle = earlier->unfinished.snapshot;
        request.resume_cycle = earlier->unfinished.cycle;
    }
    if (FAULT(CYCLE_BEFORE_SNAPSHOT, err) ||
        !source_snapshot_open(cycle->context.source, &request, cycle->context.cancel,
                              &cycle->snapshot, err))
        return err_wrap(err, "snapshot of machine '%s'", machine->name);
    return !FAULT(CYCLE_AFTER_SNAPSHOT, err);
}

/* The maps may be asked when each describes the base exactly; those of an initial cycle
 * when it had carried (carry.c) before it was interrupted. */
static bool open_maps(struct cycle *cycle, struct err *err)
{
    const struct plan *plan = &cycle->plan;
    uint64_t base = plan->base_cycle ? plan->base_cycle : plan->cycle | HASHMAP_BENEATH;
    bool may = cycle->context.options.skip_same &&
               cycle->replica.doubt == (plan->base_cycle ? 0 : plan->cycle);
    for (size_t i = 0; i < cycle->plan.disk_count && may && cycle->context.map_dir; i++) {
        if (!open_map(&cycle->context, i, &cycle->maps[i], err))
            return false;
        may = hashmap_cycle(cycle->maps[i]) == base;
    }
    cycle->may_skip = may && cycle->context.map_dir;
    return true;
}

/* Drops what an ended cycle has sent. What may be on the replica is still needed: all of
 * an initial cycle, for the next one to carry; the plan of a later one, as its doubt. */
static bool give_up(const struct cycle *cycle, const struct replica_state *now,
                    uint64_t number, struct err *err)
{
    bool is_doubt = now->doubt == number;
    if (now->applying == number || (is_doubt && now->recovery_point == 0))
        return true;
    return remove_cycle_data(&cycle->context, number, is_doubt, err);
}

static bool start_plan(struct cycle *cycle, struct earlier *earlier, uint64_t number,
                       bool on_demand, struct err *err)
{
    if (snapshot_is_resumed(cycle->snapshot)) {
        cycle->is_resumed = true;
        cycle->plan = earlier->unfinished;
        earlier->unfinished = (struct plan){0};
        return open_maps(cycle, err);
    }
    struct cycle_store cs = context_state_store(&cycle->context);
    uint64_t old = earlier->has_unfinished ? earlier->unfinished.cycle : 0;
    if (old && !give_up(cycle, &cycle->replica, old, err))
        return false;
    return plan_make(cycle, number, on_demand, earlier->has_base ? &earlier->base : NULL,
                     earlier->has_doubt ? &earlier->doubt : NULL, err) &&
           open_maps(cycle, err) && tracking_check(cycle, err) &&
           cycle_store_put_plan(&cs, &cycle->plan, err) && !FAULT(CYCLE_AFTER_PLAN, err);
}

/* Field by field: others read them at any time. */
static void reset_progress(struct cycle *cycle)
{
    struct cycle_progress *p = cycle->context.progress;
    _Atomic uint64_t *const fields[] = {
        &p->done_bytes,    &p->read_bytes,   &p->zero_bytes, &p->same_bytes,
        &p->content_bytes, &p->stored_bytes, &p->segments};
    uint64_t planned = 0;
    for (size_t i = 0; i < cycle->plan.disk_count; i++)
        planned += extents_total_bytes(&cycle->plan.disks[i].bitmap.runs);
    struct cycle_options *o = &cycle->context.options;
    o->segment_bytes = cycle_segment_bytes(o->segment_bytes, planned);
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++)
        atomic_store(fields[i], 0);
    atomic_store(&p->planned_bytes, planned);
}

bool cycle_open(const struct cycle_context *context, uint64_t next_cycle, bool on_demand,
                struct cycle **ret, struct err *err)
{
    __attribute__((cleanup(earlier_release))) struct earlier earlier = {0};
    AUTO(cycle_free) struct cycle *cycle = xcalloc(1, sizeof *cycle);
    struct cycle_store cs = context_state_store(context);
    uint64_t newest;
    cycle->context = *context;
    if (!check_options(&context->options, err))
        return false;
    fill_defaults(&cycle->context.options);
    if (!cycle_settle(context, err) ||
        !cycle_store_get_replica(&cs, &cycle->replica, err) ||
        !load_earlier(cycle, &earlier, &newest, err))
        return false;
    uint64_t number = MAX_OF(next_cycle, newest + 1);
    bool ok = take_snapshot(cycle, &earlier, number, err) &&
              start_plan(cycle, &earlier, number, on_demand, err);
    if (!ok) {
        struct err ignored = ERR_INIT;
        if (cycle->snapshot && !snapshot_end(cycle->snapshot, SNAPSHOT_FAILED, &ignored))
            log_debug("snapshot_end_failed", "text=\"%s\"", ignored.text);
        return false;
    }
    reset_progress(cycle);
    *ret = TAKE(cycle);
    return true;
}

const struct plan *cycle_plan(const struct cycle *cycle)
{
    return &cycle->plan;
}

bool cycle_is_resumed(const struct cycle *cycle)
{
    return cycle->is_resumed;
}

bool cycle_may_stream(const struct cycle *cycle)
{
    return cycle->plan.base_cycle == 0;
}

bool cycle_caught_lie(const struct cycle *cycle, size_t disk_index,
                      uint64_t *ret_offset_bytes)
{
    *ret_offset_bytes = cycle->lies[disk_index].offset_bytes;
    return cycle->lies[disk_index].is_caught;
}

struct snapshot *cycle_snapshot(struct cycle *cycle)
{
    return cycle->snapshot;
}

bool cycle_send(struct cycle *cycle, struct err *err)
{
    manifest_release(&cycle->manifest);
    cycle->manifest = (struct manifest){.machine = cycle->plan.machine,
                                        .cycle = cycle->plan.cycle,
                                        .base_cycle = cycle->plan.base_cycle,
                                        .kind = cycle->plan.kind};
    if (!journal_load(cycle, err) || !send_run(cycle, err))
        return err_wrap(err, "cycle %llu", (unsigned long long)cycle->plan.cycle);
    return true;
}

bool cycle_end(struct cycle *cycle, enum snapshot_outcome outcome, struct err *err)
{
    AUTO(cycle_free)
    __attribute__((unused)) struct cycle *owned = cycle; /* freed on every way out */
    struct replica_state now;
    bool ok = !FAULT(CYCLE_BEFORE_RELEASE, err);
    struct err late = ERR_INIT;
    if (!snapshot_end(cycle->snapshot, outcome, &late) && ok) {
        *err = late;
        ok = false;
    }
    if (!ok || FAULT(CYCLE_AFTER_RELEASE, err))
        return err_wrap(err, "release the snapshot");
    if (outcome == SNAPSHOT_DETACHED)
        return true;
    for (size_t i = 0; i < MACHINE_MAX_DISKS; i++) {
        hashmap_close(cycle->maps[i]);
        cycle->maps[i] = NULL;
    }
    if (outcome == SNAPSHOT_FAILED) {
        uint64_t number = cycle->plan.cycle;
        struct cycle_store cs = context_state_store(&cycle->context);
        return cycle_store_get_replica(&cs, &now, err) &&
               give_up(cycle, &now, number, err);
    }
    return cycle_settle(&cycle->context, err);
}
