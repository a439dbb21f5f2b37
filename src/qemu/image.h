/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk image files through QEMU's own tools: qemu-img for their shape, qemu-nbd for their
 * content. Paths are absolute (a relative one could be read as "protocol:name"). What
 * is created here is on stable storage when the call returns. Any thread.
 */
#ifndef QEMU_IMAGE_H
#define QEMU_IMAGE_H

#include "base/err.h"

enum image_format { IMAGE_RAW, IMAGE_QCOW2 };

const char *image_format_name(enum image_format format);

/* An empty qcow2 file, replacing one of that name. */
MUST_CHECK bool image_create(const char *path, uint64_t disk_bytes, struct err *err);

/* An empty qcow2 file on top of backing (as stored: relative to the folder of path, or
 * absolute). The backing file is not opened. */
MUST_CHECK bool image_create_overlay(const char *path, const char *backing,
                                     enum image_format backing_format,
                                     uint64_t disk_bytes, struct err *err);

/*
 * Writes what lies above base in the chain of head into base, which is then on stable
 * storage. Head stays as it is and shows the same content before, while and after: so it
 * can be cut short anywhere and done again.
 * FAIL_CONFLICT: somebody else has one of the files open.
 */
MUST_CHECK bool image_commit(const char *head, const char *base, struct err *err);

/* Grows (new part reads as zeros) or cuts; durable. */
MUST_CHECK bool image_resize(const char *path, enum image_format format,
                             uint64_t disk_bytes, struct err *err);

/* fsync of one file and of the folder that holds it. */
MUST_CHECK bool image_sync(const char *path, struct err *err);

/* ---- a block server for one image ---- */

struct image_server_options {
    const char *image_path;
    enum image_format format;
    const char *socket_path; /* fits in a socket address (< 108 bytes) */
    const char *log_path;    /* its process id is in "<log_path>.pid" */
    bool read_only;
    unsigned max_clients;
};

struct image_server;

/* Starts qemu-nbd; returns when it serves. It ends by itself when its last
 * client has gone, so a crash of ours leaves nothing running. Waits some seconds for a
 * predecessor to let go of the image. */
MUST_CHECK struct image_server *image_server_start(
    const struct image_server_options *options, struct err *err);
/* Waits for its end (clients are gone), then ends it. */
void image_server_stop(struct image_server *server);
bool image_server_is_alive(const struct image_server *server);
/* The last line it wrote, "" none. */
void image_server_last_words(const struct image_server *server, char *out,
                             size_t out_bytes);

#endif
