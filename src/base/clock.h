/* SPDX-License-Identifier: Apache-2.0 */
/* Time: monotonic for durations and deadlines, wall for people. Any thread. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/defs.h"

uint64_t clock_mono_ms(void);
uint64_t clock_mono_ns(void);
uint64_t clock_wall_ms(void); /* since 1970-01-01 UTC */
void clock_sleep_ms(uint64_t ms);

#define CLOCK_TEXT_BYTES 32
/* "2026-11-22T04:15:48.123Z"; out is returned. */
const char *clock_wall_text(uint64_t wall_ms, char out[CLOCK_TEXT_BYTES]);

#endif
