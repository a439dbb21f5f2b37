/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Endpoints are looked at side by side, their steps one after the other.
 *
 * D1  a step is tried only when all before it went well, otherwise it is there as
 *     skipped, with the name of the one that failed: the table always shows the whole
 *     chain;
 * D2  at most MAX_THREADS endpoints at once, so that a check never looks like an attack;
 * D3  what depends on two endpoints is judged after all are done (judge_rules).
 * Must never: change anything but its own small blob, or fail.
 */
#include "doctor/doctor_impl.h"

#include "base/clock.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdatomic.h>

#define MAX_THREADS              8
#define DEFAULT_STEP_DEADLINE_MS 4000

const char *doctor_verdict_name(enum doctor_verdict verdict)
{
    static const char *const NAMES[] = {"ok", "skipped", "warning", "failed"};
    return NAMES[verdict];
}

/* ---- steps ---- */

struct doctor_step *visit_step_anyway(struct visit *visit, const char *name)
{
    struct doctor_result *result = visit->result;
    if (result->step_count == DOCTOR_MAX_STEPS)
        abort(); /* our own lists are shorter */
    struct doctor_step *step = &result->steps[result->step_count++];
    step->name = name;
    visit->began_ms = clock_mono_ms();
    return step;
}

struct doctor_step *visit_step(struct visit *visit, const char *name)
{
    const struct doctor_step *failed = doctor_first_failure(visit->result);
    struct doctor_step *step = visit_step_anyway(visit, name);
    if (!failed && !cancel_is_set(visit->options->cancel))
        return step;
    step->verdict = DOCTOR_SKIPPED;
    (void)snprintf(step->cause, sizeof step->cause,
                   failed ? "not tried: '%s' failed" : "not tried: canceled%s",
                   failed ? failed->name : "");
    return NULL;
}

static void end_step(const struct visit *visit, struct doctor_step *step)
{
    step->took_ms = clock_mono_ms() - visit->began_ms;
}

void step_ok(struct visit *visit, struct doctor_step *step, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(step->cause, sizeof step->cause, fmt, ap);
    va_end(ap);
    step->verdict = DOCTOR_OK;
    end_step(visit, step);
}

void step_bad(struct visit *visit, struct doctor_step *step, enum doctor_verdict verdict,
              const char *remedy, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(step->cause, sizeof step->cause, fmt, ap);
    va_end(ap);
    text_copy(step->remedy, sizeof step->remedy, remedy);
    step->verdict = verdict;
    end_step(visit, step);
}

void step_failed(struct visit *visit, struct doctor_step *step, const struct err *err,
                 const char *fallback)
{
    const char *remedy = strstr(err->text, "; ");
    int bytes = (int)(remedy ? (size_t)(remedy - err->text) : strlen(err->text));
    if (err->kind == FAIL_CANCELED)
        step_bad(visit, step, DOCTOR_SKIPPED, "", "not finished: canceled");
    else
        step_bad(visit, step, DOCTOR_FAILED, remedy ? remedy + 2 : fallback, "%.*s",
                 bytes, err->text);
}

const struct doctor_step *doctor_first_failure(const struct doctor_result *result)
{
    for (size_t i = 0; i < result->step_count; i++)
        if (result->steps[i].verdict == DOCTOR_FAILED)
            return &result->steps[i];
    return NULL;
}

/* ---- one endpoint ---- */

static bool open_visit(struct visit *visit, struct err *err)
{
    const struct doctor_target *target = visit->target;
    if (target->credential_file) {
        visit->has_access =
            azure_access_read(target->credential_file, &visit->access, err);
        if (!visit->has_access)
            return false;
    }
    struct http_endpoint_options way = {
        .url = visit->result->origin, .ca_file = target->ca_file, .pin = target->pin};
    if (visit->has_access)
        way = azure_access_way(&visit->access, visit->result->origin);
    way.role = target->role;
    way.connect_deadline_ms = visit->deadline_ms;
    way.max_idle = 1;
    visit->endpoint = http_endpoint_open(&way, err);
    return visit->endpoint != NULL;
}

/* "https://host:port/container" -> "https://host:port", "host" */
static void take_origin(struct visit *visit)
{
    const char *url = visit->target->url;
    const char *at = strstr(url, "://");
    at = at ? at + 3 : url;
    size_t bytes = (size_t)(at - url) + strcspn(at, "/");
    (void)snprintf(visit->result->origin, sizeof visit->result->origin, "%.*s",
                   (int)bytes, url);
    bool is_v6 = *at == '[';
    at += is_v6 ? 1 : 0;
    bytes = strcspn(at, is_v6 ? "]" : ":/");
    (void)snprintf(visit->result->host, sizeof visit->result->host, "%.*s", (int)bytes,
                   at);
    (void)snprintf(visit->account, sizeof visit->account, "%.*s",
                   (int)strcspn(visit->result->host, "."), visit->result->host);
}

static void visit_one(const struct doctor_options *options,
                      const struct doctor_target *target, struct doctor_result *result)
{
    struct err err = ERR_INIT;
    struct visit visit = {.options = options, .target = target, .result = result};
    visit.deadline_ms =
        options->step_deadline_ms ? options->step_deadline_ms : DEFAULT_STEP_DEADLINE_MS;
    result->role = target->role;
    text_copy(result->label, sizeof result->label, target->label);
    take_origin(&visit);
    if (!open_visit(&visit, &err)) {
        struct doctor_step *step = visit_step(&visit, "settings");
        if (step)
            step_failed(&visit, step, &err, "correct the file");
    } else {
        visit_reach(&visit);
        if (target->kind == DOCTOR_BLOBS)
            visit_blobs(&visit);
        else if (target->kind == DOCTOR_ENTRA)
            visit_entra(&visit);
        else if (target->kind == DOCTOR_ARM)
            visit_arm(&visit);
    }
    http_endpoint_close(visit.endpoint);
    if (visit.has_access)
        azure_access_release(&visit.access);
}

/* ---- what two endpoints tell together ---- */

static void note_on_route(struct doctor_result *result, const struct finding *finding)
{
    for (size_t i = 0; i < result->step_count; i++) {
        struct doctor_step *step = &result->steps[i];
        if (strcmp(step->name, "route") != 0)
            continue;
        step->verdict = DOCTOR_FAILED;
        text_copy(step->cause, sizeof step->cause, finding->why);
        text_copy(step->remedy, sizeof step->remedy, finding->remedy);
    }
}

/* D3: by now netpath has seen which of them are private. */
static void judge_rules(const struct doctor_options *options,
                        struct doctor_report *report)
{
    AUTO(findings_release) struct findings findings = {0};
    struct path_endpoint known[DOCTOR_MAX_TARGETS];
    for (size_t i = 0; i < report->count; i++)
        known[i] =
            (struct path_endpoint){options->targets[i].role, report->results[i].origin};
    path_check_rules(known, report->count, &findings);
    for (size_t f = 0; f < findings.count; f++)
        for (size_t i = 0; i < report->count; i++) {
            struct doctor_result *result = &report->results[i];
            char what[sizeof findings.items[f].what];
            (void)snprintf(what, sizeof what, "%s '%s'", path_role_name(result->role),
                           result->host);
            if (strcmp(what, findings.items[f].what) == 0)
                note_on_route(result, &findings.items[f]);
        }
}

/* ---- all of them ---- */

struct round {
    const struct doctor_options *options;
    struct doctor_report *report;
    /* Atomic. */
    _Atomic size_t next;
};

static void *work(void *ctx)
{
    struct round *round = ctx;
    for (;;) {
        size_t i = atomic_fetch_add(&round->next, 1);
        if (i >= round->report->count)
            return NULL;
        visit_one(round->options, &round->options->targets[i],
                  &round->report->results[i]);
    }
}

void doctor_run(const struct doctor_options *options, struct doctor_report *ret)
{
    pthread_t threads[MAX_THREADS];
    size_t started = 0;
    uint64_t began_ms = clock_mono_ms();
    *ret = (struct doctor_report){.at_unix_ms = clock_wall_ms()};
    ret->count = MIN_OF(options->count, (size_t)DOCTOR_MAX_TARGETS);
    ret->results = xcalloc(MAX_OF(ret->count, (size_t)1), sizeof *ret->results);
    struct round round = {.options = options, .report = ret};
    while (started + 1 < MIN_OF(ret->count, (size_t)MAX_THREADS) &&
           pthread_create(&threads[started], NULL, work, &round) == 0)
        started++;
    (void)work(&round); /* this thread too; alone when there are no others */
    for (size_t i = 0; i < started; i++)
        (void)pthread_join(threads[i], NULL); /* ours, joined once */
    judge_rules(options, ret);
    ret->took_ms = clock_mono_ms() - began_ms;
}

void doctor_report_release(struct doctor_report *report)
{
    free(report->results);
    *report = (struct doctor_report){0};
}
