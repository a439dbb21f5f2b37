/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loaded before the C library (LD_PRELOAD) into the processes under test: writes down, in
 * one total order, everything they do to files below POWER_CUT_DIR, with the data, into
 * POWER_CUT_LOG. replay.py makes from it what a disk may hold after a power cut.
 *
 * A record is one line, then `length` bytes of data:
 *   NAME inode offset length path [path2]\n
 * Every recorded call and its record happen under one lock, so the order in the log is
 * the order on the file system; processes share the log by O_APPEND and flock. io_uring
 * would pass by unseen and is refused: the program then writes by pwrite.
 *
 * Not recorded: memory maps that are written to (none of ours; SQLite's shared index is
 * one, and is made anew after a crash), and extended attributes.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static char domain[PATH_MAX];
static size_t domain_length;
static int log_fd = -1;

#define REAL(name) ((__typeof__(&name))(uintptr_t)real_of(#name))

static void *real_of(const char *name)
{
    void *p = dlsym(RTLD_NEXT, name);
    if (!p)
        abort();
    return p;
}

__attribute__((constructor)) static void start(void)
{
    const char *dir = getenv("POWER_CUT_DIR"), *log = getenv("POWER_CUT_LOG");
    if (!dir || !log || !realpath(dir, domain))
        return;
    domain_length = strlen(domain);
    log_fd = REAL(open)(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static bool is_inside(const char *path)
{
    return log_fd >= 0 && strncmp(path, domain, domain_length) == 0 &&
           path[domain_length] == '/';
}

/* The path of an open file; false when it is none of ours. */
static bool path_of_fd(int fd, char ret[PATH_MAX])
{
    char link[64];
    int saved = errno;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = log_fd < 0 ? -1 : readlink(link, ret, PATH_MAX - 1);
    errno = saved;
    if (n < 0)
        return false;
    ret[n] = 0;
    return is_inside(ret) || strcmp(ret, domain) == 0;
}

/* Folder of the path resolved, last part as it is. */
static bool path_at(int dir_fd, const char *path, char ret[PATH_MAX])
{
    char whole[PATH_MAX], folder[PATH_MAX];
    int saved = errno;
    if (log_fd < 0 || !path)
        return false;
    if (path[0] == '/') {
        (void)snprintf(whole, sizeof whole, "%s", path);
    } else {
        char base[PATH_MAX];
        if (dir_fd == AT_FDCWD ? !getcwd(base, sizeof base) : !path_of_fd(dir_fd, base))
            return false;
        if (snprintf(whole, sizeof whole, "%s/%s", base, path) >= PATH_MAX)
            return false;
    }
    char *slash = strrchr(whole, '/');
    *slash = 0;
    bool ok = realpath(*whole ? whole : "/", folder) != NULL &&
              snprintf(ret, PATH_MAX, "%s/%s", folder, slash + 1) < PATH_MAX;
    errno = saved;
    return ok && is_inside(ret);
}

static void write_all(const void *data, size_t bytes)
{
    const char *at = data;
    while (bytes) {
        ssize_t n = REAL(write)(log_fd, at, bytes);
        if (n <= 0)
            abort();
        at += n;
        bytes -= (size_t)n;
    }
}

struct note {
    const char *name, *path, *path2;
    uint64_t inode, offset, length; /* length of what the call did */
    const void *data;               /* NULL: no bytes follow */
};

static void record(const struct note *note)
{
    char line[3 * PATH_MAX];
    int saved = errno;
    const char *below = note->path + domain_length; /* "" or "/..." */
    const char *path = *below ? below + 1 : ".";
    const char *path2 = note->path2 ? note->path2 + domain_length + 1 : "";
    int n = snprintf(line, sizeof line, "%s %llu %llu %llu %s%s%s\n", note->name,
                     (unsigned long long)note->inode, (unsigned long long)note->offset,
                     (unsigned long long)note->length, path, *path2 ? " " : "", path2);
    write_all(line, (size_t)n);
    if (note->data)
        write_all(note->data, note->length);
    errno = saved;
}

static void enter(void)
{
    (void)pthread_mutex_lock(&lock);
    if (log_fd >= 0)
        (void)flock(log_fd, LOCK_EX);
}

static void leave(void)
{
    int saved = errno;
    if (log_fd >= 0)
        (void)flock(log_fd, LOCK_UN);
    (void)pthread_mutex_unlock(&lock);
    errno = saved;
}

static uint64_t inode_of_fd(int fd)
{
    struct stat st;
    int saved = errno;
    uint64_t inode = fstat(fd, &st) == 0 ? st.st_ino : 0;
    errno = saved;
    return inode;
}

static uint64_t inode_of_path(const char *path)
{
    struct stat st;
    int saved = errno;
    uint64_t inode = lstat(path, &st) == 0 ? st.st_ino : 0;
    errno = saved;
    return inode;
}

/* ---- names ---- */

static int do_open(int dir_fd, const char *path, int flags, mode_t mode)
{
    char whole[PATH_MAX];
    bool may_change = (flags & (O_CREAT | O_TRUNC)) && (flags & O_TMPFILE) != O_TMPFILE;
    if (!may_change || !path_at(dir_fd, path, whole))
        return REAL(openat)(dir_fd, path, flags, mode);
    enter();
    bool is_new = inode_of_path(whole) == 0;
    int fd = REAL(openat)(dir_fd, path, flags, mode);
    if (fd >= 0 && is_new)
        record(&(struct note){.name = "create", .path = whole, .inode = inode_of_fd(fd)});
    else if (fd >= 0 && (flags & O_TRUNC))
        record(&(struct note){.name = "size", .path = whole, .inode = inode_of_fd(fd)});
    leave();
    return fd;
}

static mode_t mode_of(int flags, va_list args)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
}

#define OPEN(name)                                                                       \
    EXPORT int name(const char *path, int flags, ...)                                    \
    {                                                                                    \
        va_list args;                                                                    \
        va_start(args, flags);                                                           \
        mode_t mode = mode_of(flags, args);                                              \
        va_end(args);                                                                    \
        return do_open(AT_FDCWD, path, flags, mode);                                     \
    }
#define OPENAT(name)                                                                     \
    EXPORT int name(int dir_fd, const char *path, int flags, ...)                        \
    {                                                                                    \
        va_list args;                                                                    \
        va_start(args, flags);                                                           \
        mode_t mode = mode_of(flags, args);                                              \
        va_end(args);                                                                    \
        return do_open(dir_fd, path, flags, mode);                                       \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

EXPORT int creat(const char *path, mode_t mode)
{
    return do_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

static int two_names(int result, const char *name, bool known, const char *from,
                     const char *to, uint64_t inode)
{
    if (result == 0 && known)
        record(&(struct note){.name = name, .path = from, .path2 = to, .inode = inode});
    return result;
}

EXPORT int renameat2(int from_fd, const char *from, int to_fd, const char *to,
                     unsigned flags)
{
    char a[PATH_MAX], b[PATH_MAX];
    enter();
    bool known = path_at(from_fd, from, a) && path_at(to_fd, to, b);
    uint64_t inode = known ? inode_of_path(a) : 0;
    int result = two_names(REAL(renameat2)(from_fd, from, to_fd, to, flags), "rename",
                           known, a, b, inode);
    leave();
    return result;
}

EXPORT int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    return renameat2(from_fd, from, to_fd, to, 0);
}

EXPORT int rename(const char *from, const char *to)
{
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

EXPORT int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    char a[PATH_MAX], b[PATH_MAX];
    enter();
    bool known = path_at(from_fd, from, a) && path_at(to_fd, to, b);
    uint64_t inode = known ? inode_of_path(a) : 0;
    int result = two_names(REAL(linkat)(from_fd, from, to_fd, to, flags), "link", known,
                           a, b, inode);
    leave();
    return result;
}

EXPORT int link(const char *from, const char *to)
{
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

static int one_name(int result, const char *name, bool known, const char *path)
{
    if (result == 0 && known)
        record(&(struct note){.name = name, .path = path});
    return result;
}

EXPORT int unlinkat(int dir_fd, const char *path, int flags)
{
    char a[PATH_MAX];
    enter();
    bool known = path_at(dir_fd, path, a);
    int result = one_name(REAL(unlinkat)(dir_fd, path, flags),
                          flags & AT_REMOVEDIR ? "rmdir" : "unlink", known, a);
    leave();
    return result;
}

EXPORT int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

EXPORT int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

EXPORT int mkdirat(int dir_fd, const char *path, mode_t mode)
{
    char a[PATH_MAX];
    enter();
    bool known = path_at(dir_fd, path, a);
    int result = one_name(REAL(mkdirat)(dir_fd, path, mode), "mkdir", known, a);
    leave();
    return result;
}

EXPORT int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

/* ---- content ---- */

static void note_fd(const char *name, int fd, uint64_t offset, uint64_t length,
                    const void *data)
{
    char path[PATH_MAX];
    if (path_of_fd(fd, path))
        record(&(struct note){.name = name,
                              .path = path,
                              .inode = inode_of_fd(fd),
                              .offset = offset,
                              .length = length,
                              .data = data});
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    enter();
    ssize_t n = REAL(pwrite)(fd, data, bytes, offset);
    if (n > 0)
        note_fd("write", fd, (uint64_t)offset, (uint64_t)n, data);
    leave();
    return n;
}

EXPORT ssize_t pwrite64(int fd, const void *data, size_t bytes, off_t offset)
{
    return pwrite(fd, data, bytes, offset);
}

/* Only regular files have an offset; sockets, pipes and terminals pass without a lock. */
EXPORT ssize_t write(int fd, const void *data, size_t bytes)
{
    char path[PATH_MAX];
    if (!path_of_fd(fd, path))
        return REAL(write)(fd, data, bytes);
    enter();
    ssize_t n = REAL(write)(fd, data, bytes);
    off_t end = lseek(fd, 0, SEEK_CUR);
    if (n > 0)
        note_fd("write", fd, (uint64_t)(end - n), (uint64_t)n, data);
    leave();
    return n;
}

EXPORT int ftruncate(int fd, off_t size)
{
    enter();
    int result = REAL(ftruncate)(fd, size);
    if (result == 0)
        note_fd("size", fd, (uint64_t)size, 0, NULL);
    leave();
    return result;
}

EXPORT int ftruncate64(int fd, off_t size)
{
    return ftruncate(fd, size);
}

EXPORT int fallocate(int fd, int mode, off_t offset, off_t bytes)
{
    enter();
    int result = REAL(fallocate)(fd, mode, offset, bytes);
    if (result == 0 && mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
        note_fd("zero", fd, (uint64_t)offset, (uint64_t)bytes, NULL);
    else if (result == 0 && !(mode & FALLOC_FL_KEEP_SIZE))
        note_fd("grow", fd, (uint64_t)(offset + bytes), 0, NULL);
    leave();
    return result;
}

EXPORT int fallocate64(int fd, int mode, off_t offset, off_t bytes)
{
    return fallocate(fd, mode, offset, bytes);
}

/* The record follows the call: what was synced is what stands before it. */
EXPORT int fsync(int fd)
{
    enter();
    int result = REAL(fsync)(fd);
    if (result == 0)
        note_fd("sync", fd, 0, 0, NULL);
    leave();
    return result;
}

EXPORT int fdatasync(int fd)
{
    enter();
    int result = REAL(fdatasync)(fd);
    if (result == 0)
        note_fd("sync", fd, 0, 0, NULL);
    leave();
    return result;
}

struct io_uring;
int io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);
EXPORT int io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
    (void)entries;
    (void)ring;
    (void)flags;
    return -ENOSYS;
}
