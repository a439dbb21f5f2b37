/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reads of one lane: waiting, asked on the wire, done. Fragments of an answer may
 * come in any order and between those of other reads; each is checked here before a byte
 * of it is stored. Pure bookkeeping, no I/O; one thread at a time.
 */
#ifndef VSPHERE_NFC_READS_H
#define VSPHERE_NFC_READS_H

#include "vsphere/nfc_frame.h"
#include "vsphere/transport.h"

struct nfc_slot {
    struct lane_read *read; /* NULL: free */
    bool is_asked;
    bool has_budget; /* held across connections */
    uint32_t op_id;  /* while asked */
    uint32_t left_bytes;
    uint32_t refusals;     /* ERROR answers to just this read */
    struct nfc_slot *next; /* waiting */
    uint64_t covered[LANE_READ_MAX_BYTES / SECTOR_BYTES / 64]; /* bit: sector is here */
};

struct nfc_reads {
    struct nfc_slot slots[LANE_MAX_IN_FLIGHT];
    size_t count; /* waiting and asked */
    size_t asked_count;
    struct nfc_slot *first; /* waiting */
    struct nfc_slot *last;
    struct lane_read *first_done;
    struct lane_read *last_done;
};

/* Takes the read in. FAIL_INPUT: not whole sectors, empty, too long, or beyond the disk;
 * FAIL_BUG: more than LANE_MAX_IN_FLIGHT. */
MUST_CHECK bool nfc_reads_submit(struct nfc_reads *reads, struct lane_read *read,
                                 uint64_t disk_bytes, struct err *err);

/* The first one waiting was sent as op_id. */
void nfc_reads_asked(struct nfc_reads *reads, uint32_t op_id);

/* The asked read with that number, or NULL. */
struct nfc_slot *nfc_reads_find(struct nfc_reads *reads, uint32_t op_id);

/* FAIL_CORRUPT: the fragment is not one of this read, or part of it is here already. On
 * success its bytes belong at read->data + fragment->offset_bytes. */
MUST_CHECK bool nfc_slot_check(const struct nfc_slot *slot,
                               const struct nfc_fragment *fragment, struct err *err);
/* The bytes are there. true: the read is complete. */
MUST_CHECK bool nfc_slot_cover(struct nfc_slot *slot,
                               const struct nfc_fragment *fragment);

/* The read is done; why: NULL on success. The slot is free afterwards. */
void nfc_reads_finish(struct nfc_reads *reads, struct nfc_slot *slot,
                      const struct err *why);

/* All that were asked wait again, ahead of the others, from their first byte: what came
 * over a broken connection is not trusted in parts. Returns their bytes. */
uint64_t nfc_reads_requeue(struct nfc_reads *reads);

/* The oldest done one, or NULL. */
struct lane_read *nfc_reads_take(struct nfc_reads *reads);

#endif
