/* SPDX-License-Identifier: Apache-2.0 */
/* Forwards each request to the emulator, or does what its options say goes wrong. */
#include "support/azurite.h"

#include "http/exchange.h"

#include <stdatomic.h>

#define MAX_HEADERS 24

struct fault_proxy {
    struct http_server *server;
    struct http_endpoint *endpoint;
    struct fault_proxy_options options;
    _Atomic uint64_t state;
    atomic_uint requests, faults;
    atomic_bool refuses_all;
};

static bool happens(struct fault_proxy *proxy, unsigned per_mille)
{
    uint64_t x = atomic_fetch_add(&proxy->state, UINT64_C(0x9e3779b97f4a7c15));
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    bool yes = (x ^ (x >> 31)) % 1000 < per_mille;
    if (yes)
        atomic_fetch_add(&proxy->faults, 1);
    return yes;
}

static bool is_forwarded(const char *name)
{
    static const char *const DROPPED[] = {"Host",       "Content-Length",
                                          "Connection", "Transfer-Encoding",
                                          "Keep-Alive", "Expect"};
    for (size_t i = 0; i < ARRAY_COUNT(DROPPED); i++)
        if (strcasecmp(DROPPED[i], name) == 0)
            return false;
    return true;
}

/* Cuts the head into lines; it is changed, and borrowed. */
static size_t split_headers(char *head, struct http_header headers[MAX_HEADERS])
{
    size_t count = 0;
    char *line = strstr(head, "\r\n");
    while (line && line[2] != '\r' && count < MAX_HEADERS) {
        line += 2;
        char *end = strstr(line, "\r\n"), *colon = strchr(line, ':');
        if (!end || !colon)
            break;
        *end = *colon = 0;
        if (is_forwarded(line))
            headers[count++] =
                (struct http_header){line, colon + 1 + strspn(colon + 1, " "), NULL};
        line = end;
    }
    return count;
}

static void copy_answer(const struct http_answer *answer, struct served_reply *reply,
                        bool is_head)
{
    const char *line = strstr(buf_text(&answer->headers), "\r\n");
    reply->status = answer->status;
    while (line && strncmp(line += 2, "\r\n", 2) != 0 && *line) {
        const char *end = strstr(line, "\r\n");
        size_t name = strcspn(line, ":");
        char text[64];
        (void)snprintf(text, sizeof text, "%.*s", (int)MIN_OF(name, (size_t)63), line);
        bool is_length = strcasecmp(text, "Content-Length") == 0;
        if (end && (is_forwarded(text) || (is_head && is_length)))
            buf_append(&reply->headers, line, (size_t)(end + 2 - line));
        line = end;
    }
    buf_append(&reply->body, answer->body.data, answer->body.bytes);
}

static void forward(struct fault_proxy *proxy, const struct served_request *served,
                    struct served_reply *reply)
{
    struct http_header headers[MAX_HEADERS];
    struct http_answer answer = {0};
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf head = {0}, body = {0};
    buf_append(&head, served->headers.data, served->headers.bytes);
    buf_append(&body, served->body.data, served->body.bytes);
    if (body.bytes && happens(proxy, proxy->options.damage_per_mille))
        body.data[body.bytes / 2] ^= 0x40;
    struct http_request request = {
        .method = served->method,
        .path = served->path,
        .headers = headers,
        .header_count = split_headers((char *)head.data, headers),
        .body = body.data,
        .body_bytes = body.bytes,
        .max_answer_bytes = 256 * MIB,
    };
    if (!http_exchange(proxy->endpoint, &request, &answer, &err)) {
        (void)fprintf(stderr, "fault proxy: %s\n", err.text);
        reply->manner = SERVE_NOTHING;
        return;
    }
    copy_answer(&answer, reply, strcmp(served->method, "HEAD") == 0);
    http_answer_release(&answer);
}

static void handle(void *ctx, const struct served_request *request,
                   struct served_reply *reply)
{
    struct fault_proxy *proxy = ctx;
    atomic_fetch_add(&proxy->requests, 1);
    if (atomic_load(&proxy->refuses_all) ||
        happens(proxy, proxy->options.refuse_per_mille)) {
        reply->status = 503;
        buf_append_text(&reply->headers, "x-ms-error-code: ServerBusy\r\n");
        return;
    }
    bool is_lost = happens(proxy, proxy->options.accept_per_mille);
    bool is_cut = happens(proxy, proxy->options.cut_per_mille);
    forward(proxy, request, reply);
    if (is_lost && happens(proxy, 500)) {
        reply->manner = SERVE_RESET;
    } else if (is_lost) {
        buf_clear(&reply->headers);
        buf_clear(&reply->body);
        buf_append_text(&reply->headers, "x-ms-error-code: OperationTimedOut\r\n");
        reply->status = 500;
    } else if (is_cut && reply->body.bytes > 1) {
        reply->manner = SERVE_HALF_CLOSE;
    }
}

struct fault_proxy *fault_proxy_start(const struct fault_proxy_options *options)
{
    struct fault_proxy *proxy = xcalloc(1, sizeof *proxy);
    struct err err = ERR_INIT;
    char url[64];
    proxy->options = *options;
    atomic_init(&proxy->state, options->seed);
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%u", options->azurite_port);
    struct http_endpoint_options way = {
        .url = url, .ca_file = options->ca_file, .max_idle = 16};
    proxy->endpoint = http_endpoint_open(&way, &err);
    if (!proxy->endpoint)
        abort();
    struct http_server_options server = {
        .handler = handle, .ctx = proxy, .cert_file = options->cert_file};
    proxy->server = http_server_start(&server);
    return proxy;
}

void fault_proxy_stop(struct fault_proxy *proxy)
{
    http_server_stop(proxy->server);
    http_endpoint_close(proxy->endpoint);
    free(proxy);
}

unsigned fault_proxy_port(const struct fault_proxy *proxy)
{
    return http_server_port(proxy->server);
}

void fault_proxy_refuse_all(struct fault_proxy *proxy, bool yes)
{
    atomic_store(&proxy->refuses_all, yes);
}

unsigned fault_proxy_requests(struct fault_proxy *proxy)
{
    return atomic_load(&proxy->requests);
}

unsigned fault_proxy_faults(struct fault_proxy *proxy)
{
    return atomic_load(&proxy->faults);
}
