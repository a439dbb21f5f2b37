/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash map file: a header page, then pages of digests (block/hashpage.h), sparse.
 *
 * M1  the header names a cycle only when every page agrees with that cycle's commit: it
 * is set to 0 and fsynced before the first page changes, and to the cycle after the pages
 * are fsynced; M2  a page that does not verify is all unknown; M3  a range without
 * digests costs nothing per block: whole pages in it are punched out. The header is a
 * page like the others, with its own page number, so it is checked the same way.
 */
#include "gateway/hashmap.h"

#include "base/bytes.h"
#include "base/fault.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define HEADER_PAGE_NO UINT64_MAX
#define MAP_MAGIC      "KDGMAP01"

enum header_slot { SLOT_MAGIC, SLOT_MAP, SLOT_DISK, SLOT_CYCLE };

struct hashmap {
    int fd;
    char *path;
    struct id map; /* random, new each time the map is made: pages of an older one do not
                      verify */
    struct id disk;
    uint64_t cycle;
    /* The page being changed, between begin and commit. */
    bool has_page;
    bool is_dirty;
    uint64_t page_no;
    uint8_t page[HASHPAGE_BYTES];
};

static uint64_t page_at(uint64_t page_no)
{
    return (page_no + 1) * HASHPAGE_BYTES;
}

static void put_slot(uint8_t *page, enum header_slot slot, const void *data, size_t bytes)
{
    struct digest d = {0};
    memcpy(d.bytes, data, bytes);
    hashpage_set(page, slot, &d);
}

static bool write_header(struct hashmap *map, uint64_t cycle, struct err *err)
{
    uint8_t page[HASHPAGE_BYTES], raw[8];
    hashpage_init(page);
    put_u64le(raw, cycle);
    put_slot(page, SLOT_MAGIC, MAP_MAGIC, 8);
    put_slot(page, SLOT_MAP, map->map.bytes, ID_BYTES);
    put_slot(page, SLOT_DISK, map->disk.bytes, ID_BYTES);
    put_slot(page, SLOT_CYCLE, raw, sizeof raw);
    hashpage_finish(page, &map->map, HEADER_PAGE_NO);
    if (!file_pwrite_full(map->fd, map->path, page, sizeof page, 0, err))
        return false;
    if (fdatasync(map->fd) != 0)
        return err_errno(err, errno, "fsync hash map '%s'", map->path);
    map->cycle = cycle;
    return true;
}

/* true: the file is a map of this disk. */
static bool read_header(struct hashmap *map)
{
    uint8_t page[HASHPAGE_BYTES];
    struct digest magic, id, disk, cycle;
    struct err ignored = ERR_INIT;
    if (!file_pread_full(map->fd, map->path, page, sizeof page, 0, &ignored))
        return false;
    hashpage_get(page, SLOT_MAGIC, &magic);
    hashpage_get(page, SLOT_MAP, &id);
    hashpage_get(page, SLOT_DISK, &disk);
    hashpage_get(page, SLOT_CYCLE, &cycle);
    memcpy(map->map.bytes, id.bytes, ID_BYTES);
    if (!hashpage_verify(page, &map->map, HEADER_PAGE_NO) ||
        memcmp(magic.bytes, MAP_MAGIC, 8) != 0 ||
        memcmp(disk.bytes, map->disk.bytes, ID_BYTES) != 0)
        return false;
    map->cycle = get_u64le(cycle.bytes);
    return true;
}

static bool start_anew(struct hashmap *map, struct err *err)
{
    map->map = id_random();
    if (ftruncate(map->fd, 0) != 0)
        return err_errno(err, errno, "empty hash map '%s'", map->path);
    return write_header(map, 0, err);
}

struct hashmap *hashmap_open(const char *path, const struct id *disk, struct err *err)
{
    AUTO(hashmap_close) struct hashmap *map = xcalloc(1, sizeof *map);
    map->path = xstrdup(path);
    map->disk = *disk;
    map->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (map->fd < 0) {
        (void)err_errno(err, errno, "open hash map '%s'", path);
        return NULL;
    }
    if (!read_header(map) && !start_anew(map, err))
        return NULL;
    return TAKE(map);
}

void hashmap_close(struct hashmap *map)
{
    if (!map)
        return;
    if (map->fd >= 0)
        (void)close(map->fd); /* what matters was fsynced */
    free(map->path);
    free(map);
}

uint64_t hashmap_cycle(const struct hashmap *map)
{
    return map->cycle;
}

static void load_page(const struct hashmap *map, uint64_t page_no, uint8_t *page)
{
    ssize_t n = pread(map->fd, page, HASHPAGE_BYTES, (off_t)page_at(page_no));
    if (n != HASHPAGE_BYTES || !hashpage_verify(page, &map->map, page_no))
        hashpage_init(page);
}

void hashmap_get(const struct hashmap *map, struct hashmap_cursor *cursor, uint64_t block,
                 struct digest *ret)
{
    uint64_t page_no = block / HASHPAGE_DIGESTS;
    if (!cursor->is_loaded || cursor->page_no != page_no) {
        load_page(map, page_no, cursor->page);
        cursor->page_no = page_no;
        cursor->is_loaded = true;
    }
    hashpage_get(cursor->page, block % HASHPAGE_DIGESTS, ret);
}

static bool write_back(struct hashmap *map, struct err *err)
{
    if (!map->has_page || !map->is_dirty)
        return true;
    hashpage_finish(map->page, &map->map, map->page_no);
    map->is_dirty = false;
    return file_pwrite_full(map->fd, map->path, map->page, HASHPAGE_BYTES,
                            page_at(map->page_no), err);
}

static bool go_to_page(struct hashmap *map, uint64_t page_no, struct err *err)
{
    if (map->has_page && map->page_no == page_no)
        return true;
    if (!write_back(map, err))
        return false;
    load_page(map, page_no, map->page);
    map->page_no = page_no;
    map->has_page = true;
    return true;
}

static bool set_block(struct hashmap *map, uint64_t block, const struct digest *digest,
                      struct err *err)
{
    if (!go_to_page(map, block / HASHPAGE_DIGESTS, err))
        return false;
    hashpage_set(map->page, block % HASHPAGE_DIGESTS, digest);
    map->is_dirty = true;
    return true;
}

bool hashmap_begin(struct hashmap *map, uint64_t base_cycle, struct err *err)
{
    map->has_page = map->is_dirty = false;
    if (base_cycle == 0 || map->cycle != base_cycle)
        return start_anew(map, err);
    return write_header(map, 0, err);
}

/* Blocks [first, end) become unknown. */
static bool forget_blocks(struct hashmap *map, uint64_t first, uint64_t end,
                          struct err *err)
{
    static const struct digest UNKNOWN;
    uint64_t page_no = first / HASHPAGE_DIGESTS, last = (end - 1) / HASHPAGE_DIGESTS;
    if (last > page_no + 1) { /* M3 */
        if (!write_back(map, err))
            return false;
        map->has_page = false;
        if (fallocate(map->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                      (off_t)page_at(page_no + 1),
                      (off_t)((last - page_no - 1) * HASHPAGE_BYTES)) != 0)
            return err_errno(err, errno, "punch hash map '%s'", map->path);
        if (!forget_blocks(map, first, (page_no + 1) * HASHPAGE_DIGESTS, err))
            return false;
        first = last * HASHPAGE_DIGESTS;
    }
    for (uint64_t block = first; block < end; block++)
        if (!set_block(map, block, &UNKNOWN, err))
            return false;
    return true;
}

static int by_block(const void *a, const void *b)
{
    const struct block_digest *x = a, *y = b;
    return x->block < y->block ? -1 : x->block > y->block;
}

/* The covered blocks that lie in [first, end) and are not listed become unknown. */
static bool forget_unlisted(struct hashmap *map, const struct journal_entry *entry,
                            uint64_t first, uint64_t end, size_t *at, struct err *err)
{
    for (uint64_t block = first; block < end;) {
        while (*at < entry->block_count && entry->blocks[*at].block < block)
            (*at)++;
        uint64_t stop = *at < entry->block_count ? entry->blocks[*at].block : end;
        if (stop > block && !forget_blocks(map, block, MIN_OF(stop, end), err))
            return false;
        block = MAX_OF(stop, block) + 1;
    }
    return true;
}

bool hashmap_apply(struct hashmap *map, struct journal_entry *entry, struct err *err)
{
    if (entry->block_count)
        qsort(entry->blocks, entry->block_count, sizeof *entry->blocks, by_block);
    size_t at = 0;
    uint64_t from = 0;
    for (size_t i = 0; i < entry->covered.count; i++) {
        const struct extent *e = &entry->covered.items[i];
        uint64_t first = MAX_OF(e->start_bytes / BLOCK_BYTES, from);
        uint64_t end = (e->end_bytes + BLOCK_BYTES - 1) / BLOCK_BYTES;
        if (first < end && !forget_unlisted(map, entry, first, end, &at, err))
            return false;
        from = end;
    }
    for (size_t i = 0; i < entry->block_count; i++)
        if (!set_block(map, entry->blocks[i].block, &entry->blocks[i].digest, err))
            return false;
    return true;
}

bool hashmap_commit(struct hashmap *map, uint64_t cycle, struct err *err)
{
    if (!write_back(map, err) || FAULT(CYCLE_IN_MAP, err))
        return false;
    if (fdatasync(map->fd) != 0)
        return err_errno(err, errno, "fsync hash map '%s'", map->path);
    return write_header(map, cycle, err);
}
