/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules that cut something off. Under private peering only the log store has a private
 * endpoint; a wildcard written for it that also catches another account takes that one
 * off the proxy, its only way out ("Do not bypass *.blob.core.windows.net", Azure
 * Migrate's article on ExpressRoute). With Microsoft peering the same wildcard is right,
 * and nothing is said: the log store's address is public then.
 */
#include "netpath/path_impl.h"

#include "base/text.h"
#include "netpath/hosts.h"

#define MAX_ENDPOINTS 64

struct known {
    enum path_role role;
    char host[PATH_NAME_BYTES];
    uint16_t port;
    bool is_private; /* reached, or to be reached, at a private address */
};

static void add(struct known *list, size_t *count, const struct known *one)
{
    for (size_t i = 0; i < *count; i++)
        if (list[i].role == one->role && list[i].port == one->port &&
            hosts_same_name(list[i].host, one->host)) {
            list[i].is_private = list[i].is_private || one->is_private;
            return;
        }
    if (*count < MAX_ENDPOINTS)
        list[(*count)++] = *one;
}

static size_t gather(const struct path_rules *rules, const struct path_endpoint *given,
                     size_t given_count, struct known *list)
{
    size_t count = 0;
    for (size_t i = 0; i < given_count; i++) {
        struct err ignored = ERR_INIT; /* no URL of a server: nothing to cut off */
        struct known one = {.role = given[i].role,
                            .is_private = rules->must_be_private[given[i].role]};
        if (url_parse(given[i].url, one.host, &one.port, &ignored))
            add(list, &count, &one);
    }
    LOCK_GUARD(&path_net()->lock);
    for (size_t i = 0; i < path_net()->seen.count; i++) {
        const struct seen_entry *entry = path_net()->seen.entries[i];
        struct known one = {.role = entry->seen.role,
                            .port = entry->seen.port,
                            .is_private = rules->must_be_private[entry->seen.role] ||
                                          entry->was_private};
        text_copy(one.host, sizeof one.host, entry->seen.host);
        add(list, &count, &one);
    }
    return count;
}

static const struct known *private_log_store(const struct path_rules *rules,
                                             const struct known *list, size_t count,
                                             const struct bypass_rule *rule)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].role == ROLE_LOG_STORE && list[i].is_private &&
            bypass_find(&rules->bypass, list[i].host, list[i].port) == rule)
            return &list[i];
    return NULL;
}

static void check_one(const struct path_rules *rules, const struct known *list,
                      size_t count, const struct known *one, struct findings *ret)
{
    const struct bypass_rule *rule = bypass_find(&rules->bypass, one->host, one->port);
    if (one->is_private || one->role == ROLE_LOG_STORE || !rule ||
        !bypass_rule_is_wild(rule) || rules->wish[one->role] != PROXY_BY_RULES ||
        bypass_is_loopback(one->host))
        return;
    const struct known *log_store = private_log_store(rules, list, count, rule);
    if (!log_store)
        return;
    struct finding *f = findings_add(ret, FINDING_WARNING, "bypass.catches");
    (void)snprintf(f->what, sizeof f->what, "%s '%s'", path_role_name(one->role),
                   one->host);
    (void)snprintf(f->why, sizeof f->why,
                   "bypass rule '%.80s' of %s also catches it; it has no private "
                   "endpoint, and without the proxy it is cut off",
                   bypass_rule_text(rule), bypass_rule_origin(rule));
    (void)snprintf(f->remedy, sizeof f->remedy, "write '%s' instead of the rule",
                   log_store->host);
}

void path_check_rules(const struct path_endpoint *known, size_t count,
                      struct findings *ret)
{
    AUTO(path_rules_drop) struct path_rules *rules = path_rules_now();
    struct known *list = xcalloc(MAX_ENDPOINTS, sizeof *list);
    size_t listed = gather(rules, known, count, list);
    for (size_t i = 0; rules->proxy_url[0] && i < listed; i++)
        check_one(rules, list, listed, &list[i], ret);
    free(list);
}
