/* SPDX-License-Identifier: Apache-2.0 */
/* Thin over clock_gettime; the only file that asks the system for the time. */
#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

static uint64_t now_ns(clockid_t id)
{
    struct timespec t = {0};
    (void)clock_gettime(id, &t); /* both clocks always exist on Linux */
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t clock_mono_ns(void)
{
    return now_ns(CLOCK_MONOTONIC);
}

uint64_t clock_mono_ms(void)
{
    return now_ns(CLOCK_MONOTONIC) / 1000000;
}

uint64_t clock_wall_ms(void)
{
    return now_ns(CLOCK_REALTIME) / 1000000;
}

void clock_sleep_ms(uint64_t ms)
{
    struct timespec t = {.tv_sec = (time_t)(ms / 1000),
                         .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        continue;
}

const char *clock_wall_text(uint64_t wall_ms, char out[CLOCK_TEXT_BYTES])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm = {0};
    (void)gmtime_r(&seconds, &tm); /* fails only for years beyond int */
    size_t used = strftime(out, CLOCK_TEXT_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(out + used, CLOCK_TEXT_BYTES - used, ".%03uZ",
                   (unsigned)(wall_ms % 1000));
    return out;
}
