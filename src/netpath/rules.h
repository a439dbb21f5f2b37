/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of a configuration, read and never changed: counted references, so that a
 * new set takes the place of the old one while connections are made by it. Any thread. */
#ifndef NETPATH_RULES_H
#define NETPATH_RULES_H

#include "netpath/bypass.h"

enum proxy_wish { PROXY_BY_RULES, PROXY_ALWAYS, PROXY_NEVER };

struct path_rules {
    /* Set by path_rules_new, never changed. */
    char proxy_url[PATH_NAME_BYTES]; /* without user; "": none */
    char proxy_user[PATH_NAME_BYTES];
    struct secret *proxy_password; /* NULL: none */
    struct bypass_list bypass;
    enum proxy_wish wish[ROLE_COUNT];
    bool must_be_private[ROLE_COUNT];
    char *servers[ROLE_COUNT]; /* NULL: the system's */
    char *hosts_file;          /* NULL: none */
    /* Atomic. */
    _Atomic unsigned holders;
};

MUST_CHECK struct path_rules *path_rules_new(const struct path_settings *settings,
                                             struct err *err);
void path_rules_hold(struct path_rules *rules);
void path_rules_drop(struct path_rules *rules); /* the last one frees; NULL is fine */
AUTO_CLEANUP(struct path_rules, path_rules_drop);

/* "http://[user@]host:port" in its parts. FAIL_INPUT; the text is not quoted: somebody
 * may have put a password there. */
MUST_CHECK bool proxy_parse(const char *text, char ret_url[PATH_NAME_BYTES],
                            char ret_user[PATH_NAME_BYTES], struct err *err);

/* "https://host[:port]" (http too); a host in brackets without them. */
MUST_CHECK bool url_parse(const char *url, char ret_host[PATH_NAME_BYTES],
                          uint16_t *ret_port, struct err *err);

#endif
