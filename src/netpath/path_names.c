/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a name to addresses: what needs no asking, files, the cache, name servers. An
 * answer that has ended is used on while no server answers (RFC 8767): an outage of DNS
 * does not stop what runs.
 */
#include "netpath/path_impl.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "netpath/hosts.h"
#include "netpath/resolve.h"

#define HOSTS_TTL_S  5
#define SYSTEM_HOSTS "/etc/hosts"

/* Names in a vendor's cloud are whole: a search domain must not be tried on them. */
static bool role_is_cloud(enum path_role role)
{
    return role != ROLE_OTHER && role != ROLE_VCENTER && role != ROLE_ESXI &&
           role != ROLE_LOCAL;
}

/* ---- names ---- */

static int compare_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

void path_list_addresses(const struct path_answer *answer, char *out, size_t out_bytes)
{
    char sorted[PATH_MAX_ADDRESSES][64];
    size_t at = 0;
    memcpy(sorted, answer->addresses, sizeof sorted);
    qsort(sorted, answer->address_count, sizeof sorted[0], compare_text);
    out[0] = 0;
    for (size_t i = 0; i < answer->address_count && at < out_bytes; i++)
        at += (size_t)snprintf(out + at, out_bytes - at, "%s%s", i ? " " : "", sorted[i]);
}

void path_list_chain(const struct path_answer *answer, struct buf *out)
{
    for (size_t i = 0; i < answer->chain_count; i++)
        buf_printf(out, "%s%s", i ? " -> " : "", answer->chain[i]);
}

/* What a new answer means to those who used the old one. */
static void note_answer_locked(enum path_role role, const struct path_answer *answer,
                               struct path_event *event)
{
    AUTO(buf_release) struct buf chain = {0};
    bool is_private = answer->class == PATH_PRIVATE;
    for (size_t i = 0; i < path_net()->seen.count; i++) {
        struct seen_entry *entry = path_net()->seen.entries[i];
        char now[sizeof entry->addresses];
        if (entry->seen.role != role ||
            !hosts_same_name(entry->seen.host, answer->chain[0]))
            continue;
        path_list_addresses(answer, now, sizeof now);
        buf_clear(&chain);
        path_list_chain(answer, &chain);
        if (entry->was_private && answer->class == PATH_PUBLIC)
            path_event_set(
                event, PATH_EVENT_PUBLIC, entry,
                "the name had the private address %.100s and now has the public "
                "%.100s (%.200s, asked: %s)",
                entry->addresses, now, buf_text(&chain), answer->from);
        else if (entry->addresses[0] && strcmp(entry->addresses, now) != 0)
            path_event_set(event, PATH_EVENT_CHANGED, entry,
                           "addresses %.120s instead of %.120s (asked: %s)", now,
                           entry->addresses, answer->from);
        entry->was_private = is_private;
        text_copy(entry->addresses, sizeof entry->addresses, now);
    }
}

static void answer_begin(const char *host, const char *from, struct path_answer *ret)
{
    *ret = (struct path_answer){.chain_count = 1, .ttl_s = HOSTS_TTL_S};
    text_copy(ret->chain[0], sizeof ret->chain[0], host);
    text_copy(ret->from, sizeof ret->from, from);
}

/* What needs no asking. */
static bool answer_at_hand(const char *host, struct path_answer *ret)
{
    struct address address;
    if (address_parse(host, &address)) {
        answer_begin(host, "the address itself", ret);
        ret->address_count = 1;
        (void)address_text(&address, ret->addresses[0]);
    } else if (bypass_is_loopback(host)) {
        answer_begin(host, "loopback", ret);
        ret->address_count = 2;
        text_copy(ret->addresses[0], sizeof ret->addresses[0], "127.0.0.1");
        text_copy(ret->addresses[1], sizeof ret->addresses[1], "::1");
    } else {
        return false;
    }
    ret->class = resolve_class(ret);
    return true;
}

/* *ret_found: a file has it. */
static bool answer_of_files(const struct path_rules *rules, enum path_role role,
                            const char *host, struct path_answer *ret, bool *ret_found,
                            struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    struct err ignored = ERR_INIT; /* a system without the file has no entries */
    *ret_found = false;
    answer_begin(host, "hosts entry (for testing)", ret);
    if (rules->hosts_file) {
        if (!file_read(rules->hosts_file, HOSTS_MAX_BYTES, &text, err))
            return err_wrap(err, "hosts_file");
        *ret_found = hosts_find(buf_text(&text), host, ret);
    }
    buf_clear(&text);
    if (!*ret_found && !rules->servers[role] &&
        file_read(SYSTEM_HOSTS, HOSTS_MAX_BYTES, &text, &ignored)) {
        *ret_found = hosts_find(buf_text(&text), host, ret);
        text_copy(ret->from, sizeof ret->from, SYSTEM_HOSTS);
    }
    ret->class = resolve_class(ret);
    return true;
}

static bool answer_cached(enum path_role role, const char *host, bool may_be_stale,
                          struct path_answer *ret)
{
    LOCK_GUARD(&path_net()->lock);
    uint64_t now_ms = clock_mono_ms();
    struct cache_entry *entry = cache_find(&path_net()->cache, role, host, now_ms);
    if (!entry)
        return false;
    bool is_fresh = now_ms < entry->ends_at_ms;
    if (may_be_stale) /* the servers have just failed */
        entry->retry_at_ms = now_ms + CACHE_RETRY_MS;
    bool is_lent = now_ms < entry->retry_at_ms && now_ms < entry->stale_until_ms;
    if (!is_fresh && !is_lent)
        return false;
    *ret = entry->answer;
    return true;
}

static void keep_answer(enum path_role role, const struct path_answer *answer)
{
    struct path_event event = {.is_set = false};
    {
        LOCK_GUARD(&path_net()->lock);
        cache_put(&path_net()->cache, role, answer, clock_mono_ms());
        note_answer_locked(role, answer, &event);
    }
    path_event_tell(&event);
}

bool path_lookup(const struct path_rules *rules, enum path_role role, const char *host,
                 const struct cancel *cancel, struct path_answer *ret, struct err *err)
{
    bool is_found = false;
    struct err why = ERR_INIT;
    struct resolve_options options = {.servers = rules->servers[role],
                                      .is_absolute = role_is_cloud(role),
                                      .cancel = cancel};
    if (answer_at_hand(host, ret) || answer_cached(role, host, false, ret))
        return true;
    if (!answer_of_files(rules, role, host, ret, &is_found, err))
        return false;
    if (is_found || resolve_name(&options, host, ret, &why)) {
        keep_answer(role, ret);
        return true;
    }
    if (why.kind == FAIL_TRANSIENT && answer_cached(role, host, true, ret))
        return true;
    if (why.kind == FAIL_GONE) {
        LOCK_GUARD(&path_net()->lock);
        cache_remove(&path_net()->cache, role, host);
    }
    *err = why;
    return false;
}

bool path_resolve(enum path_role role, const char *host, const struct cancel *cancel,
                  struct path_answer *ret, struct err *err)
{
    AUTO(path_rules_drop) struct path_rules *rules = path_rules_now();
    return path_lookup(rules, role, host, cancel, ret, err);
}
