/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A target whose work is done by a remote applier: target.h, each call an order. Replica
 * disks cannot be opened here (FAIL_CONFLICT): their data never passes this process;
 * cycles are applied by the two calls below. Any thread, as target.h.
 */
#ifndef APPLIER_TARGET_REMOTE_H
#define APPLIER_TARGET_REMOTE_H

#include "applier/order_desk.h"

/* desk: borrowed; the rest is copied. options: of the target, for the applier's host. */
MUST_CHECK struct target *target_remote_new(struct order_desk *desk, const char *applier,
                                            const char *name, const char *kind,
                                            const json_t *options);
/* NULL: the target is not remote. */
const char *target_remote_applier(const struct target *target);
/* The applier opens the target: proves that it is there and the options are right.
 * Brief. */
MUST_CHECK bool target_remote_prove(struct target *target, struct err *err);

struct remote_apply {
    const struct apply_context *context; /* its target is remote; data_key is not used */
    const char *key_wrapped;             /* the machine's data key */
};
/* apply_recover and apply_cycle of applier.h, done by the applier. *ret_is_open: see
 * order_desk_do; the cycle must be kept as it is then. */
MUST_CHECK bool target_remote_recover(const struct remote_apply *apply, bool *ret_is_open,
                                      struct err *err);
MUST_CHECK bool target_remote_cycle(const struct remote_apply *apply, uint64_t cycle,
                                    bool *ret_is_open, struct err *err);

#endif
