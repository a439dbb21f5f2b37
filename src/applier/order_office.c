/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is in charge. An applier stops by itself before its lease is over (order_taker.c),
 * counted from a beat that we cannot have seen before it was put; so when its lease is
 * over here, it has stopped there, whatever the clocks say.
 */
#include "applier/order_office.h"

void order_office_init(struct order_office *office, uint64_t now_ms)
{
    *office = (struct order_office){.since_ms = now_ms, .current = ORDER_BEATS_MAX};
}

void order_office_begin(struct order_office *office)
{
    for (size_t i = 0; i < office->count; i++)
        office->instances[i].is_there = false;
}

/* Of one that is new: an empty place, else that of who was silent for longest and is not
 * in charge. */
static struct office_instance *place(struct order_office *office,
                                     const struct order_beat *beat)
{
    for (size_t i = 0; i < office->count; i++)
        if (id_equal(&office->instances[i].beat.instance, &beat->instance))
            return &office->instances[i];
    size_t at = office->count;
    if (at == ORDER_BEATS_MAX) {
        at = office->current == 0 ? 1 : 0;
        for (size_t i = 0; i < ORDER_BEATS_MAX; i++)
            if (i != office->current &&
                office->instances[i].seen_ms < office->instances[at].seen_ms)
                at = i;
    } else {
        office->count++;
    }
    office->instances[at] = (struct office_instance){.beat.instance = beat->instance};
    return &office->instances[at];
}

void order_office_note(struct order_office *office, const struct order_beat *beat,
                       uint64_t now_ms)
{
    struct office_instance *instance = place(office, beat);
    instance->is_there = true;
    office->highest = MAX_OF(office->highest, beat->highest);
    if (beat->sequence <= instance->beat.sequence)
        return;
    instance->beat = *beat;
    instance->seen_ms = now_ms;
}

bool order_office_is_alive(const struct office_instance *instance, uint64_t now_ms)
{
    return instance->is_there && !instance->was_replaced &&
           now_ms - instance->seen_ms < instance->beat.lease_ms;
}

static void mark_replaced(struct order_office *office)
{
    for (size_t i = 0; i < office->count; i++)
        for (size_t j = 0; j < office->count; j++)
            if (i != j && id_equal(&office->instances[j].beat.replaces,
                                   &office->instances[i].beat.instance))
                office->instances[i].was_replaced = true;
}

void order_office_end(struct order_office *office, uint64_t now_ms)
{
    mark_replaced(office);
    const struct office_instance *current = order_office_current(office);
    if (current && order_office_is_alive(current, now_ms))
        return;
    size_t best = ORDER_BEATS_MAX;
    for (size_t i = 0; i < office->count; i++)
        if (order_office_is_alive(&office->instances[i], now_ms) &&
            (best == ORDER_BEATS_MAX ||
             office->instances[i].seen_ms > office->instances[best].seen_ms))
            best = i;
    office->current = best;
}

const struct office_instance *order_office_current(const struct order_office *office)
{
    return office->current < ORDER_BEATS_MAX ? &office->instances[office->current] : NULL;
}

uint64_t order_office_silent_ms(const struct order_office *office, uint64_t now_ms)
{
    uint64_t seen_ms = office->since_ms;
    for (size_t i = 0; i < office->count; i++)
        seen_ms = MAX_OF(seen_ms, office->instances[i].seen_ms);
    return now_ms - MIN_OF(now_ms, seen_ms);
}
