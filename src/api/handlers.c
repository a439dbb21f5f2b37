/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers. A request that gets here fits its tables: names are names, numbers are in
 * range, no field is unknown. What is left is to find the kind or operation, and to call
 * the vault, whose answer is passed on as it is.
 *
 * H1  a long poll holds one of API_MAX_WAITERS places, so that waiting clients never use
 *     up the connections that others need;
 * H2  nothing is changed before the whole request was checked.
 */
#include "api/handlers.h"

#include "base/clock.h"
#include "base/text.h"
#include "vault/vault.h"

#include <stdatomic.h>

#define DEFAULT_LIMIT 100

#define HANDLER(name)                                                                    \
    json_t *name(const struct api_context *context, const struct api_request *request,   \
                 struct err *err)

static const char *param(const struct api_request *request, size_t i)
{
    return request->match->params[i];
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static uint64_t number_of(const json_t *object, const char *key, uint64_t fallback)
{
    const json_t *value = json_object_get(object, key);
    return value ? (uint64_t)json_integer_value(value) : fallback;
}

static json_t *named(const char *name)
{
    json_t *out = json_object();
    json_put_text(out, "name", name);
    return out;
}

static json_t *job_started(uint64_t job)
{
    json_t *out = json_object();
    json_put_u64(out, "job", job);
    return out;
}

/* Errors inside "options" keep that word in the field's name. */
static bool check_options(const struct api_kind *kind, const json_t *options,
                          struct err *err)
{
    struct err inner = ERR_INIT;
    if (api_schema_check(kind->options, options, &inner))
        return true;
    return err_set(err, FAIL_INPUT, "options of '%s': %s", kind->name, inner.text);
}

/* Of a daemon without a vault: the part of its view that every daemon has. */
static json_t *applier_status(const struct api_context *context)
{
    static const char *const KEYS[] = {"version", "uptime_ms", "data_dir"};
    AUTO(json_free) json_t *view = context->applier_view(context->applier_ctx);
    json_t *status = json_object();
    for (size_t i = 0; i < ARRAY_COUNT(KEYS); i++)
        json_put_take(status, KEYS[i], json_incref(json_object_get(view, KEYS[i])));
    json_put_u64(status, "machines", 0);
    json_put_u64(status, "jobs_running",
                 json_array_size(json_object_get(view, "orders")));
    return status;
}

HANDLER(api_get_status)
{
    (void)request;
    return context->vault ? vault_status(context->vault, err) : applier_status(context);
}

HANDLER(api_get_applier)
{
    (void)request;
    if (context->applier_view)
        return context->applier_view(context->applier_ctx);
    (void)err_set(err, FAIL_GONE,
                  "this daemon has all roles; 'kedge status' shows what it does");
    return NULL;
}

HANDLER(api_get_sources)
{
    (void)request;
    return vault_source_list(context->vault, err);
}

HANDLER(api_post_source)
{
    const char *name = text_of(request->body, "name");
    const char *kind = text_of(request->body, "kind");
    const json_t *options = json_object_get(request->body, "options");
    if (!check_options(api_kind_find(api_source_kinds(), kind), options, err) ||
        !vault_source_add(context->vault, name, kind, options, err))
        return NULL;
    return named(name);
}

HANDLER(api_delete_source)
{
    if (!text_check_name("source", param(request, 0), err) ||
        !vault_source_remove(context->vault, param(request, 0), err))
        return NULL;
    return named(param(request, 0));
}

HANDLER(api_check_source)
{
    if (!text_check_name("source", param(request, 0), err))
        return NULL;
    return vault_source_check(context->vault, param(request, 0), err);
}

HANDLER(api_get_targets)
{
    (void)request;
    return vault_target_list(context->vault, err);
}

HANDLER(api_post_target)
{
    const char *name = text_of(request->body, "name");
    const char *kind = text_of(request->body, "kind");
    const json_t *options = json_object_get(request->body, "options");
    if (!check_options(api_kind_find(api_target_kinds(), kind), options, err) ||
        !vault_target_add(context->vault, name, kind, options, err))
        return NULL;
    return named(name);
}

HANDLER(api_delete_target)
{
    if (!text_check_name("target", param(request, 0), err) ||
        !vault_target_remove(context->vault, param(request, 0), err))
        return NULL;
    return named(param(request, 0));
}

HANDLER(api_check_target)
{
    if (!text_check_name("target", param(request, 0), err))
        return NULL;
    return vault_target_check(context->vault, param(request, 0), err);
}

HANDLER(api_get_inventory)
{
    if (!text_check_name("target", param(request, 0), err))
        return NULL;
    return vault_target_inventory(context->vault, param(request, 0), err);
}

HANDLER(api_discover)
{
    return vault_discover(context->vault, text_of(request->query, "source"), err);
}

HANDLER(api_get_machines)
{
    (void)request;
    return vault_list(context->vault, err);
}

HANDLER(api_post_machine)
{
    uint64_t job;
    AUTO(json_free) json_t *none = json_object();
    const json_t *options = json_object_get(request->body, "options");
    if (!vault_replicate(context->vault, text_of(request->body, "source"),
                         text_of(request->body, "machine"),
                         text_of(request->body, "target"), options ? options : none,
                         request->idempotency_key, &job, err))
        return NULL;
    return job_started(job);
}

HANDLER(api_get_machine)
{
    if (!text_check_name("machine", param(request, 0), err))
        return NULL;
    return vault_show(context->vault, param(request, 0), err);
}

static bool find_operation(const char *name, const struct api_kind **ret_kind,
                           enum vault_operation *ret, struct err *err)
{
    *ret_kind = api_kind_find(api_operations(), name);
    if (*ret_kind && vault_operation_from_name(name, ret))
        return true;
    AUTO(buf_release) struct buf known = {0};
    for (const struct api_kind *k = api_operations(); k->name; k++)
        buf_printf(&known, "%s%s", known.bytes ? ", " : "", k->name);
    return err_set(err, FAIL_INPUT, "there is no operation '%.60s'; there are %s", name,
                   buf_text(&known));
}

HANDLER(api_post_operation)
{
    uint64_t job;
    const struct api_kind *kind;
    enum vault_operation operation;
    if (!text_check_name("machine", param(request, 0), err) ||
        !find_operation(param(request, 1), &kind, &operation, err) ||
        !check_options(kind, request->body, err) ||
        !vault_operate(context->vault, param(request, 0), operation, request->body,
                       request->idempotency_key, &job, err))
        return NULL;
    return job_started(job);
}

HANDLER(api_get_jobs)
{
    return vault_jobs(context->vault, text_of(request->query, "machine"),
                      number_of(request->query, "limit", DEFAULT_LIMIT), err);
}

static bool job_of(const struct api_request *request, uint64_t *ret, struct err *err)
{
    if (text_parse_u64(param(request, 0), 1, INT64_MAX, ret, err))
        return true;
    return err_set(err, FAIL_INPUT, "'%.60s' is not a job; jobs are whole numbers",
                   param(request, 0));
}

HANDLER(api_get_job)
{
    uint64_t job;
    return job_of(request, &job, err) ? vault_job(context->vault, job, err) : NULL;
}

HANDLER(api_delete_job)
{
    uint64_t job;
    if (!job_of(request, &job, err) || !vault_job_cancel(context->vault, job, err))
        return NULL;
    return vault_job(context->vault, job, err);
}

static bool has_events(const json_t *list)
{
    return json_array_size(json_object_get(list, "events")) > 0;
}

/* Waits in slices, so that a stop of the daemon or an early return of the vault never
 * turns into a busy loop or a missed event. */
static json_t *wait_events(const struct api_context *context, uint64_t since,
                           uint64_t limit, uint64_t wait_ms, struct err *err)
{
    uint64_t until = clock_mono_ms() + wait_ms;
    for (;;) {
        uint64_t now = clock_mono_ms();
        if (now < until)
            vault_wait(context->vault, since, until - now, context->cancel);
        json_t *list = vault_events(context->vault, since, limit, err);
        if (!list || has_events(list) || clock_mono_ms() >= until ||
            cancel_is_set(context->cancel))
            return list;
        json_decref(list);
        clock_sleep_ms(10);
    }
}

HANDLER(api_get_events)
{
    uint64_t since = number_of(request->query, "since", 0);
    uint64_t limit = number_of(request->query, "limit", DEFAULT_LIMIT);
    uint64_t wait_ms = number_of(request->query, "wait_ms", 0);
    uint64_t last = number_of(request->query, "last", UINT64_MAX);
    uint64_t newest = vault_last_event(context->vault);
    since = MAX_OF(since, newest > last ? newest - last : 0);
    json_t *list = vault_events(context->vault, since, limit, err);
    if (!list || has_events(list) || wait_ms == 0)
        return list;
    json_decref(list);
    if (atomic_fetch_add(context->waiters, 1) >= API_MAX_WAITERS) {
        (void)err_set(err, FAIL_TRANSIENT,
                      "%d clients wait for events already; ask without wait_ms",
                      API_MAX_WAITERS);
        err->retry_after_ms = 1000;
        list = NULL;
    } else {
        list = wait_events(context, since, limit, wait_ms, err);
    }
    atomic_fetch_sub(context->waiters, 1);
    return list;
}

HANDLER(api_get_throttle)
{
    (void)request;
    return vault_throttle_get(context->vault, err);
}

HANDLER(api_put_throttle)
{
    const char *calendar = text_of(request->body, "calendar");
    bool has_rate = json_object_get(request->body, "bytes_per_second") != NULL;
    if (!calendar && !has_rate) {
        (void)err_set(err, FAIL_INPUT,
                      "give 'bytes_per_second', 'calendar', or both of them");
        return NULL;
    }
    if (calendar && !vault_throttle_calendar_set(context->vault, calendar, err))
        return NULL;
    if (has_rate &&
        !vault_throttle_set(context->vault,
                            number_of(request->body, "bytes_per_second", 0), err))
        return NULL;
    return vault_throttle_get(context->vault, err);
}

HANDLER(api_get_blackout)
{
    (void)request;
    return vault_blackout_get(context->vault, err);
}

HANDLER(api_put_blackout)
{
    if (!vault_blackout_set(context->vault, text_of(request->body, "windows"), err))
        return NULL;
    return vault_blackout_get(context->vault, err);
}

HANDLER(api_get_orphans)
{
    (void)request;
    return vault_orphans(context->vault, err);
}

HANDLER(api_clean_orphans)
{
    (void)request;
    return vault_orphans_clean(context->vault, err);
}

HANDLER(api_get_keys)
{
    (void)request;
    return vault_keys_status(context->vault, err);
}

HANDLER(api_rotate_keys)
{
    (void)request;
    return vault_keys_rewrap(context->vault, true, err);
}

HANDLER(api_rewrap_keys)
{
    (void)request;
    return vault_keys_rewrap(context->vault, false, err);
}

HANDLER(api_post_plan)
{
    return vault_plan(context->vault, request->body, err);
}

HANDLER(api_get_network)
{
    (void)request;
    return vault_network_status(context->vault, err);
}

HANDLER(api_check_network)
{
    return vault_network_check(context->vault, text_of(request->body, "role"),
                               context->cancel, err);
}

HANDLER(api_plan_network)
{
    return vault_network_plan(context->vault, request->body, err);
}

HANDLER(api_get_openapi)
{
    (void)context;
    (void)request;
    (void)err;
    return api_openapi();
}
