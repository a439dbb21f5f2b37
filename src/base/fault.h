/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named fault points: FAULTS="STORE_AFTER_PUT=crash@2,FILE_BEFORE_FSYNC=error@1:no-space"
 * makes the second visit of one point end the process (exit 137, nothing flushed) and the
 * first of another fail. `NAME=error@3` fails with kind io; `:transient`, `:no-space` …
 * choose the kind; `@N+` means from the Nth visit on. Compiled in only with
 * -Dfaults=true; otherwise FAULT() is the constant false. FAULTS_LOG=path appends the
 * name of each visited point once.
 */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#include "base/err.h"

enum fault_point {
#define X(name) FAULT_##name,
#include "base/fault_points.def"
#undef X
    FAULT_POINT_COUNT
};

#ifdef KEDGE_FAULTS
/* true: the point is told to fail here, *err is set. May not return. Any thread. */
#define FAULT(point, err) fault_visit(FAULT_##point, err)
#else
#define FAULT(point, err) ((void)(err), false)
#endif

MUST_CHECK bool fault_visit(enum fault_point point, struct err *err);

/* Reads FAULTS and FAULTS_LOG; FAIL_INPUT names what is wrong in them. Call once in main.
 */
MUST_CHECK bool fault_init(struct err *err);

const char *fault_point_name(enum fault_point point);

#endif
