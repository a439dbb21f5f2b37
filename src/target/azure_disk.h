/* SPDX-License-Identifier: Apache-2.0 */
/* An open replica disk in Azure, as azure_replica.c and azure_writer.c share it. */
#ifndef TARGET_AZURE_DISK_H
#define TARGET_AZURE_DISK_H

#include "target/azure_replica.h"
#include "target/page_crew.h"

/* What was put is noted in units of so many bytes. */
#define AZURE_TOUCH_BYTES MIB

struct azure_disk {
    struct replica_disk base;
    /* Set by azure_replica_open, never changed. */
    struct page_blob *blob;
    char *label;
    uint64_t disk_bytes;
    void (*closed)(void *ctx);
    void *ctx;
    struct page_crew *crew; /* NULL: not for writing */
    /* Atomic. One bit a unit, set before it is put to; NULL: everything may be there. */
    _Atomic uint64_t *touched;
};

/* May the range hold anything but zeros? */
bool azure_disk_is_touched(const struct azure_disk *disk, uint64_t start_bytes,
                           uint64_t end_bytes);
void azure_disk_touch(struct azure_disk *disk, uint64_t start_bytes, uint64_t end_bytes);

#endif
