/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Key Vault of a few lines for tests of outages and hostile answers: the secret "m" and
 * the key "k", each with versions; wrapping is adding zeros. It gives tokens, too. What a
 * real one checks is sim/azure's affair, not this one's.
 */
#ifndef TEST_VAULT_SERVER_H
#define TEST_VAULT_SERVER_H

#include "base/defs.h"

enum vault_mood {
    VAULT_WELL,
    VAULT_BUSY,         /* 503 to everything */
    VAULT_GONE,         /* no answer at all */
    VAULT_FORBIDS,      /* 403 */
    VAULT_DISABLED,     /* 403 with innererror SecretDisabled */
    VAULT_EMPTY,        /* 404 */
    VAULT_CHALLENGES,   /* 401 for another resource */
    VAULT_OTHER_TENANT, /* 401 for another tenant */
    VAULT_GARBAGE,      /* 200 and no JSON */
    VAULT_LISTS,        /* 200 and a list instead of an object */
    VAULT_HUGE,         /* a value of 1 MiB */
    VAULT_BINARY,       /* a value that is not base64, with a NUL's escape */
    VAULT_SHORT,        /* a value of 12 bytes */
    VAULT_OTHER_ID,     /* ids of another secret or key */
    VAULT_NO_ID,
    VAULT_SMALL_KEY, /* RSA of 1024 bits */
    VAULT_EC_KEY,
    VAULT_ELSEWHERE, /* a next page at another host */
    VAULT_ENDLESS,   /* a next page for ever */
};

struct vault_server;
struct vault_server *vault_server_start(const char *dir); /* its credential goes there */
void vault_server_stop(struct vault_server *server);
const char *vault_server_url(const struct vault_server *server);
const char *vault_server_credential(const struct vault_server *server);

void vault_server_set_mood(struct vault_server *server, enum vault_mood mood);
unsigned vault_server_asked(struct vault_server *server); /* tokens not counted */
/* What the requests since the start carried: "GET /secrets/m/?api-version=7.5\n"... */
const char *vault_server_log(struct vault_server *server);

#endif
