/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request to an Azure service, repeated by the published rules: 408, 429, 500, 502,
 * 503, 504, a broken connection and silence, with growing, random pauses, not before the
 * service's Retry-After, until it is answered or retry_for_ms have passed. A 500 that
 * says that the service never will (FeatureNotSupported) is an answer.
 *
 * A client is used by any number of threads; a request by one.
 */
#ifndef AZURE_REQUEST_H
#define AZURE_REQUEST_H

#include "base/id.h"
#include "http/exchange.h"

#define AZURE_MAX_HEADERS 20
#define AZURE_MAX_QUERY   8
#define AZURE_VALUE_BYTES 192

struct azure_header {
    const char *name; /* literal */
    char value[AZURE_VALUE_BYTES];
    const struct secret *secret; /* borrowed for the send; appended to the value */
};

struct azure_query {
    const char *key;   /* literal */
    const char *value; /* borrowed, not encoded */
};

struct azure_request {
    const char *what;   /* "put blob 'x'", for errors; borrowed */
    const char *method; /* literal */
    const char *path;   /* encoded, no query; borrowed */
    struct azure_query query[AZURE_MAX_QUERY];
    size_t query_count;
    struct azure_header headers[AZURE_MAX_HEADERS];
    size_t header_count;
    const void *body; /* borrowed */
    size_t body_bytes;
    uint8_t *into; /* as in http_request */
    size_t into_bytes;
    const struct cancel *cancel;
    bool is_once;         /* must not be repeated when it may have taken effect */
    unsigned also_retry;  /* one more status that means "later"; 0: none */
    uint64_t deadline_ms; /* of each attempt; 0: 60 s and what its body may take */
    /* Set by azure_send. */
    bool may_have_happened; /* an attempt before the answered one may have taken effect */
    unsigned busy_answers;  /* so many attempts ended with "slow down": 429, 500, 503 */
    char client_id[ID_TEXT_BYTES]; /* x-ms-client-request-id */
    unsigned secret_mark;          /* set by the signer: which secret it used */
};

/* Both abort when there are too many; a value is never cut: it must fit (ours do). */
void azure_add_query(struct azure_request *request, const char *key, const char *value);
void azure_add_header(struct azure_request *request, const char *name, const char *fmt,
                      ...) PRINTF_LIKE(3, 4);

/* How the requests of a service prove who asks. Any thread. */
struct azure_signer {
    /* Adds headers, or text behind the URL's query (which begins without '?' or '&' and
     * is never logged), for one attempt. */
    bool (*sign)(struct azure_signer *signer, struct azure_request *attempt,
                 struct buf *query, struct err *err);
    /* After 401 or 403: true when there is another secret now than the one of that mark.
     */
    bool (*renew)(struct azure_signer *signer, unsigned secret_mark);
    /* After the attempt: drops what sign lent to it. */
    void (*forget)(struct azure_signer *signer, struct azure_request *attempt);
};

struct azure_client_options {
    struct http_endpoint *endpoint; /* borrowed */
    struct azure_signer *signer;    /* borrowed; NULL: none */
    uint64_t retry_for_ms;          /* 0: 5 min */
    uint64_t retry_base_ms;         /* first pause; 0: 250 ms */
};

/*
 * true: answered, by whatever status that is not to be repeated. Errors: as
 * http_exchange; FAIL_TRANSIENT: no useful answer within retry_for_ms (the last one's
 * text).
 */
MUST_CHECK bool azure_send(const struct azure_client_options *client,
                           struct azure_request *request, struct http_answer *ret,
                           struct err *err);

/* false with *err set from an answer that the caller did not want: kind and remedy by its
 * error code, with what, message and request ids. */
bool azure_refused(const struct azure_request *request, const struct http_answer *answer,
                   struct err *err);

/* The pause that the service asks for, at most 5 min; false: it asks for none. */
MUST_CHECK bool azure_retry_after(const struct http_answer *answer, uint64_t *ret_ms);

/* The service's error code ("BlobNotFound"), "" when there is none. */
#define AZURE_CODE_BYTES 64
void azure_error_code(const struct http_answer *answer, char ret[AZURE_CODE_BYTES]);

/* "Sun, 22 Nov 2026 08:00:00 GMT" both ways. */
#define AZURE_DATE_BYTES 32
const char *azure_date_text(uint64_t unix_s, char out[AZURE_DATE_BYTES]);
MUST_CHECK bool azure_date_parse(const char *text, uint64_t *ret_unix_s);

#endif
