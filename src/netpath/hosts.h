/* SPDX-License-Identifier: Apache-2.0 */
/* Names in files: /etc/hosts, and a file of our own in the same form. Pure but for
 * reading the file. */
#ifndef NETPATH_HOSTS_H
#define NETPATH_HOSTS_H

#include "netpath/path.h"

#define HOSTS_MAX_BYTES (1 * MIB)

/* true: text ("ADDRESS NAME...", '#' begins a comment) has addresses for host; ret's
 * addresses are set, the rest is untouched. What is no such line is skipped, as the
 * system does. */
bool hosts_find(const char *text, const char *host, struct path_answer *ret);

/* FAIL_INPUT names the first line that is not "ADDRESS NAME..."; for our own file. */
MUST_CHECK bool hosts_check(const char *path, const char *text, struct err *err);

/* ASCII, any case; a dot at the end does not matter. */
bool hosts_same_name(const char *a, const char *b);

#endif
