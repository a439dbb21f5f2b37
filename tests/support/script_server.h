/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A service that answers by a list: step i to request i, whatever it asks. It gives
 * tokens, too (GET of a managed identity, not counted). "$U" in a step is its own URL.
 * Requests beyond the list get status 599. Aborts the test program when it cannot start.
 */
#ifndef SUPPORT_SCRIPT_SERVER_H
#define SUPPORT_SCRIPT_SERVER_H

#include "base/defs.h"

#include <limits.h>

struct script_step {
    unsigned status;     /* 0: closes without an answer */
    const char *headers; /* lines with "\r\n"; NULL: none */
    const char *body;    /* NULL: empty */
    size_t body_bytes;   /* so many spaces instead of body; 0: body */
    unsigned repeat;     /* besides the first time; UINT_MAX: for ever */
};

struct script_server;
/* dir gets the credential; removed by the caller. */
struct script_server *script_server_start(const char *dir);
void script_server_stop(struct script_server *server);
const char *script_server_url(const struct script_server *server);
/* A managed-identity credential whose tokens are given by this server. */
const char *script_server_credential(const struct script_server *server);

/* From now on these; forgets what was asked. steps: borrowed until the next call. */
void script_server_play(struct script_server *server, const struct script_step *steps,
                        size_t count);
#define SCRIPT_PLAY(server, ...)                                                         \
    script_server_play((server), (const struct script_step[]){__VA_ARGS__},              \
                       sizeof((const struct script_step[]){__VA_ARGS__}) /               \
                           sizeof(struct script_step))

/* "GET /path?query\n" per request since; a copy, valid until the next call. */
const char *script_server_log(struct script_server *server);
unsigned script_server_asked(struct script_server *server);
/* Body of the i-th request ("" none) and one header of it; valid until play. */
const char *script_server_body(struct script_server *server, unsigned index);
const char *script_server_headers(struct script_server *server, unsigned index);

#endif
