/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sealed objects of a cycle in their stores, under the names of block/names.h: what
 * gateway and applier tell each other. Any thread.
 */
#ifndef STORE_CYCLE_STORE_H
#define STORE_CYCLE_STORE_H

#include "block/names.h"
#include "store/store.h"

/* A store as one machine's owner sees it. */
struct cycle_store {
    struct store *store;
    const struct secret *data_key;
    const struct id *machine;
};

/* Puts are durable replacements; gets of what is not there are FAIL_GONE, of what is
 * damaged or of another name FAIL_CORRUPT. */
MUST_CHECK bool cycle_store_put_plan(const struct cycle_store *cs,
                                     const struct plan *plan, struct err *err);
MUST_CHECK bool cycle_store_get_plan(const struct cycle_store *cs, uint64_t cycle,
                                     struct plan *ret, struct err *err);
MUST_CHECK bool cycle_store_put_manifest(const struct cycle_store *cs,
                                         const struct manifest *manifest,
                                         struct err *err);
MUST_CHECK bool cycle_store_get_manifest(const struct cycle_store *cs, uint64_t cycle,
                                         struct manifest *ret, struct err *err);
/* Calls each() with every journal entry of that cycle, in no order; it may change the
 * entry, and ends the walk by false. */
MUST_CHECK bool cycle_store_each_journal(const struct cycle_store *cs, uint64_t cycle,
                                         bool (*each)(void *ctx,
                                                      struct journal_entry *entry,
                                                      struct err *err),
                                         void *ctx, struct err *err);
MUST_CHECK bool cycle_store_put_replica(const struct cycle_store *cs,
                                        const struct replica_state *state,
                                        struct err *err);
/* None yet: all zero but the machine. */
MUST_CHECK bool cycle_store_get_replica(const struct cycle_store *cs,
                                        struct replica_state *ret, struct err *err);

#endif
