/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop over QueryChangedDiskAreas.
 *
 *  C1  The question goes on until the end of the disk, whatever a page holds: a page
 *      answers for [startOffset, startOffset + length) and says nothing beyond, even when
 *      it has no area (seen: 2000 areas at most in one answer, ESXi 6 to 8; programs that
 *      asked once lost data on 2 TB disks).
 *  C2  startOffset never equals the capacity: hosts answer that with InvalidArgument.
 *  C3  Each page must go further than the one before, so the loop ends.
 *  C4  Any doubt is an error, never "no changes": FAIL_CORRUPT makes the caller read the
 *      whole disk.
 */
#include "vsphere/vim_change.h"

#include <stdlib.h>

#include "base/text.h"
#include "vsphere/vim_call.h"

/* One answer; far above what was ever seen, for areas alone some 30 MiB. */
#define PAGE_ARENA_MAX_BYTES ((size_t)(64 * MIB))
#define PAGES_MAX            1000000u

/* All areas of all pages, as they came: sorted once at the end. */
struct area_list {
    struct extent *items;
    size_t count;
    size_t cap;
};

/* The question under way. */
struct change_read {
    struct vim *vim;
    const struct vim_change_query *query;
    const struct cancel *cancel;
    uint64_t at; /* answered up to here */
    struct area_list areas;
};

static bool ask(const struct change_read *read, struct wire_arena *arena,
                struct wire_DiskChangeInfo *ret, struct err *err)
{
    struct wire_QueryChangedDiskAreas args = {
        ._this = read->query->vm,
        .snapshot = read->query->snapshot,
        .deviceKey = WIRE_INT(read->query->device_key),
        .startOffset = WIRE_INT((int64_t)read->at),
        .changeId = read->query->change_id,
    };
    struct vim_call call = {
        .type = wire_type_QueryChangedDiskAreas(),
        .args = &args,
        .cancel = read->cancel,
    };
    if (vim_call_read(read->vim, &call, wire_type_DiskChangeInfo(), arena, ret, err))
        return true;
    static const char *const doubts[] = {
        "FileFault",    "NotFound",       "InvalidArgument", "FileNotFound",
        "NotSupported", "MethodNotFound", "SystemError",     "GenericVmConfigFault",
    };
    for (size_t i = 0; i < ARRAY_COUNT(doubts); i++)
        if (strcmp(call.fault.type, doubts[i]) == 0)
            err->kind = FAIL_CORRUPT;
    return false;
}

static bool fail_page(struct err *err, const char *what, int64_t value)
{
    return err_set(err, FAIL_CORRUPT, "QueryChangedDiskAreas: %s %lld", what,
                   (long long)value);
}

static bool reserve_areas(struct area_list *areas, size_t more, struct err *err)
{
    if (more > VIM_CHANGE_MAX_AREAS - areas->count)
        return err_set(err, FAIL_LIMIT,
                       "QueryChangedDiskAreas: more than %u areas on one disk",
                       VIM_CHANGE_MAX_AREAS);
    if (areas->count + more > areas->cap) {
        areas->cap = MAX_OF(areas->count + more, areas->cap * 2);
        areas->items = xrealloc(areas->items, areas->cap, sizeof *areas->items);
    }
    return true;
}

/* Adds a page's areas, cut at the disk's end. */
static bool add_areas(const struct wire_DiskChangeInfo *page, uint64_t disk_bytes,
                      struct area_list *areas, struct err *err)
{
    size_t count = page->changedArea.count;
    if (count == 0)
        return true;
    if (!reserve_areas(areas, count, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        int64_t start = page->changedArea.items[i].start.value;
        int64_t length = page->changedArea.items[i].length.value;
        uint64_t end = 0;
        if (start < 0)
            return fail_page(err, "an area starts at", start);
        if (length < 0 || !add_u64((uint64_t)start, (uint64_t)length, &end))
            return fail_page(err, "an area has the length", length);
        areas->items[areas->count++] = (struct extent){
            .start_bytes = MIN_OF((uint64_t)start, disk_bytes),
            .end_bytes = MIN_OF(end, disk_bytes),
        };
    }
    return true;
}

/* One page; read->at moves to what it does not answer for any more. */
static bool read_page(struct change_read *read, struct err *err)
{
    AUTO(wire_arena_release)
    struct wire_arena arena = {.max_bytes = PAGE_ARENA_MAX_BYTES};
    struct wire_DiskChangeInfo page;
    if (!ask(read, &arena, &page, err))
        return false;
    int64_t start = page.startOffset.value;
    int64_t length = page.length.value;
    uint64_t end = 0;
    if (length <= 0)
        return fail_page(err, "a page has the length", length);
    if (start < 0 || (uint64_t)start > read->at ||
        !add_u64((uint64_t)start, (uint64_t)length, &end) || end <= read->at)
        return fail_page(err, "a page starts at", start);
    read->at = end;
    return add_areas(&page, read->query->disk_bytes, &read->areas, err);
}

static bool read_pages(struct change_read *read, struct err *err)
{
    for (size_t pages = 0; read->at < read->query->disk_bytes; pages++) {
        if (pages == PAGES_MAX)
            return err_set(err, FAIL_LIMIT,
                           "QueryChangedDiskAreas: more than %u pages for one disk",
                           PAGES_MAX);
        if (!cancel_check(read->cancel, err) || !read_page(read, err))
            return false;
    }
    return true;
}

bool vim_changed_extents(struct vim *vim, const struct vim_change_query *query,
                         const struct cancel *cancel, struct extents *ret,
                         struct err *err)
{
    if (query->disk_bytes == 0 || query->disk_bytes > INT64_MAX)
        return err_set(err, FAIL_CORRUPT, "disk %d of '%s' has the size %llu",
                       query->device_key, query->vm.id,
                       (unsigned long long)query->disk_bytes);
    struct change_read read = {.vim = vim, .query = query, .cancel = cancel};
    bool ok = read_pages(&read, err);
    if (ok) {
        extents_clear(ret);
        extents_add_unsorted(ret, read.areas.items, read.areas.count);
    }
    free(read.areas.items);
    return ok || err_wrap(err, "disk %d of '%s'", query->device_key, query->vm.id);
}

bool vim_change_id_split(const char *change_id, char ret_epoch[VIM_EPOCH_BYTES],
                         uint64_t *ret_sequence)
{
    const char *slash = strrchr(change_id, '/');
    if (!slash || slash == change_id || slash - change_id >= VIM_EPOCH_BYTES)
        return false;
    struct err ignored = ERR_INIT;
    if (!text_parse_u64(slash + 1, 0, UINT64_MAX, ret_sequence, &ignored))
        return false;
    memcpy(ret_epoch, change_id, (size_t)(slash - change_id));
    ret_epoch[slash - change_id] = '\0';
    return true;
}
