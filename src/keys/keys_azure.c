/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Master keys in an Azure Key Vault, of one of two kinds:
 *
 *   vault-secret  the master key is the value of a secret, in the form of a key file; it
 *                 is fetched, and wraps here, exactly as one in a file does;
 *   vault-key     the master is an RSA key that never leaves the vault, which wraps and
 *                 unwraps machine id | key id | data key for us (RSA-OAEP-256).
 *
 * A1  a wrapped key names the version that wrapped it and is opened with that one, so a
 *     rotation, ours or the vault's own, changes nothing for what is wrapped already;
 * A2  what the vault gave is kept in memory for a bounded time (keys_cache.h). A vault
 *     that does not answer makes us use what is kept, and leaves us alone for a minute; a
 *     vault that refuses makes us forget it;
 * A3  RSA wraps for whoever knows the public key, so a wrapped key proves nothing about
 *     who made it: whoever can write the catalog could put in a key of his own. He could
 *     write the replica's address, too; a "vault-secret" does not have this property.
 * Must never make a master because there is none: what was lost would look like new.
 */
#include "azure/key_vault.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/text.h"
#include "keys/keys_cache.h"
#include "keys/master_key.h"

#include <stdatomic.h>

#define PATIENCE_MS       20000
#define SHORT_PATIENCE_MS 5000 /* something is kept, somebody waits */
#define PAUSE_MS          60000
#define NEWEST_MS         60000 /* a rotation wraps many keys: asked once is enough */
#define BOUND_BYTES       (ID_BYTES + PAYLOAD_BYTES)

struct keys_azure {
    struct keys base;
    /* Set by open, never changed. */
    struct key_vault_address address;
    struct azure_access access;
    struct key_vault *vault;
    struct keys_cache *cache;
    struct cancel cancel;
    uint64_t retry_for_ms;
    /* Atomic. */
    _Atomic uint64_t ask_again_ms; /* mono; until then what is kept must do */
    /* Guarded by base.lock. */
    char newest[KEYS_VERSION_BYTES];
    uint64_t newest_ms; /* mono, when it was the newest; 0: never */
};

static struct keys_azure *azure_of(struct keys *keys)
{
    return (struct keys_azure *)keys;
}

static bool is_key(const struct keys_azure *azure)
{
    return azure->address.kind == KEY_VAULT_KEY;
}

static void be_patient(struct keys_azure *azure, bool has_kept)
{
    uint64_t ms = has_kept ? SHORT_PATIENCE_MS : PATIENCE_MS;
    if (azure->retry_for_ms)
        ms = MIN_OF(ms, azure->retry_for_ms);
    key_vault_set_patience(azure->vault, ms);
}

/* ---- what the vault gives ---- */

static bool not_there(const struct keys_azure *azure, struct err *err)
{
    if (err->kind != FAIL_GONE)
        return false;
    return err_set(err, FAIL_GONE,
                   is_key(azure)
                       ? "there is no key '%s' in the vault; make one (RSA, 2048 "
                         "bits or more)"
                       : "there is no secret '%s' in the vault; make it with "
                         "'kedge keys rotate', once",
                   azure->address.name);
}

/* The master key that a version of the secret is. */
static struct secret *fetch_master(struct keys_azure *azure, const char *version,
                                   char ret_version[KEY_VAULT_VERSION_BYTES],
                                   struct err *err)
{
    AUTO(master_keys_release) struct master_keys masters = {.count = 0};
    AUTO(secret_free)
    struct secret *line = key_vault_secret_get(azure->vault, azure->address.name, version,
                                               ret_version, err);
    if (!line || !master_keys_parse(azure->address.name, line, NULL, &masters, err))
        return NULL;
    return TAKE(masters.keys[0]);
}

/* machine id | key id | data key of a wrapped text. */
static struct secret *fetch_bound(struct keys_azure *azure, const char *version,
                                  const char *text, struct err *err)
{
    AUTO(secret_free)
    struct secret *bound =
        key_vault_unwrap(azure->vault, azure->address.name, version, text, err);
    if (bound && bound->bytes != BOUND_BYTES) {
        (void)err_set(err, FAIL_CORRUPT, "the vault unwrapped %zu bytes instead of %d",
                      bound->bytes, BOUND_BYTES);
        return NULL;
    }
    return TAKE(bound);
}

static bool vault_said_no(enum err_kind kind)
{
    return kind == FAIL_AUTH || kind == FAIL_GONE || kind == FAIL_INPUT ||
           kind == FAIL_CONFLICT;
}

/* A2: a master by its version, or a bound payload by its text. */
static struct secret *fetch(struct keys_azure *azure, const char *version,
                            const char *text, struct err *err)
{
    char found[KEY_VAULT_VERSION_BYTES];
    AUTO(secret_free) struct secret *kept = NULL;
    const char *name = is_key(azure) ? text : version;
    enum keys_cache_age age = keys_cache_get(azure->cache, name, &kept);
    if (age == KEYS_CACHE_FRESH ||
        (kept && clock_mono_ms() < atomic_load(&azure->ask_again_ms)))
        return TAKE(kept);
    struct err why = ERR_INIT;
    be_patient(azure, kept != NULL);
    AUTO(secret_free)
    struct secret *got = is_key(azure) ? fetch_bound(azure, version, text, &why)
                                       : fetch_master(azure, version, found, &why);
    if (got) {
        keys_cache_put(azure->cache, name, got);
        return TAKE(got);
    }
    if (vault_said_no(why.kind))
        keys_cache_drop(azure->cache, name);
    else if (kept && why.kind != FAIL_CANCELED) {
        atomic_store(&azure->ask_again_ms, clock_mono_ms() + PAUSE_MS);
        return TAKE(kept);
    }
    *err = why;
    return NULL;
}

/* ---- operations ---- */

static void azure_close(struct keys *keys)
{
    struct keys_azure *azure = azure_of(keys);
    key_vault_close(azure->vault);
    keys_cache_free(azure->cache);
    azure_access_release(&azure->access);
    cancel_release(&azure->cancel);
    free(azure);
}

static void azure_cancel(struct keys *keys)
{
    cancel_set(&azure_of(keys)->cancel);
}

static void note_newest(struct keys_azure *azure, const char *version)
{
    keys_note_current(&azure->base, version);
    LOCK_GUARD(&azure->base.lock);
    text_copy(azure->newest, sizeof azure->newest, version);
    azure->newest_ms = clock_mono_ms();
}

static bool azure_newest(struct keys *keys, char ret[KEYS_VERSION_BYTES], struct err *err)
{
    struct keys_azure *azure = azure_of(keys);
    char version[KEY_VAULT_VERSION_BYTES];
    be_patient(azure, false);
    if (is_key(azure)) {
        if (!key_vault_key_newest(azure->vault, azure->address.name, version, err))
            return not_there(azure, err);
    } else {
        AUTO(secret_free) struct secret *master = fetch_master(azure, "", version, err);
        if (!master)
            return not_there(azure, err);
        keys_cache_put(azure->cache, version, master);
    }
    note_newest(azure, version);
    text_copy(ret, KEYS_VERSION_BYTES, version);
    return true;
}

static bool newest_of_late(struct keys_azure *azure, char ret[KEYS_VERSION_BYTES])
{
    LOCK_GUARD(&azure->base.lock);
    text_copy(ret, KEYS_VERSION_BYTES, azure->newest);
    return azure->newest_ms && clock_mono_ms() - azure->newest_ms < NEWEST_MS;
}

static bool wrap_bound(struct keys_azure *azure, const char *version,
                       const struct id *machine, const struct secret *payload,
                       struct buf *ret, struct err *err)
{
    uint8_t raw[BOUND_BYTES];
    memcpy(raw, machine->bytes, ID_BYTES);
    memcpy(raw + ID_BYTES, payload->data, PAYLOAD_BYTES);
    AUTO(secret_free) struct secret *bound = secret_new(raw, sizeof raw);
    secret_wipe(raw, sizeof raw);
    if (!key_vault_wrap(azure->vault, azure->address.name, version, bound, ret, err))
        return false;
    keys_cache_put(azure->cache, buf_text(ret), bound);
    return true;
}

static bool azure_wrap(struct keys *keys, const struct id *machine,
                       const struct secret *payload, char ret_version[KEYS_VERSION_BYTES],
                       struct buf *ret, struct err *err)
{
    struct keys_azure *azure = azure_of(keys);
    if (!newest_of_late(azure, ret_version) && !azure_newest(keys, ret_version, err))
        return false;
    if (is_key(azure))
        return wrap_bound(azure, ret_version, machine, payload, ret, err);
    AUTO(secret_free) struct secret *master = fetch(azure, ret_version, NULL, err);
    return master && keys_seal_hex(master, machine, payload, ret, err);
}

static struct secret *azure_unwrap(struct keys *keys, const struct id *machine,
                                   const char *version, const char *text, struct err *err)
{
    struct keys_azure *azure = azure_of(keys);
    if (!version[0]) {
        (void)keys_not_opened(machine, err);
        return NULL;
    }
    AUTO(secret_free) struct secret *got = fetch(azure, version, text, err);
    if (!got) {
        (void)err_wrap(err, "master '%s' in version %s", azure->address.name, version);
        return NULL;
    }
    if (!is_key(azure))
        return keys_open_hex(got, machine, text, err);
    if (got->bytes != BOUND_BYTES || memcmp(got->data, machine->bytes, ID_BYTES) != 0) {
        (void)keys_not_opened(machine, err);
        return NULL;
    }
    return secret_new(got->data + ID_BYTES, PAYLOAD_BYTES);
}

static bool make_master(struct keys_azure *azure,
                        char ret_version[KEY_VAULT_VERSION_BYTES], struct err *err)
{
    be_patient(azure, false);
    if (is_key(azure))
        return key_vault_key_rotate(azure->vault, azure->address.name, ret_version,
                                    err) ||
               not_there(azure, err);
    AUTO(master_keys_release) struct master_keys masters = {.count = 0};
    master_keys_add(&masters);
    AUTO(secret_free) struct secret *line = master_keys_print(&masters, err);
    return line && key_vault_secret_set(azure->vault, azure->address.name, line,
                                        ret_version, err);
}

static bool azure_rotate(struct keys *keys, struct err *err)
{
    char version[KEY_VAULT_VERSION_BYTES];
    if (FAULT(KEYS_BEFORE_MASTER, err) || !make_master(azure_of(keys), version, err))
        return false;
    note_newest(azure_of(keys), version);
    return !FAULT(KEYS_AFTER_MASTER, err);
}

static bool azure_status(struct keys *keys, struct keys_status *ret, struct err *err)
{
    struct keys_azure *azure = azure_of(keys);
    AUTO(key_vault_versions_release) struct key_vault_versions list = {.count = 0};
    char newest[KEYS_VERSION_BYTES] = "";
    be_patient(azure, false);
    if (!key_vault_list_versions(azure->vault, azure->address.kind, azure->address.name,
                                 &list, err) ||
        (list.count && !azure_newest(keys, newest, err)))
        return not_there(azure, err);
    *ret = (struct keys_status){.kind = keys->ops->kind};
    (void)snprintf(ret->where, sizeof ret->where, "%.180s/%s/%.120s",
                   azure->address.origin, is_key(azure) ? "keys" : "secrets",
                   azure->address.name);
    for (size_t i = 0; i < list.count && i < KEYS_VERSIONS_MAX; i++) {
        struct keys_version *version = &ret->versions[ret->version_count++];
        (void)snprintf(version->master, sizeof version->master, "%s:%s", keys->ops->kind,
                       list.items[i].version);
        version->is_enabled = list.items[i].is_enabled;
        version->created_ms = list.items[i].created_s * 1000;
        version->is_current = strcmp(list.items[i].version, newest) == 0;
    }
    return true;
}

static const struct keys_ops SECRET_OPS = {.kind = "vault-secret",
                                           .close = azure_close,
                                           .cancel = azure_cancel,
                                           .newest = azure_newest,
                                           .wrap = azure_wrap,
                                           .unwrap = azure_unwrap,
                                           .rotate = azure_rotate,
                                           .status = azure_status};
static const struct keys_ops KEY_OPS = {.kind = "vault-key",
                                        .close = azure_close,
                                        .cancel = azure_cancel,
                                        .newest = azure_newest,
                                        .wrap = azure_wrap,
                                        .unwrap = azure_unwrap,
                                        .rotate = azure_rotate,
                                        .status = azure_status};

/* ---- open ---- */

static bool parse(const char *url, struct key_vault_address *ret, struct err *err)
{
    if (!key_vault_parse(url, ret, err))
        return false;
    if (ret->version[0])
        return err_set(err, FAIL_INPUT,
                       "'%.200s' names one version of a master key; leave it out: the "
                       "newest wraps, and each opens what it wrapped",
                       url);
    return true;
}

bool keys_azure_check(const char *url, struct err *err)
{
    struct key_vault_address address;
    return parse(url, &address, err);
}

struct keys *keys_azure_open(const struct keys_options *options, struct err *err)
{
    struct keys_azure *azure = xcalloc(1, sizeof *azure);
    keys_init(&azure->base, &SECRET_OPS);
    cancel_init(&azure->cancel);
    AUTO(keys_close) struct keys *keys = &azure->base;
    if (!parse(options->address, &azure->address, err))
        return NULL;
    keys->ops = is_key(azure) ? &KEY_OPS : &SECRET_OPS;
    if (!options->credential || !*options->credential) {
        (void)err_set(
            err, FAIL_INPUT,
            "the master key in '%.200s' needs a credential; set keys_credential",
            options->address);
        return NULL;
    }
    if (!azure_access_read(options->credential, &azure->access, err))
        return NULL;
    const struct key_vault_options vault = {.address = &azure->address,
                                            .access = &azure->access,
                                            .cancel = &azure->cancel,
                                            .retry_base_ms = options->retry_base_ms};
    azure->retry_for_ms = options->retry_for_ms;
    azure->cache = keys_cache_new(options->fresh_ms, options->keep_ms);
    azure->vault = key_vault_open(&vault, err);
    return azure->vault ? TAKE(keys) : NULL;
}
