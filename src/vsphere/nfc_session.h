/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One disk opened over one connection: ticket, authd, classic handshake, AIO session,
 * OPEN_FILE. A session is used up by its first failure; a lane makes the next one.
 * One thread at a time.
 */
#ifndef VSPHERE_NFC_SESSION_H
#define VSPHERE_NFC_SESSION_H

#include "vsphere/nfc_authd.h"
#include "vsphere/nfc_frame.h"

#define NFC_LIB_VERSION_UNKNOWN UINT32_MAX

/* What is read and how to get there. Set by its owner, never changed, shared by lanes. */
struct nfc_target {
    /* A fresh ticket; any thread. */
    bool (*ticket)(void *arg, const struct cancel *cancel, struct vim_ticket *ret,
                   struct err *err);
    void *arg;
    const char *default_host; /* when the ticket names none */
    uint32_t lib_version;     /* of the host; or NFC_LIB_VERSION_UNKNOWN */
    bool is_plain;            /* nbd instead of nbdssl */
    uint32_t silence_ms;      /* 0: 30 s */
    struct nfc_quirks quirks;
};

/* What one session found out that the next one needs not find out again. */
struct nfc_learned {
    bool handshake_flipped; /* message 43 the other way than planned */
    bool small_buffers;     /* 64 KiB, one */
    bool legacy_tls;
};

struct nfc_session {
    struct nfc_stream stream;
    uint32_t next_op_id;
    uint64_t handle;
    uint64_t disk_bytes;
    char host[256]; /* that was dialled */
};

struct nfc_session_options {
    const struct nfc_target *target;
    const char *file_name; /* "[datastore] dir/name.vmdk" */
    uint64_t disk_bytes;   /* what the host must say too */
    size_t buffer_bytes;   /* of the stream */
};

/*
 * Opens it, with one more connection for each thing learned on the way. FAIL_CONFLICT the
 * disk has another size, or sectors that are not 512 bytes; FAIL_NO_SPACE the host's NFC
 * memory is used up; FAIL_GONE, FAIL_AUTH from the ticket; FAIL_IO, FAIL_AUTH,
 * FAIL_CONFLICT the host refused the file, with what it said; those of nfc_authd.h.
 * On failure nothing is open.
 */
MUST_CHECK bool nfc_session_open(const struct nfc_session_options *options,
                                 struct nfc_learned *learned, const struct cancel *cancel,
                                 struct nfc_session *ret, struct err *err);

/* Polite (CLOSE_FILE, CLOSE_SESSION, good-bye) when nothing is in flight and the
 * connection is sound; waits at most a second for the answers. A closed one is fine. */
void nfc_session_close(struct nfc_session *session, bool politely);

/* Reads one header; its payload (at most NFC_PAYLOAD_MAX_BYTES) is borrowed. */
MUST_CHECK bool nfc_session_receive(struct nfc_session *session, struct nfc_header *ret,
                                    const uint8_t **ret_payload, struct err *err);

/* *err from an ERROR message. Always false. */
bool nfc_session_refused(const struct nfc_target *target, const char *operation,
                         const struct nfc_header *header, const uint8_t *payload,
                         struct err *err);

#endif
