/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket never blocks; every wait is a poll over the socket and the cancel token,
 * bounded by silence_ms since the last byte.
 *
 * Large reads go straight to where they belong: what lies in the buffer is copied, the
 * rest is received in place. Only headers and packed data pass through the buffer.
 *
 * Must never: read beyond a line in the dialogue (the bytes behind it may be another TLS
 * handshake); let a peer that sends one byte a minute hold a line for ever
 * (LINE_MAX_MS).
 */
#include "vsphere/nfc_stream.h"

#include "base/clock.h"
#include "base/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINE_MAX_MS      30000
#define HANDSHAKE_MAX_MS 30000
#define DIRECT_MIN_BYTES (16 * KIB) /* shorter reads are worth a copy */
#define FILL_BYTES       (64 * KIB) /* at once into the buffer: stays in the cache */

static bool lost(const struct nfc_stream *stream, const char *how, struct err *err)
{
    return err_set(err, FAIL_TRANSIENT, "NFC connection to '%s': %s", stream->peer, how);
}

enum nfc_wake nfc_stream_wait(struct nfc_stream *stream, int other_fd,
                              uint64_t timeout_ms, struct err *err)
{
    uint64_t until_ms = clock_mono_ms() + timeout_ms;
    if (stream->end > stream->start || (stream->tls && tls_has_pending(stream->tls)))
        return NFC_WAKE_DATA;
    for (;;) {
        struct pollfd p[3] = {
            {stream->fd, POLLIN, 0},
            {stream->cancel ? stream->cancel->event_fd : -1, POLLIN, 0},
            {other_fd, POLLIN, 0},
        };
        if (!cancel_check(stream->cancel, err))
            return NFC_WAKE_CANCEL;
        uint64_t now_ms = clock_mono_ms();
        uint64_t left_ms = until_ms > now_ms ? until_ms - now_ms : 0;
        int n = poll(p, ARRAY_COUNT(p), (int)MIN_OF(left_ms, 60000));
        if (n < 0 && errno != EINTR) {
            (void)err_errno(err, errno, "wait for '%s'", stream->peer);
            return NFC_WAKE_CANCEL;
        }
        if (n > 0 && p[0].revents)
            return NFC_WAKE_DATA;
        if (n > 0 && p[2].revents)
            return NFC_WAKE_OTHER;
        if (left_ms == 0)
            return NFC_WAKE_TIMEOUT;
    }
}

/* Waits for the events; the socket alone decides. */
static bool wait_ready(struct nfc_stream *stream, short events, uint64_t until_ms,
                       struct err *err)
{
    for (;;) {
        struct pollfd p[2] = {
            {stream->fd, events, 0},
            {stream->cancel ? stream->cancel->event_fd : -1, POLLIN, 0},
        };
        if (!cancel_check(stream->cancel, err))
            return false;
        uint64_t now_ms = clock_mono_ms();
        if (now_ms >= until_ms)
            return lost(stream,
                        "no answer in time; is the host overloaded or a firewall "
                        "in between?",
                        err);
        int n = poll(p, ARRAY_COUNT(p), (int)MIN_OF(until_ms - now_ms, 60000));
        if (n < 0 && errno != EINTR)
            return err_errno(err, errno, "wait for '%s'", stream->peer);
        if (n > 0 && p[0].revents)
            return true;
    }
}

static bool connect_socket(struct nfc_stream *stream, const struct sockaddr *address,
                           socklen_t address_bytes, struct err *err)
{
    int on = 1;
    int why = 0;
    socklen_t why_bytes = sizeof why;
    stream->fd =
        socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (stream->fd < 0)
        return err_errno(err, errno, "socket for '%s'", stream->peer);
    /* Requests are small and must leave at once. Both only cost speed when they fail. */
    (void)setsockopt(stream->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(stream->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (connect(stream->fd, address, address_bytes) == 0)
        return true;
    if (errno != EINPROGRESS) {
        why = errno;
    } else {
        if (!wait_ready(stream, POLLOUT, clock_mono_ms() + stream->silence_ms, err))
            return false;
        if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &why, &why_bytes) != 0)
            why = errno;
    }
    if (why == 0)
        return true;
    (void)err_errno(err, why, "connect to '%s'", stream->peer);
    err->kind = FAIL_TRANSIENT;
    return err_hint(err, "is the host up and its port open to this gateway?");
}

static bool connect_address(struct nfc_stream *stream, const char *address, uint16_t port,
                            struct err *err)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
        return connect_socket(stream, (struct sockaddr *)&v4, sizeof v4, err);
    if (inet_pton(AF_INET6, address, &v6.sin6_addr) == 1)
        return connect_socket(stream, (struct sockaddr *)&v6, sizeof v6, err);
    return err_set(err, FAIL_BUG, "'%s' is no address", address);
}

static bool connect_chosen(struct nfc_stream *stream, const struct path_choice *choice,
                           uint16_t port, const char **ret_address, struct err *err)
{
    struct err why = ERR_INIT;
    *ret_address = "";
    if (choice->proxy_url[0])
        return err_set(err, FAIL_CONFLICT,
                       "NFC connection to '%s' cannot use a proxy; take role '%s' out of "
                       "proxy_roles",
                       stream->peer, path_role_name(stream->role));
    for (size_t i = 0; i < choice->address_count; i++) {
        err_clear(&why);
        if (connect_address(stream, choice->addresses[i], port, &why)) {
            *ret_address = choice->addresses[i];
            return true;
        }
        nfc_stream_close(stream);
        if (why.kind == FAIL_CANCELED)
            break;
    }
    *err = why;
    return false;
}

bool nfc_stream_connect(struct nfc_stream *stream, const char *host, uint16_t port,
                        struct err *err)
{
    struct path_choice choice;
    const char *address;
    char url[sizeof stream->peer + 16];
    stream->fd = -1;
    (void)snprintf(stream->peer, sizeof stream->peer, "%s:%u", host, port);
    (void)snprintf(url, sizeof url,
                   strchr(host, ':') ? "https://[%s]:%u" : "https://%s:%u", host, port);
    if (!path_choose(stream->role, url, stream->cancel, &choice, err)) {
        if (err->kind == FAIL_GONE) /* of the name, not of what is asked of the host */
            err->kind = FAIL_TRANSIENT;
        return err_wrap(err, "host '%s'", host);
    }
    uint64_t begin_ms = clock_mono_ms();
    bool ok = connect_chosen(stream, &choice, port, &address, err);
    path_observe(stream->role, url, address, clock_mono_ms() - begin_ms, ok ? NULL : err);
    path_choice_release(&choice);
    return ok;
}

void nfc_stream_close(struct nfc_stream *stream)
{
    tls_free(TAKE(stream->tls));
    if (stream->fd > 0) /* a zeroed stream has none; 0 is never ours */
        (void)close(stream->fd);
    stream->fd = -1;
    free(TAKE(stream->buffer));
    stream->buffer_bytes = stream->start = stream->end = 0;
}

bool nfc_stream_tls_start(struct nfc_stream *stream, const struct tls_options *options,
                          struct err *err)
{
    uint64_t until_ms = clock_mono_ms() + HANDSHAKE_MAX_MS;
    stream->tls = tls_new(stream->fd, options, err);
    if (!stream->tls)
        return false;
    for (;;) {
        enum tls_step step = tls_handshake(stream->tls, err);
        if (step == TLS_DONE)
            return true;
        if (step == TLS_ENDED)
            return lost(stream, "the host closed it during the TLS handshake", err);
        if (step == TLS_FAILED) {
            stream->has_tls_failed = true;
            return err_wrap(err, "NFC connection to '%s'", stream->peer);
        }
        if (!wait_ready(stream, step == TLS_WANT_READ ? POLLIN : POLLOUT, until_ms, err))
            return false;
    }
}

bool nfc_stream_tls_drop(struct nfc_stream *stream, struct err *err)
{
    if (tls_has_pending(stream->tls))
        return err_set(err, FAIL_CORRUPT,
                       "NFC connection to '%s': the host spoke on after the dialogue's "
                       "last line",
                       stream->peer);
    tls_free(TAKE(stream->tls));
    return true;
}

void nfc_stream_buffer(struct nfc_stream *stream, size_t buffer_bytes)
{
    stream->buffer = xcalloc(1, buffer_bytes);
    stream->buffer_bytes = buffer_bytes;
}

/* One attempt: TLS_DONE with 1 .. out_bytes, or what to wait for. */
static enum tls_step receive_step(struct nfc_stream *stream, void *out, size_t out_bytes,
                                  size_t *ret_bytes, struct err *err)
{
    if (stream->tls)
        return tls_read(stream->tls, out, out_bytes, ret_bytes, err);
    ssize_t n = recv(stream->fd, out, out_bytes, 0);
    if (n > 0) {
        *ret_bytes = (size_t)n;
        return TLS_DONE;
    }
    if (n == 0 || errno == ECONNRESET)
        return TLS_ENDED;
    if (errno == EAGAIN || errno == EINTR)
        return TLS_WANT_READ;
    (void)err_errno(err, errno, "NFC connection to '%s'", stream->peer);
    err->kind = FAIL_TRANSIENT;
    return TLS_FAILED;
}

static bool receive(struct nfc_stream *stream, void *out, size_t out_bytes,
                    size_t *ret_bytes, uint64_t until_ms, struct err *err)
{
    for (;;) {
        enum tls_step step = receive_step(stream, out, out_bytes, ret_bytes, err);
        if (step == TLS_DONE) {
            stream->received_bytes += *ret_bytes;
            return true;
        }
        if (step == TLS_ENDED)
            return lost(stream, "the host closed it", err);
        if (step == TLS_FAILED)
            return false;
        if (!wait_ready(stream, step == TLS_WANT_READ ? POLLIN : POLLOUT, until_ms, err))
            return false;
    }
}

bool nfc_stream_read_line(struct nfc_stream *stream, char *out, size_t out_bytes,
                          struct err *err)
{
    uint64_t until_ms = clock_mono_ms() + LINE_MAX_MS;
    size_t used = 0;
    for (;;) {
        size_t n;
        char c;
        if (!receive(stream, &c, 1, &n, until_ms, err))
            return false;
        if (c == '\n')
            break;
        if (used + 1 == out_bytes)
            return err_set(err, FAIL_CORRUPT,
                           "NFC connection to '%s': a line is longer than %zu bytes; is "
                           "this an ESXi host's authd?",
                           stream->peer, out_bytes);
        out[used++] = c;
    }
    while (used > 0 && out[used - 1] == '\r')
        used--;
    out[used] = 0;
    return true;
}

bool nfc_stream_write(struct nfc_stream *stream, const void *data, size_t data_bytes,
                      struct err *err)
{
    const uint8_t *at = data;
    while (data_bytes > 0) {
        enum tls_step step = TLS_DONE;
        size_t n = 0;
        if (stream->tls) {
            step = tls_write(stream->tls, at, data_bytes, &n, err);
        } else {
            ssize_t sent = send(stream->fd, at, data_bytes, MSG_NOSIGNAL);
            if (sent >= 0)
                n = (size_t)sent;
            else
                step = errno == EAGAIN || errno == EINTR ? TLS_WANT_WRITE : TLS_ENDED;
        }
        if (step == TLS_ENDED)
            return lost(stream, "the host closed it", err);
        if (step == TLS_FAILED)
            return false;
        if (step != TLS_DONE &&
            !wait_ready(stream, step == TLS_WANT_READ ? POLLIN : POLLOUT,
                        clock_mono_ms() + stream->silence_ms, err))
            return false;
        at += n;
        data_bytes -= n;
    }
    return true;
}

/* Makes at least data_bytes lie in the buffer in one run. */
static bool fill(struct nfc_stream *stream, size_t data_bytes, struct err *err)
{
    if (data_bytes > stream->buffer_bytes)
        return err_set(err, FAIL_BUG, "%zu bytes do not fit a buffer of %zu", data_bytes,
                       stream->buffer_bytes);
    if (stream->start == stream->end)
        stream->start = stream->end = 0;
    if (stream->start + data_bytes > stream->buffer_bytes) {
        memmove(stream->buffer, stream->buffer + stream->start,
                stream->end - stream->start);
        stream->end -= stream->start;
        stream->start = 0;
    }
    while (stream->end - stream->start < data_bytes) {
        size_t n;
        size_t room = stream->buffer_bytes - stream->end;
        size_t wanted = MAX_OF(data_bytes - (stream->end - stream->start), FILL_BYTES);
        if (!receive(stream, stream->buffer + stream->end, MIN_OF(room, wanted), &n,
                     clock_mono_ms() + stream->silence_ms, err))
            return false;
        stream->end += n;
    }
    return true;
}

const uint8_t *nfc_stream_borrow(struct nfc_stream *stream, size_t data_bytes,
                                 struct err *err)
{
    if (!fill(stream, data_bytes, err))
        return NULL;
    const uint8_t *data = stream->buffer + stream->start;
    stream->start += data_bytes;
    return data;
}

bool nfc_stream_read(struct nfc_stream *stream, void *out, size_t out_bytes,
                     struct err *err)
{
    uint8_t *at = out;
    size_t ready = MIN_OF(stream->end - stream->start, out_bytes);
    if (ready) {
        memcpy(at, stream->buffer + stream->start, ready);
        stream->start += ready;
        at += ready;
        out_bytes -= ready;
    }
    while (out_bytes >= DIRECT_MIN_BYTES || (out_bytes && !stream->buffer)) {
        size_t n;
        if (!receive(stream, at, out_bytes, &n, clock_mono_ms() + stream->silence_ms,
                     err))
            return false;
        at += n;
        out_bytes -= n;
    }
    const uint8_t *rest = out_bytes ? nfc_stream_borrow(stream, out_bytes, err) : at;
    if (!rest)
        return false;
    if (out_bytes)
        memcpy(at, rest, out_bytes);
    return true;
}
