/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session with a vCenter or an ESXi host over the vim25 SOAP API: login, keep-alive,
 * one silent re-login, logout. What is asked over it stands in the other vim_*.h:
 *
 *   vim_inventory.h   everything there is, streamed page by page
 *   vim_machine.h     one machine: its devices, its power, finding it
 *   vim_snapshot.h    snapshots, their disks, consolidation
 *   vim_change.h      changed block tracking
 *   vim_task.h        waiting for what the server does
 *   vim_access.h      tickets for other services, privileges
 *   vim_fault.h       what each fault of the server means to us
 *
 * Threads: a struct vim is used by any number of threads at once; calls run side by side,
 * each on an HTTP connection of its own. A lost session is renewed by the first who
 * notices.
 *
 * A call whose session is gone (fault NotAuthenticated) logs in again and is sent once
 * more; when that fails in the same way the caller gets FAIL_AUTH. A login that was
 * refused is not tried again for 10 s, by whichever thread: accounts get locked. Nothing
 * else is repeated here: FAIL_TRANSIENT says that nobody answered, and then nobody knows
 * whether the server did it.
 *
 * cancel, everywhere: breaks the call (FAIL_CANCELED); NULL: not cancelable. Errors of
 * every call below, not repeated there: FAIL_TRANSIENT network, overload, host not
 * responding; FAIL_AUTH login, privilege (the text names it), certificate; FAIL_GONE the
 * object is not there (any more); FAIL_CORRUPT an answer that is not vim25; FAIL_LIMIT an
 * answer beyond our bounds; the rest by the table in vim_fault.c.
 */
#ifndef VSPHERE_VIM_H
#define VSPHERE_VIM_H

#include "base/cancel.h"
#include "base/secret.h"
#include "http/exchange.h"

struct vim;

/* A managed object: "VirtualMachine" "vm-42". Equal ids mean the same object only within
 * one server. */
struct vim_ref {
    char type[48];
    char id[128];
};
bool vim_ref_is_set(const struct vim_ref *ref);
bool vim_ref_equal(const struct vim_ref *a, const struct vim_ref *b);

struct vim_options {
    const char *url; /* "https://vcenter.example:443"; a path "/sdk" may follow */
    const char *user;
    const struct secret *password; /* any bytes that are UTF-8; copied */
    const char *ca_file;           /* as in http_endpoint_options; copied, also below */
    const uint8_t *pin;            /* HTTP_PIN_BYTES; trust on first use is the caller's,
                                    * through http_endpoint_fingerprint */
    const char *proxy_url;
    const struct secret *proxy_password;
    uint64_t call_deadline_ms; /* of each call but the waiting ones; 0: 2 min */
};

/* Connects, reads what the server is, logs in. FAIL_INPUT: url or user unusable. */
MUST_CHECK struct vim *vim_open(const struct vim_options *options,
                                const struct cancel *cancel, struct err *err);
/* Logs out (5 s at most, a failure is ignored). No call runs any more. */
void vim_close(struct vim *vim);
AUTO_CLEANUP(struct vim, vim_close);

struct vim_about {
    char name[128]; /* "VMware vCenter Server" */
    char full_name[160];
    char version[32]; /* "8.0.3" */
    char build[32];
    char api_type[32]; /* "VirtualCenter", "HostAgent" */
    char api_version[32];
    char instance_uuid[64]; /* of the vCenter; "" on a host */
    bool is_vcenter;
};
const struct vim_about *vim_about(const struct vim *vim); /* never changes */

/* A session that was idle for idle_ms or longer is used once (CurrentTime), so that the
 * server keeps it. Whoever holds a session calls this every few minutes with
 * VIM_IDLE_MS. */
#define VIM_IDLE_MS (10ull * 60 * 1000)
MUST_CHECK bool vim_keep_alive(struct vim *vim, uint64_t idle_ms,
                               const struct cancel *cancel, struct err *err);

/* The name or address in the url, without port and brackets: where a ticket without a
 * host is to be dialled. */
const char *vim_host_name(const struct vim *vim);

/* How this server is reached: url, trust and proxy for another endpoint of the same
 * server (/folder). Borrowed from vim. */
void vim_endpoint_options(const struct vim *vim, struct http_endpoint_options *ret);

/* The session's Cookie header value, verbatim as the server gave it; changes with a
 * re-login: take a new one when /folder answers 401. Caller frees. */
MUST_CHECK struct secret *vim_cookie_new(struct vim *vim, struct err *err);

struct vim_counters {
    uint64_t calls;  /* SOAP calls answered, faults included */
    uint64_t logins; /* successful ones; the first counts */
    uint64_t sent_bytes;
    uint64_t received_bytes;
};
void vim_counters_get(struct vim *vim, struct vim_counters *ret);

#endif
