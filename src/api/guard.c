/* SPDX-License-Identifier: Apache-2.0 */
/* Guards at the door; each answers with one line that says what would be let in. */
#include "api/guard.h"

#include "base/text.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

bool api_guard_peer(int fd, uint32_t *ret_uid, struct err *err)
{
    struct ucred peer;
    socklen_t peer_bytes = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_bytes) != 0)
        return err_errno(err, errno, "ask who calls on the socket");
    *ret_uid = peer.uid;
    if (peer.uid == 0 || peer.uid == geteuid())
        return true;
    return err_set(err, FAIL_AUTH,
                   "user %u may not use this socket; call as root or as user %u",
                   (unsigned)peer.uid, (unsigned)geteuid());
}

bool api_guard_token(const struct secret *token, const char *header, struct err *err)
{
    static const char SCHEME[] = "Bearer ";
    if (!header)
        return err_set(err, FAIL_AUTH,
                       "no token given; send 'Authorization: Bearer TOKEN' with the "
                       "content of the daemon's token_file");
    if (strncasecmp(header, SCHEME, sizeof SCHEME - 1) != 0)
        return err_set(err, FAIL_AUTH,
                       "the Authorization header has another form; send 'Bearer TOKEN'");
    const char *given = header + sizeof SCHEME - 1;
    if (!token || !secret_equal(token, given, strlen(given)))
        return err_set(err, FAIL_AUTH,
                       "the token is wrong; use the content of the daemon's token_file");
    return true;
}

bool api_guard_host(const char *header, struct err *err)
{
    static const char *const NAMES[] = {"127.0.0.1", "localhost", "[::1]"};
    for (size_t i = 0; header && i < ARRAY_COUNT(NAMES); i++) {
        size_t length = strlen(NAMES[i]);
        if (strncasecmp(header, NAMES[i], length) != 0)
            continue;
        const char *port = header + length;
        uint64_t ignored;
        struct err bad;
        if (*port == 0 ||
            (*port == ':' && text_parse_u64(port + 1, 1, 65535, &ignored, &bad)))
            return true;
    }
    return err_set(err, FAIL_AUTH,
                   "the Host header is '%.60s'; only 127.0.0.1, localhost and [::1] are "
                   "answered",
                   header ? header : "");
}
