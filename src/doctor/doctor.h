/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor: for each endpoint that a configuration has, a chain of steps from its name
 * to a small write, so that the first one that fails is the hop to mend. Each step is one
 * line of cause and one of remedy.
 *
 * It uses the very paths that data and control use (netpath, http, azure), never ways of
 * its own: what it finds is what a cycle would meet.
 */
#ifndef DOCTOR_DOCTOR_H
#define DOCTOR_DOCTOR_H

#include "base/cancel.h"
#include "http/json.h"
#include "netpath/path.h"

/* In order of badness. */
enum doctor_verdict { DOCTOR_OK, DOCTOR_SKIPPED, DOCTOR_WARNING, DOCTOR_FAILED };
const char *doctor_verdict_name(enum doctor_verdict verdict); /* "ok", "skipped", ... */

struct doctor_step {
    const char *name; /* literal: "name", "route", "connect", ... */
    enum doctor_verdict verdict;
    char cause[480];  /* what was found */
    char remedy[320]; /* "" : nothing to do */
    uint64_t took_ms;
};

#define DOCTOR_MAX_STEPS   12
#define DOCTOR_MAX_TARGETS 64

enum doctor_kind {
    DOCTOR_BLOBS, /* a container: sign-in, write, read, remove, speed, account */
    DOCTOR_ENTRA, /* tokens */
    DOCTOR_ARM,   /* sign-in and permissions */
    DOCTOR_HTTPS, /* something that answers over TLS: vCenter, an ESXi host, a vault */
    DOCTOR_PORT,  /* it takes connections, no more is asked: an ESXi host's NFC service */
};

/* One endpoint to look at. Texts are borrowed for the run. */
struct doctor_target {
    enum path_role role;
    enum doctor_kind kind;
    const char *label; /* which one, for people: "log_store", "source 'vc'" */
    const char *url;   /* "https://host[:port]"; of blobs with container and prefix, of
                        * a port "http://host:port" */
    const char *credential_file; /* azure/access.h; NULL: none */
    const char *ca_file;         /* of DOCTOR_HTTPS; NULL: the system's */
    const uint8_t *pin;          /* of DOCTOR_HTTPS; NULL: none */
    /* Where to ask about accounts and permissions; NULL: nowhere. */
    const char *arm_credential_file;
    const char *arm_endpoint; /* NULL: the cloud's */
    const char *subscription;
    const char *resource_group; /* whose permissions are looked at */
};

struct doctor_result {
    enum path_role role;
    char label[80];
    char host[PATH_NAME_BYTES];
    char origin[PATH_NAME_BYTES + 24]; /* "https://host:port" */
    bool is_direct;                    /* as the route step found */
    size_t step_count;
    struct doctor_step steps[DOCTOR_MAX_STEPS];
};

struct doctor_report {
    uint64_t at_unix_ms, took_ms;
    size_t count;
    struct doctor_result *results; /* owned */
};
void doctor_report_release(struct doctor_report *report);
static inline void auto_doctor_report_release(struct doctor_report *report)
{
    doctor_report_release(report);
}

struct doctor_options {
    const struct doctor_target *targets;
    size_t count;              /* at most DOCTOR_MAX_TARGETS */
    bool is_light;             /* in the background: nothing is written, no speed */
    uint64_t step_deadline_ms; /* of a connection; 0: 4 s */
    const struct cancel *cancel;
};

/* Looks at all, several at once. What could not be found out is a step, never a failure
 * of the call. Bounded: connections by step_deadline_ms, the rest by azure's own. */
void doctor_run(const struct doctor_options *options, struct doctor_report *ret);

enum doctor_verdict doctor_worst(const struct doctor_report *report);
/* The first failed step of a result; NULL: none. */
const struct doctor_step *doctor_first_failure(const struct doctor_result *result);

/* {at_ms, took_ms, verdict, endpoints: [{role, label, host, verdict, steps: [...]}]} */
MUST_CHECK json_t *doctor_report_json(const struct doctor_report *report);

#endif
