/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Managed disks, NICs and virtual machines, as far as a migration needs them: one struct
 * says what is wanted, one call makes it and waits for it. Making what is there already
 * with the same tags of ours is success (a retried step), and it is made again when it
 * had failed; FAIL_CONFLICT when it is there without them, is being deleted, or has
 * another location, zone, source, size, subnet or address. Removing what is gone is
 * success. After FAIL_TRANSIENT or FAIL_CANCELED the service may go on making it.
 *
 * Source of the requests: the published specifications, versions in azure/cloud.h;
 * checked against them by tests/sim. Threads: as arm.h.
 */
#ifndef AZURE_COMPUTE_H
#define AZURE_COMPUTE_H

#include "azure/arm.h"
#include "block/machine.h"

#define AZURE_NAME_BYTES 88
#define AZURE_MAX_TAGS   20

struct azure_tag { /* borrowed texts */
    const char *name, *value;
};
struct azure_tags {
    size_t count;
    struct azure_tag items[AZURE_MAX_TAGS];
};

enum azure_disk_from {
    AZURE_DISK_IMPORT, /* source: URL of a page blob (or its snapshot) with a VHD */
    AZURE_DISK_UPLOAD, /* empty, waits for its bytes */
    AZURE_DISK_COPY,   /* source: id of a snapshot or disk */
};

struct azure_disk_make {
    const char *id; /* resource id */
    const char *location;
    const char *sku;  /* "StandardSSD_LRS" */
    const char *zone; /* "1"; NULL: none */
    enum azure_disk_from from;
    const char *source;
    const char *storage_account_id; /* of an import */
    uint64_t upload_bytes;          /* of an upload: footer included */
    const char *os_type;            /* "Linux", "Windows"; NULL: a data disk */
    bool is_gen2;                   /* of an OS disk */
    const char *encryption_set;     /* id; NULL */
    struct azure_tags tags;
};

/* "Unattached", "Attached", "ReadyToUpload", "ActiveUpload", ...: as the service says. */
#define AZURE_STATE_BYTES 32
struct azure_disk_info {
    uint64_t bytes; /* footer not included */
    char state[AZURE_STATE_BYTES];
    char sku[AZURE_STATE_BYTES];
};

MUST_CHECK bool azure_disk_create(struct arm *arm, const struct azure_disk_make *make,
                                  const struct cancel *cancel, struct err *err);
MUST_CHECK bool azure_disk_get(struct arm *arm, const char *id,
                               struct azure_disk_info *ret, struct err *err);
/* FAIL_CONFLICT while it is attached or has a SAS. */
MUST_CHECK bool azure_disk_remove(struct arm *arm, const char *id, struct err *err);
/* A write SAS (a whole URL) for the bytes of a disk in upload; seconds: at most 5184000
 * (60 days). */
MUST_CHECK struct secret *azure_disk_grant(struct arm *arm, const char *id,
                                           uint32_t seconds, struct err *err);
/* Ends every SAS: a disk in upload becomes an ordinary one, for good. */
MUST_CHECK bool azure_disk_revoke(struct arm *arm, const char *id, struct err *err);

struct azure_nic_make {
    const char *id, *location;
    const char *subnet_id;
    const char *static_ip;         /* NULL: dynamic */
    const char *security_group_id; /* NULL */
    bool accelerated;
    struct azure_tags tags;
};
MUST_CHECK bool azure_nic_create(struct arm *arm, const struct azure_nic_make *make,
                                 const struct cancel *cancel, struct err *err);
MUST_CHECK bool azure_nic_remove(struct arm *arm, const char *id, struct err *err);

struct azure_vm_make {
    const char *id, *location, *size;
    const char *os_type; /* "Linux", "Windows" */
    size_t disk_count;   /* the first is the OS disk; LUN of data disk i is i - 1 */
    const char *disk_ids[MACHINE_MAX_DISKS];
    size_t nic_count; /* the first is the primary one */
    const char *nic_ids[MACHINE_MAX_NICS];
    const char *zone, *availability_set_id, *proximity_group_id; /* NULL: none */
    const char *license_type; /* "Windows_Server", "RHEL_BYOS", "SLES_BYOS"; NULL */
    struct azure_tags tags;
};
MUST_CHECK bool azure_vm_create(struct arm *arm, const struct azure_vm_make *make,
                                const struct cancel *cancel, struct err *err);
MUST_CHECK bool azure_vm_remove(struct arm *arm, const char *id, struct err *err);

struct azure_vm_info {
    char provisioning[AZURE_STATE_BYTES]; /* "Succeeded", "Failed", ... */
    char power[AZURE_STATE_BYTES];        /* "running", "deallocated", ...; "" unknown */
    char agent[AZURE_STATE_BYTES];        /* guest agent: "Ready", ...; "" none */
    char problem[256]; /* the worst message of the instance view; "" none */
};
MUST_CHECK bool azure_vm_get(struct arm *arm, const char *id, struct azure_vm_info *ret,
                             struct err *err);
/* Boot diagnostics: addresses (secrets) of the screen's picture and of the serial log;
 * either may be NULL when there is none yet. */
MUST_CHECK bool azure_vm_diagnostics(struct arm *arm, const char *id,
                                     struct secret **ret_screen,
                                     struct secret **ret_serial, struct err *err);

/* ---- what a subscription has and allows ---- */

/* Every resource of the group that has a tag of that name (any value); NULL: every one.
 * The service's listing may lag behind by some seconds. */
struct azure_resource {
    const char *id, *type, *location;
    const json_t *tags;
};
MUST_CHECK bool azure_resources_list(
    struct arm *arm, const char *resource_group, const char *tag,
    bool (*each)(void *ctx, const struct azure_resource *resource, struct err *err),
    void *ctx, struct err *err);

/* Actions of what we hold at the scope (the id of a subscription, group or resource), as
 * the service lists them: allowed when one permission's actions match and its notActions
 * do not ('*' matches any text). *ret: bit i set when actions[i] is allowed; at most 64.
 */
MUST_CHECK bool azure_permissions(struct arm *arm, const char *scope,
                                  const char *const *actions, size_t action_count,
                                  uint64_t *ret, struct err *err);

struct azure_size {
    char name[64];
    uint32_t cpus, max_data_disks, max_nics;
    uint64_t memory_bytes;
    bool gen1, gen2, premium_disks;
    char family[64];           /* as in azure_usage.name */
    bool is_restricted;        /* not for this subscription in this location */
    char restricted_zones[32]; /* not in these zones of it: "1,3"; "" none */
};
/* Virtual machine sizes of the location ("westeurope" or "West Europe"). */
MUST_CHECK bool azure_sizes_list(struct arm *arm, const char *location,
                                 bool (*each)(void *ctx, const struct azure_size *size,
                                              struct err *err),
                                 void *ctx, struct err *err);

struct azure_account_info {
    char kind[32]; /* "StorageV2", ... */
    char sku[32];
    char location[64];
    char min_tls[16]; /* "TLS1_2" */
    /* What the account does not say is taken for allowed: older ones mean that by it. */
    bool allows_public_blobs, allows_http, allows_shared_key;
    bool has_public_network;
    bool is_hierarchical;
    size_t endpoint_count; /* private endpoint connections */
    size_t endpoint_approved;
};
MUST_CHECK bool azure_account_get(struct arm *arm, const char *id,
                                  struct azure_account_info *ret, struct err *err);

/* Cores in use and allowed: the region's ("cores") and each size family's. */
struct azure_usage {
    uint64_t used, limit;
    char name[64];
};
MUST_CHECK bool azure_usage_list(struct arm *arm, const char *location,
                                 bool (*each)(void *ctx, const struct azure_usage *usage,
                                              struct err *err),
                                 void *ctx, struct err *err);

#endif
