/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A long wire on one machine: TCP connections to --listen are passed on to --to, each
 * byte --delay-ms later in each direction (so a round trip takes twice that), and all
 * connections together at most --rate bytes per second towards the client.
 *
 *   relay --listen PORT --to HOST:PORT --delay-ms N [--rate BYTES_PER_SECOND]
 *
 * What is on the wire is bounded by IN_TRANSIT_MAX_BYTES a direction: beyond that the
 * sender waits, as with a window. It ends with its standard input.
 */
#include "base/clock.h"
#include "base/text.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <getopt.h>

#define PIECE_BYTES          (64 * KIB)
#define IN_TRANSIT_MAX_BYTES (64 * MIB)

static uint64_t delay_ms;

/* One wire towards all clients: a piece leaves when those before it have left. */
static struct {
    uint64_t rate_bps; /* bytes/s; 0: no limit */
    pthread_mutex_t lock;
    uint64_t free_ns;
} down = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct piece {
    struct piece *next;
    uint64_t due_ns;
    size_t bytes; /* 0: the end */
    uint8_t data[];
};

/* One direction of one connection. */
struct way {
    int from;
    int to;
    bool is_down;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct piece *first;
    struct piece *last;
    uint64_t in_transit_bytes;
    bool is_broken;
};

/* When the last byte of a piece that came just now arrives at the other end. */
static uint64_t due_ns(const struct way *way, size_t bytes)
{
    uint64_t now_ns = clock_mono_ns();
    uint64_t sent_ns = now_ns;
    if (way->is_down && down.rate_bps) {
        LOCK_GUARD(&down.lock);
        sent_ns = MAX_OF(down.free_ns, now_ns) + bytes * 1000000000 / down.rate_bps;
        down.free_ns = sent_ns;
    }
    return sent_ns + delay_ms * 1000000;
}

static void *take_in(void *context)
{
    struct way *way = context;
    uint8_t buffer[PIECE_BYTES];
    for (;;) {
        ssize_t n = recv(way->from, buffer, sizeof buffer, 0);
        size_t bytes = n > 0 ? (size_t)n : 0;
        struct piece *piece = xcalloc(1, sizeof *piece + bytes);
        piece->bytes = bytes;
        piece->due_ns = due_ns(way, bytes);
        memcpy(piece->data, buffer, bytes);
        LOCK_GUARD(&way->lock);
        while (way->in_transit_bytes > IN_TRANSIT_MAX_BYTES && !way->is_broken)
            (void)pthread_cond_wait(&way->changed, &way->lock); /* owner */
        if (way->last)
            way->last->next = piece;
        else
            way->first = piece;
        way->last = piece;
        way->in_transit_bytes += bytes;
        (void)pthread_cond_broadcast(&way->changed);
        if (bytes == 0 || way->is_broken)
            return NULL;
    }
}

static struct piece *take(struct way *way)
{
    LOCK_GUARD(&way->lock);
    while (!way->first)
        (void)pthread_cond_wait(&way->changed, &way->lock); /* owner */
    struct piece *piece = way->first;
    way->first = piece->next;
    if (!way->first)
        way->last = NULL;
    way->in_transit_bytes -= piece->bytes;
    (void)pthread_cond_broadcast(&way->changed);
    return piece;
}

static bool send_all(int fd, const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = send(fd, data, bytes, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        data += n;
        bytes -= (size_t)n;
    }
    return true;
}

static void sleep_until_ns(uint64_t due_ns)
{
    uint64_t now_ns = clock_mono_ns();
    if (due_ns <= now_ns)
        return;
    struct timespec wait = {(time_t)((due_ns - now_ns) / 1000000000),
                            (long)((due_ns - now_ns) % 1000000000)};
    (void)nanosleep(&wait, NULL); /* woken early: a little less delay */
}

static void *pass_on(void *context)
{
    struct way *way = context;
    for (;;) {
        struct piece *piece = take(way);
        sleep_until_ns(piece->due_ns);
        bool ok = piece->bytes > 0 && send_all(way->to, piece->data, piece->bytes);
        free(piece);
        if (ok)
            continue;
        (void)shutdown(way->to, SHUT_WR); /* the other end may have gone */
        LOCK_GUARD(&way->lock);
        way->is_broken = true;
        (void)pthread_cond_broadcast(&way->changed);
        return NULL;
    }
}

static void start_way(int from, int to, bool is_down, pthread_t threads[2])
{
    struct way *way = xcalloc(1, sizeof *way); /* lives as long as the program */
    way->from = from;
    way->to = to;
    way->is_down = is_down;
    (void)pthread_mutex_init(&way->lock, NULL);
    (void)pthread_cond_init(&way->changed, NULL);
    if (pthread_create(&threads[0], NULL, take_in, way) != 0 ||
        pthread_create(&threads[1], NULL, pass_on, way) != 0)
        exit(1);
}

static int dial(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int fd = -1;
    if (getaddrinfo(host, port, &hints, &found) != 0)
        return -1;
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        (void)close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

static void *watch_input(void *unused)
{
    char c;
    (void)unused;
    while (read(STDIN_FILENO, &c, 1) > 0)
        continue;
    exit(0);
}

static void serve(int listen_fd, const char *host, const char *port)
{
    int on = 1;
    for (;;) {
        pthread_t threads[4];
        int client = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
        int server = client >= 0 ? dial(host, port) : -1;
        if (server < 0) {
            if (client >= 0)
                (void)close(client);
            continue;
        }
        (void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        (void)setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        start_way(client, server, false, threads);
        start_way(server, client, true, threads + 2);
        for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
            (void)pthread_detach(threads[i]); /* they end with their connection */
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"listen", 1, NULL, 'l'},
                                            {"to", 1, NULL, 't'},
                                            {"delay-ms", 1, NULL, 'd'},
                                            {"rate", 1, NULL, 'r'},
                                            {NULL, 0, NULL, 0}};
    struct err err = ERR_INIT;
    uint64_t port = 0;
    char *to = NULL;
    bool ok = true;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) >= 0 && ok;) {
        if (c == 'l')
            ok = text_parse_u64(optarg, 1, 65535, &port, &err);
        else if (c == 'd')
            ok = text_parse_u64(optarg, 0, 10000, &delay_ms, &err);
        else if (c == 'r')
            ok = text_parse_size(optarg, 1, UINT64_MAX, &down.rate_bps, &err);
        else if (c == 't')
            to = optarg;
        else
            return 2;
    }
    char *colon = to ? strrchr(to, ':') : NULL;
    if (!ok || !port || !colon) {
        fprintf(stderr, "relay: %s\n", ok ? "--listen PORT --to HOST:PORT" : err.text);
        return 2;
    }
    *colon = 0;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    pthread_t watcher;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, 64) != 0 || pthread_create(&watcher, NULL, watch_input, NULL) != 0) {
        perror("relay");
        return 1;
    }
    serve(fd, to, colon + 1);
    return 0;
}
