/* SPDX-License-Identifier: Apache-2.0 */
/* 128-bit identities, random, written as 32 hex digits. Pure but for id_random. */
#ifndef BASE_ID_H
#define BASE_ID_H

#include "base/err.h"

#define ID_BYTES      16
#define ID_TEXT_BYTES 33

struct id {
    uint8_t bytes[ID_BYTES];
};

struct id id_random(void);
const char *id_text(const struct id *id, char out[ID_TEXT_BYTES]); /* returns out */
MUST_CHECK bool id_parse(const char *text, struct id *ret, struct err *err);
bool id_equal(const struct id *a, const struct id *b);
bool id_is_zero(const struct id *id);

#endif
