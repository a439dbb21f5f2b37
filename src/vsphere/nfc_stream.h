/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TCP connection to a host's port 902, plain or under TLS, and back: what is read is
 * waited for, with a bound on silence and a cancel token. Embedded by its owner.
 *
 * Two phases. In the dialogue (authd) nothing is read ahead, so that TLS can be dropped
 * between two lines; after nfc_stream_buffer reads are gathered in a buffer.
 *
 * One thread at a time. Errors: FAIL_TRANSIENT the connection broke or fell silent;
 * FAIL_CANCELED; those of http/tls.h.
 */
#ifndef VSPHERE_NFC_STREAM_H
#define VSPHERE_NFC_STREAM_H

#include "base/cancel.h"
#include "http/tls.h"
#include "netpath/path.h"

struct nfc_stream {
    int fd; /* -1: closed */
    struct tls *tls;
    bool has_tls_failed; /* the peer was there, but TLS could not be agreed upon */
    enum path_role role; /* of the peer; set by the owner */
    const struct cancel *cancel; /* of the call in progress; set by the owner */
    uint32_t silence_ms;         /* no byte for so long: lost */
    uint64_t received_bytes;     /* above TLS */
    uint8_t *buffer;             /* NULL: dialogue */
    size_t buffer_bytes;
    size_t start; /* of what was received and not yet taken */
    size_t end;
    char peer[300]; /* "esx-01.lab:902", for errors */
};

/* *stream is zeroed by the caller but for role, cancel and silence_ms. Tries each address
 * that netpath/path.h gives for the role; never a proxy. FAIL_CONFLICT: it must be
 * private and is not, or a proxy is asked for. */
MUST_CHECK bool nfc_stream_connect(struct nfc_stream *stream, const char *host,
                                   uint16_t port, struct err *err);
/* Nothing is said to the peer. A closed or zeroed stream is fine. */
void nfc_stream_close(struct nfc_stream *stream);

MUST_CHECK bool nfc_stream_tls_start(struct nfc_stream *stream,
                                     const struct tls_options *options, struct err *err);
/* Back to plain TCP without close_notify. FAIL_CORRUPT: the peer has said something that
 * would be lost. */
MUST_CHECK bool nfc_stream_tls_drop(struct nfc_stream *stream, struct err *err);

/* From here on reads go through a buffer of that size. */
void nfc_stream_buffer(struct nfc_stream *stream, size_t buffer_bytes);

/* A line up to LF, without CR and LF, NUL added. FAIL_CORRUPT: longer than the room. */
MUST_CHECK bool nfc_stream_read_line(struct nfc_stream *stream, char *out,
                                     size_t out_bytes, struct err *err);
/* All of it. */
MUST_CHECK bool nfc_stream_write(struct nfc_stream *stream, const void *data,
                                 size_t data_bytes, struct err *err);
MUST_CHECK bool nfc_stream_read(struct nfc_stream *stream, void *out, size_t out_bytes,
                                struct err *err);
/* The next bytes where they lie in the buffer, until the next call. data_bytes must fit
 * the buffer. NULL with *err. */
MUST_CHECK const uint8_t *nfc_stream_borrow(struct nfc_stream *stream, size_t data_bytes,
                                            struct err *err);

enum nfc_wake {
    NFC_WAKE_DATA,    /* something can be read (or the connection ended) */
    NFC_WAKE_OTHER,   /* other_fd is readable */
    NFC_WAKE_TIMEOUT, /* neither in timeout_ms */
    NFC_WAKE_CANCEL,  /* *err set: FAIL_CANCELED (or FAIL_IO from poll) */
};
/* Waits between messages. other_fd: -1 none. */
MUST_CHECK enum nfc_wake nfc_stream_wait(struct nfc_stream *stream, int other_fd,
                                         uint64_t timeout_ms, struct err *err);

#endif
