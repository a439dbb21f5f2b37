/* SPDX-License-Identifier: Apache-2.0 */
/* The text form of master keys, as in a file or in a vault's secret: doc/formats/keys.md.
 */
#ifndef KEYS_MASTER_KEY_H
#define KEYS_MASTER_KEY_H

#include "block/passphrase.h"
#include "keys/keys_impl.h"

#define MASTER_KEYS_MAX 2 /* the newest, and the one before until it is retired */

struct master_keys {
    struct secret *keys[MASTER_KEYS_MAX]; /* owned; newest first */
    size_t count;
    struct secret *seal; /* owned; made of a passphrase; NULL: kept in clear */
    struct passphrase_cost cost;
    uint8_t salt[PASSPHRASE_SALT_BYTES];
};

void master_keys_release(struct master_keys *keys);
static inline void auto_master_keys_release(struct master_keys *keys)
{
    master_keys_release(keys);
}

/* A random key in front; the last one goes when there is no room. */
void master_keys_add(struct master_keys *keys);

/* From now on they are printed wrapped with this. */
MUST_CHECK bool master_keys_protect(struct master_keys *keys,
                                    const struct secret *passphrase, struct err *err);

/* name: of the file or secret, for errors, which never quote the line. passphrase: NULL:
 * none. FAIL_CORRUPT: not in this form; FAIL_AUTH: the passphrase is missing or wrong. */
MUST_CHECK bool master_keys_parse(const char *name, const struct secret *line,
                                  const struct secret *passphrase,
                                  struct master_keys *ret, struct err *err);

/* One line without its end. */
MUST_CHECK struct secret *master_keys_print(const struct master_keys *keys,
                                            struct err *err);

/* 16 hex digits that tell masters apart and nothing else about them. */
#define MASTER_VERSION_BYTES 17
void master_key_version(const struct secret *key, char out[MASTER_VERSION_BYTES]);

#endif
