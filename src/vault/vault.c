/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vault as a whole: opening, threads, leases, waiting, closing.
 *
 * Two groups of workers take work: job_threads of them what moves data (cycles), QUICK of
 * them everything else, so that a pause or a test never waits for a place behind cycles
 * that take hours. Work is picked, never handed out: whoever is free asks dispatch.c.
 *
 * Invariants:
 *  W1  a machine has at most one worker (its lease is machine->work), and at most one
 *      that let go of the lease early (machine->aside) and only waits for a test to boot;
 *  W2  a machine's jobs start in the order in which they were asked for; a scheduled
 *      cycle starts only when no job of that machine is active;
 *  W3  struct machine is freed only by the worker that made it leave the list, or at the
 *      end: pointers to it stay good as long as a job or work names it.
 * Must never do: I/O under lock; wait without a bound.
 */
#include "vault/vault.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "applier/order_desk.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "vault/dispatch.h"
#include "vault/keeper.h"
#include "vault/network.h"
#include "vault/ops.h"
#include "vault/policy.h"
#include "vault/reach.h"

#define QUICK_WORKERS   4
#define IDLE_MAX_MS     ((uint64_t)1000)
#define WAIT_SLICE_MS   ((uint64_t)200)
#define MAX_JOB_THREADS 64

struct worker {
    struct vault *vault;
    bool is_cycle_worker;
    bool has_thread;
    pthread_t thread;
};

/* Caller holds lock; returns with it. */
static void wait_locked(struct vault *vault, uint64_t ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t nsec = (uint64_t)until.tv_nsec + ms % 1000 * 1000000;
    until.tv_sec += (time_t)(ms / 1000 + nsec / 1000000000);
    until.tv_nsec = (long)(nsec % 1000000000);
    (void)pthread_cond_timedwait(&vault->changed, &vault->lock, &until);
}

/* ---- leases ---- */

static void end_one_locked(struct work *work, enum work_end end)
{
    if (!work)
        return;
    if (work->end == WORK_GOES_ON || end == WORK_CLOSE)
        work->end = end;
    work->is_hurried = true;
    cancel_set(&work->cancel);
}

void work_end_locked(struct machine *machine, enum work_end end)
{
    end_one_locked(machine->work, end);
    if (end == WORK_CLOSE)
        end_one_locked(machine->aside, end);
}

void work_cancel_locked(struct job *job)
{
    struct machine *machine = job->machine;
    end_one_locked(job->is_aside ? machine->aside : machine->work, WORK_CANCELED);
}

void work_let_go(struct work *work)
{
    LOCK_GUARD(&work->vault->lock);
    struct machine *machine = work->machine;
    if (machine->aside || machine->work != work)
        return;
    machine->aside = work;
    machine->work = NULL;
    work->job->is_aside = true;
    dispatch_touch_locked(work->vault, machine);
    (void)pthread_cond_broadcast(&work->vault->changed);
}

enum work_end work_ending(struct work *work)
{
    LOCK_GUARD(&work->vault->lock);
    return work->end;
}

bool work_is_hurried(struct work *work)
{
    LOCK_GUARD(&work->vault->lock);
    return work->is_hurried;
}

bool work_wait(struct work *work, uint64_t ms)
{
    uint64_t until_ms = clock_mono_ms() + ms;
    LOCK_GUARD(&work->vault->lock);
    while (!work->is_hurried && clock_mono_ms() < until_ms)
        wait_locked(work->vault,
                    MIN_OF(IDLE_MAX_MS, until_ms - MIN_OF(until_ms, clock_mono_ms())));
    return !work->is_hurried;
}

/* ---- workers ---- */

static bool has_job(const struct vault *vault, const struct machine *machine)
{
    for (const struct job *j = vault->jobs; j; j = j->next) {
        if (j->machine == machine)
            return true;
    }
    return false;
}

static void run_scheduled(struct work *work)
{
    struct err err = ERR_INIT;
    if (!cycle_job_run(work, &(struct cycle_request){0}, &err))
        log_debug("scheduled_cycle_ended", "machine=%s text=\"%s\"", work->machine->name,
                  err.text);
}

static void drop_machine_locked(struct vault *vault, struct machine *machine)
{
    struct machine **at = &vault->machines;
    while (*at && *at != machine)
        at = &(*at)->next;
    if (*at)
        *at = machine->next;
}

/* Caller holds lock; lets go of it while working. */
static void work_on(struct vault *vault, const struct dispatch_choice *choice)
{
    struct work work = {.vault = vault,
                        .machine = choice->machine,
                        .job = choice->job,
                        .item = choice->item};
    cancel_init(&work.cancel);
    choice->machine->work = &work;
    if (choice->job)
        choice->job->is_running = true;
    (void)pthread_mutex_unlock(&vault->lock);
    if (choice->job)
        job_run(&work);
    else
        run_scheduled(&work);
    (void)pthread_mutex_lock(&vault->lock);
    if (choice->machine->work == &work)
        choice->machine->work = NULL;
    if (choice->machine->aside == &work)
        choice->machine->aside = NULL;
    dispatch_done_locked(vault, choice);
    bool is_over = choice->machine->is_gone && !has_job(vault, choice->machine);
    if (is_over) {
        dispatch_forget_locked(choice->machine);
        drop_machine_locked(vault, choice->machine);
    }
    (void)pthread_cond_broadcast(&vault->changed);
    cancel_release(&work.cancel);
    if (is_over)
        machine_free(choice->machine);
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    struct vault *vault = worker->vault;
    (void)pthread_mutex_lock(&vault->lock);
    while (!vault->is_closing) {
        struct dispatch_choice choice;
        uint64_t wait_ms;
        if (dispatch_pick_locked(vault, worker->is_cycle_worker, clock_wall_ms(), &choice,
                                 &wait_ms)) {
            work_on(vault, &choice);
            continue;
        }
        wait_locked(vault, wait_ms);
    }
    (void)pthread_mutex_unlock(&vault->lock);
    return NULL;
}

/* Signals belong to the thread that opened the vault. */
static bool start_workers(struct vault *vault, uint32_t job_threads, struct err *err)
{
    sigset_t all, old;
    bool ok = true;
    vault->worker_count = job_threads + QUICK_WORKERS;
    vault->workers = xcalloc(vault->worker_count, sizeof *vault->workers);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    for (size_t i = 0; ok && i < vault->worker_count; i++) {
        struct worker *worker = &vault->workers[i];
        worker->vault = vault;
        worker->is_cycle_worker = i < job_threads;
        int e = pthread_create(&worker->thread, NULL, worker_main, worker);
        worker->has_thread = e == 0;
        if (e)
            ok = err_errno(err, e, "start a worker thread");
    }
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return ok;
}

/* ---- open and close ---- */

static bool cycle_options_of(const struct vault_options *options,
                             struct cycle_options *ret, struct err *err)
{
    const char *compression = options->compression ? options->compression : "fast";
    *ret = cycle_options_default();
    ret->check_ppm = options->tracking_check_ppm;
    ret->workers = options->cycle_workers ? options->cycle_workers : 2;
    ret->segment_bytes = options->segment_bytes;
    if (strcmp(compression, "fast") == 0)
        return true;
    if (strcmp(compression, "none") == 0) {
        ret->method = PACK_STORED;
        return true;
    }
    if (strcmp(compression, "compact") == 0) {
        ret->method = PACK_ZSTD;
        ret->level = 3;
        ret->record_span_bytes = (uint32_t)RECORD_SPAN_MAX_BYTES;
        return true;
    }
    return err_set(err, FAIL_INPUT,
                   "compression '%s'; known are 'fast', 'compact' and 'none'",
                   compression);
}

static struct store *open_store(enum path_role role, const char *address,
                                const char *credential, struct err *err)
{
    const char *file = credential && *credential ? credential : NULL;
    struct store *store = store_open_address(address ? address : "", file, role, err);
    if (!store)
        (void)err_wrap(err, "%s", role == ROLE_LOG_STORE ? "log store" : "state store");
    return store;
}

static bool open_stores(struct vault *vault, const struct vault_options *options,
                        struct err *err)
{
    vault->log_store = open_store(ROLE_LOG_STORE, options->log_store,
                                  options->log_store_credential, err);
    if (!vault->log_store)
        return false;
    if (options->state_store && strcmp(options->log_store, options->state_store) == 0)
        vault->state_store = vault->log_store;
    else
        vault->state_store = open_store(ROLE_STATE_STORE, options->state_store,
                                        options->state_store_credential, err);
    return vault->state_store != NULL;
}

static struct keys *open_keys(const struct vault_options *options, struct err *err)
{
    bool is_vault = options->keys && *options->keys;
    const struct keys_options keys = {
        .address = is_vault ? options->keys : options->key_file,
        .credential = options->keys_credential,
        .passphrase = options->key_passphrase,
        .earlier_file =
            is_vault && file_exists(options->key_file) ? options->key_file : NULL};
    return keys_open(&keys, err);
}

static void tell_applier(void *ctx, const char *applier, bool is_lost, const char *text)
{
    (void)applier;
    vault_event(ctx, NULL, NULL, is_lost ? "error" : "info",
                is_lost ? "applier_lost" : "applier_back", "%s", text);
}

static bool open_desk(struct vault *vault, const struct vault_options *options,
                      struct err *err)
{
    const struct order_desk_options desk = {
        .store = vault->state_store,
        .keys = vault->keys,
        .lost_ms = options->applier_lost_ms,
        .give_up_ms = options->applier_give_up_ms,
        .on_change = tell_applier,
        .ctx = vault,
    };
    vault->desk = order_desk_open(&desk, err);
    return vault->desk != NULL;
}

static bool open_all(struct vault *vault, const struct vault_options *options,
                     struct err *err)
{
    uint32_t job_threads = options->job_threads ? options->job_threads : 4;
    if (job_threads > MAX_JOB_THREADS)
        return err_set(err, FAIL_INPUT, "%u job threads; at most %u are allowed",
                       job_threads, MAX_JOB_THREADS);
    if (!cycle_options_of(options, &vault->cycle_options, err) ||
        !file_make_dirs(vault->data_dir, err))
        return false;
    AUTO(free) char *path = file_join(vault->data_dir, "catalog.db");
    vault->catalog = catalog_open(path, err);
    if (!vault->catalog)
        return err_wrap(err, "catalog '%s'", path);
    vault->keys = open_keys(options, err);
    if (!vault->keys || !open_stores(vault, options, err) ||
        !open_desk(vault, options, err) || !policy_load(vault, options, err) ||
        !ends_load(vault, err) || !records_load(vault, err))
        return false;
    dispatch_open(vault, options, job_threads, clock_wall_ms());
    return keeper_prepare(vault, options, err) && network_start(vault, options, err) &&
           reach_start(vault, err) && start_workers(vault, job_threads, err) &&
           keeper_start(vault, err);
}

struct vault *vault_open(const struct vault_options *options, struct err *err)
{
    AUTO(vault_close) struct vault *vault = xcalloc(1, sizeof *vault);
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&vault->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    (void)pthread_mutex_init(&vault->keys_lock, NULL);
    (void)pthread_mutex_init(&vault->change_lock, NULL);
    (void)pthread_mutex_init(&vault->lock, NULL);
    vault->data_dir = xstrdup(options->data_dir);
    vault->opened_mono_ms = clock_mono_ms();
    vault->auto_repair = options->auto_repair;
    vault->rules.delta_min_ms =
        options->delta_min_ms ? options->delta_min_ms : (uint64_t)60 * 60 * 1000;
    vault->rules.delta_max_ms =
        options->delta_max_ms ? options->delta_max_ms : (uint64_t)12 * 60 * 60 * 1000;
    if (!open_all(vault, options, err)) {
        (void)err_wrap(err, "open the vault");
        return NULL;
    }
    return TAKE(vault);
}

static void stop_workers(struct vault *vault)
{
    if (vault->keys)
        keys_cancel(vault->keys);
    {
        LOCK_GUARD(&vault->lock);
        vault->is_closing = true;
        for (struct machine *m = vault->machines; m; m = m->next)
            work_end_locked(m, WORK_CLOSE);
        (void)pthread_cond_broadcast(&vault->changed);
    }
    reach_cancel(vault);
    order_desk_stop(vault->desk);
    for (size_t i = 0; i < vault->worker_count; i++) {
        if (vault->workers[i].has_thread)
            (void)pthread_join(vault->workers[i].thread, NULL);
    }
    free(vault->workers);
}

void vault_close(struct vault *vault)
{
    if (!vault)
        return;
    stop_workers(vault);
    keeper_stop(vault);
    network_stop(vault);
    reach_stop(vault);
    dispatch_close(vault);
    while (vault->jobs) {
        struct job *job = vault->jobs;
        vault->jobs = job->next;
        job_free(job);
    }
    while (vault->machines) {
        struct machine *machine = vault->machines;
        vault->machines = machine->next;
        machine_free(machine);
    }
    ends_close(vault);
    order_desk_close(vault->desk);
    policy_release(vault);
    if (vault->state_store != vault->log_store)
        store_close(vault->state_store);
    store_close(vault->log_store);
    keys_close(vault->keys);
    catalog_close(vault->catalog);
    (void)pthread_cond_destroy(&vault->changed);
    (void)pthread_mutex_destroy(&vault->lock);
    (void)pthread_mutex_destroy(&vault->change_lock);
    (void)pthread_mutex_destroy(&vault->keys_lock);
    free(vault->data_dir);
    free(vault);
}

void vault_wait(struct vault *vault, uint64_t since, uint64_t deadline_ms,
                const struct cancel *cancel)
{
    uint64_t until_ms = clock_mono_ms() + MIN_OF(deadline_ms, UINT64_MAX / 4);
    LOCK_GUARD(&vault->lock);
    while (vault->last_event <= since && !vault->is_closing && !cancel_is_set(cancel)) {
        uint64_t now_ms = clock_mono_ms();
        if (now_ms >= until_ms)
            return;
        wait_locked(vault, MIN_OF(WAIT_SLICE_MS, until_ms - now_ms));
    }
}
