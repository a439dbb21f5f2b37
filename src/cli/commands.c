/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands and their options. */
#include "cli/runs.h"

/* clang-format off */
static const struct cli_option GLOBAL[] = {
    {"config", CLI_PATH, "FILE", .help = "configuration of the daemon, to find its socket; without it $KEDGE_CONFIG, ./kedge.conf or /etc/kedge/kedged.conf"},
    {"socket", CLI_PATH, "PATH", .help = "Unix socket of the daemon"},
    {"url", CLI_TEXT, "URL", .help = "REST API of the daemon instead of the socket; needs --token-file"},
    {"token-file", CLI_PATH, "FILE", .help = "file with the token for --url"},
    {"ca-file", CLI_PATH, "FILE", .help = "certificates to trust for an https URL"},
    {"json", CLI_FLAG, .help = "print JSON"},
    {"help", CLI_FLAG, .help = "print help"},
    {0}};

static const struct cli_option JOB[] = {
    {"wait", CLI_FLAG, .help = "follow the job to its end (the default)"},
    {"no-wait", CLI_FLAG, .help = "print the number of the job and end"},
    {0}};

static const struct cli_option SOURCE_ADD[] = {
    {"url", CLI_TEXT, "URL", "url", .help = "vsphere: https://HOST of a vCenter, or of one ESXi host"},
    {"user", CLI_TEXT, "USER", "user", .help = "vsphere: account"},
    {"password-file", CLI_PATH, "FILE", "password_file", .help = "vsphere: file with the account's password in its first line, mode 0600"},
    {"ca-file", CLI_PATH, "FILE", "ca_file", .help = "vsphere: certificates to trust instead of the system's"},
    {"fingerprint", CLI_TEXT, "SHA256", "fingerprint", .help = "vsphere: trust exactly the certificate with this fingerprint; an attempt without it shows the server's"},
    {"proxy", CLI_TEXT, "URL", "proxy", .help = "vsphere: HTTP proxy to the server"},
    {"datacenter", CLI_TEXT, "PATH", "datacenter", .help = "vsphere: only machines below this place, like DC0 or DC0/vm/Prod"},
    {"match", CLI_TEXT, "PATTERN", "match", .help = "vsphere: only machines with such a name, like 'web-*'"},
    {"transport", CLI_WORDS, "LIST", "transports", .help = "vsphere: how disks are read, the first that works: nfc,https,hotadd,vddk in any order (without it nfc,https)"},
    {"nfc-plain", CLI_FLAG, NULL, "nfc_plain", true, .help = "vsphere: no encryption between here and the ESXi hosts (nbd instead of nbdssl)"},
    {"nfc-compression", CLI_TEXT, "NAME", "nfc_compression", .help = "vsphere: skipz (the default), fastlz, zlib or stored"},
    {"in-flight", CLI_NUMBER, "N", "in_flight", .help = "vsphere: reads in flight per connection"},
    {"host-buffer", CLI_SIZE, "SIZE", "host_buffer", .help = "vsphere: NFC reads in flight per ESXi host, of all machines (without it 32M)"},
    {"vddk-library", CLI_PATH, "FILE", "vddk_library", .help = "vsphere: libvixDiskLib.so, for transport vddk"},
    {"hotadd-machine", CLI_TEXT, "MACHINE", "hotadd_machine", .help = "vsphere: for transport hotadd, the machine that kedged runs in: its name or instance UUID (without it the one with this system's BIOS UUID)"},
    {"quiesce", CLI_FLAG, NULL, "quiesce", true, .help = "vsphere: ask the guest's tools to quiesce it for every snapshot"},
    {"power-off", CLI_FLAG, NULL, "power_off", true, .help = "vsphere: power a machine off at its migration when its guest does not shut down"},
    {"datastore-floor", CLI_SIZE, "SIZE", "datastore_floor", .help = "vsphere: free space of a datastore under which no cycle runs (without it 10G; 0: no guard)"},
    {"qmp", CLI_PATH, "SOCKET", "qmp", .help = "qemu: the VM's QMP Unix socket"},
    {"scratch-dir", CLI_PATH, "DIR", "scratch_dir", .help = "qemu: folder for copy-before-write files"},
    {"granularity", CLI_SIZE, "SIZE", "granularity", .help = "qemu: bytes that one bit of change tracking stands for"},
    {"scratch-max", CLI_SIZE, "SIZE", "scratch_max", .help = "qemu: copy-before-write data after which a cycle fails, guest unharmed"},
    {"path", CLI_PATHS, "FILE", "paths", .help = "image: disk image or block device; again for each disk, in order"},
    {"cpus", CLI_NUMBER, "N", "cpus", .help = "image: virtual processors of the VM made from it"},
    {"memory", CLI_SIZE, "SIZE", "memory_bytes", .help = "image: memory of the VM made from it"},
    {0}};
static const struct cli_option TARGET_ADD[] = {
    {"dir", CLI_PATH, "DIR", "dir", .help = "local: folder of replicas, tests, VMs and evidence"},
    {"format", CLI_TEXT, "FORMAT", "format", .help = "local: raw or qcow2"},
    {"accel", CLI_TEXT, "ACCEL", "accel", .help = "local: auto, kvm or tcg"},
    {"device-map", CLI_PATH, "FILE", "device_map", .help = "local: lines 'MACHINE DISK-INDEX DEVICE': replica disks on block devices instead of files"},
    {"applier", CLI_TEXT, "NAME", "applier", .help = "a remote kedged (roles = applier) works on it, and paths are those of its host; it must run"},
    {"subscription", CLI_TEXT, "ID", "subscription", .help = "azure: subscription"},
    {"resource-group", CLI_TEXT, "GROUP", "resource_group", .help = "azure: where disks, network cards and VMs are made"},
    {"location", CLI_TEXT, "REGION", "location", .help = "azure: region, like westeurope"},
    {"credential-file", CLI_PATH, "FILE", "credential_file", .help = "azure: JSON file that says how to sign in to Resource Manager"},
    {"endpoint", CLI_TEXT, "URL", "endpoint", .help = "azure: Resource Manager, instead of the cloud's"},
    {"replica-container", CLI_TEXT, "URL", "replica_container", .help = "azure: blob container that holds replicas"},
    {"replica-credential-file", CLI_PATH, "FILE", "replica_credential_file", .help = "azure: JSON file that says how to sign in to its storage account"},
    {"storage-account", CLI_TEXT, "ID", "storage_account_id", .help = "azure: resource id of that account"},
    {"network", CLI_TEXT, "ID", "network_id", .help = "azure: resource id of the virtual network of migrated VMs"},
    {"subnet", CLI_TEXT, "NAME", "subnet", .help = "azure: its subnet"},
    {"test-network", CLI_TEXT, "ID", "test_network_id", .help = "azure: virtual network of test VMs, best an isolated one; without it tests are refused"},
    {"test-subnet", CLI_TEXT, "NAME", "test_subnet", .help = "azure: its subnet; without it the one of the same name, else the first that is no gateway's"},
    {"vm-size", CLI_TEXT, "SIZE", "vm_size", .help = "azure: like Standard_D4s_v5; without it the smallest that fits"},
    {"disk-sku", CLI_TEXT, "SKU", "disk_sku", .help = "azure: Standard_LRS, StandardSSD_LRS (the default), StandardSSD_ZRS, Premium_LRS or Premium_ZRS"},
    {"replica", CLI_TEXT, "KIND", "replica", .help = "azure: auto (the default), page-blob (up to 8 TiB, with tests) or upload (up to 32 TiB, no tests)"},
    {"zone", CLI_TEXT, "ZONE", "zone", .help = "azure: availability zone of VMs"},
    {"availability-set", CLI_TEXT, "ID", "availability_set_id", .help = "azure: availability set of migrated VMs"},
    {"proximity-group", CLI_TEXT, "ID", "proximity_group_id", .help = "azure: proximity placement group of migrated VMs"},
    {"security-group", CLI_TEXT, "ID", "security_group_id", .help = "azure: network security group of network cards"},
    {"license-type", CLI_TEXT, "NAME", "license_type", .help = "azure: licence that is brought along: Windows_Server, Windows_Client, RHEL_BYOS or SLES_BYOS"},
    {"encryption-set", CLI_TEXT, "ID", "encryption_set_id", .help = "azure: disk encryption set"},
    {"os-type", CLI_TEXT, "NAME", "os_type", .help = "azure: Linux (the default) or Windows"},
    {"tags", CLI_WORDS, "LIST", "tags", .help = "azure: NAME=VALUE,... on everything that is made"},
    {"machine-settings", CLI_PATH, "FILE", "machine_settings", .help = "azure: JSON file with what is different for single machines"},
    {0}};
static const struct cli_option DISCOVER[] = {
    {"source", CLI_TEXT, "SOURCE", .help = "only this source"},
    {"tree", CLI_FLAG, .help = "as a tree of places, with hosts, datastores and networks where a source has them"},
    {0}};
static const struct cli_option REPLICATE[] = {
    {"target", CLI_TEXT, "TARGET", .help = "target to replicate to; not needed when there is only one"},
    {"name", CLI_TEXT, "NAME", "name", .help = "name here; without it the name at the source"},
    {"auto-repair", CLI_FLAG, NULL, "auto_repair", true, .help = "resync by itself when change tracking is lost"},
    {"marker", CLI_TEXT, "TEXT", "marker", .help = "text on the serial console that proves a boot"},
    {0}};
static const struct cli_option TEST[] = {
    {"name", CLI_TEXT, "NAME", "name", .help = "name of the test"},
    {"network", CLI_TEXT, "NETWORK", "network", .help = "network of the test; without it an isolated one"},
    {"marker", CLI_TEXT, "TEXT", "marker", .help = "text on the serial console that proves the boot"},
    {"boot-deadline", CLI_DURATION, "TIME", "boot_deadline_ms", .help = "how long to wait for the boot, like 90s"},
    {0}};
static const struct cli_option CLEANUP[] = {
    {"name", CLI_TEXT, "NAME", "name", .help = "the test to remove; without it all of the machine"}, {0}};
static const struct cli_option MIGRATE[] = {
    {"shutdown", CLI_FLAG, NULL, "shutdown", true, .help = "shut the guest down first, so that nothing is lost (the default)"},
    {"no-restart", CLI_FLAG, NULL, "restart", false, .help = "leave the source off when the migration fails"},
    {"override-blackout", CLI_FLAG, NULL, "override_blackout", true, .help = "migrate also inside a blackout window; it is recorded"},
    {"no-shutdown", CLI_FLAG, NULL, "shutdown", false, .help = "leave the guest running: what it writes after the last delta is lost"},
    {"marker", CLI_TEXT, "TEXT", "marker", .help = "text on the serial console that proves the boot"},
    {"boot-deadline", CLI_DURATION, "TIME", "boot_deadline_ms", .help = "how long to wait for the boot, like 90s"},
    {0}};
static const struct cli_option STOP[] = {
    {"force", CLI_FLAG, NULL, "force", true, .help = "also when the source does not answer; what is left there is removed when it does"}, {0}};
static const struct cli_option STATUS[] = {
    {"watch", CLI_FLAG, .help = "keep the table on the screen and up to date; piped: a line for each change"}, {0}};
static const struct cli_option JOBS[] = {
    {"machine", CLI_TEXT, "MACHINE", .help = "only of this machine"},
    {"limit", CLI_NUMBER, "N", .help = "at most so many"},
    {0}};
static const struct cli_option ONE_JOB[] = {
    {"cancel", CLI_FLAG, .help = "ask it to stop"},
    {"follow", CLI_FLAG, .help = "follow it to its end"},
    {0}};
static const struct cli_option EVENTS[] = {
    {"follow", CLI_FLAG, .help = "go on with new ones as they come"},
    {"since", CLI_NUMBER, "ID", .help = "only after this event"},
    {"last", CLI_NUMBER, "N", .help = "only so many of the newest; without it and --since 1000"},
    {0}};

static const struct cli_option PLAN[] = {
    {"fleet", CLI_PATH, "FILE", .help = "a fleet as comma-separated values; the first line names the columns: name, size_gib; if known also used_pct, gateway, host, datastore, disks, churn_mib_per_h, pattern (skewed or scattered), read_mib_per_s"},
    {"bandwidth", CLI_SIZE, "RATE", "bandwidth_bps", .help = "bytes a second that may leave each gateway; 0 is no bound; without it the throttle, else 1 Gbit/s"},
    {"sent-pct", CLI_NUMBER, "N", "sent_pct", .help = "bytes sent for a hundred read, after compression; without it 70"},
    {"churn", CLI_SIZE, "SIZE", "churn_bytes_hour", .help = "written to each machine in an hour, where the fleet does not say; without it a twentieth of its size in a day"},
    {"blackout", CLI_TEXT, "WINDOWS", "blackout", .help = "like 'Monday;7:00;7h | Tuesday;8:00;1d7h'; without it those in force"},
    {"cycles", CLI_NUMBER, "N", "gateway_cycles", .help = "cycles at once of a gateway; 0 is no bound; without it job_threads"},
    {"gateway-disks", CLI_NUMBER, "N", "gateway_disks", .help = "disks at once of a gateway"},
    {"host-disks", CLI_NUMBER, "N", "host_disks", .help = "disks at once of a host"},
    {"datastore-snapshots", CLI_NUMBER, "N", "datastore_snapshots", .help = "disk snapshots at once on a datastore"},
    {"gateway-machines", CLI_NUMBER, "N", "gateway_machines", .help = "machines of a gateway"},
    {"total-machines", CLI_NUMBER, "N", "total_machines", .help = "machines in all"},
    {"at-once", CLI_NUMBER, "N", "cutover_at_once", .help = "machines that are cut over at a time; without it 1 for each hundred"},
    {"boot", CLI_DURATION, "TIME", "boot_ms", .help = "how long a VM boots at the target; without it 2m"},
    {"seed", CLI_NUMBER, "N", "seed", .help = "of what varies; the same one gives the same plan"},
    {0}};
static const struct cli_option NETWORK_CHECK[] = {
    {"offline", CLI_FLAG, .help = "without the daemon: look at what the configuration file has"},
    {0}};
static const struct cli_option NETWORK_PLAN[] = {
    {"source-region", CLI_TEXT, "REGION", "source_region", .help = "region of the project, like eastus"},
    {"target-region", CLI_TEXT, "REGION", "target_region", .help = "region where machines go"},
    {"cloud", CLI_TEXT, "CLOUD", "cloud", .help = "public (the default) or usgov"},
    {"offline", CLI_FLAG, .help = "without the daemon"},
    {0}};
static const struct cli_option INIT[] = {
    {"passphrase", CLI_TEXT, "REFERENCE", .help = "wrap the master key with what this file (mode 0600) or cred:NAME, a credential of systemd, holds"},
    {0}};
static const struct cli_option HELP[] = {
    {"man", CLI_FLAG, .help = "print the manual page"}, {0}};

#define SETUP   "Set up"
#define MACHINE "Machines"
#define CUTOVER "Test and cut over"
#define WATCH   "Watch and steer"
#define SELF    "About kedge"

static const struct cli_command COMMANDS[] = {
    {"init", SETUP, "[DIR]", "make configuration, keys and folders", "Everything goes below DIR; without it to /etc/kedge, /var/lib/kedge and /run/kedge. Nothing is overwritten.", INIT, .run = run_init, .is_local = true},
    {"source add", SETUP, "NAME KIND", "add where machines come from", "KIND is vsphere (a vCenter or ESXi host), qemu (a running VM) or image (disk images without change tracking). It is opened once to prove that it works.", SOURCE_ADD, .run = run_source_add},
    {"source list", SETUP, "", "show the sources", NULL, NULL, .run = run_source_list},
    {"source check", SETUP, "NAME", "find what would go wrong before anything starts", "Ends with exit code 6 when there is a blocker.", NULL, .run = run_source_check},
    {"source remove", SETUP, "NAME", "remove a source that no machine uses", NULL, NULL, .run = run_source_remove},
    {"target add", SETUP, "NAME KIND", "add where machines go to", "KIND is local (files and QEMU virtual machines on the daemon's host) or azure (managed disks and virtual machines in Microsoft Azure; doc/azure.md says what to give).", TARGET_ADD, .run = run_target_add},
    {"target list", SETUP, "", "show the targets", NULL, NULL, .run = run_target_list},
    {"target check", SETUP, "NAME", "find what would go wrong at a target before anything starts", "Ends with exit code 6 when there is a blocker.", NULL, .run = run_target_check},
    {"target inventory", SETUP, "NAME", "show everything that Kedge made there", "Asks the target itself, so it shows also what no machine knows of: those lines say 'orphan'.", NULL, .run = run_target_inventory},
    {"target remove", SETUP, "NAME", "remove a target that no machine uses", NULL, NULL, .run = run_target_remove},
    {"discover", SETUP, "", "show the machines that the sources have", NULL, DISCOVER, .run = run_discover},

    {"replicate", MACHINE, "SOURCE MACHINE", "start to replicate a machine", "MACHINE is its name at the source. The first cycle copies the disks, later ones what has changed.", REPLICATE, .run = run_replicate, .starts_job = true},
    {"list", MACHINE, "", "show the replicated machines", NULL, NULL, .run = run_list},
    {"status", MACHINE, "[MACHINE]", "show the state of all machines, or all of one", "With --watch the table stays on the screen; q or Ctrl-C ends it.", STATUS, .run = run_status},
    {"sync", MACHINE, "MACHINE", "run a delta cycle now", NULL, NULL, .run = run_operate, .starts_job = true},
    {"pause", MACHINE, "MACHINE", "start no cycles until resumed", NULL, NULL, .run = run_operate, .starts_job = true},
    {"resume", MACHINE, "MACHINE", "go on after a pause", NULL, NULL, .run = run_operate, .starts_job = true},
    {"repair", MACHINE, "MACHINE", "repair the replica of a machine in 'Repair pending'", "Compares the whole disks and sends what differs, as resync does at any time.", NULL, .run = run_operate, .starts_job = true},
    {"resync", MACHINE, "MACHINE", "compare whole disks and send what differs", "Repairs a machine whose change tracking was lost.", NULL, .run = run_operate, .starts_job = true},
    {"verify", MACHINE, "MACHINE", "prove that source and replica are equal", "Runs a delta cycle, then compares snapshot and replica sector by sector; names the first differences otherwise.", NULL, .run = run_operate, .starts_job = true},
    {"stop", MACHINE, "MACHINE", "end replication and remove the replica", "A delta cycle that runs is finished first, an initial one is ended at once.", STOP, .run = run_operate, .starts_job = true},

    {"test-migrate", CUTOVER, "MACHINE", "boot a VM from a clone of the replica", "Replication goes on; the replica is not touched.", TEST, .run = run_operate, .starts_job = true},
    {"test-cleanup", CUTOVER, "MACHINE", "remove test VMs", NULL, CLEANUP, .run = run_operate, .starts_job = true},
    {"migrate", CUTOVER, "MACHINE", "send the last changes and start the VM at the target", NULL, MIGRATE, .run = run_operate, .starts_job = true},
    {"complete", CUTOVER, "MACHINE", "remove what replication needed; the machine leaves the list", NULL, NULL, .run = run_operate, .starts_job = true},

    {"jobs", WATCH, "", "show jobs, newest first", NULL, JOBS, .run = run_jobs},
    {"job", WATCH, "ID", "show, follow or cancel a job", NULL, ONE_JOB, .run = run_job},
    {"events", WATCH, "", "show what happened", NULL, EVENTS, .run = run_events},
    {"throttle set", WATCH, "RATE", "set the standing bound of bytes a second that leave", "RATE is like 20M, 10MB/s or 80Mbit/s; 0 or off is no bound. Takes effect at once.", NULL, .run = run_throttle},
    {"throttle calendar", WATCH, "[RULES]", "set bounds by day and time", "RULES is like 'Mon-Fri 08:00-18:00 10MB/s; * 0': the first rule that holds counts, besides the standing bound; the lower of the two wins. 'off' removes the calendar. Times are in the daemon's timezone.", NULL, .run = run_throttle_calendar},
    {"throttle", WATCH, "[RATE]", "show the bound that holds now, or set the standing one", NULL, NULL, .run = run_throttle},
    {"blackout show", WATCH, "", "show the blackout windows", "No cycle begins inside one; those that run go on to their end.", NULL, .run = run_blackout_show},
    {"blackout set", WATCH, "WINDOWS", "set the blackout windows", "WINDOWS is like 'Monday;7:00;7h | Tuesday;8:00;1d7h': day, time, duration in days, hours and minutes. Refused while the windows come from blackout_file.", NULL, .run = run_blackout_set},
    {"blackout clear", WATCH, "", "remove the blackout windows", NULL, NULL, .run = run_blackout_clear},
    {"orphans list", WATCH, "", "show what belongs to no machine and no job any more", "The daemon removes what is its own at start and every hour.", NULL, .run = run_orphans_list},
    {"orphans clean", WATCH, "", "remove those that are ours now", NULL, NULL, .run = run_orphans_clean},

    {"network check", WATCH, "[ROLE]", "find the hop that is wrong on the way to each endpoint", "For each endpoint its name, the route, TCP, TLS, clock, sign-in, a small write, and the speed; each step with cause and remedy. ROLE is like log-store, state-store, replica-store, entra, arm or vcenter. Ends with exit code 6 when a step failed, with 0 otherwise.", NETWORK_CHECK, .run = run_network_check, .is_local = true},
    {"network status", WATCH, "", "show how connections go, by role and host", NULL, NULL, .run = run_network_status},
    {"network plan", WATCH, "", "show what replication over ExpressRoute needs", "Communities of the route filter, bypass rules, and what still needs the internet. Regions without a verified community are refused.", NETWORK_PLAN, .run = run_network_plan, .is_local = true},

    {"applier", WATCH, "", "show what a daemon with only the applier role does", "Ask the daemon of that host. Which appliers a vault knows, and when each was seen, is in target list.", NULL, .run = run_applier},
    {"keys status", WATCH, "", "show the master keys and how many machines each wraps", "A vault's version that wraps no machine may be disabled there.", NULL, .run = run_keys_status},
    {"keys rotate", WATCH, "", "make a new master key and wrap every machine's data key with it", "Replication goes on meanwhile and nothing that was stored is written again. When it breaks off, everything still opens: ask again. Afterwards make a new copy of a key file.", NULL, .run = run_keys_rotate},
    {"keys rewrap", WATCH, "", "wrap every machine's data key with the newest master key", "After the vault made a new version by itself, after 'keys' was changed from a file to a vault, or to finish a rotation.", NULL, .run = run_keys_rotate},

    {"plan", CUTOVER, "[MACHINE]", "say when it will be done and how long the cutover will take", "Of the machines that replicate, with their measured rates, or of a fleet in a file. In simulated time, with the schedule, limits and windows that the daemon works by.", PLAN, .run = run_plan},

    {"openapi", SELF, "", "print the OpenAPI document of the REST API", NULL, NULL, .run = run_openapi},
    {"version", SELF, "", "print the version of kedge", NULL, NULL, .run = run_version, .is_local = true},
    {"help", SELF, "[COMMAND [WORD]]", "print help", NULL, HELP, .run = run_help, .is_local = true},
    {"completion", SELF, "SHELL", "print completion for bash or zsh", "For bash: source <(kedge completion bash).", NULL, .run = run_completion, .is_local = true},
    {0}};
/* clang-format on */

const struct cli_command *cli_commands(void)
{
    return COMMANDS;
}

const struct cli_option *cli_global_options(void)
{
    return GLOBAL;
}

const struct cli_option *cli_job_options(void)
{
    return JOB;
}
