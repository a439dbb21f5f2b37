/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data keys per machine, wrapped by a master key: an operations table with a local file
 * (default) and Azure Key Vault (a secret or an RSA key) behind it. The wrapped form is
 * text that names the master it was wrapped with, so that older masters go on opening
 * theirs; it may be stored anywhere. doc/formats/keys.md, doc/keys.md
 *
 * A master is named "KIND:VERSION": "file:1f0e9a…" (a fingerprint), "vault-secret:…" and
 * "vault-key:…" (the vault's version). Any thread.
 */
#ifndef KEYS_KEYS_H
#define KEYS_KEYS_H

#include "base/cancel.h"
#include "base/id.h"
#include "base/secret.h"

#define KEYS_WRAPPED_MAX  2048
#define KEYS_MASTER_BYTES 96
#define KEYS_VERSIONS_MAX 100

struct keys;

struct keys_options {
    /* The absolute path of a master key file, or
     * "vault:https://VAULT.vault.azure.net/secrets/NAME" or ".../keys/NAME". */
    const char *address;
    const char *passphrase;   /* of the file, as secret_read takes it; NULL or "": none */
    const char *credential;   /* to get at the vault, azure/access.h */
    const char *earlier_file; /* besides a vault: a master key file whose wrapped keys are
                               * still opened; NULL: none */
    uint64_t fresh_ms, keep_ms;           /* of keys_cache.h; 0: its defaults */
    uint64_t retry_for_ms, retry_base_ms; /* of the vault; 0: the defaults */
};

/* FAIL_INPUT: neither a path nor a vault's address. Pure. */
MUST_CHECK bool keys_check_address(const char *address, struct err *err);

/* Reads the file; asks no vault yet. FAIL_AUTH: others can read the file, or the
 * passphrase is missing or wrong. */
MUST_CHECK struct keys *keys_open(const struct keys_options *options, struct err *err);
void keys_close(struct keys *keys);
AUTO_CLEANUP(struct keys, keys_close);

/* Makes a new random master key file (0600, durable); FAIL_CONFLICT when it exists. */
MUST_CHECK bool keys_file_create(const char *path, struct err *err);
/* The same, wrapped with what this reference (secret_read) holds. */
MUST_CHECK bool keys_file_create_with(const char *path, const char *passphrase,
                                      struct err *err);
/* keys_open of a file without a passphrase. */
MUST_CHECK struct keys *keys_file_open(const char *path, struct err *err);

/* Whoever waits for the vault, now or later, gets FAIL_CANCELED instead. */
void keys_cancel(struct keys *keys);

/* A new random data key for the machine: its id and wrapped form (bound to the machine).
 */
MUST_CHECK bool keys_make(struct keys *keys, const struct id *machine,
                          struct id *ret_key_id, char ret_wrapped[KEYS_WRAPPED_MAX],
                          struct err *err);

/* FAIL_CORRUPT: damaged, of another machine, or wrapped by another master key; of a
 * vault besides: FAIL_AUTH, FAIL_GONE, and FAIL_TRANSIENT when it does not answer and the
 * key was not used before. */
MUST_CHECK struct secret *keys_unwrap(struct keys *keys, const struct id *machine,
                                      const char *wrapped, struct id *ret_key_id,
                                      struct err *err);

/* ---- rotation ---- */

/* The newest master, asking the vault. FAIL_GONE: the vault has none yet. */
MUST_CHECK bool keys_current(struct keys *keys, char ret_master[KEYS_MASTER_BYTES],
                             struct err *err);
/* Whether it is wrapped with the newest master that is known; asks nobody. */
bool keys_is_current(struct keys *keys, const char *wrapped);
/* Which master it is wrapped with; "": none that is known. Asks nobody. */
void keys_master_of(struct keys *keys, const struct id *machine, const char *wrapped,
                    char ret_master[KEYS_MASTER_BYTES]);

/* The same data key, wrapped with the newest master that is known. */
MUST_CHECK bool keys_rewrap(struct keys *keys, const struct id *machine,
                            const char *wrapped, char ret_wrapped[KEYS_WRAPPED_MAX],
                            struct err *err);

/* Makes a new master, durable; the one before is kept. FAIL_CONFLICT (file): one that was
 * replaced earlier is still there, so that there would be three: rewrap and retire
 * first. */
MUST_CHECK bool keys_rotate(struct keys *keys, struct err *err);
/* Nothing is wrapped with an older master any more: a file forgets it. A vault's older
 * versions are left alone, and disabled by whoever runs the vault. */
MUST_CHECK bool keys_retire(struct keys *keys, struct err *err);

struct keys_version {
    char master[KEYS_MASTER_BYTES];
    bool is_current, is_enabled;
    uint64_t created_ms; /* 0: not known */
};

struct keys_status {
    const char *kind; /* "file", "vault-secret", "vault-key" */
    char where[320];  /* path or URL */
    bool has_passphrase;
    struct keys_version versions[KEYS_VERSIONS_MAX]; /* newest first */
    size_t version_count;
};

/* Asks the vault. */
MUST_CHECK bool keys_status_get(struct keys *keys, struct keys_status *ret,
                                struct err *err);

#endif
