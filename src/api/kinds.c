/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of kinds: of sources, of targets, of operations, each with its options. */
#include "api/views.h"

#include <string.h>

#define REQ .flags = API_REQUIRED

/* clang-format off */
static const struct api_field NO_OPTIONS[] = {{0}};

static const struct api_field QEMU_OPTIONS[] = {
    {"qmp", API_PATH, REQ, .max = 107, .help = "the VM's QMP Unix socket"},
    {"scratch_dir", API_PATH, .help = "folder for copy-before-write files, reachable by the VM's QEMU"},
    {"granularity", API_U64, .min = 512, .max = 2147483648, .help = "bytes that one bit of change tracking stands for"},
    {"scratch_max", API_U64, .help = "bytes of copy-before-write data after which a cycle fails; 0 or absent: no bound"},
    {0}};
static const struct api_field IMAGE_OPTIONS[] = {
    {"paths", API_TEXTS, REQ, .min = 1, .help = "raw or qcow2 files or block devices, in disk order"},
    {"cpus", API_U64, .min = 1, .max = 1024, .help = "virtual processors of the VM made from it"},
    {"memory_bytes", API_U64, .min = 1048576, .max = 70368744177664, .help = "memory of the VM made from it"},
    {0}};
static const struct api_field VSPHERE_OPTIONS[] = {
    {"url", API_TEXT, REQ, .min = 1, .max = 512, .help = "https://HOST of a vCenter or an ESXi host"},
    {"user", API_TEXT, REQ, .min = 1, .max = 256, .help = "account"},
    {"password_file", API_PATH, REQ, .help = "file with its password in the first line, mode 0600"},
    {"ca_file", API_PATH, .help = "certificates to trust instead of the system's"},
    {"fingerprint", API_TEXT, .min = 64, .max = 95, .help = "SHA-256 of the only certificate to trust"},
    {"proxy", API_TEXT, .max = 512, .help = "HTTP proxy to the server"},
    {"datacenter", API_TEXT, .max = 512, .help = "only machines below this place"},
    {"match", API_TEXT, .max = 255, .help = "only machines with such a name: 'web-*'"},
    {"transports", API_TEXTS, .min = 1, .help = "how disks are read, the first that works: nfc, https, hotadd, vddk; absent: nfc, https"},
    {"nfc_plain", API_BOOL, .help = "no encryption to the hosts (nbd instead of nbdssl)"},
    {"nfc_compression", API_TEXT, .choices = (const char *const[]){"skipz", "fastlz", "zlib", "stored", NULL}, .help = "how hosts pack what they send; absent: skipz"},
    {"in_flight", API_U64, .min = 1, .max = 64, .help = "reads in flight per connection"},
    {"host_buffer", API_U64, .min = 1048576, .max = 1073741824, .help = "bytes of NFC reads in flight per host; absent: 32 MiB"},
    {"vddk_library", API_PATH, .help = "libvixDiskLib.so, for transport vddk"},
    {"hotadd_machine", API_TEXT, .min = 1, .max = 255, .help = "for transport hotadd: the machine that kedged runs in, its name or instance UUID; absent: the one with this system's BIOS UUID"},
    {"hotadd_device_dir", API_PATH, .help = "for transport hotadd: folder where attached disks appear as wwn-0xUUID; absent: /dev/disk/by-id"},
    {"quiesce", API_BOOL, .help = "ask the guest's tools to quiesce it for every snapshot"},
    {"power_off", API_BOOL, .help = "power a machine off at its migration when its guest does not shut down"},
    {"datastore_floor", API_U64, .help = "free bytes of a datastore under which no cycle runs; 0: no guard; absent: 10 GiB"},
    {"snapshot_deadline_ms", API_U64, .min = 1000, .max = 86400000, .help = "bound of making one snapshot; absent: 20 minutes"},
    {"end_deadline_ms", API_U64, .min = 1000, .max = 86400000, .help = "bound of attempts at removing one; absent: 10 minutes"},
    {0}};
static const struct api_field LOCAL_OPTIONS[] = {
    {"dir", API_PATH, REQ, .help = "folder of replicas, tests, VMs and evidence"},
    {"format", API_TEXT, .choices = (const char *const[]){"raw", "qcow2", NULL}, .help = "format of replica disks"},
    {"accel", API_TEXT, .choices = (const char *const[]){"auto", "kvm", "tcg", NULL}, .help = "how VMs are run"},
    {"device_map", API_PATH, .help = "file of lines '<machine> <disk index> <block device>': replica disks on devices instead of files"},
    {"applier", API_NAME, .help = "name of the remote applier that works on it, with paths of its host; absent: this daemon"},
    {0}};

static const struct api_field AZURE_OPTIONS[] = {
    {"subscription", API_TEXT, REQ, .min = 1, .max = 64, .help = "id of the subscription"},
    {"resource_group", API_TEXT, REQ, .min = 1, .max = 90, .help = "where disks, network cards and VMs are made"},
    {"location", API_TEXT, REQ, .min = 1, .max = 64, .help = "region, like westeurope"},
    {"credential_file", API_PATH, REQ, .help = "JSON file that says how to sign in to Resource Manager"},
    {"endpoint", API_TEXT, .max = 300, .help = "of Resource Manager, instead of the cloud's"},
    {"replica_container", API_TEXT, REQ, .min = 1, .max = 1024, .help = "URL of the blob container that holds replicas"},
    {"replica_credential_file", API_PATH, REQ, .help = "JSON file that says how to sign in to its storage account"},
    {"storage_account_id", API_TEXT, REQ, .min = 1, .max = 511, .help = "resource id of that account"},
    {"network_id", API_TEXT, REQ, .min = 1, .max = 511, .help = "resource id of the virtual network of migrated VMs"},
    {"subnet", API_TEXT, REQ, .min = 1, .max = 80, .help = "its subnet"},
    {"test_network_id", API_TEXT, .max = 511, .help = "virtual network of test VMs; absent: no tests"},
    {"test_subnet", API_TEXT, .max = 80, .help = "its subnet; absent: the one of the same name, else the first that is no gateway's"},
    {"vm_size", API_TEXT, .max = 63, .help = "size of VMs; absent: the smallest that fits"},
    {"disk_sku", API_TEXT, .max = 31, .help = "kind of managed disks; absent: StandardSSD_LRS"},
    {"replica", API_TEXT, .choices = (const char *const[]){"auto", "page-blob", "upload", NULL}, .help = "what a replica disk is; auto: a page blob up to 8 TiB"},
    {"zone", API_TEXT, .max = 1, .help = "availability zone: 1, 2 or 3"},
    {"availability_set_id", API_TEXT, .max = 511, .help = "resource id of the availability set of migrated VMs"},
    {"proximity_group_id", API_TEXT, .max = 511, .help = "resource id of their proximity placement group"},
    {"security_group_id", API_TEXT, .max = 511, .help = "resource id of the network security group of network cards"},
    {"license_type", API_TEXT, .max = 32, .help = "licence that is brought along: Windows_Server, Windows_Client, RHEL_BYOS, SLES_BYOS"},
    {"encryption_set_id", API_TEXT, .max = 511, .help = "resource id of the disk encryption set"},
    {"os_type", API_TEXT, .choices = (const char *const[]){"Linux", "Windows", NULL}, .help = "operating system of VMs; absent: Linux"},
    {"tags", API_TEXTS, .min = 1, .help = "NAME=VALUE, on everything that is made"},
    {"machine_settings", API_PATH, .help = "JSON file with what is different for single machines"},
    {"poll_ms", API_U64, .min = 1, .max = 600000, .help = "pause between two looks at what is slow; absent: 5000"},
    {"retry_for_ms", API_U64, .min = 1, .max = 3600000, .help = "how long a request is repeated; absent: 5 minutes"},
    {"applier", API_NAME, .help = "name of the remote applier that works on it, with paths of its host; absent: this daemon"},
    {0}};

static const struct api_kind SOURCE_KINDS[] = {
    {"vsphere", "a vCenter server or an ESXi host", VSPHERE_OPTIONS},
    {"qemu", "a running QEMU virtual machine", QEMU_OPTIONS},
    {"image", "disk images or block devices without change tracking", IMAGE_OPTIONS},
    {0}};
static const struct api_kind TARGET_KINDS[] = {
    {"local", "files and QEMU virtual machines on this host", LOCAL_OPTIONS},
    {"azure", "managed disks and virtual machines in Microsoft Azure", AZURE_OPTIONS},
    {0}};

static const struct api_field TEST_OPTIONS[] = {
    {"name", API_NAME, .help = "name of the test"},
    {"network", API_TEXT, .max = 64, .help = "network of the test; without it an isolated one"},
    {"marker", API_TEXT, .max = 200, .help = "text on the serial console that proves the boot"},
    {"boot_deadline_ms", API_U64, .min = 1, .max = 86400000, .help = "how long to wait for the boot"},
    {0}};
static const struct api_field CLEANUP_OPTIONS[] = {
    {"name", API_NAME, .help = "the test to remove; without it all of the machine"}, {0}};
static const struct api_field STOP_OPTIONS[] = {
    {"force", API_BOOL, .help = "also when the source does not answer; what is left there is removed when it does"},
    {0}};
static const struct api_field MIGRATE_OPTIONS[] = {
    {"shutdown", API_BOOL, .help = "shut the guest down first, so that nothing is lost"},
    {"override_blackout", API_BOOL, .help = "migrate also inside a blackout window; it is recorded"},
    {"restart", API_BOOL, .help = "when it fails before a machine was made at the target, start the source again (absent: true)"},
    {"marker", API_TEXT, .max = 200, .help = "text on the serial console that proves the boot"},
    {"boot_deadline_ms", API_U64, .min = 1, .max = 86400000, .help = "how long to wait for the boot"},
    {0}};

static const struct api_kind OPERATIONS[] = {
    {"sync", "a delta cycle now", NO_OPTIONS},
    {"pause", "no cycles until resumed", NO_OPTIONS},
    {"resume", "cycles again", NO_OPTIONS},
    {"stop", "end replication, remove the replica", STOP_OPTIONS},
    {"test-migrate", "boot a VM from a clone; the replica is not touched", TEST_OPTIONS},
    {"test-cleanup", "remove test VMs", CLEANUP_OPTIONS},
    {"migrate", "last delta, then the VM at the target", MIGRATE_OPTIONS},
    {"complete", "remove what replication needed; the machine leaves the list", NO_OPTIONS},
    {"verify", "a delta, then source and replica compared sector by sector", NO_OPTIONS},
    {"resync", "compare the whole disk, send what differs", NO_OPTIONS},
    {"repair", "the same for a machine in 'Repair pending'", NO_OPTIONS},
    {0}};
/* clang-format on */

const struct api_kind *api_source_kinds(void)
{
    return SOURCE_KINDS;
}

const struct api_kind *api_target_kinds(void)
{
    return TARGET_KINDS;
}

const struct api_kind *api_operations(void)
{
    return OPERATIONS;
}

const struct api_kind *api_kind_find(const struct api_kind *kinds, const char *name)
{
    for (; kinds->name; kinds++)
        if (strcmp(kinds->name, name) == 0)
            return kinds;
    return NULL;
}
