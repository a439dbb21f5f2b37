/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bridge between what the vault knows (machines, jobs, who works on what) and the
 * pure admission. Whoever changes something that counts touches the machine; before the
 * next decision each touched machine's wish is made anew out of the facts. So a wish is
 * never patched, and a decision costs what has changed, not what there is. All machines
 * are looked at again now and then: a touch that was forgotten costs seconds, not a
 * machine.
 *
 * Invariants:
 *  D1  a machine has at most one wish, and none while somebody holds its lease;
 *  D2  its first job comes before its schedule; jobs start in the order in which they
 *      were asked for;
 *  D3  what runs holds its place in the admission until dispatch_done_locked.
 * Must never do: I/O; look at a clock.
 */
#include "vault/dispatch.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "vault/policy.h"
#include "vault/reach.h"

#define SWEEP_MS    ((uint64_t)10 * 1000)
#define IDLE_MAX_MS ((uint64_t)1000)

void dispatch_open(struct vault *vault, const struct vault_options *options,
                   uint32_t job_threads, uint64_t now_ms)
{
    struct admission_limits limits = ADMISSION_LIMITS_DEFAULT;
    vault->fleet_limits = FLEET_LIMITS_DEFAULT;
    if (options->datastore_snapshots)
        limits.datastore_snapshots = options->datastore_snapshots;
    if (options->host_disks)
        limits.host_disks = options->host_disks;
    if (options->gateway_disks)
        limits.gateway_disks = options->gateway_disks;
    limits.gateway_cycles = job_threads;
    if (options->gateway_machines)
        vault->fleet_limits.gateway_machines = options->gateway_machines;
    if (options->total_machines)
        vault->fleet_limits.total_machines = options->total_machines;
    vault->limits = limits;
    vault->cycle_lane = admission_new(&limits);
    vault->quick_lane = admission_new(&(struct admission_limits){0});
    for (struct machine *m = vault->machines; m; m = m->next) {
        /* The clock may have been set back while we were away. */
        uint64_t latest_ms =
            sched_next_delta_ms(&vault->rules, false, now_ms, m->last_duration_ms);
        m->next_cycle_ms = MIN_OF(m->next_cycle_ms, latest_ms);
        dispatch_touch_locked(vault, m);
    }
}

void dispatch_close(struct vault *vault)
{
    admission_free(vault->cycle_lane);
    admission_free(vault->quick_lane);
    vault->cycle_lane = vault->quick_lane = NULL;
}

void dispatch_touch_locked(struct vault *vault, struct machine *machine)
{
    machine->wish.is_touched = true;
    vault->has_touched = true;
}

static void drop_wish(struct machine *machine)
{
    struct wish *wish = &machine->wish;
    if (wish->item)
        admission_withdraw(wish->lane, wish->item);
    wish->item = NULL;
    wish->job = NULL;
}

void dispatch_forget_locked(struct machine *machine)
{
    drop_wish(machine);
}

/* ---- wishes out of facts ---- */

/* The first job of each machine that may start: one that let go of the lease early holds
 * up everything but cycles. A machine whose first job runs has none. */
static void find_first_jobs(struct vault *vault)
{
    for (struct machine *m = vault->machines; m; m = m->next) {
        m->wish.first = NULL;
        m->wish.is_held_up = m->wish.has_aside = false;
    }
    for (struct job *j = vault->jobs; j; j = j->next) {
        struct wish *wish = &j->machine->wish;
        bool is_cycle =
            op_plan(j->operation)->is_cycle_work && j->operation != OP_MIGRATE;
        if (wish->first || wish->is_held_up)
            continue;
        if (j->is_aside)
            wish->has_aside = true;
        else if (j->is_running || (wish->has_aside && !is_cycle))
            wish->is_held_up = true;
        else
            wish->first = j;
    }
}

static size_t count_datastores(const struct machine_def *def,
                               struct admission_datastore ret[MACHINE_MAX_DISKS])
{
    size_t count = 0;
    for (size_t i = 0; i < def->disk_count; i++) {
        const char *name = def->disks[i].datastore;
        size_t at = 0;
        while (at < count && strcmp(ret[at].name, name) != 0)
            at++;
        if (at == count)
            ret[count++] = (struct admission_datastore){.name = name};
        ret[at].disks++;
    }
    return count;
}

static void offer_cycle(struct vault *vault, struct machine *m,
                        struct admission_request *request, uint64_t now_ms)
{
    struct admission_datastore datastores[MACHINE_MAX_DISKS];
    request->gateway = m->gateway;
    request->site = m->source;
    request->host = m->def->host;
    request->disk_count = (uint32_t)m->def->disk_count;
    request->datastores = datastores;
    request->datastore_count = count_datastores(m->def, datastores);
    request->expected_ms = m->recovery_cycle ? m->last_duration_ms : 0;
    m->wish.lane = vault->cycle_lane;
    m->wish.is_cycle = true;
    m->wish.item = admission_offer(vault->cycle_lane, request, now_ms);
}

static void offer_job(struct vault *vault, struct machine *m, struct job *job,
                      uint64_t now_ms)
{
    struct admission_request request = {
        .machine = m->name,
        .class = sched_class_of(job->operation, m->recovery_cycle != 0),
        .is_ongoing = job->was_interrupted || job->failures || m->has_open_cycle ||
                      job->operation == OP_RESUME,
        .failures = job->failures,
        /* A migration is refused in a window, not held back: vault/blackout.h. */
        .is_blackout_exempt = job->operation == OP_MIGRATE,
        /* A clock that was set back must not hold up what was asked for before. */
        .due_ms =
            job->not_before_ms ? job->not_before_ms : MIN_OF(job->created_ms, now_ms),
        .order = job->id,
        .gateway = "",
        .site = "",
        .host = "",
        .ctx = m,
    };
    m->wish.job = job;
    if (op_plan(job->operation)->is_cycle_work) {
        offer_cycle(vault, m, &request, now_ms);
        return;
    }
    m->wish.lane = vault->quick_lane;
    m->wish.is_cycle = false;
    m->wish.item = admission_offer(vault->quick_lane, &request, now_ms);
}

static void make_wish(struct vault *vault, struct machine *m, uint64_t now_ms)
{
    drop_wish(m);
    m->wish.is_touched = false;
    if (m->work || m->wish.is_held_up)
        return;
    if (m->wish.first) {
        offer_job(vault, m, m->wish.first, now_ms);
        return;
    }
    if (m->is_gone || !m->next_cycle_ms || !sched_runs_by_schedule(&m->facts))
        return;
    struct admission_request request = {
        .machine = m->name,
        .class = m->recovery_cycle ? SCHED_DELTA : SCHED_INITIAL,
        .is_ongoing =
            m->failures > 0 || m->has_open_cycle || m->facts.state == STATE_RESUMING,
        .failures = m->failures,
        .due_ms = m->next_cycle_ms,
        .order = m->created_ms,
        .ctx = m,
    };
    offer_cycle(vault, m, &request, now_ms);
}

static void refresh(struct vault *vault, uint64_t now_ms)
{
    bool is_sweep = now_ms - vault->swept_ms >= SWEEP_MS; /* also a clock set back */
    if (!vault->has_touched && !is_sweep)
        return;
    find_first_jobs(vault);
    for (struct machine *m = vault->machines; m; m = m->next) {
        if (m->wish.is_touched || is_sweep)
            make_wish(vault, m, now_ms);
    }
    vault->has_touched = false;
    if (is_sweep)
        vault->swept_ms = now_ms;
}

static void refresh_gate(struct vault *vault, uint64_t now_ms)
{
    struct blackout_status status = policy_blackout_locked(vault, now_ms);
    struct err why = ERR_INIT;
    if (!reach_is_well(vault, &why)) {
        admission_set_gate(vault->cycle_lane, DISPATCH_LOCAL, GATE_NETWORK, UINT64_MAX);
        return;
    }
    admission_set_gate(vault->cycle_lane, DISPATCH_LOCAL,
                       status.is_inside ? GATE_BLACKOUT : GATE_OPEN,
                       status.is_inside ? status.until_ms : status.next_start_ms);
}

/* ---- deciding ---- */

bool dispatch_pick_locked(struct vault *vault, bool cycles, uint64_t now_ms,
                          struct dispatch_choice *ret, uint64_t *ret_wait_ms)
{
    struct admission *lane = cycles ? vault->cycle_lane : vault->quick_lane;
    uint64_t look_ms;
    refresh(vault, now_ms);
    refresh_gate(vault, now_ms);
    struct admission_item *item = admission_next(lane, now_ms, &look_ms);
    *ret_wait_ms = look_ms > now_ms ? MIN_OF(IDLE_MAX_MS, look_ms - now_ms) : IDLE_MAX_MS;
    if (!item)
        return false;
    struct machine *machine = admission_ctx(item);
    *ret = (struct dispatch_choice){
        .machine = machine, .job = machine->wish.job, .lane = lane, .item = item};
    machine->wish.item = NULL;
    machine->wish.job = NULL;
    return true;
}

void dispatch_done_locked(struct vault *vault, const struct dispatch_choice *choice)
{
    admission_end(choice->lane, choice->item);
    dispatch_touch_locked(vault, choice->machine);
}

bool dispatch_is_waiting_locked(const struct machine *machine, uint64_t now_ms)
{
    const struct wish *wish = &machine->wish;
    return wish->item && wish->is_cycle &&
           admission_is_due(wish->lane, wish->item, now_ms);
}

void dispatch_expect_locked(struct vault *vault, uint64_t now_ms)
{
    refresh(vault, now_ms);
    refresh_gate(vault, now_ms);
    admission_settle(vault->cycle_lane, now_ms);
    for (struct machine *m = vault->machines; m; m = m->next) {
        uint64_t eta_ms =
            m->work && m->watch.is_running ? watch_eta_ms_locked(&m->watch) : UINT64_MAX;
        if (eta_ms != UINT64_MAX)
            admission_expect(vault->cycle_lane, m->work->item, now_ms + eta_ms);
    }
}

json_t *dispatch_waiting_view_locked(struct vault *vault, const struct machine *machine,
                                     uint64_t now_ms)
{
    struct admission_wait wait;
    char text[ADMISSION_WHY_BYTES];
    if (!dispatch_is_waiting_locked(machine, now_ms) ||
        !admission_why(vault->cycle_lane, machine->wish.item, now_ms, &wait))
        return json_null();
    json_t *view = json_object();
    json_t *holders = json_array();
    json_put_text(view, "reason", admission_reason_name(wait.reason));
    struct err why = ERR_INIT;
    bool is_network = wait.reason == WAIT_NETWORK && !reach_is_well(vault, &why);
    json_put_text(view, "text",
                  is_network ? why.text : admission_why_text(&wait, now_ms, text));
    json_put_text(view, "resource", wait.resource);
    json_put_u64(view, "used", wait.used);
    json_put_u64(view, "limit", wait.limit);
    json_put_u64(view, "wanted", wait.wanted);
    for (size_t i = 0; i < ADMISSION_HOLDERS && wait.holders[i]; i++)
        json_array_append_new(holders, json_string(wait.holders[i]));
    json_put_take(view, "holders", holders);
    json_put_u64(view, "holder_count", wait.holder_count);
    json_put_take(view, "after", wait.after ? json_string(wait.after) : json_null());
    json_put_take(view, "expected_at_ms",
                  wait.expected_ms ? json_integer((json_int_t)wait.expected_ms)
                                   : json_null());
    return view;
}

/* Those that were migrated, or are leaving, replicate no more. */
static bool counts(const struct machine *machine)
{
    enum machine_state state = machine->facts.state;
    return !machine->is_gone && state != STATE_MIGRATED && state != STATE_STOPPING &&
           state != STATE_COMPLETING;
}

bool dispatch_has_room_locked(const struct vault *vault, const char *gateway,
                              struct err *err)
{
    size_t here = 0, all = 0;
    for (const struct machine *m = vault->machines; m; m = m->next) {
        all += counts(m);
        here += counts(m) && strcmp(m->gateway, gateway) == 0;
    }
    return fleet_admits(&vault->fleet_limits, gateway, here, all, err);
}
