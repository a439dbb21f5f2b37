/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which hosts are reached without the proxy: rules in the forms that people write them.
 * Pure; a list does not change while it is asked.
 *
 *   lsa1.blob.core.windows.net      this host
 *   *.corp.example, .corp.example   every name below, at any depth, not the name itself
 *   .*.blob.core.windows.net        the same: as Azure's documents write it. Read as a
 *                                   regular expression it would also match
 *                                   "evilblob.core.windows.net"; it must not here.
 *                                   With \. for the dots and ^ $ around it, too
 *   lsa*.blob.core.windows.net      '*' inside of a label stays inside of that label
 *   10.1.0.5, fd00::5, 10.0.0.0/8   an address in the URL; a name is never resolved for
 * it <local>                         names without a dot <loopback> localhost,
 * 127.0.0.0/8, ::1 (which never are proxied)
 *   *, .*                           everything
 *   HOST:PORT                       any of them on this port only; [fd00::5]:443
 *
 * Case, and a dot at the end of a name, do not matter. Between rules: comma, semicolon,
 * blank, line end.
 */
#ifndef NETPATH_BYPASS_H
#define NETPATH_BYPASS_H

#include "netpath/address.h"

#define BYPASS_MAX_RULES 256

struct bypass_rule;
struct bypass_list {
    struct bypass_rule *rules; /* owned */
    size_t count;
};

/* Appends the rules of text; origin: where they are written, for people ("proxy_bypass");
 * copied. FAIL_INPUT names the rule and what to write instead, the list is as before;
 * FAIL_LIMIT more than BYPASS_MAX_RULES. */
MUST_CHECK bool bypass_add(struct bypass_list *list, const char *text, const char *origin,
                           struct err *err);
void bypass_release(struct bypass_list *list);

/* The first rule that catches host (no brackets needed) and port; NULL: none. */
const struct bypass_rule *bypass_find(const struct bypass_list *list, const char *host,
                                      uint16_t port);
const char *bypass_rule_text(const struct bypass_rule *rule);   /* as it was written */
const char *bypass_rule_origin(const struct bypass_rule *rule); /* where */
/* It may catch more than one name. */
bool bypass_rule_is_wild(const struct bypass_rule *rule);

/* localhost and names below it, and loopback addresses. */
bool bypass_is_loopback(const char *host);

#endif
