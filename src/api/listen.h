/* SPDX-License-Identifier: Apache-2.0 */
/* The two listening sockets of the API. */
#ifndef API_LISTEN_H
#define API_LISTEN_H

#include "base/err.h"

/* Bound, 0600, listening; a socket file that nobody serves is replaced. */
MUST_CHECK bool listen_unix(const char *path, int *ret_fd, struct err *err);

/* text: as api_listen_parse. ret_port: the one in use. */
MUST_CHECK bool listen_loopback(const char *text, int *ret_fd, uint16_t *ret_port,
                                struct err *err);

#endif
