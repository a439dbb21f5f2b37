/* SPDX-License-Identifier: Apache-2.0 */
/* Internal to keys/: the operations table, and what its implementations share. */
#ifndef KEYS_KEYS_IMPL_H
#define KEYS_KEYS_IMPL_H

#include "base/buf.h"
#include "keys/keys.h"

#include <pthread.h>

#define MASTER_KEY_BYTES   32
#define DATA_KEY_BYTES     32
#define PAYLOAD_BYTES      (ID_BYTES + DATA_KEY_BYTES) /* key id | data key */
#define KEYS_VERSION_BYTES 72

struct keys_ops {
    const char *kind; /* before ':' in a master's name */
    void (*close)(struct keys *keys);
    void (*cancel)(struct keys *keys); /* NULL: it never waits */
    /* The version of the newest master. */
    bool (*newest)(struct keys *keys, char ret[KEYS_VERSION_BYTES], struct err *err);
    /* Wraps PAYLOAD_BYTES with the newest master; text without blanks, appended. */
    bool (*wrap)(struct keys *keys, const struct id *machine,
                 const struct secret *payload, char ret_version[KEYS_VERSION_BYTES],
                 struct buf *ret, struct err *err);
    /* PAYLOAD_BYTES, or NULL. version "": not recorded, any may fit. */
    struct secret *(*unwrap)(struct keys *keys, const struct id *machine,
                             const char *version, const char *text, struct err *err);
    bool (*rotate)(struct keys *keys, struct err *err);
    bool (*retire)(struct keys *keys, struct err *err); /* NULL: nothing to forget */
    bool (*status)(struct keys *keys, struct keys_status *ret, struct err *err);
};

/* Embedded first in each implementation. */
struct keys {
    /* Set by keys_open, never changed. */
    const struct keys_ops *ops;
    struct keys *earlier;        /* owned; opens what it wrapped; NULL: none */
    pthread_mutex_t change_lock; /* before lock; held over a rotation, I/O and all */
    pthread_mutex_t lock;
    /* Guarded by lock. */
    char current[KEYS_MASTER_BYTES]; /* the newest master that is known; "": none */
};

MUST_CHECK struct keys *keys_file_open_with(const char *path, const char *passphrase,
                                            struct err *err);
MUST_CHECK struct keys *keys_azure_open(const struct keys_options *options,
                                        struct err *err);
MUST_CHECK bool keys_azure_check(const char *url, struct err *err);

/* For implementations: their locks, and then whatever else. */
void keys_init(struct keys *keys, const struct keys_ops *ops);

/* For implementations: takes note of the newest version. */
void keys_note_current(struct keys *keys, const char *version);

/* A payload sealed with a master key, bound to the machine, in hex; both ways. */
MUST_CHECK bool keys_seal_hex(const struct secret *master, const struct id *machine,
                              const struct secret *payload, struct buf *ret,
                              struct err *err);
MUST_CHECK struct secret *keys_open_hex(const struct secret *master,
                                        const struct id *machine, const char *text,
                                        struct err *err);
/* false: the wrapped key does not open, with its remedy. */
bool keys_not_opened(const struct id *machine, struct err *err);

#endif
