/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operation that an answer began, watched to its end.
 *
 * What is watched, in this order: Azure-AsyncOperation (a status), Location (202 until it
 * is done), the resource's provisioningState. A later answer may name another URL.
 *
 *   answer to the call                       watched
 *   200 201 202, Azure-AsyncOperation        its status; then a POST's result at Location
 *   202, Location only                       Location
 *   200 201 without                          provisioningState, when there is one
 *   202 without either                       the resource: settled, or (DELETE) gone
 *   204                                      nothing: it is done
 *
 * Source: the published resource provider contract, "asynchronous operations"; walked
 * against the public mock of such operations (tests/unit/azure/test_arm_mock.c). A status
 * that is not known means: not done yet.
 */
#include "azure/arm_impl.h"

#include "base/clock.h"
#include "base/text.h"

struct watch {
    struct arm *arm;
    const struct arm_call *call;
    struct buf url;    /* what is asked; empty: the resource */
    struct buf result; /* where a POST's result will be; may be empty */
    bool is_status;    /* url answers with a status */
    uint64_t until_ms;
};

static bool is_method(const struct watch *watch, const char *method)
{
    return strcmp(watch->call->method, method) == 0;
}

/* ---- pauses ---- */

/* Before the next look. The last one is at the deadline. */
static bool pause_before_next(const struct watch *watch, const struct http_answer *answer,
                              struct err *err)
{
    uint64_t base_ms = watch->arm->poll_base_ms, pause_ms = base_ms;
    uint64_t now_ms = clock_mono_ms();
    if (now_ms >= watch->until_ms)
        return err_set(err, FAIL_TRANSIENT,
                       "%.120s: not done after %llu s; the service goes on with it",
                       watch->call->what,
                       (unsigned long long)(watch->arm->operation_ms / 1000));
    if (azure_retry_after(answer, &pause_ms))
        pause_ms = MAX_OF(pause_ms, MIN_OF(base_ms, UINT64_C(1000)));
    return cancel_sleep_ms(watch->call->cancel,
                           MIN_OF(pause_ms, watch->until_ms - now_ms), err);
}

/* ---- what is asked next ---- */

static bool take_header(const struct http_answer *answer, const char *name,
                        struct buf *ret)
{
    size_t room = answer->headers.bytes + 1;
    buf_clear(ret);
    buf_reserve(ret, room);
    if (!http_answer_header(answer, name, (char *)ret->data, room))
        return false;
    ret->bytes = strlen((char *)ret->data);
    return ret->bytes > 0;
}

static void take_urls(struct watch *watch, const struct http_answer *answer)
{
    AUTO(buf_release) struct buf found = {0};
    if (take_header(answer, "Azure-AsyncOperation", &found)) {
        buf_clear(&watch->url);
        buf_append(&watch->url, found.data, found.bytes);
        watch->is_status = true;
    }
    if (!take_header(answer, "Location", &found))
        return;
    buf_clear(&watch->result);
    buf_append(&watch->result, found.data, found.bytes);
    if (!watch->is_status && answer->status == 202) {
        buf_clear(&watch->url);
        buf_append(&watch->url, found.data, found.bytes);
    }
}

/* ---- one look ---- */

enum look { LOOK_AGAIN, LOOK_DONE, LOOK_FAILED };

static json_t *take_output(const json_t *operation)
{
    json_t *properties = json_object_get(operation, "properties");
    json_t *output = json_object_get(properties, "output");
    return json_incref(json_is_object(output) ? output : properties);
}

static enum look fail_operation(const struct arm_exchange *exchange, const json_t *json,
                                const char *status, struct err *err)
{
    if (json_is_object(json_object_get(json, "error")))
        (void)azure_refused(&exchange->request, &exchange->answer, err);
    else
        (void)err_set(err, FAIL_IO,
                      "%.120s: the operation ended as '%.40s', without a reason (client "
                      "request id %s)",
                      exchange->request.what, status, exchange->request.client_id);
    return LOOK_FAILED;
}

/* {"status": "Succeeded", "error": {...}, "properties": {...}} */
static enum look read_status(struct watch *watch, const struct arm_exchange *exchange,
                             json_t **ret_json, struct err *err)
{
    if (exchange->answer.status == 204)
        return LOOK_DONE;
    if (exchange->answer.status == 202 && !exchange->answer.body.bytes)
        return LOOK_AGAIN;
    AUTO(json_free) json_t *json = arm_answer_json(exchange, err);
    if (!json)
        return LOOK_FAILED;
    const char *status = json_string_value(json_object_get(json, "status"));
    if (!status) {
        if (exchange->answer.status == 202)
            return LOOK_AGAIN;
        (void)err_set(err, FAIL_CORRUPT, "%.120s: the operation has no status",
                      exchange->request.what);
        return LOOK_FAILED;
    }
    if (strcasecmp(status, "Failed") == 0 || strcasecmp(status, "Canceled") == 0 ||
        strcasecmp(status, "Cancelled") == 0)
        return fail_operation(exchange, json, status, err);
    if (strcasecmp(status, "Succeeded") != 0)
        return LOOK_AGAIN;
    if (is_method(watch, "POST"))
        *ret_json = take_output(json);
    return LOOK_DONE;
}

/* The answer of a Location: 202 until it is done, then the result. */
static enum look read_result(struct watch *watch, const struct arm_exchange *exchange,
                             json_t **ret_json, struct err *err)
{
    if (exchange->answer.status == 202)
        return LOOK_AGAIN;
    if (!is_method(watch, "POST") || !exchange->answer.body.bytes)
        return LOOK_DONE;
    json_decref(*ret_json);
    *ret_json = arm_answer_json(exchange, err);
    return *ret_json ? LOOK_DONE : LOOK_FAILED;
}

static enum look look(struct watch *watch, struct arm_exchange *exchange,
                      json_t **ret_json, struct err *err)
{
    arm_exchange_release(exchange);
    if (!arm_follow(watch->arm, watch->call, buf_text(&watch->url), exchange, err))
        return LOOK_FAILED;
    unsigned status = exchange->answer.status;
    if (status != 200 && status != 201 && status != 202 && status != 204) {
        (void)azure_refused(&exchange->request, &exchange->answer, err);
        return LOOK_FAILED;
    }
    enum look seen = watch->is_status ? read_status(watch, exchange, ret_json, err)
                                      : read_result(watch, exchange, ret_json, err);
    if (seen == LOOK_AGAIN || watch->is_status)
        take_urls(watch, &exchange->answer);
    return seen;
}

/* exchange: the answer that began it; afterwards the last one. */
static bool watch_url(struct watch *watch, struct arm_exchange *exchange,
                      json_t **ret_json, struct err *err)
{
    enum look seen = LOOK_AGAIN;
    while (seen == LOOK_AGAIN)
        seen = pause_before_next(watch, &exchange->answer, err)
                   ? look(watch, exchange, ret_json, err)
                   : LOOK_FAILED;
    if (seen == LOOK_FAILED || !watch->is_status || !is_method(watch, "POST") ||
        !watch->result.bytes)
        return seen == LOOK_DONE;
    watch->is_status = false;
    buf_clear(&watch->url);
    buf_append(&watch->url, watch->result.data, watch->result.bytes);
    while ((seen = look(watch, exchange, ret_json, err)) == LOOK_AGAIN)
        if (!pause_before_next(watch, &exchange->answer, err))
            return false;
    return seen == LOOK_DONE;
}

/* ---- the resource itself ---- */

static bool state_is_final(const json_t *resource)
{
    static const char *const FINAL[] = {"", "Succeeded", "Failed", "Canceled"};
    for (size_t i = 0; i < ARRAY_COUNT(FINAL); i++)
        if (strcasecmp(arm_provisioning(resource), FINAL[i]) == 0)
            return true;
    return false;
}

/* Until its state is final, or (until_gone) it is not there. */
static bool watch_resource(struct watch *watch, bool until_gone, json_t **ret,
                           struct err *err)
{
    for (;;) {
        AUTO(arm_exchange_release) struct arm_exchange exchange = {0};
        if (!arm_look(watch->arm, watch->call, &exchange, err))
            return false;
        if (until_gone && exchange.answer.status == 404)
            return true;
        if (exchange.answer.status != 200)
            return azure_refused(&exchange.request, &exchange.answer, err);
        AUTO(json_free) json_t *json = arm_answer_json(&exchange, err);
        if (!json)
            return false;
        if (!until_gone && state_is_final(json)) {
            *ret = TAKE(json);
            return true;
        }
        if (!pause_before_next(watch, &exchange.answer, err))
            return false;
    }
}

static struct watch watch_from_now(struct arm *arm, const struct arm_call *call)
{
    return (struct watch){
        .arm = arm, .call = call, .until_ms = clock_mono_ms() + arm->operation_ms};
}

bool arm_settle(struct arm *arm, const struct arm_call *call, json_t **ret,
                struct err *err)
{
    struct watch watch = watch_from_now(arm, call);
    return watch_resource(&watch, false, ret, err);
}

/* ---- from the first answer on ---- */

/* Answered at once: 200, 201 or 204 without a URL to watch. */
static bool take_at_once(struct watch *watch, const struct arm_exchange *first,
                         json_t **ret_json, struct err *err)
{
    if (is_method(watch, "DELETE") || !first->answer.body.bytes)
        return true;
    AUTO(json_free) json_t *json = arm_answer_json(first, err);
    if (!json)
        return false;
    if (!is_method(watch, "POST") && !state_is_final(json))
        return watch_resource(watch, false, ret_json, err);
    *ret_json = TAKE(json);
    return true;
}

static bool wait_for_end(struct watch *watch, struct arm_exchange *first,
                         json_t **ret_json, struct err *err)
{
    if (watch->url.bytes)
        return watch_url(watch, first, ret_json, err);
    if (first->answer.status != 202)
        return take_at_once(watch, first, ret_json, err);
    if (is_method(watch, "POST"))
        return err_set(err, FAIL_CORRUPT,
                       "%.120s: accepted, but the answer does not say where to ask for "
                       "its end (client request id %s)",
                       watch->call->what, first->request.client_id);
    return pause_before_next(watch, &first->answer, err) &&
           watch_resource(watch, is_method(watch, "DELETE"), ret_json, err);
}

bool arm_operation_wait(struct arm *arm, const struct arm_call *call,
                        struct arm_exchange *first, json_t **ret_json, struct err *err)
{
    struct watch watch = watch_from_now(arm, call);
    take_urls(&watch, &first->answer);
    bool ok = wait_for_end(&watch, first, ret_json, err);
    buf_release(&watch.url);
    buf_release(&watch.result);
    return ok;
}
