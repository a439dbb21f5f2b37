/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One round: take what is new, stop what is not wanted any more, begin what may begin,
 * answer what ended, remove what is nobody's.
 *
 * R1  an order is done when its seal is good, its number is that of its name, it is
 *     addressed to this very instance, not below the floor, and was not done before:
 *     numbers done are remembered until the floor passes them. An instance is as old as
 *     this process, so an older order can only be addressed to another one;
 * R2  one task per machine at a time, in the order of numbers; only a test whose
 *     clone exists lets others pass. What is below the floor is stopped, and has ended
 *     before anything newer begins for its machine;
 * R3  a result is put before the order is removed, and counts as done only then; what was
 *     stopped because the lease ended or we go has no result: it is given again.
 */
#include "applier/order_taker_impl.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"

#include <inttypes.h>
#include <signal.h>

#define PROGRESS_MS      ((uint64_t)1000)
#define REFUSED_EVERY_MS ((uint64_t)60 * 1000)

/* ---- taking ---- */

static struct task *find_task(struct order_taker *taker, uint64_t number)
{
    LOCK_GUARD(&taker->lock);
    struct task *task = taker->tasks;
    while (task && task->order.number != number)
        task = task->next;
    return task;
}

static bool was_done(const struct order_taker *taker, uint64_t number)
{
    for (size_t i = 0; i < taker->ended_count; i++)
        if (taker->ended[i] == number)
            return true;
    return false;
}

static void note_done(struct order_taker *taker, uint64_t number)
{
    size_t kept = 0;
    uint64_t floor;
    {
        LOCK_GUARD(&taker->lock);
        floor = taker->floor;
        taker->done++;
    }
    for (size_t i = 0; i < taker->ended_count; i++)
        if (taker->ended[i] >= floor)
            taker->ended[kept++] = taker->ended[i];
    taker->ended_count = kept;
    if (kept == taker->ended_cap) {
        taker->ended_cap = kept ? 2 * kept : 64;
        taker->ended = xrealloc(taker->ended, taker->ended_cap, sizeof *taker->ended);
    }
    taker->ended[taker->ended_count++] = number;
}

static void link_task(struct order_taker *taker, struct task *task)
{
    LOCK_GUARD(&taker->lock);
    struct task **at = &taker->tasks;
    while (*at && (*at)->order.number < task->order.number)
        at = &(*at)->next;
    task->next = *at;
    *at = task;
    taker->highest = MAX_OF(taker->highest, task->order.number);
    taker->floor = MAX_OF(taker->floor, task->order.floor);
}

/* R1; *order only when it is for us. */
static bool read_order(struct order_taker *taker, uint64_t number, struct order *ret,
                       struct err *err)
{
    AUTO(buf_release) struct buf message = {0};
    if (!order_mail_get(taker->mail, BOX_ORDER, number, &message, err) ||
        !order_decode(message.data, message.bytes, ret, err))
        return false;
    LOCK_GUARD(&taker->lock);
    if (ret->number != number || ret->floor > number)
        return err_set(err, FAIL_CORRUPT, "order %" PRIu64 " lies under number %" PRIu64,
                       ret->number, number);
    if (!id_equal(&ret->instance, &taker->instance) || taker->is_fenced)
        return err_set(err, FAIL_GONE, "it is another instance's");
    return true;
}

/* It lies there until somebody removes it: not once a round. */
static void tell_refused(struct order_taker *taker, uint64_t number,
                         const struct err *why)
{
    uint64_t now_ms = clock_mono_ms();
    if (taker->refused_ms && now_ms - taker->refused_ms < REFUSED_EVERY_MS)
        return;
    taker->refused_ms = now_ms;
    log_warn("order_refused", "number=%" PRIu64 " text=\"%s\"", number, why->text);
}

static bool take_one(struct order_taker *taker, uint64_t number)
{
    struct err why = ERR_INIT;
    struct task *task = xcalloc(1, sizeof *task);
    if (!read_order(taker, number, &task->order, &why)) {
        order_release(&task->order);
        free(task);
        if (why.kind != FAIL_GONE)
            tell_refused(taker, number, &why);
        return false;
    }
    task->taker = taker;
    task->taken_ms = clock_wall_ms();
    task->told.nonce = task->order.nonce;
    cancel_init(&task->cancel);
    log_info("order_taken", "number=%" PRIu64 " what=%s machine=%s target=%s", number,
             order_what_name(task->order.what),
             task->order.def ? task->order.def->name : "-", task->order.target);
    link_task(taker, task);
    return true;
}

static uint64_t floor_of(struct order_taker *taker)
{
    LOCK_GUARD(&taker->lock);
    return taker->floor;
}

static bool take_new(struct order_taker *taker)
{
    const struct order_listing *listing = &taker->listing;
    bool is_any = false;
    for (size_t i = 0; i < listing->count[BOX_ORDER]; i++) {
        uint64_t number = listing->numbers[BOX_ORDER][i];
        if (number >= floor_of(taker) && !was_done(taker, number) &&
            !find_task(taker, number))
            is_any |= take_one(taker, number);
    }
    return is_any;
}

/* ---- stopping ---- */

static bool is_canceled(struct order_taker *taker, const struct task *task)
{
    AUTO(buf_release) struct buf message = {0};
    struct err why = ERR_INIT;
    uint64_t number = task->order.number;
    return number < floor_of(taker) ||
           (order_listing_has(&taker->listing, BOX_CANCEL, number) &&
            order_mail_get(taker->mail, BOX_CANCEL, number, &message, &why));
}

static struct task *first_task(struct order_taker *taker)
{
    LOCK_GUARD(&taker->lock);
    return taker->tasks;
}

static bool stop_unwanted(struct order_taker *taker)
{
    bool is_any = false;
    /* Only this thread unlinks: next is good without the lock. */
    for (struct task *p = first_task(taker); p; p = p->next) {
        if (cancel_is_set(&p->cancel) || !is_canceled(taker, p))
            continue;
        log_info("order_canceled", "number=%" PRIu64, p->order.number);
        cancel_set(&p->cancel);
        is_any = true;
    }
    return is_any;
}

/* ---- doing ---- */

static void do_task(struct task *task, struct order_result *ret)
{
    struct order_taker *taker = task->taker;
    *ret = (struct order_result){.nonce = task->order.nonce};
    struct order_target *held =
        order_targets_take(taker->targets, &task->order, &ret->failure);
    if (!held)
        return;
    const struct order_work_context context = {
        .log_store = taker->options.log_store,
        .state_store = taker->options.state_store,
        .keys = taker->options.keys,
        .target = order_target_get(held),
        .workers = taker->options.workers,
        .cancel = &task->cancel,
        .progress = &task->progress,
        .is_cloned = &task->is_cloned,
    };
    order_work_run(&context, &task->order, ret);
    order_targets_give(taker->targets, held);
}

static void *task_main(void *ctx)
{
    struct task *task = ctx;
    struct order_result result;
    do_task(task, &result);
    LOCK_GUARD(&task->taker->lock);
    task->result = result;
    task->state = TASK_ENDED;
    return NULL;
}

/* R2; caller holds lock. */
static bool may_begin_locked(const struct order_taker *taker, const struct task *task)
{
    size_t running = 0;
    for (const struct task *p = taker->tasks; p; p = p->next) {
        running += p->state == TASK_RUNS;
        if (p == task || !p->order.def || !task->order.def ||
            !id_equal(&p->order.def->id, &task->order.def->id))
            continue;
        bool is_over = p->state == TASK_ENDED;
        bool is_before = p->state == TASK_WAITS && p->order.number < task->order.number;
        bool is_busy = p->state == TASK_RUNS && !atomic_load(&p->is_cloned);
        if (!is_over && (is_before || is_busy))
            return false;
    }
    return running < ORDER_MAX_RUNNING && !taker->is_fenced;
}

static bool begin_some(struct order_taker *taker)
{
    bool is_any = false;
    for (struct task *p = first_task(taker); p; p = p->next) {
        {
            LOCK_GUARD(&taker->lock);
            if (p->state != TASK_WAITS || !may_begin_locked(taker, p))
                continue;
            p->state = TASK_RUNS;
        }
        if (pthread_create(&p->thread, NULL, task_main, p) != 0)
            abort(); /* out of threads: restart and resume */
        p->has_thread = true;
        is_any = true;
    }
    return is_any;
}

/* ---- telling ---- */

static void read_progress(const struct task *task, struct order_progress *ret)
{
    const struct apply_progress *p = &task->progress;
    *ret = (struct order_progress){.nonce = task->order.nonce,
                                   .is_cloned = task->is_cloned,
                                   .segments_total = p->segments_total,
                                   .segments_verified = p->segments_verified,
                                   .segments_applied = p->segments_applied,
                                   .written_bytes = p->written_bytes,
                                   .zeroed_bytes = p->zeroed_bytes,
                                   .same_bytes = p->same_bytes};
}

static void tell_progress(struct order_taker *taker, struct task *task)
{
    AUTO(buf_release) struct buf message = {0};
    struct order_progress now;
    struct err why = ERR_INIT;
    uint64_t now_ms = clock_mono_ms();
    read_progress(task, &now);
    bool is_news = now.is_cloned && !task->told.is_cloned;
    if (memcmp(&now, &task->told, sizeof now) == 0 ||
        (!is_news && now_ms < task->progress_ms))
        return;
    order_progress_encode(&now, &message);
    task->progress_ms = now_ms + PROGRESS_MS;
    if (order_mail_put(taker->mail, BOX_PROGRESS, task->order.number, &message, &why))
        task->told = now;
}

/* A result that no box takes must not be tried for ever: then that is the result. */
static bool put_result(struct order_taker *taker, struct task *task, struct err *err)
{
    AUTO(buf_release) struct buf message = {0};
    struct err why = ERR_INIT;
    order_result_encode(&task->result, &message);
    if (order_mail_put(taker->mail, BOX_RESULT, task->order.number, &message, &why))
        return true;
    *err = why;
    if (why.kind == FAIL_LIMIT && task->result.body) {
        order_result_release(&task->result);
        task->result.failure = why;
    }
    return false;
}

/* R3 */
static bool answer(struct order_taker *taker, struct task *task, struct err *err)
{
    uint64_t number = task->order.number;
    if (number >= floor_of(taker) &&
        (FAULT(ORDER_BEFORE_REPLY, err) || !put_result(taker, task, err) ||
         FAULT(ORDER_AFTER_REPLY, err)))
        return false;
    note_done(taker, number);
    struct err late = ERR_INIT;
    if (!order_mail_remove(taker->mail, BOX_ORDER, number, &late) ||
        !order_mail_remove(taker->mail, BOX_PROGRESS, number, &late))
        log_debug("order_not_removed", "text=\"%s\"", late.text);
    return true;
}

static void forget(struct order_taker *taker, struct task *task)
{
    {
        LOCK_GUARD(&taker->lock);
        struct task **at = &taker->tasks;
        while (*at != task)
            at = &(*at)->next;
        *at = task->next;
    }
    if (task->has_thread)
        (void)pthread_join(task->thread, NULL); /* ours */
    order_result_release(&task->result);
    order_release(&task->order);
    cancel_release(&task->cancel);
    free(task);
}

static bool answer_ended(struct order_taker *taker)
{
    bool is_any = false;
    for (struct task *p = first_task(taker), *next; p; p = next) {
        struct err why = ERR_INIT;
        enum task_state state;
        bool is_fenced;
        next = p->next;
        {
            LOCK_GUARD(&taker->lock);
            state = p->state;
            is_fenced = taker->is_fenced;
        }
        if (state == TASK_RUNS)
            tell_progress(taker, p);
        if (state != TASK_ENDED || is_fenced || cancel_is_set(&taker->stop))
            continue;
        if (!answer(taker, p, &why)) {
            log_warn("order_not_answered", "number=%" PRIu64 " text=\"%s\", trying again",
                     p->order.number, why.text);
            continue;
        }
        log_info("order_done", "number=%" PRIu64 " result=%s", p->order.number,
                 p->result.failure.kind == FAIL_NONE ? "done" : p->result.failure.text);
        forget(taker, p);
        is_any = true;
    }
    return is_any;
}

/* ---- tidying ---- */

/* Below the floor nobody asks and nobody waits. */
static void tidy(struct order_taker *taker)
{
    uint64_t floor = floor_of(taker);
    for (int box = BOX_ORDER; box < BOX_BEAT; box++)
        for (size_t i = 0; i < taker->listing.count[box]; i++) {
            struct err why = ERR_INIT;
            uint64_t number = taker->listing.numbers[box][i];
            if (number < floor && !find_task(taker, number) &&
                !order_mail_remove(taker->mail, (enum order_box)box, number, &why)) {
                log_debug("order_not_removed", "text=\"%s\"", why.text);
                return;
            }
        }
}

static void note_trouble(struct order_taker *taker, const struct err *why)
{
    bool is_trouble = why->kind != FAIL_NONE;
    if (is_trouble != taker->was_trouble) {
        if (is_trouble)
            log_warn("orders_not_listed", "text=\"%s\", trying again", why->text);
        else
            log_info("orders_listed_again", "applier=%s", taker->applier);
    }
    taker->was_trouble = is_trouble;
    LOCK_GUARD(&taker->lock);
    taker->trouble = *why;
}

bool order_round(struct order_taker *taker)
{
    struct err why = ERR_INIT;
    bool is_any = answer_ended(taker);
    bool ok = order_mail_list(taker->mail, &taker->listing, &why);
    note_trouble(taker, &why);
    if (!ok)
        return is_any;
    if (take_new(taker)) {
        order_taker_beat(taker); /* T1 of order_desk.c */
        is_any = true;
    }
    is_any |= stop_unwanted(taker);
    is_any |= begin_some(taker);
    tidy(taker);
    return is_any;
}

void order_round_drop_all(struct order_taker *taker)
{
    for (struct task *p; (p = first_task(taker)) != NULL;) {
        cancel_set(&p->cancel);
        forget(taker, p);
    }
}
