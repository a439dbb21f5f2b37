/* SPDX-License-Identifier: Apache-2.0 */
/* One kedged per data folder. */
#ifndef DAEMON_LOCK_H
#define DAEMON_LOCK_H

#include "base/err.h"

/* Takes data_dir/kedged.lock for the life of the returned descriptor and writes our
 * process number into it. FAIL_CONFLICT names the process that has it. */
MUST_CHECK bool lock_take(const char *data_dir, int *ret_fd, struct err *err);

#endif
