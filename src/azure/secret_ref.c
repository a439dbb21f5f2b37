/* SPDX-License-Identifier: Apache-2.0 */
/* A vault is opened for one read: they are hours apart, and nothing is kept between. */
#include "azure/secret_ref.h"

#include "azure/key_vault.h"
#include "base/text.h"

#define VAULT_PREFIX "kv:"

static bool is_vault(const char *reference)
{
    return reference && text_starts_with(reference, VAULT_PREFIX);
}

bool azure_secret_ref_is_remote(const struct azure_access *access)
{
    return is_vault(access->secret_file);
}

bool azure_secret_ref_check(const char *reference, const char *kv_credential,
                            struct err *err)
{
    struct key_vault_address address;
    if (!is_vault(reference))
        return !text_starts_with(reference, "cred:") ||
               secret_check_reference(reference, err);
    if (!key_vault_parse(reference + sizeof VAULT_PREFIX - 1, &address, err))
        return false;
    if (address.kind != KEY_VAULT_SECRET)
        return err_set(err, FAIL_INPUT, "'%.200s' is a key; name a secret", reference);
    if (!kv_credential)
        return err_set(err, FAIL_INPUT,
                       "'%.200s' needs a credential of its own; set kv_credential",
                       reference);
    return true;
}

static struct secret *read_vault(const char *url, const char *credential, struct err *err)
{
    struct key_vault_address address;
    struct azure_access access = {.kind = AZURE_CLI};
    char version[KEY_VAULT_VERSION_BYTES];
    if (!key_vault_parse(url, &address, err) ||
        !azure_access_read(credential, &access, err))
        return NULL;
    struct secret *secret = NULL;
    if (azure_secret_ref_is_remote(&access)) {
        (void)err_set(err, FAIL_INPUT,
                      "credential '%.200s' refers to a vault itself; a credential for a "
                      "vault must not",
                      credential);
    } else {
        const struct key_vault_options options = {.address = &address, .access = &access};
        AUTO(key_vault_close) struct key_vault *vault = key_vault_open(&options, err);
        if (vault)
            secret =
                key_vault_secret_get(vault, address.name, address.version, version, err);
    }
    azure_access_release(&access);
    return secret;
}

struct secret *azure_secret_ref_read(const struct azure_access *access, struct err *err)
{
    const char *reference = access->secret_file;
    if (!is_vault(reference))
        return secret_read(reference, err);
    return read_vault(reference + sizeof VAULT_PREFIX - 1, access->kv_credential, err);
}
