/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who issues tokens and how each is asked.
 *
 * Facts: client credentials and client assertions are those of the vendor's "OAuth 2.0
 * client credentials flow" (v2.0 endpoint); the machine's endpoints are those of "managed
 * identities" (IMDS 2018-02-01), of App Service (2019-08-01) and of Azure Arc
 * (2019-11-01, where a 401 names a file that only the agent's group can read: its content
 * proves that we run on this machine). Must never follow Arc's answer out of its own
 * folder: any process on the host may have taken the port.
 */
#include "azure/token_impl.h"

#include "azure/secret_ref.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "http/client.h"
#include "http/sign.h"

#define IMDS_URL         "http://169.254.169.254"
#define ARC_URL          "http://127.0.0.1:40342"
#define MACHINE_PATH     "/metadata/identity/oauth2/token"
#define ARC_DIR          "/var/opt/azcmagent/tokens"
#define ARC_KEY_MAX      4096
#define MACHINE_RETRY_MS 60000
#define CLI_DEADLINE_MS  60000
#define JWT_TYPE         "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

/* ---- Entra ID ---- */

static void add_field(struct buf *form, const char *name, const void *value,
                      size_t value_bytes)
{
    if (form->bytes)
        buf_put_u8(form, '&');
    buf_append_text(form, name);
    buf_put_u8(form, '=');
    sign_percent(value, value_bytes, form);
}

static void add_text_field(struct buf *form, const char *name, const char *value)
{
    add_field(form, name, value, strlen(value));
}

static const char *given_or_environment(const char *given, const char *name)
{
    return given ? given : getenv(name); /* checked by azure_token_open */
}

static bool add_federated(const struct azure_access *access, struct buf *form,
                          struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    const char *path =
        given_or_environment(access->secret_file, "AZURE_FEDERATED_TOKEN_FILE");
    if (!file_read(path, SECRET_MAX_BYTES, &text, err))
        return err_wrap(err, "federated token");
    while (text.bytes && text.data[text.bytes - 1] <= ' ')
        text.bytes--;
    add_text_field(form, "client_assertion_type", JWT_TYPE);
    add_field(form, "client_assertion", text.data, text.bytes);
    if (text.data)
        secret_wipe(text.data, text.bytes);
    return true;
}

/* What proves that we are the client. */
static bool add_proof(const struct azure_token_options *options, const char *client_id,
                      const char *path, struct buf *form, struct err *err)
{
    const struct azure_access *access = options->access;
    if (access->kind == AZURE_WORKLOAD_IDENTITY)
        return add_federated(access, form, err);
    if (access->kind == AZURE_CLIENT_SECRET) {
        AUTO(secret_free)
        struct secret *secret = azure_secret_ref_read(access, err);
        if (secret)
            add_field(form, "client_secret", secret->data, secret->bytes);
        return secret != NULL;
    }
    AUTO(buf_release) struct buf audience = {0}, assertion = {0};
    buf_printf(&audience, "%s%s",
               access->authority ? access->authority : options->cloud->authority, path);
    if (!sign_assertion(access->secret_file, buf_text(&audience), client_id,
                        clock_wall_ms() / 1000, &assertion, err))
        return false;
    add_text_field(form, "client_assertion_type", JWT_TYPE);
    add_field(form, "client_assertion", assertion.data, assertion.bytes);
    return true;
}

static bool send_for_token(const struct azure_client_options *client,
                           struct azure_request *request, struct issued *ret,
                           struct err *err)
{
    AUTO(http_answer_release) struct http_answer answer = {0};
    if (!azure_send(client, request, &answer, err))
        return false;
    if (answer.status != 200)
        return azure_refused(request, &answer, err);
    return issued_parse(&answer.body, request->what, ret, err);
}

bool issue_by_authority(const struct azure_token_options *options,
                        const struct azure_client_options *client,
                        const struct cancel *cancel, struct issued *ret, struct err *err)
{
    const struct azure_access *access = options->access;
    const char *tenant = given_or_environment(access->tenant, "AZURE_TENANT_ID");
    const char *client_id = given_or_environment(access->client, "AZURE_CLIENT_ID");
    AUTO(buf_release) struct buf path = {0}, form = {0}, scope = {0};
    http_path_add(&path, tenant);
    buf_append_text(&path, "/oauth2/v2.0/token");
    buf_printf(&scope, "%s/.default", options->resource);
    buf_reserve(&form, 4 * SECRET_MAX_BYTES); /* no copy left behind by growing */
    add_text_field(&form, "grant_type", "client_credentials");
    add_text_field(&form, "client_id", client_id);
    add_text_field(&form, "scope", buf_text(&scope));
    bool ok = add_proof(options, client_id, buf_text(&path), &form, err);
    if (ok) {
        struct azure_request request = {.what = "token of Entra ID",
                                        .method = "POST",
                                        .path = buf_text(&path),
                                        .body = form.data,
                                        .body_bytes = form.bytes,
                                        .cancel = cancel};
        azure_add_header(&request, "Content-Type", "application/x-www-form-urlencoded");
        azure_add_header(&request, "Accept", "application/json");
        ok = send_for_token(client, &request, ret, err);
    }
    secret_wipe(form.data, form.bytes);
    return ok;
}

/* ---- the machine's identity ---- */

static const char *machine_endpoint(const struct azure_access *access)
{
    if (access->endpoint)
        return access->endpoint;
    if (access->source == AZURE_IMDS)
        return IMDS_URL;
    const char *given = getenv("IDENTITY_ENDPOINT");
    return given || access->source == AZURE_APP_SERVICE ? given : ARC_URL;
}

/* Where the path of a URL begins; its end when there is none. */
static const char *path_of(const char *url)
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    return host + strcspn(host, "/");
}

char *machine_issuer_url(const struct azure_access *access, struct err *err)
{
    const char *url = machine_endpoint(access);
    if (!url) {
        (void)err_set(err, FAIL_INPUT,
                      "managed identity of App Service: IDENTITY_ENDPOINT is not in the "
                      "environment; is this running there, with an identity?");
        return NULL;
    }
    struct buf origin = {0};
    buf_append(&origin, url, (size_t)(path_of(url) - url));
    return buf_take_text(&origin);
}

static void begin_machine_request(const struct azure_token_options *options,
                                  const struct cancel *cancel,
                                  struct azure_request *request)
{
    const struct azure_access *access = options->access;
    const char *path = path_of(machine_endpoint(access));
    static const char *const VERSIONS[] = {[AZURE_IMDS] = AZURE_VERSION_IMDS,
                                           [AZURE_APP_SERVICE] =
                                               AZURE_VERSION_APP_SERVICE,
                                           [AZURE_ARC] = AZURE_VERSION_ARC};
    *request = (struct azure_request){.what = "token of the managed identity",
                                      .method = "GET",
                                      .path = *path && path[1] ? path : MACHINE_PATH,
                                      .cancel = cancel};
    azure_add_query(request, "api-version", VERSIONS[access->source]);
    azure_add_query(request, "resource", options->resource);
    if (access->client)
        azure_add_query(request, "client_id", access->client);
    if (access->source != AZURE_APP_SERVICE)
        azure_add_header(request, "Metadata", "true");
    if (access->source == AZURE_IMDS)
        request->also_retry = 404; /* while it is being updated */
}

static bool read_arc_key(const char *dir, const char *path, struct buf *ret,
                         struct err *err)
{
    size_t dir_bytes = strlen(dir);
    if (strncmp(path, dir, dir_bytes) != 0 || path[dir_bytes] != '/' ||
        strchr(path + dir_bytes + 1, '/') || !text_ends_with(path, ".key"))
        return err_set(err, FAIL_AUTH,
                       "what answers on Azure Arc's port points to '%.100s' and not into "
                       "'%.100s'; it is not trusted",
                       path, dir);
    if (!file_read(path, ARC_KEY_MAX, ret, err))
        return err_wrap(err, "token file of Azure Arc; is kedged in the group 'himds'?");
    return true;
}

static bool answer_challenge(const struct azure_token_options *options,
                             const struct azure_client_options *client,
                             struct azure_request *request,
                             const struct http_answer *answer, struct issued *ret,
                             struct err *err)
{
    static const char PREFIX[] = "Basic realm=";
    char challenge[512] = "";
    if (!http_answer_header(answer, "WWW-Authenticate", challenge, sizeof challenge) ||
        !text_starts_with(challenge, PREFIX))
        return azure_refused(request, answer, err);
    AUTO(buf_release) struct buf key = {0};
    if (!read_arc_key(options->arc_dir ? options->arc_dir : ARC_DIR,
                      challenge + sizeof PREFIX - 1, &key, err))
        return false;
    AUTO(secret_free) struct secret *secret = secret_new(key.data, key.bytes);
    secret_wipe(key.data, key.bytes);
    azure_add_header(request, "Authorization", "Basic ");
    request->headers[request->header_count - 1].secret = secret;
    return send_for_token(client, request, ret, err);
}

bool issue_by_machine(const struct azure_token_options *options,
                      const struct azure_client_options *client,
                      const struct cancel *cancel, struct issued *ret, struct err *err)
{
    struct azure_request request;
    struct azure_client_options hasty = *client;
    if (!hasty.retry_for_ms || hasty.retry_for_ms > MACHINE_RETRY_MS)
        hasty.retry_for_ms = MACHINE_RETRY_MS; /* elsewhere nobody will ever answer */
    begin_machine_request(options, cancel, &request);
    if (options->access->source == AZURE_APP_SERVICE) {
        const char *proof = getenv("IDENTITY_HEADER");
        AUTO(secret_free)
        struct secret *secret =
            secret_new(proof ? proof : "", strnlen(proof ? proof : "", SECRET_MAX_BYTES));
        azure_add_header(&request, "X-IDENTITY-HEADER", "%s", "");
        request.headers[request.header_count - 1].secret = secret;
        return send_for_token(&hasty, &request, ret, err);
    }
    if (options->access->source == AZURE_IMDS)
        return send_for_token(&hasty, &request, ret, err);
    AUTO(http_answer_release) struct http_answer answer = {0};
    if (!azure_send(&hasty, &request, &answer, err))
        return false;
    return answer_challenge(options, &hasty, &request, &answer, ret, err);
}

/* ---- az ---- */

bool issue_by_cli(const struct azure_token_options *options, const struct cancel *cancel,
                  struct issued *ret, struct err *err)
{
    const char *const argv[] = {"az",
                                "account",
                                "get-access-token",
                                "--resource",
                                options->resource,
                                "--output",
                                "json",
                                NULL};
    AUTO(buf_release) struct buf text = {0};
    if (!process_run(argv, CLI_DEADLINE_MS, cancel, &text, err)) {
        if (err->kind == FAIL_IO)
            err->kind = FAIL_AUTH;
        return err_hint(err, "is az installed, and did you run 'az login'?");
    }
    return issued_parse(&text, "token of az", ret, err);
}
