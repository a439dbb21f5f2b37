/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a cycle tells others: its row in the catalog, the events, the numbers that a
 * watcher sees while it runs, and what it means for the machine afterwards (state, last
 * error, when the next one begins). One thread: the cycle's.
 */
#ifndef VAULT_CYCLE_REPORT_H
#define VAULT_CYCLE_REPORT_H

#include "vault/vault_impl.h"

struct cycle_report {
    bool is_open;
    uint64_t number;
    enum cycle_kind kind;
    bool was_initial; /* no recovery point before it */
    uint64_t started_ms;
    uint64_t started_mono_ms; /* the schedule's: no clock that is set changes it */
    uint64_t snapshot_ms;
};

/* What a process that died behind the commit could not write down: the cycle of the
 * recovery point was applied. */
void cycle_report_recovered(struct work *work, const struct replica_state *replica);
/* The plan is known: the cycle is visible from here on. */
void cycle_report_begin(struct cycle_report *report, struct work *work,
                        const struct plan *plan, bool is_resumed);
/* replica: what the applier says now (NULL: could not be asked). failure NULL: applied
 * and, when asked for, equal. */
void cycle_report_end(struct cycle_report *report, struct work *work,
                      enum snapshot_outcome outcome, const struct replica_state *replica,
                      const struct err *failure);
/* A comparison found differences: the replica needs a resync that trusts no map. */
void cycle_report_difference(struct work *work);
/* Nothing runs any more. A failure becomes the machine's last error; again: it will be
 * tried at once, so it is no event of its own. */
void cycle_report_close(struct work *work, const struct err *failure, bool again);

#endif
