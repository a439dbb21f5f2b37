/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks over the folders of a dir store: listing in byte order of whole names, and the
 * sweep at open.
 *
 * W1  memory: the entries of the folders on one path from the root, never of the tree;
 * W2  order: a folder is compared as "name/", so "a-b", "a.b" and "a/c" come in the byte
 *     order of the whole names although they are on different levels;
 * W3  no descriptor stays open while each() runs or a deeper level is read;
 * W4  links are never followed; what is neither a file nor a folder is not ours.
 */
#include "store/dir_tree.h"

#include "base/buf.h"
#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct entry {
    char *key; /* the name; folders end in '/' */
    uint64_t bytes;
};

struct level {
    struct entry *entries;
    size_t count, cap;
};

struct lister {
    struct dir_tree *tree;
    const char *prefix;
    bool (*each)(void *ctx, const char *name, uint64_t bytes, struct err *err);
    void *ctx;
};

static void level_release(struct level *level)
{
    for (size_t i = 0; i < level->count; i++)
        free(level->entries[i].key);
    free(level->entries);
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    return strcmp(left->key, right->key);
}

/* Whether names under key (a whole name, or a folder with '/') can begin with prefix. */
static bool may_match(const char *key, const char *prefix)
{
    size_t key_length = strlen(key), prefix_length = strlen(prefix);
    if (prefix_length <= key_length)
        return strncmp(key, prefix, prefix_length) == 0;
    return key_length && key[key_length - 1] == '/' &&
           strncmp(key, prefix, key_length) == 0;
}

static DIR *open_level(struct dir_tree *tree, const char *folder, struct err *err)
{
    int fd = openat(tree->root_fd, *folder ? folder : ".",
                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        (void)err_errno(err, errno, "open folder '%s/%s'", tree->path, folder);
        if (fd >= 0)
            (void)close(fd); /* nothing buffered */
    }
    return dir;
}

/* Adds one directory entry when it is ours and may match. full: the folder with '/'. */
static void add_entry(const struct lister *lister, struct level *level, int dir_fd,
                      const char *full, const char *name)
{
    struct stat st;
    if (name[0] == DIR_OWN_MARK || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return;
    AUTO(buf_release) struct buf key = {0};
    buf_printf(&key, "%s%s/", full, name);
    if (!may_match(buf_text(&key), lister->prefix)) /* spares the fstatat */
        return;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return; /* removed meanwhile */
    if (!S_ISDIR(st.st_mode))
        key.data[--key.bytes] = 0;
    struct err ignored;
    if ((!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)) ||
        !may_match(buf_text(&key), lister->prefix) ||
        !store_check_prefix(buf_text(&key), &ignored))
        return;
    if (level->count == level->cap) {
        level->cap = level->cap ? 2 * level->cap : 32;
        level->entries = xrealloc(level->entries, level->cap, sizeof *level->entries);
    }
    level->entries[level->count++] =
        (struct entry){buf_take_text(&key), (uint64_t)st.st_size};
}

/* folder: "" or without a closing '/'. A folder that is gone is empty. */
static bool read_level(const struct lister *lister, const char *folder,
                       struct level *level, struct err *err)
{
    struct err open_err = ERR_INIT;
    DIR *dir = open_level(lister->tree, folder, &open_err);
    if (!dir && (open_err.sys_errno == ENOENT || open_err.sys_errno == ENOTDIR))
        return true;
    if (!dir) {
        *err = open_err;
        return false;
    }
    AUTO(buf_release) struct buf full = {0};
    if (*folder)
        buf_printf(&full, "%s/", folder);
    errno = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL; errno = 0)
        add_entry(lister, level, dirfd(dir), buf_text(&full), e->d_name);
    int failed = errno;
    (void)closedir(dir); /* read only */
    if (failed)
        return err_errno(err, failed, "read folder '%s/%s'", lister->tree->path, folder);
    if (level->count)
        qsort(level->entries, level->count, sizeof *level->entries, compare_entries);
    return true;
}

/* Recursion: at most STORE_NAME_MAX / 2 levels, the longest name that has that many. */
static bool list_level(const struct lister *lister, const char *folder, struct err *err)
{
    struct level level = {0};
    bool ok = read_level(lister, folder, &level, err);
    for (size_t i = 0; ok && i < level.count; i++) {
        char *key = level.entries[i].key;
        size_t last = strlen(key) - 1;
        if (key[last] == '/') {
            key[last] = 0;
            ok = list_level(lister, key, err);
        } else {
            ok = lister->each(lister->ctx, key, level.entries[i].bytes, err);
        }
    }
    level_release(&level);
    return ok;
}

bool dir_tree_list(struct dir_tree *tree, const char *prefix,
                   bool (*each)(void *ctx, const char *name, uint64_t bytes,
                                struct err *err),
                   void *ctx, struct err *err)
{
    struct lister lister = {.tree = tree, .prefix = prefix, .each = each, .ctx = ctx};
    AUTO(free) char *folder = dir_folder_name(prefix); /* nothing above it can match */
    return list_level(&lister, folder, err);
}

static bool sweep_level(struct dir_tree *tree, const char *folder, struct err *err);

static bool sweep_entry(struct dir_tree *tree, int dir_fd, const char *folder,
                        const char *name, struct err *err)
{
    struct stat st;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
        fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return true;
    if (S_ISREG(st.st_mode)) {
        bool is_lock = !*folder && strcmp(name, DIR_LOCK_NAME) == 0;
        if (name[0] == DIR_OWN_MARK && !is_lock && unlinkat(dir_fd, name, 0) != 0)
            return err_errno(err, errno, "remove '%s/%s/%s'", tree->path, folder, name);
        return true;
    }
    if (!S_ISDIR(st.st_mode))
        return true;
    AUTO(buf_release) struct buf full = {0};
    buf_printf(&full, "%s%s%s", folder, *folder ? "/" : "", name);
    if (!sweep_level(tree, buf_text(&full), err))
        return false;
    /* Empty folders only; an unlink in it before a crash becomes durable here. */
    AUTO(close_fd) int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_nlink <= 2 && fsync(fd) == 0)
        (void)unlinkat(dir_fd, name, AT_REMOVEDIR); /* not empty is what we expect */
    return true;
}

static bool sweep_level(struct dir_tree *tree, const char *folder, struct err *err)
{
    if (strlen(folder) > STORE_NAME_MAX)
        return true; /* no object of ours can be there */
    DIR *dir = open_level(tree, folder, err);
    if (!dir)
        return false;
    bool ok = true;
    errno = 0;
    for (struct dirent *e; ok && (e = readdir(dir)) != NULL; errno = 0)
        ok = sweep_entry(tree, dirfd(dir), folder, e->d_name, err);
    if (ok && errno)
        ok = err_errno(err, errno, "read folder '%s/%s'", tree->path, folder);
    (void)closedir(dir); /* read only */
    return ok;
}

bool dir_tree_sweep(struct dir_tree *tree, struct err *err)
{
    return sweep_level(tree, "", err);
}
