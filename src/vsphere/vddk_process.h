/* SPDX-License-Identifier: Apache-2.0 */
/* The kedge-vddk child of one lane: started, told what to open, ended. */
#ifndef VSPHERE_VDDK_PROCESS_H
#define VSPHERE_VDDK_PROCESS_H

#include "vsphere/nfc_stream.h"
#include "vsphere/vddk_lane.h"
#include "vsphere/vddk_wire.h"

struct vddk_process {
    int pid;
    struct nfc_stream stream; /* over the socket pair */
    char mode[64];            /* how the library reads: "nbdssl", "san", ... */
};

/* Starts the child and opens the disk. Errors: vddk_lane_open's. On failure nothing is
 * left running. */
MUST_CHECK bool vddk_process_open(const struct vddk_lane_options *options,
                                  const struct cancel *cancel, struct vddk_process *ret,
                                  struct err *err);

/* Its socket is closed; a second's grace, then it is killed. Zeroed or closed is fine. */
void vddk_process_close(struct vddk_process *process);

/* What became of a child whose socket ended, appended to *err. Always false. */
bool vddk_process_explain(struct vddk_process *process, struct err *err);

/* The next head; its body is still to be read. FAIL_CORRUPT: not one of ours. */
MUST_CHECK bool vddk_process_receive(struct vddk_process *process, struct vddk_head *ret,
                                     struct err *err);
/* *err from the body of a FAILED. Always false. */
bool vddk_process_failed(struct vddk_process *process, const struct vddk_head *head,
                         struct err *err);

#endif
