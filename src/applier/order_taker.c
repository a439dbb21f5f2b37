/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life, beat and lease of an applier.
 *
 * L1  an instance is a random name for this process's time in charge; which one ran here
 *     last is durable before the first beat of the next, so that the next one can say
 *     whom it replaces (and must not wait for the lease of a dead one);
 * L2  two thirds of the lease after the beginning of the last beat that was put, all work
 *     is stopped and nothing new begins: the vault, which counts the whole lease from
 *     later on, then finds it stopped. Who guards this waits for no I/O;
 * L3  after that it goes on as a new instance only when every task has ended.
 */
#include "applier/order_taker_impl.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

#include <inttypes.h>
#include <signal.h>
#include <unistd.h>

#define LEASE_MS      ((uint64_t)30 * 1000)
#define FIRST_POLL_MS ((uint64_t)50)
#define LAST_POLL_MS  ((uint64_t)2000)
#define WORK_POLL_MS  ((uint64_t)500) /* at most, while something runs */

/* ---- instance ---- */

/* L1 */
static bool new_instance(struct order_taker *taker, struct err *err)
{
    char text[ID_TEXT_BYTES + 1];
    AUTO(buf_release) struct buf old = {0};
    struct err why = ERR_INIT;
    struct id last = {0}, fresh = id_random();
    if (file_read(taker->instance_path, ID_TEXT_BYTES, &old, &why)) {
        text_copy(text, ID_TEXT_BYTES, buf_text(&old));
        if (!id_parse(text, &last, &why))
            last = (struct id){0}; /* damaged: nobody is replaced, the lease decides */
    } else if (why.kind != FAIL_GONE) {
        *err = why;
        return false;
    }
    (void)id_text(&fresh, text);
    text_copy(text + ID_TEXT_BYTES - 1, 2, "\n");
    if (!file_write_durable(taker->instance_path, text, ID_TEXT_BYTES, 0600, err))
        return false;
    LOCK_GUARD(&taker->lock);
    taker->instance = fresh;
    taker->replaces = last;
    taker->alive_ms = clock_mono_ms();
    taker->is_fenced = false;
    return true;
}

static void remove_beat(struct order_taker *taker, const struct id *instance)
{
    struct err why = ERR_INIT;
    if (!id_is_zero(instance) && !order_mail_remove_beat(taker->mail, instance, &why))
        log_debug("beat_not_removed", "text=\"%s\"", why.text);
}

/* ---- beat ---- */

static void make_beat(struct order_taker *taker, struct order_beat *ret)
{
    *ret = (struct order_beat){.lease_ms = taker->options.lease_ms,
                               .wall_ms = clock_wall_ms()};
    text_copy(ret->version, sizeof ret->version, KEDGE_VERSION);
    if (gethostname(ret->host, sizeof ret->host - 1) != 0)
        ret->host[0] = 0;
    LOCK_GUARD(&taker->lock);
    ret->instance = taker->instance;
    ret->replaces = taker->replaces;
    ret->sequence = ++taker->sequence;
    ret->highest = taker->highest;
    for (const struct task *p = taker->tasks; p; p = p->next)
        ret->running += p->state == TASK_RUNS;
}

static bool is_fenced(struct order_taker *taker)
{
    LOCK_GUARD(&taker->lock);
    return taker->is_fenced;
}

void order_taker_beat(struct order_taker *taker)
{
    struct order_beat beat;
    struct err why = ERR_INIT;
    uint64_t began_ms = clock_mono_ms();
    make_beat(taker, &beat);
    if (!order_mail_put_beat(taker->mail, &beat, &why)) {
        log_warn("beat_not_put", "text=\"%s\", trying again", why.text);
        return;
    }
    LOCK_GUARD(&taker->lock);
    if (id_equal(&taker->instance, &beat.instance))
        taker->alive_ms = MAX_OF(taker->alive_ms, began_ms);
}

/* Once per instance: ours tells of it, its own beat is of no use any more. */
static void forget_replaced(struct order_taker *taker, struct id *last)
{
    struct id instance, replaces;
    {
        LOCK_GUARD(&taker->lock);
        instance = taker->instance;
        replaces = taker->replaces;
    }
    if (!id_equal(&instance, last))
        remove_beat(taker, &replaces);
    *last = instance;
}

static void *beat_main(void *ctx)
{
    struct order_taker *taker = ctx;
    struct err stopped = ERR_INIT;
    struct id last = {0};
    do {
        if (is_fenced(taker))
            continue;
        order_taker_beat(taker);
        forget_replaced(taker, &last);
    } while (cancel_sleep_ms(&taker->stop, taker->options.lease_ms / 6, &stopped));
    return NULL;
}

/* ---- lease ---- */

/* L2 */
static void guard_once(struct order_taker *taker)
{
    LOCK_GUARD(&taker->lock);
    uint64_t silent_ms = clock_mono_ms() - taker->alive_ms;
    if (taker->is_fenced || silent_ms < taker->options.lease_ms / 3 * 2)
        return;
    taker->is_fenced = true;
    for (struct task *p = taker->tasks; p; p = p->next)
        cancel_set(&p->cancel);
    log_warn("applier_fenced", "applier=%s silent_ms=%" PRIu64 ", its work is stopped",
             taker->applier, silent_ms);
}

static void *guard_main(void *ctx)
{
    struct order_taker *taker = ctx;
    struct err stopped = ERR_INIT;
    while (cancel_sleep_ms(&taker->stop,
                           MIN_OF(taker->options.lease_ms / 20, (uint64_t)500), &stopped))
        guard_once(taker);
    return NULL;
}

/* ---- the boxes ---- */

static bool has_tasks(struct order_taker *taker)
{
    LOCK_GUARD(&taker->lock);
    return taker->tasks != NULL;
}

static void *round_main(void *ctx)
{
    struct order_taker *taker = ctx;
    struct err stopped = ERR_INIT, why = ERR_INIT;
    uint64_t poll_ms = FIRST_POLL_MS;
    do {
        if (is_fenced(taker)) { /* L3 */
            order_round_drop_all(taker);
            if (!new_instance(taker, &why))
                log_error("applier_instance_lost", "text=\"%s\", trying again", why.text);
            continue;
        }
        poll_ms = order_round(taker) ? FIRST_POLL_MS : poll_ms + poll_ms / 2;
        poll_ms = MIN_OF(poll_ms, has_tasks(taker) ? WORK_POLL_MS : LAST_POLL_MS);
    } while (cancel_sleep_ms(&taker->stop, poll_ms, &stopped));
    return NULL;
}

/* ---- life ---- */

static void taker_free(struct order_taker *taker)
{
    if (!taker)
        return;
    order_targets_free(taker->targets);
    order_mail_close(taker->mail);
    cancel_release(&taker->stop);
    (void)pthread_mutex_destroy(&taker->lock); /* nobody holds it */
    free(taker->ended);
    free(taker->applier);
    free(taker->instance_path);
    free(taker);
}
AUTO_CLEANUP(struct order_taker, taker_free);

static void start_threads(struct order_taker *taker)
{
    sigset_t all, old;
    (void)sigfillset(&all); /* signals belong to the thread that started us */
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    if (pthread_create(&taker->guard_thread, NULL, guard_main, taker) != 0 ||
        pthread_create(&taker->beat_thread, NULL, beat_main, taker) != 0 ||
        pthread_create(&taker->round_thread, NULL, round_main, taker) != 0)
        abort(); /* out of threads: restart and resume */
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
}

struct order_taker *order_taker_start(const struct order_taker_options *options,
                                      struct err *err)
{
    AUTO(taker_free) struct order_taker *taker = xcalloc(1, sizeof *taker);
    (void)pthread_mutex_init(&taker->lock, NULL); /* default attributes cannot fail */
    cancel_init(&taker->stop);
    taker->options = *options;
    if (!taker->options.lease_ms)
        taker->options.lease_ms = LEASE_MS;
    taker->applier = xstrdup(options->applier);
    taker->instance_path = file_join(options->data_dir, "applier.instance");
    taker->targets = order_targets_new(options->open_target, options->data_dir);
    taker->mail =
        order_mail_open(options->applier, options->state_store, options->keys, err);
    if (!taker->mail || !new_instance(taker, err))
        return NULL;
    start_threads(taker);
    return TAKE(taker);
}

void order_taker_stop(struct order_taker *taker)
{
    if (!taker)
        return;
    cancel_set(&taker->stop);
    keys_cancel(taker->options.keys); /* nobody waits for a vault of keys any more */
    (void)pthread_join(taker->round_thread, NULL); /* ours, as the next two */
    (void)pthread_join(taker->beat_thread, NULL);
    (void)pthread_join(taker->guard_thread, NULL);
    order_round_drop_all(taker);
    remove_beat(taker, &taker->instance);
    taker_free(taker);
}

/* ---- for those who look ---- */

static json_t *task_view(const struct task *task)
{
    static const char *const STATES[] = {
        [TASK_WAITS] = "waits", [TASK_RUNS] = "runs", [TASK_ENDED] = "ended"};
    const struct apply_progress *p = &task->progress;
    json_t *view = json_object();
    json_put_u64(view, "number", task->order.number);
    json_put_text(view, "what", order_what_name(task->order.what));
    json_put_text(view, "machine", task->order.def ? task->order.def->name : "");
    json_put_text(view, "target", task->order.target);
    json_put_text(view, "state", STATES[task->state]);
    json_put_u64(view, "taken_ms", task->taken_ms);
    json_put_u64(view, "segments_total", p->segments_total);
    json_put_u64(view, "segments_verified", p->segments_verified);
    json_put_u64(view, "segments_applied", p->segments_applied);
    json_put_u64(view, "written_bytes", p->written_bytes);
    json_put_u64(view, "zeroed_bytes", p->zeroed_bytes);
    json_put_u64(view, "same_bytes", p->same_bytes);
    return view;
}

json_t *order_taker_view(struct order_taker *taker)
{
    char id[ID_TEXT_BYTES];
    json_t *view = json_object(), *orders = json_array();
    LOCK_GUARD(&taker->lock);
    json_put_text(view, "name", taker->applier);
    json_put_text(view, "instance", id_text(&taker->instance, id));
    json_put_bool(view, "fenced", taker->is_fenced);
    json_put_u64(view, "silent_ms", clock_mono_ms() - taker->alive_ms);
    json_put_u64(view, "done", taker->done);
    for (const struct task *p = taker->tasks; p; p = p->next)
        (void)json_array_append_new(orders, task_view(p));
    json_put_take(view, "orders", orders);
    json_put_text(view, "error",
                  taker->trouble.kind == FAIL_NONE ? "" : taker->trouble.text);
    return view;
}
