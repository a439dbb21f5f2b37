/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proc(5) as the register of what runs. A process id alone never names a process: ids are
 * used again. The start time does, and so does a command line with a path of ours.
 */
#include "qemu/stray.h"

#include "base/file.h"
#include "base/process.h"
#include "base/text.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <unistd.h>

#define PROC_FILE_MAX     (256 * KIB)
#define START_TICKS_FIELD 22
#define FIRST_FIELD       3 /* behind the name in parentheses */

static bool read_proc(int pid, const char *file, struct buf *ret)
{
    char path[64];
    struct err ignored = ERR_INIT;
    (void)snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    return file_read(path, PROC_FILE_MAX, ret, &ignored);
}

uint64_t stray_start_ticks(int pid)
{
    AUTO(buf_release) struct buf stat = {0};
    if (pid <= 0 || !read_proc(pid, "stat", &stat))
        return 0;
    const char *at = strrchr(buf_text(&stat), ')'); /* the name may hold anything */
    if (!at || at[1] == 0 || at[2] == 'Z' || at[2] == 'X')
        return 0;
    at += 2;
    for (int field = FIRST_FIELD; at && field < START_TICKS_FIELD; field++) {
        at = strchr(at, ' ');
        at = at ? at + 1 : NULL;
    }
    return at ? strtoull(at, NULL, 10) : 0;
}

static bool has_word(int pid, const char *start)
{
    AUTO(buf_release) struct buf line = {0};
    if (!read_proc(pid, "cmdline", &line))
        return false;
    for (size_t at = 0; at < line.bytes; at += strlen((char *)line.data + at) + 1)
        if (text_starts_with((char *)line.data + at, start))
            return true;
    return false;
}

bool stray_kill(const char *start, uint64_t grace_ms, struct err *err)
{
    bool ok = true;
    DIR *dir = opendir("/proc");
    if (!dir)
        return err_errno(err, errno, "open '/proc'");
    for (struct dirent *entry; ok && (entry = readdir(dir)) != NULL;) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        int pid = (int)strtol(entry->d_name, NULL, 10);
        if (pid > 1 && pid != getpid() && has_word(pid, start))
            ok = process_stop(pid, grace_ms, err);
    }
    (void)closedir(dir);
    return ok;
}
