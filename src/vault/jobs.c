/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs: what an operation consists of (one table), how it is asked for, run step by step,
 * canceled, and taken up again after a restart.
 *
 * Invariants:
 *  Q1  a job's row and the machine's new state are written in one transaction: neither
 *      without the other, whatever fails;
 *  Q2  a step's end is durable before the next one begins; a job that is found running
 *      at start goes on with the step that it was in;
 *  Q3  a machine's jobs run in the order in which they were asked for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/text.h"
#include "vault/dispatch.h"
#include "vault/ops.h"
#include "vault/policy.h"
#include "vault/records.h"

/* clang-format off */
static const struct op_plan plans[OP_COUNT] = {
    [OP_REPLICATE]    = {true, true, TRIGGER_COUNT,
                         {{"create replica", step_create_replica},
                          {"initial replication", step_cycle}}},
    [OP_SYNC]         = {true, false, TRIGGER_COUNT,
                         {{"cycle", step_on_demand_cycle}}},
    [OP_PAUSE]        = {false, false, TRIGGER_COUNT,
                         {{"detach the running cycle", step_pause}}},
    [OP_RESUME]       = {true, true, TRIGGER_COUNT,
                         {{"cycle", step_cycle}}},
    [OP_STOP]         = {false, false, ON_REMOVE_FAILED,
                         {{"remove replica", step_target_remove},
                          {"clean up at the source", step_source_forget},
                          {"remove cycle data", step_cycles_forget},
                          {"leave the list", step_leave}}},
    [OP_TEST_MIGRATE] = {false, false, ON_TEST_FAILED,
                         {{"clone and boot", step_test_start}}},
    [OP_TEST_CLEANUP] = {false, false, TRIGGER_COUNT,
                         {{"remove test machines", step_test_cleanup}}},
    [OP_MIGRATE]      = {true, false, ON_MIGRATE_FAILED,
                         {{"shut down the source machine", step_shutdown},
                          {"final cycle", step_on_demand_cycle},
                          {"create the machine", step_migrate}}},
    [OP_COMPLETE]     = {false, false, ON_REMOVE_FAILED,
                         {{"clean up at the target", step_target_complete},
                          {"clean up at the source", step_source_forget},
                          {"remove cycle data", step_cycles_forget},
                          {"leave the list", step_leave}}},
    [OP_VERIFY]       = {true, false, TRIGGER_COUNT,
                         {{"cycle and comparison", step_verify_cycle}}},
    [OP_RESYNC]       = {true, true, TRIGGER_COUNT,
                         {{"forget change records", step_forget_changes},
                          {"resync", step_resync_cycle}}},
    [OP_REPAIR]       = {true, true, TRIGGER_COUNT,
                         {{"forget change records", step_forget_changes},
                          {"resync", step_resync_cycle}}},
};
#define CYCLE_OPS  (1u << OP_REPLICATE | 1u << OP_SYNC | 1u << OP_RESUME | \
                    1u << OP_VERIFY | 1u << OP_RESYNC | 1u << OP_REPAIR)
#define MIGRATION_OPS (1u << OP_TEST_MIGRATE | 1u << OP_MIGRATE)
#define CANCELABLE (1u << OP_SYNC | 1u << OP_VERIFY | 1u << OP_TEST_MIGRATE | \
                    1u << OP_MIGRATE)
/* clang-format on */

const struct op_plan *op_plan(enum vault_operation operation)
{
    return &plans[operation];
}

struct job *job_new(struct machine *machine, enum vault_operation operation,
                    const json_t *options)
{
    struct job *job = xcalloc(1, sizeof *job);
    job->machine = machine;
    job->operation = operation;
    job->options = options ? json_deep_copy(options) : json_object();
    job->created_ms = clock_wall_ms();
    text_copy(job->who, sizeof job->who, audit_who());
    while (job->steps_total < ARRAY_COUNT(plans[operation].steps) &&
           plans[operation].steps[job->steps_total].run)
        job->steps_total++;
    return job;
}

void job_free(struct job *job)
{
    if (!job)
        return;
    json_free(job->options);
    json_free(job->result);
    free(job);
}

void job_set_result(struct work *work, json_t *result)
{
    LOCK_GUARD(&work->vault->lock);
    if (!work->job) {
        json_free(result);
        return;
    }
    json_free(work->job->result);
    work->job->result = result;
}

static void unlink_locked(struct vault *vault, struct job *job)
{
    struct job **at = &vault->jobs;
    while (*at && *at != job)
        at = &(*at)->next;
    if (*at)
        *at = job->next;
    dispatch_touch_locked(vault, job->machine);
}

/* ---- asking ---- */

struct ask {
    struct vault *vault;
    struct machine *machine;
    struct job *job;
    const char *key;
    uint64_t id;
    bool is_new;
    struct machine_facts before;
    struct machine_facts facts; /* after the move */
    enum machine_action action; /* of the move */
    uint64_t version;
};

static bool may_meet(struct ask *ask, struct err *err)
{
    enum vault_operation asked = ask->job->operation;
    char status[STATE_STATUS_BYTES];
    for (struct job *j = ask->vault->jobs; j; j = j->next) {
        if (j->machine != ask->machine ||
            machine_meeting(j->operation, asked) != MEET_REFUSE)
            continue;
        struct machine_facts facts = machine_facts_locked(ask->machine);
        return err_set(
            err, FAIL_CONFLICT,
            "machine '%s' is in state '%s'; %s has to wait for job %llu (%s%s%s)",
            ask->machine->name, machine_status(&facts, status), operation_name(asked),
            (unsigned long long)j->id, operation_name(j->operation), *j->step ? ": " : "",
            j->step);
    }
    return true;
}

static bool ask_change(void *ctx, struct err *err)
{
    struct ask *ask = ctx;
    AUTO(catalog_machine_release) struct catalog_machine row = {0};
    AUTO(buf_release) struct buf options = {0};
    json_print(ask->job->options, &options);
    struct catalog_job job = {.machine = ask->machine->id,
                              .state = CATALOG_JOB_QUEUED,
                              .progress_total = ask->job->steps_total,
                              .options_json = (char *)(uintptr_t)buf_text(&options),
                              .created_ms = ask->job->created_ms};
    text_copy(job.machine_name, sizeof job.machine_name, ask->machine->name);
    text_copy(job.operation, sizeof job.operation, operation_name(ask->job->operation));
    text_copy(job.who, sizeof job.who, ask->job->who);
    if (ask->key && strlen(ask->key) >= sizeof job.idempotency_key)
        return err_set(err, FAIL_INPUT, "idempotency key of %zu bytes; %zu are allowed",
                       strlen(ask->key), sizeof job.idempotency_key - 1);
    text_copy(job.idempotency_key, sizeof job.idempotency_key, ask->key ? ask->key : "");
    if (!catalog_job_create(ask->vault->catalog, &job, &ask->id, &ask->is_new, err))
        return false;
    if (!ask->is_new)
        return true;
    {
        LOCK_GUARD(&ask->vault->lock);
        ask->facts = machine_facts_locked(ask->machine);
        if (!machine_allows(&ask->facts, ask->job->operation, err) || !may_meet(ask, err))
            return false;
        ask->before = ask->facts;
        ask->action = machine_action(&ask->facts, ask->job->operation);
        machine_move(&ask->facts, ask->job->operation);
        record_row_locked(ask->machine, &ask->facts, &row);
    }
    if (!catalog_machine_update(ask->vault->catalog, &row, err))
        return false;
    ask->version = row.version;
    return true;
}

/* What is under way makes room, as the table of states says; caller holds lock. */
static void interrupt_locked(struct ask *ask)
{
    struct work *work = ask->machine->work;
    if (!work)
        return;
    if (!work->job)
        work->is_hurried = true;
    if (work->job && !(CYCLE_OPS >> work->job->operation & 1u))
        return;
    if (ask->action == ACT_FINISH)
        work->is_hurried = true;
    else if (ask->action == ACT_DETACH || ask->action == ACT_END)
        work_end_locked(ask->machine, ask->action == ACT_DETACH ? WORK_PAUSE : WORK_STOP);
}

static void publish(struct ask *ask)
{
    struct vault *vault = ask->vault;
    LOCK_GUARD(&vault->lock);
    ask->machine->facts = ask->facts;
    ask->machine->version = ask->version;
    if (MIGRATION_OPS >> ask->job->operation & 1u)
        ask->machine->migration_job = ask->id;
    struct job **at = &vault->jobs;
    while (*at)
        at = &(*at)->next;
    *at = ask->job;
    interrupt_locked(ask);
    dispatch_touch_locked(vault, ask->machine);
    (void)pthread_cond_broadcast(&vault->changed);
}

bool job_add(struct vault *vault, struct machine *machine, enum vault_operation operation,
             const json_t *options, const char *idempotency_key, uint64_t *ret_job,
             struct err *err)
{
    struct ask ask = {.vault = vault, .machine = machine, .key = idempotency_key};
    if (machine->is_dirty && !record_machine(vault, machine, err))
        return false;
    ask.job = job_new(machine, operation, options);
    bool ok = catalog_transaction(vault->catalog, ask_change, &ask, err);
    if (!ok || !ask.is_new) {
        job_free(ask.job);
        if (ok)
            *ret_job = ask.id;
        return ok;
    }
    *ret_job = ask.id;
    ask.job->id = ask.id;
    audit_asked(vault, machine, ask.job,
                (const struct machine_facts[]){ask.before, ask.facts});
    publish(&ask);
    if (operation == OP_PAUSE || operation == OP_STOP)
        jobs_drop_queued(vault, machine, ask.id,
                         operation == OP_PAUSE ? "the machine was paused"
                                               : "replication was stopped");
    return true;
}

/* A migration that is asked for inside a blackout window fails then and there, as a job
 * that stays readable; caller holds change_lock. */
static bool fail_in_blackout(struct vault *vault, struct machine *machine,
                             const json_t *options, struct err *why)
{
    AUTO(buf_release) struct buf text = {0};
    struct err err = ERR_INIT;
    bool is_new;
    uint64_t id = 0;
    json_print(options, &text);
    struct catalog_job row = {.machine = machine->id,
                              .state = CATALOG_JOB_FAILED,
                              .options_json = (char *)(uintptr_t)buf_text(&text),
                              .error_kind = why->kind,
                              .error_text = why->text,
                              .created_ms = clock_wall_ms(),
                              .ended_ms = clock_wall_ms()};
    text_copy(row.machine_name, sizeof row.machine_name, machine->name);
    text_copy(row.operation, sizeof row.operation, operation_name(OP_MIGRATE));
    text_copy(row.who, sizeof row.who, audit_who());
    text_copy(row.step, sizeof row.step, "blackout window");
    if (!catalog_job_create(vault->catalog, &row, &id, &is_new, &err))
        log_error("job_row_lost", "text=\"%s\"", err.text);
    {
        LOCK_GUARD(&vault->lock);
        machine->migration_job = id;
        machine_move_locked(machine, OP_MIGRATE);
        machine_move_locked(machine, ON_MIGRATE_FAILED);
        dispatch_touch_locked(vault, machine);
    }
    record_machine_or_later(vault, machine);
    return false;
}

static bool operate(struct vault *vault, const char *machine_name,
                    enum vault_operation operation, const json_t *options,
                    const char *idempotency_key, uint64_t *ret_job, struct err *err)
{
    struct machine *machine = NULL;
    bool is_migration = false, is_override;
    LOCK_GUARD(&vault->change_lock);
    {
        LOCK_GUARD(&vault->lock);
        if (vault->is_closing)
            return err_set(err, FAIL_TRANSIENT, "the daemon is going down; ask again");
        machine = machine_find_locked(vault, machine_name);
        if (machine && operation == OP_MIGRATE) {
            struct machine_facts facts = machine_facts_locked(machine);
            struct err refused = ERR_INIT;
            is_migration = machine_allows(&facts, operation, &refused) &&
                           facts.migration != MIGRATION_RUNNING &&
                           facts.migration != MIGRATION_TEST_RUNNING;
        }
    }
    /* A machine leaves the list under change_lock: it stays while we hold that. */
    if (!machine)
        return err_set(err, FAIL_GONE,
                       "no machine '%s' is replicating; 'list' shows those that are",
                       machine_name);
    if (!json_opt_bool(options, "override_blackout", false, &is_override, err))
        return false;
    if (is_migration && !is_override && !policy_may_migrate(vault, clock_wall_ms(), err))
        return fail_in_blackout(vault, machine, options, err);
    return job_add(vault, machine, operation, options, idempotency_key, ret_job, err);
}

bool vault_operate(struct vault *vault, const char *machine_name,
                   enum vault_operation operation, const json_t *options,
                   const char *idempotency_key, uint64_t *ret_job, struct err *err)
{
    AUTO(json_free) json_t *none = json_object();
    options = options ? options : none;
    if (operation >= OP_COUNT)
        return err_set(err, FAIL_INPUT, "unknown operation");
    if (options_check(operation, options, err) &&
        operate(vault, machine_name, operation, options, idempotency_key, ret_job, err))
        return true;
    audit_refused(vault, machine_name, operation_name(operation), err);
    return false;
}

/* ---- ending without running ---- */

static void drop(struct vault *vault, struct job *job, const char *why)
{
    struct err reason = ERR_INIT, err = ERR_INIT;
    (void)err_set(&reason, FAIL_CANCELED, "%s", why);
    struct job_end end = {.state = CATALOG_JOB_CANCELED, .failure = &reason};
    if (!record_job(vault, job, &end, &err))
        log_error("job_row_lost", "job=%llu text=\"%s\"", (unsigned long long)job->id,
                  err.text);
    job_free(job);
}

void jobs_drop_queued(struct vault *vault, struct machine *machine, uint64_t before_job,
                      const char *why)
{
    for (;;) {
        struct job *found = NULL;
        {
            LOCK_GUARD(&vault->lock);
            for (struct job *j = vault->jobs; j && !found; j = j->next)
                found = j->machine == machine && !j->is_running && j->id < before_job &&
                                (CYCLE_OPS >> j->operation & 1u)
                            ? j
                            : NULL;
            if (found)
                unlink_locked(vault, found);
        }
        if (!found)
            return;
        drop(vault, found, why);
    }
}

static bool cancel(struct vault *vault, uint64_t id, enum vault_operation *ret_operation,
                   struct err *err)
{
    struct job *job = NULL;
    struct machine_change change = {.trigger = TRIGGER_COUNT};
    struct machine *machine = NULL;
    {
        LOCK_GUARD(&vault->lock);
        for (struct job *j = vault->jobs; j && !job; j = j->next)
            job = j->id == id ? j : NULL;
        if (!job)
            return err_set(err, FAIL_CONFLICT,
                           "job %llu is neither queued nor running; nothing to cancel",
                           (unsigned long long)id);
        if (!(CANCELABLE >> job->operation & 1u))
            return err_set(err, FAIL_CONFLICT, "job %llu (%s) cannot be canceled; %s",
                           (unsigned long long)id, operation_name(job->operation),
                           CYCLE_OPS >> job->operation & 1u ? "pause or stop the machine"
                                                            : "wait until it is done");
        *ret_operation = job->operation;
        if (job->is_running) {
            work_cancel_locked(job);
            return true;
        }
        unlink_locked(vault, job);
        machine = job->machine;
        change.trigger = plans[job->operation].failed_trigger;
        if (job->operation == OP_SYNC)
            change.trigger = ON_CYCLE_FAILED;
    }
    drop(vault, job, "canceled before it began");
    machine_change(vault, machine, &change);
    return true;
}

bool vault_job_cancel(struct vault *vault, uint64_t id, struct err *err)
{
    enum vault_operation operation = OP_COUNT;
    if (!cancel(vault, id, &operation, err))
        return false;
    vault_event(vault, NULL, NULL, "info", "cancel_asked", "job %llu (%s)",
                (unsigned long long)id, operation_name(operation));
    return true;
}
