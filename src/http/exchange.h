/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP exchange with one endpoint: bytes out, status, headers and bytes back. What
 * the bytes mean (JSON, XML, blobs) and what an answer other than 2xx means is the
 * caller's. No retries here: whoever knows what may be repeated repeats it.
 *
 * An endpoint keeps idle connections (at most max_idle) and is used by any number of
 * threads at once; each exchange has a connection of its own meanwhile. TLS is 1.2 or
 * later and always verified: by the system's or the given certificates and the host
 * name, or, when a pin is given, by the SHA-256 fingerprint of the server's certificate
 * alone. Redirects are never followed, the environment's proxies never used.
 *
 * The way (proxy or direct, addresses) is what netpath/path.h says for the endpoint's
 * role at the time of each exchange; a kept connection that is not on that way any more
 * is not used again. A Unix socket has no way.
 */
#ifndef HTTP_EXCHANGE_H
#define HTTP_EXCHANGE_H

#include "base/buf.h"
#include "base/cancel.h"
#include "base/secret.h"
#include "netpath/path.h"

struct http_endpoint;

#define HTTP_PIN_BYTES 32 /* SHA-256 of the certificate's DER form */

struct http_endpoint_options {
    const char *url;         /* "https://host:port" or "http://...", no path */
    const char *socket_path; /* Unix socket instead of url's host; NULL: none */
    const char *ca_file;     /* PEM, instead of the system's certificates; NULL */
    const uint8_t *pin;      /* HTTP_PIN_BYTES, instead of chain and name; NULL */
    enum path_role role;     /* decides the way: proxy or direct, to which addresses */
    const char *proxy_url;   /* "http://[user@]host:port", CONNECT: instead of the rules'
                              * (netpath/path.h); NULL: by the rules */
    const struct secret *proxy_password; /* borrowed for the endpoint's life; NULL */
    const char *client_cert_file;        /* PEM with certificate and key; NULL */
    size_t max_idle;                     /* kept connections; 0: 8 */
    uint64_t connect_deadline_ms;        /* 0: 10 s */
};

/* FAIL_INPUT: a URL that is not http or https, or has a path, a user or a query. Does not
 * connect yet. */
MUST_CHECK struct http_endpoint *http_endpoint_open(
    const struct http_endpoint_options *options, struct err *err);
void http_endpoint_close(struct http_endpoint *endpoint); /* no exchange runs any more */
AUTO_CLEANUP(struct http_endpoint, http_endpoint_close);

struct http_header {
    const char *name;
    const char *value;
    const struct secret *secret; /* appended to value and wiped afterwards; or NULL */
};

struct http_request {
    const char *method;
    const char *path; /* begins with "/", encoded, query included */
    const struct http_header *headers;
    size_t header_count;
    const void *body; /* NULL with body_bytes 0: none */
    size_t body_bytes;
    uint8_t *into;     /* an answer of 2xx lands here instead of answer->body; or NULL */
    size_t into_bytes; /* room there; a longer answer is FAIL_LIMIT */
    size_t max_answer_bytes;     /* 0: 16 MiB */
    uint64_t deadline_ms;        /* from now, for the whole exchange; 0: 60 s */
    uint64_t stall_ms;           /* no byte for so long: FAIL_TRANSIENT; 0: 30 s */
    const struct cancel *cancel; /* or NULL */
};

struct http_answer {
    unsigned status;
    struct buf headers;  /* raw lines */
    struct buf body;     /* empty when it went to request->into */
    size_t into_bytes;   /* landed in request->into */
    uint64_t latency_ms; /* to the first byte of the answer */
    char address[64];    /* the peer's address as connected, "10.0.0.4:443" */
};
void http_answer_release(struct http_answer *answer);
static inline void auto_http_answer_release(struct http_answer *answer)
{
    http_answer_release(answer);
}
/* First header of that name (any case) copied to out; false: there is none or it does not
 * fit. */
MUST_CHECK bool http_answer_header(const struct http_answer *answer, const char *name,
                                   char *out, size_t out_bytes);

/*
 * true: there is an answer, whatever its status. false: none. FAIL_TRANSIENT nobody
 * answers, the connection broke, past a deadline; FAIL_AUTH certificate not trusted or
 * not the pinned one (the text has its fingerprint), no TLS 1.2, proxy wants credentials;
 * FAIL_LIMIT answer too large; FAIL_INPUT no TLS on that port, a certificate file cannot
 * be read, a path or header that is not encoded; FAIL_CANCELED. What path_choose
 * refuses (no such name, an address that must be private and is not) is FAIL_TRANSIENT
 * with its text, and nothing was sent. *ret is released by the caller only when true.
 * What was sent of a body is never sent again.
 */
MUST_CHECK bool http_exchange(struct http_endpoint *endpoint,
                              const struct http_request *request, struct http_answer *ret,
                              struct err *err);

/* SHA-256 fingerprint of the certificate that the endpoint shows, trusted or not: to be
 * shown to a person. Sends nothing. */
MUST_CHECK bool http_endpoint_fingerprint(struct http_endpoint *endpoint,
                                          uint8_t ret_pin[HTTP_PIN_BYTES],
                                          struct err *err);
/* "AB:CD:..." (95 characters) both ways; FAIL_INPUT names what is wrong. Colons may be
 * left out. */
#define HTTP_PIN_TEXT_BYTES 96
const char *http_pin_text(const uint8_t pin[HTTP_PIN_BYTES],
                          char out[HTTP_PIN_TEXT_BYTES]);
MUST_CHECK bool http_pin_parse(const char *text, uint8_t ret_pin[HTTP_PIN_BYTES],
                               struct err *err);

#endif
