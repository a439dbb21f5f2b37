/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the next cycle of a machine begins and which machine goes first. Pure: time and
 * randomness are arguments.
 */
#ifndef VAULT_SCHEDULE_H
#define VAULT_SCHEDULE_H

#include "base/defs.h"

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
uint64_t sched_backoff_ms(uint32_t failures, uint64_t random);

enum sched_class { SCHED_ON_DEMAND, SCHED_INITIAL, SCHED_DELTA };

struct sched_candidate {
    enum sched_class class;
    bool is_ongoing;    /* began before and was interrupted */
    uint64_t due_ms;    /* not before this instant */
    uint64_t order;     /* the last tie-break: first come, first served */
    bool can_start_now; /* nobody works on the machine */
};

/*
 * The candidate to start now; count when none may. On-demand goes first, then what is
 * under way already, then initial, then delta; within the same rank who has waited
 * longest. *ret_next_ms: when to look again (UINT64_MAX: nothing is due ever).
 */
size_t sched_pick(const struct sched_candidate *candidates, size_t count, uint64_t now_ms,
                  uint64_t *ret_next_ms);

#endif
