/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last steps: the VM out of the replica, forgetting the replication, or stopping it.
 *
 * M1  a migration that was cut short by a crash goes on with the same set, unless the
 *     replica took anything since (is_stale): then what was made is removed and made anew
 *     from what the replica holds now;
 * M2  one that was refused is taken back as a whole, the VM first: while it may exist the
 *     layout says so, and nothing else may use the replica. Only an upload that was ended
 *     cannot be taken back: then the migration can only be asked for again;
 * M3  complete makes the VM an ordinary one (none of our tags) before it removes the
 *     replica, and the layout after that.
 */
#include "target/azure_target.h"

#include "base/log.h"
#include "base/text.h"

static bool has_sealed(const struct azure_layout *layout)
{
    for (size_t i = 0; i < layout->machine.disk_count; i++)
        if (layout->disks[i].is_sealed)
            return true;
    return false;
}

static bool check_migrate(struct azure *azure, const struct azure_layout *layout,
                          struct err *err)
{
    const char *name = layout->machine.name;
    if (layout->test_count)
        return err_set(err, FAIL_CONFLICT,
                       "machine '%s' has test '%s'; clean up its tests first", name,
                       layout->tests[0].test);
    if (azure_is_open(azure, &layout->machine, false))
        return err_set(
            err, FAIL_CONFLICT,
            "a disk of machine '%s' is open; try again when the cycle or check "
            "is done",
            name);
    for (size_t i = 0; i < layout->machine.disk_count; i++)
        if (!layout->disks[i].is_made)
            return err_set(err, FAIL_CONFLICT,
                           "the replica of machine '%s' is not made yet", name);
    return true;
}

/* M1: the set to go on with, or a new one. */
static bool begin_set(struct azure *azure, struct azure_layout *layout,
                      const struct azure_wish *wish, struct err *err)
{
    struct azure_set *set = &layout->vm;
    bool is_useless =
        layout->has_vm && (set->stage == AZURE_LEAVING ||
                           (set->is_stale && !azure_layout_is_migrated(layout)));
    if (is_useless && !azure_set_remove(azure, layout, set, err))
        return false;
    if (layout->has_vm)
        return true;
    if (!azure_set_name(azure, layout, wish, "", set, err))
        return false;
    layout->has_vm = true;
    return azure_save(azure, layout, err);
}

/* M2. The first failure is the one to tell. */
static void take_back(struct azure *azure, struct azure_layout *layout)
{
    struct azure_set *set = &layout->vm;
    char role[AZURE_ROLE_BYTES];
    struct err why = ERR_INIT;
    bool ok = azure_item_remove(azure, AZURE_ITEM_VM, set->vm_id, &layout->machine.id,
                                azure_set_role(set, role), &why);
    if (ok && has_sealed(layout)) {
        if (set->stage == AZURE_STARTING)
            set->stage = AZURE_FROZEN;
        ok = azure_save(azure, layout, &why);
    } else if (ok)
        ok = azure_set_remove(azure, layout, set, &why);
    if (!ok)
        log_debug("vm_left", "vm=%s text=\"%s\"", arm_id_name(set->vm_id), why.text);
}

static void describe(const struct azure_layout *layout, struct vm_info *info)
{
    text_copy(info->name, sizeof info->name, arm_id_name(layout->vm.vm_id));
    info->disk_count = layout->machine.disk_count;
    for (size_t i = 0; i < info->disk_count; i++)
        text_copy(info->disk_paths[i], sizeof info->disk_paths[i],
                  layout->vm.disk_ids[i]);
}

static bool migrate_held(struct azure_build *build, const struct machine_def *machine,
                         bool start, struct vm_info *info, char vm_id[ARM_ID_BYTES],
                         struct err *err)
{
    struct azure *azure = build->azure;
    AZURE_HOLD(azure, machine);
    AUTO(azure_layout_free)
    struct azure_layout *layout = azure_open_layout(azure, machine, err);
    if (!layout || !check_migrate(azure, layout, err) ||
        !begin_set(azure, layout, build->wish, err))
        return false;
    build->layout = layout;
    build->set = &layout->vm;
    describe(layout, info);
    text_copy(vm_id, ARM_ID_BYTES, layout->vm.vm_id);
    if (layout->vm.stage == AZURE_RUNS ||
        (azure_set_freeze(build, err) && azure_set_make(build, start, err)))
        return true;
    take_back(azure, layout);
    if (has_sealed(layout))
        (void)err_hint(err, "migrate again: the upload of a disk was ended and can't be "
                            "taken up");
    return err_wrap(err, "VM '%s'", info->name);
}

bool azure_migrate(struct target *target, const struct machine_def *machine,
                   const struct test_options *options, const struct cancel *cancel,
                   struct vm_info *ret, struct err *err)
{
    struct azure *azure = (struct azure *)target;
    char size[AZURE_SIZE_BYTES];
    char vm_id[ARM_ID_BYTES];
    AUTO(free) struct vm_info *info = xcalloc(1, sizeof *info);
    if (!azure_check_machine(machine, err))
        return false;
    AUTO(free) struct azure_wish *wish = azure_wish_read(&azure->options, machine, err);
    if (!wish || !azure_size_name(azure, wish, machine, size, err))
        return false;
    struct azure_build build = {.azure = azure, .wish = wish, .cancel = cancel};
    text_copy(build.size, sizeof build.size, size);
    if (!migrate_held(&build, machine, options->start, info, vm_id, err) ||
        (options->start &&
         !azure_prove(azure, machine, vm_id, options, cancel, info, err)))
        return false;
    *ret = *info;
    return true;
}

/* ---- afterwards ---- */

/* M3. What is gone by now was removed by its owner. */
static bool set_free(struct azure *azure, enum azure_item item, const char *id,
                     const struct azure_tags *tags, struct err *err)
{
    struct err why = ERR_INIT;
    if (azure_tags_replace(azure->arm, item, id, tags, &why) || why.kind == FAIL_GONE)
        return true;
    *err = why;
    return false;
}

static bool release_vm(struct azure *azure, const struct azure_layout *layout,
                       const struct azure_wish *wish, struct err *err)
{
    const struct azure_set *set = &layout->vm;
    struct azure_tags tags = azure_tags_of(azure, &layout->machine.id, NULL, wish, NULL);
    for (size_t i = 0; i < layout->machine.disk_count; i++)
        if (!set_free(azure, AZURE_ITEM_DISK, set->disk_ids[i], &tags, err))
            return false;
    for (size_t i = 0; i < set->nic_count; i++)
        if (!set_free(azure, AZURE_ITEM_NIC, set->nic_ids[i], &tags, err))
            return false;
    return set_free(azure, AZURE_ITEM_VM, set->vm_id, &tags, err);
}

/* The replica's own blobs; an upload is the VM's disk now. */
static bool drop_blobs(struct azure *azure, const struct azure_layout *layout,
                       struct err *err)
{
    for (size_t i = 0; i < layout->machine.disk_count; i++) {
        char name[AZURE_BLOB_BYTES];
        if (layout->disks[i].kind == AZURE_UPLOAD)
            continue;
        AUTO(page_blob_close)
        struct page_blob *blob =
            page_blob_open(azure->container, azure_blob_name(layout, i, name), err);
        if (!blob || !page_blob_remove(blob, err))
            return false;
    }
    return true;
}

bool azure_complete(struct target *target, const struct machine_def *machine,
                    struct err *err)
{
    struct azure *azure = (struct azure *)target;
    struct err why = ERR_INIT;
    if (!azure_check_machine(machine, err))
        return false;
    AUTO(free) struct azure_wish *wish = azure_wish_read(&azure->options, machine, err);
    if (!wish)
        return false;
    AZURE_HOLD(azure, machine);
    AUTO(azure_layout_free)
    struct azure_layout *layout = azure_open_layout(azure, machine, &why);
    if (!layout && why.kind == FAIL_GONE)
        return true; /* the layout is the last to go: all was done */
    if (!layout) {
        *err = why;
        return false;
    }
    if (!layout->has_vm || layout->vm.stage != AZURE_RUNS)
        return err_set(err, FAIL_CONFLICT,
                       "machine '%s' was not migrated; migrate it before completing",
                       machine->name);
    return release_vm(azure, layout, wish, err) && drop_blobs(azure, layout, err) &&
           azure_layout_remove(azure->container, layout, err);
}

bool azure_remove(struct target *target, const struct machine_def *machine,
                  struct err *err)
{
    struct azure *azure = (struct azure *)target;
    struct err why = ERR_INIT;
    if (!azure_check_machine(machine, err))
        return false;
    AZURE_HOLD(azure, machine);
    AUTO(azure_layout_free)
    struct azure_layout *layout = azure_open_layout(azure, machine, &why);
    if (!layout && why.kind == FAIL_GONE)
        return true;
    if (!layout) {
        *err = why;
        return false;
    }
    if (azure_layout_is_migrated(layout))
        return err_set(err, FAIL_CONFLICT,
                       "machine '%s' was migrated: its disks belong to the VM",
                       machine->name);
    if (azure_is_open(azure, machine, false))
        return err_set(err, FAIL_CONFLICT,
                       "a disk of machine '%s' is open; stop its cycle", machine->name);
    while (layout->test_count)
        if (!azure_set_remove(azure, layout, &layout->tests[0], err))
            return false;
    return (!layout->has_vm || azure_set_remove(azure, layout, &layout->vm, err)) &&
           azure_remove_replicas(azure, layout, err) &&
           azure_layout_remove(azure->container, layout, err);
}
