/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls and listings of Resource Manager; what an answer begins, arm_operation.c ends.
 *
 * A1  a path is encoded here and nowhere else: ids are kept as the service writes them;
 * A2  what an answer tells us to ask next is asked on our own scheme, host and port only:
 *     the token would go to whoever is named there.
 * Must never put an answer's body, a polling URL (it is signed) or a token into an error.
 */
#include "azure/arm_impl.h"

#include "azure/bearer.h"
#include "base/text.h"
#include "http/client.h"

#define POLL_BASE_MS 5000
#define OPERATION_MS (60 * 60 * 1000)

/* ---- open, close ---- */

static bool check_url(const char *url, struct err *err)
{
    return text_starts_with(url, "https://") ||
           text_starts_with(url, "http://127.0.0.1:") ||
           err_set(err, FAIL_INPUT,
                   "Resource Manager at '%.160s': only https:// keeps the token secret",
                   url);
}

static bool open_parts(struct arm *arm, const struct arm_options *options,
                       struct err *err)
{
    if (!arm_subscription_check(options->subscription, err) ||
        !azure_access_read(options->credential_file, &arm->access, err))
        return false;
    text_copy(arm->subscription, sizeof arm->subscription, options->subscription);
    const struct azure_cloud *cloud =
        arm->access.cloud ? arm->access.cloud : azure_cloud_of_host("");
    arm->url = xstrdup(options->endpoint ? options->endpoint : cloud->resource_manager);
    struct azure_token_options token = {.access = &arm->access,
                                        .cloud = cloud,
                                        .resource = cloud->resource_manager,
                                        .retry_for_ms = options->retry_for_ms,
                                        .retry_base_ms = options->retry_base_ms};
    struct http_endpoint_options way = azure_access_way(&arm->access, arm->url);
    way.role = ROLE_ARM;
    if (!check_url(arm->url, err))
        return false;
    arm->bearer = azure_bearer_open(&token, err);
    if (!arm->bearer)
        return err_wrap(err, "credential '%.200s'", options->credential_file);
    arm->endpoint = http_endpoint_open(&way, err);
    return arm->endpoint != NULL;
}

struct arm *arm_open(const struct arm_options *options, struct err *err)
{
    struct arm *made = xcalloc(1, sizeof *made);
    made->retry_for_ms = options->retry_for_ms;
    made->retry_base_ms = options->retry_base_ms;
    made->poll_base_ms = options->poll_base_ms ? options->poll_base_ms : POLL_BASE_MS;
    made->operation_ms = options->operation_ms ? options->operation_ms : OPERATION_MS;
    AUTO(arm_close) struct arm *arm = made;
    if (!open_parts(arm, options, err))
        return NULL;
    return TAKE(arm);
}

void arm_close(struct arm *arm)
{
    if (!arm)
        return;
    azure_bearer_close(arm->bearer);
    http_endpoint_close(arm->endpoint);
    azure_access_release(&arm->access);
    free(arm->url);
    free(arm);
}

const char *arm_subscription(const struct arm *arm)
{
    return arm->subscription;
}

/* ---- where an answer may lead ---- */

/* Host and port of a URL behind its scheme; the default port is put in. */
static bool take_origin(const char *url, char out[280], const char **ret_rest)
{
    bool is_tls = strncasecmp(url, "https://", 8) == 0;
    if (!is_tls && strncasecmp(url, "http://", 7) != 0)
        return false;
    const char *host = url + (is_tls ? 8 : 7);
    size_t bytes = strcspn(host, "/?#");
    bool has_port = memchr(host, ':', bytes) != NULL;
    if (bytes == 0 || bytes > 255 || memchr(host, '@', bytes) ||
        memchr(host, '\\', bytes))
        return false;
    (void)snprintf(out, 280, "%s %.*s%s", is_tls ? "https" : "http", (int)bytes, host,
                   has_port ? ""
                   : is_tls ? ":443"
                            : ":80");
    *ret_rest = host + bytes;
    return true;
}

const char *arm_own_path(const char *endpoint_url, const char *url)
{
    char own[280], other[280];
    const char *rest, *path;
    if (!take_origin(endpoint_url, own, &rest) || !take_origin(url, other, &path) ||
        strcasecmp(own, other) != 0 || *path != '/')
        return NULL;
    for (const char *p = path; *p; p++)
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f || *p == '#')
            return NULL;
    return path;
}

/* ---- one exchange ---- */

void arm_exchange_release(struct arm_exchange *exchange)
{
    if (exchange->answer.body.data)
        secret_wipe(exchange->answer.body.data, exchange->answer.body.bytes);
    http_answer_release(&exchange->answer);
    buf_release(&exchange->path);
    *exchange = (struct arm_exchange){0};
}

static bool send_request(struct arm *arm, const struct arm_call *call,
                         struct arm_exchange *exchange, struct err *err)
{
    struct azure_client_options client = {.endpoint = arm->endpoint,
                                          .signer = arm->bearer,
                                          .retry_for_ms = arm->retry_for_ms,
                                          .retry_base_ms = arm->retry_base_ms};
    exchange->request.what = call->what;
    exchange->request.path = buf_text(&exchange->path);
    exchange->request.cancel = call->cancel;
    azure_add_header(&exchange->request, "Accept", "application/json");
    return azure_send(&client, &exchange->request, &exchange->answer, err);
}

/* A1 */
static void encode_path(const char *path, struct buf *out)
{
    static const char PLAIN[] = "-._~!$'()*+,;=:@/";
    for (const char *p = path; *p; p++) {
        unsigned char c = (unsigned char)*p;
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || strchr(PLAIN, c);
        if (is_plain)
            buf_put_u8(out, c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

bool arm_send(struct arm *arm, const struct arm_call *call, struct arm_exchange *exchange,
              struct err *err)
{
    AUTO(buf_release) struct buf body = {0};
    struct azure_request *request = &exchange->request;
    encode_path(call->path, &exchange->path);
    request->method = call->method;
    azure_add_query(request, "api-version", call->api_version);
    if (call->filter)
        azure_add_query(request, "$filter", call->filter);
    if (call->expand)
        azure_add_query(request, "$expand", call->expand);
    if (call->is_new)
        azure_add_header(request, "If-None-Match", "*");
    if (call->body) {
        json_print(call->body, &body);
        azure_add_header(request, "Content-Type", "application/json");
        request->body = body.data;
        request->body_bytes = body.bytes;
    }
    bool ok = send_request(arm, call, exchange, err);
    request->body = NULL;
    request->body_bytes = 0;
    return ok;
}

static bool refuse_to_follow(const struct arm *arm, const struct arm_call *call,
                             const char *url, struct err *err)
{
    char host[100];
    const char *from = strstr(url, "://");
    size_t used = 0;
    for (from = from ? from + 3 : url; *from && !strchr("/?#", *from); from++)
        if (used + 1 < sizeof host)
            host[used++] = *from > ' ' && *from < 0x7f ? *from : '?';
    host[used] = 0;
    return err_set(
        err, FAIL_CORRUPT,
        "%.120s: the answer leads to '%s', not to '%.120s' where we asked: not "
        "followed",
        call->what, host, arm->url);
}

bool arm_follow(struct arm *arm, const struct arm_call *call, const char *url,
                struct arm_exchange *exchange, struct err *err)
{
    const char *path = arm_own_path(arm->url, url);
    if (!path)
        return refuse_to_follow(arm, call, url, err);
    buf_append_text(&exchange->path, path);
    exchange->request.method = "GET";
    return send_request(arm, call, exchange, err);
}

json_t *arm_answer_json(const struct arm_exchange *exchange, struct err *err)
{
    struct err why = ERR_INIT; /* its text may quote the body */
    const struct buf *body = &exchange->answer.body;
    json_t *json = json_parse("answer", buf_text(body), body->bytes, &why);
    if (json_is_object(json))
        return json;
    json_decref(json);
    (void)err_set(err, FAIL_CORRUPT,
                  "%.120s: the answer of %zu bytes is not a JSON object (HTTP status %u, "
                  "client request id %s)",
                  exchange->request.what, body->bytes, exchange->answer.status,
                  exchange->request.client_id);
    return NULL;
}

/* ---- a call ---- */

const char *arm_provisioning(const json_t *resource)
{
    const char *state = json_string_value(
        json_object_get(json_object_get(resource, "properties"), "provisioningState"));
    return state ? state : "";
}

bool arm_look(struct arm *arm, const struct arm_call *call, struct arm_exchange *exchange,
              struct err *err)
{
    struct arm_call get = {.method = "GET",
                           .path = call->path,
                           .api_version = call->api_version,
                           .filter = call->filter,
                           .expand = call->expand,
                           .what = call->what,
                           .cancel = call->cancel};
    return arm_send(arm, &get, exchange, err);
}

static bool get_resource(struct arm *arm, const struct arm_call *call, json_t **ret,
                         struct err *err)
{
    AUTO(arm_exchange_release) struct arm_exchange exchange = {0};
    if (!arm_look(arm, call, &exchange, err))
        return false;
    if (exchange.answer.status != 200)
        return azure_refused(&exchange.request, &exchange.answer, err);
    *ret = arm_answer_json(&exchange, err);
    return *ret != NULL;
}

static bool is_gone(const struct arm_exchange *exchange)
{
    char code[AZURE_CODE_BYTES];
    if (exchange->answer.status != 404)
        return false;
    azure_error_code(&exchange->answer, code);
    return strcmp(code, "SubscriptionNotFound") != 0;
}

/* The operation ended well, but did what it made? */
static bool check_made(const struct arm_call *call, const json_t *resource,
                       struct err *err)
{
    const char *state = arm_provisioning(resource);
    bool is_bad = strcasecmp(state, "Failed") == 0 || strcasecmp(state, "Canceled") == 0;
    return !is_bad ||
           err_set(err, FAIL_IO, "%.120s: it ended as '%.40s'", call->what, state);
}

static bool run_change(struct arm *arm, const struct arm_call *call, json_t **ret,
                       struct err *err)
{
    AUTO(arm_exchange_release) struct arm_exchange first = {0};
    bool makes = strcmp(call->method, "PUT") == 0 || strcmp(call->method, "PATCH") == 0;
    if (!arm_send(arm, call, &first, err))
        return false;
    if (strcmp(call->method, "DELETE") == 0 && is_gone(&first))
        return true;
    if (first.answer.status < 200 || first.answer.status > 204)
        return azure_refused(&first.request, &first.answer, err);
    if (!arm_operation_wait(arm, call, &first, ret, err))
        return false;
    if (makes && !*ret && !get_resource(arm, call, ret, err))
        return false;
    return !makes || check_made(call, *ret, err);
}

bool arm_run(struct arm *arm, const struct arm_call *call, json_t **ret, struct err *err)
{
    AUTO(json_free) json_t *json = NULL;
    bool ok = strcmp(call->method, "GET") != 0 ? run_change(arm, call, &json, err)
              : call->until_settled            ? arm_settle(arm, call, &json, err)
                                               : get_resource(arm, call, &json, err);
    if (ok && ret)
        *ret = TAKE(json);
    return ok;
}

/* ---- listings ---- */

struct listing {
    const struct arm_call *call;
    bool (*each)(void *ctx, const json_t *item, struct err *err);
    void *ctx;
    size_t items, pages;
    struct buf next; /* URL of the next page; empty: there is none */
};

static bool read_page(struct listing *listing, struct arm_exchange *exchange,
                      struct err *err)
{
    if (exchange->answer.status != 200)
        return azure_refused(&exchange->request, &exchange->answer, err);
    AUTO(json_free) json_t *json = arm_answer_json(exchange, err);
    if (!json)
        return false;
    const json_t *items = json_object_get(json, "value");
    const char *next = json_string_value(json_object_get(json, "nextLink"));
    if (!json_is_array(items))
        return err_set(err, FAIL_CORRUPT, "%.120s: the answer has no list",
                       listing->call->what);
    listing->items += json_array_size(items);
    if (listing->items > ARM_MAX_ITEMS || ++listing->pages > ARM_MAX_PAGES)
        return err_set(err, FAIL_LIMIT, "%.120s: more than %d items or %d pages",
                       listing->call->what, ARM_MAX_ITEMS, ARM_MAX_PAGES);
    for (size_t i = 0; i < json_array_size(items); i++)
        if (!listing->each(listing->ctx, json_array_get(items, i), err))
            return false;
    buf_clear(&listing->next);
    buf_append_text(&listing->next, next ? next : "");
    return true;
}

bool arm_list(struct arm *arm, const struct arm_call *call,
              bool (*each)(void *ctx, const json_t *item, struct err *err), void *ctx,
              struct err *err)
{
    struct listing listing = {.call = call, .each = each, .ctx = ctx};
    bool ok = true, is_first = true;
    while (ok && (is_first || listing.next.bytes)) {
        AUTO(arm_exchange_release) struct arm_exchange exchange = {0};
        ok =
            (is_first ? arm_send(arm, call, &exchange, err)
                      : arm_follow(arm, call, buf_text(&listing.next), &exchange, err)) &&
            read_page(&listing, &exchange, err);
        is_first = false;
    }
    buf_release(&listing.next);
    return ok;
}
