/* SPDX-License-Identifier: Apache-2.0 */
/* TLS over a socket of our own: whom it trusts, what it tells of the peer, its end. */
#include "http/tls.h"

#include "base/file.h"
#include "base/text.h"
#include "support/http_server.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <cmocka.h>

static char dir[64];

static char *in_dir(const char *name)
{
    return file_join(dir, name);
}

static int set_up(void **state)
{
    (void)state;
    text_copy(dir, sizeof dir, "/tmp/kedge-tls-XXXXXX");
    assert_non_null(mkdtemp(dir));
    test_certs_make(dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    assert_true(file_remove_tree(dir, &err));
    return 0;
}

static void answer(void *ctx, const struct served_request *request,
                   struct served_reply *reply)
{
    (void)ctx;
    buf_printf(&reply->body, "you asked %s", request->path);
}

static struct http_server *serve(const char *cert_file, bool only_tls11)
{
    struct http_server_options options = {
        .handler = answer, .cert_file = cert_file, .only_tls11 = only_tls11};
    return http_server_start(&options);
}

static int dial(const struct http_server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)http_server_port(server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static void wait_for(int fd, enum tls_step step)
{
    struct pollfd p = {fd, step == TLS_WANT_READ ? POLLIN : POLLOUT, 0};
    assert_int_equal(poll(&p, 1, 10000), 1);
}

static enum tls_step shake(struct tls *tls, int fd, struct err *err)
{
    for (;;) {
        enum tls_step step = tls_handshake(tls, err);
        if (step != TLS_WANT_READ && step != TLS_WANT_WRITE)
            return step;
        wait_for(fd, step);
    }
}

/* The handshake's result with a server that has that certificate. */
static enum tls_step try(const char *cert_name, const struct tls_options *options,
                         struct err *err)
{
    AUTO(free) char *path = cert_name ? in_dir(cert_name) : NULL;
    struct http_server *server = serve(path, false);
    int fd = dial(server);
    struct tls *tls = tls_new(fd, options, err);
    assert_non_null(tls);
    enum tls_step step = shake(tls, fd, err);
    tls_free(tls);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC); /* still open */
    (void)close(fd);
    http_server_stop(server);
    return step;
}

static void bytes_and_fingerprints(void **state)
{
    (void)state;
    AUTO(free) char *path = in_dir("self.pem");
    struct http_server *server = serve(path, false);
    for (int read_ahead = 0; read_ahead < 2; read_ahead++) {
        static const char request[] = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
        struct err err = ERR_INIT;
        struct tls_options options = {.read_ahead = read_ahead};
        struct tls_peer peer;
        uint8_t wanted[32];
        char got[2000] = "";
        size_t used = 0;
        int fd = dial(server);
        AUTO(tls_free) struct tls *tls = tls_new(fd, &options, &err);
        assert_int_equal(shake(tls, fd, &err), TLS_DONE);
        assert_true(tls_peer_get(tls, &peer, &err));
        FILE *file = fopen(path, "r");
        X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
        (void)fclose(file);
        assert_int_equal(X509_digest(certificate, EVP_sha1(), wanted, NULL), 1);
        assert_memory_equal(wanted, peer.sha1, sizeof peer.sha1);
        assert_int_equal(X509_digest(certificate, EVP_sha256(), wanted, NULL), 1);
        assert_memory_equal(wanted, peer.sha256, sizeof peer.sha256);
        X509_free(certificate);
        size_t sent;
        assert_int_equal(tls_write(tls, request, sizeof request - 1, &sent, &err),
                         TLS_DONE);
        assert_int_equal(sent, sizeof request - 1);
        while (!strstr(got, "you asked /x")) {
            size_t n;
            enum tls_step step = tls_read(tls, got + used, 1, &n, &err);
            if (step == TLS_DONE)
                used += n;
            else
                wait_for(fd, step);
            assert_true(used < sizeof got - 1);
        }
        assert_false(tls_has_pending(tls));
        (void)close(fd);
    }
    http_server_stop(server);
}

static void chain_and_name(void **state)
{
    (void)state;
    AUTO(free) char *ca = in_dir("ca.pem");
    static const struct {
        const char *certificate;
        const char *name;
        bool has_ca;
        bool ok;
    } cases[] = {
        {"good.pem", "127.0.0.1", true, true},
        {"good.pem", "localhost", true, true},
        {"good.pem", "127.0.0.2", true, false},
        {"good.pem", "elsewhere", true, false},
        {"good.pem", "127.0.0.1", false, false},
        {"wrong_name.pem", "127.0.0.1", true, false},
        {"expired.pem", "127.0.0.1", true, false},
        {"self.pem", "127.0.0.1", true, false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct err err = ERR_INIT;
        struct tls_options options = {.verified_name = cases[i].name,
                                      .ca_file = cases[i].has_ca ? ca : NULL};
        enum tls_step step = try(cases[i].certificate, &options, &err);
        if (step != (cases[i].ok ? TLS_DONE : TLS_FAILED) ||
            (!cases[i].ok && err.kind != FAIL_AUTH))
            fail_msg("%s as %s: %d %s", cases[i].certificate, cases[i].name, (int)step,
                     err.text);
    }
}

static void what_is_not_tls_12(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct tls_options options = {0};
    AUTO(free) char *path = in_dir("good.pem");
    struct http_server *server = serve(path, true);
    int fd = dial(server);
    struct tls *tls = tls_new(fd, &options, &err);
    assert_int_equal(shake(tls, fd, &err), TLS_FAILED);
    assert_int_equal(err.kind, FAIL_AUTH);
    tls_free(tls);
    (void)close(fd);
    http_server_stop(server);
    err_clear(&err);
    enum tls_step step = try(NULL, &options, &err); /* plain HTTP */
    assert_true(step == TLS_FAILED || step == TLS_ENDED);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_and_fingerprints),
        cmocka_unit_test(chain_and_name),
        cmocka_unit_test(what_is_not_tls_12),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
