/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scripted authd and NFC service on a loopback port, to see what the client does with
 * answers that no real host should give. It shares no code with the client.
 */
#ifndef TESTS_UNIT_VSPHERE_FAKE_NFC_H
#define TESTS_UNIT_VSPHERE_FAKE_NFC_H

#include "vsphere/nfc_session.h"

enum fake_fault {
    FAKE_OK,
    /* authd */
    FAKE_GREETS_BUSY,
    FAKE_GREETS_STRANGELY,
    FAKE_LONG_LINE,
    FAKE_REFUSES_SESSION,
    FAKE_REFUSES_PROXY,
    FAKE_SPEAKS_ON,  /* more bytes after 200 Connect, inside TLS#1 */
    FAKE_OTHER_TLS2, /* another certificate */
    FAKE_CLOSES_AT_TLS,
    /* classic */
    FAKE_REFUSES_HANDSHAKE, /* message 43 is answered with 4 */
    FAKE_NEEDS_HANDSHAKE,   /* and here its absence */
    FAKE_NO_AIO_FLAG,
    /* AIO */
    FAKE_REFUSES_BUFFERS, /* more than 64 KiB, once */
    FAKE_REFUSES_FILE,
    FAKE_OTHER_SIZE,
    /* reads, after fault_after pieces */
    FAKE_CUT_HEADER,
    FAKE_CUT_DATA,
    FAKE_STALLS,
    FAKE_BAD_MAGIC,
    FAKE_HUGE_PAYLOAD,
    FAKE_DUPLICATE,
    FAKE_OVERFLOW,
    FAKE_ZERO_PIECE,
    FAKE_FOREIGN_OP,
    FAKE_UNKNOWN_TYPE,
    FAKE_ERROR,
    FAKE_OUT_OF_MEMORY,
    FAKE_BAD_PACKED,
    FAKE_WRONG_OFFSET,
};

#define FAKE_FAULTS_MAX 12

struct fake_nfc_options {
    const uint8_t *disk;
    uint64_t disk_bytes;
    uint32_t piece_bytes; /* of an answer; 0: 64 KiB */
    bool shuffles;        /* pieces of all reads at hand in random order */
    bool mixes;           /* packing changes from piece to piece */
    bool trickles;        /* answers leave in pieces of a few bytes */
    uint32_t delay_ms;    /* before each round of answers */
    bool has_no_sha2;     /* greeting without "SHA256 supported" */
    bool names_no_host;   /* tickets as of a bare ESXi */
    /* Of the first, second ... connection; the last but FAKE_OK repeats when is_stuck. */
    enum fake_fault faults[FAKE_FAULTS_MAX];
    bool is_stuck;
    uint32_t fault_after; /* pieces that are still right */
};

struct fake_nfc_seen {
    uint32_t connections;
    uint32_t sessions;      /* SESSION commands with the right ticket */
    uint32_t wrong_tickets; /* used twice, or made up */
    uint32_t handshakes;    /* message 43 */
    uint32_t alerts;        /* TLS bytes where NFC was expected: a close_notify */
    uint32_t goodbyes;      /* classic 4 at the end */
    uint32_t asked_at_once; /* most reads in flight */
    uint32_t reads;
    uint32_t written; /* IO that was not a read: must stay 0 */
    uint32_t plain;   /* connections that went on without TLS */
};

struct fake_nfc;
struct fake_nfc *fake_nfc_start(const struct fake_nfc_options *options);
void fake_nfc_stop(struct fake_nfc *fake);
void fake_nfc_seen(struct fake_nfc *fake, struct fake_nfc_seen *ret);

/* For nfc_target.ticket; arg is the fake. */
bool fake_nfc_ticket(void *arg, const struct cancel *cancel, struct vim_ticket *ret,
                     struct err *err);
/* As above, with a thumbprint that is not the certificate's. */
bool fake_nfc_wrong_ticket(void *arg, const struct cancel *cancel, struct vim_ticket *ret,
                           struct err *err);
void fake_nfc_target(struct fake_nfc *fake, struct nfc_target *ret);

#endif
