/* SPDX-License-Identifier: Apache-2.0 */
/* Internal to blob: the container and one call. */
#ifndef AZURE_BLOB_IMPL_H
#define AZURE_BLOB_IMPL_H

#include "azure/blob.h"
#include "http/xml.h"

struct blob_container {
    /* Set by blob_container_open, never changed. */
    struct blob_address address;
    struct azure_access access;
    struct http_endpoint *endpoint;
    struct azure_signer *signer;
    uint64_t retry_for_ms, retry_base_ms;
    const struct cancel *hurry; /* of a view; NULL: none */
    bool is_view;
    /* Atomic. */
    _Atomic bool has_no_crc64; /* it said so once */
};

struct blob_call {
    struct azure_request request;
    char what[700];
    char path[1600];
};

/* what and path for a blob of that name; the rest is the caller's. */
void blob_begin(struct blob_call *call, const struct blob_container *container,
                const char *verb, const char *name);
MUST_CHECK bool blob_send(struct blob_container *container, struct blob_call *call,
                          struct http_answer *ret, struct err *err);

/* As blob_send for a request with a body: the service checks what arrives. */
MUST_CHECK bool blob_send_checked(struct blob_container *container,
                                  struct blob_call *call, struct http_answer *ret,
                                  struct err *err);
bool blob_code_is(const struct http_answer *answer, const char *code);

/* One answer of a listing: each() is told every blob in it; exposed for fuzzing. */
struct blob_page {
    size_t prefix_bytes; /* cut from each name */
    size_t count, max;   /* told so far, at most (0: all) */
    bool (*each)(void *ctx, const char *name, uint64_t bytes, struct err *err);
    void *ctx;
    struct buf marker; /* of the next page; empty: there is none; owned */
};
MUST_CHECK bool blob_page_read(const struct http_answer *answer, struct blob_page *page,
                               struct err *err);

#endif
