/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by order_taker.c (threads, lease) and order_round.c (what lies in the boxes);
 * not for others.
 *
 *   a task: WAITS -> RUNS -> ENDED -> (result put) -> gone, its number kept
 *
 * Lock order: lock alone, never held over I/O.
 */
#ifndef APPLIER_ORDER_TAKER_IMPL_H
#define APPLIER_ORDER_TAKER_IMPL_H

#include "applier/order_mail.h"
#include "applier/order_taker.h"
#include "applier/order_targets.h"
#include "applier/order_work.h"

#include <stdatomic.h>

enum task_state { TASK_WAITS, TASK_RUNS, TASK_ENDED };

struct task {
    struct task *next; /* by number */
    /* Set when it is taken, never changed. */
    struct order_taker *taker;
    struct order order;
    uint64_t taken_ms; /* wall */
    struct cancel cancel;
    /* The round's thread alone. */
    pthread_t thread;
    bool has_thread;
    uint64_t progress_ms; /* when it is told next */
    struct order_progress told;
    /* Guarded by the taker's lock. */
    enum task_state state;
    struct order_result result; /* of one that ended */
    /* Atomic. */
    struct apply_progress progress;
    _Atomic bool is_cloned;
};

struct order_taker {
    /* Set by order_taker_start, never changed. */
    struct order_taker_options options;
    char *applier, *instance_path;
    struct order_mail *mail;
    struct order_targets *targets;
    struct cancel stop;
    pthread_t round_thread, beat_thread, guard_thread;
    /* The round's thread alone. */
    struct order_listing listing;
    uint64_t *ended; /* numbers at or above floor that are done */
    size_t ended_count, ended_cap;
    bool was_trouble;
    uint64_t refused_ms; /* monotonic: when one was told that was refused; 0: never */
    /* Guarded by lock. */
    pthread_mutex_t lock;
    struct id instance, replaces;
    uint64_t sequence, highest, floor, done;
    uint64_t alive_ms; /* monotonic: the beat that was put last was begun then */
    bool is_fenced; /* the lease is over: nothing begins until there is a new instance */
    struct task *tasks;
    struct err trouble; /* of the store; FAIL_NONE: none */
};

/* Tells that we live and which numbers we know. */
void order_taker_beat(struct order_taker *taker);
/* One look into the boxes and what follows from it. Whether anything happened. */
bool order_round(struct order_taker *taker);
/* Waits for all tasks, which were canceled, and forgets them without a result. */
void order_round_drop_all(struct order_taker *taker);

#endif
