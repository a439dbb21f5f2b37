/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Azure Key Vault, data plane 7.5: secrets, and RSA keys that wrap. Every call may take
 * as long as its retries. Any thread.
 *
 * The token is one for the cloud's vaults, whatever a server's challenge asks for: a
 * challenge is read only to say what is wrong.
 */
#ifndef AZURE_KEY_VAULT_H
#define AZURE_KEY_VAULT_H

#include "azure/access.h"
#include "azure/request.h"

#define KEY_VAULT_NAME_BYTES    128 /* 127 characters */
#define KEY_VAULT_VERSION_BYTES 65
#define KEY_VAULT_VERSIONS_MAX  1000
#define KEY_VAULT_WRAP_MAX      190 /* RSA-OAEP-256 with 2048 bits */

enum key_vault_kind { KEY_VAULT_SECRET, KEY_VAULT_KEY };

/* https://VAULT.vault.azure.net/secrets/NAME[/VERSION], .../keys/NAME[/VERSION] */
struct key_vault_address {
    char origin[280]; /* "https://VAULT.vault.azure.net" */
    char host[256];
    enum key_vault_kind kind;
    char name[KEY_VAULT_NAME_BYTES];
    char version[KEY_VAULT_VERSION_BYTES]; /* "": the newest */
};

/* FAIL_INPUT. http:// is taken only for this host (a simulator). Pure. */
MUST_CHECK bool key_vault_parse(const char *url, struct key_vault_address *ret,
                                struct err *err);

struct key_vault;

struct key_vault_options {
    const struct key_vault_address *address; /* host and origin are taken */
    const struct azure_access *access;       /* borrowed for the vault's life */
    const struct cancel *cancel;             /* the same; NULL: none */
    uint64_t retry_base_ms;                  /* as of azure_client_options */
};

/* FAIL_INPUT: a credential that gives no token. Asks nobody yet. */
MUST_CHECK struct key_vault *key_vault_open(const struct key_vault_options *options,
                                            struct err *err);
void key_vault_close(struct key_vault *vault);
AUTO_CLEANUP(struct key_vault, key_vault_close);

/* How long later calls repeat what may pass; 0: 20 s. */
void key_vault_set_patience(struct key_vault *vault, uint64_t retry_for_ms);

/* Errors of all below: FAIL_AUTH no permission, or that version is disabled or expired;
 * FAIL_GONE no such name or version; FAIL_TRANSIENT no useful answer; FAIL_CORRUPT,
 * FAIL_LIMIT an answer that makes no sense. */

/* version "": the newest. The value, at most SECRET_MAX_BYTES. */
MUST_CHECK struct secret *key_vault_secret_get(struct key_vault *vault, const char *name,
                                               const char *version,
                                               char ret_version[KEY_VAULT_VERSION_BYTES],
                                               struct err *err);
/* Makes the secret, or a new version of it. A repeated attempt may make one more. */
MUST_CHECK bool key_vault_secret_set(struct key_vault *vault, const char *name,
                                     const struct secret *value,
                                     char ret_version[KEY_VAULT_VERSION_BYTES],
                                     struct err *err);

struct key_vault_version {
    char version[KEY_VAULT_VERSION_BYTES];
    bool is_enabled;
    uint64_t created_s; /* Unix; 0: not told */
};
struct key_vault_versions {
    struct key_vault_version *items; /* owned; newest first */
    size_t count;
};
void key_vault_versions_release(struct key_vault_versions *versions);
static inline void auto_key_vault_versions_release(struct key_vault_versions *versions)
{
    key_vault_versions_release(versions);
}
MUST_CHECK bool key_vault_list_versions(struct key_vault *vault, enum key_vault_kind kind,
                                        const char *name, struct key_vault_versions *ret,
                                        struct err *err);

/* The newest version. FAIL_INPUT: it is no RSA key of 2048 bits or more. */
MUST_CHECK bool key_vault_key_newest(struct key_vault *vault, const char *name,
                                     char ret_version[KEY_VAULT_VERSION_BYTES],
                                     struct err *err);
/* A new version by the key's own policy (POST rotate). */
MUST_CHECK bool key_vault_key_rotate(struct key_vault *vault, const char *name,
                                     char ret_version[KEY_VAULT_VERSION_BYTES],
                                     struct err *err);
/* RSA-OAEP-256 both ways; wrapped is base64url, appended. clear: at most
 * KEY_VAULT_WRAP_MAX bytes. */
MUST_CHECK bool key_vault_wrap(struct key_vault *vault, const char *name,
                               const char *version, const struct secret *clear,
                               struct buf *ret, struct err *err);
MUST_CHECK struct secret *key_vault_unwrap(struct key_vault *vault, const char *name,
                                           const char *version, const char *wrapped,
                                           struct err *err);

#endif
