/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM in Azure with all that is made for it: named, made part by part, removed.
 *
 * S1  no part is made before the saved layout names it (L1 of azure_layout.h);
 * S2  STARTING is saved before the migrated VM is asked for: from there on it may have
 *     run. A test's parts are made without a hold on the machine, so its set stays FROZEN
 *     in the layout;
 * S3  making what is there with our tags is success, so a set that was cut short is made
 *     on from any point;
 * S4  the disks are imported side by side: an import takes minutes at the service, and
 *     the machine is down meanwhile;
 * S5  a resource is removed only if it carries our tags for this machine and role: a name
 *     in a set that turned out to be somebody else's is left alone.
 * An upload that became the VM's disk is no part of the set: it is the replica.
 */
#include "target/azure_target.h"

#include "azure/page_list.h"
#include "base/fault.h"
#include "base/text.h"
#include "target/azure_names.h"

#include <pthread.h>
#include <stdatomic.h>

#define IMPORTS_AT_ONCE ((size_t)8)

const char *azure_set_role(const struct azure_set *set, char out[AZURE_ROLE_BYTES])
{
    (void)snprintf(out, AZURE_ROLE_BYTES, set->test[0] ? "test-%s" : "vm%s", set->test);
    return out;
}

static bool is_upload(const struct azure_layout *layout, const struct azure_set *set,
                      size_t at)
{
    return layout->disks[at].kind == AZURE_UPLOAD &&
           arm_id_is_same(layout->disks[at].upload_id, set->disk_ids[at]);
}

/* ---- names ---- */

bool azure_set_name(struct azure *azure, const struct azure_layout *layout,
                    const struct azure_wish *wish, const char *test,
                    struct azure_set *ret, struct err *err)
{
    const struct machine_def *machine = &layout->machine;
    const char *group = azure->options.resource_group;
    char vm[AZURE_NAME_BYTES], name[AZURE_NAME_BYTES];
    *ret = (struct azure_set){.nic_count = MAX_OF(machine->nic_count, (size_t)1)};
    text_copy(ret->test, sizeof ret->test, test);
    if (*test)
        azure_name_test(wish->vm_name, test, vm);
    else
        text_copy(vm, sizeof vm, wish->vm_name);
    if (!arm_id(azure->arm, group, VMS_TYPE, vm, ret->vm_id, err))
        return false;
    for (size_t i = 0; i < machine->disk_count; i++) {
        azure_name_part(vm, "disk", i, name);
        if (layout->disks[i].kind == AZURE_UPLOAD)
            text_copy(ret->disk_ids[i], ARM_ID_BYTES, layout->disks[i].upload_id);
        else if (!arm_id(azure->arm, group, DISKS_TYPE, name, ret->disk_ids[i], err))
            return false;
    }
    for (size_t i = 0; i < ret->nic_count; i++) {
        azure_name_part(vm, "nic", i, name);
        if (!arm_id(azure->arm, group, NICS_TYPE, name, ret->nic_ids[i], err))
            return false;
    }
    return true;
}

/* ---- snapshots ---- */

struct sweep {
    struct azure *azure;
    const struct azure_layout *layout;
};

static bool is_named(const struct azure_set *set, const struct page_listed *listed,
                     const struct azure_layout *layout)
{
    for (size_t i = 0; i < layout->machine.disk_count; i++) {
        char name[AZURE_BLOB_BYTES];
        if (strcmp(set->snapshots[i], listed->snapshot) == 0 &&
            strcmp(azure_blob_name(layout, i, name), listed->name) == 0)
            return true;
    }
    return false;
}

static bool sweep_one(void *ctx, const struct page_listed *listed, struct err *err)
{
    const struct sweep *sweep = ctx;
    const struct azure_layout *layout = sweep->layout;
    if (!listed->snapshot[0] || !listed->is_page_blob ||
        (layout->has_vm && is_named(&layout->vm, listed, layout)))
        return true;
    for (size_t i = 0; i < layout->test_count; i++)
        if (is_named(&layout->tests[i], listed, layout))
            return true;
    AUTO(page_blob_close)
    struct page_blob *blob = page_blob_open(sweep->azure->container, listed->name, err);
    return blob && page_blob_snapshot_remove(blob, listed->snapshot, err);
}

bool azure_sweep_snapshots(struct azure *azure, const struct azure_layout *layout,
                           struct err *err)
{
    struct sweep sweep = {azure, layout};
    char prefix[ID_TEXT_BYTES + 1], id[ID_TEXT_BYTES];
    (void)snprintf(prefix, sizeof prefix, "%s/", id_text(&layout->machine.id, id));
    return page_list(azure->container, prefix, sweep_one, &sweep, err) ||
           err_wrap(err, "snapshots of machine '%s'", layout->machine.name);
}

bool azure_set_freeze(struct azure_build *build, struct err *err)
{
    struct azure_layout *layout = build->layout;
    struct azure_set *set = build->set;
    char name[AZURE_BLOB_BYTES];
    if (set->stage != AZURE_NAMED)
        return true;
    if (FAULT(TARGET_BEFORE_CLONE, err))
        return false;
    memset(set->snapshots, 0, sizeof set->snapshots); /* of one instant, or none */
    for (size_t i = 0; i < layout->machine.disk_count; i++) {
        if (layout->disks[i].kind == AZURE_UPLOAD)
            continue;
        AUTO(page_blob_close)
        struct page_blob *blob = page_blob_open(build->azure->container,
                                                azure_blob_name(layout, i, name), err);
        if (!blob || !page_blob_snapshot(blob, set->snapshots[i], err))
            return err_wrap(err, "snapshot of disk %zu of machine '%s'", i,
                            layout->machine.name);
    }
    if (FAULT(TARGET_AFTER_CLONE, err))
        return false;
    set->stage = AZURE_FROZEN;
    return azure_save(build->azure, layout, err) &&
           azure_sweep_snapshots(build->azure, layout, err);
}

/* ---- parts ---- */

static bool make_disk(const struct azure_build *build, size_t at, struct err *err)
{
    const struct azure *azure = build->azure;
    const struct target_azure_options *o = &azure->options;
    const struct machine_def *machine = &build->layout->machine;
    char role[AZURE_ROLE_BYTES], name[AZURE_BLOB_BYTES];
    struct azure_tag_texts texts;
    AUTO(buf_release) struct buf url = {0};
    AUTO(page_blob_close)
    struct page_blob *blob =
        page_blob_open(azure->container, azure_blob_name(build->layout, at, name), err);
    if (!blob)
        return false;
    page_blob_url(blob, build->set->snapshots[at], &url);
    struct azure_disk_make make = {
        .id = build->set->disk_ids[at],
        .location = o->location,
        .sku = build->wish->disks[at].sku,
        .zone = build->wish->zone[0] ? build->wish->zone : NULL,
        .from = AZURE_DISK_IMPORT,
        .source = buf_text(&url),
        .storage_account_id = o->storage_account_id,
        .os_type = at == 0 ? build->wish->os_type : NULL,
        .is_gen2 = machine->firmware == FIRMWARE_UEFI,
        .encryption_set =
            azure_is_given(o->encryption_set_id) ? o->encryption_set_id : NULL,
        .tags = azure_tags_of(azure, &machine->id, azure_set_role(build->set, role),
                              build->wish, &texts),
    };
    return azure_disk_create(azure->arm, &make, build->cancel, err);
}

/* S4 */
struct import_crew {
    const struct azure_build *build;
    _Atomic size_t next; /* disk that nobody has taken yet */
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct err why; /* the first failure; FAIL_NONE: none */
};

static bool has_failed(struct import_crew *crew)
{
    LOCK_GUARD(&crew->lock);
    return crew->why.kind != FAIL_NONE;
}

static void *import_some(void *ctx)
{
    struct import_crew *crew = ctx;
    const struct azure_layout *layout = crew->build->layout;
    while (!has_failed(crew)) {
        struct err why = ERR_INIT;
        size_t at = atomic_fetch_add(&crew->next, 1);
        if (at >= layout->machine.disk_count)
            break;
        if (is_upload(layout, crew->build->set, at) || make_disk(crew->build, at, &why))
            continue;
        LOCK_GUARD(&crew->lock);
        if (crew->why.kind == FAIL_NONE)
            crew->why = why;
    }
    return NULL;
}

/* When it returns, no request of it is under way. */
static bool make_disks(const struct azure_build *build, struct err *err)
{
    struct import_crew crew = {.build = build, .lock = PTHREAD_MUTEX_INITIALIZER};
    size_t wanted = MIN_OF(build->layout->machine.disk_count, IMPORTS_AT_ONCE);
    pthread_t threads[IMPORTS_AT_ONCE];
    size_t started = 0;
    while (started + 1 < wanted &&
           pthread_create(&threads[started], NULL, import_some, &crew) == 0)
        started++;
    (void)import_some(&crew); /* this thread too; alone when there are no others */
    for (size_t i = 0; i < started; i++)
        (void)pthread_join(threads[i], NULL); /* ours, joined once */
    (void)pthread_mutex_destroy(&crew.lock);
    if (crew.why.kind == FAIL_NONE)
        return true;
    *err = crew.why;
    return false;
}

static bool make_nic(const struct azure_build *build, size_t at, struct err *err)
{
    struct azure *azure = build->azure;
    bool is_test = build->set->test[0] != 0;
    const char *ip = is_test ? build->wish->nics[at].test_ip : build->wish->nics[at].ip;
    char subnet[ARM_ID_BYTES], role[AZURE_ROLE_BYTES];
    struct azure_tag_texts texts;
    if (!azure_subnet_of(azure, build->wish, is_test, at, subnet, err))
        return false;
    struct azure_nic_make make = {
        .id = build->set->nic_ids[at],
        .location = azure->options.location,
        .subnet_id = subnet,
        .static_ip = *ip ? ip : NULL,
        .security_group_id = azure_is_given(azure->options.security_group_id)
                                 ? azure->options.security_group_id
                                 : NULL,
        .tags = azure_tags_of(azure, &build->layout->machine.id,
                              azure_set_role(build->set, role), build->wish, &texts),
    };
    return azure_nic_create(azure->arm, &make, build->cancel, err);
}

/* The last thing before the VM: after it the replica takes no more recovery points. */
static bool seal_uploads(const struct azure_build *build, struct err *err)
{
    struct azure_layout *layout = build->layout;
    for (size_t i = 0; i < layout->machine.disk_count; i++) {
        struct azure_layout_disk *disk = &layout->disks[i];
        if (!is_upload(layout, build->set, i))
            continue;
        bool was_sealed = disk->is_sealed;
        disk->is_sealed = true;
        if ((!was_sealed && !azure_save(build->azure, layout, err)) ||
            !azure_disk_revoke(build->azure->arm, disk->upload_id, err))
            return err_wrap(err, "end the upload of disk %zu", i);
    }
    return true;
}

static bool make_vm(const struct azure_build *build, struct err *err)
{
    const struct azure *azure = build->azure;
    const struct target_azure_options *o = &azure->options;
    const struct azure_set *set = build->set;
    char role[AZURE_ROLE_BYTES];
    struct azure_tag_texts texts;
    AUTO(free) struct azure_vm_make *make = xcalloc(1, sizeof *make);
    *make = (struct azure_vm_make){
        .id = set->vm_id,
        .location = o->location,
        .size = build->size,
        .os_type = build->wish->os_type,
        .disk_count = build->layout->machine.disk_count,
        .nic_count = set->nic_count,
        .zone = build->wish->zone[0] ? build->wish->zone : NULL,
        .availability_set_id = azure_is_given(o->availability_set_id) && !set->test[0]
                                   ? o->availability_set_id
                                   : NULL,
        .proximity_group_id = azure_is_given(o->proximity_group_id) && !set->test[0]
                                  ? o->proximity_group_id
                                  : NULL,
        .license_type = azure_is_given(o->license_type) ? o->license_type : NULL,
        .tags = azure_tags_of(azure, &build->layout->machine.id,
                              azure_set_role(set, role), build->wish, &texts),
    };
    for (size_t i = 0; i < make->disk_count; i++)
        make->disk_ids[i] = set->disk_ids[i];
    for (size_t i = 0; i < make->nic_count; i++)
        make->nic_ids[i] = set->nic_ids[i];
    return azure_vm_create(azure->arm, make, build->cancel, err);
}

bool azure_set_make(struct azure_build *build, bool start, struct err *err)
{
    struct azure_layout *layout = build->layout;
    struct azure_set *set = build->set;
    bool is_test = set->test[0] != 0;
    if (!make_disks(build, err))
        return false;
    for (size_t i = 0; i < set->nic_count; i++)
        if (!make_nic(build, i, err))
            return false;
    if (!start)
        return true;
    if (!seal_uploads(build, err))
        return false;
    if (!is_test && set->stage == AZURE_FROZEN) {
        set->stage = AZURE_STARTING; /* S2 */
        if (!azure_save(build->azure, layout, err))
            return false;
    }
    if (FAULT(TARGET_BEFORE_VM, err) || !make_vm(build, err) ||
        FAULT(TARGET_AFTER_VM, err))
        return false;
    set->stage = AZURE_RUNS;
    return is_test || azure_save(build->azure, layout, err);
}

/* ---- removing ---- */

bool azure_item_remove(struct azure *azure, enum azure_item item, const char *id,
                       const struct id *machine, const char *role, struct err *err)
{
    char found[AZURE_TAG_BYTES], found_role[AZURE_TAG_BYTES], text[ID_TEXT_BYTES];
    struct err why = ERR_INIT;
    if (!azure_tag_get(azure->arm, item, id, TAG_MACHINE, found, &why) ||
        !azure_tag_get(azure->arm, item, id, TAG_ROLE, found_role, &why)) {
        *err = why;
        if (why.kind == FAIL_GONE)
            err_clear(err);
        return why.kind == FAIL_GONE;
    }
    if (strcmp(found, id_text(machine, text)) != 0 || strcmp(found_role, role) != 0)
        return true; /* S5 */
    switch (item) {
    case AZURE_ITEM_VM:
        return azure_vm_remove(azure->arm, id, err);
    case AZURE_ITEM_NIC:
        return azure_nic_remove(azure->arm, id, err);
    case AZURE_ITEM_DISK:
        break;
    }
    return azure_disk_remove(azure->arm, id, err);
}

static bool remove_snapshots(struct azure *azure, const struct azure_layout *layout,
                             const struct azure_set *set, struct err *err)
{
    for (size_t i = 0; i < layout->machine.disk_count; i++) {
        char name[AZURE_BLOB_BYTES];
        if (!set->snapshots[i][0])
            continue;
        AUTO(page_blob_close)
        struct page_blob *blob =
            page_blob_open(azure->container, azure_blob_name(layout, i, name), err);
        if (!blob || !page_blob_snapshot_remove(blob, set->snapshots[i], err))
            return false;
    }
    return true;
}

static bool remove_parts(struct azure *azure, const struct azure_layout *layout,
                         const struct azure_set *set, struct err *err)
{
    const struct id *machine = &layout->machine.id;
    char role[AZURE_ROLE_BYTES];
    (void)azure_set_role(set, role);
    if (!azure_item_remove(azure, AZURE_ITEM_VM, set->vm_id, machine, role, err))
        return false;
    for (size_t i = 0; i < set->nic_count; i++)
        if (!azure_item_remove(azure, AZURE_ITEM_NIC, set->nic_ids[i], machine, role,
                               err))
            return false;
    for (size_t i = 0; i < layout->machine.disk_count; i++)
        if (!is_upload(layout, set, i) &&
            !azure_item_remove(azure, AZURE_ITEM_DISK, set->disk_ids[i], machine, role,
                               err))
            return false;
    return remove_snapshots(azure, layout, set, err);
}

bool azure_set_remove(struct azure *azure, struct azure_layout *layout,
                      struct azure_set *set, struct err *err)
{
    if (set->stage != AZURE_LEAVING) {
        set->stage = AZURE_LEAVING;
        if (!azure_save(azure, layout, err))
            return false;
    }
    if (FAULT(TARGET_BEFORE_CLEANUP, err) || !remove_parts(azure, layout, set, err))
        return false;
    azure_layout_drop_set(layout, set);
    return azure_save(azure, layout, err) && azure_sweep_snapshots(azure, layout, err);
}
