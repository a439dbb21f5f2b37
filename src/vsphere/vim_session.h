/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a session: struct vim, and how one envelope goes out and comes back.
 * Internal: for vim.c, vim_login.c and vim_call.c alone.
 */
#ifndef VSPHERE_VIM_SESSION_H
#define VSPHERE_VIM_SESSION_H

#include <stdatomic.h>

#include "vsphere/vim_call.h"

struct vim {
    /* Set by vim_open, never changed. */
    struct http_endpoint *endpoint;
    char *base_url; /* "https://host:port" */
    char *path;     /* "/sdk" */
    char *host_name;
    char *user;
    char *ca_file;
    char *proxy_url;
    struct secret *password;
    struct secret *proxy_password;
    uint8_t pin[HTTP_PIN_BYTES];
    bool has_pin;
    uint64_t call_deadline_ms;
    char soap_action[96];
    struct vim_about about;
    struct vim_content content;

    pthread_mutex_t lock;
    pthread_cond_t login_done;
    /* Guarded by lock. */
    struct secret *cookie; /* "vmware_soap_session=..."; NULL before the first login */
    char session_key[128];
    char session_user[256];
    uint64_t generation; /* successful logins */
    bool is_logging_in;
    struct err login_failure; /* of the last login; FAIL_NONE: it succeeded */
    uint64_t login_failed_ms; /* clock_mono_ms of it */
    struct vim_counters counters;
    char forgotten_paths[VIM_UNKNOWN_PATHS_MAX][96];
    size_t forgotten_count;

    /* Atomic. */
    _Atomic uint64_t last_used_ms; /* clock_mono_ms */
};

/* Sends one envelope with that cookie (NULL: none) and reads the answer; no second try.
 * *ret_cookie (or NULL): what the server set; the caller frees. */
struct vim_post {
    struct vim_call *call;
    const struct buf *envelope;
    const struct secret *cookie;
    struct secret **ret_cookie;
};
MUST_CHECK bool vim_post(struct vim *vim, const struct vim_post *post, struct err *err);

/* RetrieveServiceContent and the version to speak. */
MUST_CHECK bool vim_greet(struct vim *vim, const struct cancel *cancel, struct err *err);

/* Logs in unless somebody has since generation `seen`; waits for a login under way. */
MUST_CHECK bool vim_login(struct vim *vim, uint64_t seen, const struct cancel *cancel,
                          struct err *err);

/* A copy of the cookie and the generation it belongs to. */
struct secret *vim_cookie_copy(struct vim *vim, uint64_t *ret_generation);

#endif
