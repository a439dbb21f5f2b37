/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to one machine of a simulated fleet: enabled, offered, started, sent,
 * wrapped up, failed, interrupted, migrated. States move by the vault's own table, due
 * times come from its own formula.
 */
#include "vault/fleet_impl.h"

#define JITTER_PCT 20u

/* ---- offering ---- */

static uint64_t expected_ms(const struct sim_machine *machine)
{
    return machine->p.last_duration_ms;
}

void sim_offer(struct sim_machine *machine, uint64_t due_ms)
{
    const struct fleet_machine *def = machine->def;
    bool has_recovery = machine->p.facts.has_recovery_point;
    struct admission_request request = {
        .machine = def->name,
        .class =
            machine->is_migrating
                ? sched_class_of(OP_MIGRATE, has_recovery)
                : sched_class_of(has_recovery ? OP_RESUME : OP_REPLICATE, has_recovery),
        .is_ongoing = machine->is_begun || machine->p.failures > 0,
        .failures = machine->p.failures,
        .is_blackout_exempt = machine->is_migrating,
        .due_ms = due_ms,
        .order = machine->index,
        .expected_ms = expected_ms(machine),
        .gateway = def->gateway,
        .site = "",
        .host = def->host,
        .disk_count = def->disk_count,
        .datastores = def->datastores,
        .datastore_count = def->datastore_count,
        .ctx = machine,
    };
    machine->p.next_due_ms = due_ms;
    machine->item =
        admission_offer(machine->fleet->admission, &request, machine->fleet->now_ms);
    fleet_tell(machine, FLEET_OFFERED, &request);
}

static void offer_scheduled(struct sim_machine *machine, uint64_t due_ms)
{
    if (sched_runs_by_schedule(&machine->p.facts) ||
        machine->p.facts.state == STATE_QUEUED)
        sim_offer(machine, due_ms);
}

/* ---- a cycle ---- */

void sim_link_changed(struct sim_gateway *gateway, struct fleet *fleet)
{
    fleet_set_instant(fleet, gateway->link_instant, fleet_link_next_ms(&gateway->link));
}

uint64_t sim_sent_bytes(const struct sim_machine *machine, uint64_t read_bytes)
{
    uint64_t pct = machine->def->sent_pct ? machine->def->sent_pct
                                          : machine->fleet->options.sent_pct;
    return read_bytes / 100 * pct + read_bytes % 100 * pct / 100;
}

static void plan_bytes(struct sim_machine *machine)
{
    struct fleet *fleet = machine->fleet;
    const struct fleet_machine *def = machine->def;
    machine->snapshot_ms = fleet->now_ms;
    machine->read_bytes = def->used_bytes;
    if (machine->p.facts.has_recovery_point) {
        double hours = (double)(fleet->now_ms - machine->recovery_ms) / 3600000.0;
        uint64_t jitter = 100 - JITTER_PCT + fleet_random(fleet) % (2 * JITTER_PCT + 1);
        double written = (double)def->churn_bytes_hour * hours * (double)jitter / 100.0;
        machine->read_bytes =
            churn_changed_bytes(def->pattern, def->used_bytes, (uint64_t)written);
    }
    machine->is_failing = !machine->is_migrating && def->fail_million &&
                          fleet_random(fleet) % 1000000 < def->fail_million;
    machine->flow.left_bytes = sim_sent_bytes(machine, machine->read_bytes);
    machine->is_begun = true;
}

void sim_send(struct sim_machine *machine)
{
    struct fleet *fleet = machine->fleet;
    machine->phase = PHASE_SENDING;
    if (!machine->is_begun)
        plan_bytes(machine);
    fleet_link_add(&machine->gateway->link, &machine->flow, fleet->now_ms);
    sim_link_changed(machine->gateway, fleet);
}

static void set_over(struct sim_machine *machine)
{
    machine->p.is_running = false;
    machine->is_begun = false;
    admission_end(machine->fleet->admission, machine->item);
    machine->item = NULL;
    if (machine->flow.at) {
        fleet_link_drop(&machine->gateway->link, &machine->flow, machine->fleet->now_ms);
        sim_link_changed(machine->gateway, machine->fleet);
    }
    fleet_set_instant(machine->fleet, machine->instant, UINT64_MAX);
}

static void migrate_failed(struct sim_machine *machine)
{
    machine->is_migrating = false;
    machine_move(&machine->p.facts, ON_MIGRATE_FAILED);
    set_over(machine);
    fleet_tell(machine, FLEET_MIGRATE_FAILED, NULL);
    offer_scheduled(machine, machine->fleet->now_ms);
}

void sim_start(struct sim_machine *machine)
{
    struct fleet *fleet = machine->fleet;
    struct fleet_progress *p = &machine->p;
    machine->is_on_demand = machine->is_migrating;
    p->is_running = true;
    p->facts.is_waiting = false;
    p->wait_longest_ms =
        MAX_OF(p->wait_longest_ms, fleet->now_ms - MIN_OF(fleet->now_ms, p->next_due_ms));
    p->started_ms = fleet->now_ms;
    if (!p->facts.has_recovery_point && !p->initial_started_ms)
        p->initial_started_ms = fleet->now_ms;
    machine_move(&p->facts, ON_CYCLE_STARTED);
    fleet_tell(machine, FLEET_STARTED, NULL);
    if (machine->is_migrating && !machine->is_begun && !machine->is_exempt &&
        fleet_is_in_blackout(machine->gateway, fleet->now_ms)) {
        migrate_failed(machine);
        return;
    }
    if (machine->is_migrating && !machine->is_begun && fleet->options.shutdown_ms) {
        machine->phase = PHASE_SHUTDOWN;
        fleet_set_instant(fleet, machine->instant,
                          fleet->now_ms + fleet->options.shutdown_ms);
        return;
    }
    sim_send(machine);
}

static void applied(struct sim_machine *machine)
{
    struct fleet *fleet = machine->fleet;
    struct fleet_progress *p = &machine->p;
    bool was_initial = !p->facts.has_recovery_point;
    p->last_duration_ms = fleet->now_ms - p->started_ms;
    p->last_read_bytes = machine->read_bytes;
    machine->recovery_ms = machine->snapshot_ms;
    p->facts.has_recovery_point = true;
    p->failures = 0;
    if (was_initial) {
        p->initial_ended_ms = fleet->now_ms;
    } else if (!machine->is_on_demand) {
        p->deltas++;
        p->delta_sum_ms += p->last_duration_ms;
        p->delta_longest_ms = MAX_OF(p->delta_longest_ms, p->last_duration_ms);
    }
    machine_move(&p->facts, ON_APPLIED);
    set_over(machine);
    if (machine->is_on_demand) {
        machine->is_migrating = false;
        machine_move(&p->facts, ON_MIGRATED);
        p->migrated_ms = fleet->now_ms;
        fleet_tell(machine, FLEET_MIGRATED, NULL);
        return;
    }
    fleet_tell(machine, FLEET_APPLIED, NULL);
    if (machine->is_migrating)
        sim_offer(machine, fleet->now_ms);
    else
        offer_scheduled(machine, sched_next_delta_ms(&fleet->options.rules, was_initial,
                                                     fleet->now_ms, p->last_duration_ms));
}

static void failed(struct sim_machine *machine)
{
    struct fleet *fleet = machine->fleet;
    struct fleet_progress *p = &machine->p;
    p->failures++;
    set_over(machine);
    fleet_tell(machine, FLEET_FAILED, NULL);
    uint64_t wait_ms = sched_backoff_ms(p->failures, fleet_random(fleet));
    if (machine->is_migrating)
        sim_offer(machine, fleet->now_ms);
    else
        offer_scheduled(machine, fleet->now_ms + wait_ms);
}

void sim_sent(struct sim_machine *machine)
{
    struct fleet *fleet = machine->fleet;
    uint64_t wrap_up_ms = fleet->options.overhead_ms;
    machine->phase = PHASE_WRAP_UP;
    if (machine->is_on_demand)
        wrap_up_ms += fleet->options.boot_ms;
    fleet_set_instant(fleet, machine->instant, fleet->now_ms + wrap_up_ms);
}

void sim_wrapped_up(struct sim_machine *machine)
{
    if (machine->is_failing)
        failed(machine);
    else
        applied(machine);
}

void sim_interrupt(struct sim_machine *machine)
{
    struct fleet *fleet = machine->fleet;
    bool was_begun = machine->is_begun;
    set_over(machine);
    machine->is_begun = was_begun;
    fleet_tell(machine, FLEET_INTERRUPTED, NULL);
    sim_offer(machine, fleet->now_ms);
}

/* ---- enabling ---- */

void sim_enable(struct sim_machine *machine)
{
    struct fleet *fleet = machine->fleet;
    size_t here = 0, all = 0;
    struct err ignored = ERR_INIT;
    for (size_t i = 0; i < fleet->count; i++) {
        const struct sim_machine *m = &fleet->machines[i];
        bool counts = m->p.is_enabled && m->p.facts.state != STATE_MIGRATED;
        all += counts;
        here += counts && m->gateway == machine->gateway;
    }
    if (!fleet_admits(&fleet->options.fleet, machine->def->gateway, here, all,
                      &ignored)) {
        machine->p.is_refused = true;
        fleet_tell(machine, FLEET_REFUSED, NULL);
        return;
    }
    machine->p.is_enabled = true;
    fleet_tell(machine, FLEET_ENABLED, NULL);
    if (!machine->def->recovery_ms) {
        sim_offer(machine, fleet->now_ms);
        return;
    }
    machine->p.facts.state = STATE_DELTA;
    machine->p.facts.migration = MIGRATION_TEST_PENDING;
    machine->p.facts.has_recovery_point = true;
    machine->p.last_duration_ms = machine->def->last_duration_ms;
    machine->recovery_ms = machine->def->recovery_ms;
    offer_scheduled(machine, MAX_OF(machine->def->next_due_ms, fleet->now_ms));
}
