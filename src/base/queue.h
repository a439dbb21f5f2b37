/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded first-in first-out queue of pointers between threads. The queue never owns
 * what it holds: who takes an item owns it. Any thread.
 */
#ifndef BASE_QUEUE_H
#define BASE_QUEUE_H

#include "base/defs.h"

struct queue;

MUST_CHECK struct queue *queue_new(size_t cap);
void queue_free(struct queue *queue); /* must be empty */

/* Waits for room. false when the queue was closed: the caller keeps the item. */
MUST_CHECK bool queue_put(struct queue *queue, void *item);

/* Waits for an item; NULL when the queue is closed and empty. */
MUST_CHECK void *queue_take(struct queue *queue);

/* No more puts; takers drain what is there, then get NULL. */
void queue_close(struct queue *queue);

#endif
