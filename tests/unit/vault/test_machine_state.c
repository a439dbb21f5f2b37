/* SPDX-License-Identifier: Apache-2.0 */
/* The table of states: every state x operation against a second, compact statement of
 * what must be allowed; refusals have a text; events never lead out of a clean-up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "vault/machine_state.h"

static struct machine_facts facts_of(enum machine_state state)
{
    struct machine_facts facts = {.name = "web",
                                  .state = state,
                                  .migration = MIGRATION_TEST_PENDING,
                                  .has_recovery_point = true,
                                  .percent = 12};
    facts.has_migrated = state == STATE_MIGRATED;
    return facts;
}

/* With a recovery point, no tests, never migrated. */
static const char *const allowed[STATE_COUNT] = {
    [STATE_QUEUED] = "pause stop",
    [STATE_INITIAL] = "pause stop",
    [STATE_INITIAL_FAILED] = "sync stop",
    [STATE_DELTA] = "sync pause stop test-migrate migrate verify resync",
    [STATE_PAUSING] = "stop",
    [STATE_PAUSED] = "resume stop test-migrate",
    [STATE_RESUMING] = "pause stop",
    [STATE_RESYNC] = "pause stop",
    [STATE_REPAIR_PENDING] = "stop resync repair",
    [STATE_MIGRATED] = "complete",
    [STATE_STOPPING] = "",
    [STATE_COMPLETING] = "",
    [STATE_STOP_FAILED] = "stop",
    [STATE_GONE] = "",
};

static bool word_in(const char *list, const char *word)
{
    size_t bytes = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += bytes) {
        bool begins = at == list || at[-1] == ' ';
        if (begins && (at[bytes] == ' ' || at[bytes] == 0))
            return true;
    }
    return false;
}

static void test_every_state_and_operation(void **state)
{
    (void)state;
    for (unsigned s = 0; s < STATE_COUNT; s++) {
        for (unsigned op = 0; op < OP_COUNT; op++) {
            struct machine_facts facts = facts_of((enum machine_state)s);
            struct err err = ERR_INIT;
            bool is_allowed = machine_allows(&facts, (enum vault_operation)op, &err);
            bool expected = word_in(allowed[s], operation_name(op));
            if (is_allowed != expected)
                fail_msg("%s in %s: %d", operation_name(op),
                         machine_state_name((enum machine_state)s), is_allowed);
            if (is_allowed)
                continue;
            assert_int_equal(err.kind, FAIL_CONFLICT);
            assert_non_null(strstr(err.text, "machine 'web' is in state '"));
            assert_non_null(strstr(strchr(err.text, ';') + 1, ";")); /* has a remedy */
            assert_null(strchr(strstr(err.text, "';"), '%')); /* no directive left */
        }
    }
}

static void test_the_texts(void **state)
{
    (void)state;
    struct machine_facts facts = facts_of(STATE_INITIAL);
    struct err err = ERR_INIT;
    facts.has_recovery_point = false;
    assert_false(machine_allows(&facts, OP_TEST_MIGRATE, &err));
    assert_string_equal(err.text,
                        "machine 'web' is in state 'Initial replication (12%)'; "
                        "test-migrate needs a recovery point; wait until the initial "
                        "replication is done");
    facts = facts_of(STATE_DELTA);
    facts.test_count = 1;
    err_clear(&err);
    assert_false(machine_allows(&facts, OP_MIGRATE, &err));
    assert_non_null(strstr(err.text, "test-cleanup"));
}

static void test_guards(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct machine_facts facts = facts_of(STATE_PAUSED);
    facts.has_recovery_point = false;
    assert_false(machine_allows(&facts, OP_TEST_MIGRATE, &err));
    facts = facts_of(STATE_DELTA);
    assert_false(machine_allows(&facts, OP_TEST_CLEANUP, &err));
    facts.test_count = 2;
    assert_true(machine_allows(&facts, OP_TEST_CLEANUP, &err));
    assert_true(machine_allows(&facts, OP_TEST_MIGRATE, &err)); /* several at once */
    facts = facts_of(STATE_STOP_FAILED);
    assert_false(machine_allows(&facts, OP_COMPLETE, &err));
    facts.has_migrated = true;
    assert_true(machine_allows(&facts, OP_COMPLETE, &err));
    assert_false(machine_allows(&facts, OP_STOP, &err));
}

/* While a machine is paused or cleaned up, nothing that a cycle ends with moves it. */
static void test_cycles_do_not_undo_requests(void **state)
{
    (void)state;
    const enum machine_state held[] = {STATE_PAUSING,     STATE_PAUSED,
                                       STATE_STOPPING,    STATE_COMPLETING,
                                       STATE_STOP_FAILED, STATE_MIGRATED};
    const unsigned events[] = {ON_APPLIED, ON_CYCLE_FAILED, ON_RESYNC_STARTED,
                               ON_REPAIR_NEEDED, ON_CYCLE_STARTED};
    for (size_t s = 0; s < ARRAY_COUNT(held); s++) {
        for (size_t e = 0; e < ARRAY_COUNT(events); e++) {
            struct machine_facts facts = facts_of(held[s]);
            machine_move(&facts, events[e]);
            assert_int_equal(facts.state, held[s]);
        }
    }
}

static void test_the_life_of_a_machine(void **state)
{
    (void)state;
    struct machine_facts facts = facts_of(STATE_QUEUED);
    facts.migration = MIGRATION_NONE;
    facts.has_recovery_point = false;
    machine_move(&facts, ON_CYCLE_STARTED);
    assert_int_equal(facts.state, STATE_INITIAL);
    facts.has_recovery_point = true;
    machine_move(&facts, ON_APPLIED);
    assert_int_equal(facts.state, STATE_DELTA);
    assert_int_equal(facts.migration, MIGRATION_TEST_PENDING);
    machine_move(&facts, OP_TEST_MIGRATE);
    assert_int_equal(facts.migration, MIGRATION_TEST_RUNNING);
    machine_move(&facts, ON_APPLIED); /* a delta meanwhile */
    assert_int_equal(facts.migration, MIGRATION_TEST_RUNNING);
    facts.test_count = 1;
    machine_move(&facts, ON_TESTED);
    assert_int_equal(facts.migration, MIGRATION_CLEANUP_PENDING);
    facts.test_count = 0;
    machine_move(&facts, ON_TEST_CLEANED);
    assert_int_equal(facts.migration, MIGRATION_READY);
    machine_move(&facts, OP_MIGRATE);
    assert_int_equal(facts.migration, MIGRATION_RUNNING);
    machine_move(&facts, ON_MIGRATE_FAILED);
    assert_int_equal(facts.migration, MIGRATION_FAILED);
    machine_move(&facts, OP_MIGRATE);
    machine_move(&facts, ON_MIGRATED);
    assert_int_equal(facts.state, STATE_MIGRATED);
    assert_int_equal(facts.migration, MIGRATION_DONE);
    char status[STATE_STATUS_BYTES];
    facts.migrated_ms = 1000;
    assert_string_equal(migration_status(&facts, status), "1970-01-01T00:00:01.000Z");
    assert_string_equal(machine_status(&facts, status), "–");
    machine_move(&facts, OP_COMPLETE);
    machine_move(&facts, ON_REMOVED);
    assert_int_equal(facts.state, STATE_GONE);
}

static void test_failures_of_a_first_cycle(void **state)
{
    (void)state;
    struct machine_facts facts = facts_of(STATE_RESUMING);
    machine_move(&facts, ON_CYCLE_FAILED);
    assert_int_equal(facts.state, STATE_DELTA); /* goes on by schedule */
    facts = facts_of(STATE_RESUMING);
    facts.has_recovery_point = false;
    machine_move(&facts, ON_CYCLE_FAILED);
    assert_int_equal(facts.state, STATE_INITIAL_FAILED);
    machine_move(&facts, OP_SYNC);
    assert_int_equal(facts.state, STATE_INITIAL);
    facts = facts_of(STATE_RESYNC);
    machine_move(&facts, ON_CYCLE_FAILED);
    assert_int_equal(facts.state, STATE_REPAIR_PENDING);
}

static void test_names_round_trip(void **state)
{
    (void)state;
    for (unsigned s = 0; s < STATE_COUNT; s++) {
        enum machine_state back;
        assert_true(
            machine_state_from_name(machine_state_name((enum machine_state)s), &back));
        assert_int_equal(back, s);
    }
    for (unsigned m = 0; m < MIGRATION_COUNT; m++) {
        enum migration_state back;
        assert_true(migration_state_from_name(
            migration_state_name((enum migration_state)m), &back));
        assert_int_equal(back, m);
    }
    for (unsigned op = 0; op < OP_COUNT; op++) {
        enum vault_operation back;
        assert_true(vault_operation_from_name(operation_name(op), &back));
        assert_int_equal(back, op);
    }
    enum machine_state s;
    assert_false(machine_state_from_name("", &s));
    assert_string_equal(operation_name(OP_COUNT), "");
}

static void test_meetings(void **state)
{
    (void)state;
    assert_int_equal(machine_meeting(OP_REPLICATE, OP_PAUSE), MEET_INTERRUPT);
    assert_int_equal(machine_meeting(OP_SYNC, OP_STOP), MEET_INTERRUPT);
    assert_int_equal(machine_meeting(OP_TEST_MIGRATE, OP_SYNC), MEET_QUEUE);
    assert_int_equal(machine_meeting(OP_TEST_MIGRATE, OP_STOP), MEET_REFUSE);
    assert_int_equal(machine_meeting(OP_TEST_MIGRATE, OP_MIGRATE), MEET_REFUSE);
    for (unsigned op = 0; op < OP_COUNT; op++) {
        assert_int_equal(machine_meeting(OP_MIGRATE, (enum vault_operation)op),
                         MEET_REFUSE);
        assert_int_equal(machine_meeting(OP_STOP, (enum vault_operation)op), MEET_REFUSE);
        if (op != OP_TEST_MIGRATE && op != OP_TEST_CLEANUP)
            assert_int_equal(
                machine_meeting((enum vault_operation)op, (enum vault_operation)op),
                MEET_REFUSE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_state_and_operation),
        cmocka_unit_test(test_the_texts),
        cmocka_unit_test(test_guards),
        cmocka_unit_test(test_cycles_do_not_undo_requests),
        cmocka_unit_test(test_the_life_of_a_machine),
        cmocka_unit_test(test_failures_of_a_first_cycle),
        cmocka_unit_test(test_names_round_trip),
        cmocka_unit_test(test_meetings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
