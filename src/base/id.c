/* SPDX-License-Identifier: Apache-2.0 */
/* Identities: random bytes and their hex text. */
#include "base/id.h"

#include "base/secret.h"
#include "base/text.h"

struct id id_random(void)
{
    struct id id;
    secret_random(id.bytes, sizeof id.bytes);
    return id;
}

const char *id_text(const struct id *id, char out[ID_TEXT_BYTES])
{
    text_hex(id->bytes, ID_BYTES, out);
    return out;
}

bool id_parse(const char *text, struct id *ret, struct err *err)
{
    return text_unhex(text, ret->bytes, ID_BYTES, err);
}

bool id_equal(const struct id *a, const struct id *b)
{
    return memcmp(a->bytes, b->bytes, ID_BYTES) == 0;
}

bool id_is_zero(const struct id *id)
{
    static const struct id ZERO;
    return id_equal(id, &ZERO);
}
