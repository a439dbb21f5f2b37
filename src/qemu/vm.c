/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start and end of a VM. Started with the processors stopped, so that the caller can
 * write down durably that it exists before the guest runs its first instruction.
 *
 * Whom we may kill: a process is taken for our VM only when its start time is the one
 * written down, or when its command line has our own "-pidfile <run folder>/vm.pid". A
 * process id alone never kills anything.
 */
#include "qemu/vm.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "qemu/qmp.h"
#include "qemu/stray.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PIDFILE_NAME      "vm.pid"
#define START_DEADLINE_MS (30 * 1000)
#define QMP_DEADLINE_MS   (10 * 1000)
#define STRAY_GRACE_MS    2000
#define SOCKET_PATH_MAX   (sizeof((struct sockaddr_un){0}.sun_path) - 1)

/* FNV-1a: a short name for a long path, no secret. */
static uint64_t name_hash(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 0x100000001b3u;
    return hash;
}

bool vm_socket_path(const char *run_dir, const char *which, char out[MACHINE_PATH_BYTES],
                    struct err *err)
{
    const char *base = getenv("XDG_RUNTIME_DIR");
    AUTO(buf_release) struct buf dir = {0};
    int used = snprintf(out, MACHINE_PATH_BYTES, "%s/%s.sock", run_dir, which);
    if (used > 0 && (size_t)used <= SOCKET_PATH_MAX)
        return true;
    buf_printf(&dir, "%s/kedge", base && base[0] == '/' ? base : "/run");
    if (!file_make_dirs(buf_text(&dir), err))
        return err_hint(err,
                        "a socket below '%s' would have too long a path; choose a "
                        "shorter folder",
                        run_dir);
    used = snprintf(out, MACHINE_PATH_BYTES, "%s/%016" PRIx64 "-%s.sock", buf_text(&dir),
                    name_hash(run_dir), which);
    if (used < 0 || (size_t)used > SOCKET_PATH_MAX)
        return err_set(err, FAIL_INPUT,
                       "path of socket '%s' is too long; choose a "
                       "shorter folder",
                       out);
    return true;
}

bool vm_is_alive(const struct vm_process *process)
{
    return process->pid > 0 && process_is_alive(process->pid) &&
           stray_start_ticks(process->pid) == process->start_ticks;
}

bool vm_stop(const struct vm_process *process, uint64_t grace_ms, struct err *err)
{
    return !vm_is_alive(process) || process_stop(process->pid, grace_ms, err);
}

bool vm_kill_strays(const char *run_dir, struct err *err)
{
    AUTO(buf_release) struct buf word = {0};
    buf_printf(&word, "%s/" PIDFILE_NAME, run_dir);
    return stray_kill(buf_text(&word), STRAY_GRACE_MS, err);
}

static void log_path_of(const char *run_dir, struct buf *ret)
{
    buf_printf(ret, "%s/qemu.log", run_dir);
}

void vm_last_words(const char *run_dir, char *out, size_t out_bytes)
{
    AUTO(buf_release) struct buf path = {0};
    char text[4096];
    out[0] = 0;
    log_path_of(run_dir, &path);
    AUTO(close_fd) int fd = open(buf_text(&path), O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return;
    off_t from =
        st.st_size >= (off_t)sizeof text ? st.st_size - (off_t)sizeof text + 1 : 0;
    ssize_t n = pread(fd, text, sizeof text - 1, from);
    while (n > 0 && isspace((unsigned char)text[n - 1]))
        n--;
    if (n <= 0)
        return;
    text[n] = 0;
    const char *line = strrchr(text, '\n');
    (void)snprintf(out, out_bytes, "%s", line ? line + 1 : text); /* cut is fine */
}

static bool died(const char *run_dir, const char *name, struct err *err)
{
    char words[256];
    vm_last_words(run_dir, words, sizeof words);
    return err_set(err, strstr(words, "another process using") ? FAIL_CONFLICT : FAIL_IO,
                   "QEMU for VM '%s' ended at the start: %s", name,
                   words[0] ? words : "it said nothing");
}

static bool wait_for_monitor(const struct vm_spec *spec, const struct vm_process *process,
                             struct err *err)
{
    char path[MACHINE_PATH_BYTES];
    uint64_t until_ms = clock_mono_ms() + START_DEADLINE_MS;
    if (!vm_socket_path(spec->run_dir, "qmp", path, err))
        return false;
    for (;;) {
        struct err last = ERR_INIT;
        AUTO(qmp_close) struct qmp *qmp = NULL;
        if (!process_is_alive(process->pid))
            return died(spec->run_dir, spec->name, err);
        if (file_exists(path) && (qmp = qmp_open(path, QMP_DEADLINE_MS, &last)) != NULL)
            return true;
        if (clock_mono_ms() > until_ms)
            return err_set(err, FAIL_TRANSIENT,
                           "QEMU for VM '%s' does not answer on its monitor: %s",
                           spec->name, last.text);
        clock_sleep_ms(10);
    }
}

bool vm_start(const struct vm_spec *spec, struct vm_process *ret, struct err *err)
{
    AUTO(vm_args_release) struct vm_args args = {0};
    AUTO(buf_release) struct buf log_path = {0};
    char path[MACHINE_PATH_BYTES];
    struct vm_process process = {0};
    if (!vm_args_make(spec, &args, err) ||
        !vm_socket_path(spec->run_dir, "qmp", path, err))
        return false;
    log_path_of(spec->run_dir, &log_path);
    (void)unlink(path); /* of an earlier run */
    (void)unlink(buf_text(&log_path));
    (void)unlink(spec->serial_log);
    args.items = xrealloc(args.items, args.count + 2, sizeof *args.items);
    args.items[args.count++] = xstrdup("-S"); /* processors stopped */
    args.items[args.count] = NULL;
    if (!process_start((const char *const *)args.items, buf_text(&log_path), &process.pid,
                       err))
        return err_hint(err, "install it: apt-get install qemu-system-x86");
    process.start_ticks = stray_start_ticks(process.pid);
    if (!wait_for_monitor(spec, &process, err)) {
        struct err second = ERR_INIT; /* the first failure is the one to tell */
        if (!process_stop(process.pid, 0, &second))
            log_debug("vm_left", "pid=%d", process.pid);
        return false;
    }
    *ret = process;
    return true;
}

bool vm_go(const char *run_dir, struct err *err)
{
    char path[MACHINE_PATH_BYTES];
    if (!vm_socket_path(run_dir, "qmp", path, err))
        return false;
    AUTO(qmp_close) struct qmp *qmp = qmp_open(path, QMP_DEADLINE_MS, err);
    return qmp && qmp_call(qmp, "cont", NULL, QMP_DEADLINE_MS, NULL, err);
}
