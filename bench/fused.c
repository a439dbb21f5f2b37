/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The roofline: one fused loop of exactly the kernels that the job needs, and nothing
 * else (no network, catalog, journal or manifest). Kedge's own commands are measured as a
 * ratio to it in the same run, because the seconds of a shared machine mean nothing on
 * another day.
 *
 * Prints one line of JSON. `data_bytes` is what was carried, `stored_bytes` the log's
 * size. Liburing is not used: from the page cache and at these depths it gains nothing
 * over pread, and an extra worker gives the overlap.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fused.h"

static const char usage[] =
    "usage: fused send    [options] IMAGE [LOG]       without LOG: no sink\n"
    "       fused receive [options] LOG [REPLICA]     without REPLICA: no sink\n"
    "       fused scan    [options] IMAGE\n"
    "  --threads N      workers; default: one more than the cores\n"
    "  --codec C        lz4 (64 KiB units, default), zstd (1 MiB units), none\n"
    "  --level N        lz4 acceleration, default 1; zstd level, default -1\n"
    "  --digest D       xxh3 (default), sha256, gmac, blake2b, none; receive takes the "
    "log's\n"
    "  --extents FILE   only these: 'offset length' in bytes a line, ascending\n"
    "  --new            receive: empty the replica first (default: write over it)\n"
    "  --direct-min N   receive: runs shorter than this go through the page cache\n"
    "                   (default 64K)";

enum {
    OPT_THREADS = 1,
    OPT_CODEC,
    OPT_LEVEL,
    OPT_DIGEST,
    OPT_EXTENTS,
    OPT_NEW,
    OPT_DIRECT
};

static const struct option long_options[] = {
    {"threads", required_argument, NULL, OPT_THREADS},
    {"codec", required_argument, NULL, OPT_CODEC},
    {"level", required_argument, NULL, OPT_LEVEL},
    {"digest", required_argument, NULL, OPT_DIGEST},
    {"extents", required_argument, NULL, OPT_EXTENTS},
    {"new", no_argument, NULL, OPT_NEW},
    {"direct-min", required_argument, NULL, OPT_DIRECT},
    {NULL, 0, NULL, 0},
};

static const char *const codec_names[] = {"none", "lz4", "zstd"};

static enum codec codec_parse(const char *name)
{
    for (unsigned i = 0; i < sizeof(codec_names) / sizeof(codec_names[0]); i++)
        if (strcmp(name, codec_names[i]) == 0)
            return (enum codec)i;
    die("unknown codec '%s'; known: none lz4 zstd", name);
}

static int level_parse(const char *text)
{
    bool is_negative = text[0] == '-';
    uint64_t value = parse_bytes(text + is_negative);

    if (value > 1000)
        die("'%s' is no level", text);
    return is_negative ? -(int)value : (int)value;
}

static void options_parse(struct options *o, int argc, char **argv)
{
    bool has_level = false;
    int opt;

    while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (opt == OPT_THREADS)
            o->threads = (unsigned)parse_bytes(optarg);
        else if (opt == OPT_CODEC)
            o->codec = codec_parse(optarg);
        else if (opt == OPT_LEVEL)
            o->level = level_parse(optarg);
        else if (opt == OPT_DIGEST)
            o->digest = digest_kind_parse(optarg);
        else if (opt == OPT_EXTENTS)
            o->extents = optarg;
        else if (opt == OPT_NEW)
            o->is_new = true;
        else if (opt == OPT_DIRECT)
            o->direct_min_bytes = (size_t)parse_bytes(optarg);
        else
            die("%s", usage);
        has_level |= opt == OPT_LEVEL;
    }
    if (!has_level)
        o->level = o->codec == CODEC_ZSTD ? -1 : 1;
    if (o->threads < 1 || o->threads > MAX_THREADS)
        die("--threads is 1 to %d", MAX_THREADS);
}

static void report(const char *command, const struct options *o, struct totals *totals,
                   uint64_t start_ns)
{
    bool is_receive = strcmp(command, "receive") == 0; /* its codec is in each record */

    printf("{\"command\": \"%s\", \"codec\": \"%s\", \"level\": %d, \"digest\": \"%s\", "
           "\"threads\": %u, \"wall_s\": %.4f, \"cpu_s\": %.4f, \"read_bytes\": %llu, "
           "\"data_bytes\": %llu, \"stored_bytes\": %llu, \"maxrss_kib\": %llu}\n",
           command, is_receive ? "log" : codec_names[o->codec], is_receive ? 0 : o->level,
           digest_kind_name(totals->digest), o->threads,
           (double)(wall_ns() - start_ns) / 1e9, (double)cpu_ns() / 1e9,
           (unsigned long long)totals->read_bytes, (unsigned long long)totals->data_bytes,
           (unsigned long long)totals->stored_bytes, (unsigned long long)maxrss_kib());
}

int main(int argc, char **argv)
{
    uint64_t start_ns = wall_ns();
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct options o = {.codec = CODEC_LZ4,
                        .digest = DIGEST_XXH3,
                        .direct_min_bytes = 64 * KIB,
                        .threads =
                            cores > 0 && cores < MAX_THREADS ? (unsigned)cores + 1 : 3};
    struct totals totals = {0};
    const char *command;

    if (argc < 2)
        die("%s", usage);
    command = argv[1];
    options_parse(&o, argc - 1, argv + 1);
    totals.digest = o.digest;
    argc -= 1 + optind;
    argv += 1 + optind;
    if (strcmp(command, "send") == 0 && (argc == 1 || argc == 2)) {
        o.image = argv[0];
        o.log = argv[1];
        run_send(&o, &totals);
    } else if (strcmp(command, "receive") == 0 && (argc == 1 || argc == 2)) {
        o.log = argv[0];
        o.replica = argv[1];
        run_receive(&o, &totals);
    } else if (strcmp(command, "scan") == 0 && argc == 1) {
        o.image = argv[0];
        run_scan(&o, &totals);
    } else {
        die("%s", usage);
    }
    report(command, &o, &totals, start_ns);
    return 0;
}
