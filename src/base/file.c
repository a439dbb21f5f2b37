/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Durable files.
 *
 * F1  a name is only ever the target of a rename of a file that was fsynced before, and
 *     that nobody else writes: every write has a temporary name of its own;
 * F2  after the rename (or unlink) the folder is fsynced before success is reported;
 * F3  a failed write leaves the old content and removes its temporary file.
 * Every step has a fault point, so the crash sweep stops between any two of them.
 */
#include "base/file.h"

#include "base/fault.h"
#include "base/id.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

char *file_join(const char *dir, const char *name)
{
    struct buf path = {0};
    buf_printf(&path, "%s/%s", dir, name);
    return buf_take_text(&path);
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool file_read(const char *path, size_t max_bytes, struct buf *ret, struct err *err)
{
    AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return err_errno(err, errno, "open '%s'", path);
    size_t before = ret->bytes;
    for (;;) {
        if (ret->bytes - before > max_bytes)
            return err_set(err, FAIL_LIMIT, "'%s' is larger than %zu bytes", path,
                           max_bytes);
        buf_reserve(ret, 16 * KIB);
        ssize_t n = read(fd, ret->data + ret->bytes, 16 * KIB);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, errno, "read '%s'", path);
        ret->bytes += (size_t)n;
        ret->data[ret->bytes] = 0;
        if (n == 0)
            break;
    }
    return true;
}

bool file_sync_parent(const char *path, struct err *err)
{
    AUTO(free) char *dir = xstrdup(path);
    char *slash = strrchr(dir, '/');
    if (slash == dir)
        slash[1] = 0;
    else if (slash)
        *slash = 0;
    const char *name = slash ? dir : ".";
    AUTO(close_fd) int fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "open folder '%s'", name);
    if (FAULT(FILE_BEFORE_DIR_FSYNC, err))
        return false;
    if (fsync(fd) != 0)
        return err_errno(err, errno, "fsync folder '%s'", name);
    return true;
}

static bool write_tmp(const char *tmp, const void *data, size_t data_bytes, unsigned mode,
                      struct err *err)
{
    AUTO(close_fd)
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return err_errno(err, errno, "create '%s'", tmp);
    if (!file_pwrite_full(fd, tmp, data, data_bytes, 0, err))
        return false;
    if (FAULT(FILE_BEFORE_FSYNC, err))
        return false;
    if (fsync(fd) != 0)
        return err_errno(err, errno, "fsync '%s'", tmp);
    return true;
}

bool file_write_durable(const char *path, const void *data, size_t data_bytes,
                        unsigned mode, struct err *err)
{
    struct id unique = id_random();
    char unique_text[ID_TEXT_BYTES];
    struct buf name = {0};
    buf_printf(&name, "%s.%s.tmp", path, id_text(&unique, unique_text));
    AUTO(free) char *tmp = buf_take_text(&name);
    bool ok = write_tmp(tmp, data, data_bytes, mode, err);
    if (ok && FAULT(FILE_BEFORE_RENAME, err))
        ok = false;
    if (ok && rename(tmp, path) != 0)
        ok = err_errno(err, errno, "rename '%s' to '%s'", tmp, path);
    if (!ok) {
        (void)unlink(tmp); /* the error that brought us here is the one to report */
        return false;
    }
    return file_sync_parent(path, err);
}

bool file_remove_durable(const char *path, struct err *err)
{
    if (unlink(path) != 0) {
        if (errno == ENOENT)
            return true;
        return err_errno(err, errno, "remove '%s'", path);
    }
    return file_sync_parent(path, err);
}

bool file_make_dirs(const char *path, struct err *err)
{
    if (!*path)
        return err_set(err, FAIL_INPUT, "the name of a folder is empty");
    AUTO(free) char *part = xstrdup(path);
    for (char *p = part + 1;; p++) {
        if (*p != '/' && *p != 0)
            continue;
        char kept = *p;
        *p = 0;
        if (mkdir(part, 0700) == 0) {
            if (!file_sync_parent(part, err))
                return false;
        } else if (errno != EEXIST) {
            return err_errno(err, errno, "make folder '%s'", part);
        }
        *p = kept;
        if (!kept)
            break;
    }
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return err_set(err, FAIL_INPUT, "'%s' is not a folder", path);
    return true;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

bool file_remove_tree(const char *path, struct err *err)
{
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0 &&
        errno != ENOENT)
        return err_errno(err, errno, "remove folder '%s'", path);
    return true;
}

bool file_sweep_tmp(const char *dir, struct err *err)
{
    DIR *d = opendir(dir);
    if (!d)
        return errno == ENOENT ? true : err_errno(err, errno, "open folder '%s'", dir);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        size_t length = strlen(e->d_name);
        if (length > 4 && strcmp(e->d_name + length - 4, ".tmp") == 0)
            (void)unlinkat(dirfd(d), e->d_name, 0); /* tried again at the next start */
    }
    (void)closedir(d);
    return true;
}

bool file_pread_full(int fd, const char *name, uint8_t *data, size_t data_bytes,
                     uint64_t offset_bytes, struct err *err)
{
    size_t done = 0;
    while (done < data_bytes) {
        ssize_t n =
            pread(fd, data + done, data_bytes - done, (off_t)(offset_bytes + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, errno, "read '%s' at %llu", name,
                             (unsigned long long)(offset_bytes + done));
        if (n == 0)
            return err_set(err, FAIL_CORRUPT, "'%s' ends at byte %llu", name,
                           (unsigned long long)(offset_bytes + done));
        done += (size_t)n;
    }
    return true;
}

bool file_pwrite_full(int fd, const char *name, const uint8_t *data, size_t data_bytes,
                      uint64_t offset_bytes, struct err *err)
{
    size_t done = 0;
    while (done < data_bytes) {
        ssize_t n =
            pwrite(fd, data + done, data_bytes - done, (off_t)(offset_bytes + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, errno, "write '%s' at %llu", name,
                             (unsigned long long)(offset_bytes + done));
        done += (size_t)n;
    }
    return true;
}

bool file_size(int fd, const char *name, uint64_t *ret_bytes, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_errno(err, errno, "stat '%s'", name);
    if (S_ISREG(st.st_mode)) {
        *ret_bytes = (uint64_t)st.st_size;
        return true;
    }
    if (!S_ISBLK(st.st_mode))
        return err_set(err, FAIL_INPUT, "'%s' is neither a file nor a block device",
                       name);
    if (ioctl(fd, BLKGETSIZE64, ret_bytes) != 0)
        return err_errno(err, errno, "size of block device '%s'", name);
    return true;
}
