/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What will be: when each initial cycle ends, how long deltas take, how long the cutover
 * of each machine takes. The fleet of fleet.h is run until every machine has settled;
 * then the machines are cut over, some at a time, while the others go on replicating.
 *
 * Pure and deterministic: the same planner gives the same plan.
 */
#ifndef VAULT_PLANNER_H
#define VAULT_PLANNER_H

#include "block/machine.h"
#include "vault/fleet.h"

#define PLAN_MAX_MACHINES   10000u
#define PLAN_MAX_GATEWAYS   64u
#define PLAN_MAX_DATASTORES 8u
#define PLAN_DELTAS         3u /* a machine with so many has settled */
/* A twentieth of what is used in a day, when nobody knows better. */
#define PLAN_CHURN_BYTES_HOUR(used_bytes) ((used_bytes) / 20 / 24)

struct plan_machine {
    char name[MACHINE_NAME_BYTES];
    char gateway[64];
    char host[ADMISSION_NAME_BYTES];
    char datastores[PLAN_MAX_DATASTORES][80]; /* disks are spread over them */
    size_t datastore_count;
    uint32_t disk_count;
    uint64_t used_bytes;
    uint64_t churn_bytes_hour;
    enum churn_pattern pattern;
    uint64_t read_bps; /* 0: no bound */
    uint32_t sent_pct; /* 0: the planner's */
    /* Of a machine that replicates already; recovery_ms 0: it does not. */
    uint64_t recovery_ms, next_due_ms, last_duration_ms;
};

struct planner {
    /* The caller fills in limits, rules, percentages and times; gateways are made from
     * the machines. */
    struct fleet_options options;
    uint64_t link_bps;            /* of each gateway; 0: no bound */
    struct blackout blackout;     /* at every gateway */
    const struct zone *zone;      /* of the windows; borrowed */
    struct plan_machine fallback; /* for what a line of the table leaves out */
    uint32_t cutover_at_once;     /* 0: one, or a hundredth of a fleet beyond a hundred */
    uint64_t horizon_ms;          /* simulated at most */
    uint64_t steps_max;           /* computed at most */
    struct plan_machine *machines;
    size_t count, cap;
};

/* The defaults of the seed and of experience; see doc/schedule.md. */
void planner_init(struct planner *planner);
void planner_release(struct planner *planner);
static inline void auto_planner_release(struct planner *planner)
{
    planner_release(planner);
}

/* FAIL_LIMIT: too many machines. Names are the caller's to keep apart. */
MUST_CHECK bool planner_add(struct planner *planner, const struct plan_machine *machine,
                            struct err *err);

/*
 * A table with a header line, as comma-separated values (RFC 4180, without line breaks in
 * fields). Columns in any order: name, size_gib, used_pct, gateway, host, datastore (more
 * than one: with ';' between), disks, churn_mib_per_h, pattern (skewed, scattered),
 * read_mib_per_s. Needed: name and size_gib. Blank lines and those that begin with '#'
 * are left out. FAIL_INPUT names line and column.
 */
MUST_CHECK bool planner_read_csv(struct planner *planner, const char *text,
                                 size_t text_bytes, struct err *err);

struct plan_row {
    bool is_refused; /* beyond the number of machines */
    bool is_settled; /* had its deltas before the horizon */
    bool keeps_up;   /* its deltas do not grow without end */
    uint64_t initial_started_ms, initial_ended_ms; /* 0: not before the horizon */
    uint64_t initial_waited_ms;
    uint64_t delta_mean_ms, delta_longest_ms, delta_read_bytes; /* 0: none ran */
    uint64_t interval_ms; /* from the end of a delta to when the next is due */
    uint64_t cutover_asked_ms, cutover_ms, cutover_waited_ms; /* 0: none */
};

struct plan_result {
    struct plan_row *rows; /* as planner->machines; owned */
    size_t count;
    uint64_t ended_ms; /* simulated */
    uint64_t steps;
    uint32_t cutover_at_once;
    bool is_cut; /* horizon or steps_max ended it before everything was known */
};
void plan_result_release(struct plan_result *result);
static inline void auto_plan_result_release(struct plan_result *result)
{
    plan_result_release(result);
}

MUST_CHECK bool planner_run(const struct planner *planner, struct plan_result *ret,
                            struct err *err);

#endif
