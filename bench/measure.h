/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stddef.h>
#include <stdint.h>

#define KIB ((size_t)1024)
#define MIB ((size_t)1024 * 1024)

/* Print to stderr, with strerror(errno) when it is set, and exit with 1. */
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);

uint64_t wall_ns(void);

/* User and system time of this process, all threads. */
uint64_t cpu_ns(void);

uint64_t maxrss_kib(void);

/* Memory aligned to 4 KiB, touched once so that page faults are not measured later. */
void *alloc_touched(size_t bytes);

/* A number with an optional K, M or G suffix (powers of 1024); dies on anything else. */
uint64_t parse_bytes(const char *text);

#endif
