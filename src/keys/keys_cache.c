/* SPDX-License-Identifier: Apache-2.0 */
/* A list: there are as many as machines, and it is walked once for each use of a key. */
#include "keys/keys_cache.h"

#include "base/clock.h"

struct entry {
    struct entry *next;
    char *name;
    struct secret *secret;
    uint64_t got_ms; /* from the vault */
};

struct keys_cache {
    /* Set by keys_cache_new, never changed. */
    uint64_t fresh_ms, keep_ms;
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct entry *entries; /* newest first */
    size_t count;
};

struct keys_cache *keys_cache_new(uint64_t fresh_ms, uint64_t keep_ms)
{
    struct keys_cache *cache = xcalloc(1, sizeof *cache);
    cache->fresh_ms = fresh_ms ? fresh_ms : KEYS_CACHE_FRESH_MS;
    cache->keep_ms = keep_ms ? keep_ms : KEYS_CACHE_KEEP_MS;
    (void)pthread_mutex_init(&cache->lock, NULL); /* default attributes cannot fail */
    return cache;
}

static void remove_at_locked(struct keys_cache *cache, struct entry **at)
{
    struct entry *entry = *at;
    *at = entry->next;
    secret_free(entry->secret);
    free(entry->name);
    free(entry);
    cache->count--;
}

void keys_cache_free(struct keys_cache *cache)
{
    if (!cache)
        return;
    while (cache->entries)
        remove_at_locked(cache, &cache->entries); /* we are the last */
    (void)pthread_mutex_destroy(&cache->lock);
    free(cache);
}

/* Where the entry of that name hangs, or the list's end; what is too old goes on the way.
 */
static struct entry **find_locked(struct keys_cache *cache, const char *name,
                                  uint64_t now_ms)
{
    struct entry **at = &cache->entries;
    while (*at) {
        if (now_ms - (*at)->got_ms >= cache->keep_ms)
            remove_at_locked(cache, at);
        else if (strcmp((*at)->name, name) == 0)
            return at;
        else
            at = &(*at)->next;
    }
    return at;
}

enum keys_cache_age keys_cache_get(struct keys_cache *cache, const char *name,
                                   struct secret **ret_copy)
{
    uint64_t now_ms = clock_mono_ms();
    LOCK_GUARD(&cache->lock);
    const struct entry *entry = *find_locked(cache, name, now_ms);
    if (!entry)
        return KEYS_CACHE_NONE;
    *ret_copy = secret_new(entry->secret->data, entry->secret->bytes);
    return now_ms - entry->got_ms < cache->fresh_ms ? KEYS_CACHE_FRESH : KEYS_CACHE_STALE;
}

void keys_cache_put(struct keys_cache *cache, const char *name,
                    const struct secret *secret)
{
    uint64_t now_ms = clock_mono_ms();
    LOCK_GUARD(&cache->lock);
    struct entry **at = find_locked(cache, name, now_ms);
    if (*at) {
        remove_at_locked(cache, at);
    } else if (cache->count == KEYS_CACHE_MAX) {
        at = &cache->entries;
        while ((*at)->next)
            at = &(*at)->next;
        remove_at_locked(cache, at);
    }
    struct entry *entry = xcalloc(1, sizeof *entry);
    *entry = (struct entry){.next = cache->entries,
                            .name = xstrdup(name),
                            .secret = secret_new(secret->data, secret->bytes),
                            .got_ms = now_ms};
    cache->entries = entry;
    cache->count++;
}

void keys_cache_drop(struct keys_cache *cache, const char *name)
{
    LOCK_GUARD(&cache->lock);
    struct entry **at = find_locked(cache, name, clock_mono_ms());
    if (*at)
        remove_at_locked(cache, at);
}
