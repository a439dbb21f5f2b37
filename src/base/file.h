/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are durable, or not there.
 *
 * Durable means: write a temporary name, fsync it, rename it, fsync the folder. After a
 * crash at any instant the name holds the old content or the new, never a part. Temporary
 * names end in ".tmp" and may be left by a crash; file_sweep_tmp removes them at start.
 * Any thread; two writers of one name: the last rename wins.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/err.h"
#include "base/buf.h"

/* Whole file, at most max_bytes (FAIL_LIMIT beyond); appended to ret. FAIL_GONE: not
 * there. */
MUST_CHECK bool file_read(const char *path, size_t max_bytes, struct buf *ret,
                          struct err *err);

/* Durable replace; mode e.g. 0600. */
MUST_CHECK bool file_write_durable(const char *path, const void *data, size_t data_bytes,
                                   unsigned mode, struct err *err);

/* Durable remove; not being there is success. */
MUST_CHECK bool file_remove_durable(const char *path, struct err *err);

/* Makes the folder and its parents (0700), durable; existing is success. */
MUST_CHECK bool file_make_dirs(const char *path, struct err *err);

/* Removes a folder with all it holds; not being there is success. Never follows links. */
MUST_CHECK bool file_remove_tree(const char *path, struct err *err);

/* fsync of the folder that holds path. */
MUST_CHECK bool file_sync_parent(const char *path, struct err *err);

/* Removes "*.tmp" left in this folder by a crash (not deeper). */
MUST_CHECK bool file_sweep_tmp(const char *dir, struct err *err);

/* Whole transfers; a short read is FAIL_CORRUPT "ends at …". */
MUST_CHECK bool file_pread_full(int fd, const char *name, uint8_t *data,
                                size_t data_bytes, uint64_t offset_bytes,
                                struct err *err);
MUST_CHECK bool file_pwrite_full(int fd, const char *name, const uint8_t *data,
                                 size_t data_bytes, uint64_t offset_bytes,
                                 struct err *err);

/* "dir/name" into a new string. */
MUST_CHECK char *file_join(const char *dir, const char *name);

/* Size in bytes of a regular file or block device. */
MUST_CHECK bool file_size(int fd, const char *name, uint64_t *ret_bytes, struct err *err);

bool file_exists(const char *path);

#endif
