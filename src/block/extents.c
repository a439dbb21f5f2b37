/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Canonical sets of byte ranges in one array.
 *
 * X1  items[i].start < items[i].end < items[i + 1].start: sorted, disjoint, not touching.
 * X2  Set operations are single linear merges that append to the result, so that X1 holds
 *     after each step; nothing is sorted but the input of extents_add_unsorted.
 * X3  Adding behind or into the last item is O(1): the order in which change tracking and
 *     read-ahead deliver.
 */
#include "block/extents.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void extents_release(struct extents *set)
{
    free(set->items);
    *set = (struct extents){0};
}

void extents_clear(struct extents *set)
{
    set->count = 0;
}

static void reserve(struct extents *set, size_t count)
{
    if (count <= set->cap)
        return;
    size_t cap = MAX_OF(count, set->cap ? set->cap * 2 : 16);
    set->items = xrealloc(set->items, cap, sizeof *set->items);
    set->cap = cap;
}

/* Needs start >= start of the last item. */
static void append(struct extents *set, uint64_t start_bytes, uint64_t end_bytes)
{
    if (set->count && set->items[set->count - 1].end_bytes >= start_bytes) {
        struct extent *last = &set->items[set->count - 1];
        last->end_bytes = MAX_OF(last->end_bytes, end_bytes);
        return;
    }
    reserve(set, set->count + 1);
    set->items[set->count++] = (struct extent){start_bytes, end_bytes};
}

/* First item whose end >= offset (touching counts). */
static size_t find_touching(const struct extents *set, uint64_t offset_bytes)
{
    size_t low = 0;
    size_t high = set->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (set->items[mid].end_bytes < offset_bytes)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

void extents_add(struct extents *set, uint64_t start_bytes, uint64_t end_bytes)
{
    assert(start_bytes <= end_bytes);
    if (start_bytes == end_bytes)
        return;
    if (!set->count || start_bytes >= set->items[set->count - 1].start_bytes) {
        append(set, start_bytes, end_bytes);
        return;
    }
    size_t first = find_touching(set, start_bytes);
    size_t after = first;
    while (after < set->count && set->items[after].start_bytes <= end_bytes) {
        start_bytes = MIN_OF(start_bytes, set->items[after].start_bytes);
        end_bytes = MAX_OF(end_bytes, set->items[after].end_bytes);
        after++;
    }
    if (first == after)
        reserve(set, set->count + 1);
    memmove(set->items + first + 1, set->items + after,
            (set->count - after) * sizeof *set->items);
    set->count = set->count - (after - first) + 1;
    set->items[first] = (struct extent){start_bytes, end_bytes};
}

static int by_start(const void *a, const void *b)
{
    uint64_t left = ((const struct extent *)a)->start_bytes;
    uint64_t right = ((const struct extent *)b)->start_bytes;
    return (left > right) - (left < right);
}

static bool is_ascending(const struct extent *items, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (items[i].start_bytes < items[i - 1].start_bytes)
            return false;
    return true;
}

static void add_ascending(struct extents *set, const struct extent *items, size_t count)
{
    struct extents sorted = {0};
    struct extents merged = {0};
    bool behind = !set->count || (count && items[0].start_bytes >=
                                               set->items[set->count - 1].start_bytes);
    struct extents *to = behind ? set : &sorted;
    for (size_t i = 0; i < count; i++) {
        assert(items[i].start_bytes <= items[i].end_bytes);
        if (items[i].start_bytes < items[i].end_bytes)
            append(to, items[i].start_bytes, items[i].end_bytes);
    }
    if (behind)
        return;
    extents_union(set, &sorted, &merged);
    extents_release(&sorted);
    extents_release(set);
    *set = merged;
}

void extents_add_unsorted(struct extents *set, const struct extent *items, size_t count)
{
    if (is_ascending(items, count)) {
        add_ascending(set, items, count);
        return;
    }
    AUTO(free) struct extent *copy = xcalloc(count, sizeof *copy);
    memcpy(copy, items, count * sizeof *copy);
    qsort(copy, count, sizeof *copy, by_start);
    add_ascending(set, copy, count);
}

void extents_copy(struct extents *to, const struct extents *from)
{
    if (to == from)
        return;
    reserve(to, from->count);
    if (from->count)
        memcpy(to->items, from->items, from->count * sizeof *to->items);
    to->count = from->count;
}

void extents_union(const struct extents *a, const struct extents *b, struct extents *ret)
{
    assert(ret != a && ret != b);
    ret->count = 0;
    reserve(ret, MAX_OF(a->count, b->count));
    size_t i = 0;
    size_t j = 0;
    while (i < a->count || j < b->count) {
        bool take_a = j == b->count || (i < a->count && a->items[i].start_bytes <=
                                                            b->items[j].start_bytes);
        const struct extent *next = take_a ? &a->items[i++] : &b->items[j++];
        append(ret, next->start_bytes, next->end_bytes);
    }
}

void extents_intersect(const struct extents *a, const struct extents *b,
                       struct extents *ret)
{
    assert(ret != a && ret != b);
    ret->count = 0;
    size_t i = 0;
    size_t j = 0;
    while (i < a->count && j < b->count) {
        uint64_t start = MAX_OF(a->items[i].start_bytes, b->items[j].start_bytes);
        uint64_t end = MIN_OF(a->items[i].end_bytes, b->items[j].end_bytes);
        if (start < end)
            append(ret, start, end);
        if (a->items[i].end_bytes <= b->items[j].end_bytes)
            i++;
        else
            j++;
    }
}

void extents_subtract(const struct extents *a, const struct extents *b,
                      struct extents *ret)
{
    assert(ret != a && ret != b);
    ret->count = 0;
    size_t j = 0;
    for (size_t i = 0; i < a->count; i++) {
        uint64_t start = a->items[i].start_bytes;
        uint64_t end = a->items[i].end_bytes;
        while (j < b->count && b->items[j].end_bytes <= start)
            j++;
        while (j < b->count && b->items[j].start_bytes < end && start < end) {
            if (b->items[j].start_bytes > start)
                append(ret, start, b->items[j].start_bytes);
            start = b->items[j].end_bytes;
            if (start < end)
                j++; /* an item of b that reaches beyond may cut the next of a too */
        }
        if (start < end)
            append(ret, start, end);
    }
}

void extents_coarsen(struct extents *set, uint64_t unit_bytes, uint64_t limit_bytes)
{
    assert(unit_bytes && (unit_bytes & (unit_bytes - 1)) == 0);
    size_t count = set->count;
    set->count = 0; /* the result is never longer than what was read: in place */
    for (size_t i = 0; i < count; i++) {
        uint64_t start = round_down(set->items[i].start_bytes, unit_bytes);
        uint64_t end = set->items[i].end_bytes;
        end =
            end > UINT64_MAX - (unit_bytes - 1) ? UINT64_MAX : round_up(end, unit_bytes);
        end = MIN_OF(end, limit_bytes);
        if (start < end)
            append(set, start, end);
    }
}

void extents_clip(struct extents *set, uint64_t limit_bytes)
{
    size_t keep = extents_find(set, limit_bytes);
    if (keep < set->count && set->items[keep].start_bytes < limit_bytes) {
        set->items[keep].end_bytes = limit_bytes;
        keep++;
    }
    set->count = keep;
}

void extents_close_gaps(struct extents *set, uint64_t gap_bytes)
{
    size_t count = set->count;
    set->count = 0;
    for (size_t i = 0; i < count; i++) {
        struct extent next = set->items[i];
        struct extent *last = set->count ? &set->items[set->count - 1] : NULL;
        if (last && next.start_bytes - last->end_bytes <= gap_bytes)
            last->end_bytes = next.end_bytes;
        else
            set->items[set->count++] = next;
    }
}

uint64_t extents_total_bytes(const struct extents *set)
{
    uint64_t total = 0;
    for (size_t i = 0; i < set->count; i++)
        total += set->items[i].end_bytes - set->items[i].start_bytes;
    return total;
}

bool extents_equal(const struct extents *a, const struct extents *b)
{
    return a->count == b->count &&
           (!a->count || memcmp(a->items, b->items, a->count * sizeof *a->items) == 0);
}

bool extents_contain(const struct extents *set, uint64_t start_bytes, uint64_t end_bytes)
{
    if (start_bytes >= end_bytes)
        return true;
    size_t at = extents_find(set, start_bytes);
    return at < set->count && set->items[at].start_bytes <= start_bytes &&
           set->items[at].end_bytes >= end_bytes;
}

size_t extents_find(const struct extents *set, uint64_t offset_bytes)
{
    if (offset_bytes == UINT64_MAX)
        return set->count;
    return find_touching(set, offset_bytes + 1);
}
