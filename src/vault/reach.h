/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether log store and state store can be reached: a thread that looks each second,
 * tries while they cannot, and tells events. While they cannot, no cycle starts, and
 * those that run wait instead of using up their attempts.
 */
#ifndef VAULT_REACH_H
#define VAULT_REACH_H

#include "vault/vault_impl.h"

MUST_CHECK bool reach_start(struct vault *vault, struct err *err);
/* A look that is under way ends; waits for the thread. Fine at any stage of opening. */
void reach_stop(struct vault *vault);

/* false: not now, and why. Any lock may be held. */
MUST_CHECK bool reach_is_well(struct vault *vault, struct err *why);

/* For work of the vault's own: as the store, but its calls end when the vault closes. */
struct store *reach_log_store(struct vault *vault);
struct store *reach_state_store(struct vault *vault);
/* The vault closes: what runs on those ends. */
void reach_cancel(struct vault *vault);

/* Looks at once, on behalf of a cycle that has failed: as reach_is_well. No lock. */
MUST_CHECK bool reach_look(struct vault *vault, const struct cancel *cancel,
                           struct err *why);

#endif
