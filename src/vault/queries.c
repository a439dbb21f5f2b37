/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of the catalog alone: jobs, events, settings, the vault's own status. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "vault/ops.h"

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

static json_t *job_view(const struct catalog_job *row)
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
    json_put_take(view, "result", stored_json(row->result_json));
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
    struct catalog_job_filter all = {.limit = 0};
    if (!catalog_job_list(vault->catalog, &all, &list, err))
        return false;
    for (size_t i = 0; i < list.count; i++) {
        if (strcmp(list.items[i].machine_name, name) == 0 &&
            !id_is_zero(&list.items[i].machine)) {
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
        json_array_append_new(jobs, job_view(&list.items[i]));
    json_t *view = json_object();
    json_put_take(view, "jobs", jobs);
    return view;
}

json_t *vault_job(struct vault *vault, uint64_t job, struct err *err)
{
    AUTO(catalog_job_release) struct catalog_job row = {0};
    if (!catalog_job_get(vault->catalog, job, &row, err))
        return NULL;
    return job_view(&row);
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

json_t *vault_throttle_get(struct vault *vault, struct err *err)
{
    (void)err;
    json_t *view = json_object();
    json_put_u64(view, "bytes_per_second", throttle_rate(vault->throttle));
    return view;
}

bool vault_throttle_set(struct vault *vault, uint64_t bytes_per_second, struct err *err)
{
    char text[32], human[TEXT_HUMAN_BYTES];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)bytes_per_second);
    if (bytes_per_second > INT64_MAX)
        return err_set(err, FAIL_INPUT, "%s bytes per second is too much", text);
    if (!catalog_setting_set(vault->catalog, "throttle_bps", text, err))
        return false;
    throttle_set_rate(vault->throttle, bytes_per_second);
    if (bytes_per_second)
        vault_event(vault, NULL, NULL, "info", "throttle", "limited to %s/s",
                    text_bytes(bytes_per_second, human));
    else
        vault_event(vault, NULL, NULL, "info", "throttle", "no limit");
    return true;
}

json_t *vault_status(struct vault *vault, struct err *err)
{
    uint64_t machines = 0, running = 0, queued = 0, cycles = 0;
    (void)err;
    json_t *view = json_object();
    {
        LOCK_GUARD(&vault->lock);
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
    json_put_u64(view, "uptime_ms", clock_wall_ms() - vault->opened_ms);
    json_put_u64(view, "machines", machines);
    json_put_u64(view, "jobs_running", running);
    json_put_u64(view, "jobs_queued", queued);
    json_put_u64(view, "cycles_running", cycles);
    json_put_text(view, "data_dir", vault->data_dir);
    json_put_u64(view, "cycle_memory_bytes", cycle_memory_bytes(&vault->cycle_options));
    return view;
}
