/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a check found: a list of (severity, what, why, remedy). Used by every pre-flight
 * and by the doctor; printed as a table or JSON. Owner releases. One thread at a time.
 */
#ifndef BASE_FINDING_H
#define BASE_FINDING_H

#include "base/defs.h"

enum finding_severity { FINDING_OK, FINDING_WARNING, FINDING_BLOCKER };

struct finding {
    enum finding_severity severity;
    char code[32];    /* stable, machine-readable: "disk.shared", "qmp.unreachable" */
    char what[160];   /* the thing: "disk 'data' of machine 'db1'" */
    char why[320];    /* what was found */
    char remedy[320]; /* what to do; "" for FINDING_OK */
};

struct findings {
    struct finding *items; /* owned */
    size_t count;
    size_t cap;
};

void findings_release(struct findings *findings);
static inline void auto_findings_release(struct findings *findings)
{
    findings_release(findings);
}

/* A new zeroed finding with severity and code set; valid until the next add. Fill the
 * texts. */
struct finding *findings_add(struct findings *findings, enum finding_severity severity,
                             const char *code);
bool findings_have_blocker(const struct findings *findings);
const char *finding_severity_name(
    enum finding_severity severity); /* ok warning blocker */

#endif
