/* SPDX-License-Identifier: Apache-2.0 */
/* A step is taken when its request is there; "$U" is put in as the answer goes out. */
#include "support/script_server.h"

#include "base/clock.h"
#include "base/file.h"
#include "support/http_server.h"

#define MAX_KEPT 64 /* requests whose bodies are kept */

struct script_server {
    struct http_server *http;
    char url[64];
    char credential[512];
    pthread_mutex_t lock;
    /* Guarded by lock. */
    const struct script_step *steps;
    size_t count, at;
    unsigned repeated, asked;
    struct buf log, log_copy;
    struct buf bodies[MAX_KEPT], headers[MAX_KEPT];
};

static void append_expanded(struct script_server *server, const char *text,
                            struct buf *out)
{
    for (const char *p = text; *p; p++) {
        if (p[0] == '$' && p[1] == 'U') {
            buf_append_text(out, server->url);
            p++;
        } else {
            buf_put_u8(out, (uint8_t)*p);
        }
    }
}

static void fill(struct script_server *server, const struct script_step *step,
                 struct served_reply *reply)
{
    reply->status = step->status;
    if (step->status == 0) {
        reply->manner = SERVE_NOTHING;
        return;
    }
    append_expanded(server, step->headers ? step->headers : "", &reply->headers);
    if (step->body_bytes) {
        buf_reserve(&reply->body, step->body_bytes);
        memset(reply->body.data, ' ', step->body_bytes);
        reply->body.bytes = step->body_bytes;
    } else {
        append_expanded(server, step->body ? step->body : "", &reply->body);
    }
}

static const struct script_step *next_step(struct script_server *server)
{
    static const struct script_step BEYOND = {.status = 599};
    if (server->at == server->count)
        return &BEYOND;
    const struct script_step *step = &server->steps[server->at];
    if (server->repeated < step->repeat) {
        server->repeated++;
    } else {
        server->repeated = 0;
        server->at++;
    }
    return step;
}

static void serve(void *ctx, const struct served_request *request,
                  struct served_reply *reply)
{
    struct script_server *server = ctx;
    if (strncmp(request->path, "/metadata/identity/", 19) == 0) {
        buf_append_text(&reply->body,
                        "{\"access_token\": \"token-of-the-machine\", \"expires_in\": "
                        "\"3600\"}");
        return;
    }
    LOCK_GUARD(&server->lock);
    buf_printf(&server->log, "%s %s\n", request->method, request->path);
    if (server->asked < MAX_KEPT) {
        buf_append_text(&server->bodies[server->asked], buf_text(&request->body));
        buf_append_text(&server->headers[server->asked], buf_text(&request->headers));
    }
    server->asked++;
    fill(server, next_step(server), reply);
}

struct script_server *script_server_start(const char *dir)
{
    struct script_server *server = xcalloc(1, sizeof *server);
    struct err err = ERR_INIT;
    char text[256];
    (void)pthread_mutex_init(&server->lock, NULL);
    struct http_server_options options = {.handler = serve, .ctx = server};
    server->http = http_server_start(&options);
    (void)snprintf(server->url, sizeof server->url, "http://127.0.0.1:%u",
                   http_server_port(server->http));
    (void)snprintf(server->credential, sizeof server->credential, "%s/identity.json",
                   dir);
    (void)snprintf(text, sizeof text,
                   "{\"kind\": \"managed-identity\", \"endpoint\": \"%s\"}", server->url);
    if (!file_write_durable(server->credential, text, strlen(text), 0600, &err)) {
        (void)fprintf(stderr, "script server: %s\n", err.text);
        abort();
    }
    return server;
}

static void forget(struct script_server *server)
{
    buf_clear(&server->log);
    for (size_t i = 0; i < MAX_KEPT; i++) {
        buf_clear(&server->bodies[i]);
        buf_clear(&server->headers[i]);
    }
    server->at = 0;
    server->repeated = server->asked = 0;
}

void script_server_stop(struct script_server *server)
{
    http_server_stop(server->http);
    for (size_t i = 0; i < MAX_KEPT; i++) {
        buf_release(&server->bodies[i]);
        buf_release(&server->headers[i]);
    }
    buf_release(&server->log);
    buf_release(&server->log_copy);
    (void)pthread_mutex_destroy(&server->lock);
    free(server);
}

const char *script_server_url(const struct script_server *server)
{
    return server->url;
}

const char *script_server_credential(const struct script_server *server)
{
    return server->credential;
}

void script_server_play(struct script_server *server, const struct script_step *steps,
                        size_t count)
{
    LOCK_GUARD(&server->lock);
    forget(server);
    server->steps = steps;
    server->count = count;
}

const char *script_server_log(struct script_server *server)
{
    LOCK_GUARD(&server->lock);
    buf_clear(&server->log_copy);
    buf_append(&server->log_copy, server->log.data, server->log.bytes);
    return buf_text(&server->log_copy);
}

unsigned script_server_asked(struct script_server *server)
{
    LOCK_GUARD(&server->lock);
    return server->asked;
}

const char *script_server_body(struct script_server *server, unsigned index)
{
    LOCK_GUARD(&server->lock);
    return index < MAX_KEPT ? buf_text(&server->bodies[index]) : "";
}

const char *script_server_headers(struct script_server *server, unsigned index)
{
    LOCK_GUARD(&server->lock);
    return index < MAX_KEPT ? buf_text(&server->headers[index]) : "";
}
