/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The applier role on its own: takes the orders for its name out of the state store, does
 * them, and shows by a beat that it lives. It reads the log store and writes to targets;
 * it makes no decisions.
 *
 * Threads: one for the boxes, one for the beat, one that guards the lease (and never does
 * I/O), one per order that runs. Calls: any thread.
 */
#ifndef APPLIER_ORDER_TAKER_H
#define APPLIER_ORDER_TAKER_H

#include "applier/order.h"
#include "store/store.h"

struct order_taker;

#define ORDER_MAX_RUNNING 64u

struct order_taker_options {
    const char *applier;     /* its name */
    const char *data_dir;    /* remembers which instance ran here; locked by the caller */
    struct store *log_store; /* borrowed, as the next two */
    struct store *state_store;
    struct keys *keys;
    uint32_t workers;  /* of one cycle; 0: 3 */
    uint64_t lease_ms; /* ORDER_LEASE_MIN_MS ..; 0: 30 s */
    /* NULL with *err: it cannot be opened. options live as long as what is opened. */
    struct target *(*open_target)(const char *name, const char *kind,
                                  const json_t *options, const char *data_dir,
                                  struct err *err);
};

MUST_CHECK struct order_taker *order_taker_start(
    const struct order_taker_options *options, struct err *err);
/* What runs is stopped where it is (it is given again to whoever comes next), the beat is
 * taken away. keys are canceled. */
void order_taker_stop(struct order_taker *taker);
AUTO_CLEANUP(struct order_taker, order_taker_stop);

/* {name, instance, fenced, silent_ms: since the last beat, done: orders, orders:
 * [{number, what, machine, target, state, taken_ms, segments_total, segments_verified,
 * segments_applied, written_bytes, zeroed_bytes, same_bytes}], error: of the store, or
 * ""} */
MUST_CHECK json_t *order_taker_view(struct order_taker *taker);

#endif
