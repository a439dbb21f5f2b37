/* SPDX-License-Identifier: Apache-2.0 */
/* Stores by address: the only place that knows every kind. */
#include "azure/blob.h"
#include "base/text.h"
#include "store/store.h"

#define DIR_SCHEME  "dir:"
#define BLOB_SCHEME "blob:"

/* A job can be canceled only between its calls: not the five minutes of the default. */
#define RETRY_FOR_MS 120000

bool store_check_address(const char *address, struct err *err)
{
    struct blob_address parsed;
    if (text_starts_with(address, DIR_SCHEME)) {
        if (address[strlen(DIR_SCHEME)] != '/')
            return err_set(err, FAIL_INPUT,
                           "'%.200s' must name an absolute path; write dir:/path",
                           address);
        return true;
    }
    if (text_starts_with(address, BLOB_SCHEME))
        return blob_address_parse(address + strlen(BLOB_SCHEME), &parsed, err);
    return err_set(err, FAIL_INPUT,
                   "'%.200s' is no address of a store; write dir:/path or "
                   "blob:https://ACCOUNT.blob.core.windows.net/CONTAINER",
                   address);
}

struct store *store_open_address(const char *address, const char *credential_file,
                                 enum path_role role, struct err *err)
{
    if (!store_check_address(address, err))
        return NULL;
    if (text_starts_with(address, DIR_SCHEME))
        return store_dir_open(address + strlen(DIR_SCHEME), err);
    if (!credential_file) {
        (void)err_set(err, FAIL_INPUT,
                      "'%.200s' needs a credential; name its file in the configuration",
                      address);
        return NULL;
    }
    struct store_blob_options options = {.url = address + strlen(BLOB_SCHEME),
                                         .credential_file = credential_file,
                                         .retry_for_ms = RETRY_FOR_MS,
                                         .role = role};
    return store_blob_open(&options, err);
}
