/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints that this process talks to, and how it went. Bounded: the one not asked for
 * the longest time goes. Not locked: its owner does that. */
#ifndef NETPATH_SEEN_H
#define NETPATH_SEEN_H

#include "netpath/circuit.h"
#include "netpath/path.h"

#define SEEN_MAX_ENTRIES 256

struct seen_entry {
    struct path_seen seen;
    char url[PATH_NAME_BYTES + 16]; /* "https://host:port" */
    uint64_t used_at_ms;
    struct circuit circuit;
    bool has_choice;                         /* proxy and rule are set */
    bool was_private;                        /* the last answer for its name */
    char addresses[PATH_MAX_ADDRESSES * 48]; /* the last ones, sorted; "" none */
    struct err refused; /* FAIL_CONFLICT: must be private and is not; else FAIL_NONE */
};

struct seen_table {
    struct seen_entry *entries[SEEN_MAX_ENTRIES]; /* owned; by role, host and port */
    size_t count;
};

/* Never NULL: a new one when there is none. */
struct seen_entry *seen_take(struct seen_table *table, enum path_role role,
                             const char *host, uint16_t port, uint64_t now_ms);
/* NULL: there is none. */
struct seen_entry *seen_find(const struct seen_table *table, enum path_role role,
                             const char *host, uint16_t port);
void seen_clear(struct seen_table *table);

#endif
