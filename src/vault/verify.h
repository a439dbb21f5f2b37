/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proof that a replica equals the source's point in time: both are read and compared byte
 * by byte; what both sides call unallocated reads as zeros on both and is not read.
 */
#ifndef VAULT_VERIFY_H
#define VAULT_VERIFY_H

#include "source/source.h"
#include "target/target.h"

#define VERIFY_MAX_DIFFERENCES 16

struct verify_difference {
    size_t disk_index;
    uint64_t start_bytes; /* whole sectors */
    uint64_t end_bytes;
};

struct verify_result {
    uint64_t disk_bytes;      /* sum of the disks' sizes */
    uint64_t compared_bytes;  /* read and compared; the rest is unallocated on both */
    uint64_t different_bytes; /* in whole sectors */
    size_t difference_count;  /* of those kept here: the first ones */
    struct verify_difference differences[VERIFY_MAX_DIFFERENCES];
};

struct verify_context {
    const struct machine_def *machine;
    struct snapshot *snapshot;
    struct target *target;
    const struct cancel *cancel;   /* NULL: never */
    _Atomic uint64_t *done_bytes;  /* counts compared bytes; NULL: nobody looks */
    _Atomic uint64_t *total_bytes; /* set before the first comparison */
};

/* true: compared to the end; *ret says whether they are equal. Uses 5 MiB. One thread. */
MUST_CHECK bool verify_replica(const struct verify_context *context,
                               struct verify_result *ret, struct err *err);

/* "disk 'vda' differs in 3 sectors from byte 1048576 on, ..." of the first differences.
 */
void verify_text(const struct machine_def *machine, const struct verify_result *result,
                 char *out, size_t out_bytes);

#endif
