/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A replica disk that is a sparse raw file or a block device.
 *
 * Why two ways of writing: long runs go by io_uring with O_DIRECT (a fifth of the CPU of
 * the page cache, and in flight while the next data is unpacked); short scattered ones go
 * through the page cache, where the kernel joins them at fdatasync (six times faster than
 * one direct write each). Both meet in one file safely because
 * R1  a direct write covers whole 4 KiB pages only, edges of a run go through the cache;
 * R2  the kernel writes back and drops cached pages under a direct write (checked by
 *     test_raw), and nobody else touches those bytes in the same cycle (target.h);
 * R3  what the kernel refuses (no O_DIRECT on tmpfs, no io_uring under seccomp) is done
 *     by plain pwrite, silently: slower, equal in effect.
 * It must never report flushed what only reached the cache: flush is fdatasync of the
 * inode, which covers both ways.
 */
#include "target/local.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIRECT_MIN_BYTES (128 * KIB)

struct raw_disk {
    struct replica_disk base;
    /* Set by local_raw_open, never changed. */
    struct local *local;
    struct lease *lease;
    char *path;
    int fd;
    int direct_fd; /* -1: none */
    uint64_t disk_bytes;
};

struct raw_slot {
    const uint8_t *data;
    size_t data_bytes;
    uint64_t offset_bytes;
};

struct raw_writer {
    struct replica_writer base;
    struct raw_disk *disk;
    struct stage *stage;
    bool has_ring;
    bool use_direct;
    struct io_uring ring;
    struct raw_slot slots[STAGE_SLOTS];
};

static bool pwrite_cached(const struct raw_disk *disk, const uint8_t *data,
                          size_t data_bytes, uint64_t offset_bytes, struct err *err)
{
    return file_pwrite_full(disk->fd, disk->path, data, data_bytes, offset_bytes, err);
}

static bool start_direct(struct raw_writer *writer, size_t slot,
                         const struct raw_slot *part, bool *ret_done, struct err *err)
{
    if (!writer->has_ring) {
        ssize_t n = pwrite(writer->disk->direct_fd, part->data, part->data_bytes,
                           (off_t)part->offset_bytes);
        size_t done = n > 0 ? (size_t)n : 0;
        *ret_done = true;
        return pwrite_cached(writer->disk, part->data + done, part->data_bytes - done,
                             part->offset_bytes + done, err);
    }
    struct io_uring_sqe *sqe = io_uring_get_sqe(&writer->ring);
    if (!sqe)
        return err_set(err, FAIL_BUG, "no free request in the ring of '%s'",
                       writer->disk->path);
    writer->slots[slot] = *part;
    io_uring_prep_write(sqe, writer->disk->direct_fd, part->data,
                        (unsigned)part->data_bytes, part->offset_bytes);
    io_uring_sqe_set_data64(sqe, slot);
    int submitted;
    do
        submitted = io_uring_submit(&writer->ring);
    while (submitted == -EINTR || submitted == -EAGAIN);
    if (submitted < 0)
        return err_errno(err, -submitted, "submit a write to '%s'", writer->disk->path);
    *ret_done = false;
    return true;
}

static bool raw_start(void *ctx, size_t slot, const uint8_t *data, size_t data_bytes,
                      uint64_t offset_bytes, bool *ret_done, struct err *err)
{
    struct raw_writer *writer = ctx;
    uint64_t start = round_up(offset_bytes, STAGE_ALIGN_BYTES);
    uint64_t end = round_down(offset_bytes + data_bytes, STAGE_ALIGN_BYTES);
    bool fits = ((uintptr_t)data - offset_bytes) % STAGE_ALIGN_BYTES == 0;
    *ret_done = true;
    if (!writer->use_direct || !fits || end < start + DIRECT_MIN_BYTES)
        return pwrite_cached(writer->disk, data, data_bytes, offset_bytes, err);
    size_t head = (size_t)(start - offset_bytes);
    size_t tail = (size_t)(offset_bytes + data_bytes - end);
    if (head && !pwrite_cached(writer->disk, data, head, offset_bytes, err))
        return false;
    if (tail && !pwrite_cached(writer->disk, data + data_bytes - tail, tail, end, err))
        return false;
    struct raw_slot part = {data + head, (size_t)(end - start), start};
    return start_direct(writer, slot, &part, ret_done, err);
}

/* What a direct write did not do (short, or refused by an odd device) is done through the
 * cache: a real failure shows up again there. */
static bool finish_slot(struct raw_writer *writer, const struct raw_slot *slot, int res,
                        struct err *err)
{
    size_t done = res > 0 ? (size_t)res : 0;
    if (res == -EINVAL || res == -EOPNOTSUPP)
        writer->use_direct = false; /* R3 */
    else if (res < 0 && res != -EINTR && res != -EAGAIN)
        return err_errno(err, -res, "write '%s' at %" PRIu64, writer->disk->path,
                         slot->offset_bytes);
    if (done == slot->data_bytes)
        return true;
    return pwrite_cached(writer->disk, slot->data + done, slot->data_bytes - done,
                         slot->offset_bytes + done, err);
}

static bool raw_wait(void *ctx, size_t *ret_slot, struct err *err)
{
    struct raw_writer *writer = ctx;
    struct io_uring_cqe *cqe = NULL;
    int failed;
    do
        failed = io_uring_wait_cqe(&writer->ring, &cqe);
    while (failed == -EINTR || failed == -EAGAIN);
    if (failed < 0) /* the ring itself is broken: memory in flight can't be known */
        abort();
    size_t slot = (size_t)io_uring_cqe_get_data64(cqe);
    int res = cqe->res;
    io_uring_cqe_seen(&writer->ring, cqe);
    *ret_slot = slot;
    return finish_slot(writer, &writer->slots[slot], res, err);
}

static bool raw_writer_open(struct replica_disk *base, struct replica_writer **ret,
                            struct err *err)
{
    struct raw_disk *disk = (struct raw_disk *)base;
    (void)err; /* no memory ends the process, no ring is not a failure (R3) */
    struct raw_writer *writer = xcalloc(1, sizeof *writer);
    writer->base.ops = base->ops;
    writer->disk = disk;
    writer->use_direct = disk->direct_fd >= 0;
    writer->has_ring =
        writer->use_direct && io_uring_queue_init(STAGE_SLOTS, &writer->ring, 0) == 0;
    struct stage_sink sink = {.start = raw_start, .wait = raw_wait, .ctx = writer};
    writer->stage = stage_new(&sink, &LOCAL_STAGE_SHAPE);
    *ret = &writer->base;
    return true;
}

static uint8_t *raw_room(struct replica_writer *writer)
{
    return stage_room(((struct raw_writer *)writer)->stage);
}

static bool raw_put(struct replica_writer *base, uint64_t offset_bytes,
                    const uint8_t *data, size_t data_bytes, struct err *err)
{
    return stage_put(((struct raw_writer *)base)->stage, offset_bytes, data, data_bytes,
                     err);
}

static bool write_zeros(int fd, const char *name, uint64_t start_bytes,
                        uint64_t end_bytes, struct err *err)
{
    static const uint8_t zeros[256 * KIB];
    while (start_bytes < end_bytes) {
        uint64_t left_bytes = end_bytes - start_bytes;
        size_t take_bytes = (size_t)MIN_OF(left_bytes, sizeof zeros);
        if (!file_pwrite_full(fd, name, zeros, take_bytes, start_bytes, err))
            return false;
        start_bytes += take_bytes;
    }
    return true;
}

/*
 * fallocate(PUNCH_HOLE) gives zeros on files and on devices that can (a device that can't
 * do it cheaply answers EOPNOTSUPP, one asked at less than a block EINVAL). BLKDISCARD is
 * not used: after it a device may read as anything.
 */
bool local_raw_punch(int fd, const char *name, uint64_t start_bytes, uint64_t end_bytes,
                     struct err *err)
{
    off_t data_at = lseek(fd, (off_t)start_bytes, SEEK_DATA);
    if (data_at < 0 && errno == ENXIO)
        return true; /* nothing but a hole up to the end */
    if (data_at > 0 && (uint64_t)data_at > start_bytes)
        start_bytes = (uint64_t)data_at;
    if (start_bytes >= end_bytes)
        return true;
    uint64_t length_bytes = end_bytes - start_bytes;
    uint64_t range[2] = {start_bytes, length_bytes};
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)start_bytes,
                  (off_t)length_bytes) == 0)
        return true;
    if (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS)
        return err_errno(err, errno, "punch a hole in '%s' at %" PRIu64, name,
                         start_bytes);
    if (fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)start_bytes,
                  (off_t)length_bytes) == 0 ||
        ioctl(fd, BLKZEROOUT, range) == 0)
        return true;
    return write_zeros(fd, name, start_bytes, end_bytes, err);
}

static bool raw_zero(struct replica_writer *base, uint64_t start_bytes,
                     uint64_t end_bytes, struct err *err)
{
    struct raw_writer *writer = (struct raw_writer *)base;
    return start_bytes == end_bytes ||
           (stage_settle(writer->stage, start_bytes, end_bytes, err) &&
            local_raw_punch(writer->disk->fd, writer->disk->path, start_bytes, end_bytes,
                            err));
}

static bool raw_drain(struct replica_writer *base, struct err *err)
{
    return stage_drain(((struct raw_writer *)base)->stage, err);
}

static void raw_writer_close(struct replica_writer *base)
{
    struct raw_writer *writer = (struct raw_writer *)base;
    stage_free(writer->stage);
    if (writer->has_ring)
        io_uring_queue_exit(&writer->ring);
    free(writer);
}

static bool raw_read(struct replica_disk *base, uint64_t offset_bytes, uint8_t *data,
                     size_t data_bytes, struct err *err)
{
    struct raw_disk *disk = (struct raw_disk *)base;
    return file_pread_full(disk->fd, disk->path, data, data_bytes, offset_bytes, err);
}

static bool raw_flush(struct replica_disk *base, struct err *err)
{
    struct raw_disk *disk = (struct raw_disk *)base;
    if (fdatasync(disk->fd) != 0)
        return err_errno(err, errno, "flush '%s'", disk->path);
    return true;
}

static uint64_t raw_disk_bytes(const struct replica_disk *base)
{
    return ((const struct raw_disk *)base)->disk_bytes;
}

static bool raw_allocated(struct replica_disk *base, struct extents *ret, struct err *err)
{
    struct raw_disk *disk = (struct raw_disk *)base;
    uint64_t at = 0;
    extents_clear(ret);
    while (at < disk->disk_bytes) {
        off_t data_at = lseek(disk->fd, (off_t)at, SEEK_DATA);
        if (data_at < 0 && errno == ENXIO)
            break;
        if (data_at < 0 && errno != EINVAL)
            return err_errno(err, errno, "find the data of '%s'", disk->path);
        uint64_t start = data_at < 0 ? at : (uint64_t)data_at; /* can't tell: all */
        off_t hole_at = data_at < 0 ? -1 : lseek(disk->fd, data_at, SEEK_HOLE);
        uint64_t end = hole_at < 0 ? disk->disk_bytes : (uint64_t)hole_at;
        extents_add(ret, start, MIN_OF(end, disk->disk_bytes));
        at = end;
    }
    extents_clip(ret, disk->disk_bytes);
    return true;
}

static void raw_disk_close(struct replica_disk *base)
{
    struct raw_disk *disk = (struct raw_disk *)base;
    if (disk->fd >= 0)
        (void)close(disk->fd); /* nothing is promised before flush */
    if (disk->direct_fd >= 0)
        (void)close(disk->direct_fd);
    lease_drop(&disk->local->leases, disk->lease);
    free(disk->path);
    free(disk);
}

static const struct target_ops RAW_OPS = {
    .kind = "local",
    .read = raw_read,
    .flush = raw_flush,
    .disk_bytes = raw_disk_bytes,
    .disk_close = raw_disk_close,
    .allocated = raw_allocated,
    .writer_open = raw_writer_open,
    .room = raw_room,
    .put = raw_put,
    .zero = raw_zero,
    .drain = raw_drain,
    .writer_close = raw_writer_close,
};

bool local_raw_open(const struct local_disk_spec *spec, struct replica_disk **ret,
                    struct err *err)
{
    int flags = (spec->for_writing ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW;
    struct raw_disk *disk = xcalloc(1, sizeof *disk);
    AUTO(replica_disk_close) struct replica_disk *guard = &disk->base;
    uint64_t real_bytes;
    disk->base.ops = &RAW_OPS;
    disk->local = spec->local;
    disk->lease = spec->lease;
    disk->path = xstrdup(spec->path);
    disk->disk_bytes = spec->disk_bytes;
    disk->direct_fd = -1;
    disk->fd = open(spec->path, flags & ~(spec->is_device ? O_NOFOLLOW : 0));
    if (disk->fd < 0)
        return err_errno(err, errno, "open replica disk '%s'", spec->path);
    if (!file_size(disk->fd, spec->path, &real_bytes, err))
        return false;
    if (real_bytes < spec->disk_bytes)
        return err_set(err, FAIL_CORRUPT,
                       "replica disk '%s' has %" PRIu64 " bytes where %" PRIu64
                       " are expected; somebody cut it: stop the replication of this "
                       "machine and start it again",
                       spec->path, real_bytes, spec->disk_bytes);
    if (spec->for_writing && !spec->local->plain_writes)
        disk->direct_fd =
            open(spec->path, (flags & ~(spec->is_device ? O_NOFOLLOW : 0)) | O_DIRECT);
    *ret = TAKE(guard);
    return true;
}
