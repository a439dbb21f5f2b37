/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growable run of bytes; text in it is always followed by a NUL (not counted).
 * Control plane only: the data path takes buffers from base/pool.h.
 * Owner: whoever embeds it calls buf_release. One thread at a time.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/defs.h"

struct buf {
    uint8_t *data; /* NULL only when never written */
    size_t bytes;
    size_t cap_bytes;
};

void buf_release(struct buf *buf);
void buf_clear(struct buf *buf); /* bytes = 0, keeps the memory */
void buf_reserve(struct buf *buf, size_t more_bytes);
void buf_append(struct buf *buf, const void *data, size_t data_bytes);
void buf_append_text(struct buf *buf, const char *text);
void buf_printf(struct buf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_put_u8(struct buf *buf, uint8_t v);
void buf_put_u16le(struct buf *buf, uint16_t v);
void buf_put_u32le(struct buf *buf, uint32_t v);
void buf_put_u64le(struct buf *buf, uint64_t v);

/* The bytes as a C string ("" when empty); valid until the next change. */
const char *buf_text(const struct buf *buf);

/* Moves the memory out as a malloc'ed C string; the buffer is empty afterwards. */
MUST_CHECK char *buf_take_text(struct buf *buf);

/* AUTO(buf_release) struct buf text = {0}; */
static inline void auto_buf_release(struct buf *buf)
{
    buf_release(buf);
}

#endif
