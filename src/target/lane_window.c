/* SPDX-License-Identifier: Apache-2.0 */
/*
 * L1  a request that began before the last halving tells nothing new: it counts neither
 * as busy nor as clean; L2  1 <= size <= max.
 */
#include "target/lane_window.h"

void lane_window_init(struct lane_window *window, uint32_t max)
{
    *window = (struct lane_window){.max = max, .size = MAX_OF(max / 2, 1u)};
}

uint64_t lane_window_begin(const struct lane_window *window)
{
    return window->epoch;
}

void lane_window_end(struct lane_window *window, uint64_t begun, bool is_busy)
{
    if (begun != window->epoch) /* L1 */
        return;
    if (is_busy) {
        window->size = MAX_OF(window->size / 2, 1u);
        window->clean = 0;
        window->epoch++;
    } else if (++window->clean >= window->size) {
        window->size = MIN_OF(window->size + 1, window->max);
        window->clean = 0;
    }
}
