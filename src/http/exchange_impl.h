/* SPDX-License-Identifier: Apache-2.0 */
/* Internal to exchange: an endpoint and its connections. */
#ifndef HTTP_EXCHANGE_IMPL_H
#define HTTP_EXCHANGE_IMPL_H

#include "http/exchange.h"
#include "http/peer.h"

#include <curl/curl.h>
#include <openssl/x509.h>

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
    struct http_peer *facts;    /* of a probe: filled by peer_note; borrowed; NULL */
    struct path_choice choice;  /* of the exchange; empty with a Unix socket */
    struct curl_slist *resolve; /* its addresses, as libcurl takes them */
    struct err refused;         /* the connection is not where it must be */
    char connected[64];         /* the kept connection's address; "" none, or a proxy's */
    char detail[CURL_ERROR_SIZE];
    int sockets[SLOT_MAX_SOCKETS]; /* open ones (several while connecting); -1: none */
};

struct http_endpoint {
    /* Set by http_endpoint_open, never changed. */
    char *url;     /* no '/' at the end */
    char *host;    /* of it */
    unsigned port; /* of it */
    enum path_role role;
    char *socket_path, *ca_file, *client_cert_file;
    char *proxy_url; /* with the user; NULL: by the rules */
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

/* Connects and says nothing; for a probe. true: connected. */
MUST_CHECK bool slot_probe(struct slot *slot, const struct cancel *cancel,
                           struct err *err);
/* The facts of the certificate that a probe is shown; in the midst of its handshake. */
void peer_note(struct slot *slot, X509_STORE_CTX *store);
/* Where its socket led to, if anywhere; before it is closed. */
void peer_note_socket(struct http_peer *peer, int fd);

/* The way of the next exchange, asked for and set; nothing is sent when it fails. */
MUST_CHECK bool slot_choose_way(struct slot *slot, const struct cancel *cancel,
                                struct err *err);
/* The kind that a refusal of netpath has for the caller of an exchange; false. */
bool way_refused(struct err *err);
/* What was seen is noted; err NULL: there was an answer. */
void slot_observe_way(struct slot *slot, uint64_t latency_ms, const struct err *err);
/* The choice is let go; slot_free does it, too. */
void slot_end_way(struct slot *slot);

/* What to call the other side in a text. */
const char *endpoint_name(const struct http_endpoint *endpoint);

/* false with *err set from what libcurl made of it. */
bool slot_explain(struct slot *slot, CURLcode code, struct err *err);

#endif
