/* SPDX-License-Identifier: Apache-2.0 */
/* Fault points: a counter and a rule per name; crash means _exit without any flushing. */
#include "base/fault.h"

#include "base/log.h"
#include "base/text.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

#define CRASH_EXIT 137

enum fault_action { ACT_NONE, ACT_ERROR, ACT_CRASH };

struct fault_rule {
    enum fault_action action;
    uint64_t at_visit;
    bool and_later;
    enum err_kind kind;
};

static const char *const NAMES[] = {
#define X(name) #name,
#include "base/fault_points.def"
#undef X
};

/* Set by fault_init, never changed. */
static struct fault_rule rules[FAULT_POINT_COUNT];
static const char *log_path;
/* Atomic. */
static _Atomic uint64_t visits[FAULT_POINT_COUNT];

const char *fault_point_name(enum fault_point point)
{
    return NAMES[point];
}

static void log_visit(enum fault_point point)
{
    AUTO(close_fd)
    int fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    char line[64];
    int used = snprintf(line, sizeof line, "%s\n", NAMES[point]);
    if (fd >= 0 && used > 0) {
        ssize_t ignored = write(fd, line, (size_t)used); /* a test aid only */
        (void)ignored;
    }
}

bool fault_visit(enum fault_point point, struct err *err)
{
    const struct fault_rule *rule = &rules[point];
    uint64_t visit = atomic_fetch_add(&visits[point], 1) + 1;
    if (visit == 1 && log_path)
        log_visit(point);
    if (rule->action == ACT_NONE ||
        (rule->and_later ? visit < rule->at_visit : visit != rule->at_visit))
        return false;
    if (rule->action == ACT_CRASH) {
        log_event(LOG_WARN, "fault_crash", "point=%s visit=%llu", NAMES[point],
                  (unsigned long long)visit);
        _exit(CRASH_EXIT);
    }
    (void)err_set(err, rule->kind, "fault point %s told to fail at visit %llu",
                  NAMES[point], (unsigned long long)visit);
    return true;
}

static bool parse_rule(char *text, struct err *err)
{
    char *equals = strchr(text, '=');
    char *at = equals ? strchr(equals, '@') : NULL;
    if (!at)
        return err_set(err, FAIL_INPUT,
                       "FAULTS: '%s' is not NAME=error@N or NAME=crash@N", text);
    *equals = *at = 0;
    struct fault_rule rule = {.action = ACT_CRASH, .kind = FAIL_IO};
    char *kind = strchr(at + 1, ':');
    if (kind) {
        *kind++ = 0;
        rule.kind = err_kind_from_name(kind);
        if (strcmp(err_kind_name(rule.kind), kind) != 0 || rule.kind == FAIL_NONE)
            return err_set(err, FAIL_INPUT, "FAULTS: unknown kind '%s'", kind);
    }
    char *plus = strchr(at + 1, '+');
    if (plus) {
        *plus = 0;
        rule.and_later = true;
    }
    if (strcmp(equals + 1, "error") == 0)
        rule.action = ACT_ERROR;
    else if (strcmp(equals + 1, "crash") != 0)
        return err_set(err, FAIL_INPUT, "FAULTS: unknown action '%s'", equals + 1);
    if (!text_parse_u64(at + 1, 1, UINT64_MAX, &rule.at_visit, err))
        return err_wrap(err, "FAULTS");
    for (size_t i = 0; i < FAULT_POINT_COUNT; i++)
        if (strcmp(NAMES[i], text) == 0) {
            rules[i] = rule;
            return true;
        }
    return err_set(err, FAIL_INPUT, "FAULTS: no fault point is called '%s'", text);
}

bool fault_init(struct err *err)
{
    const char *spec = getenv("FAULTS");
    log_path = getenv("FAULTS_LOG");
    if (!spec || !*spec)
        return true;
#ifndef KEDGE_FAULTS
    return err_set(err, FAIL_INPUT,
                   "FAULTS is set, but this build has no fault points; "
                   "configure with -Dfaults=true");
#endif
    AUTO(free) char *copy = xstrdup(spec);
    char *save = NULL;
    for (char *one = strtok_r(copy, ",", &save); one; one = strtok_r(NULL, ",", &save))
        if (!parse_rule(one, err))
            return false;
    return true;
}
