/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of name servers, for as long as they say, per role. Bounded: the one not used
 * for the longest time goes. Not locked: its owner does that.
 */
#ifndef NETPATH_CACHE_H
#define NETPATH_CACHE_H

#include "netpath/path.h"

#define CACHE_MAX_ENTRIES 256
#define CACHE_MIN_MS      1000     /* also for a TTL of 0 */
#define CACHE_MAX_MS      3600000  /* a change is noticed at least so often */
#define CACHE_STALE_MS    86400000 /* RFC 8767: at most so long after its end */
#define CACHE_RETRY_MS    5000     /* and the servers are asked again so often */

struct cache_entry {
    enum path_role role;
    uint64_t ends_at_ms, stale_until_ms, retry_at_ms, used_at_ms; /* clock_mono_ms */
    struct path_answer answer; /* chain[0] is the host */
};

struct cache {
    struct cache_entry *entries[CACHE_MAX_ENTRIES]; /* owned */
    size_t count;
};

void cache_clear(struct cache *cache);
/* NULL: never heard of. It may have ended: see ends_at_ms. */
struct cache_entry *cache_find(struct cache *cache, enum path_role role, const char *host,
                               uint64_t now_ms);
void cache_put(struct cache *cache, enum path_role role, const struct path_answer *answer,
               uint64_t now_ms);
void cache_remove(struct cache *cache, enum path_role role, const char *host);

#endif
