/* SPDX-License-Identifier: Apache-2.0 */
/* A kedged with roles = applier: stores, keys and order taker, without a vault. */
#ifndef DAEMON_APPLIER_ROLE_H
#define DAEMON_APPLIER_ROLE_H

#include "daemon/config.h"
#include "http/json.h"

struct applier_role;

/* Whether the configuration asks for this role alone. */
bool applier_role_is_meant(const struct config *config);
MUST_CHECK struct applier_role *applier_role_open(const struct config *config,
                                                  struct err *err);
/* What runs stops where it is; it is given again at the next start. */
void applier_role_close(struct applier_role *role);
AUTO_CLEANUP(struct applier_role, applier_role_close);

/* As api_server_options.applier_view: ctx is the role. */
MUST_CHECK json_t *applier_role_view(void *ctx);

#endif
