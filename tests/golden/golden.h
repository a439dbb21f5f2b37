/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The golden objects: fixed keys, names, salts and contents in version 1 of each format.
 * make_golden writes them as hex text beside this file; the unit test compares what the
 * code makes today with those files, and decodes the files to these values.
 *
 * A file is never made anew for a version that was released: a new version gets new files
 * and the old ones must decode forever.
 */
#ifndef TESTS_GOLDEN_H
#define TESTS_GOLDEN_H

#include "block/bitmap.h"
#include "block/cycleobj.h"
#include "block/hashpage.h"
#include "block/sealed.h"

enum golden_item {
    GOLDEN_BITMAP,
    GOLDEN_PLAN,
    GOLDEN_JOURNAL,
    GOLDEN_MANIFEST,
    GOLDEN_SEALED,
    GOLDEN_HASHPAGE,
    GOLDEN_SEGMENT_STORED,
    GOLDEN_SEGMENT_LZ4,  /* packed by the lz4 of its day: decoded, not compared */
    GOLDEN_SEGMENT_ZSTD, /* likewise */
    GOLDEN_COUNT
};

#define GOLDEN_SEALED_CONTEXT "golden context"
#define GOLDEN_HASHPAGE_NO    7
#define GOLDEN_RECORDS        4 /* before END */

const char *golden_file(enum golden_item item);
bool golden_is_exact(enum golden_item item);

struct secret *golden_key(void);
void golden_id(uint8_t first, struct id *ret);
void golden_name(struct segment_name *ret);

void golden_bitmap(struct bitmap *ret);
void golden_plan(struct plan *ret);
void golden_journal(struct journal_entry *ret);
void golden_manifest(struct manifest *ret);
void golden_hashpage(uint8_t page[HASHPAGE_BYTES]);

/* The records of all golden segments; what they point to is static but the digests. */
MUST_CHECK bool golden_records(struct record ret[GOLDEN_RECORDS],
                               struct digest digests[GOLDEN_RECORDS][RECORD_MAX_BLOCKS],
                               struct err *err);

/* Appends the bytes of the object as the code makes it today. */
MUST_CHECK bool golden_make(enum golden_item item, struct buf *out, struct err *err);

#endif
