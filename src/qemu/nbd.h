/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of one NBD export on a Unix socket: the one door to libnbd. Requests run side
 * by side on one connection (nbd_client_submit / nbd_client_next); the plain calls
 * (pwrite, zero, trim, flush, block status) are the same with a wait. One thread per
 * client; open several clients of one export for several threads.
 */
#ifndef QEMU_NBD_H
#define QEMU_NBD_H

#include "base/cancel.h"
#include "block/extents.h"

#define NBD_MAX_REQUEST_BYTES (32 * MIB)

enum nbd_io_kind { NBD_IO_READ, NBD_IO_WRITE, NBD_IO_ZERO, NBD_IO_TRIM, NBD_IO_FLUSH };

/* One request in flight; the caller owns it and data until nbd_client_next returns it. */
struct nbd_io {
    enum nbd_io_kind kind;
    uint64_t offset_bytes;
    uint32_t length_bytes; /* up to NBD_MAX_REQUEST_BYTES for reads and writes */
    uint8_t *data;         /* of a read: filled; of a write: not changed */
    void *tag;             /* the caller's */
    bool ok;               /* set when it is done */
    struct err err;        /* when !ok */
    /* the client's own */
    struct nbd_client *client;
    struct nbd_io *next;
    bool is_done;
};

struct nbd_client;

struct nbd_client_options {
    const char *socket_path;
    const char *export_name;
    const char *const *contexts; /* meta contexts, NULL-ended; NULL: none */
    uint64_t deadline_ms;        /* of connecting; 0: 10 s */
};

/* FAIL_GONE when the export is not there; FAIL_CONFLICT when the server does not offer
 * one of the contexts; FAIL_TRANSIENT when the server does not answer. */
MUST_CHECK bool nbd_client_open(const struct nbd_client_options *options,
                                struct nbd_client **ret, struct err *err);
/* Drops what is in flight; buffers are not touched afterwards. */
void nbd_client_close(struct nbd_client *client);
AUTO_CLEANUP(struct nbd_client, nbd_client_close);

uint64_t nbd_client_size(const struct nbd_client *client);
bool nbd_client_is_read_only(const struct nbd_client *client);
bool nbd_client_can_trim(const struct nbd_client *client);
bool nbd_client_can_zero(const struct nbd_client *client);

/* Starts a request. Beyond the end of the export: FAIL_INPUT. */
MUST_CHECK bool nbd_client_submit(struct nbd_client *client, struct nbd_io *io,
                                  struct err *err);
size_t nbd_client_in_flight(const struct nbd_client *client);

/* Waits for any finished request. NULL: FAIL_BUG when none is in flight, FAIL_CANCELED.
 */
MUST_CHECK struct nbd_io *nbd_client_next(struct nbd_client *client,
                                          const struct cancel *cancel, struct err *err);

/* Submits and waits for this one; others in flight go on. Any length for zero and trim.
 */
MUST_CHECK bool nbd_client_pread(struct nbd_client *client, uint8_t *data,
                                 uint32_t length_bytes, uint64_t offset_bytes,
                                 struct err *err);
MUST_CHECK bool nbd_client_pwrite(struct nbd_client *client, const uint8_t *data,
                                  uint32_t length_bytes, uint64_t offset_bytes,
                                  struct err *err);
MUST_CHECK bool nbd_client_zero(struct nbd_client *client, uint64_t offset_bytes,
                                uint64_t length_bytes, struct err *err);
MUST_CHECK bool nbd_client_trim(struct nbd_client *client, uint64_t offset_bytes,
                                uint64_t length_bytes, struct err *err);
MUST_CHECK bool nbd_client_flush(struct nbd_client *client, struct err *err);

/* What base:allocation says about a range, and what a dirty bitmap says. */
#define NBD_STATUS_HOLE  1u
#define NBD_STATUS_ZERO  2u
#define NBD_STATUS_DIRTY 1u

/*
 * The ranges of the whole export whose flags in a context are (flags & mask) == want;
 * ret is replaced. Nothing in flight. A server may answer for less than was asked, with
 * one extent or many, or beyond what was asked: all taken as the protocol means it. No
 * progress, or an answer for another context only, is FAIL_CORRUPT.
 */
struct nbd_status_query {
    const char *context;
    uint32_t mask;
    uint32_t want;
};
MUST_CHECK bool nbd_client_block_status(struct nbd_client *client,
                                        const struct nbd_status_query *query,
                                        const struct cancel *cancel, struct extents *ret,
                                        struct err *err);

#endif
