/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dialogue with authd on port 902: from a ticket to a connection on which the NFC
 * service listens. Trust: the ticket came over the verified vim25 session and names the
 * certificate; nothing of the ticket is said before TLS shows exactly that certificate.
 */
#ifndef VSPHERE_NFC_AUTHD_H
#define VSPHERE_NFC_AUTHD_H

#include "vsphere/nfc_quirks.h"
#include "vsphere/nfc_stream.h"
#include "vsphere/vim_access.h"

struct nfc_authd_options {
    const struct vim_ticket *ticket;
    const char *default_host; /* dialled when the ticket names none */
    const struct nfc_quirks *quirks;
    bool is_plain;  /* nbd: NFC bytes unencrypted on the wire; else nbdssl */
    bool is_legacy; /* TLS at security level 1 */
};

/*
 * On success *stream is ready for the first NFC byte, in its buffered phase (with
 * buffer_bytes). On failure it is closed. Errors: FAIL_AUTH another certificate than the
 * ticket's, or a handshake refused; FAIL_TRANSIENT nobody there, or authd refused (its
 * line is in the text: a spent or expired ticket looks like that); FAIL_CORRUPT this is
 * not authd.
 */
MUST_CHECK bool nfc_authd_connect(const struct nfc_authd_options *options,
                                  struct nfc_stream *stream, size_t buffer_bytes,
                                  struct err *err);

/* "AA:BB:.." or "aabb..", blanks too; exactly bytes. Pure; for tests. */
MUST_CHECK bool nfc_thumbprint_parse(const char *text, uint8_t *ret, size_t bytes);

#endif
