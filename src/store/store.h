/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects by name: the log store (segments, manifests) and the state store (plan,
 * journal, replica state). One operations table in front of dir, blob, memory and
 * fault.
 *
 * Names: 1..512 of [A-Za-z0-9._/-], parts between slashes 1..255 long and not "." or
 * "..". A name that is a folder of another ("a" beside "a/b") is refused: FAIL_CONFLICT.
 * An object is there whole or not at all; once store_put returned true it survives a
 * crash of the machine. A put or remove that failed may have happened all the same (the
 * last step failed): ask, or do it again. Any thread, several at once on one store.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/buf.h"
#include "base/cancel.h"
#include "netpath/path.h"

#define STORE_NAME_MAX 512
#define STORE_PART_MAX 255

enum store_put_mode {
    STORE_IF_ABSENT, /* FAIL_CONFLICT when it exists; exactly one of two racing puts wins
                      */
    STORE_REPLACE,
};

struct store;

struct store_ops {
    const char *kind; /* "dir", "blob", "memory", "fault" */
    bool (*put)(struct store *store, const char *name, const uint8_t *data,
                size_t data_bytes, enum store_put_mode mode, struct err *err);
    bool (*get)(struct store *store, const char *name, uint64_t offset_bytes,
                uint8_t *data, size_t data_bytes, size_t *ret_bytes, struct err *err);
    bool (*size)(struct store *store, const char *name, uint64_t *ret_bytes,
                 struct err *err);
    bool (*list)(struct store *store, const char *prefix,
                 bool (*each)(void *ctx, const char *name, uint64_t bytes,
                              struct err *err),
                 void *ctx, struct err *err);
    bool (*remove)(struct store *store, const char *name, struct err *err);
    void (*close)(struct store *store);
    /* As store_view; NULL: its calls are over before anybody would want to stop them. */
    struct store *(*view)(struct store *store, const struct cancel *hurry);
};

struct store {
    const struct store_ops *ops;
};

/* data should be page aligned with room up to the next multiple of 4096 behind it (pool
 * buffers are): then dir writes it without a copy through the page cache. */
MUST_CHECK bool store_put(struct store *store, const char *name, const uint8_t *data,
                          size_t data_bytes, enum store_put_mode mode, struct err *err);

/* Up to data_bytes from offset; *ret_bytes is less only at the object's end. FAIL_GONE.
 */
MUST_CHECK bool store_get(struct store *store, const char *name, uint64_t offset_bytes,
                          uint8_t *data, size_t data_bytes, size_t *ret_bytes,
                          struct err *err);

/* The whole object, appended; FAIL_LIMIT when larger than max_bytes. */
MUST_CHECK bool store_get_all(struct store *store, const char *name, size_t max_bytes,
                              struct buf *ret, struct err *err);

MUST_CHECK bool store_size(struct store *store, const char *name, uint64_t *ret_bytes,
                           struct err *err);

/* Every object whose name starts with prefix (which need not end at a '/'; "" is all), in
 * ascending byte order of names; each() returning false ends the listing with its error.
 * Objects put or removed meanwhile, also by each(), may or may not show. FAIL_INPUT when
 * no name can start with prefix. */
MUST_CHECK bool store_list(struct store *store, const char *prefix,
                           bool (*each)(void *ctx, const char *name, uint64_t bytes,
                                        struct err *err),
                           void *ctx, struct err *err);

/* Not being there is success; durable. */
MUST_CHECK bool store_remove(struct store *store, const char *name, struct err *err);

/* Removes every object with that prefix (not ""). */
MUST_CHECK bool store_remove_prefix(struct store *store, const char *prefix,
                                    struct err *err);

void store_close(struct store *store);
AUTO_CLEANUP(struct store, store_close);

/*
 * The same store for somebody who may be asked to stop, so that he need not wait for an
 * outage to end: a call that runs when hurry is set ends at once with FAIL_CANCELED (and
 * may have happened, as after any failure); one that begins afterwards is tried once, for
 * a few seconds. To be closed before the store. NULL: this store needs none, use itself.
 */
MUST_CHECK struct store *store_view(struct store *store, const struct cancel *hurry);

/* FAIL_INPUT when the name breaks the rule above. */
MUST_CHECK bool store_check_name(const char *name, struct err *err);

/* FAIL_INPUT unless some name can start with it. */
MUST_CHECK bool store_check_prefix(const char *prefix, struct err *err);

/* ---- implementations ---- */

/* A folder; made when missing. Sweeps what a crash left. One process per folder: locked,
 * a second open is FAIL_CONFLICT. */
MUST_CHECK struct store *store_dir_open(const char *path, struct err *err);
MUST_CHECK struct store *store_memory_new(void);

struct store_blob_options {
    const char *url;             /* azure/blob.h: "https://ACCOUNT.blob.core.windows.net/
                                  * CONTAINER[/PREFIX]" */
    const char *credential_file; /* azure/access.h */
    uint64_t retry_for_ms;       /* how long a call is repeated; 0: 5 min */
    uint64_t retry_base_ms;      /* first pause of a repeated call; 0: 250 ms */
    enum path_role role;         /* of the account: netpath/path.h */
};
/* Block blobs of a container, which is made when missing. Checks name, credential and
 * clock. */
MUST_CHECK struct store *store_blob_open(const struct store_blob_options *options,
                                         struct err *err);

/* By address: "dir:/path", or "blob:" and store_blob_options.url. credential_file: of a
 * blob address, else NULL; role: what it is for us. FAIL_INPUT: neither. */
MUST_CHECK struct store *store_open_address(const char *address,
                                            const char *credential_file,
                                            enum path_role role, struct err *err);
/* Whether the address has a form that store_open_address takes; opens nothing. */
MUST_CHECK bool store_check_address(const char *address, struct err *err);

struct store_fault_options {
    uint64_t seed;
    uint32_t rate_per_million; /* of calls that misbehave; the same for the same seed */
    uint64_t after_calls;      /* none before that many */
    enum err_kind kind;        /* of a call that has no special behaviour chosen below;
                                * FAIL_NONE: such a call is only delayed */
    bool drop_after_ack;       /* put reports success but keeps nothing */
    bool torn_put;             /* put keeps a part and fails */
    bool corrupt_get;          /* get flips a bit */
    uint32_t delay_ms;         /* before a call that misbehaves */
    const char *trigger_path;  /* misbehave only while this file exists; NULL: always */
};
/* Wraps and takes ownership of inner. */
MUST_CHECK struct store *store_fault_new(struct store *inner,
                                         const struct store_fault_options *options);

#endif
