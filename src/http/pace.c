/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Under SMOOTH_BPS a body is let through whole before its first byte leaves, as a slow
 * trickle would run into time-outs of proxies and services; above, piece by piece.
 */
#include "http/pace.h"

#include <stdatomic.h>

#define PIECE_BYTES ((size_t)(64 * KIB))
#define SMOOTH_BPS  (512 * KIB)

static struct throttle *_Atomic throttles[ROLE_COUNT];

void http_pace(enum path_role role, struct throttle *throttle)
{
    atomic_store(&throttles[role], throttle);
}

bool pace_pass(enum path_role role, size_t left_bytes, const struct cancel *cancel,
               size_t *ret_bytes, struct err *err)
{
    struct throttle *throttle = atomic_load(&throttles[role]);
    uint64_t rate_bps = throttle ? throttle_rate(throttle) : 0;
    size_t bytes = rate_bps >= SMOOTH_BPS ? MIN_OF(left_bytes, PIECE_BYTES) : left_bytes;
    if (rate_bps && !throttle_pass(throttle, bytes, cancel, err))
        return false;
    *ret_bytes = bytes;
    return true;
}
