/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by fleet.c and fleet_cycle.c; not for others. */
#ifndef VAULT_FLEET_IMPL_H
#define VAULT_FLEET_IMPL_H

#include "vault/fleet.h"
#include "vault/rank_heap.h"

enum phase { PHASE_ENABLE, PHASE_SHUTDOWN, PHASE_SENDING, PHASE_WRAP_UP };

struct sim_gateway {
    const struct fleet_gateway *def;
    bool is_up;
    struct fleet_link link;
    struct instant *link_instant, *gate_instant;
};

struct sim_machine {
    struct fleet *fleet;
    const struct fleet_machine *def;
    struct sim_gateway *gateway;
    size_t index;
    struct fleet_progress p;
    struct admission_item *item; /* NULL: not scheduled */
    struct instant *instant;
    enum phase phase;
    bool is_on_demand, is_exempt, is_migrating, is_failing, is_begun;
    uint64_t snapshot_ms; /* of the running or interrupted cycle */
    uint64_t recovery_ms;
    uint64_t read_bytes;
    struct fleet_flow flow;
};

enum instant_kind { INSTANT_MACHINE, INSTANT_LINK, INSTANT_GATE };

struct instant {
    struct rank_node node;
    uint64_t at_ms;
    uint64_t order; /* among those at the same time */
    enum instant_kind kind;
    void *owner;
};

struct fleet {
    struct fleet_options options;
    struct sim_machine *machines;
    size_t count;
    struct sim_gateway *gateways;
    size_t gateway_count;
    struct instant *instants;
    struct rank_heap heap;
    struct admission *admission;
    uint64_t now_ms;
    uint64_t random;
    fleet_watch watch;
    void *watch_ctx;
};

/* ---- fleet.c ---- */
/* UINT64_MAX: never. */
void fleet_set_instant(struct fleet *fleet, struct instant *instant, uint64_t at_ms);
uint64_t fleet_random(struct fleet *fleet);
void fleet_tell(struct sim_machine *machine, enum fleet_event_kind kind,
                const struct admission_request *request);
bool fleet_is_in_blackout(const struct sim_gateway *gateway, uint64_t now_ms);

/* ---- fleet_cycle.c: what happens to one machine ---- */
void sim_link_changed(struct sim_gateway *gateway, struct fleet *fleet);
void sim_enable(struct sim_machine *machine);
void sim_offer(struct sim_machine *machine, uint64_t due_ms);
/* Its cycle was admitted. */
void sim_start(struct sim_machine *machine);
/* Its guest is down: the final cycle begins. */
void sim_send(struct sim_machine *machine);
/* Everything has left. */
void sim_sent(struct sim_machine *machine);
/* Everything is applied and consolidated, or was in vain. */
void sim_wrapped_up(struct sim_machine *machine);
/* Its gateway has died. */
void sim_interrupt(struct sim_machine *machine);
uint64_t sim_sent_bytes(const struct sim_machine *machine, uint64_t read_bytes);

#endif
