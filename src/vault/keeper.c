/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small and often: whatever takes long is done in bounded pieces, so that the clock and
 * the windows are looked at every second whatever else there is to do. Orphans may mean
 * slow calls to sources; they have a thread of their own while they are looked for.
 *
 * Must never: hold a lock over what it does, or fail; what went wrong is logged and done
 * again.
 */
#include "vault/keeper.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "vault/dispatch.h"
#include "vault/orphans.h"
#include "vault/policy.h"

#define TICK_MS          1000
#define FORGET_EVERY_MS  ((uint64_t)60 * 1000)
#define FORGET_STEPS     20
#define DIRTY_STEPS      200
#define ORPHANS_FIRST_MS ((uint64_t)30 * 1000)
#define ORPHANS_EVERY_MS ((uint64_t)60 * 60 * 1000)
#define BACK_AT_LEAST_MS ((uint64_t)60 * 1000)
#define EVENTS_KEEP_MS   ((uint64_t)90 * 86400 * 1000)

struct keeper {
    /* Set by keeper_prepare, never changed. */
    uint64_t events_keep_ms;
    /* The opener's. */
    bool has_thread, has_sweeper;
    pthread_t thread, sweeper;
    /* The keeper's own. */
    uint64_t forget_at_ms; /* monotonic */
    bool has_clock;
    uint64_t last_wall_ms, last_mono_ms;
};

/* ---- the clock ---- */

static uint64_t moved_back(uint64_t at_ms, uint64_t by_ms)
{
    return at_ms > by_ms ? at_ms - by_ms : MIN_OF(at_ms, (uint64_t)1); /* 0 is "never" */
}

static void move_back(struct vault *vault, uint64_t by_ms)
{
    LOCK_GUARD(&vault->change_lock);
    LOCK_GUARD(&vault->lock);
    for (struct machine *m = vault->machines; m; m = m->next) {
        m->next_cycle_ms = moved_back(m->next_cycle_ms, by_ms);
        dispatch_touch_locked(vault, m);
        m->is_dirty = true;
    }
    for (struct job *j = vault->jobs; j; j = j->next)
        j->not_before_ms = moved_back(j->not_before_ms, by_ms);
    for (struct machine *m = vault->machines; m; m = m->next)
        dispatch_touch_locked(vault, m);
    (void)pthread_cond_broadcast(&vault->changed);
}

void keeper_clock(struct vault *vault, uint64_t wall_ms, uint64_t mono_ms)
{
    struct keeper *keeper = vault->keeper;
    uint64_t expected_ms = keeper->last_wall_ms + (mono_ms - keeper->last_mono_ms);
    bool is_back = keeper->has_clock && wall_ms + BACK_AT_LEAST_MS < expected_ms;
    keeper->has_clock = true;
    keeper->last_wall_ms = wall_ms;
    keeper->last_mono_ms = mono_ms;
    if (!is_back)
        return;
    char by[TEXT_HUMAN_BYTES];
    move_back(vault, expected_ms - wall_ms);
    vault_event(vault, NULL, NULL, "warning", "clock_set_back",
                "the clock was set back by %s; cycles to come keep their distance",
                text_duration(expected_ms - wall_ms, by));
}

/* ---- retention ---- */

static void forget_events(struct vault *vault, uint64_t keep_ms)
{
    uint64_t now_ms = clock_wall_ms(), removed = CATALOG_FORGET_STEP;
    struct err err = ERR_INIT;
    if (now_ms <= keep_ms)
        return;
    for (int i = 0; i < FORGET_STEPS && removed == CATALOG_FORGET_STEP; i++) {
        if (!catalog_event_forget(vault->catalog, now_ms - keep_ms, &removed, &err)) {
            log_warn("events_not_forgotten", "text=\"%s\", trying again", err.text);
            return;
        }
    }
}

/* ---- threads ---- */

/* false: the vault closes. */
static bool wait_until(struct vault *vault, uint64_t mono_ms)
{
    LOCK_GUARD(&vault->lock);
    struct timespec until = {.tv_sec = (time_t)(mono_ms / 1000),
                             .tv_nsec = (long)(mono_ms % 1000 * 1000000)};
    while (!vault->is_closing && clock_mono_ms() < mono_ms)
        (void)pthread_cond_timedwait(&vault->changed, &vault->lock, &until);
    return !vault->is_closing;
}

static void *keeper_main(void *arg)
{
    struct vault *vault = arg;
    struct keeper *keeper = vault->keeper;
    for (;;) {
        uint64_t mono_ms = clock_mono_ms(), wall_ms = clock_wall_ms();
        keeper_clock(vault, wall_ms, mono_ms);
        policy_tick(vault, wall_ms);
        for (int i = 0; i < DIRTY_STEPS && record_dirty(vault); i++)
            ;
        if (mono_ms >= keeper->forget_at_ms) {
            forget_events(vault, keeper->events_keep_ms);
            keeper->forget_at_ms = mono_ms + FORGET_EVERY_MS;
        }
        if (!wait_until(vault, mono_ms + TICK_MS))
            return NULL;
    }
}

static void *sweeper_main(void *arg)
{
    struct vault *vault = arg;
    uint64_t at_ms = clock_mono_ms() + ORPHANS_FIRST_MS;
    while (wait_until(vault, at_ms)) {
        orphans_sweep(vault);
        at_ms = clock_mono_ms() + ORPHANS_EVERY_MS;
    }
    return NULL;
}

/* ---- life ---- */

static bool keep_count(struct vault *vault, uint64_t events_kept, struct err *err)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)events_kept);
    return catalog_setting_set(vault->catalog, CATALOG_EVENTS_KEPT_SETTING,
                               events_kept ? text : NULL, err);
}

bool keeper_prepare(struct vault *vault, const struct vault_options *options,
                    struct err *err)
{
    vault->keeper = xcalloc(1, sizeof *vault->keeper);
    vault->keeper->events_keep_ms =
        options->events_keep_ms ? options->events_keep_ms : EVENTS_KEEP_MS;
    return keep_count(vault, options->events_kept, err);
}

bool keeper_start(struct vault *vault, struct err *err)
{
    struct keeper *keeper = vault->keeper;
    sigset_t all, old;
    (void)sigfillset(&all); /* signals belong to the thread that opened the vault */
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = pthread_create(&keeper->thread, NULL, keeper_main, vault);
    keeper->has_thread = e == 0;
    if (e == 0) {
        e = pthread_create(&keeper->sweeper, NULL, sweeper_main, vault);
        keeper->has_sweeper = e == 0;
    }
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return e == 0 || err_errno(err, e, "start the housekeeper");
}

void keeper_stop(struct vault *vault)
{
    struct keeper *keeper = vault->keeper;
    if (!keeper)
        return;
    if (keeper->has_thread)
        (void)pthread_join(keeper->thread, NULL);
    if (keeper->has_sweeper)
        (void)pthread_join(keeper->sweeper, NULL);
    free(keeper);
    vault->keeper = NULL;
}
