/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the vault's workers do next: the machines and jobs of the vault as items of two
 * admissions, one for what moves data, one without limits for everything else. Every
 * function: caller holds the vault's lock.
 */
#ifndef VAULT_DISPATCH_H
#define VAULT_DISPATCH_H

#include "vault/vault_impl.h"

#define DISPATCH_LOCAL "local" /* the gateway inside this process */

/* Before any worker runs. */
void dispatch_open(struct vault *vault, const struct vault_options *options,
                   uint32_t job_threads, uint64_t now_ms);
/* When no worker runs any more, before the machines are freed. */
void dispatch_close(struct vault *vault);

/* Something that counts for its next work has changed: states, jobs, due times, who holds
 * the lease, the definition. */
void dispatch_touch_locked(struct vault *vault, struct machine *machine);

/* The machine is about to be freed. */
void dispatch_forget_locked(struct machine *machine);

struct dispatch_choice {
    struct machine *machine;
    struct job *job; /* NULL: a scheduled cycle */
    struct admission *lane;
    struct admission_item *item;
};

/* What to work on now; the caller says dispatch_done_locked when that is over. false:
 * nothing before *ret_wait_ms have passed, unless something changes. */
MUST_CHECK bool dispatch_pick_locked(struct vault *vault, bool cycles, uint64_t now_ms,
                                     struct dispatch_choice *ret, uint64_t *ret_wait_ms);
void dispatch_done_locked(struct vault *vault, const struct dispatch_choice *choice);

/* Its next cycle is due and does not run. */
bool dispatch_is_waiting_locked(const struct machine *machine, uint64_t now_ms);

/* To be called before asking why: puts everybody where he waits, and takes note of when
 * running cycles will probably be over. */
void dispatch_expect_locked(struct vault *vault, uint64_t now_ms);

/* Why; null when it does not wait. The caller drops it. */
MUST_CHECK json_t *dispatch_waiting_view_locked(struct vault *vault,
                                                const struct machine *machine,
                                                uint64_t now_ms);

/* FAIL_LIMIT: one machine more is too many for this gateway, or in all. */
MUST_CHECK bool dispatch_has_room_locked(const struct vault *vault, const char *gateway,
                                         struct err *err);

#endif
