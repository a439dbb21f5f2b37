/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blobs of a container with their snapshots: what a listing without snapshots hides
 * and a bill shows. Threads and errors: as azure/blob.h.
 */
#ifndef AZURE_PAGE_LIST_H
#define AZURE_PAGE_LIST_H

#include "azure/page_blob.h"

struct page_listed {
    const char *name;     /* below the container's prefix */
    const char *snapshot; /* ""; the blob itself */
    uint64_t bytes;
    bool is_page_blob;
};

/* Of names that begin with prefix, in their order; each() returning false ends it with
 * its error. */
MUST_CHECK bool page_list(struct blob_container *container, const char *prefix,
                          bool (*each)(void *ctx, const struct page_listed *listed,
                                       struct err *err),
                          void *ctx, struct err *err);

#endif
