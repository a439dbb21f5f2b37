/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server of the REST API: a Unix socket and, if wanted, a loopback port. */
#ifndef API_SERVER_H
#define API_SERVER_H

#include "base/secret.h"
#include "http/json.h"

#define API_BODY_MAX_BYTES (1 * MIB)

struct api_server;
struct vault;

struct api_server_options {
    struct vault *vault; /* borrowed for the server's life; NULL: see applier_view */
    json_t *(*applier_view)(void *ctx); /* of a daemon with only the applier role */
    void *applier_ctx;
    const char *socket_path; /* made 0600; a dead one of an earlier run is replaced */
    const char *listen; /* "127.0.0.1:8440", "[::1]:0", "localhost:…"; NULL: none */
    const struct secret *token; /* for the port; borrowed; needed with listen */
};

/* FAIL_CONFLICT: another daemon answers on the socket, or the port is taken; FAIL_INPUT:
 * path too long, or not a loopback address. */
MUST_CHECK struct api_server *api_server_start(const struct api_server_options *options,
                                               struct err *err);
/* Ends long polls, finishes requests that run, removes the socket. */
void api_server_stop(struct api_server *server);
AUTO_CLEANUP(struct api_server, api_server_stop);

/* The port in use (of listen "…:0" too); 0: none. */
uint16_t api_server_port(const struct api_server *server);

/* host:port of a loopback address; FAIL_INPUT says what is possible. ret_host:
 * "127.0.0.1" or "::1". Pure. */
MUST_CHECK bool api_listen_parse(const char *text, const char **ret_host,
                                 uint16_t *ret_port, struct err *err);

#endif
