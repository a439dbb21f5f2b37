/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token that says "stop". Set once, by anybody, signal handlers included; polled by
 * loops and waited on through its file descriptor. Embedded by its owner, outlives those
 * who look at it.
 */
#ifndef BASE_CANCEL_H
#define BASE_CANCEL_H

#include "base/err.h"

struct cancel {
    /* Set by cancel_init, never changed. */
    int event_fd; /* readable once set */
    /* Atomic. */
    _Atomic bool is_set;
};

void cancel_init(struct cancel *cancel);
void cancel_release(struct cancel *cancel);
void cancel_set(struct cancel *cancel);
bool cancel_is_set(const struct cancel *cancel); /* NULL: never */

/* false with FAIL_CANCELED when set. */
MUST_CHECK bool cancel_check(const struct cancel *cancel, struct err *err);

/* Sleeps up to ms; false with FAIL_CANCELED when set meanwhile. */
MUST_CHECK bool cancel_sleep_ms(const struct cancel *cancel, uint64_t ms,
                                struct err *err);

#endif
