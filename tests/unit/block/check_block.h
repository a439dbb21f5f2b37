/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of block/ share: cmocka, a seeded generator, keys that never change. */
#ifndef TESTS_CHECK_BLOCK_H
#define TESTS_CHECK_BLOCK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/secret.h"

#include <string.h>

/* splitmix64: the same numbers on every machine. */
static inline uint64_t prng_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline uint64_t prng_below(uint64_t *state, uint64_t limit)
{
    return prng_next(state) % limit;
}

static inline void prng_fill(uint64_t *state, uint8_t *data, size_t data_bytes)
{
    for (size_t i = 0; i < data_bytes; i++)
        data[i] = (uint8_t)prng_next(state);
}

/* Bytes 0, 1, 2, ... 31. */
static inline struct secret *check_key(void)
{
    uint8_t raw[32];
    for (size_t i = 0; i < sizeof raw; i++)
        raw[i] = (uint8_t)i;
    return secret_new(raw, sizeof raw);
}

/* Calls that must work say why they did not. */
#define assert_ok(call, err)                                                             \
    do {                                                                                 \
        if (!(call))                                                                     \
            fail_msg("%s: %s", #call, (err).text);                                       \
    } while (0)

#endif
