/* SPDX-License-Identifier: Apache-2.0 */
/* Forced into every unit (-include): functions that have a safe counterpart in base/. */
#ifndef BASE_BANNED_H
#define BASE_BANNED_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Macros of the C library under clang with _FORTIFY_SOURCE. */
#undef sprintf
#undef vsprintf

#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf strtok atoi atol atoll
#pragma GCC poison localtime gmtime ctime asctime srand system popen tmpnam mktemp

/* Not poisoned, because OpenSSL names a parameter so; a call is a warning. */
extern int rand(void) __attribute__((deprecated("use secret_random")));

#endif
