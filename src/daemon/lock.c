/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock is the kernel's (flock), so it ends with the process whatever kills it; the
 * number in the file only serves the error text.
 */
#include "daemon/lock.h"

#include "base/file.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

static bool in_use(const char *data_dir, int fd, struct err *err)
{
    char holder[32] = "";
    ssize_t n = pread(fd, holder, sizeof holder - 1, 0);
    holder[n > 0 ? n : 0] = 0;
    holder[strcspn(holder, "\n")] = 0;
    uint64_t pid;
    struct err not_a_number;
    if (!text_parse_u64(holder, 1, INT32_MAX, &pid, &not_a_number))
        text_copy(holder, sizeof holder, "unknown");
    return err_set(err, FAIL_CONFLICT,
                   "data_dir '%s' is in use by another kedged, process %s; stop it or "
                   "choose another data_dir",
                   data_dir, holder);
}

bool lock_take(const char *data_dir, int *ret_fd, struct err *err)
{
    AUTO(free) char *path = file_join(data_dir, "kedged.lock");
    AUTO(close_fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(err, errno, "open lock '%s'", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? in_use(data_dir, fd, err)
                                    : err_errno(err, errno, "lock '%s'", path);
    char text[32];
    int length = snprintf(text, sizeof text, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) != 0)
        return err_errno(err, errno, "write lock '%s'", path);
    if (!file_pwrite_full(fd, path, (const uint8_t *)text, (size_t)length, 0, err))
        return false;
    *ret_fd = fd;
    fd = -1;
    return true;
}
