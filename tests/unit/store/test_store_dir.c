/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only a folder can show: leftovers of a crash, the lock, strangers' files, kill -9
 * in the middle of puts, and (in a build with fault points) a failure at each step.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/pool.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TMP_DIR "/tmp/kedge-store-XXXXXX"

static int setup(void **state)
{
    char *dir = xstrdup(TMP_DIR);
    assert_non_null(mkdtemp(dir));
    *state = dir;
    return 0;
}

static int teardown(void **state)
{
    struct err err = ERR_INIT;
    bool ok = file_remove_tree(*state, &err);
    free(*state);
    return ok ? 0 : -1;
}

static struct store *open_or_fail(const char *dir)
{
    struct err err = ERR_INIT;
    struct store *store = store_dir_open(dir, &err);
    if (!store)
        fail_msg("%s", err.text);
    return store;
}

static void write_file(const char *dir, const char *name, const char *text)
{
    AUTO(free) char *path = file_join(dir, name);
    AUTO(close_fd) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void make_folder(const char *dir, const char *name)
{
    struct err err = ERR_INIT;
    AUTO(free) char *path = file_join(dir, name);
    assert_true(file_make_dirs(path, &err));
}

static bool is_there(const char *dir, const char *name)
{
    struct stat st;
    AUTO(free) char *path = file_join(dir, name);
    return lstat(path, &st) == 0;
}

static bool append_name(void *ctx, const char *name, uint64_t bytes, struct err *err)
{
    (void)bytes;
    (void)err;
    buf_printf(ctx, "%s ", name);
    return true;
}

static void assert_lists(struct store *store, const char *expected)
{
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf names = {0};
    assert_true(store_list(store, "", append_name, &names, &err));
    assert_string_equal(buf_text(&names), expected);
}

static void open_makes_the_folder_and_its_parents(void **state)
{
    AUTO(free) char *deep = file_join(*state, "not/there/yet");
    AUTO(store_close) struct store *store = open_or_fail(deep);
    assert_lists(store, "");
    struct stat st;
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

static void open_refuses_a_file_and_names_it(void **state)
{
    struct err err = ERR_INIT;
    write_file(*state, "file", "x");
    AUTO(free) char *path = file_join(*state, "file");
    assert_null(store_dir_open(path, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    assert_non_null(strstr(err.text, path));
}

static void open_sweeps_what_a_crash_left_and_nothing_else(void **state)
{
    const char *dir = *state;
    make_folder(dir, "a/b");
    make_folder(dir, "empty/deep/er");
    make_folder(dir, "only/tmp");
    write_file(dir, "#0", "half");
    write_file(dir, "a/#7", "half");
    write_file(dir, "a/b/#123456789", "half");
    write_file(dir, "only/tmp/#1", "half");
    write_file(dir, "a/b/kept", "whole");
    write_file(dir, "kept.tmp", "an object whose name only looks temporary");
    write_file(dir, "stranger file", "x");
    AUTO(free) char *link_path = file_join(dir, "link");
    assert_int_equal(symlink("/etc", link_path), 0);
    AUTO(store_close) struct store *store = open_or_fail(dir);
    assert_lists(store, "a/b/kept kept.tmp ");
    static const char *const GONE[] = {"#0", "a/#7", "a/b/#123456789", "only", "empty"};
    for (size_t i = 0; i < ARRAY_COUNT(GONE); i++)
        assert_false(is_there(dir, GONE[i]));
    static const char *const KEPT[] = {"stranger file", "link", "#lock", "a/b/kept"};
    for (size_t i = 0; i < ARRAY_COUNT(KEPT); i++)
        assert_true(is_there(dir, KEPT[i]));
}

static void links_and_pipes_are_no_objects(void **state)
{
    const char *dir = *state;
    struct err err = ERR_INIT;
    uint8_t byte;
    size_t got;
    AUTO(store_close) struct store *store = open_or_fail(dir);
    AUTO(free) char *link_path = file_join(dir, "link");
    AUTO(free) char *pipe_path = file_join(dir, "pipe");
    assert_int_equal(symlink("/etc/hostname", link_path), 0);
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    assert_false(store_get(store, "link", 0, &byte, 1, &got, &err));
    assert_false(store_get(store, "pipe", 0, &byte, 1, &got, &err)); /* does not block */
    assert_lists(store, "");
}

static void a_second_open_is_refused_until_close(void **state)
{
    const char *dir = *state;
    struct err err = ERR_INIT;
    struct store *store = open_or_fail(dir);
    assert_null(store_dir_open(dir, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    assert_non_null(strstr(err.text, dir));
    pid_t child = fork();
    if (child == 0) { /* another process, with a descriptor of its own */
        struct err child_err = ERR_INIT;
        _exit(store_dir_open(dir, &child_err) == NULL && child_err.kind == FAIL_CONFLICT
                  ? 0
                  : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    store_close(store);
    store_close(open_or_fail(dir));
}

static void emptied_folders_go(void **state)
{
    struct err err = ERR_INIT;
    AUTO(store_close) struct store *store = open_or_fail(*state);
    assert_true(store_put(store, "m/c/1/s", NULL, 0, STORE_REPLACE, &err));
    assert_true(store_put(store, "m/keep", NULL, 0, STORE_REPLACE, &err));
    assert_true(is_there(*state, "m/c/1"));
    assert_true(store_remove(store, "m/c/1/s", &err));
    assert_false(is_there(*state, "m/c"));
    assert_true(is_there(*state, "m/keep"));
}

static void more_folders_than_are_kept_open(void **state)
{
    struct err err = ERR_INIT;
    char name[64];
    AUTO(store_close) struct store *store = open_or_fail(*state);
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < 100; i++) {
            (void)snprintf(name, sizeof name, "f%u/g/o%u", i, round);
            assert_true(store_put(store, name, (const uint8_t *)name, strlen(name),
                                  STORE_IF_ABSENT, &err));
        }
    AUTO(buf_release) struct buf got = {0};
    assert_true(store_get_all(store, "f99/g/o1", 100, &got, &err));
    assert_string_equal(buf_text(&got), "f99/g/o1");
}

/* ---- kill -9 ---- */

#define KILLS         25
#define OBJECT_MAX    300000u
#define OBJECTS_A_RUN 100000u

static size_t object_bytes(uint32_t i)
{
    return i % 3 == 0 ? i * 977u % OBJECT_MAX : i % 100;
}

static void object_name(uint32_t i, char out[64])
{
    (void)snprintf(out, 64, "d%u/o%u", i % 5, i);
}

/* Puts objects for ever; writes the number of each acknowledged one to ack_fd. */
static void put_until_killed(const char *dir, uint32_t from, int ack_fd)
{
    struct err err = ERR_INIT;
    struct pool *pool = pool_new(1, OBJECT_MAX);
    uint8_t *data = pool_take(pool, NULL, &err);
    struct store *store = store_dir_open(dir, &err);
    for (uint32_t i = from; store && i < from + OBJECTS_A_RUN; i++) {
        char name[64];
        object_name(i, name);
        memset(data, (int)(i & 0xff), object_bytes(i));
        if (!store_put(store, name, data, object_bytes(i), STORE_IF_ABSENT, &err) ||
            write(ack_fd, &i, sizeof i) != sizeof i)
            break;
    }
    _exit(1); /* only a kill ends it well */
}

static uint32_t kill_in_the_middle(const char *dir, uint32_t from, unsigned after_us)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0)
        put_until_killed(dir, from, fds[1]);
    (void)close(fds[1]);
    uint32_t next = from, i;
    assert_int_equal(read(fds[0], &i, sizeof i), sizeof i); /* it runs */
    next = i + 1;
    (void)usleep(after_us);
    assert_int_equal(kill(child, SIGKILL), 0);
    while (read(fds[0], &i, sizeof i) == sizeof i)
        next = i + 1;
    (void)close(fds[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    return next;
}

static void assert_object(struct store *store, uint32_t i, bool must_be_there)
{
    char name[64];
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf got = {0};
    object_name(i, name);
    if (!store_get_all(store, name, OBJECT_MAX, &got, &err)) {
        if (must_be_there || err.kind != FAIL_GONE)
            fail_msg("%s: %s", name, err.text);
        return;
    }
    assert_int_equal(got.bytes, object_bytes(i));
    for (size_t at = 0; at < got.bytes; at++)
        assert_int_equal(got.data[at], i & 0xff);
}

static void killed_puts_are_whole_or_not_there(void **state)
{
    const char *dir = *state;
    uint32_t next = 0;
    for (unsigned round = 0; round < KILLS; round++) {
        uint32_t from = next;
        next = kill_in_the_middle(dir, from, (round * 7919u) % 20000u);
        AUTO(store_close) struct store *store = open_or_fail(dir);
        for (uint32_t i = from; i < next; i++)
            assert_object(store, i, true);
        assert_object(store, next, false);
        AUTO(buf_release) struct buf names = {0};
        struct err err = ERR_INIT;
        assert_true(store_list(store, "", append_name, &names, &err));
        assert_null(strchr(buf_text(&names), '#'));
        next++; /* the one in doubt */
    }
    assert_true(next > KILLS);
}

/* ---- fault points ---- */

static void a_put_that_fails_leaves_the_old_object(void **state)
{
#ifndef KEDGE_FAULTS
    (void)state;
    skip(); /* needs -Dfaults=true */
#else
    static const char *const POINTS[] = {"STORE_BEFORE_PUT", "FILE_BEFORE_FSYNC",
                                         "FILE_BEFORE_RENAME"};
    AUTO(store_close) struct store *store = open_or_fail(*state);
    struct err err = ERR_INIT;
    assert_true(store_put(store, "a/o", (const uint8_t *)"old", 3, STORE_REPLACE, &err));
    for (size_t i = 0; i < ARRAY_COUNT(POINTS); i++) {
        char rule[64];
        (void)snprintf(rule, sizeof rule, "%s=error@1+:no-space", POINTS[i]);
        assert_int_equal(setenv("FAULTS", rule, 1), 0);
        assert_true(fault_init(&err));
        assert_false(
            store_put(store, "a/o", (const uint8_t *)"new", 3, STORE_REPLACE, &err));
        assert_int_equal(err.kind, FAIL_NO_SPACE);
        (void)snprintf(rule, sizeof rule, "%s=error@1000000", POINTS[i]);
        assert_int_equal(setenv("FAULTS", rule, 1), 0); /* off again */
        err_clear(&err);
        assert_true(fault_init(&err));
        AUTO(buf_release) struct buf got = {0};
        assert_true(store_get_all(store, "a/o", 10, &got, &err));
        assert_string_equal(buf_text(&got), "old");
        assert_true(store_put(store, "#", NULL, 0, STORE_REPLACE, &err) == false);
        err_clear(&err);
    }
    assert_false(is_there(*state, "a/#1"));
    assert_false(is_there(*state, "a/#2"));
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(open_makes_the_folder_and_its_parents, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(open_refuses_a_file_and_names_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(open_sweeps_what_a_crash_left_and_nothing_else,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(links_and_pipes_are_no_objects, setup, teardown),
        cmocka_unit_test_setup_teardown(a_second_open_is_refused_until_close, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(emptied_folders_go, setup, teardown),
        cmocka_unit_test_setup_teardown(more_folders_than_are_kept_open, setup, teardown),
        cmocka_unit_test_setup_teardown(killed_puts_are_whole_or_not_there, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_put_that_fails_leaves_the_old_object, setup,
                                        teardown),
    };
    return cmocka_run_group_tests_name("store_dir", tests, NULL, NULL);
}
