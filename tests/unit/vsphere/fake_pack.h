/* SPDX-License-Identifier: Apache-2.0 */
/* The packing side of what the client unpacks; as a host would do it, not as fast. */
#ifndef TESTS_UNIT_VSPHERE_FAKE_PACK_H
#define TESTS_UNIT_VSPHERE_FAKE_PACK_H

#include "base/defs.h"

/* method: as on the wire (1 zlib, 2 FastLZ, 3 SkipZ). 0: it does not fit out_bytes. */
size_t fake_pack(uint32_t method, const uint8_t *data, size_t data_bytes, uint8_t *out,
                 size_t out_bytes);
/* level 1 or 2 whatever the length. */
size_t fake_fastlz(int level, const uint8_t *data, size_t data_bytes, uint8_t *out,
                   size_t out_bytes);

#endif
