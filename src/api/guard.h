/* SPDX-License-Identifier: Apache-2.0 */
/* Who may call: peer credentials, bearer token, Host header. */
#ifndef API_GUARD_H
#define API_GUARD_H

#include "base/secret.h"

/* The other end of a Unix socket is root or our own user; else FAIL_AUTH. */
MUST_CHECK bool api_guard_peer(int fd, uint32_t *ret_uid, struct err *err);

/* header: the value of "Authorization", or NULL. Constant time in the token. */
MUST_CHECK bool api_guard_token(const struct secret *token, const char *header,
                                struct err *err);

/* header: the value of "Host", or NULL. A page of another site that points its name at
 * this address (DNS rebinding) sends its own name here: FAIL_AUTH. Pure. */
MUST_CHECK bool api_guard_host(const char *header, struct err *err);

#endif
