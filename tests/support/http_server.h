/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP/1.1 server in threads for tests: TLS or not, port or Unix socket, answers
 * by a callback that may also misbehave; a CONNECT proxy; and certificates made on the
 * spot. Everything on 127.0.0.1. Failures of the server itself abort the test program.
 */
#ifndef SUPPORT_HTTP_SERVER_H
#define SUPPORT_HTTP_SERVER_H

#include "base/buf.h"

struct served_request {
    char method[16];
    char path[4096]; /* with the query */
    struct buf headers;
    struct buf body;
    unsigned connection; /* 1 for the server's first one */
};
/* The value in place; false: no such header. */
bool served_header(const struct served_request *request, const char *name, char *out,
                   size_t out_bytes);

enum served_manner {
    SERVE_WHOLE,
    SERVE_CLOSE_AFTER, /* whole, then closes without having said so */
    SERVE_HALF_STALL,  /* half of the body, then silence */
    SERVE_HALF_CLOSE,  /* half of the body, then the end */
    SERVE_SILENCE,     /* no byte */
    SERVE_NOTHING,     /* closes without an answer */
    SERVE_RESET,       /* as SERVE_NOTHING, with a reset */
};

struct served_reply {
    unsigned status; /* 200 unless set */
    enum served_manner manner;
    struct buf headers; /* lines with "\r\n"; Content-Length is added */
    struct buf body;
};

/* Called by several threads at once. */
typedef void (*http_server_handler)(void *ctx, const struct served_request *request,
                                    struct served_reply *reply);

struct http_server_options {
    http_server_handler handler; /* NULL: a CONNECT proxy */
    void *ctx;
    const char *cert_file;   /* PEM with certificate and key; NULL: no TLS */
    const char *client_ca;   /* clients must show a certificate of it; NULL */
    const char *socket_path; /* NULL: a port */
    unsigned port;           /* 0: a free one */
    const char *proxy_basic; /* base64 that a proxy's client must send; NULL: none */
    unsigned proxy_status;   /* a proxy's answer to everything; 0: it does its work */
    bool only_tls11;
};

struct http_server;
struct http_server *http_server_start(const struct http_server_options *options);
void http_server_stop(struct http_server *server); /* ends the connections too */
unsigned http_server_port(const struct http_server *server);
unsigned http_server_connections(struct http_server *server); /* taken so far */

/* ---- certificates: PEM files in dir, removed by the caller ---- */

/* "ca.pem", and with key and signed by it: "good.pem" (127.0.0.1, localhost, for
 * *.kedge.test too), "wrong_name.pem" (other.test only), "expired.pem", "client.pem";
 * "self.pem" is signed by itself. */
void test_certs_make(const char *dir);

#endif
