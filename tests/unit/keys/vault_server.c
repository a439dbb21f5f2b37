/* SPDX-License-Identifier: Apache-2.0 */
#include "vault_server.h"

#include "base/file.h"
#include "base/text.h"
#include "http/json.h"
#include "support/http_server.h"

#include <stdatomic.h>

#define VERSIONS_MAX  16
#define VALUE_BYTES   512
#define RSA_BYTES     256
#define WRAPPED_CHARS 342

struct vault_server {
    /* Set by start, never changed. */
    struct http_server *server;
    char url[64];
    char *credential;
    pthread_mutex_t lock;
    /* Guarded by lock. */
    enum vault_mood mood;
    unsigned asked;
    struct buf log;
    char secrets[VERSIONS_MAX][VALUE_BYTES];
    size_t secret_count, key_count;
};

static void reply_json(struct served_reply *reply, json_t *json)
{
    json_print(json, &reply->body);
    json_decref(json);
}

static void refuse(struct served_reply *reply, unsigned status, const char *code,
                   const char *inner)
{
    reply->status = status;
    reply_json(reply, json_pack("{s:{s:s, s:s, s:{s:s}}}", "error", "code", code,
                                "message", "no", "innererror", "code", inner));
}

/* true: the mood has answered. */
static bool reply_by_mood(struct vault_server *server, struct served_reply *reply)
{
    static const char HEX64[] = "00112233445566778899aabbccddeeff"
                                "00112233445566778899aabbccddeeff";
    switch (server->mood) {
    case VAULT_BUSY:
        refuse(reply, 503, "ServerBusy", "");
        return true;
    case VAULT_GONE:
        reply->manner = SERVE_RESET;
        return true;
    case VAULT_FORBIDS:
        refuse(reply, 403, "Forbidden", "AccessDenied");
        return true;
    case VAULT_DISABLED:
        refuse(reply, 403, "Forbidden", "SecretDisabled");
        return true;
    case VAULT_EMPTY:
        refuse(reply, 404, "SecretNotFound", "");
        return true;
    case VAULT_CHALLENGES:
        buf_append_text(
            &reply->headers,
            "WWW-Authenticate: Bearer authorization=\"https://login.test/t\", "
            "resource=\"https://thief.test\"\r\n");
        refuse(reply, 401, "Unauthorized", "");
        return true;
    case VAULT_OTHER_TENANT:
        buf_append_text(
            &reply->headers,
            "WWW-Authenticate: Bearer authorization=\"https://login.test/their-"
            "tenant\", resource=\"https://vault.azure.net\"\r\n");
        refuse(reply, 401, "Unauthorized", "");
        return true;
    case VAULT_GARBAGE:
        buf_printf(&reply->body, "{\"value\":\"%s", HEX64);
        return true;
    case VAULT_LISTS:
        buf_printf(&reply->body, "[\"%s\"]", HEX64);
        return true;
    default:
        return false;
    }
}

static void put_id(struct vault_server *server, json_t *json, const char *key,
                   const char *kind, size_t index)
{
    char id[160];
    bool is_secret = kind[0] == 's';
    (void)snprintf(id, sizeof id, "%s/%s/%s/v%zu", server->url, kind,
                   server->mood == VAULT_OTHER_ID ? "other"
                   : is_secret                    ? "m"
                                                  : "k",
                   index + 1);
    if (server->mood != VAULT_NO_ID)
        json_put_text(json, key, id);
}

static void put_value(struct vault_server *server, json_t *json, const char *value)
{
    AUTO(buf_release) struct buf huge = {0};
    for (size_t i = 0; server->mood == VAULT_HUGE && i < MIB; i++)
        buf_put_u8(&huge, 'A');
    if (server->mood == VAULT_HUGE)
        json_put_text(json, "value", buf_text(&huge));
    else if (server->mood == VAULT_BINARY)
        json_put_take(json, "value", json_stringn("\0***not base64***", 17));
    else
        json_put_text(json, "value",
                      server->mood == VAULT_SHORT ? "AAECAwQFBgcICQoL" : value);
}

static void reply_secret(struct vault_server *server, size_t index,
                         struct served_reply *reply)
{
    json_t *json = json_pack("{s:{s:b, s:i}}", "attributes", "enabled", 1, "created",
                             1700000000 + (int)index);
    put_value(server, json, server->secrets[index]);
    put_id(server, json, "id", "secrets", index);
    reply_json(reply, json);
}

static void reply_key(struct vault_server *server, size_t index,
                      struct served_reply *reply)
{
    char modulus[RSA_BYTES * 4 / 3 + 4];
    size_t digits = server->mood == VAULT_SMALL_KEY ? 171 : 342;
    memset(modulus, 'q', digits);
    modulus[digits] = 0;
    json_t *key =
        json_pack("{s:s, s:s, s:s}", "kty", server->mood == VAULT_EC_KEY ? "EC" : "RSA",
                  "n", modulus, "e", "AQAB");
    put_id(server, key, "kid", "keys", index);
    reply_json(reply,
               json_pack("{s:o, s:{s:b}}", "key", key, "attributes", "enabled", 1));
}

static void reply_versions(struct vault_server *server, const char *kind, size_t count,
                           struct served_reply *reply)
{
    AUTO(buf_release) struct buf link = {0};
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *item = json_pack("{s:{s:b, s:i}}", "attributes", "enabled", i != 1,
                                 "created", 1700000000 + (int)i);
        put_id(server, item, kind[0] == 's' ? "id" : "kid", kind, i);
        (void)json_array_append_new(list, item);
    }
    json_t *json = json_pack("{s:o}", "value", list);
    if (server->mood == VAULT_ELSEWHERE)
        json_put_text(json, "nextLink", "https://thief.test/secrets/m/versions?x=1");
    buf_printf(&link, "%s/%s/%s/versions?api-version=7.5&$skiptoken=x", server->url, kind,
               kind[0] == 's' ? "m" : "k");
    if (server->mood == VAULT_ENDLESS)
        json_put_text(json, "nextLink", buf_text(&link));
    reply_json(reply, json);
}

/* Wrapped is: a letter for the version, the value, and '_' up to 342 characters, which is
 * what 256 bytes are in base64url (64 are 86). */
static void reply_transformed(struct vault_server *server, const char *path,
                              const struct served_request *request,
                              struct served_reply *reply)
{
    struct err err = ERR_INIT;
    char out[2048];
    AUTO(json_free)
    json_t *body =
        json_parse("b", (const char *)request->body.data, request->body.bytes, &err);
    const char *value = json_string_value(json_object_get(body, "value"));
    size_t version = strtoul(strstr(path, "/v") + 2, NULL, 10);
    bool is_wrap = strstr(path, "/wrapkey") != NULL;
    if (!value || strlen(value) > WRAPPED_CHARS || version > server->key_count ||
        strcmp(json_string_value(json_object_get(body, "alg")), "RSA-OAEP-256") != 0) {
        refuse(reply, 400, "BadParameter", "");
        return;
    }
    char tag = (char)('A' + version);
    size_t length = strlen(value);
    if (is_wrap) {
        (void)snprintf(out, sizeof out, "%c%s", tag, value);
        memset(out + 1 + length, '_', WRAPPED_CHARS - 1 - length);
        out[WRAPPED_CHARS] = 0;
    } else if (value[0] != tag) {
        refuse(reply, 400, "BadParameter", "");
        return;
    } else {
        (void)snprintf(out, sizeof out, "%.86s", value + 1);
    }
    json_t *json = json_object();
    put_value(server, json, out);
    put_id(server, json, "kid", "keys", version - 1);
    reply_json(reply, json);
}

static void serve_secrets(struct vault_server *server, const char *path,
                          const struct served_request *request,
                          struct served_reply *reply)
{
    struct err err = ERR_INIT;
    const char *version = strstr(path, "/m/v");
    if (strcmp(request->method, "PUT") == 0) {
        AUTO(json_free)
        json_t *body =
            json_parse("b", (const char *)request->body.data, request->body.bytes, &err);
        text_copy(server->secrets[server->secret_count++], VALUE_BYTES,
                  json_string_value(json_object_get(body, "value")));
        reply_secret(server, server->secret_count - 1, reply);
    } else if (strstr(path, "/versions")) {
        reply_versions(server, "secrets", server->secret_count, reply);
    } else {
        size_t number = version ? strtoul(version + 4, NULL, 10) : server->secret_count;
        if (number == 0 || number > server->secret_count)
            refuse(reply, 404, "SecretNotFound", "");
        else
            reply_secret(server, number - 1, reply);
    }
}

static void serve_keys(struct vault_server *server, const char *path,
                       const struct served_request *request, struct served_reply *reply)
{
    if (strstr(path, "/rotate") && server->key_count)
        server->key_count++;
    if (strstr(path, "/versions"))
        reply_versions(server, "keys", server->key_count, reply);
    else if (strstr(path, "wrapkey"))
        reply_transformed(server, path, request, reply);
    else if (server->key_count)
        reply_key(server, server->key_count - 1, reply);
    else
        refuse(reply, 404, "KeyNotFound", "");
}

static void serve(void *ctx, const struct served_request *request,
                  struct served_reply *reply)
{
    struct vault_server *server = ctx;
    if (text_starts_with(request->path, "/metadata/identity/")) {
        reply_json(reply, json_pack("{s:s, s:s}", "access_token", "let-me-in",
                                    "expires_in", "3600"));
        return;
    }
    LOCK_GUARD(&server->lock);
    server->asked++;
    buf_printf(&server->log, "%s %s\n", request->method, request->path);
    if (reply_by_mood(server, reply))
        return;
    if (text_starts_with(request->path, "/secrets/"))
        serve_secrets(server, request->path, request, reply);
    else
        serve_keys(server, request->path, request, reply);
}

struct vault_server *vault_server_start(const char *dir)
{
    struct vault_server *server = xcalloc(1, sizeof *server);
    AUTO(buf_release) struct buf text = {0};
    struct err err = ERR_INIT;
    (void)pthread_mutex_init(&server->lock, NULL);
    server->key_count = 1;
    const struct http_server_options options = {.handler = serve, .ctx = server};
    server->server = http_server_start(&options);
    (void)snprintf(server->url, sizeof server->url, "http://127.0.0.1:%u",
                   http_server_port(server->server));
    server->credential = file_join(dir, "vault.json");
    buf_printf(&text, "{\"kind\": \"managed-identity\", \"endpoint\": \"%s\"}",
               server->url);
    if (!file_write_durable(server->credential, text.data, text.bytes, 0600, &err))
        abort();
    return server;
}

void vault_server_stop(struct vault_server *server)
{
    http_server_stop(server->server);
    buf_release(&server->log);
    free(server->credential);
    free(server);
}

const char *vault_server_url(const struct vault_server *server)
{
    return server->url;
}

const char *vault_server_credential(const struct vault_server *server)
{
    return server->credential;
}

void vault_server_set_mood(struct vault_server *server, enum vault_mood mood)
{
    LOCK_GUARD(&server->lock);
    server->mood = mood;
}

unsigned vault_server_asked(struct vault_server *server)
{
    LOCK_GUARD(&server->lock);
    return server->asked;
}

const char *vault_server_log(struct vault_server *server)
{
    LOCK_GUARD(&server->lock);
    return buf_text(&server->log);
}
