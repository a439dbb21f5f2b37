/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bitmap decoder. Byte 0 odd: the checksum behind the rest is made right first, else
 * nothing but the checksum would ever be tested. What decodes must encode to its own
 * bytes.
 */
#include "fuzz.h"

#include "base/bytes.h"
#include "block/bitmap.h"

#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_bytes)
{
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf in = {0};
    AUTO(buf_release) struct buf again = {0};
    AUTO(bitmap_release) struct bitmap bitmap = {0};
    if (data_bytes == 0)
        return 0;
    buf_append(&in, data + 1, data_bytes - 1);
    if (data[0] & 1)
        buf_put_u64le(&in, XXH3_64bits(in.data, in.bytes));
    if (!bitmap_decode(in.data, in.bytes, &bitmap, &err)) {
        if (err.kind != FAIL_CORRUPT)
            abort();
        return 0;
    }
    bitmap_encode(&bitmap, &again);
    if (again.bytes != in.bytes || memcmp(again.data, in.data, in.bytes) != 0)
        abort();
    return 0;
}
