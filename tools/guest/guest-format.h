/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_FORMAT_H
#define GUEST_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the demo guest keeps on each of its two disks, and how both the guest (at boot)
 * and the host (check-records) prove that none of it was lost, reordered or left stale.
 */

#define RECORD_BYTES         512u
#define CHURN_BLOCK_BYTES    4096u
#define CHURN_MAX_BLOCKS     16u
#define CHURN_FILE_MIN_BYTES (CHURN_BLOCK_BYTES * CHURN_MAX_BLOCKS)

enum guest_disk { DISK_ROOT, DISK_DATA, DISK_COUNT };

/* The fields of a record that are not fixed by its number. */
struct record {
    uint64_t number; /* 1, 2, 3, … without a gap */
    uint64_t
        churn_gen; /* churn writes of this disk that are durable before this record */
    uint64_t realtime_ns; /* the guest's clock when it was written */
    uint32_t boot;        /* the boot that wrote it */
    enum guest_disk disk;
};

/* What records_verify found. */
struct records_state {
    uint64_t count;     /* records 1 .. count are all there and all right */
    struct record last; /* undefined when count is 0 */
    bool has_torn_tail; /* one slot of zeros after the last record: a write under way */
};

/* What churn_verify found. */
struct churn_state {
    uint64_t blocks;         /* blocks in the file */
    uint64_t written_blocks; /* of these, blocks that hold a churn write */
};

/* One churn write: blocks [first_block, first_block + blocks). */
struct churn_plan {
    uint64_t first_block;
    uint64_t blocks;
};

const char *guest_disk_name(enum guest_disk disk);

/* Fill bytes[0, RECORD_BYTES). */
void record_encode(const struct record *record, uint8_t *bytes);

/* The write that generation gen (1, 2, …) makes; needs file_blocks >= CHURN_MAX_BLOCKS.
 */
struct churn_plan churn_plan_get(enum guest_disk disk, uint64_t gen,
                                 uint64_t file_blocks);

/* Fill bytes[0, CHURN_BLOCK_BYTES) as generation gen writes it to block number block. */
void churn_encode(enum guest_disk disk, uint64_t gen, uint64_t block, uint8_t *bytes);

/*
 * Read a record file from its start: numbers contiguous from 1, every checksum right,
 * disk and boot as they must be. One slot of zeros at the very end is no error: ext4 may
 * commit the new size before the data when the power goes. False with why[0, why_bytes)
 * set.
 */
bool records_verify(int fd, enum guest_disk disk, struct records_state *ret_state,
                    char *why, size_t why_bytes);

/*
 * Check a churn file against the plan of generations 1 .. gen: every block holds at least
 * the last of these that covers it, and holds it undamaged. So a stale block (a write
 * that a replica has lost) is found wherever it is, not only at the end of a log.
 */
bool churn_verify(int fd, enum guest_disk disk, uint64_t gen,
                  struct churn_state *ret_state, char *why, size_t why_bytes);

/* Both disks at one instant: root has as many records as data, or one more. */
bool records_compare(const struct records_state *root, const struct records_state *data,
                     char *why, size_t why_bytes);

#endif
