/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sending half of the roofline: read, zero test, digest, pack, seal, durable log; and
 * the scan, which stops after the digest.
 *
 * Workers take groups (4 MiB of disk) from one counter and fill a segment buffer of their
 * own; a full one is written with one O_DIRECT pwrite where the log's end counter says,
 * and then used again. Nothing is locked. I/O overlaps with work because there is one
 * worker more than there are cores: while one waits for the disk, the others have the
 * cores.
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

struct sender {
    /* Set by run_send, never changed. */
    const struct options *options;
    struct worklist list;
    uint64_t image_bytes;
    int image_fd, log_fd;
    struct index_entry *index;
    size_t index_cap;
    struct totals *totals;
    /* Atomic. */
    atomic_size_t next_group, segment_count;
    atomic_uint_fast64_t log_end;
};

struct send_worker {
    struct sender *s;
    struct digest digest;
    struct seal seal;
    void *lz4_state;
    ZSTD_CCtx *cctx;
    uint8_t *plain, *packed, *segment;
    size_t packed_cap, segment_used;
    uint64_t read_bytes, data_bytes;
};

static void read_full(int fd, uint8_t *buf, size_t bytes, uint64_t offset)
{
    while (bytes > 0) {
        ssize_t got = pread(fd, buf, bytes, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            die("read the image at %llu", (unsigned long long)offset);
        buf += got;
        bytes -= (size_t)got;
        offset += (uint64_t)got;
    }
}

/* Moves the cells of the mask together; buf holds the unit from first_cell on. */
static size_t compact(uint8_t *buf, const struct mask *mask, size_t first_cell,
                      size_t cells)
{
    size_t used = 0;
    size_t start, end;

    for (size_t at = first_cell; mask_next_run(mask, at, cells, &start, &end); at = end) {
        size_t from = (start - first_cell) * CELL_BYTES;
        size_t bytes = (end - start) * CELL_BYTES;
        if (from != used)
            memmove(buf + used, buf + from, bytes);
        used += bytes;
    }
    return used;
}

/* One read when the cells fill a quarter of their span or more, else one read a run. */
static size_t read_cells(struct send_worker *w, const struct item *item)
{
    const struct mask *mask = &item->mask;
    size_t cells = w->s->list.unit_bytes / CELL_BYTES;
    size_t used = 0;
    size_t last = cells;
    size_t first, start, end;

    (void)mask_next_run(mask, 0, cells, &first, &end);
    while (last > first && !mask_has(mask, last - 1))
        last--;
    if (mask_count(mask) * 4 >= last - first) {
        read_full(w->s->image_fd, w->plain, (last - first) * CELL_BYTES,
                  item->offset_bytes + first * CELL_BYTES);
        return compact(w->plain, mask, first, last);
    }
    for (size_t at = 0; mask_next_run(mask, at, cells, &start, &end); at = end) {
        read_full(w->s->image_fd, w->plain + used, (end - start) * CELL_BYTES,
                  item->offset_bytes + start * CELL_BYTES);
        used += (end - start) * CELL_BYTES;
    }
    return used;
}

/* Without a map: drops zero 64 KiB blocks from the mask and the buffer. */
static size_t drop_zero_blocks(uint8_t *plain, size_t bytes, struct mask *mask)
{
    bool is_any_zero = false;

    for (size_t at = 0; at < bytes; at += BLOCK_BYTES) {
        size_t len = bytes - at < BLOCK_BYTES ? bytes - at : BLOCK_BYTES;
        if (!bytes_are_zero(plain + at, len))
            continue;
        is_any_zero = true;
        for (size_t cell = at / CELL_BYTES; cell < (at + len) / CELL_BYTES; cell++)
            mask->bits[cell / 64] &= ~((uint64_t)1 << (cell % 64));
    }
    return is_any_zero ? compact(plain, mask, 0, bytes / CELL_BYTES) : bytes;
}

static size_t pack(struct send_worker *w, const uint8_t *plain, size_t bytes)
{
    const struct options *o = w->s->options;
    size_t packed = 0;

    if (o->codec == CODEC_LZ4)
        packed = (size_t)LZ4_compress_fast_extState(w->lz4_state, (const char *)plain,
                                                    (char *)w->packed, (int)bytes,
                                                    (int)w->packed_cap, o->level);
    if (o->codec == CODEC_ZSTD) {
        packed =
            ZSTD_compressCCtx(w->cctx, w->packed, w->packed_cap, plain, bytes, o->level);
        if (ZSTD_isError(packed))
            die("zstd: %s", ZSTD_getErrorName(packed));
    }
    return packed;
}

static void segment_flush(struct send_worker *w)
{
    struct sender *s = w->s;
    size_t padded = (w->segment_used + DIRECT_ALIGN - 1) / DIRECT_ALIGN * DIRECT_ALIGN;
    uint64_t offset;
    size_t slot;

    if (w->segment_used == 0)
        return;
    memset(w->segment + w->segment_used, 0, padded - w->segment_used);
    offset = atomic_fetch_add(&s->log_end, padded);
    slot = atomic_fetch_add(&s->segment_count, 1);
    if (slot >= s->index_cap)
        die("the log has more segments than its index holds");
    s->index[slot] = (struct index_entry){offset, w->segment_used};
    if (s->log_fd >= 0 &&
        pwrite(s->log_fd, w->segment, padded, (off_t)offset) != (ssize_t)padded)
        die("write the log");
    w->segment_used = 0;
}

static void record_append(struct send_worker *w, const struct item *item, size_t bytes)
{
    struct record record = {.offset_bytes = item->offset_bytes,
                            .mask_bytes =
                                (uint8_t)(w->s->list.unit_bytes / CELL_BYTES / 8)};
    const uint8_t *body = w->packed;
    uint8_t sum[DIGEST_MAX_BYTES];
    uint8_t *out;

    if (SEGMENT_BYTES - w->segment_used < RECORD_HEAD_MAX_BYTES + w->s->list.unit_bytes)
        segment_flush(w);
    record.sum_bytes = (uint8_t)digest_run(&w->digest, w->plain, bytes, sum);
    if (!w->s->list.has_map || !bytes_are_zero(w->plain, bytes)) {
        size_t packed = pack(w, w->plain, bytes);
        record.codec = (uint8_t)w->s->options->codec;
        if (packed == 0 || packed >= bytes) {
            packed = bytes;
            body = w->plain;
            record.codec = CODEC_NONE;
        }
        record.packed_bytes = (uint32_t)packed;
    }
    out = w->segment + w->segment_used;
    memcpy(out, &record, sizeof(record));
    memcpy(out + sizeof(record), item->mask.bits, record.mask_bytes);
    memcpy(out + sizeof(record) + record.mask_bytes, sum, record.sum_bytes);
    w->segment_used += sizeof(record) + record.mask_bytes + record.sum_bytes;
    if (record.packed_bytes > 0) {
        seal_run(&w->seal, record.offset_bytes, body, record.packed_bytes,
                 w->segment + w->segment_used);
        w->segment_used += record.packed_bytes + SEAL_TAG_BYTES;
        w->data_bytes += bytes;
    }
}

static void *send_main(void *arg)
{
    struct send_worker *w = arg;
    struct worklist *list = &w->s->list;
    size_t group;

    while ((group = atomic_fetch_add(&w->s->next_group, 1)) < list->group_count) {
        for (size_t i = list->group_first[group]; i < list->group_first[group + 1]; i++) {
            struct item item = list->items[i];
            size_t bytes = read_cells(w, &item);
            w->read_bytes += bytes;
            if (!list->has_map)
                bytes = drop_zero_blocks(w->plain, bytes, &item.mask);
            if (bytes > 0)
                record_append(w, &item, bytes);
        }
    }
    segment_flush(w);
    return NULL;
}

static void *scan_main(void *arg)
{
    struct send_worker *w = arg;
    struct worklist *list = &w->s->list;
    uint8_t sum[DIGEST_MAX_BYTES];
    size_t group;

    while ((group = atomic_fetch_add(&w->s->next_group, 1)) < list->group_count) {
        for (size_t i = list->group_first[group]; i < list->group_first[group + 1]; i++) {
            size_t bytes = read_cells(w, &list->items[i]);
            w->read_bytes += bytes;
            if (bytes_are_zero(w->plain, bytes))
                continue;
            w->data_bytes += bytes;
            (void)digest_run(&w->digest, w->plain, bytes, sum);
        }
    }
    return NULL;
}

static void worker_init(struct send_worker *w, struct sender *s, bool is_scan)
{
    *w = (struct send_worker){.s = s};
    digest_init(&w->digest, s->options->digest);
    w->plain = alloc_touched(s->list.unit_bytes);
    if (is_scan)
        return;
    seal_init(&w->seal);
    w->lz4_state = alloc_touched((size_t)LZ4_sizeofState());
    w->cctx = ZSTD_createCCtx();
    w->packed_cap = ZSTD_compressBound(s->list.unit_bytes);
    w->packed = alloc_touched(w->packed_cap);
    w->segment = alloc_touched(SEGMENT_BYTES);
    if (w->cctx == NULL)
        die("set up zstd");
}

static void worker_release(struct send_worker *w)
{
    w->s->totals->read_bytes += w->read_bytes;
    w->s->totals->data_bytes += w->data_bytes;
    digest_release(&w->digest);
    seal_release(&w->seal);
    ZSTD_freeCCtx(w->cctx);
    free(w->lz4_state);
    free(w->plain);
    free(w->packed);
    free(w->segment);
}

static void sender_init(struct sender *s, const struct options *options,
                        struct totals *totals)
{
    size_t unit = options->codec == CODEC_ZSTD ? UNIT_MAX_BYTES : BLOCK_BYTES;
    struct stat st;

    *s = (struct sender){.options = options, .totals = totals, .log_fd = -1};
    s->image_fd = open(options->image, O_RDONLY | O_CLOEXEC);
    if (s->image_fd < 0 || fstat(s->image_fd, &st) != 0)
        die("open '%s'", options->image);
    s->image_bytes = (uint64_t)st.st_size;
    worklist_init(&s->list, s->image_bytes, unit, options->extents);
}

static void run_workers(struct sender *s, void *(*body)(void *))
{
    struct send_worker workers[MAX_THREADS];
    pthread_t id[MAX_THREADS];
    unsigned threads = s->options->threads;

    for (unsigned i = 0; i < threads; i++) {
        worker_init(&workers[i], s, body == scan_main);
        if (pthread_create(&id[i], NULL, body, &workers[i]) != 0)
            die("start a thread");
    }
    for (unsigned i = 0; i < threads; i++)
        pthread_join(id[i], NULL);
    for (unsigned i = 0; i < threads; i++)
        worker_release(&workers[i]);
}

/* The index and the footer, one O_DIRECT write; then everything is made durable. */
static void log_finish(struct sender *s)
{
    size_t segments = s->segment_count;
    size_t index_bytes = segments * sizeof(struct index_entry);
    size_t padded = (index_bytes + DIRECT_ALIGN - 1) / DIRECT_ALIGN * DIRECT_ALIGN;
    struct footer footer = {.magic = FOOTER_MAGIC,
                            .image_bytes = s->image_bytes,
                            .index_offset_bytes = s->log_end,
                            .segment_count = segments,
                            .digest_kind = (uint32_t)s->options->digest,
                            .unit_bytes = (uint32_t)s->list.unit_bytes};
    uint8_t *buf = alloc_touched(padded + DIRECT_ALIGN);
    size_t all = padded + DIRECT_ALIGN;

    memset(buf, 0, all);
    memcpy(buf, s->index, index_bytes);
    memcpy(buf + padded, &footer, sizeof(footer));
    if (pwrite(s->log_fd, buf, all, (off_t)s->log_end) != (ssize_t)all ||
        ftruncate(s->log_fd, (off_t)(s->log_end + all)) != 0 ||
        fdatasync(s->log_fd) != 0 || close(s->log_fd) != 0)
        die("finish the log");
    s->log_end += all;
    free(buf);
}

void run_send(const struct options *options, struct totals *totals)
{
    struct sender s;
    size_t groups;

    sender_init(&s, options, totals);
    /* A segment is at least a quarter full when it is flushed, but for each worker's
     * last. */
    groups = s.list.group_count;
    s.index_cap = groups * (4 * GROUP_BYTES / SEGMENT_BYTES) + options->threads;
    s.index = calloc(s.index_cap, sizeof(*s.index));
    if (s.index == NULL)
        die("allocate the index");
    if (options->log != NULL) {
        s.log_fd =
            open(options->log, O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600);
        if (s.log_fd < 0)
            die("open '%s' with O_DIRECT", options->log);
    }
    run_workers(&s, send_main);
    if (options->log != NULL)
        log_finish(&s);
    totals->stored_bytes = s.log_end;
    close(s.image_fd);
    free(s.index);
    worklist_release(&s.list);
}

void run_scan(const struct options *options, struct totals *totals)
{
    struct sender s;

    sender_init(&s, options, totals);
    run_workers(&s, scan_main);
    close(s.image_fd);
    worklist_release(&s.list);
}
