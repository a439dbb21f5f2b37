/* SPDX-License-Identifier: Apache-2.0 */
/* What is read and written as text: addresses, credential files, dates, signatures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "azure/blob.h"
#include "base/file.h"
#include "base/text.h"
#include "http/sign.h"

#include <sys/stat.h>

static char dir[] = "/tmp/kedge-azure-XXXXXX";

static void addresses(void **state)
{
    static const struct {
        const char *text, *origin, *account, *root, *prefix;
    } GOOD[] = {
        {"https://lsa1.blob.core.windows.net/logs", "https://lsa1.blob.core.windows.net",
         "lsa1", "/logs", ""},
        {"https://lsa1.blob.core.windows.net/logs/", "https://lsa1.blob.core.windows.net",
         "lsa1", "/logs", ""},
        {"https://lsa1.blob.core.usgovcloudapi.net/logs/a/b-C._/",
         "https://lsa1.blob.core.usgovcloudapi.net", "lsa1", "/logs", "a/b-C._/"},
        {"https://127.0.0.1:10000/dev1/con", "https://127.0.0.1:10000", "dev1",
         "/dev1/con", ""},
        {"http://localhost:10000/dev1/con/p", "http://localhost:10000", "dev1",
         "/dev1/con", "p/"},
        {"https://[::1]:443/dev1/con", "https://[::1]:443", "dev1", "/dev1/con", ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(GOOD); i++) {
        struct blob_address got;
        struct err err = ERR_INIT;
        if (!blob_address_parse(GOOD[i].text, &got, &err))
            fail_msg("%s", err.text);
        assert_string_equal(got.origin, GOOD[i].origin);
        assert_string_equal(got.account, GOOD[i].account);
        assert_string_equal(got.root, GOOD[i].root);
        assert_string_equal(got.prefix, GOOD[i].prefix);
    }
    static const char *const BAD[] = {"",
                                      "lsa1",
                                      "ftp://lsa1.blob.core.windows.net/logs",
                                      "https://",
                                      "https://lsa1.blob.core.windows.net",
                                      "https://lsa1.blob.core.windows.net/",
                                      "https://lsa1.blob.core.windows.net/ab",
                                      "https://lsa1.blob.core.windows.net/Logs",
                                      "https://lsa1.blob.core.windows.net/logs//a",
                                      "https://lsa1.blob.core.windows.net/logs/../a",
                                      "https://lsa1.blob.core.windows.net/logs/a b",
                                      "https://lsa1.blob.core.windows.net/logs?sig=x",
                                      "https://user@lsa1.blob.core.windows.net/logs",
                                      "https://LSA.blob.core.windows.net/logs",
                                      "http://lsa1.blob.core.windows.net/logs",
                                      "https://127.0.0.1:10000/dev1",
                                      "https://lsa1.blob.core.windows.net/logs/a%2f"};
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++) {
        struct blob_address got;
        struct err err = ERR_INIT;
        if (blob_address_parse(BAD[i], &got, &err))
            fail_msg("'%s' was taken", BAD[i]);
        assert_int_equal(err.kind, FAIL_INPUT);
        assert_null(strstr(err.text, "sig=x"));
    }
}

static void clouds(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    assert_string_equal(azure_cloud_of_host("a.blob.core.chinacloudapi.cn")->name,
                        "china");
    assert_string_equal(azure_cloud_of_host("a.blob.core.usgovcloudapi.net")->name,
                        "usgov");
    assert_string_equal(azure_cloud_of_host("127.0.0.1")->name, "public");
    assert_null(azure_cloud_get("moon", &err));
    assert_int_equal(err.kind, FAIL_INPUT);
}

static void dates(void **state)
{
    char text[AZURE_DATE_BYTES];
    uint64_t s = 0;
    (void)state;
    assert_string_equal(azure_date_text(1795327218, text),
                        "Sun, 22 Nov 2026 06:00:18 GMT");
    assert_true(azure_date_parse(text, &s));
    assert_int_equal(s, 1795327218);
    assert_string_equal(azure_date_text(951782400, text),
                        "Tue, 29 Feb 2000 00:00:00 GMT");
    static const char *const BAD[] = {"", "now", "Sun, 22 Nov 2026",
                                      "Sun, 22 X 2026 06:00:18 GMT",
                                      "Sun, 22 Nov 2026 06:00:18 CET"};
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++)
        assert_false(azure_date_parse(BAD[i], &s));
}

static void ends_of_sas(void **state)
{
    uint64_t s = 0;
    (void)state;
    assert_true(azure_sas_end("sv=1&se=2026-11-22T06%3A00%3A18Z&sig=x", &s));
    assert_int_equal(s, 1795327218);
    assert_true(azure_sas_end("se=2026-11-22T06:00Z", &s));
    assert_int_equal(s, 1795327200);
    assert_true(azure_sas_end("sp=r&se=2000-02-29", &s));
    assert_int_equal(s, 951782400);
    assert_false(azure_sas_end("sp=r&ses=2000-02-29", &s));
    assert_false(azure_sas_end("sig=se=1", &s));
    assert_false(azure_sas_end("", &s));
}

/* The order of the lines is the service's; the values are ours. */
static void the_string_to_sign(void **state)
{
    AUTO(buf_release) struct buf text = {0};
    (void)state;
    struct azure_request request = {
        .method = "PUT", .path = "/con/a/b", .body = "12345", .body_bytes = 5};
    azure_add_query(&request, "comp", "block");
    azure_add_query(&request, "blockid", "AA==");
    azure_add_header(&request, "x-ms-version", "2024-08-04");
    azure_add_header(&request, "Content-MD5", "md5");
    azure_add_header(&request, "x-ms-date", "today");
    azure_add_header(&request, "If-None-Match", "*");
    azure_add_header(&request, "X-Other", "not signed");
    azure_string_to_sign(&request, "acc", &text);
    assert_string_equal(
        buf_text(&text),
        "PUT\n\n\n5\nmd5\n\n\n\n\n*\n\n\nx-ms-date:today\n"
        "x-ms-version:2024-08-04\n/acc/con/a/b\nblockid:AA==\ncomp:block");
    buf_clear(&text);
    struct azure_request get = {.method = "GET", .path = "/con"};
    azure_string_to_sign(&get, "acc", &text);
    assert_string_equal(buf_text(&text), "GET\n\n\n\n\n\n\n\n\n\n\n\n/acc/con");
}

/* ---- digests against the values of their standards ---- */

static void digests_and_encodings(void **state)
{
    uint8_t md5[SIGN_MD5_BYTES], mac[SIGN_SHA256_BYTES];
    char hex[65];
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf text = {0};
    (void)state;
    sign_md5("message digest", 14, md5); /* RFC 1321 */
    text_hex(md5, sizeof md5, hex);
    assert_string_equal(hex, "f96b697d7cb7938d525a2f31aaf161d0");
    AUTO(secret_free) struct secret *key = secret_new("Jefe", 4); /* RFC 4231, 2 */
    sign_hmac_sha256(key, "what do ya want for nothing?", 28, mac);
    text_hex(mac, sizeof mac, hex);
    assert_string_equal(
        hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    static const char *const VECTORS[][2] = {/* RFC 4648 */
                                             {"", ""},
                                             {"f", "Zg=="},
                                             {"fo", "Zm8="},
                                             {"foo", "Zm9v"},
                                             {"foob", "Zm9vYg=="}};
    for (size_t i = 0; i < ARRAY_COUNT(VECTORS); i++) {
        buf_clear(&text);
        sign_base64(VECTORS[i][0], strlen(VECTORS[i][0]), &text);
        assert_string_equal(buf_text(&text), VECTORS[i][1]);
        if (!i)
            continue;
        AUTO(secret_free)
        struct secret *back = sign_unbase64(VECTORS[i][1], strlen(VECTORS[i][1]), &err);
        assert_non_null(back);
        assert_true(secret_equal(back, VECTORS[i][0], strlen(VECTORS[i][0])));
    }
    static const char *const BAD[] = {
        "", "Zg", "Zg=", "Z===", "====", "Zm9v!g==", "Zg ="};
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++) {
        AUTO(secret_free)
        struct secret *back = sign_unbase64(BAD[i], strlen(BAD[i]), &err);
        if (back && strcmp(BAD[i], "Z===") != 0 && strcmp(BAD[i], "====") != 0)
            fail_msg("'%s' was taken", BAD[i]);
    }
    buf_clear(&text);
    sign_base64_url("\xfb\xff\xfe?", 4, &text);
    assert_string_equal(buf_text(&text), "-__-Pw");
    buf_clear(&text);
    sign_percent("a b&\0~", 6, &text);
    assert_string_equal(buf_text(&text), "a%20b%26%00~");
}

/* ---- credential files ---- */

static const char *write_file(const char *name, const char *text, unsigned mode)
{
    static char path[128];
    struct err err = ERR_INIT;
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_true(file_write_durable(path, text, strlen(text), mode, &err));
    return path;
}

static void credential_files(void **state)
{
    static const struct {
        const char *text, *part; /* part NULL: good */
    } CASES[] = {
        {"{\"kind\": \"shared-key\", \"key_file\": \"/k\"}", NULL},
        {"{\"kind\": \"az\"}", NULL},
        {"{\"kind\": \"az\", \"cloud\": \"china\", \"proxy\": \"http://p:1\"}", NULL},
        {"{\"kind\": \"managed-identity\", \"source\": \"arc\"}", NULL},
        {"{\"kind\": \"workload-identity\"}", NULL},
        {"{\"kind\": \"client-secret\", \"tenant\": \"t\", \"client\": \"c\", "
         "\"secret_file\": \"/s\"}",
         NULL},
        {"", "JSON"},
        {"[]", "not a JSON object"},
        {"{}", "kind"},
        {"{\"kind\": \"magic\"}", "known are"},
        {"{\"kind\": \"shared-key\"}", "'key_file' is missing"},
        {"{\"kind\": \"shared-key\", \"key_file\": \"\"}", "empty"},
        {"{\"kind\": \"shared-key\", \"key_file\": 1}", "key_file"},
        {"{\"kind\": \"shared-key\", \"key_file\": \"/k\", \"sas_file\": \"/s\"}",
         "sas_file"},
        {"{\"kind\": \"shared-key\", \"key\": \"AAAA\"}", "key"},
        {"{\"kind\": \"client-secret\", \"tenant\": \"t\", \"secret_file\": \"/s\"}",
         "'client' is missing"},
        {"{\"kind\": \"managed-identity\", \"source\": \"moon\"}", "known are imds"},
        {"{\"kind\": \"az\", \"cloud\": \"moon\"}", "known are public"},
        {"{\"kind\": \"az\", \"pin\": \"AB\"}", "fingerprint"},
        {"{\"kind\": \"az\", \"proxy_password_file\": \"/nonexistent\"}", "nonexistent"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        struct azure_access access = {0};
        struct err err = ERR_INIT;
        const char *path = write_file("access.json", CASES[i].text, 0644);
        bool ok = azure_access_read(path, &access, &err);
        if (ok != !CASES[i].part || (!ok && !strstr(err.text, CASES[i].part)))
            fail_msg("%s: %s", CASES[i].text, err.text);
        if (ok)
            azure_access_release(&access);
    }
}

static void secrets_that_others_can_read_are_refused(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    AUTO(free) char *key_file = xstrdup(write_file("open.key", "AAAA", 0644));
    struct azure_access access = {.kind = AZURE_SHARED_KEY, .secret_file = key_file};
    struct azure_signer_options options = {
        .access = &access, .cloud = azure_cloud_of_host(""), .account = "acc"};
    assert_null(azure_signer_open(&options, &err));
    assert_int_equal(err.kind, FAIL_AUTH);
    AUTO(buf_release) struct buf out = {0};
    assert_false(sign_assertion(key_file, "a", "s", 1, &out, &err));
    assert_int_equal(err.kind, FAIL_AUTH);
    assert_int_equal(chmod(key_file, 0600), 0);
    assert_false(sign_assertion(key_file, "a", "s", 1, &out, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    static const char *const BAD_SAS[] = {"nothing", "sig=a b", "sig=\x01"};
    access.kind = AZURE_SAS;
    for (size_t i = 0; i < ARRAY_COUNT(BAD_SAS); i++) {
        (void)write_file("open.key", BAD_SAS[i], 0600);
        assert_null(azure_signer_open(&options, &err));
        assert_int_equal(err.kind, FAIL_INPUT);
    }
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    return file_remove_tree(dir, &err) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(clouds),
        cmocka_unit_test(dates),
        cmocka_unit_test(ends_of_sas),
        cmocka_unit_test(the_string_to_sign),
        cmocka_unit_test(digests_and_encodings),
        cmocka_unit_test(credential_files),
        cmocka_unit_test(secrets_that_others_can_read_are_refused),
    };
    return cmocka_run_group_tests_name("azure_parse", tests, make_dir, remove_dir);
}
