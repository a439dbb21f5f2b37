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
#include "vsphere/nfc_quirks.h"
#include "vsphere/vim.h"

struct transport;
struct lane;

/* One disk as the snapshot froze it. */
struct transport_disk {
    int32_t device_key;
    char file_name[1024]; /* "[datastore] dir/name.vmdk", the frozen file */
    uint64_t disk_bytes;
};

/* All may be zero: the defaults. */
struct transport_options {
    bool is_plain;              /* nfc: nbd, unencrypted on the wire */
    uint32_t max_in_flight;     /* per lane; 0: 16 for nfc, 8 for https, hotadd */
    uint64_t host_budget_bytes; /* nfc, per host and process; 0: 32 MiB */
    uint32_t attempts;          /* connections in a row without a read; 0: 8 */
    uint32_t silence_ms;        /* no byte, or no device, for so long: lost; 0: 30 s */
    const struct nfc_quirks *quirks; /* copied; NULL: nfc_quirks_default */
    const char *vddk_library;        /* libvixDiskLib.so of the user; NULL: no vddk */
    const char *vddk_helper; /* kedge-vddk; NULL: where it was installed, or built */
    const char *user;        /* for vddk, which logs in by itself; */
    const struct secret *password; /* borrowed while open; NULL: by vim's session */
    const char *hotadd_machine;    /* the machine we run in: its name or instance UUID;
                                    * NULL: the one with this system's BIOS UUID */
    const char *hotadd_record_dir; /* what is attached is noted there, durable; NULL:
                                    * /var/lib/kedge/hotadd */
    const char *hotadd_device_dir; /* NULL: /dev/disk/by-id */
};

struct transport_machine {
    struct vim *vim; /* borrowed while the transport is open; locked inside */
    struct vim_ref vm;
    struct vim_ref host;     /* where it runs now */
    struct vim_ref snapshot; /* id "" for a powered-off machine without one */
    bool is_powered_on;
    const char *datacenter;             /* name; "" on a bare host */
    const struct transport_disk *disks; /* copied */
    size_t disk_count;
    struct transport_options options;
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
    /* cancel is borrowed while the transport is open: opening lanes, closing them. Cheap:
     * whether a disk can be read shows at lane_open. FAIL_CONFLICT: not for this machine;
     * the text says why. */
    bool (*open)(const struct transport_machine *machine, const struct cancel *cancel,
                 struct transport **ret, struct err *err);
    /* FAIL_CONFLICT, FAIL_AUTH, FAIL_IO: this transport does not read this disk; the
     * next one may. FAIL_LIMIT: too many connections to that host. */
    bool (*lane_open)(struct transport *transport, size_t disk_index, struct lane **ret,
                      struct err *err);
    /* Up to LANE_MAX_IN_FLIGHT at once; how many of them are on the wire is the lane's.
     * FAIL_INPUT, FAIL_BUG only: the caller keeps the read. */
    bool (*submit)(struct lane *lane, struct lane_read *read, struct err *err);
    /* Waits for any finished read, failed ones included. NULL with *err: FAIL_CANCELED
     * (the reads stay the lane's until lane_close), FAIL_BUG: none in flight. */
    struct lane_read *(*next)(struct lane *lane, const struct cancel *cancel,
                              struct err *err);
    void (*counters)(const struct lane *lane, struct lane_counters *ret);
    /* Reads in flight are dropped; no buffer is touched afterwards. NULL is fine. */
    void (*lane_close)(struct lane *lane);
    /* All lanes are closed. NULL is fine. */
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
