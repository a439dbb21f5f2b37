/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One list of hosts under one lock: it is taken twice per read of up to 1 MiB, and what
 * is done under it is a few additions.
 *
 * B1  host.used_bytes = sum over its shares of held + granted.
 * B2  while a share waits, used_bytes > 0 or it is about to be granted: a limit smaller
 *     than one read lets that read go alone, so nobody waits for ever.
 * B3  a share is in line at most once.
 */
#include "vsphere/nfc_budget.h"

#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct budget_host {
    char name[256];
    uint64_t limit_bytes;
    uint64_t used_bytes;
    size_t share_count;
    struct nfc_share *first; /* in line */
    struct nfc_share *last;
    struct budget_host *next;
};

struct nfc_share {
    /* Set by nfc_share_open, never changed. */
    int event_fd;
    /* Guarded by lock. */
    struct budget_host *host;
    uint64_t held_bytes;
    uint64_t granted_bytes; /* not yet taken by nfc_share_ask */
    uint64_t wanted_bytes;  /* > 0: in line */
    struct nfc_share *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct budget_host *hosts;

static struct budget_host *find_locked(const char *name)
{
    struct budget_host *host = hosts;
    while (host && strcasecmp(host->name, name) != 0)
        host = host->next;
    return host;
}

static struct budget_host *enter_locked(const char *name, struct err *err)
{
    struct budget_host *host = find_locked(name);
    if (!host) {
        host = xcalloc(1, sizeof *host);
        text_copy(host->name, sizeof host->name, name);
        host->limit_bytes = NFC_HOST_BUDGET_BYTES;
        host->next = hosts;
        hosts = host;
    }
    if (host->share_count == NFC_HOST_LANES_MAX) {
        (void)err_set(err, FAIL_LIMIT,
                      "host '%s' serves %d NFC connections of ours already; read fewer "
                      "disks at once",
                      name, NFC_HOST_LANES_MAX);
        return NULL;
    }
    host->share_count++;
    return host;
}

static void grant_locked(struct budget_host *host)
{
    while (host->first) {
        struct nfc_share *share = host->first;
        if (host->used_bytes > 0 &&
            (host->used_bytes >= host->limit_bytes ||
             share->wanted_bytes > host->limit_bytes - host->used_bytes))
            return;
        host->first = share->next;
        if (!host->first)
            host->last = NULL;
        share->next = NULL;
        share->granted_bytes = share->wanted_bytes;
        share->wanted_bytes = 0;
        host->used_bytes += share->granted_bytes;
        (void)eventfd_write(share->event_fd, 1); /* only fails at 2^64 - 1 */
    }
}

static void enqueue_locked(struct nfc_share *share)
{
    struct budget_host *host = share->host;
    if (host->last)
        host->last->next = share;
    else
        host->first = share;
    host->last = share;
}

static void take_granted_locked(struct nfc_share *share)
{
    eventfd_t ignored;
    (void)eventfd_read(share->event_fd, &ignored); /* was readable since the grant */
    share->held_bytes += share->granted_bytes;
    share->granted_bytes = 0;
}

static void leave_line_locked(struct nfc_share *share)
{
    struct nfc_share *before = NULL;
    eventfd_t ignored;
    for (struct nfc_share *at = share->host->first; at; before = at, at = at->next) {
        if (at != share)
            continue;
        if (before)
            before->next = at->next;
        else
            share->host->first = at->next;
        if (share->host->last == share)
            share->host->last = before;
        break;
    }
    share->next = NULL;
    share->wanted_bytes = 0;
    share->host->used_bytes -= share->granted_bytes;
    share->granted_bytes = 0;
    (void)eventfd_read(share->event_fd, &ignored); /* not readable: was not granted */
}

static void leave_host_locked(struct nfc_share *share)
{
    struct budget_host *host = share->host;
    leave_line_locked(share);
    host->used_bytes -= share->held_bytes;
    host->share_count--;
    share->host = NULL;
    grant_locked(host);
    if (host->share_count > 0)
        return;
    for (struct budget_host **at = &hosts; *at; at = &(*at)->next)
        if (*at == host) {
            *at = host->next;
            break;
        }
    free(host);
}

struct nfc_share *nfc_share_open(const char *host, uint64_t limit_bytes, struct err *err)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) {
        (void)err_errno(err, errno, "eventfd for the NFC budget");
        return NULL;
    }
    struct nfc_share *share = xcalloc(1, sizeof *share);
    share->event_fd = fd;
    LOCK_GUARD(&lock);
    share->host = enter_locked(host, err);
    if (!share->host) {
        (void)close(fd);
        free(share);
        return NULL;
    }
    if (limit_bytes) {
        share->host->limit_bytes = limit_bytes;
        grant_locked(share->host);
    }
    return share;
}

void nfc_share_close(struct nfc_share *share)
{
    if (!share)
        return;
    (void)pthread_mutex_lock(&lock);
    leave_host_locked(share);
    (void)pthread_mutex_unlock(&lock);
    (void)close(share->event_fd);
    free(share);
}

bool nfc_share_move(struct nfc_share *share, const char *host, struct err *err)
{
    LOCK_GUARD(&lock);
    if (strcasecmp(share->host->name, host) == 0)
        return true;
    uint64_t limit_bytes = share->host->limit_bytes;
    struct budget_host *other = find_locked(host);
    bool is_new = !other;
    other = enter_locked(host, err);
    if (!other)
        return false;
    if (is_new)
        other->limit_bytes = limit_bytes;
    leave_host_locked(share);
    share->host = other;
    other->used_bytes += share->held_bytes; /* beyond the limit perhaps: no more grants */
    return true;
}

bool nfc_share_ask(struct nfc_share *share, uint64_t bytes)
{
    LOCK_GUARD(&lock);
    struct budget_host *host = share->host;
    if (share->granted_bytes && share->granted_bytes != bytes)
        leave_line_locked(share); /* the wish changed: back to the end of the line */
    if (!share->granted_bytes && !share->wanted_bytes)
        enqueue_locked(share);
    if (!share->granted_bytes) {
        share->wanted_bytes = bytes;
        grant_locked(host);
    }
    if (!share->granted_bytes)
        return false;
    take_granted_locked(share);
    return true;
}

void nfc_share_give(struct nfc_share *share, uint64_t bytes)
{
    LOCK_GUARD(&lock);
    share->held_bytes -= bytes;
    share->host->used_bytes -= bytes;
    grant_locked(share->host);
}

void nfc_share_forgo(struct nfc_share *share)
{
    LOCK_GUARD(&lock);
    leave_line_locked(share);
    grant_locked(share->host);
}

int nfc_share_fd(const struct nfc_share *share)
{
    return share->event_fd;
}

uint64_t nfc_budget_used(const char *host)
{
    LOCK_GUARD(&lock);
    const struct budget_host *found = find_locked(host);
    return found ? found->used_bytes : 0;
}
