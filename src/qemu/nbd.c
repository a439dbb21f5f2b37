/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libnbd in its asynchronous form, driven by poll on its socket and on the cancel token.
 *
 * Invariants:
 *  N1 a request is in flight from a successful submit until its completion callback put
 *     it on the done list; in_flight counts exactly these.
 *  N2 the completion callback runs inside a libnbd call of this thread, never elsewhere:
 *     no locks.
 *  N3 a dead connection completes every request in flight with an error (libnbd does it),
 *     so next() cannot wait for ever.
 *
 * Must never: hand out a buffer's content after a failure as if it were data (libnbd is
 * told not to clear buffers first, which would cost a memset per read).
 */
#include "qemu/nbd.h"

#include "base/buf.h"
#include "base/clock.h"

#include <errno.h>
#include <poll.h>

#include <libnbd.h>

#define CONNECT_DEFAULT_MS 10000
#define POLL_MAX_MS        1000
#define STATUS_STEP_BYTES  (2 * GIB) /* the wire has 32 bits */
#define ZERO_STEP_BYTES    (1 * GIB)
#define SUBMIT_STALL_MS    60000 /* of one plain call without any answer */

struct nbd_client {
    struct nbd_handle *handle;
    char *name; /* "export 'x' on 'socket'" */
    uint64_t size_bytes;
    bool is_read_only;
    bool can_trim;
    bool can_zero;
    size_t in_flight;
    struct nbd_io *done_first; /* in the order they finished */
    struct nbd_io *done_last;
};

void nbd_client_close(struct nbd_client *client)
{
    if (!client)
        return;
    nbd_close(client->handle);
    free(client->name);
    free(client);
}

/* libnbd's last error of this thread. */
static bool set_nbd_error(const struct nbd_client *client, const char *what,
                          struct err *err)
{
    const char *text = nbd_get_error();
    int number = nbd_get_errno();
    enum err_kind kind = FAIL_IO;
    if (number == ENOENT)
        kind = FAIL_GONE;
    else if (number == ECONNREFUSED || number == ENOTCONN || number == ECONNRESET ||
             number == EPIPE || number == ESHUTDOWN)
        kind = FAIL_TRANSIENT;
    (void)err_set(err, kind, "%s %s: %s", what, client->name, text ? text : "failed");
    err->sys_errno = number;
    return false;
}

/* One turn of the event loop: waits for the socket or the token, lets libnbd work. */
static bool turn(struct nbd_client *client, uint64_t until_ms,
                 const struct cancel *cancel, struct err *err)
{
    unsigned direction = nbd_aio_get_direction(client->handle);
    uint64_t now = clock_mono_ms();
    struct pollfd p[2] = {{nbd_aio_get_fd(client->handle), 0, 0},
                          {cancel ? cancel->event_fd : -1, POLLIN, 0}};
    if (!cancel_check(cancel, err))
        return false;
    if (now >= until_ms)
        return err_set(err, FAIL_TRANSIENT, "%s: no answer in time; is QEMU still alive?",
                       client->name);
    if (direction & LIBNBD_AIO_DIRECTION_READ)
        p[0].events |= POLLIN;
    if (direction & LIBNBD_AIO_DIRECTION_WRITE)
        p[0].events |= POLLOUT;
    if (poll(p, 2, (int)MIN_OF(until_ms - now, POLL_MAX_MS)) < 0 && errno != EINTR)
        return err_errno(err, errno, "wait for %s", client->name);
    /* A failing notify also completes what is in flight (N3): the caller looks there. */
    if ((p[0].revents & (POLLIN | POLLHUP | POLLERR)) &&
        (direction & LIBNBD_AIO_DIRECTION_READ))
        (void)nbd_aio_notify_read(client->handle);
    else if ((p[0].revents & (POLLOUT | POLLHUP | POLLERR)) &&
             (direction & LIBNBD_AIO_DIRECTION_WRITE))
        (void)nbd_aio_notify_write(client->handle);
    return true;
}

static bool configure(struct nbd_client *client, const struct nbd_client_options *options,
                      struct err *err)
{
    struct nbd_handle *h = client->handle;
    bool ok = nbd_set_export_name(h, options->export_name) == 0 &&
              nbd_set_pread_initialize(h, false) == 0;
    for (size_t i = 0; ok && options->contexts && options->contexts[i]; i++)
        ok = nbd_add_meta_context(h, options->contexts[i]) == 0;
    return ok || set_nbd_error(client, "set up", err);
}

static bool negotiate(struct nbd_client *client, const struct nbd_client_options *options,
                      struct err *err)
{
    struct nbd_handle *h = client->handle;
    uint64_t wait_ms = options->deadline_ms ? options->deadline_ms : CONNECT_DEFAULT_MS;
    uint64_t until_ms = clock_mono_ms() + wait_ms;
    if (nbd_aio_connect_unix(h, options->socket_path) != 0)
        return set_nbd_error(client, "connect to", err);
    while (nbd_aio_is_connecting(h)) {
        if (!turn(client, until_ms, NULL, err))
            return false;
    }
    if (!nbd_aio_is_ready(h))
        return set_nbd_error(client, "connect to", err);
    for (size_t i = 0; options->contexts && options->contexts[i]; i++)
        if (nbd_can_meta_context(h, options->contexts[i]) != 1)
            return err_set(err, FAIL_CONFLICT, "%s does not offer '%s'", client->name,
                           options->contexts[i]);
    int64_t size_bytes = nbd_get_size(h);
    if (size_bytes < 0)
        return set_nbd_error(client, "size of", err);
    client->size_bytes = (uint64_t)size_bytes;
    client->is_read_only = nbd_is_read_only(h) == 1;
    client->can_trim = nbd_can_trim(h) == 1;
    client->can_zero = nbd_can_zero(h) == 1;
    return true;
}

bool nbd_client_open(const struct nbd_client_options *options, struct nbd_client **ret,
                     struct err *err)
{
    AUTO(nbd_client_close) struct nbd_client *client = xcalloc(1, sizeof *client);
    struct buf name = {0};
    buf_printf(&name, "NBD export '%s' at '%s'", options->export_name,
               options->socket_path);
    client->name = buf_take_text(&name);
    client->handle = nbd_create();
    if (!client->handle)
        return set_nbd_error(client, "create a handle for", err);
    if (!configure(client, options, err) || !negotiate(client, options, err))
        return false;
    *ret = TAKE(client);
    return true;
}

uint64_t nbd_client_size(const struct nbd_client *client)
{
    return client->size_bytes;
}

bool nbd_client_is_read_only(const struct nbd_client *client)
{
    return client->is_read_only;
}

bool nbd_client_can_trim(const struct nbd_client *client)
{
    return client->can_trim;
}

bool nbd_client_can_zero(const struct nbd_client *client)
{
    return client->can_zero;
}

size_t nbd_client_in_flight(const struct nbd_client *client)
{
    return client->in_flight;
}

static const char *io_name(enum nbd_io_kind kind)
{
    static const char *const names[] = {"read", "write", "zero", "trim", "flush"};
    return names[kind];
}

static int on_complete(void *user_data, int *error)
{
    struct nbd_io *io = user_data;
    struct nbd_client *client = io->client;
    io->ok = *error == 0;
    if (*error == ENOTCONN || *error == ESHUTDOWN) {
        (void)err_set(&io->err, FAIL_TRANSIENT,
                      "%s %u bytes at %llu of %s: the connection was lost",
                      io_name(io->kind), io->length_bytes,
                      (unsigned long long)io->offset_bytes, client->name);
        io->err.sys_errno = *error;
    } else if (*error) {
        (void)err_errno(&io->err, *error, "%s %u bytes at %llu of %s", io_name(io->kind),
                        io->length_bytes, (unsigned long long)io->offset_bytes,
                        client->name);
    }
    io->is_done = true;
    io->next = NULL;
    if (client->done_last)
        client->done_last->next = io;
    else
        client->done_first = io;
    client->done_last = io;
    client->in_flight--;
    return 1; /* libnbd forgets the command */
}

static bool check_io(const struct nbd_client *client, const struct nbd_io *io,
                     struct err *err)
{
    uint64_t end_bytes;
    bool has_data = io->kind == NBD_IO_READ || io->kind == NBD_IO_WRITE;
    if (io->kind == NBD_IO_FLUSH)
        return true;
    if (!add_u64(io->offset_bytes, io->length_bytes, &end_bytes) ||
        end_bytes > client->size_bytes || io->length_bytes == 0 ||
        (has_data && (!io->data || io->length_bytes > NBD_MAX_REQUEST_BYTES)))
        return err_set(
            err, FAIL_INPUT, "%s %u bytes at %llu of %s: outside of its %llu bytes",
            io_name(io->kind), io->length_bytes, (unsigned long long)io->offset_bytes,
            client->name, (unsigned long long)client->size_bytes);
    if (io->kind != NBD_IO_READ && client->is_read_only)
        return err_set(err, FAIL_CONFLICT, "%s is read-only", client->name);
    return true;
}

static int64_t start_io(struct nbd_client *client, struct nbd_io *io)
{
    struct nbd_handle *h = client->handle;
    nbd_completion_callback done = {.callback = on_complete, .user_data = io};
    switch (io->kind) {
    case NBD_IO_READ:
        return nbd_aio_pread(h, io->data, io->length_bytes, io->offset_bytes, done, 0);
    case NBD_IO_WRITE:
        return nbd_aio_pwrite(h, io->data, io->length_bytes, io->offset_bytes, done, 0);
    case NBD_IO_ZERO:
        return nbd_aio_zero(h, io->length_bytes, io->offset_bytes, done, 0);
    case NBD_IO_TRIM:
        return nbd_aio_trim(h, io->length_bytes, io->offset_bytes, done, 0);
    case NBD_IO_FLUSH:
        return nbd_aio_flush(h, done, 0);
    }
    return -1;
}

bool nbd_client_submit(struct nbd_client *client, struct nbd_io *io, struct err *err)
{
    if (!check_io(client, io, err))
        return false;
    io->client = client;
    io->is_done = false;
    io->ok = false;
    err_clear(&io->err);
    client->in_flight++; /* before: the callback may run inside the start */
    if (start_io(client, io) >= 0)
        return true;
    /* libnbd runs no callback for a command that it refused to take. */
    client->in_flight--;
    return set_nbd_error(client, io_name(io->kind), err);
}

static struct nbd_io *pop_done(struct nbd_client *client)
{
    struct nbd_io *io = client->done_first;
    if (io) {
        client->done_first = io->next;
        if (!client->done_first)
            client->done_last = NULL;
        io->next = NULL;
    }
    return io;
}

struct nbd_io *nbd_client_next(struct nbd_client *client, const struct cancel *cancel,
                               struct err *err)
{
    for (;;) {
        struct nbd_io *io = pop_done(client);
        if (io)
            return io;
        if (client->in_flight == 0) {
            (void)err_set(err, FAIL_BUG, "no request in flight at %s", client->name);
            return NULL;
        }
        if (!turn(client, UINT64_MAX, cancel, err))
            return NULL;
    }
}

/* Takes one out of the middle of the done list. */
static void unlink_done(struct nbd_client *client, struct nbd_io *io)
{
    struct nbd_io *before = NULL;
    for (struct nbd_io *at = client->done_first; at && at != io; at = at->next)
        before = at;
    if (before)
        before->next = io->next;
    else
        client->done_first = io->next;
    if (client->done_last == io)
        client->done_last = before;
}

/* Ends the connection: nothing of libnbd's runs for what was in flight any more. Every
 * later call fails, the handle being unconnected. */
static void give_up(struct nbd_client *client)
{
    nbd_close(client->handle);
    client->handle = nbd_create();
    client->in_flight = 0;
}

/* Submits and waits for this very one. When it does not end in time the connection is
 * given up: io is on the caller's stack and must not be touched later. */
static bool run_io(struct nbd_client *client, struct nbd_io *io, struct err *err)
{
    uint64_t until_ms = clock_mono_ms() + SUBMIT_STALL_MS;
    if (!nbd_client_submit(client, io, err))
        return false;
    while (!io->is_done) {
        if (!turn(client, until_ms, NULL, err)) {
            give_up(client);
            return false;
        }
    }
    unlink_done(client, io);
    if (!io->ok)
        *err = io->err;
    return io->ok;
}

bool nbd_client_pread(struct nbd_client *client, uint8_t *data, uint32_t length_bytes,
                      uint64_t offset_bytes, struct err *err)
{
    struct nbd_io io = {.kind = NBD_IO_READ,
                        .offset_bytes = offset_bytes,
                        .length_bytes = length_bytes,
                        .data = data};
    return run_io(client, &io, err);
}

bool nbd_client_pwrite(struct nbd_client *client, const uint8_t *data,
                       uint32_t length_bytes, uint64_t offset_bytes, struct err *err)
{
    struct nbd_io io = {.kind = NBD_IO_WRITE,
                        .offset_bytes = offset_bytes,
                        .length_bytes = length_bytes,
                        .data = (uint8_t *)data}; /* a write only reads it */
    return run_io(client, &io, err);
}

static bool run_in_steps(struct nbd_client *client, enum nbd_io_kind kind,
                         uint64_t offset_bytes, uint64_t length_bytes, struct err *err)
{
    while (length_bytes) {
        uint32_t step = (uint32_t)MIN_OF(length_bytes, ZERO_STEP_BYTES);
        struct nbd_io io = {
            .kind = kind, .offset_bytes = offset_bytes, .length_bytes = step};
        if (!run_io(client, &io, err))
            return false;
        offset_bytes += step;
        length_bytes -= step;
    }
    return true;
}

bool nbd_client_zero(struct nbd_client *client, uint64_t offset_bytes,
                     uint64_t length_bytes, struct err *err)
{
    return run_in_steps(client, NBD_IO_ZERO, offset_bytes, length_bytes, err);
}

bool nbd_client_trim(struct nbd_client *client, uint64_t offset_bytes,
                     uint64_t length_bytes, struct err *err)
{
    return run_in_steps(client, NBD_IO_TRIM, offset_bytes, length_bytes, err);
}

bool nbd_client_flush(struct nbd_client *client, struct err *err)
{
    struct nbd_io io = {.kind = NBD_IO_FLUSH};
    return run_io(client, &io, err);
}

/* ---- block status ---- */

struct status_walk {
    const struct nbd_status_query *query;
    struct extents *ret;
    uint64_t offset_bytes; /* answered so far */
    uint64_t size_bytes;
    bool is_done;
    int sys_errno;
};

static int on_extents(void *user_data, const char *context, uint64_t offset_bytes,
                      uint32_t *entries, size_t entry_count, int *error)
{
    struct status_walk *walk = user_data;
    (void)error;
    if (strcmp(context, walk->query->context) != 0 || offset_bytes != walk->offset_bytes)
        return 0;
    for (size_t i = 0; i + 1 < entry_count; i += 2) {
        uint64_t end_bytes = MIN_OF(offset_bytes + entries[i], walk->size_bytes);
        if ((entries[i + 1] & walk->query->mask) == walk->query->want)
            extents_add(walk->ret, offset_bytes, end_bytes);
        offset_bytes = end_bytes;
    }
    walk->offset_bytes = offset_bytes;
    return 0;
}

static int on_status_complete(void *user_data, int *error)
{
    struct status_walk *walk = user_data;
    walk->is_done = true;
    walk->sys_errno = *error;
    return 1;
}

/* One question, from where the answers ended. */
static bool ask_status(struct nbd_client *client, struct status_walk *walk,
                       const struct cancel *cancel, struct err *err)
{
    uint64_t until_ms = clock_mono_ms() + SUBMIT_STALL_MS;
    uint64_t at_bytes = walk->offset_bytes;
    uint64_t ask_bytes = MIN_OF(walk->size_bytes - at_bytes, STATUS_STEP_BYTES);
    nbd_extent_callback extents = {.callback = on_extents, .user_data = walk};
    nbd_completion_callback done = {.callback = on_status_complete, .user_data = walk};
    walk->is_done = false;
    if (nbd_aio_block_status(client->handle, ask_bytes, at_bytes, extents, done, 0) < 0)
        return set_nbd_error(client, "block status of", err);
    while (!walk->is_done) {
        if (!turn(client, until_ms, cancel, err)) {
            give_up(client); /* walk is on a stack that ends now */
            return false;
        }
    }
    if (walk->sys_errno)
        return err_errno(err, walk->sys_errno, "block status at %llu of %s",
                         (unsigned long long)at_bytes, client->name);
    if (walk->offset_bytes == at_bytes)
        return err_set(err, FAIL_CORRUPT,
                       "block status of %s: no answer for '%s' at %llu", client->name,
                       walk->query->context, (unsigned long long)at_bytes);
    return true;
}

bool nbd_client_block_status(struct nbd_client *client,
                             const struct nbd_status_query *query,
                             const struct cancel *cancel, struct extents *ret,
                             struct err *err)
{
    struct status_walk walk = {
        .query = query, .ret = ret, .size_bytes = client->size_bytes};
    extents_clear(ret);
    while (walk.offset_bytes < walk.size_bytes) {
        if (!ask_status(client, &walk, cancel, err))
            return false;
    }
    return true;
}
