/* SPDX-License-Identifier: Apache-2.0 */
/* A report as JSON; its shape is that of the API's view, doc/api.md. */
#include "doctor/doctor.h"

static enum doctor_verdict worst_of(const struct doctor_result *result)
{
    enum doctor_verdict worst = DOCTOR_OK;
    for (size_t i = 0; i < result->step_count; i++)
        worst = MAX_OF(worst, result->steps[i].verdict);
    return worst;
}

enum doctor_verdict doctor_worst(const struct doctor_report *report)
{
    enum doctor_verdict worst = DOCTOR_OK;
    for (size_t i = 0; i < report->count; i++)
        worst = MAX_OF(worst, worst_of(&report->results[i]));
    return worst;
}

static json_t *step_json(const struct doctor_step *step)
{
    json_t *json = json_object();
    json_put_text(json, "step", step->name);
    json_put_text(json, "verdict", doctor_verdict_name(step->verdict));
    json_put_text(json, "cause", step->cause);
    json_put_text(json, "remedy", step->remedy);
    json_put_u64(json, "took_ms", step->took_ms);
    return json;
}

static json_t *result_json(const struct doctor_result *result)
{
    json_t *json = json_object(), *steps = json_array();
    json_put_text(json, "role", path_role_name(result->role));
    json_put_text(json, "label", result->label);
    json_put_text(json, "host", result->host);
    json_put_text(json, "verdict", doctor_verdict_name(worst_of(result)));
    for (size_t i = 0; i < result->step_count; i++)
        (void)json_array_append_new(steps, step_json(&result->steps[i])); /* no memory:
                                                                           * aborts */
    json_put_take(json, "steps", steps);
    return json;
}

json_t *doctor_report_json(const struct doctor_report *report)
{
    json_t *json = json_object(), *endpoints = json_array();
    json_put_u64(json, "at_ms", report->at_unix_ms);
    json_put_u64(json, "took_ms", report->took_ms);
    json_put_text(json, "verdict", doctor_verdict_name(doctor_worst(report)));
    for (size_t i = 0; i < report->count; i++)
        (void)json_array_append_new(endpoints, result_json(&report->results[i]));
    json_put_take(json, "endpoints", endpoints);
    return json;
}
