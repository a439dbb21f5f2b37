/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pre-flight of the local target: what would stop a replication, a test or the migration
 * later is found and named now. Changes nothing.
 */
#include "target/local.h"

#include "base/file.h"
#include "base/text.h"
#include "qemu/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

static bool is_installed(const char *program)
{
    const char *path = getenv("PATH");
    if (strchr(program, '/'))
        return access(program, X_OK) == 0;
    AUTO(free) char *copy = xstrdup(path ? path : "/usr/bin:/bin");
    char *save = NULL;
    for (char *dir = strtok_r(copy, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
        AUTO(free) char *full = file_join(dir, program);
        if (access(full, X_OK) == 0)
            return true;
    }
    return false;
}

static void check_tools(const struct local *local, struct findings *findings)
{
    const char *const tools[][2] = {{local->qemu_path, "apt-get install qemu-system-x86"},
                                    {"qemu-img", "apt-get install qemu-utils"},
                                    {"qemu-nbd", "apt-get install qemu-utils"}};
    for (size_t i = 0; i < ARRAY_COUNT(tools); i++) {
        if (is_installed(tools[i][0]))
            continue;
        struct finding *finding =
            findings_add(findings, FINDING_BLOCKER, "target.tool-missing");
        (void)snprintf(finding->what, sizeof finding->what, "program '%s'", tools[i][0]);
        text_copy(finding->why, sizeof finding->why, "not found on this host");
        text_copy(finding->remedy, sizeof finding->remedy, tools[i][1]);
    }
}

static void check_writable(const struct local *local, struct findings *findings)
{
    if (access(local->dir, W_OK | X_OK) != 0) {
        struct finding *finding =
            findings_add(findings, FINDING_BLOCKER, "target.not-writable");
        (void)snprintf(finding->what, sizeof finding->what, "folder '%s'", local->dir);
        (void)snprintf(finding->why, sizeof finding->why, "can't write there: %s",
                       strerrordesc_np(errno));
        text_copy(finding->remedy, sizeof finding->remedy,
                  "give the daemon's user write access to it");
    }
}

static void check_room(const struct local *local, const struct machine_def *machine,
                       struct findings *findings)
{
    struct statvfs fs;
    char need[TEXT_HUMAN_BYTES], have[TEXT_HUMAN_BYTES];
    uint64_t need_bytes = 0;
    for (size_t i = 0; i < machine->disk_count; i++)
        if (!local_device_of(local, machine->name, i))
            need_bytes += machine->disks[i].disk_bytes;
    if (statvfs(local->dir, &fs) != 0)
        return;
    uint64_t have_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (have_bytes >= need_bytes)
        return;
    struct finding *finding = findings_add(findings, FINDING_WARNING, "target.thin");
    (void)snprintf(finding->what, sizeof finding->what, "folder '%s'", local->dir);
    (void)snprintf(finding->why, sizeof finding->why,
                   "%s are free, the disks of machine '%s' have %s; replica files are "
                   "thin, so it works as long as their used blocks fit",
                   text_bytes(have_bytes, have), machine->name,
                   text_bytes(need_bytes, need));
    text_copy(finding->remedy, sizeof finding->remedy,
              "free space there, or use another folder");
}

static void check_name(const struct local *local, const struct machine_def *machine,
                       struct findings *findings)
{
    struct err why = ERR_INIT;
    const char *code = "target.name-clash";
    AUTO(buf_release) struct buf layout_path = {0};
    AUTO(buf_release) struct buf vm_path = {0};
    struct finding *finding;
    if (!local_check_machine(machine, &why)) {
        finding = findings_add(findings, FINDING_BLOCKER, "target.name");
        (void)snprintf(finding->what, sizeof finding->what, "machine '%s'",
                       machine->name);
        (void)snprintf(finding->why, sizeof finding->why, "%s", why.text);
        text_copy(finding->remedy, sizeof finding->remedy, "give it another name");
        return;
    }
    buf_printf(&layout_path, "%s/%s/replica.json", local->dir, machine->name);
    buf_printf(&vm_path, "%s/%s/vm/vm.json", local->dir, machine->name);
    if (file_exists(buf_text(&vm_path))) {
        finding = findings_add(findings, FINDING_BLOCKER, code);
        text_copy(finding->why, sizeof finding->why,
                  "a migrated VM of that name is on the target");
        text_copy(finding->remedy, sizeof finding->remedy,
                  "move that folder away, or rename the machine");
    } else if (file_exists(buf_text(&layout_path))) {
        finding = findings_add(findings, FINDING_WARNING, code);
        text_copy(finding->why, sizeof finding->why,
                  "a replica of that name is on the target; it is used again when it is "
                  "of the same machine");
        text_copy(finding->remedy, sizeof finding->remedy,
                  "if it is another machine, stop its replication or rename this one");
    } else
        return;
    (void)snprintf(finding->what, sizeof finding->what, "folder '%s/%s'", local->dir,
                   machine->name);
}

static void check_boot(const struct machine_def *machine, struct findings *findings)
{
    const char *const files[] = {machine->kernel, machine->initrd};
    if (machine->firmware == FIRMWARE_UEFI && !vm_firmware_is_there()) {
        struct finding *finding =
            findings_add(findings, FINDING_WARNING, "target.no-uefi");
        (void)snprintf(finding->what, sizeof finding->what, "machine '%s'",
                       machine->name);
        text_copy(finding->why, sizeof finding->why,
                  "boots by UEFI, and no UEFI firmware for QEMU is installed");
        text_copy(finding->remedy, sizeof finding->remedy, "apt-get install ovmf");
    }
    for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
        if (!files[i][0] || access(files[i], R_OK) == 0)
            continue;
        struct finding *finding =
            findings_add(findings, FINDING_WARNING, "target.no-kernel");
        (void)snprintf(finding->what, sizeof finding->what, "file '%.120s'", files[i]);
        (void)snprintf(finding->why, sizeof finding->why,
                       "machine '%s' boots from it, but it is not readable on this host",
                       machine->name);
        text_copy(finding->remedy, sizeof finding->remedy,
                  "copy it to the same path before the first test");
    }
}

static void check_devices(const struct local *local, const struct machine_def *machine,
                          struct findings *findings)
{
    for (size_t i = 0; i < machine->disk_count; i++) {
        const char *path = local_device_of(local, machine->name, i);
        uint64_t device_bytes = 0;
        struct err why = ERR_INIT;
        if (!path)
            continue;
        AUTO(close_fd) int fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0)
            (void)err_errno(&why, errno, "open");
        else if (file_size(fd, path, &device_bytes, &why) &&
                 device_bytes < machine->disks[i].disk_bytes)
            (void)err_set(&why, FAIL_INPUT, "it is smaller than the disk");
        if (why.kind == FAIL_NONE)
            continue;
        struct finding *finding =
            findings_add(findings, FINDING_BLOCKER, "target.device");
        (void)snprintf(finding->what, sizeof finding->what,
                       "device '%.80s' for disk %zu of '%s'", path, i, machine->name);
        (void)snprintf(finding->why, sizeof finding->why, "%.300s", why.text);
        text_copy(finding->remedy, sizeof finding->remedy,
                  "correct the device map of the target");
    }
}

bool local_check(struct target *target, const struct machine_def *machine,
                 struct findings *findings, struct err *err)
{
    const struct local *local = (const struct local *)target;
    (void)err; /* what is wrong is a finding */
    check_tools(local, findings);
    check_writable(local, findings);
    if (!machine)
        return true;
    check_name(local, machine, findings);
    check_room(local, machine, findings);
    check_boot(machine, findings);
    check_devices(local, machine, findings);
    return true;
}
