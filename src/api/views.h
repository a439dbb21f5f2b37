/* SPDX-License-Identifier: Apache-2.0 */
/* The objects that the API answers with, and those it takes: field tables. Constant. */
#ifndef API_VIEWS_H
#define API_VIEWS_H

#include "api/schema.h"

enum api_view {
    VIEW_STATUS,
    VIEW_APPLIER,
    VIEW_SOURCE_LIST,
    VIEW_TARGET_LIST,
    VIEW_NAMED,
    VIEW_FINDINGS,
    VIEW_INVENTORY,
    VIEW_DISCOVERY,
    VIEW_MACHINE,
    VIEW_MACHINE_LIST,
    VIEW_JOB_STARTED,
    VIEW_JOB,
    VIEW_JOB_LIST,
    VIEW_EVENT_LIST,
    VIEW_THROTTLE,
    VIEW_PLAN,
    VIEW_BLACKOUT,
    VIEW_ORPHAN_LIST,
    VIEW_KEYS,
    VIEW_KEYS_ROTATED,
    VIEW_NETWORK,
    VIEW_NETWORK_CHECK,
    VIEW_NETWORK_PLAN,
    VIEW_OPENAPI,
    VIEW_ERROR,
    VIEW_COUNT,
};
const struct api_schema *api_view_schema(enum api_view view);

enum api_body {
    BODY_NONE,
    BODY_SOURCE,
    BODY_TARGET,
    BODY_REPLICATE,
    BODY_OPERATION, /* by operation: see api_operations */
    BODY_THROTTLE,
    BODY_PLAN,
    BODY_BLACKOUT,
    BODY_NETWORK_CHECK,
    BODY_NETWORK_PLAN,
    BODY_COUNT,
};
/* NULL for BODY_NONE and BODY_OPERATION. */
const struct api_schema *api_body_schema(enum api_body body);

/* Kinds of sources and targets, and the options of each; name NULL: end of the list. */
struct api_kind {
    const char *name;
    const char *help;
    const struct api_field *options;
};
const struct api_kind *api_source_kinds(void);
const struct api_kind *api_target_kinds(void);

/* The operations that a client may start on a machine, with the options of each. */
const struct api_kind *api_operations(void);

/* NULL: no such name. */
const struct api_kind *api_kind_find(const struct api_kind *kinds, const char *name);

#endif
