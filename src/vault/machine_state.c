/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the tables of state_table.c: what is allowed, what follows, what is shown, what a
 * refusal says. `meetings` says what may be asked for while a job is active.
 *
 * Names stored in the catalog (machine_state_name) say what the machine is; names shown
 * (machine_status_name) also say that it waits for its turn.
 * Must never do: I/O, look at a clock, know about jobs or threads.
 */
#include "vault/state_table.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

/* clang-format off */
static const char *const operation_names[OP_COUNT] = {
    [OP_REPLICATE] = "replicate",       [OP_SYNC] = "sync",
    [OP_PAUSE] = "pause",               [OP_RESUME] = "resume",
    [OP_STOP] = "stop",                 [OP_TEST_MIGRATE] = "test-migrate",
    [OP_TEST_CLEANUP] = "test-cleanup", [OP_MIGRATE] = "migrate",
    [OP_COMPLETE] = "complete",         [OP_VERIFY] = "verify",
    [OP_RESYNC] = "resync",             [OP_REPAIR] = "repair",
};

/* As stored: never change one. */
static const char *const state_names[STATE_COUNT] = {
    [STATE_QUEUED]         = "initial-replication-queued",
    [STATE_INITIAL]        = "initial-replication",
    [STATE_INITIAL_FAILED] = "initial-replication-failed",
    [STATE_DELTA]          = "delta-sync",
    [STATE_PAUSING]        = "pause-in-progress",
    [STATE_PAUSED]         = "paused",
    [STATE_RESUMING]       = "resume-in-progress",
    [STATE_RESYNC]         = "resync",
    [STATE_REPAIR_PENDING] = "repair-pending",
    [STATE_MIGRATED]       = "migrated",
    [STATE_STOPPING]       = "stop-in-progress",
    [STATE_COMPLETING]     = "complete-in-progress",
    [STATE_STOP_FAILED]    = "stop-failed",
    [STATE_GONE]           = "gone",
};

static const char *const migration_names[MIGRATION_COUNT] = {
    [MIGRATION_NONE]            = "none",
    [MIGRATION_TEST_PENDING]    = "test-pending",
    [MIGRATION_TEST_RUNNING]    = "test-in-progress",
    [MIGRATION_CLEANUP_PENDING] = "test-cleanup-pending",
    [MIGRATION_READY]           = "ready",
    [MIGRATION_RUNNING]         = "migration-in-progress",
    [MIGRATION_DONE]            = "migrated",
    [MIGRATION_DONE_WITH_INFO]  = "completed-with-info",
    [MIGRATION_FAILED]          = "failed",
};

/* Operations whose jobs are nothing but cycles. */
#define RESYNCS (1u << OP_RESYNC | 1u << OP_REPAIR)
#define CYCLES  (1u << OP_REPLICATE | 1u << OP_SYNC | 1u << OP_VERIFY | \
                 1u << OP_RESUME | RESYNCS)
#define TESTING (1u << OP_TEST_MIGRATE | 1u << OP_TEST_CLEANUP)

static const struct meeting {
    unsigned active; /* bits of operations */
    unsigned asked;
    enum machine_meeting what;
} meetings[] = {
    {CYCLES,             1u << OP_PAUSE | 1u << OP_STOP,                MEET_INTERRUPT},
    {CYCLES,             TESTING | 1u << OP_MIGRATE,                    MEET_QUEUE},
    {1u << OP_SYNC,      1u << OP_VERIFY | RESYNCS,                     MEET_QUEUE},
    {1u << OP_VERIFY,    1u << OP_SYNC | RESYNCS,                       MEET_QUEUE},
    {TESTING,            TESTING | 1u << OP_SYNC | 1u << OP_VERIFY | RESYNCS |
                         1u << OP_PAUSE | 1u << OP_RESUME,              MEET_QUEUE},
    {1u << OP_PAUSE,     1u << OP_STOP,                                 MEET_QUEUE},
};
/* clang-format on */

const char *operation_name(unsigned operation)
{
    return operation < OP_COUNT ? operation_names[operation] : "";
}

const char *vault_operation_name(enum vault_operation operation)
{
    return operation_name(operation);
}

bool vault_operation_from_name(const char *name, enum vault_operation *ret)
{
    for (unsigned i = 0; i < OP_COUNT; i++) {
        if (strcmp(name, operation_names[i]) == 0) {
            *ret = (enum vault_operation)i;
            return true;
        }
    }
    return false;
}

const char *machine_state_name(enum machine_state state)
{
    return state_names[state];
}

bool machine_state_from_name(const char *name, enum machine_state *ret)
{
    for (unsigned i = 0; i < STATE_COUNT; i++) {
        if (strcmp(name, state_names[i]) == 0) {
            *ret = (enum machine_state)i;
            return true;
        }
    }
    return false;
}

const char *migration_state_name(enum migration_state state)
{
    return migration_names[state];
}

bool migration_state_from_name(const char *name, enum migration_state *ret)
{
    for (unsigned i = 0; i < MIGRATION_COUNT; i++) {
        if (strcmp(name, migration_names[i]) == 0) {
            *ret = (enum migration_state)i;
            return true;
        }
    }
    return false;
}

/* ---- what is shown ---- */

/* The last row of a state needs no condition (M4). */
static const struct state_text *text_of(const struct state_text *texts, size_t count,
                                        unsigned state, const struct machine_facts *facts)
{
    const struct state_text *found = NULL;
    for (size_t i = 0; i < count && !found; i++) {
        const struct state_text *text = &texts[i];
        bool holds = text->when == SHOWN_ALWAYS ||
                     (text->when == SHOWN_WAITING && facts->is_waiting) ||
                     (text->when == SHOWN_PROGRESS && facts->percent > 0);
        if (text->state == state && holds)
            found = text;
    }
    return found;
}

static const struct state_text *replication_text(const struct machine_facts *facts)
{
    size_t count;
    const struct state_text *texts = state_texts(&count);
    return text_of(texts, count, facts->state, facts);
}

static const struct state_text *migration_text(const struct machine_facts *facts)
{
    size_t count;
    const struct state_text *texts = migration_texts(&count);
    return text_of(texts, count, facts->migration, facts);
}

const char *machine_status_name(const struct machine_facts *facts)
{
    return replication_text(facts)->name;
}

const char *migration_status_name(const struct machine_facts *facts)
{
    return migration_text(facts)->name;
}

const char *machine_status(const struct machine_facts *facts,
                           char out[STATE_STATUS_BYTES])
{
    const struct state_text *text = replication_text(facts);
    if (text->has_percent)
        (void)snprintf(out, STATE_STATUS_BYTES, "%s (%u%%)", text->status,
                       facts->percent);
    else
        text_copy(out, STATE_STATUS_BYTES, text->status);
    return out;
}

const char *migration_status(const struct machine_facts *facts,
                             char out[STATE_STATUS_BYTES])
{
    if (facts->migration == MIGRATION_DONE)
        return clock_wall_text(facts->migrated_ms, out);
    text_copy(out, STATE_STATUS_BYTES, migration_text(facts)->status);
    return out;
}

/* ---- what is allowed, and what follows ---- */

static bool guard_holds(enum state_guard guard, const struct machine_facts *facts)
{
    switch (guard) {
    case ALWAYS:
        return true;
    case RECOVERY:
        return facts->has_recovery_point;
    case NO_RECOVERY:
        return !facts->has_recovery_point;
    case TESTS:
        return facts->test_count > 0;
    case NO_TESTS:
        return facts->test_count == 0;
    case MIGRATED:
        return facts->has_migrated;
    case NOT_MIGRATED:
        return !facts->has_migrated;
    }
    return false;
}

static const struct state_move *move_find(const struct machine_facts *facts,
                                          unsigned trigger)
{
    size_t count;
    const struct state_move *moves = state_moves(&count);
    for (size_t i = 0; i < count; i++) {
        if (moves[i].state == facts->state && moves[i].trigger == trigger &&
            guard_holds(moves[i].guard, facts))
            return &moves[i];
    }
    return NULL;
}

enum machine_action machine_action(const struct machine_facts *facts, unsigned trigger)
{
    const struct state_move *move = move_find(facts, trigger);
    return move ? move->action : ACT_NONE;
}

void machine_move(struct machine_facts *facts, unsigned trigger)
{
    size_t count;
    const struct state_move *move = move_find(facts, trigger);
    const struct migration_move *migrations = migration_moves(&count);
    if (move)
        facts->state = move->next;
    for (size_t i = 0; i < count; i++) {
        const struct migration_move *m = &migrations[i];
        if ((m->state == facts->migration || m->state == MIGRATION_ANY) &&
            m->trigger == trigger && guard_holds(m->guard, facts)) {
            facts->migration = m->next;
            return;
        }
    }
}

static const char *refusal_of(const struct machine_facts *facts, unsigned operation)
{
    size_t count, at = 0;
    const struct state_refusal *refusals = state_refusals(&count);
    while (at + 1 < count && /* the last row matches everything (M2) */
           !((refusals[at].state == facts->state || refusals[at].state == ANY_STATE) &&
             (refusals[at].operation == operation || refusals[at].operation == ANY_OP)))
        at++;
    return refusals[at].text;
}

bool machine_allows(const struct machine_facts *facts, enum vault_operation operation,
                    struct err *err)
{
    if (move_find(facts, operation))
        return true;
    char status[STATE_STATUS_BYTES];
    const char *text = refusal_of(facts, operation);
    /* The only directive in these texts is one leading %s for the operation. */
    bool names_operation = text_starts_with(text, "%s");
    return err_set(err, FAIL_CONFLICT, "machine '%s' is in state '%s'; %s%s", facts->name,
                   machine_status(facts, status),
                   names_operation ? operation_names[operation] : "",
                   names_operation ? text + 2 : text);
}

enum machine_meeting machine_meeting(enum vault_operation active,
                                     enum vault_operation asked)
{
    for (size_t i = 0; i < ARRAY_COUNT(meetings); i++) {
        if ((meetings[i].active >> active & 1u) && (meetings[i].asked >> asked & 1u))
            return meetings[i].what;
    }
    return MEET_REFUSE;
}
