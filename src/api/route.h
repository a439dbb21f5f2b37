/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The route table: the one place that says which calls exist. Dispatch, the OpenAPI
 * document and doc/api.md are made from it.
 */
#ifndef API_ROUTE_H
#define API_ROUTE_H

#include "api/views.h"
#include "base/cancel.h"

#define API_MAX_PARAMS  2
#define API_PARAM_BYTES 256

struct api_request;
struct vault;

/* What a handler works with. */
struct api_context {
    struct vault *vault;                /* NULL: the daemon has only the applier role */
    json_t *(*applier_view)(void *ctx); /* NULL: it has others */
    void *applier_ctx;
    const struct cancel *cancel; /* set when the daemon stops: long polls end */
    _Atomic uint32_t *waiters;   /* long polls now */
};

typedef json_t *(*api_handler)(const struct api_context *context,
                               const struct api_request *request, struct err *err);

struct api_route {
    const char *method;
    const char *pattern; /* "/v1/jobs/{job}" */
    const char *id;      /* operationId */
    api_handler handler;
    const char *summary;
    enum api_body body;
    const struct api_field *query; /* NULL: none */
    enum api_view answer;
    int status;         /* of success */
    const char *errors; /* kinds beyond auth, input and limit: "gone conflict" */
    bool is_idempotent_by_key;
    bool needs_no_vault;
};

/* All routes; a NULL method ends the list. */
const struct api_route *api_routes(void);

struct api_match {
    const struct api_route *route;
    size_t param_count;
    char params[API_MAX_PARAMS][API_PARAM_BYTES]; /* decoded, in pattern order */
    char allowed[64]; /* "GET, POST" when only the method was wrong, else "" */
};

/* path: as on the wire, without the query. FAIL_GONE: no such path; FAIL_INPUT: wrong
 * method (ret->allowed says which are right), or bad encoding. ret is set in any case.
 * Pure. */
MUST_CHECK bool api_route_match(const char *method, const char *path,
                                struct api_match *ret, struct err *err);

/* Percent-decodes; FAIL_INPUT: not valid, NUL, not UTF-8, or longer than out. Pure. */
MUST_CHECK bool api_decode(const char *text, size_t text_bytes, char *out,
                           size_t out_bytes, struct err *err);

struct api_request {
    const struct api_match *match;
    const json_t *query;         /* object of texts and numbers, checked; never NULL */
    const json_t *body;          /* checked; NULL only for routes without one */
    const char *idempotency_key; /* or NULL */
};

/* ---- made from the table ---- */
MUST_CHECK json_t *api_openapi(void);
/* doc/api.md */
void api_print_docs(struct buf *out);

#endif
