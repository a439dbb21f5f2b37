/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One login for all pieces of work on the same server with the same account: a vCenter
 * has room for some thousand sessions in all ("Out of HTTP sessions"), and each login
 * costs it more than the calls of a whole cycle. The session ends with its last user.
 *
 * S1  an entry with users is in the list; the one who takes the last user out takes it
 *     out of the list as well, both under the lock, and logs out after that;
 * S2  the login itself happens outside the lock; others who want it wait for its end.
 */
#include "source/vsphere.h"

struct vsphere_session {
    /* Set when made, never changed. */
    char *url;
    char *user;
    char *ca_file; /* NULL: none */
    char *proxy_url;
    bool has_pin;
    uint8_t pin[HTTP_PIN_BYTES];
    struct secret *password;
    /* Guarded by the list's lock. */
    struct vsphere_session *next;
    size_t users;
    bool is_opening;
    struct vim *vim; /* NULL after is_opening: the login failed */
    struct err failed;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Guarded by lock. */
    struct vsphere_session *first;
} sessions = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static bool same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool is_for(const struct vsphere_session *session, const struct vim_options *o)
{
    return same_text(session->url, o->url) && same_text(session->user, o->user) &&
           same_text(session->ca_file, o->ca_file) &&
           same_text(session->proxy_url, o->proxy_url) &&
           session->has_pin == (o->pin != NULL) &&
           (!o->pin || memcmp(session->pin, o->pin, HTTP_PIN_BYTES) == 0) &&
           secret_equal(session->password, o->password->data, o->password->bytes);
}

static struct vsphere_session *session_new(const struct vim_options *o)
{
    struct vsphere_session *session = xcalloc(1, sizeof *session);
    session->url = xstrdup(o->url);
    session->user = xstrdup(o->user);
    session->ca_file = o->ca_file ? xstrdup(o->ca_file) : NULL;
    session->proxy_url = o->proxy_url ? xstrdup(o->proxy_url) : NULL;
    session->has_pin = o->pin != NULL;
    if (o->pin)
        memcpy(session->pin, o->pin, HTTP_PIN_BYTES);
    session->password = secret_new(o->password->data, o->password->bytes);
    session->is_opening = true;
    return session;
}

static void session_free(struct vsphere_session *session)
{
    vim_close(session->vim);
    secret_free(session->password);
    free(session->url);
    free(session->user);
    free(session->ca_file);
    free(session->proxy_url);
    free(session);
}

static void unlink_locked(const struct vsphere_session *session)
{
    struct vsphere_session **at = &sessions.first;
    while (*at != session)
        at = &(*at)->next;
    *at = session->next;
}

/* The caller's use of it ends; S1. */
static void leave(struct vsphere_session *session)
{
    bool is_last;
    {
        LOCK_GUARD(&sessions.lock);
        is_last = --session->users == 0;
        if (is_last)
            unlink_locked(session);
    }
    if (is_last)
        session_free(session);
}

/* Finds or makes the entry and counts us in; *ret_is_ours: we have to log in. */
static struct vsphere_session *enter(const struct vim_options *options, bool *ret_is_ours)
{
    LOCK_GUARD(&sessions.lock);
    struct vsphere_session *session = sessions.first;
    while (session && !is_for(session, options))
        session = session->next;
    *ret_is_ours = session == NULL;
    if (!session) {
        session = session_new(options);
        session->next = sessions.first;
        sessions.first = session;
    }
    session->users++;
    while (!*ret_is_ours && session->is_opening)
        (void)pthread_cond_wait(&sessions.changed, &sessions.lock); /* cannot fail */
    return session;
}

struct vsphere_session *vsphere_session_take(const struct vim_options *options,
                                             struct err *err)
{
    bool is_ours;
    struct vsphere_session *session = enter(options, &is_ours);
    if (is_ours) {
        struct err failed = ERR_INIT;
        struct vim *vim = vim_open(options, NULL, &failed);
        LOCK_GUARD(&sessions.lock);
        session->vim = vim;
        session->failed = failed;
        session->is_opening = false;
        (void)pthread_cond_broadcast(&sessions.changed); /* cannot fail */
    }
    if (session->vim)
        return session;
    *err = session->failed;
    leave(session);
    return NULL;
}

struct vim *vsphere_session_vim(struct vsphere_session *session)
{
    return session->vim;
}

const struct secret *vsphere_session_password(const struct vsphere_session *session)
{
    return session->password;
}

void vsphere_session_give(struct vsphere_session *session)
{
    if (session)
        leave(session);
}
