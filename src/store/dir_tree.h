/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The folders below a dir store: open descriptors of folders that are known to be
 * durable, made on demand, removed when empty. Private to src/store. Any thread.
 */
#ifndef STORE_DIR_TREE_H
#define STORE_DIR_TREE_H

#include "base/err.h"

#define DIR_TREE_CACHED 32

/* What no object name can hold begins the names of our own files. */
#define DIR_OWN_MARK  '#'
#define DIR_LOCK_NAME "#lock"

/* A folder in use: borrowed from the tree until given back. */
struct dir_folder {
    /* Set by dir_tree_take, never changed. */
    char *name; /* owned; "" is the root */
    int fd;
    /* Guarded by the tree's lock. */
    unsigned users;
    bool is_cached;
    uint64_t used_at;
};

struct dir_tree {
    /* Set by dir_tree_init, never changed. */
    char *path; /* owned; for error texts */
    int root_fd;
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct dir_folder *cached[DIR_TREE_CACHED];
    uint64_t clock;
};

/* Takes ownership of root_fd. */
void dir_tree_init(struct dir_tree *tree, const char *path, int root_fd);
void dir_tree_release(struct dir_tree *tree);

/* The folder of an object ("a/b" for "a/b/c", "" for "c"), made durable with all above it
 * when missing. FAIL_CONFLICT when an object is in the way; sys_errno ENOENT: removed
 * meanwhile, take it again. Give it back with dir_tree_give. */
MUST_CHECK struct dir_folder *dir_tree_take(struct dir_tree *tree, const char *name,
                                            struct err *err);
void dir_tree_give(struct dir_tree *tree, struct dir_folder *folder);

/* The folder is gone from disk: do not hand it out again. */
void dir_tree_forget(struct dir_tree *tree, const char *name);

/* Removes the folder and those above it as far as they are empty. What was removed in it
 * must be durable. */
void dir_tree_prune(struct dir_tree *tree, const char *name);

/* Removes what a crash left below the root: our temporary files and empty folders. */
MUST_CHECK bool dir_tree_sweep(struct dir_tree *tree, struct err *err);

MUST_CHECK bool dir_tree_list(struct dir_tree *tree, const char *prefix,
                              bool (*each)(void *ctx, const char *name, uint64_t bytes,
                                           struct err *err),
                              void *ctx, struct err *err);

/* Where the last part of the name begins; the folder's name is what precedes it. */
const char *dir_last_part(const char *name);
/* malloc'ed. */
MUST_CHECK char *dir_folder_name(const char *name);

#endif
