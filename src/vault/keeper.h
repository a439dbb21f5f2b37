/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vault's housekeeper: one thread that once a second does what only the passing of
 * time asks for (windows, calendar, rows to be written again, retention, orphans, a clock
 * that was set back).
 */
#ifndef VAULT_KEEPER_H
#define VAULT_KEEPER_H

#include "vault/vault_impl.h"

struct keeper;

/* Before any worker runs. */
MUST_CHECK bool keeper_prepare(struct vault *vault, const struct vault_options *options,
                               struct err *err);
MUST_CHECK bool keeper_start(struct vault *vault, struct err *err);
/* Waits for the thread; frees. Fine at any stage of opening. */
void keeper_stop(struct vault *vault);

/* A wall clock that was set back by more than a minute since the last call: times to come
 * move with it, so that nothing waits longer than it was meant to. */
void keeper_clock(struct vault *vault, uint64_t wall_ms, uint64_t mono_ms);

#endif
