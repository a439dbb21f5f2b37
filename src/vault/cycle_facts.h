/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a source tells of its open snapshot, taken over: where the machine and its disks
 * are now (limits count by it), how each disk is read, what was not as asked for, and
 * whether its change records lied.
 */
#ifndef VAULT_CYCLE_FACTS_H
#define VAULT_CYCLE_FACTS_H

#include "vault/vault_impl.h"

struct cycle_facts {
    char notice[400];   /* the last one that was told */
    uint64_t looked_ms; /* mono */
};

/* After the cycle was opened, by the thread that has the lease: host and datastores into
 * def and the machine, a lie into an event of level error. */
void cycle_facts_begin(struct cycle_facts *facts, struct work *work, struct cycle *cycle,
                       struct machine_def *def);
/* While it runs, by whoever has a moment; looks at most once a second unless is_last. */
void cycle_facts_look(struct cycle_facts *facts, struct work *work,
                      struct snapshot *snapshot, bool is_last);

#endif
