/* SPDX-License-Identifier: Apache-2.0 */
/* Cancel token: an atomic flag for loops and an eventfd for waits. */
#include "base/cancel.h"

#include "base/clock.h"

#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

void cancel_init(struct cancel *cancel)
{
    cancel->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    atomic_init(&cancel->is_set, false);
}

void cancel_release(struct cancel *cancel)
{
    if (cancel->event_fd >= 0)
        (void)close(cancel->event_fd); /* nothing buffered */
    cancel->event_fd = -1;
}

void cancel_set(struct cancel *cancel)
{
    atomic_store(&cancel->is_set, true);
    uint64_t one = 1;
    ssize_t ignored = write(cancel->event_fd, &one, sizeof one); /* full is set already */
    (void)ignored;
}

bool cancel_is_set(const struct cancel *cancel)
{
    return cancel && atomic_load_explicit(&cancel->is_set, memory_order_relaxed);
}

bool cancel_check(const struct cancel *cancel, struct err *err)
{
    if (cancel_is_set(cancel))
        return err_set(err, FAIL_CANCELED, "canceled");
    return true;
}

bool cancel_sleep_ms(const struct cancel *cancel, uint64_t ms, struct err *err)
{
    if (!cancel) {
        clock_sleep_ms(ms);
        return true;
    }
    uint64_t until = clock_mono_ms() + ms, now;
    while (!cancel_is_set(cancel) && (now = clock_mono_ms()) < until) {
        struct pollfd p = {.fd = cancel->event_fd, .events = POLLIN};
        (void)poll(&p, 1, (int)MIN_OF(until - now, 60000)); /* the loop looks again */
    }
    return cancel_check(cancel, err);
}
