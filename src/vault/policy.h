/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator says about when and how fast data may leave: blackout windows and the
 * throttle with its calendar. Kept in the catalog, or read from a file that is watched.
 */
#ifndef VAULT_POLICY_H
#define VAULT_POLICY_H

#include "vault/vault_impl.h"

/* Zone, windows, calendar and throttle at start. A blackout file that cannot be read is
 * an event, not a failure. */
MUST_CHECK bool policy_load(struct vault *vault, const struct vault_options *options,
                            struct err *err);
void policy_release(struct vault *vault);
/* The throttle holds on the connections of the log store themselves: whoever sends
 * through them need not ask it. */
bool policy_is_paced(const struct vault *vault);

/* Once a second: the blackout file when it has changed, the rate that the calendar gives,
 * an event when a blackout begins or ends. */
void policy_tick(struct vault *vault, uint64_t now_ms);

/* Of the windows in force; caller holds lock. */
struct blackout_status policy_blackout_locked(const struct vault *vault, uint64_t now_ms);

/* Whether a migration may begin now; FAIL_CONFLICT with the window and the time at which
 * it would be possible. */
MUST_CHECK bool policy_may_migrate(struct vault *vault, uint64_t now_ms, struct err *err);

#endif
