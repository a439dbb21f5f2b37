/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vault's side of the orders: gives one to the applier of a name and waits for what
 * became of it, while a thread of its own watches which appliers live.
 *
 * Any number of appliers may run under one name; one of them gets the orders, another one
 * only after that one was silent for its lease, as measured here: on our clock, by a beat
 * that does not change. An applier that was started again on its data_dir says whom it
 * replaces and gets them at once. Any thread.
 */
#ifndef APPLIER_ORDER_DESK_H
#define APPLIER_ORDER_DESK_H

#include "applier/order.h"
#include "store/store.h"

struct order_desk;

struct order_desk_options {
    struct store *store; /* the state store; borrowed */
    struct keys *keys;   /* borrowed */
    uint64_t lost_ms;    /* silent for so long: told; 0: 2 min */
    uint64_t give_up_ms; /* lost for so long: whoever waits fails; 0: 1 h */
    uint64_t brief_ms;   /* the same for brief ones, lost or not; 0: 30 s */
    /* An applier was lost (text says since when) or is back. From the desk's thread, no
     * lock held; NULL: nobody wants to know. */
    void (*on_change)(void *ctx, const char *applier, bool is_lost, const char *text);
    void *ctx;
};

MUST_CHECK struct order_desk *order_desk_open(const struct order_desk_options *options,
                                              struct err *err);
/* Those who wait ask their appliers to stop, and return soon. */
void order_desk_stop(struct order_desk *desk);
/* Nobody may wait any more. */
void order_desk_close(struct order_desk *desk);
AUTO_CLEANUP(struct order_desk, order_desk_close);

/* From now on the applier is watched. FAIL_INPUT: no name for one. */
MUST_CHECK bool order_desk_watch(struct order_desk *desk, const char *applier,
                                 struct err *err);

/* The keys of all boxes: order_mail_rewrap. Asks the store. */
MUST_CHECK bool order_desk_rewrap(struct order_desk *desk, struct err *err);

struct order_wait {
    const struct cancel *cancel; /* NULL: never */
    bool is_brief;               /* somebody sits in front of it */
    /* New numbers of the applier; from the waiting thread. NULL: nobody looks. */
    void (*on_progress)(void *ctx, const struct order_progress *progress);
    void *ctx;
};

/*
 * Gives the order (number, floor, nonce and instance are set here) and waits for its end;
 * what it ended with is *ret, or *err. Given again to the applier that takes over, but
 * for ORDER_TEST_START: FAIL_CONFLICT (that VM may have been what brought the host down).
 *
 * FAIL_CANCELED: canceled; FAIL_TRANSIENT: no applier; else of the store. *ret_is_open:
 * there is no result, and nobody knows whether it still goes on; the next order for the
 * machine ends it before it begins.
 */
MUST_CHECK bool order_desk_do(struct order_desk *desk, const char *applier,
                              struct order *order, const struct order_wait *wait,
                              struct order_result *ret, bool *ret_is_open,
                              struct err *err);

/* How an applier does, for those who look. */
struct order_applier {
    bool is_seen; /* since we watch; else the rest is empty */
    bool is_lost;
    bool is_alive;      /* silent for less than its lease */
    uint64_t silent_ms; /* since its last beat */
    uint64_t running;   /* orders */
    char version[32];
    char host[64];
};
void order_desk_look(struct order_desk *desk, const char *applier,
                     struct order_applier *ret);

#endif
