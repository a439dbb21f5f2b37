/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan as the API asks for it: of a table, or of the machines that replicate here, with
 * the rates that their own cycles have shown. What was not measured yet is filled in with
 * the same defaults as for a table, never guessed from another machine.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "vault/planner.h"
#include "vault/vault_impl.h"

#define MEASURED_CYCLES   20
#define MEASURED_AT_LEAST (64 * MIB) /* less says nothing about a rate */
#define HOUR_MS           3600000.0

/* ---- what was asked for ---- */

static bool take_u32(const json_t *request, const char *key, uint32_t *ret,
                     struct err *err)
{
    uint64_t value;
    if (!json_opt_u64(request, key, *ret, &value, err))
        return false;
    if (value > UINT32_MAX)
        return err_set(err, FAIL_INPUT, "%s is too large", key);
    *ret = (uint32_t)value;
    return true;
}

static bool take_u64(const json_t *request, const char *key, uint64_t *ret,
                     struct err *err)
{
    return json_opt_u64(request, key, *ret, ret, err);
}

static bool take_limits(struct planner *planner, const json_t *request, struct err *err)
{
    struct fleet_options *o = &planner->options;
    return take_u32(request, "datastore_snapshots", &o->limits.datastore_snapshots,
                    err) &&
           take_u32(request, "host_disks", &o->limits.host_disks, err) &&
           take_u32(request, "gateway_disks", &o->limits.gateway_disks, err) &&
           take_u32(request, "gateway_cycles", &o->limits.gateway_cycles, err) &&
           take_u32(request, "gateway_machines", &o->fleet.gateway_machines, err) &&
           take_u32(request, "total_machines", &o->fleet.total_machines, err);
}

static bool take_request(struct planner *planner, const json_t *request, struct err *err)
{
    struct fleet_options *o = &planner->options;
    const char *windows = NULL;
    if (!take_limits(planner, request, err) ||
        !take_u64(request, "bandwidth_bps", &planner->link_bps, err) ||
        !take_u32(request, "sent_pct", &o->sent_pct, err) ||
        !take_u64(request, "overhead_ms", &o->overhead_ms, err) ||
        !take_u64(request, "shutdown_ms", &o->shutdown_ms, err) ||
        !take_u64(request, "boot_ms", &o->boot_ms, err) ||
        !take_u64(request, "seed", &o->seed, err) ||
        !take_u64(request, "start_ms", &o->start_ms, err) ||
        !take_u64(request, "churn_bytes_hour", &planner->fallback.churn_bytes_hour,
                  err) ||
        !take_u64(request, "read_bps", &planner->fallback.read_bps, err) ||
        !take_u32(request, "cutover_at_once", &planner->cutover_at_once, err) ||
        !json_opt_text(request, "blackout", NULL, &windows, err))
        return false;
    return !windows || blackout_parse(windows, &planner->blackout, err);
}

static void take_settings_locked(const struct vault *vault, struct planner *planner)
{
    planner->options.limits = vault->limits;
    planner->options.fleet = vault->fleet_limits;
    planner->options.rules = vault->rules;
    planner->blackout = vault->blackout;
    planner->zone = vault->zone; /* constant as long as the vault is */
    if (throttle_rate(vault->throttle))
        planner->link_bps = throttle_rate(vault->throttle);
}

/* ---- what was measured ---- */

static void take_datastores(const struct machine_def *def, struct plan_machine *m)
{
    for (size_t i = 0; i < def->disk_count; i++) {
        size_t at = 0;
        while (at < m->datastore_count &&
               strcmp(m->datastores[at], def->disks[i].datastore) != 0)
            at++;
        if (at < m->datastore_count || at == PLAN_MAX_DATASTORES ||
            !def->disks[i].datastore[0])
            continue;
        memcpy(m->datastores[at], def->disks[i].datastore, sizeof m->datastores[at]);
        m->datastore_count++;
    }
}

struct measured {
    struct id id;
    bool has_recovery;
};

static bool is_planned(const struct machine *machine)
{
    enum machine_state state = machine->facts.state;
    return !machine->is_gone && state != STATE_MIGRATED && state != STATE_STOPPING &&
           state != STATE_COMPLETING && state != STATE_STOP_FAILED;
}

static bool gather_locked(struct vault *vault, struct planner *planner,
                          struct measured *measured, struct err *err)
{
    for (struct machine *m = vault->machines; m; m = m->next) {
        struct plan_machine plan = planner->fallback;
        if (!is_planned(m))
            continue;
        memcpy(plan.name, m->name, sizeof plan.name);
        memcpy(plan.gateway, m->gateway, sizeof plan.gateway);
        memcpy(plan.host, m->def->host, sizeof plan.host);
        take_datastores(m->def, &plan);
        plan.disk_count = (uint32_t)m->def->disk_count;
        plan.used_bytes = 0;
        for (size_t i = 0; i < m->def->disk_count; i++)
            plan.used_bytes += m->def->disks[i].disk_bytes;
        plan.recovery_ms = m->recovery_cycle ? m->recovery_ms : 0;
        plan.next_due_ms = m->next_cycle_ms;
        plan.last_duration_ms = m->last_duration_ms;
        if (m->watch.is_running && !m->recovery_cycle) {
            uint64_t done = m->watch.progress.done_bytes;
            uint64_t planned = m->watch.progress.planned_bytes;
            plan.used_bytes = planned - MIN_OF(planned, done);
            plan.read_bps = (uint64_t)m->watch.rate_bps;
        }
        measured[planner->count] =
            (struct measured){.id = m->id, .has_recovery = m->recovery_cycle != 0};
        if (!planner_add(planner, &plan, err))
            return false;
    }
    return true;
}

/* Rates out of the cycles that ended well, newest first. */
static void take_rates(const struct catalog_cycle_list *list, struct plan_machine *m)
{
    uint64_t changed = 0, past_ms = 0, read = 0, busy_ms = 0, stored = 0, newer_ms = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct catalog_cycle *c = &list->items[i];
        if (strcmp(c->state, "applied") != 0)
            continue;
        bool is_whole = strcmp(c->kind, "initial") == 0 || strcmp(c->kind, "resync") == 0;
        if (strcmp(c->kind, "initial") == 0 && c->planned_bytes)
            m->used_bytes = c->planned_bytes;
        if (newer_ms > c->snapshot_ms)
            past_ms += newer_ms - c->snapshot_ms;
        newer_ms = c->snapshot_ms;
        if (is_whole)
            newer_ms = 0; /* what lies before says nothing about change */
        else if (i + 1 < list->count)
            changed += c->planned_bytes;
        read += c->planned_bytes;
        stored += c->stored_bytes;
        busy_ms += c->ended_ms > c->started_ms ? c->ended_ms - c->started_ms : 0;
    }
    if (past_ms) {
        m->pattern = CHURN_MEASURED;
        m->churn_bytes_hour = (uint64_t)((double)changed * HOUR_MS / (double)past_ms);
    }
    if (read >= MEASURED_AT_LEAST && busy_ms) {
        m->read_bps = (uint64_t)((double)read * 1000.0 / (double)busy_ms);
        uint64_t pct = (stored * 100 + read - 1) / read;
        m->sent_pct = (uint32_t)MIN_OF(MAX_OF(pct, (uint64_t)1), (uint64_t)200);
    }
}

static bool measure(struct vault *vault, struct planner *planner, struct err *err)
{
    AUTO(free)
    struct measured *measured = xcalloc(PLAN_MAX_MACHINES + 1, sizeof *measured);
    {
        LOCK_GUARD(&vault->lock);
        if (!gather_locked(vault, planner, measured, err))
            return false;
    }
    for (size_t i = 0; i < planner->count; i++) {
        AUTO(catalog_cycle_list_release) struct catalog_cycle_list list = {0};
        struct plan_machine *m = &planner->machines[i];
        if (!catalog_cycle_list(vault->catalog, &measured[i].id, MEASURED_CYCLES, &list,
                                err))
            return false;
        if (measured[i].has_recovery)
            take_rates(&list, m);
        if (!m->churn_bytes_hour && m->pattern != CHURN_MEASURED)
            m->churn_bytes_hour = PLAN_CHURN_BYTES_HOUR(m->used_bytes);
    }
    return true;
}

/* ---- the answer ---- */

static void put_ms(json_t *object, const char *key, uint64_t ms, bool is_known)
{
    json_put_take(object, key, is_known ? json_integer((json_int_t)ms) : json_null());
}

static json_t *row_view(const struct plan_machine *m, const struct plan_row *row)
{
    json_t *view = json_object();
    bool has_delta = row->delta_mean_ms > 0, has_cutover = row->cutover_ms > 0;
    json_put_text(view, "name", m->name);
    json_put_text(view, "gateway", m->gateway);
    json_put_text(view, "host", m->host);
    json_put_u64(view, "used_bytes", m->used_bytes);
    json_put_u64(view, "churn_bytes_hour", m->churn_bytes_hour);
    json_put_bool(view, "refused", row->is_refused);
    put_ms(view, "initial_start_ms", row->initial_started_ms, row->initial_started_ms);
    put_ms(view, "initial_end_ms", row->initial_ended_ms, row->initial_ended_ms);
    put_ms(view, "initial_wait_ms", row->initial_waited_ms, row->initial_started_ms);
    put_ms(view, "delta_ms", row->delta_mean_ms, has_delta);
    put_ms(view, "delta_longest_ms", row->delta_longest_ms, has_delta);
    put_ms(view, "delta_bytes", row->delta_read_bytes, has_delta);
    put_ms(view, "delta_every_ms", row->interval_ms, has_delta);
    json_put_bool(view, "keeps_up", !has_delta || row->keeps_up);
    put_ms(view, "cutover_ms", row->cutover_ms, has_cutover);
    put_ms(view, "cutover_wait_ms", row->cutover_waited_ms, has_cutover);
    return view;
}

static json_t *plan_view(const struct planner *planner, const struct plan_result *result,
                         const char *only)
{
    json_t *view = json_object();
    json_t *rows = json_array();
    uint64_t all_initial_ms = 0, longest_delta_ms = 0, longest_cutover_ms = 0;
    uint64_t refused = 0, unfinished = 0;
    for (size_t i = 0; i < result->count; i++) {
        const struct plan_row *row = &result->rows[i];
        const struct plan_machine *m = &planner->machines[i];
        all_initial_ms = MAX_OF(all_initial_ms, row->initial_ended_ms);
        longest_delta_ms = MAX_OF(longest_delta_ms, row->delta_longest_ms);
        longest_cutover_ms = MAX_OF(longest_cutover_ms, row->cutover_ms);
        refused += row->is_refused;
        unfinished += !row->is_refused && !row->initial_ended_ms && !m->recovery_ms;
        if (!only || strcmp(only, m->name) == 0)
            json_array_append_new(rows, row_view(m, row));
    }
    json_put_u64(view, "start_ms", planner->options.start_ms);
    json_put_u64(view, "machine_count", result->count);
    put_ms(view, "initial_end_ms", all_initial_ms, all_initial_ms);
    put_ms(view, "delta_longest_ms", longest_delta_ms, longest_delta_ms);
    put_ms(view, "cutover_longest_ms", longest_cutover_ms, longest_cutover_ms);
    json_put_u64(view, "cutover_at_once", result->cutover_at_once);
    json_put_u64(view, "refused", refused);
    json_put_u64(view, "unfinished", unfinished);
    json_put_bool(view, "is_whole", !result->is_cut);
    json_put_u64(view, "bandwidth_bps", planner->link_bps);
    json_put_u64(view, "sent_pct", planner->options.sent_pct);
    json_put_take(view, "machines", rows);
    return view;
}

static bool has_machine(const struct planner *planner, const char *name)
{
    for (size_t i = 0; i < planner->count; i++) {
        if (strcmp(planner->machines[i].name, name) == 0)
            return true;
    }
    return false;
}

static json_t *plan(struct vault *vault, struct planner *planner, const json_t *request,
                    struct err *err)
{
    AUTO(plan_result_release) struct plan_result result = {0};
    const char *table = NULL, *machine = NULL;
    planner->options.start_ms = clock_wall_ms();
    {
        LOCK_GUARD(&vault->lock);
        take_settings_locked(vault, planner);
    }
    if (!json_opt_text(request, "table", NULL, &table, err) ||
        !json_opt_text(request, "machine", NULL, &machine, err) ||
        !take_request(planner, request, err))
        return NULL;
    if (table && machine) {
        (void)err_set(err, FAIL_INPUT, "a table or a machine, not both");
        return NULL;
    }
    bool ok = table ? planner_read_csv(planner, table, strlen(table), err)
                    : measure(vault, planner, err);
    if (!ok)
        return NULL;
    if (machine && !has_machine(planner, machine)) {
        (void)err_set(err, FAIL_GONE,
                      "no machine '%s' is replicating; 'list' shows those that are",
                      machine);
        return NULL;
    }
    if (!planner->count) {
        (void)err_set(err, FAIL_CONFLICT,
                      "no machine is replicating; give a fleet as a table");
        return NULL;
    }
    if (!planner_run(planner, &result, err))
        return NULL;
    return plan_view(planner, &result, machine);
}

json_t *vault_plan(struct vault *vault, const json_t *request, struct err *err)
{
    AUTO(planner_release) struct planner planner;
    planner_init(&planner);
    return plan(vault, &planner, request, err);
}
