/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qemu-img and qemu-nbd as children without a shell. Doing it through QEMU's own block
 * layer costs some milliseconds per call and saves us a second implementation of a
 * format whose corner cases are other people's data.
 */
#include "qemu/image.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHORT_DEADLINE_MS  (60 * 1000)
#define COMMIT_DEADLINE_MS (24ull * 3600 * 1000)
#define SERVER_DEADLINE_MS (30 * 1000)
#define SERVER_LOCK_MS     (5 * 1000) /* a predecessor may still flush */
#define LOCK_DEADLINE_MS   (30 * 1000)
#define LOCK_PAUSE_MS      100
#define SERVER_POLL_MS     5
#define SERVER_GRACE_MS    (60 * 1000) /* it may still flush */
#define SIZE_TEXT_BYTES    24

struct image_server {
    int pid;
    char *socket_path;
    char *log_path;
    char *pid_path;
};

const char *image_format_name(enum image_format format)
{
    return format == IMAGE_QCOW2 ? "qcow2" : "raw";
}

bool image_sync(const char *path, struct err *err)
{
    AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        return err_errno(err, errno, "sync '%s'", path);
    return file_sync_parent(path, err);
}

/* QEMU says 'Failed to get "write" lock', and on a line of its own what that may mean. */
static bool is_locked(const char *words)
{
    return strstr(words, "another process using") || strstr(words, "\" lock");
}

static bool run_tool(const char *const argv[], uint64_t deadline_ms, struct err *err)
{
    if (process_run(argv, deadline_ms, NULL, NULL, err))
        return true;
    if (err->sys_errno == ENOENT)
        return err_hint(err, "install it: apt-get install qemu-utils");
    if (is_locked(err->text))
        err->kind = FAIL_CONFLICT;
    if (strstr(err->text, "No space left"))
        err->kind = FAIL_NO_SPACE;
    return false;
}

bool image_create(const char *path, uint64_t disk_bytes, struct err *err)
{
    char size[SIZE_TEXT_BYTES];
    (void)snprintf(size, sizeof size, "%" PRIu64, disk_bytes);
    const char *argv[] = {"qemu-img",           "create", "-q", "-f", "qcow2", "-o",
                          "lazy_refcounts=off", path,     size, NULL};
    return run_tool(argv, SHORT_DEADLINE_MS, err) && image_sync(path, err);
}

bool image_create_overlay(const char *path, const char *backing,
                          enum image_format backing_format, uint64_t disk_bytes,
                          struct err *err)
{
    char size[SIZE_TEXT_BYTES];
    (void)snprintf(size, sizeof size, "%" PRIu64, disk_bytes);
    const char *argv[] = {"qemu-img", "create", "-q", "-u",
                          "-f",       "qcow2",  "-F", image_format_name(backing_format),
                          "-b",       backing,  path, size,
                          NULL};
    return run_tool(argv, SHORT_DEADLINE_MS, err) && image_sync(path, err);
}

/* A qemu-img that outlived the process that started it may still be at it. */
bool image_commit(const char *head, const char *base, struct err *err)
{
    const char *argv[] = {"qemu-img", "commit", "-q", "-d", "-f",
                          "qcow2",    "-b",     base, head, NULL};
    uint64_t until_ms = clock_mono_ms() + LOCK_DEADLINE_MS;
    for (;;) {
        struct err failed = ERR_INIT;
        if (run_tool(argv, COMMIT_DEADLINE_MS, &failed))
            return image_sync(base, err);
        if (failed.kind != FAIL_CONFLICT || clock_mono_ms() > until_ms) {
            *err = failed;
            return false;
        }
        clock_sleep_ms(LOCK_PAUSE_MS);
    }
}

bool image_resize(const char *path, enum image_format format, uint64_t disk_bytes,
                  struct err *err)
{
    char size[SIZE_TEXT_BYTES];
    (void)snprintf(size, sizeof size, "%" PRIu64, disk_bytes);
    const char *argv[] = {"qemu-img", "resize", "-q",
                          "--shrink", "-f",     image_format_name(format),
                          path,       size,     NULL};
    return run_tool(argv, SHORT_DEADLINE_MS, err) && image_sync(path, err);
}

static void last_line(const char *path, char *out, size_t out_bytes)
{
    AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[4096];
    struct stat st;
    out[0] = 0;
    if (fd < 0 || fstat(fd, &st) != 0)
        return;
    off_t from = st.st_size > (off_t)sizeof text ? st.st_size - (off_t)sizeof text : 0;
    ssize_t n = pread(fd, text, sizeof text - 1, from);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
        n--;
    if (n <= 0)
        return;
    text[n] = 0;
    const char *line = strrchr(text, '\n');
    (void)snprintf(out, out_bytes, "%s", line ? line + 1 : text); /* cut is fine */
}

/* Past the page cache a new qcow2 fills two to three times as fast (2.7 GB: 2.9 s against
 * 6 to 9 s); scattered 4 KiB writes lose a fifth. Durable by flush either way. */
static bool can_direct(const char *path)
{
    AUTO(close_fd) int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    return fd >= 0; /* not on tmpfs, for one */
}

static struct image_server *server_spawn(const struct image_server_options *options,
                                         struct err *err)
{
    char shared[SIZE_TEXT_BYTES];
    (void)snprintf(shared, sizeof shared, "--shared=%u", options->max_clients);
    AUTO(buf_release) struct buf socket_arg = {0};
    AUTO(buf_release) struct buf pid_arg = {0};
    buf_printf(&socket_arg, "--socket=%s", options->socket_path);
    buf_printf(&pid_arg, "--pid-file=%s.pid", options->log_path);
    const char *argv[] = {"qemu-nbd",
                          buf_text(&socket_arg),
                          buf_text(&pid_arg),
                          "--format",
                          image_format_name(options->format),
                          can_direct(options->image_path) ? "--cache=none"
                                                          : "--cache=writeback",
                          "--discard=unmap",
                          "--detect-zeroes=off",
                          shared,
                          options->read_only ? "--read-only" : options->image_path,
                          options->read_only ? options->image_path : NULL,
                          NULL};
    (void)unlink(options->socket_path); /* of a predecessor */
    (void)unlink(options->log_path);
    (void)unlink(strchr(buf_text(&pid_arg), '=') + 1);
    struct image_server *server = xcalloc(1, sizeof *server);
    if (!process_start(argv, options->log_path, &server->pid, err)) {
        free(server);
        (void)err_hint(err, "install it: apt-get install qemu-utils");
        return NULL;
    }
    server->socket_path = xstrdup(options->socket_path);
    server->log_path = xstrdup(options->log_path);
    server->pid_path = xstrdup(strchr(buf_text(&pid_arg), '=') + 1);
    return server;
}

/* The socket is there before the image is open; the process id file comes after both
 * (QEMU 7.2). */
struct image_server *image_server_start(const struct image_server_options *options,
                                        struct err *err)
{
    uint64_t locked_until_ms = clock_mono_ms() + SERVER_LOCK_MS;
    char words[256] = "";
    for (;;) {
        uint64_t until_ms = clock_mono_ms() + SERVER_DEADLINE_MS;
        struct image_server *server = server_spawn(options, err);
        if (!server)
            return NULL;
        while (process_is_alive(server->pid) && clock_mono_ms() < until_ms) {
            if (file_exists(server->pid_path))
                return server;
            clock_sleep_ms(SERVER_POLL_MS);
        }
        last_line(server->log_path, words, sizeof words);
        image_server_stop(server);
        if (!is_locked(words) || clock_mono_ms() >= locked_until_ms)
            break;
        clock_sleep_ms(LOCK_PAUSE_MS);
    }
    (void)err_set(err, is_locked(words) ? FAIL_CONFLICT : FAIL_IO,
                  "qemu-nbd does not serve '%s': %s", options->image_path,
                  words[0] ? words : "no answer in time");
    return NULL;
}

bool image_server_is_alive(const struct image_server *server)
{
    return process_is_alive(server->pid);
}

void image_server_last_words(const struct image_server *server, char *out,
                             size_t out_bytes)
{
    last_line(server->log_path, out, out_bytes);
}

void image_server_stop(struct image_server *server)
{
    struct err err = ERR_INIT;
    if (!server)
        return;
    if (!process_stop(server->pid, SERVER_GRACE_MS, &err))
        log_debug("image_server_left", "pid=%d", server->pid);
    (void)unlink(server->socket_path);
    (void)unlink(server->log_path);
    (void)unlink(server->pid_path);
    free(server->pid_path);
    free(server->socket_path);
    free(server->log_path);
    free(server);
}
