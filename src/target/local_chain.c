/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chain: how clones cost nothing while the replica goes on.
 *
 *      at rest            a test runs                 two tests, two points
 *      base <- applier    base <- g1 <- applier       base <- g1 <- g2 <- applier
 *                          ^- clone 1                  ^- clone 1 ^- clone 2
 *
 * C1  a file below the head is never written to, except by C3;
 * C2  freezing makes every new file first (durable), then one layout that names them all:
 *     all disks of the machine are frozen at one instant or none;
 * C3  collapsing writes what lies above file k into k, only when no test stands on k or
 *     above. The head shows the same content before, during and after, so it may be cut
 *     short anywhere and is simply done again; one layout then forgets the upper files;
 * C4  neither happens while a disk is open for writing (freeze) or at all (collapse).
 */
#include "target/local.h"

#include "base/fault.h"
#include "base/file.h"
#include "qemu/image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

static bool check_room(struct local *local, const struct local_layout *layout,
                       struct err *err)
{
    if (lease_exists(&local->leases, layout->machine.name, true))
        return err_set(err, FAIL_CONFLICT,
                       "a cycle is being applied to machine '%s'; try again when it is "
                       "done",
                       layout->machine.name);
    if (layout->test_count == LOCAL_MAX_TESTS)
        return err_set(err, FAIL_LIMIT, "machine '%s' has %d tests; clean one up first",
                       layout->machine.name, LOCAL_MAX_TESTS);
    for (size_t i = 0; i < layout->disk_count; i++)
        if (layout->disks[i].chain_count >= LOCAL_MAX_CHAIN)
            return err_set(err, FAIL_LIMIT,
                           "disk %zu of machine '%s' has %d states on top of each other; "
                           "clean up its tests first",
                           i, layout->machine.name, LOCAL_MAX_CHAIN);
    return true;
}

/* The clone and the new head of one disk, both on top of the present head. */
static bool branch_disk(struct local_layout *layout, size_t at, const char *test_dir,
                        uint64_t generation, struct err *err)
{
    struct local_disk *disk = &layout->disks[at];
    uint64_t frozen = local_layout_head(disk);
    enum image_format format =
        local_layout_is_qcow2(layout, frozen) ? IMAGE_QCOW2 : IMAGE_RAW;
    AUTO(free) char *frozen_path = local_layout_file(layout, at, frozen);
    AUTO(free) char *head_path = local_layout_file(layout, at, generation);
    AUTO(buf_release) struct buf clone_path = {0};
    AUTO(buf_release) struct buf above = {0};
    bool is_device = frozen == 0 && disk->device[0];
    const char *name = is_device ? frozen_path : strrchr(frozen_path, '/') + 1;
    buf_printf(&clone_path, "%s/disk%zu.qcow2", test_dir, at);
    buf_printf(&above, "%s%s", is_device ? "" : "../../", name);
    if (!image_create_overlay(buf_text(&clone_path), buf_text(&above), format,
                              disk->disk_bytes, err) ||
        !image_create_overlay(head_path, name, format, disk->disk_bytes, err))
        return err_wrap(err, "freeze disk %zu of machine '%s'", at, layout->machine.name);
    return true;
}

bool local_chain_freeze(struct local *local, struct local_layout *layout,
                        const struct local_test *test, struct err *err)
{
    uint64_t generation = layout->next_generation;
    AUTO(free) char *test_dir = local_layout_test_dir(layout, test->name);
    if (!check_room(local, layout, err) || FAULT(TARGET_BEFORE_CLONE, err) ||
        !file_make_dirs(test_dir, err))
        return false;
    for (size_t i = 0; i < layout->disk_count; i++)
        if (!branch_disk(layout, i, test_dir, generation, err))
            return false;
    if (FAULT(TARGET_AFTER_CLONE, err))
        return false;
    struct local_test *entry = &layout->tests[layout->test_count++];
    *entry = *test;
    for (size_t i = 0; i < layout->disk_count; i++) {
        struct local_disk *disk = &layout->disks[i];
        entry->frozen_generations[i] = local_layout_head(disk);
        disk->generations[disk->chain_count++] = generation;
    }
    layout->next_generation++;
    return local_layout_save(layout, err);
}

/* Index of the lowest file of the chain that may take what is above it. */
static size_t floor_of(const struct local_layout *layout, size_t disk_index)
{
    const struct local_disk *disk = &layout->disks[disk_index];
    size_t lowest = 0;
    for (size_t i = 0; i < layout->test_count; i++)
        for (size_t k = 0; k < disk->chain_count; k++)
            if (disk->generations[k] == layout->tests[i].frozen_generations[disk_index] &&
                k + 1 > lowest)
                lowest = k + 1;
    return lowest;
}

/* A disk that was cut while the overlay existed: what is beyond its end goes too. */
static bool trim_end(const struct local_layout *layout, size_t at, const char *path,
                     bool is_qcow2, struct err *err)
{
    uint64_t disk_bytes = layout->disks[at].disk_bytes, file_bytes;
    if (is_qcow2)
        return image_resize(path, IMAGE_QCOW2, disk_bytes, err);
    AUTO(close_fd) int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "open '%s'", path);
    if (!file_size(fd, path, &file_bytes, err))
        return false;
    if (file_bytes != disk_bytes && !layout->disks[at].device[0] &&
        (ftruncate(fd, (off_t)disk_bytes) != 0 || fsync(fd) != 0))
        return err_errno(err, errno, "resize '%s'", path);
    return true;
}

static bool merge_disk(const struct local_layout *layout, size_t at, size_t lowest,
                       struct err *err)
{
    const struct local_disk *disk = &layout->disks[at];
    AUTO(free) char *head = local_layout_file(layout, at, local_layout_head(disk));
    AUTO(free) char *base = local_layout_file(layout, at, disk->generations[lowest]);
    if (!image_commit(head, base, err) ||
        !trim_end(layout, at, base,
                  local_layout_is_qcow2(layout, disk->generations[lowest]), err))
        return err_wrap(err, "merge the states of disk %zu of machine '%s'", at,
                        layout->machine.name);
    return true;
}

bool local_chain_collapse(struct local *local, struct local_layout *layout,
                          struct err *err)
{
    struct local_disk before[MACHINE_MAX_DISKS];
    bool has_work = false;
    if (lease_exists(&local->leases, layout->machine.name, false)) /* C4 */
        return true;
    if (!local_layout_sweep_servers(layout, err))
        return false;
    for (size_t i = 0; i < layout->disk_count; i++) {
        size_t lowest = floor_of(layout, i);
        if (lowest + 1 >= layout->disks[i].chain_count)
            continue;
        has_work = true;
        if (!merge_disk(layout, i, lowest, err))
            return false;
    }
    if (!has_work)
        return true;
    memcpy(before, layout->disks, sizeof before);
    for (size_t i = 0; i < layout->disk_count; i++) {
        size_t lowest = floor_of(layout, i);
        if (lowest + 1 < layout->disks[i].chain_count)
            layout->disks[i].chain_count = lowest + 1;
    }
    if (!local_layout_save(layout, err))
        return false;
    for (size_t i = 0; i < layout->disk_count; i++)
        for (size_t k = layout->disks[i].chain_count; k < before[i].chain_count; k++) {
            AUTO(free)
            char *path = local_layout_file(layout, i, before[i].generations[k]);
            (void)unlink(path); /* else the next open sweeps it */
        }
    return true;
}
