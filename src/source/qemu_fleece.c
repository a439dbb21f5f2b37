/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes one point in time of all disks of a running QEMU (the picture: qemu_graph.c).
 *
 *  1 a scratch file per disk, a copy-before-write filter above the disk that is not in
 *    the guest's way yet, and a pass-through node that is: put in by setting the
 *    device's `drive`
 *  2 transaction: the new bitmaps
 *  3 blockdev-reopen of all pass-through nodes onto their copy-before-write filters: one
 *    command, all disks drained together. This is the instant (3 ms for two disks, 7.2)
 *  4 transaction: the previous bitmaps are disabled
 *  5 access nodes and their NBD exports
 *
 * Between 2 and 4 both bitmaps record: what falls in between is in both, which is a
 * superset and safe; the other order would lose it.
 *
 * Why not blockdev-backup with sync=none, which puts its filter in by itself: in QEMU 7.2
 * a scratch file that is full or slow makes *the guest's write* fail. The filter added by
 * hand takes on-cbw-error=break-snapshot and cbw-timeout: then the guest never notices,
 * and every later read of the snapshot fails, so nothing wrong is ever read. The bound of
 * the scratch file is a `raw` window below the qcow2: enforced by QEMU even when we are
 * dead.
 *
 * What QEMU 7.2 does not survive, so it is refused before anything is changed
 * (qemu_require_quiet; each seen with 7.2.22):
 *  - a disk served by an iothread: blockdev-add of a filter on a busy one unlocks a lock
 *    that is not held; and nbd_blockdev_client_closed asserts that it runs in the main
 *    thread, which it does not for an export in an iothread;
 *  - a disk with another backup's filter: an assertion on drain counters in
 *    blockdev-reopen when an image is reached in two ways.
 */
#include "source/qemu.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define QEMU_IMG_MS 60000

static bool call(struct qmp *qmp, const char *command, json_t *arguments, struct err *err)
{
    return qmp_call(qmp, command, arguments, QEMU_CALL_MS, NULL, err);
}

static json_t *object_of(const char *key, const char *text)
{
    json_t *object = json_object();
    json_put_text(object, key, text);
    return object;
}

/* ---- 1: scratch and filters ---- */

/* The bytes QEMU may use of a scratch file; 0: no bound. */
static uint64_t scratch_window(const struct qemu_source *source)
{
    if (source->scratch_max_bytes == 0)
        return 0;
    return round_down(MAX_OF(source->scratch_max_bytes, QEMU_SCRATCH_MIN),
                      QEMU_GRANULARITY);
}

/* QEMU often runs as another user: the file gets the owner of its folder. */
static bool prepare_scratch(const struct qemu_source *source, const char *path,
                            struct err *err)
{
    struct stat dir;
    AUTO(close_fd) int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    uint64_t window_bytes = scratch_window(source);
    if (fd < 0 || stat(source->scratch_dir, &dir) != 0 || fchmod(fd, 0660) != 0)
        return err_errno(err, errno, "scratch file '%s'", path);
    if (geteuid() == 0 && fchown(fd, dir.st_uid, dir.st_gid) != 0)
        return err_errno(err, errno, "owner of scratch file '%s'", path);
    if (window_bytes && ftruncate(fd, (off_t)window_bytes) != 0)
        return err_errno(err, errno, "size of scratch file '%s'", path);
    return true;
}

static bool make_scratch(const struct qemu_source *source, const char *path,
                         uint64_t disk_bytes, const struct cancel *cancel,
                         struct err *err)
{
    char size[24];
    (void)snprintf(size, sizeof size, "%llu", (unsigned long long)disk_bytes);
    const char *const argv[] = {"qemu-img", "create", "-q", "-f",
                                "qcow2",    path,     size, NULL};
    return (process_run(argv, QEMU_IMG_MS, cancel, NULL, err) &&
            prepare_scratch(source, path, err)) ||
           err_hint(err, "is there room in '%s', and may we write there?",
                    source->scratch_dir);
}

static json_t *scratch_file_node(const struct qemu_source *source, const char *path)
{
    json_t *file = object_of("driver", "file");
    json_put_text(file, "filename", path);
    if (!scratch_window(source))
        return file;
    json_t *window = object_of("driver", "raw");
    json_put_u64(window, "size", scratch_window(source));
    json_put_take(window, "file", file);
    return window;
}

static bool add_target(const struct qemu_snapshot *snapshot, size_t i, struct qmp *qmp,
                       const struct cancel *cancel, struct err *err)
{
    char name[QEMU_NAME_BYTES];
    AUTO(buf_release) struct buf path = {0};
    qemu_scratch_path(snapshot->source, snapshot->nonce, i, &path);
    if (!make_scratch(snapshot->source, buf_text(&path), snapshot->disks[i].disk_bytes,
                      cancel, err))
        return false;
    qemu_node_name(snapshot->nonce, ROLE_TARGET, i, name);
    json_t *node = object_of("driver", "qcow2");
    json_put_text(node, "node-name", name);
    json_put_take(node, "file", scratch_file_node(snapshot->source, buf_text(&path)));
    return call(qmp, "blockdev-add", node, err) ||
           err_hint(err, "the machine's QEMU must reach scratch folder '%s'",
                    snapshot->source->scratch_dir);
}

static bool set_drive(struct qmp *qmp, const char *qdev, const char *node,
                      struct err *err)
{
    json_t *arguments = object_of("path", qdev);
    json_put_text(arguments, "property", "drive");
    json_put_text(arguments, "value", node);
    return call(qmp, "qom-set", arguments, err);
}

static bool add_filters(const struct qemu_snapshot *snapshot, size_t i, struct qmp *qmp,
                        struct err *err)
{
    const struct qemu_snapshot_disk *disk = &snapshot->disks[i];
    char name[QEMU_NAME_BYTES], target[QEMU_NAME_BYTES];
    qemu_node_name(snapshot->nonce, ROLE_TARGET, i, target);
    qemu_node_name(snapshot->nonce, ROLE_CBW, i, name);
    json_t *cbw = object_of("driver", "copy-before-write");
    json_put_text(cbw, "node-name", name);
    json_put_text(cbw, "file", disk->node);
    json_put_text(cbw, "target", target);
    json_put_text(cbw, "on-cbw-error", "break-snapshot");
    json_put_u64(cbw, "cbw-timeout", QEMU_CBW_TIMEOUT_S);
    if (!call(qmp, "blockdev-add", cbw, err))
        return err_hint(err, "is another backup or block job at work on the disk?");
    qemu_node_name(snapshot->nonce, ROLE_PASS, i, name);
    json_t *pass = object_of("driver", "raw");
    json_put_text(pass, "node-name", name);
    json_put_text(pass, "file", disk->node);
    return call(qmp, "blockdev-add", pass, err) &&
           (set_drive(qmp, disk->qdev, name, err) ||
            err_hint(err, "device '%s' does not let its drive be changed", disk->qdev));
}

/* ---- 2 to 4: bitmaps and the instant ---- */

static json_t *bitmap_action(const char *type, const char *node, const char *name,
                             json_t **ret_data_borrowed)
{
    json_t *action = object_of("type", type), *data = object_of("node", node);
    json_put_text(data, "name", name);
    json_put_take(action, "data", data);
    if (ret_data_borrowed)
        *ret_data_borrowed = data;
    return action;
}

static bool run_transaction(struct qmp *qmp, json_t *actions, struct err *err)
{
    if (json_array_size(actions) == 0) {
        json_decref(actions);
        return true;
    }
    json_t *arguments = json_object();
    json_put_take(arguments, "actions", actions);
    return call(qmp, "transaction", arguments, err);
}

static bool add_bitmaps(const struct qemu_snapshot *snapshot, struct qmp *qmp,
                        struct err *err)
{
    json_t *actions = json_array(), *data;
    for (size_t i = 0; i < snapshot->disk_count; i++) {
        const struct qemu_snapshot_disk *disk = &snapshot->disks[i];
        json_t *action =
            bitmap_action("block-dirty-bitmap-add", disk->node, snapshot->name, &data);
        json_put_u64(data, "granularity", snapshot->source->granularity_bytes);
        json_put_bool(data, "persistent", disk->keeps_bitmaps);
        (void)json_array_append_new(actions, action); /* fails only without memory */
    }
    return run_transaction(qmp, actions, err);
}

static bool disable_previous(const struct qemu_snapshot *snapshot, struct qmp *qmp,
                             struct err *err)
{
    json_t *actions = json_array();
    for (size_t i = 0; i < snapshot->disk_count; i++) {
        const struct qemu_snapshot_disk *disk = &snapshot->disks[i];
        if (disk->knowledge == CHANGES_KNOWN)
            (void)json_array_append_new(
                actions, bitmap_action("block-dirty-bitmap-disable", disk->node,
                                       disk->previous.bitmap, NULL));
    }
    return run_transaction(qmp, actions, err);
}

static bool reach_instant(const struct qemu_snapshot *snapshot, struct qmp *qmp,
                          struct err *err)
{
    json_t *options = json_array();
    for (size_t i = 0; i < snapshot->disk_count; i++) {
        char pass[QEMU_NAME_BYTES], cbw[QEMU_NAME_BYTES];
        qemu_node_name(snapshot->nonce, ROLE_PASS, i, pass);
        qemu_node_name(snapshot->nonce, ROLE_CBW, i, cbw);
        json_t *one = object_of("driver", "raw");
        json_put_text(one, "node-name", pass);
        json_put_text(one, "file", cbw);
        (void)json_array_append_new(options, one); /* fails only without memory */
    }
    json_t *arguments = json_object();
    json_put_take(arguments, "options", options);
    uint64_t start_ns = clock_mono_ns();
    if (!call(qmp, "blockdev-reopen", arguments, err))
        return false;
    log_debug("qemu_instant", "machine=%s snapshot=%s took_us=%llu", snapshot->machine,
              snapshot->name, (unsigned long long)((clock_mono_ns() - start_ns) / 1000));
    return true;
}

/* ---- 5: exports ---- */

static bool socket_answers(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    AUTO(close_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    text_copy(address.sun_path, sizeof address.sun_path, path);
    return fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
}

static bool start_server(const struct qemu_source *source, struct qmp *qmp,
                         struct err *err)
{
    struct err failed = ERR_INIT;
    json_t *address = object_of("type", "unix");
    json_put_take(address, "data", object_of("path", source->socket_path));
    json_t *arguments = json_object();
    json_put_take(arguments, "addr", address);
    if (call(qmp, "nbd-server-start", arguments, &failed))
        return true;
    if (failed.kind == FAIL_IO && socket_answers(source->socket_path))
        return true; /* ours runs already */
    *err = failed;
    return err_hint(err,
                    "QEMU has one NBD server: end another one with nbd-server-stop, "
                    "and let QEMU write to '%s'",
                    source->scratch_dir);
}

static bool export_disk(const struct qemu_snapshot *snapshot, size_t i, struct qmp *qmp,
                        struct err *err)
{
    const struct qemu_snapshot_disk *disk = &snapshot->disks[i];
    char access[QEMU_NAME_BYTES], cbw[QEMU_NAME_BYTES], name[QEMU_NAME_BYTES];
    qemu_node_name(snapshot->nonce, ROLE_ACCESS, i, access);
    qemu_node_name(snapshot->nonce, ROLE_CBW, i, cbw);
    qemu_export_name(snapshot, i, name);
    json_t *node = object_of("driver", "snapshot-access");
    json_put_text(node, "node-name", access);
    json_put_text(node, "file", cbw);
    if (!call(qmp, "blockdev-add", node, err))
        return false;
    json_t *export = object_of("type", "nbd");
    json_put_text(export, "id", name);
    json_put_text(export, "node-name", access);
    json_put_text(export, "name", name);
    json_put_bool(export, "writable", false);
    if (disk->knowledge == CHANGES_KNOWN) {
        json_t *bitmaps = json_array(), *bitmap = object_of("node", disk->node);
        json_put_text(bitmap, "name", disk->previous.bitmap);
        (void)json_array_append_new(bitmaps, bitmap); /* fails only without memory */
        json_put_take(export, "bitmaps", bitmaps);
    }
    return call(qmp, "block-export-add", export, err);
}

bool qemu_fleece_start(struct qemu_snapshot *snapshot, struct qmp *qmp,
                       const struct cancel *cancel, struct err *err)
{
    if (!start_server(snapshot->source, qmp, err))
        return false;
    for (size_t i = 0; i < snapshot->disk_count; i++)
        if (!add_target(snapshot, i, qmp, cancel, err) ||
            !add_filters(snapshot, i, qmp, err) || !cancel_check(cancel, err))
            return err_wrap(err, "disk '%s'", snapshot->disks[i].key);
    if (!add_bitmaps(snapshot, qmp, err) || !reach_instant(snapshot, qmp, err) ||
        !disable_previous(snapshot, qmp, err))
        return false;
    for (size_t i = 0; i < snapshot->disk_count; i++)
        if (!export_disk(snapshot, i, qmp, err))
            return err_wrap(err, "disk '%s'", snapshot->disks[i].key);
    return true;
}
