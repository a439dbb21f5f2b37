/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nobody outside VMware knows for sure about the NFC service, one switch each. The
 * protocol was gathered from public notes about ESXi 7.0.3, 8.0.1 and 8.0.3, not from a
 * specification; where two notes differ, or nothing was ever seen, the client does what
 * the default here says and tells so once (event nfc_unproven), so that a report from a
 * real host settles it. Source of every entry: the documentation of
 * cloudbase/OpenVixDiskLib ("O") and of vatesfr/xen-orchestra vectura ("V").
 *
 *   switch              default   what is not proven
 *   handshake           AUTO      message 43: O leaves it out below library version 11,
 *                                 V sends it to 7.0.3; AUTO follows O, the other way when
 *                                 refused
 *   needs_version_flag  true      36@16 is 1 on ESXi 8; 0 is taken for "no AIO here"
 *   data_min_version    3         server version from which 54 and 55 may be sent
 *   client_name         kedge     free text in V, "vddk" in O
 *   features            3         O saw 3; 0 or 1 might keep host-switch messages away
 *   buffer_bytes/count  64 KiB/4  sizes other than 64 KiB and 2 MiB; what count bounds
 *   session_options     true      whether SET_SOCK_OPTS, SET_RES_POOL may be left out
 *   max_in_flight       16        V reads 16 (at most 32) at once, O one at a time
 *   compression         SKIPZ     the cheapest for the host in V
 *   io_reply_min_bytes  44        O takes 36 and more
 *   needs_sha2_match    false     THUMBPRINT_SHA2's answer is the certificate's (V)
 *   tls2_by_sha2        false     TLS#2 may show the certificate of that answer instead
 *   legacy_tls          true      a failed handshake is tried again at security level 1
 *                                 (O: ESXi 6.5 and 6.7)
 *   error_code_at       0         where in ERROR's payload its code stands
 *   path_escape         false     '%' and non-ASCII in a path: verbatim, or as %XX
 */
#ifndef VSPHERE_NFC_QUIRKS_H
#define VSPHERE_NFC_QUIRKS_H

#include "base/defs.h"

/* As on the wire. */
enum nfc_compression {
    NFC_STORED = 0,
    NFC_ZLIB = 1,
    NFC_FASTLZ = 2,
    NFC_SKIPZ = 3,
};
const char *nfc_compression_name(enum nfc_compression compression);

enum nfc_choice { NFC_AUTO, NFC_ALWAYS, NFC_NEVER };

#define NFC_IN_FLIGHT_MAX 32

struct nfc_quirks {
    enum nfc_choice handshake;
    bool needs_version_flag;
    uint32_t data_min_version;
    const char *client_name;
    uint32_t features;
    uint32_t buffer_bytes;
    uint32_t buffer_count;
    bool session_options;
    uint32_t max_in_flight; /* 1 .. NFC_IN_FLIGHT_MAX */
    enum nfc_compression compression;
    uint32_t io_reply_min_bytes; /* 36 .. 44 */
    bool needs_sha2_match;
    bool tls2_by_sha2;
    bool legacy_tls;
    uint32_t error_code_at;
    bool path_escape;
};

/* The defaults of the table above. */
struct nfc_quirks nfc_quirks_default(void);

/* Things met that the notes leave open. */
enum nfc_unproven {
    NFC_MET_HANDSHAKE_ORDER, /* the handshake went the other way */
    NFC_MET_VERSION_FLAG,    /* 36@16 neither 0 nor 1, or 0 and gone on */
    NFC_MET_SERVER_VERSION,  /* 51 answered with another version than 11 */
    NFC_MET_LIB_VERSION,     /* the host's library version is not one of 7 and 11 */
    NFC_MET_BUFFER_REFUSED,  /* OPEN_SESSION refused, went on with small buffers */
    NFC_MET_PIPELINING,      /* a host answered with several reads in flight */
    NFC_MET_INTERLEAVED,     /* fragments of several reads took turns */
    NFC_MET_OUT_OF_ORDER,    /* fragments of one read out of order */
    NFC_MET_SHORT_IO_REPLY,  /* payload between 36 and 43 bytes taken */
    NFC_MET_SHA2_DIFFERS,    /* THUMBPRINT_SHA2's answer is not TLS#1's certificate */
    NFC_MET_TLS2_BY_SHA2,    /* TLS#2 was accepted by that answer */
    NFC_MET_LEGACY_TLS,      /* security level 1 was needed */
    NFC_MET_AUTHD_REFUSAL,   /* a refusal of authd that is in no note */
    NFC_MET_ERROR_PAYLOAD,   /* an ERROR; its bytes are in the event */
    NFC_MET_UNKNOWN_MESSAGE, /* a type that no note has (host switch?) */
    NFC_MET_IDLE_LOSS,       /* the connection ended while nothing was asked */
    NFC_MET_OUT_OF_MEMORY,   /* how the host said so is in the event */
    NFC_MET_COUNT
};
/* Logs the first of each kind in the life of the process. Any thread. */
void nfc_unproven_met(enum nfc_unproven what, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
