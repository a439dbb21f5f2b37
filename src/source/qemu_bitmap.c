/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dirty bitmaps as a record of changes that no crash can thin out.
 *
 * A bitmap kedge-C-N is added just before cycle C's instant and records from then on. A
 * change id names it, with the disk's size at that time. During cycle D > C the bitmap of
 * C is disabled (it is exported, and QEMU exports only disabled ones read-only) and the
 * one of D records.
 *
 *  B1 What was written since cycle C's instant is always in the union of C's bitmap and
 *     the later ones: D's is added before C's is disabled; D's is only removed after it
 *     was merged into C's, in the same transaction that enables C's again.
 *  B2 So C's bitmap enabled is whole by itself; disabled it is whole only together with a
 *     later one that is enabled. Disabled with none: a gap, the record is lost.
 *  B3 A bitmap that QEMU marks inconsistent (it was killed, the host lost power) or that
 *     is missing is never trusted, never repaired: removed, and the disk is compared by
 *     content.
 *  B4 Settling is idempotent: whatever part of it was done, doing it again ends in the
 *     same state.
 *
 *  B5 One change leaves no trace here: a disk that is cut and grown back to its old size
 *     between two cycles. QEMU drops the bits of what is cut off and sets none for what
 *     comes back (seen with 7.2), and it keeps no count of resizes. The gateway's check
 *     of the record finds it (gateway/tracking_check.c, tests/fault/resize_unseen.py).
 *
 * What travels with the image is always right for that image: a restored or copied qcow2
 * holds the bitmaps of its own past, and the random part of the name keeps a bitmap of
 * another history from being taken for ours.
 */
#include "source/qemu.h"

#include "base/text.h"

#define OURS_MAX 64

struct bitmap_seen {
    char name[QEMU_NAME_BYTES];
    uint64_t cycle;
    bool is_recording;
    bool is_inconsistent;
    bool is_busy;
};

/* The cycle in kedge-<cycle>-<nonce>; false when the name has another form. */
static bool cycle_of_name(const char *name, uint64_t *ret)
{
    char digits[24];
    struct err ignored = ERR_INIT;
    if (!qemu_is_ours(name))
        return false;
    name += strlen(QEMU_OUR_PREFIX);
    size_t count = strspn(name, "0123456789");
    if (count == 0 || count >= sizeof digits || name[count] != '-')
        return false;
    memcpy(digits, name, count);
    digits[count] = '\0';
    return text_parse_u64(digits, 0, UINT64_MAX, ret, &ignored);
}

bool qemu_change_id_parse(const char *text, struct qemu_change_id *ret, struct err *err)
{
    *ret = (struct qemu_change_id){0};
    if (!text || !text[0])
        return true;
    const char *colon = strchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof ret->bitmap)
        return err_set(err, FAIL_INPUT, "change id '%s' is none of a QEMU source", text);
    memcpy(ret->bitmap, text, (size_t)(colon - text));
    if (!cycle_of_name(ret->bitmap, &ret->cycle))
        return err_set(err, FAIL_INPUT, "change id '%s' is none of a QEMU source", text);
    return text_parse_u64(colon + 1, 0, UINT64_MAX, &ret->disk_bytes, err) ||
           err_wrap(err, "change id '%s'", text);
}

void qemu_change_id_print(const struct qemu_change_id *id, char out[CHANGE_ID_MAX])
{
    (void)snprintf(out, CHANGE_ID_MAX, "%.90s:%llu", id->bitmap,
                   (unsigned long long)id->disk_bytes);
}

static bool read_flag(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

/* The bitmaps of ours on a node. */
static bool list_ours(const struct qemu_inventory *inventory, const char *node,
                      struct bitmap_seen *ret, size_t *ret_count, struct err *err)
{
    const json_t *bitmaps =
        json_object_get(qemu_inventory_node(inventory, node), "dirty-bitmaps");
    const json_t *item;
    size_t i;
    *ret_count = 0;
    json_array_foreach(bitmaps, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (!name || !qemu_is_ours(name))
            continue;
        if (*ret_count == OURS_MAX || strlen(name) >= sizeof ret->name)
            return err_set(err, FAIL_LIMIT,
                           "disk node '%s' has bitmaps '" QEMU_OUR_PREFIX
                           "...' that are not ours; remove them with "
                           "block-dirty-bitmap-remove",
                           node);
        struct bitmap_seen *seen = &ret[(*ret_count)++];
        *seen = (struct bitmap_seen){.is_recording = read_flag(item, "recording"),
                                     .is_inconsistent = read_flag(item, "inconsistent"),
                                     .is_busy = read_flag(item, "busy")};
        text_copy(seen->name, sizeof seen->name, name);
        if (!cycle_of_name(name, &seen->cycle))
            seen->cycle = 0; /* of no cycle: removed like any stray */
    }
    return true;
}

static const struct bitmap_seen *find_seen(const struct bitmap_seen *seen, size_t count,
                                           const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(seen[i].name, name) == 0)
            return &seen[i];
    return NULL;
}

bool qemu_bitmap_is_sound(const struct qemu_inventory *inventory, const char *node,
                          const char *bitmap)
{
    struct bitmap_seen seen[OURS_MAX];
    struct err ignored = ERR_INIT;
    size_t count;
    if (!list_ours(inventory, node, seen, &count, &ignored))
        return false;
    const struct bitmap_seen *found = find_seen(seen, count, bitmap);
    return found && !found->is_inconsistent;
}

static bool remove_bitmap(struct qmp *qmp, const char *node, const char *name,
                          struct err *err)
{
    json_t *arguments = json_object();
    json_put_text(arguments, "node", node);
    json_put_text(arguments, "name", name);
    return qmp_call(qmp, "block-dirty-bitmap-remove", arguments, QEMU_CALL_MS, NULL, err);
}

static void add_action(json_t *actions, const char *type, json_t *data)
{
    json_t *action = json_object();
    json_put_text(action, "type", type);
    json_put_take(action, "data", data);
    (void)json_array_append_new(actions, action); /* fails only without memory */
}

/* B1: enabled again and merged at one instant. `later` are names. */
static bool merge_back(struct qmp *qmp, const char *node, const char *keep, json_t *later,
                       struct err *err)
{
    json_t *actions = json_array(), *enable = json_object(), *merge = json_object();
    json_put_text(enable, "node", node);
    json_put_text(enable, "name", keep);
    add_action(actions, "block-dirty-bitmap-enable", enable);
    json_put_text(merge, "node", node);
    json_put_text(merge, "target", keep);
    json_put_take(merge, "bitmaps", json_incref(later));
    add_action(actions, "block-dirty-bitmap-merge", merge);
    json_t *arguments = json_object();
    json_put_take(arguments, "actions", actions);
    return qmp_call(qmp, "transaction", arguments, QEMU_CALL_MS, NULL, err);
}

/* The names that must be merged into keep; *ret_has_recording: B2. */
static json_t *later_bitmaps(const struct bitmap_seen *seen, size_t count,
                             const struct qemu_change_id *keep, bool *ret_has_recording)
{
    json_t *names = json_array();
    *ret_has_recording = false;
    for (size_t i = 0; i < count; i++) {
        if (seen[i].is_inconsistent || seen[i].cycle < keep->cycle ||
            strcmp(seen[i].name, keep->bitmap) == 0)
            continue;
        *ret_has_recording = *ret_has_recording || seen[i].is_recording;
        (void)json_array_append_new(names, json_string(seen[i].name));
    }
    return names;
}

/* What can be said of keep's record before anything is done; why is set when lost. */
static bool record_is_whole(const struct qemu_disk *disk, const struct bitmap_seen *found,
                            const struct qemu_change_id *keep, bool has_later_recording,
                            char why[200])
{
    unsigned long long cycle = keep->cycle;
    if (!keep->bitmap[0])
        (void)snprintf(why, 200, "no earlier cycle");
    else if (!found && !disk->keeps_bitmaps)
        (void)snprintf(why, 200,
                       "the change record of cycle %llu ended with the QEMU process: "
                       "format '%s' cannot keep it",
                       cycle, disk->format);
    else if (!found)
        (void)snprintf(why, 200,
                       "the change record of cycle %llu is missing: the image was "
                       "replaced, or QEMU was killed before it stored it",
                       cycle);
    else if (found->is_inconsistent)
        (void)snprintf(why, 200,
                       "the change record of cycle %llu is inconsistent: QEMU was killed "
                       "or the host lost power",
                       cycle);
    else if (!found->is_recording && !has_later_recording)
        (void)snprintf(why, 200, "the change record of cycle %llu has a gap", cycle);
    else
        return true;
    return false;
}

bool qemu_bitmaps_settle(struct qmp *qmp, const struct qemu_inventory *inventory,
                         const struct qemu_disk *disk, const struct qemu_change_id *keep,
                         bool *ret_is_whole, char why[200], struct err *err)
{
    struct bitmap_seen seen[OURS_MAX];
    size_t count;
    bool has_recording;
    if (!list_ours(inventory, disk->node, seen, &count, err))
        return false;
    const struct bitmap_seen *found = find_seen(seen, count, keep->bitmap);
    AUTO(json_free) json_t *later = later_bitmaps(seen, count, keep, &has_recording);
    *ret_is_whole = record_is_whole(disk, found, keep, has_recording, why);
    for (size_t i = 0; i < count; i++)
        if (seen[i].is_busy)
            return err_set(err, FAIL_CONFLICT,
                           "disk '%s': bitmap '%s' is in use by another client of QEMU; "
                           "end its job or export first",
                           disk->key, seen[i].name);
    if (*ret_is_whole && !found->is_recording &&
        !merge_back(qmp, disk->node, keep->bitmap, later, err))
        return err_wrap(err, "disk '%s'", disk->key);
    for (size_t i = 0; i < count; i++) {
        if (*ret_is_whole && &seen[i] == found)
            continue;
        if (!remove_bitmap(qmp, disk->node, seen[i].name, err))
            return err_wrap(err, "disk '%s'", disk->key);
    }
    return true;
}
