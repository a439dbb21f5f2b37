/* SPDX-License-Identifier: Apache-2.0 */
/* Internal to page_blob. */
#ifndef AZURE_PAGE_BLOB_IMPL_H
#define AZURE_PAGE_BLOB_IMPL_H

#include "azure/blob_impl.h"
#include "azure/page_blob.h"

struct page_blob {
    /* Set by page_blob_open, never changed. */
    struct blob_container *container; /* borrowed, or own */
    char *name;
    /* Of one opened by a SAS. */
    struct blob_container own; /* stands for the address's part before the name */
    struct secret *(*renew)(void *ctx, struct err *err);
    void *ctx;
};

/* One answer of Get Page Ranges: what lies in the window is added to *ret, *marker
 * becomes that of the next answer (empty: there is none). Exposed for fuzzing. */
MUST_CHECK bool page_ranges_read(const struct http_answer *answer, struct extent window,
                                 struct extents *ret, struct buf *marker,
                                 struct err *err);

/* One answer of a listing: the snapshots of the blob with that name (its prefix included)
 * that bear the mark. Exposed for fuzzing. */
#define PAGE_SNAPSHOTS_MAX 32
struct page_snapshots {
    const char *name, *mark;
    char found[PAGE_SNAPSHOTS_MAX][PAGE_SNAPSHOT_BYTES];
    size_t count;      /* what has no room there is left out */
    struct buf marker; /* of the next answer; empty: there is none; owned */
};
MUST_CHECK bool page_snapshots_read(const struct http_answer *answer,
                                    struct page_snapshots *ret, struct err *err);

#endif
