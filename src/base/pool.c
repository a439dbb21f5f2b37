/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffers in one mapping, kept on a stack: the most recently used comes first, so a pool
 * that is larger than needed stays small in resident memory.
 */
#include "base/pool.h"

#include <assert.h>
#include <sys/mman.h>

#define POLL_NS 50000000L /* how late a cancel may be noticed while waiting */

struct pool {
    /* Set by pool_new, never changed. */
    uint8_t *memory;
    size_t count;
    size_t each_bytes;
    pthread_mutex_t lock;
    pthread_cond_t given;
    /* Guarded by lock. */
    size_t free_count;
    uint8_t **free_list;
};

struct pool *pool_new(size_t count, size_t each_bytes)
{
    struct pool *pool = xcalloc(1, sizeof *pool);
    pool->count = count;
    pool->each_bytes = round_up(each_bytes, 4096);
    pool->memory = mmap(NULL, count * pool->each_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pool->memory == MAP_FAILED)
        abort();
    pool->free_list = xcalloc(count, sizeof *pool->free_list);
    (void)pthread_mutex_init(&pool->lock, NULL); /* default attributes cannot fail */
    (void)pthread_cond_init(&pool->given, NULL);
    for (size_t i = count; i > 0; i--)
        pool->free_list[pool->free_count++] = pool->memory + (i - 1) * pool->each_bytes;
    return pool;
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    assert(pool->free_count == pool->count);
    (void)munmap(pool->memory, pool->count * pool->each_bytes); /* ours */
    (void)pthread_cond_destroy(&pool->given);
    (void)pthread_mutex_destroy(&pool->lock);
    free(pool->free_list);
    free(pool);
}

uint8_t *pool_take(struct pool *pool, const struct cancel *cancel, struct err *err)
{
    LOCK_GUARD(&pool->lock);
    while (pool->free_count == 0) {
        if (!cancel_check(cancel, err))
            return NULL;
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until); /* always there */
        until.tv_nsec += POLL_NS;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_nsec -= 1000000000L;
            until.tv_sec++;
        }
        (void)pthread_cond_timedwait(&pool->given, &pool->lock, &until); /* looks again */
    }
    return pool->free_list[--pool->free_count];
}

void pool_give(struct pool *pool, uint8_t *buffer)
{
    if (!buffer)
        return;
    LOCK_GUARD(&pool->lock);
    assert(pool->free_count < pool->count);
    pool->free_list[pool->free_count++] = buffer;
    (void)pthread_cond_signal(&pool->given); /* cannot fail */
}

size_t pool_each_bytes(const struct pool *pool)
{
    return pool->each_bytes;
}

size_t pool_total_bytes(const struct pool *pool)
{
    return pool->count * pool->each_bytes;
}
