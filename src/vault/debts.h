/* SPDX-License-Identifier: Apache-2.0 */
/* Change records that are still to be removed at sources that did not answer. */
#ifndef VAULT_DEBTS_H
#define VAULT_DEBTS_H

#include "vault/vault_impl.h"

/* Durable before the machine leaves the list. */
MUST_CHECK bool debt_add(struct vault *vault, struct machine *machine, struct err *err);

/* Removes what can be removed now. */
void debts_pay(struct vault *vault);

/* Appends what is owed to a list of orphans. */
void debts_view(struct vault *vault, json_t *list);

#endif
