/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server whose answers are told by the path: "/bytes/N", "/status/N", "/headers" (of
 * the request), "/many-headers", anything else gives the body back; "?half-stall",
 * "?silence" and so on choose the manner.
 */
#ifndef UNIT_HTTP_RIG_H
#define UNIT_HTTP_RIG_H

#include "http/exchange.h"
#include "support/http_server.h"

#include <stdatomic.h>

extern atomic_uint answered; /* requests that reached it */

/* In the folder of all tests, made by rig_make_dir; a static text of eight. */
const char *file_in_dir(const char *name);
void answer(void *ctx, const struct served_request *request, struct served_reply *reply);

struct rig {
    struct http_server *server;
    struct http_endpoint *endpoint;
    char url[64];
};
void rig_start(struct rig *rig, const char *cert, struct http_endpoint_options way);
void rig_stop(struct rig *rig);
struct http_endpoint_options trusting(void); /* our CA */

void assert_gets(struct http_endpoint *endpoint, const char *path, size_t bytes);
void assert_fails(struct http_endpoint *endpoint, struct http_request request,
                  enum err_kind kind, const char *part);
#define REQUEST(...) ((struct http_request){.path = "/bytes/10", ##__VA_ARGS__})

int rig_make_dir(void **state);
int rig_remove_dir(void **state);

#endif
