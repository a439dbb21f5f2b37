/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread accepts, one per connection serves. Faults are chosen by the number of the
 * connection, so that a test says in one line what the first, second ... attempt meets.
 */
#include "fake_nfc.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/text.h"
#include "fake_pack.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#define CONNECTIONS_MAX 64
#define FRAME           264
#define READS_MAX       64

struct fake_nfc {
    struct fake_nfc_options options;
    int listen_fd;
    uint16_t port;
    pthread_t thread;
    pthread_mutex_t lock;
    struct fake_nfc_seen seen;
    uint32_t tickets;   /* handed out */
    bool is_used[4096]; /* ticket n was presented */
    bool has_refused_once;
    pthread_t connections[CONNECTIONS_MAX];
    int fds[CONNECTIONS_MAX];
    uint32_t connection_count;
    _Atomic bool is_stopping;
};

/* Made once: a key takes longer than most tests. Never freed, as static data is. */
static struct {
    EVP_PKEY *key;
    X509 *certificate;
    X509 *other_certificate;
    char sha1[3 * 20 + 1];
    char sha256[3 * 32 + 1];
} identity;
static pthread_once_t identity_once = PTHREAD_ONCE_INIT;

struct peer {
    struct fake_nfc *fake;
    int fd;
    SSL *ssl;
    enum fake_fault fault;
    uint32_t pieces; /* sent */
    uint64_t seed;
};

struct asked {
    uint32_t op_id;
    uint32_t compression;
    uint64_t offset;
    uint32_t length;
    uint32_t done;
};

static uint64_t prng(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void count(struct fake_nfc *fake, uint32_t *what)
{
    LOCK_GUARD(&fake->lock);
    ++*what;
}

/* ---- bytes ---- */

static bool get(struct peer *peer, void *out, size_t bytes)
{
    uint8_t *at = out;
    while (bytes > 0) {
        size_t n = 0;
        if (peer->ssl) {
            if (SSL_read_ex(peer->ssl, at, bytes, &n) != 1)
                return false;
        } else {
            ssize_t got = recv(peer->fd, at, bytes, 0);
            if (got <= 0)
                return false;
            n = (size_t)got;
        }
        at += n;
        bytes -= n;
    }
    return true;
}

static bool put_all(struct peer *peer, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    while (bytes > 0) {
        size_t n = bytes;
        if (peer->fake->options.trickles)
            n = 1 + prng(&peer->seed) % 700;
        n = MIN_OF(n, bytes);
        if (peer->ssl) {
            if (SSL_write_ex(peer->ssl, at, n, &n) != 1)
                return false;
        } else {
            ssize_t sent = send(peer->fd, at, n, MSG_NOSIGNAL);
            if (sent <= 0)
                return false;
            n = (size_t)sent;
        }
        at += n;
        bytes -= n;
    }
    return true;
}

static bool say(struct peer *peer, const char *text)
{
    return put_all(peer, text, strlen(text));
}

static bool line(struct peer *peer, char out[512])
{
    size_t used = 0;
    while (used < 511) {
        if (!get(peer, out + used, 1))
            return false;
        if (out[used] == '\n') {
            out[used] = 0;
            return used > 0 && out[used - 1] == '\r';
        }
        used++;
    }
    return false;
}

/* ---- authd ---- */

static bool start_tls(struct peer *peer, X509 *certificate)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    (void)SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
    (void)SSL_CTX_use_certificate(ctx, certificate);
    (void)SSL_CTX_use_PrivateKey(ctx, identity.key);
    peer->ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    (void)SSL_set_fd(peer->ssl, peer->fd);
    SSL_set_quiet_shutdown(peer->ssl, 1);
    return SSL_accept(peer->ssl) == 1;
}

static bool session(struct peer *peer)
{
    char text[512];
    unsigned number = 0;
    if (!line(peer, text) || sscanf(text, "SESSION ticket-%u\r", &number) != 1)
        return false;
    bool ok = false;
    {
        LOCK_GUARD(&peer->fake->lock);
        ok = number < peer->fake->tickets && !peer->fake->is_used[number];
        if (number < ARRAY_COUNT(peer->fake->is_used))
            peer->fake->is_used[number] = true;
        if (ok)
            peer->fake->seen.sessions++;
        else
            peer->fake->seen.wrong_tickets++;
    }
    if (!line(peer, text) || strcmp(text, "BANNER \r") != 0)
        return false;
    if (!ok || peer->fault == FAKE_REFUSES_SESSION)
        return say(peer, "530 Login incorrect\r\n") && false;
    return say(peer, "220 VMware Authentication Daemon Version 1.10\r\n");
}

static bool proxy(struct peer *peer, bool *ret_ssl)
{
    char text[512];
    if (!line(peer, text))
        return false;
    if (!peer->fake->options.has_no_sha2) {
        char answer[160];
        if (strcmp(text, "THUMBPRINT_SHA2 PlainText\r") != 0)
            return false;
        (void)snprintf(answer, sizeof answer, "200 %s\r\n", identity.sha256);
        if (!say(peer, answer) || !line(peer, text))
            return false;
    }
    *ret_ssl = strcmp(text, "PROXY vpxa-nfcssl\r") == 0;
    if (peer->fault == FAKE_REFUSES_PROXY ||
        (!*ret_ssl && strcmp(text, "PROXY vpxa-nfc\r") != 0))
        return say(peer, "530 No such service\r\n") && false;
    if (peer->fault == FAKE_SPEAKS_ON)
        return say(peer, "200 Connect ha-nfc\r\nsurprise");
    return say(peer, *ret_ssl ? "200 Connect ha-nfcssl\r\n" : "200 Connect ha-nfc\r\n");
}

static bool authd(struct peer *peer)
{
    bool is_ssl = false;
    uint8_t first;
    if (peer->fault == FAKE_GREETS_BUSY)
        return say(peer, "521 too many sessions\r\n") && false;
    if (peer->fault == FAKE_GREETS_STRANGELY)
        return say(peer, "SSH-2.0-OpenSSH_9.2\r\n") && false;
    if (peer->fault == FAKE_LONG_LINE) {
        static const char many[8192] = {'x'};
        return put_all(peer, many, sizeof many) && false;
    }
    if (!say(peer, peer->fake->options.has_no_sha2
                       ? "220 VMware Authentication Daemon Version 1.10: SSL Required\r\n"
                       : "220 VMware Authentication Daemon Version 1.10: SSL Required, "
                         "NFCSSL supported/t, SHA256 supported\r\n"))
        return false;
    if (peer->fault == FAKE_CLOSES_AT_TLS)
        return false;
    if (!start_tls(peer, identity.certificate) || !session(peer) || !proxy(peer, &is_ssl))
        return false;
    SSL_free(peer->ssl);
    peer->ssl = NULL;
    if (recv(peer->fd, &first, 1, MSG_PEEK) != 1)
        return false;
    if (first == 0x15)
        count(peer->fake, &peer->fake->seen.alerts);
    if (!is_ssl) {
        count(peer->fake, &peer->fake->seen.plain);
        return true;
    }
    return start_tls(peer, peer->fault == FAKE_OTHER_TLS2 ? identity.other_certificate
                                                          : identity.certificate);
}

/* ---- classic ---- */

static bool answer_frame(struct peer *peer, uint32_t type, size_t at, uint32_t value)
{
    uint8_t frame[FRAME] = {0};
    put_u32le(frame, type);
    if (at)
        put_u32le(frame + at, value);
    return put_all(peer, frame, sizeof frame);
}

static bool expect_frame(struct peer *peer, uint32_t type, uint8_t frame[FRAME])
{
    return get(peer, frame, FRAME) && get_u32le(frame) == type;
}

static bool classic(struct peer *peer)
{
    uint8_t frame[FRAME];
    char names[200];
    if (!get(peer, frame, FRAME))
        return false;
    bool has_handshake = get_u32le(frame) == 43;
    if (has_handshake) {
        count(peer->fake, &peer->fake->seen.handshakes);
        if (memcmp(frame + 4, "PlainText", 10) != 0)
            return false;
    }
    if ((has_handshake && peer->fault == FAKE_REFUSES_HANDSHAKE) ||
        (!has_handshake && peer->fault == FAKE_NEEDS_HANDSHAKE))
        return answer_frame(peer, 4, 0, 0) && false;
    if (has_handshake && !get(peer, frame, FRAME))
        return false;
    if (get_u32le(frame) != 33 ||
        !answer_frame(peer, 36, 16, peer->fault == FAKE_NO_AIO_FLAG ? 0 : 1) ||
        !expect_frame(peer, 51, frame) || get_u32le(frame + 4) != 11 ||
        !answer_frame(peer, 51, 4, 11) || !expect_frame(peer, 54, frame))
        return false;
    size_t names_bytes = get_u32le(frame + 4) + get_u32le(frame + 8);
    return names_bytes < sizeof names && get(peer, names, names_bytes) &&
           expect_frame(peer, 55, frame) && expect_frame(peer, 52, frame) &&
           answer_frame(peer, 52, 0, 0);
}

/* ---- AIO ---- */

static void header(uint8_t out[16], uint32_t type, uint32_t bytes, uint32_t op_id)
{
    put_u32le(out, 0xa100da7a);
    put_u32le(out + 4, type);
    put_u32le(out + 8, bytes);
    put_u32le(out + 12, op_id);
}

static bool message(struct peer *peer, uint32_t type, uint32_t op_id, const void *payload,
                    uint32_t bytes)
{
    uint8_t out[16 + 256];
    header(out, type, bytes, op_id);
    memcpy(out + 16, payload, bytes);
    return put_all(peer, out, 16 + bytes);
}

static bool error(struct peer *peer, uint32_t op_id, uint32_t code, const char *text)
{
    uint8_t payload[128] = {0};
    put_u32le(payload, code);
    memcpy(payload + 8, text, strlen(text));
    return message(peer, 1, op_id, payload, sizeof payload);
}

static bool open_file(struct peer *peer, uint32_t op_id, const uint8_t *payload)
{
    uint8_t answer[60] = {0};
    char path[4096];
    uint32_t path_bytes = get_u32le(payload);
    if (path_bytes >= sizeof path || !get(peer, path, path_bytes))
        return false;
    path[path_bytes] = 0;
    if (peer->fault == FAKE_REFUSES_FILE || strcmp(path, "[ds 1] v/\xc3\xa4.vmdk") != 0)
        return error(peer, op_id, 11,
                     "NfcAioProcessOpenFileMsg: permission check failed");
    if (get_u32le(payload + 16) != 2 || get_u32le(payload + 20) != 0x1e)
        return false;
    put_u64le(answer + 8, 0x1122334455667788u);
    put_u32le(answer + 16, 2);
    put_u32le(answer + 20, 0x1e);
    put_u64le(answer + 28, peer->fake->options.disk_bytes +
                               (peer->fault == FAKE_OTHER_SIZE ? 512 : 0));
    return message(peer, 4, op_id, answer, sizeof answer);
}

/* One piece, built in `out` (16 + 44 + packed); its length is returned. */
static size_t build_piece(struct peer *peer, const struct asked *asked, uint32_t at,
                          uint32_t bytes, uint8_t *out)
{
    const uint8_t *plain = peer->fake->options.disk + asked->offset + at;
    uint32_t method = asked->compression;
    if (peer->fake->options.mixes && prng(&peer->seed) % 3 == 0)
        method = 0;
    size_t packed = fake_pack(method, plain, bytes, out + 60, bytes - 1);
    if (packed == 0) {
        method = 0;
        packed = bytes;
        memcpy(out + 60, plain, bytes);
    }
    memset(out, 0, 60);
    header(out, 7, 44, asked->op_id);
    put_u32le(out + 16 + 8, 1);
    put_u32le(out + 16 + 12, method);
    put_u64le(out + 16 + 16, asked->offset);
    put_u32le(out + 16 + 24, asked->length);
    put_u32le(out + 16 + 28, at);
    put_u32le(out + 16 + 32, bytes);
    put_u32le(out + 16 + 36, (uint32_t)packed);
    return 60 + packed;
}

static void stall(struct peer *peer)
{
    while (!peer->fake->is_stopping)
        clock_sleep_ms(10);
}

/* Sends one piece, spoiled when it is its turn. */
static bool send_piece(struct peer *peer, const struct asked *asked, uint32_t at,
                       uint32_t bytes)
{
    AUTO(free) uint8_t *out = xcalloc(1, 60 + (size_t)bytes);
    size_t length = build_piece(peer, asked, at, bytes, out);
    bool is_due = peer->pieces++ >= peer->fake->options.fault_after;
    switch (is_due ? peer->fault : FAKE_OK) {
    case FAKE_CUT_HEADER:
        return put_all(peer, out, 9) && false;
    case FAKE_CUT_DATA:
        return put_all(peer, out, length - 3) && false;
    case FAKE_STALLS:
        (void)put_all(peer, out, length / 2);
        stall(peer);
        return false;
    case FAKE_BAD_MAGIC:
        out[1] ^= 1;
        break;
    case FAKE_HUGE_PAYLOAD:
        put_u32le(out + 8, 0xfffffff0);
        break;
    case FAKE_DUPLICATE:
        (void)put_all(peer, out, length);
        break;
    case FAKE_OVERFLOW:
        put_u32le(out + 16 + 28, asked->length - 512);
        put_u32le(out + 16 + 32, 1024);
        break;
    case FAKE_ZERO_PIECE:
        put_u32le(out + 16 + 32, 0);
        break;
    case FAKE_FOREIGN_OP:
        put_u32le(out + 12, asked->op_id + 1000);
        break;
    case FAKE_UNKNOWN_TYPE:
        put_u32le(out + 4, 77);
        break;
    case FAKE_ERROR:
        return error(peer, asked->op_id, 0x1234, "something else");
    case FAKE_OUT_OF_MEMORY:
        return error(peer, asked->op_id, 5,
                     "Failed to allocate the requested 65560 bytes");
    case FAKE_BAD_PACKED:
        put_u32le(out + 16 + 12, 1); /* says zlib, is not */
        put_u32le(out + 16 + 36, (uint32_t)length - 60);
        break;
    case FAKE_WRONG_OFFSET:
        put_u64le(out + 16 + 16, asked->offset + 512);
        break;
    default:
        break;
    }
    return put_all(peer, out, length);
}

static bool serve_reads(struct peer *peer, struct asked *asked, size_t asked_count)
{
    struct fake_nfc_options *options = &peer->fake->options;
    uint32_t piece_bytes = options->piece_bytes ? options->piece_bytes : 65536;
    struct piece {
        size_t asked;
        uint32_t at;
    } *pieces = xcalloc(READS_MAX * (MIB / 512), sizeof *pieces);
    size_t piece_count = 0;
    for (size_t i = 0; i < asked_count; i++)
        for (uint32_t at = 0; at < asked[i].length; at += piece_bytes)
            pieces[piece_count++] = (struct piece){i, at};
    for (size_t i = piece_count; options->shuffles && i > 1; i--) {
        size_t other = prng(&peer->seed) % i;
        struct piece swap = pieces[i - 1];
        pieces[i - 1] = pieces[other];
        pieces[other] = swap;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < piece_count; i++) {
        const struct asked *one = &asked[pieces[i].asked];
        ok = send_piece(peer, one, pieces[i].at,
                        MIN_OF(piece_bytes, one->length - pieces[i].at));
    }
    free(pieces);
    return ok;
}

/* More requests are at hand. */
static bool has_more(struct peer *peer)
{
    struct pollfd p = {peer->fd, POLLIN, 0};
    return (peer->ssl && SSL_pending(peer->ssl) > 0) || poll(&p, 1, 5) == 1;
}

static bool take_read(struct peer *peer, uint32_t op_id, const uint8_t *payload,
                      struct asked *ret)
{
    *ret = (struct asked){.op_id = op_id,
                          .compression = get_u32le(payload + 12),
                          .offset = get_u64le(payload + 16),
                          .length = get_u32le(payload + 24)};
    if (get_u32le(payload + 8) != 1) {
        count(peer->fake, &peer->fake->seen.written);
        return false;
    }
    count(peer->fake, &peer->fake->seen.reads);
    return get_u64le(payload) == 0x1122334455667788u && ret->length <= MIB &&
           ret->length > 0 && ret->offset + ret->length <= peer->fake->options.disk_bytes;
}

static bool open_session(struct peer *peer, uint32_t op_id, const uint8_t *payload)
{
    static const uint8_t zeros[16];
    bool is_big = get_u32le(payload + 4) > 65536 || get_u32le(payload + 8) > 1;
    if (peer->fault == FAKE_REFUSES_BUFFERS && is_big)
        return error(peer, op_id, 0x16, "Invalid argument");
    return message(peer, 2, op_id, zeros, sizeof zeros);
}

static bool control(struct peer *peer, uint32_t type, uint32_t op_id,
                    const uint8_t *payload, uint32_t bytes)
{
    static const uint8_t zeros[64];
    uint8_t frame[FRAME];
    if (type == 2 && bytes == 16)
        return open_session(peer, op_id, payload);
    if (type == 9 && bytes == 12)
        return message(peer, 9, op_id, zeros, 12);
    if (type == 22 && bytes == 4 && get_u32le(payload) == 1)
        return message(peer, 22, op_id, zeros, 4);
    if (type == 4 && bytes == 60)
        return open_file(peer, op_id, payload);
    if (type == 5 && bytes == 8)
        return message(peer, 5, op_id, zeros, 8);
    if (type != 3 || bytes != 4 || !message(peer, 3, op_id, zeros, 4))
        return false;
    if (expect_frame(peer, 4, frame))
        count(peer->fake, &peer->fake->seen.goodbyes);
    return false;
}

static void aio(struct peer *peer)
{
    struct asked asked[READS_MAX];
    size_t asked_count = 0;
    uint8_t raw[16];
    uint8_t payload[256];
    for (uint32_t op_id = 0;; op_id++) {
        if (asked_count > 0 && (asked_count == READS_MAX || !has_more(peer))) {
            {
                LOCK_GUARD(&peer->fake->lock);
                peer->fake->seen.asked_at_once =
                    MAX_OF(peer->fake->seen.asked_at_once, (uint32_t)asked_count);
            }
            clock_sleep_ms(peer->fake->options.delay_ms);
            if (!serve_reads(peer, asked, asked_count))
                return;
            asked_count = 0;
        }
        if (!get(peer, raw, 16) || get_u32le(raw) != 0xa100da7a)
            return;
        uint32_t bytes = get_u32le(raw + 8);
        if (bytes > sizeof payload || get_u32le(raw + 12) != op_id ||
            !get(peer, payload, bytes))
            return;
        if (get_u32le(raw + 4) != 7) {
            if (!control(peer, get_u32le(raw + 4), op_id, payload, bytes))
                return;
        } else if (bytes != 44 ||
                   !take_read(peer, op_id, payload, &asked[asked_count++])) {
            return;
        }
    }
}

/* ---- life ---- */

static void *serve(void *context)
{
    struct peer *peer = context;
    sigset_t set; /* OpenSSL's own socket BIO: only here, the client must not need it */
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (authd(peer) && classic(peer))
        aio(peer);
    SSL_free(peer->ssl);
    (void)shutdown(peer->fd, SHUT_RDWR); /* closed by fake_nfc_stop: the number stays */
    free(peer);
    return NULL;
}

static enum fake_fault fault_of(const struct fake_nfc_options *options, uint32_t number)
{
    enum fake_fault last = FAKE_OK;
    if (number < FAKE_FAULTS_MAX && (options->faults[number] || !options->is_stuck))
        return options->faults[number];
    for (size_t i = 0; options->is_stuck && i < FAKE_FAULTS_MAX; i++)
        if (options->faults[i])
            last = options->faults[i];
    return last;
}

static void *accept_all(void *context)
{
    struct fake_nfc *fake = context;
    int on = 1;
    for (;;) {
        int fd = accept4(fake->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 || fake->is_stopping || fake->connection_count == CONNECTIONS_MAX) {
            if (fd >= 0)
                (void)close(fd);
            return NULL;
        }
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct peer *peer = xcalloc(1, sizeof *peer);
        uint32_t number = fake->connection_count;
        *peer = (struct peer){.fake = fake,
                              .fd = fd,
                              .fault = fault_of(&fake->options, number),
                              .seed = number};
        fake->fds[number] = fd;
        count(fake, &fake->seen.connections);
        if (pthread_create(&fake->connections[number], NULL, serve, peer) != 0)
            abort();
        fake->connection_count++;
    }
}

static X509 *make_certificate(EVP_PKEY *key, long serial)
{
    X509 *certificate = X509_new();
    (void)ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial);
    (void)X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    (void)X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    (void)X509_set_pubkey(certificate, key);
    if (X509_sign(certificate, key, EVP_sha256()) == 0)
        abort();
    return certificate;
}

static void colons(const X509 *certificate, const EVP_MD *method, char *out)
{
    uint8_t digest[32];
    unsigned bytes = 0;
    if (X509_digest(certificate, method, digest, &bytes) != 1)
        abort();
    for (unsigned i = 0; i < bytes; i++)
        (void)snprintf(out + 3 * i, 4, i + 1 < bytes ? "%02X:" : "%02X", digest[i]);
}

static void make_identity(void)
{
    identity.key = EVP_RSA_gen(2048);
    identity.certificate = make_certificate(identity.key, 1);
    identity.other_certificate = make_certificate(identity.key, 2);
    colons(identity.certificate, EVP_sha1(), identity.sha1);
    colons(identity.certificate, EVP_sha256(), identity.sha256);
}

struct fake_nfc *fake_nfc_start(const struct fake_nfc_options *options)
{
    struct fake_nfc *fake = xcalloc(1, sizeof *fake);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    fake->options = *options;
    (void)pthread_mutex_init(&fake->lock, NULL);
    (void)pthread_once(&identity_once, make_identity);
    fake->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fake->listen_fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fake->listen_fd, 16) != 0 ||
        getsockname(fake->listen_fd, (struct sockaddr *)&address, &bytes) != 0 ||
        pthread_create(&fake->thread, NULL, accept_all, fake) != 0)
        abort();
    fake->port = ntohs(address.sin_port);
    return fake;
}

void fake_nfc_stop(struct fake_nfc *fake)
{
    fake->is_stopping = true;
    (void)shutdown(fake->listen_fd, SHUT_RDWR);
    (void)pthread_join(fake->thread, NULL);
    for (uint32_t i = 0; i < fake->connection_count; i++) {
        (void)shutdown(fake->fds[i], SHUT_RDWR);
        (void)pthread_join(fake->connections[i], NULL);
        (void)close(fake->fds[i]);
    }
    (void)close(fake->listen_fd);
    free(fake);
}

void fake_nfc_seen(struct fake_nfc *fake, struct fake_nfc_seen *ret)
{
    LOCK_GUARD(&fake->lock);
    *ret = fake->seen;
}

bool fake_nfc_ticket(void *arg, const struct cancel *cancel, struct vim_ticket *ret,
                     struct err *err)
{
    struct fake_nfc *fake = arg;
    LOCK_GUARD(&fake->lock);
    *ret = (struct vim_ticket){.port = fake->port, .service = "vpxa-nfc"};
    if (!fake->options.names_no_host)
        text_copy(ret->host, sizeof ret->host, "127.0.0.1");
    text_copy(ret->ssl_thumbprint, sizeof ret->ssl_thumbprint, identity.sha1);
    (void)snprintf(ret->session_id, sizeof ret->session_id, "ticket-%u", fake->tickets++);
    return cancel_check(cancel, err);
}

bool fake_nfc_wrong_ticket(void *arg, const struct cancel *cancel, struct vim_ticket *ret,
                           struct err *err)
{
    bool ok = fake_nfc_ticket(arg, cancel, ret, err);
    ret->ssl_thumbprint[0] = ret->ssl_thumbprint[0] == '0' ? '1' : '0';
    return ok;
}

void fake_nfc_target(struct fake_nfc *fake, struct nfc_target *ret)
{
    *ret = (struct nfc_target){.ticket = fake_nfc_ticket,
                               .arg = fake,
                               .default_host = "127.0.0.1",
                               .lib_version = 11,
                               .silence_ms = 400,
                               .quirks = nfc_quirks_default()};
}
