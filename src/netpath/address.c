/* SPDX-License-Identifier: Apache-2.0 */
/* One table of the ranges that are not public; IPv4 is looked at as mapped IPv6, so that
 * both ways to write an address are the same one. */
#include "netpath/address.h"

#include "base/text.h"

#include <arpa/inet.h>

#define V4_BITS 96

static const uint8_t MAPPED[12] = {[10] = 0xff, [11] = 0xff};

static const struct {
    const char *base;
    unsigned bits;
    enum path_class class;
} RANGES[] = {
    {"127.0.0.0", V4_BITS + 8, PATH_LOOPBACK},
    {"::1", 128, PATH_LOOPBACK},
    {"10.0.0.0", V4_BITS + 8, PATH_PRIVATE},
    {"172.16.0.0", V4_BITS + 12, PATH_PRIVATE},
    {"192.168.0.0", V4_BITS + 16, PATH_PRIVATE},
    {"169.254.0.0", V4_BITS + 16, PATH_PRIVATE},
    {"100.64.0.0", V4_BITS + 10, PATH_PRIVATE},
    {"fc00::", 7, PATH_PRIVATE},
    {"fe80::", 10, PATH_PRIVATE},
};

bool address_parse(const char *text, struct address *ret)
{
    char plain[ADDRESS_TEXT_BYTES];
    size_t bytes = strlen(text);
    bool has_brackets = text[0] == '[' && bytes > 2 && text[bytes - 1] == ']';
    struct in_addr v4;
    if (has_brackets) {
        text++;
        bytes -= 2;
    }
    if (bytes >= sizeof plain)
        return false;
    memcpy(plain, text, bytes);
    plain[bytes] = 0;
    if (!has_brackets && inet_pton(AF_INET, plain, &v4) == 1) {
        memcpy(ret->bytes, MAPPED, sizeof MAPPED);
        memcpy(ret->bytes + sizeof MAPPED, &v4, sizeof v4);
        return true;
    }
    return inet_pton(AF_INET6, plain, ret->bytes) == 1;
}

bool address_is_v4(const struct address *address)
{
    return memcmp(address->bytes, MAPPED, sizeof MAPPED) == 0;
}

const char *address_text(const struct address *address, char out[ADDRESS_TEXT_BYTES])
{
    bool is_v4 = address_is_v4(address);
    if (!inet_ntop(is_v4 ? AF_INET : AF_INET6,
                   address->bytes + (is_v4 ? sizeof MAPPED : 0), out, ADDRESS_TEXT_BYTES))
        abort(); /* only for room, and there is */
    return out;
}

bool address_shares_bits(const struct address *a, const struct address *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a->bytes, b->bytes, whole) != 0)
        return false;
    return !rest || (a->bytes[whole] ^ b->bytes[whole]) >> (8 - rest) == 0;
}

enum path_class address_class(const struct address *address)
{
    for (size_t i = 0; i < ARRAY_COUNT(RANGES); i++) {
        struct address base;
        if (address_parse(RANGES[i].base, &base) &&
            address_shares_bits(address, &base, RANGES[i].bits))
            return RANGES[i].class;
    }
    return PATH_PUBLIC;
}
