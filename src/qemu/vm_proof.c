/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has it booted? Three witnesses, the strongest first: a guest agent that answers a ping,
 * a text on the serial console, a screen that shows something and stays. The first to say
 * yes ends the watch; the picture is evidence in any case.
 *
 * A blinking cursor is not a change and not a picture: up to CURSOR_PIXELS pixels that
 * differ count as the same. (QEMU 7.2 draws the VGA cursor into the screendump.)
 */
#include "qemu/vm.h"

#include "base/clock.h"
#include "base/file.h"
#include "qemu/qmp.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define POLL_MS          200
#define SCREEN_EVERY_MS  1000
#define SETTLE_MS        8000
#define QMP_DEADLINE_MS  (10 * 1000)
#define CURSOR_PIXELS    400
#define PPM_MAX_BYTES    (64 * MIB)
#define SERIAL_READ      (64 * KIB)
#define MARKER_MAX_BYTES 256
#define PIXEL_BYTES      3

struct watch {
    const struct vm_proof_options *options;
    struct qmp *qmp;
    int agent_fd; /* -1: not connected */
    int serial_fd;
    uint64_t serial_at_bytes;
    struct buf serial_tail; /* last bytes: a marker may come in two reads */
    struct buf screen;      /* the last different one */
    uint64_t screen_since_ms;
    uint64_t screen_next_ms;
    uint64_t settle_ms;
};

static void agent_connect(struct watch *watch)
{
    static const char PING[] = "{\"execute\":\"guest-ping\"}\n";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct err ignored = ERR_INIT; /* no agent is no failure */
    char path[MACHINE_PATH_BYTES];
    if (!vm_socket_path(watch->options->run_dir, "agent", path, &ignored))
        return;
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
                    send(fd, PING, sizeof PING - 1, MSG_NOSIGNAL) < 0)) {
        (void)close(fd);
        fd = -1;
    }
    watch->agent_fd = fd;
}

/* The ping waits in the channel until an agent opens it; any answer will do. */
static bool agent_answered(struct watch *watch)
{
    char answer[256];
    return watch->agent_fd >= 0 &&
           recv(watch->agent_fd, answer, sizeof answer, MSG_DONTWAIT) > 0;
}

static bool marker_seen(struct watch *watch)
{
    const char *marker = watch->options->marker;
    size_t marker_bytes = strlen(marker);
    if (!marker_bytes)
        return false;
    if (watch->serial_fd < 0)
        watch->serial_fd = open(watch->options->serial_log, O_RDONLY | O_CLOEXEC);
    if (watch->serial_fd < 0)
        return false;
    for (;;) {
        buf_reserve(&watch->serial_tail, SERIAL_READ);
        ssize_t n =
            pread(watch->serial_fd, watch->serial_tail.data + watch->serial_tail.bytes,
                  SERIAL_READ, (off_t)watch->serial_at_bytes);
        if (n <= 0)
            return false;
        watch->serial_at_bytes += (size_t)n;
        watch->serial_tail.bytes += (size_t)n;
        if (memmem(watch->serial_tail.data, watch->serial_tail.bytes, marker,
                   marker_bytes))
            return true;
        size_t keep = MIN_OF(marker_bytes - 1, watch->serial_tail.bytes);
        memmove(watch->serial_tail.data,
                watch->serial_tail.data + watch->serial_tail.bytes - keep, keep);
        watch->serial_tail.bytes = keep;
    }
}

static bool dump_screen(struct watch *watch, const char *path, const char *format,
                        struct err *err)
{
    json_t *arguments = json_object();
    json_put_text(arguments, "filename", path);
    json_put_text(arguments, "format", format);
    return qmp_call(watch->qmp, "screendump", arguments, QMP_DEADLINE_MS, NULL, err);
}

/* Pixels that differ between a and b, or from its own first pixel when b is NULL. */
static size_t pixels_differing(const struct buf *a, const struct buf *b)
{
    size_t count = 0;
    size_t header = a->bytes % PIXEL_BYTES; /* off by a pixel at most: good enough */
    for (size_t i = header; i + PIXEL_BYTES <= a->bytes; i += PIXEL_BYTES)
        if (memcmp(a->data + i, b ? b->data + i : a->data + a->bytes - PIXEL_BYTES,
                   PIXEL_BYTES) != 0)
            count++;
    return count;
}

/* A failed dump (display not set up yet) is just no picture. */
static bool screen_settled(struct watch *watch)
{
    uint64_t now_ms = clock_mono_ms();
    struct err ignored = ERR_INIT;
    AUTO(buf_release) struct buf now = {0};
    if (watch->options->marker[0] || now_ms < watch->screen_next_ms)
        return false;
    watch->screen_next_ms = now_ms + SCREEN_EVERY_MS;
    AUTO(free) char *path = file_join(watch->options->run_dir, "screen.ppm");
    bool has_picture = dump_screen(watch, path, "ppm", &ignored) &&
                       file_read(path, PPM_MAX_BYTES, &now, &ignored);
    (void)unlink(path);
    if (!has_picture || pixels_differing(&now, NULL) <= CURSOR_PIXELS) {
        buf_clear(&watch->screen);
        return false;
    }
    if (now.bytes == watch->screen.bytes &&
        pixels_differing(&now, &watch->screen) <= CURSOR_PIXELS)
        return now_ms - watch->screen_since_ms >= watch->settle_ms;
    buf_clear(&watch->screen);
    buf_append(&watch->screen, now.data, now.bytes);
    watch->screen_since_ms = now_ms;
    return false;
}

static const char *witness(struct watch *watch)
{
    if (watch->agent_fd < 0)
        agent_connect(watch);
    if (agent_answered(watch))
        return "guest agent";
    if (marker_seen(watch))
        return "serial marker";
    if (screen_settled(watch))
        return "settled screen";
    return NULL;
}

static bool still_there(struct watch *watch, struct err *err)
{
    char words[256];
    if (vm_is_alive(watch->options->process))
        return true;
    vm_last_words(watch->options->run_dir, words, sizeof words);
    return err_set(err, FAIL_IO, "the VM ended while it was booting%s%s",
                   words[0] ? ": " : "", words);
}

static bool watch_boot(struct watch *watch, const struct cancel *cancel,
                       struct vm_proof *proof, struct err *err)
{
    uint64_t start_ms = clock_mono_ms();
    for (;;) {
        const char *how = witness(watch);
        proof->took_ms = clock_mono_ms() - start_ms;
        if (how)
            (void)snprintf(proof->how, sizeof proof->how, "%s", how);
        if (how || proof->took_ms >= watch->options->deadline_ms)
            return true;
        if (!still_there(watch, err) || !cancel_sleep_ms(cancel, POLL_MS, err))
            return false;
    }
}

bool vm_prove_boot(const struct vm_proof_options *options, const struct cancel *cancel,
                   struct vm_proof *ret, struct err *err)
{
    struct watch watch = {.options = options, .agent_fd = -1, .serial_fd = -1};
    struct vm_proof proof = {0};
    struct err no_picture = ERR_INIT;
    char path[MACHINE_PATH_BYTES];
    if (strlen(options->marker) > MARKER_MAX_BYTES)
        return err_set(err, FAIL_LIMIT, "the boot marker is longer than %d bytes",
                       MARKER_MAX_BYTES);
    if (!vm_socket_path(options->run_dir, "qmp", path, err))
        return false;
    watch.settle_ms = MIN_OF((uint64_t)SETTLE_MS, options->deadline_ms / 2);
    watch.qmp = qmp_open(path, QMP_DEADLINE_MS, err);
    bool ok = watch.qmp != NULL && watch_boot(&watch, cancel, &proof, err);
    if (watch.qmp && vm_is_alive(options->process))
        proof.has_png = dump_screen(&watch, options->png_path, "png", &no_picture);
    qmp_close(watch.qmp);
    if (watch.agent_fd >= 0)
        (void)close(watch.agent_fd);
    if (watch.serial_fd >= 0)
        (void)close(watch.serial_fd);
    buf_release(&watch.serial_tail);
    buf_release(&watch.screen);
    if (ok)
        *ret = proof;
    return ok;
}
