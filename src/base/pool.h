/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fixed number of equal, page-aligned buffers: the only memory of the data path, and
 * its back-pressure (a taker waits until somebody gives one back). Any thread.
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/cancel.h"

struct pool;

MUST_CHECK struct pool *pool_new(size_t count, size_t each_bytes);
void pool_free(struct pool *pool); /* every buffer must be back */
AUTO_CLEANUP(struct pool, pool_free);

/* Waits for a free buffer; NULL with FAIL_CANCELED when the token is set meanwhile. */
MUST_CHECK uint8_t *pool_take(struct pool *pool, const struct cancel *cancel,
                              struct err *err);
void pool_give(struct pool *pool, uint8_t *buffer); /* NULL is fine */

size_t pool_each_bytes(const struct pool *pool);
size_t pool_total_bytes(const struct pool *pool);

#endif
