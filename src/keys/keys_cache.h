/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key material that a vault gave us, kept in memory for a bounded time, so that an outage
 * of the vault does not stop running replications. Fresh: used without asking. Stale: the
 * vault is asked again, and what is kept counts only when it does not answer. Any thread.
 *
 * Why these times. What was taken away from us at the vault (access, a disabled version)
 * must take effect soon: 15 min after its last use at the latest. And an outage must be
 * longer than people need to see it and to act: a day. Unwrapping at each use instead
 * would make every cycle of every machine depend on the vault.
 */
#ifndef KEYS_KEYS_CACHE_H
#define KEYS_KEYS_CACHE_H

#include "base/secret.h"

#define KEYS_CACHE_FRESH_MS ((uint64_t)15 * 60 * 1000)
#define KEYS_CACHE_KEEP_MS  ((uint64_t)24 * 60 * 60 * 1000)
#define KEYS_CACHE_MAX      2048 /* then the one that was asked for longest ago goes */

struct keys_cache;
MUST_CHECK struct keys_cache *keys_cache_new(uint64_t fresh_ms, uint64_t keep_ms);
void keys_cache_free(struct keys_cache *cache);

enum keys_cache_age { KEYS_CACHE_NONE, KEYS_CACHE_STALE, KEYS_CACHE_FRESH };

/* *ret_copy: set unless KEYS_CACHE_NONE; the caller frees it. */
enum keys_cache_age keys_cache_get(struct keys_cache *cache, const char *name,
                                   struct secret **ret_copy);
void keys_cache_put(struct keys_cache *cache, const char *name,
                    const struct secret *secret);
/* The vault refused it. */
void keys_cache_drop(struct keys_cache *cache, const char *name);

#endif
