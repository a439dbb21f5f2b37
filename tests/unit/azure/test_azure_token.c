/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens from each kind of issuer, played by a server that looks at every request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "azure/token.h"
#include "base/clock.h"
#include "base/file.h"
#include "http/json.h"
#include "http/sign.h"
#include "support/http_server.h"

#include <stdatomic.h>
#include <sys/stat.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

static char dir[] = "/tmp/kedge-token-XXXXXX";
static struct http_server *server;
static char url[64];
static atomic_uint asked;

/* What the server saw last and what it says next; one test, one thread changes them. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char seen_path[4096], seen_body[8192], seen_headers[4096];
static char next_body[2048];
static unsigned next_status = 200;
static char arc_realm[512];

static void issue(void *ctx, const struct served_request *request,
                  struct served_reply *reply)
{
    char proof[256];
    (void)ctx;
    LOCK_GUARD(&lock);
    unsigned number = atomic_fetch_add(&asked, 1) + 1;
    (void)snprintf(seen_path, sizeof seen_path, "%s %s", request->method, request->path);
    (void)snprintf(seen_body, sizeof seen_body, "%s", buf_text(&request->body));
    (void)snprintf(seen_headers, sizeof seen_headers, "%s", buf_text(&request->headers));
    if (arc_realm[0] && !served_header(request, "Authorization", proof, sizeof proof)) {
        reply->status = 401;
        buf_printf(&reply->headers, "WWW-Authenticate: Basic realm=%s\r\n", arc_realm);
        return;
    }
    reply->status = next_status;
    if (next_body[0])
        buf_append_text(&reply->body, next_body);
    else
        buf_printf(&reply->body, "{\"access_token\": \"token-%u\", \"expires_in\": 3600}",
                   number);
}

static int begin(void **state)
{
    (void)state;
    atomic_store(&asked, 0);
    next_body[0] = arc_realm[0] = 0;
    next_status = 200;
    return 0;
}

static struct azure_token *open_token(const struct azure_access *access)
{
    struct err err = ERR_INIT;
    static char arc_dir[128];
    (void)snprintf(arc_dir, sizeof arc_dir, "%s/arc", dir);
    struct azure_token_options options = {.access = access,
                                          .cloud = azure_cloud_of_host(""),
                                          .resource = "https://storage.azure.com",
                                          .arc_dir = arc_dir,
                                          .retry_for_ms = 2000,
                                          .retry_base_ms = 2};
    struct azure_token *token = azure_token_open(&options, &err);
    if (!token)
        fail_msg("%s", err.text);
    return token;
}

static void assert_gives(struct azure_token *token, const char *wanted)
{
    struct err err = ERR_INIT;
    unsigned mark;
    AUTO(secret_free) struct secret *got = azure_token_get(token, NULL, &mark, &err);
    if (!got)
        fail_msg("%s", err.text);
    assert_true(secret_equal(got, wanted, strlen(wanted)));
}

static void assert_refuses(struct azure_token *token, enum err_kind kind,
                           const char *part)
{
    struct err err = ERR_INIT;
    unsigned mark;
    assert_null(azure_token_get(token, NULL, &mark, &err));
    if (err.kind != kind || !strstr(err.text, part))
        fail_msg("kind %s: %s", err_kind_name(err.kind), err.text);
}

static char *write_file(const char *name, const char *text, unsigned mode)
{
    struct err err = ERR_INIT;
    char *path = file_join(dir, name);
    assert_true(file_write_durable(path, text, strlen(text), mode, &err));
    return path;
}

/* ---- Entra ID ---- */

static void a_client_secret(void **state)
{
    (void)state;
    AUTO(free) char *path = write_file("secret", "p&ss=1+ \n", 0600);
    struct azure_access access = {.kind = AZURE_CLIENT_SECRET,
                                  .tenant = (char[]){"my tenant"},
                                  .client = (char[]){"me"},
                                  .secret_file = path,
                                  .authority = url};
    AUTO(azure_token_close) struct azure_token *token = open_token(&access);
    assert_gives(token, "token-1");
    assert_string_equal(seen_path, "POST /my%20tenant/oauth2/v2.0/token");
    assert_string_equal(seen_body, "grant_type=client_credentials&client_id=me&"
                                   "scope=https%3A%2F%2Fstorage.azure.com%2F.default&"
                                   "client_secret=p%26ss%3D1%2B%20");
    assert_non_null(strstr(seen_headers, "application/x-www-form-urlencoded"));
    for (int i = 0; i < 10; i++)
        assert_gives(token, "token-1"); /* kept */
    assert_int_equal(atomic_load(&asked), 1);
}

static json_t *decode_part(const char *part, size_t bytes)
{
    AUTO(buf_release) struct buf text = {0};
    struct err err = ERR_INIT;
    for (size_t i = 0; i < bytes; i++)
        buf_put_u8(&text, part[i] == '-' ? '+' : part[i] == '_' ? '/' : (uint8_t)part[i]);
    while (text.bytes % 4)
        buf_put_u8(&text, '=');
    AUTO(secret_free)
    struct secret *raw = sign_unbase64((char *)text.data, text.bytes, &err);
    assert_non_null(raw);
    json_t *json = json_parse("part", (char *)raw->data, raw->bytes, &err);
    assert_non_null(json);
    return json;
}

static bool signature_is_good(const char *signed_text, size_t signed_bytes,
                              const char *signature)
{
    AUTO(buf_release) struct buf text = {0};
    AUTO(free) char *path = file_join(dir, "client.pem");
    struct err err = ERR_INIT;
    for (const char *p = signature; *p; p++)
        buf_put_u8(&text, *p == '-' ? '+' : *p == '_' ? '/' : (uint8_t)*p);
    while (text.bytes % 4)
        buf_put_u8(&text, '=');
    AUTO(secret_free)
    struct secret *raw = sign_unbase64((char *)text.data, text.bytes, &err);
    FILE *file = fopen(path, "r");
    X509 *cert = PEM_read_X509(file, NULL, NULL, NULL);
    (void)fclose(file);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL,
                                   X509_get0_pubkey(cert)) == 1 &&
              EVP_DigestVerify(ctx, raw->data, raw->bytes,
                               (const unsigned char *)signed_text, signed_bytes) == 1;
    EVP_MD_CTX_free(ctx);
    X509_free(cert);
    return ok;
}

static void a_client_certificate(void **state)
{
    uint64_t now_s = clock_wall_ms() / 1000, nbf = 0, exp = 0;
    const char *text, *sub;
    struct err err = ERR_INIT;
    (void)state;
    AUTO(free) char *path = file_join(dir, "client.pem");
    assert_int_equal(chmod(path, 0600), 0);
    struct azure_access access = {.kind = AZURE_CLIENT_CERTIFICATE,
                                  .tenant = (char[]){"t1"},
                                  .client = (char[]){"c1"},
                                  .secret_file = path,
                                  .authority = url};
    AUTO(azure_token_close) struct azure_token *token = open_token(&access);
    assert_gives(token, "token-1");
    assert_non_null(strstr(seen_body, "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%"
                                      "3Aclient-assertion-type%3Ajwt-bearer&"));
    char *jwt = strstr(seen_body, "client_assertion=") + 17;
    char *claims_at = strchr(jwt, '.') + 1, *signature = strchr(claims_at, '.') + 1;
    AUTO(json_free) json_t *header = decode_part(jwt, (size_t)(claims_at - 1 - jwt));
    AUTO(json_free)
    json_t *claims = decode_part(claims_at, (size_t)(signature - 1 - claims_at));
    assert_true(json_get_text(header, "alg", &text, &err));
    assert_string_equal(text, "RS256");
    assert_true(json_get_text(header, "x5t", &text, &err));
    assert_int_equal(strlen(text), 27);
    assert_true(json_get_text(claims, "aud", &text, &err));
    char audience[160];
    (void)snprintf(audience, sizeof audience, "%s/t1/oauth2/v2.0/token", url);
    assert_string_equal(text, audience);
    assert_true(json_get_text(claims, "iss", &text, &err) &&
                json_get_text(claims, "sub", &sub, &err));
    assert_string_equal(text, "c1");
    assert_string_equal(sub, "c1");
    assert_true(json_get_u64(claims, "nbf", &nbf, &err) &&
                json_get_u64(claims, "exp", &exp, &err));
    assert_in_range(nbf, now_s, now_s + 5);
    assert_int_equal(exp, nbf + 600);
    assert_true(signature_is_good(jwt, (size_t)(signature - 1 - jwt), signature));
    jwt[10] ^= 1;
    assert_false(signature_is_good(jwt, (size_t)(signature - 1 - jwt), signature));
}

static void workload_identity(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    AUTO(free) char *path = write_file("federated", "head.claims.sig\n", 0644);
    struct azure_access access = {.kind = AZURE_WORKLOAD_IDENTITY, .authority = url};
    struct azure_token_options options = {
        .access = &access, .cloud = azure_cloud_of_host(""), .resource = "r"};
    assert_null(azure_token_open(&options, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    assert_non_null(strstr(err.text, "AZURE_"));
    assert_int_equal(setenv("AZURE_TENANT_ID", "wt", 1), 0);
    assert_int_equal(setenv("AZURE_CLIENT_ID", "wc", 1), 0);
    assert_int_equal(setenv("AZURE_FEDERATED_TOKEN_FILE", path, 1), 0);
    AUTO(azure_token_close) struct azure_token *token = open_token(&access);
    assert_gives(token, "token-1");
    assert_string_equal(seen_path, "POST /wt/oauth2/v2.0/token");
    assert_non_null(strstr(seen_body, "client_id=wc&"));
    assert_non_null(strstr(seen_body, "&client_assertion=head.claims.sig"));
}

static void what_entra_refuses_is_explained(void **state)
{
    (void)state;
    AUTO(free) char *path = write_file("secret", "s3cret", 0600);
    struct azure_access access = {.kind = AZURE_CLIENT_SECRET,
                                  .tenant = (char[]){"t"},
                                  .client = (char[]){"c"},
                                  .secret_file = path,
                                  .authority = url};
    next_status = 401;
    (void)snprintf(next_body, sizeof next_body,
                   "{\"error\": \"invalid_client\", \"error_description\": "
                   "\"AADSTS7000215: Invalid client secret provided.\"}");
    AUTO(azure_token_close) struct azure_token *token = open_token(&access);
    assert_refuses(token, FAIL_AUTH, "give the client secret's value, not its id");
    static const char *const ODD[] = {"[]",
                                      "nonsense",
                                      "{\"access_token\": \"\"}",
                                      "{\"access_token\": \"x\"}",
                                      "{\"access_token\": 5, \"expires_in\": 3}",
                                      "{\"access_token\": \"x\", \"expires_in\": \"-1\"}",
                                      "{\"access_token\": \"x\", \"expires_on\": \"1\"}"};
    next_status = 200;
    for (size_t i = 0; i < ARRAY_COUNT(ODD); i++) {
        (void)snprintf(next_body, sizeof next_body, "%s", ODD[i]);
        assert_refuses(token, FAIL_CORRUPT, "no access token");
    }
}

/* ---- keeping and replacing ---- */

static void tokens_are_replaced_ahead_of_their_end(void **state)
{
    (void)state;
    struct azure_access access = {.kind = AZURE_MANAGED_IDENTITY, .endpoint = url};
    AUTO(azure_token_close) struct azure_token *token = open_token(&access);
    (void)snprintf(next_body, sizeof next_body,
                   "{\"access_token\": \"short\", \"expires_in\": \"61\"}");
    assert_gives(token, "short");
    assert_gives(token, "short");
    assert_int_equal(atomic_load(&asked), 1);
    clock_sleep_ms(1100); /* less than a minute is left */
    next_body[0] = 0;
    assert_gives(token, "token-2");
    assert_gives(token, "token-2");
    assert_int_equal(atomic_load(&asked), 2);
}

static void a_refused_token_is_dropped(void **state)
{
    struct err err = ERR_INIT;
    unsigned mark, newer;
    (void)state;
    struct azure_access access = {.kind = AZURE_MANAGED_IDENTITY, .endpoint = url};
    AUTO(azure_token_close) struct azure_token *token = open_token(&access);
    AUTO(secret_free) struct secret *first = azure_token_get(token, NULL, &mark, &err);
    assert_non_null(first);
    assert_false(azure_token_drop(token, mark)); /* just fetched: no better one */
    assert_gives(token, "token-1");
    assert_true(azure_token_drop(token, mark - 1)); /* somebody was faster */
    AUTO(secret_free) struct secret *again = azure_token_get(token, NULL, &newer, &err);
    assert_non_null(again);
    assert_int_equal(newer, mark);
    assert_int_equal(atomic_load(&asked), 1);
}

#define GETTERS 8

static void *get_often(void *ctx)
{
    for (int i = 0; i < 50; i++)
        assert_gives(ctx, "token-1");
    return NULL;
}

static void many_threads_fetch_once(void **state)
{
    pthread_t threads[GETTERS];
    (void)state;
    struct azure_access access = {.kind = AZURE_MANAGED_IDENTITY, .endpoint = url};
    AUTO(azure_token_close) struct azure_token *token = open_token(&access);
    for (size_t i = 0; i < GETTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, get_often, token), 0);
    for (size_t i = 0; i < GETTERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&asked), 1);
}

/* ---- the machine ---- */

static void imds(void **state)
{
    (void)state;
    struct azure_access access = {
        .kind = AZURE_MANAGED_IDENTITY, .endpoint = url, .client = (char[]){"user-1"}};
    AUTO(azure_token_close) struct azure_token *token = open_token(&access);
    assert_gives(token, "token-1");
    assert_string_equal(seen_path,
                        "GET /metadata/identity/oauth2/token?api-version=2018-02-01&"
                        "resource=https%3A%2F%2Fstorage.azure.com&client_id=user-1");
    assert_non_null(strstr(seen_headers, "Metadata: true"));
    AUTO(azure_token_close) struct azure_token *second = open_token(&access);
    next_status = 404;
    unsigned before = atomic_load(&asked);
    assert_refuses(second, FAIL_GONE, "managed identity");
    assert_true(atomic_load(&asked) > before + 2); /* 404 means "being updated" here */
}

static void app_service(void **state)
{
    char endpoint[96];
    (void)state;
    (void)snprintf(endpoint, sizeof endpoint, "%s/msi/token", url);
    assert_int_equal(setenv("IDENTITY_ENDPOINT", endpoint, 1), 0);
    assert_int_equal(setenv("IDENTITY_HEADER", "h3ader", 1), 0);
    struct azure_access access = {.kind = AZURE_MANAGED_IDENTITY,
                                  .source = AZURE_APP_SERVICE};
    (void)snprintf(next_body, sizeof next_body,
                   "{\"access_token\": \"app\", \"expires_on\": \"%llu\"}",
                   (unsigned long long)(clock_wall_ms() / 1000 + 3600));
    AUTO(azure_token_close) struct azure_token *token = open_token(&access);
    assert_gives(token, "app");
    assert_non_null(strstr(seen_path, "GET /msi/token?api-version=2019-08-01&resource="));
    assert_non_null(strstr(seen_headers, "X-IDENTITY-HEADER: h3ader\r\n"));
    (void)unsetenv("IDENTITY_ENDPOINT");
    (void)unsetenv("IDENTITY_HEADER");
}

static void arc_proves_itself_by_a_file(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    AUTO(free) char *arc_dir = file_join(dir, "arc");
    assert_true(file_make_dirs(arc_dir, &err));
    AUTO(free) char *key = write_file("arc/1.key", "pr00f", 0640);
    AUTO(free) char *outside = write_file("outside.key", "stolen", 0644);
    AUTO(free) char *other = write_file("arc/1.txt", "stolen", 0644);
    (void)outside, (void)other;
    struct azure_access access = {
        .kind = AZURE_MANAGED_IDENTITY, .source = AZURE_ARC, .endpoint = url};
    AUTO(azure_token_close) struct azure_token *token = open_token(&access);
    (void)snprintf(arc_realm, sizeof arc_realm, "%s", key);
    assert_gives(token, "token-2");
    assert_non_null(strstr(seen_headers, "Authorization: Basic pr00f\r\n"));
    assert_non_null(strstr(seen_path, "api-version=2019-11-01"));
    static const char *const BAD[] = {"/etc/shadow",     "%s/arc/../outside.key",
                                      "%s/outside.key",  "%s/arc/1.txt",
                                      "%s/arcade/1.key", "",
                                      "%s/arc/2.key"};
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++) {
        unsigned mark;
        AUTO(azure_token_close) struct azure_token *wary = open_token(&access);
        (void)snprintf(arc_realm, sizeof arc_realm, BAD[i], dir);
        if (!BAD[i][0])
            (void)snprintf(arc_realm, sizeof arc_realm, " ");
        assert_null(azure_token_get(wary, NULL, &mark, &err));
        assert_null(strstr(seen_headers, "stolen"));
        err_clear(&err);
    }
}

/* ---- az ---- */

static void the_command_line(void **state)
{
    (void)state;
    AUTO(free)
    char *script = write_file(
        "az",
        "#!/bin/sh\n[ \"$1 $2 $3 $4\" = 'account get-access-token --resource "
        "https://storage.azure.com' ] || exit 3\n"
        "echo '{\"accessToken\": \"from-az\", \"expiresOn\": \"2099-01-01 00:00:00\", "
        "\"expires_on\": 4070908800, \"tokenType\": \"Bearer\"}'\n",
        0700);
    AUTO(buf_release) struct buf path = {0};
    AUTO(free) char *old = xstrdup(getenv("PATH"));
    buf_printf(&path, "%s:%s", dir, old);
    struct azure_access access = {.kind = AZURE_CLI};
    assert_int_equal(setenv("PATH", buf_text(&path), 1), 0);
    AUTO(azure_token_close) struct azure_token *token = open_token(&access);
    assert_gives(token, "from-az");
    free(script);
    script = write_file("az", "#!/bin/sh\necho 'run az login' >&2\nexit 1\n", 0700);
    AUTO(azure_token_close) struct azure_token *out = open_token(&access);
    assert_refuses(out, FAIL_AUTH, "az login");
    assert_int_equal(setenv("PATH", old, 1), 0);
}

static int start(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    test_certs_make(dir);
    struct http_server_options options = {.handler = issue};
    server = http_server_start(&options);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", http_server_port(server));
    return 0;
}

static int stop(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    http_server_stop(server);
    return file_remove_tree(dir, &err) ? 0 : -1;
}

#define CASE(test) cmocka_unit_test_setup(test, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_client_secret),
        CASE(a_client_certificate),
        CASE(workload_identity),
        CASE(what_entra_refuses_is_explained),
        CASE(tokens_are_replaced_ahead_of_their_end),
        CASE(a_refused_token_is_dropped),
        CASE(many_threads_fetch_once),
        CASE(imds),
        CASE(app_service),
        CASE(arc_proves_itself_by_a_file),
        CASE(the_command_line),
    };
    return cmocka_run_group_tests_name("azure_token", tests, start, stop);
}
