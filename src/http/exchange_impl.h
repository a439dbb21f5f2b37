/* SPDX-License-Identifier: Apache-2.0 */
/* Internal to exchange: an endpoint and its connections. */
#ifndef HTTP_EXCHANGE_IMPL_H
#define HTTP_EXCHANGE_IMPL_H

#include "http/exchange.h"

#include <curl/curl.h>

/* Any option refused means another libcurl than the one we were built for. */
#define CURL_SET(curl, option, value)                                                    \
    do {                                                                                 \
        if (curl_easy_setopt(curl, option, value) != CURLE_OK)                           \
            abort();                                                                     \
    } while (0)

#define SLOT_MAX_SOCKETS 4

/* One connection at most, kept between exchanges. One thread at a time. */
struct slot {
    struct http_endpoint *endpoint;
    CURLM *multi;
    CURL *curl;
    struct slot *next; /* in endpoint->idle */
    bool is_probe;     /* only the fingerprint is asked for: any certificate is taken */
    bool has_peer;     /* peer holds the certificate that the last handshake showed */
    bool has_wrong_pin;
    uint8_t peer[HTTP_PIN_BYTES];
    char detail[CURL_ERROR_SIZE];
    int sockets[SLOT_MAX_SOCKETS]; /* open ones (several while connecting); -1: none */
};

struct http_endpoint {
    /* Set by http_endpoint_open, never changed. */
    char *url; /* no '/' at the end */
    char *socket_path, *ca_file, *client_cert_file;
    char *proxy_url, *proxy_user; /* the URL without the user */
    const struct secret *proxy_password;
    bool is_tls;
    bool has_pin;
    uint8_t pin[HTTP_PIN_BYTES];
    size_t max_idle;
    uint64_t connect_deadline_ms;
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct slot *idle; /* last used first: its connection is the likeliest to live */
    size_t idle_count;
};

/* An idle slot or a new one, with everything set that holds for each exchange. */
MUST_CHECK struct slot *slot_take(struct http_endpoint *endpoint);
/* One that takes any certificate, to look at it; only slot_free ends it. */
MUST_CHECK struct slot *slot_new_probe(struct http_endpoint *endpoint);
/* Back to the idle ones, or freed when there are enough. */
void slot_give(struct slot *slot);
void slot_free(struct slot *slot);

/* What to call the other side in a text. */
const char *endpoint_name(const struct http_endpoint *endpoint);

/* false with *err set from what libcurl made of it. */
bool slot_explain(struct slot *slot, CURLcode code, struct err *err);

#endif
