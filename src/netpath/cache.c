/* SPDX-License-Identifier: Apache-2.0 */
/* A short list is searched faster than anything clever: a process knows a few dozen
 * names. */
#include "netpath/cache.h"

#include "netpath/hosts.h"

void cache_clear(struct cache *cache)
{
    while (cache->count)
        free(cache->entries[--cache->count]);
}

static size_t find_at(const struct cache *cache, enum path_role role, const char *host)
{
    size_t i = 0;
    while (i < cache->count &&
           !(cache->entries[i]->role == role &&
             hosts_same_name(cache->entries[i]->answer.chain[0], host)))
        i++;
    return i;
}

struct cache_entry *cache_find(struct cache *cache, enum path_role role, const char *host,
                               uint64_t now_ms)
{
    size_t at = find_at(cache, role, host);
    if (at == cache->count)
        return NULL;
    cache->entries[at]->used_at_ms = now_ms;
    return cache->entries[at];
}

static size_t oldest(const struct cache *cache)
{
    size_t at = 0;
    for (size_t i = 1; i < cache->count; i++)
        if (cache->entries[i]->used_at_ms < cache->entries[at]->used_at_ms)
            at = i;
    return at;
}

void cache_put(struct cache *cache, enum path_role role, const struct path_answer *answer,
               uint64_t now_ms)
{
    size_t at = find_at(cache, role, answer->chain[0]);
    if (at == cache->count) {
        if (cache->count == CACHE_MAX_ENTRIES)
            at = oldest(cache);
        else
            cache->entries[cache->count++] = xcalloc(1, sizeof **cache->entries);
    }
    struct cache_entry *entry = cache->entries[at];
    uint64_t life_ms = (uint64_t)answer->ttl_s * 1000;
    life_ms = MAX_OF(MIN_OF(life_ms, (uint64_t)CACHE_MAX_MS), (uint64_t)CACHE_MIN_MS);
    entry->role = role;
    entry->answer = *answer;
    entry->used_at_ms = now_ms;
    entry->ends_at_ms = now_ms + life_ms;
    entry->stale_until_ms = entry->ends_at_ms + CACHE_STALE_MS;
    entry->retry_at_ms = 0;
}

void cache_remove(struct cache *cache, enum path_role role, const char *host)
{
    size_t at = find_at(cache, role, host);
    if (at == cache->count)
        return;
    free(cache->entries[at]);
    cache->entries[at] = cache->entries[--cache->count];
}
