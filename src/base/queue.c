/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of pointers with two condition variables. */
#include "base/queue.h"

#include <assert.h>
#include <stdlib.h>

struct queue {
    /* Set by queue_new, never changed. */
    size_t cap;
    pthread_mutex_t lock;
    pthread_cond_t not_full, not_empty;
    /* Guarded by lock. */
    void **ring;
    size_t head, count;
    bool is_closed;
};

struct queue *queue_new(size_t cap)
{
    struct queue *queue = xcalloc(1, sizeof *queue);
    queue->cap = cap;
    queue->ring = xcalloc(cap, sizeof *queue->ring);
    (void)pthread_mutex_init(&queue->lock, NULL); /* default attributes cannot fail */
    (void)pthread_cond_init(&queue->not_full, NULL);
    (void)pthread_cond_init(&queue->not_empty, NULL);
    return queue;
}

void queue_free(struct queue *queue)
{
    if (!queue)
        return;
    assert(queue->count == 0);
    (void)pthread_cond_destroy(&queue->not_full);
    (void)pthread_cond_destroy(&queue->not_empty);
    (void)pthread_mutex_destroy(&queue->lock);
    free(queue->ring);
    free(queue);
}

bool queue_put(struct queue *queue, void *item)
{
    LOCK_GUARD(&queue->lock);
    while (queue->count == queue->cap && !queue->is_closed)
        (void)pthread_cond_wait(&queue->not_full, &queue->lock); /* predicate loop */
    if (queue->is_closed)
        return false;
    queue->ring[(queue->head + queue->count++) % queue->cap] = item;
    (void)pthread_cond_signal(&queue->not_empty); /* cannot fail */
    return true;
}

void *queue_take(struct queue *queue)
{
    LOCK_GUARD(&queue->lock);
    while (queue->count == 0 && !queue->is_closed)
        (void)pthread_cond_wait(&queue->not_empty, &queue->lock); /* predicate loop */
    if (queue->count == 0)
        return NULL;
    void *item = queue->ring[queue->head];
    queue->head = (queue->head + 1) % queue->cap;
    queue->count--;
    (void)pthread_cond_signal(&queue->not_full); /* cannot fail */
    return item;
}

void queue_close(struct queue *queue)
{
    LOCK_GUARD(&queue->lock);
    queue->is_closed = true;
    (void)pthread_cond_broadcast(&queue->not_full); /* cannot fail */
    (void)pthread_cond_broadcast(&queue->not_empty);
}
