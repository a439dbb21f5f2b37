/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor on behalf of the vault: which endpoints the configuration has, a look at
 * them before a machine is enabled, and one now and then in the background with an event
 * when something breaks or is well again.
 */
#ifndef VAULT_NETWORK_H
#define VAULT_NETWORK_H

#include "vault/vault_impl.h"

struct network;

MUST_CHECK bool network_start(struct vault *vault, const struct vault_options *options,
                              struct err *err);
/* Waits for the thread; frees. Fine at any stage of opening. */
void network_stop(struct vault *vault);

/* Before a machine is enabled to that target: what is wrong on the way to the stores and
 * to the target, as blockers. Bounded; a store that was just looked at is not again. */
void network_preflight(struct vault *vault, const char *target,
                       struct findings *findings);

#endif
