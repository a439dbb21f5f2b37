/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The footer, field by field, big-endian.
 *
 * V1  a reader takes the size from the footer and not from the geometry: readers go by
 * the creator for that, and "qem2" (what qemu-img writes with force_size) is one of those
 *     that all of them know; the geometry is the largest there is, as there.
 */
#include "azure/vhd.h"

#include <endian.h>
#include <inttypes.h>
#include <string.h>

#define YEAR_2000_S UINT64_C(946684800)
#define TYPE_FIXED  2

enum { /* offsets of the fields */
       AT_COOKIE = 0,
       AT_FEATURES = 8,
       AT_VERSION = 12,
       AT_DATA_OFFSET = 16,
       AT_TIME = 24,
       AT_CREATOR = 28,
       AT_CREATOR_VERSION = 32,
       AT_CREATOR_OS = 36,
       AT_ORIGINAL_BYTES = 40,
       AT_CURRENT_BYTES = 48,
       AT_CYLINDERS = 56,
       AT_HEADS = 58,
       AT_SECTORS = 59,
       AT_TYPE = 60,
       AT_CHECKSUM = 64,
       AT_ID = 68,
};

static void put_u32be(uint8_t *p, uint32_t v)
{
    v = htobe32(v);
    memcpy(p, &v, sizeof v);
}

static void put_u64be(uint8_t *p, uint64_t v)
{
    v = htobe64(v);
    memcpy(p, &v, sizeof v);
}

static uint32_t get_u32be(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return be32toh(v);
}

static uint64_t get_u64be(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return be64toh(v);
}

/* All bytes but its own, inverted. */
static uint32_t checksum(const uint8_t footer[VHD_FOOTER_BYTES])
{
    uint32_t sum = 0;
    for (size_t i = 0; i < VHD_FOOTER_BYTES; i++)
        if (i < AT_CHECKSUM || i >= AT_ID)
            sum += footer[i];
    return ~sum;
}

uint64_t vhd_data_bytes(uint64_t disk_bytes)
{
    return round_up(disk_bytes, VHD_UNIT_BYTES);
}

void vhd_footer(uint64_t data_bytes, const struct id *disk, uint64_t unix_s,
                uint8_t ret[VHD_FOOTER_BYTES])
{
    uint64_t age_s = unix_s > YEAR_2000_S ? unix_s - YEAR_2000_S : 0;
    memset(ret, 0, VHD_FOOTER_BYTES);
    memcpy(ret + AT_COOKIE, "conectix", 8);
    put_u32be(ret + AT_FEATURES, 2); /* reserved, always set */
    put_u32be(ret + AT_VERSION, 0x00010000);
    put_u64be(ret + AT_DATA_OFFSET, UINT64_MAX); /* fixed: none */
    put_u32be(ret + AT_TIME, (uint32_t)MIN_OF(age_s, (uint64_t)UINT32_MAX));
    memcpy(ret + AT_CREATOR, "qem2", 4); /* V1 */
    put_u32be(ret + AT_CREATOR_VERSION, 0x00050003);
    memcpy(ret + AT_CREATOR_OS, "Wi2k", 4);
    put_u64be(ret + AT_ORIGINAL_BYTES, data_bytes);
    put_u64be(ret + AT_CURRENT_BYTES, data_bytes);
    ret[AT_CYLINDERS] = ret[AT_CYLINDERS + 1] = 0xff; /* 65535 */
    ret[AT_HEADS] = 16;
    ret[AT_SECTORS] = 255;
    put_u32be(ret + AT_TYPE, TYPE_FIXED);
    memcpy(ret + AT_ID, disk->bytes, ID_BYTES);
    put_u32be(ret + AT_CHECKSUM, checksum(ret));
}

bool vhd_footer_check(const uint8_t footer[VHD_FOOTER_BYTES], uint64_t data_bytes,
                      struct err *err)
{
    if (memcmp(footer + AT_COOKIE, "conectix", 8) != 0)
        return err_set(err, FAIL_CORRUPT,
                       "the disk does not end with the footer of a VHD");
    if (get_u32be(footer + AT_CHECKSUM) != checksum(footer))
        return err_set(err, FAIL_CORRUPT, "the checksum of the VHD's footer is wrong");
    if (get_u32be(footer + AT_TYPE) != TYPE_FIXED)
        return err_set(err, FAIL_CORRUPT, "the VHD is of type %" PRIu32 ", not fixed",
                       get_u32be(footer + AT_TYPE));
    if (get_u64be(footer + AT_CURRENT_BYTES) != data_bytes)
        return err_set(err, FAIL_CORRUPT,
                       "the VHD's footer says %" PRIu64 " bytes, the disk has %" PRIu64,
                       get_u64be(footer + AT_CURRENT_BYTES), data_bytes);
    return true;
}
