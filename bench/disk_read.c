/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads one disk of a virtual machine through a transport, as fast as it goes, and says
 * how fast that was. With --lanes 1 --depth 1 it is the serial reader that the others
 * are compared with.
 *
 *   disk_read --url https://HOST:PORT --pin SHA256 --user U --password-file F --vm NAME
 *             [--disk N] [--transport nfc|https] [--lanes N] [--depth N]
 *             [--read-bytes N] [--plain] [--compression none|zlib|fastlz|skipz]
 *             [--via HOST:PORT] [--out FILE]
 *
 * --via dials that instead of the host that the NFC ticket names (a relay); for https the
 * relay's address goes into --url. A running machine is read through the parent of its
 * current disk file, which a snapshot froze. --out keeps what was read, to be compared.
 * The last line of output is JSON.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "vsphere/nfc_lane.h"
#include "vsphere/vim_machine.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define LANES_MAX 32

struct bench {
    const char *url, *pin, *user, *password_file, *vm_name, *transport, *via, *out;
    uint64_t disk_index, lane_count, depth, read_bytes;
    bool is_plain;
    enum nfc_compression compression;
    struct vim *vim;
    struct vim_machine *machine;
    struct transport *opened; /* NULL: lanes straight from nfc_lane.h */
    struct transport_disk disk;
    struct nfc_target target;
    char via_host[256];
    uint16_t via_port;
    int out_fd;
    _Atomic uint64_t next_offset;
    _Atomic uint64_t read_total, wire_total, again_total, reconnects;
};

static void must(bool ok, const struct err *err)
{
    if (ok)
        return;
    fprintf(stderr, "disk_read: %s\n", err->text);
    exit(err_kind_exit_code(err->kind));
}

static bool via_ticket(void *arg, const struct cancel *cancel, struct vim_ticket *ret,
                       struct err *err)
{
    struct bench *bench = arg;
    if (!vim_nfc_ticket(bench->vim, &bench->machine->ref, cancel, ret, err))
        return false;
    if (bench->via_port) {
        text_copy(ret->host, sizeof ret->host, bench->via_host);
        ret->port = bench->via_port;
    }
    return true;
}

static struct lane *open_lane(struct bench *bench)
{
    struct err err = ERR_INIT;
    struct lane *lane = NULL;
    struct nfc_lane_options options = {.ops = transport_find("nfc"),
                                       .target = &bench->target,
                                       .file_name = bench->disk.file_name,
                                       .disk_bytes = bench->disk.disk_bytes,
                                       .host_budget_bytes = GIB};
    if (bench->opened)
        must(bench->opened->ops->lane_open(bench->opened, 0, &lane, &err), &err);
    else
        must(nfc_lane_open(&options, &lane, &err), &err);
    return lane;
}

/* Submits the next range of the disk; false when there is none left. */
static bool submit_next(struct bench *bench, struct lane *lane, struct lane_read *read)
{
    struct err err = ERR_INIT;
    uint64_t offset = atomic_fetch_add(&bench->next_offset, bench->read_bytes);
    if (offset >= bench->disk.disk_bytes)
        return false;
    uint64_t left = bench->disk.disk_bytes - offset;
    read->offset_bytes = offset;
    read->length_bytes = (uint32_t)MIN_OF(bench->read_bytes, left);
    must(lane->ops->submit(lane, read, &err), &err);
    return true;
}

static void *run_lane(void *context)
{
    struct bench *bench = context;
    struct lane *lane = open_lane(bench);
    struct lane_read *reads = xcalloc(bench->depth, sizeof *reads);
    uint8_t *memory = xcalloc(bench->depth, bench->read_bytes);
    struct lane_counters counters;
    struct err err = ERR_INIT;
    uint64_t in_flight = 0;
    for (uint64_t i = 0; i < bench->depth; i++) {
        reads[i].data = memory + i * bench->read_bytes;
        in_flight += submit_next(bench, lane, &reads[i]);
    }
    while (in_flight > 0) {
        struct lane_read *read = lane->ops->next(lane, NULL, &err);
        must(read != NULL, &err);
        must(read->ok, &read->err);
        bench->read_total += read->length_bytes;
        if (bench->out_fd >= 0)
            must(file_pwrite_full(bench->out_fd, bench->out, read->data,
                                  read->length_bytes, read->offset_bytes, &err),
                 &err);
        in_flight -= !submit_next(bench, lane, read);
    }
    lane->ops->counters(lane, &counters);
    bench->wire_total += counters.wire_bytes;
    bench->again_total += counters.asked_again_bytes;
    bench->reconnects += counters.reconnects;
    lane->ops->lane_close(lane);
    free(memory);
    free(reads);
    return NULL;
}

static void open_machine(struct bench *bench)
{
    struct err err = ERR_INIT;
    uint8_t pin[HTTP_PIN_BYTES];
    struct vim_ref ref;
    AUTO(secret_free)
    struct secret *password = secret_read_file(bench->password_file, &err);
    must(password != NULL, &err);
    must(!bench->pin || http_pin_parse(bench->pin, pin, &err), &err);
    struct vim_options options = {.url = bench->url,
                                  .user = bench->user,
                                  .password = password,
                                  .pin = bench->pin ? pin : NULL};
    bench->vim = vim_open(&options, NULL, &err);
    must(bench->vim != NULL, &err);
    must(vim_machine_find(bench->vim, VIM_FIND_NAME, bench->vm_name, NULL, &ref, &err),
         &err);
    bench->machine = vim_machine_get(bench->vim, &ref, NULL, &err);
    must(bench->machine != NULL, &err);
    if (bench->disk_index >= bench->machine->disk_count)
        must(err_set(&err, FAIL_INPUT, "machine '%s' has %zu disks", bench->vm_name,
                     bench->machine->disk_count),
             &err);
    const struct vim_disk *disk = &bench->machine->disks[bench->disk_index];
    bool is_frozen = bench->machine->power == VIM_POWER_ON && disk->chain_count > 0;
    text_copy(bench->disk.file_name, sizeof bench->disk.file_name,
              is_frozen ? disk->chain[0] : disk->file_name);
    bench->disk.device_key = disk->key;
    bench->disk.disk_bytes = disk->disk_bytes;
}

static void open_transport(struct bench *bench)
{
    struct err err = ERR_INIT;
    struct nfc_quirks quirks = nfc_quirks_default();
    quirks.compression = bench->compression;
    quirks.max_in_flight = (uint32_t)MIN_OF(bench->depth, NFC_IN_FLIGHT_MAX);
    if (bench->via) {
        bench->target = (struct nfc_target){.ticket = via_ticket,
                                            .arg = bench,
                                            .default_host = vim_host_name(bench->vim),
                                            .lib_version = NFC_LIB_VERSION_UNKNOWN,
                                            .is_plain = bench->is_plain,
                                            .quirks = quirks};
        return;
    }
    struct transport_machine machine = {
        .vim = bench->vim,
        .vm = bench->machine->ref,
        .host = bench->machine->host,
        .is_powered_on = bench->machine->power == VIM_POWER_ON,
        .datacenter = "DC0",
        .disks = &bench->disk,
        .disk_count = 1,
        .options = {.is_plain = bench->is_plain,
                    .max_in_flight = (uint32_t)bench->depth,
                    .host_budget_bytes = GIB,
                    .quirks = &quirks}};
    const struct transport_ops *ops = transport_find(bench->transport);
    must(ops || err_set(&err, FAIL_INPUT, "no transport '%s'", bench->transport), &err);
    must(ops->open(&machine, NULL, &bench->opened, &err), &err);
}

static double cpu_seconds(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage); /* cannot fail for ourselves */
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void run(struct bench *bench)
{
    pthread_t threads[LANES_MAX];
    double cpu_before = cpu_seconds();
    uint64_t before_ns = clock_mono_ns();
    for (uint64_t i = 0; i < bench->lane_count; i++)
        if (pthread_create(&threads[i], NULL, run_lane, bench) != 0)
            exit(1);
    for (uint64_t i = 0; i < bench->lane_count; i++)
        (void)pthread_join(threads[i], NULL); /* all were made */
    double seconds = (double)(clock_mono_ns() - before_ns) / 1e9;
    double cpu = cpu_seconds() - cpu_before;
    printf("{\"transport\": \"%s\", \"lanes\": %" PRIu64 ", \"depth\": %" PRIu64
           ", \"read_bytes\": %" PRIu64 ", \"plain\": %s, \"compression\": \"%s\", "
           "\"seconds\": %.3f, \"mb_per_s\": %.2f, \"wire_mb_per_s\": %.2f, "
           "\"cpu_seconds_per_gib\": %.3f, \"asked_again_bytes\": %" PRIu64
           ", \"reconnects\": %" PRIu64 "}\n",
           bench->transport, bench->lane_count, bench->depth, bench->read_bytes,
           bench->is_plain ? "true" : "false", nfc_compression_name(bench->compression),
           seconds, (double)bench->read_total / 1e6 / seconds,
           (double)bench->wire_total / 1e6 / seconds,
           cpu / ((double)bench->read_total / (double)GIB), (uint64_t)bench->again_total,
           (uint64_t)bench->reconnects);
}

static enum nfc_compression parse_compression(const char *name)
{
    struct err err = ERR_INIT;
    for (unsigned i = NFC_STORED; i <= NFC_SKIPZ; i++)
        if (strcmp(nfc_compression_name((enum nfc_compression)i), name) == 0)
            return (enum nfc_compression)i;
    must(strcmp(name, "none") == 0 ||
             err_set(&err, FAIL_INPUT, "no compression '%s'", name),
         &err);
    return NFC_STORED;
}

static void parse_via(struct bench *bench)
{
    struct err err = ERR_INIT;
    uint64_t port = 0;
    const char *colon = bench->via ? strrchr(bench->via, ':') : NULL;
    if (!bench->via)
        return;
    must((colon && text_parse_u64(colon + 1, 1, 65535, &port, &err)) ||
             err_set(&err, FAIL_INPUT, "--via wants HOST:PORT"),
         &err);
    (void)snprintf(bench->via_host, sizeof bench->via_host, "%.*s",
                   (int)(colon - bench->via), bench->via);
    bench->via_port = (uint16_t)port;
}

static const char *parse_options(struct bench *bench, int argc, char **argv)
{
    enum {
        URL,
        PIN,
        USER,
        PASSWORD,
        VM,
        TRANSPORT,
        VIA,
        OUT,
        DISK,
        LANES,
        DEPTH,
        BYTES,
        PLAIN,
        COMPRESSION
    };
    static const struct option options[] = {
        {"url", 1, NULL, URL},     {"pin", 1, NULL, PIN},
        {"user", 1, NULL, USER},   {"password-file", 1, NULL, PASSWORD},
        {"vm", 1, NULL, VM},       {"transport", 1, NULL, TRANSPORT},
        {"via", 1, NULL, VIA},     {"out", 1, NULL, OUT},
        {"disk", 1, NULL, DISK},   {"lanes", 1, NULL, LANES},
        {"depth", 1, NULL, DEPTH}, {"read-bytes", 1, NULL, BYTES},
        {"plain", 0, NULL, PLAIN}, {"compression", 1, NULL, COMPRESSION},
        {NULL, 0, NULL, 0}};
    const char **texts[] = {&bench->url,           &bench->pin,     &bench->user,
                            &bench->password_file, &bench->vm_name, &bench->transport,
                            &bench->via,           &bench->out};
    struct {
        uint64_t *at, min, max;
    } numbers[] = {{&bench->disk_index, 0, 255},
                   {&bench->lane_count, 1, LANES_MAX},
                   {&bench->depth, 1, LANE_MAX_IN_FLIGHT},
                   {&bench->read_bytes, 512, LANE_READ_MAX_BYTES}};
    struct err err = ERR_INIT;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) >= 0;) {
        if (c == '?')
            exit(2);
        else if (c <= OUT)
            *texts[c] = optarg;
        else if (c <= BYTES)
            must(text_parse_u64(optarg, numbers[c - DISK].min, numbers[c - DISK].max,
                                numbers[c - DISK].at, &err),
                 &err);
        else if (c == PLAIN)
            bench->is_plain = true;
        else
            bench->compression = parse_compression(optarg);
    }
    parse_via(bench);
    return bench->url && bench->user && bench->password_file && bench->vm_name
               ? NULL
               : "--url, --user, --password-file and --vm are needed";
}

int main(int argc, char **argv)
{
    struct bench bench = {.transport = "nfc",
                          .lane_count = 1,
                          .depth = 16,
                          .read_bytes = MIB,
                          .compression = NFC_SKIPZ,
                          .out_fd = -1};
    const char *wrong = parse_options(&bench, argc, argv);
    if (wrong) {
        fprintf(stderr, "disk_read: %s\n", wrong);
        return 2;
    }
    struct err err = ERR_INIT;
    if (bench.out) {
        bench.out_fd = open(bench.out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        must(bench.out_fd >= 0 || err_errno(&err, errno, "open '%s'", bench.out), &err);
    }
    open_machine(&bench);
    open_transport(&bench);
    run(&bench);
    if (bench.opened)
        bench.opened->ops->close(bench.opened);
    vim_machine_free(bench.machine);
    vim_close(bench.vim);
    if (bench.out_fd >= 0)
        (void)close(bench.out_fd); /* a scratch copy */
    return 0;
}
