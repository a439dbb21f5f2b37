/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two phases over one simulated fleet: settle (until every machine has its initial cycle
 * and PLAN_DELTAS deltas), then cut over (a batch is asked for, and when all of it runs
 * at the target the next one). What is measured is what the fleet's events say.
 *
 * Invariants: L1 the work is bounded by horizon_ms and steps_max, whatever the input;
 * L2 nothing is made up: what did not happen in the simulation has no number.
 */
#include "vault/planner.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define MINUTE_MS ((uint64_t)60 * 1000)
#define HOUR_MS   (60 * MINUTE_MS)
#define DAY_MS    (24 * HOUR_MS)

void planner_init(struct planner *planner)
{
    *planner = (struct planner){
        .options = {.limits = ADMISSION_LIMITS_DEFAULT,
                    .fleet = FLEET_LIMITS_DEFAULT,
                    .rules = {HOUR_MS, 12 * HOUR_MS},
                    .sent_pct = 70,
                    .overhead_ms = 40 * 1000,
                    .shutdown_ms = MINUTE_MS,
                    .boot_ms = 2 * MINUTE_MS,
                    .seed = 1},
        .link_bps = 125000000,
        .fallback = {.gateway = "local", .disk_count = 1},
        .horizon_ms = 365 * DAY_MS,
        .steps_max = 20 * 1000 * 1000,
    };
}

void planner_release(struct planner *planner)
{
    free(planner->machines);
    *planner = (struct planner){0};
}

bool planner_add(struct planner *planner, const struct plan_machine *machine,
                 struct err *err)
{
    if (planner->count == PLAN_MAX_MACHINES)
        return err_set(err, FAIL_LIMIT, "more than %u machines; plan them in parts",
                       PLAN_MAX_MACHINES);
    if (planner->count == planner->cap) {
        planner->cap = MAX_OF(planner->cap * 2, (size_t)64);
        planner->machines =
            xrealloc(planner->machines, planner->cap, sizeof *planner->machines);
    }
    planner->machines[planner->count++] = *machine;
    return true;
}

void plan_result_release(struct plan_result *result)
{
    free(result->rows);
    *result = (struct plan_result){0};
}

/* ---- the fleet out of the plan ---- */

struct plan_run {
    const struct planner *planner;
    struct plan_result *result;
    struct fleet_gateway gateways[PLAN_MAX_GATEWAYS];
    size_t gateway_count;
    struct fleet_machine *machines;
    struct admission_datastore (*datastores)[PLAN_MAX_DATASTORES];
    struct fleet *fleet;
    size_t unsettled; /* machines that still have to show what they are like */
    size_t pending;   /* of the batch that is cut over */
};

static const char *gateway_name(struct plan_run *run, const char *name, struct err *err)
{
    for (size_t i = 0; i < run->gateway_count; i++) {
        if (strcmp(run->gateways[i].name, name) == 0)
            return run->gateways[i].name;
    }
    if (run->gateway_count == PLAN_MAX_GATEWAYS) {
        (void)err_set(err, FAIL_LIMIT, "more than %u gateways", PLAN_MAX_GATEWAYS);
        return NULL;
    }
    const struct planner *planner = run->planner;
    run->gateways[run->gateway_count++] = (struct fleet_gateway){
        .name = name,
        .link_bps = planner->link_bps,
        .blackout = planner->blackout.count ? &planner->blackout : NULL,
        .zone = planner->zone};
    return name;
}

static void spread_disks(const struct plan_machine *m, struct admission_datastore *ret)
{
    for (uint32_t i = 0; m->datastore_count && i < m->disk_count; i++) {
        size_t at = i % m->datastore_count;
        ret[at].name = m->datastores[at];
        ret[at].disks++;
    }
}

static bool make_fleet(struct plan_run *run, struct err *err)
{
    const struct planner *planner = run->planner;
    run->machines = xcalloc(planner->count + 1, sizeof *run->machines);
    run->datastores = xcalloc(planner->count + 1, sizeof *run->datastores);
    for (size_t i = 0; i < planner->count; i++) {
        const struct plan_machine *m = &planner->machines[i];
        const char *gateway = gateway_name(run, m->gateway, err);
        if (!gateway)
            return false;
        spread_disks(m, run->datastores[i]);
        run->machines[i] = (struct fleet_machine){
            .name = m->name,
            .gateway = gateway,
            .host = m->host,
            .datastores = run->datastores[i],
            .datastore_count = MIN_OF(m->datastore_count, (size_t)m->disk_count),
            .disk_count = m->disk_count,
            .used_bytes = m->used_bytes,
            .churn_bytes_hour = m->churn_bytes_hour,
            .pattern = m->pattern,
            .read_bps = m->read_bps,
            .sent_pct = m->sent_pct,
            .recovery_ms = m->recovery_ms,
            .next_due_ms = m->next_due_ms,
            .last_duration_ms = m->last_duration_ms,
        };
    }
    return true;
}

/* ---- what happens ---- */

static void on_event(void *ctx, const struct fleet_event *event)
{
    struct plan_run *run = ctx;
    struct plan_row *row = &run->result->rows[event->machine];
    switch (event->kind) {
    case FLEET_REFUSED:
        row->is_refused = true;
        run->unsettled--;
        break;
    case FLEET_MIGRATED:
    case FLEET_MIGRATE_FAILED:
        if (row->cutover_asked_ms && run->pending)
            run->pending--;
        break;
    case FLEET_STARTED:
    case FLEET_APPLIED:
    case FLEET_ENABLED:
    case FLEET_OFFERED:
    case FLEET_WITHDRAWN:
    case FLEET_FAILED:
    case FLEET_INTERRUPTED:
        break;
    }
}

static bool step(struct plan_run *run, uint64_t until_ms)
{
    if (run->result->steps >= run->planner->steps_max)
        return false;
    run->result->steps++;
    return fleet_step(run->fleet, until_ms);
}

/* After every hour it is counted who has settled: a look at all costs more than a step.
 */
static void settle(struct plan_run *run)
{
    uint64_t end_ms = run->planner->options.start_ms + run->planner->horizon_ms;
    while (run->unsettled && fleet_now_ms(run->fleet) < end_ms &&
           run->result->steps < run->planner->steps_max) {
        uint64_t until_ms = MIN_OF(fleet_now_ms(run->fleet) + HOUR_MS, end_ms);
        while (step(run, until_ms))
            ;
        run->unsettled = 0;
        for (size_t i = 0; i < run->result->count; i++) {
            struct plan_row *row = &run->result->rows[i];
            struct fleet_progress p = fleet_progress(run->fleet, i);
            row->is_settled = p.deltas >= PLAN_DELTAS;
            run->unsettled += !row->is_settled && !row->is_refused;
        }
    }
}

static void note_cycles(struct plan_run *run, size_t i)
{
    struct plan_row *row = &run->result->rows[i];
    struct fleet_progress p = fleet_progress(run->fleet, i);
    const struct sched_rules *rules = &run->planner->options.rules;
    row->initial_started_ms = p.initial_started_ms;
    row->initial_ended_ms = p.initial_ended_ms;
    if (p.initial_started_ms)
        row->initial_waited_ms = p.initial_started_ms - run->planner->options.start_ms;
    if (!p.deltas)
        return;
    row->delta_mean_ms = p.delta_sum_ms / p.deltas;
    row->delta_longest_ms = p.delta_longest_ms;
    row->delta_read_bytes = p.last_read_bytes;
    row->interval_ms = sched_next_delta_ms(rules, false, 0, row->delta_mean_ms);
    /* A delta that lasts longer than the longest pause between two finds more to do each
     * time. */
    row->keeps_up = p.last_duration_ms <= rules->delta_max_ms;
}

/* ---- cutovers ---- */

static bool ask_cutover(struct plan_run *run, size_t i)
{
    struct err refused = ERR_INIT;
    struct plan_row *row = &run->result->rows[i];
    row->cutover_asked_ms = fleet_now_ms(run->fleet);
    run->pending++;
    if (fleet_migrate(run->fleet, i, false, &refused))
        return true;
    row->cutover_asked_ms = 0;
    run->pending--;
    return false;
}

/* Nobody plans a cutover for the middle of a blackout: the batch waits for its end. */
static void wait_for_window(struct plan_run *run, uint64_t end_ms)
{
    const struct planner *planner = run->planner;
    if (!planner->blackout.count)
        return;
    struct blackout_status status =
        blackout_at(&planner->blackout, planner->zone, fleet_now_ms(run->fleet));
    if (!status.is_inside)
        return;
    uint64_t until_ms = MIN_OF(status.until_ms, end_ms);
    while (step(run, until_ms))
        ;
}

static void note_cutover(struct plan_run *run, size_t i)
{
    struct plan_row *row = &run->result->rows[i];
    struct fleet_progress p = fleet_progress(run->fleet, i);
    if (!row->cutover_asked_ms || !p.migrated_ms)
        return;
    row->cutover_ms = p.migrated_ms - row->cutover_asked_ms;
    row->cutover_waited_ms =
        p.started_ms > row->cutover_asked_ms ? p.started_ms - row->cutover_asked_ms : 0;
}

static void cut_over(struct plan_run *run)
{
    uint64_t end_ms = run->planner->options.start_ms + run->planner->horizon_ms;
    size_t count = run->result->count;
    for (size_t first = 0; first < count; first += run->result->cutover_at_once) {
        size_t last = MIN_OF(first + run->result->cutover_at_once, count);
        wait_for_window(run, end_ms);
        run->pending = 0;
        for (size_t i = first; i < last; i++) {
            if (run->result->rows[i].is_settled)
                (void)ask_cutover(run, i); /* a machine that may not has no number */
        }
        while (run->pending && step(run, end_ms))
            ;
        for (size_t i = first; i < last; i++)
            note_cutover(run, i);
    }
}

bool planner_run(const struct planner *planner, struct plan_result *ret, struct err *err)
{
    struct plan_run *run = xcalloc(1, sizeof *run);
    *ret = (struct plan_result){.count = planner->count};
    ret->rows = xcalloc(planner->count + 1, sizeof *ret->rows);
    ret->cutover_at_once = planner->cutover_at_once
                               ? planner->cutover_at_once
                               : (uint32_t)((planner->count + 99) / 100);
    ret->cutover_at_once = MAX_OF(ret->cutover_at_once, 1u);
    run->planner = planner;
    run->result = ret;
    run->unsettled = planner->count;
    bool ok = make_fleet(run, err);
    if (ok) {
        struct fleet_options options = planner->options;
        options.gateways = run->gateways;
        options.gateway_count = run->gateway_count;
        run->fleet = fleet_new(&options, run->machines, planner->count, on_event, run);
        settle(run);
        for (size_t i = 0; i < ret->count; i++)
            note_cycles(run, i);
        cut_over(run);
        ret->ended_ms = fleet_now_ms(run->fleet);
        ret->is_cut = run->unsettled > 0 || ret->steps >= planner->steps_max;
    }
    fleet_free(run->fleet);
    free(run->machines);
    free(run->datastores);
    free(run);
    if (!ok)
        plan_result_release(ret);
    return ok;
}
