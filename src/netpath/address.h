/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numeric addresses: reading, comparing, and whether one is private. Pure; any thread.
 *
 * Private: RFC 1918, unique local (RFC 4193), link-local, and 100.64.0.0/10 (RFC 6598):
 * that one is no route on the internet either, and Azure takes it as the address space of
 * a virtual network, so a private endpoint may well have such an address while a public
 * one never has. Everything else but loopback is public, what is reserved and odd
 * (0.0.0.0, multicast, 198.18.0.0/15) too: in doubt nothing is called private.
 */
#ifndef NETPATH_ADDRESS_H
#define NETPATH_ADDRESS_H

#include "netpath/path.h"

struct address {
    uint8_t bytes[16]; /* IPv4 as ::ffff:a.b.c.d */
};

/* "10.0.0.4", "fd00::1", "[fd00::1]"; no zone, no short forms. */
bool address_parse(const char *text, struct address *ret);
#define ADDRESS_TEXT_BYTES 64
/* "10.0.0.4" or "fd00::1"; out is returned. */
const char *address_text(const struct address *address, char out[ADDRESS_TEXT_BYTES]);
bool address_is_v4(const struct address *address);
/* The first bits are equal; bits counts those of IPv6 (96 more for IPv4). */
bool address_shares_bits(const struct address *a, const struct address *b, unsigned bits);
enum path_class address_class(const struct address *address);

#endif
