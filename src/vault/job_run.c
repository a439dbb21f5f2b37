/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running one job: its steps in order, each recorded before and after; then what became
 * of it. The worker holds the machine's lease.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/text.h"
#include "vault/ops.h"
#include "vault/records.h"

static bool note_step(struct work *work, uint32_t index, bool is_done, struct err *err)
{
    struct job *job = work->job;
    {
        LOCK_GUARD(&work->vault->lock);
        job->is_running = true;
        if (!job->started_ms)
            job->started_ms = clock_wall_ms();
        job->steps_done = index + is_done;
        text_copy(job->step, sizeof job->step,
                  op_plan(job->operation)->steps[index].name);
        (void)pthread_cond_broadcast(&work->vault->changed);
    }
    return record_job(work->vault, job, NULL, err);
}

static bool run_steps(struct work *work, struct err *err)
{
    const struct op_plan *plan = op_plan(work->job->operation);
    for (uint32_t i = work->job->steps_done; i < work->job->steps_total; i++) {
        if (!note_step(work, i, false, err) || FAULT(VAULT_BEFORE_STEP, err) ||
            !plan->steps[i].run(work, err) || FAULT(VAULT_AFTER_STEP, err))
            return false;
        /* The last step's end is the job's. */
        if (i + 1 < work->job->steps_total && !note_step(work, i, true, err))
            return false;
    }
    return true;
}

static bool may_pass(enum err_kind kind)
{
    return kind == FAIL_TRANSIENT || kind == FAIL_NO_SPACE || kind == FAIL_CORRUPT ||
           kind == FAIL_IO || kind == FAIL_GONE;
}

/* Back into the queue; its row keeps saying "queued" and why. */
static void wait_for_better(struct work *work, const struct err *failure)
{
    struct job *job = work->job;
    uint64_t random = 0;
    struct err err = ERR_INIT;
    secret_random(&random, sizeof random);
    {
        LOCK_GUARD(&work->vault->lock);
        job->is_running = false;
        job->failures++;
        job->not_before_ms = clock_wall_ms() + sched_backoff_ms(job->failures, random);
        text_copy(job->step, sizeof job->step, "waits to be tried again");
    }
    if (!record_job(work->vault, job, NULL, &err))
        log_error("job_row_lost", "job=%llu text=\"%s\"", (unsigned long long)job->id,
                  err.text);
    log_warn("job_waits", "job=%llu machine=%s text=\"%s\", trying again",
             (unsigned long long)job->id, work->machine->name, failure->text);
}

static const char *end_text(enum work_end end)
{
    switch (end) {
    case WORK_PAUSE:
        return "the machine was paused";
    case WORK_STOP:
        return "replication was stopped";
    case WORK_CANCELED:
        return "canceled on request";
    case WORK_CLOSE:
    case WORK_GOES_ON:
        break;
    }
    return "canceled";
}

static void tell_failed(struct work *work, const struct err *failure, bool is_canceled)
{
    enum vault_operation operation = work->job->operation;
    unsigned trigger = op_plan(operation)->failed_trigger;
    if (is_canceled && operation == OP_SYNC)
        trigger = ON_CYCLE_FAILED; /* of a machine without a recovery point */
    struct machine_change change = {.trigger = trigger};
    if (trigger == ON_REMOVE_FAILED)
        change.failure = failure;
    if (trigger != TRIGGER_COUNT)
        machine_change(work->vault, work->machine, &change);
    vault_event(work->vault, work->machine, work->job, is_canceled ? "info" : "error",
                is_canceled ? "job_canceled" : "job_failed", "%s: %s",
                operation_name(operation), failure->text);
}

/* The job is nobody's but the caller's afterwards. */
static struct job *unlink_job(struct work *work)
{
    LOCK_GUARD(&work->vault->lock);
    struct job *job = work->job, **at = &work->vault->jobs;
    while (*at && *at != job)
        at = &(*at)->next;
    if (*at)
        *at = job->next;
    work->job = NULL;
    return job;
}

static void finish(struct work *work, bool ok, struct err *failure)
{
    struct err err = ERR_INIT;
    enum work_end end = work_ending(work);
    struct job_end row = {.state = CATALOG_JOB_SUCCEEDED};
    bool is_canceled = !ok && end != WORK_GOES_ON && failure->kind == FAIL_CANCELED;
    if (!ok) {
        if (is_canceled)
            text_copy(failure->text, sizeof failure->text, end_text(end));
        row.state = is_canceled ? CATALOG_JOB_CANCELED : CATALOG_JOB_FAILED;
        row.failure = failure;
        if (work->job->operation == OP_MIGRATE)
            migrate_undo(work);
        tell_failed(work, failure, is_canceled);
    }
    /* First: whoever reads "succeeded" may ask for the next thing at once. */
    struct job *job = unlink_job(work);
    if (!record_job(work->vault, job, &row, &err))
        log_error("job_row_lost", "job=%llu text=\"%s\"", (unsigned long long)job->id,
                  err.text);
    if (ok)
        log_info("job_done", "job=%llu machine=%s operation=%s",
                 (unsigned long long)job->id, work->machine->name,
                 operation_name(job->operation));
    job_free(job);
}

void job_run(struct work *work)
{
    struct err failure = ERR_INIT;
    bool ok = run_steps(work, &failure);
    enum work_end end = work_ending(work);
    if (!ok && end == WORK_CLOSE) {
        /* Its row says "running": the next process goes on with it. */
        job_free(unlink_job(work));
        return;
    }
    if (!ok && end == WORK_GOES_ON && op_plan(work->job->operation)->waits &&
        may_pass(failure.kind) && !work_is_hurried(work)) {
        wait_for_better(work, &failure);
        return;
    }
    finish(work, ok, &failure);
}
