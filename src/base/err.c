/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors: kinds, texts, remedies.
 *
 * The table below is the only place where a kind meets the outside world (HTTP status,
 * exit code); man pages and the API document quote it.
 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int http_status;
    int exit_code;
} KINDS[] = {
    [FAIL_NONE] = {"none", 200, 0},
    [FAIL_TRANSIENT] = {"transient", 503, 3},
    [FAIL_AUTH] = {"auth", 403, 4},
    [FAIL_GONE] = {"gone", 404, 5},
    [FAIL_CONFLICT] = {"conflict", 409, 6},
    [FAIL_CORRUPT] = {"corrupt", 500, 7},
    [FAIL_NO_SPACE] = {"no-space", 507, 8},
    [FAIL_LIMIT] = {"limit", 413, 9},
    [FAIL_INPUT] = {"input", 400, 2},
    [FAIL_CANCELED] = {"canceled", 409, 10},
    [FAIL_IO] = {"io", 502, 11},
    [FAIL_BUG] = {"bug", 500, 70},
};

const char *err_kind_name(enum err_kind kind)
{
    return KINDS[kind].name;
}

int err_kind_http_status(enum err_kind kind)
{
    return KINDS[kind].http_status;
}

int err_kind_exit_code(enum err_kind kind)
{
    return KINDS[kind].exit_code;
}

enum err_kind err_kind_from_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(KINDS); i++)
        if (name && strcmp(KINDS[i].name, name) == 0)
            return (enum err_kind)i;
    return FAIL_BUG;
}

static enum err_kind kind_of_errno(int errno_value)
{
    switch (errno_value) {
    case ENOSPC:
    case EDQUOT:
        return FAIL_NO_SPACE;
    case ENOENT:
    case ENXIO:
    case ENODEV:
        return FAIL_GONE;
    case EACCES:
    case EPERM:
        return FAIL_AUTH;
    case EEXIST:
    case EBUSY:
        return FAIL_CONFLICT;
    case EAGAIN:
    case EINTR:
    case ETIMEDOUT:
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EMFILE:
    case ENFILE:
        return FAIL_TRANSIENT;
    case ECANCELED:
        return FAIL_CANCELED;
    case EINVAL:
    case ENAMETOOLONG:
    case ENOTDIR:
    case EISDIR:
        return FAIL_INPUT;
    default:
        return FAIL_IO;
    }
}

static const char *hint_of_errno(int errno_value)
{
    switch (errno_value) {
    case ENOSPC:
    case EDQUOT:
        return "free space there, work goes on by itself";
    case EMFILE:
    case ENFILE:
        return "raise the limit of open files (ulimit -n, LimitNOFILE=)";
    case EROFS:
        return "the file system is mounted read-only";
    default:
        return NULL;
    }
}

bool err_set(struct err *err, enum err_kind kind, const char *fmt, ...)
{
    va_list ap;
    err->kind = kind;
    err->sys_errno = 0;
    err->retry_after_ms = 0;
    va_start(ap, fmt);
    (void)vsnprintf(err->text, sizeof err->text, fmt, ap); /* cut is fine */
    va_end(ap);
    return false;
}

bool err_errno(struct err *err, int errno_value, const char *fmt, ...)
{
    char what[ERR_TEXT_BYTES / 2];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof what, fmt, ap); /* cut is fine */
    va_end(ap);
    const char *hint = hint_of_errno(errno_value);
    (void)err_set(err, kind_of_errno(errno_value), "%s: %s%s%s", what,
                  strerrordesc_np(errno_value) ? strerrordesc_np(errno_value)
                                               : "unknown error",
                  hint ? "; " : "", hint ? hint : "");
    err->sys_errno = errno_value;
    return false;
}

bool err_wrap(struct err *err, const char *fmt, ...)
{
    char what[ERR_TEXT_BYTES / 2];
    char old[ERR_TEXT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof what, fmt, ap); /* cut is fine */
    va_end(ap);
    memcpy(old, err->text, sizeof old);
    (void)snprintf(err->text, sizeof err->text, "%s: %.*s", what, ERR_TEXT_BYTES - 8,
                   old);
    return false;
}

bool err_hint(struct err *err, const char *fmt, ...)
{
    if (strstr(err->text, "; "))
        return false;
    size_t at = strlen(err->text);
    if (at + 4 >= sizeof err->text)
        return false;
    err->text[at++] = ';';
    err->text[at++] = ' ';
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(err->text + at, sizeof err->text - at, fmt, ap); /* cut is fine */
    va_end(ap);
    return false;
}

void err_clear(struct err *err)
{
    *err = ERR_INIT;
}
