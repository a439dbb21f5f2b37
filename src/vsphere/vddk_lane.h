/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One disk handle of the vendor's library in a process of its own (kedge-vddk), driven
 * over a socket pair: several reads at once, a child that dies is replaced and its reads
 * are asked again. The lane of the "vddk" transport; apart from it for tests.
 */
#ifndef VSPHERE_VDDK_LANE_H
#define VSPHERE_VDDK_LANE_H

#include "base/secret.h"
#include "vsphere/transport.h"

/* Set by its owner, never changed, shared by lanes. */
struct vddk_target {
    const char *helper;  /* path of kedge-vddk */
    const char *library; /* path of libvixDiskLib.so */
    const char *server;
    uint16_t port;
    const char *thumbprint; /* SHA-1 of the server's certificate */
    const char *vm;         /* "moref=vm-42" */
    const char *snapshot;   /* moref; "" none */
    const char *transports; /* "san:hotadd:nbdssl" */
    uint32_t open_flags;    /* VDDK_OPEN_* */
    const char *user;
    const struct secret *password; /* NULL: by the session's cookie */
    /* A fresh session cookie; NULL with *err. Caller frees. Any thread. */
    struct secret *(*cookie)(void *arg, struct err *err);
    void *arg;
};

struct vddk_lane_options {
    const struct transport_ops *ops;  /* of the lane */
    const struct vddk_target *target; /* borrowed for the lane's life */
    const char *file_name;
    uint64_t disk_bytes;
    uint32_t max_in_flight;      /* 0: 8 */
    uint32_t attempts;           /* children in a row without a read; 0: 3 */
    uint32_t silence_ms;         /* of a child with reads to do; 0: 2 min */
    const struct cancel *cancel; /* for opening; for the lane's life */
};

/* Errors: FAIL_INPUT the helper or the library cannot be used (missing, too old); FAIL_IO
 * what the library says; FAIL_CONFLICT the disk has another size; FAIL_TRANSIENT the
 * child died or fell silent. */
MUST_CHECK bool vddk_lane_open(const struct vddk_lane_options *options, struct lane **ret,
                               struct err *err);
MUST_CHECK bool vddk_lane_submit(struct lane *lane, struct lane_read *read,
                                 struct err *err);
MUST_CHECK struct lane_read *vddk_lane_next(struct lane *lane,
                                            const struct cancel *cancel, struct err *err);
void vddk_lane_counters(const struct lane *lane, struct lane_counters *ret);
void vddk_lane_close(struct lane *lane);

#endif
