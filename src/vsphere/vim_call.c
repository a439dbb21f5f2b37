/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call: write the envelope, post it, and when the session turns out to be gone renew
 * it and post once more. The second try is safe for every method: a call refused with
 * NotAuthenticated was not carried out. Nothing else is ever sent twice.
 */
#include "vsphere/vim_session.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "vsphere/vim_soap.h"

#define ANSWER_MAX_BYTES XML_MAX_BYTES
#define COOKIE_NAME      "vmware_soap_session="

/* The session's cookie out of all Set-Cookie lines, verbatim up to its ";". */
static struct secret *find_cookie(const struct buf *headers)
{
    static const char header[] = "set-cookie:";
    const char *line = buf_text(headers);
    while (line) {
        if (strncasecmp(line, header, sizeof header - 1) == 0) {
            const char *value = line + sizeof header - 1;
            value += strspn(value, " \t");
            size_t bytes = strcspn(value, ";\r\n");
            if (text_starts_with(value, COOKIE_NAME) && bytes < SECRET_MAX_BYTES)
                return secret_new(value, bytes);
        }
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return NULL;
}

/* An answer that is not SOAP: the status says what kind of failure it is. */
static bool fail_status(const struct vim *vim, const char *method, unsigned status,
                        struct err *err)
{
    if (status == 401 || status == 403)
        return err_set(err, FAIL_AUTH, "%s: '%s' answers with HTTP status %u", method,
                       vim->base_url, status);
    if (status == 429 || status >= 500)
        return err_set(err, FAIL_TRANSIENT,
                       "%s: '%s' answers with HTTP status %u; is it starting?", method,
                       vim->base_url, status);
    return err_set(
        err, FAIL_INPUT,
        "%s: '%s%s' answers with HTTP status %u; is it a vCenter or ESXi host?", method,
        vim->base_url, vim->path, status);
}

static bool read_answer(struct vim *vim, const struct vim_post *post,
                        const struct http_answer *answer, struct err *err)
{
    struct vim_call *call = post->call;
    struct vim_soap_answer soap = {
        .method = call->type->name,
        .body = answer->body.data,
        .body_bytes = answer->body.bytes,
        .on_return = call->on_return,
        .arg = call->arg,
    };
    if (answer->status == 200)
        return vim_soap_read(&soap, &call->fault, err);
    if (answer->status != 500)
        return fail_status(vim, call->type->name, answer->status, err);
    soap.on_return = NULL;
    struct err fault = ERR_INIT;
    if (vim_soap_read(&soap, &call->fault, &fault) || fault.kind == FAIL_CORRUPT)
        return fail_status(vim, call->type->name, answer->status, err);
    *err = fault;
    return false;
}

bool vim_post(struct vim *vim, const struct vim_post *post, struct err *err)
{
    struct vim_call *call = post->call;
    struct http_header headers[] = {
        {.name = "Content-Type", .value = "text/xml; charset=utf-8"},
        {.name = "SOAPAction", .value = vim->soap_action},
        {.name = "Cookie", .value = "", .secret = post->cookie},
    };
    struct http_request request = {
        .method = "POST",
        .path = vim->path,
        .headers = headers,
        .header_count = post->cookie ? 3 : 2,
        .body = post->envelope->data,
        .body_bytes = post->envelope->bytes,
        .max_answer_bytes = ANSWER_MAX_BYTES,
        .deadline_ms = call->deadline_ms ? call->deadline_ms : vim->call_deadline_ms,
        .cancel = call->cancel,
    };
    request.stall_ms = request.deadline_ms; /* servers think long before the first byte */
    AUTO(http_answer_release) struct http_answer answer = {0};
    call->fault = (struct vim_fault_seen){0};
    if (!http_exchange(vim->endpoint, &request, &answer, err))
        return err_wrap(err, "%s", call->type->name);
    atomic_store(&vim->last_used_ms, clock_mono_ms());
    {
        LOCK_GUARD(&vim->lock);
        vim->counters.calls++;
        vim->counters.sent_bytes += post->envelope->bytes;
        vim->counters.received_bytes += answer.body.bytes;
    }
    if (post->ret_cookie)
        *post->ret_cookie = find_cookie(&answer.headers);
    return read_answer(vim, post, &answer, err);
}

bool vim_call_send(struct vim *vim, struct vim_call *call, struct err *err)
{
    AUTO(buf_release) struct buf envelope = {0};
    if (!vim_soap_write(call->type, call->args, &envelope, err))
        return false;
    for (unsigned tries = 1;; tries++) {
        uint64_t generation = 0;
        AUTO(secret_free) struct secret *cookie = vim_cookie_copy(vim, &generation);
        struct vim_post post = {.call = call, .envelope = &envelope, .cookie = cookie};
        struct err tried = ERR_INIT;
        if (vim_post(vim, &post, &tried))
            return true;
        if (tries > 1 || strcmp(call->fault.type, "NotAuthenticated") != 0) {
            *err = tried;
            return false;
        }
        log_debug("vim_session_lost", "host=%s method=%s", vim->host_name,
                  call->type->name);
        if (!vim_login(vim, generation, call->cancel, err))
            return err_wrap(err, "%s", call->type->name);
    }
}

struct one_return {
    const struct wire_type *type; /* NULL: a reference */
    struct wire_arena *arena;
    void *ret;
    unsigned seen;
};

static bool read_one(void *arg, struct xml_reader *reader, struct err *err)
{
    struct one_return *one = arg;
    if (one->seen++ > 0)
        return true;
    if (!one->type)
        return wire_read_ref(reader, one->ret, err);
    return wire_read(one->type, reader, one->arena, one->ret, err);
}

static bool send_for_one(struct vim *vim, struct vim_call *call, struct one_return *one,
                         struct err *err)
{
    call->on_return = read_one;
    call->arg = one;
    if (!vim_call_send(vim, call, err))
        return false;
    return one->seen > 0 || err_set(err, FAIL_CORRUPT, "%s: the answer has no returnval",
                                    call->type->name);
}

bool vim_call_read(struct vim *vim, struct vim_call *call, const struct wire_type *type,
                   struct wire_arena *arena, void *ret, struct err *err)
{
    struct one_return one = {.type = type, .arena = arena, .ret = ret};
    return send_for_one(vim, call, &one, err);
}

bool vim_call_ref(struct vim *vim, struct vim_call *call, struct vim_ref *ret,
                  struct err *err)
{
    struct vim_ref ref = {0};
    struct one_return one = {.ret = &ref};
    if (!send_for_one(vim, call, &one, err))
        return false;
    if (!vim_ref_is_set(&ref))
        return err_set(err, FAIL_CORRUPT, "%s: the answer is not a reference",
                       call->type->name);
    *ret = ref;
    return true;
}

bool vim_call_is_unknown(const struct vim_call *call)
{
    static const char *const types[] = {"MethodNotFound", "NotImplemented",
                                        "NotSupported", "InvalidRequest"};
    for (size_t i = 0; i < ARRAY_COUNT(types); i++)
        if (strcmp(call->fault.type, types[i]) == 0)
            return true;
    return false;
}
