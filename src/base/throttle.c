/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each sender books its bytes behind those booked before (a virtual queue in time), then
 * sleeps until its turn in short steps, so a new rate or a cancel is noticed at once.
 * Bookings are kept in bytes, not in time: what is still owed is re-timed at the new
 * rate.
 */
#include "base/throttle.h"

#include "base/clock.h"

#define STEP_MS    20
#define BURST_PART 4 /* the bucket holds 1/4 s */

struct throttle {
    pthread_mutex_t lock;
    /* Guarded by lock. */
    uint64_t rate_bps;
    double tokens_bytes; /* may be negative: what is owed */
    uint64_t filled_at_ns;
};

struct throttle *throttle_new(uint64_t rate_bps)
{
    struct throttle *throttle = xcalloc(1, sizeof *throttle);
    (void)pthread_mutex_init(&throttle->lock, NULL); /* default attributes cannot fail */
    throttle->rate_bps = rate_bps;
    throttle->filled_at_ns = clock_mono_ns();
    return throttle;
}

void throttle_free(struct throttle *throttle)
{
    if (!throttle)
        return;
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

void throttle_set_rate(struct throttle *throttle, uint64_t rate_bps)
{
    LOCK_GUARD(&throttle->lock);
    fill_locked(throttle);
    if (throttle->rate_bps == 0 || rate_bps == 0)
        throttle->tokens_bytes = 0; /* what left without a limit is not owed */
    throttle->rate_bps = rate_bps;
}

uint64_t throttle_rate(struct throttle *throttle)
{
    LOCK_GUARD(&throttle->lock);
    return throttle->rate_bps;
}

/* true when the bytes may go now. */
static bool try_pass(struct throttle *throttle, uint64_t bytes)
{
    LOCK_GUARD(&throttle->lock);
    if (throttle->rate_bps == 0)
        return true;
    fill_locked(throttle);
    if (throttle->tokens_bytes < 0)
        return false;
    throttle->tokens_bytes -= (double)bytes; /* larger than the bucket: goes, then owes */
    return true;
}

bool throttle_pass(struct throttle *throttle, uint64_t bytes, const struct cancel *cancel,
                   struct err *err)
{
    if (!throttle)
        return true;
    while (!try_pass(throttle, bytes))
        if (!cancel_sleep_ms(cancel, STEP_MS, err))
            return false;
    return true;
}
