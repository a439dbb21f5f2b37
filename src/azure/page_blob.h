/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One page blob: a replica disk in a storage account, or the empty managed disk that is
 * being uploaded (the service shows it as a page blob behind a SAS).
 *
 * Offsets and lengths are multiples of 512. Any thread, several at once on one blob;
 * calls on the same bytes are the caller's to order. Every call is repeated by the rules
 * of azure/request.h and is safe to repeat. Limits of the service, checked here because
 * the emulator takes more: PAGE_PUT_MAX a put, 8 TiB a blob (storage-blob-scale-targets).
 */
#ifndef AZURE_PAGE_BLOB_H
#define AZURE_PAGE_BLOB_H

#include "azure/blob.h"
#include "base/secret.h"
#include "block/extents.h"

#define PAGE_BYTES          512
#define PAGE_PUT_MAX        (4 * MIB)
#define PAGE_BLOB_MAX       (8 * TIB)
#define PAGE_SNAPSHOT_BYTES 40 /* "2026-11-22T10:00:00.0000000Z" */

struct page_blob;

/* Opens the one of that name, there or not yet; the container is borrowed for its life.
 */
MUST_CHECK struct page_blob *page_blob_open(struct blob_container *container,
                                            const char *name, struct err *err);

struct page_sas_options {
    const char *ca_file;                 /* NULL: the system's */
    const char *proxy_url;               /* as of http_endpoint_options */
    const struct secret *proxy_password; /* borrowed */
    uint64_t retry_for_ms;               /* as of azure_client_options */
    uint64_t retry_base_ms;
    /* A new address of the same blob: in the last 5 min of the old SAS, or once per
     * request that was refused. Called by one thread at a time. NULL: none to be had. */
    struct secret *(*renew)(void *ctx, struct err *err);
    void *ctx;
};
/* By an address with a SAS in its query, which is a secret (copied). FAIL_INPUT: it is
 * none (the text is not shown). */
MUST_CHECK struct page_blob *page_blob_open_sas(const struct secret *address,
                                                const struct page_sas_options *options,
                                                struct err *err);
void page_blob_close(struct page_blob *blob);
AUTO_CLEANUP(struct page_blob, page_blob_close);

/* Makes it, all zeros. There already with that size is success, another size
 * FAIL_CONFLICT, larger than PAGE_BLOB_MAX FAIL_LIMIT. */
MUST_CHECK bool page_blob_create(struct page_blob *blob, uint64_t bytes, struct err *err);
/* FAIL_GONE; FAIL_CONFLICT: it is no page blob. */
MUST_CHECK bool page_blob_size(struct page_blob *blob, uint64_t *ret_bytes,
                               struct err *err);
MUST_CHECK bool page_blob_resize(struct page_blob *blob, uint64_t bytes, struct err *err);

struct page_write {
    uint64_t offset_bytes;
    struct blob_data data; /* at most PAGE_PUT_MAX; data NULL: clears that range, any
                            * length: zeros from then on, and not stored */
    const struct cancel *cancel; /* NULL: none */
};
/* *ret_busy, set in any case: the service said "slow down" at least once (NULL: not
 * asked). FAIL_CANCELED leaves open whether it was written. */
MUST_CHECK bool page_blob_write(struct page_blob *blob, const struct page_write *write,
                                bool *ret_busy, struct err *err);
/* The same without a cancel. */
MUST_CHECK bool page_blob_put(struct page_blob *blob, uint64_t offset_bytes,
                              struct blob_data data, bool *ret_busy, struct err *err);
MUST_CHECK bool page_blob_clear(struct page_blob *blob, uint64_t offset_bytes,
                                uint64_t bytes, struct err *err);
MUST_CHECK bool page_blob_get(struct page_blob *blob, uint64_t offset_bytes,
                              uint8_t *data, size_t data_bytes, struct err *err);
/* What is stored, added to *ret (in pieces of the blob: a blob of 8 TiB may have millions
 * of ranges). */
MUST_CHECK bool page_blob_ranges(struct page_blob *blob, struct extents *ret,
                                 struct err *err);

/* A point in time that takes no time and no space of its own. */
MUST_CHECK bool page_blob_snapshot(struct page_blob *blob, char ret[PAGE_SNAPSHOT_BYTES],
                                   struct err *err);
/* Gone already is success. */
MUST_CHECK bool page_blob_snapshot_remove(struct page_blob *blob, const char *snapshot,
                                          struct err *err);
/* With all its snapshots; gone already is success. */
MUST_CHECK bool page_blob_remove(struct page_blob *blob, struct err *err);

/* "https://account.blob.core.windows.net/container/name", with "?snapshot=..." unless
 * NULL: what an import names. Not for one opened by a SAS. */
void page_blob_url(const struct page_blob *blob, const char *snapshot, struct buf *out);

#endif
