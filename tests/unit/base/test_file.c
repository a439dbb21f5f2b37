/* SPDX-License-Identifier: Apache-2.0 */
/* base/file, base/secret and base/fault: durable files, private files, told failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/secret.h"
#include "base/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char *dir; /* of the running test */
static char *path;

static int setup(void **state)
{
    (void)state;
    dir = xstrdup("/tmp/kedge-file-XXXXXX");
    assert_non_null(mkdtemp(dir));
    path = file_join(dir, "file");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    bool ok = file_remove_tree(dir, &err) && !file_exists(dir);
    free(dir);
    free(path);
    return ok ? 0 : -1;
}

static size_t entries(void)
{
    size_t count = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    while (readdir(d))
        count++;
    (void)closedir(d);
    return count - 2;
}

static void assert_content(const char *expected)
{
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf got = {0};
    if (!file_read(path, MIB, &got, &err))
        fail_msg("%s", err.text);
    assert_string_equal(buf_text(&got), expected);
}

static void write_and_read(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct stat st;
    AUTO(buf_release) struct buf got = {0};
    assert_false(file_read(path, 10, &got, &err));
    assert_int_equal(err.kind, FAIL_GONE);
    assert_true(file_write_durable(path, "0123456789", 10, 0600, &err));
    assert_true(file_write_durable(path, "new", 3, 0640, &err));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(entries(), 1); /* no temporary file stays */
    buf_append_text(&got, "kept ");
    assert_true(file_read(path, 3, &got, &err)); /* what was there does not count */
    assert_string_equal(buf_text(&got), "kept new");
    assert_false(file_read(path, 2, &got, &err));
    assert_int_equal(err.kind, FAIL_LIMIT);
    assert_true(file_write_durable(path, NULL, 0, 0600, &err));
    assert_content("");
    assert_true(file_remove_durable(path, &err));
    assert_true(file_remove_durable(path, &err));
    assert_false(file_exists(path));
}

#define WRITERS     4
#define WRITE_BYTES 100000

static void *write_own_byte(void *ctx)
{
    const char *byte = ctx;
    struct err err = ERR_INIT;
    char *data = xcalloc(1, WRITE_BYTES);
    memset(data, *byte, WRITE_BYTES);
    bool ok = true;
    for (int i = 0; ok && i < 15; i++)
        ok = file_write_durable(path, data, WRITE_BYTES, 0600, &err);
    free(data);
    return ok ? NULL : ctx;
}

static void of_racing_writers_one_wins_whole(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    static char bytes[WRITERS] = {'a', 'b', 'c', 'd'};
    pthread_t threads[WRITERS];
    assert_true(file_write_durable(path, "", 0, 0600, &err));
    for (size_t i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_own_byte, &bytes[i]), 0);
    for (int i = 0; i < 60; i++) { /* a reader sees one writer's bytes, all of them */
        AUTO(buf_release) struct buf got = {0};
        assert_true(file_read(path, MIB, &got, &err));
        assert_true(got.bytes == 0 || got.bytes == WRITE_BYTES);
        for (size_t at = 0; at < got.bytes; at++)
            assert_int_equal(got.data[at], got.data[0]);
    }
    for (size_t i = 0; i < WRITERS; i++) {
        void *failed = &err;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(entries(), 1);
}

static void folders(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    AUTO(free) char *deep = file_join(dir, "a/b//c/");
    assert_true(file_make_dirs(deep, &err));
    assert_true(file_make_dirs(deep, &err));
    assert_true(file_make_dirs("/", &err));
    assert_false(file_make_dirs("", &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    assert_true(file_write_durable(path, "x", 1, 0600, &err));
    assert_false(file_make_dirs(path, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    AUTO(free) char *below = file_join(path, "below");
    assert_false(file_make_dirs(below, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
}

static void remove_tree_does_not_follow_links(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    AUTO(free) char *tree = file_join(dir, "tree");
    AUTO(free) char *link_path = file_join(dir, "tree/link");
    AUTO(free) char *outside = file_join(dir, "outside");
    AUTO(free) char *precious = file_join(dir, "outside/precious");
    assert_true(file_make_dirs(tree, &err) && file_make_dirs(outside, &err));
    assert_true(file_write_durable(precious, "x", 1, 0600, &err));
    assert_int_equal(symlink(outside, link_path), 0);
    assert_true(file_remove_tree(tree, &err));
    assert_false(file_exists(tree));
    assert_true(file_exists(precious));
    assert_true(file_remove_tree(tree, &err)); /* gone is fine */
}

static void sweep(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    AUTO(free) char *left = file_join(dir, "x.tmp");
    AUTO(free) char *only = file_join(dir, ".tmp");
    AUTO(free) char *nowhere = file_join(dir, "nowhere");
    assert_true(file_write_durable(path, "x", 1, 0600, &err));
    assert_true(file_write_durable(left, "x", 1, 0600, &err));
    assert_true(file_write_durable(only, "x", 1, 0600, &err));
    assert_true(file_sweep_tmp(dir, &err));
    assert_false(file_exists(left));
    assert_int_equal(entries(), 2);
    assert_true(file_sweep_tmp(nowhere, &err));
}

static void whole_transfers(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    uint8_t data[8] = "abcdefg";
    uint64_t bytes = 0;
    AUTO(close_fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(file_pwrite_full(fd, path, data, 8, 100, &err));
    assert_true(file_size(fd, path, &bytes, &err));
    assert_int_equal(bytes, 108);
    assert_true(file_pread_full(fd, path, data, 8, 100, &err));
    assert_string_equal((char *)data, "abcdefg");
    assert_false(file_pread_full(fd, path, data, 8, 101, &err));
    assert_int_equal(err.kind, FAIL_CORRUPT);
    assert_non_null(strstr(err.text, "ends at byte 108"));
    AUTO(close_fd) int dir_fd = open(dir, O_RDONLY | O_CLOEXEC);
    assert_false(file_size(dir_fd, dir, &bytes, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
}

/* ---- secrets ---- */

static struct secret *read_secret(const char *content, mode_t mode, struct err *err)
{
    struct err write_err = ERR_INIT;
    assert_true(file_write_durable(path, content, strlen(content), 0600, &write_err));
    assert_int_equal(chmod(path, mode), 0);
    return secret_read_file(path, err);
}

static void secret_files(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    char longest[SECRET_MAX_BYTES + 3];
    memset(longest, 's', sizeof longest);
    longest[SECRET_MAX_BYTES] = '\n';
    longest[SECRET_MAX_BYTES + 1] = 0;
    AUTO(secret_free) struct secret *one = read_secret("pa ss\r\nrest", 0600, &err);
    assert_non_null(one);
    assert_true(secret_equal(one, "pa ss", 5));
    assert_false(secret_equal(one, "pa sT", 5));
    assert_false(secret_equal(one, "pa s", 4));
    assert_false(secret_equal(one, "pa ss ", 6));
    assert_false(secret_equal(one, "", 0));
    AUTO(secret_free) struct secret *two = read_secret(longest, 0400, &err);
    assert_non_null(two);
    assert_int_equal(two->bytes, SECRET_MAX_BYTES);
    longest[SECRET_MAX_BYTES] = 's';
    assert_null(read_secret(longest, 0600, &err));
    assert_int_equal(err.kind, FAIL_LIMIT);
    assert_null(read_secret("\nx", 0600, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    static const mode_t OPEN_MODES[] = {0640, 0604, 0620, 0601};
    for (size_t i = 0; i < ARRAY_COUNT(OPEN_MODES); i++) {
        assert_null(read_secret("x\n", OPEN_MODES[i], &err));
        assert_int_equal(err.kind, FAIL_AUTH);
        assert_non_null(strstr(err.text, "chmod 600"));
    }
}

static void secrets_are_wiped_and_random(void **state)
{
    (void)state;
    uint8_t a[64] = {0}, b[64] = {0};
    secret_random(a, sizeof a);
    secret_random(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    secret_wipe(a, sizeof a);
    memset(b, 0, sizeof b);
    assert_memory_equal(a, b, sizeof a);
}

/* ---- fault points ---- */

static bool init_with(const char *rules, struct err *err)
{
    assert_int_equal(setenv("FAULTS", rules, 1), 0);
    bool ok = fault_init(err);
    assert_int_equal(unsetenv("FAULTS"), 0);
    return ok;
}

static void told_failures_leave_the_old_content(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
#ifndef KEDGE_FAULTS
    assert_false(init_with("FILE_BEFORE_FSYNC=error@1", &err)); /* says so, not ignored */
    assert_int_equal(err.kind, FAIL_INPUT);
    assert_non_null(strstr(err.text, "-Dfaults=true"));
#else
    assert_true(file_write_durable(path, "old", 3, 0600, &err));
    static const char *const POINTS[] = {"FILE_BEFORE_FSYNC", "FILE_BEFORE_RENAME"};
    for (size_t i = 0; i < ARRAY_COUNT(POINTS); i++) {
        char rule[80];
        (void)snprintf(rule, sizeof rule, "%s=error@1+:no-space", POINTS[i]);
        assert_true(init_with(rule, &err));
        assert_false(file_write_durable(path, "new", 3, 0600, &err));
        assert_int_equal(err.kind, FAIL_NO_SPACE);
        assert_content("old");
        assert_int_equal(entries(), 1);
        (void)snprintf(rule, sizeof rule, "%s=error@1000000", POINTS[i]);
        err_clear(&err);
        assert_true(init_with(rule, &err));
        assert_true(file_write_durable(path, "old", 3, 0600, &err));
    }
#endif
}

static void fault_rules_are_strict(void **state)
{
    (void)state;
#ifndef KEDGE_FAULTS
    skip(); /* needs -Dfaults=true */
#else
    static const char *const BAD[] = {
        "NO_SUCH_POINT=error@1",         "STORE_BEFORE_PUT",
        "STORE_BEFORE_PUT=error",        "STORE_BEFORE_PUT=boom@1",
        "STORE_BEFORE_PUT=error@0",      "STORE_BEFORE_PUT=error@x",
        "STORE_BEFORE_PUT=error@1:",     "STORE_BEFORE_PUT=error@1:nospace",
        "STORE_BEFORE_PUT=error@1:none", "STORE_BEFORE_PUT=error@1 ",
        "STORE_AFTER_PUT=error@9,bad"};
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++) {
        struct err err = ERR_INIT;
        if (init_with(BAD[i], &err))
            fail_msg("accepted %s", BAD[i]);
        assert_int_equal(err.kind, FAIL_INPUT);
    }
    struct err err = ERR_INIT;
    assert_true(
        init_with("VAULT_BEFORE_STEP=error@2:auth,VAULT_AFTER_STEP=error@2+", &err));
    static const bool BEFORE[] = {false, true, false}, AFTER[] = {false, true, true};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(FAULT(VAULT_BEFORE_STEP, &err), BEFORE[i]);
        assert_int_equal(err.kind, BEFORE[i] ? FAIL_AUTH : FAIL_NONE);
        err_clear(&err);
        assert_int_equal(FAULT(VAULT_AFTER_STEP, &err), AFTER[i]);
        assert_int_equal(err.kind, AFTER[i] ? FAIL_IO : FAIL_NONE);
        err_clear(&err);
    }
#endif
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(write_and_read),
        CASE(of_racing_writers_one_wins_whole),
        CASE(folders),
        CASE(remove_tree_does_not_follow_links),
        CASE(sweep),
        CASE(whole_transfers),
        CASE(secret_files),
        CASE(secrets_are_wiped_and_random),
        CASE(told_failures_leave_the_old_content),
        CASE(fault_rules_are_strict),
    };
    return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
