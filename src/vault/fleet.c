/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine of a simulated fleet. Three kinds of instants: a machine's own (it is
 * enabled, its shutdown or its overhead is over), a link's (a cycle has sent everything),
 * a gate's (a blackout window begins or ends). After each one the admission is asked
 * until it has nothing more to start, as a vault with enough free workers would.
 *
 * A cycle: [shutdown] -> send (shares the gateway's link) -> overhead [-> boot].
 *
 * Invariants: F1 time never goes back; F2 what may start and when is decided by the
 * vault's own code, never here; F3 a machine is offered, running, or not scheduled: one
 * of them.
 */
#include "vault/fleet_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- instants ---- */

static bool instant_before(const void *a, const void *b)
{
    const struct instant *x = a, *y = b;
    return x->at_ms != y->at_ms ? x->at_ms < y->at_ms : x->order < y->order;
}

void fleet_set_instant(struct fleet *fleet, struct instant *instant, uint64_t at_ms)
{
    if (instant->node.at)
        rank_heap_drop(&fleet->heap, &instant->node, instant_before);
    instant->at_ms = at_ms;
    if (at_ms != UINT64_MAX)
        rank_heap_add(&fleet->heap, &instant->node, instant_before);
}

/* splitmix64, public domain algorithm: no state but one number. */
uint64_t fleet_random(struct fleet *fleet)
{
    uint64_t z = fleet->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

void fleet_tell(struct sim_machine *machine, enum fleet_event_kind kind,
                const struct admission_request *request)
{
    struct fleet *fleet = machine->fleet;
    struct fleet_event event = {kind, machine->index, fleet->now_ms, request};
    if (fleet->watch)
        fleet->watch(fleet->watch_ctx, &event);
}

/* ---- gates ---- */

bool fleet_is_in_blackout(const struct sim_gateway *gateway, uint64_t now_ms)
{
    return gateway->def->blackout &&
           blackout_at(gateway->def->blackout, gateway->def->zone, now_ms).is_inside;
}

static void set_gate(struct fleet *fleet, struct sim_gateway *gateway)
{
    struct blackout_status status = {.next_start_ms = BLACKOUT_NEVER};
    enum admission_gate gate = GATE_OPEN;
    if (gateway->def->blackout)
        status = blackout_at(gateway->def->blackout, gateway->def->zone, fleet->now_ms);
    uint64_t until_ms = status.is_inside ? status.until_ms : status.next_start_ms;
    if (!gateway->is_up)
        gate = GATE_DOWN;
    else if (status.is_inside)
        gate = GATE_BLACKOUT;
    admission_set_gate(fleet->admission, gateway->def->name, gate,
                       gate == GATE_DOWN ? UINT64_MAX : until_ms);
    fleet_set_instant(fleet, gateway->gate_instant, until_ms);
}

static void ask_admission(struct fleet *fleet)
{
    struct admission_item *item;
    uint64_t look_ms;
    while ((item = admission_next(fleet->admission, fleet->now_ms, &look_ms)))
        sim_start(admission_ctx(item));
}

void fleet_set_gateway(struct fleet *fleet, const char *name, bool is_up)
{
    for (size_t i = 0; i < fleet->gateway_count; i++) {
        struct sim_gateway *gateway = &fleet->gateways[i];
        if (strcmp(gateway->def->name, name) != 0 || gateway->is_up == is_up)
            continue;
        gateway->is_up = is_up;
        set_gate(fleet, gateway);
        for (size_t k = 0; k < fleet->count && !is_up; k++) {
            struct sim_machine *machine = &fleet->machines[k];
            if (machine->gateway == gateway && machine->p.is_running)
                sim_interrupt(machine);
        }
    }
    ask_admission(fleet);
}

bool fleet_migrate(struct fleet *fleet, size_t index, bool override_blackout,
                   struct err *err)
{
    struct sim_machine *machine = &fleet->machines[index];
    struct fleet_progress *p = &machine->p;
    if (!machine_allows(&p->facts, OP_MIGRATE, err))
        return false;
    if (machine->is_migrating)
        return err_set(err, FAIL_CONFLICT, "machine '%s' is being migrated already",
                       machine->def->name);
    if (!override_blackout && fleet_is_in_blackout(machine->gateway, fleet->now_ms))
        return err_set(err, FAIL_CONFLICT,
                       "gateway '%s' is in a blackout window; override it or wait",
                       machine->def->gateway);
    machine_move(&p->facts, OP_MIGRATE);
    machine->is_migrating = true;
    machine->is_exempt = override_blackout;
    p->migrate_asked_ms = fleet->now_ms;
    if (machine->item && !p->is_running) {
        admission_withdraw(fleet->admission, machine->item);
        machine->item = NULL;
        fleet_tell(machine, FLEET_WITHDRAWN, NULL);
    }
    if (!p->is_running) {
        machine->is_begun =
            false; /* what was interrupted is part of what changed since */
        sim_offer(machine, fleet->now_ms);
    }
    ask_admission(fleet);
    return true;
}

/* ---- the clock ---- */

static void machine_instant(struct sim_machine *machine)
{
    fleet_set_instant(machine->fleet, machine->instant, UINT64_MAX);
    switch (machine->phase) {
    case PHASE_ENABLE:
        sim_enable(machine);
        break;
    case PHASE_SHUTDOWN:
        sim_send(machine);
        break;
    case PHASE_WRAP_UP:
        sim_wrapped_up(machine);
        break;
    case PHASE_SENDING:
        assert(false); /* a machine that sends waits for its link */
    }
}

static void link_instant(struct fleet *fleet, struct sim_gateway *gateway)
{
    struct fleet_flow *flow;
    while ((flow = fleet_link_take(&gateway->link, fleet->now_ms)))
        sim_sent(flow->owner);
    sim_link_changed(gateway, fleet);
}

bool fleet_step(struct fleet *fleet, uint64_t until_ms)
{
    uint64_t look_ms;
    struct admission_item *item =
        admission_next(fleet->admission, fleet->now_ms, &look_ms);
    if (item) {
        sim_start(admission_ctx(item));
        ask_admission(fleet);
        return true;
    }
    const struct instant *first = rank_heap_first(&fleet->heap);
    uint64_t next_ms = MIN_OF(look_ms, first ? first->at_ms : UINT64_MAX);
    if (next_ms > until_ms || next_ms == UINT64_MAX) {
        fleet->now_ms = MAX_OF(fleet->now_ms, until_ms);
        return false;
    }
    fleet->now_ms = MAX_OF(fleet->now_ms, next_ms);
    while (first && first->at_ms <= fleet->now_ms) {
        switch (first->kind) {
        case INSTANT_MACHINE:
            machine_instant(first->owner);
            break;
        case INSTANT_LINK:
            link_instant(fleet, first->owner);
            break;
        case INSTANT_GATE:
            set_gate(fleet, first->owner);
            break;
        }
        first = rank_heap_first(&fleet->heap);
    }
    ask_admission(fleet);
    return true;
}

/* ---- the whole ---- */

static struct instant *instant_init(struct fleet *fleet, size_t index,
                                    enum instant_kind kind, void *owner)
{
    struct instant *instant = &fleet->instants[index];
    *instant = (struct instant){.order = index, .kind = kind, .owner = owner};
    instant->node.owner = instant;
    return instant;
}

static struct sim_gateway *gateway_of(struct fleet *fleet, const char *name)
{
    for (size_t i = 0; i < fleet->gateway_count; i++) {
        if (strcmp(fleet->gateways[i].def->name, name) == 0)
            return &fleet->gateways[i];
    }
    assert(false); /* a machine names a gateway that the options do not have */
    return NULL;
}

/* Windows and links come before machines at the same instant: nothing starts in the first
 * millisecond of a window. */
static void init_gateways(struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->gateway_count; i++) {
        struct sim_gateway *gateway = &fleet->gateways[i];
        gateway->def = &fleet->options.gateways[i];
        gateway->is_up = true;
        gateway->link.link_bps = gateway->def->link_bps;
        gateway->link.now_ms = fleet->now_ms;
        gateway->gate_instant = instant_init(fleet, 2 * i, INSTANT_GATE, gateway);
        gateway->link_instant = instant_init(fleet, 2 * i + 1, INSTANT_LINK, gateway);
        set_gate(fleet, gateway);
    }
}

static void init_machine(struct fleet *fleet, size_t index,
                         const struct fleet_machine *def)
{
    struct sim_machine *machine = &fleet->machines[index];
    machine->fleet = fleet;
    machine->def = def;
    machine->index = index;
    machine->gateway = gateway_of(fleet, def->gateway);
    machine->p.facts.name = def->name;
    machine->phase = PHASE_ENABLE;
    machine->flow.owner = machine;
    if (def->read_bps)
        machine->flow.most_bps =
            MAX_OF(sim_sent_bytes(machine, def->read_bps), (uint64_t)1);
    machine->instant =
        instant_init(fleet, 2 * fleet->gateway_count + index, INSTANT_MACHINE, machine);
    fleet_set_instant(fleet, machine->instant, MAX_OF(def->enabled_ms, fleet->now_ms));
}

struct fleet *fleet_new(const struct fleet_options *options,
                        const struct fleet_machine *machines, size_t count,
                        fleet_watch watch, void *watch_ctx)
{
    struct fleet *fleet = xcalloc(1, sizeof *fleet);
    fleet->options = *options;
    fleet->now_ms = options->start_ms;
    fleet->random = options->seed;
    fleet->watch = watch;
    fleet->watch_ctx = watch_ctx;
    fleet->admission = admission_new(&options->limits);
    fleet->count = count;
    fleet->gateway_count = options->gateway_count;
    fleet->machines = xcalloc(count + 1, sizeof *fleet->machines);
    fleet->gateways = xcalloc(options->gateway_count + 1, sizeof *fleet->gateways);
    fleet->instants =
        xcalloc(2 * options->gateway_count + count + 1, sizeof *fleet->instants);
    init_gateways(fleet);
    for (size_t i = 0; i < count; i++)
        init_machine(fleet, i, &machines[i]);
    return fleet;
}

void fleet_free(struct fleet *fleet)
{
    if (!fleet)
        return;
    admission_free(fleet->admission);
    for (size_t i = 0; i < fleet->gateway_count; i++)
        fleet_link_release(&fleet->gateways[i].link);
    rank_heap_release(&fleet->heap);
    free(fleet->instants);
    free(fleet->gateways);
    free(fleet->machines);
    free(fleet);
}

uint64_t fleet_now_ms(const struct fleet *fleet)
{
    return fleet->now_ms;
}

struct fleet_progress fleet_progress(const struct fleet *fleet, size_t machine)
{
    const struct sim_machine *m = &fleet->machines[machine];
    struct fleet_progress p = m->p;
    p.facts.is_waiting = m->item && !p.is_running &&
                         admission_is_due(fleet->admission, m->item, fleet->now_ms);
    return p;
}

bool fleet_why(const struct fleet *fleet, size_t machine, struct admission_wait *ret)
{
    const struct admission_item *item = fleet->machines[machine].item;
    return item && admission_why(fleet->admission, item, fleet->now_ms, ret);
}
