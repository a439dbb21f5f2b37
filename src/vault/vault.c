/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vault as a whole: opening, threads, leases, waiting, closing.
 *
 * Two groups of workers take work: job_threads of them what moves data (cycles), QUICK of
 * them everything else, so that a pause or a test never waits for a place behind cycles
 * that take hours. Work is picked, never handed out: whoever is free looks at the queue
 * and at what is due.
 *
 * Invariants:
 *  W1  a machine has at most one worker (its lease is machine->work), and at most one
 * that let go of the lease early (machine->aside) and only waits for a test to boot; W2
 * a machine's jobs start in the order in which they were asked for; a scheduled cycle
 * starts only when no job of that machine is active; W3  struct machine is freed only by
 * the worker that made it leave the list, or at the end: pointers to it stay good as long
 * as a job or work names it. Must never do: I/O under lock; wait without a bound.
 */
#include "vault/vault.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "vault/ops.h"

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

/* ---- picking work ---- */

struct choice {
    struct machine *machine;
    struct job *job;
};

static enum sched_class class_of(const struct job *job)
{
    if (job->operation == OP_REPLICATE)
        return SCHED_INITIAL;
    if (job->operation == OP_RESUME || job->operation == OP_RESYNC)
        return job->machine->recovery_cycle ? SCHED_DELTA : SCHED_INITIAL;
    return SCHED_ON_DEMAND;
}

/* A job that let go of the lease holds up everything but cycles. */
static bool is_first_of_machine(const struct vault *vault, const struct job *job)
{
    bool is_cycle =
        op_plan(job->operation)->is_cycle_work && job->operation != OP_MIGRATE;
    for (const struct job *j = vault->jobs; j != job; j = j->next) {
        if (j->machine == job->machine && !(is_cycle && j->is_aside))
            return false;
    }
    return true;
}

/* besides: jobs that let go of the lease count too. */
static bool has_job(const struct vault *vault, const struct machine *machine,
                    bool besides)
{
    for (const struct job *j = vault->jobs; j; j = j->next) {
        if (j->machine == machine && (besides || !j->is_aside))
            return true;
    }
    return false;
}

static bool runs_by_schedule(const struct machine *machine)
{
    enum machine_state state = machine->facts.state;
    return !machine->is_gone && machine->next_cycle_ms &&
           machine->facts.migration != MIGRATION_RUNNING &&
           (state == STATE_INITIAL || state == STATE_DELTA || state == STATE_RESUMING ||
            state == STATE_RESYNC);
}

static size_t gather_locked(struct vault *vault, bool cycles,
                            struct sched_candidate *candidates, struct choice *choices)
{
    size_t count = 0;
    for (struct job *j = vault->jobs; j; j = j->next) {
        if (j->is_running || op_plan(j->operation)->is_cycle_work != cycles ||
            !is_first_of_machine(vault, j))
            continue;
        choices[count] = (struct choice){j->machine, j};
        candidates[count++] = (struct sched_candidate){
            .class = class_of(j),
            .is_ongoing = j->was_interrupted || j->failures || j->operation == OP_RESUME,
            .due_ms = j->not_before_ms,
            .order = j->id,
            .can_start_now = !j->machine->work};
    }
    for (struct machine *m = vault->machines; m && cycles; m = m->next) {
        if (!runs_by_schedule(m) || has_job(vault, m, false))
            continue;
        choices[count] = (struct choice){m, NULL};
        candidates[count++] = (struct sched_candidate){.class = SCHED_DELTA,
                                                       .is_ongoing = m->failures > 0,
                                                       .due_ms = m->next_cycle_ms,
                                                       .order = m->created_ms,
                                                       .can_start_now = !m->work};
    }
    return count;
}

static bool pick_locked(struct vault *vault, bool cycles, struct choice *ret,
                        uint64_t *ret_wait_ms)
{
    size_t most = 0;
    for (struct job *j = vault->jobs; j; j = j->next)
        most++;
    for (struct machine *m = vault->machines; m; m = m->next)
        most++;
    AUTO(free) struct sched_candidate *candidates = xcalloc(most + 1, sizeof *candidates);
    AUTO(free) struct choice *choices = xcalloc(most + 1, sizeof *choices);
    uint64_t now_ms = clock_wall_ms(), next_ms;
    size_t count = gather_locked(vault, cycles, candidates, choices);
    size_t best = sched_pick(candidates, count, now_ms, &next_ms);
    /* The bound also covers a wall clock that was set back. */
    *ret_wait_ms = next_ms > now_ms ? MIN_OF(IDLE_MAX_MS, next_ms - now_ms) : IDLE_MAX_MS;
    if (best == count)
        return false;
    *ret = choices[best];
    return true;
}

/* ---- workers ---- */

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
static void work_on(struct vault *vault, const struct choice *choice)
{
    struct work work = {.vault = vault, .machine = choice->machine, .job = choice->job};
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
    bool is_over = choice->machine->is_gone && !has_job(vault, choice->machine, true);
    if (is_over)
        drop_machine_locked(vault, choice->machine);
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
        struct choice choice;
        uint64_t wait_ms;
        if (pick_locked(vault, worker->is_cycle_worker, &choice, &wait_ms)) {
            work_on(vault, &choice);
            continue;
        }
        wait_locked(vault, wait_ms);
        if (worker != &vault->workers[0])
            continue;
        (void)pthread_mutex_unlock(&vault->lock);
        record_dirty(vault);
        (void)pthread_mutex_lock(&vault->lock);
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

static struct store *open_store(const char *what, const char *address, struct err *err)
{
    struct store *store = NULL;
    if (address && text_starts_with(address, "dir:") && address[4])
        store = store_dir_open(address + 4, err);
    else
        (void)err_set(err, FAIL_INPUT, "'%s' is no address; write \"dir:/path\"",
                      address ? address : "");
    if (!store)
        (void)err_wrap(err, "%s", what);
    return store;
}

static bool open_stores(struct vault *vault, const struct vault_options *options,
                        struct err *err)
{
    vault->log_store = open_store("log store", options->log_store, err);
    if (!vault->log_store)
        return false;
    if (options->state_store && strcmp(options->log_store, options->state_store) == 0)
        vault->state_store = vault->log_store;
    else
        vault->state_store = open_store("state store", options->state_store, err);
    return vault->state_store != NULL;
}

static bool load_throttle(struct vault *vault, uint64_t configured_bps, struct err *err)
{
    AUTO(free) char *text = NULL;
    struct err why = ERR_INIT;
    uint64_t rate_bps = configured_bps;
    if (catalog_setting_get(vault->catalog, "throttle_bps", &text, &why)) {
        if (!text_parse_u64(text, 0, INT64_MAX, &rate_bps, err))
            return err_wrap(err, "setting 'throttle_bps'");
    } else if (why.kind != FAIL_GONE) {
        *err = why;
        return false;
    }
    vault->throttle = throttle_new(rate_bps);
    return true;
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
    vault->keys = keys_file_open(options->key_file, err);
    return vault->keys && open_stores(vault, options, err) &&
           load_throttle(vault, options->throttle_bps, err) && ends_load(vault, err) &&
           records_load(vault, err) && start_workers(vault, job_threads, err);
}

struct vault *vault_open(const struct vault_options *options, struct err *err)
{
    AUTO(vault_close) struct vault *vault = xcalloc(1, sizeof *vault);
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&vault->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    (void)pthread_mutex_init(&vault->change_lock, NULL);
    (void)pthread_mutex_init(&vault->lock, NULL);
    vault->data_dir = xstrdup(options->data_dir);
    vault->opened_ms = clock_wall_ms();
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
    {
        LOCK_GUARD(&vault->lock);
        vault->is_closing = true;
        for (struct machine *m = vault->machines; m; m = m->next)
            work_end_locked(m, WORK_CLOSE);
        (void)pthread_cond_broadcast(&vault->changed);
    }
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
    throttle_free(vault->throttle);
    if (vault->state_store != vault->log_store)
        store_close(vault->state_store);
    store_close(vault->log_store);
    keys_close(vault->keys);
    catalog_close(vault->catalog);
    (void)pthread_cond_destroy(&vault->changed);
    (void)pthread_mutex_destroy(&vault->lock);
    (void)pthread_mutex_destroy(&vault->change_lock);
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
