/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The footer of a fixed VHD: what makes a page blob a disk that the cloud imports. Pure.
 *
 * Source: "Virtual Hard Disk Image Format Specification" (October 2006), and what
 * `qemu-img convert -O vpc -o subformat=fixed,force_size=on` writes (checked by test).
 */
#ifndef AZURE_VHD_H
#define AZURE_VHD_H

#include "base/err.h"
#include "base/id.h"

#define VHD_FOOTER_BYTES 512
#define VHD_UNIT_BYTES                                                                   \
    MIB /* the data part of an imported disk is a whole number of it                     \
         */

/* The data part of the VHD of a disk with disk_bytes: rounded up to VHD_UNIT_BYTES. */
uint64_t vhd_data_bytes(uint64_t disk_bytes);

/* data_bytes: of the data part. disk: becomes the footer's unique id. */
void vhd_footer(uint64_t data_bytes, const struct id *disk, uint64_t unix_s,
                uint8_t ret[VHD_FOOTER_BYTES]);

/* FAIL_CORRUPT: cookie, checksum, type or size. */
MUST_CHECK bool vhd_footer_check(const uint8_t footer[VHD_FOOTER_BYTES],
                                 uint64_t data_bytes, struct err *err);

#endif
