/* SPDX-License-Identifier: Apache-2.0 */
/* One table of kinds: which keys each must and may have. */
#include "azure/access.h"

#include "azure/secret_ref.h"
#include "base/file.h"
#include "http/json.h"

#define ACCESS_MAX_BYTES (64 * KIB)
#define MAX_KEYS         5

static const struct {
    const char *name;
    enum azure_access_kind kind;
    const char *secret_key; /* which key holds secret_file; NULL: none */
    bool needs_secret, needs_client;
    const char *keys[MAX_KEYS]; /* besides those of every kind */
} KINDS[] = {
    {"shared-key",
     AZURE_SHARED_KEY,
     "key_file",
     true,
     false,
     {"key_file", "kv_credential"}},
    {"sas", AZURE_SAS, "sas_file", true, false, {"sas_file", "kv_credential"}},
    {"client-secret",
     AZURE_CLIENT_SECRET,
     "secret_file",
     true,
     true,
     {"tenant", "client", "secret_file", "kv_credential"}},
    {"client-certificate",
     AZURE_CLIENT_CERTIFICATE,
     "certificate_file",
     true,
     true,
     {"tenant", "client", "certificate_file"}},
    {"managed-identity",
     AZURE_MANAGED_IDENTITY,
     NULL,
     false,
     false,
     {"source", "client", "endpoint"}},
    {"workload-identity",
     AZURE_WORKLOAD_IDENTITY,
     "token_file",
     false,
     false,
     {"tenant", "client", "token_file"}},
    {"az", AZURE_CLI, NULL, false, false, {NULL}},
};

static const char *const EVERY_KIND[] = {"kind", "cloud", "authority",          "ca_file",
                                         "pin",  "proxy", "proxy_password_file"};
static const char *const SOURCES[] = {"imds", "app-service", "arc"};

void azure_access_release(struct azure_access *access)
{
    free(access->secret_file);
    free(access->kv_credential);
    free(access->tenant);
    free(access->client);
    free(access->authority);
    free(access->endpoint);
    free(access->ca_file);
    free(access->proxy);
    secret_free(access->proxy_password);
    *access = (struct azure_access){0};
}

static bool take_text(const json_t *json, const char *key, char **ret, struct err *err)
{
    const char *text;
    if (!json_opt_text(json, key, NULL, &text, err))
        return false;
    if (text && !*text)
        return err_set(err, FAIL_INPUT, "'%s' is empty", key);
    *ret = text ? xstrdup(text) : NULL;
    return true;
}

static bool take_kind(const json_t *json, size_t *ret_index, struct err *err)
{
    const char *kind;
    if (!json_get_text(json, "kind", &kind, err))
        return false;
    for (size_t i = 0; i < ARRAY_COUNT(KINDS); i++)
        if (strcmp(KINDS[i].name, kind) == 0) {
            *ret_index = i;
            return true;
        }
    return err_set(err, FAIL_INPUT,
                   "kind '%.40s'; known are shared-key, sas, client-secret, "
                   "client-certificate, managed-identity, workload-identity and az",
                   kind);
}

static bool check_keys(const json_t *json, size_t index, struct err *err)
{
    const char *allowed[ARRAY_COUNT(EVERY_KIND) + MAX_KEYS + 1] = {NULL};
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_COUNT(EVERY_KIND); i++)
        allowed[count++] = EVERY_KIND[i];
    for (size_t i = 0; i < MAX_KEYS && KINDS[index].keys[i]; i++)
        allowed[count++] = KINDS[index].keys[i];
    return json_only_keys(json, allowed, err);
}

static bool take_source(const json_t *json, struct azure_access *access, struct err *err)
{
    const char *source;
    if (!json_opt_text(json, "source", "imds", &source, err))
        return false;
    for (size_t i = 0; i < ARRAY_COUNT(SOURCES); i++)
        if (strcmp(SOURCES[i], source) == 0) {
            access->source = (enum azure_identity_source)i;
            return true;
        }
    return err_set(err, FAIL_INPUT, "source '%.40s'; known are imds, app-service and arc",
                   source);
}

/* A certificate and a federated token are files: the library, the cluster put them there.
 */
static bool check_reference(const struct azure_access *access, struct err *err)
{
    bool may_refer = access->kind == AZURE_SHARED_KEY || access->kind == AZURE_SAS ||
                     access->kind == AZURE_CLIENT_SECRET;
    return !may_refer ||
           azure_secret_ref_check(access->secret_file, access->kv_credential, err);
}

static bool take_credential(const json_t *json, size_t index, struct azure_access *access,
                            struct err *err)
{
    access->kind = KINDS[index].kind;
    const char *secret_key = KINDS[index].secret_key;
    if ((secret_key && !take_text(json, secret_key, &access->secret_file, err)) ||
        !take_text(json, "kv_credential", &access->kv_credential, err) ||
        !take_text(json, "tenant", &access->tenant, err) ||
        !take_text(json, "client", &access->client, err) ||
        !take_text(json, "endpoint", &access->endpoint, err) ||
        !take_source(json, access, err))
        return false;
    if (KINDS[index].needs_secret && !access->secret_file)
        return err_set(err, FAIL_INPUT, "'%s' is missing", secret_key);
    if (KINDS[index].needs_client && (!access->tenant || !access->client))
        return err_set(err, FAIL_INPUT, "'%s' is missing",
                       access->tenant ? "client" : "tenant");
    return check_reference(access, err);
}

static bool take_way(const json_t *json, struct azure_access *access, struct err *err)
{
    AUTO(free) char *cloud = NULL;
    AUTO(free) char *pin = NULL;
    AUTO(free) char *password_file = NULL;
    if (!take_text(json, "cloud", &cloud, err) ||
        !take_text(json, "authority", &access->authority, err) ||
        !take_text(json, "ca_file", &access->ca_file, err) ||
        !take_text(json, "pin", &pin, err) ||
        !take_text(json, "proxy", &access->proxy, err) ||
        !take_text(json, "proxy_password_file", &password_file, err))
        return false;
    if (cloud && !(access->cloud = azure_cloud_get(cloud, err)))
        return false;
    access->has_pin = pin != NULL;
    if (pin && !http_pin_parse(pin, access->pin, err))
        return false;
    if (password_file)
        access->proxy_password = secret_read_file(password_file, err);
    return !password_file || access->proxy_password;
}

bool azure_access_read(const char *path, struct azure_access *ret, struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    struct azure_access access = {0};
    size_t index = 0;
    if (!file_read(path, ACCESS_MAX_BYTES, &text, err))
        return err_wrap(err, "credential");
    AUTO(json_free)
    json_t *json = json_parse("credential", buf_text(&text), text.bytes, err);
    if (!json)
        return err_wrap(err, "'%.200s'", path);
    if (!json_is_object(json))
        return err_set(err, FAIL_INPUT, "'%.200s' is not a JSON object", path);
    if (!take_kind(json, &index, err) || !check_keys(json, index, err) ||
        !take_credential(json, index, &access, err) || !take_way(json, &access, err)) {
        azure_access_release(&access);
        return err_wrap(err, "credential '%.200s'", path);
    }
    *ret = access;
    return true;
}

struct http_endpoint_options azure_access_way(const struct azure_access *access,
                                              const char *url)
{
    return (struct http_endpoint_options){
        .url = url,
        .ca_file = access->ca_file,
        .pin = access->has_pin ? access->pin : NULL,
        .proxy_url = access->proxy,
        .proxy_password = access->proxy_password,
    };
}
