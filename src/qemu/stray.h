/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that a crash of ours left running, found by their command line. Any thread.
 */
#ifndef QEMU_STRAY_H
#define QEMU_STRAY_H

#include "base/err.h"

/* Ends (SIGTERM, after grace_ms SIGKILL) every process with a command line word that
 * begins with `start`, which must be long enough to be ours alone: a whole path. */
MUST_CHECK bool stray_kill(const char *start, uint64_t grace_ms, struct err *err);

/* When the process began, in ticks since the host's boot; 0: no such process, or ended.
 */
uint64_t stray_start_ticks(int pid);

#endif
