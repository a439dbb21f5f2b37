/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process ends at each durable step of each operation at an azure target; the next
 * one does the same again, and in the end all is as if nothing had been.
 */
#include "azure_rig.h"

#include "base/fault.h"

#include <sys/wait.h>
#include <unistd.h>

#define DISK_BYTES (MIB + 512)

static struct rig rig;
static struct machine_def machine;

enum step { CREATE, RESIZE, TEST, CLEANUP, MIGRATE, COMPLETE, REMOVE };

static bool run(struct target *target, enum step step, struct err *err)
{
    AUTO(free) struct vm_info *info = xcalloc(1, sizeof *info);
    struct test_options options = {
        .test_name = "t", .start = true, .boot_deadline_ms = 30000};
    switch (step) {
    case CREATE:
        return target_replica_create(target, &machine, err);
    case RESIZE:
        return target_disk_resize(target, &machine, 0, 3 * MIB, err);
    case TEST:
        return target_test_start(target, &machine, &options, NULL, info, err);
    case CLEANUP:
        return target_test_cleanup(target, &machine, "t", err);
    case MIGRATE:
        options.test_name = "";
        return target_migrate(target, &machine, &options, NULL, info, err);
    case COMPLETE:
        return target_complete(target, &machine, err);
    case REMOVE:
        break;
    }
    return target_remove(target, &machine, err);
}

/* What a process that has visited no point yet is asked to do. */
struct request {
    enum step step;
    char fault[80];
    struct machine_def machine;
};
static int ask_fd = -1, answer_fd = -1;

static void transfer(int fd, void *data, size_t bytes, bool out)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t n = out ? write(fd, (uint8_t *)data + done, bytes - done)
                        : read(fd, (uint8_t *)data + done, bytes - done);
        if (n <= 0)
            _exit(0); /* the other side has gone */
        done += (size_t)n;
    }
}

static int run_alone(const struct request *request)
{
    struct err err = ERR_INIT;
    struct target *target = NULL;
    machine = request->machine;
    if (setenv("FAULTS", request->fault, 1) != 0 || !fault_init(&err) ||
        !target_azure_open(&rig.options, &target, &err))
        return 3;
    return run(target, request->step, &err) ? 0 : 4;
}

/* Counters of visits are inherited: so these processes descend from one that was made
 * before the first visit. */
static void serve(int in, int out)
{
    static struct request request;
    for (;;) {
        int status = 0;
        transfer(in, &request, sizeof request, false);
        pid_t pid = fork();
        if (pid == 0)
            _exit(run_alone(&request));
        if (pid < 0 || waitpid(pid, &status, 0) != pid)
            _exit(1);
        transfer(out, &status, sizeof status, true);
    }
}

static void start_server(void)
{
    int asks[2], answers[2];
    assert_int_equal(pipe(asks), 0);
    assert_int_equal(pipe(answers), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)close(asks[1]); /* else its end would never be seen */
        serve(asks[0], answers[1]);
    }
    (void)close(asks[0]);
    (void)close(answers[1]);
    ask_fd = asks[1];
    answer_fd = answers[0];
}

/* Whether a process of its own died at the Nth visit of the point. */
static bool dies(enum step step, const char *point, unsigned visit)
{
    static struct request request;
    int status = 0;
    request.step = step;
    request.machine = machine;
    (void)snprintf(request.fault, sizeof request.fault, "%s=crash@%u", point, visit);
    transfer(ask_fd, &request, sizeof request, true);
    transfer(answer_fd, &status, sizeof status, false);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 3 || WEXITSTATUS(status) == 4)
        fail_msg("%s: the child ends with %d", request.fault, WEXITSTATUS(status));
    return WEXITSTATUS(status) != 0;
}

static const char *const POINTS[] = {"TARGET_BEFORE_LAYOUT",  "TARGET_AFTER_LAYOUT",
                                     "TARGET_BEFORE_CLONE",   "TARGET_AFTER_CLONE",
                                     "TARGET_BEFORE_CLEANUP", "TARGET_BEFORE_VM",
                                     "TARGET_AFTER_VM"};

/* Every point of the step in turn: prepare, die, see that all is known, do it again. */
static void sweep(enum step step, void (*prepare)(void), void (*check)(void))
{
    struct err err = ERR_INIT;
    unsigned deaths = 0;
    for (size_t i = 0; i < ARRAY_COUNT(POINTS); i++)
        for (unsigned visit = 1;; visit++) {
            prepare();
            bool has_died = dies(step, POINTS[i], visit);
            rig_check_inventory(&rig);
            if (step == TEST) { /* a test is rolled back by who asks again */
                assert_ok(run(rig.target, CLEANUP, &err), err);
                assert_int_equal(rig_snapshots(&rig), 0);
            }
            assert_ok(run(rig.target, step, &err), err);
            check();
            if (!has_died)
                break;
            deaths++;
        }
    assert_true(deaths > 0);
}

static void new_machine(void)
{
    static unsigned number; /* the simulator keeps the bytes of disks by name */
    make_machine(&machine, 1, DISK_BYTES);
    (void)snprintf(machine.name, sizeof machine.name, "c-%u", number++);
    machine.disks[0].id = id_random();
}

static void with_replica(void)
{
    struct err err = ERR_INIT;
    new_machine();
    assert_ok(run(rig.target, CREATE, &err), err);
    rig_fill(&rig, &machine, 0, 8192, 4);
}

static void with_test(void)
{
    struct err err = ERR_INIT;
    with_replica();
    assert_ok(run(rig.target, TEST, &err), err);
}

static void with_vm(void)
{
    struct err err = ERR_INIT;
    with_replica();
    assert_ok(run(rig.target, MIGRATE, &err), err);
}

static void is_usable(void)
{
    struct err err = ERR_INIT;
    rig_check_inventory(&rig);
    rig_fill(&rig, &machine, 0, 4096, 6);
    assert_ok(run(rig.target, REMOVE, &err), err);
    assert_int_equal(rig_blobs(&rig), 0);
    assert_int_equal(azure_sim_made(rig.sim), 0);
}

static void is_larger(void)
{
    struct err err = ERR_INIT;
    char disk[48];
    machine.disks[0].disk_bytes = 3 * MIB;
    assert_ok(run(rig.target, TEST, &err), err);
    (void)snprintf(disk, sizeof disk, "%s-t-disk0", machine.name);
    rig_check_content(&rig, disk, 3 * MIB, 8192, 4);
    is_usable();
}

static void is_clean(void)
{
    assert_int_equal(azure_sim_made(rig.sim), 0);
    assert_int_equal(rig_snapshots(&rig), 0);
    is_usable();
}

static void is_migrated(void)
{
    struct err err = ERR_INIT;
    char disk[48];
    (void)snprintf(disk, sizeof disk, "%s-disk0", machine.name);
    rig_check_content(&rig, disk, 2 * MIB, 8192, 4);
    rig_check_inventory(&rig);
    assert_ok(run(rig.target, COMPLETE, &err), err);
    assert_int_equal(rig_drop_released(&rig), 3);
    assert_int_equal(azure_sim_made(rig.sim), 0);
    assert_int_equal(rig_blobs(&rig), 0);
}

static void is_complete(void)
{
    assert_int_equal(rig_blobs(&rig), 0);
    assert_int_equal(rig_drop_released(&rig), 3);
    assert_int_equal(azure_sim_made(rig.sim), 0);
}

static void is_gone(void)
{
    assert_int_equal(rig_blobs(&rig), 0);
    assert_int_equal(azure_sim_made(rig.sim), 0);
}

static void test_create(void **unused)
{
    (void)unused;
    sweep(CREATE, new_machine, is_usable);
    sweep(RESIZE, with_replica, is_larger);
}

static void test_tests(void **unused)
{
    (void)unused;
    sweep(TEST, with_replica, is_usable);
    sweep(CLEANUP, with_test, is_clean);
}

static void test_migrate(void **unused)
{
    (void)unused;
    sweep(MIGRATE, with_replica, is_migrated);
    with_vm();
    struct err err = ERR_INIT;
    assert_ok(run(rig.target, COMPLETE, &err), err);
    is_complete();
}

static void test_remove(void **unused)
{
    (void)unused;
    sweep(REMOVE, with_test, is_gone);
}

static int begin_all(void **state)
{
    (void)state;
    rig_begin(&rig);
    start_server();
    return 0;
}

static int end_all(void **state)
{
    (void)state;
    (void)close(ask_fd);
    (void)close(answer_fd);
    rig_end(&rig);
    return 0;
}

int main(void)
{
#ifndef KEDGE_FAULTS
    (void)fprintf(stderr, "SKIP: built without fault points (-Dfaults=true)\n");
    return 77;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_tests),
        cmocka_unit_test(test_migrate),
        cmocka_unit_test(test_remove),
    };
    return cmocka_run_group_tests(tests, begin_all, end_all);
}
