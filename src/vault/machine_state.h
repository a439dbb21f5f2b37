/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a replicating machine and how it gets from one to the next: the tables of
 * state_table.c decide what is allowed, what follows, what is shown and what a refusal
 * says. Pure; any thread.
 *
 * A machine has two states side by side: of its replication (enum machine_state) and of
 * its test migration or migration (enum migration_state).
 */
#ifndef VAULT_MACHINE_STATE_H
#define VAULT_MACHINE_STATE_H

#include "base/err.h"
#include "vault/vault.h"

enum machine_state {
    STATE_QUEUED,         /* enabled; the initial cycle has not begun */
    STATE_INITIAL,        /* the initial cycle runs, or waits to be tried again */
    STATE_INITIAL_FAILED, /* it cannot be finished before a person acts */
    STATE_DELTA,          /* has a recovery point; deltas follow the schedule */
    STATE_PAUSING,        /* the running cycle is being detached */
    STATE_PAUSED,         /* nothing runs until resume */
    STATE_RESUMING,       /* the first cycle after a pause */
    STATE_RESYNC,         /* the whole disks are compared by content */
    STATE_REPAIR_PENDING, /* needs a resync and waits for somebody to ask for it */
    STATE_MIGRATED,       /* the target VM exists; only complete is left */
    STATE_STOPPING,       /* clean-up after stop */
    STATE_COMPLETING,     /* clean-up after complete */
    STATE_STOP_FAILED,    /* clean-up failed; ask again */
    STATE_GONE,           /* left the list; never stored */
    STATE_COUNT
};

enum migration_state {
    MIGRATION_NONE,
    MIGRATION_TEST_PENDING,
    MIGRATION_TEST_RUNNING,
    MIGRATION_CLEANUP_PENDING,
    MIGRATION_READY,
    MIGRATION_RUNNING,
    MIGRATION_DONE,
    MIGRATION_DONE_WITH_INFO,
    MIGRATION_FAILED,
    MIGRATION_COUNT
};

/* What makes a machine move: an operation (enum vault_operation), or what came of one. */
enum machine_trigger {
    ON_CYCLE_STARTED = OP_COUNT, /* a first cycle begins to run */
    ON_RESYNC_STARTED,
    ON_APPLIED,      /* a cycle's recovery point is committed */
    ON_CYCLE_FAILED, /* for good: trying again by itself would not help */
    ON_REPAIR_NEEDED,
    ON_DETACHED, /* a pause took effect */
    ON_TESTED,
    ON_TEST_FAILED,
    ON_TEST_CLEANED,
    ON_MIGRATED,
    ON_MIGRATED_UNPROVED, /* the VM runs, its boot was not seen */
    ON_MIGRATE_FAILED,
    ON_REMOVED,
    ON_REMOVE_FAILED,
    TRIGGER_COUNT
};

/* What happens to the cycle that runs on the machine when an operation is asked for. */
enum machine_action {
    ACT_NONE,   /* nothing: of what has happened already */
    ACT_JOB,    /* it goes on; the job waits for its turn */
    ACT_DETACH, /* it lets go in a way in which it can go on later */
    ACT_END,    /* it is ended at once */
    ACT_FINISH, /* it goes on to its end, is not tried again, then the job begins */
};

/* All that guards and texts look at. */
struct machine_facts {
    const char *name;
    enum machine_state state;
    enum migration_state migration;
    bool has_recovery_point;
    size_t test_count;
    bool has_migrated; /* at some time, also when cleaning up failed since */
    bool is_waiting;   /* its next cycle waits for room, its turn or a window */
    uint32_t percent;  /* of the running cycle */
    uint64_t migrated_ms;
};

const char *machine_state_name(enum machine_state state); /* "delta-sync" */
MUST_CHECK bool machine_state_from_name(const char *name, enum machine_state *ret);
const char *migration_state_name(enum migration_state state);
MUST_CHECK bool migration_state_from_name(const char *name, enum migration_state *ret);

/* As shown to programs: "resume-queued", "delta-sync"; the names of doc/states.md. */
const char *machine_status_name(const struct machine_facts *facts);
const char *migration_status_name(const struct machine_facts *facts);

/* For people: "Initial replication (12%)"; out is returned. */
#define STATE_STATUS_BYTES 64
const char *machine_status(const struct machine_facts *facts,
                           char out[STATE_STATUS_BYTES]);
const char *migration_status(const struct machine_facts *facts,
                             char out[STATE_STATUS_BYTES]);

/* FAIL_CONFLICT with state, reason and what would make it possible. */
MUST_CHECK bool machine_allows(const struct machine_facts *facts,
                               enum vault_operation operation, struct err *err);

/* Of the row that machine_move would take; ACT_NONE without one. */
enum machine_action machine_action(const struct machine_facts *facts, unsigned trigger);

/* Moves both states by the table. A trigger without a row changes nothing. */
void machine_move(struct machine_facts *facts, unsigned trigger);

/*
 * Whether operation may be asked for while a job of another one is queued or running.
 *   MEET_QUEUE      it waits for its turn
 *   MEET_INTERRUPT  the active one is ended first
 *   MEET_REFUSE     it must be waited for
 */
enum machine_meeting { MEET_QUEUE, MEET_INTERRUPT, MEET_REFUSE };
enum machine_meeting machine_meeting(enum vault_operation active,
                                     enum vault_operation asked);

/* "sync", "test-migrate", ...; "" beyond OP_COUNT */
const char *operation_name(unsigned operation);

#endif
