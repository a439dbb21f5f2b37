/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One error value for the whole tree.
 *
 * A function that can fail returns bool (or a pointer) and takes `struct err *err` last.
 * true leaves *err untouched; false has set it exactly once. The kind says what the
 * caller does next, never where it happened; retry decisions read the kind only, never
 * the text. Text: lower case, no full stop, quoted names, numbers with units, the remedy
 * after "; ".
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/defs.h"

#define ERR_TEXT_BYTES 512

enum err_kind {
    FAIL_NONE,
    FAIL_TRANSIENT, /* the same call may work later: retry with back-off */
    FAIL_AUTH,      /* credentials or permissions: a person must act */
    FAIL_GONE,      /* the thing does not exist (any more) */
    FAIL_CONFLICT,  /* it exists already, or the state does not allow this */
    FAIL_CORRUPT,   /* data does not match its checksum, tag or format */
    FAIL_NO_SPACE,  /* no room: pause, go on when there is room again */
    FAIL_LIMIT,     /* beyond a stated bound */
    FAIL_INPUT,     /* the user's or caller's input is wrong */
    FAIL_CANCELED,  /* we were asked to stop */
    FAIL_IO,        /* a device, file or peer failed */
    FAIL_BUG,       /* our own mistake */
};

struct err {
    enum err_kind kind;
    int sys_errno;
    uint32_t retry_after_ms;
    char text[ERR_TEXT_BYTES];
};

#define ERR_INIT ((struct err){.kind = FAIL_NONE})

/* Sets *err; always returns false, so that `return err_set(...)` reads well. */
bool err_set(struct err *err, enum err_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* As err_set, with ": strerror(errno_value)" and, where we know one, the remedy. The kind
 * follows from errno (ENOSPC -> FAIL_NO_SPACE, ENOENT -> FAIL_GONE, EACCES -> FAIL_AUTH,
 * EAGAIN/ETIMEDOUT/ECONNREFUSED... -> FAIL_TRANSIENT, else FAIL_IO). */
bool err_errno(struct err *err, int errno_value, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "what: " before the text; keeps the kind; always returns false. */
bool err_wrap(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Puts "; remedy" behind the text (once: when there is no "; " yet); always false. */
bool err_hint(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Makes *err FAIL_NONE again. */
void err_clear(struct err *err);

/* Stable machine-readable name: "transient", "auth", ... Never NULL. */
const char *err_kind_name(enum err_kind kind);

/* One table for the outside: HTTP status of the API and exit code of the CLI. */
int err_kind_http_status(enum err_kind kind);
int err_kind_exit_code(enum err_kind kind);

/* The other way: a kind from its name; FAIL_BUG when unknown. */
enum err_kind err_kind_from_name(const char *name);

#endif
