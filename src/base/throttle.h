/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes per second, shared by all who send: a token bucket that holds a quarter of a
 * second, so that a change of rate takes effect within that time. Fair: senders take
 * turns in the order in which they came, a small piece each turn, so that among senders
 * that always have something to send each gets the same number of bytes, whatever the
 * sizes of what they send. Any thread.
 */
#ifndef BASE_THROTTLE_H
#define BASE_THROTTLE_H

#include "base/cancel.h"

struct throttle;

MUST_CHECK struct throttle *throttle_new(uint64_t rate_bps); /* bytes/s; 0: no limit */
void throttle_free(struct throttle *throttle);

void throttle_set_rate(struct throttle *throttle, uint64_t rate_bps);
uint64_t throttle_rate(struct throttle *throttle);

/* Waits until bytes may leave; false with FAIL_CANCELED. NULL throttle: no limit. */
MUST_CHECK bool throttle_pass(struct throttle *throttle, uint64_t bytes,
                              const struct cancel *cancel, struct err *err);

#endif
