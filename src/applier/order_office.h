/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vault knows of the appliers of one name, and which of them it gives its orders
 * to. Fed with beats and the time of our own clock; no I/O, no threads, no locks: the
 * desk's part that can be tried without waiting.
 *
 *   seen      its beat changed, or is new to us: from then on for its lease, alive
 *   current   gets the orders while it is alive; before anybody else does it must have
 *             been silent for its lease, or gone, or replaced by name
 */
#ifndef APPLIER_ORDER_OFFICE_H
#define APPLIER_ORDER_OFFICE_H

#include "applier/order_mail.h"

struct office_instance {
    struct order_beat beat;
    uint64_t seen_ms; /* our clock */
    bool is_there;    /* in the last listing */
    bool was_replaced;
};

struct order_office {
    uint64_t since_ms; /* watched */
    size_t count;
    struct office_instance instances[ORDER_BEATS_MAX];
    size_t current; /* of instances; == ORDER_BEATS_MAX: none */
    uint64_t highest;
};

void order_office_init(struct order_office *office, uint64_t now_ms);
/* One look at all beats that there are: begin, each beat, end. Beats may be any that once
 * were sealed: one that goes back says nothing. */
void order_office_begin(struct order_office *office);
void order_office_note(struct order_office *office, const struct order_beat *beat,
                       uint64_t now_ms);
void order_office_end(struct order_office *office, uint64_t now_ms);

/* NULL: nobody is there. */
const struct office_instance *order_office_current(const struct order_office *office);
bool order_office_is_alive(const struct office_instance *instance, uint64_t now_ms);
/* How long nobody was seen. */
uint64_t order_office_silent_ms(const struct order_office *office, uint64_t now_ms);

#endif
