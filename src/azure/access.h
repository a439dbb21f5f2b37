/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How to get at an account: a JSON file that names a kind of credential, the files with
 * the secrets (never a secret itself), and how the service is reached.
 *
 *   {"kind": "shared-key", "key_file": "/etc/kedge/logs.key"}
 *
 * kind                  keys besides
 * shared-key            key_file: the account key, base64, or a connection string
 * sas                   sas_file: an account, service or user-delegation SAS
 * client-secret         tenant, client, secret_file
 * client-certificate    tenant, client, certificate_file: PEM, RSA key and certificate
 * managed-identity      source: imds (default), app-service, arc; client: of a
 *                       user-assigned identity; endpoint: instead of the usual one
 * workload-identity     tenant, client, token_file; absent: of the environment
 *                       (AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_FEDERATED_TOKEN_FILE)
 * az                    none: what `az login` left, for trying things
 * every kind            cloud (public, usgov, china), authority, ca_file, pin, proxy,
 *                       proxy_password_file
 *
 * key_file, sas_file and secret_file name a file, a credential of systemd or a secret in
 * a Key Vault (azure/secret_ref.h), the last with kv_credential: the path of another
 * access file.
 */
#ifndef AZURE_ACCESS_H
#define AZURE_ACCESS_H

#include "azure/cloud.h"
#include "http/exchange.h"

enum azure_access_kind {
    AZURE_SHARED_KEY,
    AZURE_SAS,
    AZURE_CLIENT_SECRET,
    AZURE_CLIENT_CERTIFICATE,
    AZURE_MANAGED_IDENTITY,
    AZURE_WORKLOAD_IDENTITY,
    AZURE_CLI,
};

enum azure_identity_source { AZURE_IMDS, AZURE_APP_SERVICE, AZURE_ARC };

struct azure_access { /* texts owned; NULL when not given */
    enum azure_access_kind kind;
    enum azure_identity_source source;
    const struct azure_cloud *cloud; /* NULL: that of the account's host name */
    char *secret_file; /* key_file, sas_file, secret_file, certificate_file, token_file */
    char *kv_credential; /* the access file for a secret_file in a vault */
    char *tenant, *client;
    char *authority; /* instead of the cloud's */
    char *endpoint;  /* of the managed identity */
    char *ca_file, *proxy;
    struct secret *proxy_password;
    bool has_pin;
    uint8_t pin[HTTP_PIN_BYTES];
};

/* *ret needs azure_access_release when true. FAIL_INPUT names file and key; FAIL_AUTH a
 * file with a secret can be read by others. */
MUST_CHECK bool azure_access_read(const char *path, struct azure_access *ret,
                                  struct err *err);
void azure_access_release(struct azure_access *access);

/* Fills in how the service at url is reached; borrows from access. The caller sets its
 * role. */
struct http_endpoint_options azure_access_way(const struct azure_access *access,
                                              const char *url);

#endif
