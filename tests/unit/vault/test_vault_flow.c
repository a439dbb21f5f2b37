/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole vault in a temporary folder: image source, local raw target, folder stores.
 * Replicate, deltas by content, verify, damage found and repaired, pause and resume,
 * restart in the middle of jobs, stop; and that nothing is left behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "keys/keys.h"
#include "qemu/qmp.h"
#include "state/catalog.h"
#include "vault/vault.h"

#define DISK_BYTES (8 * MIB)
#define PATH_BYTES 256

struct world {
    char dir[64];
    char image[PATH_BYTES];
    char data[PATH_BYTES];
    char log[PATH_BYTES];
    char state[PATH_BYTES];
    char key[PATH_BYTES];
    char replicas[PATH_BYTES];
    uint8_t *content; /* what the source disk holds */
    struct vault *vault;
};

static void write_image(struct world *w, uint64_t offset, size_t bytes, unsigned seed)
{
    struct err err = ERR_INIT;
    int fd = open(w->image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)DISK_BYTES), 0);
    uint32_t x = seed * 2654435761u + 1;
    for (size_t i = 0; i < bytes; i++) {
        x = x * 1664525u + 1013904223u;
        w->content[offset + i] = seed ? (uint8_t)(x >> 24) : 0;
    }
    if (!file_pwrite_full(fd, w->image, w->content + offset, bytes, offset, &err))
        fail_msg("%s", err.text);
    assert_int_equal(fsync(fd), 0);
    close(fd);
}

static void open_vault(struct world *w)
{
    struct err err = ERR_INIT;
    char log[PATH_BYTES + 8], state[PATH_BYTES + 8];
    (void)snprintf(log, sizeof log, "dir:%s", w->log);
    (void)snprintf(state, sizeof state, "dir:%s", w->state);
    struct vault_options options = {.data_dir = w->data,
                                    .log_store = log,
                                    .state_store = state,
                                    .key_file = w->key,
                                    .job_threads = 2,
                                    .auto_repair = true};
    w->vault = vault_open(&options, &err);
    if (!w->vault)
        fail_msg("%s", err.text);
}

static void reopen_vault(struct world *w)
{
    vault_close(w->vault);
    w->vault = NULL;
    open_vault(w);
}

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    struct err err = ERR_INIT;
    (void)snprintf(w->dir, sizeof w->dir, "/tmp/kedge-vault-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    (void)snprintf(w->image, PATH_BYTES, "%s/disk.img", w->dir);
    (void)snprintf(w->data, PATH_BYTES, "%s/data", w->dir);
    (void)snprintf(w->log, PATH_BYTES, "%s/log", w->dir);
    (void)snprintf(w->state, PATH_BYTES, "%s/state", w->dir);
    (void)snprintf(w->key, PATH_BYTES, "%s/key", w->dir);
    (void)snprintf(w->replicas, PATH_BYTES, "%s/replicas", w->dir);
    w->content = xcalloc(1, DISK_BYTES);
    write_image(w, 0, 3 * MIB, 1);
    if (!keys_file_create(w->key, &err) || !file_make_dirs(w->replicas, &err))
        fail_msg("%s", err.text);
    open_vault(w);
    AUTO(json_free) json_t *source = json_pack("{s:[s]}", "paths", w->image);
    AUTO(json_free) json_t *target = json_pack("{s:s}", "dir", w->replicas);
    if (!vault_source_add(w->vault, "src", "image", source, &err) ||
        !vault_target_add(w->vault, "dst", "local", target, &err))
        fail_msg("%s", err.text);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    vault_close(w->vault);
    assert_true(file_remove_tree(w->dir, &err));
    free(w->content);
    free(w);
    return 0;
}

/* Waits for the job's end; the job's view. */
static json_t *wait_job(struct world *w, uint64_t id)
{
    uint64_t until_ms = clock_mono_ms() + 40000;
    for (;;) {
        struct err err = ERR_INIT;
        json_t *job = vault_job(w->vault, id, &err);
        assert_non_null(job);
        const char *state = json_string_value(json_object_get(job, "state"));
        if (strcmp(state, "queued") != 0 && strcmp(state, "running") != 0)
            return job;
        if (clock_mono_ms() > until_ms)
            fail_msg("job %llu still %s", (unsigned long long)id, state);
        json_free(job);
        clock_sleep_ms(10);
    }
}

static void expect_job(struct world *w, uint64_t id, const char *expected)
{
    AUTO(json_free) json_t *job = wait_job(w, id);
    AUTO(buf_release) struct buf text = {0};
    json_print(job, &text);
    if (strcmp(json_string_value(json_object_get(job, "state")), expected) != 0)
        fail_msg("job %s: %s", expected, buf_text(&text));
}

static uint64_t ask(struct world *w, enum vault_operation operation)
{
    struct err err = ERR_INIT;
    uint64_t job = 0;
    if (!vault_operate(w->vault, "src", operation, NULL, NULL, &job, &err))
        fail_msg("%s", err.text);
    return job;
}

static uint64_t replicate(struct world *w)
{
    struct err err = ERR_INIT;
    uint64_t job = 0;
    if (!vault_replicate(w->vault, "src", "src", "dst", NULL, NULL, &job, &err))
        fail_msg("%s", err.text);
    return job;
}

static json_t *show(struct world *w)
{
    struct err err = ERR_INIT;
    json_t *view = vault_show(w->vault, "src", &err);
    if (!view)
        fail_msg("%s", err.text);
    return view;
}

static void expect_state(struct world *w, const char *expected)
{
    AUTO(json_free) json_t *view = show(w);
    assert_string_equal(json_string_value(json_object_get(view, "state")), expected);
}

static void expect_replica_equal(struct world *w)
{
    struct err err = ERR_INIT;
    char path[PATH_BYTES + 32];
    AUTO(buf_release) struct buf replica = {0};
    (void)snprintf(path, sizeof path, "%s/src/disk0.raw", w->replicas);
    if (!file_read(path, 2 * DISK_BYTES, &replica, &err))
        fail_msg("%s", err.text);
    assert_int_equal(replica.bytes, DISK_BYTES);
    assert_memory_equal(replica.data, w->content, DISK_BYTES);
}

static void wait_idle(struct world *w)
{
    for (int i = 0; i < 2000; i++) {
        AUTO(json_free) json_t *view = show(w);
        if (json_is_null(json_object_get(view, "cycle")) &&
            json_is_null(json_object_get(view, "job")) &&
            json_is_null(json_object_get(view, "last_error")) &&
            json_integer_value(json_object_get(view, "next_cycle_at_ms")) >
                (json_int_t)clock_wall_ms())
            return;
        clock_sleep_ms(10);
    }
    fail_msg("the machine never rests");
}

static void test_whole_life(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    expect_job(w, replicate(w), "succeeded");
    expect_replica_equal(w);
    wait_idle(w); /* the first delta comes at once */
    write_image(w, 5 * MIB, 300000, 2);
    write_image(w, 1 * MIB, 128 * 1024, 0);
    expect_job(w, ask(w, OP_SYNC), "succeeded");
    expect_replica_equal(w);
    write_image(w, 7 * MIB + 512, 512, 3);
    uint64_t verify = ask(w, OP_VERIFY);
    AUTO(json_free) json_t *job = wait_job(w, verify);
    assert_true(json_is_true(json_object_get(json_object_get(job, "result"), "equal")));
    expect_replica_equal(w);
    AUTO(json_free) json_t *view = show(w);
    assert_string_equal(json_string_value(json_object_get(view, "status")), "Delta sync");
    assert_string_equal(json_string_value(json_object_get(view, "migration_status")),
                        "Test migration pending");
    assert_true(json_array_size(json_object_get(view, "last_cycles")) >= 3);
    expect_job(w, ask(w, OP_STOP), "succeeded");
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
    expect_job(w, replicate(w), "succeeded");
    wait_idle(w);
    (void)snprintf(path, sizeof path, "%s/src/disk0.raw", w->replicas);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "damage", 6, 2 * MIB + 700), 6);
    close(fd);
    uint64_t verify = ask(w, OP_VERIFY);
    AUTO(json_free) json_t *job = wait_job(w, verify);
    assert_string_equal(json_string_value(json_object_get(job, "state")), "failed");
    json_t *result = json_object_get(job, "result");
    assert_true(json_is_false(json_object_get(result, "equal")));
    json_t *first = json_array_get(json_object_get(result, "differences"), 0);
    assert_int_equal(json_integer_value(json_object_get(first, "start_bytes")),
                     2 * MIB + 512);
    assert_int_equal(json_integer_value(json_object_get(first, "end_bytes")),
                     2 * MIB + 1024);
    wait_idle(w); /* auto_repair: the resync comes by itself */
    expect_replica_equal(w);
    expect_state(w, "delta-sync");
}

static void test_pause_and_resume(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    uint64_t job = 0;
    if (!vault_throttle_set(w->vault, 400000, &err))
        fail_msg("%s", err.text);
    uint64_t first = replicate(w);
    for (int i = 0; i < 500; i++) {
        AUTO(json_free) json_t *view = show(w);
        if (json_is_object(json_object_get(view, "cycle")))
            break;
        clock_sleep_ms(10);
    }
    assert_false(vault_operate(w->vault, "src", OP_TEST_MIGRATE, NULL, NULL, &job, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    expect_job(w, ask(w, OP_PAUSE), "succeeded");
    expect_job(w, first, "canceled");
    expect_state(w, "paused");
    write_image(w, 6 * MIB, 4096, 9); /* after the pause: a resumed cycle has its own
                                         point in time, or a delta brings it */
    assert_true(vault_throttle_set(w->vault, 0, &err));
    reopen_vault(w);
    expect_state(w, "paused");
    expect_job(w, ask(w, OP_RESUME), "succeeded");
    expect_job(w, ask(w, OP_SYNC), "succeeded");
    expect_replica_equal(w);
}

/* The vault goes away in the middle of the initial cycle; the job goes on after. */
static void test_restart_in_a_cycle(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    assert_true(vault_throttle_set(w->vault, 400000, &err));
    uint64_t job = replicate(w);
    for (int i = 0; i < 500; i++) {
        AUTO(json_free) json_t *view = show(w);
        if (json_is_object(json_object_get(view, "cycle")))
            break;
        clock_sleep_ms(10);
    }
    vault_close(w->vault);
    w->vault = NULL;
    open_vault(w);
    assert_true(vault_throttle_set(w->vault, 0, &err));
    expect_job(w, job, "succeeded");
    expect_job(w, ask(w, OP_SYNC), "succeeded");
    expect_replica_equal(w);
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
    expect_job(w, a, "succeeded");
    assert_true(vault_operate(w->vault, "src", OP_STOP, NULL, "k2", &b, &err));
    err_clear(&err);
    bool again = vault_operate(w->vault, "src", OP_STOP, NULL, "k2", &c, &err);
    assert_true(again ? b == c : err.kind == FAIL_GONE); /* it may have left already */
    expect_job(w, b, "succeeded");
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
    expect_job(w, replicate(w), "succeeded");
    wait_idle(w);
    uint64_t grown = DISK_BYTES + 2 * MIB;
    assert_int_equal(truncate(w->image, (off_t)grown), 0);
    expect_job(w, ask(w, OP_SYNC), "succeeded");
    (void)snprintf(path, sizeof path, "%s/src/disk0.raw", w->replicas);
    struct err err = ERR_INIT;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t bytes = 0;
    assert_true(file_size(fd, path, &bytes, &err));
    close(fd);
    assert_int_equal(bytes, grown);
    assert_int_equal(truncate(w->image, (off_t)DISK_BYTES), 0);
    expect_job(w, ask(w, OP_VERIFY), "succeeded");
    expect_replica_equal(w); /* also checks the size */
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
    uint64_t job = replicate(w);
    vault_wait(w->vault, next, 20000, NULL);
    AUTO(json_free) json_t *some = vault_events(w->vault, next, 0, &err);
    assert_true(json_array_size(json_object_get(some, "events")) > 0);
    expect_job(w, job, "succeeded");
}

static void touch(const char *path, bool is_there)
{
    struct err err = ERR_INIT;
    assert_true(is_there ? file_write_durable(path, "", 0, 0600, &err)
                         : file_remove_durable(path, &err));
}

/* Source "bad" and target "bad" misbehave while their trigger file exists. */
static void add_bad_ends(struct world *w, const char *kind, const char *source_trigger,
                         const char *target_trigger)
{
    struct err err = ERR_INIT;
    AUTO(json_free)
    json_t *source = json_pack("{s:[s], s:s, s:{s:s, s:i, s:s}}", "paths", w->image,
                               "name", "src", "fault", "kind", kind, "rate_per_million",
                               1000000, "trigger", source_trigger);
    AUTO(json_free)
    json_t *target =
        json_pack("{s:s, s:{s:s, s:i, s:s}}", "dir", w->replicas, "fault", "kind", kind,
                  "rate_per_million", 1000000, "trigger", target_trigger);
    if (!vault_source_add(w->vault, "bad", "image", source, &err) ||
        !vault_target_add(w->vault, "bad", "local", target, &err))
        fail_msg("%s", err.text);
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
    add_bad_ends(w, "no-space", source_trigger, target_trigger);
    touch(target_trigger, true);
    if (!vault_replicate(w->vault, "bad", "src", "bad", NULL, NULL, &job, &err))
        fail_msg("%s", err.text);
    for (int i = 0; i < 1000; i++) {
        AUTO(json_free) json_t *view = show(w);
        json_t *error = json_object_get(view, "last_error");
        if (json_is_object(error)) {
            assert_string_equal(json_string_value(json_object_get(error, "kind")),
                                "no-space");
            break;
        }
        clock_sleep_ms(10);
    }
    expect_state(w, "initial-replication");
    touch(target_trigger, false);
    expect_job(w, job, "succeeded");
    expect_state(w, "delta-sync");
    expect_replica_equal(w);
    /* and a delta whose writes fail after they were verified */
    wait_idle(w);
    write_image(w, 5 * MIB, 100000, 4);
    touch(target_trigger, true);
    expect_job(w, ask(w, OP_SYNC), "failed");
    touch(target_trigger, false);
    wait_idle(w);
    expect_replica_equal(w);
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
    add_bad_ends(w, "transient", source_trigger, target_trigger);
    touch(source_trigger, true);
    if (!vault_replicate(w->vault, "bad", "src", "bad", NULL, NULL, &job, &err))
        fail_msg("%s", err.text);
    clock_sleep_ms(400);
    expect_state(w, "initial-replication");
    touch(source_trigger, false);
    expect_job(w, job, "succeeded");
    wait_idle(w);
    touch(source_trigger, true);
    write_image(w, 5 * MIB, 100000, 4);
    uint64_t sync = ask(w, OP_SYNC);
    clock_sleep_ms(100);
    uint64_t before_ms = clock_mono_ms();
    expect_job(w, ask(w, OP_STOP), "succeeded");
    assert_true(clock_mono_ms() - before_ms < 5000);
    expect_job(w, sync, "failed");
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
    expect_job(w, replicate(w), "succeeded");
    AUTO(json_free)
    json_t *test = json_pack("{s:s, s:i, s:s}", "name", "t1", "boot_deadline_ms", 1500,
                             "marker", "never printed");
    AUTO(json_free)
    json_t *final = json_pack("{s:b, s:i, s:s}", "shutdown", 0, "boot_deadline_ms", 1500,
                              "marker", "never printed");
    assert_true(vault_operate(w->vault, "src", OP_TEST_MIGRATE, test, NULL, &job, &err));
    expect_job(w, job, "succeeded");
    AUTO(json_free) json_t *view = show(w);
    assert_string_equal(json_string_value(json_object_get(view, "migration_state")),
                        "test-cleanup-pending");
    assert_int_equal(json_array_size(json_object_get(view, "tests")), 1);
    assert_false(vault_operate(w->vault, "src", OP_MIGRATE, final, NULL, &job, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    write_image(w, 2 * MIB, 70000, 5);
    expect_job(w, ask(w, OP_SYNC), "succeeded"); /* beside the test */
    expect_job(w, ask(w, OP_TEST_CLEANUP), "succeeded");
    expect_replica_equal(w);
    write_image(w, 4 * MIB, 70000, 6);
    err_clear(&err);
    if (!vault_operate(w->vault, "src", OP_MIGRATE, final, NULL, &job, &err))
        fail_msg("%s", err.text);
    expect_job(w, job, "succeeded");
    expect_state(w, "migrated");
    AUTO(json_free) json_t *migrated = show(w);
    const char *vm_qmp =
        json_string_value(json_object_get(json_object_get(migrated, "vm"), "qmp_path"));
    assert_non_null(vm_qmp);
    expect_job(w, ask(w, OP_COMPLETE), "succeeded");
    err_clear(&err);
    assert_null(vault_show(w->vault, "src", &err));
    expect_replica_equal(w); /* the VM's disk now */
    char path[PATH_BYTES + 64];
    (void)snprintf(path, sizeof path, "%s/src/vm/vm.json", w->replicas);
    assert_true(file_exists(path));
    end_vm(vm_qmp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole_life, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damage_is_found_and_repaired, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_pause_and_resume, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_restart_in_a_cycle, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_same_key_same_job, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_input_changes_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_grown_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_events_wake, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_space_waits_and_goes_on, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_transient_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_test_and_migrate, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
