/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders given and waited for.
 *
 * T1  a number is above every other one that this desk has given, and that the applier
 *     has begun (its beat tells before it begins), whatever the clock does; and no result
 *     counts but one with the order's own random nonce: nothing that lay in the
 *     store before can be an answer;
 * T2  an order names the one instance that may do it; it is addressed anew only when
 *     another instance is in charge (order_office.h);
 * T3  floor is the lowest number that somebody still waits for: what lies below it was
 *     given up, and the applier stops it before it begins anything else for that machine;
 * T4  who stops waiting without a result says so (is_open): his caller must not take the
 *     work for undone.
 * Lock order: lock alone; never held over I/O.
 */
#include "applier/order_desk.h"

#include "applier/order_office.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/text.h"

#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>

#define LOST_MS          ((uint64_t)2 * 60 * 1000)
#define GIVE_UP_MS       ((uint64_t)60 * 60 * 1000)
#define BRIEF_MS         ((uint64_t)30 * 1000)
#define BUSY_LOOK_MS     ((uint64_t)500) /* at beats, while somebody waits */
#define IDLE_LOOK_MS     ((uint64_t)5000)
#define TICK_MS          ((uint64_t)100)
#define FIRST_POLL_MS    ((uint64_t)50)
#define LAST_POLL_MS     ((uint64_t)1000)
#define PROGRESS_MS      ((uint64_t)1000)
#define STOP_PATIENCE_MS ((uint64_t)10000) /* for an answer when the desk closes */

/* Somebody who waits; on his stack. */
struct waiter {
    struct waiter *next;
    uint64_t number; /* 0: none yet */
};

/* One name. */
struct office {
    struct office *next;
    /* Set when it is made, never changed. */
    char name[ORDER_NAME_MAX];
    struct order_mail *mail; /* owned; the desk's thread opens it: see is_open */
    /* Guarded by the desk's lock. */
    bool is_open;
    struct order_office who;
    struct waiter *waiters;
    uint64_t last_number;
    uint64_t look_at_ms;
    bool is_lost;
    struct err trouble; /* why beats could not be looked at; FAIL_NONE: they were */
};

struct order_desk {
    /* Set by order_desk_open, never changed. */
    struct order_desk_options options;
    pthread_t thread;
    /* Guarded by lock. */
    pthread_mutex_t lock;
    struct office *offices; /* none ever leaves */
    /* Atomic. */
    _Atomic bool is_stopping;
    _Atomic bool is_closing;
};

/* ---- watching ---- */

static struct office *find_locked(struct order_desk *desk, const char *name)
{
    struct office *office = desk->offices;
    while (office && strcmp(office->name, name) != 0)
        office = office->next;
    return office;
}

static void look_at_beats(struct order_desk *desk, struct office *office,
                          const struct order_listing *listing)
{
    struct order_office fresh;
    {
        LOCK_GUARD(&desk->lock);
        fresh = office->who;
    }
    order_office_begin(&fresh);
    for (size_t i = 0; i < listing->count[BOX_BEAT]; i++) {
        struct order_beat beat;
        struct err why = ERR_INIT;
        if (order_mail_get_beat(office->mail, &listing->instances[i], &beat, &why))
            order_office_note(&fresh, &beat, clock_mono_ms());
        else if (why.kind != FAIL_GONE)
            log_debug("beat_not_read", "applier=%s text=\"%s\"", office->name, why.text);
    }
    order_office_end(&fresh, clock_mono_ms());
    LOCK_GUARD(&desk->lock);
    office->who = fresh;
}

static bool open_mail(struct order_desk *desk, struct office *office, struct err *err)
{
    {
        LOCK_GUARD(&desk->lock);
        if (office->is_open)
            return true;
    }
    office->mail =
        order_mail_open(office->name, desk->options.store, desk->options.keys, err);
    LOCK_GUARD(&desk->lock);
    office->is_open = office->mail != NULL;
    return office->is_open;
}

/* Tells once when it is lost, once when it is back. */
static void tell(struct order_desk *desk, struct office *office)
{
    char text[160], took[TEXT_HUMAN_BYTES];
    bool is_lost, was_lost;
    {
        LOCK_GUARD(&desk->lock);
        uint64_t silent_ms = order_office_silent_ms(&office->who, clock_mono_ms());
        is_lost = silent_ms >= desk->options.lost_ms;
        was_lost = office->is_lost;
        office->is_lost = is_lost;
        (void)snprintf(text, sizeof text, "applier '%s' was not seen for %s",
                       office->name, text_duration(silent_ms, took));
    }
    if (is_lost == was_lost || !desk->options.on_change)
        return;
    if (!is_lost)
        (void)snprintf(text, sizeof text, "applier '%s' is back", office->name);
    desk->options.on_change(desk->options.ctx, office->name, is_lost, text);
}

static void look(struct order_desk *desk, struct office *office)
{
    struct err why = ERR_INIT;
    AUTO(free) struct order_listing *listing = xcalloc(1, sizeof *listing);
    bool ok = open_mail(desk, office, &why) &&
              order_mail_list_beats(office->mail, listing, &why);
    if (ok)
        look_at_beats(desk, office, listing);
    {
        LOCK_GUARD(&desk->lock);
        office->trouble = why;
        office->look_at_ms =
            clock_mono_ms() + (office->waiters ? BUSY_LOOK_MS : IDLE_LOOK_MS);
    }
    /* A store that does not answer says nothing about the applier. */
    if (ok)
        tell(desk, office);
}

static struct office *due(struct order_desk *desk)
{
    uint64_t now_ms = clock_mono_ms();
    LOCK_GUARD(&desk->lock);
    for (struct office *office = desk->offices; office; office = office->next)
        if (now_ms >= office->look_at_ms)
            return office;
    return NULL;
}

static void *desk_main(void *ctx)
{
    struct order_desk *desk = ctx;
    while (!atomic_load(&desk->is_closing)) {
        struct office *office = due(desk);
        if (office)
            look(desk, office);
        else
            clock_sleep_ms(TICK_MS);
    }
    return NULL;
}

/* ---- one who waits ---- */

struct wait_state {
    struct order_desk *desk;
    struct office *office;
    struct order *order;
    const struct order_wait *wait;
    struct waiter waiter;
    bool is_put, is_canceled;
    uint64_t began_ms, canceled_ms, progress_ms, poll_ms;
};

static bool is_stopping(const struct wait_state *w)
{
    return atomic_load(&w->desk->is_stopping);
}

static void enlist(struct wait_state *w)
{
    struct office *office = w->office;
    LOCK_GUARD(&w->desk->lock);
    w->waiter.next = office->waiters;
    office->waiters = &w->waiter;
    office->look_at_ms = MIN_OF(office->look_at_ms, clock_mono_ms() + BUSY_LOOK_MS);
}

static void delist(struct wait_state *w)
{
    LOCK_GUARD(&w->desk->lock);
    struct waiter **at = &w->office->waiters;
    while (*at != &w->waiter)
        at = &(*at)->next;
    *at = w->waiter.next;
}

/* T1: only now, when a beat has told which numbers are used up; then T3. */
static void number_locked(struct wait_state *w)
{
    struct office *office = w->office;
    uint64_t used = MAX_OF(office->last_number, office->who.highest);
    if (!w->order->number) {
        office->last_number = MAX_OF(used + 1, clock_wall_ms());
        w->waiter.number = w->order->number = office->last_number;
    }
    w->order->floor = w->order->number;
    for (const struct waiter *o = office->waiters; o; o = o->next)
        if (o->number)
            w->order->floor = MIN_OF(w->order->floor, o->number);
}

/* Who is in charge now, and whether he lives; false: nobody. */
static bool in_charge(struct wait_state *w, struct id *ret, bool *ret_is_alive)
{
    LOCK_GUARD(&w->desk->lock);
    const struct office_instance *who = order_office_current(&w->office->who);
    *ret_is_alive = who && order_office_is_alive(who, clock_mono_ms());
    if (!who || !w->office->is_open)
        return false;
    *ret = who->beat.instance;
    number_locked(w);
    return true;
}

/* T2 */
static bool address(struct wait_state *w, const struct id *instance, struct err *err)
{
    AUTO(buf_release) struct buf message = {0};
    if (w->is_put && id_equal(&w->order->instance, instance))
        return true;
    if (w->is_put && w->order->what == ORDER_TEST_START)
        return err_set(err, FAIL_CONFLICT,
                       "applier '%s' was started again while test '%s' began; see that "
                       "its host is well, then ask for test-migrate again",
                       w->office->name, w->order->test_name);
    w->order->instance = *instance;
    order_encode(w->order, &message);
    if (FAULT(ORDER_BEFORE_PUT, err))
        return false;
    w->is_put = true; /* one that failed may have happened all the same */
    if (!order_mail_put(w->office->mail, BOX_ORDER, w->order->number, &message, err) ||
        FAULT(ORDER_AFTER_PUT, err))
        return err_wrap(err, "give an order to applier '%s'", w->office->name);
    w->poll_ms = FIRST_POLL_MS;
    return true;
}

/* *ret_done: it was there, and is ours (T1). */
static bool take_result(struct wait_state *w, struct order_result *ret, bool *ret_done)
{
    AUTO(buf_release) struct buf message = {0};
    AUTO(order_result_release) struct order_result result = {0};
    struct err why = ERR_INIT;
    *ret_done = false;
    if (!order_mail_get(w->office->mail, BOX_RESULT, w->order->number, &message, &why) ||
        !order_result_decode(message.data, message.bytes, &result, &why)) {
        if (why.kind != FAIL_GONE)
            log_debug("order_result_not_read", "applier=%s text=\"%s\"", w->office->name,
                      why.text);
        return why.kind == FAIL_GONE;
    }
    if (!id_equal(&result.nonce, &w->order->nonce))
        return false;
    *ret = result;
    result.body = NULL;
    *ret_done = true;
    return true;
}

static void take_progress(struct wait_state *w)
{
    AUTO(buf_release) struct buf message = {0};
    struct order_progress progress;
    struct err why = ERR_INIT;
    uint64_t now_ms = clock_mono_ms();
    if (!w->wait->on_progress || now_ms < w->progress_ms)
        return;
    w->progress_ms = now_ms + PROGRESS_MS;
    if (order_mail_get(w->office->mail, BOX_PROGRESS, w->order->number, &message, &why) &&
        order_progress_decode(message.data, message.bytes, &progress, &why) &&
        id_equal(&progress.nonce, &w->order->nonce))
        w->wait->on_progress(w->wait->ctx, &progress);
}

static void ask_to_stop(struct wait_state *w)
{
    AUTO(buf_release) struct buf message = {0};
    struct err why = ERR_INIT;
    w->is_canceled = true;
    w->canceled_ms = clock_mono_ms();
    if (!w->is_put)
        return;
    buf_append_text(&message, "{}");
    if (!order_mail_put(w->office->mail, BOX_CANCEL, w->order->number, &message, &why))
        log_warn("order_cancel_not_put", "applier=%s number=%" PRIu64 " text=\"%s\"",
                 w->office->name, w->order->number, why.text);
}

static bool give_up(struct wait_state *w, struct err *err)
{
    LOCK_GUARD(&w->desk->lock);
    if (w->office->trouble.kind == FAIL_NONE)
        return err_set(err, FAIL_TRANSIENT,
                       "applier '%s' does not answer; see that its kedged runs, with "
                       "this name and the same state_store",
                       w->office->name);
    *err = w->office->trouble;
    return err_wrap(err, "applier '%s'", w->office->name);
}

/* Whether to go on waiting; false with *err: not. */
static bool may_wait(struct wait_state *w, bool is_alive, struct err *err)
{
    uint64_t now_ms = clock_mono_ms(), silent_ms;
    const struct order_desk_options *options = &w->desk->options;
    if (!w->is_canceled && (cancel_is_set(w->wait->cancel) || is_stopping(w)))
        ask_to_stop(w);
    if (w->is_canceled &&
        (!w->is_put || !is_alive ||
         (is_stopping(w) && now_ms - w->canceled_ms >= STOP_PATIENCE_MS)))
        return err_set(err, FAIL_CANCELED, "canceled");
    {
        LOCK_GUARD(&w->desk->lock);
        silent_ms = order_office_silent_ms(&w->office->who, now_ms);
    }
    uint64_t waits_ms = now_ms - w->began_ms;
    if (w->wait->is_brief && waits_ms >= options->brief_ms)
        return give_up(w, err);
    if (!is_alive && MIN_OF(silent_ms, waits_ms) >= options->give_up_ms)
        return give_up(w, err);
    return true;
}

static void pause_a_little(struct wait_state *w)
{
    struct err canceled; /* is asked for in the next turn */
    if (w->is_canceled || is_stopping(w) ||
        !cancel_sleep_ms(w->wait->cancel, w->poll_ms, &canceled))
        clock_sleep_ms(FIRST_POLL_MS);
    w->poll_ms = MIN_OF(w->poll_ms + w->poll_ms / 2, LAST_POLL_MS);
}

static bool wait_for_end(struct wait_state *w, struct order_result *ret, struct err *err)
{
    for (;;) {
        struct id instance;
        bool is_alive = false, is_done = false;
        bool is_there = in_charge(w, &instance, &is_alive);
        if (is_there && !w->is_canceled && !address(w, &instance, err))
            return false;
        if (w->is_put && take_result(w, ret, &is_done) && !is_done)
            take_progress(w);
        if (is_done)
            return true;
        if (!may_wait(w, is_alive, err))
            return false;
        pause_a_little(w);
    }
}

/* What is left here does no harm: the applier removes what lies below the floor. */
static void clear_boxes(struct wait_state *w, bool is_open)
{
    static const enum order_box ALL[] = {BOX_ORDER, BOX_PROGRESS, BOX_CANCEL, BOX_RESULT};
    for (size_t i = 0; i < ARRAY_COUNT(ALL); i++) {
        struct err why = ERR_INIT;
        if (is_open && ALL[i] != BOX_ORDER)
            continue; /* it may still be read there that it is to stop */
        if (!order_mail_remove(w->office->mail, ALL[i], w->order->number, &why))
            log_debug("order_box_not_cleared", "text=\"%s\"", why.text);
    }
}

static bool no_result(const struct order_result *result, const char *applier,
                      struct err *err)
{
    if (result->failure.kind == FAIL_NONE)
        return true;
    *err = result->failure;
    return err_wrap(err, "applier '%s'", applier);
}

bool order_desk_do(struct order_desk *desk, const char *applier, struct order *order,
                   const struct order_wait *wait, struct order_result *ret,
                   bool *ret_is_open, struct err *err)
{
    *ret = (struct order_result){0};
    *ret_is_open = false;
    if (!order_desk_watch(desk, applier, err))
        return false;
    struct wait_state w = {.desk = desk,
                           .order = order,
                           .wait = wait,
                           .began_ms = clock_mono_ms(),
                           .poll_ms = FIRST_POLL_MS};
    {
        LOCK_GUARD(&desk->lock);
        w.office = find_locked(desk, applier);
    }
    order->nonce = id_random();
    order->number = 0;
    enlist(&w);
    bool ok = wait_for_end(&w, ret, err);
    *ret_is_open = !ok && w.is_put; /* T4 */
    if (ok && FAULT(ORDER_AFTER_RESULT, err))
        ok = false;
    if (w.is_put)
        clear_boxes(&w, *ret_is_open);
    delist(&w);
    if (ok && no_result(ret, applier, err))
        return true;
    order_result_release(ret);
    return false;
}

/* ---- life ---- */

bool order_desk_rewrap(struct order_desk *desk, struct err *err)
{
    const struct office *office;
    {
        LOCK_GUARD(&desk->lock);
        office = desk->offices; /* none ever leaves, new ones come in front */
    }
    for (; office; office = office->next)
        if (!order_mail_rewrap(office->name, desk->options.store, desk->options.keys,
                               err))
            return false;
    return true;
}

bool order_desk_watch(struct order_desk *desk, const char *applier, struct err *err)
{
    if (!text_check_name("applier", applier, err))
        return false;
    LOCK_GUARD(&desk->lock);
    if (find_locked(desk, applier))
        return true;
    struct office *office = xcalloc(1, sizeof *office);
    text_copy(office->name, sizeof office->name, applier);
    order_office_init(&office->who, clock_mono_ms());
    office->next = desk->offices;
    desk->offices = office;
    return true;
}

void order_desk_look(struct order_desk *desk, const char *applier,
                     struct order_applier *ret)
{
    *ret = (struct order_applier){0};
    uint64_t now_ms = clock_mono_ms();
    LOCK_GUARD(&desk->lock);
    const struct office *office = find_locked(desk, applier);
    if (!office)
        return;
    ret->is_lost = office->is_lost;
    ret->silent_ms = order_office_silent_ms(&office->who, now_ms);
    ret->is_seen = office->who.count > 0;
    const struct office_instance *who = order_office_current(&office->who);
    if (!who)
        return;
    ret->is_alive = order_office_is_alive(who, now_ms);
    ret->running = who->beat.running;
    text_copy(ret->version, sizeof ret->version, who->beat.version);
    text_copy(ret->host, sizeof ret->host, who->beat.host);
}

struct order_desk *order_desk_open(const struct order_desk_options *options,
                                   struct err *err)
{
    struct order_desk *desk = xcalloc(1, sizeof *desk);
    sigset_t all, old;
    desk->options = *options;
    if (!desk->options.lost_ms)
        desk->options.lost_ms = LOST_MS;
    if (!desk->options.give_up_ms)
        desk->options.give_up_ms = GIVE_UP_MS;
    if (!desk->options.brief_ms)
        desk->options.brief_ms = BRIEF_MS;
    (void)pthread_mutex_init(&desk->lock, NULL); /* default attributes cannot fail */
    (void)sigfillset(&all); /* signals belong to the thread that opened us */
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = pthread_create(&desk->thread, NULL, desk_main, desk);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (e == 0)
        return desk;
    (void)err_errno(err, e, "start the thread that watches appliers");
    (void)pthread_mutex_destroy(&desk->lock);
    free(desk);
    return NULL;
}

void order_desk_stop(struct order_desk *desk)
{
    if (desk)
        atomic_store(&desk->is_stopping, true);
}

void order_desk_close(struct order_desk *desk)
{
    if (!desk)
        return;
    atomic_store(&desk->is_closing, true);
    (void)pthread_join(desk->thread, NULL); /* ours */
    while (desk->offices) {
        struct office *office = desk->offices;
        desk->offices = office->next;
        order_mail_close(office->mail);
        free(office);
    }
    (void)pthread_mutex_destroy(&desk->lock); /* nobody holds it */
    free(desk);
}
