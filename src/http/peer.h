/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the other side shows before a word is said to it: how far a connection gets (TCP,
 * the proxy's tunnel, TLS) and the facts of its certificate, trusted or not. For people
 * and the doctor; connections that carry data go through http/exchange.h, which refuses
 * what is only described here.
 */
#ifndef HTTP_PEER_H
#define HTTP_PEER_H

#include "http/exchange.h"

enum http_reach {
    REACH_NOTHING, /* no TCP connection, neither to the host nor to the proxy */
    REACH_TCP,     /* to the proxy when there is one, else to the host */
    REACH_HOST,    /* the host's own port answers, through the proxy or directly */
    REACH_TLS,     /* the handshake is done */
};

#define HTTP_PEER_TEXT_BYTES 200

struct http_peer {
    enum http_reach reach;
    unsigned proxy_status; /* of the answer to CONNECT; 0: none was asked for */
    char address[64];      /* connected to: the proxy's when there is one; "" none */
    uint64_t tcp_ms;       /* name and TCP connection, from the start */
    uint64_t tls_ms;       /* all of it */
    /* From here on only when has_certificate. */
    bool has_certificate;
    char protocol[16]; /* "TLSv1.3" */
    char subject[HTTP_PEER_TEXT_BYTES], issuer[HTTP_PEER_TEXT_BYTES];
    char names[HTTP_PEER_TEXT_BYTES]; /* that it is for, ", " between; cut */
    uint64_t valid_from_unix_s, valid_until_unix_s;
    bool name_matches;
    bool is_trusted;                    /* by its chain, or the pin; age and name aside */
    char problem[HTTP_PEER_TEXT_BYTES]; /* why it is not; "" */
    uint8_t sha256[HTTP_PIN_BYTES];
};

struct http_peer_options {
    bool take_old; /* TLS 1.0 and 1.1 too: only to name what a server speaks */
    const struct cancel *cancel;
};

/*
 * Connects as an exchange would, takes any certificate, and hangs up. true: TLS (or for
 * http:// the connection) was made. false as http_exchange; *ret is set in any case and
 * says how far it got.
 */
MUST_CHECK bool http_endpoint_peer(struct http_endpoint *endpoint,
                                   const struct http_peer_options *options,
                                   struct http_peer *ret, struct err *err);

#endif
