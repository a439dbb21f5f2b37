/* SPDX-License-Identifier: Apache-2.0 */
/* The targets that orders name, open as long as they are used, and until their options
 * change. Any thread. */
#ifndef APPLIER_ORDER_TARGETS_H
#define APPLIER_ORDER_TARGETS_H

#include "applier/order_taker.h"

struct order_targets;
struct order_target; /* one user's hold on an open target */

typedef struct target *(*order_open_target)(const char *name, const char *kind,
                                            const json_t *options, const char *data_dir,
                                            struct err *err);

/* data_dir is copied. */
MUST_CHECK struct order_targets *order_targets_new(order_open_target open,
                                                   const char *data_dir);
/* Nobody holds any. */
void order_targets_free(struct order_targets *targets);

/* Opens when need be; give it back. */
MUST_CHECK struct order_target *order_targets_take(struct order_targets *targets,
                                                   const struct order *order,
                                                   struct err *err);
struct target *order_target_get(const struct order_target *held);
void order_targets_give(struct order_targets *targets, struct order_target *held);

#endif
