/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A probe: one connection of its own by the endpoint's own rules (proxy, addresses,
 * trust), with OpenSSL's verdict noted instead of obeyed.
 *
 * P1  nothing is sent after the handshake, so an untrusted peer learns nothing;
 * P2  the connection is never kept.
 */
#include "http/exchange_impl.h"

#include "base/text.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <time.h>

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static void take_name(const X509_NAME *name, char *out, size_t out_bytes)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    if (!bio)
        abort(); /* out of memory, as in xcalloc */
    (void)X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253);
    long bytes = BIO_get_mem_data(bio, &text);
    (void)snprintf(out, out_bytes, "%.*s", (int)MIN_OF(bytes, (long)out_bytes - 1),
                   bytes ? text : "");
    (void)BIO_free(bio); /* ours, freed once */
}

static uint64_t unix_time(const ASN1_TIME *time)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(time, &tm) != 1)
        return 0;
    time_t t = timegm(&tm);
    return t > 0 ? (uint64_t)t : 0;
}

static void add_text(struct http_peer *peer, const char *text, int bytes)
{
    size_t used = strlen(peer->names);
    (void)snprintf(peer->names + used, sizeof peer->names - used, "%s%.*s",
                   used ? ", " : "", bytes, text);
}

static void take_names(const X509 *certificate, struct http_peer *peer)
{
    GENERAL_NAMES *names =
        X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        char address[INET6_ADDRSTRLEN];
        if (name->type == GEN_DNS) {
            add_text(peer, (const char *)ASN1_STRING_get0_data(name->d.dNSName),
                     ASN1_STRING_length(name->d.dNSName));
        } else if (name->type == GEN_IPADD) {
            int family = ASN1_STRING_length(name->d.iPAddress) == 4 ? AF_INET : AF_INET6;
            bool is_whole = ASN1_STRING_length(name->d.iPAddress) == 4 ||
                            ASN1_STRING_length(name->d.iPAddress) == 16;
            if (is_whole && inet_ntop(family, ASN1_STRING_get0_data(name->d.iPAddress),
                                      address, sizeof address))
                add_text(peer, address, (int)strlen(address));
        }
    }
    GENERAL_NAMES_free(names);
}

/* The host's name out of "https://name:port"; without the brackets of an address. */
static void take_host(const char *url, char *out, size_t out_bytes)
{
    const char *at = strstr(url, "://");
    at = at ? at + 3 : url;
    bool is_v6 = *at == '[';
    at += is_v6 ? 1 : 0;
    size_t bytes = strcspn(at, is_v6 ? "]" : ":/");
    (void)snprintf(out, out_bytes, "%.*s", (int)MIN_OF(bytes, out_bytes - 1), at);
}

static bool name_matches(X509 *certificate, const char *url)
{
    char host[256];
    take_host(url, host, sizeof host);
    return X509_check_host(certificate, host, 0, 0, NULL) == 1 ||
           X509_check_ip_asc(certificate, host, 0) == 1;
}

static bool is_about_age(int code)
{
    return code == X509_V_ERR_CERT_HAS_EXPIRED || code == X509_V_ERR_CERT_NOT_YET_VALID;
}

/* Age is a fact of its own: go on to what else there is to say of the chain. */
static int go_on_past_age(int ok, X509_STORE_CTX *store)
{
    return ok || is_about_age(X509_STORE_CTX_get_error(store));
}

void peer_note(struct slot *slot, X509_STORE_CTX *store)
{
    const struct http_endpoint *endpoint = slot->endpoint;
    struct http_peer *peer = slot->facts;
    X509 *certificate = X509_STORE_CTX_get0_cert(store);
    const SSL *ssl =
        X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    if (!certificate)
        return;
    peer->has_certificate = true;
    if (ssl)
        text_copy(peer->protocol, sizeof peer->protocol, SSL_get_version(ssl));
    take_name(X509_get_subject_name(certificate), peer->subject, sizeof peer->subject);
    take_name(X509_get_issuer_name(certificate), peer->issuer, sizeof peer->issuer);
    take_names(certificate, peer);
    peer->valid_from_unix_s = unix_time(X509_get0_notBefore(certificate));
    peer->valid_until_unix_s = unix_time(X509_get0_notAfter(certificate));
    peer->name_matches = name_matches(certificate, endpoint->url);
    memcpy(peer->sha256, slot->peer, sizeof peer->sha256);
    if (endpoint->has_pin) {
        peer->is_trusted = memcmp(slot->peer, endpoint->pin, HTTP_PIN_BYTES) == 0;
        if (!peer->is_trusted)
            text_copy(peer->problem, sizeof peer->problem, "it is not the pinned one");
        return;
    }
    X509_STORE_CTX_set_verify_cb(store, go_on_past_age);
    peer->is_trusted = X509_verify_cert(store) == 1;
    if (!peer->is_trusted)
        text_copy(peer->problem, sizeof peer->problem,
                  X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)));
}

/* libcurl does not say whether TCP was there when what came after it failed. */
void peer_note_socket(struct http_peer *peer, int fd)
{
    struct sockaddr_storage address;
    socklen_t bytes = sizeof address;
    char host[INET6_ADDRSTRLEN], port[8];
    if (getpeername(fd, (struct sockaddr *)&address, &bytes) != 0 ||
        getnameinfo((struct sockaddr *)&address, bytes, host, sizeof host, port,
                    sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    (void)snprintf(peer->address, sizeof peer->address,
                   address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static uint64_t time_ms(CURL *curl, CURLINFO info)
{
    curl_off_t us = 0;
    (void)curl_easy_getinfo(curl, info, &us); /* else 0 */
    return us > 0 ? (uint64_t)us / 1000 : 0;
}

static void take_reach(struct slot *slot, bool is_done, struct http_peer *peer)
{
    long status = 0;
    bool has_proxy = slot->choice.proxy_url[0] != 0;
    (void)curl_easy_getinfo(slot->curl, CURLINFO_HTTP_CONNECTCODE, &status); /* else 0 */
    peer->proxy_status = has_proxy && status > 0 ? (unsigned)status : 0;
    peer->tcp_ms = time_ms(slot->curl, CURLINFO_CONNECT_TIME_T);
    peer->tls_ms = time_ms(slot->curl, CURLINFO_APPCONNECT_TIME_T);
    for (size_t i = 0; i < SLOT_MAX_SOCKETS; i++) /* still open */
        if (slot->sockets[i] >= 0)
            peer_note_socket(peer, slot->sockets[i]);
    if (is_done)
        peer->reach = slot->endpoint->is_tls ? REACH_TLS : REACH_HOST;
    else if (peer->has_certificate || peer->proxy_status / 100 == 2 ||
             (peer->address[0] && !has_proxy))
        peer->reach = REACH_HOST;
    else if (peer->address[0])
        peer->reach = REACH_TCP;
}

bool http_endpoint_peer(struct http_endpoint *endpoint,
                        const struct http_peer_options *options, struct http_peer *ret,
                        struct err *err)
{
    *ret = (struct http_peer){0};
    struct slot *slot = slot_new_probe(endpoint);
    slot->facts = ret;
    CURL_SET(slot->curl, CURLOPT_SSL_VERIFYPEER, 1L); /* loads what is trusted */
    if (options->take_old) {
        CURL_SET(slot->curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_0);
        CURL_SET(slot->curl, CURLOPT_SSL_CIPHER_LIST, "DEFAULT@SECLEVEL=0");
    }
    bool ok = slot_probe(slot, options->cancel, err);
    take_reach(slot, ok, ret);
    slot_free(slot);
    return ok;
}
