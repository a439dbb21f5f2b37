/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vault without machines behind it: answers with full views that change with time, so
 * that the API, the daemon and the screen of kedge can be tried without any VM.
 */
#ifndef TESTS_FAKE_VAULT_H
#define TESTS_FAKE_VAULT_H

#include "vault/vault.h"

/* Calls so far that came through to the vault. */
uint64_t fake_vault_calls(void);

/* The last options given to an operation, as text; "" for none. */
const char *fake_vault_last_options(void);

/* Adds an event now, which wakes those who wait. */
void fake_vault_event(const char *text);

#endif
