/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiving half of the roofline: log -> open -> unpack -> verify -> replica,
 * durable.
 *
 * Workers take segments from one counter. Nothing unverified is written: a record's
 * digest is compared before its cells join the run being built. A run is neighbouring
 * cells, up to 4 MiB, written at once: with O_DIRECT when it is long, through the page
 * cache when it is short (scattered 4 KiB O_DIRECT writes are six times slower). One
 * fdatasync at the end covers both, because both descriptors are the same file.
 */
#include <errno.h>
#include <fcntl.h>
#include <lz4.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "fused.h"

#define RUN_BYTES (4 * MIB)

struct receiver {
    /* Set by run_receive, never changed. */
    const struct options *options;
    struct footer footer;
    struct index_entry *index;
    int log_fd, direct_fd, cached_fd; /* the last two: -1 without a replica */
    struct totals *totals;
    /* Atomic. */
    atomic_size_t next_segment;
};

struct receive_worker {
    struct receiver *r;
    struct digest digest;
    struct seal seal;
    ZSTD_DCtx *dctx;
    uint8_t *segment, *opened, *plain, *run;
    uint64_t run_offset;
    size_t run_used;
    uint64_t read_bytes, data_bytes;
};

/* A record after its head was checked. */
struct parsed {
    struct record head;
    struct mask mask;
    const uint8_t *sum;
    const uint8_t *sealed;
    size_t plain_bytes;
};

static void run_flush(struct receive_worker *w)
{
    bool is_short = w->run_used < w->r->options->direct_min_bytes;
    int fd = is_short ? w->r->cached_fd : w->r->direct_fd;

    if (w->run_used > 0 && fd >= 0 &&
        pwrite(fd, w->run, w->run_used, (off_t)w->run_offset) != (ssize_t)w->run_used)
        die("write the replica at %llu", (unsigned long long)w->run_offset);
    w->run_used = 0;
}

/* Where the next bytes of the run go; flushes when they are not its neighbours or do not
 * fit. */
static uint8_t *run_reserve(struct receive_worker *w, uint64_t offset, size_t bytes)
{
    if (w->run_used > 0 &&
        (w->run_offset + w->run_used != offset || w->run_used + bytes > RUN_BYTES))
        run_flush(w);
    if (w->run_used == 0)
        w->run_offset = offset;
    return w->run + w->run_used;
}

static void zero_cells(struct receive_worker *w, uint64_t offset, size_t bytes)
{
    run_flush(w);
    if (w->r->cached_fd >= 0 &&
        fallocate(w->r->cached_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  (off_t)offset, (off_t)bytes) != 0)
        die("punch a hole at %llu", (unsigned long long)offset);
}

static const uint8_t *parse(const struct receiver *r, const uint8_t *at,
                            const uint8_t *end, struct parsed *ret_parsed)
{
    struct parsed p = {0};
    size_t cells = r->footer.unit_bytes / CELL_BYTES;
    size_t body_bytes;

    if ((size_t)(end - at) < sizeof(p.head))
        die("the log is torn");
    memcpy(&p.head, at, sizeof(p.head));
    at += sizeof(p.head);
    body_bytes = p.head.packed_bytes > 0 ? p.head.packed_bytes + SEAL_TAG_BYTES : 0;
    if (p.head.mask_bytes != cells / 8 || p.head.sum_bytes > DIGEST_MAX_BYTES ||
        p.head.packed_bytes > r->footer.unit_bytes || p.head.codec > CODEC_ZSTD ||
        (size_t)(end - at) < p.head.mask_bytes + p.head.sum_bytes + body_bytes)
        die("the log has a malformed record");
    memcpy(p.mask.bits, at, p.head.mask_bytes);
    at += p.head.mask_bytes;
    p.sum = at;
    p.sealed = at + p.head.sum_bytes;
    p.plain_bytes = mask_count(&p.mask) * CELL_BYTES;
    *ret_parsed = p;
    return p.sealed + body_bytes;
}

static void unpack(struct receive_worker *w, const struct parsed *p, uint8_t *ret_plain)
{
    size_t packed = p->head.packed_bytes;
    uint8_t *opened = p->head.codec == CODEC_NONE ? ret_plain : w->opened;
    uint8_t sum[DIGEST_MAX_BYTES];
    size_t done = packed;

    if (p->head.codec == CODEC_NONE && packed != p->plain_bytes)
        die("a stored record has the wrong length");
    seal_open(&w->seal, p->head.offset_bytes, p->sealed, packed, opened);
    if (p->head.codec == CODEC_LZ4)
        done = (size_t)LZ4_decompress_safe((const char *)opened, (char *)ret_plain,
                                           (int)packed, (int)p->plain_bytes);
    if (p->head.codec == CODEC_ZSTD)
        done = ZSTD_decompressDCtx(w->dctx, ret_plain, p->plain_bytes, opened, packed);
    if (done != p->plain_bytes ||
        digest_run(&w->digest, ret_plain, done, sum) != p->head.sum_bytes ||
        memcmp(sum, p->sum, p->head.sum_bytes) != 0)
        die("the record at %llu does not verify",
            (unsigned long long)p->head.offset_bytes);
}

static void record_apply(struct receive_worker *w, const struct parsed *p)
{
    size_t cells = w->r->footer.unit_bytes / CELL_BYTES;
    const uint8_t *from = w->plain;
    size_t start, end;

    (void)mask_next_run(&p->mask, 0, cells, &start, &end);
    if (p->head.packed_bytes > 0 && (end - start) * CELL_BYTES == p->plain_bytes) {
        /* All in one piece: unpack where it is written from. */
        uint64_t offset = p->head.offset_bytes + start * CELL_BYTES;
        unpack(w, p, run_reserve(w, offset, p->plain_bytes));
        w->run_used += p->plain_bytes;
        w->data_bytes += p->plain_bytes;
        return;
    }
    if (p->head.packed_bytes > 0) {
        unpack(w, p, w->plain);
        w->data_bytes += p->plain_bytes;
    }
    for (size_t at = 0; mask_next_run(&p->mask, at, cells, &start, &end); at = end) {
        uint64_t offset = p->head.offset_bytes + start * CELL_BYTES;
        size_t bytes = (end - start) * CELL_BYTES;
        if (p->head.packed_bytes == 0) {
            zero_cells(w, offset, bytes);
            continue;
        }
        memcpy(run_reserve(w, offset, bytes), from, bytes);
        w->run_used += bytes;
        from += bytes;
    }
}

static void *receive_main(void *arg)
{
    struct receive_worker *w = arg;
    struct receiver *r = w->r;
    size_t slot;

    while ((slot = atomic_fetch_add(&r->next_segment, 1)) < r->footer.segment_count) {
        const struct index_entry *entry = &r->index[slot];
        size_t padded =
            (entry->used_bytes + DIRECT_ALIGN - 1) / DIRECT_ALIGN * DIRECT_ALIGN;
        const uint8_t *at = w->segment;
        const uint8_t *end = w->segment + entry->used_bytes;

        if (padded > SEGMENT_BYTES ||
            pread(r->log_fd, w->segment, padded, (off_t)entry->offset_bytes) !=
                (ssize_t)padded)
            die("read segment %zu", slot);
        w->read_bytes += padded;
        while (at < end) {
            struct parsed p;
            at = parse(r, at, end, &p);
            record_apply(w, &p);
        }
    }
    run_flush(w);
    return NULL;
}

static void log_open(struct receiver *r)
{
    uint8_t *buf = alloc_touched(DIRECT_ALIGN);
    size_t index_bytes;
    struct stat st;

    r->log_fd = open(r->options->log, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (r->log_fd < 0 || fstat(r->log_fd, &st) != 0)
        die("open '%s' with O_DIRECT", r->options->log);
    if (st.st_size < DIRECT_ALIGN ||
        pread(r->log_fd, buf, DIRECT_ALIGN, st.st_size - DIRECT_ALIGN) != DIRECT_ALIGN)
        die("'%s' is no log", r->options->log);
    memcpy(&r->footer, buf, sizeof(r->footer));
    free(buf);
    index_bytes = (size_t)st.st_size - DIRECT_ALIGN - r->footer.index_offset_bytes;
    if (r->footer.magic != FOOTER_MAGIC || r->footer.unit_bytes > UNIT_MAX_BYTES ||
        r->footer.unit_bytes < BLOCK_BYTES || r->footer.digest_kind > DIGEST_BLAKE2B ||
        r->footer.index_offset_bytes > (uint64_t)st.st_size - DIRECT_ALIGN ||
        r->footer.segment_count > index_bytes / sizeof(struct index_entry))
        die("'%s' has no valid footer", r->options->log);
    if (index_bytes == 0)
        return;
    r->index = alloc_touched(index_bytes);
    if (pread(r->log_fd, r->index, index_bytes, (off_t)r->footer.index_offset_bytes) !=
        (ssize_t)index_bytes)
        die("read the index");
    r->totals->stored_bytes = (uint64_t)st.st_size;
}

static void replica_open(struct receiver *r)
{
    const struct options *o = r->options;

    r->direct_fd = r->cached_fd = -1;
    if (o->replica == NULL)
        return;
    r->cached_fd =
        open(o->replica, O_RDWR | O_CREAT | O_CLOEXEC | (o->is_new ? O_TRUNC : 0), 0600);
    r->direct_fd = open(o->replica, O_WRONLY | O_DIRECT | O_CLOEXEC);
    if (r->cached_fd < 0 || r->direct_fd < 0 ||
        ftruncate(r->cached_fd, (off_t)r->footer.image_bytes) != 0)
        die("open '%s'", o->replica);
}

static void worker_init(struct receive_worker *w, struct receiver *r)
{
    *w = (struct receive_worker){.r = r};
    digest_init(&w->digest, (enum digest_kind)r->footer.digest_kind);
    seal_init(&w->seal);
    w->dctx = ZSTD_createDCtx();
    w->segment = alloc_touched(SEGMENT_BYTES);
    w->opened = alloc_touched(r->footer.unit_bytes);
    w->plain = alloc_touched(r->footer.unit_bytes);
    w->run = alloc_touched(RUN_BYTES);
    if (w->dctx == NULL)
        die("set up zstd");
}

static void worker_release(struct receive_worker *w)
{
    w->r->totals->read_bytes += w->read_bytes;
    w->r->totals->data_bytes += w->data_bytes;
    digest_release(&w->digest);
    seal_release(&w->seal);
    ZSTD_freeDCtx(w->dctx);
    free(w->segment);
    free(w->opened);
    free(w->plain);
    free(w->run);
}

void run_receive(const struct options *options, struct totals *totals)
{
    struct receiver r = {.options = options, .totals = totals};
    struct receive_worker workers[MAX_THREADS];
    pthread_t id[MAX_THREADS];

    log_open(&r);
    totals->digest = (enum digest_kind)r.footer.digest_kind;
    replica_open(&r);
    for (unsigned i = 0; i < options->threads; i++) {
        worker_init(&workers[i], &r);
        if (pthread_create(&id[i], NULL, receive_main, &workers[i]) != 0)
            die("start a thread");
    }
    for (unsigned i = 0; i < options->threads; i++)
        pthread_join(id[i], NULL);
    for (unsigned i = 0; i < options->threads; i++)
        worker_release(&workers[i]);
    if (options->replica != NULL && (fdatasync(r.cached_fd) != 0 ||
                                     close(r.direct_fd) != 0 || close(r.cached_fd) != 0))
        die("make '%s' durable", options->replica);
    close(r.log_fd);
    free(r.index);
}
