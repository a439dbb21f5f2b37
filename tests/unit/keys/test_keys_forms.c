/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was written once must open for ever (tests/golden/keys-v*.txt, made by the version
 * that brought each form), and what is no master key must be refused without a word of
 * it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/text.h"
#include "keys/master_key.h"

#include <sys/stat.h>
#include <unistd.h>

#define OLD_HEX "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define NEW_HEX "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f"
#define SALT    "b93de1212b369d2c9318e51f33c721bf83a4de6998ffe3396d5c29a5b07e6f67"

static char dir[32];
static char *key_path, *pass_path;

static int set_up(void **state)
{
    (void)state;
    memcpy(dir, "/tmp/kedge-forms-XXXXXX", 24);
    assert_non_null(mkdtemp(dir));
    key_path = file_join(dir, "master.key");
    pass_path = file_join(dir, "passphrase");
    return 0;
}

static int tear_down(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    bool ok = file_remove_tree(dir, &err);
    free(key_path);
    free(pass_path);
    return ok ? 0 : -1;
}

static void write_text(const char *path, const char *text)
{
    struct err err = ERR_INIT;
    assert_true(file_write_durable(path, text, strlen(text), 0600, &err));
}

/* The rest of the golden file's line that begins with this word. */
static char *golden(const char *name, const char *word)
{
    AUTO(buf_release) struct buf text = {0};
    AUTO(free) char *path = file_join(GOLDEN_DIR, name);
    struct err err = ERR_INIT;
    assert_true(file_read(path, 8192, &text, &err));
    size_t length = strlen(word);
    for (const char *at = buf_text(&text); at; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, word, length) == 0 && at[length] == ' ')
            return strndup(at + length + 1, strcspn(at, "\n") - length - 1);
    }
    fail_msg("%s has no %s", name, word);
    return NULL;
}

static void assert_opens_golden(struct keys *keys, const char *name)
{
    AUTO(free) char *machine_hex = golden(name, "machine");
    AUTO(free) char *key_id_hex = golden(name, "key_id");
    AUTO(free) char *data_hex = golden(name, "data_key");
    AUTO(free) char *wrapped = golden(name, "wrapped");
    struct id machine, key_id, found;
    uint8_t data[DATA_KEY_BYTES];
    struct err err = ERR_INIT;
    assert_true(id_parse(machine_hex, &machine, &err));
    assert_true(id_parse(key_id_hex, &key_id, &err));
    assert_true(text_unhex(data_hex, data, sizeof data, &err));
    AUTO(secret_free)
    struct secret *key = keys_unwrap(keys, &machine, wrapped, &found, &err);
    if (!key)
        fail_msg("%s: %s", name, err.text);
    assert_true(id_equal(&found, &key_id));
    assert_true(secret_equal(key, data, sizeof data));
}

static void form_1_opens_for_ever(void **state)
{
    struct err err = ERR_INIT;
    char master[KEYS_MASTER_BYTES];
    (void)state;
    AUTO(free) char *line = golden("keys-v1.txt", "file");
    AUTO(free) char *wrapped = golden("keys-v1.txt", "wrapped");
    AUTO(free) char *machine_hex = golden("keys-v1.txt", "machine");
    struct id machine;
    write_text(key_path, line);
    AUTO(keys_close) struct keys *keys = keys_file_open(key_path, &err);
    assert_non_null(keys);
    assert_opens_golden(keys, "keys-v1.txt");
    /* No version is recorded in it; the one that opens it is found. */
    assert_true(id_parse(machine_hex, &machine, &err));
    keys_master_of(keys, &machine, wrapped, master);
    assert_true(text_starts_with(master, "file:"));
    assert_int_equal(strlen(master), 5 + 16);
    assert_false(keys_is_current(keys, wrapped));
    /* And it opens beside a newer master, too. */
    write_text(key_path, "kedge-master-key-2 plain " NEW_HEX " " OLD_HEX "\n");
    AUTO(keys_close) struct keys *both = keys_file_open(key_path, &err);
    assert_non_null(both);
    assert_opens_golden(both, "keys-v1.txt");
}

static void form_2_opens_for_ever(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    AUTO(free) char *wrapped_line = golden("keys-v2.txt", "file");
    AUTO(free) char *plain_line = golden("keys-v2.txt", "file_plain");
    AUTO(free) char *passphrase = golden("keys-v2.txt", "passphrase");
    write_text(key_path, wrapped_line);
    write_text(pass_path, passphrase);
    const struct keys_options options = {.address = key_path, .passphrase = pass_path};
    AUTO(keys_close) struct keys *keys = keys_open(&options, &err);
    if (!keys)
        fail_msg("%s", err.text);
    assert_opens_golden(keys, "keys-v2.txt");
    assert_opens_golden(keys, "keys-v1.txt"); /* by the master before */
    write_text(key_path, plain_line);
    AUTO(keys_close) struct keys *plain = keys_file_open(key_path, &err);
    assert_non_null(plain);
    assert_opens_golden(plain, "keys-v2.txt");
}

static void a_line_is_written_as_it_was(void **state)
{
    static const char *const LINES[] = {"kedge-master-key-1 " OLD_HEX,
                                        "kedge-master-key-2 plain " NEW_HEX " " OLD_HEX};
    struct err err = ERR_INIT;
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(LINES); i++) {
        AUTO(master_keys_release) struct master_keys masters = {.count = 0};
        AUTO(secret_free) struct secret *line = secret_new(LINES[i], strlen(LINES[i]));
        assert_true(master_keys_parse("f", line, NULL, &masters, &err));
        AUTO(secret_free) struct secret *printed = master_keys_print(&masters, &err);
        assert_true(secret_equal(printed, line->data, line->bytes));
    }
}

static void expect_open(const char *passphrase, enum err_kind kind, const char *part)
{
    struct err err = ERR_INIT;
    const struct keys_options options = {.address = key_path, .passphrase = passphrase};
    AUTO(keys_close) struct keys *keys = keys_open(&options, &err);
    if (keys)
        fail_msg("it opened, but should not: %s", part);
    if (err.kind != kind || !strstr(err.text, part))
        fail_msg("%s: %s (wanted '%s')", err_kind_name(err.kind), err.text, part);
    assert_null(strstr(err.text, "0102030405"));
    assert_null(strstr(err.text, "correct horse"));
}

static void a_passphrase_must_be_the_right_one(void **state)
{
    struct err err = ERR_INIT;
    struct stat st;
    (void)state;
    write_text(pass_path, "correct horse battery staple\n");
    assert_true(keys_file_create_with(key_path, pass_path, &err));
    assert_int_equal(stat(key_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    AUTO(buf_release) struct buf text = {0};
    assert_true(file_read(key_path, 4096, &text, &err));
    assert_true(text_starts_with(buf_text(&text), "kedge-master-key-2 scrypt 17 8 1 "));
    expect_open(NULL, FAIL_AUTH, "key_passphrase");
    AUTO(free) char *wrong = file_join(dir, "wrong");
    write_text(wrong, "correct horse battery stapl\n");
    expect_open(wrong, FAIL_AUTH, "does not open");
    expect_open("/nowhere", FAIL_GONE, "passphrase");
    assert_int_equal(chmod(wrong, 0640), 0);
    expect_open(wrong, FAIL_AUTH, "chmod 600");
    expect_open("cred:kedge", FAIL_INPUT, "LoadCredentialEncrypted");
    expect_open("cred:../x", FAIL_INPUT, "credential");
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", dir, 1), 0);
    const struct keys_options good = {.address = key_path,
                                      .passphrase = "cred:passphrase"};
    AUTO(keys_close) struct keys *keys = keys_open(&good, &err);
    if (!keys)
        fail_msg("%s", err.text);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
}

static void hostile_lines_are_refused_and_not_told(void **state)
{
#define SEALED "4b44474f424a303101000600000000000102030405060708"
    static const struct {
        const char *line;
        enum err_kind kind;
        const char *part;
    } CASES[] = {
        {"kedge-master-key-2 plain " OLD_HEX, FAIL_CORRUPT, "not a master key"},
        {"kedge-master-key-2 plain " OLD_HEX OLD_HEX, FAIL_CORRUPT, "not a master key"},
        {"kedge-master-key-2 plain " OLD_HEX " " OLD_HEX " " OLD_HEX, FAIL_CORRUPT,
         "not a master key"},
        {"kedge-master-key-2 scrypt 17 8 1 " SALT, FAIL_CORRUPT, "not a master key"},
        {"kedge-master-key-2 scrypt 17 8 1 " SALT " " SEALED "0", FAIL_CORRUPT,
         "not a master key"},
        {"kedge-master-key-2 scrypt 17 8 1 0102 " SEALED, FAIL_CORRUPT,
         "not a master key"},
        {"kedge-master-key-2 scrypt 17 8 1 " SALT " " SEALED " more", FAIL_CORRUPT,
         "not a master key"},
        /* Costs that would take hours, or all memory. */
        {"kedge-master-key-2 scrypt 30 8 1 " SALT " " SEALED, FAIL_LIMIT,
         "out of bounds"},
        {"kedge-master-key-2 scrypt 20 16 1 " SALT " " SEALED, FAIL_LIMIT,
         "out of bounds"},
        {"kedge-master-key-2 scrypt 17 8 99 " SALT " " SEALED, FAIL_LIMIT,
         "out of bounds"},
        {"kedge-master-key-2 scrypt 0 8 1 " SALT " " SEALED, FAIL_LIMIT, "out of bounds"},
        {"kedge-master-key-2 scrypt 10 1 1 " SALT " " SEALED, FAIL_AUTH, "does not open"},
        {"kedge-master-key-3 plain " OLD_HEX " " OLD_HEX, FAIL_CORRUPT,
         "not a master key"},
    };
    (void)state;
    write_text(pass_path, "correct horse battery staple");
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        write_text(key_path, CASES[i].line);
        expect_open(pass_path, CASES[i].kind, CASES[i].part);
    }
}

/* A passphrase that comes later takes effect when the file is written the next time. */
static void a_key_in_clear_gets_its_passphrase(void **state)
{
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf text = {0};
    (void)state;
    assert_true(keys_file_create(key_path, &err));
    write_text(pass_path, "correct horse battery staple");
    const struct keys_options options = {.address = key_path, .passphrase = pass_path};
    AUTO(keys_close) struct keys *keys = keys_open(&options, &err);
    assert_non_null(keys);
    AUTO(free) struct keys_status *status = xcalloc(1, sizeof *status);
    assert_true(keys_status_get(keys, status, &err));
    assert_false(status->has_passphrase);
    assert_true(keys_retire(keys, &err));
    assert_true(keys_status_get(keys, status, &err));
    assert_true(status->has_passphrase);
    assert_true(file_read(key_path, 4096, &text, &err));
    assert_true(text_starts_with(buf_text(&text), "kedge-master-key-2 scrypt "));
    expect_open(NULL, FAIL_AUTH, "key_passphrase");
}

static void rotation_keeps_the_master_before(void **state)
{
    struct err err = ERR_INIT;
    struct id machine = id_random(), key_id, again_id;
    char before[KEYS_WRAPPED_MAX], after[KEYS_WRAPPED_MAX], name[KEYS_MASTER_BYTES];
    char old_name[KEYS_MASTER_BYTES];
    (void)state;
    AUTO(free) char *link_path = file_join(dir, "link");
    assert_true(keys_file_create(key_path, &err));
    assert_int_equal(symlink(key_path, link_path), 0);
    AUTO(keys_close) struct keys *keys = keys_file_open(link_path, &err);
    assert_true(keys_current(keys, old_name, &err));
    assert_true(keys_make(keys, &machine, &key_id, before, &err));
    assert_true(keys_is_current(keys, before));
    assert_true(keys_rotate(keys, &err));
    assert_false(keys_is_current(keys, before));
    assert_true(keys_current(keys, name, &err));
    assert_string_not_equal(name, old_name);
    keys_master_of(keys, &machine, before, name);
    assert_string_equal(name, old_name);
    /* A third has no place: the one before may still be needed. */
    assert_false(keys_rotate(keys, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    err_clear(&err);
    AUTO(secret_free)
    struct secret *one = keys_unwrap(keys, &machine, before, &again_id, &err);
    assert_non_null(one);
    assert_true(keys_rewrap(keys, &machine, before, after, &err));
    assert_true(keys_is_current(keys, after));
    AUTO(secret_free)
    struct secret *two = keys_unwrap(keys, &machine, after, &again_id, &err);
    assert_true(secret_equal(one, two->data, two->bytes));
    assert_true(id_equal(&again_id, &key_id));
    assert_true(keys_retire(keys, &err));
    assert_null(keys_unwrap(keys, &machine, before, &again_id, &err));
    assert_int_equal(err.kind, FAIL_CORRUPT);
    /* As after a restart; the link is still one. */
    struct stat st;
    assert_int_equal(lstat(link_path, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    AUTO(keys_close) struct keys *later = keys_file_open(key_path, &err);
    AUTO(secret_free)
    struct secret *three = keys_unwrap(later, &machine, after, &again_id, &err);
    assert_true(secret_equal(one, three->data, three->bytes));
}

/* A remote applier's copy is replaced while he runs. */
static void a_copy_that_was_replaced_is_read_again(void **state)
{
    struct err err = ERR_INIT;
    struct id machine = id_random(), key_id;
    char wrapped[KEYS_WRAPPED_MAX];
    (void)state;
    AUTO(free) char *copy_path = file_join(dir, "copy");
    assert_true(keys_file_create(key_path, &err));
    assert_int_equal(link(key_path, copy_path), 0); /* rotation replaces the other name */
    AUTO(keys_close) struct keys *copy = keys_file_open(copy_path, &err);
    AUTO(keys_close) struct keys *keys = keys_file_open(key_path, &err);
    assert_true(keys_rotate(keys, &err));
    assert_true(keys_make(keys, &machine, &key_id, wrapped, &err));
    assert_null(keys_unwrap(copy, &machine, wrapped, &key_id, &err));
    assert_int_equal(err.kind, FAIL_CORRUPT);
    assert_int_equal(rename(key_path, copy_path), 0);
    err_clear(&err);
    AUTO(secret_free)
    struct secret *key = keys_unwrap(copy, &machine, wrapped, &key_id, &err);
    if (!key)
        fail_msg("%s", err.text);
}

static void damaged_names_open_nothing(void **state)
{
    static const char *const BAD[] = {
        "kedge-wrapped-key-2 ",
        "kedge-wrapped-key-2 file:",
        "kedge-wrapped-key-2 file:00112233 ",
        "kedge-wrapped-key-2 vault-key:00112233 AAAA",
        "kedge-wrapped-key-2 file:0011223344556677 4b44474f424a3031",
        "kedge-wrapped-key-3 file:0011223344556677 4b44474f424a3031",
    };
    struct err err = ERR_INIT;
    struct id machine = id_random(), key_id;
    char master[KEYS_MASTER_BYTES];
    (void)state;
    assert_true(keys_file_create(key_path, &err));
    AUTO(keys_close) struct keys *keys = keys_file_open(key_path, &err);
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++) {
        err_clear(&err);
        assert_null(keys_unwrap(keys, &machine, BAD[i], &key_id, &err));
        assert_int_equal(err.kind, FAIL_CORRUPT);
        assert_false(keys_is_current(keys, BAD[i]));
        keys_master_of(keys, &machine, BAD[i], master);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(form_1_opens_for_ever, set_up, tear_down),
        cmocka_unit_test_setup_teardown(form_2_opens_for_ever, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_line_is_written_as_it_was, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_passphrase_must_be_the_right_one, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(hostile_lines_are_refused_and_not_told, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_key_in_clear_gets_its_passphrase, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(rotation_keeps_the_master_before, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_copy_that_was_replaced_is_read_again, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(damaged_names_open_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("keys_forms", tests, NULL, NULL);
}
