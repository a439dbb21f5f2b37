/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes, size units, scope clean-up and checked arithmetic used everywhere.
 * Header only; no state; any thread.
 */
#ifndef BASE_DEFS_H
#define BASE_DEFS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_CHECK                    __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt_at, first_at) __attribute__((format(printf, fmt_at, first_at)))
#define NORETURN                      __attribute__((noreturn))

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define TIB ((uint64_t)1 << 40)

/* The unit of change tracking, bitmaps and disk sizes. */
#define SECTOR_BYTES 512u

#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MIN_OF(a, b)   ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b)   ((a) > (b) ? (a) : (b))

/*
 * AUTO(free) char *name = NULL;   frees at the end of the scope.
 * AUTO(x) needs a function auto_x(T **) made by AUTO_CLEANUP(type, x).
 */
#define AUTO(fn) __attribute__((cleanup(auto_##fn)))
#define AUTO_CLEANUP(type, fn)                                                           \
    static inline void auto_##fn(type **p)                                               \
    {                                                                                    \
        fn(*p);                                                                          \
    }                                                                                    \
    struct defs_require_semicolon

/* return TAKE(p); hands ownership to the caller and disarms the AUTO clean-up. */
#define TAKE(p)                                                                          \
    ({                                                                                   \
        __typeof__(p) taken_ = (p);                                                      \
        (p) = NULL;                                                                      \
        taken_;                                                                          \
    })

void auto_free(void *pointer_to_pointer);
void auto_close_fd(const int *fd);

static inline void auto_unlock(pthread_mutex_t **lock)
{
    if (*lock)
        (void)pthread_mutex_unlock(*lock); /* cannot fail: we hold it */
}

static inline pthread_mutex_t *lock_now(pthread_mutex_t *lock)
{
    (void)pthread_mutex_lock(lock); /* fails only for a mutex that is not one */
    return lock;
}

#define DEFS_CONCAT_(a, b) a##b
#define DEFS_CONCAT(a, b)  DEFS_CONCAT_(a, b)
/* Holds the mutex to the end of the scope. */
#define LOCK_GUARD(m)                                                                    \
    __attribute__((cleanup(auto_unlock), unused)) pthread_mutex_t *DEFS_CONCAT(          \
        guard_, __LINE__) = lock_now(m)

/* false on overflow, *ret untouched. */
static inline MUST_CHECK bool add_u64(uint64_t a, uint64_t b, uint64_t *ret)
{
    return !__builtin_add_overflow(a, b, ret);
}

static inline MUST_CHECK bool mul_u64(uint64_t a, uint64_t b, uint64_t *ret)
{
    return !__builtin_mul_overflow(a, b, ret);
}

/* unit must be a power of two. */
static inline uint64_t round_down(uint64_t v, uint64_t unit)
{
    return v & ~(unit - 1);
}

static inline uint64_t round_up(uint64_t v, uint64_t unit)
{
    return (v + unit - 1) & ~(unit - 1);
}

/* Control-plane allocation: zeroed; logs and aborts when memory is out (HACKING.md). */
MUST_CHECK void *xcalloc(size_t count, size_t size_bytes);
MUST_CHECK void *xrealloc(void *p, size_t count, size_t size_bytes);
MUST_CHECK char *xstrdup(const char *text);

#endif
