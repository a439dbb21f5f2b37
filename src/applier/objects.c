/* SPDX-License-Identifier: Apache-2.0 */
/* Sealed objects of the applier; names and contexts come from block/names.h. */
#include "applier/objects.h"

#include "base/fault.h"
#include "store/sealed_store.h"

#include <stdatomic.h>

bool apply_state_get(const struct apply_context *context, struct replica_state *ret,
                     struct err *err)
{
    char name[NAMES_MAX];
    AUTO(buf_release) struct buf plain = {0};
    struct err why = ERR_INIT;
    *ret = (struct replica_state){.machine = context->machine->id};
    name_replica(&context->machine->id, name);
    if (sealed_get(context->state_store, context->data_key, SEALED_REPLICA, name, &plain,
                   &why))
        return replica_state_decode(plain.data, plain.bytes, ret, err);
    if (why.kind == FAIL_GONE)
        return true;
    *err = why;
    return err_wrap(err, "replica state");
}

bool objects_put_state(const struct apply_context *context,
                       const struct replica_state *state, struct err *err)
{
    char name[NAMES_MAX];
    AUTO(buf_release) struct buf plain = {0};
    name_replica(&context->machine->id, name);
    replica_state_encode(state, &plain);
    return sealed_put(context->state_store, context->data_key, SEALED_REPLICA, name,
                      &plain, err) ||
           err_wrap(err, "replica state");
}

bool objects_get_plan(const struct apply_context *context, uint64_t cycle,
                      struct plan *ret, struct err *err)
{
    char name[NAMES_MAX];
    AUTO(buf_release) struct buf plain = {0};
    name_plan(&context->machine->id, cycle, name);
    return sealed_get(context->state_store, context->data_key, SEALED_PLAN, name, &plain,
                      err) &&
           plan_decode(plain.data, plain.bytes, ret, err);
}

bool objects_get_manifest(const struct apply_context *context, uint64_t cycle,
                          struct manifest *ret, struct err *err)
{
    char name[NAMES_MAX];
    AUTO(buf_release) struct buf plain = {0};
    name_manifest(&context->machine->id, cycle, name);
    return sealed_get(context->log_store, context->data_key, SEALED_MANIFEST, name,
                      &plain, err) &&
           manifest_decode(plain.data, plain.bytes, ret, err);
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
