/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the catalog's rows and the machines and jobs in memory. A row is written as a
 * whole from memory; what has no column of its own goes into settings_json (chosen by the
 * user) and runtime_json (remembered by the vault).
 *
 * R1  writers of machine rows hold change_lock, so rows are written in the order of the
 *     changes; R2  a row that could not be written makes the machine dirty and is written
 *     again later; memory goes on.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "http/machine_json.h"
#include "vault/records.h"

static char *json_text(const json_t *json)
{
    struct buf text = {0};
    if (json)
        json_print(json, &text);
    return buf_take_text(&text);
}

static json_t *runtime_of(const struct machine *machine)
{
    json_t *runtime = json_object();
    json_put_take(runtime, "tests", json_deep_copy(machine->tests));
    if (machine->vm)
        json_put_take(runtime, "vm", json_deep_copy(machine->vm));
    json_put_u64(runtime, "failures", machine->failures);
    json_put_u64(runtime, "last_duration_ms", machine->last_duration_ms);
    json_put_bool(runtime, "map_distrusted", machine->is_map_distrusted);
    json_put_u64(runtime, "migration_job", machine->migration_job);
    return runtime;
}

void record_row_locked(const struct machine *machine, const struct machine_facts *facts,
                       struct catalog_machine *row)
{
    AUTO(json_free) json_t *runtime = runtime_of(machine);
    AUTO(json_free) json_t *settings = json_object();
    AUTO(json_free) json_t *def = machine_to_json(machine->def);
    json_put_bool(settings, "auto_repair", machine->auto_repair);
    json_put_text(settings, "marker", machine->marker);
    *row = (struct catalog_machine){
        .id = machine->id,
        .version = machine->version,
        .key_id = machine->key_id,
        .next_cycle = machine->next_cycle_number,
        .recovery_point = machine->recovery_cycle,
        .recovery_point_ms = machine->recovery_ms,
        .next_cycle_at_ms = machine->next_cycle_ms,
        .created_ms = machine->created_ms,
        .migrated_ms = machine->facts.migrated_ms,
        .error_kind = machine->last_error.kind,
        .def_json = json_text(def),
        .settings_json = json_text(settings),
        .runtime_json = json_text(runtime),
        .wrapped_key = xstrdup(machine->key_wrapped),
        .last_error = xstrdup(machine->last_error.text),
        .status_detail = xstrdup(""),
    };
    text_copy(row->name, sizeof row->name, machine->name);
    text_copy(row->source, sizeof row->source, machine->source);
    text_copy(row->source_key, sizeof row->source_key, machine->def->key);
    text_copy(row->target, sizeof row->target, machine->target);
    text_copy(row->state, sizeof row->state, machine_state_name(facts->state));
    text_copy(row->migration, sizeof row->migration,
              migration_state_name(facts->migration));
}

bool record_machine_insert(struct vault *vault, struct machine *machine, struct err *err)
{
    AUTO(catalog_machine_release) struct catalog_machine row = {0};
    record_row_locked(machine, &machine->facts, &row); /* nobody else knows it yet */
    if (!catalog_machine_insert(vault->catalog, &row, err))
        return false;
    machine->version = 1;
    return true;
}

bool record_machine(struct vault *vault, struct machine *machine, struct err *err)
{
    AUTO(catalog_machine_release) struct catalog_machine row = {0};
    struct err why = ERR_INIT;
    {
        LOCK_GUARD(&vault->lock);
        record_row_locked(machine, &machine->facts, &row);
    }
    bool ok = catalog_machine_update(vault->catalog, &row, &why);
    if (!ok && why.kind == FAIL_CONFLICT) {
        /* An update whose last step failed may have happened: the row is ahead of us. */
        AUTO(catalog_machine_release) struct catalog_machine stored = {0};
        err_clear(&why);
        ok = catalog_machine_get(vault->catalog, &machine->id, &stored, &why);
        row.version = stored.version;
        ok = ok && catalog_machine_update(vault->catalog, &row, &why);
    }
    LOCK_GUARD(&vault->lock);
    machine->is_dirty = !ok;
    if (ok)
        machine->version = row.version;
    else
        *err = why;
    return ok;
}

void record_machine_or_later(struct vault *vault, struct machine *machine)
{
    struct err err = ERR_INIT;
    if (!record_machine(vault, machine, &err)) {
        char quoted[LOG_QUOTED_BYTES];
        log_error("catalog_write_failed", "machine=%s text=%s, trying again",
                  machine->name, log_quote(err.text, quoted));
    }
}

bool record_machine_remove(struct vault *vault, struct machine *machine, struct err *err)
{
    LOCK_GUARD(&vault->change_lock);
    if (!catalog_machine_delete(vault->catalog, &machine->id, err))
        return false;
    LOCK_GUARD(&vault->lock);
    machine->is_gone = true;
    return true;
}

bool record_dirty(struct vault *vault)
{
    LOCK_GUARD(&vault->change_lock);
    struct machine *dirty = NULL;
    {
        LOCK_GUARD(&vault->lock);
        for (struct machine *m = vault->machines; m && !dirty; m = m->next)
            dirty = m->is_dirty && !m->is_gone ? m : NULL;
    }
    struct err err = ERR_INIT;
    bool ok = dirty && record_machine(vault, dirty, &err);
    if (dirty && !ok)
        log_debug("catalog_write_failed", "machine=%s text=\"%s\"", dirty->name,
                  err.text);
    return ok;
}

/* ---- loading ---- */

static bool load_runtime(struct machine *machine, const struct catalog_machine *row,
                         struct err *err)
{
    const char *marker;
    uint64_t failures;
    AUTO(json_free)
    json_t *settings =
        json_parse("settings", row->settings_json, strlen(row->settings_json), err);
    if (!settings)
        return false;
    AUTO(json_free)
    json_t *runtime =
        json_parse("runtime", row->runtime_json, strlen(row->runtime_json), err);
    if (!runtime ||
        !json_opt_bool(settings, "auto_repair", true, &machine->auto_repair, err) ||
        !json_opt_text(settings, "marker", "", &marker, err) ||
        !json_opt_u64(runtime, "failures", 0, &failures, err) ||
        !json_opt_u64(runtime, "last_duration_ms", 0, &machine->last_duration_ms, err) ||
        !json_opt_u64(runtime, "migration_job", 0, &machine->migration_job, err) ||
        !json_opt_bool(runtime, "map_distrusted", false, &machine->is_map_distrusted,
                       err))
        return false;
    text_copy(machine->marker, sizeof machine->marker, marker);
    machine->failures = (uint32_t)MIN_OF(failures, (uint64_t)UINT32_MAX);
    json_t *tests = json_object_get(runtime, "tests");
    machine->tests = json_is_array(tests) ? json_incref(tests) : json_array();
    json_t *vm = json_object_get(runtime, "vm");
    machine->vm = json_is_object(vm) ? json_incref(vm) : NULL;
    return true;
}

static bool load_facts(struct machine *machine, const struct catalog_machine *row,
                       struct err *err)
{
    struct machine_facts *facts = &machine->facts;
    facts->name = machine->name;
    facts->migrated_ms = row->migrated_ms;
    facts->has_migrated = row->migrated_ms != 0;
    if (!machine_state_from_name(row->state, &facts->state) ||
        !migration_state_from_name(row->migration, &facts->migration))
        return err_set(err, FAIL_CORRUPT,
                       "unknown state '%s' or '%s'; was the catalog written by a newer "
                       "version?",
                       row->state, row->migration);
    return true;
}

static bool load_machine(struct vault *vault, const struct catalog_machine *row,
                         struct err *err)
{
    AUTO(machine_free) struct machine *machine = machine_new(row->name, &row->id);
    AUTO(json_free)
    json_t *def = json_parse("definition", row->def_json, strlen(row->def_json), err);
    if (!def || !machine_from_json(def, machine->def, err))
        return false;
    machine->version = row->version;
    machine->key_id = row->key_id;
    machine->created_ms = row->created_ms;
    machine->recovery_cycle = row->recovery_point;
    machine->recovery_ms = row->recovery_point_ms;
    machine->next_cycle_number = row->next_cycle;
    /* The clock may have been set back while we were away. */
    machine->next_cycle_ms =
        MIN_OF(row->next_cycle_at_ms, clock_wall_ms() + vault->rules.delta_max_ms);
    text_copy(machine->source, sizeof machine->source, row->source);
    text_copy(machine->target, sizeof machine->target, row->target);
    text_copy(machine->key_wrapped, sizeof machine->key_wrapped, row->wrapped_key);
    machine->last_error.kind = row->error_kind;
    text_copy(machine->last_error.text, ERR_TEXT_BYTES, row->last_error);
    if (!load_facts(machine, row, err))
        return false;
    json_free(machine->tests);
    machine->tests = NULL;
    if (!load_runtime(machine, row, err))
        return false;
    machine->next = vault->machines;
    vault->machines = TAKE(machine);
    return true;
}

/* A job that was active when we went away goes on; one whose machine has left the list
 * was at its end. */
static bool load_job(struct vault *vault, struct catalog_job *row, struct err *err)
{
    enum vault_operation operation;
    struct machine *machine = NULL;
    for (struct machine *m = vault->machines; m && !machine; m = m->next)
        machine = id_equal(&m->id, &row->machine) ? m : NULL;
    if (!vault_operation_from_name(row->operation, &operation))
        return err_set(err, FAIL_CORRUPT, "unknown operation '%s'", row->operation);
    if (!machine) {
        bool is_done = operation == OP_STOP || operation == OP_COMPLETE;
        row->state = is_done ? CATALOG_JOB_SUCCEEDED : CATALOG_JOB_FAILED;
        row->error_kind = is_done ? FAIL_NONE : FAIL_GONE;
        row->ended_ms = clock_wall_ms();
        return catalog_job_update(vault->catalog, row, err);
    }
    const char *options = *row->options_json ? row->options_json : "{}";
    AUTO(json_free) json_t *parsed = json_parse("options", options, strlen(options), err);
    if (!parsed)
        return false;
    struct job *job = job_new(machine, operation, parsed);
    job->id = row->id;
    job->created_ms = row->created_ms;
    text_copy(job->who, sizeof job->who, row->who);
    job->was_interrupted = row->state == CATALOG_JOB_RUNNING;
    job->steps_done = (uint32_t)MIN_OF(row->progress_done, (uint64_t)job->steps_total);
    text_copy(job->step, sizeof job->step, row->step);
    if (job->was_interrupted)
        job->started_ms = row->started_ms;
    struct job **at = &vault->jobs;
    while (*at && (*at)->id < job->id)
        at = &(*at)->next;
    job->next = *at;
    *at = job;
    /* The machine's row is written after the job's: it may not have moved yet. */
    machine_move(&machine->facts, operation);
    return true;
}

/* Whether its last cycle can go on: those that began come before new ones. */
static bool load_open_cycle(struct vault *vault, struct machine *machine, struct err *err)
{
    AUTO(catalog_cycle_list_release) struct catalog_cycle_list list = {0};
    if (!catalog_cycle_list(vault->catalog, &machine->id, 1, &list, err))
        return false;
    machine->has_open_cycle =
        list.count && (strcmp(list.items[0].state, "running") == 0 ||
                       strcmp(list.items[0].state, "detached") == 0);
    return true;
}

bool records_load(struct vault *vault, struct err *err)
{
    AUTO(catalog_machine_list_release) struct catalog_machine_list machines = {0};
    AUTO(catalog_job_list_release) struct catalog_job_list jobs = {0};
    struct catalog_job_filter active = {.active_only = true};
    if (!catalog_machine_list(vault->catalog, &machines, err) ||
        !catalog_job_list(vault->catalog, &active, &jobs, err) ||
        !catalog_cycles_left(vault->catalog, "running", "detached", clock_wall_ms(),
                             err) ||
        !catalog_event_last(vault->catalog, &vault->last_event, err))
        return false;
    for (size_t i = 0; i < machines.count; i++) {
        if (!load_machine(vault, &machines.items[i], err))
            return err_wrap(err, "machine '%s' in the catalog", machines.items[i].name);
    }
    for (struct machine *m = vault->machines; m; m = m->next) {
        if (!load_open_cycle(vault, m, err))
            return err_wrap(err, "cycles of machine '%s' in the catalog", m->name);
    }
    for (size_t i = 0; i < jobs.count; i++) {
        if (!load_job(vault, &jobs.items[i], err))
            return err_wrap(err, "job %llu in the catalog",
                            (unsigned long long)jobs.items[i].id);
    }
    return true;
}

/* ---- jobs and events ---- */

bool record_job(struct vault *vault, const struct job *job, const struct job_end *end,
                struct err *err)
{
    AUTO(free) char *result = NULL;
    struct catalog_job row = {.id = job->id};
    {
        LOCK_GUARD(&vault->lock);
        row.state = end               ? end->state
                    : job->is_running ? CATALOG_JOB_RUNNING
                                      : CATALOG_JOB_QUEUED;
        text_copy(row.step, sizeof row.step, job->step);
        row.progress_done = job->steps_done;
        row.progress_total = job->steps_total;
        row.started_ms = job->started_ms;
        result = json_text(job->result);
    }
    row.result_json = result;
    row.error_text = NULL;
    if (end) {
        row.ended_ms = clock_wall_ms();
        if (end->failure) {
            row.error_kind = end->failure->kind;
            row.error_text = (char *)(uintptr_t)end->failure->text; /* only read */
        }
    }
    return catalog_job_update(vault->catalog, &row, err);
}

static enum log_level level_of(const char *level)
{
    if (strcmp(level, "error") == 0)
        return LOG_ERROR;
    return strcmp(level, "warning") == 0 ? LOG_WARN : LOG_INFO;
}

void vault_event(struct vault *vault, const struct machine *machine,
                 const struct job *job, const char *level, const char *event,
                 const char *fmt, ...)
{
    char text[ERR_TEXT_BYTES + 256], quoted[LOG_QUOTED_BYTES];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    struct catalog_event row = {
        .ts_ms = clock_wall_ms(), .job = job ? job->id : 0, .text = text};
    text_copy(row.level, sizeof row.level, level);
    text_copy(row.event, sizeof row.event, event);
    text_copy(row.who, sizeof row.who, job && *job->who ? job->who : audit_who());
    if (machine) {
        row.machine = machine->id;
        text_copy(row.machine_name, sizeof row.machine_name, machine->name);
    }
    log_event(level_of(level), event, "machine=%s job=%llu text=%s",
              machine ? machine->name : "-", (unsigned long long)row.job,
              log_quote(text, quoted));
    uint64_t id = 0;
    struct err err = ERR_INIT;
    if (!catalog_event_append(vault->catalog, &row, &id, &err)) {
        log_error("event_lost", "text=%s", log_quote(err.text, quoted));
        return;
    }
    LOCK_GUARD(&vault->lock);
    vault->last_event = MAX_OF(vault->last_event, id);
    (void)pthread_cond_broadcast(&vault->changed);
}
