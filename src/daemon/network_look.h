/* SPDX-License-Identifier: Apache-2.0 */
/* The doctor without a daemon: one look, one answer. */
#ifndef DAEMON_NETWORK_LOOK_H
#define DAEMON_NETWORK_LOOK_H

#include "daemon/config.h"

/* What the configuration file itself has (stores and keys; sources and targets are in
 * the catalog of a daemon): the doctor's report as JSON. role: NULL is all. */
MUST_CHECK bool network_look(const struct config *config, const char *role,
                             struct buf *out, struct err *err);

/* words: "REGION,REGION[,CLOUD]"; doctor/peering.h as JSON. */
MUST_CHECK bool network_plan(const char *words, struct buf *out, struct err *err);

#endif
