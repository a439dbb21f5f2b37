/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timed RESULT COMMAND: runs `/bin/sh -c COMMAND` and writes wall time, CPU time and
 * memory high water of it and all it waited for to RESULT, one line of JSON. Exits as
 * COMMAND did.
 *
 * Why not from Python: Linux carries the memory high water across exec, so everything
 * that a 12 MB interpreter starts seems to have used at least 12 MB. This program is
 * small enough not to show.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"

static double seconds(struct timeval tv)
{
    return (double)tv.tv_sec + (double)tv.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
    struct rusage usage;
    uint64_t start_ns, end_ns;
    int status = 0;
    FILE *result;
    pid_t pid;

    if (argc != 3)
        die("usage: timed RESULT COMMAND");
    start_ns = wall_ns();
    pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", argv[2], (char *)NULL);
        _exit(127);
    }
    while (wait4(pid, &status, 0, &usage) < 0)
        if (errno != EINTR)
            die("wait");
    end_ns = wall_ns();
    status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    result = fopen(argv[1], "we");
    if (result == NULL)
        die("open '%s'", argv[1]);
    fprintf(result,
            "{\"wall_s\": %.4f, \"user_s\": %.4f, \"sys_s\": %.4f, \"maxrss_kib\": %ld, "
            "\"exit\": %d}\n",
            (double)(end_ns - start_ns) / 1e9, seconds(usage.ru_utime),
            seconds(usage.ru_stime), usage.ru_maxrss, status);
    if (fclose(result) != 0)
        die("write '%s'", argv[1]);
    return status;
}
