/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fleet in simulated time: the states (machine_state.h), the schedule (schedule.h), the
 * limits (admission.h) and the windows (blackout.h) that the vault runs on, with a clock
 * that jumps from event to event and a model in place of the data. The planner asks it
 * what will be; the tests check the rules on it at every step.
 *
 * Pure and deterministic: the same options, machines and seed give the same run.
 */
#ifndef VAULT_FLEET_H
#define VAULT_FLEET_H

#include "vault/admission.h"
#include "vault/blackout.h"
#include "vault/fleet_link.h"

/* Texts and tables are borrowed as long as the fleet is. */
struct fleet_gateway {
    const char *name;
    uint64_t link_bps;               /* bytes/s that leave it; 0: no bound */
    const struct blackout *blackout; /* NULL: none */
    const struct zone *zone;         /* of the windows */
};

struct fleet_machine {
    const char *name;
    const char *gateway; /* one of the options' */
    const char *host;
    const struct admission_datastore *datastores;
    size_t datastore_count;
    uint32_t disk_count;
    uint64_t used_bytes;       /* what the initial cycle brings */
    uint64_t churn_bytes_hour; /* written by the guest */
    enum churn_pattern pattern;
    uint64_t read_bps;     /* as fast as it can be read; 0: no bound */
    uint32_t sent_pct;     /* bytes on the link for a hundred read; 0: the options' */
    uint64_t enabled_ms;   /* replication is asked for */
    uint32_t fail_million; /* of its cycles so many in a million fail */
    /* Of a machine that replicates already; 0: it does not. */
    uint64_t recovery_ms; /* point in time of its recovery point */
    uint64_t next_due_ms;
    uint64_t last_duration_ms;
};

struct fleet_options {
    struct admission_limits limits;
    struct fleet_limits fleet;
    struct sched_rules rules;
    const struct fleet_gateway *gateways;
    size_t gateway_count;
    uint32_t sent_pct;    /* bytes on the link for a hundred read */
    uint64_t overhead_ms; /* of a cycle beside the transfer: snapshot, consolidation */
    uint64_t shutdown_ms, boot_ms;
    uint64_t start_ms; /* wall */
    uint64_t seed;
};

enum fleet_event_kind {
    FLEET_ENABLED,
    FLEET_REFUSED, /* replication: beyond fleet_limits */
    FLEET_OFFERED, /* request is set */
    FLEET_WITHDRAWN,
    FLEET_STARTED,
    FLEET_APPLIED, /* a cycle ended well */
    FLEET_FAILED,
    FLEET_INTERRUPTED, /* its gateway died */
    FLEET_MIGRATED,
    FLEET_MIGRATE_FAILED,
};
struct fleet_event {
    enum fleet_event_kind kind;
    size_t machine;
    uint64_t now_ms;
    const struct admission_request *request;
};
typedef void (*fleet_watch)(void *ctx, const struct fleet_event *event);

/* How a machine does. */
struct fleet_progress {
    struct machine_facts facts;
    bool is_enabled, is_refused, is_running;
    uint64_t initial_started_ms, initial_ended_ms; /* 0: not yet */
    uint64_t started_ms;                           /* of the last or running cycle */
    uint64_t last_duration_ms, last_read_bytes;    /* of the last that ended well */
    uint64_t next_due_ms;
    uint64_t deltas, delta_sum_ms, delta_longest_ms;
    uint64_t wait_longest_ms; /* from due to start */
    uint32_t failures;
    uint64_t migrate_asked_ms, migrated_ms; /* 0: no */
};

struct fleet;

MUST_CHECK struct fleet *fleet_new(const struct fleet_options *options,
                                   const struct fleet_machine *machines, size_t count,
                                   fleet_watch watch, void *watch_ctx);
void fleet_free(struct fleet *fleet);
AUTO_CLEANUP(struct fleet, fleet_free);

/* Goes to the next instant at which something happens, but not beyond until_ms; false:
 * nothing happens up to there, and it is until_ms now. */
MUST_CHECK bool fleet_step(struct fleet *fleet, uint64_t until_ms);

uint64_t fleet_now_ms(const struct fleet *fleet);
struct fleet_progress fleet_progress(const struct fleet *fleet, size_t machine);
/* false: it does not wait. */
bool fleet_why(const struct fleet *fleet, size_t machine, struct admission_wait *ret);

/* As the operation: refused by state, or inside a blackout window without override. */
MUST_CHECK bool fleet_migrate(struct fleet *fleet, size_t machine, bool override_blackout,
                              struct err *err);

/* A gateway dies: its cycles are interrupted and go on when it is back. */
void fleet_set_gateway(struct fleet *fleet, const char *name, bool is_up);

#endif
