/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a new replica disk into a page blob as the applier does and says how fast that
 * was.
 *
 *   azure_pages --container URL --access FILE --name BLOB --mib N [--lanes N] [--writers
 * N]
 *               [--limited]
 *
 * Data is incompressible, put MiB by MiB from the writer's room; each writer has a part
 * of the disk. --limited keeps the service's limits per blob (60 MiB a second). The last
 * line of output is JSON. The disk stays: whoever called removes it.
 */
#include "azure/vhd.h"
#include "base/clock.h"
#include "base/text.h"
#include "target/azure_replica.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITERS_MAX 16

struct bench {
    const char *container, *access, *name;
    uint64_t mib, lanes, writers;
    bool is_limited;
    struct replica_disk *disk;
    uint8_t *data; /* one MiB, never all zeros */
};

struct part {
    struct bench *bench;
    uint64_t start_bytes, end_bytes;
};

static void must(bool ok, const struct err *err)
{
    if (ok)
        return;
    fprintf(stderr, "azure_pages: %s\n", err->text);
    exit(err_kind_exit_code(err->kind));
}

static const struct target_ops OPS = {
    .kind = "azure",
    .disk_bytes = azure_replica_bytes,
    .disk_close = azure_replica_close,
    .flush = azure_replica_flush,
    .writer_open = azure_writer_open,
    .room = azure_writer_room,
    .put = azure_writer_put,
    .drain = azure_writer_drain,
    .writer_close = azure_writer_close,
};

static void *write_part(void *arg)
{
    struct part *part = arg;
    struct err err = ERR_INIT;
    struct replica_writer *writer;
    must(replica_disk_writer_open(part->bench->disk, &writer, &err), &err);
    for (uint64_t at = part->start_bytes; at < part->end_bytes; at += MIB) {
        uint8_t *room = replica_writer_room(writer);
        memcpy(room, part->bench->data, MIB);
        memcpy(room, &at, sizeof at);
        must(replica_writer_put(writer, at, room, MIB, &err), &err);
    }
    must(replica_writer_drain(writer, &err), &err);
    replica_writer_close(writer);
    return NULL;
}

static void write_all(struct bench *bench)
{
    struct part parts[WRITERS_MAX];
    pthread_t threads[WRITERS_MAX];
    for (uint64_t i = 0; i < bench->writers; i++) {
        parts[i] = (struct part){bench, bench->mib * i / bench->writers * MIB,
                                 bench->mib * (i + 1) / bench->writers * MIB};
        if (pthread_create(&threads[i], NULL, write_part, &parts[i]) != 0)
            abort();
    }
    for (uint64_t i = 0; i < bench->writers; i++)
        (void)pthread_join(threads[i], NULL); /* was made */
}

/* As a target does when it makes a replica. It also finds out which checksum the service
 * knows. */
static void put_footer(const struct bench *bench, struct page_blob *blob)
{
    struct err err = ERR_INIT;
    struct id id = id_random();
    uint8_t footer[VHD_FOOTER_BYTES];
    vhd_footer(bench->mib * MIB, &id, clock_wall_ms() / 1000, footer);
    must(page_blob_put(blob, bench->mib * MIB, (struct blob_data){footer, sizeof footer},
                       NULL, &err),
         &err);
}

static void run(struct bench *bench)
{
    struct err err = ERR_INIT;
    struct blob_container_options options = {
        .address = bench->container, .access_file = bench->access, .max_idle = 32};
    struct blob_container *container = blob_container_open(&options, &err);
    must(container != NULL, &err);
    struct azure_replica_spec spec = {.blob =
                                          page_blob_open(container, bench->name, &err),
                                      .label = bench->name,
                                      .disk_bytes = bench->mib * MIB,
                                      .for_writing = true,
                                      .is_new = true,
                                      .max_lanes = (uint32_t)bench->lanes,
                                      .no_rate_limit = !bench->is_limited};
    must(spec.blob != NULL, &err);
    must(page_blob_create(spec.blob, bench->mib * MIB + VHD_FOOTER_BYTES, &err), &err);
    put_footer(bench, spec.blob);
    must(azure_replica_open(&OPS, &spec, &bench->disk, &err), &err);
    uint64_t from_ns = clock_mono_ns();
    write_all(bench);
    must(replica_disk_flush(bench->disk, &err), &err);
    double seconds = (double)(clock_mono_ns() - from_ns) / 1e9;
    printf("{\"mib\": %" PRIu64 ", \"seconds\": %.3f}\n", bench->mib, seconds);
    replica_disk_close(bench->disk);
    blob_container_close(container);
}

static void parse(int argc, char **argv, struct bench *bench)
{
    static const struct option OPTIONS[] = {{"container", required_argument, NULL, 'c'},
                                            {"access", required_argument, NULL, 'a'},
                                            {"name", required_argument, NULL, 'n'},
                                            {"mib", required_argument, NULL, 'm'},
                                            {"lanes", required_argument, NULL, 'l'},
                                            {"writers", required_argument, NULL, 'w'},
                                            {"limited", no_argument, NULL, 'L'},
                                            {NULL, 0, NULL, 0}};
    struct err err = ERR_INIT;
    for (int c; (c = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        if (c == 'c')
            bench->container = optarg;
        else if (c == 'a')
            bench->access = optarg;
        else if (c == 'n')
            bench->name = optarg;
        else if (c == 'm')
            must(text_parse_u64(optarg, 1, 1 << 20, &bench->mib, &err), &err);
        else if (c == 'l')
            must(text_parse_u64(optarg, 1, 32, &bench->lanes, &err), &err);
        else if (c == 'w')
            must(text_parse_u64(optarg, 1, WRITERS_MAX, &bench->writers, &err), &err);
        else if (c == 'L')
            bench->is_limited = true;
        else
            exit(2);
    }
    if (!bench->container || !bench->access || !bench->name) {
        fprintf(stderr, "azure_pages: --container, --access and --name are needed\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct bench bench = {.mib = 256, .lanes = 8, .writers = 2};
    parse(argc, argv, &bench);
    bench.data = xcalloc(1, MIB);
    for (size_t at = 0; at < MIB; at += 4096) /* as secret_random gives at most */
        secret_random(bench.data + at, 4096);
    run(&bench);
    free(bench.data);
    return 0;
}
