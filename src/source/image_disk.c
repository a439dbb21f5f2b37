/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw images: submit reads straight into the caller's buffer and next hands it back; with
 * several readers on several threads the page cache and the kernel's read-ahead do the
 * rest, and there is no copy of ours.
 *
 * qcow2 images: a qemu-nbd child serves them. It is started without --persistent, so it
 * ends when its last client leaves; the disk itself holds one connection from start to
 * close. When we are killed the kernel closes that one and no child stays behind.
 *
 * In use: a QEMU that may write holds a read lock on byte 101 of the image (its "write"
 * permission; block/file-posix.c, since QEMU 2.10). Checked with QEMU 7.2.
 */
#include "source/image_disk.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/text.h"
#include "source/nbd_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define QCOW2_HEADER_BYTES 32
#define QEMU_WRITE_BYTE    101
#define SERVER_START_MS    15000
#define SERVER_STOP_MS     5000
#define SERVER_CLIENTS     "64"
#define EXPORT_NAME        "disk"

struct image_disk {
    char *path;
    struct image_facts facts;
    int fd; /* raw: to read from; qcow2: unused */
    /* qcow2 */
    int server_pid; /* 0: none */
    char *temp_dir;
    char *socket_path;
    struct nbd_client *keeper; /* keeps the server up */
};

struct raw_reader {
    struct reader base;
    const struct image_disk *disk; /* borrowed */
    size_t waiting_count;
    struct read_request *waiting_first;
    struct read_request *waiting_last;
};

/* ---- looking ---- */

static uint64_t be64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

static bool is_held_writable(int fd)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = QEMU_WRITE_BYTE, .l_len = 1};
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static uint64_t fingerprint_of(const struct stat *st)
{
    if (!S_ISREG(st->st_mode))
        return 0; /* a block device's times say nothing of its content */
    const uint64_t parts[] = {st->st_dev, st->st_ino, (uint64_t)st->st_size,
                              (uint64_t)st->st_mtim.tv_sec,
                              (uint64_t)st->st_mtim.tv_nsec};
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++)
        for (int byte = 0; byte < 8; byte++)
            hash = (hash ^ (parts[i] >> (8 * byte) & 0xff)) * 1099511628211u;
    return hash | 1;
}

static bool look_at(int fd, const char *path, struct image_facts *ret, struct err *err)
{
    static const uint8_t magic[] = {'Q', 'F', 'I', 0xfb};
    uint8_t header[QCOW2_HEADER_BYTES] = {0};
    struct stat st;
    *ret = (struct image_facts){0};
    if (fstat(fd, &st) != 0)
        return err_errno(err, errno, "look at image '%s'", path);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return err_set(err, FAIL_INPUT, "image '%s' is neither a file nor a block device",
                       path);
    if (!file_size(fd, path, &ret->disk_bytes, err))
        return false;
    ret->is_block_device = S_ISBLK(st.st_mode);
    ret->is_in_use = is_held_writable(fd);
    ret->fingerprint = fingerprint_of(&st);
    if (ret->disk_bytes < sizeof header)
        return true;
    if (!file_pread_full(fd, path, header, sizeof header, 0, err))
        return false;
    if (memcmp(header, magic, sizeof magic) == 0) {
        ret->is_qcow2 = true;
        ret->disk_bytes = be64(header + 24);
    }
    return true;
}

static int open_image(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        (void)err_errno(err, errno, "open image '%s'", path);
    return fd;
}

bool image_look(const char *path, struct image_facts *ret, struct err *err)
{
    AUTO(close_fd) int fd = open_image(path, err);
    return fd >= 0 && look_at(fd, path, ret, err);
}

bool image_check_size(const char *path, const struct image_facts *facts, struct err *err)
{
    uint64_t bytes = facts->disk_bytes;
    if (bytes == 0)
        return err_set(err, FAIL_INPUT, "image '%s' is empty; give a disk image", path);
    if (bytes > INT64_MAX - SECTOR_BYTES)
        return err_set(err, FAIL_CORRUPT, "image '%s' says it has %llu bytes", path,
                       (unsigned long long)bytes);
    if (bytes % SECTOR_BYTES)
        return err_set(err, FAIL_INPUT,
                       "image '%s' has %llu bytes, not whole sectors of 512; extend it: "
                       "truncate -s %llu",
                       path, (unsigned long long)bytes,
                       (unsigned long long)round_up(bytes, SECTOR_BYTES));
    return true;
}

/* ---- qcow2: the server ---- */

static void stop_server(struct image_disk *disk)
{
    struct err ignored = ERR_INIT;
    nbd_client_close(TAKE(disk->keeper));
    /* It also ends by itself, its last client being gone. */
    if (disk->server_pid && !process_stop(disk->server_pid, SERVER_STOP_MS, &ignored))
        log_debug("image_server_stays", "pid=%d", disk->server_pid);
    if (disk->temp_dir && !file_remove_tree(disk->temp_dir, &ignored))
        log_debug("image_folder_stays", "path=%s", disk->temp_dir);
    free(disk->temp_dir);
    free(disk->socket_path);
}

static char *last_line(const char *path)
{
    AUTO(buf_release) struct buf text = {0};
    struct err ignored = ERR_INIT;
    if (!file_read(path, 64 * KIB, &text, &ignored) || text.bytes == 0)
        return xstrdup("no reason given");
    char *at = (char *)text.data;
    for (size_t end = text.bytes; end && at[end - 1] == '\n'; end--)
        at[end - 1] = '\0';
    char *line = strrchr(at, '\n');
    return xstrdup(line ? line + 1 : at);
}

/* The first connection, as soon as the child listens. */
static bool wait_for_server(struct image_disk *disk, const char *log_path,
                            struct err *err)
{
    uint64_t until_ms = clock_mono_ms() + SERVER_START_MS;
    static const char *const contexts[] = {"base:allocation", NULL};
    struct nbd_client_options options = {.socket_path = disk->socket_path,
                                         .export_name = EXPORT_NAME,
                                         .contexts = contexts};
    for (;;) {
        struct err failed = ERR_INIT;
        if (file_exists(disk->socket_path) &&
            nbd_client_open(&options, &disk->keeper, &failed))
            return true;
        if (!process_is_alive(disk->server_pid)) {
            AUTO(free) char *why = last_line(log_path);
            disk->server_pid = 0;
            return err_set(err, FAIL_CONFLICT, "serve image '%s': %.250s", disk->path,
                           why);
        }
        if (clock_mono_ms() > until_ms)
            return err_set(err, FAIL_TRANSIENT, "serve image '%s': no start in %d ms: %s",
                           disk->path, SERVER_START_MS, failed.text);
        clock_sleep_ms(10);
    }
}

static bool start_server(struct image_disk *disk, struct err *err)
{
    const char *where = getenv("TMPDIR");
    AUTO(buf_release) struct buf dir = {0};
    buf_printf(&dir, "%s/kedge-image-XXXXXX", where && where[0] ? where : "/tmp");
    char *name = buf_take_text(&dir);
    if (!mkdtemp(name)) {
        (void)err_errno(err, errno, "make temporary folder '%s'", name);
        free(name);
        return false;
    }
    disk->temp_dir = name;
    disk->socket_path = file_join(disk->temp_dir, "socket");
    AUTO(free) char *log_path = file_join(disk->temp_dir, "log");
    const char *const argv[] = {"qemu-nbd",
                                "--read-only",
                                "--format=qcow2",
                                "--shared",
                                SERVER_CLIENTS,
                                "--export-name",
                                EXPORT_NAME,
                                "--socket",
                                disk->socket_path,
                                "--aio=threads",
                                "--cache=writeback",
                                disk->path,
                                NULL};
    return (process_start(argv, log_path, &disk->server_pid, err) ||
            err_hint(err, "install qemu-utils to read qcow2 images")) &&
           wait_for_server(disk, log_path, err);
}

/* ---- life ---- */

bool image_disk_open(const char *path, struct image_disk **ret, struct err *err)
{
    AUTO(image_disk_close) struct image_disk *disk = xcalloc(1, sizeof *disk);
    disk->path = xstrdup(path);
    disk->fd = open_image(path, err);
    if (disk->fd < 0 || !look_at(disk->fd, path, &disk->facts, err) ||
        !image_check_size(path, &disk->facts, err))
        return false;
    if (disk->facts.is_in_use)
        return err_set(err, FAIL_CONFLICT,
                       "image '%s' is written to by a running machine; shut it down, or "
                       "add the machine as a QEMU source",
                       path);
    if (disk->facts.is_qcow2 && !start_server(disk, err))
        return false;
    *ret = TAKE(disk);
    return true;
}

void image_disk_close(struct image_disk *disk)
{
    if (!disk)
        return;
    stop_server(disk);
    if (disk->fd >= 0)
        (void)close(disk->fd); /* only read from */
    free(disk->path);
    free(disk);
}

const struct image_facts *image_disk_facts(const struct image_disk *disk)
{
    return &disk->facts;
}

/* ---- allocation ---- */

static bool raw_allocated(const struct image_disk *disk, struct extents *ret,
                          struct err *err)
{
    uint64_t size_bytes = disk->facts.disk_bytes;
    off_t at = 0;
    extents_clear(ret);
    while ((uint64_t)at < size_bytes) {
        off_t data = lseek(disk->fd, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            break; /* a hole to the end */
        if (data < 0 && (errno == EINVAL || errno == EOPNOTSUPP) && at == 0) {
            extents_add(ret, 0, size_bytes); /* the file system cannot tell */
            break;
        }
        off_t hole = data < 0 ? -1 : lseek(disk->fd, data, SEEK_HOLE);
        if (hole < 0)
            return err_errno(err, errno, "look for holes in image '%s'", disk->path);
        extents_add(ret, (uint64_t)data, (uint64_t)hole);
        at = hole;
    }
    extents_coarsen(ret, SECTOR_BYTES, size_bytes);
    extents_clip(ret, size_bytes);
    return true;
}

bool image_disk_allocated(struct image_disk *disk, struct extents *ret, struct err *err)
{
    static const struct nbd_status_query query = {
        .context = "base:allocation", .mask = NBD_STATUS_ZERO, .want = 0};
    if (!disk->facts.is_qcow2)
        return raw_allocated(disk, ret, err);
    if (!nbd_client_block_status(disk->keeper, &query, NULL, ret, err))
        return err_wrap(err, "image '%s'", disk->path);
    extents_clip(ret, disk->facts.disk_bytes);
    return true;
}

/* ---- reading ---- */

bool image_disk_reader_open(struct image_disk *disk, const struct source_ops *raw_ops,
                            const struct source_ops *nbd_ops, struct reader **ret,
                            struct err *err)
{
    if (disk->facts.is_qcow2) {
        struct nbd_reader_options options = {.ops = nbd_ops,
                                             .socket_path = disk->socket_path,
                                             .export_name = EXPORT_NAME,
                                             .disk_bytes = disk->facts.disk_bytes};
        return nbd_reader_open(&options, ret, err) ||
               err_wrap(err, "image '%s'", disk->path);
    }
    struct raw_reader *reader = xcalloc(1, sizeof *reader);
    reader->base.ops = raw_ops;
    reader->disk = disk;
    *ret = &reader->base;
    return true;
}

bool image_raw_submit(struct reader *base, struct read_request *request, struct err *err)
{
    struct raw_reader *reader = (struct raw_reader *)base;
    const struct image_disk *disk = reader->disk;
    uint64_t end_bytes;
    if (!add_u64(request->offset_bytes, request->length_bytes, &end_bytes) ||
        end_bytes > disk->facts.disk_bytes)
        return err_set(err, FAIL_INPUT,
                       "read %u bytes at %llu: image '%s' has %llu bytes",
                       request->length_bytes, (unsigned long long)request->offset_bytes,
                       disk->path, (unsigned long long)disk->facts.disk_bytes);
    if (reader->waiting_count == READER_MAX_IN_FLIGHT)
        return err_set(err, FAIL_BUG, "more than %d reads in flight",
                       READER_MAX_IN_FLIGHT);
    request->next = NULL;
    if (reader->waiting_last)
        reader->waiting_last->next = request;
    else
        reader->waiting_first = request;
    reader->waiting_last = request;
    reader->waiting_count++;
    return true;
}

struct read_request *image_raw_next(struct reader *base, const struct cancel *cancel,
                                    struct err *err)
{
    struct raw_reader *reader = (struct raw_reader *)base;
    struct read_request *request = reader->waiting_first;
    (void)cancel; /* nothing to wait for; the front has looked at it */
    if (!request) {
        (void)err_set(err, FAIL_BUG, "no read in flight at image '%s'",
                      reader->disk->path);
        return NULL;
    }
    reader->waiting_first = request->next;
    if (!reader->waiting_first)
        reader->waiting_last = NULL;
    reader->waiting_count--;
    request->next = NULL;
    request->ok =
        file_pread_full(reader->disk->fd, reader->disk->path, request->data,
                        request->length_bytes, request->offset_bytes, &request->err);
    return request;
}

void image_raw_close(struct reader *base)
{
    free(base);
}
