/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS 1.2 or later, client side, over a connected socket that stays the caller's: for
 * protocols that are not HTTP (curl does TLS for those). Nothing here blocks or waits:
 * each step says what the socket must be ready for.
 *
 * Trust is by the peer's certificate alone, as a ticket or a person named it: the caller
 * takes the fingerprints after the handshake and compares them before it says a word.
 * Chain, name and age are looked at only with verified_name.
 *
 * One thread at a time.
 */
#ifndef HTTP_TLS_H
#define HTTP_TLS_H

#include "base/err.h"

struct tls;

struct tls_options {
    const char *server_name; /* SNI; left out when it is an address; NULL: none */
    bool read_ahead; /* fewer system calls; never for a stream that is abandoned */
    bool legacy;     /* security level 1: ESXi 6.5 and 6.7 sign with SHA-1 */
    const char *verified_name; /* chain and this name or address must be right; NULL */
    const char *ca_file;       /* for that, instead of the system's; NULL */
};

/* fd is borrowed until tls_free, non-blocking. Sends nothing yet. */
MUST_CHECK struct tls *tls_new(int fd, const struct tls_options *options,
                               struct err *err);

/* Forgets the stream without a word to the peer (no close_notify); the socket stays open
 * and usable. NULL is fine. */
void tls_free(struct tls *tls);
AUTO_CLEANUP(struct tls, tls_free);

enum tls_step {
    TLS_DONE,
    TLS_WANT_READ,  /* again when the socket is readable */
    TLS_WANT_WRITE, /* again when it is writable */
    TLS_ENDED,      /* the peer closed the connection, politely or not */
    TLS_FAILED,     /* *err set: FAIL_CORRUPT not TLS or damaged, FAIL_AUTH handshake
                     * refused, FAIL_TRANSIENT the socket failed */
};

MUST_CHECK enum tls_step tls_handshake(struct tls *tls, struct err *err);

/* TLS_DONE: 1 .. data_bytes were read or written. data_bytes >= 1. A write that was not
 * done is asked again with the same bytes. */
MUST_CHECK enum tls_step tls_read(struct tls *tls, void *data, size_t data_bytes,
                                  size_t *ret_bytes, struct err *err);
MUST_CHECK enum tls_step tls_write(struct tls *tls, const void *data, size_t data_bytes,
                                   size_t *ret_bytes, struct err *err);

/* Bytes were received that tls_read has not given yet: they are lost by tls_free. */
bool tls_has_pending(const struct tls *tls);

#define TLS_SHA1_BYTES   20
#define TLS_SHA256_BYTES 32
struct tls_peer {
    uint8_t sha1[TLS_SHA1_BYTES]; /* of the certificate's DER form */
    uint8_t sha256[TLS_SHA256_BYTES];
};
/* After the handshake. */
MUST_CHECK bool tls_peer_get(const struct tls *tls, struct tls_peer *ret,
                             struct err *err);

#endif
