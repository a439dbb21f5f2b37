/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rotation of the master key under a vault with machines: what was stored goes on being
 * read, whatever runs meanwhile and wherever the rotation breaks off. The last needs a
 * build with -Dfaults=true and is left out otherwise.
 */
#include "world.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/text.h"
#include "keys/keys.h"
#include "state/catalog.h"

#include <stdatomic.h>
#include <sys/wait.h>

#define MACHINES 3

static json_t *keys_status(struct world *w)
{
    struct err err = ERR_INIT;
    json_t *view = vault_keys_status(w->vault, &err);
    if (!view)
        fail_msg("%s", err.text);
    return view;
}

static json_t *rewrap(struct world *w, bool is_new)
{
    struct err err = ERR_INIT;
    json_t *view = vault_keys_rewrap(w->vault, is_new, &err);
    if (!view)
        fail_msg("%s", err.text);
    return view;
}

static json_int_t number(const json_t *view, const char *key)
{
    return json_integer_value(json_object_get(view, key));
}

static void a_rotation_changes_nothing_for_the_machine(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    world_expect_job(w, world_replicate(w), "succeeded");
    world_wait_idle(w);
    AUTO(json_free) json_t *before = keys_status(w);
    assert_int_equal(number(before, "pending"), 0);
    assert_int_equal(number(before, "machines"), 1);
    assert_int_equal(json_array_size(json_object_get(before, "masters")), 1);

    AUTO(json_free) json_t *rotated = rewrap(w, true);
    assert_int_equal(number(rotated, "rewrapped"), 1);
    AUTO(json_free) json_t *after = keys_status(w);
    const json_t *master = json_array_get(json_object_get(after, "masters"), 0);
    assert_int_equal(json_array_size(json_object_get(after, "masters")), 1);
    assert_int_equal(number(master, "machines"), 1);
    assert_string_equal(json_string_value(json_object_get(master, "master")),
                        json_string_value(json_object_get(rotated, "master")));
    assert_string_not_equal(
        json_string_value(json_object_get(master, "master")),
        json_string_value(json_object_get(
            json_array_get(json_object_get(before, "masters"), 0), "master")));

    world_write(w, 5 * MIB, 300000, 2);
    world_expect_job(w, world_ask(w, OP_SYNC), "succeeded");
    world_expect_equal(w);
    world_reopen(w);
    world_write(w, 6 * MIB, 300000, 3);
    world_expect_job(w, world_ask(w, OP_SYNC), "succeeded");
    world_expect_job(w, world_ask(w, OP_VERIFY), "succeeded");
    world_expect_equal(w);

    /* It is in the audit. */
    AUTO(json_free) json_t *events = vault_events(w->vault, 0, 1000, &err);
    AUTO(buf_release) struct buf text = {0};
    json_print(events, &text);
    assert_non_null(strstr(buf_text(&text), "keys_rotated"));
}

struct rotating {
    struct world *w;
    _Atomic bool is_over;
    unsigned rotations;
};

static void *rotate_on_and_on(void *ctx)
{
    struct rotating *rotating = ctx;
    while (!rotating->is_over) {
        json_free(rewrap(rotating->w, true));
        rotating->rotations++;
    }
    return NULL;
}

/* Cycles, an enabling and a stop meet rotations at every step. */
static void machines_work_while_masters_change(void **state)
{
    struct world *w = *state;
    pthread_t thread;
    struct rotating rotating = {.w = w};
    assert_int_equal(pthread_create(&thread, NULL, rotate_on_and_on, &rotating), 0);
    for (unsigned round = 0; round < 2; round++) {
        world_expect_job(w, world_replicate(w), "succeeded");
        for (unsigned i = 0; i < 3; i++) {
            world_write(w, i * MIB, 100000, 10 * round + i + 5);
            world_expect_job(w, world_ask(w, OP_SYNC), "succeeded");
        }
        world_expect_equal(w);
        world_expect_job(w, world_ask(w, OP_STOP), "succeeded");
    }
    rotating.is_over = true;
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(rotating.rotations > 0);
}

/* ---- breaking off ---- */

#ifdef KEDGE_FAULTS

struct known {
    struct id machine;
    struct secret *key;
};

static void add_machines(struct world *w)
{
    for (int i = 0; i < MACHINES; i++) {
        char name[16], path[PATH_BYTES + 16];
        uint64_t job = 0;
        struct err err = ERR_INIT;
        (void)snprintf(name, sizeof name, "m%d", i);
        (void)snprintf(path, sizeof path, "%s/m%d.img", w->dir, i);
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t)MIB), 0);
        close(fd);
        AUTO(json_free) json_t *options = json_pack("{s:[s]}", "paths", path);
        if (!vault_source_add(w->vault, name, "image", options, &err) ||
            !vault_replicate(w->vault, name, name, "dst", NULL, NULL, &job, &err))
            fail_msg("%s", err.text);
        world_expect_job(w, job, "succeeded");
    }
}

/* Every data key of the catalog by the key file, as a start after a crash finds them. */
static void read_keys(struct world *w, struct known ret[MACHINES])
{
    AUTO(catalog_machine_list_release) struct catalog_machine_list list = {0};
    struct err err = ERR_INIT;
    char path[PATH_BYTES + 16];
    (void)snprintf(path, sizeof path, "%s/catalog.db", w->data);
    struct catalog *catalog = catalog_open(path, &err);
    AUTO(keys_close) struct keys *keys = keys_file_open(w->key, &err);
    if (!catalog || !keys || !catalog_machine_list(catalog, &list, &err))
        fail_msg("%s", err.text);
    assert_int_equal(list.count, MACHINES);
    for (size_t i = 0; i < list.count; i++) {
        struct id key_id;
        ret[i].machine = list.items[i].id;
        ret[i].key =
            keys_unwrap(keys, &ret[i].machine, list.items[i].wrapped_key, &key_id, &err);
        if (!ret[i].key)
            fail_msg("%s", err.text);
        assert_true(id_equal(&key_id, &list.items[i].key_id));
    }
    catalog_close(catalog);
}

static void expect_keys(struct world *w, const struct known known[MACHINES])
{
    struct known now[MACHINES];
    read_keys(w, now);
    for (size_t i = 0; i < MACHINES; i++) {
        assert_true(id_equal(&now[i].machine, &known[i].machine));
        assert_true(secret_equal(now[i].key, known[i].key->data, known[i].key->bytes));
        secret_free(now[i].key);
    }
}

/* In a process of its own, which counts its visits from the start. */
NORETURN static void rotate_as_child(const char *dir, bool is_new)
{
    char data[PATH_BYTES], key[PATH_BYTES], store[PATH_BYTES];
    struct err err = ERR_INIT;
    (void)snprintf(data, sizeof data, "%s/data", dir);
    (void)snprintf(key, sizeof key, "%s/key", dir);
    (void)snprintf(store, sizeof store, "dir:%s/log", dir);
    log_set_level(LOG_ERROR + 1);
    const struct vault_options options = {
        .data_dir = data, .log_store = store, .state_store = store, .key_file = key};
    if (!fault_init(&err))
        _exit(3);
    struct vault *vault = vault_open(&options, &err);
    AUTO(json_free)
    json_t *view = vault ? vault_keys_rewrap(vault, is_new, &err) : NULL;
    /* Not closed: as little as possible happens besides. Nor do handlers of exit run, as
     * the vault's threads still use what they take away. */
    _exit(view ? 0 : 1);
}

/* 0: rotated, 1: an error, 137: died at the point. */
static int rotate_in_child(struct world *w, const char *faults, bool is_new)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)setenv("FAULTS", faults, 1);
        (void)execl("/proc/self/exe", "test_vault_keys", w->dir, is_new ? "new" : "old",
                    NULL);
        _exit(4);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void expect_one_master(struct world *w)
{
    AUTO(buf_release) struct buf text = {0};
    struct err err = ERR_INIT;
    assert_true(file_read(w->key, 4096, &text, &err));
    assert_true(text_starts_with(buf_text(&text), "kedge-master-key-1 "));
}

/* Breaks off at each visit of the point, until there is none any more. */
static unsigned break_off(struct world *w, const char *point, const char *action,
                          const struct known known[MACHINES])
{
    char faults[80];
    int expected = action[0] == 'c' ? 137 : 1;
    for (unsigned visit = 1;; visit++) {
        (void)snprintf(faults, sizeof faults, "%s=%s@%u", point, action, visit);
        int code = rotate_in_child(w, faults, true);
        expect_keys(w, known);
        if (code == 0)
            return visit - 1;
        if (code != expected || visit > 100)
            fail_msg("%s: ended with %d", faults, code);
        /* Now and then it is finished; else the next one finds what this one left. */
        if (visit % 2 == 0 && rotate_in_child(w, "", visit % 4 == 0) != 0)
            fail_msg("%s: cannot be finished", faults);
    }
}

static void every_key_opens_wherever_it_breaks_off(void **state)
{
    static const struct {
        const char *point;
        unsigned least; /* visits of a rotation of three machines */
        bool has_error;
    } POINTS[] = {
        {"KEYS_BEFORE_MASTER", 1, true},    {"KEYS_AFTER_MASTER", 1, true},
        {"KEYS_BEFORE_REWRAP", 3, true},    {"KEYS_AFTER_REWRAP", 3, true},
        {"KEYS_BEFORE_RETIRE", 1, true},    {"KEYS_AFTER_RETIRE", 1, true},
        {"FILE_BEFORE_FSYNC", 2, false},    {"FILE_BEFORE_RENAME", 2, true},
        {"FILE_BEFORE_DIR_FSYNC", 2, true}, {"CATALOG_BEFORE_COMMIT", 3, false},
        {"CATALOG_AFTER_COMMIT", 3, false},
    };
    struct world *w = *state;
    struct known known[MACHINES];
    add_machines(w);
    vault_close(w->vault);
    w->vault = NULL;
    read_keys(w, known);
    for (size_t i = 0; i < ARRAY_COUNT(POINTS); i++) {
        assert_true(break_off(w, POINTS[i].point, "crash", known) >= POINTS[i].least);
        if (POINTS[i].has_error)
            assert_true(break_off(w, POINTS[i].point, "error", known) >= POINTS[i].least);
        expect_one_master(w);
    }
    for (size_t i = 0; i < MACHINES; i++)
        secret_free(known[i].key);
    world_open(w);
}

#endif

int main(int argc, char **argv)
{
#ifdef KEDGE_FAULTS
    if (argc == 3)
        rotate_as_child(argv[1], strcmp(argv[2], "new") == 0);
#else
    (void)argc, (void)argv;
#endif
#define CASE(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_rotation_changes_nothing_for_the_machine),
        CASE(machines_work_while_masters_change),
#ifdef KEDGE_FAULTS
        CASE(every_key_opens_wherever_it_breaks_off),
#endif
    };
    return cmocka_run_group_tests_name("vault_keys", tests, NULL, NULL);
}
