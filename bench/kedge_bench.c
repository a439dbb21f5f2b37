/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kedge's own data path as a measured command: gateway, dir stores, applier, local
 * replica, with no daemon around it. State stays in DIR between calls, so that a task can
 * be prepared and measured in separate processes.
 *
 *   kedge-bench send   [options] IMAGE DIR   point in time -> durable log (nothing
 * applied) kedge-bench apply  [options] DIR         the log of the last send -> verified,
 * durable replica kedge-bench cycle  [options] IMAGE DIR   both, overlapped when it is
 * the first kedge-bench plan   SIZE DIR              plan of a sparse disk of that size
 * (e.g. 64T)
 *
 *   --extents FILE   changed extents of IMAGE (a tracked delta); without: initial, or by
 * hash
 *   --compact        zstd -1 in 1 MiB records; --workers N, --appliers N, --segment BYTES
 *
 * DIR/store is the log store, DIR/state the state store, DIR/maps the hash maps,
 * DIR/replica/disk0.raw the replica. The last line of output is JSON.
 */
#include "applier/applier.h"
#include "base/clock.h"
#include "base/text.h"
#include "gateway/cycle.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define PATH_CAP 4096

struct bench {
    const char *image, *extents, *dir;
    struct cycle_options options;
    uint32_t appliers;
    struct machine_def machine;
    struct secret *key;
    struct source *source;
    struct store *log, *state;
    struct target *target;
    struct cycle_progress sent;
    struct apply_progress applied;
    struct apply_stream *stream;
    char map_dir[PATH_CAP];
    struct cycle_context gateway;
    struct apply_context applier;
};

static void die(const struct err *err)
{
    fprintf(stderr, "kedge-bench: %s\n", err->text);
    exit(err_kind_exit_code(err->kind));
}

static void must(bool ok, const struct err *err)
{
    if (!ok)
        die(err);
}

static void below(const struct bench *b, const char *name, char out[PATH_CAP])
{
    if (snprintf(out, PATH_CAP, "%s/%s", b->dir, name) >= PATH_CAP)
        abort();
}

static bool on_segment(void *ctx, const struct manifest_segment *segment, struct err *err)
{
    struct bench *b = ctx;
    return !b->stream || apply_stream_push(b->stream, segment, err);
}

static uint64_t size_of(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t bytes = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    if (bytes < 0) {
        fprintf(stderr, "kedge-bench: '%s': %s\n", path, strerrordesc_np(errno));
        exit(2);
    }
    (void)close(fd);
    return (uint64_t)bytes;
}

static void define_machine(struct bench *b, uint64_t disk_bytes)
{
    b->machine =
        (struct machine_def){.cpus = 1, .memory_bytes = 256 * MIB, .disk_count = 1};
    text_copy(b->machine.name, sizeof b->machine.name, "replica");
    text_copy(b->machine.key, sizeof b->machine.key, "image:replica");
    memset(b->machine.id.bytes, 0x11, ID_BYTES);
    struct machine_disk *disk = &b->machine.disks[0];
    memset(disk->id.bytes, 0x22, ID_BYTES);
    disk->disk_bytes = disk_bytes;
    text_copy(disk->key, sizeof disk->key, b->image ? b->image : "");
    text_copy(disk->label, sizeof disk->label, "disk0");
}

static void open_all(struct bench *b)
{
    struct err err = ERR_INIT;
    char path[PATH_CAP];
    uint8_t raw[32];
    memset(raw, 0x33, sizeof raw); /* a measuring key: nothing here is worth hiding */
    b->key = secret_new(raw, sizeof raw);
    below(b, "store", path);
    must((b->log = store_dir_open(path, &err)) != NULL, &err);
    below(b, "state", path);
    must((b->state = store_dir_open(path, &err)) != NULL, &err);
    below(b, "maps", b->map_dir);
    struct target_local_options target = {.dir = b->dir, .accel = "tcg"};
    must(target_local_open(&target, &b->target, &err), &err);
    b->gateway = (struct cycle_context){.machine = &b->machine,
                                        .data_key = b->key,
                                        .log_store = b->log,
                                        .state_store = b->state,
                                        .map_dir = b->map_dir,
                                        .progress = &b->sent,
                                        .options = b->options,
                                        .on_segment = on_segment,
                                        .on_segment_ctx = b};
    b->applier = (struct apply_context){.machine = &b->machine,
                                        .data_key = b->key,
                                        .target = b->target,
                                        .log_store = b->log,
                                        .state_store = b->state,
                                        .progress = &b->applied,
                                        .workers = b->appliers};
}

static void open_source(struct bench *b)
{
    struct err err = ERR_INIT;
    struct source_image_options image = {.name = "replica",
                                         .paths = &b->image,
                                         .path_count = 1,
                                         .changes_path = b->extents};
    must(source_image_open(&image, &b->source, &err), &err);
    b->gateway.source = b->source;
}

static void close_all(struct bench *b)
{
    source_close(b->source);
    target_close(b->target);
    store_close(b->state);
    store_close(b->log);
    secret_free(b->key);
}

static void report(const struct bench *b, const char *what, uint64_t started_ms)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage); /* cannot fail */
    printf("{\"what\":\"%s\",\"wall_ms\":%" PRIu64 ",\"planned_bytes\":%" PRIu64
           ",\"read_bytes\":%" PRIu64 ",\"zero_bytes\":%" PRIu64
           ",\"same_bytes\":%" PRIu64 ",\"content_bytes\":%" PRIu64
           ",\"stored_bytes\":%" PRIu64 ",\"written_bytes\":%" PRIu64
           ",\"segments\":%" PRIu64 ",\"maxrss_kib\":%ld}\n",
           what, clock_mono_ms() - started_ms, atomic_load(&b->sent.planned_bytes),
           atomic_load(&b->sent.read_bytes), atomic_load(&b->sent.zero_bytes),
           atomic_load(&b->sent.same_bytes), atomic_load(&b->sent.content_bytes),
           atomic_load(&b->sent.stored_bytes), atomic_load(&b->applied.written_bytes),
           atomic_load(&b->sent.segments), usage.ru_maxrss);
}

static void run_send(struct bench *b)
{
    struct err err = ERR_INIT;
    struct cycle *cycle = NULL;
    define_machine(b, size_of(b->image));
    open_all(b);
    open_source(b);
    must(cycle_open(&b->gateway, 1, false, &cycle, &err), &err);
    must(cycle_send(cycle, &err), &err);
    must(cycle_end(cycle, SNAPSHOT_DETACHED, &err), &err);
}

static bool newest(void *ctx, const char *name, uint64_t bytes, struct err *err)
{
    uint64_t cycle, *ret = ctx;
    struct id machine;
    (void)bytes;
    (void)err;
    memset(machine.bytes, 0x11, ID_BYTES);
    if (name_parse_cycle(&machine, name, &cycle))
        *ret = MAX_OF(*ret, cycle);
    return true;
}

/* The definition comes from the plan: the image need not be there any more. */
static void run_apply(struct bench *b)
{
    struct err err = ERR_INIT;
    uint64_t cycle = 0;
    char path[PATH_CAP];
    below(b, "replica/disk0.raw", path);
    define_machine(b, 4 * GIB);
    open_all(b);
    must(store_list(b->log, "", newest, &cycle, &err), &err);
    b->machine.disks[0].disk_bytes = b->image ? size_of(b->image) : size_of(path);
    must(target_replica_create(b->target, &b->machine, &err), &err);
    must(apply_cycle(&b->applier, cycle, &err), &err);
    must(cycle_settle(&b->gateway, &err), &err);
}

static void run_cycle(struct bench *b)
{
    struct err err = ERR_INIT;
    struct cycle *cycle = NULL;
    define_machine(b, size_of(b->image));
    open_all(b);
    open_source(b);
    must(target_replica_create(b->target, &b->machine, &err), &err);
    must(cycle_open(&b->gateway, 1, false, &cycle, &err), &err);
    bool streams = cycle_may_stream(cycle);
    if (streams)
        must(apply_stream_open(&b->applier, cycle_plan(cycle), &b->stream, &err), &err);
    must(cycle_send(cycle, &err), &err);
    must(streams ? apply_stream_finish(TAKE(b->stream), &err)
                 : apply_cycle(&b->applier, cycle_plan(cycle)->cycle, &err),
         &err);
    must(cycle_end(cycle, SNAPSHOT_APPLIED, &err), &err);
}

/* A sparse file of that size, planned as an initial cycle. */
static void run_plan(struct bench *b)
{
    struct err err = ERR_INIT;
    struct cycle *cycle = NULL;
    uint64_t bytes;
    char path[PATH_CAP];
    must(text_parse_size(b->image, 1, UINT64_MAX, &bytes, &err), &err);
    below(b, "sparse.raw", path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0 ||
        pwrite(fd, "kedge", 5, (off_t)(bytes / 2)) != 5) {
        (void)err_errno(&err, errno, "sparse file '%s' of %" PRIu64 " bytes", path,
                        bytes);
        die(&err);
    }
    (void)close(fd);
    b->image = path;
    define_machine(b, bytes);
    open_all(b);
    open_source(b);
    uint64_t started_ms = clock_mono_ms();
    must(cycle_open(&b->gateway, 1, false, &cycle, &err), &err);
    report(b, "plan", started_ms);
    must(cycle_end(cycle, SNAPSHOT_FAILED, &err), &err);
    (void)unlink(path);
}

static void usage(void)
{
    fprintf(stderr, "usage: kedge-bench send|cycle [options] IMAGE DIR\n"
                    "       kedge-bench apply [options] [IMAGE] DIR\n"
                    "       kedge-bench plan SIZE DIR\n");
    exit(2);
}

static void parse(struct bench *b, int argc, char **argv)
{
    static const struct option LONG[] = {{"extents", required_argument, NULL, 'e'},
                                         {"compact", no_argument, NULL, 'c'},
                                         {"workers", required_argument, NULL, 'w'},
                                         {"appliers", required_argument, NULL, 'a'},
                                         {"segment", required_argument, NULL, 's'},
                                         {NULL, 0, NULL, 0}};
    struct err err = ERR_INIT;
    uint64_t v;
    b->options = cycle_options_default();
    for (int c; (c = getopt_long(argc, argv, "", LONG, NULL)) != -1;) {
        if (c == 'e') {
            b->extents = optarg;
        } else if (c == 'c') {
            b->options.method = PACK_ZSTD;
            b->options.level = -1;
            b->options.record_span_bytes = RECORD_SPAN_MAX_BYTES;
        } else if (c == 'w' || c == 'a') {
            must(text_parse_u64(optarg, 1, 16, &v, &err), &err);
            *(c == 'w' ? &b->options.workers : &b->appliers) = (uint32_t)v;
        } else if (c == 's') {
            must(text_parse_size(optarg, 2 * MIB, SEGMENT_MAX_BYTES, &v, &err), &err);
            b->options.segment_bytes = (uint32_t)v;
        } else {
            usage();
        }
    }
}

int main(int argc, char **argv)
{
    static struct bench b;
    if (argc < 2)
        usage();
    const char *what = argv[1];
    optind = 2;
    parse(&b, argc, argv);
    int left = argc - optind;
    if (left < 1 || left > 2)
        usage();
    b.dir = argv[argc - 1];
    b.image = left == 2 ? argv[optind] : NULL;
    uint64_t started_ms = clock_mono_ms();
    if (strcmp(what, "apply") == 0)
        run_apply(&b);
    else if (!b.image)
        usage();
    else if (strcmp(what, "send") == 0)
        run_send(&b);
    else if (strcmp(what, "cycle") == 0)
        run_cycle(&b);
    else if (strcmp(what, "plan") == 0)
        run_plan(&b);
    else
        usage();
    report(&b, what, started_ms);
    close_all(&b);
    return 0;
}
