/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict reading of bounded bytes. Internal to block/.
 *
 * The first read that finds too little, or a varint that is not in its shortest form,
 * sets `bad`; from then on every read gives 0 or NULL. So a decoder reads all fields of a
 * group, then looks at `bad` once. Pure.
 */
#ifndef BLOCK_CURSOR_H
#define BLOCK_CURSOR_H

#include "base/buf.h"

#define VARINT_MAX_BYTES 10

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};

static inline size_t cursor_left_bytes(const struct cursor *cursor)
{
    return (size_t)(cursor->end - cursor->at);
}

const uint8_t *cursor_take(struct cursor *cursor, size_t data_bytes);
void cursor_copy(struct cursor *cursor, void *ret, size_t data_bytes); /* zeros if bad */
uint8_t cursor_u8(struct cursor *cursor);
uint16_t cursor_u16(struct cursor *cursor);
uint32_t cursor_u32(struct cursor *cursor);
uint64_t cursor_u64(struct cursor *cursor);
/* LEB128 of at most 64 bits, shortest form only. */
uint64_t cursor_varint(struct cursor *cursor);

/* Writes the shortest LEB128 form, returns its length. */
size_t varint_put(uint8_t out[VARINT_MAX_BYTES], uint64_t v);

#endif
