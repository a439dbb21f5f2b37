/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server, over libmicrohttpd: one thread per connection, connections bounded.
 *
 * Why not a pool of a few threads: a check of a source or a long poll takes seconds, and
 * in a pool everybody whose connection shares that thread would wait with it. The bound
 * on connections is the bound on threads (their stacks are small), and each of the two
 * sockets has its own, so that a port full of strangers cannot lock out the socket.
 *
 * S1  nothing of a request is looked at before Host and token (port) or peer (socket) are
 *     right;
 * S2  no body beyond API_BODY_MAX_BYTES is kept; the vault is called only when route,
 *     query, headers and body have passed their tables;
 * S3  every answer is JSON, and one that is not 2xx says kind and text;
 * S4  a token, a body or a header value is never logged.
 */
#include "api/server.h"

#include "api/guard.h"
#include "api/handlers.h"
#include "api/listen.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "vault/vault.h"

#include <microhttpd.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>

#define MAX_CONNECTIONS   96
#define IDLE_TIMEOUT_S    90 /* more than the longest poll */
#define CONNECTION_BYTES  (32 * KIB)
#define STACK_BYTES       (512 * KIB)
#define DISCARD_MAX_BYTES (64 * MIB)

struct listener {
    struct api_server *server;
    struct MHD_Daemon *daemon;
    bool is_port;
};

struct api_server {
    /* Set by api_server_start, never changed. */
    struct api_server_options options; /* socket_path owned */
    char *socket_path;
    uint16_t port;
    struct listener on_socket, on_port;
    struct cancel cancel;
    struct api_context context;
    /* Atomic. */
    _Atomic uint32_t waiters;
};

/* One request on its way; made at its head, freed when it is answered. */
struct exchange {
    struct api_match match;
    json_t *query;
    struct buf body;
    uint64_t discarded_bytes;
    uint64_t started_ms;
    char key[API_KEY_MAX_BYTES + 1];
    bool has_key;
};

/* An error with the few statuses that no kind stands for. */
struct refusal {
    struct err err;
    unsigned status; /* 0: by kind */
    const char *allow;
};

/* ---- answers ---- */

/* One line, whatever a name in it holds. */
static void put_error_text(json_t *error, const char *text)
{
    char line[ERR_TEXT_BYTES];
    text_copy(line, sizeof line, text);
    for (char *p = line; *p; p++)
        *p = (unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p;
    json_t *value = json_string(line);
    if (!value) { /* cut inside a character, or a peer's bytes */
        for (char *p = line; *p; p++)
            *p = (unsigned char)*p < 0x80 ? *p : '?';
        value = json_string(line);
    }
    json_put_take(error, "text", value);
}

static enum MHD_Result send_json(struct MHD_Connection *connection, unsigned status,
                                 const json_t *json, const struct refusal *refusal)
{
    struct buf text = {0};
    json_print(json, &text);
    buf_put_u8(&text, '\n');
    size_t bytes = text.bytes;
    struct MHD_Response *response = MHD_create_response_from_buffer(
        bytes, buf_take_text(&text), MHD_RESPMEM_MUST_FREE);
    if (!response)
        return MHD_NO;
    (void)MHD_add_response_header(response, "Content-Type", "application/json");
    (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (status == MHD_HTTP_UNAUTHORIZED)
        (void)MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    if (refusal && refusal->allow)
        (void)MHD_add_response_header(response, "Allow", refusal->allow);
    if (refusal && refusal->err.retry_after_ms) {
        char seconds[16];
        (void)snprintf(seconds, sizeof seconds, "%u",
                       (refusal->err.retry_after_ms + 999) / 1000);
        (void)MHD_add_response_header(response, "Retry-After", seconds);
    }
    enum MHD_Result sent = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return sent;
}

static enum MHD_Result refuse(struct MHD_Connection *connection,
                              const struct refusal *refusal)
{
    char quoted[LOG_QUOTED_BYTES];
    unsigned status = refusal->status ? refusal->status
                                      : (unsigned)err_kind_http_status(refusal->err.kind);
    log_debug("api_refused", "status=%u kind=%s text=%s", status,
              err_kind_name(refusal->err.kind), log_quote(refusal->err.text, quoted));
    AUTO(json_free) json_t *body = json_object();
    json_t *error = json_object();
    json_put_text(error, "kind", err_kind_name(refusal->err.kind));
    put_error_text(error, refusal->err.text);
    json_put_take(body, "error", error);
    return send_json(connection, status, body, refusal);
}

/* ---- the head of a request ---- */

static const char *header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static bool check_caller(const struct listener *listener,
                         struct MHD_Connection *connection, struct refusal *refusal)
{
    if (listener->is_port) {
        if (!api_guard_host(header(connection, "Host"), &refusal->err))
            return false;
        refusal->status = MHD_HTTP_UNAUTHORIZED;
        if (!api_guard_token(listener->server->options.token,
                             header(connection, "Authorization"), &refusal->err))
            return false;
        refusal->status = 0;
        vault_act_as("api-token");
        return true;
    }
    uint32_t uid;
    char who[32];
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (!info)
        return err_set(&refusal->err, FAIL_BUG, "connection without a descriptor");
    if (!api_guard_peer(info->connect_fd, &uid, &refusal->err))
        return false;
    (void)snprintf(who, sizeof who, "uid:%u", (unsigned)uid);
    vault_act_as(who); /* a connection has a thread of its own */
    return true;
}

struct query_reader {
    const struct api_field *fields;
    json_t *query;
    struct err err;
};

static bool read_argument(struct query_reader *reader, const char *key, const char *raw)
{
    const struct api_field *field = reader->fields;
    char value[API_PARAM_BYTES];
    while (field && field->name && strcmp(field->name, key) != 0)
        field++;
    if (!field || !field->name)
        return err_set(&reader->err, FAIL_INPUT,
                       "'%.60s' is not a parameter of this path", key);
    if (json_object_get(reader->query, key))
        return err_set(&reader->err, FAIL_INPUT, "parameter '%s' is given twice", key);
    if (!api_decode(raw ? raw : "", raw ? strlen(raw) : 0, value, sizeof value,
                    &reader->err))
        return false;
    uint64_t number;
    if (field->type != API_U64)
        json_put_text(reader->query, key, value);
    else if (text_parse_u64(value, 0, INT64_MAX, &number, &reader->err))
        json_put_u64(reader->query, key, number);
    else
        return err_wrap(&reader->err, "parameter '%s'", key);
    return true;
}

static enum MHD_Result on_argument(void *ctx, enum MHD_ValueKind kind, const char *key,
                                   const char *value)
{
    (void)kind;
    return read_argument(ctx, key, value) ? MHD_YES : MHD_NO;
}

static bool read_query(struct exchange *exchange, struct MHD_Connection *connection,
                       struct err *err)
{
    static const struct api_field NONE[] = {{0}};
    struct query_reader reader = {.fields = exchange->match.route->query};
    reader.query = exchange->query = json_object();
    (void)MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, on_argument,
                                    &reader);
    if (reader.err.kind != FAIL_NONE) {
        *err = reader.err;
        return false;
    }
    return api_schema_check(reader.fields ? reader.fields : NONE, reader.query, err);
}

static bool read_key(struct exchange *exchange, struct MHD_Connection *connection,
                     struct err *err)
{
    const char *key = header(connection, "Idempotency-Key");
    if (!key)
        return true;
    size_t length = strlen(key);
    bool ok = length >= 1 && length <= API_KEY_MAX_BYTES;
    for (size_t i = 0; ok && i < length; i++)
        ok = key[i] > ' ' && key[i] < 127;
    if (!ok)
        return err_set(err, FAIL_INPUT,
                       "Idempotency-Key must be 1 to %d printable characters without "
                       "blanks",
                       API_KEY_MAX_BYTES);
    text_copy(exchange->key, sizeof exchange->key, key);
    exchange->has_key = true;
    return true;
}

static bool check_length(struct MHD_Connection *connection, struct err *err)
{
    const char *length = header(connection, "Content-Length");
    uint64_t bytes;
    struct err not_a_number;
    if (length && text_parse_u64(length, 0, UINT64_MAX, &bytes, &not_a_number) &&
        bytes > API_BODY_MAX_BYTES)
        return err_set(err, FAIL_LIMIT, "the body has %llu bytes; at most %llu are taken",
                       (unsigned long long)bytes, (unsigned long long)API_BODY_MAX_BYTES);
    return true;
}

static bool begin(const struct listener *listener, struct exchange *exchange,
                  struct MHD_Connection *connection, const char *const method_and_path[2],
                  struct refusal *refusal)
{
    if (!check_caller(listener, connection, refusal))
        return false;
    if (!api_route_match(method_and_path[0], method_and_path[1], &exchange->match,
                         &refusal->err)) {
        if (exchange->match.allowed[0]) {
            refusal->status = MHD_HTTP_METHOD_NOT_ALLOWED;
            refusal->allow = exchange->match.allowed;
        }
        return false;
    }
    return read_query(exchange, connection, &refusal->err) &&
           read_key(exchange, connection, &refusal->err) &&
           check_length(connection, &refusal->err);
}

/* ---- body and answer ---- */

static bool is_json_type(const char *type)
{
    static const char JSON[] = "application/json";
    size_t length = sizeof JSON - 1;
    return type && strncasecmp(type, JSON, length) == 0 &&
           (type[length] == 0 || type[length] == ';' || type[length] == ' ');
}

/* NULL with no error: the route has no body. */
static json_t *read_body(const struct exchange *exchange,
                         struct MHD_Connection *connection, struct refusal *refusal)
{
    const struct api_route *route = exchange->match.route;
    if (exchange->discarded_bytes) {
        (void)err_set(&refusal->err, FAIL_LIMIT, "the body has more than %llu bytes",
                      (unsigned long long)API_BODY_MAX_BYTES);
        return NULL;
    }
    if (route->body == BODY_NONE) {
        if (exchange->body.bytes)
            (void)err_set(&refusal->err, FAIL_INPUT, "%s %s takes no body", route->method,
                          route->pattern);
        return NULL;
    }
    if (exchange->body.bytes == 0 && route->body == BODY_OPERATION)
        return json_object();
    if (!is_json_type(header(connection, "Content-Type"))) {
        refusal->status = MHD_HTTP_UNSUPPORTED_MEDIA_TYPE;
        (void)err_set(&refusal->err, FAIL_INPUT,
                      "the body must be sent as 'Content-Type: application/json'");
        return NULL;
    }
    json_t *body = json_parse("the body", buf_text(&exchange->body), exchange->body.bytes,
                              &refusal->err);
    const struct api_schema *schema = api_body_schema(route->body);
    if (body && schema && !api_schema_check(schema->fields, body, &refusal->err)) {
        json_decref(body);
        return NULL;
    }
    return body;
}

static enum MHD_Result finish(const struct listener *listener, struct exchange *exchange,
                              struct MHD_Connection *connection)
{
    struct refusal refusal = {.err = ERR_INIT};
    AUTO(json_free) json_t *body = read_body(exchange, connection, &refusal);
    if (refusal.err.kind != FAIL_NONE)
        return refuse(connection, &refusal);
    const struct api_request request = {.match = &exchange->match,
                                        .query = exchange->query,
                                        .body = body,
                                        .idempotency_key =
                                            exchange->has_key ? exchange->key : NULL};
    const struct api_route *route = exchange->match.route;
    const struct api_context *context = &listener->server->context;
    AUTO(json_free) json_t *answer = NULL;
    if (context->vault || route->needs_no_vault)
        answer = route->handler(context, &request, &refusal.err);
    else
        (void)err_set(&refusal.err, FAIL_CONFLICT,
                      "this daemon has only the applier role; 'kedge applier' shows what "
                      "it does, the daemon with the vault does the rest");
    log_debug("api_call", "route=%s ok=%d took_ms=%llu", route->id, answer != NULL,
              (unsigned long long)(clock_mono_ms() - exchange->started_ms));
    if (answer)
        return send_json(connection, (unsigned)route->status, answer, NULL);
    if (refusal.err.kind == FAIL_NONE)
        (void)err_set(&refusal.err, FAIL_BUG, "%s failed without a reason", route->id);
    return refuse(connection, &refusal);
}

static void take_body(struct exchange *exchange, const char *data, size_t data_bytes)
{
    if (exchange->discarded_bytes ||
        exchange->body.bytes + data_bytes > API_BODY_MAX_BYTES)
        exchange->discarded_bytes += data_bytes;
    else
        buf_append(&exchange->body, data, data_bytes);
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection,
                                  const char *url, const char *method,
                                  const char *version, const char *data,
                                  size_t *data_bytes, void **request)
{
    (void)version;
    struct exchange *exchange = *request;
    if (!exchange) {
        struct refusal refusal = {.err = ERR_INIT};
        *request = exchange = xcalloc(1, sizeof *exchange);
        exchange->started_ms = clock_mono_ms();
        const char *const method_and_path[2] = {method, url};
        return begin(ctx, exchange, connection, method_and_path, &refusal)
                   ? MHD_YES
                   : refuse(connection, &refusal);
    }
    if (*data_bytes) {
        take_body(exchange, data, *data_bytes);
        *data_bytes = 0;
        return exchange->discarded_bytes > DISCARD_MAX_BYTES ? MHD_NO : MHD_YES;
    }
    return finish(ctx, exchange, connection);
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **request,
                         enum MHD_RequestTerminationCode how)
{
    (void)ctx, (void)connection, (void)how;
    struct exchange *exchange = *request;
    if (!exchange)
        return;
    json_decref(exchange->query);
    buf_release(&exchange->body);
    free(exchange);
    *request = NULL;
}

/* Path and arguments stay as they came: api_decode is strict, the library is not. */
static size_t keep_encoded(void *ctx, struct MHD_Connection *connection, char *text)
{
    (void)ctx, (void)connection;
    return strlen(text);
}

static void PRINTF_LIKE(2, 0) on_library_log(void *ctx, const char *fmt, va_list ap)
{
    (void)ctx;
    char text[256], quoted[LOG_QUOTED_BYTES];
    (void)vsnprintf(text, sizeof text, fmt, ap); /* cut is fine */
    log_debug("api_library", "text=%s", log_quote(text, quoted));
}

/* ---- start and stop ---- */

static bool start_listener(struct api_server *server, struct listener *listener, int fd,
                           struct err *err)
{
    listener->server = server;
    listener->daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
            MHD_USE_ITC | MHD_USE_ERROR_LOG,
        0, NULL, NULL, on_request, listener, MHD_OPTION_EXTERNAL_LOGGER, on_library_log,
        NULL, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)IDLE_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_BYTES, MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_BYTES,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_UNESCAPE_CALLBACK,
        keep_encoded, NULL, MHD_OPTION_END);
    if (listener->daemon)
        return true;
    (void)close(fd); /* the library did not take it */
    return err_set(err, FAIL_IO,
                   "the HTTP server did not start; are threads or memory "
                   "short?");
}

static bool start_port(struct api_server *server, struct err *err)
{
    int fd;
    if (!server->options.token)
        return err_set(err, FAIL_INPUT, "listen = %s needs a token_file",
                       server->options.listen);
    if (!listen_loopback(server->options.listen, &fd, &server->port, err))
        return false;
    server->on_port.is_port = true;
    return start_listener(server, &server->on_port, fd, err);
}

struct api_server *api_server_start(const struct api_server_options *options,
                                    struct err *err)
{
    int fd;
    struct api_server *server = xcalloc(1, sizeof *server);
    server->options = *options;
    cancel_init(&server->cancel);
    server->context = (struct api_context){.vault = options->vault,
                                           .applier_view = options->applier_view,
                                           .applier_ctx = options->applier_ctx,
                                           .cancel = &server->cancel,
                                           .waiters = &server->waiters};
    bool ok = listen_unix(options->socket_path, &fd, err);
    if (ok) {
        server->socket_path = xstrdup(options->socket_path);
        ok = start_listener(server, &server->on_socket, fd, err);
    }
    if (ok && options->listen)
        ok = start_port(server, err);
    if (ok)
        return server;
    api_server_stop(server);
    return NULL;
}

void api_server_stop(struct api_server *server)
{
    if (!server)
        return;
    cancel_set(&server->cancel);
    if (server->socket_path)
        (void)unlink(server->socket_path); /* a left one is replaced at the next start */
    if (server->on_port.daemon)
        MHD_stop_daemon(server->on_port.daemon);
    if (server->on_socket.daemon)
        MHD_stop_daemon(server->on_socket.daemon);
    cancel_release(&server->cancel);
    free(server->socket_path);
    free(server);
}

uint16_t api_server_port(const struct api_server *server)
{
    return server->port;
}
