/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Endpoints: the one place where libcurl is set up.
 *
 * Why libcurl: TLS, proxies and kept connections are there and proven. Everything it
 * would do beyond one plain exchange is switched off: other protocols, redirects, netrc,
 * cookies, signals, proxies of the environment, HTTP/2. Why a multi handle for each easy
 * one: its wait can be woken by a cancel token.
 *
 * E1  every TLS connection is checked, each time: with a pin no session is resumed,
 *     because a resumed one shows no certificate;
 * E2  a slot is used by one exchange at a time and holds at most one connection;
 * E3  what the caller and the rules of netpath/path.h named, and nothing of the
 *     environment, decides the way.
 * Must never log or put into an error: a header, a path's query, a password.
 */
#include "http/exchange_impl.h"

#include "base/text.h"
#include "netpath/rules.h"

#include <sys/un.h>
#include <unistd.h>

#include <openssl/ssl.h>
#include <openssl/x509.h>

#define DEFAULT_IDLE                8
#define DEFAULT_CONNECT_DEADLINE_MS 10000
#define URL_MAX_BYTES               512
#define TRANSFER_BUFFER_BYTES       (128 * 1024L)

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        abort(); /* out of memory, as in xcalloc */
}

/* ---- options ---- */

static char *url_part(CURLU *url, CURLUPart part, unsigned flags)
{
    char *text = NULL;
    if (curl_url_get(url, part, &text, flags) != CURLUE_OK)
        return NULL;
    char *copy = xstrdup(text);
    curl_free(text);
    return copy;
}

static bool url_has(CURLU *url, CURLUPart part)
{
    AUTO(free) char *text = url_part(url, part, 0);
    return text != NULL;
}

/* Only scheme, host and port may be there. */
static bool url_is_bare(CURLU *url)
{
    AUTO(free) char *path = url_part(url, CURLUPART_PATH, 0);
    return (!path || !*path || strcmp(path, "/") == 0) &&
           !url_has(url, CURLUPART_QUERY) && !url_has(url, CURLUPART_FRAGMENT) &&
           !url_has(url, CURLUPART_PASSWORD) && !url_has(url, CURLUPART_OPTIONS) &&
           !url_has(url, CURLUPART_USER);
}

static bool parse_url(CURLU *url, const char *text)
{
    return strlen(text) <= URL_MAX_BYTES &&
           (strncasecmp(text, "http://", 7) == 0 ||
            strncasecmp(text, "https://", 8) == 0) &&
           curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK;
}

static bool take_url(struct http_endpoint *endpoint, const char *text, struct err *err)
{
    CURLU *url = curl_url();
    if (!url)
        abort(); /* out of memory, as in xcalloc */
    bool ok = parse_url(url, text) && url_is_bare(url);
    if (ok) {
        AUTO(free) char *host = url_part(url, CURLUPART_HOST, 0);
        AUTO(free) char *port = url_part(url, CURLUPART_PORT, 0);
        AUTO(buf_release) struct buf clean = {0};
        endpoint->is_tls = strncasecmp(text, "https://", 8) == 0;
        buf_printf(&clean, "%s://%s%s%s", endpoint->is_tls ? "https" : "http",
                   host ? host : "", port ? ":" : "", port ? port : "");
        endpoint->url = buf_take_text(&clean);
        AUTO(free) char *known = url_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
        endpoint->port = known ? (unsigned)strtoul(known, NULL, 10) : 0;
        endpoint->host = TAKE(host);
    }
    curl_url_cleanup(url);
    if (!ok)
        return err_set(err, FAIL_INPUT,
                       "'%.100s' is not the address of a server; write http://HOST:PORT "
                       "or https://HOST:PORT",
                       text);
    return true;
}

static bool take_proxy(struct http_endpoint *endpoint,
                       const struct http_endpoint_options *options, struct err *err)
{
    char url[PATH_NAME_BYTES], user[PATH_NAME_BYTES] = "";
    if (options->proxy_url && !proxy_parse(options->proxy_url, url, user, err))
        return false;
    if (options->proxy_password && !user[0])
        return err_set(err, FAIL_INPUT,
                       "there is a password for a proxy and no user; write "
                       "http://USER@HOST:PORT as its address");
    endpoint->proxy_url = options->proxy_url ? xstrdup(options->proxy_url) : NULL;
    endpoint->proxy_password = options->proxy_password;
    return true;
}

static bool check_socket(const char *path, struct err *err)
{
    struct sockaddr_un address;
    if (strlen(path) >= sizeof address.sun_path)
        return err_set(err, FAIL_INPUT,
                       "socket path '%.120s' is longer than %zu bytes; use a shorter "
                       "run_dir",
                       path, sizeof address.sun_path - 1);
    return true;
}

struct http_endpoint *http_endpoint_open(const struct http_endpoint_options *options,
                                         struct err *err)
{
    (void)pthread_once(&curl_once, init_curl);
    struct http_endpoint *made = xcalloc(1, sizeof *made);
    (void)pthread_mutex_init(&made->lock, NULL); /* default attributes cannot fail */
    AUTO(http_endpoint_close) struct http_endpoint *endpoint = made;
    if (!take_url(endpoint, options->url, err) ||
        (options->socket_path && !check_socket(options->socket_path, err)) ||
        !take_proxy(endpoint, options, err))
        return NULL;
    endpoint->role = options->role;
    endpoint->socket_path = options->socket_path ? xstrdup(options->socket_path) : NULL;
    endpoint->ca_file = options->ca_file ? xstrdup(options->ca_file) : NULL;
    endpoint->client_cert_file =
        options->client_cert_file ? xstrdup(options->client_cert_file) : NULL;
    endpoint->has_pin = options->pin != NULL;
    if (options->pin)
        memcpy(endpoint->pin, options->pin, HTTP_PIN_BYTES);
    endpoint->max_idle = options->max_idle ? options->max_idle : DEFAULT_IDLE;
    endpoint->connect_deadline_ms = options->connect_deadline_ms
                                        ? options->connect_deadline_ms
                                        : DEFAULT_CONNECT_DEADLINE_MS;
    return TAKE(endpoint);
}

void http_endpoint_close(struct http_endpoint *endpoint)
{
    if (!endpoint)
        return;
    while (endpoint->idle) {
        struct slot *slot = endpoint->idle;
        endpoint->idle = slot->next;
        slot_free(slot);
    }
    (void)pthread_mutex_destroy(&endpoint->lock); /* nobody holds it: we are the last */
    free(endpoint->url);
    free(endpoint->host);
    free(endpoint->socket_path);
    free(endpoint->ca_file);
    free(endpoint->client_cert_file);
    free(endpoint->proxy_url);
    free(endpoint);
}

const char *endpoint_name(const struct http_endpoint *endpoint)
{
    return endpoint->socket_path ? endpoint->socket_path : endpoint->url;
}

/* ---- trust ---- */

/* In place of OpenSSL's own check: 1 is trusted. curl compares the name afterwards. */
static int check_certificate(X509_STORE_CTX *store, void *ctx)
{
    struct slot *slot = ctx;
    const struct http_endpoint *endpoint = slot->endpoint;
    X509 *certificate = X509_STORE_CTX_get0_cert(store);
    slot->has_peer =
        certificate && X509_digest(certificate, EVP_sha256(), slot->peer, NULL) == 1;
    if (slot->facts)
        peer_note(slot, store);
    if (!slot->is_probe && !endpoint->has_pin)
        return X509_verify_cert(store);
    slot->has_wrong_pin =
        !slot->is_probe &&
        (!slot->has_peer || memcmp(slot->peer, endpoint->pin, HTTP_PIN_BYTES) != 0);
    X509_STORE_CTX_set_error(store, slot->has_wrong_pin || !slot->has_peer
                                        ? X509_V_ERR_CERT_REJECTED
                                        : X509_V_OK);
    return slot->has_peer && !slot->has_wrong_pin;
}

static CURLcode take_over_check(CURL *curl, void *ssl_ctx, void *slot)
{
    (void)curl;
    SSL_CTX_set_verify(ssl_ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ssl_ctx, check_certificate, slot);
    return CURLE_OK;
}

static void set_tls(const struct slot *slot)
{
    const struct http_endpoint *endpoint = slot->endpoint;
    CURL *curl = slot->curl;
    bool is_by_chain = !endpoint->has_pin && !slot->is_probe;
    CURL_SET(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    CURL_SET(curl, CURLOPT_SSL_VERIFYPEER, is_by_chain ? 1L : 0L);
    CURL_SET(curl, CURLOPT_SSL_VERIFYHOST, is_by_chain ? 2L : 0L);
    CURL_SET(curl, CURLOPT_SSL_SESSIONID_CACHE, is_by_chain ? 1L : 0L);
    CURL_SET(curl, CURLOPT_SSL_CTX_FUNCTION, take_over_check);
    CURL_SET(curl, CURLOPT_SSL_CTX_DATA, slot);
    if (endpoint->ca_file)
        CURL_SET(curl, CURLOPT_CAINFO, endpoint->ca_file);
    if (endpoint->ca_file || curl_version_info(CURLVERSION_NOW)->cainfo)
        CURL_SET(curl, CURLOPT_CAPATH, NULL); /* else read anew for each connection */
    if (endpoint->client_cert_file)
        CURL_SET(curl, CURLOPT_SSLCERT, endpoint->client_cert_file);
}

/* ---- slots ---- */

static int note_socket(void *ctx, curl_socket_t fd, curlsocktype purpose)
{
    struct slot *slot = ctx;
    (void)purpose;
    for (size_t i = 0; i < SLOT_MAX_SOCKETS; i++)
        if (slot->sockets[i] < 0) {
            slot->sockets[i] = fd;
            break;
        }
    return CURL_SOCKOPT_OK;
}

static int close_socket(void *ctx, curl_socket_t fd)
{
    struct slot *slot = ctx;
    for (size_t i = 0; i < SLOT_MAX_SOCKETS; i++)
        if (slot->sockets[i] == fd)
            slot->sockets[i] = -1;
    if (slot->facts)
        peer_note_socket(slot->facts, fd);
    return close(fd);
}

static void set_up(struct slot *slot)
{
    CURL *curl = slot->curl;
    curl_easy_reset(curl); /* keeps the connection */
    slot->detail[0] = 0;
    slot->has_peer = slot->has_wrong_pin = false;
    err_clear(&slot->refused);
    CURL_SET(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    CURL_SET(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    CURL_SET(curl, CURLOPT_PATH_AS_IS, 1L);
    CURL_SET(curl, CURLOPT_FOLLOWLOCATION, 0L);
    CURL_SET(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    CURL_SET(curl, CURLOPT_NOSIGNAL, 1L);
    CURL_SET(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    CURL_SET(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)slot->endpoint->connect_deadline_ms);
    CURL_SET(curl, CURLOPT_ERRORBUFFER, slot->detail);
    CURL_SET(curl, CURLOPT_BUFFERSIZE, TRANSFER_BUFFER_BYTES);
    CURL_SET(curl, CURLOPT_UPLOAD_BUFFERSIZE, TRANSFER_BUFFER_BYTES);
    CURL_SET(curl, CURLOPT_SOCKOPTFUNCTION, note_socket);
    CURL_SET(curl, CURLOPT_SOCKOPTDATA, slot);
    CURL_SET(curl, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    CURL_SET(curl, CURLOPT_CLOSESOCKETDATA, slot);
    CURL_SET(curl, CURLOPT_USERAGENT, "kedge/" KEDGE_VERSION);
    if (slot->endpoint->socket_path)
        CURL_SET(curl, CURLOPT_UNIX_SOCKET_PATH, slot->endpoint->socket_path);
    set_tls(slot);
}

static struct slot *take_idle(struct http_endpoint *endpoint)
{
    LOCK_GUARD(&endpoint->lock);
    struct slot *slot = endpoint->idle;
    if (slot) {
        endpoint->idle = slot->next;
        endpoint->idle_count--;
    }
    return slot;
}

static struct slot *slot_new(struct http_endpoint *endpoint)
{
    struct slot *slot = xcalloc(1, sizeof *slot);
    slot->endpoint = endpoint;
    for (size_t i = 0; i < SLOT_MAX_SOCKETS; i++)
        slot->sockets[i] = -1;
    slot->multi = curl_multi_init();
    slot->curl = curl_easy_init();
    if (!slot->multi || !slot->curl ||
        curl_multi_setopt(slot->multi, CURLMOPT_MAXCONNECTS, 1L) != CURLM_OK)
        abort(); /* out of memory, as in xcalloc */
    return slot;
}

struct slot *slot_take(struct http_endpoint *endpoint)
{
    struct slot *slot = take_idle(endpoint);
    if (!slot)
        slot = slot_new(endpoint);
    set_up(slot);
    return slot;
}

struct slot *slot_new_probe(struct http_endpoint *endpoint)
{
    struct slot *slot = slot_new(endpoint);
    slot->is_probe = true;
    set_up(slot);
    return slot;
}

void slot_give(struct slot *slot)
{
    struct http_endpoint *endpoint = slot->endpoint;
    bool is_kept = false;
    {
        LOCK_GUARD(&endpoint->lock);
        is_kept = endpoint->idle_count < endpoint->max_idle;
        if (is_kept) {
            slot->next = endpoint->idle;
            endpoint->idle = slot;
            endpoint->idle_count++;
        }
    }
    if (!is_kept)
        slot_free(slot);
}

void slot_free(struct slot *slot)
{
    slot_end_way(slot);
    curl_easy_cleanup(slot->curl);
    (void)curl_multi_cleanup(slot->multi); /* fails only for a handle that is not one */
    free(slot);
}
