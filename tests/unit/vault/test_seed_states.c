/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The article "Agentless migration architecture" of Azure Migrate, sentence by sentence:
 * "Replication status", "Status of the test migration or production migration", "Stopping
 * replication or completing a migration", and the formats of "Blackout window". Each row
 * quotes the sentence and proves it on the tables of states or on the windows; where a
 * whole vault is needed, the row names the test that runs one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vault/blackout.h"
#include "vault/state_table.h"

#define HOUR_MS ((uint64_t)3600000)

/* ---- small words for the proofs ---- */

static struct machine_facts in(enum machine_state state)
{
    return (struct machine_facts){.name = "web",
                                  .state = state,
                                  .migration = MIGRATION_TEST_PENDING,
                                  .has_recovery_point = state != STATE_QUEUED &&
                                                        state != STATE_INITIAL &&
                                                        state != STATE_INITIAL_FAILED,
                                  .has_migrated = state == STATE_MIGRATED,
                                  .migrated_ms = UINT64_C(1764072000000)};
}

static struct machine_facts waits(enum machine_state state)
{
    struct machine_facts facts = in(state);
    facts.is_waiting = true;
    return facts;
}

static struct machine_facts at_percent(enum machine_state state, uint32_t percent)
{
    struct machine_facts facts = in(state);
    facts.percent = percent;
    return facts;
}

static struct machine_facts migrating(enum migration_state migration)
{
    struct machine_facts facts = in(STATE_DELTA);
    facts.migration = migration;
    return facts;
}

static struct machine_facts after(struct machine_facts facts, unsigned trigger)
{
    machine_move(&facts, trigger);
    return facts;
}

static bool shows(struct machine_facts facts, const char *status)
{
    char out[STATE_STATUS_BYTES];
    return strcmp(machine_status(&facts, out), status) == 0;
}

static bool shows_migration(struct machine_facts facts, const char *status)
{
    char out[STATE_STATUS_BYTES];
    return strcmp(migration_status(&facts, out), status) == 0;
}

static bool allows(struct machine_facts facts, enum vault_operation operation)
{
    struct err err = ERR_INIT;
    return machine_allows(&facts, operation, &err);
}

static bool refuses(struct machine_facts facts, enum vault_operation operation,
                    const char *with)
{
    struct err err = ERR_INIT;
    return !machine_allows(&facts, operation, &err) && err.kind == FAIL_CONFLICT &&
           strstr(err.text, with) != NULL;
}

/* Nothing in the table leads from a running VM of the target back to replication. */
static bool is_in_list(struct machine_facts facts)
{
    return facts.state != STATE_GONE;
}

/* ---- replication status ---- */

static bool initial_queued(void)
{
    return shows(waits(STATE_QUEUED), "Initial replication queued") &&
           shows(waits(STATE_INITIAL), "Initial replication queued");
}
static bool queued_is_processed(void)
{
    return after(waits(STATE_QUEUED), ON_CYCLE_STARTED).state == STATE_INITIAL;
}
static bool initial_in_progress(void)
{
    return shows(in(STATE_QUEUED), "Initial replication in progress");
}
static bool initial(void)
{
    return shows(in(STATE_INITIAL), "Initial replication");
}
static bool initial_no_migration(void)
{
    return refuses(in(STATE_INITIAL), OP_TEST_MIGRATE, "needs a recovery point") &&
           refuses(in(STATE_INITIAL), OP_MIGRATE, "needs a recovery point") &&
           shows_migration((struct machine_facts){.name = "web",
                                                  .state = STATE_INITIAL,
                                                  .migration = MIGRATION_NONE},
                           "–");
}
/* Later versions of the product pause an initial replication, too; so do we. */
static bool initial_stop(void)
{
    for (unsigned op = 0; op < OP_COUNT; op++)
        if (op != OP_STOP && op != OP_PAUSE &&
            allows(in(STATE_INITIAL), (enum vault_operation)op))
            return false;
    return allows(in(STATE_INITIAL), OP_STOP);
}
static bool initial_percent(void)
{
    return shows(at_percent(STATE_INITIAL, 42), "Initial replication (42%)");
}
static bool delta_sync(void)
{
    struct machine_facts facts = in(STATE_INITIAL);
    facts.has_recovery_point = true;
    return shows(after(facts, ON_APPLIED), "Delta sync");
}
static bool pause_in_progress(void)
{
    return shows(after(in(STATE_DELTA), OP_PAUSE), "Pause in progress") &&
           machine_action(&(struct machine_facts){.state = STATE_DELTA}, OP_PAUSE) ==
               ACT_DETACH;
}
static bool paused(void)
{
    return shows(after(in(STATE_PAUSING), ON_DETACHED), "Paused");
}
static bool paused_resumes(void)
{
    return allows(in(STATE_PAUSED), OP_RESUME) &&
           after(in(STATE_PAUSED), OP_RESUME).state == STATE_RESUMING;
}
static bool resume_queued(void)
{
    return shows(waits(STATE_RESUMING), "Resume queued");
}
static bool resume_percent(void)
{
    return shows(at_percent(STATE_RESUMING, 7), "Resume in progress (7%)");
}
static bool stop_in_progress(void)
{
    return shows(after(in(STATE_DELTA), OP_STOP), "Stop replication in progress");
}
static bool complete_in_progress(void)
{
    return shows(after(in(STATE_MIGRATED), OP_COMPLETE),
                 "Complete migration in progress");
}
static bool dash(void)
{
    return shows(in(STATE_MIGRATED), "–") &&
           shows(after(in(STATE_STOPPING), ON_REMOVED), "–");
}
static bool leaves_the_list(void)
{
    return !is_in_list(after(in(STATE_STOPPING), ON_REMOVED)) &&
           !is_in_list(after(in(STATE_COMPLETING), ON_REMOVED)) &&
           is_in_list(after(in(STATE_COMPLETING), ON_REMOVE_FAILED));
}
static bool initial_failed(void)
{
    return shows(after(in(STATE_INITIAL), ON_CYCLE_FAILED),
                 "Initial replication failed") &&
           allows(in(STATE_INITIAL_FAILED), OP_SYNC); /* once the cause is remedied */
}
static bool repair_pending(void)
{
    return shows(after(in(STATE_DELTA), ON_REPAIR_NEEDED), "Repair pending") &&
           shows(after(in(STATE_RESYNC), ON_CYCLE_FAILED), "Repair pending");
}
static bool repair_automatic(void)
{
    return after(in(STATE_REPAIR_PENDING), ON_RESYNC_STARTED).state == STATE_RESYNC;
}
static bool repair_asked(void)
{
    return allows(in(STATE_REPAIR_PENDING), OP_REPAIR) &&
           after(in(STATE_REPAIR_PENDING), OP_REPAIR).state == STATE_RESYNC &&
           refuses(in(STATE_DELTA), OP_REPAIR, "needs no repair");
}
static bool repair_or_stop(void)
{
    return allows(in(STATE_REPAIR_PENDING), OP_STOP);
}
static bool repair_queued(void)
{
    return shows(waits(STATE_RESYNC), "Repair replication queued");
}
static bool resync_percent(void)
{
    return shows(at_percent(STATE_RESYNC, 99), "Resync (99%)");
}
static bool stop_failed(void)
{
    return shows(after(in(STATE_STOPPING), ON_REMOVE_FAILED),
                 "Stop replication/complete migration failed") &&
           shows(after(in(STATE_COMPLETING), ON_REMOVE_FAILED),
                 "Stop replication/complete migration failed") &&
           allows(in(STATE_STOP_FAILED), OP_STOP);
}

/* ---- migration status ---- */

static bool test_pending(void)
{
    struct machine_facts facts = in(STATE_INITIAL);
    facts.migration = MIGRATION_NONE;
    facts.has_recovery_point = true;
    facts = after(facts, ON_APPLIED);
    return shows_migration(facts, "Test migration pending") &&
           allows(facts, OP_TEST_MIGRATE) && allows(facts, OP_MIGRATE);
}
static bool test_cleanup_pending(void)
{
    struct machine_facts facts = migrating(MIGRATION_TEST_RUNNING);
    facts.test_count = 1;
    facts = after(facts, ON_TESTED);
    return shows_migration(facts, "Test migration clean up pending") &&
           allows(facts, OP_TEST_CLEANUP) && !allows(facts, OP_MIGRATE);
}
static bool ready(void)
{
    return shows_migration(after(migrating(MIGRATION_CLEANUP_PENDING), ON_TEST_CLEANED),
                           "Ready to migrate");
}
static bool migration_queued(void)
{
    struct machine_facts facts = after(migrating(MIGRATION_READY), OP_MIGRATE);
    facts.is_waiting = true;
    return shows_migration(facts, "Migration in progress queued");
}
static bool migration_in_progress(void)
{
    return shows_migration(after(migrating(MIGRATION_READY), OP_MIGRATE),
                           "Migration in progress") &&
           shows_migration(after(migrating(MIGRATION_READY), OP_TEST_MIGRATE),
                           "Test migration in progress");
}
static bool date_and_time(void)
{
    struct machine_facts facts = after(migrating(MIGRATION_RUNNING), ON_MIGRATED);
    return shows_migration(facts, "2025-11-25T12:00:00.000Z");
}
static bool migration_dash(void)
{
    struct machine_facts facts = in(STATE_INITIAL);
    facts.migration = MIGRATION_NONE;
    return shows_migration(facts, "–") && !allows(facts, OP_TEST_MIGRATE) &&
           !allows(facts, OP_MIGRATE);
}
static bool completed_with_info(void)
{
    return shows_migration(after(migrating(MIGRATION_RUNNING), ON_MIGRATED_UNPROVED),
                           "Completed with info");
}
static bool failed(void)
{
    return shows_migration(after(migrating(MIGRATION_RUNNING), ON_MIGRATE_FAILED),
                           "Failed") &&
           shows_migration(after(migrating(MIGRATION_TEST_RUNNING), ON_TEST_FAILED),
                           "Failed");
}

/* ---- stop and complete ---- */

static bool stop_while_active(void)
{
    return refuses(in(STATE_MIGRATED), OP_STOP, "complete ends its replication") &&
           allows(in(STATE_MIGRATED), OP_COMPLETE) &&
           refuses(in(STATE_DELTA), OP_COMPLETE, "comes after migrate");
}
static bool complete_after_migrate(void)
{
    return after(in(STATE_MIGRATED), OP_COMPLETE).state == STATE_COMPLETING;
}
static bool enable_again(void)
{
    return !is_in_list(after(in(STATE_STOPPING), ON_REMOVED));
}
static bool delta_is_finished_first(void)
{
    struct machine_facts delta = in(STATE_DELTA), first = in(STATE_INITIAL);
    return machine_action(&delta, OP_STOP) == ACT_FINISH &&
           machine_action(&first, OP_STOP) == ACT_END;
}

/* ---- blackout window ---- */

static const char EXAMPLE[] = "Monday;7:00;7h | Tuesday;8:00;1d7h | Wednesday;16:00;1d | "
                              "Thursday;18:00;5h | Friday;13:00;8m";

static struct blackout_status status_at(const char *windows, uint64_t at_ms)
{
    struct err err = ERR_INIT;
    struct blackout blackout;
    AUTO(zone_close) struct zone *utc = zone_open("UTC", &err);
    assert_true(blackout_parse(windows, &blackout, &err));
    return blackout_at(&blackout, utc, at_ms);
}
static bool blackout_file(void)
{
    static const char file[] =
        "{\n    \n    \"BlackoutWindows\": \"List of blackout windows\"\n    \n}\n";
    struct err err = ERR_INIT;
    AUTO(free) char *text = blackout_file_text("f", file, sizeof file - 1, &err);
    return text && strcmp(text, "List of blackout windows") == 0;
}
static bool blackout_list(void)
{
    struct err err = ERR_INIT;
    struct blackout blackout;
    return blackout_parse(EXAMPLE, &blackout, &err) && blackout.count == 5;
}
static bool blackout_durations(void)
{
    struct err err = ERR_INIT;
    struct blackout blackout;
    return blackout_parse("Monday;0:00;2d3h4m", &blackout, &err) &&
           blackout.windows[0].duration_min == 2 * 1440 + 3 * 60 + 4;
}
static bool blackout_first_value(void)
{
    uint64_t seven = UINT64_C(1795417200000); /* Monday 2026-11-23 07:00 UTC */
    return !status_at(EXAMPLE, seven - 1).is_inside &&
           status_at(EXAMPLE, seven).is_inside &&
           status_at(EXAMPLE, seven).until_ms == seven + 7 * HOUR_MS;
}

static const struct {
    const char *sentence;
    bool (*proof)(void);
} rows[] = {
    /* Replication status */
    {"Initial replication queued: The VM is queued for replication or migration because "
     "other VMs might be consuming the on-premises resources",
     initial_queued},
    {"After the resources are free, this VM is processed.", queued_is_processed},
    {"Initial replication in progress: The VM is scheduled for initial replication.",
     initial_in_progress},
    {"Initial replication: The VM is undergoing initial replication.", initial},
    {"When the VM is undergoing initial replication, you can't proceed with test "
     "migration "
     "and production migration.",
     initial_no_migration},
    {"You can only stop replication at this stage.", initial_stop},
    {"Initial replication (x%): The initial replication is active and has progressed by "
     "the shown percentage.",
     initial_percent},
    {"Delta sync: The VM might be undergoing a delta replication cycle that replicates "
     "the "
     "remaining data churn since the last replication cycle.",
     delta_sync},
    {"Pause in progress: The VM is undergoing an active delta replication cycle and is "
     "paused.",
     pause_in_progress},
    {"Paused: The replication cycles are paused.", paused},
    {"You can resume the replication cycles by performing the operation to resume "
     "replication.",
     paused_resumes},
    {"Resume queued: The VM is queued for resuming replication because other VMs are "
     "currently consuming the on-premises resources.",
     resume_queued},
    {"Resume in progress (x%): The replication cycle is being resumed for the VM and has "
     "progressed by the shown percentage.",
     resume_percent},
    {"Stop replication in progress: Replication cleanup is in progress.",
     stop_in_progress},
    {"Complete migration in progress: Migration cleanup is in progress.",
     complete_in_progress},
    {"–: When the VM is successfully migrated or when you stop replication, the status "
     "changes to a dash.",
     dash},
    {"After you complete migration or stop replication and the operation finishes "
     "successfully, the VM is removed from the list of replicating machines.",
     leaves_the_list},
    {"Initial replication failed: The initial data couldn't be copied for the VM. Follow "
     "the remediation guidance to resolve.",
     initial_failed},
    {"Repair pending: There was a problem in the replication cycle.", repair_pending},
    {"If you opted for Automatically repair replication [...], the tool tries to repair "
     "it "
     "for you.",
     repair_automatic}, /* test_vault_flow: test_damage_is_found_and_repaired */
    {"Otherwise, select the VM, and then select Repair Replication.", repair_asked},
    {"If you didn't opt for Automatically repair replication or if the repair step "
     "didn't "
     "work for you, stop replication for the VM.",
     repair_or_stop},
    {"Repair replication queued: The VM is queued for replication repair because other "
     "VMs "
     "are consuming the on-premises resources.",
     repair_queued},
    {"Resync (x%): The VM is undergoing a data resynchronization.", resync_percent},
    {"Stop replication/complete migration failed: Select the link to understand the "
     "possible causes for failure and actions to remediate",
     stop_failed},
    /* Status of the test migration or production migration */
    {"Test migration pending: The VM is in the delta replication phase. You can now "
     "perform test migration (or production migration).",
     test_pending},
    {"Test migration clean up pending: After test migration is complete, perform a test "
     "migration cleanup to avoid charges",
     test_cleanup_pending},
    {"Ready to migrate: The VM is ready for migration", ready},
    {"Migration in progress queued: The VM is queued for migration because other VMs are "
     "consuming the on-premises resources",
     migration_queued},
    {"Test migration/Migration in progress: The VM is undergoing a test migration or a "
     "production migration.",
     migration_in_progress},
    {"Date, timestamp: The test migration or production migration happened at this date "
     "and time.",
     date_and_time},
    {"–: Initial replication is in progress. You can perform a test migration or a "
     "production migration after the replication process transitions to a delta sync",
     migration_dash},
    {"Completed with info: The test migration or production migration job finished with "
     "information.",
     completed_with_info}, /* of a test, its job: test_vault_policy */
    {"Failed: The test migration or production migration job failed.", failed},
    /* Stopping replication or completing a migration */
    {"You can stop replication only during an active replication.", stop_while_active},
    {"You can select Complete migration to stop the replication after the VM is "
     "migrated.",
     complete_after_migrate},
    {"You can replicate the VM for which the replication is stopped by enabling "
     "replication again.",
     enable_again}, /* test_vault_policy: test_stop_lets_a_delta_finish */
    {"whenever you stop replication, the ongoing replication cycle is completed (only "
     "when "
     "the VM is in delta sync) before deletion of the artifacts",
     delta_is_finished_first}, /* the same, test_stop_ends_an_initial_cycle_at_once */
    /* Blackout window; running cycles and migrations inside one: test_vault_policy */
    {"A typical file has this form: { \"BlackoutWindows\": \"List of blackout windows\" "
     "}",
     blackout_file},
    {"The list of blackout windows is a pipe-delimited (|) string of the format "
     "<DayOfWeek>;<StartTime>;<Duration>.",
     blackout_list},
    {"You can specify the duration in days, hours, and minutes.", blackout_durations},
    {"The first value in the preceding example indicates a blackout window that starts "
     "every Monday at 7:00 AM local time (time on the appliance) and lasts 7 hours.",
     blackout_first_value},
};

static void test_every_sentence(void **state)
{
    (void)state;
    size_t wrong = 0;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        if (rows[i].proof())
            continue;
        print_error("not so: %s\n", rows[i].sentence);
        wrong++;
    }
    assert_int_equal(wrong, 0);
}

/* Every status that can be shown is one of the article's, and each of them can be. */
static void test_no_status_of_our_own(void **state)
{
    static const char *const replication[] = {
        "Initial replication queued",
        "Initial replication in progress",
        "Initial replication",
        "Delta sync",
        "Pause in progress",
        "Paused",
        "Resume queued",
        "Resume in progress",
        "Stop replication in progress",
        "Complete migration in progress",
        "–",
        "Initial replication failed",
        "Repair pending",
        "Repair replication queued",
        "Resync",
        "Stop replication/complete migration failed"};
    static const char *const migration[] = {
        "Test migration pending",     "Test migration clean up pending",
        "Ready to migrate",           "Migration in progress queued",
        "Test migration in progress", "Migration in progress",
        "" /* date, timestamp */,     "–",
        "Completed with info",        "Failed"};
    const struct {
        const char *const *known;
        size_t known_count;
    } columns[2] = {{replication, ARRAY_COUNT(replication)},
                    {migration, ARRAY_COUNT(migration)}};
    (void)state;
    for (size_t c = 0; c < 2; c++) {
        size_t count, found = 0;
        bool is_shown[32] = {false};
        const struct state_text *texts =
            c ? migration_texts(&count) : state_texts(&count);
        for (size_t i = 0; i < count; i++) {
            size_t at = 0;
            while (at < columns[c].known_count &&
                   strcmp(columns[c].known[at], texts[i].status) != 0)
                at++;
            if (at == columns[c].known_count)
                fail_msg("'%s' is nobody's word", texts[i].status);
            found += !is_shown[at];
            is_shown[at] = true;
        }
        assert_int_equal(found, columns[c].known_count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_sentence),
        cmocka_unit_test(test_no_status_of_our_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
