/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One disk image on this host, opened for reading: raw (a file or block device, read
 * directly) or qcow2 (served read-only by a qemu-nbd of our own). Several readers side by
 * side.
 */
#ifndef SOURCE_IMAGE_DISK_H
#define SOURCE_IMAGE_DISK_H

#include "source/source.h"

struct image_facts {
    bool is_qcow2;
    bool is_block_device;
    bool is_in_use;       /* a QEMU holds it writable */
    uint64_t disk_bytes;  /* as the guest sees it */
    uint64_t fingerprint; /* changes when a file is written; 0: cannot be told */
};

/* Format, size and use of an image; changes nothing. Sizes are not judged. */
MUST_CHECK bool image_look(const char *path, struct image_facts *ret, struct err *err);

/* FAIL_INPUT with the remedy when the size is no multiple of a sector or zero. */
MUST_CHECK bool image_check_size(const char *path, const struct image_facts *facts,
                                 struct err *err);

struct image_disk;
MUST_CHECK bool image_disk_open(const char *path, struct image_disk **ret,
                                struct err *err);
void image_disk_close(struct image_disk *disk); /* NULL is fine */
AUTO_CLEANUP(struct image_disk, image_disk_close);

const struct image_facts *image_disk_facts(const struct image_disk *disk);
MUST_CHECK bool image_disk_allocated(struct image_disk *disk, struct extents *ret,
                                     struct err *err);
MUST_CHECK bool image_disk_reader_open(struct image_disk *disk,
                                       const struct source_ops *raw_ops,
                                       const struct source_ops *nbd_ops,
                                       struct reader **ret, struct err *err);

/* Of a raw image's reader. */
MUST_CHECK bool image_raw_submit(struct reader *reader, struct read_request *request,
                                 struct err *err);
MUST_CHECK struct read_request *image_raw_next(struct reader *reader,
                                               const struct cancel *cancel,
                                               struct err *err);
void image_raw_close(struct reader *reader);

#endif
