/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of the process: rules in force, answers of name servers, endpoints seen.
 *
 * P1  what is classified is what is connected to: a choice carries its addresses, and
 *     nobody resolves the name again;
 * P2  in doubt nothing is sent: one public address among private ones, a proxy, or a
 *     connected address that is not private, refuse a role that must be private;
 * P3  a choice holds the rules that it was made by, password included, until it is
 *     released: a new set of rules pulls nothing away from under it;
 * P4  name servers are asked and listeners called without the lock.
 */
#include "netpath/path_impl.h"

#include "base/clock.h"
#include "base/text.h"

/* ---- choosing ---- */

struct wanted {
    enum path_role role;
    char host[PATH_NAME_BYTES];
    uint16_t port;
    const char *own_proxy; /* NULL: by the rules */
    const struct secret *own_password;
};

/* Proxy or not, and why. */
static bool choose_proxy(const struct path_rules *rules, const struct wanted *wanted,
                         struct path_choice *ret, struct err *err)
{
    enum proxy_wish wish = rules->wish[wanted->role];
    const struct bypass_rule *bypass = NULL;
    const char *rule = "no proxy is set";
    bool is_direct = true;
    if (wanted->own_proxy) {
        text_copy(ret->rule, sizeof ret->rule, "proxy of the credential file");
        ret->proxy_password = wanted->own_password;
        return proxy_parse(wanted->own_proxy, ret->proxy_url, ret->proxy_user, err);
    }
    if (wanted->role == ROLE_LOCAL)
        rule = "role local never uses a proxy";
    else if (bypass_is_loopback(wanted->host))
        rule = "loopback never uses a proxy";
    else if (rules->proxy_url[0] && wish == PROXY_NEVER)
        rule = "this role is direct (proxy_roles)";
    else if (rules->proxy_url[0] && wish == PROXY_BY_RULES)
        bypass = bypass_find(&rules->bypass, wanted->host, wanted->port);
    else
        bypass = NULL;
    is_direct = wanted->role == ROLE_LOCAL || bypass_is_loopback(wanted->host) ||
                !rules->proxy_url[0] || wish == PROXY_NEVER || bypass;
    if (bypass)
        (void)snprintf(ret->rule, sizeof ret->rule, "bypass rule '%.200s' of %s",
                       bypass_rule_text(bypass), bypass_rule_origin(bypass));
    else if (is_direct)
        text_copy(ret->rule, sizeof ret->rule, rule);
    else
        text_copy(ret->rule, sizeof ret->rule,
                  wish == PROXY_ALWAYS ? "proxy_roles: proxy"
                                       : "proxy: no bypass rule names this host");
    if (!is_direct) {
        text_copy(ret->proxy_url, sizeof ret->proxy_url, rules->proxy_url);
        text_copy(ret->proxy_user, sizeof ret->proxy_user, rules->proxy_user);
        ret->proxy_password = rules->proxy_password;
    }
    return true;
}

static bool refuse_proxy(const struct wanted *wanted, const struct path_choice *choice,
                         struct err *err)
{
    return err_set(err, FAIL_CONFLICT,
                   "%s '%.120s' must be reached at a private address and would go "
                   "through proxy '%.100s' (%.100s); nothing is sent: add a bypass rule "
                   "for this host",
                   path_role_name(wanted->role), wanted->host, choice->proxy_url,
                   choice->rule);
}

static bool refuse_public(const struct wanted *wanted, const struct path_answer *answer,
                          struct err *err)
{
    AUTO(buf_release) struct buf chain = {0};
    char addresses[120];
    path_list_addresses(answer, addresses, sizeof addresses);
    path_list_chain(answer, &chain);
    return err_set(err, FAIL_CONFLICT,
                   "%s '%.120s' must be reached at a private address and resolves to %s "
                   "(%.150s, asked: %s); nothing is sent: does that name server know the "
                   "private zone, or take the role out of require_private",
                   path_role_name(wanted->role), wanted->host, addresses,
                   buf_text(&chain), answer->from);
}

static bool choose_addresses(const struct path_rules *rules, const struct wanted *wanted,
                             const struct cancel *cancel, struct path_choice *ret,
                             struct err *err)
{
    struct path_answer *answer = xcalloc(1, sizeof *answer);
    bool ok = path_lookup(rules, wanted->role, wanted->host, cancel, answer, err);
    if (ok) {
        ret->class = answer->class;
        ret->address_count = answer->address_count;
        memcpy(ret->addresses, answer->addresses, sizeof ret->addresses);
        if (ret->must_be_private && answer->class == PATH_PUBLIC)
            ok = refuse_public(wanted, answer, err); /* P2 */
    }
    free(answer);
    return ok;
}

bool path_admit(enum path_role role, const char *url, struct err *err)
{
    char host[PATH_NAME_BYTES];
    uint16_t port;
    if (!url_parse(url, host, &port, err))
        return false;
    LOCK_GUARD(&path_net()->lock);
    uint64_t now_ms = clock_mono_ms();
    struct seen_entry *entry = seen_take(&path_net()->seen, role, host, port, now_ms);
    return !path_role_has_circuit(role) || circuit_admit(&entry->circuit, now_ms) ||
           path_say_open(entry, now_ms, err);
}

static void note_choice(const struct wanted *wanted, const struct path_choice *choice,
                        const struct err *refused)
{
    struct path_event event = {.is_set = false};
    {
        LOCK_GUARD(&path_net()->lock);
        struct seen_entry *entry = seen_take(&path_net()->seen, wanted->role,
                                             wanted->host, wanted->port, clock_mono_ms());
        struct path_seen *seen = &entry->seen;
        bool is_other = strcmp(seen->proxy, choice->proxy_url) != 0 ||
                        strcmp(seen->rule, choice->rule) != 0;
        if (is_other && entry->has_choice)
            path_event_set(&event, PATH_EVENT_CHANGED, entry, "%s%s by rule: %.200s",
                           choice->proxy_url[0] ? "through " : "direct",
                           choice->proxy_url, choice->rule);
        entry->has_choice = true;
        text_copy(seen->proxy, sizeof seen->proxy, choice->proxy_url);
        text_copy(seen->rule, sizeof seen->rule, choice->rule);
        seen->class = choice->class;
        entry->refused = *refused;
    }
    path_event_tell(&event);
}

/* Nor does whoever connects resolve the proxy's own name. */
static bool resolve_proxy(const struct path_rules *rules, const struct cancel *cancel,
                          struct path_choice *ret, struct err *err)
{
    struct path_answer *answer = xcalloc(1, sizeof *answer);
    bool ok = url_parse(ret->proxy_url, ret->proxy_host, &ret->proxy_port, err) &&
              path_lookup(rules, ROLE_OTHER, ret->proxy_host, cancel, answer, err);
    if (ok) {
        ret->proxy_address_count =
            MIN_OF(answer->address_count, (size_t)PATH_MAX_PROXIES);
        memcpy(ret->proxy_addresses, answer->addresses, sizeof ret->proxy_addresses);
    }
    free(answer);
    return ok || err_wrap(err, "proxy '%.100s'", ret->proxy_url);
}

static bool choose(const struct path_rules *rules, const struct wanted *wanted,
                   const struct cancel *cancel, struct path_choice *ret, struct err *err)
{
    ret->must_be_private = rules->must_be_private[wanted->role];
    ret->class = PATH_PUBLIC; /* what a proxy resolves to is not known */
    if (!choose_proxy(rules, wanted, ret, err))
        return false;
    if (ret->proxy_url[0])
        return ret->must_be_private ? refuse_proxy(wanted, ret, err)
                                    : resolve_proxy(rules, cancel, ret, err);
    return choose_addresses(rules, wanted, cancel, ret, err);
}

static bool choose_and_note(struct wanted *wanted, const char *url,
                            const struct cancel *cancel, struct path_choice *ret,
                            struct err *err)
{
    struct err why = ERR_INIT, none = ERR_INIT;
    *ret = (struct path_choice){.address_count = 0};
    if (!url_parse(url, wanted->host, &wanted->port, err))
        return false;
    {
        LOCK_GUARD(&path_net()->lock); /* what the name resolves to is noted there */
        (void)seen_take(&path_net()->seen, wanted->role, wanted->host, wanted->port,
                        clock_mono_ms());
    }
    struct path_rules *rules = path_rules_now();
    bool ok = choose(rules, wanted, cancel, ret, &why);
    if (ok || why.kind == FAIL_CONFLICT)
        note_choice(wanted, ret, ok ? &none : &why);
    if (!ok) {
        path_observe(wanted->role, url, "", 0, &why);
        path_rules_drop(rules);
        *ret = (struct path_choice){.address_count = 0};
        *err = why;
        return false;
    }
    ret->hold = rules; /* P3 */
    return true;
}

bool path_choose(enum path_role role, const char *url, const struct cancel *cancel,
                 struct path_choice *ret, struct err *err)
{
    struct wanted wanted = {.role = role};
    return choose_and_note(&wanted, url, cancel, ret, err);
}

bool path_choose_proxy(enum path_role role, const char *url, const char *proxy,
                       const struct secret *password, const struct cancel *cancel,
                       struct path_choice *ret, struct err *err)
{
    struct wanted wanted = {.role = role, .own_proxy = proxy, .own_password = password};
    return choose_and_note(&wanted, url, cancel, ret, err);
}

void path_choice_release(struct path_choice *choice)
{
    path_rules_drop(choice->hold);
    *choice = (struct path_choice){.address_count = 0};
}

bool path_check_connected(enum path_role role, const struct path_choice *choice,
                          const char *address, struct err *err)
{
    struct address parsed;
    if (!choice->must_be_private ||
        (!choice->proxy_url[0] && address_parse(address, &parsed) &&
         address_class(&parsed) != PATH_PUBLIC))
        return true;
    return err_set(err, FAIL_CONFLICT,
                   "%s must be reached at a private address and the connection went to "
                   "'%.64s'; nothing was sent",
                   path_role_name(role), address);
}
