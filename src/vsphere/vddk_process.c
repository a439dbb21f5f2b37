/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child gets a clean environment, its socket at descriptor 3 and nothing else that is
 * ours. Its argument vector is its own path. LD_LIBRARY_PATH is the library's folder: the
 * kit ships its own OpenSSL beside it.
 */
#include "vsphere/vddk_process.h"

#include "base/clock.h"
#include "base/process.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPEN_SILENCE_MS 180000 /* a login and a search for the disk's transport */
#define SILENCE_MS      120000
#define END_GRACE_MS    1000
#define BUFFER_BYTES    (128 * KIB)
#define PATH_BYTES      4096

/* The folder of a path, without the slash; "." when it has none. */
static void folder_of(const char *path, char out[PATH_BYTES])
{
    const char *slash = strrchr(path, '/');
    (void)snprintf(out, PATH_BYTES, "%.*s", slash ? (int)(slash - path) : 1,
                   slash ? path : ".");
}

static bool spawn(const struct vddk_target *target, int fd, int *ret_pid, struct err *err)
{
    char folder[PATH_BYTES];
    char library_path[PATH_BYTES + 32];
    char *path = getenv("PATH");
    char path_entry[PATH_BYTES];
    folder_of(target->library, folder);
    (void)snprintf(library_path, sizeof library_path, "LD_LIBRARY_PATH=%s", folder);
    (void)snprintf(path_entry, sizeof path_entry, "PATH=%s", path ? path : "/usr/bin");
    char lc_all[] = "LC_ALL=C";
    char *const environment[] = {library_path, path_entry, lc_all, NULL};
    AUTO(free) char *helper = xstrdup(target->helper);
    char *const argv[] = {helper, NULL};
    posix_spawn_file_actions_t actions;
    (void)posix_spawn_file_actions_init(&actions); /* fail only for want of memory */
    (void)posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    (void)posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    (void)posix_spawn_file_actions_adddup2(&actions, fd, VDDK_FD);
    (void)posix_spawn_file_actions_addclosefrom_np(&actions, VDDK_FD + 1);
    int why = posix_spawn(ret_pid, helper, &actions, NULL, argv, environment);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (why == 0)
        return true;
    (void)err_errno(err, why, "start '%s'", target->helper);
    err->kind = FAIL_INPUT;
    return false;
}

static bool start(const struct vddk_lane_options *options, const struct cancel *cancel,
                  struct vddk_process *ret, struct err *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return err_errno(err, errno, "socket pair for vddk");
    *ret = (struct vddk_process){
        .stream = {.fd = pair[0], .cancel = cancel, .silence_ms = OPEN_SILENCE_MS}};
    text_copy(ret->stream.peer, sizeof ret->stream.peer, "kedge-vddk");
    bool ok = fcntl(pair[0], F_SETFL, O_NONBLOCK) == 0
                  ? spawn(options->target, pair[1], &ret->pid, err)
                  : err_errno(err, errno, "socket pair for vddk");
    (void)close(pair[1]); /* the child has its own */
    if (!ok) {
        nfc_stream_close(&ret->stream);
        return false;
    }
    nfc_stream_buffer(&ret->stream, BUFFER_BYTES);
    return true;
}

static void add_text(struct buf *body, const char *text)
{
    buf_append(body, text, strlen(text) + 1);
}

static void add_secret(struct buf *body, const struct secret *secret)
{
    if (secret)
        buf_append(body, secret->data, secret->bytes);
    buf_put_u8(body, 0);
}

/* All at once, so that no copy of a secret is left behind by growing. */
static void put_texts(const struct vddk_lane_options *options,
                      const struct secret *cookie, struct buf *body)
{
    const struct vddk_target *target = options->target;
    char folder[PATH_BYTES];
    char lib_dir[PATH_BYTES];
    char number[16];
    folder_of(target->library, folder);
    if (text_ends_with(folder, "/lib64"))
        folder_of(folder, lib_dir);
    else
        text_copy(lib_dir, sizeof lib_dir, folder);
    buf_reserve(body, VDDK_TEXT_MAX_BYTES);
    add_text(body, target->library);
    add_text(body, lib_dir);
    add_text(body, target->server);
    (void)snprintf(number, sizeof number, "%u", target->port);
    add_text(body, number);
    add_text(body, target->thumbprint);
    add_text(body, target->vm);
    add_text(body, target->snapshot);
    add_text(body, target->transports);
    add_text(body, options->file_name);
    (void)snprintf(number, sizeof number, "%u", target->open_flags);
    add_text(body, number);
    add_text(body, target->user);
    add_secret(body, target->password);
    add_secret(body, cookie);
}

static bool send_open(const struct vddk_lane_options *options,
                      struct vddk_process *process, struct err *err)
{
    const struct vddk_target *target = options->target;
    AUTO(secret_free) struct secret *cookie = NULL;
    AUTO(buf_release) struct buf body = {0};
    uint8_t raw[VDDK_HEAD_BYTES];
    if (!target->password) {
        cookie = target->cookie(target->arg, err);
        if (!cookie)
            return false;
    }
    put_texts(options, cookie, &body);
    struct vddk_head head = {.type = VDDK_OPEN, .length_bytes = (uint32_t)body.bytes};
    vddk_head_put(raw, &head);
    bool ok = body.bytes <= VDDK_TEXT_MAX_BYTES
                  ? nfc_stream_write(&process->stream, raw, sizeof raw, err) &&
                        nfc_stream_write(&process->stream, body.data, body.bytes, err)
                  : err_set(err, FAIL_LIMIT, "vddk: names and paths are too long");
    secret_wipe(body.data, body.bytes);
    return ok;
}

bool vddk_process_receive(struct vddk_process *process, struct vddk_head *ret,
                          struct err *err)
{
    const uint8_t *raw = nfc_stream_borrow(&process->stream, VDDK_HEAD_BYTES, err);
    if (!raw)
        return false;
    if (!vddk_head_get(raw, ret) ||
        (ret->type != VDDK_DATA && ret->length_bytes > VDDK_TEXT_MAX_BYTES))
        return err_set(err, FAIL_CORRUPT, "kedge-vddk: an answer that is none");
    return true;
}

bool vddk_process_failed(struct vddk_process *process, const struct vddk_head *head,
                         struct err *err)
{
    const uint8_t *text = nfc_stream_borrow(&process->stream, head->length_bytes, err);
    enum err_kind kind = head->kind == FAIL_NONE ? FAIL_IO : (enum err_kind)head->kind;
    if (text)
        (void)err_set(err, kind, "%.*s", (int)head->length_bytes, (const char *)text);
    return false;
}

static bool receive_opened(const struct vddk_lane_options *options,
                           struct vddk_process *process, struct err *err)
{
    struct vddk_head head;
    if (!vddk_process_receive(process, &head, err))
        return false;
    if (head.type == VDDK_FAILED)
        return vddk_process_failed(process, &head, err);
    const uint8_t *mode = nfc_stream_borrow(&process->stream, head.length_bytes, err);
    if (!mode)
        return false;
    if (head.type != VDDK_OPENED)
        return err_set(err, FAIL_CORRUPT, "kedge-vddk: an answer that is none");
    (void)snprintf(process->mode, sizeof process->mode, "%.*s", (int)head.length_bytes,
                   (const char *)mode);
    if (head.offset_bytes != options->disk_bytes)
        return err_set(err, FAIL_CONFLICT,
                       "vddk: '%.200s' holds %llu bytes, the snapshot says %llu; was the "
                       "disk resized?",
                       options->file_name, (unsigned long long)head.offset_bytes,
                       (unsigned long long)options->disk_bytes);
    return true;
}

bool vddk_process_open(const struct vddk_lane_options *options,
                       const struct cancel *cancel, struct vddk_process *ret,
                       struct err *err)
{
    if (!start(options, cancel, ret, err))
        return false;
    if (!send_open(options, ret, err) || !receive_opened(options, ret, err)) {
        if (err->kind == FAIL_TRANSIENT)
            (void)vddk_process_explain(ret, err);
        vddk_process_close(ret);
        return false;
    }
    ret->stream.silence_ms = options->silence_ms ? options->silence_ms : SILENCE_MS;
    return true;
}

/* Collects the child within the time; false: it lives. */
static bool collect(struct vddk_process *process, uint64_t grace_ms, int *ret_status)
{
    uint64_t until_ms = clock_mono_ms() + grace_ms;
    for (;;) {
        int got = waitpid(process->pid, ret_status, WNOHANG);
        if (got == process->pid || (got < 0 && errno != EINTR)) {
            process->pid = 0;
            return true;
        }
        if (clock_mono_ms() >= until_ms)
            return false;
        clock_sleep_ms(5);
    }
}

bool vddk_process_explain(struct vddk_process *process, struct err *err)
{
    int status = 0;
    if (process->pid <= 0 || !collect(process, END_GRACE_MS, &status))
        return false;
    if (WIFSIGNALED(status))
        return err_set(err, FAIL_TRANSIENT,
                       "vddk: the library's process ended by signal %d (%s)",
                       WTERMSIG(status), strsignal(WTERMSIG(status)));
    return err_set(err, FAIL_TRANSIENT, "vddk: the library's process ended with code %d",
                   WEXITSTATUS(status));
}

void vddk_process_close(struct vddk_process *process)
{
    int status;
    nfc_stream_close(&process->stream);
    if (process->pid <= 0 || collect(process, END_GRACE_MS, &status))
        return;
    (void)kill(process->pid, SIGKILL); /* ours, not yet collected: it exists */
    (void)waitpid(process->pid, &status, 0);
    process->pid = 0;
}
