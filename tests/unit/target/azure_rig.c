/* SPDX-License-Identifier: Apache-2.0 */
#include "azure_rig.h"

#include "base/text.h"

static json_t *inventory; /* of the simulator, as asked for last */

static void rig_skip(const char *reason)
{
    (void)fprintf(stderr, "SKIP: %s\n", reason);
    exit(77);
}

static void open_target(struct rig *rig)
{
    struct err err = ERR_INIT;
    assert_ok(target_azure_open(&rig->options, &rig->target, &err), err);
}

void rig_reopen(struct rig *rig)
{
    target_close(rig->target);
    rig->target = NULL;
    open_target(rig);
}

static void start_sim(struct rig *rig)
{
    AUTO(buf_release) struct buf config = {0};
    AUTO(free) char *disks = file_join(rig->dir, "disks");
    AUTO(free) char *ca = file_join(rig->dir, "ca.pem");
    char account[700];
    struct err err = ERR_INIT;
    assert_ok(file_make_dirs(disks, &err), err);
    (void)snprintf(account, sizeof account,
                   "{\"name\": \"" AZURITE_ACCOUNT "\", \"key\": \"%s\", \"endpoint\": "
                   "\"https://127.0.0.1:%u\", \"ca_file\": \"%s\"}",
                   azurite_key(), azurite_port(rig->azurite), ca);
    buf_printf(&config,
               "{\"operation_ms\": 1, \"disks_dir\": \"%s\", \"storage_accounts\": [%s], "
               "\"managed_account\": %s}",
               disks, account, account);
    rig->sim = azure_sim_start(buf_text(&config));
}

/* Boot diagnostics come from the simulator itself, as blobs do from the emulator. */
static void trust_sim(struct rig *rig)
{
    struct err err = ERR_INIT;
    AUTO(free) char *ca = file_join(rig->dir, "ca.pem");
    AUTO(free) char *sim = file_join(azure_sim_dir(rig->sim), "tls/azure.pem");
    AUTO(buf_release) struct buf text = {0};
    assert_ok(file_read(ca, MIB, &text, &err), err);
    assert_ok(file_read(sim, MIB, &text, &err), err);
    assert_ok(file_write_durable(ca, text.data, text.bytes, 0644, &err), err);
}

void rig_begin(struct rig *rig)
{
    struct err err = ERR_INIT;
    static char key[160], evidence[160];
    if (!azurite_is_there())
        rig_skip("KEDGE_AZURITE names no azurite package");
    *rig = (struct rig){.dir = "/tmp/kedge-azlife-XXXXXX"};
    assert_non_null(mkdtemp(rig->dir));
    test_certs_make(rig->dir);
    const char *key_path = azurite_write(rig->dir, "account.key", azurite_key());
    rig->azurite = azurite_start(rig->dir);
    start_sim(rig);
    trust_sim(rig);
    (void)snprintf(key, sizeof key, ", \"key_file\": \"%s\"", key_path);
    (void)snprintf(evidence, sizeof evidence, "%s/evidence", rig->dir);
    (void)snprintf(rig->url, sizeof rig->url,
                   "https://127.0.0.1:%u/" AZURITE_ACCOUNT "/replicas",
                   azurite_port(rig->azurite));
    const char *group = "resourceGroups/rg-target/providers";
    (void)snprintf(rig->network, sizeof rig->network,
                   "/subscriptions/%s/%s/Microsoft.Network/virtualNetworks/vnet",
                   azure_sim_subscription(rig->sim), group);
    (void)snprintf(rig->account, sizeof rig->account,
                   "/subscriptions/%s/%s/Microsoft.Storage/storageAccounts/%s",
                   azure_sim_subscription(rig->sim), group, AZURITE_ACCOUNT);
    static char access[512];
    text_copy(access, sizeof access,
              azurite_credential(rig->dir, "blobs.json", "shared-key", key));
    rig->options = (struct target_azure_options){
        .name = "cloud",
        .subscription = azure_sim_subscription(rig->sim),
        .resource_group = "rg-target",
        .location = "westeurope",
        .credential_file = azure_sim_credential(rig->sim, "kedge", "kedge-sim-secret"),
        .endpoint = azure_sim_url(rig->sim),
        .replica_container = rig->url,
        .replica_credential_file = access,
        .storage_account_id = rig->account,
        .network_id = rig->network,
        .subnet = "default",
        .test_network_id = rig->network,
        .test_subnet = "test",
        .evidence_dir = evidence,
        .poll_ms = 2,
        .retry_for_ms = 20000,
        .retry_base_ms = 2,
    };
    struct blob_container_options container = {.address = rig->url,
                                               .access_file = access};
    rig->container = blob_container_open(&container, &err);
    assert_non_null(rig->container);
    open_target(rig);
}

void rig_end(struct rig *rig)
{
    target_close(rig->target);
    blob_container_close(rig->container);
    json_decref(inventory);
    inventory = NULL;
    azure_sim_stop(rig->sim);
    azurite_stop(rig->azurite);
    drop_temp_dir(rig->dir);
}

/* ---- content ---- */

void rig_fill(struct rig *rig, const struct machine_def *machine, size_t disk,
              size_t data_bytes, uint64_t seed)
{
    struct err err = ERR_INIT;
    AUTO(free) uint8_t *data = xcalloc(1, data_bytes);
    AUTO(replica_disk_close) struct replica_disk *open = NULL;
    AUTO(replica_writer_close) struct replica_writer *writer = NULL;
    fill_random(data, data_bytes, seed);
    assert_ok(target_disk_open(rig->target, machine, disk, true, &open, &err), err);
    assert_ok(replica_disk_writer_open(open, &writer, &err), err);
    assert_ok(replica_writer_put(writer, 0, data, data_bytes, &err), err);
    assert_ok(replica_writer_zero(writer, data_bytes, replica_disk_bytes(open), &err),
              err);
    assert_ok(replica_writer_drain(writer, &err), err);
    assert_ok(replica_disk_flush(open, &err), err);
}

void rig_check_content(struct rig *rig, const char *disk_name, uint64_t vhd_bytes,
                       size_t data_bytes, uint64_t seed)
{
    char path[200];
    const char *file;
    struct err err = ERR_INIT;
    AUTO(free) uint8_t *data = xcalloc(1, vhd_bytes);
    AUTO(buf_release) struct buf found = {0};
    fill_random(data, data_bytes, seed);
    (void)snprintf(path, sizeof path, "/content?name=%s", disk_name);
    AUTO(json_free) json_t *content = azure_sim_control(rig->sim, "GET", path, NULL);
    assert_ok(json_get_text(content, "file", &file, &err), err);
    assert_ok(file_read(file, 64 * MIB, &found, &err), err);
    assert_int_equal(found.bytes, vhd_bytes);
    assert_memory_equal(found.data, data, vhd_bytes);
}

/* ---- inventories ---- */

static void ask_sim(struct rig *rig)
{
    json_decref(inventory);
    inventory = azure_sim_control(rig->sim, "GET", "/inventory", NULL);
}

const json_t *rig_resource(struct rig *rig, const char *name)
{
    size_t i;
    json_t *one;
    ask_sim(rig);
    json_array_foreach(json_object_get(inventory, "resources"), i, one)
    {
        const char *found = json_string_value(json_object_get(one, "name"));
        if (found && strcmp(found, name) == 0)
            return one;
    }
    return NULL;
}

struct count {
    size_t blobs, snapshots;
};

static bool count_listed(void *ctx, const struct page_listed *listed, struct err *err)
{
    struct count *count = ctx;
    (void)err;
    if (listed->snapshot[0])
        count->snapshots++;
    else
        count->blobs++;
    return true;
}

static struct count count_blobs(struct rig *rig)
{
    struct count count = {0};
    struct err err = ERR_INIT;
    assert_ok(page_list(rig->container, "", count_listed, &count, &err), err);
    return count;
}

size_t rig_blobs(struct rig *rig)
{
    return count_blobs(rig).blobs;
}

size_t rig_snapshots(struct rig *rig)
{
    return count_blobs(rig).snapshots;
}

struct seen {
    struct count count;
    json_t *ids; /* of resources */
};

static bool note_thing(void *ctx, const struct target_thing *thing, struct err *err)
{
    struct seen *seen = ctx;
    (void)err;
    if (!thing->is_known)
        fail_msg("orphan: %s '%s' (%s)", thing->kind, thing->name, thing->role);
    if (strcmp(thing->kind, "snapshot") == 0)
        seen->count.snapshots++;
    else if (thing->id[0] == '/')
        json_array_append_new(seen->ids, json_string(thing->id));
    else
        seen->count.blobs++;
    return true;
}

static bool has_id(const json_t *ids, const char *id)
{
    size_t i;
    json_t *one;
    json_array_foreach(ids, i, one)
    {
        if (strcmp(json_string_value(one), id) == 0)
            return true;
    }
    return false;
}

void rig_check_inventory(struct rig *rig)
{
    struct err err = ERR_INIT;
    AUTO(json_free) json_t *ids = json_array();
    struct seen seen = {.ids = ids};
    size_t i;
    json_t *one;
    assert_ok(target_inventory(rig->target, note_thing, &seen, &err), err);
    struct count there = count_blobs(rig);
    assert_int_equal(seen.count.blobs, there.blobs);
    assert_int_equal(seen.count.snapshots, there.snapshots);
    ask_sim(rig);
    const json_t *resources = json_object_get(inventory, "resources");
    json_array_foreach(resources, i, one)
    {
        const char *id = json_string_value(json_object_get(one, "id"));
        if (!has_id(ids, id))
            fail_msg("'%s' is there and not in the inventory", id);
    }
    assert_int_equal(json_array_size(ids), json_array_size(resources));
}

size_t rig_drop_released(struct rig *rig)
{
    size_t i, count = 0;
    json_t *one;
    ask_sim(rig);
    json_array_foreach(json_object_get(inventory, "resources"), i, one)
    {
        char path[600];
        if (json_object_get(json_object_get(one, "tags"), "kedge-machine"))
            continue;
        (void)snprintf(path, sizeof path, "/resource?id=%s",
                       json_string_value(json_object_get(one, "id")));
        json_free(azure_sim_control(rig->sim, "DELETE", path, NULL));
        count++;
    }
    return count;
}
