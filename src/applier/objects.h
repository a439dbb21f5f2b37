/* SPDX-License-Identifier: Apache-2.0 */
/* What the applier reads and writes in the stores, and its last step. */
#ifndef APPLIER_OBJECTS_H
#define APPLIER_OBJECTS_H

#include "applier/applier.h"
#include "store/cycle_store.h"

struct cycle_store apply_state_store(const struct apply_context *context);
struct cycle_store apply_log_store(const struct apply_context *context);

/* Durable. */
MUST_CHECK bool objects_put_state(const struct apply_context *context,
                                  const struct replica_state *state, struct err *err);
/* A1-A3's last step: *state becomes the plan's recovery point, durably. */
MUST_CHECK bool objects_commit(const struct apply_context *context,
                               struct replica_state *state, const struct plan *plan,
                               struct err *err);

/* Field by field: others read them at any time. */
void objects_reset_progress(struct apply_progress *progress);

#endif
