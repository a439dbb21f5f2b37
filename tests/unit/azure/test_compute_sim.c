/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every call of compute.h against the simulated Azure (sim/), which keeps its resources,
 * checks tokens, permissions and states, and lets operations run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "azure/compute.h"
#include "azure/page_blob.h"
#include "azure/vhd.h"
#include "base/file.h"
#include "base/text.h"
#include "support/azure_sim.h"
#include "support/azurite.h"

#include <sys/stat.h>

#define DATA_BYTES (20 * MIB)

static char dir[] = "/tmp/kedge-compute-XXXXXX";
static struct azurite *azurite; /* NULL: not installed, no uploads and imports */
static struct issuer issuer;    /* port 0: not installed */
static struct azure_sim *sim;
static struct arm *arm;
static char source[ARM_ID_BYTES], subnet[ARM_ID_BYTES];

static struct arm *open_arm(const char *credential)
{
    struct err err = ERR_INIT;
    struct arm_options options = {.credential_file = credential,
                                  .endpoint = azure_sim_url(sim),
                                  .subscription = azure_sim_subscription(sim),
                                  .retry_for_ms = 60000,
                                  .retry_base_ms = 2,
                                  .poll_base_ms = 5};
    struct arm *opened = arm_open(&options, &err);
    if (!opened)
        fail_msg("%s", err.text);
    return opened;
}

static void assert_good(bool ok, const struct err *err)
{
    if (!ok)
        fail_msg("%s: %s", err_kind_name(err->kind), err->text);
}

static void assert_refusal(bool ok, const struct err *err, enum err_kind kind,
                           const char *part)
{
    if (ok || err->kind != kind || !strstr(err->text, part))
        fail_msg("%s: %s", ok ? "went well" : err_kind_name(err->kind), err->text);
}

static const char *id_of(const char *type, const char *name)
{
    static char ids[8][ARM_ID_BYTES];
    static unsigned next;
    struct err err = ERR_INIT;
    char *id = ids[next++ % 8];
    assert_good(arm_id(arm, "rg-target", type, name, id, &err), &err);
    return id;
}
#define DISK(name) id_of("Microsoft.Compute/disks", name)
#define NIC(name)  id_of("Microsoft.Network/networkInterfaces", name)
#define VM(name)   id_of("Microsoft.Compute/virtualMachines", name)

static struct azure_tags tags_of(const char *machine)
{
    return (struct azure_tags){
        .count = 2, .items = {{"kedge-machine", machine}, {"kedge-role", "test"}}};
}

static struct azure_disk_make copy_of(const char *name)
{
    return (struct azure_disk_make){.id = DISK(name),
                                    .location = "West Europe",
                                    .sku = "StandardSSD_LRS",
                                    .from = AZURE_DISK_COPY,
                                    .source = source,
                                    .os_type = "Linux",
                                    .is_gen2 = true,
                                    .tags = tags_of("m1")};
}

static struct azure_nic_make nic_of(const char *name, const char *address)
{
    return (struct azure_nic_make){.id = NIC(name),
                                   .location = "westeurope",
                                   .subnet_id = subnet,
                                   .static_ip = address,
                                   .tags = tags_of("m1")};
}

static struct azure_vm_make vm_of(const char *name, const char *disk, const char *nic)
{
    return (struct azure_vm_make){.id = VM(name),
                                  .location = "westeurope",
                                  .size = "Standard_F4s_v2",
                                  .os_type = "Linux",
                                  .disk_count = 1,
                                  .disk_ids = {disk},
                                  .nic_count = 1,
                                  .nic_ids = {nic},
                                  .tags = tags_of("m1")};
}

/* ---- a machine and what belongs to it ---- */

static void a_machine_from_start_to_end(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct azure_disk_make disk = copy_of("os"), data = copy_of("data");
    struct azure_nic_make nic = nic_of("nic", "10.0.0.9");
    struct azure_vm_make vm = vm_of("vm", disk.id, nic.id);
    struct azure_disk_info disk_info;
    struct azure_vm_info info;
    data.os_type = NULL;
    vm.disk_count = 2;
    vm.disk_ids[1] = data.id;
    for (int i = 0; i < 2; i++) { /* the second time it is there, and ours */
        assert_good(azure_disk_create(arm, &disk, NULL, &err), &err);
        assert_good(azure_disk_create(arm, &data, NULL, &err), &err);
        assert_good(azure_nic_create(arm, &nic, NULL, &err), &err);
        assert_good(azure_vm_create(arm, &vm, NULL, &err), &err);
    }
    assert_int_equal(azure_sim_made(sim), 4);
    assert_good(azure_disk_get(arm, disk.id, &disk_info, &err), &err);
    assert_string_equal(disk_info.state, "Attached");
    assert_string_equal(disk_info.sku, "StandardSSD_LRS");
    assert_int_equal(disk_info.bytes, GIB);
    assert_good(azure_vm_get(arm, vm.id, &info, &err), &err);
    assert_string_equal(info.provisioning, "Succeeded");
    assert_string_equal(info.power, "running");
    assert_string_equal(info.agent, "Ready");
    assert_refusal(azure_disk_remove(arm, disk.id, &err), &err, FAIL_CONFLICT, "os");
    err_clear(&err);
    assert_refusal(azure_nic_remove(arm, nic.id, &err), &err, FAIL_CONFLICT, "nic");
    err_clear(&err);
    for (int i = 0; i < 2; i++) { /* gone is gone */
        assert_good(azure_vm_remove(arm, vm.id, &err), &err);
        assert_good(azure_nic_remove(arm, nic.id, &err), &err);
        assert_good(azure_disk_remove(arm, disk.id, &err), &err);
        assert_good(azure_disk_remove(arm, data.id, &err), &err);
    }
    assert_int_equal(azure_sim_made(sim), 0);
    assert_refusal(azure_vm_get(arm, vm.id, &info, &err), &err, FAIL_GONE, "vm");
}

static void boot_diagnostics(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct azure_disk_make disk = copy_of("os");
    struct azure_nic_make nic = nic_of("nic", NULL);
    struct azure_vm_make vm = vm_of("vm", disk.id, nic.id);
    AUTO(secret_free) struct secret *screen = NULL;
    AUTO(secret_free) struct secret *serial = NULL;
    assert_good(azure_disk_create(arm, &disk, NULL, &err), &err);
    assert_good(azure_nic_create(arm, &nic, NULL, &err), &err);
    assert_good(azure_vm_create(arm, &vm, NULL, &err), &err);
    assert_good(azure_vm_diagnostics(arm, vm.id, &screen, &serial, &err), &err);
    assert_non_null(serial);
    assert_memory_equal(serial->data, "https://", 8);
    assert_good(azure_vm_remove(arm, vm.id, &err), &err);
    assert_good(azure_nic_remove(arm, nic.id, &err), &err);
    assert_good(azure_disk_remove(arm, disk.id, &err), &err);
}

/* ---- what is there already ---- */

static void what_is_not_ours_is_left_alone(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct azure_disk_make disk = copy_of("os");
    struct azure_nic_make nic = nic_of("nic", "10.0.0.9");
    assert_good(azure_disk_create(arm, &disk, NULL, &err), &err);
    assert_good(azure_nic_create(arm, &nic, NULL, &err), &err);

    disk.tags = tags_of("m2");
    assert_refusal(azure_disk_create(arm, &disk, NULL, &err), &err, FAIL_CONFLICT,
                   "was made by somebody else (tag 'kedge-machine' is m1)");
    err_clear(&err);
    disk.tags.count = 0;
    assert_refusal(azure_disk_create(arm, &disk, NULL, &err), &err, FAIL_CONFLICT,
                   "exists already; remove it");
    err_clear(&err);
    disk = copy_of("os");
    disk.source = DISK("other");
    assert_refusal(azure_disk_create(arm, &disk, NULL, &err), &err, FAIL_CONFLICT,
                   "with another source");
    err_clear(&err);
    disk = copy_of("os");
    disk.from = AZURE_DISK_UPLOAD;
    disk.upload_bytes = GIB + 512;
    assert_refusal(azure_disk_create(arm, &disk, NULL, &err), &err, FAIL_CONFLICT,
                   "with another kind of source");
    err_clear(&err);
    disk = copy_of("os");
    disk.location = "northeurope";
    assert_refusal(azure_disk_create(arm, &disk, NULL, &err), &err, FAIL_CONFLICT,
                   "with another location");
    err_clear(&err);
    nic.static_ip = "10.0.0.10";
    assert_refusal(azure_nic_create(arm, &nic, NULL, &err), &err, FAIL_CONFLICT,
                   "with another address");
    err_clear(&err);
    assert_good(azure_nic_remove(arm, nic.id, &err), &err);
    disk = copy_of("os");
    assert_good(azure_disk_remove(arm, disk.id, &err), &err);
}

static void a_failed_one_is_made_again(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct azure_disk_make disk = copy_of("os");
    struct azure_nic_make nic = nic_of("nic", NULL);
    struct azure_vm_make vm = vm_of("vm", disk.id, nic.id);
    struct azure_vm_info info;
    assert_good(azure_disk_create(arm, &disk, NULL, &err), &err);
    assert_good(azure_nic_create(arm, &nic, NULL, &err), &err);
    azure_sim_do(sim, "/faults", "{\"name\": \"vm.allocation_fails\", \"count\": 1}");
    assert_refusal(azure_vm_create(arm, &vm, NULL, &err), &err, FAIL_LIMIT,
                   "AllocationFailed");
    err_clear(&err);
    assert_good(azure_vm_get(arm, vm.id, &info, &err), &err);
    assert_string_equal(info.provisioning, "Failed");
    assert_good(azure_vm_create(arm, &vm, NULL, &err), &err);
    assert_good(azure_vm_remove(arm, vm.id, &err), &err);
    assert_good(azure_nic_remove(arm, nic.id, &err), &err);
    assert_good(azure_disk_remove(arm, disk.id, &err), &err);
    assert_int_equal(azure_sim_made(sim), 0);
}

/* ---- bytes of disks ---- */

static void write_footer(struct page_blob *blob)
{
    struct err err = ERR_INIT;
    struct id id = id_random();
    uint8_t footer[VHD_FOOTER_BYTES];
    vhd_footer(DATA_BYTES, &id, 1700000000, footer);
    struct blob_data data = {footer, sizeof footer};
    bool is_busy;
    assert_good(page_blob_put(blob, DATA_BYTES, data, &is_busy, &err), &err);
}

static void an_upload(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct azure_disk_make disk = copy_of("up");
    struct azure_disk_info info;
    if (!azurite)
        skip();
    disk.from = AZURE_DISK_UPLOAD;
    disk.upload_bytes = DATA_BYTES + VHD_FOOTER_BYTES;
    assert_good(azure_disk_create(arm, &disk, NULL, &err), &err);
    assert_good(azure_disk_get(arm, disk.id, &info, &err), &err);
    assert_string_equal(info.state, "ReadyToUpload");
    AUTO(secret_free)
    struct secret *sas = azure_disk_grant(arm, disk.id, 3600, &err);
    assert_good(sas != NULL, &err);
    assert_good(azure_disk_get(arm, disk.id, &info, &err), &err);
    assert_string_equal(info.state, "ActiveUpload");
    assert_good(azure_disk_create(arm, &disk, NULL, &err), &err); /* it is there */
    char ca[128];
    (void)snprintf(ca, sizeof ca, "%s/ca.pem", dir);
    struct page_sas_options options = {.ca_file = ca, .retry_base_ms = 4};
    AUTO(page_blob_close)
    struct page_blob *blob = page_blob_open_sas(sas, &options, &err);
    assert_good(blob != NULL, &err);
    write_footer(blob);
    assert_refusal(azure_disk_remove(arm, disk.id, &err), &err, FAIL_CONFLICT, "'up'");
    err_clear(&err);
    assert_good(azure_disk_revoke(arm, disk.id, &err), &err);
    assert_good(azure_disk_get(arm, disk.id, &info, &err), &err);
    assert_string_equal(info.state, "Unattached");
    assert_int_equal(info.bytes, DATA_BYTES);
    assert_good(azure_disk_remove(arm, disk.id, &err), &err);

    disk.upload_bytes = DATA_BYTES;
    assert_refusal(azure_disk_create(arm, &disk, NULL, &err), &err, FAIL_INPUT, "footer");
    err_clear(&err);
    assert_null(azure_disk_grant(arm, disk.id, 5184001, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
}

static void an_import(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf extra = {0}, url = {0};
    struct azure_disk_make disk = copy_of("in");
    struct azure_disk_info info;
    if (!azurite)
        skip();
    buf_printf(&extra, ", \"key_file\": \"%s/account.key\"", dir);
    buf_printf(&url, "https://127.0.0.1:%u/" AZURITE_ACCOUNT "/replicas",
               azurite_port(azurite));
    struct blob_container_options options = {
        .address = buf_text(&url),
        .access_file =
            azurite_credential(dir, "key.json", "shared-key", buf_text(&extra)),
        .retry_base_ms = 4};
    AUTO(blob_container_close)
    struct blob_container *container = blob_container_open(&options, &err);
    assert_good(container != NULL, &err);
    AUTO(page_blob_close)
    struct page_blob *blob = page_blob_open(container, "disk-1", &err);
    assert_good(blob != NULL, &err);
    assert_good(page_blob_create(blob, DATA_BYTES + VHD_FOOTER_BYTES, &err), &err);
    AUTO(buf_release) struct buf address = {0};
    page_blob_url(blob, NULL, &address);
    disk.from = AZURE_DISK_IMPORT;
    disk.source = buf_text(&address);
    disk.storage_account_id = id_of("Microsoft.Storage/storageAccounts", AZURITE_ACCOUNT);
    /* No footer yet: the operation fails, and what it leaves is made again. */
    assert_refusal(azure_disk_create(arm, &disk, NULL, &err), &err, FAIL_IO, "Vhd");
    err_clear(&err);
    write_footer(blob);
    assert_good(azure_disk_create(arm, &disk, NULL, &err), &err);
    assert_good(azure_disk_create(arm, &disk, NULL, &err), &err);
    assert_good(azure_disk_get(arm, disk.id, &info, &err), &err);
    assert_int_equal(info.bytes, DATA_BYTES);
    assert_good(azure_disk_remove(arm, disk.id, &err), &err);
}

/* ---- storms ---- */

static void with_every_answer_lost_once(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct azure_disk_make disk = copy_of("os");
    struct azure_nic_make nic = nic_of("nic", NULL);
    struct azure_vm_make vm = vm_of("vm", disk.id, nic.id);
    azure_sim_do(sim, "/faults",
                 "{\"name\": \"http.lost_answer\", \"method\": \"PUT\", \"count\": 3, "
                 "\"probability\": 0.5}");
    azure_sim_do(sim, "/faults", "{\"name\": \"http.500\", \"probability\": 0.1}");
    azure_sim_do(sim, "/faults", "{\"name\": \"http.429\", \"probability\": 0.1}");
    azure_sim_do(sim, "/faults", "{\"name\": \"http.cut\", \"probability\": 0.05}");
    for (int i = 0; i < 3; i++) {
        assert_good(azure_disk_create(arm, &disk, NULL, &err), &err);
        assert_good(azure_nic_create(arm, &nic, NULL, &err), &err);
        assert_good(azure_vm_create(arm, &vm, NULL, &err), &err);
        assert_good(azure_vm_remove(arm, vm.id, &err), &err);
        assert_good(azure_nic_remove(arm, nic.id, &err), &err);
        assert_good(azure_disk_remove(arm, disk.id, &err), &err);
    }
    json_free(azure_sim_control(sim, "DELETE", "/faults", NULL));
    assert_int_equal(azure_sim_made(sim), 0);
}

static void a_vm_made_unseen_is_ours(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct azure_disk_make disk = copy_of("os");
    struct azure_nic_make nic = nic_of("nic", NULL);
    struct azure_vm_make vm = vm_of("vm", disk.id, nic.id);
    assert_good(azure_disk_create(arm, &disk, NULL, &err), &err);
    assert_good(azure_nic_create(arm, &nic, NULL, &err), &err);
    azure_sim_do(sim, "/faults",
                 "{\"name\": \"http.lost_answer\", \"method\": \"PUT\", \"count\": 1}");
    assert_good(azure_vm_create(arm, &vm, NULL, &err), &err);
    assert_good(azure_vm_remove(arm, vm.id, &err), &err);
    assert_good(azure_nic_remove(arm, nic.id, &err), &err);
    assert_good(azure_disk_remove(arm, disk.id, &err), &err);
}

/* ---- quota, size, permission ---- */

static void limits_and_permissions(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct azure_disk_make disk = copy_of("os");
    struct azure_nic_make nic = nic_of("nic", NULL);
    struct azure_vm_make vm = vm_of("vm", disk.id, nic.id);
    assert_good(azure_disk_create(arm, &disk, NULL, &err), &err);
    assert_good(azure_nic_create(arm, &nic, NULL, &err), &err);
    azure_sim_do(sim, "/settings", "{\"quotas\": {\"cores\": 1}}");
    assert_refusal(azure_vm_create(arm, &vm, NULL, &err), &err, FAIL_LIMIT, "quota");
    err_clear(&err);
    azure_sim_do(sim, "/settings", "{\"quotas\": {\"cores\": 100}}");
    azure_sim_do(sim, "/faults", "{\"name\": \"vm.not_available\", \"count\": 1}");
    assert_refusal(azure_vm_create(arm, &vm, NULL, &err), &err, FAIL_LIMIT,
                   "SkuNotAvailable");
    err_clear(&err);
    AUTO(arm_close)
    struct arm *reader = open_arm(azure_sim_credential(sim, "reader", "reader-secret"));
    assert_refusal(azure_vm_create(reader, &vm, NULL, &err), &err, FAIL_AUTH,
                   "'Microsoft.Compute/virtualMachines/read'");
    err_clear(&err);
    struct azure_disk_make other = copy_of("other");
    assert_refusal(azure_disk_create(reader, &other, NULL, &err), &err, FAIL_AUTH,
                   "'Microsoft.Compute/disks/write'");
    err_clear(&err);
    static const char *const ACTIONS[] = {
        "Microsoft.Compute/disks/read", "Microsoft.Compute/disks/write",
        "microsoft.network/virtualNetworks/READ",
        "Microsoft.Compute/virtualMachines/read", "Microsoft.Compute/disks/readx"};
    char scope[ARM_ID_BYTES];
    uint64_t allowed = 0;
    (void)snprintf(scope, sizeof scope, "/subscriptions/%s/resourceGroups/rg-target",
                   arm_subscription(arm));
    assert_good(
        azure_permissions(reader, scope, ACTIONS, ARRAY_COUNT(ACTIONS), &allowed, &err),
        &err);
    assert_int_equal(allowed, 0x5); /* the machines are taken out */
    assert_good(
        azure_permissions(arm, scope, ACTIONS, ARRAY_COUNT(ACTIONS), &allowed, &err),
        &err);
    assert_int_equal(allowed, 0x1f);
    assert_good(azure_nic_remove(arm, nic.id, &err), &err);
    assert_good(azure_disk_remove(arm, disk.id, &err), &err);
}

/* ---- tokens that are not the simulator's own ---- */

static void assert_token_taken(const char *kind, const char *more, bool is_good)
{
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf text = {0};
    struct azure_disk_info info;
    buf_printf(&text,
               "{\"kind\": \"%s\", \"tenant\": \"tenant-1\", \"authority\": "
               "\"https://127.0.0.1:%u\", \"ca_file\": \"%s/both.pem\"%s}",
               kind, issuer.port, dir, more);
    AUTO(arm_close)
    struct arm *other = open_arm(azurite_write(dir, "issued.json", buf_text(&text)));
    bool ok = azure_disk_get(other, source, &info, &err);
    if (is_good)
        assert_good(ok, &err);
    else
        assert_refusal(ok, &err, FAIL_AUTH, "; check client and secret");
}

static void append_file(const char *path, struct buf *out)
{
    struct err err = ERR_INIT;
    assert_good(file_read(path, MIB, out, &err), &err);
}

static void tokens_of_a_real_issuer(void **state)
{
    (void)state;
    AUTO(buf_release) struct buf both = {0}, more = {0};
    char path[128];
    if (!issuer.port)
        skip();
    (void)snprintf(path, sizeof path, "%s/ca.pem", dir);
    append_file(path, &both);
    append_file(azure_sim_certificate(sim), &both);
    (void)azurite_write(dir, "both.pem", buf_text(&both));
    buf_printf(&more, ", \"client\": \"by-secret\", \"secret_file\": \"%s\"",
               azurite_write(dir, "secret", "good secret + 1"));
    assert_token_taken("client-secret", buf_text(&more), true);
    buf_clear(&more);
    buf_printf(&more, ", \"client\": \"by-secret\", \"secret_file\": \"%s\"",
               azurite_write(dir, "secret", "bad secret"));
    assert_token_taken("client-secret", buf_text(&more), false);
    buf_clear(&more);
    (void)snprintf(path, sizeof path, "%s/client.pem", dir);
    assert_int_equal(chmod(path, 0600), 0);
    buf_printf(&more,
               ", \"client\": \"by-certificate\", \"certificate_file\": "
               "\"%s\"",
               path);
    assert_token_taken("client-certificate", buf_text(&more), true);
}

/* ---- lists ---- */

static bool count_resource(void *ctx, const struct azure_resource *resource,
                           struct err *err)
{
    unsigned *count = ctx;
    (void)err;
    ++*count;
    assert_true(text_starts_with(resource->id, "/subscriptions/"));
    assert_true(strchr(resource->type, '/') != NULL);
    assert_string_equal(json_string_value(json_object_get(resource->tags, "kedge-role")),
                        "test");
    return true;
}

static bool see_size(void *ctx, const struct azure_size *size, struct err *err)
{
    struct azure_size *found = ctx;
    (void)err;
    if (strcmp(size->name, "Standard_F4s_v2") == 0)
        *found = *size;
    return true;
}

static bool see_usage(void *ctx, const struct azure_usage *usage, struct err *err)
{
    uint64_t *limit = ctx;
    (void)err;
    if (strcmp(usage->name, "cores") == 0)
        *limit = usage->limit;
    return true;
}

static void what_a_subscription_has(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    char name[8];
    unsigned count = 0;
    struct azure_size size = {.cpus = 0};
    uint64_t limit = 0;
    azure_sim_do(sim, "/settings", "{\"page_items\": 2}");
    for (int i = 0; i < 5; i++) {
        (void)snprintf(name, sizeof name, "n%d", i);
        struct azure_nic_make nic = nic_of(name, NULL);
        assert_good(azure_nic_create(arm, &nic, NULL, &err), &err);
    }
    assert_good(azure_resources_list(arm, "rg-target", "Kedge-Machine", count_resource,
                                     &count, &err),
                &err);
    assert_int_equal(count, 5);
    for (int i = 0; i < 5; i++) {
        (void)snprintf(name, sizeof name, "n%d", i);
        assert_good(azure_nic_remove(arm, NIC(name), &err), &err);
    }
    assert_good(azure_sizes_list(arm, "West Europe", see_size, &size, &err), &err);
    assert_int_equal(size.cpus, 4);
    assert_int_equal(size.memory_bytes, 8 * GIB);
    assert_true(size.gen2 && size.premium_disks && !size.is_restricted);
    assert_true(size.max_data_disks > 0 && size.max_nics > 0);
    assert_true(size.family[0]);
    assert_good(azure_usage_list(arm, "West Europe", see_usage, &limit, &err), &err);
    assert_int_equal(limit, 100);
    azure_sim_do(sim, "/settings", "{\"page_items\": 100}");
    assert_refusal(
        azure_resources_list(arm, "rg-none", NULL, count_resource, &count, &err), &err,
        FAIL_GONE, "; make the resource group");
}

static void a_storage_account(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct azure_account_info info;
    assert_good(azure_account_get(arm, id_of("Microsoft.Storage/storageAccounts", "logs"),
                                  &info, &err),
                &err);
    assert_string_equal(info.kind, "StorageV2");
    assert_string_equal(info.sku, "Standard_LRS");
    assert_string_equal(info.min_tls, "TLS1_0");
    assert_string_equal(info.location, "westeurope");
    assert_true(info.allows_public_blobs && !info.allows_http && info.allows_shared_key);
    assert_true(info.has_public_network && !info.is_hierarchical);
    assert_int_equal(info.endpoint_count, 0);
}

static void start_azurite(struct buf *accounts)
{
    if (!azurite_is_there())
        return;
    (void)azurite_write(dir, "account.key", azurite_key());
    azurite = azurite_start(dir);
    buf_printf(accounts,
               "{\"name\": \"" AZURITE_ACCOUNT "\", \"key\": \"%s\", \"endpoint\": "
               "\"https://127.0.0.1:%u\", \"ca_file\": \"%s/ca.pem\"}",
               azurite_key(), azurite_port(azurite), dir);
}

static void start_sim(const char *account)
{
    AUTO(buf_release) struct buf config = {0};
    buf_append_text(&config, "{\"tenant\": \"33333333-3333-3333-3333-333333333333\", ");
    if (issuer.port)
        buf_printf(&config,
                   "\"issuers\": [{\"issuer\": \"https://sts.windows.net/"
                   "11111111-1111-1111-1111-111111111111/\", \"jwks_url\": "
                   "\"https://127.0.0.1:%u/jwks\", \"ca_file\": \"%s/ca.pem\"}], ",
                   issuer.port, dir);
    buf_append_text(
        &config,
        "\"operation_ms\": 30, \"clients\": [{\"id\": \"kedge\", \"secret\": \"s\"}, "
        "{\"id\": \"reader\", \"secret\": \"reader-secret\", \"roles\": [{\"actions\": "
        "[\"*/read\"], \"notActions\": [\"Microsoft.Compute/virtualMachines/*\"]}, "
        "{\"actions\": [\"Microsoft.Compute/virtualMachines/read\"], \"scope\": "
        "\"/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/"
        "rg-test\"}]}], \"storage_accounts\": [{\"name\": \"logs\", \"group\": "
        "\"rg-target\", \"min_tls\": \"TLS1_0\", \"public_blobs\": true, \"key\": "
        "\"a2V5\", \"endpoint\": \"https://127.0.0.1:1\"}");
    if (*account)
        buf_printf(&config, ", %s], \"managed_account\": %s}", account, account);
    else
        buf_append_text(&config, "]}");
    sim = azure_sim_start(buf_text(&config));
}

static int set_up(void **state)
{
    (void)state;
    AUTO(buf_release) struct buf account = {0};
    if (!mkdtemp(dir))
        return -1;
    test_certs_make(dir);
    start_azurite(&account);
    issuer = issuer_start(dir, ISSUER_SCRIPT);
    start_sim(buf_text(&account));
    arm = open_arm(azure_sim_credential(sim, "kedge", "s"));
    azure_sim_do(sim, "/resource",
                 "{\"group\": \"rg-test\", \"type\": \"Microsoft.Compute/disks\", "
                 "\"name\": \"source\", \"body\": {}}");
    (void)snprintf(source, sizeof source,
                   "/subscriptions/%s/resourceGroups/rg-test/providers/"
                   "Microsoft.Compute/disks/source",
                   arm_subscription(arm));
    (void)snprintf(subnet, sizeof subnet,
                   "/subscriptions/%s/resourceGroups/rg-target/providers/"
                   "Microsoft.Network/virtualNetworks/vnet/subnets/default",
                   arm_subscription(arm));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    arm_close(arm);
    azure_sim_stop(sim);
    azurite_stop(azurite);
    if (issuer.port)
        issuer_stop(issuer);
    return file_remove_tree(dir, &err) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_machine_from_start_to_end),
        cmocka_unit_test(boot_diagnostics),
        cmocka_unit_test(what_is_not_ours_is_left_alone),
        cmocka_unit_test(a_failed_one_is_made_again),
        cmocka_unit_test(an_upload),
        cmocka_unit_test(an_import),
        cmocka_unit_test(a_vm_made_unseen_is_ours),
        cmocka_unit_test(with_every_answer_lost_once),
        cmocka_unit_test(limits_and_permissions),
        cmocka_unit_test(tokens_of_a_real_issuer),
        cmocka_unit_test(what_a_subscription_has),
        cmocka_unit_test(a_storage_account),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
