/* SPDX-License-Identifier: Apache-2.0 */
/* One handler per route: arguments out of a checked request, one call of the vault. */
#ifndef API_HANDLERS_H
#define API_HANDLERS_H

#include "api/route.h"

#define API_EVENTS_MAX    1000
#define API_WAIT_MAX_MS   30000
#define API_MAX_WAITERS   32
#define API_KEY_MAX_BYTES 128

#define HANDLER(name)                                                                    \
    json_t *name(const struct api_context *context, const struct api_request *request,   \
                 struct err *err)
HANDLER(api_get_status);
HANDLER(api_get_applier);
HANDLER(api_get_sources);
HANDLER(api_post_source);
HANDLER(api_delete_source);
HANDLER(api_check_source);
HANDLER(api_get_targets);
HANDLER(api_post_target);
HANDLER(api_delete_target);
HANDLER(api_check_target);
HANDLER(api_get_inventory);
HANDLER(api_discover);
HANDLER(api_get_machines);
HANDLER(api_post_machine);
HANDLER(api_get_machine);
HANDLER(api_post_operation);
HANDLER(api_get_jobs);
HANDLER(api_get_job);
HANDLER(api_delete_job);
HANDLER(api_get_events);
HANDLER(api_get_throttle);
HANDLER(api_put_throttle);
HANDLER(api_get_blackout);
HANDLER(api_put_blackout);
HANDLER(api_get_orphans);
HANDLER(api_clean_orphans);
HANDLER(api_get_keys);
HANDLER(api_rotate_keys);
HANDLER(api_rewrap_keys);
HANDLER(api_post_plan);
HANDLER(api_get_network);
HANDLER(api_check_network);
HANDLER(api_plan_network);
HANDLER(api_get_openapi);
#undef HANDLER

#endif
