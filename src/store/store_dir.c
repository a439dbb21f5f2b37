/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects as files below one folder; the name is the path. Plain files, so that a person
 * can look at them, copy them and back them up with what they know.
 *
 * D1  a file gets its name only by a rename of a temporary file in the same folder whose
 *     content was synced before; the folder is synced before success is reported;
 * D2  temporary names begin with a character that no object name can hold: no listing
 *     shows them and no name reaches them; the sweep at open removes what a crash left;
 * D3  STORE_IF_ABSENT names by an operation that fails when the name is there
 *     (RENAME_NOREPLACE, else link): of racing puts exactly one wins;
 * D4  one process: the lock file's flock is held from open to close.
 *
 * Large page-aligned buffers go to the disk without a copy (O_DIRECT) where the file
 * system can; a put then costs one write, one fdatasync, one rename, one folder fsync
 * (and one truncate when the length is not a multiple of 4096).
 */
#include "store/store.h"

#include "base/fault.h"
#include "base/file.h"
#include "store/dir_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIRECT_ALIGN_BYTES 4096u
#define DIRECT_MIN_BYTES   (64 * KIB)
#define TAKE_TRIES         100 /* a folder can be removed under us only so often */

struct store_dir {
    struct store base;
    /* Set by store_dir_open, never changed. */
    struct dir_tree tree;
    int lock_fd;
    /* Atomic. */
    _Atomic uint64_t next_tmp;
};

/* One put on its way; tmp is "" once the file has its name. */
struct put {
    struct store_dir *store;
    struct dir_folder *folder;
    const char *name, *base;
    char tmp[32];
};

static struct store_dir *dir_of(struct store *store)
{
    return (struct store_dir *)store;
}

static bool exists_error(const struct put *put, struct err *err)
{
    return err_set(err, FAIL_CONFLICT, "put '%s': it exists already", put->name);
}

static bool write_plain(int fd, const struct put *put, const uint8_t *data,
                        size_t data_bytes, struct err *err)
{
    return file_pwrite_full(fd, put->name, data, data_bytes, 0, err);
}

/* Body and padded tail in one write, then the exact length. false with sys_errno EINVAL
 * when this file system cannot. */
static bool write_direct(int fd, const struct put *put, const uint8_t *data,
                         size_t data_bytes, struct err *err)
{
    uint64_t padded_bytes = round_up(data_bytes, DIRECT_ALIGN_BYTES);
    if (!file_pwrite_full(fd, put->name, data, (size_t)padded_bytes, 0, err))
        return false;
    if (padded_bytes != data_bytes && ftruncate(fd, (off_t)data_bytes) != 0)
        return err_errno(err, errno, "truncate '%s'", put->name);
    return true;
}

static bool write_content(int fd, const struct put *put, const uint8_t *data,
                          size_t data_bytes, struct err *err)
{
    if (data_bytes < DIRECT_MIN_BYTES || (uintptr_t)data % DIRECT_ALIGN_BYTES ||
        fcntl(fd, F_SETFL, O_DIRECT) != 0)
        return write_plain(fd, put, data, data_bytes, err);
    if (write_direct(fd, put, data, data_bytes, err))
        return true;
    if (err->sys_errno != EINVAL || fcntl(fd, F_SETFL, 0) != 0)
        return false;
    if (ftruncate(fd, 0) != 0)
        return err_errno(err, errno, "truncate '%s'", put->name);
    err_clear(err);
    return write_plain(fd, put, data, data_bytes, err);
}

/* false with sys_errno ENOENT: the folder was removed under us. */
static bool make_tmp(struct put *put, const uint8_t *data, size_t data_bytes,
                     struct err *err)
{
    (void)snprintf(put->tmp, sizeof put->tmp, "%c%llu", DIR_OWN_MARK,
                   (unsigned long long)atomic_fetch_add(&put->store->next_tmp, 1));
    AUTO(close_fd)
    int fd = openat(put->folder->fd, put->tmp,
                    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        (void)err_errno(err, errno, "create '%s/%s'", put->store->tree.path, put->name);
        put->tmp[0] = 0;
        return false;
    }
    if (!write_content(fd, put, data, data_bytes, err))
        return false;
    if (FAULT(FILE_BEFORE_FSYNC, err))
        return false;
    if (fdatasync(fd) != 0)
        return err_errno(err, errno, "fdatasync '%s'", put->name);
    return true;
}

/* For file systems without RENAME_NOREPLACE. */
static int name_by_link(const struct put *put)
{
    if (linkat(put->folder->fd, put->tmp, put->folder->fd, put->base, 0) != 0)
        return -1;
    return unlinkat(put->folder->fd, put->tmp, 0);
}

static bool give_name(struct put *put, enum store_put_mode mode, struct err *err)
{
    int fd = put->folder->fd;
    if (FAULT(FILE_BEFORE_RENAME, err))
        return false;
    int failed = renameat2(fd, put->tmp, fd, put->base,
                           mode == STORE_IF_ABSENT ? RENAME_NOREPLACE : 0);
    if (failed && errno == EINVAL && mode == STORE_IF_ABSENT)
        failed = name_by_link(put);
    if (failed && errno == EEXIST)
        return exists_error(put, err);
    if (failed && errno == EISDIR)
        return err_set(err, FAIL_CONFLICT, "put '%s': it is the folder of other objects",
                       put->name);
    if (failed)
        return err_errno(err, errno, "rename to '%s/%s'", put->store->tree.path,
                         put->name);
    put->tmp[0] = 0;
    if (FAULT(FILE_BEFORE_DIR_FSYNC, err))
        return false;
    if (fsync(fd) != 0)
        return err_errno(err, errno, "fsync the folder of '%s/%s'", put->store->tree.path,
                         put->name);
    return true;
}

/* Spares writing what cannot be named; the rename decides (D3). */
static bool check_absent(const struct put *put, struct err *err)
{
    struct stat st;
    if (fstatat(put->folder->fd, put->base, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return true;
    if (S_ISDIR(st.st_mode))
        return err_set(err, FAIL_CONFLICT, "put '%s': it is the folder of other objects",
                       put->name);
    return exists_error(put, err);
}

static bool put_into(struct put *put, const uint8_t *data, size_t data_bytes,
                     enum store_put_mode mode, struct err *err)
{
    bool ok = (mode == STORE_REPLACE || check_absent(put, err)) &&
              make_tmp(put, data, data_bytes, err) && give_name(put, mode, err);
    if (!ok && put->tmp[0])
        (void)unlinkat(put->folder->fd, put->tmp, 0); /* else the next open's sweep */
    return ok;
}

static bool dir_put(struct store *store, const char *name, const uint8_t *data,
                    size_t data_bytes, enum store_put_mode mode, struct err *err)
{
    struct store_dir *s = dir_of(store);
    AUTO(free) char *folder_name = dir_folder_name(name);
    if (FAULT(STORE_BEFORE_PUT, err))
        return false;
    bool ok = false;
    for (int tries = 0; !ok && tries < TAKE_TRIES; tries++) {
        struct put put = {.store = s, .name = name, .base = dir_last_part(name)};
        struct err try_err = ERR_INIT;
        put.folder = dir_tree_take(&s->tree, folder_name, &try_err);
        if (put.folder) {
            ok = put_into(&put, data, data_bytes, mode, &try_err);
            if (!ok && try_err.sys_errno == ENOENT)
                dir_tree_forget(&s->tree, folder_name);
            dir_tree_give(&s->tree, put.folder);
        }
        if (ok)
            break;
        if (try_err.sys_errno != ENOENT || tries + 1 == TAKE_TRIES) {
            dir_tree_prune(&s->tree, folder_name);
            *err = try_err;
            return false;
        }
    }
    return !FAULT(STORE_AFTER_PUT, err);
}

/* -1 with *err set; only a regular file is an object. */
static int open_object(struct store_dir *s, const char *name, struct stat *ret_st,
                       struct err *err)
{
    int fd =
        openat(s->tree.root_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT && errno != ENOTDIR) {
        (void)err_errno(err, errno, "open '%s/%s'", s->tree.path, name);
        return -1;
    }
    if (fd >= 0 && fstat(fd, ret_st) == 0 && S_ISREG(ret_st->st_mode))
        return fd;
    if (fd >= 0)
        (void)close(fd); /* read only */
    (void)err_set(err, FAIL_GONE, "no object '%s' in '%s'", name, s->tree.path);
    return -1;
}

static bool dir_get(struct store *store, const char *name, uint64_t offset_bytes,
                    uint8_t *data, size_t data_bytes, size_t *ret_bytes, struct err *err)
{
    struct stat st;
    AUTO(close_fd) int fd = open_object(dir_of(store), name, &st, err);
    if (fd < 0)
        return false;
    size_t want = 0, got = 0;
    if (offset_bytes < (uint64_t)st.st_size)
        want = (size_t)MIN_OF((uint64_t)data_bytes, (uint64_t)st.st_size - offset_bytes);
    while (got < want) {
        ssize_t n = pread(fd, data + got, want - got, (off_t)(offset_bytes + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, errno, "read '%s' at %llu", name,
                             (unsigned long long)(offset_bytes + got));
        if (n == 0)
            return err_set(err, FAIL_CORRUPT,
                           "'%s' was cut to %llu bytes by another "
                           "process",
                           name, (unsigned long long)(offset_bytes + got));
        got += (size_t)n;
    }
    *ret_bytes = got;
    return true;
}

static bool dir_size(struct store *store, const char *name, uint64_t *ret_bytes,
                     struct err *err)
{
    struct stat st;
    AUTO(close_fd) int fd = open_object(dir_of(store), name, &st, err);
    if (fd < 0)
        return false;
    *ret_bytes = (uint64_t)st.st_size;
    return true;
}

static bool dir_list(struct store *store, const char *prefix,
                     bool (*each)(void *ctx, const char *name, uint64_t bytes,
                                  struct err *err),
                     void *ctx, struct err *err)
{
    return dir_tree_list(&dir_of(store)->tree, prefix, each, ctx, err);
}

static bool dir_remove(struct store *store, const char *name, struct err *err)
{
    struct store_dir *s = dir_of(store);
    AUTO(free) char *folder = dir_folder_name(name);
    if (FAULT(STORE_BEFORE_DELETE, err))
        return false;
    {
        AUTO(close_fd)
        int fd = openat(s->tree.root_fd, *folder ? folder : ".",
                        O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
            return true;
        if (fd < 0)
            return err_errno(err, errno, "open folder '%s/%s'", s->tree.path, folder);
        if (unlinkat(fd, dir_last_part(name), 0) != 0 && errno != ENOENT &&
            errno != EISDIR)
            return err_errno(err, errno, "remove '%s/%s'", s->tree.path, name);
        /* Also when it was gone: the one who removed it may have died before this. */
        if (fsync(fd) != 0)
            return err_errno(err, errno, "fsync folder '%s/%s'", s->tree.path, folder);
    }
    dir_tree_prune(&s->tree, folder);
    return true;
}

static void dir_close(struct store *store)
{
    struct store_dir *s = dir_of(store);
    dir_tree_release(&s->tree);
    if (s->lock_fd >= 0)
        (void)close(s->lock_fd); /* gives the lock up */
    free(s);
}

static const struct store_ops DIR_OPS = {
    .kind = "dir",
    .put = dir_put,
    .get = dir_get,
    .size = dir_size,
    .list = dir_list,
    .remove = dir_remove,
    .close = dir_close,
};

static bool take_lock(struct store_dir *s, struct err *err)
{
    s->lock_fd = openat(s->tree.root_fd, DIR_LOCK_NAME,
                        O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (s->lock_fd < 0)
        return err_errno(err, errno, "open lock file of store folder '%s'", s->tree.path);
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    if (errno == EWOULDBLOCK)
        return err_set(err, FAIL_CONFLICT,
                       "store folder '%s' is in use by another process; stop that one "
                       "or choose another folder",
                       s->tree.path);
    return err_errno(err, errno, "lock store folder '%s'", s->tree.path);
}

struct store *store_dir_open(const char *path, struct err *err)
{
    if (!file_make_dirs(path, err)) {
        (void)err_wrap(err, "store folder");
        return NULL;
    }
    int root_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0) {
        (void)err_errno(err, errno, "open store folder '%s'", path);
        return NULL;
    }
    struct store_dir *s = xcalloc(1, sizeof *s);
    s->base.ops = &DIR_OPS;
    s->lock_fd = -1;
    dir_tree_init(&s->tree, path, root_fd);
    AUTO(store_close) struct store *store = &s->base;
    if (!take_lock(s, err) || !dir_tree_sweep(&s->tree, err))
        return NULL;
    return TAKE(store);
}
