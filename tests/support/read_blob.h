/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page blobs read back by the npm package @azure/storage-blob, which nobody of ours
 * wrote. KEDGE_STORAGE_BLOB names its folder; READ_BLOB_SCRIPT (set by meson)
 * read_blob.mjs.
 */
#ifndef SUPPORT_READ_BLOB_H
#define SUPPORT_READ_BLOB_H

#include "base/process.h"
#include "support/azurite.h"

#include <stdlib.h>

struct blob_seen {
    size_t ranges, snapshots;
};

static inline bool read_blob_is_there(void)
{
    return getenv("KEDGE_STORAGE_BLOB") != NULL;
}

/* files_dir: the emulator's; out_file gets the content; snapshot NULL: as it is now.
 * false: it could not be read, *err says why. */
static inline bool read_blob(const char *files_dir, unsigned port, const char *container,
                             const char *name, const char *snapshot, const char *out_file,
                             struct blob_seen *ret, struct err *err)
{
    char url[160], sas[512], trust[128];
    AUTO(buf_release) struct buf out = {0};
    azurite_sas("rl", 3600, sas);
    const char *sas_file = azurite_write(files_dir, "reader.sas", sas);
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%u/" AZURITE_ACCOUNT "/%s", port,
                   container);
    (void)snprintf(trust, sizeof trust, "NODE_EXTRA_CA_CERTS=%s/ca.pem", files_dir);
    const char *const argv[] = {
        "env", trust, "node",   READ_BLOB_SCRIPT, getenv("KEDGE_STORAGE_BLOB"),
        url,   name,  sas_file, out_file,         snapshot,
        NULL};
    return process_run(argv, 60000, NULL, &out, err) &&
           (sscanf(buf_text(&out), "%zu %zu", &ret->ranges, &ret->snapshots) == 2 ||
            err_set(err, FAIL_CORRUPT, "the reader said: %.100s", buf_text(&out)));
}

#endif
