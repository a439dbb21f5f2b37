/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the bytes of one frozen disk are read: one operations table in front of nfc, https,
 * hotadd and vddk. A transport is opened for a snapshot of one machine; a lane is one
 * connection (or handle) to one of its disks. Lanes are what gets parallelism: each takes
 * many reads at once and answers them in any order.
 *
 * Threads: a transport by one thread at a time; each lane by one thread, several lanes of
 * one transport side by side.
 *
 * A lane that loses its connection repairs itself (new ticket, reads in flight asked
 * again) up to its bound; only then a read fails, FAIL_TRANSIENT. Bytes asked twice are
 * counted.
 */
#ifndef VSPHERE_TRANSPORT_H
#define VSPHERE_TRANSPORT_H

#include "base/cancel.h"
#include "vsphere/vim.h"

struct transport;
struct lane;

/* One disk as the snapshot froze it. */
struct transport_disk {
    int32_t device_key;
    char file_name[1024]; /* "[datastore] dir/name.vmdk", the frozen file */
    uint64_t disk_bytes;
};

struct transport_machine {
    struct vim *vim; /* borrowed while the transport is open; locked inside */
    struct vim_ref vm;
    struct vim_ref host;     /* where it runs now */
    struct vim_ref snapshot; /* id "" for a powered-off machine without one */
    bool is_powered_on;
    const struct transport_disk *disks; /* copied */
    size_t disk_count;
};

/* One read in flight; the caller owns it and its buffer until lane_next returns it. */
struct lane_read {
    uint64_t offset_bytes; /* multiple of 512 */
    uint32_t length_bytes; /* 512 .. LANE_READ_MAX_BYTES, multiple of 512 */
    uint8_t *data;
    void *tag; /* the caller's */
    bool ok;
    struct err err;
    struct lane_read *next; /* the lane's own */
};
#define LANE_READ_MAX_BYTES (1024 * 1024) /* per NFC message; callers split */
#define LANE_MAX_IN_FLIGHT  64

struct lane_counters {
    uint64_t read_bytes; /* delivered */
    uint64_t wire_bytes; /* received, packed as they came */
    uint64_t asked_again_bytes;
    uint64_t reconnects;
};

struct transport_ops {
    const char *name; /* "nfc", "https", "hotadd", "vddk" */
    bool (*open)(const struct transport_machine *machine, const struct cancel *cancel,
                 struct transport **ret, struct err *err);
    bool (*lane_open)(struct transport *transport, size_t disk_index, struct lane **ret,
                      struct err *err);
    bool (*submit)(struct lane *lane, struct lane_read *read, struct err *err);
    struct lane_read *(*next)(struct lane *lane, const struct cancel *cancel,
                              struct err *err);
    void (*counters)(const struct lane *lane, struct lane_counters *ret);
    void (*lane_close)(struct lane *lane);
    void (*close)(struct transport *transport);
};
struct transport {
    const struct transport_ops *ops;
};
struct lane {
    const struct transport_ops *ops;
};

/* By name; NULL: no such transport. */
const struct transport_ops *transport_find(const char *name);

#endif
