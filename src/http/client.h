/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One JSON call over HTTP, to a Unix socket or a URL, on a connection that is kept.
 *
 * An answer of 2xx is the result. Any other answer becomes *err: kind and text from its
 * body {"error": {"kind", "text"}} when it has one, else from the HTTP status. The token
 * never reaches a log, an error text or another host: redirects are refused.
 * One thread at a time per client.
 */
#ifndef HTTP_CLIENT_H
#define HTTP_CLIENT_H

#include "base/cancel.h"
#include "base/secret.h"
#include "http/json.h"

struct http_client;

struct http_client_options {
    const char *socket_path; /* Unix socket; NULL: use url */
    const char *url;         /* "http://127.0.0.1:8440", no path; with a socket: NULL */
    const struct secret
        *token;              /* bearer token, borrowed for the client's life; or NULL */
    const char *ca_file;     /* instead of the system's certificates; or NULL */
    size_t max_answer_bytes; /* 0: JSON_MAX_BYTES */
};

/* FAIL_INPUT: neither or both of socket and url, a scheme that is not http or https, or a
 * path longer than a socket address holds. Does not connect yet. */
MUST_CHECK struct http_client *http_client_open(const struct http_client_options *options,
                                                struct err *err);
void http_client_close(struct http_client *client);
AUTO_CLEANUP(struct http_client, http_client_close);

struct http_call {
    const char *method; /* "GET", "POST", "PUT", "DELETE" */
    const char *path;   /* from http_path_add and http_query_add: already encoded */
    const json_t *body; /* NULL: none */
    const char *idempotency_key; /* NULL: none */
    uint64_t deadline_ms;        /* from now, for the whole call; 0: 30 s */
    const struct cancel *cancel; /* or NULL */
};

/*
 * The answer's JSON; the caller drops it. Errors: FAIL_TRANSIENT nobody answers, or past
 * the deadline; FAIL_LIMIT answer too large; FAIL_CORRUPT answer is not JSON;
 * FAIL_CANCELED; else what the server said.
 */
MUST_CHECK json_t *http_call(struct http_client *client, const struct http_call *call,
                             struct err *err);

/* Appends "/" and the segment, percent-encoded. Pure. */
void http_path_add(struct buf *path, const char *segment);
/* Appends "?key=value" or "&key=value", the value percent-encoded. Pure. */
void http_query_add(struct buf *path, const char *key, const char *value);

/* false with *err set from an answer's status and body; exposed for tests. */
bool http_error_from_answer(long status, const char *body, size_t body_bytes,
                            struct err *err);

#endif
