/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has to be set up for replication over Microsoft peering or private peering: a
 * plan out of the tables of doctor/regions.def. Pure; any thread.
 */
#ifndef DOCTOR_PEERING_H
#define DOCTOR_PEERING_H

#include "http/json.h"

struct peering_request {
    const char *cloud; /* "public", "usgov" */
    /* "eastus" or "East US", in any case: of the project, and where machines go. */
    const char *source_region, *target_region;
    const char *log_account; /* of the log store, for private peering; NULL: not known */
};

/* {cloud, source_region, target_region, communities: [{community, what}], internet:
 * [{address, optional}], microsoft_peering: [{rule, data}], private_peering: [rules],
 * appliance_json, source, source_date}. FAIL_INPUT: an unknown cloud, or a region without
 * a verified community; names near ones. */
MUST_CHECK json_t *peering_plan(const struct peering_request *request, struct err *err);

#endif
