/* SPDX-License-Identifier: Apache-2.0 */
/* Greedy and simple; FastLZ takes the last position with the same three bytes. */
#include "fake_pack.h"

#include "base/bytes.h"

#include <stdlib.h>

#include <zlib.h>

#define HASHES 65536

struct out {
    uint8_t *data;
    size_t bytes;
    size_t cap;
    bool is_full;
};

static void add(struct out *out, size_t byte)
{
    if (out->bytes == out->cap)
        out->is_full = true;
    else
        out->data[out->bytes++] = (uint8_t)byte;
}

static size_t skipz(const uint8_t *data, size_t bytes, uint8_t *raw, size_t raw_bytes)
{
    struct out out = {raw, 0, raw_bytes, false};
    uint8_t head[8];
    put_u32le(head, (uint32_t)bytes);
    put_u32le(head + 4, 0);
    for (size_t i = 0; i < 8; i++)
        add(&out, head[i]);
    for (size_t at = 0; at < bytes;) {
        size_t end = at;
        while (end < bytes && data[end] == 0)
            end++;
        at = end;
        size_t zeros = 0;
        while (end < bytes && zeros < 9) /* a gap must pay for a record */
            zeros = data[end++] ? 0 : zeros + 1;
        end -= zeros;
        if (end == at)
            continue;
        put_u32le(head, (uint32_t)at);
        put_u32le(head + 4, (uint32_t)(end - at));
        for (size_t i = 0; i < 8; i++)
            add(&out, head[i]);
        for (; at < end; at++)
            add(&out, data[at]);
    }
    return out.is_full ? 0 : out.bytes;
}

static void literals(struct out *out, const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        size_t n = MIN_OF(bytes, 32);
        add(out, n - 1);
        for (size_t i = 0; i < n; i++)
            add(out, *data++);
        bytes -= n;
    }
}

static void match(struct out *out, int level, size_t distance, size_t length)
{
    bool is_far = level == 2 && distance > 8191;
    size_t offset = is_far ? 8191 : distance - 1;
    add(out, (length < 9 ? length - 2 : 7) << 5 | offset >> 8);
    if (length >= 9) {
        size_t rest = length - 9;
        for (; level == 2 && rest >= 255; rest -= 255)
            add(out, 255);
        add(out, rest);
    }
    add(out, offset & 255);
    if (is_far) {
        add(out, (distance - 8192) >> 8);
        add(out, (distance - 8192) & 255);
    }
}

size_t fake_fastlz(int level, const uint8_t *data, size_t bytes, uint8_t *raw,
                   size_t raw_bytes)
{
    struct out out = {raw, 0, raw_bytes, false};
    size_t distance_max = level == 2 ? 8192 + 65535 : 8192;
    AUTO(free) size_t *last = xcalloc(HASHES, sizeof *last); /* position + 1 */
    size_t from = 0;                                         /* of pending literals */
    size_t at = 1;                                           /* the first is a literal */
    while (at + 3 <= bytes) {
        uint32_t three =
            data[at] | (uint32_t)data[at + 1] << 8 | (uint32_t)data[at + 2] << 16;
        size_t *slot = &last[three * 2654435761u >> 16];
        size_t before = *slot;
        *slot = at + 1;
        size_t distance = before ? at + 1 - before : 0;
        size_t length = 0;
        if (distance > 0 && distance <= distance_max)
            while (at + length < bytes && length < (level == 2 ? bytes : 264) &&
                   data[at + length] == data[at + length - distance])
                length++;
        if (length < 3) {
            at++;
            continue;
        }
        literals(&out, data + from, at - from);
        match(&out, level, distance, length);
        at += length;
        from = at;
    }
    literals(&out, data + from, bytes - from);
    if (out.bytes > 0)
        raw[0] |= (uint8_t)((level - 1) << 5);
    return out.is_full ? 0 : out.bytes;
}

size_t fake_pack(uint32_t method, const uint8_t *data, size_t data_bytes, uint8_t *out,
                 size_t out_bytes)
{
    uLongf packed_bytes = out_bytes;
    switch (method) {
    case 1:
        return compress2(out, &packed_bytes, data, data_bytes, 1) == Z_OK ? packed_bytes
                                                                          : 0;
    case 2:
        return fake_fastlz(data_bytes >= 65536 ? 2 : 1, data, data_bytes, out, out_bytes);
    case 3:
        return skipz(data, data_bytes, out, out_bytes);
    default:
        return 0;
    }
}
