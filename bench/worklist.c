/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns "the whole image" or a text file of changed extents into units with a mask of 4
 * KiB cells. Extents must be ascending; one that is not aligned to 4 KiB is widened to
 * it.
 */
#include "worklist.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

bool mask_next_run(const struct mask *mask, size_t from, size_t cells, size_t *ret_start,
                   size_t *ret_end)
{
    while (from < cells && !mask_has(mask, from))
        from++;
    *ret_start = from;
    while (from < cells && mask_has(mask, from))
        from++;
    *ret_end = from;
    return *ret_start < *ret_end;
}

size_t mask_count(const struct mask *mask)
{
    size_t count = 0;

    for (size_t i = 0; i < UNIT_MAX_CELLS / 64; i++)
        count += (size_t)__builtin_popcountll(mask->bits[i]);
    return count;
}

static void item_append(struct worklist *list, uint64_t offset_bytes)
{
    if ((list->item_count & (list->item_count - 1)) == 0) {
        size_t cap = list->item_count == 0 ? 1 : list->item_count * 2;
        list->items = realloc(list->items, cap * sizeof(*list->items));
        if (list->items == NULL)
            die("allocate the work list");
    }
    list->items[list->item_count++] = (struct item){.offset_bytes = offset_bytes};
}

static void extent_add(struct worklist *list, uint64_t start, uint64_t end)
{
    uint64_t unit = list->unit_bytes;

    for (uint64_t at = start; at < end; at += CELL_BYTES) {
        uint64_t offset = at - at % unit;
        if (list->item_count == 0 ||
            list->items[list->item_count - 1].offset_bytes != offset)
            item_append(list, offset);
        mask_add(&list->items[list->item_count - 1].mask,
                 (size_t)(at % unit) / CELL_BYTES);
    }
}

static void extents_read(struct worklist *list, const char *path, uint64_t image_bytes)
{
    FILE *file = fopen(path, "re");
    uint64_t start, length;
    uint64_t last_end = 0;
    int fields;

    if (file == NULL)
        die("open '%s'", path);
    while ((fields = fscanf(file, "%" SCNu64 " %" SCNu64, &start, &length)) == 2) {
        if (start < last_end || start > image_bytes || length > image_bytes - start)
            die("'%s': extent %" PRIu64 " %" PRIu64 " overlaps or is outside the image",
                path, start, length);
        last_end = start + length;
        extent_add(list, start - start % CELL_BYTES,
                   (last_end + CELL_BYTES - 1) / CELL_BYTES * CELL_BYTES);
    }
    if (fields != EOF)
        die("'%s': expected 'offset length' in bytes on each line", path);
    fclose(file);
}

void worklist_init(struct worklist *list, uint64_t image_bytes, size_t unit_bytes,
                   const char *extents_path)
{
    *list = (struct worklist){.unit_bytes = unit_bytes, .has_map = extents_path != NULL};
    if (image_bytes == 0 || image_bytes % CELL_BYTES != 0)
        die("the image's size is no multiple of 4 KiB");
    if (extents_path != NULL)
        extents_read(list, extents_path, image_bytes);
    else
        extent_add(list, 0, image_bytes);
    list->group_first = calloc(list->item_count + 1, sizeof(*list->group_first));
    if (list->group_first == NULL)
        die("allocate the work list");
    for (size_t i = 0; i < list->item_count; i++)
        if (i == 0 || list->items[i].offset_bytes / GROUP_BYTES !=
                          list->items[i - 1].offset_bytes / GROUP_BYTES)
            list->group_first[list->group_count++] = i;
    list->group_first[list->group_count] = list->item_count;
}

void worklist_release(struct worklist *list)
{
    free(list->items);
    free(list->group_first);
}
