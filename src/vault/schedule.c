/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scheduling as arithmetic: no clock, no threads, so that every rule is tested by itself
 * and a planner can run the same code ahead of time.
 *
 * Invariants: S1 delta_min <= interval <= delta_max, also when a caller has them the
 * wrong way round (delta_max wins); S2 no sum overflows; S3 the same input gives the same
 * choice.
 */
#include "vault/schedule.h"

#define BACKOFF_FIRST_MS ((uint64_t)1000)

static uint64_t add_capped(uint64_t a, uint64_t b)
{
    uint64_t sum = 0;
    return add_u64(a, b, &sum) ? sum : UINT64_MAX;
}

uint64_t sched_next_delta_ms(const struct sched_rules *rules, bool after_initial,
                             uint64_t ended_ms, uint64_t previous_ms)
{
    if (after_initial)
        return ended_ms;
    uint64_t interval_ms = MAX_OF(rules->delta_min_ms, previous_ms / 2);
    return add_capped(ended_ms, MIN_OF(interval_ms, rules->delta_max_ms));
}

uint64_t sched_backoff_ms(uint32_t failures, uint64_t random)
{
    uint64_t wait_ms = SCHED_BACKOFF_LAST_MS;
    if (failures == 0)
        return 0;
    if (failures <= 9)
        wait_ms = MIN_OF(BACKOFF_FIRST_MS << (failures - 1), SCHED_BACKOFF_LAST_MS);
    return wait_ms / 2 + random % (wait_ms / 2 + 1);
}

const char *sched_class_name(enum sched_class class)
{
    static const char *const names[] = {
        [SCHED_ON_DEMAND] = "on-demand",
        [SCHED_INITIAL] = "initial",
        [SCHED_DELTA] = "delta",
    };
    return names[class];
}

enum sched_class sched_class_of(enum vault_operation operation, bool has_recovery_point)
{
    if (!has_recovery_point)
        return SCHED_INITIAL;
    bool is_declared =
        operation == OP_MIGRATE || operation == OP_SYNC || operation == OP_VERIFY;
    return is_declared ? SCHED_ON_DEMAND : SCHED_DELTA;
}

bool sched_runs_by_schedule(const struct machine_facts *facts)
{
    enum machine_state state = facts->state;
    return facts->migration != MIGRATION_RUNNING &&
           (state == STATE_INITIAL || state == STATE_DELTA || state == STATE_RESUMING ||
            state == STATE_RESYNC);
}

unsigned sched_rank(enum sched_class class, bool is_ongoing, uint32_t failures)
{
    if (class == SCHED_ON_DEMAND)
        return is_ongoing ? 0 : 1;
    if (failures > SCHED_TRUSTED_FAILURES)
        return SCHED_RANKS - 1;
    return (is_ongoing ? 2 : 4) + (class == SCHED_DELTA);
}
