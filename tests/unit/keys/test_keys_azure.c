/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Master keys in a vault, when the vault is well, away, refuses, or answers nonsense. How
 * a real one takes the requests is proved against the simulator (tests/sim).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "vault_server.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "keys/keys.h"

#include <unistd.h>

#define FOR_EVER_MS ((uint64_t)1 << 40)

static char dir[32];
static struct vault_server *server;

static int set_up(void **state)
{
    (void)state;
    memcpy(dir, "/tmp/kedge-vault-XXXXXX", 24);
    assert_non_null(mkdtemp(dir));
    server = vault_server_start(dir);
    return 0;
}

static int tear_down(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    vault_server_stop(server);
    return file_remove_tree(dir, &err) ? 0 : -1;
}

struct setting {
    const char *kind; /* "secrets/m", "keys/k" */
    const char *earlier;
    uint64_t fresh_ms, keep_ms, patience_ms;
};

static struct keys *open_with(const struct setting *setting)
{
    struct err err = ERR_INIT;
    char address[128];
    (void)snprintf(address, sizeof address, "vault:%s/%s", vault_server_url(server),
                   setting->kind);
    const struct keys_options options = {
        .address = address,
        .credential = vault_server_credential(server),
        .earlier_file = setting->earlier,
        .fresh_ms = setting->fresh_ms ? setting->fresh_ms : FOR_EVER_MS,
        .keep_ms = setting->keep_ms ? setting->keep_ms : FOR_EVER_MS,
        .retry_for_ms = setting->patience_ms ? setting->patience_ms : 50,
        .retry_base_ms = 1};
    struct keys *keys = keys_open(&options, &err);
    if (!keys)
        fail_msg("%s", err.text);
    return keys;
}

/* The vault's secret has a first version; it is there from the start for a key. */
static struct keys *open_ready(const char *kind)
{
    struct err err = ERR_INIT;
    struct keys *keys = open_with(&(struct setting){.kind = kind});
    if (kind[0] == 's' && !keys_rotate(keys, &err))
        fail_msg("%s", err.text);
    return keys;
}

static void must(bool ok, const struct err *err)
{
    if (!ok)
        fail_msg("%s", err->text);
}

static void assert_same_key(struct keys *keys, const struct id *machine,
                            const char *wrapped, const struct secret *expected)
{
    struct err err = ERR_INIT;
    struct id key_id;
    AUTO(secret_free)
    struct secret *key = keys_unwrap(keys, machine, wrapped, &key_id, &err);
    must(key != NULL, &err);
    assert_true(secret_equal(expected, key->data, key->bytes));
}

static void expect_no_key(struct keys *keys, const struct id *machine,
                          const char *wrapped, enum err_kind kind, const char *part)
{
    struct err err = ERR_INIT;
    struct id key_id;
    assert_null(keys_unwrap(keys, machine, wrapped, &key_id, &err));
    if (err.kind != kind || !strstr(err.text, part))
        fail_msg("%s: %s (wanted %s '%s')", err_kind_name(err.kind), err.text,
                 err_kind_name(kind), part);
    assert_null(strstr(err.text, "0011223344"));
    assert_null(strstr(err.text, "let-me-in"));
}

/* ---- well ---- */

static void a_life(const char *kind)
{
    struct err err = ERR_INIT;
    struct id machine = id_random(), other = id_random(), key_id, again_id;
    char first[KEYS_WRAPPED_MAX], second[KEYS_WRAPPED_MAX], master[KEYS_MASTER_BYTES];
    AUTO(keys_close) struct keys *keys = open_ready(kind);
    must(keys_make(keys, &machine, &key_id, first, &err), &err);
    assert_true(keys_is_current(keys, first));
    AUTO(secret_free)
    struct secret *key = keys_unwrap(keys, &machine, first, &again_id, &err);
    must(key != NULL, &err);
    assert_true(id_equal(&key_id, &again_id));
    expect_no_key(keys, &other, first, FAIL_CORRUPT, "does not open");

    must(keys_rotate(keys, &err), &err);
    assert_false(keys_is_current(keys, first));
    must(keys_rewrap(keys, &machine, first, second, &err), &err);
    assert_true(keys_is_current(keys, second));
    must(keys_current(keys, master, &err), &err);
    assert_true(
        text_starts_with(master, kind[0] == 's' ? "vault-secret:" : "vault-key:"));
    assert_string_equal(strchr(master, ':'), ":v2");
    must(keys_retire(keys, &err), &err);

    /* After a restart both open: the vault keeps its versions. */
    AUTO(keys_close) struct keys *later = open_with(&(struct setting){.kind = kind});
    assert_same_key(later, &machine, second, key);
    assert_same_key(later, &machine, first, key);
    AUTO(free) struct keys_status *status = xcalloc(1, sizeof *status);
    must(keys_status_get(later, status, &err), &err);
    assert_int_equal(status->version_count, 2);
    assert_non_null(strstr(status->where, kind));
    for (size_t i = 0; i < 2; i++) {
        bool is_second = text_ends_with(status->versions[i].master, ":v2");
        assert_int_equal(status->versions[i].is_current, is_second);
        assert_int_equal(status->versions[i].is_enabled, !is_second);
    }
}

static void a_secret_lives(void **state)
{
    (void)state;
    a_life("secrets/m");
}

static void a_key_lives(void **state)
{
    (void)state;
    a_life("keys/k");
}

static void what_is_not_there_is_not_made(void **state)
{
    struct err err = ERR_INIT;
    struct id machine = id_random(), key_id;
    char wrapped[KEYS_WRAPPED_MAX];
    (void)state;
    AUTO(keys_close)
    struct keys *keys = open_with(&(struct setting){.kind = "secrets/m"});
    assert_int_equal(vault_server_asked(server), 0); /* open asks nobody */
    assert_false(keys_make(keys, &machine, &key_id, wrapped, &err));
    assert_int_equal(err.kind, FAIL_GONE);
    assert_non_null(strstr(err.text, "kedge keys rotate"));
    assert_null(strstr(vault_server_log(server), "PUT"));
}

static void a_file_before_the_vault_still_opens(void **state)
{
    struct err err = ERR_INIT;
    struct id machine = id_random(), key_id;
    char wrapped[KEYS_WRAPPED_MAX], moved[KEYS_WRAPPED_MAX], master[KEYS_MASTER_BYTES];
    (void)state;
    AUTO(free) char *path = file_join(dir, "master.key");
    must(keys_file_create(path, &err), &err);
    AUTO(keys_close) struct keys *file = keys_file_open(path, &err);
    must(keys_make(file, &machine, &key_id, wrapped, &err), &err);
    AUTO(secret_free)
    struct secret *key = keys_unwrap(file, &machine, wrapped, &key_id, &err);
    AUTO(keys_close)
    struct keys *both = open_with(&(struct setting){.kind = "keys/k", .earlier = path});
    assert_same_key(both, &machine, wrapped, key);
    assert_int_equal(vault_server_asked(server), 0);
    assert_false(keys_is_current(both, wrapped));
    must(keys_current(both, master, &err), &err);
    must(keys_rewrap(both, &machine, wrapped, moved, &err), &err);
    AUTO(keys_close) struct keys *alone = open_with(&(struct setting){.kind = "keys/k"});
    assert_same_key(alone, &machine, moved, key);
    expect_no_key(alone, &machine, wrapped, FAIL_CORRUPT, "set 'keys' and 'key_file'");
}

/* ---- outages ---- */

static void kept_keys_bridge_an_outage(void **state)
{
    static const char *const KINDS[] = {"secrets/m", "keys/k"};
    static const enum vault_mood MOODS[] = {VAULT_BUSY, VAULT_GONE, VAULT_GARBAGE};
    struct err err = ERR_INIT;
    (void)state;
    keys_close(open_ready("secrets/m"));
    for (size_t i = 0; i < ARRAY_COUNT(KINDS) * ARRAY_COUNT(MOODS); i++) {
        struct id machine = id_random(), key_id;
        char wrapped[KEYS_WRAPPED_MAX];
        AUTO(keys_close)
        struct keys *keys =
            open_with(&(struct setting){.kind = KINDS[i % 2], .fresh_ms = 1});
        vault_server_set_mood(server, VAULT_WELL);
        /* After the mood in which nobody answers, the way is tried again by and by. */
        uint64_t until_ms = clock_mono_ms() + 60000;
        while (!keys_make(keys, &machine, &key_id, wrapped, &err)) {
            if (clock_mono_ms() > until_ms)
                fail_msg("%s", err.text);
            err_clear(&err);
            clock_sleep_ms(20);
        }
        AUTO(secret_free)
        struct secret *key = keys_unwrap(keys, &machine, wrapped, &key_id, &err);
        must(key != NULL, &err);
        clock_sleep_ms(5); /* stale now */
        vault_server_set_mood(server, MOODS[i / 2]);
        unsigned before = vault_server_asked(server);
        assert_same_key(keys, &machine, wrapped, key);
        unsigned after = vault_server_asked(server);
        assert_true(after > before || MOODS[i / 2] == VAULT_GONE);
        /* And the vault is left alone for a while. */
        for (int n = 0; n < 20; n++)
            assert_same_key(keys, &machine, wrapped, key);
        assert_int_equal(vault_server_asked(server), after);
        vault_server_set_mood(server, VAULT_WELL);
    }
}

static void fresh_keys_ask_nobody(void **state)
{
    struct err err = ERR_INIT;
    struct id machine = id_random(), key_id;
    char wrapped[KEYS_WRAPPED_MAX];
    (void)state;
    AUTO(keys_close) struct keys *keys = open_ready("keys/k");
    must(keys_make(keys, &machine, &key_id, wrapped, &err), &err);
    unsigned before = vault_server_asked(server);
    vault_server_set_mood(server, VAULT_FORBIDS);
    for (int i = 0; i < 50; i++)
        secret_free(keys_unwrap(keys, &machine, wrapped, &key_id, &err));
    assert_int_equal(err.kind, FAIL_NONE);
    assert_int_equal(vault_server_asked(server), before);
}

static void nothing_is_kept_too_long(void **state)
{
    struct err err = ERR_INIT;
    struct id machine = id_random(), key_id;
    char wrapped[KEYS_WRAPPED_MAX];
    (void)state;
    AUTO(keys_close)
    struct keys *keys =
        open_with(&(struct setting){.kind = "keys/k", .fresh_ms = 1, .keep_ms = 2});
    must(keys_make(keys, &machine, &key_id, wrapped, &err), &err);
    clock_sleep_ms(5);
    vault_server_set_mood(server, VAULT_BUSY);
    expect_no_key(keys, &machine, wrapped, FAIL_TRANSIENT, "503");
    vault_server_set_mood(server, VAULT_WELL);
    secret_free(keys_unwrap(keys, &machine, wrapped, &key_id, &err));
    assert_int_equal(err.kind, FAIL_NONE);
}

static void a_refusal_ends_what_was_kept(void **state)
{
    static const struct {
        enum vault_mood mood;
        enum err_kind kind;
        const char *part;
    } CASES[] = {
        {VAULT_FORBIDS, FAIL_AUTH, "Key Vault Crypto User"},
        {VAULT_DISABLED, FAIL_AUTH, "disabled; enable it"},
        {VAULT_EMPTY, FAIL_GONE, "recover it"},
        {VAULT_CHALLENGES, FAIL_AUTH, "'https://thief.test'"},
        {VAULT_OTHER_TENANT, FAIL_AUTH, "check the credential"},
    };
    struct err err = ERR_INIT;
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        struct id machine = id_random(), key_id;
        char wrapped[KEYS_WRAPPED_MAX];
        vault_server_set_mood(server, VAULT_WELL);
        AUTO(keys_close)
        struct keys *keys = open_with(&(struct setting){.kind = "keys/k", .fresh_ms = 1});
        must(keys_make(keys, &machine, &key_id, wrapped, &err), &err);
        clock_sleep_ms(5);
        vault_server_set_mood(server, CASES[i].mood);
        expect_no_key(keys, &machine, wrapped, CASES[i].kind, CASES[i].part);
        vault_server_set_mood(server, VAULT_BUSY);
        expect_no_key(keys, &machine, wrapped, FAIL_TRANSIENT, "503");
    }
}

struct waiter {
    struct keys *keys;
    struct id machine;
    const char *wrapped;
    struct err err;
};

static void *wait_for_key(void *ctx)
{
    struct waiter *waiter = ctx;
    struct id key_id;
    secret_free(keys_unwrap(waiter->keys, &waiter->machine, waiter->wrapped, &key_id,
                            &waiter->err));
    return NULL;
}

static void who_waits_can_be_called_off(void **state)
{
    struct err err = ERR_INIT;
    struct id key_id;
    char wrapped[KEYS_WRAPPED_MAX];
    pthread_t thread;
    (void)state;
    struct waiter waiter = {.machine = id_random(), .wrapped = wrapped};
    AUTO(keys_close) struct keys *maker = open_ready("keys/k");
    must(keys_make(maker, &waiter.machine, &key_id, wrapped, &err), &err);
    AUTO(keys_close)
    struct keys *keys =
        open_with(&(struct setting){.kind = "keys/k", .patience_ms = FOR_EVER_MS});
    waiter.keys = keys;
    vault_server_set_mood(server, VAULT_BUSY);
    unsigned before = vault_server_asked(server);
    assert_int_equal(pthread_create(&thread, NULL, wait_for_key, &waiter), 0);
    while (vault_server_asked(server) == before)
        clock_sleep_ms(1);
    keys_cancel(keys);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(waiter.err.kind, FAIL_CANCELED);
}

/* ---- nonsense ---- */

static void hostile_answers_are_refused(void **state)
{
    static const struct {
        const char *kind;
        enum vault_mood mood;
        enum err_kind error;
        const char *part;
    } CASES[] = {
        {"keys/k", VAULT_HUGE, FAIL_CORRUPT, "not base64url"},
        {"keys/k", VAULT_BINARY, FAIL_CORRUPT, "makes no sense"},
        {"keys/k", VAULT_SHORT, FAIL_CORRUPT, "12 bytes instead of 64"},
        {"keys/k", VAULT_OTHER_ID, FAIL_CORRUPT, "names no version"},
        {"keys/k", VAULT_NO_ID, FAIL_CORRUPT, "names no version"},
        {"keys/k", VAULT_GARBAGE, FAIL_CORRUPT, "no object"},
        {"keys/k", VAULT_LISTS, FAIL_CORRUPT, "no object"},
        {"secrets/m", VAULT_HUGE, FAIL_LIMIT, "1048576 bytes"},
        {"secrets/m", VAULT_BINARY, FAIL_CORRUPT, "makes no sense"},
        {"secrets/m", VAULT_SHORT, FAIL_CORRUPT, "not a master key"},
        {"secrets/m", VAULT_OTHER_ID, FAIL_CORRUPT, "names no version"},
        {"secrets/m", VAULT_NO_ID, FAIL_CORRUPT, "names no version"},
        {"secrets/m", VAULT_GARBAGE, FAIL_CORRUPT, "no object"},
    };
    struct err err = ERR_INIT;
    (void)state;
    keys_close(open_ready("secrets/m"));
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        struct id machine = id_random(), key_id;
        char wrapped[KEYS_WRAPPED_MAX], none[KEYS_WRAPPED_MAX];
        const struct setting setting = {.kind = CASES[i].kind};
        vault_server_set_mood(server, VAULT_WELL);
        AUTO(keys_close) struct keys *maker = open_with(&setting);
        must(keys_make(maker, &machine, &key_id, wrapped, &err), &err);
        AUTO(keys_close) struct keys *keys = open_with(&setting);
        vault_server_set_mood(server, CASES[i].mood);
        expect_no_key(keys, &machine, wrapped, CASES[i].error, CASES[i].part);
        if (CASES[i].mood == VAULT_SHORT && CASES[i].kind[0] == 'k')
            continue; /* it looks at nothing but the length there */
        assert_false(keys_make(keys, &machine, &key_id, none, &err));
        err_clear(&err);
    }
}

static void a_key_must_be_rsa_of_2048_bits(void **state)
{
    static const enum vault_mood MOODS[] = {VAULT_SMALL_KEY, VAULT_EC_KEY};
    static const char *const PARTS[] = {"less than 2048", "type 'EC'"};
    struct id machine = id_random(), key_id;
    char wrapped[KEYS_WRAPPED_MAX];
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(MOODS); i++) {
        struct err err = ERR_INIT;
        AUTO(keys_close) struct keys *keys = open_ready("keys/k");
        vault_server_set_mood(server, MOODS[i]);
        assert_false(keys_make(keys, &machine, &key_id, wrapped, &err));
        assert_int_equal(err.kind, FAIL_INPUT);
        assert_non_null(strstr(err.text, PARTS[i]));
    }
}

static void a_list_does_not_lead_away(void **state)
{
    static const enum vault_mood MOODS[] = {VAULT_ELSEWHERE, VAULT_ENDLESS};
    static const char *const PARTS[] = {"next page is elsewhere", "do not end"};
    (void)state;
    AUTO(keys_close) struct keys *keys = open_ready("secrets/m");
    AUTO(free) struct keys_status *status = xcalloc(1, sizeof *status);
    for (size_t i = 0; i < ARRAY_COUNT(MOODS); i++) {
        struct err err = ERR_INIT;
        vault_server_set_mood(server, MOODS[i]);
        assert_false(keys_status_get(keys, status, &err));
        assert_int_equal(err.kind, FAIL_CORRUPT);
        assert_non_null(strstr(err.text, PARTS[i]));
    }
}

static void addresses_are_checked(void **state)
{
    static const char *const BAD[] = {
        "relative",
        "vault:",
        "vault:https://v.vault.azure.net",
        "vault:https://v.vault.azure.net/keys",
        "vault:https://v.vault.azure.net/keys/",
        "vault:https://v.vault.azure.net/certificates/c",
        "vault:https://v.vault.azure.net/keys/a_b",
        "vault:https://v.vault.azure.net/keys/a/0123",
        "vault:https://v.vault.azure.net/keys/a/0123/4",
        "vault:https://user@v.vault.azure.net/keys/a",
        "vault:https://v.vault.azure.net/keys/a?x=1",
        "vault:http://v.vault.azure.net/keys/a",
        "vault:ftp://v.vault.azure.net/keys/a",
    };
    struct err err = ERR_INIT;
    (void)state;
    assert_true(keys_check_address("/etc/kedge/master.key", &err));
    assert_true(keys_check_address("vault:https://v.vault.azure.net/keys/a-1", &err));
    assert_true(keys_check_address("vault:https://v.vault.azure.cn/secrets/a/", &err));
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++) {
        err_clear(&err);
        if (keys_check_address(BAD[i], &err))
            fail_msg("'%s' was taken", BAD[i]);
        assert_int_equal(err.kind, FAIL_INPUT);
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_secret_lives),
        CASE(a_key_lives),
        CASE(what_is_not_there_is_not_made),
        CASE(a_file_before_the_vault_still_opens),
        CASE(kept_keys_bridge_an_outage),
        CASE(fresh_keys_ask_nobody),
        CASE(nothing_is_kept_too_long),
        CASE(a_refusal_ends_what_was_kept),
        CASE(who_waits_can_be_called_off),
        CASE(hostile_answers_are_refused),
        CASE(a_key_must_be_rsa_of_2048_bits),
        CASE(a_list_does_not_lead_away),
        CASE(addresses_are_checked),
    };
    return cmocka_run_group_tests_name("keys_azure", tests, NULL, NULL);
}
