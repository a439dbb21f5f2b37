/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking name servers, by c-ares: one question for A and AAAA, followed through its
 * aliases. Works in the caller's thread with two or three sockets that are closed when it
 * returns; nothing is kept. Any thread.
 */
#ifndef NETPATH_RESOLVE_H
#define NETPATH_RESOLVE_H

#include "netpath/path.h"

#define RESOLVE_SERVERS_BYTES 80

struct resolve_options {
    const char
        *servers;     /* "10.0.0.53,[fd00::53]:5353"; NULL: those of /etc/resolv.conf */
    bool is_absolute; /* never appends a search domain; else as the system does it */
    uint64_t deadline_ms; /* 0: 8 s */
    const struct cancel *cancel;
};

/*
 * FAIL_GONE: no such name, or it has no address; ret->chain holds the aliases that lead
 * to it. FAIL_TRANSIENT: no server answers, or none knows. FAIL_INPUT: servers or host
 * cannot be one. FAIL_CANCELED. Each names the servers asked.
 */
MUST_CHECK bool resolve_name(const struct resolve_options *options, const char *host,
                             struct path_answer *ret, struct err *err);

/* Of all its addresses together. */
enum path_class resolve_class(const struct path_answer *answer);

/* 1..253 of [A-Za-z0-9._-], no empty part but a dot at the end. */
bool resolve_host_is_plain(const char *host);

/* FAIL_INPUT unless it is a list as in servers. */
MUST_CHECK bool resolve_check_servers(const char *servers, struct err *err);

#endif
