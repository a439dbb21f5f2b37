/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the process knows of its network: one lock, rules that are swapped as a whole, and
 * who is told of changes. Listeners are called without the lock; path_listen waits until
 * the old one's calls have ended, so that its owner may go away.
 */
#include "netpath/path_impl.h"

#include "base/log.h"
#include "base/text.h"

#include <stdarg.h>

struct path_net *path_net(void)
{
    static struct path_net net = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                  .listener_idle = PTHREAD_COND_INITIALIZER};
    return &net;
}

static const char *const ROLE_NAMES[ROLE_COUNT] = {
    [ROLE_OTHER] = "other",
    [ROLE_LOG_STORE] = "log-store",
    [ROLE_STATE_STORE] = "state-store",
    [ROLE_REPLICA_STORE] = "replica-store",
    [ROLE_KEY_VAULT] = "key-vault",
    [ROLE_BUS] = "bus",
    [ROLE_ARM] = "arm",
    [ROLE_ENTRA] = "entra",
    [ROLE_VCENTER] = "vcenter",
    [ROLE_ESXI] = "esxi",
    [ROLE_LOCAL] = "local",
};

const char *path_role_name(enum path_role role)
{
    return ROLE_NAMES[role];
}

bool path_role_parse(const char *name, enum path_role *ret, struct err *err)
{
    for (int role = 0; role < ROLE_COUNT; role++)
        if (strcmp(ROLE_NAMES[role], name) == 0) {
            *ret = (enum path_role)role;
            return true;
        }
    AUTO(buf_release) struct buf names = {0};
    for (int role = 0; role < ROLE_COUNT; role++)
        buf_printf(&names, "%s%s", role ? ", " : "", ROLE_NAMES[role]);
    return err_set(err, FAIL_INPUT, "'%.40s' is no role; known are %s", name,
                   buf_text(&names));
}

/* ---- rules ---- */

bool path_check_settings(const struct path_settings *settings, struct err *err)
{
    AUTO(path_rules_drop) struct path_rules *rules = path_rules_new(settings, err);
    return rules != NULL;
}

bool path_configure(const struct path_settings *settings, struct err *err)
{
    struct path_rules *rules = path_rules_new(settings, err);
    if (!rules)
        return false;
    struct path_rules *old;
    {
        LOCK_GUARD(&path_net()->lock);
        old = path_net()->rules;
        path_net()->rules = rules;
        cache_clear(&path_net()->cache); /* other servers may say something else */
        for (size_t i = 0; i < path_net()->seen.count; i++) {
            path_net()->seen.entries[i]->circuit =
                (struct circuit){0}; /* tried at once */
            err_clear(&path_net()->seen.entries[i]->refused);
        }
    }
    path_rules_drop(old);
    return true;
}

struct path_rules *path_rules_now(void)
{
    LOCK_GUARD(&path_net()->lock);
    if (!path_net()->rules) {
        struct err never = ERR_INIT;
        path_net()->rules =
            path_rules_new(&(struct path_settings){.proxy = NULL}, &never);
        if (!path_net()->rules)
            abort(); /* nothing is set that could be wrong */
    }
    path_rules_hold(path_net()->rules);
    return path_net()->rules;
}

/* ---- events ---- */

void path_listen(path_listener listener, void *ctx)
{
    LOCK_GUARD(&path_net()->lock);
    while (path_net()->listening)
        (void)pthread_cond_wait(&path_net()->listener_idle,
                                &path_net()->lock); /* our own mutex */
    path_net()->listener = listener;
    path_net()->listener_ctx = ctx;
}

void path_event_set(struct path_event *event, enum path_event_kind kind,
                    const struct seen_entry *entry, const char *fmt, ...)
{
    va_list ap;
    event->is_set = true;
    event->kind = kind;
    event->role = entry->seen.role;
    text_copy(event->host, sizeof event->host, entry->seen.host);
    va_start(ap, fmt);
    (void)vsnprintf(event->text, sizeof event->text, fmt, ap); /* cut at the end */
    va_end(ap);
}

void path_event_tell(const struct path_event *event)
{
    path_listener listener = NULL;
    void *ctx = NULL;
    if (!event->is_set)
        return;
    log_debug("path_event", "role=%s host=%s text=%s", path_role_name(event->role),
              event->host, event->text);
    {
        LOCK_GUARD(&path_net()->lock);
        listener = path_net()->listener;
        ctx = path_net()->listener_ctx;
        path_net()->listening += listener != NULL;
    }
    if (!listener)
        return;
    listener(ctx, event->kind, event->role, event->host, event->text);
    LOCK_GUARD(&path_net()->lock);
    if (--path_net()->listening == 0)
        (void)pthread_cond_broadcast(&path_net()->listener_idle); /* cannot fail */
}
