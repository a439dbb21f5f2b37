/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole vault in a temporary folder: image source, local raw target, folder stores.
 * Replicate, deltas by content, verify, damage found and repaired, pause and resume,
 * restart in the middle of jobs, stop; and that nothing is left behind.
 */
#include "world.h"

#include "qemu/qmp.h"

static void test_whole_life(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    world_expect_job(w, world_replicate(w), "succeeded");
    world_expect_equal(w);
    world_wait_idle(w); /* the first delta comes at once */
    world_write(w, 5 * MIB, 300000, 2);
    world_write(w, 1 * MIB, 128 * 1024, 0);
    world_expect_job(w, world_ask(w, OP_SYNC), "succeeded");
    world_expect_equal(w);
    world_write(w, 7 * MIB + 512, 512, 3);
    uint64_t verify = world_ask(w, OP_VERIFY);
    AUTO(json_free) json_t *job = world_wait_job(w, verify);
    assert_true(json_is_true(json_object_get(json_object_get(job, "result"), "equal")));
    world_expect_equal(w);
    AUTO(json_free) json_t *view = world_show(w);
    assert_string_equal(json_string_value(json_object_get(view, "status")), "Delta sync");
    assert_string_equal(json_string_value(json_object_get(view, "migration_status")),
                        "Test migration pending");
    assert_true(json_array_size(json_object_get(view, "last_cycles")) >= 3);
    world_expect_job(w, world_ask(w, OP_STOP), "succeeded");
    assert_null(vault_show(w->vault, "src", &err));
    assert_int_equal(err.kind, FAIL_GONE);
    char path[PATH_BYTES + 32];
    (void)snprintf(path, sizeof path, "%s/src/disk0.raw", w->replicas);
    assert_false(file_exists(path));
}

/* Damage of the replica itself: no cycle sees it, verify does, and repair heals it. */
static void test_damage_is_found_and_repaired(void **state)
{
    struct world *w = *state;
    char path[PATH_BYTES + 32];
    world_expect_job(w, world_replicate(w), "succeeded");
    world_wait_idle(w);
    (void)snprintf(path, sizeof path, "%s/src/disk0.raw", w->replicas);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "damage", 6, 2 * MIB + 700), 6);
    close(fd);
    uint64_t verify = world_ask(w, OP_VERIFY);
    AUTO(json_free) json_t *job = world_wait_job(w, verify);
    assert_string_equal(json_string_value(json_object_get(job, "state")), "failed");
    json_t *result = json_object_get(job, "result");
    assert_true(json_is_false(json_object_get(result, "equal")));
    json_t *first = json_array_get(json_object_get(result, "differences"), 0);
    assert_int_equal(json_integer_value(json_object_get(first, "start_bytes")),
                     2 * MIB + 512);
    assert_int_equal(json_integer_value(json_object_get(first, "end_bytes")),
                     2 * MIB + 1024);
    world_wait_idle(w); /* auto_repair: the resync comes by itself */
    world_expect_equal(w);
    world_expect_state(w, "delta-sync");
}

static void test_pause_and_resume(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    uint64_t job = 0;
    if (!vault_throttle_set(w->vault, 400000, &err))
        fail_msg("%s", err.text);
    uint64_t first = world_replicate(w);
    for (int i = 0; i < 500; i++) {
        AUTO(json_free) json_t *view = world_show(w);
        if (json_is_object(json_object_get(view, "cycle")))
            break;
        clock_sleep_ms(10);
    }
    assert_false(vault_operate(w->vault, "src", OP_TEST_MIGRATE, NULL, NULL, &job, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    world_expect_job(w, world_ask(w, OP_PAUSE), "succeeded");
    world_expect_job(w, first, "canceled");
    world_expect_state(w, "paused");
    world_write(w, 6 * MIB, 4096, 9); /* after the pause: a resumed cycle has its own
                                         point in time, or a delta brings it */
    assert_true(vault_throttle_set(w->vault, 0, &err));
    world_reopen(w);
    world_expect_state(w, "paused");
    world_expect_job(w, world_ask(w, OP_RESUME), "succeeded");
    world_expect_job(w, world_ask(w, OP_SYNC), "succeeded");
    world_expect_equal(w);
}

/* The vault goes away in the middle of the initial cycle; the job goes on after. */
static void test_restart_in_a_cycle(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    assert_true(vault_throttle_set(w->vault, 400000, &err));
    uint64_t job = world_replicate(w);
    for (int i = 0; i < 500; i++) {
        AUTO(json_free) json_t *view = world_show(w);
        if (json_is_object(json_object_get(view, "cycle")))
            break;
        clock_sleep_ms(10);
    }
    vault_close(w->vault);
    w->vault = NULL;
    world_open(w);
    assert_true(vault_throttle_set(w->vault, 0, &err));
    world_expect_job(w, job, "succeeded");
    world_expect_job(w, world_ask(w, OP_SYNC), "succeeded");
    world_expect_equal(w);
}

static void test_same_key_same_job(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    uint64_t a = 0, b = 0, c = 0;
    assert_true(vault_replicate(w->vault, "src", "src", "dst", NULL, "k1", &a, &err));
    assert_true(vault_replicate(w->vault, "src", "src", "dst", NULL, "k1", &b, &err));
    assert_int_equal(a, b);
    assert_false(vault_replicate(w->vault, "src", "src", "dst", NULL, NULL, &c, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    world_expect_job(w, a, "succeeded");
    assert_true(vault_operate(w->vault, "src", OP_STOP, NULL, "k2", &b, &err));
    err_clear(&err);
    bool again = vault_operate(w->vault, "src", OP_STOP, NULL, "k2", &c, &err);
    assert_true(again ? b == c : err.kind == FAIL_GONE); /* it may have left already */
    world_expect_job(w, b, "succeeded");
}

static void test_bad_input_changes_nothing(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    uint64_t job = 0;
    AUTO(json_free) json_t *unknown = json_pack("{s:s}", "nmae", "x");
    assert_false(
        vault_replicate(w->vault, "src", "nobody", "dst", NULL, NULL, &job, &err));
    assert_int_equal(err.kind, FAIL_GONE);
    err_clear(&err);
    assert_false(
        vault_replicate(w->vault, "nowhere", "src", "dst", NULL, NULL, &job, &err));
    assert_int_equal(err.kind, FAIL_GONE);
    err_clear(&err);
    assert_false(
        vault_replicate(w->vault, "src", "src", "dst", unknown, NULL, &job, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    err_clear(&err);
    AUTO(json_free) json_t *slash = json_pack("{s:s}", "name", "../x");
    assert_false(vault_replicate(w->vault, "src", "src", "dst", slash, NULL, &job, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    err_clear(&err);
    assert_false(vault_source_add(w->vault, "src", "image", unknown, &err));
    err_clear(&err);
    assert_false(vault_source_add(w->vault, "x", "floppy", unknown, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    AUTO(json_free) json_t *list = vault_list(w->vault, &err);
    assert_int_equal(json_array_size(json_object_get(list, "machines")), 0);
    AUTO(json_free) json_t *sources = vault_source_list(w->vault, &err);
    assert_int_equal(json_array_size(json_object_get(sources, "sources")), 1);
}

static void test_grown_disk(void **state)
{
    struct world *w = *state;
    char path[PATH_BYTES + 32];
    world_expect_job(w, world_replicate(w), "succeeded");
    world_wait_idle(w);
    uint64_t grown = DISK_BYTES + 2 * MIB;
    assert_int_equal(truncate(w->image, (off_t)grown), 0);
    world_expect_job(w, world_ask(w, OP_SYNC), "succeeded");
    (void)snprintf(path, sizeof path, "%s/src/disk0.raw", w->replicas);
    struct err err = ERR_INIT;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t bytes = 0;
    assert_true(file_size(fd, path, &bytes, &err));
    close(fd);
    assert_int_equal(bytes, grown);
    assert_int_equal(truncate(w->image, (off_t)DISK_BYTES), 0);
    world_expect_job(w, world_ask(w, OP_VERIFY), "succeeded");
    world_expect_equal(w); /* also checks the size */
}

static void test_events_wake(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    AUTO(json_free) json_t *all = vault_events(w->vault, 0, 0, &err);
    uint64_t next = (uint64_t)json_integer_value(json_object_get(all, "next"));
    uint64_t before_ms = clock_mono_ms();
    vault_wait(w->vault, next, 300, NULL);
    assert_true(clock_mono_ms() - before_ms >= 290);
    uint64_t job = world_replicate(w);
    vault_wait(w->vault, next, 20000, NULL);
    AUTO(json_free) json_t *some = vault_events(w->vault, next, 0, &err);
    assert_true(json_array_size(json_object_get(some, "events")) > 0);
    world_expect_job(w, job, "succeeded");
}

/* No room at the target: the error has a name, the machine keeps its state and goes on by
 * itself when there is room again. */
static void test_no_space_waits_and_goes_on(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    uint64_t job = 0;
    char source_trigger[PATH_BYTES], target_trigger[PATH_BYTES];
    (void)snprintf(source_trigger, PATH_BYTES, "%s/source-fails", w->dir);
    (void)snprintf(target_trigger, PATH_BYTES, "%s/target-fails", w->dir);
    world_add_bad_ends(w, "no-space", source_trigger, target_trigger);
    world_touch(target_trigger, true);
    if (!vault_replicate(w->vault, "bad", "src", "bad", NULL, NULL, &job, &err))
        fail_msg("%s", err.text);
    for (int i = 0; i < 1000; i++) {
        AUTO(json_free) json_t *view = world_show(w);
        json_t *error = json_object_get(view, "last_error");
        if (json_is_object(error)) {
            assert_string_equal(json_string_value(json_object_get(error, "kind")),
                                "no-space");
            break;
        }
        clock_sleep_ms(10);
    }
    world_expect_state(w, "initial-replication");
    world_touch(target_trigger, false);
    world_expect_job(w, job, "succeeded");
    world_expect_state(w, "delta-sync");
    world_expect_equal(w);
    /* and a delta whose writes fail after they were verified */
    world_wait_idle(w);
    world_write(w, 5 * MIB, 100000, 4);
    world_touch(target_trigger, true);
    world_expect_job(w, world_ask(w, OP_SYNC), "failed");
    world_touch(target_trigger, false);
    world_wait_idle(w);
    world_expect_equal(w);
}

/* A source that does not answer: bounded tries within the job; a stop in between is not
 * held up by them. */
static void test_transient_errors(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    uint64_t job = 0;
    char source_trigger[PATH_BYTES], target_trigger[PATH_BYTES];
    (void)snprintf(source_trigger, PATH_BYTES, "%s/source-fails", w->dir);
    (void)snprintf(target_trigger, PATH_BYTES, "%s/target-fails", w->dir);
    world_add_bad_ends(w, "transient", source_trigger, target_trigger);
    world_touch(source_trigger, true);
    if (!vault_replicate(w->vault, "bad", "src", "bad", NULL, NULL, &job, &err))
        fail_msg("%s", err.text);
    clock_sleep_ms(400);
    world_expect_state(w, "initial-replication");
    world_touch(source_trigger, false);
    world_expect_job(w, job, "succeeded");
    world_wait_idle(w);
    world_touch(source_trigger, true);
    world_write(w, 5 * MIB, 100000, 4);
    uint64_t sync = world_ask(w, OP_SYNC);
    clock_sleep_ms(100);
    uint64_t before_ms = clock_mono_ms();
    world_expect_job(w, world_ask(w, OP_STOP), "succeeded");
    assert_true(clock_mono_ms() - before_ms < 5000);
    world_expect_job(w, sync, "failed");
}

static void end_vm(const char *qmp_path)
{
    struct err err = ERR_INIT;
    AUTO(qmp_close) struct qmp *qmp = qmp_open(qmp_path, 5000, &err);
    if (!qmp || !qmp_call(qmp, "quit", NULL, 5000, NULL, &err))
        fail_msg("%s", err.text);
}

/* The VMs have nothing to boot: they are made, their boot is not proved. */
static void test_test_and_migrate(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    uint64_t job = 0;
    if (access("/usr/bin/qemu-system-x86_64", X_OK) != 0)
        skip();
    world_expect_job(w, world_replicate(w), "succeeded");
    AUTO(json_free)
    json_t *test = json_pack("{s:s, s:i, s:s}", "name", "t1", "boot_deadline_ms", 1500,
                             "marker", "never printed");
    AUTO(json_free)
    json_t *final = json_pack("{s:b, s:i, s:s}", "shutdown", 0, "boot_deadline_ms", 1500,
                              "marker", "never printed");
    assert_true(vault_operate(w->vault, "src", OP_TEST_MIGRATE, test, NULL, &job, &err));
    world_expect_job(w, job, "succeeded");
    AUTO(json_free) json_t *view = world_show(w);
    assert_string_equal(json_string_value(json_object_get(view, "migration_state")),
                        "test-cleanup-pending");
    assert_int_equal(json_array_size(json_object_get(view, "tests")), 1);
    assert_false(vault_operate(w->vault, "src", OP_MIGRATE, final, NULL, &job, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    world_write(w, 2 * MIB, 70000, 5);
    world_expect_job(w, world_ask(w, OP_SYNC), "succeeded"); /* beside the test */
    world_expect_job(w, world_ask(w, OP_TEST_CLEANUP), "succeeded");
    world_expect_equal(w);
    world_write(w, 4 * MIB, 70000, 6);
    err_clear(&err);
    if (!vault_operate(w->vault, "src", OP_MIGRATE, final, NULL, &job, &err))
        fail_msg("%s", err.text);
    world_expect_job(w, job, "succeeded");
    world_expect_state(w, "migrated");
    AUTO(json_free) json_t *migrated = world_show(w);
    const char *vm_qmp =
        json_string_value(json_object_get(json_object_get(migrated, "vm"), "qmp_path"));
    assert_non_null(vm_qmp);
    world_expect_job(w, world_ask(w, OP_COMPLETE), "succeeded");
    err_clear(&err);
    assert_null(vault_show(w->vault, "src", &err));
    world_expect_equal(w); /* the VM's disk now */
    char path[PATH_BYTES + 64];
    (void)snprintf(path, sizeof path, "%s/src/vm/vm.json", w->replicas);
    assert_true(file_exists(path));
    end_vm(vm_qmp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole_life, world_set_up, world_tear_down),
        cmocka_unit_test_setup_teardown(test_damage_is_found_and_repaired, world_set_up,
                                        world_tear_down),
        cmocka_unit_test_setup_teardown(test_pause_and_resume, world_set_up,
                                        world_tear_down),
        cmocka_unit_test_setup_teardown(test_restart_in_a_cycle, world_set_up,
                                        world_tear_down),
        cmocka_unit_test_setup_teardown(test_same_key_same_job, world_set_up,
                                        world_tear_down),
        cmocka_unit_test_setup_teardown(test_bad_input_changes_nothing, world_set_up,
                                        world_tear_down),
        cmocka_unit_test_setup_teardown(test_grown_disk, world_set_up, world_tear_down),
        cmocka_unit_test_setup_teardown(test_events_wake, world_set_up, world_tear_down),
        cmocka_unit_test_setup_teardown(test_no_space_waits_and_goes_on, world_set_up,
                                        world_tear_down),
        cmocka_unit_test_setup_teardown(test_transient_errors, world_set_up,
                                        world_tear_down),
        cmocka_unit_test_setup_teardown(test_test_and_migrate, world_set_up,
                                        world_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
