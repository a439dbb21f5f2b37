/* SPDX-License-Identifier: Apache-2.0 */
/* Internal to arm: its state, one exchange, the operation behind an answer. */
#ifndef AZURE_ARM_IMPL_H
#define AZURE_ARM_IMPL_H

#include "azure/arm.h"

#define ARM_MAX_ITEMS 100000
#define ARM_MAX_PAGES 1000

struct arm {
    /* Set by arm_open, never changed. */
    struct azure_access access;
    struct http_endpoint *endpoint;
    struct azure_signer *bearer;
    char *url; /* of the endpoint: scheme, host and port */
    char subscription[40];
    uint64_t retry_for_ms, retry_base_ms, poll_base_ms, operation_ms;
};

/* One exchange; its answer and what refusing it needs. */
struct arm_exchange {
    struct buf path;
    struct azure_request request;
    struct http_answer answer;
};
/* Wipes the body: it may hold a SAS. */
void arm_exchange_release(struct arm_exchange *exchange);
static inline void auto_arm_exchange_release(struct arm_exchange *exchange)
{
    arm_exchange_release(exchange);
}

/* The call as it is; exchange is {0}. */
MUST_CHECK bool arm_send(struct arm *arm, const struct arm_call *call,
                         struct arm_exchange *exchange, struct err *err);
/* GET of the call's resource; exchange is {0}. */
MUST_CHECK bool arm_look(struct arm *arm, const struct arm_call *call,
                         struct arm_exchange *exchange, struct err *err);
/* GET of a URL that the service gave; exchange is {0}. FAIL_CORRUPT: not our host. */
MUST_CHECK bool arm_follow(struct arm *arm, const struct arm_call *call, const char *url,
                           struct arm_exchange *exchange, struct err *err);

/* The answer's JSON object; NULL with FAIL_CORRUPT. */
MUST_CHECK json_t *arm_answer_json(const struct arm_exchange *exchange, struct err *err);

/* Waits until the operation that first began has ended well. *ret_json: what a POST
 * gave, or the resource when an answer held it; NULL otherwise. Of a PUT or PATCH without
 * a result the caller gets the resource. */
MUST_CHECK bool arm_operation_wait(struct arm *arm, const struct arm_call *call,
                                   struct arm_exchange *first, json_t **ret_json,
                                   struct err *err);
/* GETs the call's resource until its state is final. */
MUST_CHECK bool arm_settle(struct arm *arm, const struct arm_call *call, json_t **ret,
                           struct err *err);

/* The path (and query) of a URL on the endpoint's own scheme, host and port, in place;
 * NULL when it is elsewhere. Pure; exposed for tests. */
const char *arm_own_path(const char *endpoint_url, const char *url);

/* FAIL_INPUT: not a UUID. */
MUST_CHECK bool arm_subscription_check(const char *text, struct err *err);

/* A resource's provisioningState: the text, "" when it has none. */
const char *arm_provisioning(const json_t *resource);

#endif
