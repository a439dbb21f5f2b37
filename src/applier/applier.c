/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cycle on the target side. The invariants A1 to A4 stand in applier.h; what keeps
 * them:
 *
 *   state object        meaning                                   next
 *   RP=k                the replica is recovery point k           verify k+n, then intent
 *   RP=k applying=n     n is verified; its writes may be there    write n again, commit
 * (redo) RP=k doubt=n        the redo of n became impossible           a cycle that
 * carries n's extents RP=0 doubt=n        initial cycle n is streaming commit, or carry
 * n's extents
 *
 * The base is checked before anything else: a cycle applies to exactly the recovery point
 * it was made from, so neither an old cycle nor one of another replica can be replayed.
 */
#include "applier/applier.h"

#include "applier/crew.h"
#include "applier/objects.h"
#include "base/fault.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdatomic.h>

static bool check_base(const struct apply_context *context,
                       const struct replica_state *state, const struct plan *plan,
                       const struct manifest *manifest, struct err *err)
{
    if (!id_equal(&plan->machine, &context->machine->id) ||
        !id_equal(&manifest->machine, &context->machine->id) ||
        manifest->cycle != plan->cycle || manifest->base_cycle != plan->base_cycle)
        return err_set(err, FAIL_CORRUPT, "plan and manifest are not of the same cycle");
    if (plan->base_cycle != state->recovery_point)
        return err_set(err, FAIL_CONFLICT,
                       "it builds on recovery point %" PRIu64
                       ", the replica holds %" PRIu64,
                       plan->base_cycle, state->recovery_point);
    if (plan->disk_count != context->machine->disk_count)
        return err_set(err, FAIL_CORRUPT, "it has %zu disks, the machine %zu",
                       plan->disk_count, context->machine->disk_count);
    return true;
}

static bool run_crew(const struct apply_context *context, const struct plan *plan,
                     const struct manifest *manifest, enum crew_mode mode,
                     struct err *err)
{
    struct crew *crew = crew_start(context, plan, mode, err);
    if (!crew)
        return false;
    for (size_t i = 0; i < manifest->segment_count; i++)
        if (!crew_push(crew, &manifest->segments[i], err)) {
            crew_cancel(crew);
            return false;
        }
    return crew_finish(crew, true, err);
}

/* A1, A2: nothing is written before all of it was checked and the intent is durable. */
static bool intend(const struct apply_context *context, struct replica_state *state,
                   const struct plan *plan, const struct manifest *manifest,
                   struct err *err)
{
    if (FAULT(APPLY_BEFORE_VERIFY, err) ||
        !run_crew(context, plan, manifest, CREW_VERIFY, err))
        return err_wrap(err, "verify");
    if (FAULT(APPLY_BEFORE_INTENT, err))
        return false;
    if (state->applying == plan->cycle)
        return true;
    state->applying = plan->cycle;
    return objects_put_state(context, state, err);
}

/* A4: there is nothing to keep whole; one pass checks and writes. */
static bool intend_first(const struct apply_context *context, struct replica_state *state,
                         uint64_t cycle, struct err *err)
{
    if (state->doubt == cycle)
        return true;
    state->doubt = cycle;
    return objects_put_state(context, state, err);
}

static bool apply_all(const struct apply_context *context, struct replica_state *state,
                      uint64_t cycle, struct err *err)
{
    AUTO(plan_release) struct plan plan = {0};
    AUTO(manifest_release) struct manifest manifest = {0};
    struct cycle_store state_store = apply_state_store(context);
    struct cycle_store log_store = apply_log_store(context);
    if (!cycle_store_get_plan(&state_store, cycle, &plan, err) ||
        !cycle_store_get_manifest(&log_store, cycle, &manifest, err)) {
        if (err->kind == FAIL_GONE)
            err->kind = FAIL_CORRUPT; /* asked for, so it was there */
        return false;
    }
    if (!check_base(context, state, &plan, &manifest, err))
        return false;
    atomic_store(&context->progress->segments_total, manifest.segment_count);
    bool ok = state->recovery_point == 0 ? intend_first(context, state, cycle, err)
                                         : intend(context, state, &plan, &manifest, err);
    if (!ok)
        return false;
    if (FAULT(APPLY_AFTER_INTENT, err) ||
        !run_crew(context, &plan, &manifest, CREW_WRITE, err))
        return err_wrap(err, "write");
    return objects_commit(context, state, &plan, err);
}

bool apply_cycle(const struct apply_context *context, uint64_t cycle, struct err *err)
{
    struct replica_state state;
    objects_reset_progress(context->progress);
    if (!apply_state_get(context, &state, err))
        return false;
    if (state.recovery_point == cycle)
        return true;
    if (state.applying && state.applying != cycle)
        return err_set(err, FAIL_CONFLICT,
                       "cycle %" PRIu64
                       " was interrupted while it was written; it comes first",
                       state.applying);
    return apply_all(context, &state, cycle, err) ||
           err_wrap(err, "apply cycle %" PRIu64, cycle);
}

bool apply_recover(const struct apply_context *context, struct err *err)
{
    struct replica_state state;
    if (!apply_state_get(context, &state, err))
        return false;
    if (state.applying == 0)
        return true;
    uint64_t cycle = state.applying;
    log_info("apply_redo", "machine=%s cycle=%" PRIu64, context->machine->name, cycle);
    if (apply_cycle(context, cycle, err))
        return true;
    if (err->kind != FAIL_CORRUPT)
        return false;
    struct err late = ERR_INIT;
    state.doubt = cycle;
    state.applying = 0;
    if (!objects_put_state(context, &state, &late)) {
        *err = late;
        return false;
    }
    return err_hint(err, "the next cycle sends all of its extents again");
}
