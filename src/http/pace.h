/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The throttle where it counts: bodies of requests to endpoints of a role leave in small
 * pieces, each let through by the throttle, so that the link sees a steady rate and not
 * one segment now and then. One table per process, as in netpath/path.h.
 */
#ifndef HTTP_PACE_H
#define HTTP_PACE_H

#include "base/throttle.h"
#include "netpath/path.h"

/* From the next piece on. throttle is borrowed until http_pace(role, NULL), which comes
 * after the last exchange of that role. Any thread. */
void http_pace(enum path_role role, struct throttle *throttle);

/*
 * Waits until something of the left_bytes of a body may leave; *ret_bytes: so many may,
 * 1 .. left_bytes. left_bytes >= 1. FAIL_CANCELED.
 */
MUST_CHECK bool pace_pass(enum path_role role, size_t left_bytes,
                          const struct cancel *cancel, size_t *ret_bytes,
                          struct err *err);

#endif
