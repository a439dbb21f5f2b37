/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state machine of a replicating machine, as tables: `moves` (what leads where),
 * `migration_moves` (the same for test migration and migration), `refusals` (why not, and
 * what to do instead), `meetings` (what may be asked for while a job is active).
 *
 * Invariants:
 *  M1  an operation is allowed exactly when `moves` has a row for (state, operation)
 *      whose guard holds; the list of allowed operations is derived from it;
 *  M2  every refusal has a text: the last row of `refusals` matches everything;
 *  M3  an event without a row changes nothing: a cycle that ends while the machine is
 *      being paused or stopped does not take it out of that state.
 * Must never do: I/O, look at a clock, know about jobs or threads.
 */
#include "vault/machine_state.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

enum guard { ALWAYS, RECOVERY, NO_RECOVERY, TESTS, NO_TESTS, MIGRATED, NOT_MIGRATED };

struct move {
    enum machine_state state;
    unsigned trigger;
    enum guard guard;
    enum machine_state next;
};

/* clang-format off */
static const struct move moves[] = {
    /* in state            when                guard         goes to                 */
    {STATE_QUEUED,         ON_CYCLE_STARTED,   ALWAYS,       STATE_INITIAL},
    {STATE_QUEUED,         ON_CYCLE_FAILED,    ALWAYS,       STATE_INITIAL_FAILED},
    {STATE_QUEUED,         OP_PAUSE,           ALWAYS,       STATE_PAUSING},
    {STATE_QUEUED,         OP_STOP,            ALWAYS,       STATE_STOPPING},

    {STATE_INITIAL,        ON_APPLIED,         ALWAYS,       STATE_DELTA},
    {STATE_INITIAL,        ON_CYCLE_FAILED,    ALWAYS,       STATE_INITIAL_FAILED},
    {STATE_INITIAL,        OP_PAUSE,           ALWAYS,       STATE_PAUSING},
    {STATE_INITIAL,        OP_STOP,            ALWAYS,       STATE_STOPPING},

    {STATE_INITIAL_FAILED, OP_SYNC,            ALWAYS,       STATE_INITIAL},
    {STATE_INITIAL_FAILED, OP_STOP,            ALWAYS,       STATE_STOPPING},

    {STATE_DELTA,          OP_SYNC,            ALWAYS,       STATE_DELTA},
    {STATE_DELTA,          OP_VERIFY,          ALWAYS,       STATE_DELTA},
    {STATE_DELTA,          OP_RESYNC,          ALWAYS,       STATE_RESYNC},
    {STATE_DELTA,          OP_PAUSE,           ALWAYS,       STATE_PAUSING},
    {STATE_DELTA,          OP_STOP,            ALWAYS,       STATE_STOPPING},
    {STATE_DELTA,          OP_TEST_MIGRATE,    RECOVERY,     STATE_DELTA},
    {STATE_DELTA,          OP_TEST_CLEANUP,    TESTS,        STATE_DELTA},
    {STATE_DELTA,          OP_MIGRATE,         NO_TESTS,     STATE_DELTA},
    {STATE_DELTA,          ON_RESYNC_STARTED,  ALWAYS,       STATE_RESYNC},
    {STATE_DELTA,          ON_REPAIR_NEEDED,   ALWAYS,       STATE_REPAIR_PENDING},
    {STATE_DELTA,          ON_MIGRATED,        ALWAYS,       STATE_MIGRATED},
    {STATE_DELTA,          ON_MIGRATED_UNPROVED, ALWAYS,     STATE_MIGRATED},

    {STATE_PAUSING,        ON_DETACHED,        ALWAYS,       STATE_PAUSED},
    {STATE_PAUSING,        OP_STOP,            ALWAYS,       STATE_STOPPING},

    {STATE_PAUSED,         OP_RESUME,          ALWAYS,       STATE_RESUMING},
    {STATE_PAUSED,         OP_STOP,            ALWAYS,       STATE_STOPPING},
    {STATE_PAUSED,         OP_TEST_MIGRATE,    RECOVERY,     STATE_PAUSED},
    {STATE_PAUSED,         OP_TEST_CLEANUP,    TESTS,        STATE_PAUSED},

    {STATE_RESUMING,       ON_APPLIED,         ALWAYS,       STATE_DELTA},
    {STATE_RESUMING,       ON_CYCLE_FAILED,    RECOVERY,     STATE_DELTA},
    {STATE_RESUMING,       ON_CYCLE_FAILED,    NO_RECOVERY,  STATE_INITIAL_FAILED},
    {STATE_RESUMING,       ON_RESYNC_STARTED,  ALWAYS,       STATE_RESYNC},
    {STATE_RESUMING,       ON_REPAIR_NEEDED,   ALWAYS,       STATE_REPAIR_PENDING},
    {STATE_RESUMING,       OP_PAUSE,           ALWAYS,       STATE_PAUSING},
    {STATE_RESUMING,       OP_STOP,            ALWAYS,       STATE_STOPPING},

    {STATE_RESYNC,         ON_APPLIED,         ALWAYS,       STATE_DELTA},
    {STATE_RESYNC,         ON_REPAIR_NEEDED,   ALWAYS,       STATE_REPAIR_PENDING},
    {STATE_RESYNC,         ON_CYCLE_FAILED,    ALWAYS,       STATE_REPAIR_PENDING},
    {STATE_RESYNC,         OP_PAUSE,           ALWAYS,       STATE_PAUSING},
    {STATE_RESYNC,         OP_STOP,            ALWAYS,       STATE_STOPPING},
    {STATE_RESYNC,         OP_TEST_CLEANUP,    TESTS,        STATE_RESYNC},

    {STATE_REPAIR_PENDING, OP_RESYNC,          ALWAYS,       STATE_RESYNC},
    {STATE_REPAIR_PENDING, ON_RESYNC_STARTED,  ALWAYS,       STATE_RESYNC},
    {STATE_REPAIR_PENDING, OP_STOP,            ALWAYS,       STATE_STOPPING},
    {STATE_REPAIR_PENDING, OP_TEST_CLEANUP,    TESTS,        STATE_REPAIR_PENDING},

    {STATE_MIGRATED,       OP_COMPLETE,        ALWAYS,       STATE_COMPLETING},

    {STATE_STOPPING,       ON_REMOVED,         ALWAYS,       STATE_GONE},
    {STATE_STOPPING,       ON_REMOVE_FAILED,   ALWAYS,       STATE_STOP_FAILED},
    {STATE_COMPLETING,     ON_REMOVED,         ALWAYS,       STATE_GONE},
    {STATE_COMPLETING,     ON_REMOVE_FAILED,   ALWAYS,       STATE_STOP_FAILED},
    {STATE_STOP_FAILED,    OP_STOP,            NOT_MIGRATED, STATE_STOPPING},
    {STATE_STOP_FAILED,    OP_COMPLETE,        MIGRATED,     STATE_COMPLETING},
};

struct migration_move {
    enum migration_state state;
    unsigned trigger;
    enum guard guard;
    enum migration_state next;
};

#define M_ANY MIGRATION_COUNT
static const struct migration_move migration_moves[] = {
    {MIGRATION_NONE,    ON_APPLIED,           ALWAYS,   MIGRATION_TEST_PENDING},
    {M_ANY,             OP_TEST_MIGRATE,      ALWAYS,   MIGRATION_TEST_RUNNING},
    {M_ANY,             ON_TESTED,            ALWAYS,   MIGRATION_CLEANUP_PENDING},
    {M_ANY,             ON_TEST_FAILED,       TESTS,    MIGRATION_CLEANUP_PENDING},
    {M_ANY,             ON_TEST_FAILED,       NO_TESTS, MIGRATION_FAILED},
    {M_ANY,             ON_TEST_CLEANED,      TESTS,    MIGRATION_CLEANUP_PENDING},
    {M_ANY,             ON_TEST_CLEANED,      NO_TESTS, MIGRATION_READY},
    {M_ANY,             OP_MIGRATE,           ALWAYS,   MIGRATION_RUNNING},
    {MIGRATION_RUNNING, ON_MIGRATED,          ALWAYS,   MIGRATION_DONE},
    {MIGRATION_RUNNING, ON_MIGRATED_UNPROVED, ALWAYS,   MIGRATION_DONE_WITH_INFO},
    {MIGRATION_RUNNING, ON_MIGRATE_FAILED,    ALWAYS,   MIGRATION_FAILED},
};

/* The first row that matches gives the text; %s is the operation. */
#define ANY_STATE STATE_COUNT
#define ANY_OP    OP_COUNT
static const struct refusal {
    enum machine_state state;
    unsigned operation;
    const char *text;
} refusals[] = {
    {STATE_STOPPING,       ANY_OP,          "replication is being stopped; wait until the machine has left the list"},
    {STATE_COMPLETING,     ANY_OP,          "the migration is being completed; wait until the machine has left the list"},
    {STATE_STOP_FAILED,    OP_STOP,         "the machine was migrated; ask for complete again"},
    {STATE_STOP_FAILED,    OP_COMPLETE,     "the machine was not migrated; ask for stop again"},
    {STATE_STOP_FAILED,    ANY_OP,          "cleaning up failed; see its last error, then ask for the clean-up again"},
    {STATE_MIGRATED,       OP_STOP,         "the machine was migrated; complete ends its replication"},
    {STATE_MIGRATED,       ANY_OP,          "the machine was migrated; only complete is left"},
    {ANY_STATE,            OP_REPLICATE,    "the machine is replicating already; stop it first to start afresh"},
    {ANY_STATE,            OP_COMPLETE,     "complete comes after migrate; migrate the machine, or stop its replication"},
    {STATE_PAUSED,         OP_PAUSE,        "the machine is paused already; resume goes on"},
    {STATE_PAUSING,        OP_PAUSE,        "the machine is being paused already; wait for it"},
    {STATE_PAUSING,        ANY_OP,          "the machine is being paused; wait for it, then resume"},
    {STATE_PAUSED,         OP_TEST_MIGRATE, "test-migrate needs a recovery point; resume and wait until the initial replication is done"},
    {ANY_STATE,            OP_RESUME,       "only a paused machine can be resumed; nothing needs to be done"},
    {STATE_PAUSED,         OP_TEST_CLEANUP, "there is no test machine; nothing needs to be cleaned up"},
    {STATE_PAUSED,         ANY_OP,          "%s needs replication to run; resume it first"},
    {STATE_QUEUED,         ANY_OP,          "%s needs a recovery point; wait until the initial replication is done"},
    {STATE_INITIAL,        ANY_OP,          "%s needs a recovery point; wait until the initial replication is done"},
    {STATE_INITIAL_FAILED, OP_PAUSE,        "nothing runs that could be paused; ask for sync to try the initial replication again"},
    {STATE_INITIAL_FAILED, ANY_OP,          "%s needs a recovery point; see the last error, then ask for sync to try the initial replication again"},
    {ANY_STATE,            OP_TEST_CLEANUP, "there is no test machine; nothing needs to be cleaned up"},
    {STATE_DELTA,          OP_MIGRATE,      "migrate needs the test machines gone; ask for test-cleanup first"},
    {STATE_RESUMING,       ANY_OP,          "%s has to wait for the first cycle after the pause; try again when it is done"},
    {STATE_RESYNC,         ANY_OP,          "%s has to wait for the resync; try again when it is done"},
    {STATE_REPAIR_PENDING, ANY_OP,          "the replica needs a repair; ask for resync first"},
    {STATE_DELTA,          ANY_OP,          "%s needs a recovery point; ask for sync first"},
    {ANY_STATE,            ANY_OP,          "%s is not possible now; wait for the state to change"},
};

static const char *const operation_names[OP_COUNT] = {
    [OP_REPLICATE] = "replicate",       [OP_SYNC] = "sync",
    [OP_PAUSE] = "pause",               [OP_RESUME] = "resume",
    [OP_STOP] = "stop",                 [OP_TEST_MIGRATE] = "test-migrate",
    [OP_TEST_CLEANUP] = "test-cleanup", [OP_MIGRATE] = "migrate",
    [OP_COMPLETE] = "complete",         [OP_VERIFY] = "verify",
    [OP_RESYNC] = "resync",
};

/* name for machines, status for people; has_percent: " (x%)" follows */
static const struct state_text {
    const char *name;
    const char *status;
    bool has_percent;
} state_texts[STATE_COUNT] = {
    [STATE_QUEUED]         = {"initial-replication-queued", "Initial replication queued", false},
    [STATE_INITIAL]        = {"initial-replication", "Initial replication", true},
    [STATE_INITIAL_FAILED] = {"initial-replication-failed", "Initial replication failed", false},
    [STATE_DELTA]          = {"delta-sync", "Delta sync", false},
    [STATE_PAUSING]        = {"pause-in-progress", "Pause in progress", false},
    [STATE_PAUSED]         = {"paused", "Paused", false},
    [STATE_RESUMING]       = {"resume-in-progress", "Resume in progress", true},
    [STATE_RESYNC]         = {"resync", "Resync", true},
    [STATE_REPAIR_PENDING] = {"repair-pending", "Repair pending", false},
    [STATE_MIGRATED]       = {"migrated", "–", false},
    [STATE_STOPPING]       = {"stop-in-progress", "Stop replication in progress", false},
    [STATE_COMPLETING]     = {"complete-in-progress", "Complete migration in progress", false},
    [STATE_STOP_FAILED]    = {"stop-failed", "Stop replication/complete migration failed", false},
    [STATE_GONE]           = {"gone", "–", false},
};

static const struct state_text migration_texts[MIGRATION_COUNT] = {
    [MIGRATION_NONE]            = {"none", "–", false},
    [MIGRATION_TEST_PENDING]    = {"test-pending", "Test migration pending", false},
    [MIGRATION_TEST_RUNNING]    = {"test-in-progress", "Test migration in progress", false},
    [MIGRATION_CLEANUP_PENDING] = {"test-cleanup-pending", "Test migration clean up pending", false},
    [MIGRATION_READY]           = {"ready", "Ready to migrate", false},
    [MIGRATION_RUNNING]         = {"migration-in-progress", "Migration in progress", false},
    [MIGRATION_DONE]            = {"migrated", "", false},
    [MIGRATION_DONE_WITH_INFO]  = {"completed-with-info", "Completed with info", false},
    [MIGRATION_FAILED]          = {"failed", "Failed", false},
};

/* Operations whose jobs are nothing but cycles. */
#define CYCLES  (1u << OP_REPLICATE | 1u << OP_SYNC | 1u << OP_VERIFY |  \
                 1u << OP_RESYNC | 1u << OP_RESUME)
#define TESTING (1u << OP_TEST_MIGRATE | 1u << OP_TEST_CLEANUP)

static const struct meeting {
    unsigned active; /* bits of operations */
    unsigned asked;
    enum machine_meeting what;
} meetings[] = {
    {CYCLES,             1u << OP_PAUSE | 1u << OP_STOP,                MEET_INTERRUPT},
    {CYCLES,             TESTING | 1u << OP_MIGRATE,                    MEET_QUEUE},
    {1u << OP_SYNC,      1u << OP_VERIFY | 1u << OP_RESYNC,             MEET_QUEUE},
    {1u << OP_VERIFY,    1u << OP_SYNC | 1u << OP_RESYNC,               MEET_QUEUE},
    {TESTING,            TESTING | 1u << OP_SYNC | 1u << OP_VERIFY | 1u << OP_RESYNC |
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
    return state_texts[state].name;
}

bool machine_state_from_name(const char *name, enum machine_state *ret)
{
    for (unsigned i = 0; i < STATE_COUNT; i++) {
        if (strcmp(name, state_texts[i].name) == 0) {
            *ret = (enum machine_state)i;
            return true;
        }
    }
    return false;
}

const char *migration_state_name(enum migration_state state)
{
    return migration_texts[state].name;
}

bool migration_state_from_name(const char *name, enum migration_state *ret)
{
    for (unsigned i = 0; i < MIGRATION_COUNT; i++) {
        if (strcmp(name, migration_texts[i].name) == 0) {
            *ret = (enum migration_state)i;
            return true;
        }
    }
    return false;
}

const char *machine_status(const struct machine_facts *facts,
                           char out[STATE_STATUS_BYTES])
{
    const struct state_text *text = &state_texts[facts->state];
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
    text_copy(out, STATE_STATUS_BYTES, migration_texts[facts->migration].status);
    return out;
}

static bool guard_holds(enum guard guard, const struct machine_facts *facts)
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

static const struct move *move_find(const struct machine_facts *facts, unsigned trigger)
{
    for (size_t i = 0; i < ARRAY_COUNT(moves); i++) {
        if (moves[i].state == facts->state && moves[i].trigger == trigger &&
            guard_holds(moves[i].guard, facts))
            return &moves[i];
    }
    return NULL;
}

void machine_move(struct machine_facts *facts, unsigned trigger)
{
    const struct move *move = move_find(facts, trigger);
    if (move)
        facts->state = move->next;
    for (size_t i = 0; i < ARRAY_COUNT(migration_moves); i++) {
        const struct migration_move *m = &migration_moves[i];
        if ((m->state == facts->migration || m->state == M_ANY) &&
            m->trigger == trigger && guard_holds(m->guard, facts)) {
            facts->migration = m->next;
            return;
        }
    }
}

bool machine_allows(const struct machine_facts *facts, enum vault_operation operation,
                    struct err *err)
{
    if (move_find(facts, operation))
        return true;
    char status[STATE_STATUS_BYTES];
    const char *text = "";
    for (size_t i = 0; i < ARRAY_COUNT(refusals); i++) {
        const struct refusal *r = &refusals[i];
        if ((r->state == facts->state || r->state == ANY_STATE) &&
            (r->operation == operation || r->operation == ANY_OP)) {
            text = r->text;
            break;
        }
    }
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
