/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vault and applier of orders side by side: one store in memory, one master key, a target
 * that notes what it was asked for and can be held up. cmocka assertions inside.
 */
#ifndef TESTS_APPLIER_ORDER_RIG_H
#define TESTS_APPLIER_ORDER_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "applier/order_desk.h"
#include "applier/order_mail.h"
#include "applier/order_taker.h"
#include "applier/target_remote.h"
#include "base/file.h"

#include <stdatomic.h>
#include <string.h>

#define APPLIER_NAME "east"

/* What the target saw; all Atomic. */
struct order_seen {
    _Atomic unsigned opened, created, listed, removed, tests, cleaned;
    _Atomic unsigned running, most_running; /* creates at once */
    _Atomic bool hold;                      /* creates and tests wait while it is set */
    _Atomic bool was_canceled;
};
extern struct order_seen order_seen;

struct order_rig {
    char dir[64];
    struct store *store;
    struct keys *keys;
    struct order_desk *desk;
    struct target *target; /* remote */
    struct machine_def machine;
};

void order_must(bool ok, const struct err *err);
int order_rig_set_up(void **state);
int order_rig_tear_down(void **state);

/* An applier on its own folder "<rig>/<name>"; the store may be another way to ours. */
struct order_taker *order_rig_taker(struct order_rig *rig, const char *name,
                                    struct store *store, uint64_t lease_ms);
/* Waits (a minute at most) until the counter has at least that value. */
void order_rig_wait(const _Atomic unsigned *counter, unsigned at_least);

/* A call of target.h in a thread of its own. */
struct order_call {
    struct target *target;
    const struct machine_def *machine;
    struct cancel cancel;
    bool is_test;
    pthread_t thread;
    bool ok;
    struct err err;
};
void order_call_begin(struct order_rig *rig, struct order_call *call, bool is_test);
void order_call_end(struct order_call *call);

#endif
