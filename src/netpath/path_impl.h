/* SPDX-License-Identifier: Apache-2.0 */
/* Internal to path: the state of the process and its events. */
#ifndef NETPATH_PATH_IMPL_H
#define NETPATH_PATH_IMPL_H

#include "base/buf.h"
#include "netpath/cache.h"
#include "netpath/rules.h"
#include "netpath/seen.h"

struct path_net {
    pthread_mutex_t lock;
    pthread_cond_t listener_idle;
    /* Guarded by lock. */
    struct path_rules *rules; /* NULL: not yet set */
    struct cache cache;
    struct seen_table seen;
    path_listener listener;
    void *listener_ctx;
    size_t listening; /* calls that run */
};
struct path_net *path_net(void);

/* Those in force; the caller drops them. */
MUST_CHECK struct path_rules *path_rules_now(void);

/* As path_resolve, by these rules. */
MUST_CHECK bool path_lookup(const struct path_rules *rules, enum path_role role,
                            const char *host, const struct cancel *cancel,
                            struct path_answer *ret, struct err *err);

/* For texts: "a b", sorted; "a -> b". */
void path_list_addresses(const struct path_answer *answer, char *out, size_t out_bytes);
void path_list_chain(const struct path_answer *answer, struct buf *out);

/* Roles whose endpoints have circuits: a vendor's or a site's services. */
bool path_role_has_circuit(enum path_role role);
/* false, and why the entry's circuit is open. Under the lock. */
bool path_say_open(const struct seen_entry *entry, uint64_t now_ms, struct err *err);

/* ---- events: filled under the lock, told without it ---- */

struct path_event {
    bool is_set;
    enum path_event_kind kind;
    enum path_role role;
    char host[PATH_NAME_BYTES];
    char text[ERR_TEXT_BYTES];
};

void path_event_set(struct path_event *event, enum path_event_kind kind,
                    const struct seen_entry *entry, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
void path_event_tell(const struct path_event *event);

#endif
