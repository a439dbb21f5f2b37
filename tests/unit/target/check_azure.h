/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of replica disks in Azure share: the emulator, a disk in it, a model of
 * that disk in memory, and random writes to both.
 */
#ifndef CHECK_AZURE_H
#define CHECK_AZURE_H

#include "check_target.h"

#include "base/clock.h"
#include "base/process.h"
#include "azure/vhd.h"
#include "support/azurite.h"
#include "target/azure_replica.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#define DISK_BYTES (24 * MIB + SECTOR_BYTES)

static char dir[] = "/tmp/kedge-azrep-XXXXXX";
static struct azurite *azurite;

/* The rows that open disks and writers need; the whole table is the target's. */
static const struct target_ops OPS = {
    .kind = "azure",
    .read = azure_replica_read,
    .flush = azure_replica_flush,
    .disk_bytes = azure_replica_bytes,
    .disk_close = azure_replica_close,
    .allocated = azure_replica_allocated,
    .writer_open = azure_writer_open,
    .room = azure_writer_room,
    .put = azure_writer_put,
    .zero = azure_writer_zero,
    .drain = azure_writer_drain,
    .writer_close = azure_writer_close,
};

struct fixture {
    struct blob_container *container;
    const char *name;
    struct replica_disk *disk;
    uint8_t *model, *read;
    uint32_t max_lanes;
    unsigned closed;
};

/* ---- the emulator ---- */

static inline struct blob_container *open_container(unsigned port, const char *name)
{
    char url[160];
    struct err err = ERR_INIT;
    AUTO(free) char *key_file = file_join(dir, "account.key");
    AUTO(buf_release) struct buf extra = {0};
    buf_printf(&extra, ", \"key_file\": \"%s\"", key_file);
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%u/" AZURITE_ACCOUNT "/%s", port,
                   name);
    struct blob_container_options options = {
        .address = url,
        .access_file =
            azurite_credential(dir, "key.json", "shared-key", buf_text(&extra)),
        .retry_for_ms = 600000,
        .retry_base_ms = 4,
        .max_idle = 16};
    struct blob_container *container = blob_container_open(&options, &err);
    if (!container)
        fail_msg("%s", err.text);
    return container;
}

static inline struct fault_proxy *start_proxy(struct fault_proxy_options options)
{
    static char cert[64], ca[64];
    (void)snprintf(cert, sizeof cert, "%s/good.pem", dir);
    (void)snprintf(ca, sizeof ca, "%s/ca.pem", dir);
    options.azurite_port = azurite_port(azurite);
    options.cert_file = cert;
    options.ca_file = ca;
    options.seed = 11;
    return fault_proxy_start(&options);
}

/* ---- disks ---- */

static inline void note_closed(void *ctx)
{
    ++*(unsigned *)ctx;
}

static inline void open_disk(struct fixture *fix, bool is_new)
{
    struct err err = ERR_INIT;
    struct page_blob *blob = page_blob_open(fix->container, fix->name, &err);
    uint64_t bytes = vhd_data_bytes(DISK_BYTES) + VHD_FOOTER_BYTES;
    assert_non_null(blob);
    if (is_new)
        assert_ok(page_blob_create(blob, bytes, &err), err);
    struct azure_replica_spec spec = {.blob = blob,
                                      .label = fix->name,
                                      .disk_bytes = DISK_BYTES,
                                      .for_writing = true,
                                      .is_new = is_new,
                                      .max_lanes = fix->max_lanes,
                                      .no_rate_limit = true,
                                      .closed = note_closed,
                                      .ctx = &fix->closed};
    assert_ok(azure_replica_open(&OPS, &spec, &fix->disk, &err), err);
}

static inline void begin(struct fixture *fix, struct blob_container *container,
                         const char *name)
{
    *fix = (struct fixture){.container = container,
                            .name = name,
                            .model = xcalloc(1, DISK_BYTES),
                            .read = xcalloc(1, DISK_BYTES)};
    open_disk(fix, true);
}

static inline void end(struct fixture *fix)
{
    replica_disk_close(fix->disk);
    assert_int_equal(fix->closed, 1);
    free(fix->model);
    free(fix->read);
}

static inline void reopen(struct fixture *fix)
{
    replica_disk_close(fix->disk);
    fix->closed = 0;
    open_disk(fix, false);
}

static inline void check_content(struct fixture *fix)
{
    struct err err = ERR_INIT;
    memset(fix->read, 0xee, DISK_BYTES);
    assert_ok(replica_disk_read(fix->disk, 0, fix->read, DISK_BYTES, &err), err);
    for (size_t i = 0; i < DISK_BYTES; i++)
        if (fix->read[i] != fix->model[i])
            fail_msg("byte %zu is %02x, not %02x", i, fix->read[i], fix->model[i]);
}

static inline struct replica_writer *open_writer(struct fixture *fix)
{
    struct err err = ERR_INIT;
    struct replica_writer *writer;
    assert_ok(replica_disk_writer_open(fix->disk, &writer, &err), err);
    return writer;
}

static inline void put(struct fixture *fix, struct replica_writer *writer, uint64_t at,
                       size_t bytes, uint64_t seed)
{
    struct err err = ERR_INIT;
    AUTO(free) uint8_t *other = xcalloc(1, bytes + 1);
    uint8_t *data = seed % 2 && bytes <= MIB ? replica_writer_room(writer) : other;
    fill_random(data, bytes, seed);
    memcpy(fix->model + at, data, bytes);
    assert_ok(replica_writer_put(writer, at, data, bytes, &err), err);
}

static inline void zero(struct fixture *fix, struct replica_writer *writer,
                        uint64_t start, uint64_t stop)
{
    struct err err = ERR_INIT;
    memset(fix->model + start, 0, stop - start);
    assert_ok(replica_writer_zero(writer, start, stop, &err), err);
}

static inline void finish(struct fixture *fix, struct replica_writer *writer)
{
    struct err err = ERR_INIT;
    assert_ok(replica_writer_drain(writer, &err), err);
    assert_ok(replica_disk_flush(fix->disk, &err), err);
    replica_writer_close(writer);
}

/* ---- against the model ---- */

struct share {
    struct fixture *fix;
    uint64_t first_sector, sectors; /* nobody else writes there */
    unsigned operations;
    uint64_t seed;
};

/* Puts and zeros that overlap each other, short and long, in one part of the disk. */
static inline void *write_share(void *arg)
{
    struct share *share = arg;
    uint64_t state = share->seed;
    struct replica_writer *writer = open_writer(share->fix);
    for (unsigned i = 0; i < share->operations; i++) {
        uint64_t most = next_random(&state) % 16 ? 64 : 3000;
        uint64_t count = 1 + next_random(&state) % MIN_OF(most, share->sectors);
        uint64_t at =
            share->first_sector + next_random(&state) % (share->sectors - count + 1);
        if (next_random(&state) % 4 == 0)
            zero(share->fix, writer, at * 512, (at + count) * 512);
        else
            put(share->fix, writer, at * 512, count * 512, next_random(&state));
        if (next_random(&state) % 200 == 0) {
            struct err err = ERR_INIT;
            assert_ok(replica_writer_drain(writer, &err), err);
        }
    }
    finish(share->fix, writer);
    return NULL;
}

/* writers on parts of their own that meet in the middle of a page unit. */
static inline void write_at_random(struct fixture *fix, unsigned writers,
                                   unsigned operations, uint64_t seed)
{
    struct share shares[4];
    pthread_t threads[4];
    uint64_t sectors = DISK_BYTES / SECTOR_BYTES;
    for (unsigned i = 0; i < writers; i++) {
        uint64_t first = sectors * i / writers, stop = sectors * (i + 1) / writers;
        shares[i] =
            (struct share){fix, first, stop - first, operations / writers, seed + i};
        assert_int_equal(pthread_create(&threads[i], NULL, write_share, &shares[i]), 0);
    }
    for (unsigned i = 0; i < writers; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

/* What is not zero is in the set. */
static inline void check_allocated(struct fixture *fix)
{
    struct err err = ERR_INIT;
    AUTO(extents_release) struct extents set = {0};
    static const uint8_t zeros[SECTOR_BYTES];
    assert_ok(replica_disk_allocated(fix->disk, &set, &err), err);
    for (uint64_t at = 0; at < DISK_BYTES; at += SECTOR_BYTES)
        if (memcmp(fix->model + at, zeros, SECTOR_BYTES) != 0 &&
            !extents_contain(&set, at, at + SECTOR_BYTES))
            fail_msg("data at %llu is not in the set", (unsigned long long)at);
    assert_true(set.count == 0 || set.items[set.count - 1].end_bytes <= DISK_BYTES);
}

static inline int begin_all(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    test_certs_make(dir);
    (void)azurite_write(dir, "account.key", azurite_key());
    azurite = azurite_start(dir);
    return 0;
}

static inline int end_all(void **state)
{
    (void)state;
    azurite_stop(azurite);
    drop_temp_dir(dir);
    return 0;
}

#endif
