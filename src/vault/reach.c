/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of the path (netpath/path.h) know of an endpoint only what connections found.
 * While nothing may start nobody connects, so the try that finds the store again is made
 * here: the size of an object that is not there. The store's client repeats it no faster
 * than the endpoint's circuit lets it.
 *
 * R1  a store that was never asked over a network (a folder) is well;
 * R2  the verdict is kept under a lock of its own, which is the last one taken;
 * R3  events are told by the thread that noticed, never under a lock.
 */
#include "vault/reach.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#include <signal.h>

#define LOOK_EVERY_MS 1000
#define NO_OBJECT     "kedge-reach"

struct reach {
    /* Set by reach_start, never changed. */
    struct vault *vault;
    struct cancel cancel;
    struct store *log_view, *state_view; /* NULL: not over a network */
    bool has_thread;
    pthread_t thread;
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct err why; /* FAIL_NONE: well */
};

/* ---- events ---- */

static void hear(void *ctx, enum path_event_kind kind, enum path_role role,
                 const char *host, const char *text)
{
    static const struct {
        const char *level, *name;
    } OF[] = {
        [PATH_EVENT_CHANGED] = {"info", "path_changed"},
        [PATH_EVENT_PUBLIC] = {"error", "path_public"},
        [PATH_EVENT_UNREACHABLE] = {"error", "path_unreachable"},
        [PATH_EVENT_REACHABLE] = {"info", "path_reachable"},
    };
    vault_event(ctx, NULL, NULL, OF[kind].level, OF[kind].name, "%s '%.120s': %s",
                path_role_name(role), host, text);
}

/* ---- looking ---- */

static void note(struct reach *reach, const struct err *why)
{
    bool was_well;
    {
        LOCK_GUARD(&reach->lock);
        was_well = reach->why.kind == FAIL_NONE;
        reach->why = *why;
    }
    if (was_well && why->kind != FAIL_NONE)
        vault_event(reach->vault, NULL, NULL, "warning", "cycles_held",
                    "no cycle starts: %s", why->text);
    else if (!was_well && why->kind == FAIL_NONE)
        vault_event(reach->vault, NULL, NULL, "info", "cycles_go_on",
                    "log store and state store can be reached again");
}

static bool is_ready(const struct cancel *cancel, enum path_role *ret_role,
                     struct err *why)
{
    static const enum path_role ROLES[] = {ROLE_LOG_STORE, ROLE_STATE_STORE};
    for (size_t i = 0; i < ARRAY_COUNT(ROLES); i++)
        if (!path_role_ready(ROLES[i], cancel, why)) {
            *ret_role = ROLES[i];
            return false;
        }
    return true;
}

bool reach_look(struct vault *vault, const struct cancel *cancel, struct err *why)
{
    struct err found = ERR_INIT;
    enum path_role role;
    bool ok = is_ready(cancel, &role, &found);
    if (!ok && found.kind == FAIL_CANCELED) {
        *why = found;
        return false;
    }
    note(vault->reach, &found);
    if (!ok)
        *why = found;
    return ok;
}

static void try_store(struct reach *reach, enum path_role role)
{
    uint64_t bytes;
    struct err ignored = ERR_INIT; /* what counts is what the path saw of it */
    bool is_state = role == ROLE_STATE_STORE && reach->state_view;
    struct store *store = is_state ? reach->state_view : reach->log_view;
    if (store && !store_size(store, NO_OBJECT, &bytes, &ignored))
        log_debug("reach_try", "role=%s kind=%s", path_role_name(role),
                  err_kind_name(ignored.kind));
}

static void *reach_main(void *arg)
{
    struct reach *reach = arg;
    struct err canceled = ERR_INIT;
    do {
        struct err why = ERR_INIT;
        enum path_role role = ROLE_LOG_STORE;
        if (is_ready(&reach->cancel, &role, &why)) {
            note(reach, &why);
        } else if (why.kind != FAIL_CANCELED) {
            note(reach, &why);
            if (why.kind == FAIL_TRANSIENT)
                try_store(reach, role);
        }
    } while (cancel_sleep_ms(&reach->cancel, LOOK_EVERY_MS, &canceled));
    return NULL;
}

bool reach_is_well(struct vault *vault, struct err *why)
{
    if (!vault->reach)
        return true; /* the vault opens or closes */
    LOCK_GUARD(&vault->reach->lock);
    if (vault->reach->why.kind == FAIL_NONE)
        return true;
    *why = vault->reach->why;
    return false;
}

/* ---- life ---- */

bool reach_start(struct vault *vault, struct err *err)
{
    struct reach *reach = xcalloc(1, sizeof *reach);
    sigset_t all, old;
    reach->vault = vault;
    cancel_init(&reach->cancel);
    (void)pthread_mutex_init(&reach->lock, NULL); /* default attributes cannot fail */
    reach->log_view = store_view(vault->log_store, &reach->cancel);
    reach->state_view = store_view(vault->state_store, &reach->cancel);
    vault->reach = reach;
    path_listen(hear, vault);
    (void)sigfillset(&all); /* signals belong to the thread that opened the vault */
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = pthread_create(&reach->thread, NULL, reach_main, reach);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    reach->has_thread = e == 0;
    return e == 0 || err_errno(err, e, "start the look at the stores");
}

struct store *reach_log_store(struct vault *vault)
{
    bool has_view = vault->reach && vault->reach->log_view;
    return has_view ? vault->reach->log_view : vault->log_store;
}

struct store *reach_state_store(struct vault *vault)
{
    bool has_view = vault->reach && vault->reach->state_view;
    return has_view ? vault->reach->state_view : vault->state_store;
}

void reach_cancel(struct vault *vault)
{
    if (vault->reach)
        cancel_set(&vault->reach->cancel);
}

void reach_stop(struct vault *vault)
{
    struct reach *reach = vault->reach;
    if (!reach)
        return;
    cancel_set(&reach->cancel);
    if (reach->has_thread)
        (void)pthread_join(reach->thread, NULL);
    path_listen(NULL, NULL);
    store_close(reach->log_view);
    store_close(reach->state_view);
    cancel_release(&reach->cancel);
    (void)pthread_mutex_destroy(&reach->lock);
    free(reach);
    vault->reach = NULL;
}
