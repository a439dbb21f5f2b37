/* SPDX-License-Identifier: Apache-2.0 */
/* The two stores as this machine's, the commit, and the counters. */
#include "applier/objects.h"

#include "base/fault.h"

#include <inttypes.h>
#include <stdatomic.h>

struct cycle_store apply_state_store(const struct apply_context *context)
{
    return (struct cycle_store){context->state_store, context->data_key,
                                &context->machine->id};
}

struct cycle_store apply_log_store(const struct apply_context *context)
{
    return (struct cycle_store){context->log_store, context->data_key,
                                &context->machine->id};
}

bool objects_put_state(const struct apply_context *context,
                       const struct replica_state *state, struct err *err)
{
    struct cycle_store cs = apply_state_store(context);
    return cycle_store_put_replica(&cs, state, err);
}

bool apply_state_get(const struct apply_context *context, struct replica_state *ret,
                     struct err *err)
{
    struct cycle_store cs = apply_state_store(context);
    struct replica_state state;
    if (!cycle_store_get_replica(&cs, &state, err))
        return false;
    if (state.recovery_point < context->known_point) /* A6 */
        return err_set(err, FAIL_CONFLICT,
                       "the replica state of machine '%s' was rolled back: the state "
                       "store has recovery point %" PRIu64 ", but %" PRIu64
                       " was committed; put the newer state store back, or stop the "
                       "replication of this machine and start it again",
                       context->machine->name, state.recovery_point,
                       context->known_point);
    *ret = state;
    return true;
}

bool objects_commit(const struct apply_context *context, struct replica_state *state,
                    const struct plan *plan, struct err *err)
{
    state->recovery_point = plan->cycle;
    state->recovery_wall_ms = plan->wall_ms;
    state->applying = 0;
    state->doubt = 0;
    return !FAULT(APPLY_BEFORE_COMMIT, err) && objects_put_state(context, state, err) &&
           !FAULT(APPLY_AFTER_COMMIT, err);
}

void objects_reset_progress(struct apply_progress *p)
{
    _Atomic uint64_t *const fields[] = {&p->segments_total,   &p->segments_verified,
                                        &p->segments_applied, &p->written_bytes,
                                        &p->zeroed_bytes,     &p->same_bytes};
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++)
        atomic_store(fields[i], 0);
}
