/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates for tests, made anew each time: nothing expires in the tree. */
#include "support/http_server.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#define DAY_SECONDS 86400L

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    require(extension && X509_add_ext(cert, extension, -1));
    X509_EXTENSION_free(extension);
}

struct maker {
    const char *dir;
    X509 *ca;
    EVP_PKEY *ca_key;
    long serial;
};

static void write_pem(const struct maker *maker, const char *name, X509 *cert,
                      EVP_PKEY *key)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", maker->dir, name);
    FILE *file = fopen(path, "w");
    require(file && PEM_write_X509(file, cert) &&
            (!key || PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL)));
    require(fclose(file) == 0);
}

/* names NULL: it is a CA. days: valid until so many days from now (negative: ago). */
static X509 *make(struct maker *maker, const char *subject, const char *names, long days,
                  EVP_PKEY *key, bool by_itself)
{
    X509 *cert = X509_new();
    require(cert != NULL);
    X509_NAME *name = X509_get_subject_name(cert);
    require(X509_set_version(cert, 2) &&
            ASN1_INTEGER_set(X509_get_serialNumber(cert), ++maker->serial) &&
            X509_gmtime_adj(X509_getm_notBefore(cert), -30 * DAY_SECONDS) &&
            X509_gmtime_adj(X509_getm_notAfter(cert), days * DAY_SECONDS) &&
            X509_set_pubkey(cert, key) &&
            X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                       (const unsigned char *)subject, -1, -1, 0));
    X509 *issuer = by_itself ? cert : maker->ca;
    require(X509_set_issuer_name(cert, X509_get_subject_name(issuer)));
    if (names)
        add_extension(cert, issuer, NID_subject_alt_name, names);
    else
        add_extension(cert, issuer, NID_basic_constraints, "critical,CA:TRUE");
    require(X509_sign(cert, by_itself ? key : maker->ca_key, EVP_sha256()) > 0);
    return cert;
}

static void make_file(struct maker *maker, const char *file, const char *names, long days,
                      bool by_itself)
{
    EVP_PKEY *key = EVP_RSA_gen(2048);
    require(key != NULL);
    X509 *cert = make(maker, file, names, days, key, by_itself);
    write_pem(maker, file, cert, key);
    X509_free(cert);
    EVP_PKEY_free(key);
}

void test_certs_make(const char *dir)
{
    struct maker maker = {.dir = dir, .ca_key = EVP_RSA_gen(2048)};
    require(maker.ca_key != NULL);
    maker.ca = make(&maker, "kedge test CA", NULL, 30, maker.ca_key, true);
    write_pem(&maker, "ca.pem", maker.ca, NULL);
    const char *const names = "IP:127.0.0.1,DNS:localhost,DNS:*.test,DNS:*.kedge.test";
    make_file(&maker, "good.pem", names, 30, false);
    make_file(&maker, "wrong_name.pem", "DNS:other.test", 30, false);
    make_file(&maker, "expired.pem", names, -1, false);
    make_file(&maker, "client.pem", "DNS:client.test", 30, false);
    make_file(&maker, "self.pem", names, 30, true);
    X509_free(maker.ca);
    EVP_PKEY_free(maker.ca_key);
}
