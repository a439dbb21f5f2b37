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
#define BACKOFF_LAST_MS  ((uint64_t)5 * 60 * 1000)

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
    uint64_t wait_ms = BACKOFF_LAST_MS;
    if (failures == 0)
        return 0;
    if (failures <= 9)
        wait_ms = MIN_OF(BACKOFF_FIRST_MS << (failures - 1), BACKOFF_LAST_MS);
    return wait_ms / 2 + random % (wait_ms / 2 + 1);
}

static unsigned rank(const struct sched_candidate *candidate)
{
    if (candidate->class == SCHED_ON_DEMAND)
        return 0;
    if (candidate->is_ongoing)
        return 1;
    return candidate->class == SCHED_INITIAL ? 2 : 3;
}

static bool goes_before(const struct sched_candidate *a, const struct sched_candidate *b)
{
    if (rank(a) != rank(b))
        return rank(a) < rank(b);
    if (a->due_ms != b->due_ms)
        return a->due_ms < b->due_ms;
    return a->order < b->order;
}

size_t sched_pick(const struct sched_candidate *candidates, size_t count, uint64_t now_ms,
                  uint64_t *ret_next_ms)
{
    size_t best = count;
    *ret_next_ms = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        const struct sched_candidate *candidate = &candidates[i];
        if (candidate->due_ms > now_ms) {
            *ret_next_ms = MIN_OF(*ret_next_ms, candidate->due_ms);
            continue;
        }
        if (!candidate->can_start_now)
            continue; /* whoever ends its work looks again */
        if (best == count || goes_before(candidate, &candidates[best]))
            best = i;
    }
    return best;
}
