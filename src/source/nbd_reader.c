/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read requests to NBD requests, one slot each; data goes straight from the socket into
 * the caller's buffer.
 */
#include "source/nbd_reader.h"

#include "base/clock.h"

#define WATCH_EVERY_MS 500

struct nbd_reader {
    struct reader base;
    struct nbd_reader_options options;
    struct nbd_client *client;
    uint64_t watched_ms;
    size_t free_count;
    struct nbd_io *free_slots[READER_MAX_IN_FLIGHT];
    struct nbd_io slots[READER_MAX_IN_FLIGHT];
};

bool nbd_reader_open(const struct nbd_reader_options *options, struct reader **ret,
                     struct err *err)
{
    AUTO(nbd_client_close) struct nbd_client *client = NULL;
    struct nbd_client_options wanted = {.socket_path = options->socket_path,
                                        .export_name = options->export_name};
    if (!nbd_client_open(&wanted, &client, err)) {
        if (options->explain)
            options->explain(options->context, err);
        return false;
    }
    if (nbd_client_size(client) < options->disk_bytes)
        return err_set(err, FAIL_CONFLICT,
                       "NBD export '%s' holds %llu bytes, the disk has %llu",
                       options->export_name, (unsigned long long)nbd_client_size(client),
                       (unsigned long long)options->disk_bytes);
    struct nbd_reader *reader = xcalloc(1, sizeof *reader);
    reader->base.ops = options->ops;
    reader->options = *options;
    reader->client = TAKE(client);
    for (size_t i = 0; i < READER_MAX_IN_FLIGHT; i++)
        reader->free_slots[reader->free_count++] = &reader->slots[i];
    *ret = &reader->base;
    return true;
}

bool nbd_reader_submit(struct reader *base, struct read_request *request, struct err *err)
{
    struct nbd_reader *reader = (struct nbd_reader *)base;
    if (reader->free_count == 0)
        return err_set(err, FAIL_BUG, "more than %d reads in flight",
                       READER_MAX_IN_FLIGHT);
    struct nbd_io *io = reader->free_slots[reader->free_count - 1];
    *io = (struct nbd_io){.kind = NBD_IO_READ,
                          .offset_bytes = request->offset_bytes,
                          .length_bytes = request->length_bytes,
                          .data = request->data,
                          .tag = request};
    if (!nbd_client_submit(reader->client, io, err)) {
        if (reader->options.explain && err->kind != FAIL_INPUT)
            reader->options.explain(reader->options.context, err);
        return false;
    }
    reader->free_count--;
    return true;
}

struct read_request *nbd_reader_next(struct reader *base, const struct cancel *cancel,
                                     struct err *err)
{
    struct nbd_reader *reader = (struct nbd_reader *)base;
    uint64_t now_ms = clock_mono_ms();
    if (reader->options.watch && now_ms - reader->watched_ms >= WATCH_EVERY_MS) {
        reader->watched_ms = now_ms;
        if (!reader->options.watch(reader->options.context, err))
            return NULL;
    }
    struct nbd_io *io = nbd_client_next(reader->client, cancel, err);
    if (!io)
        return NULL;
    struct read_request *request = io->tag;
    request->ok = io->ok;
    request->err = io->err;
    if (!io->ok && reader->options.explain)
        reader->options.explain(reader->options.context, &request->err);
    reader->free_slots[reader->free_count++] = io;
    return request;
}

void nbd_reader_close(struct reader *base)
{
    struct nbd_reader *reader = (struct nbd_reader *)base;
    nbd_client_close(reader->client); /* libnbd writes to no buffer after this */
    free(reader);
}
