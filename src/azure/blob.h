/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block blobs of one container, or of the part of it below a prefix. Names are
 * [A-Za-z0-9._/-] (the caller checks). Any thread, several at once.
 *
 * Every call is repeated by the rules of azure/request.h and is safe to repeat. Errors
 * besides those: FAIL_AUTH credentials or permissions; FAIL_INPUT the account has a
 * hierarchical namespace, which orders and keeps names in another way.
 */
#ifndef AZURE_BLOB_H
#define AZURE_BLOB_H

#include "azure/signer.h"

#define BLOB_NAME_MAX  1024
#define BLOB_BLOCK_MAX (4000 * MIB) /* of one request's body */

struct blob_container;

struct blob_container_options {
    const char *address; /* "https://ACCOUNT.blob.core.windows.net/CONTAINER[/PREFIX]";
                          * with an IP address or localhost: "https://127.0.0.1:10000/
                          * ACCOUNT/CONTAINER[/PREFIX]" */
    const char *access_file; /* azure/access.h */
    uint64_t retry_for_ms;   /* as of azure_client_options */
    uint64_t retry_base_ms;
    size_t max_idle;     /* connections kept; 0: 8 */
    enum path_role role; /* of its endpoint */
};

/* Makes the container when it is not there; tries for 15 s. FAIL_INPUT: the address or
 * the file. */
MUST_CHECK struct blob_container *blob_container_open(
    const struct blob_container_options *options, struct err *err);
void blob_container_close(struct blob_container *container);
AUTO_CLEANUP(struct blob_container, blob_container_close);

/*
 * The same container for somebody who may be asked to stop: a call that runs when hurry
 * is set ends at once with FAIL_CANCELED, and may have happened; one that begins
 * afterwards is tried once, for a few seconds, so that he can still tidy up. Closed
 * before the container; both borrowed.
 */
MUST_CHECK struct blob_container *blob_container_view(struct blob_container *container,
                                                      const struct cancel *hurry);

struct blob_data {
    const void *data;
    size_t bytes;
};

/* A whole blob. is_new: FAIL_CONFLICT when one is there that is not this put's own. */
MUST_CHECK bool blob_put(struct blob_container *container, const char *name,
                         struct blob_data data, bool is_new, struct err *err);

/* A large blob in pieces: put_id is random, the same for all pieces of one put; nothing
 * shows before blob_put_list, which names pieces 0 .. count-1. */
MUST_CHECK bool blob_put_block(struct blob_container *container, const char *name,
                               const struct id *put_id, uint32_t index,
                               struct blob_data data, struct err *err);
MUST_CHECK bool blob_put_list(struct blob_container *container, const char *name,
                              const struct id *put_id, uint32_t count, bool is_new,
                              struct err *err);

/* From offset; *ret_bytes is less than data_bytes at the blob's end only. FAIL_GONE. One
 * request, so of one version of the blob. */
MUST_CHECK bool blob_get(struct blob_container *container, const char *name,
                         uint64_t offset_bytes, uint8_t *data, size_t data_bytes,
                         size_t *ret_bytes, struct err *err);
MUST_CHECK bool blob_size(struct blob_container *container, const char *name,
                          uint64_t *ret_bytes, struct err *err);
/* Not being there is success. */
MUST_CHECK bool blob_remove(struct blob_container *container, const char *name,
                            struct err *err);

struct blob_list_options {
    const char *prefix;
    size_t max;     /* stop after so many; 0: all */
    bool by_folder; /* names end behind the first '/' after the prefix, once each, 0 bytes
                     */
};
/* In ascending byte order of names; each() returning false ends it with its error. */
MUST_CHECK bool blob_list(struct blob_container *container,
                          const struct blob_list_options *options,
                          bool (*each)(void *ctx, const char *name, uint64_t bytes,
                                       struct err *err),
                          void *ctx, struct err *err);

/* What the address says; exposed for tests. Texts are cut to their size: FAIL_INPUT. */
struct blob_address {
    char origin[300]; /* "https://host:port" */
    char account[64]; /* 3..24 of [a-z0-9] (an emulator's may be longer) */
    char root[400];   /* "/container" or "/account/container" */
    char prefix[513]; /* "", or ends with '/' */
    char host[256];
};
MUST_CHECK bool blob_address_parse(const char *text, struct blob_address *ret,
                                   struct err *err);

#endif
