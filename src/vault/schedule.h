/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of the schedule as arithmetic: when the next cycle of a machine begins, how
 * long a retry waits, who goes before whom. Pure: time and randomness are arguments. What
 * the machines compete for is in vault/admission.h.
 */
#ifndef VAULT_SCHEDULE_H
#define VAULT_SCHEDULE_H

#include "vault/machine_state.h"

struct sched_rules {
    uint64_t delta_min_ms;
    uint64_t delta_max_ms;
};

/*
 * When the next delta starts: at once after the first cycle of a machine (previous_ms is
 * then not looked at), else min(max(delta_min, previous_ms / 2), delta_max) after
 * ended_ms.
 */
uint64_t sched_next_delta_ms(const struct sched_rules *rules, bool after_initial,
                             uint64_t ended_ms, uint64_t previous_ms);

/* Before attempt number `failures` + 1: doubles from 1 s to 5 min, then a random half of
 * it off: callers that failed together do not come back together. */
#define SCHED_BACKOFF_LAST_MS ((uint64_t)5 * 60 * 1000)
uint64_t sched_backoff_ms(uint32_t failures, uint64_t random);

enum sched_class { SCHED_ON_DEMAND, SCHED_INITIAL, SCHED_DELTA };
const char *sched_class_name(enum sched_class class); /* "on-demand" ... */

/* Which class the cycle of this operation is. */
enum sched_class sched_class_of(enum vault_operation operation, bool has_recovery_point);

/* Whether a machine in these states has cycles that nobody asked for. */
bool sched_runs_by_schedule(const struct machine_facts *facts);

/* A cycle that failed so often in a row goes behind all that did not: retries that never
 * end must not keep others from ever starting. */
#define SCHED_TRUSTED_FAILURES 3u

/*
 * 0 goes first: on-demand, those under way (interrupted, resumed, retried) before new
 * ones; then what is under way, initial before delta; then what is new, initial before
 * delta; last what failed more than SCHED_TRUSTED_FAILURES times. Within a rank: who is
 * due earlier.
 */
#define SCHED_RANKS 7u
unsigned sched_rank(enum sched_class class, bool is_ongoing, uint32_t failures);

#endif
