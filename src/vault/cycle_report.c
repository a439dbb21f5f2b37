/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outcome of a cycle, told once to everybody: catalog row, events, machine.
 *
 * Invariants: P1 a cycle that was opened has a row, and the row ends with a state that
 * says what became of it; P2 the machine's recovery point is what the applier says, never
 * what we hope; P3 a failure that will be tried again sets the time of the next try.
 */
#include "vault/cycle_report.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/text.h"

static void put_row(struct cycle_report *report, struct work *work, const char *state,
                    const struct err *failure)
{
    struct cycle_watch *watch = &work->machine->watch;
    struct cycle_progress *p = &watch->progress;
    struct err err = ERR_INIT;
    struct catalog_cycle row = {
        .machine = work->machine->id,
        .cycle = report->number,
        .started_ms = report->started_ms,
        .ended_ms = *state == 'r' ? 0 : clock_wall_ms(), /* "running" */
        .snapshot_ms = report->snapshot_ms,
        .planned_bytes = p->planned_bytes,
        .read_bytes = p->read_bytes,
        .zero_bytes = p->zero_bytes,
        .same_bytes = p->same_bytes,
        .sent_bytes = p->content_bytes,
        .stored_bytes = p->stored_bytes,
        .applied_bytes = watch->applied.written_bytes + watch->applied.zeroed_bytes,
        .error_text = failure ? (char *)(uintptr_t)failure->text : NULL, /* only read */
    };
    text_copy(row.kind, sizeof row.kind, cycle_kind_name(report->kind));
    text_copy(row.state, sizeof row.state, state);
    if (!catalog_cycle_put(work->vault->catalog, &row, &err)) {
        char quoted[LOG_QUOTED_BYTES];
        log_error("cycle_row_lost", "machine=%s cycle=%llu text=%s", work->machine->name,
                  (unsigned long long)report->number, log_quote(err.text, quoted));
    }
}

void cycle_report_recovered(struct work *work, const struct replica_state *replica)
{
    AUTO(catalog_cycle_list_release) struct catalog_cycle_list list = {0};
    struct catalog *catalog = work->vault->catalog;
    struct err err = ERR_INIT;
    bool ok = catalog_cycle_list(catalog, &work->machine->id, 5, &list, &err);
    for (size_t i = 0; ok && i < list.count; i++) {
        struct catalog_cycle *row = &list.items[i];
        if (row->cycle != replica->recovery_point || strcmp(row->state, "applied") == 0)
            continue;
        text_copy(row->state, sizeof row->state, "applied");
        ok = catalog_cycle_put(catalog, row, &err);
    }
    if (!ok)
        log_error("cycle_row_lost", "machine=%s text=\"%s\"", work->machine->name,
                  err.text);
}

void cycle_report_begin(struct cycle_report *report, struct work *work,
                        const struct plan *plan, bool is_resumed)
{
    struct cycle_watch *watch = &work->machine->watch;
    char planned[TEXT_HUMAN_BYTES];
    *report = (struct cycle_report){.is_open = true,
                                    .number = plan->cycle,
                                    .kind = plan->kind,
                                    .was_initial = plan->base_cycle == 0,
                                    .started_ms = clock_wall_ms(),
                                    .started_mono_ms = clock_mono_ms(),
                                    .snapshot_ms = plan->wall_ms};
    {
        LOCK_GUARD(&work->vault->lock);
        work->machine->has_open_cycle = true;
        watch->is_running = true;
        watch->is_resumed = is_resumed;
        watch->number = plan->cycle;
        watch->kind = plan->kind;
        watch->started_ms = report->started_ms;
        watch->snapshot_ms = plan->wall_ms;
        watch->sampled_mono_ms = clock_mono_ms();
        watch->sampled_done_bytes = 0;
        watch->sampled_stored_bytes = 0;
        watch->rate_bps = watch->sent_bps = 0;
    }
    put_row(report, work, "running", NULL);
    vault_event(work->vault, work->machine, work->job, "info",
                is_resumed ? "cycle_resumed" : "cycle_started",
                "cycle %llu (%s), %s to bring", (unsigned long long)plan->cycle,
                cycle_kind_name(plan->kind),
                text_bytes(watch->progress.planned_bytes, planned));
}

static void tell_done(struct cycle_report *report, struct work *work, uint64_t took_ms)
{
    struct cycle_progress *p = &work->machine->watch.progress;
    char read[TEXT_HUMAN_BYTES], stored[TEXT_HUMAN_BYTES], took[TEXT_HUMAN_BYTES];
    vault_event(work->vault, work->machine, work->job, "info", "cycle_done",
                "cycle %llu (%s): read %s, sent %s, took %s",
                (unsigned long long)report->number, cycle_kind_name(report->kind),
                text_bytes(p->read_bytes, read), text_bytes(p->stored_bytes, stored),
                text_duration(took_ms, took));
}

static void applied(struct cycle_report *report, struct work *work,
                    const struct replica_state *replica)
{
    uint64_t now_ms = clock_wall_ms();
    uint64_t took_ms = MAX_OF(clock_mono_ms() - report->started_mono_ms, (uint64_t)1);
    struct machine_change change = {
        .trigger = ON_APPLIED,
        .clear_failure = true,
        .replica = replica,
        .duration_ms = took_ms,
        .has_next = true,
        .next_cycle_ms = sched_next_delta_ms(&work->vault->rules, report->was_initial,
                                             now_ms, took_ms),
        .trust_map = report->kind == CYCLE_RESYNC || report->was_initial,
    };
    machine_change(work->vault, work->machine, &change);
    tell_done(report, work, took_ms);
}

static bool is_permanent(enum err_kind kind)
{
    return kind == FAIL_AUTH || kind == FAIL_CONFLICT || kind == FAIL_LIMIT ||
           kind == FAIL_INPUT || kind == FAIL_BUG;
}

/* A cycle that was told to let go failed at nothing. */
static void failed(struct work *work, const struct err *failure, bool again)
{
    struct machine_change change = {.trigger = TRIGGER_COUNT, .failure = failure};
    uint64_t random = 0;
    uint32_t failures = 0;
    if (work_ending(work) != WORK_GOES_ON)
        return;
    {
        LOCK_GUARD(&work->vault->lock);
        failures = work->machine->failures;
    }
    secret_random(&random, sizeof random);
    change.has_next = true;
    change.next_cycle_ms = clock_wall_ms() + sched_backoff_ms(failures + 1, random);
    if (is_permanent(failure->kind))
        change.trigger = ON_CYCLE_FAILED;
    machine_change(work->vault, work->machine, &change);
    if (!again)
        vault_event(work->vault, work->machine, work->job, "error", "cycle_failed", "%s",
                    failure->text);
}

void cycle_report_end(struct cycle_report *report, struct work *work,
                      enum snapshot_outcome outcome, const struct replica_state *replica,
                      const struct err *failure)
{
    bool is_applied = outcome == SNAPSHOT_APPLIED;
    const char *state = is_applied                     ? "applied"
                        : outcome == SNAPSHOT_DETACHED ? "detached"
                                                       : "failed";
    if (!report->is_open)
        return;
    put_row(report, work, state, failure);
    {
        LOCK_GUARD(&work->vault->lock);
        work->machine->has_open_cycle = outcome == SNAPSHOT_DETACHED;
    }
    if (is_applied)
        applied(report, work, replica);
}

void cycle_report_difference(struct work *work)
{
    struct err err = ERR_INIT;
    struct machine *machine = work->machine;
    uint64_t job = 0;
    machine_change(
        work->vault, machine,
        &(struct machine_change){.trigger = ON_REPAIR_NEEDED, .distrust_map = true});
    if (!machine->auto_repair)
        return;
    LOCK_GUARD(&work->vault->change_lock);
    if (!job_add(work->vault, machine, OP_RESYNC, NULL, NULL, &job, &err))
        log_error("auto_repair_failed", "machine=%s text=\"%s\"", machine->name,
                  err.text);
}

void cycle_report_close(struct work *work, const struct err *failure, bool again)
{
    {
        LOCK_GUARD(&work->vault->lock);
        work->machine->watch.is_running = false;
    }
    if (failure)
        failed(work, failure, again);
}
