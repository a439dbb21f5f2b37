/* SPDX-License-Identifier: Apache-2.0 */
/* A growing list of findings. */
#include "base/finding.h"

#include <stdio.h>

void findings_release(struct findings *findings)
{
    free(findings->items);
    *findings = (struct findings){0};
}

struct finding *findings_add(struct findings *findings, enum finding_severity severity,
                             const char *code)
{
    if (findings->count == findings->cap) {
        findings->cap = findings->cap ? 2 * findings->cap : 8;
        findings->items =
            xrealloc(findings->items, findings->cap, sizeof *findings->items);
    }
    struct finding *finding = &findings->items[findings->count++];
    *finding = (struct finding){.severity = severity};
    (void)snprintf(finding->code, sizeof finding->code, "%s", code);
    return finding;
}

bool findings_have_blocker(const struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++)
        if (findings->items[i].severity == FINDING_BLOCKER)
            return true;
    return false;
}

const char *finding_severity_name(enum finding_severity severity)
{
    static const char *const NAMES[] = {"ok", "warning", "blocker"};
    return NAMES[severity];
}
