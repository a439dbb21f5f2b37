/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Zero detection: three probes reject nearly all content that is not zero, then memcmp of
 * the data with itself, shifted by the bytes already known to be zero, runs at the speed
 * of the widest vector unit the C library knows on this machine.
 */
#include "block/zero.h"

#include <string.h>

#define PROBE_BYTES 16

static bool probe_is_zero(const uint8_t *p)
{
    uint64_t words[2];
    memcpy(words, p, sizeof words);
    return (words[0] | words[1]) == 0;
}

bool block_is_zero(const uint8_t *data, size_t data_bytes)
{
    if (data_bytes < PROBE_BYTES) {
        uint8_t all = 0;
        for (size_t i = 0; i < data_bytes; i++)
            all |= data[i];
        return all == 0;
    }
    return probe_is_zero(data) && probe_is_zero(data + (data_bytes - PROBE_BYTES) / 2) &&
           probe_is_zero(data + data_bytes - PROBE_BYTES) &&
           memcmp(data, data + PROBE_BYTES, data_bytes - PROBE_BYTES) == 0;
}
