/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Azure Resource Manager: one call, its answer, and the long-running operation behind it,
 * polled as the service asks (Azure-AsyncOperation, Location, Retry-After).
 *
 * Paths are resource ids as the service writes them ("/subscriptions/.../disks/d1"), not
 * encoded, and never a host: answers that point to another host than ours are refused.
 * Any thread, several at once. Errors besides those of azure/request.h: FAIL_GONE 404;
 * FAIL_CONFLICT 409, 412; FAIL_AUTH 401, 403 (the text names action and scope as the
 * service does); FAIL_LIMIT a quota, no capacity, an answer beyond 16 MiB; FAIL_INPUT
 * 400; FAIL_IO an operation that ended without success for a reason not known to us; each
 * with the service's error code, its innermost message and the request ids. FAIL_CORRUPT:
 * an answer that cannot be one, or that leads to another host.
 */
#ifndef AZURE_ARM_H
#define AZURE_ARM_H

#include "azure/access.h"
#include "azure/request.h"
#include "http/json.h"

#define ARM_ID_BYTES 512

struct arm;

struct arm_options {
    const char *credential_file; /* azure/access.h; shared-key and sas are FAIL_INPUT */
    const char *endpoint;        /* "https://..." instead of the cloud's; NULL */
    const char *subscription;    /* a UUID */
    uint64_t retry_for_ms;       /* as of azure_client_options */
    uint64_t retry_base_ms;
    uint64_t poll_base_ms; /* pause without a Retry-After; 0: 5 s */
    uint64_t operation_ms; /* a long-running operation may take so long; 0: 1 h */
};

/* Asks nobody yet. http:// is taken only for 127.0.0.1: a token must not travel in the
 * clear. */
MUST_CHECK struct arm *arm_open(const struct arm_options *options, struct err *err);
void arm_close(struct arm *arm);
AUTO_CLEANUP(struct arm, arm_close);
const char *arm_subscription(const struct arm *arm);

struct arm_call {
    const char *method;          /* "GET", "PUT", "POST", "PATCH", "DELETE"; literal */
    const char *path;            /* resource id, with "/action" behind it for a POST */
    const char *api_version;     /* literal, of azure/cloud.h */
    const char *filter;          /* "$filter", or NULL */
    const char *expand;          /* "$expand", or NULL */
    const json_t *body;          /* borrowed; NULL: none */
    const char *what;            /* "create disk 'd1'", for errors */
    const struct cancel *cancel; /* or NULL; what was started goes on at the service */
    bool is_new;        /* of a PUT: FAIL_CONFLICT when it exists (If-None-Match) */
    bool until_settled; /* of a GET: asks until provisioningState is a final one, whether
                           good or not */
};

/* Waits for the operation's end. *ret: the resource or the result, the caller drops it;
 * NULL when there is none, or ret NULL: not wanted. A DELETE of what is gone is success.
 * FAIL_TRANSIENT: not at its end after operation_ms. */
MUST_CHECK bool arm_run(struct arm *arm, const struct arm_call *call, json_t **ret,
                        struct err *err);

/* Every item of a listing ("value", following "nextLink"); each() returning false ends it
 * with its error. FAIL_LIMIT: more than 100000 items or 1000 pages. */
MUST_CHECK bool arm_list(struct arm *arm, const struct arm_call *call,
                         bool (*each)(void *ctx, const json_t *item, struct err *err),
                         void *ctx, struct err *err);

/* "/subscriptions/S/resourceGroups/G/providers/Microsoft.Compute/disks/NAME" for type
 * "Microsoft.Compute/disks". FAIL_INPUT when a name breaks the rules of its type (of
 * disks, snapshots, NICs, VMs, storage accounts and resource groups) or the id its size.
 */
MUST_CHECK bool arm_id(const struct arm *arm, const char *resource_group,
                       const char *type, const char *name, char ret[ARM_ID_BYTES],
                       struct err *err);
/* An id given by a user: "/subscriptions/..."; type: what it must be of, like
 * "Microsoft.Network/virtualNetworks" or, of a part,
 * "Microsoft.Network/virtualNetworks/subnets". FAIL_INPUT names what is wrong. */
MUST_CHECK bool arm_id_check(const char *id, const char *type, struct err *err);
/* The last part of an id. */
const char *arm_id_name(const char *id);
/* Ids are compared without regard to case: the service does not keep it. */
bool arm_id_is_same(const char *a, const char *b);

#endif
