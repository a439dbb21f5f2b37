/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vault's address, one call to it, and what its refusals mean.
 *
 * V1  the token is for the vaults of our cloud and goes to the configured address only:
 *     a challenge (WWW-Authenticate of a 401) is never followed. One for another resource
 *     says that this is no vault of the cloud; one for another tenant says which;
 * V2  bodies that may hold a secret are wiped, ours and the answer's, and what JSON made
 *     of them; errors never quote them.
 * Facts: paths and fields are those of the published specification 7.5 (secrets.json,
 * keys.json); the challenge's form that of "Authentication, requests and responses".
 */
#include "azure/key_vault_impl.h"

#include "azure/bearer.h"
#include "base/text.h"
#include "http/client.h"

#include <ctype.h>
#include <stdatomic.h>

#define DEFAULT_RETRY_MS 20000

struct key_vault {
    /* Set by key_vault_open, never changed. */
    const struct azure_access *access;
    const struct azure_cloud *cloud;
    const struct cancel *cancel;
    char origin[sizeof((struct key_vault_address *)0)->origin];
    uint64_t retry_base_ms;
    struct http_endpoint *endpoint;
    struct azure_signer *signer;
    /* Atomic. */
    _Atomic uint64_t retry_for_ms;
};

/* ---- address ---- */

static bool bad_address(const char *url, const char *why, struct err *err)
{
    return err_set(err, FAIL_INPUT,
                   "'%.200s' names nothing in a Key Vault: %s; write "
                   "https://VAULT.vault.azure.net/secrets/NAME or .../keys/NAME",
                   url, why);
}

static bool name_is_plain(const char *name)
{
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '-')
            return false;
    return *name != 0;
}

static bool take_part(const char **at, char *out, size_t out_bytes)
{
    size_t bytes = strcspn(*at, "/");
    if (bytes == 0 || bytes >= out_bytes)
        return false;
    memcpy(out, *at, bytes);
    out[bytes] = 0;
    *at += bytes + ((*at)[bytes] == '/' ? 1 : 0);
    return true;
}

static bool host_is_local(const char *host)
{
    return strcmp(host, "localhost") == 0 || strcmp(host, "127.0.0.1") == 0 ||
           strcmp(host, "[::1]") == 0;
}

static bool take_host(const char *url, const char **at, struct key_vault_address *ret)
{
    char authority[sizeof ret->host + 8];
    bool is_tls = text_starts_with(url, "https://");
    *at = url + (is_tls ? 8 : 7);
    if ((!is_tls && !text_starts_with(url, "http://")) ||
        !take_part(at, authority, sizeof authority))
        return false;
    size_t bytes =
        authority[0] == '[' ? strcspn(authority, "]") + 1 : strcspn(authority, ":");
    if (bytes >= sizeof ret->host)
        return false;
    memcpy(ret->host, authority, bytes);
    ret->host[bytes] = 0;
    (void)snprintf(ret->origin, sizeof ret->origin, "%s://%s", is_tls ? "https" : "http",
                   authority);
    return is_tls || host_is_local(ret->host);
}

bool key_vault_parse(const char *url, struct key_vault_address *ret, struct err *err)
{
    struct key_vault_address address = {.version = ""};
    char kind[16];
    const char *at;
    if (strpbrk(url, "?#@% "))
        return bad_address(url, "it holds '?', '#', '@', '%' or a blank", err);
    if (!take_host(url, &at, &address))
        return bad_address(url, "it is no https URL", err);
    if (!take_part(&at, kind, sizeof kind) ||
        (strcmp(kind, "secrets") != 0 && strcmp(kind, "keys") != 0))
        return bad_address(url, "after the host come /secrets/ or /keys/", err);
    address.kind = kind[0] == 's' ? KEY_VAULT_SECRET : KEY_VAULT_KEY;
    if (!take_part(&at, address.name, sizeof address.name) ||
        !name_is_plain(address.name))
        return bad_address(url, "a name is 1 to 127 letters, digits and '-'", err);
    if (*at && (!take_part(&at, address.version, sizeof address.version) ||
                !name_is_plain(address.version) || *at))
        return bad_address(url, "what follows the name is no version", err);
    *ret = address;
    return true;
}

/* ---- open ---- */

struct key_vault *key_vault_open(const struct key_vault_options *options, struct err *err)
{
    AUTO(key_vault_close) struct key_vault *vault = xcalloc(1, sizeof *vault);
    const struct azure_access *access = options->access;
    vault->access = access;
    vault->cloud =
        access->cloud ? access->cloud : azure_cloud_of_host(options->address->host);
    vault->cancel = options->cancel;
    vault->retry_base_ms = options->retry_base_ms;
    key_vault_set_patience(vault, 0);
    text_copy(vault->origin, sizeof vault->origin, options->address->origin);
    const struct azure_token_options token = {.access = access,
                                              .cloud = vault->cloud,
                                              .resource = vault->cloud->vault_resource,
                                              .retry_for_ms = DEFAULT_RETRY_MS,
                                              .retry_base_ms = options->retry_base_ms};
    struct http_endpoint_options way = azure_access_way(access, vault->origin);
    way.role = ROLE_KEY_VAULT;
    way.max_idle = 2;
    if (!(vault->signer = azure_bearer_open(&token, err)) ||
        !(vault->endpoint = http_endpoint_open(&way, err))) {
        (void)err_wrap(err, "key vault '%.100s'", vault->origin);
        return NULL;
    }
    return TAKE(vault);
}

void key_vault_close(struct key_vault *vault)
{
    if (!vault)
        return;
    azure_bearer_close(vault->signer);
    http_endpoint_close(vault->endpoint);
    free(vault);
}

void key_vault_set_patience(struct key_vault *vault, uint64_t retry_for_ms)
{
    atomic_store(&vault->retry_for_ms, retry_for_ms ? retry_for_ms : DEFAULT_RETRY_MS);
}

const char *key_vault_origin(const struct key_vault *vault)
{
    return vault->origin;
}

/* ---- refusals ---- */

/* The value of key="..." (or without quotes) in a challenge. */
static bool challenge_value(const char *challenge, const char *key, char *out,
                            size_t out_bytes)
{
    const char *at = strcasestr(challenge, key);
    if (!at || (at > challenge && isalnum((unsigned char)at[-1])))
        return false;
    at += strlen(key);
    if (*at++ != '=')
        return false;
    at += *at == '"';
    size_t bytes = strcspn(at, "\", ");
    if (bytes >= out_bytes)
        return false;
    memcpy(out, at, bytes);
    out[bytes] = 0;
    return true;
}

/* V1 */
static bool refused_token(const struct key_vault *vault, const struct vault_call *call,
                          const struct http_answer *answer, struct err *err)
{
    char challenge[1024], resource[160], authority[160];
    const char *ours = vault->cloud->vault_resource;
    (void)azure_refused(&call->request, answer, err);
    err->kind = FAIL_AUTH;
    if (!http_answer_header(answer, "WWW-Authenticate", challenge, sizeof challenge))
        return false;
    if (challenge_value(challenge, "resource", resource, sizeof resource) &&
        strcasecmp(resource, ours) != 0)
        return err_set(err, FAIL_AUTH,
                       "%.120s: what answers at '%.80s' asks for a token for '%.80s' "
                       "instead of '%.80s', and gets none; check the vault's address and "
                       "the credential's cloud",
                       call->what, vault->origin, resource, ours);
    if (challenge_value(challenge, "authorization", authority, sizeof authority) &&
        vault->access->tenant && !strstr(authority, vault->access->tenant))
        return err_hint(err,
                        "the vault trusts the tenant at '%.100s': check the credential's "
                        "tenant",
                        authority);
    return err_hint(err, "check the credential");
}

/* {"error": {"innererror": {"code"}}} says more than "Forbidden". */
static void hint_forbidden(const struct http_answer *answer, struct err *err)
{
    struct err ignored = ERR_INIT;
    AUTO(json_free)
    json_t *json =
        json_parse("error", buf_text(&answer->body), answer->body.bytes, &ignored);
    const json_t *error = json_object_get(json, "error");
    const char *code =
        json_string_value(json_object_get(json_object_get(error, "innererror"), "code"));
    if (code && (strcmp(code, "SecretDisabled") == 0 || strcmp(code, "KeyDisabled") == 0))
        (void)err_hint(err, "that version is disabled; enable it again");
    else if (code && strcmp(code, "ForbiddenByFirewall") == 0)
        (void)err_hint(err, "the vault's firewall does not allow this address");
    else
        (void)err_hint(err, "give the identity 'Key Vault Secrets Officer' (secrets) or "
                            "'Key Vault Crypto User' (keys), or an access policy with "
                            "get, list, set or wrapKey, unwrapKey");
}

static bool refused(const struct key_vault *vault, const struct vault_call *call,
                    const struct http_answer *answer, struct err *err)
{
    if (answer->status == 401)
        return refused_token(vault, call, answer, err);
    (void)azure_refused(&call->request, answer, err);
    if (answer->status == 403)
        hint_forbidden(answer, err);
    else if (answer->status == 404)
        (void)err_hint(err, "it is not there, or was deleted: recover it in the vault");
    else if (answer->status == 409)
        (void)err_hint(err, "one of that name was deleted and not purged: recover it");
    return false;
}

bool vault_nonsense(const struct vault_call *call, const char *why, struct err *err)
{
    return err_set(err, FAIL_CORRUPT, "%.160s: the answer makes no sense: %s", call->what,
                   why);
}

/* ---- one call ---- */

void vault_call_begin(struct vault_call *call, const struct vault_call_path *path)
{
    *call = (struct vault_call){.answer = NULL};
    (void)snprintf(call->what, sizeof call->what, "%s '%s'", path->verb, path->name);
    http_path_add(&call->path, path->kind == KEY_VAULT_SECRET ? "secrets" : "keys");
    http_path_add(&call->path, path->name);
    if (path->version)
        http_path_add(&call->path, path->version);
    if (path->last)
        http_path_add(&call->path, path->last);
    call->request.what = call->what;
    call->request.method = "GET";
}

static void wipe_texts(const json_t *json)
{
    const char *key;
    json_t *value;
    size_t i;
    const char *text = json_string_value(json);
    if (text)
        secret_wipe((void *)(uintptr_t)text, strlen(text));
    json_array_foreach((json_t *)(uintptr_t)json, i, value) wipe_texts(value);
    json_object_foreach((json_t *)(uintptr_t)json, key, value) wipe_texts(value);
}

void vault_call_end(struct vault_call *call)
{
    if (call->answer)
        wipe_texts(call->answer);
    json_decref(call->answer);
    buf_release(&call->path);
    call->answer = NULL;
}

static bool take_answer(struct vault_call *call, struct http_answer *answer,
                        struct err *err)
{
    struct err quotes_it = ERR_INIT;
    call->answer =
        json_parse("answer", buf_text(&answer->body), answer->body.bytes, &quotes_it);
    secret_wipe(&quotes_it, sizeof quotes_it);
    if (answer->body.data)
        secret_wipe(answer->body.data, answer->body.bytes);
    return json_is_object(call->answer) || vault_nonsense(call, "it is no object", err);
}

bool vault_call_send(struct key_vault *vault, struct vault_call *call, const json_t *body,
                     struct err *err)
{
    AUTO(http_answer_release) struct http_answer answer = {0};
    AUTO(buf_release) struct buf text = {0};
    const struct azure_client_options client = {.endpoint = vault->endpoint,
                                                .signer = vault->signer,
                                                .retry_for_ms =
                                                    atomic_load(&vault->retry_for_ms),
                                                .retry_base_ms = vault->retry_base_ms};
    call->request.path = buf_text(&call->path);
    call->request.cancel = vault->cancel;
    if (!strstr(buf_text(&call->path), "api-version="))
        azure_add_query(&call->request, "api-version", AZURE_VERSION_KEY_VAULT);
    azure_add_header(&call->request, "Accept", "application/json");
    if (body) {
        buf_reserve(&text, 4 * SECRET_MAX_BYTES); /* no copy left behind by growing */
        json_print(body, &text);
        azure_add_header(&call->request, "Content-Type", "application/json");
        call->request.body = text.data;
        call->request.body_bytes = text.bytes;
    }
    bool ok = azure_send(&client, &call->request, &answer, err);
    if (text.data)
        secret_wipe(text.data, text.cap_bytes);
    if (!ok)
        return false;
    if (answer.status != 200)
        return refused(vault, call, &answer, err);
    return take_answer(call, &answer, err);
}

bool vault_version_of(const struct vault_call *call, const char *id, const char *name,
                      char ret[KEY_VAULT_VERSION_BYTES], struct err *err)
{
    struct key_vault_address address;
    struct err ignored = ERR_INIT;
    if (!id || !key_vault_parse(id, &address, &ignored) ||
        strcasecmp(address.name, name) != 0 || !address.version[0])
        return vault_nonsense(call, "it names no version", err);
    text_copy(ret, KEY_VAULT_VERSION_BYTES, address.version);
    return true;
}
