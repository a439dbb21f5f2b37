/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders of a dir store.
 *
 * T1  a folder is in the cache only when the entries of it and of all folders above it
 *     are durable: each parent was fsynced after the entry was seen in it, by us. (Seeing
 *     a folder that another thread has just made proves nothing.) An object put into a
 *     cached folder needs no fsync but the folder's own.
 * T2  a folder is removed only with rmdir, so never with an object or a temporary file in
 *     it; a put that loses this race gets ENOENT from the dead folder and takes it again.
 * T3  a descriptor is closed when it is neither cached nor in use.
 * Must never hold the lock during I/O.
 */
#include "store/dir_tree.h"

#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

const char *dir_last_part(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

char *dir_folder_name(const char *name)
{
    char *folder = xstrdup(name);
    char *slash = strrchr(folder, '/');
    if (slash)
        *slash = 0;
    else
        folder[0] = 0;
    return folder;
}

void dir_tree_init(struct dir_tree *tree, const char *path, int root_fd)
{
    *tree = (struct dir_tree){.path = xstrdup(path), .root_fd = root_fd};
    (void)pthread_mutex_init(&tree->lock, NULL); /* default attributes cannot fail */
}

static void folder_free(struct dir_folder *folder)
{
    (void)close(folder->fd); /* a folder: nothing is buffered in the descriptor */
    free(folder->name);
    free(folder);
}

void dir_tree_release(struct dir_tree *tree)
{
    for (size_t i = 0; i < DIR_TREE_CACHED; i++)
        if (tree->cached[i])
            folder_free(tree->cached[i]);
    if (tree->root_fd >= 0)
        (void)close(tree->root_fd);           /* as above */
    (void)pthread_mutex_destroy(&tree->lock); /* nobody holds it: we are the last */
    free(tree->path);
}

static struct dir_folder *find_cached(struct dir_tree *tree, const char *name)
{
    LOCK_GUARD(&tree->lock);
    for (size_t i = 0; i < DIR_TREE_CACHED; i++) {
        struct dir_folder *folder = tree->cached[i];
        if (folder && strcmp(folder->name, name) == 0) {
            folder->users++;
            folder->used_at = ++tree->clock;
            return folder;
        }
    }
    return NULL;
}

/* Takes the entry out of the cache; returns what the caller must free (T3). */
static struct dir_folder *drop_locked(struct dir_tree *tree, size_t slot)
{
    struct dir_folder *folder = tree->cached[slot];
    if (!folder)
        return NULL;
    tree->cached[slot] = NULL;
    folder->is_cached = false;
    return folder->users ? NULL : folder;
}

static struct dir_folder *swap_in_locked(struct dir_tree *tree, struct dir_folder *folder)
{
    size_t slot = 0;
    for (size_t i = 0; i < DIR_TREE_CACHED; i++) {
        const struct dir_folder *at = tree->cached[i];
        const struct dir_folder *best = tree->cached[slot];
        if (at && strcmp(at->name, folder->name) == 0) {
            slot = i; /* another thread was here first: the newer one stays */
            break;
        }
        if (best && (!at || at->used_at < best->used_at))
            slot = i;
    }
    struct dir_folder *old = drop_locked(tree, slot);
    tree->cached[slot] = folder;
    folder->is_cached = true;
    folder->used_at = ++tree->clock;
    return old;
}

/* A new folder in use by the caller; not cached for the root, which needs no T1. */
static struct dir_folder *folder_new(struct dir_tree *tree, const char *name, int fd)
{
    struct dir_folder *folder = xcalloc(1, sizeof *folder);
    folder->name = xstrdup(name);
    folder->fd = fd;
    folder->users = 1;
    struct dir_folder *old = NULL;
    if (*name) {
        LOCK_GUARD(&tree->lock);
        old = swap_in_locked(tree, folder);
    }
    if (old)
        folder_free(old);
    return folder;
}

void dir_tree_give(struct dir_tree *tree, struct dir_folder *folder)
{
    if (!folder)
        return;
    bool is_last = false;
    {
        LOCK_GUARD(&tree->lock);
        is_last = --folder->users == 0 && !folder->is_cached;
    }
    if (is_last)
        folder_free(folder);
}

void dir_tree_forget(struct dir_tree *tree, const char *name)
{
    struct dir_folder *old = NULL;
    {
        LOCK_GUARD(&tree->lock);
        for (size_t i = 0; i < DIR_TREE_CACHED && !old; i++)
            if (tree->cached[i] && strcmp(tree->cached[i]->name, name) == 0)
                old = drop_locked(tree, i);
    }
    if (old)
        folder_free(old);
}

/* The folder 'name' inside parent, made when missing, its entry durable (T1). */
static struct dir_folder *make_inside(struct dir_tree *tree, struct dir_folder *parent,
                                      const char *name, struct err *err)
{
    const char *base = dir_last_part(name);
    bool ok = true;
    if (mkdirat(parent->fd, base, 0700) != 0 && errno != EEXIST) {
        ok = err_errno(err, errno, "make folder '%s/%s'", tree->path, name);
        if (err->sys_errno == ENOENT)
            dir_tree_forget(tree, parent->name);
    }
    if (!ok || FAULT(FILE_BEFORE_DIR_FSYNC, err))
        return NULL;
    if (fsync(parent->fd) != 0) {
        (void)err_errno(err, errno, "fsync folder '%s/%s'", tree->path, parent->name);
        return NULL;
    }
    int fd = openat(parent->fd, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
        return folder_new(tree, name, fd);
    int failed = errno;
    if (failed == ENOTDIR || failed == ELOOP)
        (void)err_set(err, FAIL_CONFLICT, "'%s/%s' is an object, not a folder",
                      tree->path, name);
    else
        (void)err_errno(err, failed, "open folder '%s/%s'", tree->path, name);
    return NULL;
}

struct dir_folder *dir_tree_take(struct dir_tree *tree, const char *name, struct err *err)
{
    struct dir_folder *folder = *name ? find_cached(tree, name) : NULL;
    if (folder)
        return folder;
    int fd = fcntl(tree->root_fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) {
        (void)err_errno(err, errno, "open folder '%s'", tree->path);
        return NULL;
    }
    folder = folder_new(tree, "", fd);
    AUTO(free) char *part = xstrdup(name);
    size_t length = strlen(name);
    for (size_t i = 1; folder && i <= length; i++) {
        if (name[i] && name[i] != '/')
            continue;
        part[i] = 0;
        struct dir_folder *next = find_cached(tree, part);
        if (!next)
            next = make_inside(tree, folder, part, err);
        dir_tree_give(tree, folder);
        folder = next;
        part[i] = name[i];
    }
    return folder;
}

void dir_tree_prune(struct dir_tree *tree, const char *name)
{
    AUTO(free) char *part = xstrdup(name);
    while (*part && unlinkat(tree->root_fd, part, AT_REMOVEDIR) == 0) {
        dir_tree_forget(tree, part);
        char *slash = strrchr(part, '/');
        *(slash ? slash : part) = 0;
    }
}
