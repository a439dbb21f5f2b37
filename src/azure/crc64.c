/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight bytes a step: eight tables, each for a byte that lies one further from the end.
 * They are computed when first needed (16 KiB).
 */
#include "azure/crc64.h"

#include "base/bytes.h"

#define POLYNOMIAL UINT64_C(0x9A6C9329AC4BC9B5)
#define STEP_BYTES 8

static uint64_t tables[STEP_BYTES][256];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void make_tables(void)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        uint64_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
        tables[0][byte] = crc;
    }
    for (size_t i = 1; i < STEP_BYTES; i++)
        for (unsigned byte = 0; byte < 256; byte++) {
            uint64_t before = tables[i - 1][byte];
            tables[i][byte] = (before >> 8) ^ tables[0][before & 0xff];
        }
}

uint64_t crc64(const void *data, size_t data_bytes)
{
    const uint8_t *p = data;
    uint64_t crc = ~UINT64_C(0);
    (void)pthread_once(&tables_once, make_tables); /* fails only for a bad argument */
    for (; data_bytes >= STEP_BYTES; p += STEP_BYTES, data_bytes -= STEP_BYTES) {
        uint64_t v = crc ^ get_u64le(p);
        crc = tables[7][v & 0xff] ^ tables[6][(v >> 8) & 0xff] ^
              tables[5][(v >> 16) & 0xff] ^ tables[4][(v >> 24) & 0xff] ^
              tables[3][(v >> 32) & 0xff] ^ tables[2][(v >> 40) & 0xff] ^
              tables[1][(v >> 48) & 0xff] ^ tables[0][v >> 56];
    }
    for (; data_bytes; p++, data_bytes--)
        crc = (crc >> 8) ^ tables[0][(crc ^ *p) & 0xff];
    return ~crc;
}
