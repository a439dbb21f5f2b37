/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A master key in a local file: one line (master_key.c), mode 0600. Whoever has it (and
 * its passphrase) can read every replica log, whoever loses it can read none.
 *
 * F1  a new file gets its name when it is whole and durable, by link(2), which fails when
 *     the name is taken: it is never made anew over an old one. A crash before that
 *     leaves "<path>.<random>.tmp", never a part;
 * F2  a rotation replaces the file by one that holds the new master and the one before;
 *     only when nothing is wrapped with the latter any more it is replaced by one without
 *     it. At any instant the file opens every wrapped key there is;
 * F3  what was in clear is written wrapped as soon as a passphrase is given and the file
 *     is written for another reason;
 * F4  a version that is not in memory makes the file be read again: that of a remote
 *     applier is a copy, which is replaced while he runs.
 */
#include "keys/master_key.h"

#include "base/fault.h"
#include "base/file.h"
#include "base/text.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

struct keys_file {
    struct keys base;
    /* Set by open, never changed. */
    char *path;                /* links resolved: what is replaced is the file itself */
    struct secret *passphrase; /* owned; NULL: none */
    /* Guarded by base.lock. */
    struct master_keys masters;
};

static struct keys_file *file_of(struct keys *keys)
{
    return (struct keys_file *)keys;
}

/* ---- create ---- */

static bool exists_error(const char *path, struct err *err)
{
    return err_set(err, FAIL_CONFLICT,
                   "master key file '%s' exists already; it is not replaced: what it "
                   "protects could never be read again",
                   path);
}

/* The last step of create (F1). */
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

static bool write_masters(const char *path, const struct master_keys *masters,
                          struct err *err)
{
    AUTO(secret_free) struct secret *line = master_keys_print(masters, err);
    if (!line)
        return false;
    line->data[line->bytes] = '\n'; /* a line is far shorter than a secret may be */
    return file_write_durable(path, line->data, line->bytes + 1, 0600, err);
}

static bool create(const char *path, const struct secret *passphrase, struct err *err)
{
    struct stat st;
    AUTO(master_keys_release) struct master_keys masters = {.count = 0};
    if (lstat(path, &st) == 0)
        return exists_error(path, err);
    master_keys_add(&masters);
    if (passphrase && !master_keys_protect(&masters, passphrase, err))
        return false;
    struct id unique = id_random();
    char unique_text[ID_TEXT_BYTES];
    AUTO(buf_release) struct buf name = {0};
    buf_printf(&name, "%s.%s.tmp", path, id_text(&unique, unique_text));
    if (!write_masters(buf_text(&name), &masters, err))
        return false;
    bool ok = name_key_file(buf_text(&name), path, err);
    (void)unlink(
        buf_text(&name)); /* a second name of the file, only its owner reads it */
    return ok;
}

bool keys_file_create(const char *path, struct err *err)
{
    return create(path, NULL, err);
}

bool keys_file_create_with(const char *path, const char *passphrase, struct err *err)
{
    AUTO(secret_free) struct secret *secret = secret_read(passphrase, err);
    return secret ? create(path, secret, err) : err_wrap(err, "passphrase");
}

/* ---- operations ---- */

static void file_close(struct keys *keys)
{
    struct keys_file *file = file_of(keys);
    master_keys_release(&file->masters);
    secret_free(file->passphrase);
    free(file->path);
    free(file);
}

static bool file_newest(struct keys *keys, char ret[KEYS_VERSION_BYTES], struct err *err)
{
    (void)err;
    LOCK_GUARD(&keys->lock);
    master_key_version(file_of(keys)->masters.keys[0], ret);
    return true;
}

static bool file_wrap(struct keys *keys, const struct id *machine,
                      const struct secret *payload, char ret_version[KEYS_VERSION_BYTES],
                      struct buf *ret, struct err *err)
{
    LOCK_GUARD(&keys->lock);
    const struct secret *master = file_of(keys)->masters.keys[0];
    master_key_version(master, ret_version);
    return keys_seal_hex(master, machine, payload, ret, err);
}

static void take_masters(struct keys_file *file, struct master_keys *masters)
{
    LOCK_GUARD(&file->base.lock);
    master_keys_release(&file->masters);
    file->masters = *masters;
    *masters = (struct master_keys){.count = 0};
}

static struct secret *unwrap_with_ours(struct keys_file *file, const struct id *machine,
                                       const char *version, const char *text,
                                       bool *ret_is_known, struct err *err)
{
    struct err why = ERR_INIT;
    (void)keys_not_opened(machine, &why);
    *ret_is_known = version[0] == 0;
    LOCK_GUARD(&file->base.lock);
    for (size_t i = 0; i < file->masters.count; i++) {
        char found[MASTER_VERSION_BYTES];
        master_key_version(file->masters.keys[i], found);
        if (version[0] && strcmp(version, found) != 0)
            continue;
        *ret_is_known = true;
        err_clear(&why);
        struct secret *payload =
            keys_open_hex(file->masters.keys[i], machine, text, &why);
        if (payload)
            return payload;
    }
    *err = why;
    return NULL;
}

static bool read_masters(const struct keys_file *file, struct master_keys *ret,
                         struct err *err)
{
    AUTO(secret_free) struct secret *line = secret_read_file(file->path, err);
    return line && master_keys_parse(file->path, line, file->passphrase, ret, err);
}

static struct secret *file_unwrap(struct keys *keys, const struct id *machine,
                                  const char *version, const char *text, struct err *err)
{
    struct keys_file *file = file_of(keys);
    struct err why = ERR_INIT;
    bool is_known;
    struct secret *payload =
        unwrap_with_ours(file, machine, version, text, &is_known, &why);
    AUTO(master_keys_release) struct master_keys now = {.count = 0};
    if (!payload && !is_known && read_masters(file, &now, &why)) { /* F4 */
        take_masters(file, &now);
        err_clear(&why);
        payload = unwrap_with_ours(file, machine, version, text, &is_known, &why);
    }
    if (!payload)
        *err = why;
    return payload;
}

/* Replaces the file by one with these. */
static bool replace(struct keys_file *file, struct master_keys *masters, struct err *err)
{
    if (!masters->seal && file->passphrase &&
        !master_keys_protect(masters, file->passphrase, err))
        return false;
    return write_masters(file->path, masters, err);
}

/* Copies of those in memory, at most count; the caller holds the lock. */
static void copy_masters_locked(const struct keys_file *file, size_t count,
                                struct master_keys *ret)
{
    const struct master_keys *from = &file->masters;
    *ret = (struct master_keys){.cost = from->cost};
    memcpy(ret->salt, from->salt, sizeof ret->salt);
    if (from->seal)
        ret->seal = secret_new(from->seal->data, from->seal->bytes);
    for (size_t i = 0; i < from->count && i < count; i++)
        ret->keys[ret->count++] = secret_new(from->keys[i]->data, MASTER_KEY_BYTES);
}

static bool file_rotate(struct keys *keys, struct err *err)
{
    struct keys_file *file = file_of(keys);
    AUTO(master_keys_release) struct master_keys masters = {.count = 0};
    {
        LOCK_GUARD(&keys->lock);
        copy_masters_locked(file, MASTER_KEYS_MAX, &masters);
    }
    if (masters.count == MASTER_KEYS_MAX)
        return err_set(err, FAIL_CONFLICT,
                       "'%.200s' still holds the master key before; finish that rotation "
                       "first",
                       file->path);
    master_keys_add(&masters);
    char version[MASTER_VERSION_BYTES];
    master_key_version(masters.keys[0], version);
    if (FAULT(KEYS_BEFORE_MASTER, err) || !replace(file, &masters, err))
        return false;
    take_masters(file, &masters);
    keys_note_current(keys, version);
    return !FAULT(KEYS_AFTER_MASTER, err);
}

static bool file_retire(struct keys *keys, struct err *err)
{
    struct keys_file *file = file_of(keys);
    AUTO(master_keys_release) struct master_keys masters = {.count = 0};
    bool has_all;
    {
        LOCK_GUARD(&keys->lock);
        copy_masters_locked(file, 1, &masters);
        has_all = file->masters.count == 1;
    }
    if (has_all && (masters.seal || !file->passphrase))
        return true;
    if (FAULT(KEYS_BEFORE_RETIRE, err) || !replace(file, &masters, err))
        return false;
    take_masters(file, &masters);
    return !FAULT(KEYS_AFTER_RETIRE, err);
}

static bool file_status(struct keys *keys, struct keys_status *ret, struct err *err)
{
    struct keys_file *file = file_of(keys);
    (void)err;
    LOCK_GUARD(&keys->lock);
    *ret = (struct keys_status){.kind = keys->ops->kind,
                                .has_passphrase = file->masters.seal != NULL};
    text_copy(ret->where, sizeof ret->where, file->path);
    for (size_t i = 0; i < file->masters.count; i++) {
        struct keys_version *version = &ret->versions[ret->version_count++];
        char text[MASTER_VERSION_BYTES];
        master_key_version(file->masters.keys[i], text);
        (void)snprintf(version->master, sizeof version->master, "%s:%s", keys->ops->kind,
                       text);
        version->is_enabled = true;
        version->is_current = i == 0;
    }
    return true;
}

static const struct keys_ops FILE_OPS = {.kind = "file",
                                         .close = file_close,
                                         .newest = file_newest,
                                         .wrap = file_wrap,
                                         .unwrap = file_unwrap,
                                         .rotate = file_rotate,
                                         .retire = file_retire,
                                         .status = file_status};

/* ---- open ---- */

static bool read_file(struct keys_file *file, const char *path, const char *passphrase,
                      struct err *err)
{
    file->path = realpath(path, NULL);
    if (!file->path)
        return err_errno(err, errno, "master key file '%s'", path);
    if (passphrase && !(file->passphrase = secret_read(passphrase, err)))
        return err_wrap(err, "passphrase of the master key");
    return read_masters(file, &file->masters, err) || err_wrap(err, "master key");
}

struct keys *keys_file_open_with(const char *path, const char *passphrase,
                                 struct err *err)
{
    struct keys_file *file = xcalloc(1, sizeof *file);
    char version[KEYS_VERSION_BYTES];
    keys_init(&file->base, &FILE_OPS);
    AUTO(keys_close) struct keys *keys = &file->base;
    if (!read_file(file, path, passphrase, err) || !file_newest(keys, version, err))
        return NULL;
    keys_note_current(keys, version);
    return TAKE(keys);
}
