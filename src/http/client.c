/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON client: an exchange with kedged, its answer as JSON or as an error.
 *
 * C1  the token is only handed to the exchange, which wipes what it makes of it;
 * C2  no answer larger than max_answer_bytes is kept in memory;
 * C3  a call ends by its deadline, or when its cancel token is set.
 */
#include "http/client.h"

#include "http/exchange.h"
#include "http/sign.h"

#define DEFAULT_DEADLINE_MS 30000
#define CONNECT_DEADLINE_MS 5000
#define HEADERS_MAX         4

struct http_client {
    struct http_endpoint *endpoint;
    const struct secret *token; /* borrowed; or NULL */
    size_t max_answer_bytes;
};

struct http_client *http_client_open(const struct http_client_options *options,
                                     struct err *err)
{
    if (!options->socket_path == !options->url) {
        (void)err_set(err, FAIL_INPUT, "give either a socket or a URL");
        return NULL;
    }
    struct http_endpoint_options way = {
        .url = options->url ? options->url : "http://localhost",
        .socket_path = options->socket_path,
        .ca_file = options->ca_file,
        .max_idle = 1,
        .connect_deadline_ms = CONNECT_DEADLINE_MS,
    };
    struct http_endpoint *endpoint = http_endpoint_open(&way, err);
    if (!endpoint)
        return NULL;
    struct http_client *client = xcalloc(1, sizeof *client);
    client->endpoint = endpoint;
    client->token = options->token;
    client->max_answer_bytes =
        options->max_answer_bytes ? options->max_answer_bytes : JSON_MAX_BYTES;
    return client;
}

void http_client_close(struct http_client *client)
{
    if (!client)
        return;
    http_endpoint_close(client->endpoint);
    free(client);
}

bool http_error_from_answer(long status, const char *body, size_t body_bytes,
                            struct err *err)
{
    struct err ignored = ERR_INIT;
    AUTO(json_free) json_t *json = json_parse("answer", body, body_bytes, &ignored);
    const json_t *error = json_object_get(json, "error");
    const char *kind = json_string_value(json_object_get(error, "kind"));
    const char *text = json_string_value(json_object_get(error, "text"));
    if (kind && text) {
        enum err_kind known = err_kind_from_name(kind);
        return err_set(err, known == FAIL_NONE ? FAIL_BUG : known, "%s", text);
    }
    enum err_kind kind_of_status = status == 401 || status == 403   ? FAIL_AUTH
                                   : status == 404                  ? FAIL_GONE
                                   : status == 409                  ? FAIL_CONFLICT
                                   : status == 413                  ? FAIL_LIMIT
                                   : status == 429 || status >= 500 ? FAIL_TRANSIENT
                                   : status >= 400                  ? FAIL_INPUT
                                                                    : FAIL_CORRUPT;
    return err_set(err, kind_of_status,
                   "answer with HTTP status %ld and no error text; is this kedged?",
                   status);
}

static json_t *read_answer(const struct http_answer *answer, struct err *err)
{
    const char *text = buf_text(&answer->body);
    if (answer->status < 200 || answer->status > 299) {
        (void)http_error_from_answer((long)answer->status, text, answer->body.bytes, err);
        return NULL;
    }
    json_t *json = json_parse("answer of kedged", text, answer->body.bytes, err);
    if (!json)
        err->kind = FAIL_CORRUPT;
    return json;
}

json_t *http_call(struct http_client *client, const struct http_call *call,
                  struct err *err)
{
    AUTO(buf_release) struct buf body = {0};
    struct http_header headers[HEADERS_MAX] = {{"Accept", "application/json", NULL}};
    size_t count = 1;
    if (call->body) {
        json_print(call->body, &body);
        headers[count++] = (struct http_header){"Content-Type", "application/json", NULL};
    }
    if (call->idempotency_key)
        headers[count++] =
            (struct http_header){"Idempotency-Key", call->idempotency_key, NULL};
    if (client->token)
        headers[count++] =
            (struct http_header){"Authorization", "Bearer ", client->token};
    uint64_t deadline_ms = call->deadline_ms ? call->deadline_ms : DEFAULT_DEADLINE_MS;
    struct http_request request = {
        .method = call->method,
        .path = call->path,
        .headers = headers,
        .header_count = count,
        .body = body.data,
        .body_bytes = body.bytes,
        .max_answer_bytes = client->max_answer_bytes,
        .deadline_ms = deadline_ms,
        .stall_ms = deadline_ms,
        .cancel = call->cancel,
    };
    struct http_answer answer = {0};
    if (!http_exchange(client->endpoint, &request, &answer, err)) {
        if (err->kind == FAIL_TRANSIENT)
            (void)err_hint(err, "is kedged running?");
        return NULL;
    }
    json_t *json = read_answer(&answer, err);
    http_answer_release(&answer);
    return json;
}

void http_path_add(struct buf *path, const char *segment)
{
    buf_put_u8(path, '/');
    /* "." and ".." would be resolved away by the URL parser. */
    if (strcmp(segment, ".") == 0)
        buf_append_text(path, "%2E");
    else if (strcmp(segment, "..") == 0)
        buf_append_text(path, "%2E%2E");
    else
        sign_percent(segment, strlen(segment), path);
}

void http_query_add(struct buf *path, const char *key, const char *value)
{
    buf_put_u8(path, strchr(buf_text(path), '?') ? '&' : '?');
    sign_percent(key, strlen(key), path);
    buf_put_u8(path, '=');
    sign_percent(value, strlen(value), path);
}
