/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader over an NBD export, for the sources that read through QEMU. The owner of the
 * point in time may look at each failure and say what it means.
 */
#ifndef SOURCE_NBD_READER_H
#define SOURCE_NBD_READER_H

#include "qemu/nbd.h"
#include "source/source.h"

struct nbd_reader_options {
    const struct source_ops *ops; /* of the reader */
    const char *socket_path;
    const char *export_name;
    uint64_t disk_bytes; /* what the export must hold at least */
    /* Called with each failed read's error, to make it name the true cause; may be NULL.
     */
    void (*explain)(const void *context, struct err *err);
    /* Called before each wait, at most every 500 ms; false ends the reading; or NULL. */
    bool (*watch)(const void *context, struct err *err);
    const void *context; /* outlives the reader */
};

MUST_CHECK bool nbd_reader_open(const struct nbd_reader_options *options,
                                struct reader **ret, struct err *err);
/* For the operations table. */
MUST_CHECK bool nbd_reader_submit(struct reader *reader, struct read_request *request,
                                  struct err *err);
MUST_CHECK struct read_request *nbd_reader_next(struct reader *reader,
                                                const struct cancel *cancel,
                                                struct err *err);
void nbd_reader_close(struct reader *reader);

#endif
