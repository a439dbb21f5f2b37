/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The storage service's emulator (npm package azurite) for tests, over TLS, with one
 * account, and a proxy in front of it that fails on purpose. Everything on 127.0.0.1 and
 * below a folder of the caller. KEDGE_AZURITE names the package's folder.
 */
#ifndef SUPPORT_AZURITE_H
#define SUPPORT_AZURITE_H

#include "base/secret.h"
#include "support/http_server.h"

#define AZURITE_ACCOUNT "kedgetest"

struct azurite;

/* false: KEDGE_AZURITE is not set or names nothing; the test cannot run. */
bool azurite_is_there(void);
/* dir holds test_certs_make's files; aborts the test program when it does not start. */
struct azurite *azurite_start(const char *dir);
void azurite_stop(struct azurite *azurite);
unsigned azurite_port(const struct azurite *azurite);
/* The key of the account, base64. */
const char *azurite_key(void);

/* Writes dir/name with mode 0600 and returns its path (a static one of eight). */
const char *azurite_write(const char *dir, const char *name, const char *text);
/* A credential file in dir that trusts dir/ca.pem; extra: further JSON members, begins
 * with a comma, or "". */
const char *azurite_credential(const char *dir, const char *name, const char *kind,
                               const char *extra);

/* An account SAS for blobs that ends so many seconds from now; permissions "racwdl". */
void azurite_sas(const char *permissions, long ends_in_s, char out[512]);

/* A token issuer that checks proofs (issuer.mjs beside this), by the npm package
 * oidc-provider in the folder KEDGE_OIDC_PROVIDER. Port 0: that is not set. */
struct issuer {
    int pid;
    unsigned port;
};
struct issuer issuer_start(const char *dir, const char *script);
void issuer_stop(struct issuer issuer);

/* ---- what goes wrong on the way ---- */

struct fault_proxy_options {
    unsigned azurite_port;
    const char *cert_file, *ca_file;
    uint64_t seed;
    unsigned refuse_per_mille; /* 503, not forwarded */
    unsigned accept_per_mille; /* forwarded, then 500 or no answer: half of each */
    unsigned cut_per_mille;    /* forwarded, the answer's body ends in the middle */
    unsigned damage_per_mille; /* one byte of a request's body is changed */
};

struct fault_proxy;
struct fault_proxy *fault_proxy_start(const struct fault_proxy_options *options);
void fault_proxy_stop(struct fault_proxy *proxy);
unsigned fault_proxy_port(const struct fault_proxy *proxy);
void fault_proxy_refuse_all(struct fault_proxy *proxy, bool yes); /* by 503, or no more */
unsigned fault_proxy_requests(struct fault_proxy *proxy);         /* seen */
unsigned fault_proxy_faults(struct fault_proxy *proxy);           /* made */

#endif
