/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clouds and the versions of the interfaces that are used: one table each. Pure.
 */
#ifndef AZURE_CLOUD_H
#define AZURE_CLOUD_H

#include "base/err.h"

/* Versions of interfaces, all published by October 2024. */
#define AZURE_VERSION_BLOB        "2024-08-04"
#define AZURE_VERSION_IMDS        "2018-02-01"
#define AZURE_VERSION_APP_SERVICE "2019-08-01"
#define AZURE_VERSION_ARC         "2019-11-01"

struct azure_cloud {
    const char *name;             /* "public", "usgov", "china" */
    const char *authority;        /* where Entra ID gives tokens: "https://login..." */
    const char *resource_manager; /* "https://management..." */
    const char *blob_suffix;      /* "blob.core.windows.net" */
    const char *storage_resource; /* what a token for blobs is asked for */
};

/* By name; FAIL_INPUT names the known ones. */
MUST_CHECK const struct azure_cloud *azure_cloud_get(const char *name, struct err *err);

/* The cloud whose blob suffix the host name ends in, or the public one. */
const struct azure_cloud *azure_cloud_of_host(const char *host);

#endif
