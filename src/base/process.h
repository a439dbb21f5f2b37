/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children without a shell: argv vector, no inherited descriptors, a clean environment
 * (PATH, HOME, TMPDIR, and LC_ALL=C), standard input from /dev/null, output captured or
 * sent to a file. Never put a secret on argv. One thread per struct process.
 */
#ifndef BASE_PROCESS_H
#define BASE_PROCESS_H

#include "base/buf.h"
#include "base/cancel.h"

#define PROCESS_OUTPUT_MAX_BYTES (1 * MIB)

/* Runs to the end. argv ends with NULL. Non-zero exit: FAIL_IO with the last line of its
 * standard error. ret_out (may be NULL) gets standard output, at most
 * PROCESS_OUTPUT_MAX_BYTES. Past deadline_ms the child is killed: FAIL_TRANSIENT. */
MUST_CHECK bool process_run(const char *const argv[], uint64_t deadline_ms,
                            const struct cancel *cancel, struct buf *ret_out,
                            struct err *err);

/* Starts in the background in a session of its own: survives us; both outputs go to
 * log_path (append). */
MUST_CHECK bool process_start(const char *const argv[], const char *log_path,
                              int *ret_pid, struct err *err);

/* SIGTERM, then SIGKILL after grace_ms; waits for the end. Gone already is success. */
MUST_CHECK bool process_stop(int pid, uint64_t grace_ms, struct err *err);

/* Whether the process lives (and is not a zombie). Reaps our own child. */
bool process_is_alive(int pid);

#endif
