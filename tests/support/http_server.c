/* SPDX-License-Identifier: Apache-2.0 */
/* One thread accepts, one serves each connection; stop shuts the sockets and joins. */
#include "support/http_server.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <openssl/ssl.h>

#define MAX_CONNECTIONS 1024
#define HEAD_MAX_BYTES  (64 * KIB)

struct connection {
    struct http_server *server;
    pthread_t thread;
    SSL *ssl; /* NULL: plain */
    unsigned number;
    /* Guarded by the server's lock. */
    int fd; /* -1: closed */
};

struct http_server {
    /* Set by http_server_start, never changed. */
    struct http_server_options options;
    SSL_CTX *ssl_ctx;
    int listen_fd;
    unsigned port;
    pthread_t thread;
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct connection *connections[MAX_CONNECTIONS];
    unsigned count;
    bool is_stopping;
};

static void require(bool ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    abort();
}

static ssize_t receive(struct connection *c, void *data, size_t bytes)
{
    return c->ssl ? SSL_read(c->ssl, data, (int)MIN_OF(bytes, 1u << 20))
                  : recv(c->fd, data, bytes, 0);
}

static bool send_all(struct connection *c, const void *data, size_t bytes)
{
    const char *at = data;
    while (bytes) {
        ssize_t n = c->ssl ? SSL_write(c->ssl, at, (int)MIN_OF(bytes, 1u << 20))
                           : send(c->fd, at, bytes, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        at += n;
        bytes -= (size_t)n;
    }
    return true;
}

bool served_header(const struct served_request *request, const char *name, char *out,
                   size_t out_bytes)
{
    size_t length = strlen(name);
    const char *line = buf_text(&request->headers);
    for (const char *next; *line; line = next) {
        size_t bytes = strcspn(line, "\r\n");
        next = line + bytes + strspn(line + bytes, "\r\n");
        if (bytes > length && line[length] == ':' && !strncasecmp(line, name, length)) {
            size_t skip = length + 1 + strspn(line + length + 1, " ");
            (void)snprintf(out, out_bytes, "%.*s", (int)(bytes - skip), line + skip);
            return true;
        }
    }
    return false;
}

/* false: the peer has gone. rest holds what was received behind the head. */
static bool read_request(struct connection *c, struct buf *rest,
                         struct served_request *ret)
{
    char piece[65536], length_text[32];
    char *end;
    while (!(end = rest->bytes ? strstr((char *)rest->data, "\r\n\r\n") : NULL)) {
        ssize_t n = receive(c, piece, sizeof piece);
        if (n <= 0 || rest->bytes > HEAD_MAX_BYTES)
            return false;
        buf_append(rest, piece, (size_t)n);
        if (rest->data[0] < 'A') { /* TLS, most likely */
            (void)send_all(c, "HTTP/1.1 400 Bad\r\n\r\n", 20);
            return false;
        }
    }
    size_t head_bytes = (size_t)(end + 4 - (char *)rest->data);
    if (sscanf((char *)rest->data, "%15s %4095s", ret->method, ret->path) != 2)
        return false;
    buf_append(&ret->headers, rest->data, head_bytes);
    size_t want = served_header(ret, "Content-Length", length_text, sizeof length_text)
                      ? strtoul(length_text, NULL, 10)
                      : 0;
    size_t have = MIN_OF(rest->bytes - head_bytes, want);
    buf_append(&ret->body, rest->data + head_bytes, have);
    struct buf left = {0};
    buf_append(&left, rest->data + head_bytes + have, rest->bytes - head_bytes - have);
    buf_release(rest);
    *rest = left;
    while (ret->body.bytes < want) {
        ssize_t n = receive(c, piece, MIN_OF(sizeof piece, want - ret->body.bytes));
        if (n <= 0)
            return false;
        buf_append(&ret->body, piece, (size_t)n);
    }
    return true;
}

static void wait_for_end(struct connection *c)
{
    char byte;
    while (receive(c, &byte, 1) > 0)
        ;
}

/* true: the connection goes on. */
static bool send_reply(struct connection *c, const struct served_request *request,
                       struct served_reply *reply)
{
    AUTO(buf_release) struct buf head = {0};
    bool is_head = strcmp(request->method, "HEAD") == 0;
    size_t body_bytes = is_head ? 0 : reply->body.bytes;
    switch (reply->manner) {
    case SERVE_SILENCE:
        wait_for_end(c);
        return false;
    case SERVE_RESET: {
        struct linger now = {.l_onoff = 1};
        (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        return false;
    }
    case SERVE_NOTHING:
        return false;
    default:
        break;
    }
    buf_printf(&head, "HTTP/1.1 %u Answer\r\n%s", reply->status,
               buf_text(&reply->headers));
    char ignored[64];
    struct served_request headers = {.headers = reply->headers};
    if (!served_header(&headers, "Content-Length", ignored, sizeof ignored))
        buf_printf(&head, "Content-Length: %zu\r\n", reply->body.bytes);
    buf_append_text(&head, "\r\n");
    bool is_half = reply->manner == SERVE_HALF_STALL || reply->manner == SERVE_HALF_CLOSE;
    if (!send_all(c, head.data, head.bytes) ||
        !send_all(c, reply->body.data, is_half ? body_bytes / 2 : body_bytes))
        return false;
    if (reply->manner == SERVE_HALF_STALL)
        wait_for_end(c);
    return reply->manner == SERVE_WHOLE;
}

static void serve_http(struct connection *c)
{
    AUTO(buf_release) struct buf rest = {0};
    for (bool goes_on = true; goes_on;) {
        struct served_request *request = xcalloc(1, sizeof *request);
        struct served_reply reply = {.status = 200};
        request->connection = c->number;
        goes_on = read_request(c, &rest, request);
        if (goes_on) {
            c->server->options.handler(c->server->options.ctx, request, &reply);
            goes_on = send_reply(c, request, &reply);
        }
        buf_release(&request->headers);
        buf_release(&request->body);
        buf_release(&reply.headers);
        buf_release(&reply.body);
        free(request);
    }
}

/* ---- proxy ---- */

static int connect_to(const char *host_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    const char *port = strrchr(host_port, ':');
    if (!port)
        return -1;
    address.sin_port = htons((uint16_t)strtoul(port + 1, NULL, 10));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK); /* whatever the name */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(fd >= 0, "socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

static bool move_some(int from, int to)
{
    char piece[65536];
    ssize_t n = recv(from, piece, sizeof piece, 0);
    for (ssize_t done = 0, m; n > 0 && done < n; done += m)
        if ((m = send(to, piece + done, (size_t)(n - done), MSG_NOSIGNAL)) <= 0)
            return false;
    return n > 0;
}

static void pipe_both(int a, int b)
{
    struct pollfd fds[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
    while (poll(fds, 2, -1) > 0) {
        if (fds[0].revents && !move_some(a, b))
            return;
        if (fds[1].revents && !move_some(b, a))
            return;
    }
}

static bool proxy_allows(struct connection *c, const struct served_request *request)
{
    const struct http_server_options *o = &c->server->options;
    char given[256], wanted[256];
    AUTO(buf_release) struct buf head = {0};
    unsigned status = o->proxy_status;
    if (o->proxy_basic) {
        (void)snprintf(wanted, sizeof wanted, "Basic %s", o->proxy_basic);
        if (!served_header(request, "Proxy-Authorization", given, sizeof given) ||
            strcmp(given, wanted) != 0)
            status = 407;
    }
    if (strcmp(request->method, "CONNECT") != 0)
        status = 400;
    buf_printf(&head, "HTTP/1.1 %u Proxy\r\n%sX-Proxy: yes\r\n%s\r\n",
               status ? status : 200,
               status == 407 ? "Proxy-Authenticate: Basic realm=\"p\"\r\n" : "",
               status ? "Content-Length: 0\r\n" : "");
    return send_all(c, head.data, head.bytes) && !status;
}

static void serve_proxy(struct connection *c)
{
    AUTO(buf_release) struct buf rest = {0};
    for (;;) {
        struct served_request request = {0};
        bool is_read = read_request(c, &rest, &request);
        bool allows = is_read && proxy_allows(c, &request);
        buf_release(&request.headers);
        buf_release(&request.body);
        if (!is_read)
            return;
        if (!allows)
            continue;
        AUTO(close_fd) int fd = connect_to(request.path);
        if (fd >= 0)
            pipe_both(c->fd, fd);
        return;
    }
}

/* ---- connections ---- */

static void *serve(void *ctx)
{
    struct connection *c = ctx;
    sigset_t pipe_signal; /* OpenSSL writes with write(2); the client must not raise it */
    (void)sigemptyset(&pipe_signal);
    (void)sigaddset(&pipe_signal, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &pipe_signal, NULL);
    if (c->server->ssl_ctx) {
        c->ssl = SSL_new(c->server->ssl_ctx);
        require(c->ssl && SSL_set_fd(c->ssl, c->fd) == 1, "SSL_new");
    }
    if (!c->ssl || SSL_accept(c->ssl) == 1) {
        if (c->server->options.handler)
            serve_http(c);
        else
            serve_proxy(c);
    }
    SSL_free(c->ssl);
    LOCK_GUARD(&c->server->lock);
    (void)close(c->fd);
    c->fd = -1;
    return NULL;
}

static void *accept_all(void *ctx)
{
    struct http_server *server = ctx;
    for (;;) {
        int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        LOCK_GUARD(&server->lock);
        if (server->is_stopping || fd < 0) {
            if (fd >= 0)
                (void)close(fd);
            return NULL;
        }
        require(server->count < MAX_CONNECTIONS, "too many connections");
        int now = 1; /* a Unix socket has no such option */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &now, sizeof now);
        struct connection *c = xcalloc(1, sizeof *c);
        *c = (struct connection){.server = server, .fd = fd, .number = server->count + 1};
        server->connections[server->count++] = c;
        require(pthread_create(&c->thread, NULL, serve, c) == 0, "pthread_create");
    }
}

static SSL_CTX *make_ssl_ctx(const struct http_server_options *options)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    require(ctx != NULL, "SSL_CTX_new");
    if (options->only_tls11) {
        SSL_CTX_set_security_level(ctx, 0);
        require(SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION) &&
                    SSL_CTX_set_max_proto_version(ctx, TLS1_1_VERSION),
                "TLS 1.1");
    }
    require(
        SSL_CTX_use_certificate_file(ctx, options->cert_file, SSL_FILETYPE_PEM) == 1 &&
            SSL_CTX_use_PrivateKey_file(ctx, options->cert_file, SSL_FILETYPE_PEM) == 1,
        options->cert_file);
    if (options->client_ca) {
        require(SSL_CTX_load_verify_locations(ctx, options->client_ca, NULL) == 1,
                options->client_ca);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        (void)SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"k", 1);
    }
    return ctx;
}

static void listen_somewhere(struct http_server *server)
{
    const char *path = server->options.socket_path;
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)server->options.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int again = 1; /* connections of the server before it may still be closing */
    server->listen_fd = socket(path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(server->listen_fd >= 0, "socket");
    require(setsockopt(server->listen_fd, SOL_SOCKET, SO_REUSEADDR, &again,
                       sizeof again) == 0,
            "reuse");
    if (path) {
        (void)snprintf(local.sun_path, sizeof local.sun_path, "%s", path);
        require(bind(server->listen_fd, (struct sockaddr *)&local, sizeof local) == 0,
                path);
    } else {
        require(
            bind(server->listen_fd, (struct sockaddr *)&address, sizeof address) == 0 &&
                getsockname(server->listen_fd, (struct sockaddr *)&address, &length) == 0,
            "bind");
        server->port = ntohs(address.sin_port);
    }
    require(listen(server->listen_fd, 64) == 0, "listen");
}

struct http_server *http_server_start(const struct http_server_options *options)
{
    struct http_server *server = xcalloc(1, sizeof *server);
    server->options = *options;
    require(pthread_mutex_init(&server->lock, NULL) == 0, "mutex");
    if (options->cert_file)
        server->ssl_ctx = make_ssl_ctx(options);
    listen_somewhere(server);
    require(pthread_create(&server->thread, NULL, accept_all, server) == 0, "thread");
    return server;
}

void http_server_stop(struct http_server *server)
{
    {
        LOCK_GUARD(&server->lock);
        server->is_stopping = true;
        (void)shutdown(server->listen_fd, SHUT_RDWR); /* wakes accept */
        for (unsigned i = 0; i < server->count; i++)
            if (server->connections[i]->fd >= 0)
                (void)shutdown(server->connections[i]->fd, SHUT_RDWR);
    }
    (void)pthread_join(server->thread, NULL);
    (void)close(server->listen_fd);
    for (unsigned i = 0; i < server->count; i++) {
        (void)pthread_join(server->connections[i]->thread, NULL);
        free(server->connections[i]);
    }
    SSL_CTX_free(server->ssl_ctx);
    (void)pthread_mutex_destroy(&server->lock);
    free(server);
}

unsigned http_server_port(const struct http_server *server)
{
    return server->port;
}

unsigned http_server_connections(struct http_server *server)
{
    LOCK_GUARD(&server->lock);
    return server->count;
}
