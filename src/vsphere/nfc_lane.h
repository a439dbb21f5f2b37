/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to one disk over NFC, kept alive: reads are pipelined, answers of
 * several reads interleave, a lost connection is replaced with a new ticket and the
 * unfinished reads are asked again. The lane of the "nfc" transport; apart from it for
 * tests and bench, which have tickets of their own.
 */
#ifndef VSPHERE_NFC_LANE_H
#define VSPHERE_NFC_LANE_H

#include "vsphere/nfc_session.h"
#include "vsphere/transport.h"

struct nfc_lane_options {
    const struct transport_ops *ops; /* of the lane */
    const struct nfc_target *target; /* borrowed for the lane's life */
    const char *file_name;
    uint64_t disk_bytes;
    uint64_t host_budget_bytes;  /* 0: as it is */
    uint32_t attempts;           /* 0: 8 */
    const struct cancel *cancel; /* for opening and closing; for the lane's life */
};

/* The connection is there and the disk open when it returns. Errors: nfc_session_open's,
 * nfc_share_open's. */
MUST_CHECK bool nfc_lane_open(const struct nfc_lane_options *options, struct lane **ret,
                              struct err *err);
MUST_CHECK bool nfc_lane_submit(struct lane *lane, struct lane_read *read,
                                struct err *err);
MUST_CHECK struct lane_read *nfc_lane_next(struct lane *lane, const struct cancel *cancel,
                                           struct err *err);
void nfc_lane_counters(const struct lane *lane, struct lane_counters *ret);
void nfc_lane_close(struct lane *lane);

#endif
