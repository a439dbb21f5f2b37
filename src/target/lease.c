/* SPDX-License-Identifier: Apache-2.0 */
/* Two short lists under one lock; who waits for a hold is woken when any is dropped. */
#include "target/lease.h"

#include "base/text.h"

#include <assert.h>

void leases_init(struct leases *leases)
{
    *leases = (struct leases){0};
    (void)pthread_mutex_init(&leases->lock, NULL);     /* cannot fail with defaults */
    (void)pthread_cond_init(&leases->hold_gone, NULL); /* cannot fail with defaults */
}

void leases_release(struct leases *leases)
{
    assert(!leases->open && !leases->holds);
    (void)pthread_cond_destroy(&leases->hold_gone);
    (void)pthread_mutex_destroy(&leases->lock);
}

struct lease *lease_take(struct leases *leases, const char *machine, bool for_writing)
{
    struct lease *lease = xcalloc(1, sizeof *lease);
    text_copy(lease->machine, sizeof lease->machine, machine);
    lease->for_writing = for_writing;
    LOCK_GUARD(&leases->lock);
    lease->next = leases->open;
    leases->open = lease;
    return lease;
}

void lease_drop(struct leases *leases, struct lease *lease)
{
    if (!lease)
        return;
    LOCK_GUARD(&leases->lock);
    struct lease **at = &leases->open;
    while (*at != lease)
        at = &(*at)->next;
    *at = lease->next;
    free(lease);
}

bool lease_exists(struct leases *leases, const char *machine, bool only_writers)
{
    LOCK_GUARD(&leases->lock);
    for (const struct lease *lease = leases->open; lease; lease = lease->next)
        if (strcmp(lease->machine, machine) == 0 && (lease->for_writing || !only_writers))
            return true;
    return false;
}

bool lease_is_only(struct leases *leases, const struct lease *lease)
{
    LOCK_GUARD(&leases->lock);
    for (const struct lease *one = leases->open; one; one = one->next)
        if (one != lease && strcmp(one->machine, lease->machine) == 0)
            return false;
    return true;
}

static bool is_held(const struct leases *leases, const char *machine)
{
    for (const struct hold *hold = leases->holds; hold; hold = hold->next)
        if (strcmp(hold->machine, machine) == 0)
            return true;
    return false;
}

struct hold *hold_take(struct leases *leases, const char *machine)
{
    struct hold *hold = xcalloc(1, sizeof *hold);
    text_copy(hold->machine, sizeof hold->machine, machine);
    hold->leases = leases;
    LOCK_GUARD(&leases->lock);
    while (is_held(leases, machine))
        (void)pthread_cond_wait(&leases->hold_gone, &leases->lock);
    hold->next = leases->holds;
    leases->holds = hold;
    return hold;
}

void hold_drop(struct hold *hold)
{
    if (!hold)
        return;
    struct leases *leases = hold->leases;
    LOCK_GUARD(&leases->lock);
    struct hold **at = &leases->holds;
    while (*at != hold)
        at = &(*at)->next;
    *at = hold->next;
    (void)pthread_cond_broadcast(&leases->hold_gone); /* cannot fail */
    free(hold);
}
