/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets of credentials by reference: files, credentials of systemd, a vault; connection
 * strings; and an account key that is rotated in the vault while we run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "azure/secret_ref.h"
#include "azure/signer.h"
#include "azure/token.h"
#include "base/file.h"
#include "support/script_server.h"

#include <unistd.h>

#define KEY_A "a2V5LWEta2V5LWEta2V5LWEta2V5LWE="
#define KEY_B "a2V5LWIta2V5LWIta2V5LWIta2V5LWI="
#define SECRET(value)                                                                    \
    .status = 200, .body = "{\"value\":\"" value "\",\"id\":\"$U/secrets/lsa/0123\"}"

static char dir[40];
static struct script_server *server;

static int set_up(void **state)
{
    (void)state;
    memcpy(dir, "/tmp/kedge-secret-ref-XXXXXX", 29);
    assert_non_null(mkdtemp(dir));
    server = script_server_start(dir);
    return 0;
}

static int tear_down(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    script_server_stop(server);
    return file_remove_tree(dir, &err) ? 0 : -1;
}

static char *write_file(const char *name, const char *fmt, ...) PRINTF_LIKE(2, 3);
static char *write_file(const char *name, const char *fmt, ...)
{
    char text[1024];
    struct err err = ERR_INIT;
    va_list ap;
    va_start(ap, fmt);
    int length = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    char *path = file_join(dir, name);
    assert_true(file_write_durable(path, text, (size_t)length, 0600, &err));
    return path;
}

static struct azure_access read_access(const char *path)
{
    struct azure_access access;
    struct err err = ERR_INIT;
    if (!azure_access_read(path, &access, &err))
        fail_msg("%s", err.text);
    return access;
}

static struct azure_signer *open_signer(const struct azure_access *access)
{
    struct err err = ERR_INIT;
    const struct azure_signer_options options = {
        .access = access, .cloud = azure_cloud_of_host(""), .account = "lsa"};
    struct azure_signer *signer = azure_signer_open(&options, &err);
    if (!signer)
        fail_msg("%s", err.text);
    return signer;
}

/* What the signer makes of one request at a fixed date. */
static void sign_with(struct azure_signer *signer, char out[AZURE_VALUE_BYTES],
                      unsigned *ret_mark)
{
    struct azure_request request = {.method = "GET", .path = "/c"};
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf query = {0};
    assert_true(signer->sign(signer, &request, &query, &err));
    *ret_mark = request.secret_mark;
    (void)snprintf(out, AZURE_VALUE_BYTES, "%s",
                   request.headers[request.header_count - 1].value);
    assert_true(strncmp(out, "SharedKey lsa:", 14) == 0);
}

/* The date is signed, too: compared within one second, or tried again. */
static void assert_same_key(const struct azure_access *a, const struct azure_access *b)
{
    AUTO(azure_signer_close) struct azure_signer *left = open_signer(a);
    AUTO(azure_signer_close) struct azure_signer *right = open_signer(b);
    char one[AZURE_VALUE_BYTES], two[AZURE_VALUE_BYTES], three[AZURE_VALUE_BYTES];
    unsigned mark;
    do {
        sign_with(left, one, &mark);
        sign_with(right, two, &mark);
        sign_with(left, three, &mark);
    } while (strcmp(one, three) != 0);
    assert_string_equal(one, two);
}

static void references_are_checked_when_read(void **state)
{
    static const struct {
        const char *text, *part; /* NULL: good */
    } CASES[] = {
        {"{\"kind\":\"shared-key\",\"key_file\":\"/k\"}", NULL},
        {"{\"kind\":\"shared-key\",\"key_file\":\"cred:lsa\"}", NULL},
        {"{\"kind\":\"sas\",\"sas_file\":\"kv:https://v.vault.azure.net/secrets/s\","
         "\"kv_credential\":\"/c\"}",
         NULL},
        {"{\"kind\":\"sas\",\"sas_file\":\"kv:https://v.vault.azure.net/secrets/s/01\","
         "\"kv_credential\":\"/c\"}",
         NULL},
        {"{\"kind\":\"shared-key\",\"key_file\":\"cred:../lsa\"}", "credential"},
        {"{\"kind\":\"shared-key\",\"key_file\":\"cred:\"}", "credential"},
        {"{\"kind\":\"shared-key\",\"key_file\":\"kv:https://v.vault.azure.net/secrets/"
         "s\"}",
         "kv_credential"},
        {"{\"kind\":\"shared-key\",\"key_file\":\"kv:https://v.vault.azure.net/keys/s\","
         "\"kv_credential\":\"/c\"}",
         "is a key"},
        {"{\"kind\":\"shared-key\",\"key_file\":\"kv:http://v.vault.azure.net/secrets/"
         "s\","
         "\"kv_credential\":\"/c\"}",
         "https"},
        {"{\"kind\":\"managed-identity\",\"kv_credential\":\"/c\"}", "kv_credential"},
        {"{\"kind\":\"client-secret\",\"tenant\":\"t\",\"client\":\"c\","
         "\"secret_file\":\"kv:nonsense\",\"kv_credential\":\"/c\"}",
         "Key Vault"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        struct err err = ERR_INIT;
        struct azure_access access;
        AUTO(free) char *path = write_file("access.json", "%s", CASES[i].text);
        if (azure_access_read(path, &access, &err)) {
            if (CASES[i].part)
                fail_msg("taken: %s", CASES[i].text);
            azure_access_release(&access);
        } else if (!CASES[i].part || err.kind != FAIL_INPUT ||
                   !strstr(err.text, CASES[i].part)) {
            fail_msg("%s: %s", CASES[i].text, err.text);
        }
    }
}

static void a_key_comes_from_everywhere(void **state)
{
    (void)state;
    AUTO(free) char *key = write_file("lsa", KEY_A "\n");
    AUTO(free)
    char *connection = write_file(
        "connection", "DefaultEndpointsProtocol=https;AccountName=lsa;AccountKey=" KEY_A
                      ";EndpointSuffix=core.windows.net\n");
    AUTO(free)
    char *plain =
        write_file("a.json", "{\"kind\":\"shared-key\",\"key_file\":\"%s\"}", key);
    AUTO(free)
    char *by_string =
        write_file("b.json", "{\"kind\":\"shared-key\",\"key_file\":\"%s\"}", connection);
    AUTO(free)
    char *by_cred =
        write_file("c.json", "{\"kind\":\"shared-key\",\"key_file\":\"cred:lsa\"}");
    AUTO(free)
    char *by_vault = write_file(
        "d.json",
        "{\"kind\":\"shared-key\",\"key_file\":\"kv:%s/secrets/lsa\",\"kv_credential\":"
        "\"%s\"}",
        script_server_url(server), script_server_credential(server));
    struct azure_access access[4] = {read_access(plain), read_access(by_string),
                                     read_access(by_cred), read_access(by_vault)};
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", dir, 1), 0);
    SCRIPT_PLAY(server, {SECRET(KEY_A), .repeat = UINT_MAX});
    for (size_t i = 1; i < 4; i++)
        assert_same_key(&access[0], &access[i]);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    assert_non_null(
        strstr(script_server_log(server), "GET /secrets/lsa/?api-version=7.5"));
    for (size_t i = 0; i < 4; i++)
        azure_access_release(&access[i]);
}

struct renewing {
    struct azure_signer *signer;
    unsigned mark;
    bool is_renewed;
};

static void *renew_it(void *ctx)
{
    struct renewing *renewing = ctx;
    renewing->is_renewed = renewing->signer->renew(renewing->signer, renewing->mark);
    return NULL;
}

/* Refused with the old key: whoever is, gets the new one, and the vault is asked once. */
static void a_rotated_key_takes_effect(void **state)
{
    char before[AZURE_VALUE_BYTES], after[AZURE_VALUE_BYTES];
    struct renewing renewing[4];
    pthread_t threads[4];
    unsigned mark, mark_now;
    (void)state;
    AUTO(free)
    char *path = write_file(
        "access.json",
        "{\"kind\":\"shared-key\",\"key_file\":\"kv:%s/secrets/lsa\",\"kv_credential\":"
        "\"%s\"}",
        script_server_url(server), script_server_credential(server));
    struct azure_access access = read_access(path);
    SCRIPT_PLAY(server, {SECRET(KEY_A)}, {SECRET(KEY_B), .repeat = UINT_MAX});
    AUTO(azure_signer_close) struct azure_signer *signer = open_signer(&access);
    sign_with(signer, before, &mark);
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        renewing[i] = (struct renewing){.signer = signer, .mark = mark};
        assert_int_equal(pthread_create(&threads[i], NULL, renew_it, &renewing[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(renewing[i].is_renewed);
    }
    assert_int_equal(script_server_asked(server), 2);
    sign_with(signer, after, &mark_now);
    assert_int_not_equal(mark, mark_now);
    assert_string_not_equal(before, after);
    /* Refused again: it would be the same one, so nobody tries. */
    assert_false(signer->renew(signer, mark_now));
    azure_access_release(&access);
}

static void a_client_secret_comes_from_a_vault(void **state)
{
    struct err err = ERR_INIT;
    unsigned mark;
    (void)state;
    AUTO(free)
    char *path =
        write_file("access.json",
                   "{\"kind\":\"client-secret\",\"tenant\":\"t\",\"client\":\"c\","
                   "\"authority\":\"%s\","
                   "\"secret_file\":\"kv:%s/secrets/lsa/0123\",\"kv_credential\":\"%s\"}",
                   script_server_url(server), script_server_url(server),
                   script_server_credential(server));
    struct azure_access access = read_access(path);
    SCRIPT_PLAY(
        server, {SECRET("s3cret&")},
        {.status = 200, .body = "{\"access_token\":\"from-entra\",\"expires_in\":3600}"});
    const struct azure_token_options options = {.access = &access,
                                                .cloud = azure_cloud_of_host(""),
                                                .resource = "https://storage.azure.com"};
    AUTO(azure_token_close) struct azure_token *token = azure_token_open(&options, &err);
    AUTO(secret_free) struct secret *secret = azure_token_get(token, NULL, &mark, &err);
    if (!secret)
        fail_msg("%s", err.text);
    assert_true(secret_equal(secret, "from-entra", 10));
    assert_non_null(strstr(script_server_log(server), "GET /secrets/lsa/0123?"));
    assert_non_null(strstr(script_server_body(server, 1), "client_secret=s3cret%26"));
    azure_access_release(&access);
}

static void what_cannot_be_read_is_said(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    /* A credential for a vault that lies in a vault. */
    AUTO(free)
    char *inner = write_file(
        "inner.json",
        "{\"kind\":\"client-secret\",\"tenant\":\"t\",\"client\":\"c\",\"secret_file\":"
        "\"kv:%s/secrets/lsa\",\"kv_credential\":\"%s/inner.json\"}",
        script_server_url(server), dir);
    AUTO(free)
    char *outer = write_file("outer.json",
                             "{\"kind\":\"shared-key\",\"key_file\":\"kv:%s/secrets/"
                             "lsa\",\"kv_credential\":\"%s\"}",
                             script_server_url(server), inner);
    struct azure_access access = read_access(outer);
    assert_null(azure_secret_ref_read(&access, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    assert_non_null(strstr(err.text, "refers to a vault itself"));
    assert_int_equal(script_server_asked(server), 0);
    azure_access_release(&access);
    /* A storage key opens no vault. */
    AUTO(free) char *key = write_file("lsa", KEY_A);
    AUTO(free)
    char *storage =
        write_file("inner.json", "{\"kind\":\"shared-key\",\"key_file\":\"%s\"}", key);
    assert_non_null(storage);
    access = read_access(outer);
    err_clear(&err);
    assert_null(azure_secret_ref_read(&access, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    assert_non_null(strstr(err.text, "storage accounts only"));
    azure_access_release(&access);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(references_are_checked_when_read), CASE(a_key_comes_from_everywhere),
        CASE(a_rotated_key_takes_effect),       CASE(a_client_secret_comes_from_a_vault),
        CASE(what_cannot_be_read_is_said),
    };
    return cmocka_run_group_tests_name("secret_ref", tests, NULL, NULL);
}
