/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A replica disk whose head is qcow2: format qcow2, or any disk while a test stands on an
 * older state of it. Read and written through qemu-nbd, one connection per writer, with
 * the same staging as the raw files have.
 *
 * N1  the control connection lives as long as the disk: qemu-nbd ends when its last
 * client is gone, so it neither ends too early nor stays behind after a crash; N2  all
 * connections of one server are views of one QEMU block node: a flush on any of them
 * covers the finished writes of all.
 */
#include "target/local.h"

#include "base/clock.h"
#include "base/file.h"
#include "qemu/image.h"
#include "qemu/nbd.h"
#include "qemu/vm.h"

#include <inttypes.h>

#define MAX_CONNECTIONS    64
#define CONNECT_TRIES      100
#define CONNECT_PAUSE_MS   20
#define ALLOCATION_CONTEXT "base:allocation"

struct nbd_disk {
    struct replica_disk base;
    /* Set by local_nbd_open, never changed. */
    struct local *local;
    struct lease *lease;
    struct image_server *server;
    char socket_path[MACHINE_PATH_BYTES];
    char *path;
    uint64_t disk_bytes;
    /* Guarded by lock: held over its I/O, it only serialises this connection. */
    pthread_mutex_t lock;
    struct nbd_client *control;
};

struct nbd_writer {
    struct replica_writer base;
    struct nbd_disk *disk;
    struct nbd_client *client;
    struct stage *stage;
    struct nbd_io ios[STAGE_SLOTS];
    bool is_busy[STAGE_SLOTS];
};

/* The server's socket is there a moment before it accepts. */
static bool connect_server(struct nbd_disk *disk, bool with_allocation,
                           struct nbd_client **ret, struct err *err)
{
    static const char *const CONTEXTS[] = {ALLOCATION_CONTEXT, NULL};
    struct nbd_client_options options = {
        .socket_path = disk->socket_path,
        .export_name = "",
        .contexts = with_allocation ? CONTEXTS : NULL,
    };
    for (int i = 0; i < CONNECT_TRIES; i++) {
        if (nbd_client_open(&options, ret, err))
            return true;
        if (!image_server_is_alive(disk->server))
            break;
        clock_sleep_ms(CONNECT_PAUSE_MS);
    }
    char words[256];
    image_server_last_words(disk->server, words, sizeof words);
    return words[0] ? err_wrap(err, "qemu-nbd for '%s' says '%s'", disk->path, words)
                    : err_wrap(err, "qemu-nbd for '%s'", disk->path);
}

static bool nbd_start(void *ctx, size_t slot, const uint8_t *data, size_t data_bytes,
                      uint64_t offset_bytes, bool *ret_done, struct err *err)
{
    struct nbd_writer *writer = ctx;
    writer->ios[slot] = (struct nbd_io){
        .kind = NBD_IO_WRITE,
        .offset_bytes = offset_bytes,
        .length_bytes = (uint32_t)data_bytes, /* of one buffer at most */
        .data = (uint8_t *)data,              /* not changed by a write */
    };
    if (!nbd_client_submit(writer->client, &writer->ios[slot], err))
        return err_wrap(err, "write '%s'", writer->disk->path);
    writer->is_busy[slot] = true;
    *ret_done = false;
    return true;
}

static bool nbd_wait(void *ctx, size_t *ret_slot, struct err *err)
{
    struct nbd_writer *writer = ctx;
    size_t slot = 0;
    struct nbd_io *io = nbd_client_next(writer->client, NULL, err);
    if (io)
        slot = (size_t)(io - writer->ios);
    else /* the connection is of no use any more: every slot fails, one by one */
        while (slot < STAGE_SLOTS - 1 && !writer->is_busy[slot])
            slot++;
    writer->is_busy[slot] = false;
    *ret_slot = slot;
    if (!io)
        return err_wrap(err, "write '%s'", writer->disk->path);
    if (!io->ok) {
        *err = io->err;
        return err_wrap(err, "write '%s' at %" PRIu64, writer->disk->path,
                        io->offset_bytes);
    }
    return true;
}

static bool nbd_writer_open(struct replica_disk *base, struct replica_writer **ret,
                            struct err *err)
{
    struct nbd_disk *disk = (struct nbd_disk *)base;
    struct nbd_client *client;
    if (!connect_server(disk, false, &client, err))
        return false;
    struct nbd_writer *writer = xcalloc(1, sizeof *writer);
    struct stage_sink sink = {.start = nbd_start, .wait = nbd_wait, .ctx = writer};
    writer->base.ops = base->ops;
    writer->disk = disk;
    writer->client = client;
    writer->stage = stage_new(&sink, &LOCAL_STAGE_SHAPE);
    *ret = &writer->base;
    return true;
}

static uint8_t *nbd_room(struct replica_writer *writer)
{
    return stage_room(((struct nbd_writer *)writer)->stage);
}

static bool nbd_put(struct replica_writer *writer, uint64_t offset_bytes,
                    const uint8_t *data, size_t data_bytes, struct err *err)
{
    return stage_put(((struct nbd_writer *)writer)->stage, offset_bytes, data, data_bytes,
                     err);
}

static bool nbd_zero_range(struct replica_writer *base, uint64_t start_bytes,
                           uint64_t end_bytes, struct err *err)
{
    struct nbd_writer *writer = (struct nbd_writer *)base;
    if (start_bytes == end_bytes)
        return true;
    /* The client's plain calls want no finished request of ours in their way. */
    return stage_drain(writer->stage, err) &&
           (nbd_client_zero(writer->client, start_bytes, end_bytes - start_bytes, err) ||
            err_wrap(err, "zero '%s'", writer->disk->path));
}

static bool nbd_drain(struct replica_writer *writer, struct err *err)
{
    return stage_drain(((struct nbd_writer *)writer)->stage, err);
}

static void nbd_writer_close(struct replica_writer *base)
{
    struct nbd_writer *writer = (struct nbd_writer *)base;
    stage_free(writer->stage);
    nbd_client_close(writer->client);
    free(writer);
}

static bool nbd_read(struct replica_disk *base, uint64_t offset_bytes, uint8_t *data,
                     size_t data_bytes, struct err *err)
{
    struct nbd_disk *disk = (struct nbd_disk *)base;
    LOCK_GUARD(&disk->lock);
    while (data_bytes) {
        uint32_t take_bytes = (uint32_t)MIN_OF(data_bytes, 4 * MIB);
        if (!nbd_client_pread(disk->control, data, take_bytes, offset_bytes, err))
            return err_wrap(err, "read '%s' at %" PRIu64, disk->path, offset_bytes);
        data += take_bytes;
        data_bytes -= take_bytes;
        offset_bytes += take_bytes;
    }
    return true;
}

static bool nbd_flush_all(struct replica_disk *base, struct err *err)
{
    struct nbd_disk *disk = (struct nbd_disk *)base;
    LOCK_GUARD(&disk->lock);
    return nbd_client_flush(disk->control, err) ||
           err_wrap(err, "flush '%s'", disk->path);
}

static uint64_t nbd_disk_bytes(const struct replica_disk *base)
{
    return ((const struct nbd_disk *)base)->disk_bytes;
}

static bool nbd_allocated(struct replica_disk *base, struct extents *ret, struct err *err)
{
    struct nbd_disk *disk = (struct nbd_disk *)base;
    struct nbd_status_query query = {ALLOCATION_CONTEXT, NBD_STATUS_ZERO, 0};
    LOCK_GUARD(&disk->lock);
    if (!nbd_client_block_status(disk->control, &query, NULL, ret, err))
        return err_wrap(err, "allocation of '%s'", disk->path);
    extents_clip(ret, disk->disk_bytes);
    return true;
}

static void nbd_disk_close(struct replica_disk *base)
{
    struct nbd_disk *disk = (struct nbd_disk *)base;
    nbd_client_close(disk->control);
    image_server_stop(disk->server);
    lease_drop(&disk->local->leases, disk->lease);
    (void)pthread_mutex_destroy(&disk->lock); /* nobody holds it */
    free(disk->path);
    free(disk);
}

static const struct target_ops NBD_OPS = {
    .kind = "local",
    .read = nbd_read,
    .flush = nbd_flush_all,
    .disk_bytes = nbd_disk_bytes,
    .disk_close = nbd_disk_close,
    .allocated = nbd_allocated,
    .writer_open = nbd_writer_open,
    .room = nbd_room,
    .put = nbd_put,
    .zero = nbd_zero_range,
    .drain = nbd_drain,
    .writer_close = nbd_writer_close,
};

static bool start_server(struct nbd_disk *disk, const struct local_disk_spec *spec,
                         struct err *err)
{
    /* Random: two openings of one disk never meet on one socket. */
    struct id id = id_random();
    char hex[ID_TEXT_BYTES], which[ID_TEXT_BYTES + 8];
    (void)snprintf(which, sizeof which, "nbd-%.16s", id_text(&id, hex));
    if (!vm_socket_path(spec->run_dir, which, disk->socket_path, err))
        return false;
    AUTO(buf_release) struct buf log_path = {0};
    buf_printf(&log_path, "%s/%s.log", spec->run_dir, which);
    struct image_server_options options = {
        .image_path = spec->path,
        .format = spec->is_qcow2 ? IMAGE_QCOW2 : IMAGE_RAW,
        .socket_path = disk->socket_path,
        .log_path = buf_text(&log_path),
        .read_only = !spec->for_writing,
        .max_clients = MAX_CONNECTIONS,
    };
    struct err first = ERR_INIT;
    disk->server = image_server_start(&options, &first);
    if (disk->server)
        return true;
    if (first.kind != FAIL_CONFLICT ||
        !lease_is_only(&disk->local->leases, disk->lease)) {
        *err = first;
        return false;
    }
    /* Nobody of us has it open: a server that was just being started when we died. */
    if (!local_layout_kill_servers(spec->run_dir, err))
        return false;
    disk->server = image_server_start(&options, err);
    return disk->server != NULL;
}

bool local_nbd_open(const struct local_disk_spec *spec, struct replica_disk **ret,
                    struct err *err)
{
    struct nbd_disk *disk = xcalloc(1, sizeof *disk);
    AUTO(replica_disk_close) struct replica_disk *guard = &disk->base;
    disk->base.ops = &NBD_OPS;
    disk->local = spec->local;
    disk->lease = spec->lease;
    disk->path = xstrdup(spec->path);
    disk->disk_bytes = spec->disk_bytes;
    (void)pthread_mutex_init(&disk->lock, NULL); /* cannot fail with default attributes */
    if (!start_server(disk, spec, err) ||
        !connect_server(disk, true, &disk->control, err))
        return false;
    uint64_t real_bytes = nbd_client_size(disk->control);
    if (real_bytes < spec->disk_bytes)
        return err_set(err, FAIL_CORRUPT,
                       "replica disk '%s' has %" PRIu64 " bytes where %" PRIu64
                       " are expected; somebody cut it: stop the replication of this "
                       "machine and start it again",
                       spec->path, real_bytes, spec->disk_bytes);
    *ret = TAKE(guard);
    return true;
}
