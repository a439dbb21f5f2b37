/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked of a vault: secrets, keys and their versions.
 *
 * The newest version is asked for by an empty one ("/secrets/NAME/"). A list comes in
 * pages; the next one's address is taken only when it is in the same vault and on the
 * same list, whatever the answer says.
 */
#include "azure/key_vault_impl.h"

#include "base/text.h"
#include "http/sign.h"

#define PAGES_MAX     100
#define ALGORITHM     "RSA-OAEP-256"
#define KEY_MIN_BYTES 256 /* 2048 bits */

static const char *text_of(const json_t *json, const char *key)
{
    return json_string_value(json_object_get(json, key));
}

/* ---- secrets ---- */

struct secret *key_vault_secret_get(struct key_vault *vault, const char *name,
                                    const char *version,
                                    char ret_version[KEY_VAULT_VERSION_BYTES],
                                    struct err *err)
{
    AUTO(vault_call_end) struct vault_call call;
    vault_call_begin(&call, &(struct vault_call_path){.verb = "get secret",
                                                      .kind = KEY_VAULT_SECRET,
                                                      .name = name,
                                                      .version = version});
    if (!vault_call_send(vault, &call, NULL, err) ||
        !vault_version_of(&call, text_of(call.answer, "id"), name, ret_version, err))
        return NULL;
    const json_t *value = json_object_get(call.answer, "value");
    const char *text = json_string_value(value);
    size_t bytes = json_string_length(value);
    if (!text || bytes == 0 || strlen(text) != bytes)
        (void)vault_nonsense(&call, "it holds no value, or one that is no text", err);
    else if (version[0] && strcmp(version, ret_version) != 0)
        (void)vault_nonsense(&call, "it is another version", err);
    else if (bytes > SECRET_MAX_BYTES)
        (void)err_set(err, FAIL_LIMIT, "%s: its value has %zu bytes; %d are allowed",
                      call.what, bytes, SECRET_MAX_BYTES);
    else
        return secret_new(text, bytes);
    return NULL;
}

bool key_vault_secret_set(struct key_vault *vault, const char *name,
                          const struct secret *value,
                          char ret_version[KEY_VAULT_VERSION_BYTES], struct err *err)
{
    AUTO(vault_call_end) struct vault_call call;
    struct vault_call body = {.answer = json_object()};
    char text[SECRET_MAX_BYTES + 1];
    memcpy(text, value->data, value->bytes);
    text[value->bytes] = 0;
    json_put_text(body.answer, "value", text);
    secret_wipe(text, sizeof text);
    json_put_text(body.answer, "contentType", "text/plain");
    vault_call_begin(&call, &(struct vault_call_path){.verb = "set secret",
                                                      .kind = KEY_VAULT_SECRET,
                                                      .name = name});
    call.request.method = "PUT";
    bool ok = vault_call_send(vault, &call, body.answer, err) &&
              vault_version_of(&call, text_of(call.answer, "id"), name, ret_version, err);
    vault_call_end(&body); /* wipes */
    return ok;
}

/* ---- versions ---- */

void key_vault_versions_release(struct key_vault_versions *versions)
{
    free(versions->items);
    *versions = (struct key_vault_versions){.count = 0};
}

static bool add_version(const struct vault_call *call, const json_t *item,
                        const char *name, struct key_vault_versions *ret, struct err *err)
{
    const json_t *attributes = json_object_get(item, "attributes");
    const char *id = text_of(item, "id");
    struct key_vault_version version = {
        .is_enabled = !json_is_false(json_object_get(attributes, "enabled"))};
    json_int_t created = json_integer_value(json_object_get(attributes, "created"));
    version.created_s = created > 0 ? (uint64_t)created : 0;
    if (!vault_version_of(call, id ? id : text_of(item, "kid"), name, version.version,
                          err))
        return false;
    if (ret->count == KEY_VAULT_VERSIONS_MAX)
        return err_set(err, FAIL_LIMIT, "%s: there are more than %d", call->what,
                       KEY_VAULT_VERSIONS_MAX);
    if (ret->count % 64 == 0)
        ret->items = xrealloc(ret->items, ret->count + 64, sizeof *ret->items);
    ret->items[ret->count++] = version;
    return true;
}

/* Path and query of the next page; "": there is none. */
static bool next_page(const struct key_vault *vault, const struct vault_call *call,
                      const char *path, struct buf *ret, struct err *err)
{
    const char *link = text_of(call->answer, "nextLink");
    const char *origin = key_vault_origin(vault);
    size_t origin_bytes = strlen(origin), path_bytes = strlen(path);
    if (!link || !*link)
        return true;
    /* A vault names itself with its port (":443"), which we do not. */
    bool is_here = strncasecmp(link, origin, origin_bytes) == 0;
    link += is_here ? origin_bytes : 0;
    if (is_here && text_starts_with(link, ":443/"))
        link += 4;
    if (!is_here || strncasecmp(link, path, path_bytes) != 0 || link[path_bytes] != '?' ||
        strlen(link) > 4096 || strpbrk(link, " \r\n#"))
        return vault_nonsense(call, "its next page is elsewhere", err);
    buf_append_text(ret, link);
    return true;
}

static bool list_page(struct key_vault *vault, struct vault_call *call,
                      const struct vault_call_path *where, struct buf *next,
                      struct key_vault_versions *ret, struct err *err)
{
    AUTO(buf_release) struct buf plain = {0};
    buf_append(&plain, call->path.data, call->path.bytes);
    if (next->bytes) {
        buf_clear(&call->path);
        buf_append(&call->path, next->data, next->bytes);
    }
    buf_clear(next);
    if (!vault_call_send(vault, call, NULL, err))
        return false;
    const json_t *list = json_object_get(call->answer, "value"), *item;
    size_t i;
    if (!json_is_array(list))
        return vault_nonsense(call, "it is no list", err);
    json_array_foreach((json_t *)(uintptr_t)list, i, item)
    {
        if (!add_version(call, item, where->name, ret, err))
            return false;
    }
    return next_page(vault, call, buf_text(&plain), next, err);
}

static int newer_first(const void *a, const void *b)
{
    const struct key_vault_version *left = a, *right = b;
    if (left->created_s != right->created_s)
        return left->created_s < right->created_s ? 1 : -1;
    return strcmp(left->version, right->version);
}

bool key_vault_list_versions(struct key_vault *vault, enum key_vault_kind kind,
                             const char *name, struct key_vault_versions *ret,
                             struct err *err)
{
    const struct vault_call_path where = {
        .verb = "list versions of", .kind = kind, .name = name, .last = "versions"};
    AUTO(key_vault_versions_release) struct key_vault_versions found = {.count = 0};
    AUTO(buf_release) struct buf next = {0};
    for (unsigned page = 0; page == 0 || next.bytes; page++) {
        AUTO(vault_call_end) struct vault_call call;
        vault_call_begin(&call, &where);
        if (page == PAGES_MAX)
            return vault_nonsense(&call, "its pages do not end", err);
        if (!list_page(vault, &call, &where, &next, &found, err))
            return false;
    }
    if (found.count)
        qsort(found.items, found.count, sizeof found.items[0], newer_first);
    *ret = found;
    found = (struct key_vault_versions){.count = 0};
    return true;
}

/* ---- keys ---- */

/* base64url without padding, as the service writes it. */
static struct secret *unbase64_url(const char *text, struct err *err)
{
    char plain[SECRET_MAX_BYTES * 4 / 3 + 8];
    size_t length = strlen(text);
    if (length == 0 || length % 4 == 1 || length + 4 > sizeof plain) {
        (void)err_set(err, FAIL_CORRUPT, "not a base64url text");
        return NULL;
    }
    for (size_t i = 0; i < length; i++)
        plain[i] = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
    while (length % 4)
        plain[length++] = '=';
    struct secret *secret = sign_unbase64(plain, length, err);
    secret_wipe(plain, sizeof plain);
    return secret;
}

static bool check_key(const struct vault_call *call, const char *name, struct err *err)
{
    const json_t *key = json_object_get(call->answer, "key");
    const char *type = text_of(key, "kty"), *modulus = text_of(key, "n");
    struct err ignored = ERR_INIT;
    if (!type || (strcmp(type, "RSA") != 0 && strcmp(type, "RSA-HSM") != 0))
        return err_set(err, FAIL_INPUT, "key '%s' is of type '%.20s'; make an RSA key",
                       name, type ? type : "");
    AUTO(secret_free)
    struct secret *n = modulus ? unbase64_url(modulus, &ignored) : NULL;
    if (!n || n->bytes < KEY_MIN_BYTES)
        return err_set(err, FAIL_INPUT,
                       "key '%s' has less than 2048 bits; make one of 2048 or more",
                       name);
    return true;
}

/* The answer is a key bundle. */
static bool take_key(struct key_vault *vault, struct vault_call *call, const char *name,
                     const json_t *body, char ret_version[KEY_VAULT_VERSION_BYTES],
                     struct err *err)
{
    if (!vault_call_send(vault, call, body, err))
        return false;
    const json_t *key = json_object_get(call->answer, "key");
    return vault_version_of(call, text_of(key, "kid"), name, ret_version, err) &&
           check_key(call, name, err);
}

bool key_vault_key_newest(struct key_vault *vault, const char *name,
                          char ret_version[KEY_VAULT_VERSION_BYTES], struct err *err)
{
    AUTO(vault_call_end) struct vault_call call;
    vault_call_begin(&call, &(struct vault_call_path){.verb = "get key",
                                                      .kind = KEY_VAULT_KEY,
                                                      .name = name,
                                                      .version = ""});
    return take_key(vault, &call, name, NULL, ret_version, err);
}

bool key_vault_key_rotate(struct key_vault *vault, const char *name,
                          char ret_version[KEY_VAULT_VERSION_BYTES], struct err *err)
{
    AUTO(vault_call_end) struct vault_call call;
    vault_call_begin(&call, &(struct vault_call_path){.verb = "rotate key",
                                                      .kind = KEY_VAULT_KEY,
                                                      .name = name,
                                                      .last = "rotate"});
    call.request.method = "POST";
    return take_key(vault, &call, name, NULL, ret_version, err);
}

static bool transform(struct key_vault *vault, struct vault_call *call, const char *name,
                      const char *value, struct err *err)
{
    char version[KEY_VAULT_VERSION_BYTES];
    struct vault_call body = {.answer = json_object()};
    json_put_text(body.answer, "alg", ALGORITHM);
    json_put_text(body.answer, "value", value);
    call->request.method = "POST";
    bool ok = vault_call_send(vault, call, body.answer, err) &&
              vault_version_of(call, text_of(call->answer, "kid"), name, version, err);
    vault_call_end(&body); /* wipes */
    if (ok && !text_of(call->answer, "value"))
        return vault_nonsense(call, "it holds no value", err);
    return ok;
}

bool key_vault_wrap(struct key_vault *vault, const char *name, const char *version,
                    const struct secret *clear, struct buf *ret, struct err *err)
{
    AUTO(vault_call_end) struct vault_call call;
    AUTO(buf_release) struct buf text = {0};
    buf_reserve(&text, 2 * KEY_VAULT_WRAP_MAX);
    if (clear->bytes > KEY_VAULT_WRAP_MAX)
        return err_set(err, FAIL_BUG, "%zu bytes are too many to wrap", clear->bytes);
    vault_call_begin(&call, &(struct vault_call_path){.verb = "wrap with key",
                                                      .kind = KEY_VAULT_KEY,
                                                      .name = name,
                                                      .version = version,
                                                      .last = "wrapkey"});
    sign_base64_url(clear->data, clear->bytes, &text);
    bool ok = transform(vault, &call, name, buf_text(&text), err);
    secret_wipe(text.data, text.cap_bytes);
    if (!ok)
        return false;
    const char *value = text_of(call.answer, "value");
    AUTO(secret_free) struct secret *raw = unbase64_url(value, err);
    if (!raw || raw->bytes < KEY_MIN_BYTES || raw->bytes > 4 * KEY_MIN_BYTES) {
        err_clear(err);
        return vault_nonsense(&call, "its value is no wrapped key", err);
    }
    buf_append_text(ret, value);
    return true;
}

struct secret *key_vault_unwrap(struct key_vault *vault, const char *name,
                                const char *version, const char *wrapped, struct err *err)
{
    AUTO(vault_call_end) struct vault_call call;
    vault_call_begin(&call, &(struct vault_call_path){.verb = "unwrap with key",
                                                      .kind = KEY_VAULT_KEY,
                                                      .name = name,
                                                      .version = version,
                                                      .last = "unwrapkey"});
    if (!transform(vault, &call, name, wrapped, err))
        return NULL;
    struct err why = ERR_INIT;
    struct secret *secret = unbase64_url(text_of(call.answer, "value"), &why);
    if (!secret)
        (void)vault_nonsense(&call, "its value is not base64url", err);
    return secret;
}
