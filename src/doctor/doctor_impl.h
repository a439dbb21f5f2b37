/* SPDX-License-Identifier: Apache-2.0 */
/* Internal to doctor: one endpoint on its way through the steps. */
#ifndef DOCTOR_DOCTOR_IMPL_H
#define DOCTOR_DOCTOR_IMPL_H

#include "azure/access.h"
#include "doctor/doctor.h"
#include "http/peer.h"

/* One thread's. */
struct visit {
    const struct doctor_options *options;
    const struct doctor_target *target;
    struct doctor_result *result;
    uint64_t deadline_ms; /* of a connection */
    char account[64];     /* of blobs */
    bool has_access;
    struct azure_access access; /* of credential_file */
    struct http_endpoint *endpoint;
    bool is_private_wanted; /* the role must be private */
    uint64_t began_ms;      /* of the step under way */
};

/* Begins one; NULL: an earlier one failed, this one is noted as skipped. */
MUST_CHECK struct doctor_step *visit_step(struct visit *visit, const char *name);
/* One that does not depend on those before: it may say why they failed. */
MUST_CHECK struct doctor_step *visit_step_anyway(struct visit *visit, const char *name);
/* Ends it; the time is taken. */
void step_ok(struct visit *visit, struct doctor_step *step, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void step_bad(struct visit *visit, struct doctor_step *step, enum doctor_verdict verdict,
              const char *remedy, const char *fmt, ...) PRINTF_LIKE(5, 6);
/* Failed with an error's text, which has its remedy behind "; ", else fallback. */
void step_failed(struct visit *visit, struct doctor_step *step, const struct err *err,
                 const char *fallback);

/* ---- reach.c: name, route, connect, tunnel, tls, clock ---- */
void visit_reach(struct visit *visit);

/* ---- blobs.c ---- */
void visit_blobs(struct visit *visit);

/* ---- manage.c: what Entra ID and ARM are asked ---- */
void visit_entra(struct visit *visit);
void visit_arm(struct visit *visit);
/* Kind of the account and its private endpoints. */
void visit_account(struct visit *visit);

#endif
