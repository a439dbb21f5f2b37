/* SPDX-License-Identifier: Apache-2.0 */
/* Bounded reads; nothing is touched behind the end. */
#include "block/cursor.h"

#include "base/bytes.h"

const uint8_t *cursor_take(struct cursor *cursor, size_t data_bytes)
{
    if (cursor->bad || cursor_left_bytes(cursor) < data_bytes) {
        cursor->bad = true;
        return NULL;
    }
    const uint8_t *p = cursor->at;
    cursor->at += data_bytes;
    return p;
}

void cursor_copy(struct cursor *cursor, void *ret, size_t data_bytes)
{
    const uint8_t *p = cursor_take(cursor, data_bytes);
    if (p)
        memcpy(ret, p, data_bytes);
    else
        memset(ret, 0, data_bytes);
}

uint8_t cursor_u8(struct cursor *cursor)
{
    const uint8_t *p = cursor_take(cursor, 1);
    return p ? *p : 0;
}

uint16_t cursor_u16(struct cursor *cursor)
{
    const uint8_t *p = cursor_take(cursor, 2);
    return p ? get_u16le(p) : 0;
}

uint32_t cursor_u32(struct cursor *cursor)
{
    const uint8_t *p = cursor_take(cursor, 4);
    return p ? get_u32le(p) : 0;
}

uint64_t cursor_u64(struct cursor *cursor)
{
    const uint8_t *p = cursor_take(cursor, 8);
    return p ? get_u64le(p) : 0;
}

uint64_t cursor_varint(struct cursor *cursor)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (cursor->bad || cursor->at == cursor->end)
            break;
        uint8_t byte = *cursor->at++;
        if (shift == 63 && byte > 1)
            break; /* more than 64 bits */
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            if (byte == 0 && shift > 0)
                break; /* not the shortest form */
            return v;
        }
    }
    cursor->bad = true;
    return 0;
}

size_t varint_put(uint8_t out[VARINT_MAX_BYTES], uint64_t v)
{
    size_t n = 0;
    while (v >= 0x80) {
        out[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    out[n++] = (uint8_t)v;
    return n;
}
