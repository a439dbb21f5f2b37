/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data keys wrapped by a master key that lives in a local file.
 *
 * The file is one line, "kedge-master-key-1 <64 hex digits>", mode 0600: text, so that it
 * can be printed and locked away; versioned, so that it can change. Whoever has it can
 * read every replica log, whoever loses it can read none: it is never made anew over an
 * old one.
 *
 * K1  a wrapped key is a sealed object (block/sealed.h, AES-256-GCM under a fresh derived
 *     key) of key id | data key, in hex; its context names the machine, so a wrapped key
 *     moved to another machine does not open;
 * K2  key material is only in struct secret; every buffer it passes through is wiped;
 * K3  the file gets its name when it is whole and durable, by link(2), which fails when
 *     the name is taken. A crash before that leaves "<path>.<random>.tmp", never a part.
 * Must never put key material into an error text or a log line (text_unhex would).
 */
#include "keys/keys.h"

#include "base/fault.h"
#include "base/file.h"
#include "base/text.h"
#include "block/sealed.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_BYTES     32
#define PAYLOAD_BYTES (ID_BYTES + KEY_BYTES)
#define FILE_MAGIC    "kedge-master-key-1 "
#define CONTEXT_BYTES 64

struct keys {
    /* Set by keys_file_open, never changed. */
    struct secret *master; /* owned */
};

static bool exists_error(const char *path, struct err *err)
{
    return err_set(err, FAIL_CONFLICT,
                   "master key file '%s' exists already; it is not replaced: what it "
                   "protects could never be read again",
                   path);
}

/* The last step of create (K3). */
static bool name_key_file(const char *tmp, const char *path, struct err *err)
{
    if (FAULT(FILE_BEFORE_RENAME, err))
        return false;
    if (link(tmp, path) != 0) {
        if (errno == EEXIST)
            return exists_error(path, err);
        return err_errno(err, errno, "make master key file '%s'", path);
    }
    return file_sync_parent(path, err);
}

bool keys_file_create(const char *path, struct err *err)
{
    struct stat st;
    if (lstat(path, &st) == 0)
        return exists_error(path, err);
    uint8_t key[KEY_BYTES];
    char line[sizeof FILE_MAGIC + 2 * KEY_BYTES + 1] = FILE_MAGIC;
    size_t length = strlen(line);
    secret_random(key, sizeof key);
    text_hex(key, sizeof key, line + length);
    length += 2 * KEY_BYTES;
    line[length++] = '\n';

    struct id unique = id_random();
    char unique_text[ID_TEXT_BYTES];
    struct buf name = {0};
    buf_printf(&name, "%s.%s.tmp", path, id_text(&unique, unique_text));
    AUTO(free) char *tmp = buf_take_text(&name);
    bool ok = file_write_durable(tmp, line, length, 0600, err);
    if (ok) {
        ok = name_key_file(tmp, path, err);
        (void)unlink(tmp); /* a second name of the file, only its owner reads it */
    }
    secret_wipe(key, sizeof key);
    secret_wipe(line, sizeof line);
    return ok;
}

static bool parse_master(const struct secret *line, uint8_t ret_key[KEY_BYTES])
{
    size_t magic_bytes = strlen(FILE_MAGIC);
    char hex[2 * KEY_BYTES + 1] = "";
    struct err ignored; /* its text quotes the key */
    bool ok = line->bytes == magic_bytes + 2 * KEY_BYTES &&
              memcmp(line->data, FILE_MAGIC, magic_bytes) == 0;
    if (ok) {
        memcpy(hex, line->data + magic_bytes, 2 * KEY_BYTES);
        ok = text_unhex(hex, ret_key, KEY_BYTES, &ignored);
    }
    secret_wipe(hex, sizeof hex);
    secret_wipe(&ignored, sizeof ignored);
    return ok;
}

struct keys *keys_file_open(const char *path, struct err *err)
{
    AUTO(secret_free) struct secret *line = secret_read_file(path, err);
    if (!line) {
        (void)err_wrap(err, "master key");
        return NULL;
    }
    uint8_t key[KEY_BYTES];
    if (!parse_master(line, key)) {
        secret_wipe(key, sizeof key);
        (void)err_set(err, FAIL_CORRUPT,
                      "'%s' is not a master key file of this version; restore it from "
                      "its backup (one line: " FILE_MAGIC "and %d hex digits)",
                      path, 2 * KEY_BYTES);
        return NULL;
    }
    struct keys *keys = xcalloc(1, sizeof *keys);
    keys->master = secret_new(key, sizeof key);
    secret_wipe(key, sizeof key);
    return keys;
}

void keys_close(struct keys *keys)
{
    if (!keys)
        return;
    secret_free(keys->master);
    free(keys);
}

static const char *wrap_context(const struct id *machine, char out[CONTEXT_BYTES])
{
    char text[ID_TEXT_BYTES];
    (void)snprintf(out, CONTEXT_BYTES, "%s data key", id_text(machine, text));
    return out;
}

bool keys_make(struct keys *keys, const struct id *machine, struct id *ret_key_id,
               char ret_wrapped[KEYS_WRAPPED_MAX], struct err *err)
{
    char context[CONTEXT_BYTES];
    uint8_t payload[PAYLOAD_BYTES];
    struct id key_id = id_random();
    memcpy(payload, key_id.bytes, ID_BYTES);
    secret_random(payload + ID_BYTES, KEY_BYTES);
    AUTO(buf_release) struct buf sealed = {0};
    bool ok = sealed_encode(keys->master, SEALED_KEY, wrap_context(machine, context),
                            payload, sizeof payload, &sealed, err);
    secret_wipe(payload, sizeof payload);
    if (!ok)
        return err_wrap(err, "wrap a data key");
    if (2 * sealed.bytes + 1 > KEYS_WRAPPED_MAX)
        return err_set(err, FAIL_BUG, "a wrapped key of %zu bytes does not fit",
                       sealed.bytes);
    text_hex(sealed.data, sealed.bytes, ret_wrapped);
    *ret_key_id = key_id;
    return true;
}

struct secret *keys_unwrap(struct keys *keys, const struct id *machine,
                           const char *wrapped, struct id *ret_key_id, struct err *err)
{
    uint8_t sealed[KEYS_WRAPPED_MAX / 2];
    char context[CONTEXT_BYTES], machine_text[ID_TEXT_BYTES];
    struct err why = ERR_INIT;
    AUTO(buf_release) struct buf payload = {0};
    size_t length = strnlen(wrapped, KEYS_WRAPPED_MAX);
    bool ok = length < KEYS_WRAPPED_MAX && length % 2 == 0 &&
              text_unhex(wrapped, sealed, length / 2, &why) &&
              sealed_decode(keys->master, SEALED_KEY, wrap_context(machine, context),
                            sealed, length / 2, &payload, &why);
    struct secret *secret = NULL;
    if (ok && payload.bytes == PAYLOAD_BYTES) {
        memcpy(ret_key_id->bytes, payload.data, ID_BYTES);
        secret = secret_new(payload.data + ID_BYTES, KEY_BYTES);
    } else if (why.kind != FAIL_NONE && why.kind != FAIL_CORRUPT &&
               why.kind != FAIL_INPUT) {
        *err = why; /* not a matter of the text */
    } else {
        (void)err_set(err, FAIL_CORRUPT,
                      "the wrapped data key of machine %s does not open: damaged, of "
                      "another machine, or made with another master key; use the master "
                      "key file that was in use when the machine was added",
                      id_text(machine, machine_text));
    }
    if (payload.data)
        secret_wipe(payload.data, payload.cap_bytes);
    return secret;
}
