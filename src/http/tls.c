/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL over a BIO of our own: OpenSSL's socket BIO writes with write(2), which raises
 * SIGPIPE when the peer has gone; ours uses send with MSG_NOSIGNAL and never closes the
 * descriptor.
 *
 * T1  nothing is sent by tls_free: only SSL_shutdown sends close_notify, and it is never
 *     called. VMware's authd goes on in the same TCP connection after TLS was dropped and
 *     would take an alert for data.
 * T2  without read_ahead OpenSSL asks the socket for exactly the bytes of one record, so
 *     what follows the last record stays in the socket.
 * T3  one SSL_CTX per stream: it is made once per connection, and two streams never share
 *     sessions (a resumed one would show no certificate).
 */
#include "http/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

/* Room for several records of 16 KiB: one recv brings them. */
#define READ_AHEAD_BYTES (256 * KIB)

struct tls {
    int fd;
    int sys_errno; /* of the socket's last failure; 0: none */
    SSL_CTX *ctx;
    SSL *ssl;
};

static int bio_write(BIO *bio, const char *data, int data_bytes)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t n = send(tls->fd, data, (size_t)data_bytes, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    else if (n < 0)
        tls->sys_errno = errno;
    return (int)n;
}

static int bio_read(BIO *bio, char *data, int data_bytes)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t n = recv(tls->fd, data, (size_t)data_bytes, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    else if (n < 0)
        tls->sys_errno = errno;
    else if (n == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return (int)n;
}

static long bio_ctrl(BIO *bio, int cmd, long number, void *pointer)
{
    (void)number;
    (void)pointer;
    if (cmd == BIO_CTRL_EOF)
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    return cmd == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method;
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static void make_bio_method(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "kedge socket");
    if (bio_method && (!BIO_meth_set_write(bio_method, bio_write) ||
                       !BIO_meth_set_read(bio_method, bio_read) ||
                       !BIO_meth_set_ctrl(bio_method, bio_ctrl))) {
        BIO_meth_free(bio_method);
        bio_method = NULL;
    }
}

/* The library's oldest reason, and its queue emptied. */
static const char *library_reason(char out[160])
{
    unsigned long code = ERR_get_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    (void)snprintf(out, 160, "%s", reason ? reason : "no reason given");
    ERR_clear_error();
    return out;
}

static bool is_address(const char *name)
{
    struct in6_addr address;
    return inet_pton(AF_INET, name, &address) == 1 ||
           inet_pton(AF_INET6, name, &address) == 1;
}

static bool verify_chain(struct tls *tls, const struct tls_options *options)
{
    const char *name = options->verified_name;
    SSL_set_verify(tls->ssl, SSL_VERIFY_PEER, NULL);
    if (options->ca_file ? !SSL_CTX_load_verify_file(tls->ctx, options->ca_file)
                         : !SSL_CTX_set_default_verify_paths(tls->ctx))
        return false;
    return is_address(name)
               ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl), name) == 1
               : SSL_set1_host(tls->ssl, name) == 1;
}

static bool set_up(struct tls *tls, const struct tls_options *options)
{
    const char *name = options->server_name;
    bool has_name = name && *name && !is_address(name);
    tls->ctx = SSL_CTX_new(TLS_client_method());
    if (!tls->ctx || !SSL_CTX_set_min_proto_version(tls->ctx, TLS1_2_VERSION))
        return false;
    SSL_CTX_set_verify(tls->ctx, SSL_VERIFY_NONE, NULL); /* by fingerprint instead */
    (void)SSL_CTX_set_session_cache_mode(tls->ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_options(tls->ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                                            SSL_OP_NO_COMPRESSION |
                                            SSL_OP_IGNORE_UNEXPECTED_EOF);
    (void)SSL_CTX_set_mode(tls->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                         SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (options->legacy)
        SSL_CTX_set_security_level(tls->ctx, 1);
    tls->ssl = SSL_new(tls->ctx);
    if (!tls->ssl || (has_name && !SSL_set_tlsext_host_name(tls->ssl, name)))
        return false;
    if (options->verified_name && !verify_chain(tls, options))
        return false;
    SSL_set_quiet_shutdown(tls->ssl, 1);
    SSL_set_read_ahead(tls->ssl, options->read_ahead);
    if (options->read_ahead)
        SSL_set_default_read_buffer_len(tls->ssl, READ_AHEAD_BYTES);
    BIO *bio = bio_method ? BIO_new(bio_method) : NULL;
    if (!bio)
        return false;
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_connect_state(tls->ssl);
    return true;
}

struct tls *tls_new(int fd, const struct tls_options *options, struct err *err)
{
    AUTO(tls_free) struct tls *tls = xcalloc(1, sizeof *tls);
    char reason[160];
    (void)pthread_once(&bio_once, make_bio_method);
    tls->fd = fd;
    ERR_clear_error();
    if (!set_up(tls, options)) {
        (void)err_set(err, FAIL_BUG, "TLS could not be set up: %s",
                      library_reason(reason));
        return NULL;
    }
    return TAKE(tls);
}

void tls_free(struct tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl);
    SSL_CTX_free(tls->ctx);
    free(tls);
}

/* What SSL_get_error makes of a call that did not succeed. */
static enum tls_step explain(struct tls *tls, int result, struct err *err)
{
    char reason[160];
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_ENDED;
    case SSL_ERROR_SYSCALL:
        ERR_clear_error();
        if (!tls->sys_errno || tls->sys_errno == ECONNRESET || tls->sys_errno == EPIPE)
            return TLS_ENDED;
        (void)err_errno(err, tls->sys_errno, "TLS connection");
        err->kind = FAIL_TRANSIENT;
        return TLS_FAILED;
    default:
        if (SSL_is_init_finished(tls->ssl))
            (void)err_set(err, FAIL_CORRUPT, "TLS connection: %s",
                          library_reason(reason));
        else
            (void)err_set(err, FAIL_AUTH, "TLS handshake failed: %s",
                          library_reason(reason));
        return TLS_FAILED;
    }
}

enum tls_step tls_handshake(struct tls *tls, struct err *err)
{
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    return result == 1 ? TLS_DONE : explain(tls, result, err);
}

enum tls_step tls_read(struct tls *tls, void *data, size_t data_bytes, size_t *ret_bytes,
                       struct err *err)
{
    ERR_clear_error();
    int result = SSL_read_ex(tls->ssl, data, data_bytes, ret_bytes);
    return result == 1 ? TLS_DONE : explain(tls, result, err);
}

enum tls_step tls_write(struct tls *tls, const void *data, size_t data_bytes,
                        size_t *ret_bytes, struct err *err)
{
    ERR_clear_error();
    int result = SSL_write_ex(tls->ssl, data, data_bytes, ret_bytes);
    return result == 1 ? TLS_DONE : explain(tls, result, err);
}

bool tls_has_pending(const struct tls *tls)
{
    return SSL_has_pending(tls->ssl) == 1;
}

bool tls_peer_get(const struct tls *tls, struct tls_peer *ret, struct err *err)
{
    X509 *certificate = SSL_get0_peer_certificate(tls->ssl);
    if (!certificate || X509_digest(certificate, EVP_sha1(), ret->sha1, NULL) != 1 ||
        X509_digest(certificate, EVP_sha256(), ret->sha256, NULL) != 1)
        return err_set(err, FAIL_AUTH, "TLS: the server showed no certificate");
    return true;
}
