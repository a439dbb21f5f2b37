/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of the catalog alone: jobs, events, settings, the vault's own status. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "vault/ops.h"
#include "vault/policy.h"

static void put_ms(json_t *object, const char *key, uint64_t ms)
{
    json_put_take(object, key, ms ? json_integer((json_int_t)ms) : json_null());
}

/* What we wrote ourselves; not readable is shown as null rather than failing the list. */
static json_t *stored_json(const char *text)
{
    struct err ignored = ERR_INIT;
    if (!*text)
        return json_null();
    json_t *json = json_parse("stored", text, strlen(text), &ignored);
    return json ? json : json_null();
}

/* The steps by their names, as far as this version knows the operation. */
static json_t *steps_view(const struct catalog_job *row)
{
    enum vault_operation operation;
    json_t *list = json_array();
    bool is_over = row->state != CATALOG_JOB_QUEUED && row->state != CATALOG_JOB_RUNNING;
    if (!vault_operation_from_name(row->operation, &operation))
        return list;
    const struct op_plan *plan = op_plan(operation);
    for (size_t i = 0; i < ARRAY_COUNT(plan->steps) && plan->steps[i].run; i++) {
        bool is_done = row->state == CATALOG_JOB_SUCCEEDED || i < row->progress_done;
        bool is_now = !is_done && i == row->progress_done && row->started_ms;
        json_t *step = json_object();
        json_put_text(step, "name", plan->steps[i].name);
        json_put_text(step, "state",
                      is_done             ? "done"
                      : is_now && is_over ? "failed"
                      : is_now            ? "running"
                                          : "waiting");
        json_array_append_new(list, step);
    }
    return list;
}

/* For people. A migration whose boot was not seen is complete, with something to know. */
static const char *status_of(const struct catalog_job *row, const json_t *result)
{
    static const char *const names[] = {
        [CATALOG_JOB_QUEUED] = "Queued",       [CATALOG_JOB_RUNNING] = "In progress",
        [CATALOG_JOB_SUCCEEDED] = "Completed", [CATALOG_JOB_FAILED] = "Failed",
        [CATALOG_JOB_CANCELED] = "Canceled",
    };
    const char *how = json_string_value(json_object_get(result, "how_booted"));
    if (row->state == CATALOG_JOB_SUCCEEDED && how && !*how)
        return "Completed with info";
    return names[row->state];
}

static json_t *percent_view(struct vault *vault, const struct catalog_job *row)
{
    json_t *percent = json_null();
    if (row->state != CATALOG_JOB_RUNNING)
        return percent;
    LOCK_GUARD(&vault->lock);
    for (struct job *j = vault->jobs; j; j = j->next)
        if (j->id == row->id && j->is_running && j->machine->watch.is_running)
            percent = json_integer(watch_percent(&j->machine->watch));
    return percent;
}

static json_t *job_view(struct vault *vault, const struct catalog_job *row)
{
    char id[ID_TEXT_BYTES];
    json_t *view = json_object();
    json_put_u64(view, "id", row->id);
    json_put_text(view, "machine", row->machine_name);
    if (id_is_zero(&row->machine))
        json_put_take(view, "machine_id", json_null());
    else
        json_put_text(view, "machine_id", id_text(&row->machine, id));
    json_put_text(view, "operation", row->operation);
    json_put_text(view, "who", row->who);
    json_put_text(view, "state", catalog_job_state_name(row->state));
    json_put_text(view, "step", row->step);
    json_put_u64(view, "steps_done",
                 row->state == CATALOG_JOB_SUCCEEDED ? row->progress_total
                                                     : row->progress_done);
    json_put_u64(view, "steps_total", row->progress_total);
    json_put_u64(view, "created_ms", row->created_ms);
    put_ms(view, "started_ms", row->started_ms);
    put_ms(view, "ended_ms", row->ended_ms);
    json_put_take(view, "options", stored_json(row->options_json));
    json_t *result = stored_json(row->result_json);
    json_put_text(view, "status", status_of(row, result));
    json_put_take(view, "result", result);
    json_put_take(view, "steps", steps_view(row));
    json_put_take(view, "percent", percent_view(vault, row));
    if (row->error_kind == FAIL_NONE) {
        json_put_take(view, "error", json_null());
    } else {
        json_t *error = json_object();
        json_put_text(error, "kind", err_kind_name(row->error_kind));
        json_put_text(error, "text", row->error_text);
        json_put_take(view, "error", error);
    }
    return view;
}

/* The id of a machine in the list, else of one in the history of jobs. */
static bool machine_id_of(struct vault *vault, const char *name, struct id *ret,
                          struct err *err)
{
    struct err ignored = ERR_INIT;
    {
        LOCK_GUARD(&vault->lock);
        struct machine *machine = machine_find_locked(vault, name);
        if (machine) {
            *ret = machine->id;
            return true;
        }
    }
    if (id_parse(name, ret, &ignored))
        return true;
    AUTO(catalog_job_list_release) struct catalog_job_list list = {0};
    struct catalog_job_filter named = {.machine_name = name};
    if (!catalog_job_list(vault->catalog, &named, &list, err))
        return false;
    for (size_t i = 0; i < list.count; i++) {
        if (!id_is_zero(&list.items[i].machine)) {
            *ret = list.items[i].machine;
            return true;
        }
    }
    return err_set(err, FAIL_GONE, "no machine '%s', neither now nor in the jobs", name);
}

json_t *vault_jobs(struct vault *vault, const char *machine, uint64_t limit,
                   struct err *err)
{
    AUTO(catalog_job_list_release) struct catalog_job_list list = {0};
    struct catalog_job_filter filter = {.limit = limit};
    if (machine && !machine_id_of(vault, machine, &filter.machine, err))
        return NULL;
    if (!catalog_job_list(vault->catalog, &filter, &list, err))
        return NULL;
    json_t *jobs = json_array();
    for (size_t i = 0; i < list.count; i++)
        json_array_append_new(jobs, job_view(vault, &list.items[i]));
    json_t *view = json_object();
    json_put_take(view, "jobs", jobs);
    return view;
}

json_t *vault_job(struct vault *vault, uint64_t job, struct err *err)
{
    AUTO(catalog_job_release) struct catalog_job row = {0};
    if (!catalog_job_get(vault->catalog, job, &row, err))
        return NULL;
    return job_view(vault, &row);
}

static json_t *event_view(const struct catalog_event *row)
{
    json_t *view = json_object();
    json_put_u64(view, "id", row->id);
    json_put_u64(view, "ts_ms", row->ts_ms);
    if (*row->machine_name)
        json_put_text(view, "machine", row->machine_name);
    else
        json_put_take(view, "machine", json_null());
    put_ms(view, "job", row->job);
    json_put_text(view, "level", row->level);
    json_put_text(view, "event", row->event);
    json_put_text(view, "who", row->who);
    json_put_text(view, "text", row->text);
    return view;
}

json_t *vault_events(struct vault *vault, uint64_t since, uint64_t limit, struct err *err)
{
    AUTO(catalog_event_list_release) struct catalog_event_list list = {0};
    if (!catalog_event_list(vault->catalog, since, limit, &list, err))
        return NULL;
    json_t *events = json_array();
    for (size_t i = 0; i < list.count; i++)
        json_array_append_new(events, event_view(&list.items[i]));
    json_t *view = json_object();
    json_put_take(view, "events", events);
    json_put_u64(view, "next", list.count ? list.items[list.count - 1].id : since);
    return view;
}

uint64_t vault_last_event(struct vault *vault)
{
    LOCK_GUARD(&vault->lock);
    return vault->last_event;
}

json_t *vault_status(struct vault *vault, struct err *err)
{
    uint64_t machines = 0, running = 0, queued = 0, cycles = 0;
    struct blackout_status blackout;
    (void)err;
    json_t *view = json_object();
    {
        LOCK_GUARD(&vault->lock);
        blackout = policy_blackout_locked(vault, clock_wall_ms());
        for (struct machine *m = vault->machines; m; m = m->next) {
            machines += !m->is_gone;
            cycles += m->watch.is_running;
        }
        for (struct job *j = vault->jobs; j; j = j->next) {
            running += j->is_running;
            queued += !j->is_running;
        }
    }
    json_put_text(view, "version", KEDGE_VERSION);
    json_put_u64(view, "uptime_ms", clock_mono_ms() - vault->opened_mono_ms);
    json_put_u64(view, "machines", machines);
    json_put_u64(view, "jobs_running", running);
    json_put_u64(view, "jobs_queued", queued);
    json_put_u64(view, "cycles_running", cycles);
    json_put_u64(view, "throttle_bps", throttle_rate(vault->throttle));
    json_put_bool(view, "in_blackout", blackout.is_inside);
    put_ms(view, "blackout_until_ms",
           blackout.until_ms == BLACKOUT_NEVER ? 0 : blackout.until_ms);
    json_put_text(view, "data_dir", vault->data_dir);
    json_put_u64(view, "cycle_memory_bytes", cycle_memory_bytes(&vault->cycle_options));
    return view;
}
