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
#define POLL_END_MS    2 /* outputs are closed: the end is near */

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
    if (n > 0 && out && out->bytes < PROCESS_OUTPUT_MAX_BYTES)
        buf_append(out, chunk, MIN_OF((size_t)n, PROCESS_OUTPUT_MAX_BYTES - out->bytes));
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

struct child_end {
    pid_t pid;
    bool is_ended; /* and waited for */
    int status;
};

/* Reads both outputs until they are closed and the child has ended (it may close them and
 * run on). false: the deadline passed or we were canceled. */
static bool wait_reading(struct child_end *child, const int fds[2], uint64_t until_ms,
                         const struct cancel *cancel, struct buf *outs[2],
                         struct err *err)
{
    bool is_open[2] = {true, true};
    for (;;) {
        struct pollfd p[2] = {{is_open[0] ? fds[0] : -1, POLLIN, 0},
                              {is_open[1] ? fds[1] : -1, POLLIN, 0}};
        bool is_reading = is_open[0] || is_open[1];
        (void)poll(p, 2, is_reading ? POLL_MS : POLL_END_MS); /* the loop looks again */
        for (int i = 0; i < 2; i++)
            if (p[i].revents)
                drain(fds[i], outs[i], &is_open[i]);
        if (!child->is_ended)
            child->is_ended = waitpid(child->pid, &child->status, WNOHANG) == child->pid;
        if (!is_open[0] && !is_open[1] && child->is_ended)
            return true; /* also at the last instant */
        bool ok = cancel_check(cancel, err);
        if (ok && clock_mono_ms() > until_ms)
            ok = err_set(err, FAIL_TRANSIENT, "no end before its deadline");
        if (!ok)
            return false;
    }
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
        int fds[2] = {out_pipe[0], err_pipe[0]};
        struct child_end end = {.pid = pid};
        ok = wait_reading(&end, fds, clock_mono_ms() + deadline_ms, cancel, outs, err);
        if (!end.is_ended)
            (void)kill(pid, SIGKILL);
        while (!end.is_ended && waitpid(pid, &end.status, 0) < 0 && errno == EINTR)
            continue;
        if (!ok)
            (void)err_wrap(err, "'%s'", argv[0]);
        else if (end.status != 0)
            ok = child_failed(argv[0], end.status, &stderr_text, err);
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

/* Somebody else's child that ended and was not waited for. */
static bool is_zombie(int pid)
{
    char path[32], text[512] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    const char *state = n > 0 ? strrchr(text, ')') : NULL; /* the name may hold any */
    return state && state[1] == ' ' && state[2] == 'Z';
}

bool process_is_alive(int pid)
{
    if (waitpid(pid, NULL, WNOHANG) == pid)
        return false;
    return (kill(pid, 0) == 0 || errno == EPERM) && !is_zombie(pid);
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
