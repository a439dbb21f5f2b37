/* SPDX-License-Identifier: Apache-2.0 */
/* Doing one order: out of the message into calls of target.h and applier.h. */
#ifndef APPLIER_ORDER_WORK_H
#define APPLIER_ORDER_WORK_H

#include "applier/order.h"

struct order_work_context {
    struct store *log_store;
    struct store *state_store;
    struct keys *keys;
    struct target *target;
    uint32_t workers;
    const struct cancel *cancel;
    struct apply_progress *progress;
    _Atomic bool *is_cloned; /* set by a test start, see test_options.on_cloned */
};

/* ret->nonce, ->failure and ->body are set whatever happens. Doing it again is harmless.
 */
void order_work_run(const struct order_work_context *context, const struct order *order,
                    struct order_result *ret);

#endif
