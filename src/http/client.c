/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON client over libcurl.
 *
 * Why libcurl: Unix sockets, TLS, proxies and deadlines are there and proven. Everything
 * it would do beyond one plain call is switched off: other protocols, redirects, netrc,
 * cookies, signals. For a Unix socket or a loopback address the environment's proxies are
 * ignored, or a token would travel to the proxy.
 *
 * C1  the token is only in the header list, which is wiped after the call;
 * C2  no answer larger than max_answer_bytes is kept in memory;
 * C3  a call ends by its deadline, or when its cancel token is set.
 */
#include "http/client.h"

#include "base/text.h"

#include <curl/curl.h>
#include <sys/un.h>

#define DEFAULT_DEADLINE_MS 30000
#define CONNECT_DEADLINE_MS 5000
#define URL_MAX_BYTES       512

struct http_client {
    CURL *curl;
    struct http_client_options options; /* texts owned, token borrowed */
    char *socket_path;
    char *base_url;
    char *ca_file;
};

struct exchange {
    struct buf answer;
    size_t max_bytes;
    bool is_too_large;
    const struct cancel *cancel;
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT); /* a failure shows at curl_easy_init */
}

static bool check_options(const struct http_client_options *options, struct err *err)
{
    if (!options->socket_path == !options->url)
        return err_set(err, FAIL_INPUT, "give either a socket or a URL");
    if (options->socket_path) {
        struct sockaddr_un address;
        if (strlen(options->socket_path) >= sizeof address.sun_path)
            return err_set(err, FAIL_INPUT,
                           "socket path '%.120s' is longer than %zu bytes; use a shorter "
                           "run_dir",
                           options->socket_path, sizeof address.sun_path - 1);
        return true;
    }
    const char *after = NULL;
    if (text_starts_with(options->url, "http://"))
        after = options->url + 7;
    else if (text_starts_with(options->url, "https://"))
        after = options->url + 8;
    size_t host_bytes = after ? strcspn(after, "/?#@") : 0;
    if (!after || host_bytes == 0 || strlen(options->url) > URL_MAX_BYTES ||
        (after[host_bytes] && strcmp(after + host_bytes, "/") != 0))
        return err_set(err, FAIL_INPUT,
                       "'%.100s' is not a URL of kedged; write http://HOST:PORT or "
                       "https://HOST:PORT",
                       options->url);
    return true;
}

struct http_client *http_client_open(const struct http_client_options *options,
                                     struct err *err)
{
    if (!check_options(options, err))
        return NULL;
    (void)pthread_once(&curl_once, init_curl);
    struct http_client *client = xcalloc(1, sizeof *client);
    client->options = *options;
    client->curl = curl_easy_init();
    if (!client->curl)
        abort(); /* out of memory, as in xcalloc */
    client->socket_path = options->socket_path ? xstrdup(options->socket_path) : NULL;
    client->base_url = xstrdup(options->url ? options->url : "http://localhost");
    size_t length = strlen(client->base_url);
    if (client->base_url[length - 1] == '/')
        client->base_url[length - 1] = 0;
    client->ca_file = options->ca_file ? xstrdup(options->ca_file) : NULL;
    if (!client->options.max_answer_bytes)
        client->options.max_answer_bytes = JSON_MAX_BYTES;
    return client;
}

void http_client_close(struct http_client *client)
{
    if (!client)
        return;
    curl_easy_cleanup(client->curl);
    free(client->socket_path);
    free(client->base_url);
    free(client->ca_file);
    free(client);
}

static size_t take_answer(char *data, size_t unit_bytes, size_t count, void *ctx)
{
    struct exchange *exchange = ctx;
    size_t bytes = unit_bytes * count;
    if (bytes > exchange->max_bytes - exchange->answer.bytes) {
        exchange->is_too_large = true;
        return 0;
    }
    buf_append(&exchange->answer, data, bytes);
    return bytes;
}

static int watch_cancel(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    return cancel_is_set(((struct exchange *)ctx)->cancel) ? 1 : 0;
}

static bool url_is_loopback(const char *url)
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    return text_starts_with(host, "127.") || text_starts_with(host, "localhost") ||
           text_starts_with(host, "[::1]");
}

/* Copies into curl's list; the buffer, which may hold the token, is wiped. */
static void add_header(struct curl_slist **headers, struct buf *line)
{
    struct curl_slist *grown = curl_slist_append(*headers, buf_text(line));
    if (!grown)
        abort(); /* out of memory, as in xcalloc */
    *headers = grown;
    secret_wipe(line->data, line->bytes);
    buf_release(line);
}

static struct curl_slist *make_headers(const struct http_client *client,
                                       const struct http_call *call)
{
    struct curl_slist *headers = NULL;
    struct buf line = {0};
    buf_append_text(&line, "Accept: application/json");
    add_header(&headers, &line);
    if (call->body) {
        buf_append_text(&line, "Content-Type: application/json");
        add_header(&headers, &line);
        buf_append_text(&line, "Expect:");
        add_header(&headers, &line);
    }
    if (call->idempotency_key) {
        buf_printf(&line, "Idempotency-Key: %s", call->idempotency_key);
        add_header(&headers, &line);
    }
    const struct secret *token = client->options.token;
    if (token) {
        buf_reserve(&line, token->bytes + 32); /* no copy left behind by growing */
        buf_append_text(&line, "Authorization: Bearer ");
        buf_append(&line, token->data, token->bytes);
        add_header(&headers, &line);
    }
    return headers;
}

static void free_headers(struct curl_slist *headers)
{
    for (struct curl_slist *h = headers; h; h = h->next)
        secret_wipe(h->data, strlen(h->data));
    curl_slist_free_all(headers);
}

#define SET(option, value)                                                               \
    do {                                                                                 \
        if (curl_easy_setopt(curl, option, value) != CURLE_OK)                           \
            abort(); /* our libcurl has no such option: a wrong build */                 \
    } while (0)

static void set_up(const struct http_client *client, const struct http_call *call,
                   struct exchange *exchange)
{
    CURL *curl = client->curl;
    curl_easy_reset(curl); /* keeps the connection */
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_DEADLINE_MS);
    SET(CURLOPT_TIMEOUT_MS,
        (long)(call->deadline_ms ? call->deadline_ms : DEFAULT_DEADLINE_MS));
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, watch_cancel);
    SET(CURLOPT_XFERINFODATA, exchange);
    SET(CURLOPT_WRITEFUNCTION, take_answer);
    SET(CURLOPT_WRITEDATA, exchange);
    SET(CURLOPT_USERAGENT, "kedge/" KEDGE_VERSION);
    if (client->socket_path)
        SET(CURLOPT_UNIX_SOCKET_PATH, client->socket_path);
    if (client->socket_path || url_is_loopback(client->base_url))
        SET(CURLOPT_NOPROXY, "*");
    if (client->ca_file)
        SET(CURLOPT_CAINFO, client->ca_file);
}

static bool explain(const struct http_client *client, CURLcode code,
                    const struct exchange *exchange, const char *detail, struct err *err)
{
    const char *peer = client->socket_path ? client->socket_path : client->base_url;
    if (exchange->is_too_large)
        return err_set(err, FAIL_LIMIT, "answer of '%s' is larger than %zu bytes", peer,
                       exchange->max_bytes);
    switch (code) {
    case CURLE_ABORTED_BY_CALLBACK:
        return err_set(err, FAIL_CANCELED, "canceled");
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
        return err_set(err, FAIL_TRANSIENT, "nobody answers at '%s'; is kedged running?",
                       peer);
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(err, FAIL_TRANSIENT, "'%s' did not answer in time", peer);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return err_set(err, FAIL_AUTH, "certificate of '%s' is not trusted: %s", peer,
                       detail[0] ? detail : curl_easy_strerror(code));
    default:
        return err_set(err, FAIL_TRANSIENT, "call to '%s' failed: %s", peer,
                       detail[0] ? detail : curl_easy_strerror(code));
    }
}

bool http_error_from_answer(long status, const char *body, size_t body_bytes,
                            struct err *err)
{
    struct err ignored = ERR_INIT;
    AUTO(json_free) json_t *json = json_parse("answer", body, body_bytes, &ignored);
    const json_t *error = json_object_get(json, "error");
    const char *kind = json_string_value(json_object_get(error, "kind"));
    const char *text = json_string_value(json_object_get(error, "text"));
    if (kind && text) {
        enum err_kind known = err_kind_from_name(kind);
        return err_set(err, known == FAIL_NONE ? FAIL_BUG : known, "%s", text);
    }
    enum err_kind kind_of_status = status == 401 || status == 403   ? FAIL_AUTH
                                   : status == 404                  ? FAIL_GONE
                                   : status == 409                  ? FAIL_CONFLICT
                                   : status == 413                  ? FAIL_LIMIT
                                   : status == 429 || status >= 500 ? FAIL_TRANSIENT
                                   : status >= 400                  ? FAIL_INPUT
                                                                    : FAIL_CORRUPT;
    return err_set(err, kind_of_status,
                   "answer with HTTP status %ld and no error text; is this kedged?",
                   status);
}

static json_t *read_answer(const struct http_client *client, struct exchange *exchange,
                           struct err *err)
{
    long status = 0;
    (void)curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status); /* 0: none */
    const char *text = buf_text(&exchange->answer);
    if (status < 200 || status > 299) {
        (void)http_error_from_answer(status, text, exchange->answer.bytes, err);
        return NULL;
    }
    json_t *json = json_parse("answer of kedged", text, exchange->answer.bytes, err);
    if (!json)
        err->kind = FAIL_CORRUPT;
    return json;
}

json_t *http_call(struct http_client *client, const struct http_call *call,
                  struct err *err)
{
    AUTO(buf_release) struct buf url = {0}, body = {0};
    struct exchange exchange = {.max_bytes = client->options.max_answer_bytes,
                                .cancel = call->cancel};
    char detail[CURL_ERROR_SIZE] = "";
    CURL *curl = client->curl;
    if (!cancel_check(call->cancel, err))
        return NULL;
    buf_printf(&url, "%s%s", client->base_url, call->path);
    set_up(client, call, &exchange);
    SET(CURLOPT_ERRORBUFFER, detail);
    SET(CURLOPT_URL, buf_text(&url));
    SET(CURLOPT_CUSTOMREQUEST, call->method);
    if (call->body) {
        json_print(call->body, &body);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.bytes);
        SET(CURLOPT_POSTFIELDS, buf_text(&body));
    }
    struct curl_slist *headers = make_headers(client, call);
    SET(CURLOPT_HTTPHEADER, headers);
    CURLcode code = curl_easy_perform(curl);
    json_t *json = NULL;
    if (code != CURLE_OK)
        (void)explain(client, code, &exchange, detail, err);
    else
        json = read_answer(client, &exchange, err);
    SET(CURLOPT_HTTPHEADER, NULL);
    SET(CURLOPT_ERRORBUFFER, NULL);
    free_headers(headers);
    buf_release(&exchange.answer);
    return json;
}

static void add_encoded(struct buf *path, const char *text)
{
    static const char HEX[] = "0123456789ABCDEF";
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool is_plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                        (*p >= '0' && *p <= '9') || strchr("-._~", *p);
        if (is_plain) {
            buf_put_u8(path, *p);
            continue;
        }
        buf_put_u8(path, '%');
        buf_put_u8(path, (uint8_t)HEX[*p >> 4]);
        buf_put_u8(path, (uint8_t)HEX[*p & 15]);
    }
}

void http_path_add(struct buf *path, const char *segment)
{
    buf_put_u8(path, '/');
    /* "." and ".." would be resolved away by the URL parser. */
    if (strcmp(segment, ".") == 0)
        buf_append_text(path, "%2E");
    else if (strcmp(segment, "..") == 0)
        buf_append_text(path, "%2E%2E");
    else
        add_encoded(path, segment);
}

void http_query_add(struct buf *path, const char *key, const char *value)
{
    buf_put_u8(path, strchr(buf_text(path), '?') ? '&' : '?');
    add_encoded(path, key);
    buf_put_u8(path, '=');
    add_encoded(path, value);
}
