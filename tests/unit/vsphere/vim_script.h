/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vim25 server that a test scripts: it greets and lets in by itself, every other method
 * is answered by the test. For what no simulator does: wrong, hostile and rare answers.
 */
#ifndef TESTS_VIM_SCRIPT_H
#define TESTS_VIM_SCRIPT_H

#include "support/http_server.h"
#include "vsphere/vim.h"

#include <stdatomic.h>

struct vim_script {
    /* Fills reply->body (an envelope, or anything); false: not this test's method. Called
     * by several threads at once. */
    bool (*answer)(struct vim_script *script, const char *method, const char *body,
                   struct served_reply *reply);
    void *arg;
    const char *versions;  /* of vimServiceVersions.xml; NULL: 404 */
    unsigned greet_status; /* instead of an answer to the greeting; 0: answers */
    atomic_uint logins;    /* seen */
    atomic_uint logouts;
    atomic_uint calls;         /* scripted methods seen */
    atomic_bool is_expired;    /* the session is gone until the next login */
    atomic_bool is_refusing;   /* logins, after half a second */
    atomic_bool is_never_good; /* ... and after it too */
    pthread_mutex_t lock;
    /* Guarded by lock while calls run. */
    char password[512];   /* of the last login, unescaped as it came */
    char soap_action[96]; /* of the last call */
    char cookie[128];     /* of the last call */

    struct http_server *server;
    char url[64];
};

void vim_script_start(struct vim_script *script);
void vim_script_stop(struct vim_script *script);

/* Must succeed / may fail. */
struct vim *vim_script_login(struct vim_script *script);
struct vim *vim_script_try_login(struct vim_script *script, struct err *err);

/* An envelope around "<methodResponse>inner</methodResponse>"; a fault, status 500. */
void vim_script_respond(struct served_reply *reply, const char *method,
                        const char *inner);
void vim_script_fault(struct served_reply *reply, const char *type, const char *text);

#endif
