/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state machine of a replicating machine as data: who reads the tables in
 * state_table.c knows all of it. machine_state.c walks them, state_doc.c draws them
 * (doc/states.md). Constant.
 */
#ifndef VAULT_STATE_TABLE_H
#define VAULT_STATE_TABLE_H

#include "base/buf.h"
#include "vault/machine_state.h"

enum state_guard {
    ALWAYS,
    RECOVERY,
    NO_RECOVERY,
    TESTS,
    NO_TESTS,
    MIGRATED,
    NOT_MIGRATED
};

/* A trigger in a state. Of several rows for the same two the first whose guard holds. */
struct state_move {
    enum machine_state state;
    unsigned trigger; /* operation or enum machine_trigger */
    enum state_guard guard;
    enum machine_action action;
    enum machine_state next;
};

#define MIGRATION_ANY MIGRATION_COUNT
struct migration_move {
    enum migration_state state;
    unsigned trigger;
    enum state_guard guard;
    enum migration_state next;
};

/* Why an operation is not allowed and what would make it possible; the first row that
 * matches. A leading %s is the operation. */
#define ANY_STATE STATE_COUNT
#define ANY_OP    OP_COUNT
struct state_refusal {
    enum machine_state state;
    unsigned operation;
    const char *text;
};

/* What is shown: the first row for the state whose conditions hold. */
enum shown_when { SHOWN_ALWAYS, SHOWN_WAITING, SHOWN_PROGRESS };
struct state_text {
    unsigned state; /* of either kind */
    enum shown_when when;
    const char *name;   /* for programs, stable */
    const char *status; /* for people, in the words of doc/states.md */
    bool has_percent;   /* " (x%)" follows */
};

const struct state_move *state_moves(size_t *ret_count);
const struct migration_move *migration_moves(size_t *ret_count);
const struct state_refusal *state_refusals(size_t *ret_count);
const struct state_text *state_texts(size_t *ret_count);
const struct state_text *migration_texts(size_t *ret_count);

/* For people and for the documentation. */
const char *state_guard_text(enum state_guard guard);      /* "" for ALWAYS */
const char *state_action_text(enum machine_action action); /* "" for none */
const char *state_trigger_text(unsigned trigger); /* "resume", "a cycle was applied" */

/* doc/states.md: both pictures, both tables, statuses, operations and refusals. */
void state_doc_print(struct buf *out);

#endif
