/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table with chains. */
#include "store/blob_folders.h"

#include <string.h>

#define BUCKETS 4096

struct folder {
    struct folder *next;
    enum blob_folder how;
    char name[];
};

struct blob_folders {
    /* Set by blob_folders_new, never changed. */
    size_t max;
    pthread_mutex_t lock;
    /* Guarded by lock. */
    size_t count;
    struct folder *buckets[BUCKETS];
};

struct blob_folders *blob_folders_new(size_t max)
{
    struct blob_folders *folders = xcalloc(1, sizeof *folders);
    folders->max = max;
    (void)pthread_mutex_init(&folders->lock, NULL); /* default attributes cannot fail */
    return folders;
}

static void forget_all_locked(struct blob_folders *folders)
{
    for (size_t i = 0; i < BUCKETS; i++)
        while (folders->buckets[i]) {
            struct folder *folder = folders->buckets[i];
            folders->buckets[i] = folder->next;
            free(folder);
        }
    folders->count = 0;
}

void blob_folders_free(struct blob_folders *folders)
{
    if (!folders)
        return;
    forget_all_locked(folders);
    (void)pthread_mutex_destroy(&folders->lock); /* nobody holds it: we are the last */
    free(folders);
}

/* Where the pointer to it is, or would be. */
static struct folder **find_locked(struct blob_folders *folders, const char *name)
{
    uint32_t hash = 2166136261u;
    for (const char *p = name; *p; p++)
        hash = (hash ^ (uint8_t)*p) * 16777619u;
    struct folder **at = &folders->buckets[hash % BUCKETS];
    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    return at;
}

enum blob_folder blob_folders_get(struct blob_folders *folders, const char *name)
{
    LOCK_GUARD(&folders->lock);
    const struct folder *folder = *find_locked(folders, name);
    return folder ? folder->how : FOLDER_UNKNOWN;
}

void blob_folders_add(struct blob_folders *folders, const char *name,
                      enum blob_folder how)
{
    LOCK_GUARD(&folders->lock);
    if (folders->count >= folders->max)
        forget_all_locked(folders);
    struct folder **at = find_locked(folders, name);
    if (!*at) {
        size_t bytes = strlen(name) + 1;
        *at = xcalloc(1, sizeof **at + bytes);
        memcpy((*at)->name, name, bytes);
        folders->count++;
    }
    (*at)->how = MAX_OF((*at)->how, how);
}

void blob_folders_forget(struct blob_folders *folders, const char *name)
{
    LOCK_GUARD(&folders->lock);
    struct folder **at = find_locked(folders, name), *folder = *at;
    if (!folder)
        return;
    *at = folder->next;
    free(folder);
    folders->count--;
}
