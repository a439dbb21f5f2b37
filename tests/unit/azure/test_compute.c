/* SPDX-License-Identifier: Apache-2.0 */
/* compute.h against a service by script: exact bodies, what is there already, odd
 * answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "azure/compute.h"
#include "base/file.h"
#include "support/script_server.h"

#define SUB     "11111111-2222-3333-4444-555555555555"
#define GROUP   "/subscriptions/" SUB "/resourceGroups/g"
#define COMPUTE GROUP "/providers/Microsoft.Compute"
#define NETWORK GROUP "/providers/Microsoft.Network"
#define DISK    COMPUTE "/disks/d"
#define NIC     NETWORK "/networkInterfaces/n"
#define VM      COMPUTE "/virtualMachines/v"
#define SUBNET  NETWORK "/virtualNetworks/net/subnets/s"
#define ABSENT                                                                           \
    {                                                                                    \
        404, NULL, "{\"error\": {\"code\": \"ResourceNotFound\"}}", 0, 0                 \
    }
#define OK(body)                                                                         \
    {                                                                                    \
        200, NULL, body, 0, 0                                                            \
    }
#define MADE "{\"properties\": {\"provisioningState\": \"Succeeded\"}}"

static char dir[] = "/tmp/kedge-compute-XXXXXX";
static struct script_server *server;
static struct arm *arm;

static void assert_good(bool ok, const struct err *err)
{
    if (!ok)
        fail_msg("%s: %s\n%s", err_kind_name(err->kind), err->text,
                 script_server_log(server));
}

static void assert_refusal(bool ok, const struct err *err, enum err_kind kind,
                           const char *part)
{
    if (ok || err->kind != kind || !strstr(err->text, part))
        fail_msg("%s: %s\n%s", ok ? "went well" : err_kind_name(err->kind), err->text,
                 script_server_log(server));
}

static struct azure_tags ours(void)
{
    return (struct azure_tags){.count = 1, .items = {{"kedge", "m1"}}};
}

static struct azure_disk_make disk_make(void)
{
    return (struct azure_disk_make){.id = DISK,
                                    .location = "westeurope",
                                    .sku = "Premium_LRS",
                                    .from = AZURE_DISK_COPY,
                                    .source = COMPUTE "/snapshots/s",
                                    .tags = ours()};
}

static struct azure_vm_make vm_make(void)
{
    return (struct azure_vm_make){
        .id = VM,
        .location = "westeurope",
        .size = "Standard_D2s_v5",
        .os_type = "Windows",
        .disk_count = 3,
        .disk_ids = {DISK, COMPUTE "/disks/a", COMPUTE "/disks/b"},
        .nic_count = 2,
        .nic_ids = {NIC, NETWORK "/networkInterfaces/n2"},
        .tags = ours()};
}

/* ---- bodies ---- */

static void assert_sent(const char *wanted)
{
    struct err err = ERR_INIT;
    AUTO(json_free) json_t *want = json_parse("wanted", wanted, strlen(wanted), &err);
    const char *text = script_server_body(server, 1);
    AUTO(json_free) json_t *sent = json_parse("sent", text, strlen(text), &err);
    if (!want || !sent || !json_equal(want, sent))
        fail_msg("sent %s\nnot  %s", text, wanted);
}

static void bodies_of_disks(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct azure_disk_make make = disk_make();
    make.from = AZURE_DISK_IMPORT;
    make.source = "https://a.blob.core.windows.net/c/d?snapshot=2026-11-22T08:00:00Z";
    make.storage_account_id = GROUP "/providers/Microsoft.Storage/storageAccounts/a";
    make.zone = "2";
    make.os_type = "Windows";
    make.is_gen2 = true;
    make.encryption_set = COMPUTE "/diskEncryptionSets/e";
    SCRIPT_PLAY(server, ABSENT, OK(MADE));
    assert_good(azure_disk_create(arm, &make, NULL, &err), &err);
    assert_sent(
        "{\"location\": \"westeurope\", \"zones\": [\"2\"], \"tags\": {\"kedge\": "
        "\"m1\"}, \"sku\": {\"name\": \"Premium_LRS\"}, \"properties\": "
        "{\"osType\": \"Windows\", \"hyperVGeneration\": \"V2\", "
        "\"creationData\": {\"createOption\": \"Import\", \"sourceUri\": "
        "\"https://a.blob.core.windows.net/c/d?snapshot=2026-11-22T08:00:00Z\", "
        "\"storageAccountId\": \"" GROUP
        "/providers/Microsoft.Storage/storageAccounts/a\"}, \"encryption\": "
        "{\"diskEncryptionSetId\": \"" COMPUTE "/diskEncryptionSets/e\", \"type\": "
        "\"EncryptionAtRestWithCustomerKey\"}}}");
    make = disk_make();
    make.from = AZURE_DISK_UPLOAD;
    make.upload_bytes = 32 * TIB + 512;
    SCRIPT_PLAY(server, ABSENT, OK(MADE));
    assert_good(azure_disk_create(arm, &make, NULL, &err), &err);
    assert_sent("{\"location\": \"westeurope\", \"tags\": {\"kedge\": \"m1\"}, \"sku\": "
                "{\"name\": \"Premium_LRS\"}, \"properties\": {\"creationData\": "
                "{\"createOption\": \"Upload\", \"uploadSizeBytes\": 35184372089344}}}");
    static const uint64_t BAD[] = {
        0, 512, 20 * MIB, 20 * MIB - 512, 20 * MIB + 1024, 32 * TIB + MIB + 512};
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++) {
        make.upload_bytes = BAD[i];
        assert_refusal(azure_disk_create(arm, &make, NULL, &err), &err, FAIL_INPUT,
                       "footer");
        err_clear(&err);
    }
}

static void body_of_a_nic(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct azure_nic_make make = {.id = NIC,
                                  .location = "westeurope",
                                  .subnet_id = SUBNET,
                                  .static_ip = "10.0.0.4",
                                  .security_group_id = NETWORK "/networkSecurityGroups/x",
                                  .accelerated = true,
                                  .tags = ours()};
    SCRIPT_PLAY(server, ABSENT, OK(MADE));
    assert_good(azure_nic_create(arm, &make, NULL, &err), &err);
    assert_sent("{\"location\": \"westeurope\", \"tags\": {\"kedge\": \"m1\"}, "
                "\"properties\": {\"ipConfigurations\": [{\"name\": \"ipconfig1\", "
                "\"properties\": {\"primary\": true, \"privateIPAddressVersion\": "
                "\"IPv4\", \"privateIPAllocationMethod\": \"Static\", "
                "\"privateIPAddress\": \"10.0.0.4\", \"subnet\": {\"id\": \"" SUBNET
                "\"}}}], \"enableAcceleratedNetworking\": true, "
                "\"networkSecurityGroup\": {\"id\": \"" NETWORK
                "/networkSecurityGroups/x\"}}}");
    assert_null(strstr(script_server_headers(server, 1), "If-None-Match"));
    make.static_ip = "fe80::1";
    assert_refusal(azure_nic_create(arm, &make, NULL, &err), &err, FAIL_INPUT,
                   "'fe80::1' is not an IPv4 address");
}

#define ATTACHED(id, caching)                                                            \
    "\"createOption\": \"Attach\", \"caching\": \"" caching                              \
    "\", \"managedDisk\": {\"id\": \"" id "\"}, \"deleteOption\": \"Detach\""
#define PLUGGED(id, primary)                                                             \
    "{\"id\": \"" id "\", \"properties\": {\"primary\": " primary                        \
    ", \"deleteOption\": \"Detach\"}}"
#define OS_DISK "{" ATTACHED(DISK, "ReadWrite") ", \"osType\": \"Windows\"}"
#define DATA_A  "{" ATTACHED(COMPUTE "/disks/a", "None") ", \"lun\": 0}"
#define DATA_B  "{" ATTACHED(COMPUTE "/disks/b", "None") ", \"lun\": 1}"
#define NIC_1   PLUGGED(NIC, "true")
#define NIC_2   PLUGGED(NETWORK "/networkInterfaces/n2", "false")
#define VM_PROFILES(size)                                                                \
    "\"hardwareProfile\": {\"vmSize\": \"" size "\"}, "                                  \
    "\"storageProfile\": {\"osDisk\": " OS_DISK ", "                                     \
    "\"dataDisks\": [" DATA_A ", " DATA_B "]}, "                                         \
    "\"networkProfile\": {\"networkInterfaces\": [" NIC_1 ", " NIC_2 "]}"

static void body_of_a_vm(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct azure_vm_make make = vm_make();
    make.zone = "1";
    make.proximity_group_id = COMPUTE "/proximityPlacementGroups/p";
    make.availability_set_id = COMPUTE "/availabilitySets/s";
    make.license_type = "Windows_Server";
    SCRIPT_PLAY(server, ABSENT, OK(MADE));
    assert_good(azure_vm_create(arm, &make, NULL, &err), &err);
    assert_sent(
        "{\"location\": \"westeurope\", \"zones\": [\"1\"], \"tags\": {\"kedge\": "
        "\"m1\"}, \"properties\": {" VM_PROFILES(
            "Standard_D2s_v5") ", "
                               "\"diagnosticsProfile\": {\"bootDiagnostics\": "
                               "{\"enabled\": true}}, "
                               "\"availabilitySet\": {\"id\": \"" COMPUTE
                               "/availabilitySets/s\"}, "
                               "\"proximityPlacementGroup\": {\"id\": \"" COMPUTE
                               "/proximityPlacementGroups/p\"}, \"licenseType\": "
                               "\"Windows_Server\"}}");
    assert_non_null(strstr(script_server_headers(server, 1), "If-None-Match: *"));
    make.nic_count = 0;
    assert_refusal(azure_vm_create(arm, &make, NULL, &err), &err, FAIL_INPUT, "0 NICs");
}

/* ---- what is there already ---- */

#define DISK_AS(tags, state, source)                                                     \
    "{\"location\": \"West Europe\", \"tags\": {" tags                                   \
    "}, \"properties\": {\"provisioningState\": \"" state                                \
    "\", \"creationData\": {\"createOption\": \"Copy\", \"sourceResourceId\": \"" source \
    "\"}}}"
#define MINE   "\"KEDGE\": \"m1\", \"cost-center\": \"7\""
#define SOURCE COMPUTE "/SNAPSHOTS/S"

static void what_is_there_decides(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct azure_disk_make make = disk_make();
    SCRIPT_PLAY(server, OK(DISK_AS(MINE, "Succeeded", SOURCE)));
    assert_good(azure_disk_create(arm, &make, NULL, &err), &err);
    assert_null(strstr(script_server_log(server), "PUT"));

    SCRIPT_PLAY(server, OK(DISK_AS(MINE, "Creating", SOURCE)),
                OK(DISK_AS(MINE, "Creating", SOURCE)),
                OK(DISK_AS(MINE, "Succeeded", SOURCE))); /* somebody's, maybe ours */
    assert_good(azure_disk_create(arm, &make, NULL, &err), &err);
    assert_null(strstr(script_server_log(server), "PUT"));

    SCRIPT_PLAY(server, OK(DISK_AS(MINE, "Updating", SOURCE)),
                OK(DISK_AS(MINE, "Failed", SOURCE)), OK(MADE)); /* made again */
    assert_good(azure_disk_create(arm, &make, NULL, &err), &err);
    assert_non_null(strstr(script_server_log(server), "PUT"));

    SCRIPT_PLAY(server, OK(DISK_AS(MINE, "Deleting", SOURCE)));
    assert_refusal(azure_disk_create(arm, &make, NULL, &err), &err, FAIL_CONFLICT,
                   "is being deleted");
    err_clear(&err);
    SCRIPT_PLAY(server, OK(DISK_AS(MINE, "Succeeded", COMPUTE "/snapshots/other")));
    assert_refusal(azure_disk_create(arm, &make, NULL, &err), &err, FAIL_CONFLICT,
                   "another source");
    err_clear(&err);
    SCRIPT_PLAY(server, OK(DISK_AS("\"kedge\": \"m2\\nx\"", "Succeeded", SOURCE)));
    assert_refusal(azure_disk_create(arm, &make, NULL, &err), &err, FAIL_CONFLICT,
                   "somebody else (tag 'kedge' is m2 x)");
    err_clear(&err);
    SCRIPT_PLAY(server, OK(DISK_AS("", "Succeeded", SOURCE)));
    assert_refusal(azure_disk_create(arm, &make, NULL, &err), &err, FAIL_CONFLICT,
                   "is missing");
    err_clear(&err);
    make.tags.count = 0; /* then nothing that is there can be ours */
    SCRIPT_PLAY(server, OK(DISK_AS(MINE, "Succeeded", SOURCE)));
    assert_refusal(azure_disk_create(arm, &make, NULL, &err), &err, FAIL_CONFLICT,
                   "exists already; remove it");
    err_clear(&err);
    SCRIPT_PLAY(server, {403, NULL, NULL, 0, 1});
    assert_refusal(azure_disk_create(arm, &make, NULL, &err), &err, FAIL_AUTH, "403");
}

static void somebody_else_was_faster(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct azure_disk_make make = disk_make();
    /* our first PUT took effect, its answer and the second one's success did not come */
    SCRIPT_PLAY(server, ABSENT, {500, NULL, NULL, 0, 0}, {409, NULL, NULL, 0, 0},
                OK(DISK_AS(MINE, "Creating", SOURCE)),
                OK(DISK_AS(MINE, "Creating", SOURCE)),
                OK(DISK_AS(MINE, "Succeeded", SOURCE)));
    assert_good(azure_disk_create(arm, &make, NULL, &err), &err);
    struct azure_vm_make vm = vm_make();
    SCRIPT_PLAY(server, ABSENT, {412, NULL, NULL, 0, 0},
                OK("{\"location\": \"westeurope\", \"tags\": {\"kedge\": \"m9\"}}"));
    assert_refusal(azure_vm_create(arm, &vm, NULL, &err), &err, FAIL_CONFLICT,
                   "tag 'kedge' is m9");
    err_clear(&err);
    SCRIPT_PLAY(server, ABSENT, {409, NULL, "{\"error\": {\"code\": \"X\"}}", 0, 0},
                ABSENT);
    assert_refusal(azure_vm_create(arm, &vm, NULL, &err), &err, FAIL_CONFLICT, "X");
}

static void a_vm_is_compared(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct azure_vm_make make = vm_make();
#define VM_AS(size)                                                                      \
    "{\"location\": \"westeurope\", \"tags\": {\"kedge\": \"m1\"}, \"properties\": {"    \
    "\"provisioningState\": \"Succeeded\", " VM_PROFILES(size) "}}"
    SCRIPT_PLAY(server, OK(VM_AS("standard_d2S_v5")));
    assert_good(azure_vm_create(arm, &make, NULL, &err), &err);
    SCRIPT_PLAY(server, OK(VM_AS("Standard_D4s_v5")));
    assert_refusal(azure_vm_create(arm, &make, NULL, &err), &err, FAIL_CONFLICT,
                   "another size");
    err_clear(&err);
    static const char FAILED[] =
        "{\"location\": \"westeurope\", \"tags\": {\"kedge\": \"m1\"}, \"properties\": {"
        "\"provisioningState\": \"Failed\", " VM_PROFILES("Standard_D2s_v5") "}}";
    SCRIPT_PLAY(server, OK(FAILED), OK(MADE)); /* over the failed one of ours */
    assert_good(azure_vm_create(arm, &make, NULL, &err), &err);
    assert_null(strstr(script_server_headers(server, 1), "If-None-Match"));
    make.disk_ids[2] = COMPUTE "/disks/c";
    SCRIPT_PLAY(server, OK(VM_AS("Standard_D2s_v5")));
    assert_refusal(azure_vm_create(arm, &make, NULL, &err), &err, FAIL_CONFLICT,
                   "another set of data disks");
    err_clear(&err);
    make = vm_make();
    make.nic_count = 1;
    SCRIPT_PLAY(server, OK(VM_AS("Standard_D2s_v5")));
    assert_refusal(azure_vm_create(arm, &make, NULL, &err), &err, FAIL_CONFLICT,
                   "another set of NICs");
}

/* ---- answers ---- */

static void an_access_without_a_sas(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    SCRIPT_PLAY(server, OK("{\"accessSAS\": \"https://h/c/b?sig=abc\"}"));
    AUTO(secret_free) struct secret *sas = azure_disk_grant(arm, DISK, 60, &err);
    assert_good(sas != NULL, &err);
    assert_true(secret_equal(sas, "https://h/c/b?sig=abc", 21));
    assert_string_equal(script_server_body(server, 0),
                        "{\"access\":\"Write\",\"durationInSeconds\":60}");
    SCRIPT_PLAY(server, {200, NULL, NULL, 0, 0});
    assert_good(azure_disk_revoke(arm, DISK, &err), &err);
    assert_non_null(strstr(script_server_headers(server, 0), "Content-Length: 0\r\n"));
    static const char *const BAD[] = {"{}", "{\"accessSAS\": 7}", "{\"accessSAS\": \"\"}",
                                      "{\"accessSAS\": null}"};
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++) {
        struct script_step step[] = {{200, NULL, BAD[i], 0, 0}};
        script_server_play(server, step, 1);
        assert_null(azure_disk_grant(arm, DISK, 60, &err));
        assert_int_equal(err.kind, FAIL_CORRUPT);
        err_clear(&err);
    }
}

static void a_vm_in_trouble(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct azure_vm_info info;
    SCRIPT_PLAY(
        server,
        OK("{\"properties\": {\"provisioningState\": \"Failed\", \"instanceView\": "
           "{\"statuses\": [{\"code\": \"ProvisioningState/failed\", \"level\": "
           "\"Warning\", \"message\": \"slow\"}, {\"code\": \"PowerState/running\"}], "
           "\"vmAgent\": {\"statuses\": [{\"displayStatus\": \"Not Ready\", \"level\": "
           "\"Warning\", \"message\": \"no heartbeat\"}]}, \"disks\": [{}, "
           "{\"statuses\": "
           "[{\"level\": \"Error\", \"displayStatus\": \"disk is\\ngone\"}]}]}}}"));
    assert_good(azure_vm_get(arm, VM, &info, &err), &err);
    assert_string_equal(info.provisioning, "Failed");
    assert_string_equal(info.power, "running");
    assert_string_equal(info.agent, "Not Ready");
    assert_string_equal(info.problem, "disk is gone");
    assert_non_null(strstr(script_server_log(server), "%24expand=instanceView"));
    SCRIPT_PLAY(server, OK("{\"properties\": {\"instanceView\": {\"statuses\": 7}}}"));
    assert_good(azure_vm_get(arm, VM, &info, &err), &err);
    assert_string_equal(info.power, "");
    assert_string_equal(info.agent, "");
    assert_string_equal(info.problem, "");
    AUTO(secret_free) struct secret *screen = NULL;
    AUTO(secret_free) struct secret *serial = NULL;
    SCRIPT_PLAY(server, OK("{\"serialConsoleLogBlobUri\": \"https://x/y?sig=z\"}"));
    assert_good(azure_vm_diagnostics(arm, VM, &screen, &serial, &err), &err);
    assert_null(screen);
    assert_non_null(serial);
}

static void sizes_of_disks(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct azure_disk_info info;
    SCRIPT_PLAY(server, OK("{\"properties\": {\"diskSizeBytes\": 5, \"diskSizeGB\": 9}}"),
                OK("{\"properties\": {\"diskSizeGB\": 4}}"),
                OK("{\"properties\": {\"diskSizeGB\": 99999999999, \"diskState\": \"a "
                   "state with a name that is longer than we keep\"}}"));
    assert_good(azure_disk_get(arm, DISK, &info, &err), &err);
    assert_int_equal(info.bytes, 5);
    assert_good(azure_disk_get(arm, DISK, &info, &err), &err);
    assert_int_equal(info.bytes, 4 * GIB);
    assert_good(azure_disk_get(arm, DISK, &info, &err), &err);
    assert_int_equal(info.bytes, 0);
    assert_int_equal(strlen(info.state), AZURE_STATE_BYTES - 1);
}

static uint64_t allowed(const char *permissions)
{
    static const char *const ACTIONS[] = {
        "Microsoft.Compute/disks/write", "Microsoft.Compute/disks/beginGetAccess/action",
        "Microsoft.Network/networkInterfaces/join/action",
        "Microsoft.Compute/virtualMachines/read"};
    struct err err = ERR_INIT;
    uint64_t bits = 99;
    AUTO(buf_release) struct buf body = {0};
    buf_printf(&body, "{\"value\": [%s]}", permissions);
    struct script_step step[] = {{200, NULL, buf_text(&body), 0, 0}};
    script_server_play(server, step, 1);
    assert_good(azure_permissions(arm, GROUP, ACTIONS, ARRAY_COUNT(ACTIONS), &bits, &err),
                &err);
    return bits;
}

static void permissions_are_matched(void **state)
{
    (void)state;
    assert_int_equal(allowed(""), 0);
    assert_int_equal(allowed("{\"actions\": [\"*\"]}"), 15);
    assert_string_equal(script_server_log(server),
                        "GET " GROUP "/providers/Microsoft.Authorization/permissions"
                        "?api-version=2022-04-01\n");
    assert_int_equal(allowed("{\"actions\": [\"*\"], \"notActions\": [\"*/write\"]}"),
                     14);
    assert_int_equal(allowed("{\"actions\": [\"*\"], \"notActions\": [\"*\"]}, "
                             "{\"actions\": [\"*/READ\"]}"),
                     8);
    assert_int_equal(allowed("{\"actions\": [\"microsoft.compute/disks/*\"]}"), 3);
    assert_int_equal(allowed("{\"actions\": [\"Microsoft.*/join/action\"]}"), 4);
    assert_int_equal(allowed("{\"actions\": [\"Microsoft.Compute/disks/write\"]}"), 1);
    assert_int_equal(allowed("{\"actions\": [\"Microsoft.Compute/disks/writ\", "
                             "\"Microsoft.Compute/disks/write/x\", \"\"]}"),
                     0);
    assert_int_equal(allowed("{\"actions\": [\"*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b*\"]}"), 0);
    assert_int_equal(allowed("{\"actions\": \"*\"}, {\"actions\": [7, null]}, 5"), 0);
}

struct seen_sizes {
    unsigned count;
    struct azure_size last;
};

static bool see_size(void *ctx, const struct azure_size *size, struct err *err)
{
    struct seen_sizes *seen = ctx;
    (void)err;
    seen->count++;
    seen->last = *size;
    return true;
}

static void sizes_with_restrictions(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct seen_sizes seen = {0};
    SCRIPT_PLAY(
        server,
        OK("{\"value\": [{\"resourceType\": \"disks\", \"name\": \"Premium_LRS\", "
           "\"locations\": [\"westeurope\"]}, {\"resourceType\": \"virtualMachines\", "
           "\"name\": \"elsewhere\", \"locations\": [\"eastus\"]}, {\"resourceType\": "
           "\"virtualMachines\", \"name\": \"Standard_E4-2ds_v5\", \"family\": "
           "\"standardEDSv5Family\", \"locations\": [\"WestEurope\"], \"capabilities\": "
           "[{\"name\": \"vCPUs\", \"value\": \"4\"}, {\"name\": \"vCPUsAvailable\", "
           "\"value\": \"2\"}, {\"name\": \"MemoryGB\", \"value\": \"3.5\"}, {\"name\": "
           "\"MaxDataDiskCount\", \"value\": \"many\"}, {\"name\": "
           "\"HyperVGenerations\", \"value\": \"V1,V2\"}, {\"name\": \"PremiumIO\", "
           "\"value\": \"False\"}], \"restrictions\": [{\"type\": \"Zone\", \"values\": "
           "[\"westeurope\"], \"restrictionInfo\": {\"zones\": [\"1\", \"3\"]}}, "
           "{\"type\": \"Location\", \"values\": [\"eastus\"]}]}]}"));
    assert_good(azure_sizes_list(arm, "West Europe", see_size, &seen, &err), &err);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.last.name, "Standard_E4-2ds_v5");
    assert_string_equal(seen.last.family, "standardEDSv5Family");
    assert_int_equal(seen.last.cpus, 2);
    assert_int_equal(seen.last.memory_bytes, 7 * GIB / 2);
    assert_int_equal(seen.last.max_data_disks, 0);
    assert_true(seen.last.gen1 && seen.last.gen2 && !seen.last.premium_disks);
    assert_false(seen.last.is_restricted);
    assert_string_equal(seen.last.restricted_zones, "1,3");
    assert_string_equal(script_server_log(server),
                        "GET /subscriptions/" SUB "/providers/Microsoft.Compute/skus"
                        "?api-version=2021-07-01&%24filter=location%20eq%20%27westeurope"
                        "%27\n");
}

static void an_account_that_says_little(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct azure_account_info info;
    SCRIPT_PLAY(server, OK("{\"kind\": \"StorageV2\"}"));
    assert_good(azure_account_get(arm, GROUP "/providers/x/y/a", &info, &err), &err);
    assert_string_equal(info.min_tls, "TLS1_0");
    assert_true(info.allows_public_blobs && info.allows_http && info.allows_shared_key &&
                info.has_public_network);
    SCRIPT_PLAY(
        server,
        OK("{\"properties\": {\"minimumTlsVersion\": \"TLS1_2\", "
           "\"allowBlobPublicAccess\": false, \"supportsHttpsTrafficOnly\": true, "
           "\"allowSharedKeyAccess\": false, \"publicNetworkAccess\": \"Disabled\", "
           "\"isHnsEnabled\": true, \"privateEndpointConnections\": [{\"properties\": "
           "{\"privateLinkServiceConnectionState\": {\"status\": \"Approved\"}}}, "
           "{\"properties\": {\"privateLinkServiceConnectionState\": {\"status\": "
           "\"Pending\"}}}]}}"));
    assert_good(azure_account_get(arm, GROUP "/providers/x/y/a", &info, &err), &err);
    assert_string_equal(info.min_tls, "TLS1_2");
    assert_false(info.allows_public_blobs || info.allows_http || info.allows_shared_key ||
                 info.has_public_network);
    assert_true(info.is_hierarchical);
    assert_int_equal(info.endpoint_count, 2);
    assert_int_equal(info.endpoint_approved, 1);
}

static int set_up(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    if (!mkdtemp(dir))
        return -1;
    server = script_server_start(dir);
    struct arm_options options = {.credential_file = script_server_credential(server),
                                  .endpoint = script_server_url(server),
                                  .subscription = SUB,
                                  .retry_base_ms = 1,
                                  .poll_base_ms = 1};
    arm = arm_open(&options, &err);
    return arm ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    arm_close(arm);
    script_server_stop(server);
    return file_remove_tree(dir, &err) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_of_disks),
        cmocka_unit_test(body_of_a_nic),
        cmocka_unit_test(body_of_a_vm),
        cmocka_unit_test(what_is_there_decides),
        cmocka_unit_test(somebody_else_was_faster),
        cmocka_unit_test(a_vm_is_compared),
        cmocka_unit_test(an_access_without_a_sas),
        cmocka_unit_test(a_vm_in_trouble),
        cmocka_unit_test(sizes_of_disks),
        cmocka_unit_test(permissions_are_matched),
        cmocka_unit_test(sizes_with_restrictions),
        cmocka_unit_test(an_account_that_says_little),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
