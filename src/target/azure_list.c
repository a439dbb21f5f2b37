/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What there is: machines by their layouts; and one by one what a bill names, by what the
 * storage account and the resource group themselves list, so that it shows also what no
 * layout knows. Changes nothing and needs no hold: a layout is replaced as a whole.
 */
#include "target/azure_target.h"

#include "azure/page_list.h"
#include "base/log.h"
#include "base/text.h"

#include <strings.h>

/* ---- machines ---- */

struct ids {
    struct id *items;
    size_t count, cap;
};

static bool note_folder(void *ctx, const char *name, uint64_t bytes, struct err *err)
{
    struct ids *ids = ctx;
    char text[ID_TEXT_BYTES];
    struct id id;
    struct err no_id = ERR_INIT;
    (void)bytes;
    (void)err;
    if (strlen(name) != ID_TEXT_BYTES || name[ID_TEXT_BYTES - 1] != '/')
        return true;
    text_copy(text, sizeof text, name);
    if (!id_parse(text, &id, &no_id))
        return true; /* somebody else's */
    if (ids->count == ids->cap) {
        ids->cap = ids->cap ? 2 * ids->cap : 16;
        ids->items = xrealloc(ids->items, ids->cap, sizeof *ids->items);
    }
    ids->items[ids->count++] = id;
    return true;
}

static bool list_one(const struct azure_layout *layout, target_each each, void *ctx,
                     struct err *err)
{
    struct target_item item = {.machine = &layout->machine,
                               .is_migrated = azure_layout_is_migrated(layout)};
    if (!each(ctx, &item, err))
        return false;
    for (size_t i = 0; i < layout->test_count; i++) {
        item.test_name = layout->tests[i].test;
        if (!each(ctx, &item, err))
            return false;
    }
    return true;
}

bool azure_list(struct target *target, target_each each, void *ctx, struct err *err)
{
    struct azure *azure = (struct azure *)target;
    struct ids ids = {0};
    struct blob_list_options options = {.prefix = "", .by_folder = true};
    bool ok = blob_list(azure->container, &options, note_folder, &ids, err);
    for (size_t i = 0; ok && i < ids.count; i++) {
        char text[ID_TEXT_BYTES];
        struct err why = ERR_INIT;
        AUTO(azure_layout_free)
        struct azure_layout *layout = azure_layout_read(
            azure->container, &ids.items[i], id_text(&ids.items[i], text), &why);
        if (layout)
            ok = list_one(layout, each, ctx, err);
        else if (why.kind != FAIL_GONE)
            log_debug("layout_not_read", "text=\"%s\"", why.text);
    }
    free(ids.items);
    return ok;
}

/* ---- things ---- */

struct inventory {
    struct azure *azure;
    target_each_thing each;
    void *ctx;
    struct azure_layout *layout; /* of the machine looked at last; NULL: it has none */
    char machine[ID_TEXT_BYTES]; /* its id */
};

/* The layout of that machine, NULL when there is none. */
static bool turn_to(struct inventory *inventory, const char *machine, struct err *err)
{
    struct id id;
    struct err why = ERR_INIT;
    if (strcmp(inventory->machine, machine) == 0)
        return true;
    azure_layout_free(inventory->layout);
    inventory->layout = NULL;
    text_copy(inventory->machine, sizeof inventory->machine, machine);
    if (!id_parse(machine, &id, &why))
        return true;
    inventory->layout =
        azure_layout_read(inventory->azure->container, &id, machine, &why);
    if (inventory->layout || why.kind == FAIL_GONE || why.kind == FAIL_CORRUPT)
        return true;
    *err = why;
    return false;
}

static bool tell(struct inventory *inventory, struct target_thing *thing, struct err *err)
{
    thing->machine_id = inventory->machine;
    thing->machine = inventory->layout ? inventory->layout->machine.name : "";
    return inventory->each(inventory->ctx, thing, err);
}

/* The set whose snapshot it is; NULL: nobody's. One that is still to be written down is
 * of the set that is being made. */
static const struct azure_set *set_of_snapshot(const struct azure_layout *layout,
                                               size_t disk, const char *snapshot)
{
    if (layout->has_vm && strcmp(layout->vm.snapshots[disk], snapshot) == 0)
        return &layout->vm;
    for (size_t i = 0; i < layout->test_count; i++)
        if (strcmp(layout->tests[i].snapshots[disk], snapshot) == 0)
            return &layout->tests[i];
    for (size_t i = 0; i < layout->test_count; i++)
        if (layout->tests[i].stage == AZURE_NAMED)
            return &layout->tests[i];
    return layout->has_vm && layout->vm.stage == AZURE_NAMED ? &layout->vm : NULL;
}

static bool tell_snapshot(struct inventory *inventory, const struct page_listed *listed,
                          size_t disk, struct err *err)
{
    char role[AZURE_ROLE_BYTES];
    AUTO(buf_release) struct buf id = {0};
    const struct azure_set *set =
        inventory->layout ? set_of_snapshot(inventory->layout, disk, listed->snapshot)
                          : NULL;
    buf_printf(&id, "%s?snapshot=%s", listed->name, listed->snapshot);
    struct target_thing thing = {.kind = "snapshot",
                                 .name = listed->name,
                                 .id = buf_text(&id),
                                 .role = set ? azure_set_role(set, role) : "",
                                 .state = "",
                                 .size_bytes = listed->bytes,
                                 .is_known = set != NULL};
    return tell(inventory, &thing, err);
}

static bool tell_page_blob(struct inventory *inventory, const struct page_listed *listed,
                           bool is_known, struct err *err)
{
    AUTO(extents_release) struct extents stored = {0};
    AUTO(page_blob_close)
    struct page_blob *blob =
        page_blob_open(inventory->azure->container, listed->name, err);
    if (!blob || !page_blob_ranges(blob, &stored, err))
        return false;
    struct target_thing thing = {.kind = "page blob",
                                 .name = listed->name,
                                 .id = listed->name,
                                 .role = "replica",
                                 .state = "",
                                 .size_bytes = listed->bytes,
                                 .allocated_bytes = extents_total_bytes(&stored),
                                 .is_known = is_known};
    return tell(inventory, &thing, err);
}

static bool look_at_blob(void *ctx, const struct page_listed *listed, struct err *err)
{
    struct inventory *inventory = ctx;
    char machine[ID_TEXT_BYTES], own[AZURE_BLOB_BYTES];
    struct id id;
    struct err no_id = ERR_INIT;
    if (strlen(listed->name) <= ID_TEXT_BYTES || listed->name[ID_TEXT_BYTES - 1] != '/')
        return true;
    text_copy(machine, sizeof machine, listed->name);
    if (!id_parse(machine, &id, &no_id))
        return true; /* somebody else's */
    if (!turn_to(inventory, machine, err))
        return false;
    const struct azure_layout *layout = inventory->layout;
    size_t count = layout ? layout->machine.disk_count : 0, disk = 0;
    while (disk < count &&
           (layout->disks[disk].kind != AZURE_PAGE_BLOB ||
            strcmp(azure_blob_name(layout, disk, own), listed->name) != 0))
        disk++;
    if (listed->snapshot[0])
        return tell_snapshot(inventory, listed, disk < count ? disk : 0, err);
    if (listed->is_page_blob)
        return tell_page_blob(inventory, listed, disk < count, err);
    struct target_thing thing = {
        .kind = "blob",
        .name = listed->name,
        .id = listed->name,
        .role = "layout",
        .state = "",
        .size_bytes = listed->bytes,
        .is_known = layout && strcmp(azure_layout_name(&id, own), listed->name) == 0,
    };
    return tell(inventory, &thing, err);
}

static bool set_names(const struct azure_set *set, size_t disk_count, const char *id)
{
    if (arm_id_is_same(set->vm_id, id))
        return true;
    for (size_t i = 0; i < disk_count; i++)
        if (arm_id_is_same(set->disk_ids[i], id))
            return true;
    for (size_t i = 0; i < set->nic_count; i++)
        if (arm_id_is_same(set->nic_ids[i], id))
            return true;
    return false;
}

static bool layout_names(const struct azure_layout *layout, const char *id)
{
    if (!layout)
        return false;
    size_t disk_count = layout->machine.disk_count;
    for (size_t i = 0; i < disk_count; i++)
        if (layout->disks[i].kind == AZURE_UPLOAD &&
            arm_id_is_same(layout->disks[i].upload_id, id))
            return true;
    for (size_t i = 0; i < layout->test_count; i++)
        if (set_names(&layout->tests[i], disk_count, id))
            return true;
    return layout->has_vm && set_names(&layout->vm, disk_count, id);
}

static const char *tag_of(const struct azure_resource *resource, const char *tag)
{
    const char *value = json_string_value(json_object_get(resource->tags, tag));
    return value ? value : "";
}

/* Size and state; what went meanwhile has none. */
static bool fill_in(struct inventory *inventory, struct target_thing *thing,
                    struct azure_disk_info *disk, struct azure_vm_info *vm,
                    struct err *err)
{
    struct arm *arm = inventory->azure->arm;
    struct err why = ERR_INIT;
    bool ok = true;
    thing->state = "";
    if (strcmp(thing->kind, "disk") == 0) {
        ok = azure_disk_get(arm, thing->id, disk, &why);
        thing->state = disk->state;
        thing->size_bytes = disk->bytes;
    } else if (strcmp(thing->kind, "vm") == 0) {
        ok = azure_vm_get(arm, thing->id, vm, &why);
        thing->state = vm->power[0] ? vm->power : vm->provisioning;
    }
    if (!ok && why.kind != FAIL_GONE)
        *err = why;
    return ok || why.kind == FAIL_GONE;
}

static bool look_at_resource(void *ctx, const struct azure_resource *resource,
                             struct err *err)
{
    static const struct {
        const char *type, *kind;
    } KINDS[] = {{DISKS_TYPE, "disk"}, {NICS_TYPE, "nic"}, {VMS_TYPE, "vm"}};
    struct inventory *inventory = ctx;
    struct azure_disk_info disk = {0};
    struct azure_vm_info vm = {0};
    const char *kind = "other";
    if (!turn_to(inventory, tag_of(resource, TAG_MACHINE), err))
        return false;
    if (!inventory->layout &&
        strcmp(tag_of(resource, TAG_TARGET), inventory->azure->options.name) != 0)
        return true; /* another target's in the same group */
    for (size_t i = 0; i < ARRAY_COUNT(KINDS); i++)
        if (strcasecmp(KINDS[i].type, resource->type) == 0)
            kind = KINDS[i].kind;
    struct target_thing thing = {.kind = kind,
                                 .name = arm_id_name(resource->id),
                                 .id = resource->id,
                                 .role = tag_of(resource, TAG_ROLE),
                                 .is_known =
                                     layout_names(inventory->layout, resource->id)};
    return fill_in(inventory, &thing, &disk, &vm, err) && tell(inventory, &thing, err);
}

bool azure_inventory(struct target *target, target_each_thing each, void *ctx,
                     struct err *err)
{
    struct azure *azure = (struct azure *)target;
    struct inventory inventory = {.azure = azure, .each = each, .ctx = ctx};
    bool ok = page_list(azure->container, "", look_at_blob, &inventory, err) &&
              azure_resources_list(azure->arm, azure->options.resource_group, TAG_MACHINE,
                                   look_at_resource, &inventory, err);
    azure_layout_free(inventory.layout);
    return ok;
}
