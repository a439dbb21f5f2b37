/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Micro-benchmark of every kernel that a block passes through, on real data of an image.
 *
 * Method: the first --data bytes of non-zero 64 KiB blocks are read into touched memory
 * (more than the last-level cache holds). One sample = every thread walks its share of
 * the units for --sample-ms and the rates are added up. Samples of different kernels are
 * interleaved (round 1 of all, round 2 of all, ...), so that a neighbour's burst on a
 * shared machine spreads over all; round 0 is discarded; the median is printed. MB/s
 * counts bytes of *plain* data, for decompression too. BLAKE3 is not here: Debian 12 has
 * it as a Rust program (b3sum) only, no C library.
 */
#include <fcntl.h>
#include <getopt.h>
#include <lz4.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "digest.h"
#include "measure.h"

#define MAX_THREADS 8
#define MAX_ROUNDS  33
#define OUT_BYTES   (2 * MIB)

enum op {
    OP_COPY,
    OP_ZERO,
    OP_DIGEST,
    OP_SEAL,
    OP_OPEN,
    OP_LZ4,
    OP_UNLZ4,
    OP_ZSTD,
    OP_UNZSTD
};

struct kernel {
    const char *name;
    enum op op;
    int level; /* digest kind, lz4 acceleration or zstd level */
    size_t unit_bytes;
    double ratio; /* plain / packed; 0 when the kernel does not pack */
    double rate[MAX_THREADS + 1][MAX_ROUNDS];
};

/* What one thread owns. */
struct worker {
    const struct kernel *kernel;
    size_t first, step;
    struct digest digest[DIGEST_BLAKE2B + 1];
    struct seal seal;
    void *lz4_state;
    ZSTD_CCtx *cctx;
    ZSTD_DCtx *dctx;
    uint8_t *out;
    double rate;
    unsigned sink; /* keeps the optimiser from dropping a kernel */
};

static struct {
    uint8_t *data; /* plain */
    size_t data_bytes;
    uint8_t *packed; /* input of the inverse kernels, unit i at i * packed_stride */
    size_t packed_stride;
    size_t *packed_len;
    uint64_t sample_ns;
} g;

static struct kernel kernels[] = {
    {.name = "memcpy", .op = OP_COPY, .unit_bytes = 64 * KIB},
    {.name = "zero test, memcmp(p, p+1)", .op = OP_ZERO, .unit_bytes = 64 * KIB},
    {.name = "xxh3-128", .op = OP_DIGEST, .level = DIGEST_XXH3, .unit_bytes = 64 * KIB},
    {.name = "gmac (AES-256-GCM, AAD only)",
     .op = OP_DIGEST,
     .level = DIGEST_GMAC,
     .unit_bytes = 64 * KIB},
    {.name = "gmac (AES-256-GCM, AAD only)",
     .op = OP_DIGEST,
     .level = DIGEST_GMAC,
     .unit_bytes = 4 * KIB},
    {.name = "sha256", .op = OP_DIGEST, .level = DIGEST_SHA256, .unit_bytes = 64 * KIB},
    {.name = "blake2b-512",
     .op = OP_DIGEST,
     .level = DIGEST_BLAKE2B,
     .unit_bytes = 64 * KIB},
    {.name = "AES-256-GCM enc", .op = OP_SEAL, .unit_bytes = 64 * KIB},
    {.name = "AES-256-GCM enc", .op = OP_SEAL, .unit_bytes = MIB},
    {.name = "AES-256-GCM dec", .op = OP_OPEN, .unit_bytes = 64 * KIB},
    {.name = "AES-256-GCM dec", .op = OP_OPEN, .unit_bytes = MIB},
    {.name = "lz4 fast 1", .op = OP_LZ4, .level = 1, .unit_bytes = 64 * KIB},
    {.name = "lz4 fast 1", .op = OP_LZ4, .level = 1, .unit_bytes = MIB},
    {.name = "lz4 fast 4", .op = OP_LZ4, .level = 4, .unit_bytes = 64 * KIB},
    {.name = "lz4 fast 8", .op = OP_LZ4, .level = 8, .unit_bytes = 64 * KIB},
    {.name = "zstd -5", .op = OP_ZSTD, .level = -5, .unit_bytes = 64 * KIB},
    {.name = "zstd -1", .op = OP_ZSTD, .level = -1, .unit_bytes = 64 * KIB},
    {.name = "zstd 1", .op = OP_ZSTD, .level = 1, .unit_bytes = 64 * KIB},
    {.name = "zstd 3", .op = OP_ZSTD, .level = 3, .unit_bytes = 64 * KIB},
    {.name = "zstd -1", .op = OP_ZSTD, .level = -1, .unit_bytes = MIB},
    {.name = "zstd 1", .op = OP_ZSTD, .level = 1, .unit_bytes = MIB},
    {.name = "zstd 3", .op = OP_ZSTD, .level = 3, .unit_bytes = MIB},
    {.name = "un-lz4", .op = OP_UNLZ4, .level = 1, .unit_bytes = 64 * KIB},
    {.name = "un-zstd -1", .op = OP_UNZSTD, .level = -1, .unit_bytes = MIB},
    {.name = "un-zstd 1", .op = OP_UNZSTD, .level = 1, .unit_bytes = 64 * KIB},
};
#define KERNELS (sizeof(kernels) / sizeof(kernels[0]))

static bool op_is_inverse(enum op op)
{
    return op == OP_OPEN || op == OP_UNLZ4 || op == OP_UNZSTD;
}

static void worker_init(struct worker *w)
{
    *w = (struct worker){0};
    for (int i = 0; i <= DIGEST_BLAKE2B; i++)
        digest_init(&w->digest[i], (enum digest_kind)i);
    seal_init(&w->seal);
    w->lz4_state = alloc_touched((size_t)LZ4_sizeofState());
    w->cctx = ZSTD_createCCtx();
    w->dctx = ZSTD_createDCtx();
    w->out = alloc_touched(OUT_BYTES);
    if (w->cctx == NULL || w->dctx == NULL)
        die("set up zstd");
}

static void worker_release(struct worker *w)
{
    for (int i = 0; i <= DIGEST_BLAKE2B; i++)
        digest_release(&w->digest[i]);
    seal_release(&w->seal);
    free(w->lz4_state);
    ZSTD_freeCCtx(w->cctx);
    ZSTD_freeDCtx(w->dctx);
    free(w->out);
}

/* The inverse kernels read their unit from g.packed and prove that they gave it back
 * whole. */
static size_t run_inverse(struct worker *w, const struct kernel *k, size_t unit)
{
    const uint8_t *in = g.packed + unit * g.packed_stride;
    size_t in_bytes = g.packed_len[unit];
    size_t done = 0;

    if (k->op == OP_OPEN) {
        seal_open(&w->seal, unit, in, k->unit_bytes, w->out);
        return k->unit_bytes;
    }
    if (k->op == OP_UNLZ4)
        done = (size_t)LZ4_decompress_safe((const char *)in, (char *)w->out,
                                           (int)in_bytes, (int)OUT_BYTES);
    else
        done = ZSTD_decompressDCtx(w->dctx, w->out, OUT_BYTES, in, in_bytes);
    if (done != k->unit_bytes)
        die("%s: unit %zu did not unpack", k->name, unit);
    return done;
}

/* Returns the bytes made: the packed size for the packers. */
static size_t run_unit(struct worker *w, const struct kernel *k, size_t unit)
{
    const uint8_t *in = g.data + unit * k->unit_bytes;
    size_t done = 0;

    switch (k->op) {
    case OP_COPY:
        memcpy(w->out, in, k->unit_bytes);
        return k->unit_bytes;
    case OP_ZERO: {
        /* On data as it comes a zero test ends at the first byte: test zeroes, its worst
         * case, at a moving place of a buffer that does not fit the second-level cache.
         */
        const uint8_t *zero = g.packed + (unit * k->unit_bytes) % (64 * MIB);
        return (size_t)(zero[0] == 0 && memcmp(zero, zero + 1, k->unit_bytes - 1) == 0);
    }
    case OP_DIGEST:
        return digest_run(&w->digest[k->level], in, k->unit_bytes, w->out);
    case OP_SEAL:
        seal_run(&w->seal, unit, in, k->unit_bytes, w->out);
        return k->unit_bytes + SEAL_TAG_BYTES;
    case OP_LZ4:
        done = (size_t)LZ4_compress_fast_extState(w->lz4_state, (const char *)in,
                                                  (char *)w->out, (int)k->unit_bytes,
                                                  (int)OUT_BYTES, k->level);
        return done;
    case OP_ZSTD:
        done = ZSTD_compressCCtx(w->cctx, w->out, OUT_BYTES, in, k->unit_bytes, k->level);
        if (ZSTD_isError(done))
            die("zstd: %s", ZSTD_getErrorName(done));
        return done;
    case OP_OPEN:
    case OP_UNLZ4:
    case OP_UNZSTD:
        return run_inverse(w, k, unit);
    }
    return 0;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    const struct kernel *k = w->kernel;
    size_t units = g.data_bytes / k->unit_bytes;
    size_t unit = w->first;
    uint64_t bytes = 0;
    uint64_t start = wall_ns();
    uint64_t now = start;

    while (now - start < g.sample_ns) {
        for (size_t batch = 0; batch < MIB; batch += k->unit_bytes) {
            w->sink += (unsigned)run_unit(w, k, unit);
            bytes += k->unit_bytes;
            unit = unit + w->step < units ? unit + w->step : w->first;
        }
        now = wall_ns();
    }
    w->rate = (double)bytes * 1000.0 / (double)(now - start); /* MB/s */
    return NULL;
}

static double sample(struct worker *workers, unsigned threads, const struct kernel *k)
{
    pthread_t id[MAX_THREADS];
    double rate = 0;

    for (unsigned i = 0; i < threads; i++) {
        workers[i].kernel = k;
        workers[i].first = i;
        workers[i].step = threads;
        if (pthread_create(&id[i], NULL, worker_main, &workers[i]) != 0)
            die("start a thread");
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(id[i], NULL);
        rate += workers[i].rate;
    }
    return rate;
}

/* Fills g.packed with what the kernel reads; for the packers, measures the ratio. */
static void kernel_prepare(struct worker *w, struct kernel *k)
{
    static const enum op forward[] = {
        [OP_OPEN] = OP_SEAL, [OP_UNLZ4] = OP_LZ4, [OP_UNZSTD] = OP_ZSTD};
    struct kernel fwd = *k;
    size_t units = g.data_bytes / k->unit_bytes;
    size_t packed_bytes = 0;

    if (k->op == OP_ZERO)
        memset(g.packed, 0, 64 * MIB + MIB);
    if (k->op == OP_LZ4 || k->op == OP_ZSTD) {
        for (size_t i = 0; k->ratio == 0 && i < units; i++)
            packed_bytes += run_unit(w, k, i);
        if (packed_bytes != 0)
            k->ratio = (double)(units * k->unit_bytes) / (double)packed_bytes;
    }
    if (!op_is_inverse(k->op))
        return;
    fwd.op = forward[k->op];
    g.packed_stride = k->unit_bytes + k->unit_bytes / 64 + 64;
    for (size_t i = 0; i < units; i++) {
        g.packed_len[i] = run_unit(w, &fwd, i);
        memcpy(g.packed + i * g.packed_stride, w->out, g.packed_len[i]);
    }
}

/* Reads non-zero 64 KiB blocks until there are data_bytes of them, or the image ends. */
static void load(const char *image)
{
    const size_t block = 64 * KIB;
    int fd = open(image, O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    ssize_t got = 0;

    if (fd < 0)
        die("open '%s'", image);
    while (used + block <= g.data_bytes &&
           (got = read(fd, g.data + used, block)) == (ssize_t)block) {
        const uint8_t *p = g.data + used;
        if (p[0] != 0 || memcmp(p, p + 1, block - 1) != 0)
            used += block;
    }
    if (got < 0)
        die("read '%s'", image);
    close(fd);
    g.data_bytes = used - used % MIB;
    if (g.data_bytes < 32 * MIB)
        die("'%s' has less than 32 MiB of data", image);
}

static int rate_cmp(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static void report(unsigned threads, unsigned rounds, bool is_json)
{
    printf(
        is_json
            ? "{\"data_mib\": %zu, \"rounds\": %u, \"blake3\": \"no C library in "
              "Debian 12\", \"kernels\": ["
            : "data %zu MiB, median of %u rounds, MB/s of plain data; BLAKE3 left out: "
              "no C library in Debian 12\n\n",
        g.data_bytes / MIB, rounds);
    if (!is_json)
        printf("| kernel | unit KiB | 1 thread | %u threads | ratio "
               "|\n|---|---|---|---|---|\n",
               threads);
    for (size_t i = 0; i < KERNELS; i++) {
        struct kernel *k = &kernels[i];
        for (unsigned t = 0; !is_json && t <= MAX_THREADS; t++)
            qsort(k->rate[t], rounds, sizeof(double), rate_cmp);
        double one = k->rate[1][rounds / 2];
        double many = k->rate[threads][rounds / 2];
        if (is_json)
            printf("%s{\"kernel\": \"%s\", \"unit_kib\": %zu, \"mbps_1\": %.0f, "
                   "\"mbps_%u\": %.0f, \"ratio\": %.3f}",
                   i > 0 ? ", " : "", k->name, k->unit_bytes / KIB, one, threads, many,
                   k->ratio);
        else
            printf("| %s | %zu | %.0f | %.0f | %.2f |\n", k->name, k->unit_bytes / KIB,
                   one, many, k->ratio);
    }
    printf(is_json ? "]}\n" : "\n");
}

static void measure_all(struct worker *workers, unsigned threads, unsigned rounds)
{
    for (unsigned round = 0; round <= rounds; round++) {
        for (size_t i = 0; i < KERNELS; i++) {
            kernel_prepare(&workers[0], &kernels[i]);
            double one = sample(workers, 1, &kernels[i]);
            double many = threads > 1 ? sample(workers, threads, &kernels[i]) : one;
            if (round == 0)
                continue;
            kernels[i].rate[1][round - 1] = one;
            kernels[i].rate[threads][round - 1] = many;
        }
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"threads", required_argument, NULL, 't'},
                                            {"rounds", required_argument, NULL, 'r'},
                                            {"data", required_argument, NULL, 'd'},
                                            {"sample-ms", required_argument, NULL, 's'},
                                            {NULL, 0, NULL, 0}};
    struct worker workers[MAX_THREADS];
    uint64_t threads = 2;
    uint64_t rounds = 5;
    int opt;

    g.data_bytes = 192 * MIB;
    g.sample_ns = 200 * 1000000u;
    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 't')
            threads = parse_bytes(optarg);
        else if (opt == 'r')
            rounds = parse_bytes(optarg);
        else if (opt == 'd')
            g.data_bytes = parse_bytes(optarg);
        else if (opt == 's')
            g.sample_ns = parse_bytes(optarg) * 1000000u;
        else
            optind = argc + 1;
    }
    if (optind != argc - 1 || threads < 1 || threads > MAX_THREADS || rounds < 1 ||
        rounds > MAX_ROUNDS)
        die("usage: kernels [--threads 1..8] [--rounds 1..33] [--data BYTES] "
            "[--sample-ms N] "
            "IMAGE");
    g.data = alloc_touched(g.data_bytes);
    load(argv[optind]);
    g.packed = alloc_touched(g.data_bytes + g.data_bytes / 32 + 66 * MIB);
    g.packed_len = alloc_touched(g.data_bytes / (4 * KIB) * sizeof(size_t));
    for (unsigned i = 0; i < threads; i++)
        worker_init(&workers[i]);
    measure_all(workers, (unsigned)threads, (unsigned)rounds);
    report((unsigned)threads, (unsigned)rounds, false);
    report((unsigned)threads, (unsigned)rounds, true);
    for (unsigned i = 0; i < threads; i++)
        worker_release(&workers[i]);
    free(g.data);
    free(g.packed);
    free(g.packed_len);
    return 0;
}
