/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per event on standard error: `ts=… level=info event=cycle_done key=value …`.
 * Below the gateway/applier rank only log_debug is used: whoever handles an error logs it
 * once. Never pass a secret: struct secret has no formatter. Any thread; a line is one
 * write(2).
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/defs.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_set_level(enum log_level level);
MUST_CHECK bool log_level_from_name(const char *name, enum log_level *ret);
bool log_is_on(enum log_level level);

/* event: snake_case name; fmt: "key=value key2=value2"; values with blanks through %s are
 * quoted by the caller with log_quote. */
void log_event(enum log_level level, const char *event, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

#define log_debug(event, ...)                                                            \
    do {                                                                                 \
        if (log_is_on(LOG_DEBUG))                                                        \
            log_event(LOG_DEBUG, event, __VA_ARGS__);                                    \
    } while (0)
#define log_info(event, ...)  log_event(LOG_INFO, event, __VA_ARGS__)
#define log_warn(event, ...)  log_event(LOG_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_event(LOG_ERROR, event, __VA_ARGS__)

/* "text" with quotes, backslashes and control characters escaped; out is returned. */
#define LOG_QUOTED_BYTES 1100
const char *log_quote(const char *text, char out[LOG_QUOTED_BYTES]);

#endif
