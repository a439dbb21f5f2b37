/* SPDX-License-Identifier: Apache-2.0 */
/* Master key file and wrapped data keys: what opens, and all that must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/file.h"
#include "keys/keys.h"

#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char dir[32];
    char *path;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    memcpy(f->dir, "/tmp/kedge-keys-XXXXXX", 23);
    assert_non_null(mkdtemp(f->dir));
    f->path = file_join(f->dir, "master.key");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    bool ok = file_remove_tree(f->dir, &err);
    free(f->path);
    free(f);
    return ok ? 0 : -1;
}

static struct keys *open_or_fail(const char *path)
{
    struct err err = ERR_INIT;
    struct keys *keys = keys_file_open(path, &err);
    if (!keys)
        fail_msg("%s", err.text);
    return keys;
}

static void read_text(const char *path, struct buf *ret)
{
    struct err err = ERR_INIT;
    assert_true(file_read(path, 4096, ret, &err));
}

static void create_open_wrap_unwrap(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    struct stat st;
    assert_true(keys_file_create(f->path, &err));
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_nlink, 1); /* the temporary name is gone */
    struct id machine = id_random(), key_id, again_id;
    char wrapped[KEYS_WRAPPED_MAX];
    AUTO(keys_close) struct keys *keys = open_or_fail(f->path);
    assert_true(keys_make(keys, &machine, &key_id, wrapped, &err));
    AUTO(secret_free)
    struct secret *one = keys_unwrap(keys, &machine, wrapped, &again_id, &err);
    assert_non_null(one);
    assert_int_equal(one->bytes, 32);
    assert_true(id_equal(&key_id, &again_id));
    /* The same after a restart. */
    AUTO(keys_close) struct keys *later = open_or_fail(f->path);
    AUTO(secret_free)
    struct secret *two = keys_unwrap(later, &machine, wrapped, &again_id, &err);
    assert_non_null(two);
    assert_true(secret_equal(one, two->data, two->bytes));
}

static void every_key_is_another(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    assert_true(keys_file_create(f->path, &err));
    AUTO(keys_close) struct keys *keys = open_or_fail(f->path);
    struct id machine = id_random(), a_id, b_id;
    char a[KEYS_WRAPPED_MAX], b[KEYS_WRAPPED_MAX];
    assert_true(keys_make(keys, &machine, &a_id, a, &err));
    assert_true(keys_make(keys, &machine, &b_id, b, &err));
    assert_false(id_equal(&a_id, &b_id));
    AUTO(secret_free) struct secret *ka = keys_unwrap(keys, &machine, a, &a_id, &err);
    AUTO(secret_free) struct secret *kb = keys_unwrap(keys, &machine, b, &b_id, &err);
    assert_non_null(ka);
    assert_non_null(kb);
    assert_false(secret_equal(ka, kb->data, kb->bytes));
    static const uint8_t ZERO[32];
    assert_false(secret_equal(ka, ZERO, sizeof ZERO));
}

static void create_never_replaces(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf before = {0};
    AUTO(buf_release) struct buf after = {0};
    assert_true(keys_file_create(f->path, &err));
    read_text(f->path, &before);
    assert_false(keys_file_create(f->path, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    assert_non_null(strstr(err.text, f->path));
    read_text(f->path, &after);
    assert_string_equal(buf_text(&before), buf_text(&after));
    /* A dangling link is a name that is taken, too. */
    AUTO(free) char *dangling = file_join(f->dir, "dangling");
    assert_int_equal(symlink("nowhere", dangling), 0);
    assert_false(keys_file_create(dangling, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
}

struct creator {
    pthread_t thread;
    const char *path;
    _Atomic int *winners;
};

static void *create_one(void *ctx)
{
    struct creator *creator = ctx;
    struct err err = ERR_INIT;
    if (keys_file_create(creator->path, &err))
        atomic_fetch_add(creator->winners, 1);
    return NULL;
}

static void of_racing_creators_one_wins(void **state)
{
    struct fixture *f = *state;
    _Atomic int winners = 0;
    struct creator creators[6];
    for (size_t i = 0; i < ARRAY_COUNT(creators); i++) {
        creators[i] = (struct creator){.path = f->path, .winners = &winners};
        assert_int_equal(
            pthread_create(&creators[i].thread, NULL, create_one, &creators[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_COUNT(creators); i++)
        assert_int_equal(pthread_join(creators[i].thread, NULL), 0);
    assert_int_equal(winners, 1);
    keys_close(open_or_fail(f->path));
}

static void open_refuses_readable_by_others(void **state)
{
    struct fixture *f = *state;
    static const mode_t MODES[] = {0640, 0604, 0660, 0644, 0610};
    struct err err = ERR_INIT;
    assert_true(keys_file_create(f->path, &err));
    for (size_t i = 0; i < ARRAY_COUNT(MODES); i++) {
        assert_int_equal(chmod(f->path, MODES[i]), 0);
        assert_null(keys_file_open(f->path, &err));
        assert_int_equal(err.kind, FAIL_AUTH);
        assert_non_null(strstr(err.text, "chmod 600"));
    }
    assert_int_equal(chmod(f->path, 0400), 0);
    keys_close(open_or_fail(f->path));
}

static void open_refuses_what_is_no_key(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    assert_null(keys_file_open(f->path, &err));
    assert_int_equal(err.kind, FAIL_GONE);
#define HEX64    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define NO_HEX64 "zz112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
    static const char *const BAD[] = {
        HEX64 "\n",
        "kedge-master-key-2 " HEX64 "\n",
        "kedge-master-key-1 " HEX64 "0\n",
        "kedge-master-key-1 0011\n",
        "kedge-master-key-1  " HEX64 "\n",
        "kedge-master-key-1 " NO_HEX64 "\n",
        "hello\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++) {
        assert_true(file_write_durable(f->path, BAD[i], strlen(BAD[i]), 0600, &err));
        assert_null(keys_file_open(f->path, &err));
        assert_int_equal(err.kind, FAIL_CORRUPT);
        assert_null(strstr(err.text, "0011")); /* no key material in a message */
        assert_null(strstr(err.text, "2233"));
    }
    assert_true(file_write_durable(f->path, "\n", 1, 0600, &err));
    assert_null(keys_file_open(f->path, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    const char *no_newline = "kedge-master-key-1 " HEX64;
    assert_true(file_write_durable(f->path, no_newline, strlen(no_newline), 0600, &err));
    keys_close(open_or_fail(f->path)); /* an editor may have taken the newline */
}

static void assert_does_not_open(struct keys *keys, const struct id *machine,
                                 const char *wrapped)
{
    struct err err = ERR_INIT;
    struct id key_id = {{0}};
    assert_null(keys_unwrap(keys, machine, wrapped, &key_id, &err));
    assert_int_equal(err.kind, FAIL_CORRUPT);
    assert_true(id_is_zero(&key_id)); /* set on success only */
}

static void wrapped_key_opens_nowhere_else(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    AUTO(free) char *other_path = file_join(f->dir, "other.key");
    assert_true(keys_file_create(f->path, &err));
    assert_true(keys_file_create(other_path, &err));
    AUTO(keys_close) struct keys *keys = open_or_fail(f->path);
    AUTO(keys_close) struct keys *other = open_or_fail(other_path);
    struct id machine = id_random(), stranger = id_random(), key_id;
    char wrapped[KEYS_WRAPPED_MAX];
    assert_true(keys_make(keys, &machine, &key_id, wrapped, &err));
    assert_does_not_open(other, &machine, wrapped);
    assert_does_not_open(keys, &stranger, wrapped);
    assert_does_not_open(keys, &machine, "");
    assert_does_not_open(keys, &machine, "not hex at all");
    size_t length = strlen(wrapped);
    for (size_t i = 0; i < length; i++) { /* each hex digit changed */
        char kept = wrapped[i];
        wrapped[i] = kept == '0' ? '1' : '0';
        assert_does_not_open(keys, &machine, wrapped);
        wrapped[i] = kept;
    }
    for (size_t cut = 0; cut < length; cut++) { /* each length */
        char kept = wrapped[cut];
        wrapped[cut] = 0;
        assert_does_not_open(keys, &machine, wrapped);
        wrapped[cut] = kept;
    }
    char too_long[2 * KEYS_WRAPPED_MAX];
    memset(too_long, 'a', sizeof too_long - 1);
    too_long[sizeof too_long - 1] = 0;
    assert_does_not_open(keys, &machine, too_long);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(create_open_wrap_unwrap, setup, teardown),
        cmocka_unit_test_setup_teardown(every_key_is_another, setup, teardown),
        cmocka_unit_test_setup_teardown(create_never_replaces, setup, teardown),
        cmocka_unit_test_setup_teardown(of_racing_creators_one_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(open_refuses_readable_by_others, setup, teardown),
        cmocka_unit_test_setup_teardown(open_refuses_what_is_no_key, setup, teardown),
        cmocka_unit_test_setup_teardown(wrapped_key_opens_nowhere_else, setup, teardown),
    };
    return cmocka_run_group_tests_name("keys_file", tests, NULL, NULL);
}
