/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of machines at an azure target, against the simulated Resource Manager and the
 * storage emulator. After each step what the target says it holds is what is there.
 */
#include "azure_rig.h"

#include "azure/vhd.h"

#define DISK_BYTES (2 * MIB + 4096) /* no whole MiB: the VHD is longer */
#define VHD_BYTES  (3 * MIB)

static struct rig rig;

static void make(struct machine_def *machine, const char *name, size_t disks,
                 uint64_t disk_bytes)
{
    make_machine(machine, disks, disk_bytes);
    (void)snprintf(machine->name, sizeof machine->name, "%s", name);
    machine->nic_count = 2;
    for (size_t i = 0; i < disks; i++)
        machine->disks[i].id = id_random();
}

static struct test_options quick(const char *name)
{
    return (struct test_options){
        .test_name = name, .start = true, .boot_deadline_ms = 30000};
}

static void assert_tag(const char *name, const char *tag, const char *want)
{
    const json_t *resource = rig_resource(&rig, name);
    if (!resource)
        fail_msg("there is no '%s'", name);
    const char *found =
        json_string_value(json_object_get(json_object_get(resource, "tags"), tag));
    if (!want)
        assert_null(found);
    else if (!found || strcmp(found, want) != 0)
        fail_msg("tag '%s' of '%s' is '%s'", tag, name, found ? found : "missing");
}

static const json_t *properties(const char *name)
{
    const json_t *resource = rig_resource(&rig, name);
    if (!resource)
        fail_msg("there is no '%s'", name);
    return json_object_get(json_object_get(resource, "body"), "properties");
}

static void test_whole_life(void **unused)
{
    (void)unused;
    struct err err = ERR_INIT;
    struct machine_def machine;
    AUTO(free) struct vm_info *info = xcalloc(1, sizeof *info);
    make(&machine, "web_1", 2, DISK_BYTES);
    assert_ok(target_replica_create(rig.target, &machine, &err), err);
    rig_check_inventory(&rig);
    rig_fill(&rig, &machine, 0, MIB, 1);
    rig_fill(&rig, &machine, 1, DISK_BYTES, 2);
    rig_check_inventory(&rig);

    struct test_options options = quick("t1");
    assert_ok(target_test_start(rig.target, &machine, &options, NULL, info, &err), err);
    assert_string_equal(info->name, "web-1-t1");
    assert_string_equal(info->how_booted, "guest agent");
    assert_true(file_exists(info->screen_png));
    assert_true(file_exists(info->serial_log));
    rig_check_inventory(&rig);
    assert_int_equal(rig_snapshots(&rig), 2);
    assert_tag("web-1-t1-disk0", "kedge-role", "test-t1");
    rig_check_content(&rig, "web-1-t1-disk0", VHD_BYTES, MIB, 1);
    rig_check_content(&rig, "web-1-t1-disk1", VHD_BYTES, DISK_BYTES, 2);
    /* The replica goes on; what the test has does not. */
    rig_fill(&rig, &machine, 0, 2 * MIB, 3);
    rig_check_content(&rig, "web-1-t1-disk0", VHD_BYTES, MIB, 1);
    assert_fails(target_test_start(rig.target, &machine, &options, NULL, info, &err),
                 FAIL_CONFLICT, err);
    options = quick("");
    assert_fails(target_migrate(rig.target, &machine, &options, NULL, info, &err),
                 FAIL_CONFLICT, err);
    rig_reopen(&rig);
    assert_ok(target_test_cleanup(rig.target, &machine, "t1", &err), err);
    assert_ok(target_test_cleanup(rig.target, &machine, "t1", &err), err);
    assert_int_equal(azure_sim_made(rig.sim), 0);
    assert_int_equal(rig_snapshots(&rig), 0);
    rig_check_inventory(&rig);

    assert_ok(target_migrate(rig.target, &machine, &options, NULL, info, &err), err);
    assert_string_equal(info->name, "web-1");
    rig_check_inventory(&rig);
    rig_check_content(&rig, "web-1-disk0", VHD_BYTES, 2 * MIB, 3);
    rig_check_content(&rig, "web-1-disk1", VHD_BYTES, DISK_BYTES, 2);
    struct replica_disk *disk;
    assert_fails(target_disk_open(rig.target, &machine, 0, true, &disk, &err),
                 FAIL_CONFLICT, err);
    assert_fails(target_remove(rig.target, &machine, &err), FAIL_CONFLICT, err);
    assert_ok(target_migrate(rig.target, &machine, &options, NULL, info, &err), err);

    assert_ok(target_complete(rig.target, &machine, &err), err);
    assert_ok(target_complete(rig.target, &machine, &err), err);
    assert_int_equal(rig_blobs(&rig), 0);
    assert_int_equal(azure_sim_made(rig.sim), 5);
    assert_tag("web-1", "kedge-machine", NULL);
    assert_tag("web-1-nic1", "kedge-machine", NULL);
    assert_int_equal(rig_drop_released(&rig), 5);
}

static bool count_items(void *ctx, const struct target_item *item, struct err *err)
{
    (void)err;
    if (item->test_name)
        ((size_t *)ctx)[1]++;
    else
        ((size_t *)ctx)[0]++;
    return true;
}

/* Stop: tests and all go, and what a first attempt could not remove. */
static void test_remove_all(void **unused)
{
    (void)unused;
    struct err err = ERR_INIT;
    struct machine_def machine;
    size_t counts[2] = {0}, before = azure_sim_made(rig.sim);
    AUTO(free) struct vm_info *info = xcalloc(1, sizeof *info);
    make(&machine, "gone", 1, MIB);
    assert_ok(target_replica_create(rig.target, &machine, &err), err);
    struct test_options options = quick("a");
    assert_ok(target_test_start(rig.target, &machine, &options, NULL, info, &err), err);
    options = quick("b");
    options.start = false;
    assert_ok(target_test_start(rig.target, &machine, &options, NULL, info, &err), err);
    assert_ok(target_list(rig.target, count_items, counts, &err), err);
    assert_int_equal(counts[0], 1);
    assert_int_equal(counts[1], 2);
    azure_sim_do(rig.sim, "/faults",
                 "{\"name\": \"operation.fails\", \"method\": \"DELETE\", \"count\": 1}");
    if (target_remove(rig.target, &machine, &err))
        fail_msg("removed though a delete failed");
    err_clear(&err);
    assert_ok(target_remove(rig.target, &machine, &err), err);
    assert_ok(target_remove(rig.target, &machine, &err), err);
    assert_int_equal(rig_blobs(&rig), 0);
    assert_int_equal(azure_sim_made(rig.sim), before);
}

static void check_zeros(const struct machine_def *machine, uint64_t from, uint64_t to)
{
    struct err err = ERR_INIT;
    AUTO(replica_disk_close) struct replica_disk *disk = NULL;
    AUTO(free) uint8_t *data = xcalloc(1, to);
    assert_ok(target_disk_open(rig.target, machine, 0, false, &disk, &err), err);
    assert_int_equal(replica_disk_bytes(disk), to);
    assert_ok(replica_disk_read(disk, from, data, to - from, &err), err);
    for (uint64_t i = 0; i < to - from; i++)
        if (data[i])
            fail_msg("byte %llu is not zero", (unsigned long long)(from + i));
}

/* The VHD is whole after each change of size, and a part that comes back is empty. */
static void test_resize(void **unused)
{
    (void)unused;
    struct err err = ERR_INIT;
    struct machine_def machine;
    AUTO(free) struct vm_info *info = xcalloc(1, sizeof *info);
    struct test_options options = quick("r");
    make(&machine, "grow", 1, DISK_BYTES);
    assert_ok(target_replica_create(rig.target, &machine, &err), err);
    rig_fill(&rig, &machine, 0, DISK_BYTES, 5);
    static const uint64_t SIZES[] = {DISK_BYTES + 4096, 6 * MIB, 1 * MIB + 512, 5 * MIB};
    uint64_t smallest = DISK_BYTES;
    for (size_t i = 0; i < ARRAY_COUNT(SIZES); i++) {
        smallest = MIN_OF(smallest, SIZES[i]);
        assert_ok(target_disk_resize(rig.target, &machine, 0, SIZES[i], &err), err);
        machine.disks[0].disk_bytes = SIZES[i];
        if (SIZES[i] > smallest)
            check_zeros(&machine, smallest, SIZES[i]);
        assert_ok(target_test_start(rig.target, &machine, &options, NULL, info, &err),
                  err);
        rig_check_content(&rig, "grow-r-disk0", vhd_data_bytes(SIZES[i]), smallest, 5);
        assert_ok(target_test_cleanup(rig.target, &machine, "r", &err), err);
    }
    assert_fails(target_disk_resize(rig.target, &machine, 3, MIB, &err), FAIL_INPUT, err);
    AUTO(replica_disk_close) struct replica_disk *disk = NULL;
    assert_ok(target_disk_open(rig.target, &machine, 0, false, &disk, &err), err);
    assert_fails(target_disk_resize(rig.target, &machine, 0, MIB, &err), FAIL_CONFLICT,
                 err);
    replica_disk_close(TAKE(disk));
    assert_ok(target_remove(rig.target, &machine, &err), err);
}

/* A disk that is uploaded straight into a managed disk. */
static void test_upload(void **unused)
{
    (void)unused;
    struct err err = ERR_INIT;
    struct machine_def machine;
    AUTO(free) struct vm_info *info = xcalloc(1, sizeof *info);
    struct test_options options = quick("u");
    uint64_t disk_bytes = 24 * MIB;
    rig.options.replica = "upload";
    rig_reopen(&rig);
    make(&machine, "big", 1, disk_bytes);
    assert_ok(target_replica_create(rig.target, &machine, &err), err);
    assert_ok(target_replica_create(rig.target, &machine, &err), err);
    rig_check_inventory(&rig);
    rig_fill(&rig, &machine, 0, 3 * MIB, 7);
    azure_sim_do(rig.sim, "/sas/expire", "{\"name\": \"big-disk0\"}");
    rig_fill(&rig, &machine, 0, 2 * MIB, 8);
    assert_fails(target_test_start(rig.target, &machine, &options, NULL, info, &err),
                 FAIL_CONFLICT, err);
    assert_fails(target_disk_resize(rig.target, &machine, 0, 48 * MIB, &err),
                 FAIL_CONFLICT, err);
    options = quick("");
    assert_ok(target_migrate(rig.target, &machine, &options, NULL, info, &err), err);
    rig_check_content(&rig, "big-disk0", disk_bytes, 2 * MIB, 8);
    rig_check_inventory(&rig);
    assert_ok(target_complete(rig.target, &machine, &err), err);
    assert_tag("big-disk0", "kedge-machine", NULL);
    assert_int_equal(rig_drop_released(&rig), 4);
    assert_int_equal(rig_blobs(&rig), 0);
    rig.options.replica = NULL;
    rig_reopen(&rig);
}

/* What the settings say of one machine is what the VM is made with. */
static void test_settings(void **unused)
{
    (void)unused;
    struct err err = ERR_INIT;
    struct machine_def machine;
    const char *const tags[] = {"owner=shop"};
    AUTO(free) struct vm_info *info = xcalloc(1, sizeof *info);
    struct test_options options = quick("");
    make(&machine, "shop", 2, MIB);
    machine.firmware = FIRMWARE_UEFI;
    rig.options.machine_settings = azurite_write(
        rig.dir, "machines.json",
        "{\"shop\": {\"vm_name\": \"shop-db\", \"vm_size\": \"Standard_D4s_v5\", "
        "\"zone\": \"2\", \"os_type\": \"Windows\", \"tags\": {\"cost\": \"42\"}, "
        "\"nics\": [{\"ip\": \"10.0.0.77\"}], \"disks\": [{}, {\"sku\": "
        "\"Premium_LRS\"}]}}");
    rig.options.tags = tags;
    rig.options.tag_count = 1;
    rig.options.license_type = "Windows_Server";
    rig_reopen(&rig);
    assert_ok(target_replica_create(rig.target, &machine, &err), err);
    assert_ok(target_migrate(rig.target, &machine, &options, NULL, info, &err), err);
    assert_string_equal(info->name, "shop-db");
    const json_t *vm = properties("shop-db");
    assert_string_equal(json_string_value(json_object_get(
                            json_object_get(vm, "hardwareProfile"), "vmSize")),
                        "Standard_D4s_v5");
    assert_string_equal(json_string_value(json_object_get(vm, "licenseType")),
                        "Windows_Server");
    const json_t *disk = properties("shop-db-disk0");
    assert_string_equal(json_string_value(json_object_get(disk, "hyperVGeneration")),
                        "V2");
    assert_string_equal(json_string_value(json_object_get(disk, "osType")), "Windows");
    const json_t *nic = json_array_get(
        json_object_get(properties("shop-db-nic0"), "ipConfigurations"), 0);
    assert_string_equal(json_string_value(json_object_get(
                            json_object_get(nic, "properties"), "privateIPAddress")),
                        "10.0.0.77");
    const json_t *body = json_object_get(rig_resource(&rig, "shop-db-disk1"), "body");
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(body, "sku"), "name")),
        "Premium_LRS");
    assert_ok(target_complete(rig.target, &machine, &err), err);
    assert_tag("shop-db", "owner", "shop");
    assert_tag("shop-db", "cost", "42");
    assert_tag("shop-db", "kedge-role", NULL);
    rig.options.tags = NULL;
    rig.options.tag_count = 0;
    rig.options.license_type = rig.options.machine_settings = NULL;
    rig_reopen(&rig);
}

/* Whether there is such a finding whose text has the word. */
static bool finds(const struct machine_def *machine, enum finding_severity severity,
                  const char *code, const char *word)
{
    struct err err = ERR_INIT;
    AUTO(findings_release) struct findings findings = {0};
    bool found = false;
    assert_ok(target_check(rig.target, machine, &findings, &err), err);
    for (size_t i = 0; i < findings.count; i++) {
        const struct finding *f = &findings.items[i];
        char all[900];
        (void)snprintf(all, sizeof all, "%s: %s; %s", f->what, f->why, f->remedy);
        found |=
            f->severity == severity && strcmp(f->code, code) == 0 && strstr(all, word);
        if (severity == FINDING_OK && f->severity == FINDING_BLOCKER)
            fail_msg("%s: %s", f->code, all);
    }
    return found;
}

static void test_check(void **unused)
{
    (void)unused;
    struct machine_def machine;
    make(&machine, "seen", 1, 40 * GIB);
    assert_true(finds(NULL, FINDING_OK, "azure.account", "storage account"));
    assert_true(finds(&machine, FINDING_OK, "azure.plan", "page blob of 40.0 GiB"));
    assert_true(finds(&machine, FINDING_OK, "azure.plan", "size Standard_"));
    azure_sim_do(rig.sim, "/roles",
                 "{\"client\": \"kedge\", \"roles\": [{\"actions\": [\"*\"], "
                 "\"notActions\": [\"Microsoft.Network/*/join/action\"]}]}");
    assert_true(finds(&machine, FINDING_BLOCKER, "azure.permission", "subnets/join"));
    assert_true(finds(NULL, FINDING_BLOCKER, "azure.permission", "Network Contributor"));
    azure_sim_do(rig.sim, "/roles",
                 "{\"client\": \"kedge\", \"roles\": [{\"actions\": [\"*\"]}]}");
    azure_sim_do(rig.sim, "/settings", "{\"quotas\": {\"cores\": 0}}");
    assert_true(finds(&machine, FINDING_WARNING, "azure.quota", "'cores'"));
    azure_sim_do(rig.sim, "/settings", "{\"quotas\": {\"cores\": 100}}");
    azure_sim_do(rig.sim, "/resource",
                 "{\"group\": \"rg-target\", \"type\": \"Microsoft.Compute/disks\", "
                 "\"name\": \"seen-disk0\", \"body\": {}}");
    assert_true(finds(&machine, FINDING_BLOCKER, "azure.name-clash", "seen-disk0"));
    machine.disks[0].disk_bytes = 33 * TIB;
    assert_true(finds(&machine, FINDING_BLOCKER, "azure.disk-size", "32 TiB"));
    machine.disks[0].disk_bytes = 5 * TIB;
    assert_true(finds(&machine, FINDING_BLOCKER, "azure.os-disk", "4 TiB"));
    machine.cpus = 4000;
    assert_true(finds(&machine, FINDING_BLOCKER, "azure.size", "4000 cores"));
    rig.options.location = "northeurope";
    rig.options.test_network_id = NULL;
    rig_reopen(&rig);
    assert_true(finds(NULL, FINDING_BLOCKER, "azure.account", "own region"));
    rig.options.location = "westeurope";
    rig_reopen(&rig);
    assert_true(finds(&machine, FINDING_WARNING, "azure.no-test-network", "refused"));
    rig.options.test_network_id = rig.network;
    rig_reopen(&rig);
}

static int begin_all(void **state)
{
    (void)state;
    rig_begin(&rig);
    return 0;
}

static int end_all(void **state)
{
    (void)state;
    rig_end(&rig);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_life), cmocka_unit_test(test_remove_all),
        cmocka_unit_test(test_resize),     cmocka_unit_test(test_upload),
        cmocka_unit_test(test_settings),   cmocka_unit_test(test_check),
    };
    return cmocka_run_group_tests(tests, begin_all, end_all);
}
