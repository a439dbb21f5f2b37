/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simulated fleet with somebody beside it who checks every event: limits, order, gates,
 * who is forgotten (admission_oracle.h), the formula to the second, bounded waiting, and
 * that a machine never has two cycles.
 */
#ifndef TESTS_FLEET_RIG_H
#define TESTS_FLEET_RIG_H

#include "admission_oracle.h"
#include "vault/fleet.h"

#define MINUTE ((uint64_t)60 * 1000)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

#define RIG_GATEWAYS   64
#define RIG_DATASTORES 3

struct rig_memo {
    enum fleet_event_kind last;
    uint64_t started_ms, ended_ms, waited_ms;
    uint64_t cycles;
    bool has_recovery, is_known;
};

struct fleet_rig {
    /* To be set before rig_start; rig_new fills in a quiet fleet. */
    struct fleet_options options;
    struct fleet_gateway gateways[RIG_GATEWAYS];
    struct fleet_machine *machines;
    struct admission_datastore (*datastores)[RIG_DATASTORES];
    size_t count;
    uint64_t bound_ms; /* nobody may wait longer */
    /* Every so many starts and steps the whole order is checked; limits, gates and the
     * formula always are. */
    uint64_t check_every;
    /* The rest is its own. */
    char (*texts)[3][32];
    bool is_down[RIG_GATEWAYS];
    struct blackout_status status[RIG_GATEWAYS];
    struct fleet *fleet;
    struct oracle *oracle;
    struct rig_memo *memos;
    uint64_t starts, steps, refused, interrupted, failed, migrated;
    uint64_t longest_wait_ms;
    uint64_t hash; /* of all events */
};

/* Names: vm-0…, each gateway gw-0… with 300 machines, each host esx-0… with 8, each
 * datastore ds-0… with 12; two disks, 40 GiB, 200 MiB/h skewed churn; links of 125 MB/s;
 * starts on Monday 2026-01-05 00:00 UTC. */
struct fleet_rig *rig_new(size_t machines, size_t gateways);
void rig_free(struct fleet_rig *rig);
void rig_start(struct fleet_rig *rig);
/* Runs so long; checks at the end that nobody waits too long. */
void rig_run(struct fleet_rig *rig, uint64_t for_ms);
/* All gateways but with these windows from now on; call before rig_start. */
void rig_blackout(struct fleet_rig *rig, size_t gateway, struct blackout *storage,
                  const char *windows, const struct zone *zone);
void rig_set_gateway(struct fleet_rig *rig, size_t gateway, bool is_up);
size_t rig_with_recovery_point(const struct fleet_rig *rig);

#endif
