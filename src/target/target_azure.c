/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The azure target as an object: its options, checked before anybody is asked, the
 * connections, the tags of what it makes. What it does with a machine is in the files
 * that azure_target.h lists.
 */
#include "target/azure_target.h"

#include "base/text.h"
#include "target/azure_replica.h"

#define DEFAULT_POLL_MS 5000
#define MAX_IDLE        16 /* connections to the storage account */

bool azure_is_given(const char *option)
{
    return option && *option;
}

bool azure_check_machine(const struct machine_def *machine, struct err *err)
{
    if (!text_check_name("machine", machine->name, err))
        return false;
    return !id_is_zero(&machine->id) ||
           err_set(err, FAIL_INPUT, "machine '%s' has no id", machine->name);
}

bool azure_is_open(struct azure *azure, const struct machine_def *machine,
                   bool only_writers)
{
    char text[ID_TEXT_BYTES];
    return lease_exists(&azure->leases, id_text(&machine->id, text), only_writers);
}

struct azure_layout *azure_open_layout(struct azure *azure,
                                       const struct machine_def *machine, struct err *err)
{
    AUTO(azure_layout_free)
    struct azure_layout *layout =
        azure_layout_read(azure->container, &machine->id, machine->name, err);
    if (!layout || !azure_finish_resize(azure, layout, err))
        return NULL;
    return TAKE(layout);
}

bool azure_save(struct azure *azure, const struct azure_layout *layout, struct err *err)
{
    return azure_layout_save(azure->container, layout, err) ||
           err_wrap(err, "layout of machine '%s'", layout->machine.name);
}

struct azure_tags azure_tags_of(const struct azure *azure, const struct id *machine,
                                const char *role, const struct azure_wish *wish,
                                struct azure_tag_texts *texts)
{
    struct azure_tags tags = {0};
    for (size_t i = 0; i < wish->tag_count; i++)
        tags.items[tags.count++] =
            (struct azure_tag){wish->tags[i].name, wish->tags[i].value};
    if (!role)
        return tags;
    text_copy(texts->role, sizeof texts->role, role);
    tags.items[tags.count++] =
        (struct azure_tag){TAG_MACHINE, id_text(machine, texts->machine)};
    tags.items[tags.count++] = (struct azure_tag){TAG_ROLE, texts->role};
    tags.items[tags.count++] = (struct azure_tag){TAG_TARGET, azure->options.name};
    return tags;
}

/* ---- opening ---- */

struct wanted_id {
    const char *key, *id, *type;
    bool is_required;
};

static bool check_ids(const struct target_azure_options *o, struct err *err)
{
    const struct wanted_id ids[] = {
        {"network_id", o->network_id, NETWORKS_TYPE, true},
        {"test_network_id", o->test_network_id, NETWORKS_TYPE, false},
        {"storage_account_id", o->storage_account_id, "Microsoft.Storage/storageAccounts",
         true},
        {"availability_set_id", o->availability_set_id,
         "Microsoft.Compute/availabilitySets", false},
        {"proximity_group_id", o->proximity_group_id,
         "Microsoft.Compute/proximityPlacementGroups", false},
        {"security_group_id", o->security_group_id,
         "Microsoft.Network/networkSecurityGroups", false},
        {"encryption_set_id", o->encryption_set_id,
         "Microsoft.Compute/diskEncryptionSets", false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(ids); i++) {
        if (!azure_is_given(ids[i].id)) {
            if (ids[i].is_required)
                return err_set(err, FAIL_INPUT, "'%s' is missing", ids[i].key);
        } else if (!arm_id_check(ids[i].id, ids[i].type, err))
            return err_wrap(err, "'%s'", ids[i].key);
    }
    return true;
}

static bool check_texts(const struct target_azure_options *o, struct err *err)
{
    static const char *const licenses[] = {"Windows_Server", "Windows_Client",
                                           "RHEL_BYOS", "SLES_BYOS"};
    const char *const required[][2] = {
        {"subscription", o->subscription},
        {"resource_group", o->resource_group},
        {"location", o->location},
        {"credential_file", o->credential_file},
        {"replica_container", o->replica_container},
        {"replica_credential_file", o->replica_credential_file},
        {"subnet", o->subnet},
    };
    bool has_license = !azure_is_given(o->license_type);
    for (size_t i = 0; i < ARRAY_COUNT(required); i++)
        if (!azure_is_given(required[i][1]))
            return err_set(err, FAIL_INPUT, "'%s' is missing", required[i][0]);
    for (size_t i = 0; !has_license && i < ARRAY_COUNT(licenses); i++)
        has_license = strcmp(licenses[i], o->license_type) == 0;
    if (!has_license)
        return err_set(err, FAIL_INPUT,
                       "'license_type' is '%.40s'; known are Windows_Server, "
                       "Windows_Client, RHEL_BYOS and SLES_BYOS",
                       o->license_type);
    if (azure_is_given(o->zone) && azure_is_given(o->availability_set_id))
        return err_set(err, FAIL_INPUT,
                       "'zone' and 'availability_set_id' exclude each other; give one");
    return true;
}

static bool check_options(const struct target_azure_options *options, struct err *err)
{
    return check_texts(options, err) && check_ids(options, err) &&
           azure_wish_check_options(options, err);
}

static bool connect(struct azure *azure, struct err *err)
{
    const struct target_azure_options *o = &azure->options;
    struct arm_options arm = {.credential_file = o->credential_file,
                              .endpoint =
                                  azure_is_given(o->endpoint) ? o->endpoint : NULL,
                              .subscription = o->subscription,
                              .retry_for_ms = o->retry_for_ms,
                              .retry_base_ms = o->retry_base_ms,
                              .poll_base_ms = azure->poll_ms};
    struct blob_container_options container = {.address = o->replica_container,
                                               .access_file = o->replica_credential_file,
                                               .retry_for_ms = o->retry_for_ms,
                                               .retry_base_ms = o->retry_base_ms,
                                               .max_idle = MAX_IDLE,
                                               .role = ROLE_REPLICA_STORE};
    azure->arm = arm_open(&arm, err);
    if (!azure->arm)
        return err_wrap(err, "'credential_file'");
    if (!azure_access_read(o->replica_credential_file, &azure->replica_access, err))
        return err_wrap(err, "'replica_credential_file'");
    azure->has_replica_access = true;
    azure->container = blob_container_open(&container, err);
    return azure->container != NULL || err_wrap(err, "'replica_container'");
}

static void azure_close(struct target *target)
{
    struct azure *azure = (struct azure *)target;
    leases_release(&azure->leases);
    blob_container_close(azure->container);
    arm_close(azure->arm);
    if (azure->has_replica_access)
        azure_access_release(&azure->replica_access);
    free(azure->evidence_dir);
    free(azure);
}

static const struct target_ops AZURE_OPS = {
    .kind = "azure",
    .check = azure_check,
    .replica_create = azure_replica_create,
    .disk_open = azure_disk_open,
    .disk_resize = azure_disk_resize,
    .test_start = azure_test_start,
    .test_cleanup = azure_test_cleanup,
    .migrate = azure_migrate,
    .complete = azure_complete,
    .remove = azure_remove,
    .list = azure_list,
    .inventory = azure_inventory,
    .close = azure_close,
    .read = azure_replica_read,
    .flush = azure_replica_flush,
    .disk_bytes = azure_replica_bytes,
    .disk_close = azure_replica_close,
    .allocated = azure_replica_allocated,
    .writer_open = azure_writer_open,
    .room = azure_writer_room,
    .put = azure_writer_put,
    .zero = azure_writer_zero,
    .drain = azure_writer_drain,
    .writer_close = azure_writer_close,
};

bool target_azure_open(const struct target_azure_options *options, struct target **ret,
                       struct err *err)
{
    struct blob_address address;
    if (!check_options(options, err) ||
        !blob_address_parse(options->replica_container, &address, err))
        return false;
    struct azure *azure = xcalloc(1, sizeof *azure);
    AUTO(target_close) struct target *guard = &azure->base;
    azure->base.ops = &AZURE_OPS;
    azure->options = *options;
    for (size_t i = 0; i < options->tag_count; i++)
        azure->tags[i] = options->tags[i];
    azure->options.tags = azure->tags;
    azure->evidence_dir = xstrdup(options->evidence_dir);
    azure->options.evidence_dir = azure->evidence_dir;
    azure->poll_ms = options->poll_ms ? options->poll_ms : DEFAULT_POLL_MS;
    azure->is_emulated =
        !text_ends_with(address.host, azure_cloud_of_host(address.host)->blob_suffix);
    leases_init(&azure->leases);
    if (!connect(azure, err))
        return false;
    *ret = TAKE(guard);
    return true;
}
