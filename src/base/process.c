/* SPDX-License-Identifier: Apache-2.0 */
/*
 * posix_spawn with closed descriptors. Output is drained while the child runs, so it can
 * never block on a full pipe; what is beyond the bound is read and dropped.
 */
#include "base/process.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST_OTHER_FD 3
#define POLL_MS        50

static char *child_env_one(const char *name)
{
    const char *value = getenv(name);
    struct buf text = {0};
    if (!value)
        return NULL;
    buf_printf(&text, "%s=%s", name, value);
    return buf_take_text(&text);
}

static bool spawn(const char *const argv[], posix_spawn_file_actions_t *actions,
                  short flags, pid_t *ret_pid, struct err *err)
{
    AUTO(free) char *path = child_env_one("PATH");
    AUTO(free) char *home = child_env_one("HOME");
    AUTO(free) char *tmpdir = child_env_one("TMPDIR");
    char *env[6] = {0};
    size_t count = 0;
    char lang[] = "LC_ALL=C";
    env[count++] = lang;
    if (path)
        env[count++] = path;
    if (home)
        env[count++] = home;
    if (tmpdir)
        env[count++] = tmpdir;
    posix_spawnattr_t attr;
    sigset_t none, all;
    (void)sigemptyset(&none); /* these cannot fail on valid pointers */
    (void)sigfillset(&all);
    (void)posix_spawnattr_init(&attr);
    (void)posix_spawnattr_setsigmask(&attr, &none);
    (void)posix_spawnattr_setsigdefault(&attr, &all);
    (void)posix_spawnattr_setflags(
        &attr, (short)(flags | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
    (void)posix_spawn_file_actions_addclosefrom_np(actions, FIRST_OTHER_FD);
    int failed = posix_spawnp(ret_pid, argv[0], actions, &attr, (char *const *)argv, env);
    (void)posix_spawnattr_destroy(&attr);
    if (failed)
        return err_errno(err, failed, "start '%s'", argv[0]);
    return true;
}

static void drain(int fd, struct buf *out, bool *is_open)
{
    uint8_t chunk[8192];
    ssize_t n = read(fd, chunk, sizeof chunk);
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
        *is_open = false;
    if (n > 0 && out && out->bytes + (size_t)n <= PROCESS_OUTPUT_MAX_BYTES)
        buf_append(out, chunk, (size_t)n);
}

static bool child_failed(const char *name, int status, struct buf *stderr_text,
                         struct err *err)
{
    const char *text = buf_text(stderr_text);
    size_t end = strlen(text);
    while (end && (text[end - 1] == '\n' || text[end - 1] == ' '))
        end--;
    size_t start = end;
    while (start && text[start - 1] != '\n')
        start--;
    if (WIFSIGNALED(status))
        return err_set(err, FAIL_IO, "'%s' was ended by signal %d: %.*s", name,
                       WTERMSIG(status), (int)(end - start), text + start);
    return err_set(err, FAIL_IO, "'%s' ended with status %d: %.*s", name,
                   WEXITSTATUS(status), (int)(end - start), text + start);
}

static bool wait_reading(pid_t pid, const int fds[2], uint64_t deadline_ms,
                         const struct cancel *cancel, struct buf *outs[2],
                         struct err *err)
{
    bool is_open[2] = {true, true}, ok = true;
    uint64_t until = clock_mono_ms() + deadline_ms;
    while (is_open[0] || is_open[1]) {
        struct pollfd p[2] = {{is_open[0] ? fds[0] : -1, POLLIN, 0},
                              {is_open[1] ? fds[1] : -1, POLLIN, 0}};
        (void)poll(p, 2, POLL_MS); /* the loop looks again */
        for (int i = 0; i < 2; i++)
            if (p[i].revents)
                drain(fds[i], outs[i], &is_open[i]);
        if (ok && !cancel_check(cancel, err))
            ok = false;
        else if (ok && clock_mono_ms() > until)
            ok = err_set(err, FAIL_TRANSIENT, "no end after %llu ms",
                         (unsigned long long)deadline_ms);
        if (!ok) {
            (void)kill(pid, SIGKILL); /* then the pipes close */
            break;
        }
    }
    return ok;
}

bool process_run(const char *const argv[], uint64_t deadline_ms,
                 const struct cancel *cancel, struct buf *ret_out, struct err *err)
{
    int out_pipe[2], err_pipe[2];
    if (pipe2(out_pipe, O_CLOEXEC) != 0)
        return err_errno(err, errno, "pipe for '%s'", argv[0]);
    if (pipe2(err_pipe, O_CLOEXEC) != 0) {
        (void)close(out_pipe[0]);
        (void)close(out_pipe[1]);
        return err_errno(err, errno, "pipe for '%s'", argv[0]);
    }
    posix_spawn_file_actions_t actions;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    (void)posix_spawn_file_actions_adddup2(&actions, out_pipe[1], 1);
    (void)posix_spawn_file_actions_adddup2(&actions, err_pipe[1], 2);
    pid_t pid = 0;
    bool ok = spawn(argv, &actions, 0, &pid, err);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(out_pipe[1]);
    (void)close(err_pipe[1]);
    AUTO(buf_release) struct buf stderr_text = {0};
    if (ok) {
        struct buf *outs[2] = {ret_out, &stderr_text};
        int fds[2] = {out_pipe[0], err_pipe[0]}, status = 0;
        ok = wait_reading(pid, fds, deadline_ms, cancel, outs, err);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            continue;
        if (!ok)
            (void)err_wrap(err, "'%s'", argv[0]);
        else if (status != 0)
            ok = child_failed(argv[0], status, &stderr_text, err);
    }
    (void)close(out_pipe[0]);
    (void)close(err_pipe[0]);
    return ok;
}

bool process_start(const char *const argv[], const char *log_path, int *ret_pid,
                   struct err *err)
{
    posix_spawn_file_actions_t actions;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    (void)posix_spawn_file_actions_addopen(&actions, 1, log_path,
                                           O_WRONLY | O_CREAT | O_APPEND, 0600);
    (void)posix_spawn_file_actions_adddup2(&actions, 1, 2);
    pid_t pid = 0;
    bool ok = spawn(argv, &actions, POSIX_SPAWN_SETSID, &pid, err);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (ok)
        *ret_pid = pid;
    return ok;
}

bool process_is_alive(int pid)
{
    if (waitpid(pid, NULL, WNOHANG) == pid)
        return false;
    return kill(pid, 0) == 0 || errno == EPERM;
}

bool process_stop(int pid, uint64_t grace_ms, struct err *err)
{
    uint64_t kill_at = clock_mono_ms() + grace_ms;
    bool is_killed = false;
    (void)kill(pid, SIGTERM); /* gone already is what we want */
    while (process_is_alive(pid)) {
        uint64_t now = clock_mono_ms();
        if (!is_killed && now >= kill_at) {
            (void)kill(pid, SIGKILL);
            is_killed = true;
        }
        if (now > kill_at + 10000)
            return err_set(err, FAIL_IO, "process %d does not end, even killed", pid);
        clock_sleep_ms(10);
    }
    return true;
}
