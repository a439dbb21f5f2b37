/* SPDX-License-Identifier: Apache-2.0 */
/* Growable bytes: doubles on demand, always leaves room for a closing NUL. */
#include "base/buf.h"

#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void buf_release(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){0};
}

void buf_clear(struct buf *buf)
{
    buf->bytes = 0;
    if (buf->data)
        buf->data[0] = 0;
}

void buf_reserve(struct buf *buf, size_t more_bytes)
{
    size_t need = buf->bytes + more_bytes + 1;
    if (need <= buf->cap_bytes)
        return;
    size_t cap = buf->cap_bytes ? buf->cap_bytes : 64;
    while (cap < need)
        cap *= 2;
    buf->data = xrealloc(buf->data, cap, 1);
    buf->cap_bytes = cap;
}

void buf_append(struct buf *buf, const void *data, size_t data_bytes)
{
    buf_reserve(buf, data_bytes);
    if (data_bytes)
        memcpy(buf->data + buf->bytes, data, data_bytes);
    buf->bytes += data_bytes;
    buf->data[buf->bytes] = 0;
}

void buf_append_text(struct buf *buf, const char *text)
{
    buf_append(buf, text, strlen(text));
}

void buf_printf(struct buf *buf, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int need = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (need < 0)
        return;
    buf_reserve(buf, (size_t)need + 1);
    va_start(ap, fmt);
    (void)vsnprintf((char *)buf->data + buf->bytes, (size_t)need + 1, fmt, ap);
    va_end(ap);
    buf->bytes += (size_t)need;
}

void buf_put_u8(struct buf *buf, uint8_t v)
{
    buf_append(buf, &v, 1);
}

void buf_put_u16le(struct buf *buf, uint16_t v)
{
    uint8_t raw[2];
    put_u16le(raw, v);
    buf_append(buf, raw, sizeof raw);
}

void buf_put_u32le(struct buf *buf, uint32_t v)
{
    uint8_t raw[4];
    put_u32le(raw, v);
    buf_append(buf, raw, sizeof raw);
}

void buf_put_u64le(struct buf *buf, uint64_t v)
{
    uint8_t raw[8];
    put_u64le(raw, v);
    buf_append(buf, raw, sizeof raw);
}

const char *buf_text(const struct buf *buf)
{
    return buf->data ? (const char *)buf->data : "";
}

char *buf_take_text(struct buf *buf)
{
    if (!buf->data)
        return xstrdup("");
    char *text = (char *)buf->data;
    *buf = (struct buf){0};
    return text;
}
