/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clouds and the versions of the interfaces that are used: one table each. Pure.
 */
#ifndef AZURE_CLOUD_H
#define AZURE_CLOUD_H

#include "base/err.h"

/* Versions of interfaces, all published by October 2024. */
#define AZURE_VERSION_BLOB        "2024-08-04"
#define AZURE_VERSION_KEY_VAULT   "7.5"
#define AZURE_VERSION_IMDS        "2018-02-01"
#define AZURE_VERSION_APP_SERVICE "2019-08-01"
#define AZURE_VERSION_ARC         "2019-11-01"
/* Of Resource Manager: each provider has its own. */
#define AZURE_VERSION_DISKS         "2024-03-02" /* Microsoft.Compute: disks, snapshots */
#define AZURE_VERSION_COMPUTE       "2024-07-01" /* Microsoft.Compute: VMs, usages */
#define AZURE_VERSION_SKUS          "2021-07-01" /* Microsoft.Compute: skus */
#define AZURE_VERSION_NETWORK       "2024-01-01"
#define AZURE_VERSION_RESOURCES     "2021-04-01"
#define AZURE_VERSION_AUTHORIZATION "2022-04-01"
#define AZURE_VERSION_STORAGE       "2023-05-01" /* the accounts, not their blobs */

struct azure_cloud {
    const char *name;             /* "public", "usgov", "china" */
    const char *authority;        /* where Entra ID gives tokens: "https://login..." */
    const char *resource_manager; /* "https://management..." */
    const char *blob_suffix;      /* "blob.core.windows.net" */
    const char *storage_resource; /* what a token for blobs is asked for */
    const char *vault_suffix;     /* "vault.azure.net" */
    const char *vault_resource;   /* what a token for Key Vault is asked for */
};

/* By name; FAIL_INPUT names the known ones. */
MUST_CHECK const struct azure_cloud *azure_cloud_get(const char *name, struct err *err);

/* The cloud whose blob or vault suffix the host name ends in, or the public one. */
const struct azure_cloud *azure_cloud_of_host(const char *host);

#endif
