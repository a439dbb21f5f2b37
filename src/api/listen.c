/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets, made here and not by the HTTP library: permissions of the Unix
 * socket are set before anybody can connect, and errors name the path or port.
 */
#include "api/listen.h"

#include "api/server.h"
#include "base/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 64

bool api_listen_parse(const char *text, const char **ret_host, uint16_t *ret_port,
                      struct err *err)
{
    static const struct {
        const char *written;
        const char *host;
    } HOSTS[] = {
        {"127.0.0.1:", "127.0.0.1"}, {"localhost:", "127.0.0.1"}, {"[::1]:", "::1"}};
    for (size_t i = 0; i < ARRAY_COUNT(HOSTS); i++) {
        if (!text_starts_with(text, HOSTS[i].written))
            continue;
        uint64_t port;
        if (!text_parse_u64(text + strlen(HOSTS[i].written), 0, 65535, &port, err))
            return err_wrap(err, "port of '%.60s'", text);
        *ret_host = HOSTS[i].host;
        *ret_port = (uint16_t)port;
        return true;
    }
    return err_set(err, FAIL_INPUT,
                   "'%.60s' is not a loopback address with a port; write 127.0.0.1:8440, "
                   "and put a TLS proxy in front for other hosts",
                   text);
}

/* Whether a server accepts on it: then we must not take its name away. */
static bool is_served(const struct sockaddr_un *address)
{
    AUTO(close_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) == 0;
}

static bool clear_name(const char *path, const struct sockaddr_un *address,
                       struct err *err)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? true : err_errno(err, errno, "look at '%s'", path);
    if (!S_ISSOCK(st.st_mode))
        return err_set(err, FAIL_CONFLICT,
                       "'%s' exists and is not a socket; remove it or choose another "
                       "run_dir",
                       path);
    if (is_served(address))
        return err_set(
            err, FAIL_CONFLICT,
            "another kedged answers on '%s'; stop it or choose another run_dir", path);
    if (unlink(path) != 0 && errno != ENOENT)
        return err_errno(err, errno, "remove old socket '%s'", path);
    return true;
}

bool listen_unix(const char *path, int *ret_fd, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return err_set(err, FAIL_INPUT,
                       "socket path '%.150s' is longer than %zu bytes; use a shorter "
                       "run_dir",
                       path, sizeof address.sun_path - 1);
    text_copy(address.sun_path, sizeof address.sun_path, path);
    if (!clear_name(path, &address, err))
        return false;
    AUTO(close_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(err, errno, "make a socket");
    if (fchmod(fd, 0600) != 0) /* of the inode that bind makes: no moment of 0777 */
        return err_errno(err, errno, "set permissions of '%s'", path);
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) != 0)
        return err_errno(err, errno, "bind '%s'", path);
    if (chmod(path, 0600) != 0 || listen(fd, BACKLOG) != 0)
        return err_errno(err, errno, "listen on '%s'", path);
    *ret_fd = fd;
    fd = -1;
    return true;
}

bool listen_loopback(const char *text, int *ret_fd, uint16_t *ret_port, struct err *err)
{
    const char *host;
    uint16_t port;
    if (!api_listen_parse(text, &host, &port, err))
        return false;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    bool is_v6 = strchr(host, ':') != NULL;
    (void)inet_pton(is_v6 ? AF_INET6 : AF_INET, host,
                    is_v6 ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr); /* constant */
    struct sockaddr *address = is_v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;
    socklen_t bytes = is_v6 ? sizeof v6 : sizeof v4;
    AUTO(close_fd)
    int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(err, errno, "make a socket");
    int one = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one,
                     sizeof one); /* restart at once */
    if (bind(fd, address, bytes) != 0) {
        int why = errno;
        (void)err_errno(err, why, "listen on '%s'", text);
        if (why == EADDRINUSE) {
            err->kind = FAIL_CONFLICT;
            (void)err_hint(err, "choose another port or stop who has it");
        }
        return false;
    }
    if (listen(fd, BACKLOG) != 0 || getsockname(fd, address, &bytes) != 0)
        return err_errno(err, errno, "listen on '%s'", text);
    *ret_port = ntohs(is_v6 ? v6.sin6_port : v4.sin_port);
    *ret_fd = fd;
    fd = -1;
    return true;
}
