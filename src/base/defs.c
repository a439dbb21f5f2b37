/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocation that either works or ends the process.
 *
 * Restart-and-resume is a tested path (every durable step is journalled), so a
 * half-handled out-of-memory would be worse than a crash. Sizes that come from outside
 * are bounded by their parsers before they get here.
 */
#include "base/defs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void auto_free(void *pointer_to_pointer)
{
    void *p;
    memcpy(&p, pointer_to_pointer, sizeof p);
    free(p);
}

void auto_close_fd(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd); /* nothing to do about it here: writers fsync before closing */
}

static NORETURN void out_of_memory(size_t count, size_t size_bytes)
{
    fprintf(stderr, "level=error event=out_of_memory count=%zu size_bytes=%zu\n", count,
            size_bytes);
    abort();
}

void *xcalloc(size_t count, size_t size_bytes)
{
    void *p = calloc(count ? count : 1, size_bytes ? size_bytes : 1);
    if (!p)
        out_of_memory(count, size_bytes);
    return p;
}

void *xrealloc(void *p, size_t count, size_t size_bytes)
{
    size_t total;
    if (__builtin_mul_overflow(count, size_bytes, &total))
        out_of_memory(count, size_bytes);
    void *grown = realloc(p, total ? total : 1);
    if (!grown)
        out_of_memory(count, size_bytes);
    return grown;
}

char *xstrdup(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        out_of_memory(1, strlen(text) + 1);
    return copy;
}
