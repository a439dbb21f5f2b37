/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: formatted on the stack, written with one write(2), so lines never
 * interleave. */
#include "base/log.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 4096

static _Atomic int min_level = LOG_INFO;

static const char *const LEVELS[] = {"debug", "info", "warn", "error"};

void log_set_level(enum log_level level)
{
    atomic_store(&min_level, (int)level);
}

bool log_level_from_name(const char *name, enum log_level *ret)
{
    for (size_t i = 0; i < ARRAY_COUNT(LEVELS); i++)
        if (strcmp(LEVELS[i], name) == 0) {
            *ret = (enum log_level)i;
            return true;
        }
    return false;
}

bool log_is_on(enum log_level level)
{
    return (int)level >= atomic_load(&min_level);
}

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
    if (!log_is_on(level))
        return;
    char line[LINE_BYTES], when[CLOCK_TEXT_BYTES];
    int used = snprintf(line, sizeof line, "ts=%s level=%s event=%s ",
                        clock_wall_text(clock_wall_ms(), when), LEVELS[level], event);
    if (used < 0)
        return;
    va_list ap;
    va_start(ap, fmt);
    int more = vsnprintf(line + used, sizeof line - (size_t)used - 1, fmt, ap);
    va_end(ap);
    size_t length = strlen(line);
    if (more < 0 || length + 1 >= sizeof line)
        length = sizeof line - 2;
    line[length++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, length); /* nowhere to report it */
    (void)ignored;
}

const char *log_quote(const char *text, char out[LOG_QUOTED_BYTES])
{
    size_t at = 0;
    out[at++] = '"';
    for (const char *p = text; *p && at + 4 < LOG_QUOTED_BYTES; p++) {
        if (*p == '"' || *p == '\\')
            out[at++] = '\\';
        out[at++] = (unsigned char)*p < 0x20 ? ' ' : *p;
    }
    out[at++] = '"';
    out[at] = 0;
    return out;
}
