/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what a name server answered: aliases and addresses of one name. Pure; the
 * bytes are anybody's. */
#ifndef NETPATH_DNS_MESSAGE_H
#define NETPATH_DNS_MESSAGE_H

#include "netpath/path.h"

enum dns_type { DNS_A = 1, DNS_CNAME = 5, DNS_AAAA = 28 };

/*
 * Follows the aliases from the question's name and adds the addresses of the name at
 * their end to ret: its chain (grown from chain_count 0 or compared with what is there:
 * the longer one stays), addresses, ttl_s (lowered; the caller begins with UINT32_MAX).
 * An answer to NXDOMAIN may hold a chain, too: an alias of a name that does not exist.
 * false: it is no whole message; ret may hold a part. Records of other names are skipped.
 */
MUST_CHECK bool dns_message_read(const uint8_t *data, size_t data_bytes,
                                 struct path_answer *ret);

#endif
