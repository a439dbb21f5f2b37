/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs killed before and after each of their steps: a child process runs a whole life
 * (replicate, sync, stop) and dies at the n-th visit of a fault point; the next child
 * goes on from the catalog. In the end the machine has left the list, and stores and
 * target hold nothing of it. Needs a build with -Dfaults=true; skipped otherwise.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "keys/keys.h"
#include "store/store.h"
#include "vault/vault.h"

#ifdef KEDGE_FAULTS

#define PATH_BYTES 256

static char dir[64];

static void path_of(const char *name, char out[PATH_BYTES])
{
    (void)snprintf(out, PATH_BYTES, "%s/%s", dir, name);
}

static void must(bool ok, const struct err *err, int code)
{
    if (ok)
        return;
    (void)fprintf(stderr, "child: %s\n", err->text);
    _exit(code);
}

static struct vault *open_it(void)
{
    char data[PATH_BYTES], key[PATH_BYTES], log[PATH_BYTES], state[PATH_BYTES];
    char log_store[PATH_BYTES + 8], state_store[PATH_BYTES + 8];
    struct err err = ERR_INIT;
    path_of("data", data);
    path_of("key", key);
    path_of("log", log);
    path_of("state", state);
    (void)snprintf(log_store, sizeof log_store, "dir:%s", log);
    (void)snprintf(state_store, sizeof state_store, "dir:%s", state);
    struct vault_options options = {.data_dir = data,
                                    .log_store = log_store,
                                    .state_store = state_store,
                                    .key_file = key,
                                    .job_threads = 1,
                                    .auto_repair = true};
    struct vault *vault = vault_open(&options, &err);
    must(vault != NULL, &err, 3);
    return vault;
}

static const char *state_of(struct vault *vault, uint64_t job, char out[32])
{
    struct err err = ERR_INIT;
    AUTO(json_free) json_t *view = vault_job(vault, job, &err);
    must(view != NULL, &err, 4);
    (void)snprintf(out, 32, "%s", json_string_value(json_object_get(view, "state")));
    return out;
}

static void wait_for(struct vault *vault, uint64_t job)
{
    char state[32];
    uint64_t until_ms = clock_mono_ms() + 30000;
    struct err late = ERR_INIT;
    (void)err_set(&late, FAIL_TRANSIENT, "job %llu does not end",
                  (unsigned long long)job);
    while (state_of(vault, job, state)[0] == 'q' || state[0] == 'r') {
        must(clock_mono_ms() < until_ms, &late, 5);
        clock_sleep_ms(5);
    }
}

/* Asks for whatever is next, with the same keys each time, until the life is over. */
static void live(void)
{
    struct err err = ERR_INIT;
    char image[PATH_BYTES], replicas[PATH_BYTES];
    struct vault *vault = open_it();
    path_of("disk.img", image);
    path_of("replicas", replicas);
    AUTO(json_free) json_t *source = json_pack("{s:[s]}", "paths", image);
    AUTO(json_free) json_t *target = json_pack("{s:s}", "dir", replicas);
    must(vault_source_add(vault, "src", "image", source, &err) ||
             err.kind == FAIL_CONFLICT,
         &err, 6);
    must(vault_target_add(vault, "dst", "local", target, &err) ||
             err.kind == FAIL_CONFLICT,
         &err, 6);
    uint64_t job = 0;
    err_clear(&err);
    must(vault_replicate(vault, "src", "src", "dst", NULL, "replicate", &job, &err), &err,
         7);
    wait_for(vault, job);
    /* It may be gone already: then stop was reached in an earlier life. */
    if (vault_operate(vault, "src", OP_SYNC, NULL, "sync", &job, &err))
        wait_for(vault, job);
    err_clear(&err);
    if (vault_operate(vault, "src", OP_STOP, NULL, "stop", &job, &err))
        wait_for(vault, job);
    /* stop-failed: asked again, the clean-up goes on. */
    err_clear(&err);
    if (vault_operate(vault, "src", OP_STOP, NULL, NULL, &job, &err))
        wait_for(vault, job);
    uint64_t until_ms = clock_mono_ms() + 20000;
    for (;;) {
        AUTO(json_free) json_t *list = vault_list(vault, &err);
        if (list && json_array_size(json_object_get(list, "machines")) == 0)
            break;
        must(clock_mono_ms() < until_ms, &err, 8);
        clock_sleep_ms(10);
    }
    vault_close(vault);
}

/* The child's exit code; 137 when it died at the point. */
static int run_child(const char *faults)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct err err = ERR_INIT;
        log_set_level(LOG_ERROR);
        if (*faults)
            (void)setenv("FAULTS", faults, 1);
        else
            (void)unsetenv("FAULTS");
        must(fault_init(&err), &err, 2);
        live();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool count_object(void *ctx, const char *name, uint64_t bytes, struct err *err)
{
    (void)name;
    (void)bytes;
    (void)err;
    ++*(size_t *)ctx;
    return true;
}

static size_t objects_in(const char *name)
{
    char path[PATH_BYTES];
    size_t count = 0;
    struct err err = ERR_INIT;
    path_of(name, path);
    AUTO(store_close) struct store *store = store_dir_open(path, &err);
    assert_non_null(store);
    assert_true(store_list(store, "", count_object, &count, &err));
    return count;
}

static void make_world(void)
{
    struct err err = ERR_INIT;
    char path[PATH_BYTES];
    (void)snprintf(dir, sizeof dir, "/tmp/kedge-crash-XXXXXX");
    assert_non_null(mkdtemp(dir));
    path_of("key", path);
    assert_true(keys_file_create(path, &err));
    path_of("replicas", path);
    assert_true(file_make_dirs(path, &err));
    path_of("disk.img", path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)(4 * MIB)), 0);
    assert_true(file_pwrite_full(fd, path, (const uint8_t *)"kedge", 5, MIB, &err));
    close(fd);
}

static void check_clean(const char *faults)
{
    char path[PATH_BYTES];
    path_of("replicas/src/disk0.raw", path);
    if (file_exists(path) || objects_in("log") || objects_in("state"))
        fail_msg("%s left something behind in %s", faults, dir);
}

static void sweep(const char *point, const char *what)
{
    bool was_hit = true;
    for (unsigned visit = 1; was_hit && visit < 40; visit++) {
        char faults[96];
        struct err err = ERR_INIT;
        make_world();
        (void)snprintf(faults, sizeof faults, "%s=%s@%u", point, what, visit);
        int code = run_child(faults);
        was_hit = code == 137 || (what[0] == 'e' && visit <= 7);
        if (code == 137)
            code = run_child("");
        if (code != 0)
            fail_msg("%s: child ended with %d", faults, code);
        check_clean(faults);
        assert_true(file_remove_tree(dir, &err));
        if (visit == 1 && what[0] == 'c')
            assert_true(was_hit);
    }
}

static void test_crash_before_step(void **state)
{
    (void)state;
    sweep("VAULT_BEFORE_STEP", "crash");
}

static void test_crash_after_step(void **state)
{
    (void)state;
    sweep("VAULT_AFTER_STEP", "crash");
}

static void test_error_in_step(void **state)
{
    (void)state;
    sweep("VAULT_BEFORE_STEP", "error");
    sweep("VAULT_AFTER_STEP", "error");
}

static void test_crash_at_catalog(void **state)
{
    (void)state;
    sweep("CATALOG_BEFORE_COMMIT", "crash");
    sweep("CATALOG_AFTER_COMMIT", "crash");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash_before_step),
        cmocka_unit_test(test_crash_after_step),
        cmocka_unit_test(test_error_in_step),
        cmocka_unit_test(test_crash_at_catalog),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    (void)puts("skipped: built without fault points (-Dfaults=true)");
    return 77;
}

#endif
