/* SPDX-License-Identifier: Apache-2.0 */
/* The network's options of the configuration as rules of netpath/path.h, with those of an
 * appliance.json. */
#ifndef DAEMON_NETWORK_RULES_H
#define DAEMON_NETWORK_RULES_H

#include "daemon/config.h"

/* One option's value. FAIL_INPUT. Pure. */
MUST_CHECK bool network_option_check(const char *option, const char *value,
                                     struct err *err);

/* Puts them in force, or changes nothing; warns of rules that cut an account off. */
MUST_CHECK bool network_apply(const struct config *config, struct err *err);

/* The bypass rules of an appliance.json appended to ret; none unless its list is enabled.
 * FAIL_INPUT names what is wrong. Pure. */
MUST_CHECK bool appliance_bypass_read(const char *name, const char *text,
                                      size_t text_bytes, struct buf *ret,
                                      struct err *err);

#endif
