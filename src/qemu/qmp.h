/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of one QEMU monitor (QMP) Unix socket. Calls are synchronous; events that
 * arrive meanwhile are kept (at most QMP_MAX_EVENTS, oldest dropped) for qmp_wait_event.
 * One thread at a time. Source: QEMU "QMP Reference Manual" 7.2, checked against
 * QEMU 7.2.
 */
#ifndef QEMU_QMP_H
#define QEMU_QMP_H

#include "base/cancel.h"
#include "http/json.h"

#define QMP_MAX_EVENTS 256

struct qmp;

/* Connects and negotiates capabilities. A QMP socket serves one client at a time: when
 * another client holds it the greeting does not come, FAIL_TRANSIENT says so. */
MUST_CHECK struct qmp *qmp_open(const char *socket_path, uint64_t deadline_ms,
                                struct err *err);
void qmp_close(struct qmp *qmp);
AUTO_CLEANUP(struct qmp, qmp_close);

/* Runs a command; arguments (may be NULL) is taken. *ret (may be NULL) gets the "return"
 * value, owned by the caller. A QMP error becomes FAIL_IO with its text (DeviceNotFound:
 * FAIL_GONE). A lost connection is FAIL_TRANSIENT. */
MUST_CHECK bool qmp_call(struct qmp *qmp, const char *command, json_t *arguments,
                         uint64_t deadline_ms, json_t **ret, struct err *err);

/* Waits for an event of that name (kept ones first, each is given once). */
MUST_CHECK bool qmp_wait_event(struct qmp *qmp, const char *event, uint64_t deadline_ms,
                               const struct cancel *cancel, json_t **ret_data,
                               struct err *err);

#endif
