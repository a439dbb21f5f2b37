/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `kedged --init`: also behind `kedge init`, which must not know how keys look.
 *
 * N1  nothing is overwritten: a configuration that is there ends it, key and token that
 *     are there are kept;
 * N2  the configuration is written last: a daemon never finds one without its key, and an
 *     init that was interrupted goes on when it is called again.
 */
#include "daemon/init.h"

#include "base/file.h"
#include "base/secret.h"
#include "base/text.h"
#include "daemon/config.h"
#include "keys/keys.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#define TOKEN_RANDOM_BYTES 32

static bool must_not_exist(const char *path, struct err *err)
{
    if (access(path, F_OK) != 0)
        return true;
    return err_set(
        err, FAIL_CONFLICT,
        "'%s' exists already and is not overwritten; use it, or choose another "
        "folder",
        path);
}

static bool make_token(const char *path, struct err *err)
{
    uint8_t raw[TOKEN_RANDOM_BYTES];
    char text[2 * TOKEN_RANDOM_BYTES + 2];
    secret_random(raw, sizeof raw);
    text_hex(raw, sizeof raw, text);
    text[2 * TOKEN_RANDOM_BYTES] = '\n';
    bool ok = file_write_durable(path, text, 2 * TOKEN_RANDOM_BYTES + 1, 0600, err);
    secret_wipe(raw, sizeof raw);
    secret_wipe(text, sizeof text);
    return ok;
}

/* The folder's absolute name; it is made when it is not there. */
static char *absolute_dir(const char *dir, struct err *err)
{
    if (!file_make_dirs(dir, err))
        return NULL;
    char *path = realpath(dir, NULL);
    if (!path)
        (void)err_errno(err, errno, "find folder '%s'", dir);
    return path;
}

static bool make_key(const struct config *config, struct err *err)
{
    if (strcmp(config->key_passphrase, "none") == 0)
        return keys_file_create(config->key_file, err);
    return keys_file_create_with(config->key_file, config->key_passphrase, err);
}

static bool make_all(const char *config_path, const struct config *config,
                     struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    if (!must_not_exist(config_path, err) || !file_make_dirs(config->data_dir, err) ||
        !file_make_dirs(config->run_dir, err))
        return false;
    if (!file_exists(config->key_file) && !make_key(config, err))
        return false;
    if (!file_exists(config->token_file) && !make_token(config->token_file, err))
        return false;
    config_print(config, &text);
    return file_write_durable(config_path, text.data, text.bytes, 0600, err);
}

bool init_make(const char *dir, const char *passphrase, struct buf *report,
               struct err *err)
{
    AUTO(config_release) struct config config = {0};
    AUTO(buf_release) struct buf text = {0};
    AUTO(free)
    char *root = dir ? absolute_dir(dir, err) : absolute_dir("/etc/kedge", err);
    if (!root)
        return false;
    AUTO(free) char *path = file_join(root, dir ? "kedge.conf" : "kedged.conf");
    if (dir)
        buf_printf(&text, "data_dir = %s/data\nrun_dir = %s/run\n", root, root);
    if (passphrase)
        buf_printf(&text, "key_passphrase = %s\n", passphrase);
    if (!config_parse_text("new configuration", buf_text(&text), text.bytes, &config,
                           err))
        return false;
    if (!make_all(path, &config, err))
        return false;
    buf_printf(
        report,
        "configuration  %s\nmaster key     %s  (keep a copy in a safe place)\n"
        "API token      %s\ndata           %s\n\nstart it with: kedged --config %s\n",
        path, config.key_file, config.token_file, config.data_dir, path);
    return true;
}
