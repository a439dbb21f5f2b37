/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all kinds of master keys have in common: the text of a wrapped key, and choosing
 * who opens it.
 *
 *   kedge-wrapped-key-2 KIND:VERSION TEXT     what is written
 *   TEXT                                      form 1: hex under a master key file, no
 *                                             version recorded; opened for ever
 *
 * K1  a wrapped key is bound to its machine by what is inside it: moved to another
 *     machine it does not open;
 * K2  key material is only in struct secret; every buffer it passes through is wiped.
 * Must never put key material into an error text or a log line (text_unhex would).
 */
#include "keys/keys_impl.h"

#include "base/file.h"
#include "base/text.h"
#include "block/sealed.h"

#define WRAPPED_MAGIC "kedge-wrapped-key-2 "
#define VAULT_PREFIX  "vault:"
#define CONTEXT_BYTES 64

/* ---- text forms ---- */

struct wrapped {
    char kind[24];
    char version[KEYS_VERSION_BYTES];
    const char *text; /* in the given one */
};

static bool parse_wrapped(const char *wrapped, struct wrapped *ret)
{
    *ret = (struct wrapped){.kind = "file", .text = wrapped};
    if (strnlen(wrapped, KEYS_WRAPPED_MAX) == KEYS_WRAPPED_MAX)
        return false;
    if (!text_starts_with(wrapped, WRAPPED_MAGIC))
        return true;
    int at = 0;
    if (sscanf(wrapped + sizeof WRAPPED_MAGIC - 1, "%23[a-z-]:%71[0-9A-Za-z-] %n",
               ret->kind, ret->version, &at) != 2 ||
        at == 0)
        return false;
    ret->text = wrapped + sizeof WRAPPED_MAGIC - 1 + at;
    return true;
}

static const char *wrap_context(const struct id *machine, char out[CONTEXT_BYTES])
{
    char text[ID_TEXT_BYTES];
    (void)snprintf(out, CONTEXT_BYTES, "%s data key", id_text(machine, text));
    return out;
}

bool keys_seal_hex(const struct secret *master, const struct id *machine,
                   const struct secret *payload, struct buf *ret, struct err *err)
{
    char context[CONTEXT_BYTES];
    AUTO(buf_release) struct buf sealed = {0};
    if (!sealed_encode(master, SEALED_KEY, wrap_context(machine, context), payload->data,
                       payload->bytes, &sealed, err))
        return false;
    buf_reserve(ret, 2 * sealed.bytes + 1);
    text_hex(sealed.data, sealed.bytes, (char *)ret->data + ret->bytes);
    ret->bytes += 2 * sealed.bytes;
    return true;
}

bool keys_not_opened(const struct id *machine, struct err *err)
{
    char text[ID_TEXT_BYTES];
    return err_set(err, FAIL_CORRUPT,
                   "the wrapped data key of machine %s does not open: damaged, of "
                   "another machine, or made with another master key; use the master "
                   "key that was in use when the machine was added",
                   id_text(machine, text));
}

struct secret *keys_open_hex(const struct secret *master, const struct id *machine,
                             const char *text, struct err *err)
{
    uint8_t sealed[KEYS_WRAPPED_MAX / 2];
    char context[CONTEXT_BYTES];
    struct err why = ERR_INIT;
    AUTO(buf_release) struct buf payload = {0};
    size_t length = strnlen(text, KEYS_WRAPPED_MAX);
    bool ok = length < KEYS_WRAPPED_MAX && length % 2 == 0 &&
              text_unhex(text, sealed, length / 2, &why) &&
              sealed_decode(master, SEALED_KEY, wrap_context(machine, context), sealed,
                            length / 2, &payload, &why);
    struct secret *secret = NULL;
    if (ok && payload.bytes == PAYLOAD_BYTES)
        secret = secret_new(payload.data, payload.bytes);
    else if (why.kind != FAIL_NONE && why.kind != FAIL_CORRUPT && why.kind != FAIL_INPUT)
        *err = why; /* not a matter of the text */
    else
        (void)keys_not_opened(machine, err);
    if (payload.data)
        secret_wipe(payload.data, payload.cap_bytes);
    return secret;
}

/* ---- open ---- */

bool keys_check_address(const char *address, struct err *err)
{
    if (text_starts_with(address, VAULT_PREFIX))
        return keys_azure_check(address + sizeof VAULT_PREFIX - 1, err);
    if (address[0] != '/')
        return err_set(err, FAIL_INPUT,
                       "'%.200s' names no master key; write the absolute path of a file, "
                       "or vault:https://VAULT.vault.azure.net/keys/NAME or .../secrets/"
                       "NAME",
                       address);
    return true;
}

static const char *given(const char *text)
{
    return text && *text ? text : NULL;
}

struct keys *keys_open(const struct keys_options *options, struct err *err)
{
    if (!keys_check_address(options->address, err))
        return NULL;
    const char *passphrase = given(options->passphrase);
    if (!text_starts_with(options->address, VAULT_PREFIX))
        return keys_file_open_with(options->address, passphrase, err);
    struct keys_options vault = *options;
    vault.address += sizeof VAULT_PREFIX - 1;
    AUTO(keys_close) struct keys *keys = keys_azure_open(&vault, err);
    if (!keys)
        return NULL;
    if (given(options->earlier_file) &&
        !(keys->earlier = keys_file_open_with(options->earlier_file, passphrase, err)))
        return NULL;
    return TAKE(keys);
}

struct keys *keys_file_open(const char *path, struct err *err)
{
    return keys_file_open_with(path, NULL, err);
}

void keys_init(struct keys *keys, const struct keys_ops *ops)
{
    keys->ops = ops;
    (void)pthread_mutex_init(&keys->change_lock, NULL); /* defaults cannot fail */
    (void)pthread_mutex_init(&keys->lock, NULL);
}

void keys_close(struct keys *keys)
{
    if (!keys)
        return;
    keys_close(keys->earlier);
    (void)pthread_mutex_destroy(&keys->change_lock);
    (void)pthread_mutex_destroy(&keys->lock); /* nobody holds it: we are the last */
    keys->ops->close(keys);
}

void keys_cancel(struct keys *keys)
{
    if (keys->ops->cancel)
        keys->ops->cancel(keys);
}

/* ---- wrapping ---- */

static bool wrap(struct keys *keys, const struct id *machine,
                 const struct secret *payload, char ret_wrapped[KEYS_WRAPPED_MAX],
                 struct err *err)
{
    char version[KEYS_VERSION_BYTES];
    AUTO(buf_release) struct buf text = {0}, whole = {0};
    if (!keys->ops->wrap(keys, machine, payload, version, &text, err))
        return err_wrap(err, "wrap a data key");
    buf_printf(&whole, WRAPPED_MAGIC "%s:%s ", keys->ops->kind, version);
    buf_append(&whole, text.data, text.bytes);
    if (whole.bytes >= KEYS_WRAPPED_MAX)
        return err_set(err, FAIL_BUG, "a wrapped key of %zu bytes does not fit",
                       whole.bytes);
    memcpy(ret_wrapped, buf_text(&whole), whole.bytes + 1);
    return true;
}

bool keys_make(struct keys *keys, const struct id *machine, struct id *ret_key_id,
               char ret_wrapped[KEYS_WRAPPED_MAX], struct err *err)
{
    uint8_t raw[PAYLOAD_BYTES];
    struct id key_id = id_random();
    memcpy(raw, key_id.bytes, ID_BYTES);
    secret_random(raw + ID_BYTES, DATA_KEY_BYTES);
    AUTO(secret_free) struct secret *payload = secret_new(raw, sizeof raw);
    secret_wipe(raw, sizeof raw);
    if (!wrap(keys, machine, payload, ret_wrapped, err))
        return false;
    *ret_key_id = key_id;
    return true;
}

/* Who opens a key that this kind of master wrapped; NULL: nobody. */
static struct keys *opener_of(struct keys *keys, const char *kind)
{
    for (; keys; keys = keys->earlier)
        if (strcmp(keys->ops->kind, kind) == 0)
            return keys;
    return NULL;
}

static struct secret *unwrap(struct keys *keys, const struct id *machine,
                             const char *wrapped, struct err *err)
{
    struct wrapped parts;
    if (!parse_wrapped(wrapped, &parts)) {
        (void)keys_not_opened(machine, err);
        return NULL;
    }
    struct keys *opener = opener_of(keys, parts.kind);
    if (!opener) {
        char text[ID_TEXT_BYTES];
        (void)err_set(err, FAIL_CORRUPT,
                      "the data key of machine %s is wrapped with a master of kind '%s', "
                      "but '%s' is in use; set 'keys' and 'key_file' as they were",
                      id_text(machine, text), parts.kind, keys->ops->kind);
        return NULL;
    }
    return opener->ops->unwrap(opener, machine, parts.version, parts.text, err);
}

struct secret *keys_unwrap(struct keys *keys, const struct id *machine,
                           const char *wrapped, struct id *ret_key_id, struct err *err)
{
    AUTO(secret_free) struct secret *payload = unwrap(keys, machine, wrapped, err);
    if (!payload)
        return NULL;
    memcpy(ret_key_id->bytes, payload->data, ID_BYTES);
    return secret_new(payload->data + ID_BYTES, DATA_KEY_BYTES);
}

/* ---- rotation ---- */

static void name_master(const struct keys *keys, const char *version,
                        char out[KEYS_MASTER_BYTES])
{
    (void)snprintf(out, KEYS_MASTER_BYTES, "%s:%s", keys->ops->kind, version);
}

void keys_note_current(struct keys *keys, const char *version)
{
    LOCK_GUARD(&keys->lock);
    name_master(keys, version, keys->current);
}

bool keys_current(struct keys *keys, char ret_master[KEYS_MASTER_BYTES], struct err *err)
{
    char version[KEYS_VERSION_BYTES];
    if (!keys->ops->newest(keys, version, err))
        return false;
    keys_note_current(keys, version);
    name_master(keys, version, ret_master);
    return true;
}

bool keys_is_current(struct keys *keys, const char *wrapped)
{
    struct wrapped parts;
    char master[KEYS_MASTER_BYTES];
    if (!parse_wrapped(wrapped, &parts))
        return false;
    (void)snprintf(master, sizeof master, "%s:%s", parts.kind, parts.version);
    LOCK_GUARD(&keys->lock);
    return strcmp(master, keys->current) == 0;
}

void keys_master_of(struct keys *keys, const struct id *machine, const char *wrapped,
                    char ret_master[KEYS_MASTER_BYTES])
{
    struct wrapped parts;
    struct keys_status status;
    struct err ignored = ERR_INIT; /* not known, then */
    ret_master[0] = 0;
    if (!parse_wrapped(wrapped, &parts))
        return;
    struct keys *opener = opener_of(keys, parts.kind);
    if (parts.version[0])
        (void)snprintf(ret_master, KEYS_MASTER_BYTES, "%s:%s", parts.kind, parts.version);
    else if (opener && opener->ops->status(opener, &status, &ignored))
        for (size_t i = 0; i < status.version_count && !ret_master[0]; i++) {
            const char *version = strchr(status.versions[i].master, ':') + 1;
            AUTO(secret_free)
            struct secret *payload =
                opener->ops->unwrap(opener, machine, version, parts.text, &ignored);
            if (payload)
                text_copy(ret_master, KEYS_MASTER_BYTES, status.versions[i].master);
        }
}

bool keys_rewrap(struct keys *keys, const struct id *machine, const char *wrapped,
                 char ret_wrapped[KEYS_WRAPPED_MAX], struct err *err)
{
    AUTO(secret_free) struct secret *payload = unwrap(keys, machine, wrapped, err);
    return payload && wrap(keys, machine, payload, ret_wrapped, err);
}

bool keys_rotate(struct keys *keys, struct err *err)
{
    LOCK_GUARD(&keys->change_lock);
    return keys->ops->rotate(keys, err) || err_wrap(err, "new master key");
}

bool keys_retire(struct keys *keys, struct err *err)
{
    LOCK_GUARD(&keys->change_lock);
    return !keys->ops->retire || keys->ops->retire(keys, err) ||
           err_wrap(err, "forget the master key before");
}

bool keys_status_get(struct keys *keys, struct keys_status *ret, struct err *err)
{
    return keys->ops->status(keys, ret, err);
}
