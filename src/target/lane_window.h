/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many requests may be under way at once: one more after as many clean ones as are
 * allowed now, half when the service says "slow down" (additive increase, multiplicative
 * decrease). Pure; the caller's lock guards it.
 */
#ifndef TARGET_LANE_WINDOW_H
#define TARGET_LANE_WINDOW_H

#include "base/defs.h"

struct lane_window {
    uint32_t max;
    uint32_t size;  /* 1 .. max */
    uint32_t clean; /* since it changed last */
    uint64_t epoch; /* counts the halvings */
};

void lane_window_init(struct lane_window *window, uint32_t max); /* begins at half */

/* At a request's begin: what lane_window_end wants to know of it. */
uint64_t lane_window_begin(const struct lane_window *window);
/* Of several requests that were under way together only the first busy one halves. */
void lane_window_end(struct lane_window *window, uint64_t begun, bool is_busy);

#endif
