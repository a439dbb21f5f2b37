/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One cycle of one machine, end to end:
 *
 *   recover -> open -> grow replica -> send + stream, or send, then apply -> compare
 *   (verify only) -> end -> shrink replica
 *
 * How it ends at the source follows from what went wrong, in outcome_of: what can go on
 * inside the cycle is detached, what must be carried again is failed.
 *
 * Invariants:
 *  J1  the number of a cycle is spent in the catalog before the cycle is opened;
 *  J2  a cycle whose verified writes have begun is never thrown away: its segments are
 *      what heals the replica (redo);
 *  J3  a replica disk grows before the cycle that needs the room and shrinks only after
 *      its commit, so that the older recovery point stays whole until then;
 *  J4  what happens after the commit cannot make the cycle fail: it is said, and done
 *      again by the next one;
 *  J5  a cycle of which nobody knows whether a remote applier still works on it is kept
 *      as it is; the next attempt begins with an order that ends it first.
 *  J6  an outage of the stores costs no attempt: the cycle is detached, waits as long as
 *      it takes, and goes on with what was acknowledged.
 * Must never do: decide what the states of a machine are (machine_state.c).
 */
#include "vault/cycle_facts.h"
#include "vault/cycle_report.h"
#include "vault/reach.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/secret.h"

#define CYCLE_ATTEMPTS 4
#define STORE_LOOK_MS  500

struct cycle_run {
    struct work *work;
    const struct cycle_request *request;
    struct machine_io io;
    struct cycle *cycle;
    struct apply_stream *stream; /* while an initial cycle streams */
    bool is_lost;                /* change tracking broke */
    bool is_committed;
    struct cycle_report report;
    struct cycle_facts facts;
    struct verify_result verified;
};

static struct cycle_watch *watch_of(struct cycle_run *run)
{
    return &run->work->machine->watch;
}

static void set_phase(struct cycle_run *run, enum cycle_phase phase)
{
    atomic_store(&watch_of(run)->phase, phase);
}

const char *cycle_phase_name(enum cycle_phase phase)
{
    static const char *const names[] = {
        [PHASE_SNAPSHOT] = "snapshot", [PHASE_SEND] = "send",     [PHASE_APPLY] = "apply",
        [PHASE_COMPARE] = "compare",   [PHASE_FINISH] = "finish",
    };
    return names[phase];
}

static bool push_segment(void *ctx, const struct manifest_segment *segment,
                         struct err *err)
{
    struct cycle_run *run = ctx;
    cycle_facts_look(&run->facts, run->work, cycle_snapshot(run->cycle), false);
    return !run->stream || apply_stream_push(run->stream, segment, err);
}

/* Redo of what a crash interrupted. A log too damaged for that leaves the cycle in doubt:
 * the cycle that begins now carries its extents again. */
static bool recover(struct cycle_run *run, struct err *err)
{
    struct err why = ERR_INIT;
    struct replica_state state;
    struct work *work = run->work;
    if (!replica_recover(&run->io, &why)) {
        if (why.kind != FAIL_CORRUPT) {
            *err = why;
            return err_wrap(err, "finish the interrupted cycle");
        }
        vault_event(work->vault, work->machine, work->job, "warning", "replica_in_doubt",
                    "%s; the next cycle carries its extents again", why.text);
    }
    if (!apply_state_get(&run->io.apply, &state, err))
        return false;
    cycle_report_recovered(work, &state);
    machine_change(work->vault, work->machine,
                   &(struct machine_change){.trigger = TRIGGER_COUNT, .replica = &state});
    return true;
}

static uint64_t spend_number(struct cycle_run *run)
{
    struct vault *vault = run->work->vault;
    struct machine *machine = run->work->machine;
    uint64_t number = 0;
    {
        LOCK_GUARD(&vault->lock);
        number = MAX_OF(machine->next_cycle_number, (uint64_t)1);
    }
    machine_change(vault, machine,
                   &(struct machine_change){.trigger = TRIGGER_COUNT,
                                            .next_cycle_number = number + 1});
    return number;
}

static bool tracking_lost(struct cycle_run *run, bool *ret_lost, struct err *err)
{
    *ret_lost = false;
    if (cycle_plan(run->cycle)->base_cycle == 0)
        return true; /* an initial cycle needs no tracking */
    for (size_t i = 0; i < run->io.def->disk_count; i++) {
        struct snapshot_disk_info info;
        if (!snapshot_disk_info(cycle_snapshot(run->cycle), i, &info, err))
            return false;
        if (info.knowledge != CHANGES_LOST)
            continue;
        *ret_lost = true;
        vault_event(run->work->vault, run->work->machine, run->work->job, "warning",
                    "tracking_lost", "disk '%s': %s", run->io.def->disks[i].label,
                    info.why);
    }
    return true;
}

/* An unfinished delta found again cannot serve as a resync: it is given up. */
static bool open_cycle(struct cycle_run *run, struct err *err)
{
    for (int again = 0; again < 2; again++) {
        if (!cycle_open(&run->io.cycle, spend_number(run), run->request->on_demand,
                        &run->cycle, err))
            return false;
        enum cycle_kind kind = cycle_plan(run->cycle)->kind;
        if (!run->request->resync || !cycle_is_resumed(run->cycle) ||
            kind == CYCLE_RESYNC || kind == CYCLE_INITIAL)
            return true;
        if (!cycle_end(TAKE(run->cycle), SNAPSHOT_FAILED, err))
            return false;
    }
    return err_set(err, FAIL_BUG, "a cycle that was given up was found again");
}

static bool begin(struct cycle_run *run, struct err *err)
{
    struct vault *vault = run->work->vault;
    struct machine *machine = run->work->machine;
    set_phase(run, PHASE_SNAPSHOT);
    if (!open_cycle(run, err))
        return false;
    cycle_facts_begin(&run->facts, run->work, run->cycle, run->io.def);
    if (!tracking_lost(run, &run->is_lost, err))
        return false;
    if (run->is_lost && !run->request->resync && !machine->auto_repair) {
        machine_change(vault, machine,
                       &(struct machine_change){.trigger = ON_REPAIR_NEEDED});
        return err_set(err, FAIL_CONFLICT,
                       "change tracking of machine '%s' was lost and automatic repair is "
                       "off; ask for resync",
                       machine->name);
    }
    unsigned trigger = ON_CYCLE_STARTED;
    if (run->is_lost)
        trigger = ON_RESYNC_STARTED;
    machine_change(vault, machine, &(struct machine_change){.trigger = trigger});
    cycle_report_begin(&run->report, run->work, cycle_plan(run->cycle),
                       cycle_is_resumed(run->cycle));
    return true;
}

/* The replica follows the size that the disk has at this point in time. */
static bool follow_sizes(struct cycle_run *run, bool grow, struct err *err)
{
    const struct plan *plan = cycle_plan(run->cycle);
    struct machine_def *def = run->io.def;
    bool is_changed = false;
    for (size_t i = 0; i < plan->disk_count && i < def->disk_count; i++) {
        uint64_t old_bytes = def->disks[i].disk_bytes;
        uint64_t new_bytes = plan->disks[i].disk_bytes;
        if (grow ? new_bytes <= old_bytes : new_bytes >= old_bytes)
            continue;
        if (!target_disk_resize(run->io.target, def, i, new_bytes, err))
            return err_wrap(err, "resize replica of disk '%s'", def->disks[i].label);
        def->disks[i].disk_bytes = new_bytes;
        is_changed = true;
        vault_event(run->work->vault, run->work->machine, run->work->job, "info",
                    "disk_resized", "disk '%s': %llu -> %llu bytes", def->disks[i].label,
                    (unsigned long long)old_bytes, (unsigned long long)new_bytes);
    }
    if (is_changed)
        machine_change(run->work->vault, run->work->machine,
                       &(struct machine_change){.trigger = TRIGGER_COUNT, .def = def});
    return true;
}

static bool stream(struct cycle_run *run, struct err *err)
{
    if (!apply_stream_open(&run->io.apply, cycle_plan(run->cycle), &run->stream, err))
        return false;
    if (!cycle_carry(run->cycle, apply_stream_carried(run->stream), err) ||
        !cycle_send(run->cycle, err)) {
        apply_stream_cancel(TAKE(run->stream));
        return false;
    }
    set_phase(run, PHASE_APPLY);
    return apply_stream_finish(TAKE(run->stream), err);
}

static bool move_data(struct cycle_run *run, struct err *err)
{
    set_phase(run, PHASE_SEND);
    if (cycle_may_stream(run->cycle) && !run->io.is_remote)
        return stream(run, err);
    if (!cycle_send(run->cycle, err))
        return false;
    set_phase(run, PHASE_APPLY);
    return replica_apply(&run->io, cycle_plan(run->cycle)->cycle, err);
}

static bool compare(struct cycle_run *run, struct err *err)
{
    struct cycle_watch *watch = watch_of(run);
    if (!run->request->verify)
        return true;
    set_phase(run, PHASE_COMPARE);
    atomic_store(&watch->compared_bytes, 0);
    atomic_store(&watch->compare_total_bytes, 0);
    struct verify_context context = {
        .machine = run->io.def,
        .snapshot = cycle_snapshot(run->cycle),
        .target = run->io.target,
        .cancel = &run->work->cancel,
        .done_bytes = &watch->compared_bytes,
        .total_bytes = &watch->compare_total_bytes,
    };
    if (!verify_replica(&context, &run->verified, err))
        return err_wrap(err, "verify");
    job_set_result(run->work, view_verify(run->io.def, &run->verified));
    if (run->verified.different_bytes == 0)
        return true;
    char text[300];
    verify_text(run->io.def, &run->verified, text, sizeof text);
    return err_set(err, FAIL_CORRUPT,
                   "replica differs from the source: %s; ask for resync to repair it",
                   text);
}

/* J2 and J5 are the first row; a pause and a close go on inside the cycle later, and so
 * does what waits for room or an answer. */
static enum snapshot_outcome outcome_of(struct cycle_run *run, const struct err *why)
{
    struct replica_state state;
    struct err ignored = ERR_INIT;
    enum work_end end = work_ending(run->work);
    if (run->is_committed)
        return SNAPSHOT_APPLIED;
    if (!apply_state_get(&run->io.apply, &state, &ignored) ||
        state.applying == cycle_plan(run->cycle)->cycle || run->io.is_open)
        return SNAPSHOT_DETACHED;
    if (state.recovery_point == cycle_plan(run->cycle)->cycle) {
        run->is_committed = true;
        return SNAPSHOT_APPLIED;
    }
    if (end == WORK_STOP || end == WORK_CANCELED)
        return SNAPSHOT_FAILED;
    if (end != WORK_GOES_ON)
        return SNAPSHOT_DETACHED;
    return why->kind == FAIL_NO_SPACE || why->kind == FAIL_TRANSIENT ||
                   why->kind == FAIL_CANCELED
               ? SNAPSHOT_DETACHED
               : SNAPSHOT_FAILED;
}

/* J4: a replica disk longer than the source (cut after the commit) is not wrong. */
static void after_commit(struct cycle_run *run)
{
    struct err why = ERR_INIT;
    run->is_committed = true;
    if (!follow_sizes(run, false, &why))
        vault_event(run->work->vault, run->work->machine, run->work->job, "warning",
                    "disk_resize_failed", "%s", why.text);
}

/* Ends the cycle at the source, whatever happened; tells catalog and events. */
static bool end(struct cycle_run *run, bool ok, struct err *err)
{
    struct err late = ERR_INIT;
    set_phase(run, PHASE_FINISH);
    enum snapshot_outcome outcome = outcome_of(run, ok ? &late : err);
    cycle_facts_look(&run->facts, run->work, cycle_snapshot(run->cycle), true);
    if (!cycle_end(TAKE(run->cycle), outcome, &late))
        vault_event(run->work->vault, run->work->machine, run->work->job, "warning",
                    "cycle_end_failed", "%s; the next cycle cleans up", late.text);
    struct replica_state state;
    bool knows = apply_state_get(&run->io.apply, &state, &late);
    cycle_report_end(&run->report, run->work, outcome, knows ? &state : NULL,
                     ok ? NULL : err);
    if (run->verified.different_bytes)
        cycle_report_difference(run->work);
    return ok;
}

static void watch_begin(struct cycle_run *run)
{
    struct cycle_watch *watch = watch_of(run);
    LOCK_GUARD(&run->work->vault->lock);
    watch->is_running = false; /* until the plan is known */
    watch->progress = (struct cycle_progress){0};
    watch->applied = (struct apply_progress){0};
    watch->phase = PHASE_SNAPSHOT;
    run->io.cycle.progress = &watch->progress;
    run->io.apply.progress = &watch->applied;
    run->io.cycle.on_segment = push_segment;
    run->io.cycle.on_segment_ctx = run;
    run->io.cycle.compare_all = run->request->resync;
    /* What the hash map says is not believed after a comparison that failed. */
    if (run->request->resync && run->work->machine->is_map_distrusted)
        run->io.cycle.options.skip_same = false;
}

/* A comparison reads source and replica side by side, which nobody can here. */
static bool may_compare(struct cycle_run *run, struct err *err)
{
    return !run->request->verify || !run->io.is_remote ||
           err_set(err, FAIL_CONFLICT,
                   "the replica of machine '%s' is at its applier and cannot be compared "
                   "byte by byte from here; resync compares it by digest",
                   run->work->machine->name);
}

static bool attempt(struct cycle_run *run, struct err *err)
{
    if (!machine_io_open(run->work, IO_KEY | IO_TARGET | IO_SOURCE, &run->io, err) ||
        !may_compare(run, err))
        return false;
    watch_begin(run);
    if (!recover(run, err))
        return false;
    bool ok = begin(run, err);
    if (!run->cycle)
        return false;
    ok = ok && follow_sizes(run, true, err) && move_data(run, err);
    if (ok)
        after_commit(run);
    ok = ok && compare(run, err);
    return end(run, ok, err);
}

/* An attempt failed because the stores cannot be reached; the next one would, too. */
static bool is_outage(struct work *work, const struct err *failure)
{
    struct err why = ERR_INIT;
    return failure->kind == FAIL_TRANSIENT && !work_is_hurried(work) &&
           !reach_look(work->vault, &work->cancel, &why) && why.kind != FAIL_CANCELED;
}

/* false: the work is hurried. */
static bool wait_for_stores(struct work *work)
{
    struct err why = ERR_INIT;
    bool is_told = false;
    while (!reach_is_well(work->vault, &why)) {
        if (!is_told)
            vault_event(work->vault, work->machine, work->job, "warning", "cycle_paused",
                        "%s; it goes on by itself", why.text);
        is_told = true;
        if (!work_wait(work, STORE_LOOK_MS))
            return false;
    }
    return true;
}

bool cycle_job_run(struct work *work, const struct cycle_request *request,
                   struct err *err)
{
    uint64_t random = 0;
    for (uint32_t tries = 1;; tries++) {
        struct err why = ERR_INIT;
        struct cycle_run *run = xcalloc(1, sizeof *run);
        run->work = work;
        run->request = request;
        bool ok = attempt(run, &why);
        bool is_held = !ok && is_outage(work, &why);
        bool again = is_held || (!ok && why.kind == FAIL_TRANSIENT &&
                                 tries < CYCLE_ATTEMPTS && !work_is_hurried(work));
        cycle_report_close(work, ok || run->is_committed ? NULL : &why, again);
        machine_io_close(&run->io);
        free(run);
        if (ok)
            return true;
        *err = why;
        if (is_held && !wait_for_stores(work))
            break;
        if (is_held)
            tries = 0; /* J6 */
        secret_random(&random, sizeof random);
        if (!again)
            break;
        uint64_t wait_ms =
            MAX_OF(sched_backoff_ms(MAX_OF(tries, 1u), random), why.retry_after_ms);
        vault_event(work->vault, work->machine, work->job, "warning", "cycle_retry",
                    "%s; trying again in %llu ms", why.text, (unsigned long long)wait_ms);
        if (!work_wait(work, wait_ms))
            break;
    }
    return false;
}
