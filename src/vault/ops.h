/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps that operations are made of. Each is idempotent: a job that was interrupted
 * runs the step that it was in once more.
 */
#ifndef VAULT_OPS_H
#define VAULT_OPS_H

#include "vault/vault_impl.h"

/* ops_cycle.c */
bool step_create_replica(struct work *work, struct err *err);
bool step_cycle(struct work *work, struct err *err);
bool step_on_demand_cycle(struct work *work, struct err *err);
bool step_verify_cycle(struct work *work, struct err *err);
bool step_forget_changes(struct work *work, struct err *err);
bool step_resync_cycle(struct work *work, struct err *err);
bool step_pause(struct work *work, struct err *err);

/* ops_test.c */
bool step_test_start(struct work *work, struct err *err);
bool step_test_cleanup(struct work *work, struct err *err);

/* ops_migrate.c */
bool step_shutdown(struct work *work, struct err *err);
bool step_migrate(struct work *work, struct err *err);
/* The job failed for good: a source machine that it shut down runs again, when it is
 * certain that no machine was made at the target. */
void migrate_undo(struct work *work);

/* ops_cleanup.c */
bool step_target_complete(struct work *work, struct err *err);
bool step_target_remove(struct work *work, struct err *err);
bool step_source_forget(struct work *work, struct err *err);
bool step_cycles_forget(struct work *work, struct err *err);
bool step_leave(struct work *work, struct err *err);

struct test_options test_options_of(const struct work *work, const char *name);

/* Options were checked when the operation was asked for. */
const char *option_text(const struct work *work, const char *key, const char *fallback);
bool option_bool(const struct work *work, const char *key, bool fallback);
uint64_t option_u64(const struct work *work, const char *key, uint64_t fallback);
/* FAIL_INPUT: a key that this operation does not know, or a value of another type. */
MUST_CHECK bool options_check(enum vault_operation operation, const json_t *options,
                              struct err *err);

#endif
