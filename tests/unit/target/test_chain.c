/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clones and the replica go their own ways: what a test writes never reaches the replica,
 * what the applier writes never reaches a test, whatever the order of tests and wherever
 * a process is killed on the way. No VM is started here: clones are written with qemu-io
 * and read with qemu-img.
 */
#include "check_target.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define DISKS      2
#define DISK_BYTES (6 * MIB)
#define STEP_BYTES (256 * KIB)
#define TESTS      3
#define NEVER      UINT32_MAX

/* What a child got done, seen by the parent after it was killed. */
struct progress {
    uint32_t writes;        /* finished write steps */
    uint32_t trying;        /* a write step that may be half done */
    uint32_t frozen[TESTS]; /* test i: number of write steps in it */
};

/* The content of a disk after `steps` write steps. */
static void model_of(uint32_t steps, size_t disk, uint8_t *data)
{
    memset(data, 0, DISK_BYTES);
    for (uint32_t k = 0; k < steps; k++) {
        fill_random(data + k * STEP_BYTES, STEP_BYTES, 1000 * disk + k);
        fill_random(data + 5 * MIB, STEP_BYTES, 7000 + 1000 * disk + k);
        memset(data + k * STEP_BYTES / 2, 0, 4096);
    }
}

static void write_step(struct target *target, const struct machine_def *machine,
                       uint32_t k)
{
    struct err err = ERR_INIT;
    for (size_t i = 0; i < DISKS; i++) {
        AUTO(replica_disk_close) struct replica_disk *disk = NULL;
        AUTO(replica_writer_close) struct replica_writer *writer = NULL;
        assert_ok(target_disk_open(target, machine, i, true, &disk, &err), err);
        assert_ok(replica_disk_writer_open(disk, &writer, &err), err);
        uint8_t *room = replica_writer_room(writer);
        fill_random(room, STEP_BYTES, 1000 * i + k);
        assert_ok(replica_writer_put(writer, k * STEP_BYTES, room, STEP_BYTES, &err),
                  err);
        room = replica_writer_room(writer);
        fill_random(room, STEP_BYTES, 7000 + 1000 * i + k);
        assert_ok(replica_writer_put(writer, 5 * MIB, room, STEP_BYTES, &err), err);
        assert_ok(replica_writer_zero(writer, k * STEP_BYTES / 2,
                                      k * STEP_BYTES / 2 + 4096, &err),
                  err);
        assert_ok(replica_writer_drain(writer, &err), err);
        assert_ok(replica_disk_flush(disk, &err), err);
    }
}

static void compare(const char *what, const uint8_t *got, uint32_t steps, size_t disk)
{
    uint8_t *want = malloc(DISK_BYTES);
    model_of(steps, disk, want);
    for (size_t at = 0; at < DISK_BYTES; at++)
        if (got[at] != want[at])
            fail_msg("%s, disk %zu, state %u: byte %zu is %02x, not %02x", what, disk,
                     steps, at, got[at], want[at]);
    free(want);
}

static void check_replica(struct target *target, const struct machine_def *machine,
                          uint32_t steps)
{
    struct err err = ERR_INIT;
    uint8_t *got = malloc(DISK_BYTES);
    for (size_t i = 0; i < DISKS; i++) {
        AUTO(replica_disk_close) struct replica_disk *disk = NULL;
        assert_ok(target_disk_open(target, machine, i, false, &disk, &err), err);
        assert_ok(replica_disk_read(disk, 0, got, DISK_BYTES, &err), err);
        compare("replica", got, steps, i);
    }
    free(got);
}

static void clone_path(const char *dir, const char *test, size_t disk, char out[256])
{
    (void)snprintf(out, 256, "%s/m1/tests/%s/disk%zu.qcow2", dir, test, disk);
}

static void check_clone(const char *dir, const char *test, uint32_t steps)
{
    struct err err = ERR_INIT;
    char path[256], raw[256];
    (void)snprintf(raw, sizeof raw, "%s/clone.raw", dir);
    for (size_t i = 0; i < DISKS; i++) {
        AUTO(buf_release) struct buf got = {0};
        clone_path(dir, test, i, path);
        const char *argv[] = {"qemu-img", "convert", "-f", "qcow2", "-O",
                              "raw",      path,      raw,  NULL};
        assert_ok(process_run(argv, 60000, NULL, NULL, &err), err);
        assert_ok(file_read(raw, DISK_BYTES, &got, &err), err);
        assert_int_equal(got.bytes, DISK_BYTES);
        compare(test, got.data, steps, i);
        (void)unlink(raw);
    }
}

static void scribble(const char *dir, const char *test)
{
    struct err err = ERR_INIT;
    char path[256];
    for (size_t i = 0; i < DISKS; i++) {
        clone_path(dir, test, i, path);
        const char *argv[] = {"qemu-io", "-f",    "qcow2", "-c", "write -P 0xaa 0 6M",
                              "-c",      "flush", path,    NULL};
        assert_ok(process_run(argv, 60000, NULL, NULL, &err), err);
    }
}

static bool start(struct target *target, const struct machine_def *machine,
                  const char *name, struct err *err)
{
    static struct vm_info info;
    struct test_options options = {.test_name = name, .network = "", .marker = ""};
    return target_test_start(target, machine, &options, NULL, &info, err);
}

static size_t count_overlays(const char *dir)
{
    char path[128];
    size_t count = 0;
    (void)snprintf(path, sizeof path, "%s/m1", dir);
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (strstr(e->d_name, ".g") || strstr(e->d_name, ".tmp") ||
            strstr(e->d_name, "nbd-"))
            count++;
    (void)closedir(d);
    return count;
}

static void check_isolation(enum local_format format)
{
    char dir[64];
    struct err err = ERR_INIT;
    struct machine_def machine;
    struct replica_disk *disk;
    make_temp_dir(dir);
    make_machine(&machine, DISKS, DISK_BYTES);
    AUTO(target_close) struct target *target = open_local(dir, format, false);
    assert_ok(target_replica_create(target, &machine, &err), err);
    write_step(target, &machine, 0);
    assert_ok(start(target, &machine, "t1", &err), err);
    assert_fails(start(target, &machine, "t1", &err), FAIL_CONFLICT, err);
    write_step(target, &machine, 1);
    assert_ok(start(target, &machine, "t2", &err), err);
    write_step(target, &machine, 2);
    check_clone(dir, "t1", 1);
    check_clone(dir, "t2", 2);
    scribble(dir, "t1");
    check_replica(target, &machine, 3);
    check_clone(dir, "t2", 2);
    assert_ok(target_disk_open(target, &machine, 0, true, &disk, &err), err);
    assert_fails(start(target, &machine, "t3", &err), FAIL_CONFLICT, err);
    replica_disk_close(disk);
    /* The older one first: the younger still stands on what is between. */
    assert_ok(target_test_cleanup(target, &machine, "t1", &err), err);
    assert_ok(target_test_cleanup(target, &machine, "t1", &err), err);
    check_clone(dir, "t2", 2);
    check_replica(target, &machine, 3);
    scribble(dir, "t2");
    assert_int_equal(count_overlays(dir), 2 * DISKS);
    assert_ok(start(target, &machine, "t3", &err), err);
    write_step(target, &machine, 3);
    assert_ok(target_test_cleanup(target, &machine, "t2", &err), err);
    check_clone(dir, "t3", 3);
    assert_ok(target_test_cleanup(target, &machine, "t3", &err), err);
    assert_int_equal(count_overlays(dir), 0);
    check_replica(target, &machine, 4);
    write_step(target, &machine, 4);
    check_replica(target, &machine, 5);
    assert_ok(target_remove(target, &machine, &err), err);
    assert_ok(target_remove(target, &machine, &err), err);
    drop_temp_dir(dir);
}

static void test_isolation_raw(void **unused)
{
    (void)unused;
    check_isolation(LOCAL_RAW);
}

static void test_isolation_qcow2(void **unused)
{
    (void)unused;
    check_isolation(LOCAL_QCOW2);
}

/* A test that stays while others come and go does not make the chain longer and longer.
 */
static void test_chain_stays_short(void **unused)
{
    (void)unused;
    char dir[64], name[16];
    struct err err = ERR_INIT;
    struct machine_def machine;
    make_temp_dir(dir);
    make_machine(&machine, DISKS, DISK_BYTES);
    AUTO(target_close) struct target *target = open_local(dir, LOCAL_RAW, false);
    assert_ok(target_replica_create(target, &machine, &err), err);
    write_step(target, &machine, 0);
    assert_ok(start(target, &machine, "stays", &err), err);
    for (uint32_t i = 1; i < 5; i++) {
        (void)snprintf(name, sizeof name, "t%u", i);
        write_step(target, &machine, i);
        assert_ok(start(target, &machine, name, &err), err);
        check_clone(dir, name, i + 1);
        assert_ok(target_test_cleanup(target, &machine, name, &err), err);
        assert_int_equal(count_overlays(dir), DISKS);
    }
    check_clone(dir, "stays", 1);
    assert_ok(target_remove(target, &machine, &err), err);
    drop_temp_dir(dir);
}

/* A disk that is resized while a test stands on its older state. */
static void test_resize_above_clone(void **unused)
{
    (void)unused;
    char dir[64];
    struct err err = ERR_INIT;
    struct machine_def machine;
    static uint8_t block[4096], zeros[4096];
    make_temp_dir(dir);
    make_machine(&machine, DISKS, DISK_BYTES);
    AUTO(target_close) struct target *target = open_local(dir, LOCAL_RAW, false);
    assert_ok(target_replica_create(target, &machine, &err), err);
    write_step(target, &machine, 0);
    assert_ok(start(target, &machine, "t1", &err), err);
    assert_ok(target_disk_resize(target, &machine, 0, 4 * MIB, &err), err);
    assert_ok(target_disk_resize(target, &machine, 0, 8 * MIB, &err), err);
    assert_ok(target_disk_resize(target, &machine, 1, 2 * MIB, &err), err);
    check_clone(dir, "t1", 1);
    assert_ok(target_test_cleanup(target, &machine, "t1", &err), err);
    for (size_t i = 0; i < DISKS; i++) {
        AUTO(replica_disk_close) struct replica_disk *disk = NULL;
        assert_ok(target_disk_open(target, &machine, i, true, &disk, &err), err);
        assert_int_equal(replica_disk_bytes(disk), i ? 2 * MIB : 8 * MIB);
        if (i == 0) { /* was data at 5 MiB before the cut */
            assert_ok(replica_disk_read(disk, 5 * MIB, block, sizeof block, &err), err);
            assert_memory_equal(block, zeros, sizeof block);
        }
    }
    assert_ok(target_remove(target, &machine, &err), err);
    drop_temp_dir(dir);
}

/* ---- crashes ---- */

static bool run_scenario(struct target *target, const struct machine_def *machine,
                         struct progress *progress, struct err *err)
{
    static const char *const NAMES[TESTS] = {"t0", "t1", "t2"};
    for (uint32_t k = 0; k < 6; k++) {
        progress->trying = k;
        write_step(target, machine, k);
        progress->writes = k + 1;
        if (k < TESTS) {
            progress->frozen[k] = k + 1;
            if (!start(target, machine, NAMES[k], err))
                return false;
        } else if (!target_test_cleanup(target, machine, NAMES[(k + 1) % TESTS], err))
            return false;
    }
    return true;
}

/* Whatever happened, everything is whole and can be cleaned up. */
static void check_after(const char *dir, enum local_format format,
                        const struct machine_def *machine,
                        const struct progress *progress)
{
    struct err err = ERR_INIT;
    char path[256], name[8];
    AUTO(target_close) struct target *target = open_local(dir, format, false);
    if (progress->writes > progress->trying) /* else a step is half done */
        check_replica(target, machine, progress->writes);
    else
        write_step(target, machine, progress->trying);
    uint32_t steps = progress->trying + 1;
    check_replica(target, machine, steps);
    for (uint32_t i = 0; i < TESTS; i++) {
        (void)snprintf(name, sizeof name, "t%u", i);
        clone_path(dir, name, DISKS - 1, path);
        if (file_exists(path))
            check_clone(dir, name, progress->frozen[i]);
    }
    write_step(target, machine, steps);
    for (uint32_t i = 0; i < TESTS; i++) {
        (void)snprintf(name, sizeof name, "t%u", i);
        assert_ok(target_test_cleanup(target, machine, name, &err), err);
    }
    assert_int_equal(count_overlays(dir), 0);
    check_replica(target, machine, steps + 1);
    assert_ok(start(target, machine, "again", &err), err);
    check_clone(dir, "again", steps + 1);
    assert_ok(target_remove(target, machine, &err), err);
}

/* Shared with the child through a file. */
static struct progress *map_progress(const char *dir)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/progress", dir);
    AUTO(close_fd) int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, sizeof(struct progress)), 0);
    struct progress *progress =
        mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(progress != MAP_FAILED);
    return progress;
}

/* The child: a program of its own, so that visits of fault points count from one. */
static int child_main(const char *dir, enum local_format format)
{
    struct err err = ERR_INIT;
    struct machine_def machine;
    make_machine(&machine, DISKS, DISK_BYTES);
    if (!fault_init(&err))
        return 3;
    AUTO(target_close) struct target *target = open_local(dir, format, false);
    return run_scenario(target, &machine, map_progress(dir), &err) ? 0 : 1;
}

/* kill_after_ms NEVER: until it ends. The exit status. */
static int run_child(const char *dir, enum local_format format, uint32_t kill_after_ms)
{
    pid_t pid = fork();
    if (pid == 0) {
        (void)execl("/proc/self/exe", "test_chain", dir,
                    format == LOCAL_RAW ? "raw" : "qcow2", NULL);
        _exit(4);
    }
    int status = 0;
    if (kill_after_ms != NEVER) {
        clock_sleep_ms(kill_after_ms);
        (void)kill(pid, SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int one_crash(enum local_format format, const char *faults, uint32_t kill_after_ms)
{
    char dir[64];
    struct err err = ERR_INIT;
    struct machine_def machine;
    make_temp_dir(dir);
    struct progress *progress = map_progress(dir);
    make_machine(&machine, DISKS, DISK_BYTES);
    struct target *target = open_local(dir, format, false);
    assert_ok(target_replica_create(target, &machine, &err), err);
    target_close(target);
    (void)setenv("FAULTS", faults, 1);
    int status = run_child(dir, format, kill_after_ms);
    (void)unsetenv("FAULTS");
    print_message("%s: status %d after %u writes\n", faults[0] ? faults : "kill", status,
                  progress->writes);
    check_after(dir, format, &machine, progress);
    (void)munmap(progress, sizeof *progress);
    drop_temp_dir(dir);
    return status;
}

static void test_crash_at_points(void **unused)
{
    (void)unused;
#ifdef KEDGE_FAULTS
    static const char *const POINTS[] = {
        "TARGET_BEFORE_CLONE@2",   "TARGET_AFTER_CLONE@1",    "TARGET_AFTER_CLONE@3",
        "TARGET_BEFORE_CLEANUP@1", "TARGET_BEFORE_CLEANUP@3", "FILE_BEFORE_FSYNC@2",
        "FILE_BEFORE_RENAME@1",    "FILE_BEFORE_RENAME@3",    "FILE_BEFORE_RENAME@4",
        "FILE_BEFORE_RENAME@5",    "FILE_BEFORE_DIR_FSYNC@3", "FILE_BEFORE_DIR_FSYNC@5",
        "FILE_BEFORE_RENAME@7",    "FILE_BEFORE_DIR_FSYNC@7",
    };
    char faults[64];
    for (size_t i = 0; i < ARRAY_COUNT(POINTS); i++) {
        size_t length = strcspn(POINTS[i], "@");
        (void)snprintf(faults, sizeof faults, "%.*s=crash%s", (int)length, POINTS[i],
                       POINTS[i] + length);
        assert_int_equal(one_crash(LOCAL_RAW, faults, NEVER), 137);
        if (i % 3)
            continue;
        (void)snprintf(faults, sizeof faults, "%.*s=error%s", (int)length, POINTS[i],
                       POINTS[i] + length);
        assert_int_equal(one_crash(LOCAL_RAW, faults, NEVER), 1);
    }
#else
    skip(); /* needs -Dfaults=true */
#endif
}

/* A block server whose starter died before it connected holds the lock for ever. */
static void test_stray_server(void **unused)
{
    (void)unused;
    char dir[64], socket_arg[128], pid_arg[128], head[128], log[128];
    struct err err = ERR_INIT;
    struct machine_def machine;
    int pid = 0;
    make_temp_dir(dir);
    make_machine(&machine, DISKS, DISK_BYTES);
    AUTO(target_close) struct target *target = open_local(dir, LOCAL_QCOW2, false);
    assert_ok(target_replica_create(target, &machine, &err), err);
    write_step(target, &machine, 0);
    (void)snprintf(socket_arg, sizeof socket_arg, "--socket=%s/elsewhere.sock", dir);
    (void)snprintf(pid_arg, sizeof pid_arg, "--pid-file=%s/m1/nbd-stray.pid", dir);
    (void)snprintf(head, sizeof head, "%s/m1/disk0.qcow2", dir);
    (void)snprintf(log, sizeof log, "%s/stray.log", dir);
    const char *argv[] = {"qemu-nbd", socket_arg, pid_arg, "-f", "qcow2", head, NULL};
    assert_ok(process_start(argv, log, &pid, &err), err);
    while (!file_exists(strchr(pid_arg, '=') + 1))
        clock_sleep_ms(5);
    (void)unlink(strchr(pid_arg, '=') + 1); /* not even its files are there */
    check_replica(target, &machine, 1);
    assert_false(process_is_alive(pid));
    drop_temp_dir(dir);
}

static void test_kill_anywhere(void **unused)
{
    (void)unused;
    uint64_t state = 42;
    for (int i = 0; i < 10; i++)
        (void)one_crash(i % 4 == 3 ? LOCAL_QCOW2 : LOCAL_RAW, "",
                        (uint32_t)(50 + next_random(&state) % 900));
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return child_main(argv[1], strcmp(argv[2], "raw") == 0 ? LOCAL_RAW : LOCAL_QCOW2);

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_isolation_raw),
        cmocka_unit_test(test_isolation_qcow2),
        cmocka_unit_test(test_chain_stays_short),
        cmocka_unit_test(test_resize_above_clone),
        cmocka_unit_test(test_crash_at_points),
        cmocka_unit_test(test_kill_anywhere),
        cmocka_unit_test(test_stray_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
