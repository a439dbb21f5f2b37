/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What we have attached to our own machine, noted durably before it is attached, so that
 * a later run finds what a crash left there and touches nothing else. One record per
 * machine that is read; its holder locks it, so that what stands in a record that can be
 * locked is a leftover. Internal to the hotadd transport.
 *
 * Format, one line per disk: "SERVER VM FILE\n"; no record: nothing is attached. Beside
 * it lies an empty lock file, which stays.
 */
#ifndef VSPHERE_HOTADD_RECORD_H
#define VSPHERE_HOTADD_RECORD_H

#include "base/buf.h"
#include "base/cancel.h"

#define HOTADD_RECORD_MAX 256 /* disks; a machine has fewer */
#define HOTADD_RECORD_DIR "/var/lib/kedge/hotadd"

struct hotadd_entry {
    char server[128];     /* instance UUID of the vCenter, or the host's name */
    char vm_id[128];      /* our machine there */
    char file_name[1024]; /* "[datastore] dir/name.vmdk" */
};

struct hotadd_record {
    char *path;
    int lock_fd;
    struct hotadd_entry *entries;
    size_t count;
};

/* The name of the record of a machine on a server; for file systems. */
#define HOTADD_NAME_BYTES 200
void hotadd_record_name(const char *server, const char *vm_id,
                        char ret[HOTADD_NAME_BYTES]);

/* Makes the folder, locks the record, reads it. FAIL_TRANSIENT: somebody holds it longer
 * than wait_ms. FAIL_CORRUPT: it is not a record. */
MUST_CHECK bool hotadd_record_open(const char *dir, const char *name, uint64_t wait_ms,
                                   const struct cancel *cancel,
                                   struct hotadd_record **ret, struct err *err);
/* Durable when true; the index of the new entry is count - 1. */
MUST_CHECK bool hotadd_record_add(struct hotadd_record *record,
                                  const struct hotadd_entry *entry, struct err *err);
/* Durable when true; later entries move down. */
MUST_CHECK bool hotadd_record_drop(struct hotadd_record *record, size_t index,
                                   struct err *err);
/* Gives up the lock; what stands in it stays. */
void hotadd_record_close(struct hotadd_record *record);
AUTO_CLEANUP(struct hotadd_record, hotadd_record_close);

/* The names of all records in a folder, one after the other. false: stop, *err is set. */
typedef bool (*hotadd_name_fn)(void *arg, const char *name, struct err *err);
MUST_CHECK bool hotadd_record_each(const char *dir, hotadd_name_fn on_name, void *arg,
                                   struct err *err);

#endif
