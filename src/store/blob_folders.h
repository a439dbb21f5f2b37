/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that are folders of other objects, as far as one store has seen, so that a put
 * need not ask each time. Bounded: when there are too many, all are forgotten. Any
 * thread.
 */
#ifndef STORE_BLOB_FOLDERS_H
#define STORE_BLOB_FOLDERS_H

#include "base/defs.h"

struct blob_folders;

MUST_CHECK struct blob_folders *blob_folders_new(size_t max);
void blob_folders_free(struct blob_folders *folders);

enum blob_folder {
    FOLDER_UNKNOWN,
    FOLDER_KNOWN,    /* it was a folder when we looked */
    FOLDER_SURVEYED, /* and all folders in it are known */
};
enum blob_folder blob_folders_get(struct blob_folders *folders, const char *name);
/* Never makes a surveyed one less. name "" is the top. */
void blob_folders_add(struct blob_folders *folders, const char *name,
                      enum blob_folder how);
void blob_folders_forget(struct blob_folders *folders, const char *name);

#endif
