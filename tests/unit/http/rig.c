/* SPDX-License-Identifier: Apache-2.0 */
/* Server, endpoint and certificates of the tests of one exchange. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "rig.h"

#include "base/file.h"

static char dir[] = "/tmp/kedge-exchange-XXXXXX";
atomic_uint answered;

const char *file_in_dir(const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static bool path_is(const struct served_request *request, const char *prefix)
{
    return strncmp(request->path, prefix, strlen(prefix)) == 0;
}

static void fill_reply(struct served_reply *reply, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        buf_put_u8(&reply->body, (uint8_t)(i * 7 + i / 251));
}

void answer(void *ctx, const struct served_request *request, struct served_reply *reply)
{
    (void)ctx;
    atomic_fetch_add(&answered, 1);
    buf_printf(&reply->headers, "X-Connection: %u\r\n", request->connection);
    if (path_is(request, "/bytes/"))
        fill_reply(reply, strtoul(request->path + 7, NULL, 10));
    else if (path_is(request, "/status/"))
        reply->status = (unsigned)strtoul(request->path + 8, NULL, 10);
    else if (path_is(request, "/headers"))
        buf_append(&reply->body, request->headers.data, request->headers.bytes);
    else
        buf_append(&reply->body, request->body.data, request->body.bytes);
    if (path_is(request, "/status/3"))
        buf_append_text(&reply->headers, "Location: /bytes/5\r\n");
    if (path_is(request, "/many-headers"))
        for (int i = 0; i < 3000; i++)
            buf_printf(&reply->headers, "X-Filler-%d: 012345678901234567890123\r\n", i);
    static const struct {
        const char *query;
        enum served_manner manner;
    } MANNERS[] = {
        {"?half-stall", SERVE_HALF_STALL}, {"?half-close", SERVE_HALF_CLOSE},
        {"?silence", SERVE_SILENCE},       {"?nothing", SERVE_NOTHING},
        {"?reset", SERVE_RESET},           {"?close-after", SERVE_CLOSE_AFTER},
    };
    for (size_t i = 0; i < ARRAY_COUNT(MANNERS); i++)
        if (strstr(request->path, MANNERS[i].query))
            reply->manner = MANNERS[i].manner;
}

/* ---- what each test begins with ---- */

void rig_start(struct rig *rig, const char *cert, struct http_endpoint_options way)
{
    struct err err = ERR_INIT;
    struct http_server_options options = {.handler = answer,
                                          .cert_file = cert ? file_in_dir(cert) : NULL};
    *rig = (struct rig){.server = http_server_start(&options)};
    (void)snprintf(rig->url, sizeof rig->url, "%s://127.0.0.1:%u",
                   cert ? "https" : "http", http_server_port(rig->server));
    way.url = rig->url;
    rig->endpoint = http_endpoint_open(&way, &err);
    if (!rig->endpoint)
        fail_msg("%s", err.text);
}

void rig_stop(struct rig *rig)
{
    http_endpoint_close(rig->endpoint);
    http_server_stop(rig->server);
}

struct http_endpoint_options trusting(void)
{
    return (struct http_endpoint_options){.ca_file = file_in_dir("ca.pem")};
}

void assert_gets(struct http_endpoint *endpoint, const char *path, size_t bytes)
{
    struct err err = ERR_INIT;
    struct http_request request = {.method = "GET", .path = path};
    AUTO(http_answer_release) struct http_answer got = {0};
    if (!http_exchange(endpoint, &request, &got, &err))
        fail_msg("%s: %s", path, err.text);
    assert_int_equal(got.status, 200);
    assert_int_equal(got.body.bytes, bytes);
}

void assert_fails(struct http_endpoint *endpoint, struct http_request request,
                  enum err_kind kind, const char *part)
{
    struct err err = ERR_INIT;
    struct http_answer got = {0};
    if (!request.method)
        request.method = "GET";
    assert_false(http_exchange(endpoint, &request, &got, &err));
    if (err.kind != kind || !strstr(err.text, part))
        fail_msg("kind %s: %s", err_kind_name(err.kind), err.text);
}

int rig_make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    test_certs_make(dir);
    return 0;
}

int rig_remove_dir(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    return file_remove_tree(dir, &err) ? 0 : -1;
}
