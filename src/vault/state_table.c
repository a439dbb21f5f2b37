/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of the state machine: `moves` (what leads where in the replication),
 * `migrations` (the same for test migration and migration), `refusals` (why not, and what
 * to do instead), `texts` (what is shown). Statuses for people are worded as in the
 * product whose users come here.
 *
 * Invariants:
 *  M1  an operation is allowed exactly when `moves` has a row for (state, operation)
 *      whose guard holds; the list of allowed operations is derived from it;
 *  M2  every refusal has a text: the last row of `refusals` matches everything;
 *  M3  an event without a row changes nothing: a cycle that ends while the machine is
 *      being paused or stopped does not take it out of that state;
 *  M4  each state has a row in its texts that needs no condition.
 */
#include "vault/state_table.h"

/* clang-format off */
static const struct state_move moves[] = {
    /* in state              when                  if            then        goes to */
    {STATE_QUEUED,         ON_CYCLE_STARTED,     ALWAYS,       ACT_NONE,   STATE_INITIAL},
    {STATE_QUEUED,         ON_CYCLE_FAILED,      ALWAYS,       ACT_NONE,   STATE_INITIAL_FAILED},
    {STATE_QUEUED,         OP_PAUSE,             ALWAYS,       ACT_DETACH, STATE_PAUSING},
    {STATE_QUEUED,         OP_STOP,              ALWAYS,       ACT_END,    STATE_STOPPING},

    {STATE_INITIAL,        ON_APPLIED,           ALWAYS,       ACT_NONE,   STATE_DELTA},
    {STATE_INITIAL,        ON_CYCLE_FAILED,      ALWAYS,       ACT_NONE,   STATE_INITIAL_FAILED},
    {STATE_INITIAL,        OP_PAUSE,             ALWAYS,       ACT_DETACH, STATE_PAUSING},
    {STATE_INITIAL,        OP_STOP,              ALWAYS,       ACT_END,    STATE_STOPPING},

    {STATE_INITIAL_FAILED, OP_SYNC,              ALWAYS,       ACT_JOB,    STATE_INITIAL},
    {STATE_INITIAL_FAILED, OP_STOP,              ALWAYS,       ACT_END,    STATE_STOPPING},

    {STATE_DELTA,          OP_SYNC,              ALWAYS,       ACT_JOB,    STATE_DELTA},
    {STATE_DELTA,          OP_VERIFY,            ALWAYS,       ACT_JOB,    STATE_DELTA},
    {STATE_DELTA,          OP_RESYNC,            ALWAYS,       ACT_JOB,    STATE_RESYNC},
    {STATE_DELTA,          OP_PAUSE,             ALWAYS,       ACT_DETACH, STATE_PAUSING},
    {STATE_DELTA,          OP_STOP,              ALWAYS,       ACT_FINISH, STATE_STOPPING},
    {STATE_DELTA,          OP_TEST_MIGRATE,      RECOVERY,     ACT_JOB,    STATE_DELTA},
    {STATE_DELTA,          OP_TEST_CLEANUP,      TESTS,        ACT_JOB,    STATE_DELTA},
    {STATE_DELTA,          OP_MIGRATE,           NO_TESTS,     ACT_JOB,    STATE_DELTA},
    {STATE_DELTA,          ON_RESYNC_STARTED,    ALWAYS,       ACT_NONE,   STATE_RESYNC},
    {STATE_DELTA,          ON_REPAIR_NEEDED,     ALWAYS,       ACT_NONE,   STATE_REPAIR_PENDING},
    {STATE_DELTA,          ON_MIGRATED,          ALWAYS,       ACT_NONE,   STATE_MIGRATED},
    {STATE_DELTA,          ON_MIGRATED_UNPROVED, ALWAYS,       ACT_NONE,   STATE_MIGRATED},

    {STATE_PAUSING,        ON_DETACHED,          ALWAYS,       ACT_NONE,   STATE_PAUSED},
    {STATE_PAUSING,        OP_STOP,              ALWAYS,       ACT_END,    STATE_STOPPING},

    {STATE_PAUSED,         OP_RESUME,            ALWAYS,       ACT_JOB,    STATE_RESUMING},
    {STATE_PAUSED,         OP_STOP,              ALWAYS,       ACT_END,    STATE_STOPPING},
    {STATE_PAUSED,         OP_TEST_MIGRATE,      RECOVERY,     ACT_JOB,    STATE_PAUSED},
    {STATE_PAUSED,         OP_TEST_CLEANUP,      TESTS,        ACT_JOB,    STATE_PAUSED},

    {STATE_RESUMING,       ON_APPLIED,           ALWAYS,       ACT_NONE,   STATE_DELTA},
    {STATE_RESUMING,       ON_CYCLE_FAILED,      RECOVERY,     ACT_NONE,   STATE_DELTA},
    {STATE_RESUMING,       ON_CYCLE_FAILED,      NO_RECOVERY,  ACT_NONE,   STATE_INITIAL_FAILED},
    {STATE_RESUMING,       ON_RESYNC_STARTED,    ALWAYS,       ACT_NONE,   STATE_RESYNC},
    {STATE_RESUMING,       ON_REPAIR_NEEDED,     ALWAYS,       ACT_NONE,   STATE_REPAIR_PENDING},
    {STATE_RESUMING,       OP_PAUSE,             ALWAYS,       ACT_DETACH, STATE_PAUSING},
    {STATE_RESUMING,       OP_STOP,              ALWAYS,       ACT_END,    STATE_STOPPING},

    {STATE_RESYNC,         ON_APPLIED,           ALWAYS,       ACT_NONE,   STATE_DELTA},
    {STATE_RESYNC,         ON_REPAIR_NEEDED,     ALWAYS,       ACT_NONE,   STATE_REPAIR_PENDING},
    {STATE_RESYNC,         ON_CYCLE_FAILED,      ALWAYS,       ACT_NONE,   STATE_REPAIR_PENDING},
    {STATE_RESYNC,         OP_PAUSE,             ALWAYS,       ACT_DETACH, STATE_PAUSING},
    {STATE_RESYNC,         OP_STOP,              ALWAYS,       ACT_END,    STATE_STOPPING},
    {STATE_RESYNC,         OP_TEST_CLEANUP,      TESTS,        ACT_JOB,    STATE_RESYNC},

    {STATE_REPAIR_PENDING, OP_RESYNC,            ALWAYS,       ACT_JOB,    STATE_RESYNC},
    {STATE_REPAIR_PENDING, OP_REPAIR,            ALWAYS,       ACT_JOB,    STATE_RESYNC},
    {STATE_REPAIR_PENDING, ON_RESYNC_STARTED,    ALWAYS,       ACT_NONE,   STATE_RESYNC},
    {STATE_REPAIR_PENDING, OP_STOP,              ALWAYS,       ACT_END,    STATE_STOPPING},
    {STATE_REPAIR_PENDING, OP_TEST_CLEANUP,      TESTS,        ACT_JOB,    STATE_REPAIR_PENDING},

    {STATE_MIGRATED,       OP_COMPLETE,          ALWAYS,       ACT_JOB,    STATE_COMPLETING},

    {STATE_STOPPING,       ON_REMOVED,           ALWAYS,       ACT_NONE,   STATE_GONE},
    {STATE_STOPPING,       ON_REMOVE_FAILED,     ALWAYS,       ACT_NONE,   STATE_STOP_FAILED},
    {STATE_COMPLETING,     ON_REMOVED,           ALWAYS,       ACT_NONE,   STATE_GONE},
    {STATE_COMPLETING,     ON_REMOVE_FAILED,     ALWAYS,       ACT_NONE,   STATE_STOP_FAILED},
    {STATE_STOP_FAILED,    OP_STOP,              NOT_MIGRATED, ACT_END,    STATE_STOPPING},
    {STATE_STOP_FAILED,    OP_COMPLETE,          MIGRATED,     ACT_JOB,    STATE_COMPLETING},
};

static const struct migration_move migrations[] = {
    {MIGRATION_NONE,     ON_APPLIED,           ALWAYS,   MIGRATION_TEST_PENDING},
    {MIGRATION_ANY,      OP_TEST_MIGRATE,      ALWAYS,   MIGRATION_TEST_RUNNING},
    {MIGRATION_ANY,      ON_TESTED,            ALWAYS,   MIGRATION_CLEANUP_PENDING},
    {MIGRATION_ANY,      ON_TEST_FAILED,       TESTS,    MIGRATION_CLEANUP_PENDING},
    {MIGRATION_ANY,      ON_TEST_FAILED,       NO_TESTS, MIGRATION_FAILED},
    {MIGRATION_ANY,      ON_TEST_CLEANED,      TESTS,    MIGRATION_CLEANUP_PENDING},
    {MIGRATION_ANY,      ON_TEST_CLEANED,      NO_TESTS, MIGRATION_READY},
    {MIGRATION_ANY,      OP_MIGRATE,           ALWAYS,   MIGRATION_RUNNING},
    {MIGRATION_RUNNING,  ON_MIGRATED,          ALWAYS,   MIGRATION_DONE},
    {MIGRATION_RUNNING,  ON_MIGRATED_UNPROVED, ALWAYS,   MIGRATION_DONE_WITH_INFO},
    {MIGRATION_RUNNING,  ON_MIGRATE_FAILED,    ALWAYS,   MIGRATION_FAILED},
};

static const struct state_refusal refusals[] = {
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
    {ANY_STATE,            OP_REPAIR,       "the replica needs no repair; ask for resync to compare the whole disks all the same"},
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
    {STATE_REPAIR_PENDING, ANY_OP,          "the replica needs a repair; ask for repair first"},
    {STATE_DELTA,          ANY_OP,          "%s needs a recovery point; ask for sync first"},
    {ANY_STATE,            ANY_OP,          "%s is not possible now; wait for the state to change"},
};

static const struct state_text texts[] = {
    {STATE_QUEUED,         SHOWN_WAITING,  "initial-replication-queued", "Initial replication queued", false},
    {STATE_QUEUED,         SHOWN_ALWAYS,   "initial-replication-in-progress", "Initial replication in progress", false},
    {STATE_INITIAL,        SHOWN_WAITING,  "initial-replication-queued", "Initial replication queued", false},
    {STATE_INITIAL,        SHOWN_PROGRESS, "initial-replication", "Initial replication", true},
    {STATE_INITIAL,        SHOWN_ALWAYS,   "initial-replication", "Initial replication", false},
    {STATE_INITIAL_FAILED, SHOWN_ALWAYS,   "initial-replication-failed", "Initial replication failed", false},
    {STATE_DELTA,          SHOWN_ALWAYS,   "delta-sync", "Delta sync", false},
    {STATE_PAUSING,        SHOWN_ALWAYS,   "pause-in-progress", "Pause in progress", false},
    {STATE_PAUSED,         SHOWN_ALWAYS,   "paused", "Paused", false},
    {STATE_RESUMING,       SHOWN_WAITING,  "resume-queued", "Resume queued", false},
    {STATE_RESUMING,       SHOWN_ALWAYS,   "resume-in-progress", "Resume in progress", true},
    {STATE_RESYNC,         SHOWN_WAITING,  "repair-replication-queued", "Repair replication queued", false},
    {STATE_RESYNC,         SHOWN_ALWAYS,   "resync", "Resync", true},
    {STATE_REPAIR_PENDING, SHOWN_ALWAYS,   "repair-pending", "Repair pending", false},
    {STATE_MIGRATED,       SHOWN_ALWAYS,   "migrated", "–", false},
    {STATE_STOPPING,       SHOWN_ALWAYS,   "stop-in-progress", "Stop replication in progress", false},
    {STATE_COMPLETING,     SHOWN_ALWAYS,   "complete-in-progress", "Complete migration in progress", false},
    {STATE_STOP_FAILED,    SHOWN_ALWAYS,   "stop-failed", "Stop replication/complete migration failed", false},
    {STATE_GONE,           SHOWN_ALWAYS,   "gone", "–", false},
};

/* "migrated" is shown as the date and time at which it happened. */
static const struct state_text migration_rows[] = {
    {MIGRATION_NONE,            SHOWN_ALWAYS,  "none", "–", false},
    {MIGRATION_TEST_PENDING,    SHOWN_ALWAYS,  "test-pending", "Test migration pending", false},
    {MIGRATION_TEST_RUNNING,    SHOWN_ALWAYS,  "test-in-progress", "Test migration in progress", false},
    {MIGRATION_CLEANUP_PENDING, SHOWN_ALWAYS,  "test-cleanup-pending", "Test migration clean up pending", false},
    {MIGRATION_READY,           SHOWN_ALWAYS,  "ready", "Ready to migrate", false},
    {MIGRATION_RUNNING,         SHOWN_WAITING, "migration-queued", "Migration in progress queued", false},
    {MIGRATION_RUNNING,         SHOWN_ALWAYS,  "migration-in-progress", "Migration in progress", false},
    {MIGRATION_DONE,            SHOWN_ALWAYS,  "migrated", "", false},
    {MIGRATION_DONE_WITH_INFO,  SHOWN_ALWAYS,  "completed-with-info", "Completed with info", false},
    {MIGRATION_FAILED,          SHOWN_ALWAYS,  "failed", "Failed", false},
};
/* clang-format on */

const struct state_move *state_moves(size_t *ret_count)
{
    *ret_count = ARRAY_COUNT(moves);
    return moves;
}

const struct migration_move *migration_moves(size_t *ret_count)
{
    *ret_count = ARRAY_COUNT(migrations);
    return migrations;
}

const struct state_refusal *state_refusals(size_t *ret_count)
{
    *ret_count = ARRAY_COUNT(refusals);
    return refusals;
}

const struct state_text *state_texts(size_t *ret_count)
{
    *ret_count = ARRAY_COUNT(texts);
    return texts;
}

const struct state_text *migration_texts(size_t *ret_count)
{
    *ret_count = ARRAY_COUNT(migration_rows);
    return migration_rows;
}

const char *state_guard_text(enum state_guard guard)
{
    static const char *const names[] = {
        [ALWAYS] = "",
        [RECOVERY] = "there is a recovery point",
        [NO_RECOVERY] = "there is no recovery point",
        [TESTS] = "there is a test machine",
        [NO_TESTS] = "there is no test machine",
        [MIGRATED] = "it was migrated",
        [NOT_MIGRATED] = "it was not migrated",
    };
    return names[guard];
}

const char *state_action_text(enum machine_action action)
{
    static const char *const names[] = {
        [ACT_NONE] = "",
        [ACT_JOB] = "the job is queued",
        [ACT_DETACH] = "a running cycle lets go and can go on later",
        [ACT_END] = "a running cycle is ended at once",
        [ACT_FINISH] = "a running cycle goes on to its end first",
    };
    return names[action];
}

const char *state_trigger_text(unsigned trigger)
{
    static const char *const names[TRIGGER_COUNT] = {
        [ON_CYCLE_STARTED] = "the first cycle begins",
        [ON_RESYNC_STARTED] = "a resync begins",
        [ON_APPLIED] = "a cycle is applied",
        [ON_CYCLE_FAILED] = "a cycle fails for good",
        [ON_REPAIR_NEEDED] = "change tracking is lost, or a comparison differs",
        [ON_DETACHED] = "nothing runs any more",
        [ON_TESTED] = "the test machine runs",
        [ON_TEST_FAILED] = "the test fails",
        [ON_TEST_CLEANED] = "a test machine is gone",
        [ON_MIGRATED] = "the migrated machine has booted",
        [ON_MIGRATED_UNPROVED] = "the migrated machine runs, its boot was not seen",
        [ON_MIGRATE_FAILED] = "the migration fails",
        [ON_REMOVED] = "everything is removed",
        [ON_REMOVE_FAILED] = "something cannot be removed",
    };
    if (trigger < OP_COUNT)
        return operation_name(trigger);
    return trigger < TRIGGER_COUNT ? names[trigger] : "";
}
