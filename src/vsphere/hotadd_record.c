/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock is on a file of its own, because the record is replaced by renames. flock
 * belongs to the open file, so it holds between threads of one process too, and goes with
 * the process however that ends.
 */
#include "vsphere/hotadd_record.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#define SUFFIX    ".attached"
#define MAX_BYTES ((size_t)(HOTADD_RECORD_MAX * sizeof(struct hotadd_entry)))
#define POLL_MS   100

void hotadd_record_name(const char *server, const char *vm_id,
                        char ret[HOTADD_NAME_BYTES])
{
    (void)snprintf(ret, HOTADD_NAME_BYTES, "%.90s_%.90s" SUFFIX, server, vm_id);
    for (char *at = ret; *at; at++)
        if (!isalnum((unsigned char)*at) && *at != '-' && *at != '.')
            *at = '_';
}

static bool lock(struct hotadd_record *record, uint64_t wait_ms,
                 const struct cancel *cancel, struct err *err)
{
    struct buf path = {0};
    buf_printf(&path, "%s.lock", record->path);
    AUTO(free) char *lock_path = buf_take_text(&path);
    uint64_t end_ms = clock_mono_ms() + wait_ms;
    record->lock_fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (record->lock_fd < 0)
        return err_errno(err, errno, "open '%s'", lock_path);
    while (flock(record->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_errno(err, errno, "lock '%s'", lock_path);
        if (clock_mono_ms() >= end_ms)
            return err_set(err, FAIL_TRANSIENT,
                           "'%s' is locked: another cycle has this machine's disks "
                           "attached",
                           lock_path);
        if (!cancel_sleep_ms(cancel, POLL_MS, err))
            return false;
    }
    return true;
}

/* The next word of a line, up to the blank; the last one goes to the line's end. */
static bool take_word(char **at, char end, char *ret, size_t ret_bytes)
{
    char *stop = strchr(*at, end);
    if (!stop || stop == *at || (size_t)(stop - *at) >= ret_bytes)
        return false;
    *stop = 0;
    text_copy(ret, ret_bytes, *at);
    *at = stop + 1;
    return true;
}

static bool read_entries(struct hotadd_record *record, struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    struct err why = ERR_INIT;
    record->entries = xcalloc(HOTADD_RECORD_MAX, sizeof *record->entries);
    if (!file_read(record->path, MAX_BYTES, &text, &why)) {
        if (why.kind == FAIL_GONE)
            return true;
        *err = why;
        return false;
    }
    AUTO(free) char *line = buf_take_text(&text);
    for (char *at = line; *at; record->count++) {
        struct hotadd_entry *entry = &record->entries[record->count];
        if (record->count == HOTADD_RECORD_MAX ||
            !take_word(&at, ' ', entry->server, sizeof entry->server) ||
            !take_word(&at, ' ', entry->vm_id, sizeof entry->vm_id) ||
            !take_word(&at, '\n', entry->file_name, sizeof entry->file_name))
            return err_set(err, FAIL_CORRUPT,
                           "'%s' is not a record of attached disks; see that no disk of "
                           "another machine is attached to this one, then remove it",
                           record->path);
    }
    return true;
}

bool hotadd_record_open(const char *dir, const char *name, uint64_t wait_ms,
                        const struct cancel *cancel, struct hotadd_record **ret,
                        struct err *err)
{
    AUTO(hotadd_record_close) struct hotadd_record *record = xcalloc(1, sizeof *record);
    record->lock_fd = -1;
    record->path = file_join(dir, name);
    if (!file_make_dirs(dir, err) || !lock(record, wait_ms, cancel, err) ||
        !read_entries(record, err))
        return false;
    *ret = TAKE(record);
    return true;
}

static bool save(const struct hotadd_record *record, struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    if (record->count == 0)
        return file_remove_durable(record->path, err);
    for (size_t i = 0; i < record->count; i++)
        buf_printf(&text, "%s %s %s\n", record->entries[i].server,
                   record->entries[i].vm_id, record->entries[i].file_name);
    return file_write_durable(record->path, text.data, text.bytes, 0600, err);
}

bool hotadd_record_add(struct hotadd_record *record, const struct hotadd_entry *entry,
                       struct err *err)
{
    if (record->count == HOTADD_RECORD_MAX)
        return err_set(err, FAIL_LIMIT, "'%s' has %d disks", record->path,
                       HOTADD_RECORD_MAX);
    if (!entry->server[0] || strpbrk(entry->server, " \n") || !entry->vm_id[0] ||
        strpbrk(entry->vm_id, " \n") || !entry->file_name[0] ||
        strchr(entry->file_name, '\n'))
        return err_set(err, FAIL_INPUT, "'%s' on '%s' of '%s' cannot be recorded",
                       entry->file_name, entry->vm_id, entry->server);
    record->entries[record->count++] = *entry;
    if (save(record, err))
        return true;
    record->count--;
    return false;
}

bool hotadd_record_drop(struct hotadd_record *record, size_t index, struct err *err)
{
    struct hotadd_entry dropped = record->entries[index];
    record->count--;
    memmove(&record->entries[index], &record->entries[index + 1],
            (record->count - index) * sizeof dropped);
    if (save(record, err))
        return true;
    record->entries[record->count++] = dropped;
    return false;
}

void hotadd_record_close(struct hotadd_record *record)
{
    if (!record)
        return;
    if (record->lock_fd >= 0)
        (void)close(record->lock_fd); /* holds no data */
    free(record->path);
    free(record->entries);
    free(record);
}

bool hotadd_record_each(const char *dir, hotadd_name_fn on_name, void *arg,
                        struct err *err)
{
    DIR *folder = opendir(dir);
    bool ok = folder || err_errno(err, errno, "open folder '%s'", dir);
    for (struct dirent *item; ok && (item = readdir(folder));)
        if (text_ends_with(item->d_name, SUFFIX))
            ok = on_name(arg, item->d_name, err);
    if (folder)
        (void)closedir(folder); /* was only read */
    return ok;
}
