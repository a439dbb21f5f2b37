/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Senders wait in one queue, first come first served. The first one may pass a piece of
 * what it has when nothing is owed; the piece is then owed (tokens below zero), and the
 * sender queues again at the end for its next piece. What is owed is kept in bytes, not
 * in time: a new rate re-times it at once.
 *
 * Invariants: T1 a piece passes only at the head of the queue; T2 at most one piece is
 * owed, and it is PIECE_MS worth of the rate, at least PIECE_MIN_BYTES; T3 whoever leaves
 * the queue wakes the one that is first then.
 */
#include "base/throttle.h"

#include <time.h>

#include "base/clock.h"

#define SLICE_MS        20 /* how late a cancel is seen, at most */
#define BURST_PART      4  /* the bucket holds 1/4 s */
#define PIECE_MS        1
#define PIECE_MIN_BYTES (64 * KIB)

struct waiter {
    struct waiter *next;
    pthread_cond_t turn; /* each its own: one turn wakes one sender, not all */
};

struct throttle {
    pthread_mutex_t lock;
    pthread_condattr_t clock;
    /* Guarded by lock. */
    struct waiter *first;
    struct waiter **end;
    uint64_t rate_bps;
    double tokens_bytes; /* may be negative: what is owed */
    uint64_t filled_at_ns;
};

struct throttle *throttle_new(uint64_t rate_bps)
{
    struct throttle *throttle = xcalloc(1, sizeof *throttle);
    (void)pthread_condattr_init(&throttle->clock);
    (void)pthread_condattr_setclock(&throttle->clock, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&throttle->lock, NULL); /* default attributes cannot fail */
    throttle->end = &throttle->first;
    throttle->rate_bps = rate_bps;
    throttle->filled_at_ns = clock_mono_ns();
    return throttle;
}

void throttle_free(struct throttle *throttle)
{
    if (!throttle)
        return;
    (void)pthread_condattr_destroy(&throttle->clock);
    (void)pthread_mutex_destroy(&throttle->lock);
    free(throttle);
}

static void fill_locked(struct throttle *throttle)
{
    uint64_t now_ns = clock_mono_ns();
    double rate = (double)throttle->rate_bps;
    throttle->tokens_bytes += rate * (double)(now_ns - throttle->filled_at_ns) / 1e9;
    throttle->tokens_bytes = MIN_OF(throttle->tokens_bytes, rate / BURST_PART);
    throttle->filled_at_ns = now_ns;
}

static void wake_first_locked(struct throttle *throttle)
{
    if (throttle->first)
        (void)pthread_cond_signal(&throttle->first->turn);
}

void throttle_set_rate(struct throttle *throttle, uint64_t rate_bps)
{
    LOCK_GUARD(&throttle->lock);
    fill_locked(throttle);
    if (throttle->rate_bps == 0 || rate_bps == 0)
        throttle->tokens_bytes = 0; /* what left without a limit is not owed */
    throttle->rate_bps = rate_bps;
    wake_first_locked(throttle);
}

uint64_t throttle_rate(struct throttle *throttle)
{
    LOCK_GUARD(&throttle->lock);
    return throttle->rate_bps;
}

/* ---- the queue ---- */

static void queue_locked(struct throttle *throttle, struct waiter *waiter)
{
    waiter->next = NULL;
    (void)pthread_cond_init(&waiter->turn, &throttle->clock);
    *throttle->end = waiter;
    throttle->end = &waiter->next;
}

static void leave_locked(struct throttle *throttle, struct waiter *waiter)
{
    struct waiter **at = &throttle->first;
    while (*at != waiter)
        at = &(*at)->next;
    *at = waiter->next;
    if (throttle->end == &waiter->next)
        throttle->end = at;
    (void)pthread_cond_destroy(&waiter->turn);
    wake_first_locked(throttle);
}

/* How long until nothing is owed: a slice at most. */
static uint64_t wait_ns_locked(const struct throttle *throttle, bool is_first)
{
    uint64_t slice_ns = (uint64_t)SLICE_MS * 1000000;
    if (!is_first || throttle->rate_bps == 0)
        return slice_ns;
    double ns = -throttle->tokens_bytes * 1e9 / (double)throttle->rate_bps + 1000;
    return ns < (double)slice_ns ? (uint64_t)ns : slice_ns;
}

static void wait_locked(struct throttle *throttle, struct waiter *waiter, uint64_t ns)
{
    uint64_t until_ns = clock_mono_ns() + ns;
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000),
                             .tv_nsec = (long)(until_ns % 1000000000)};
    (void)pthread_cond_timedwait(&waiter->turn, &throttle->lock, &until);
}

static uint64_t piece_of(const struct throttle *throttle, uint64_t bytes)
{
    uint64_t piece = throttle->rate_bps / 1000 * PIECE_MS;
    return MIN_OF(bytes, MAX_OF(piece, PIECE_MIN_BYTES));
}

/* *bytes less the piece that passed; all of them without a limit. */
static bool pass_piece(struct throttle *throttle, uint64_t *bytes,
                       const struct cancel *cancel, struct err *err)
{
    struct waiter waiter;
    LOCK_GUARD(&throttle->lock);
    queue_locked(throttle, &waiter);
    for (;;) {
        uint64_t piece = throttle->rate_bps ? piece_of(throttle, *bytes) : *bytes;
        fill_locked(throttle);
        bool is_first = throttle->first == &waiter;
        if (throttle->rate_bps == 0 || (is_first && throttle->tokens_bytes >= 0)) {
            if (throttle->rate_bps)
                throttle->tokens_bytes -= (double)piece;
            *bytes -= piece;
            leave_locked(throttle, &waiter);
            return true;
        }
        if (!cancel_check(cancel, err)) {
            leave_locked(throttle, &waiter);
            return false;
        }
        wait_locked(throttle, &waiter, wait_ns_locked(throttle, is_first));
    }
}

bool throttle_pass(struct throttle *throttle, uint64_t bytes, const struct cancel *cancel,
                   struct err *err)
{
    if (!throttle)
        return true;
    while (bytes)
        if (!pass_piece(throttle, &bytes, cancel, err))
            return false;
    return true;
}
