/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of master keys and wrapped keys, whoever wrote them: byte 0 picks. What parses as
 * a master key must print to something that parses to the same; an error never quotes it.
 * No passphrase is given, so nothing pays what a line says scrypt should cost.
 */
#include "fuzz.h"

#include "azure/key_vault.h"
#include "base/text.h"
#include "keys/master_key.h"

static void check_masters(const struct master_keys *masters)
{
    AUTO(master_keys_release) struct master_keys again = {.count = 0};
    struct err err = ERR_INIT;
    AUTO(secret_free) struct secret *line = master_keys_print(masters, &err);
    if (!line || !master_keys_parse("f", line, NULL, &again, &err) ||
        again.count != masters->count)
        abort();
    for (size_t i = 0; i < again.count; i++)
        if (!secret_equal(again.keys[i], masters->keys[i]->data, MASTER_KEY_BYTES))
            abort();
}

static void try_master(const uint8_t *data, size_t data_bytes)
{
    AUTO(master_keys_release) struct master_keys masters = {.count = 0};
    struct err err = ERR_INIT;
    if (data_bytes > SECRET_MAX_BYTES)
        return;
    AUTO(secret_free) struct secret *line = secret_new(data, data_bytes);
    if (master_keys_parse("f", line, NULL, &masters, &err))
        check_masters(&masters);
    else if (err.kind != FAIL_CORRUPT && err.kind != FAIL_AUTH)
        abort();
}

static void try_wrapped(const char *text)
{
    static struct keys *keys; /* its own key never wrapped any of this */
    static const struct id MACHINE = {.bytes = {1}};
    struct err err = ERR_INIT;
    struct id key_id;
    char master[KEYS_MASTER_BYTES];
    if (!keys) {
        char dir[] = "/tmp/kedge-fuzz-XXXXXX", path[64];
        if (!mkdtemp(dir))
            abort();
        (void)snprintf(path, sizeof path, "%s/key", dir);
        if (!keys_file_create(path, &err) || !(keys = keys_file_open(path, &err)) ||
            remove(path) != 0 || remove(dir) != 0)
            abort();
    }
    secret_free(keys_unwrap(keys, &MACHINE, text, &key_id, &err));
    keys_master_of(keys, &MACHINE, text, master);
    if (err.kind == FAIL_NONE || keys_is_current(keys, text))
        abort();
}

static void try_address(const char *text)
{
    struct key_vault_address address;
    struct err err = ERR_INIT;
    if (!key_vault_parse(text, &address, &err)) {
        if (err.kind != FAIL_INPUT)
            abort();
        return;
    }
    if (!address.name[0] || !text_starts_with(text, address.origin) ||
        strlen(address.host) < 1)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_bytes)
{
    if (data_bytes < 2)
        return 0;
    AUTO(buf_release) struct buf text = {0};
    buf_append(&text, data + 1, data_bytes - 1);
    if (data[0] % 3 == 0)
        try_master(data + 1, data_bytes - 1);
    else if (data[0] % 3 == 1)
        try_wrapped(buf_text(&text));
    else
        try_address(buf_text(&text));
    return 0;
}
