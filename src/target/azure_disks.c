/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replica disks in Azure come into being, are opened, change their size.
 *
 * A page blob holds the data of the disk, rounded up to whole MiB, and behind it the
 * footer that makes it a VHD. What lies between the disk's end and the footer is always
 * zeros. A change of size is written down before it begins and carried out as a whole by
 * whoever opens the layout next:
 *
 *   grow:   longer blob -> zeros from the old end to the new footer -> footer -> layout
 *   shrink: zeros from the new end on -> shorter blob -> footer -> layout
 *
 * Each step may be repeated; no reader or writer has the disk open meanwhile.
 */
#include "target/azure_target.h"

#include "azure/vhd.h"
#include "base/clock.h"
#include "base/text.h"
#include "target/azure_names.h"
#include "target/azure_replica.h"

#include <inttypes.h>

#define GRANT_SECONDS (7 * 24 * 3600)
#define UPLOAD_MAX_BYTES                                                                 \
    35183298347520u /* footer included: disk.json, uploadSizeBytes                       \
                     */
#define UPLOAD_MIN_BYTES 20972032u

/* ---- what it will be ---- */

bool azure_choose_kind(const struct azure_wish *wish, const struct machine_def *machine,
                       size_t disk_index, enum azure_kind *ret, struct err *err)
{
    char size[TEXT_HUMAN_BYTES];
    uint64_t disk_bytes = machine->disks[disk_index].disk_bytes;
    enum azure_replica_wish wanted = wish->disks[disk_index].replica;
    bool fits_blob = disk_bytes <= PAGE_BLOB_MAX - MIB; /* footer, and whole MiB */
    bool fits_upload = disk_bytes <= UPLOAD_MAX_BYTES - VHD_FOOTER_BYTES &&
                       vhd_data_bytes(disk_bytes) + VHD_FOOTER_BYTES >= UPLOAD_MIN_BYTES;
    *ret = wanted == AZURE_WISH_UPLOAD || (wanted == AZURE_WISH_AUTO && !fits_blob)
               ? AZURE_UPLOAD
               : AZURE_PAGE_BLOB;
    if (*ret == AZURE_UPLOAD ? fits_upload : fits_blob)
        return true;
    (void)text_bytes(disk_bytes, size);
    if (*ret == AZURE_PAGE_BLOB)
        return err_set(err, FAIL_LIMIT,
                       "disk %zu of machine '%s' has %s, more than a page blob's 8 TiB; "
                       "choose replica 'upload' or 'auto' for it",
                       disk_index, machine->name, size);
    return err_set(err, FAIL_LIMIT,
                   "disk %zu of machine '%s' has %s; an uploaded managed disk has 20 MiB "
                   "to 32 TiB",
                   disk_index, machine->name, size);
}

/* ---- the bytes of one disk ---- */

/* Lives as long as an open upload: whom to ask for another address. */
struct grant {
    struct azure *azure;
    struct lease *lease;
    char disk_id[ARM_ID_BYTES];
};

static struct secret *grant_again(void *ctx, struct err *err)
{
    const struct grant *grant = ctx;
    return azure_disk_grant(grant->azure->arm, grant->disk_id, GRANT_SECONDS, err);
}

static void grant_closed(void *ctx)
{
    struct grant *grant = ctx;
    lease_drop(&grant->azure->leases, grant->lease);
    free(grant);
}

static struct page_blob *open_upload(struct azure *azure, struct grant *grant,
                                     struct err *err)
{
    const struct azure_access *access = &azure->replica_access;
    struct page_sas_options options = {.ca_file = access->ca_file,
                                       .proxy_url = access->proxy,
                                       .proxy_password = access->proxy_password,
                                       .retry_for_ms = azure->options.retry_for_ms,
                                       .retry_base_ms = azure->options.retry_base_ms,
                                       .renew = grant_again,
                                       .ctx = grant};
    AUTO(secret_free) struct secret *address = grant_again(grant, err);
    return address ? page_blob_open_sas(address, &options, err) : NULL;
}

static struct page_blob *open_blob(struct azure *azure, const struct azure_layout *layout,
                                   size_t at, struct grant *grant, struct err *err)
{
    char name[AZURE_BLOB_BYTES];
    const struct azure_layout_disk *disk = &layout->disks[at];
    grant->azure = azure;
    text_copy(grant->disk_id, sizeof grant->disk_id, disk->upload_id);
    if (disk->kind == AZURE_UPLOAD)
        return open_upload(azure, grant, err);
    return page_blob_open(azure->container, azure_blob_name(layout, at, name), err);
}

static bool put_footer(struct page_blob *blob, const struct machine_disk *disk,
                       uint64_t data_bytes, struct err *err)
{
    uint8_t footer[VHD_FOOTER_BYTES];
    vhd_footer(data_bytes, &disk->id, clock_wall_ms() / 1000, footer);
    return page_blob_put(blob, data_bytes, (struct blob_data){footer, sizeof footer},
                         NULL, err);
}

/* ---- making ---- */

static bool make_upload(struct azure *azure, const struct azure_layout *layout, size_t at,
                        const struct azure_wish *wish, struct err *err)
{
    const struct azure_layout_disk *disk = &layout->disks[at];
    const struct target_azure_options *o = &azure->options;
    struct azure_tag_texts texts;
    struct azure_disk_make make = {
        .id = disk->upload_id,
        .location = o->location,
        .sku = wish->disks[at].sku,
        .zone = *wish->zone ? wish->zone : NULL,
        .from = AZURE_DISK_UPLOAD,
        .upload_bytes = vhd_data_bytes(disk->disk_bytes) + VHD_FOOTER_BYTES,
        .os_type = at == 0 ? wish->os_type : NULL,
        .is_gen2 = layout->machine.firmware == FIRMWARE_UEFI,
        .encryption_set =
            azure_is_given(o->encryption_set_id) ? o->encryption_set_id : NULL,
        .tags = azure_tags_of(azure, &layout->machine.id, "replica", wish, &texts),
    };
    return azure_disk_create(azure->arm, &make, NULL, err);
}

static bool remove_disk(struct azure *azure, const struct azure_layout *layout, size_t at,
                        struct err *err)
{
    char name[AZURE_BLOB_BYTES];
    if (layout->disks[at].kind == AZURE_UPLOAD)
        return azure_item_remove(azure, AZURE_ITEM_DISK, layout->disks[at].upload_id,
                                 &layout->machine.id, "replica", err);
    AUTO(page_blob_close)
    struct page_blob *blob =
        page_blob_open(azure->container, azure_blob_name(layout, at, name), err);
    return blob && page_blob_remove(blob, err);
}

static bool make_disk(struct azure *azure, const struct azure_layout *layout, size_t at,
                      const struct azure_wish *wish, struct err *err)
{
    const struct azure_layout_disk *disk = &layout->disks[at];
    uint64_t data_bytes = vhd_data_bytes(disk->disk_bytes);
    struct grant grant = {0};
    if (disk->was_opened && !remove_disk(azure, layout, at, err))
        return false; /* what a removal left that was cut short: not all zeros */
    if (disk->kind == AZURE_UPLOAD && !make_upload(azure, layout, at, wish, err))
        return false;
    AUTO(page_blob_close)
    struct page_blob *blob = open_blob(azure, layout, at, &grant, err);
    if (!blob || (disk->kind == AZURE_PAGE_BLOB &&
                  !page_blob_create(blob, data_bytes + VHD_FOOTER_BYTES, err)))
        return false;
    return put_footer(blob, &layout->machine.disks[at], data_bytes, err);
}

static bool make_disks(struct azure *azure, struct azure_layout *layout,
                       const struct azure_wish *wish, struct err *err)
{
    for (size_t i = 0; i < layout->machine.disk_count; i++) {
        if (layout->disks[i].is_made)
            continue;
        if (!make_disk(azure, layout, i, wish, err))
            return err_wrap(err, "replica of disk %zu of machine '%s'", i,
                            layout->machine.name);
        layout->disks[i].is_made = true;
        layout->disks[i].was_opened = false;
    }
    return azure_save(azure, layout, err);
}

/* The same machine asked for again. */
static bool confirm(struct azure *azure, struct azure_layout *layout,
                    const struct machine_def *machine, const struct azure_wish *wish,
                    struct err *err)
{
    bool same = layout->machine.disk_count == machine->disk_count;
    for (size_t i = 0; same && i < machine->disk_count; i++)
        same = layout->disks[i].disk_bytes == machine->disks[i].disk_bytes;
    if (!same)
        return err_set(err, FAIL_CONFLICT,
                       "a replica of machine '%s' with other disks is there already; "
                       "stop its replication first",
                       machine->name);
    if (azure_layout_is_migrated(layout))
        return err_set(err, FAIL_CONFLICT, "machine '%s' was migrated already",
                       machine->name);
    layout->machine = *machine;
    return make_disks(azure, layout, wish, err);
}

static bool plan_disks(struct azure *azure, struct azure_layout *layout,
                       const struct azure_wish *wish, struct err *err)
{
    for (size_t i = 0; i < layout->machine.disk_count; i++) {
        struct azure_layout_disk *disk = &layout->disks[i];
        char name[AZURE_NAME_BYTES];
        if (!azure_choose_kind(wish, &layout->machine, i, &disk->kind, err))
            return false;
        azure_name_part(wish->vm_name, "disk", i, name);
        if (disk->kind == AZURE_UPLOAD &&
            !arm_id(azure->arm, azure->options.resource_group, DISKS_TYPE, name,
                    disk->upload_id, err))
            return false;
    }
    return true;
}

bool azure_replica_create(struct target *target, const struct machine_def *machine,
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
    if (layout)
        return confirm(azure, layout, machine, wish, err);
    if (why.kind != FAIL_GONE) {
        *err = why;
        return false;
    }
    layout = azure_layout_new(machine);
    return plan_disks(azure, layout, wish, err) && azure_save(azure, layout, err) &&
           make_disks(azure, layout, wish, err);
}

/* ---- opening ---- */

static bool check_index(const struct azure_layout *layout, size_t at, struct err *err)
{
    if (at >= layout->machine.disk_count)
        return err_set(err, FAIL_INPUT, "machine '%s' has no disk %zu, only %zu disks",
                       layout->machine.name, at, layout->machine.disk_count);
    return layout->disks[at].is_made ||
           err_set(err, FAIL_GONE,
                   "replica of disk %zu of machine '%s' is not made yet; replicate it "
                   "again",
                   at, layout->machine.name);
}

/* What was begun for a VM must not be taken up again once the replica goes on. */
static bool check_writing(struct azure *azure, struct azure_layout *layout, size_t at,
                          struct err *err)
{
    struct azure_layout_disk *disk = &layout->disks[at];
    bool marks_stale = layout->has_vm && !layout->vm.is_stale;
    if (azure_layout_is_migrated(layout))
        return err_set(err, FAIL_CONFLICT,
                       "machine '%s' was migrated: its VM in Azure may have run",
                       layout->machine.name);
    if (disk->is_sealed)
        return err_set(err, FAIL_CONFLICT,
                       "the upload of disk %zu of machine '%s' was ended by a migration; "
                       "migrate it again, or stop and replicate it anew",
                       at, layout->machine.name);
    if (!marks_stale && disk->was_opened)
        return true;
    layout->vm.is_stale = layout->has_vm;
    disk->was_opened = true;
    return azure_save(azure, layout, err);
}

bool azure_disk_open(struct target *target, const struct machine_def *machine,
                     size_t disk_index, bool for_writing, struct replica_disk **ret,
                     struct err *err)
{
    struct azure *azure = (struct azure *)target;
    char label[160], id[ID_TEXT_BYTES];
    if (!azure_check_machine(machine, err))
        return false;
    AZURE_HOLD(azure, machine);
    AUTO(azure_layout_free)
    struct azure_layout *layout = azure_open_layout(azure, machine, err);
    if (!layout || !check_index(layout, disk_index, err))
        return false;
    bool is_new = !layout->disks[disk_index].was_opened;
    if (for_writing && !check_writing(azure, layout, disk_index, err))
        return false;
    struct grant *grant = xcalloc(1, sizeof *grant);
    grant->lease = lease_take(&azure->leases, id_text(&machine->id, id), for_writing);
    struct page_blob *blob = open_blob(azure, layout, disk_index, grant, err);
    if (!blob) {
        grant_closed(grant);
        return false;
    }
    (void)snprintf(label, sizeof label, "disk %zu of machine '%s'", disk_index,
                   machine->name);
    struct azure_replica_spec spec = {
        .blob = blob,
        .label = label,
        .disk_bytes = layout->disks[disk_index].disk_bytes,
        .for_writing = for_writing,
        .is_new = is_new,
        .no_rate_limit = azure->is_emulated,
        .closed = grant_closed,
        .ctx = grant,
    };
    return azure_replica_open(target->ops, &spec, ret, err);
}

/* ---- size ---- */

static bool set_blob_size(struct page_blob *blob, const struct machine_disk *disk,
                          uint64_t from_bytes, uint64_t to_bytes, struct err *err)
{
    uint64_t old_data = vhd_data_bytes(from_bytes), new_data = vhd_data_bytes(to_bytes);
    uint64_t keep_bytes = MIN_OF(from_bytes, to_bytes);
    if (new_data >= old_data && !page_blob_resize(blob, new_data + VHD_FOOTER_BYTES, err))
        return false;
    if (keep_bytes < new_data &&
        !page_blob_clear(blob, keep_bytes, new_data - keep_bytes, err))
        return false;
    if (new_data < old_data && !page_blob_resize(blob, new_data + VHD_FOOTER_BYTES, err))
        return false;
    return put_footer(blob, disk, new_data, err);
}

static bool finish_one(struct azure *azure, struct azure_layout *layout, size_t at,
                       struct err *err)
{
    struct azure_layout_disk *disk = &layout->disks[at];
    struct grant grant = {0};
    AUTO(page_blob_close)
    struct page_blob *blob = open_blob(azure, layout, at, &grant, err);
    if (!blob || !set_blob_size(blob, &layout->machine.disks[at], disk->disk_bytes,
                                disk->resize_to_bytes, err))
        return err_wrap(err, "resize replica of disk %zu of machine '%s'", at,
                        layout->machine.name);
    disk->disk_bytes = disk->resize_to_bytes;
    layout->machine.disks[at].disk_bytes = disk->resize_to_bytes;
    disk->resize_to_bytes = 0;
    return azure_save(azure, layout, err);
}

bool azure_finish_resize(struct azure *azure, struct azure_layout *layout,
                         struct err *err)
{
    for (size_t i = 0; i < layout->machine.disk_count; i++)
        if (layout->disks[i].resize_to_bytes && !finish_one(azure, layout, i, err))
            return false;
    return true;
}

static bool check_resize(const struct azure_layout *layout, size_t at,
                         uint64_t disk_bytes, struct err *err)
{
    const struct azure_layout_disk *disk = &layout->disks[at];
    if (disk->kind == AZURE_UPLOAD &&
        vhd_data_bytes(disk->disk_bytes) != vhd_data_bytes(disk_bytes))
        return err_set(
            err, FAIL_CONFLICT,
            "disk %zu of machine '%s' is uploaded straight into a managed "
            "disk, which can't change its size meanwhile; stop its replication "
            "and replicate it anew",
            at, layout->machine.name);
    return disk->kind == AZURE_UPLOAD || disk_bytes <= PAGE_BLOB_MAX - MIB ||
           err_set(err, FAIL_LIMIT,
                   "disk %zu of machine '%s' would have %" PRIu64
                   " bytes, more than a page blob's 8 TiB; stop its replication and "
                   "replicate it anew with replica 'upload'",
                   at, layout->machine.name, disk_bytes);
}

bool azure_disk_resize(struct target *target, const struct machine_def *machine,
                       size_t disk_index, uint64_t disk_bytes, struct err *err)
{
    struct azure *azure = (struct azure *)target;
    if (!azure_check_machine(machine, err))
        return false;
    AZURE_HOLD(azure, machine);
    AUTO(azure_layout_free)
    struct azure_layout *layout = azure_open_layout(azure, machine, err);
    if (!layout || !check_index(layout, disk_index, err))
        return false;
    struct azure_layout_disk *disk = &layout->disks[disk_index];
    if (azure_is_open(azure, machine, false) || azure_layout_is_migrated(layout) ||
        disk->is_sealed)
        return err_set(err, FAIL_CONFLICT,
                       "disk %zu of machine '%s' is in use and can't change its size now",
                       disk_index, machine->name);
    if (disk->disk_bytes == disk_bytes)
        return true;
    if (!check_resize(layout, disk_index, disk_bytes, err))
        return false;
    disk->resize_to_bytes = disk_bytes;
    layout->vm.is_stale = layout->has_vm;
    return azure_save(azure, layout, err) && azure_finish_resize(azure, layout, err);
}

bool azure_remove_replicas(struct azure *azure, struct azure_layout *layout,
                           struct err *err)
{
    bool had_any = false;
    for (size_t i = 0; i < layout->machine.disk_count; i++) {
        had_any |= layout->disks[i].is_made;
        layout->disks[i].is_made = false;
    }
    if (had_any && !azure_save(azure, layout, err))
        return false;
    for (size_t i = 0; i < layout->machine.disk_count; i++)
        if (!remove_disk(azure, layout, i, err))
            return err_wrap(err, "remove replica of disk %zu of machine '%s'", i,
                            layout->machine.name);
    return true;
}
