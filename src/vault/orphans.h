/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was ours and belongs to no machine or job any more: objects in the stores, hash
 * maps, test machines, replicas, change records at a source that did not answer when
 * replication ended. Looked for at start and every hour.
 */
#ifndef VAULT_ORPHANS_H
#define VAULT_ORPHANS_H

#include "vault/vault_impl.h"

/* Finds and removes; what went wrong is an event. */
void orphans_sweep(struct vault *vault);

#endif
