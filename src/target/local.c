/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local target as an object: options and the device map. What it does
 * with a machine is in the files named after the step.
 */
#include "target/local.h"

#include "base/file.h"
#include "base/text.h"

#include <errno.h>
#include <limits.h>

#define DEVICE_MAP_MAX_BYTES (1 * MIB)

const char *local_device_of(const struct local *local, const char *machine,
                            size_t disk_index)
{
    for (size_t i = 0; i < local->device_count; i++)
        if (local->devices[i].disk_index == disk_index &&
            strcmp(local->devices[i].machine, machine) == 0)
            return local->devices[i].path;
    return NULL;
}

bool local_check_machine(const struct machine_def *machine, struct err *err)
{
    return text_check_name("machine", machine->name, err);
}

/* One line "<machine> <index> <device>". */
static bool parse_device(struct local *local, char *line, struct err *err)
{
    char *save = NULL;
    const char *machine = strtok_r(line, " \t", &save);
    const char *index_text = strtok_r(NULL, " \t", &save);
    const char *path = strtok_r(NULL, "", &save);
    uint64_t disk_index;
    if (!machine || machine[0] == '#')
        return true;
    if (!index_text || !path)
        return err_set(err, FAIL_INPUT,
                       "line of machine '%.63s' is not '<machine> <index> <device>'",
                       machine);
    path += strspn(path, " \t");
    if (!text_check_name("machine", machine, err) ||
        !text_parse_u64(index_text, 0, MACHINE_MAX_DISKS - 1, &disk_index, err))
        return false;
    if (path[0] != '/' || strlen(path) >= MACHINE_PATH_BYTES)
        return err_set(err, FAIL_INPUT, "device '%.200s' must be an absolute path", path);
    if (local_device_of(local, machine, (size_t)disk_index))
        return err_set(err, FAIL_INPUT, "disk %s of machine '%s' is there twice",
                       index_text, machine);
    local->devices =
        xrealloc(local->devices, local->device_count + 1, sizeof *local->devices);
    struct local_device *device = &local->devices[local->device_count++];
    text_copy(device->machine, sizeof device->machine, machine);
    text_copy(device->path, sizeof device->path, path);
    device->disk_index = (size_t)disk_index;
    return true;
}

static bool load_device_map(struct local *local, const char *path, struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    if (!file_read(path, DEVICE_MAP_MAX_BYTES, &text, err))
        return err_wrap(err, "device map");
    AUTO(free) char *copy = buf_take_text(&text);
    char *save = NULL;
    for (char *line = strtok_r(copy, "\r\n", &save); line;
         line = strtok_r(NULL, "\r\n", &save))
        if (!parse_device(local, line, err))
            return err_wrap(err, "device map '%s'", path);
    return true;
}

static void local_close(struct target *target)
{
    struct local *local = (struct local *)target;
    leases_release(&local->leases);
    free(local->devices);
    free(local->accel);
    free(local->qemu_path);
    free(local->dir);
    free(local);
}

static const struct target_ops LOCAL_OPS = {
    .kind = "local",
    .check = local_check,
    .replica_create = local_replica_create,
    .disk_open = local_disk_open,
    .disk_resize = local_disk_resize,
    .test_start = local_test_start,
    .test_cleanup = local_test_cleanup,
    .migrate = local_migrate,
    .complete = local_complete,
    .remove = local_remove,
    .list = local_list,
    .inventory = local_inventory,
    .close = local_close,
};

bool target_local_open(const struct target_local_options *options, struct target **ret,
                       struct err *err)
{
    const char *accel = options->accel ? options->accel : "auto";
    if (strcmp(accel, "auto") != 0 && strcmp(accel, "kvm") != 0 &&
        strcmp(accel, "tcg") != 0)
        return err_set(err, FAIL_INPUT, "accel '%s' is not auto, kvm or tcg", accel);
    if (!file_make_dirs(options->dir, err))
        return err_wrap(err, "folder of the target");
    char *real = realpath(options->dir, NULL);
    if (!real)
        return err_errno(err, errno, "folder of the target '%s'", options->dir);
    struct local *local = xcalloc(1, sizeof *local);
    AUTO(target_close) struct target *guard = &local->base;
    local->base.ops = &LOCAL_OPS;
    local->dir = real;
    local->format = options->format;
    local->qemu_path =
        xstrdup(options->qemu_path ? options->qemu_path : "qemu-system-x86_64");
    local->accel = xstrdup(accel);
    local->plain_writes = options->plain_writes;
    leases_init(&local->leases);
    if (options->device_map_path &&
        !load_device_map(local, options->device_map_path, err))
        return false;
    *ret = TAKE(guard);
    return true;
}
