/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every measuring program here needs: clocks, the memory high-water mark, memory
 * that has been touched before it is timed, and a way to give up. A benchmark has nobody
 * to hand an error to, so the first failure ends it: a figure from a run that half worked
 * is worse than none.
 */
#include "measure.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

void die(const char *format, ...)
{
    int saved = errno;
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    if (saved != 0)
        fprintf(stderr, ": %s", strerror(saved));
    fputc('\n', stderr);
    exit(1);
}

static uint64_t clock_ns(clockid_t id)
{
    struct timespec ts;

    if (clock_gettime(id, &ts) != 0)
        die("clock_gettime");
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t wall_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t maxrss_kib(void)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) != 0)
        die("getrusage");
    return (uint64_t)usage.ru_maxrss;
}

void *alloc_touched(size_t bytes)
{
    size_t rounded = (bytes + 4095) & ~(size_t)4095;
    void *mem = aligned_alloc(4096, rounded);

    if (mem == NULL)
        die("allocate %zu bytes", rounded);
    memset(mem, 0xa5, rounded);
    return mem;
}

uint64_t parse_bytes(const char *text)
{
    char *end = NULL;
    unsigned shift = 0;
    unsigned long long value;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (*end == 'K')
        shift = 10;
    else if (*end == 'M')
        shift = 20;
    else if (*end == 'G')
        shift = 30;
    if (shift != 0)
        end++;
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' ||
        value > (UINT64_MAX >> shift))
        die("'%s' is not a number of bytes (a suffix K, M or G is allowed)", text);
    return (uint64_t)value << shift;
}
