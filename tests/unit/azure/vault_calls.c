/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes every call of azure/key_vault.h on a vault that somebody else runs, and checks
 * what comes back against what went in: vault_calls CREDENTIAL BASE_URL secrets|keys NAME
 * [loose] loose: the other side is a mock that invents its answers, so only what it
 * refuses counts. Used by tests/sim/test_azure_vault.py.
 */
#include "azure/key_vault.h"
#include "base/buf.h"

#include <stdio.h>

static bool is_loose;

static bool step(const char *what, bool ok, const struct err *err)
{
    /* A mock's ids and values mean nothing, but what it refuses does. */
    bool passes = ok || (is_loose && err->kind == FAIL_CORRUPT &&
                         strstr(err->text, "makes no sense"));
    (void)printf("%s: %s\n", what, ok ? "ok" : err->text);
    return passes;
}

static bool call_secrets(struct key_vault *vault, const char *name)
{
    struct err err = ERR_INIT;
    char first[KEY_VAULT_VERSION_BYTES] = "v", second[KEY_VAULT_VERSION_BYTES] = "v";
    char got[KEY_VAULT_VERSION_BYTES];
    static const char TEXT[] = "a value with \"quotes\", umlauts \xc3\xa4 and \n a line";
    AUTO(secret_free) struct secret *value = secret_new(TEXT, sizeof TEXT - 1);
    AUTO(secret_free) struct secret *other = secret_new("another", 7);
    if (!step("set", key_vault_secret_set(vault, name, value, first, &err), &err) ||
        !step("set again", key_vault_secret_set(vault, name, other, second, &err), &err))
        return false;
    AUTO(secret_free)
    struct secret *newest = key_vault_secret_get(vault, name, "", got, &err);
    if (!step("get newest", newest != NULL, &err))
        return false;
    AUTO(secret_free)
    struct secret *older = key_vault_secret_get(vault, name, first, got, &err);
    AUTO(key_vault_versions_release) struct key_vault_versions list = {.count = 0};
    if (!step("get by version", older != NULL, &err) ||
        !step("list", key_vault_list_versions(vault, KEY_VAULT_SECRET, name, &list, &err),
              &err))
        return false;
    return is_loose || (secret_equal(newest, "another", 7) &&
                        secret_equal(older, TEXT, sizeof TEXT - 1) && list.count == 2 &&
                        strcmp(first, second) != 0);
}

static bool call_keys(struct key_vault *vault, const char *name)
{
    struct err err = ERR_INIT;
    uint8_t raw[64];
    char first[KEY_VAULT_VERSION_BYTES] = "v", second[KEY_VAULT_VERSION_BYTES] = "v";
    AUTO(buf_release) struct buf wrapped = {0};
    secret_random(raw, sizeof raw);
    AUTO(secret_free) struct secret *clear = secret_new(raw, sizeof raw);
    if (!step("newest", key_vault_key_newest(vault, name, first, &err), &err) ||
        !step("wrap", key_vault_wrap(vault, name, first, clear, &wrapped, &err), &err) ||
        !step("rotate", key_vault_key_rotate(vault, name, second, &err), &err))
        return false;
    const char *text = is_loose ? "AAEC" : buf_text(&wrapped);
    AUTO(secret_free)
    struct secret *back = key_vault_unwrap(vault, name, first, text, &err);
    AUTO(key_vault_versions_release) struct key_vault_versions list = {.count = 0};
    if (!step("unwrap", back != NULL, &err) ||
        !step("list", key_vault_list_versions(vault, KEY_VAULT_KEY, name, &list, &err),
              &err))
        return false;
    return is_loose || (secret_equal(clear, back->data, back->bytes) && list.count >= 2 &&
                        strcmp(first, second) != 0);
}

int main(int argc, char **argv)
{
    struct err err = ERR_INIT;
    struct azure_access access;
    struct key_vault_address address;
    char url[512];
    if (argc < 5)
        return 2;
    is_loose = argc > 5;
    (void)snprintf(url, sizeof url, "%s/%s/%s", argv[2], argv[3], argv[4]);
    if (!azure_access_read(argv[1], &access, &err) ||
        !key_vault_parse(url, &address, &err)) {
        (void)fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    const struct key_vault_options options = {
        .address = &address, .access = &access, .retry_base_ms = 1};
    struct key_vault *vault = key_vault_open(&options, &err);
    if (!vault) {
        (void)fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    bool ok = address.kind == KEY_VAULT_SECRET ? call_secrets(vault, address.name)
                                               : call_keys(vault, address.name);
    key_vault_close(vault);
    azure_access_release(&access);
    return ok ? 0 : 1;
}
