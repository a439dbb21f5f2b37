/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the API answers with, as field tables. The vault builds these objects; the tests
 * check each answer against its table, the OpenAPI document and doc/api.md print it.
 */
#include "api/views.h"

/* clang-format off */
#define REQ          .flags = API_REQUIRED
#define REQ_OR_NULL  .flags = API_REQUIRED | API_NULLABLE

static const struct api_field ERROR_FIELDS[] = {
    {"kind", API_TEXT, REQ, .help = "what to do next: transient, auth, gone, conflict, corrupt, no-space, limit, input, canceled, io, bug"},
    {"text", API_TEXT, REQ, .help = "one line: the thing, the reason, the remedy"},
    {0}};

static const struct api_field ERROR_BODY[] = {
    {"error", API_OBJECT, REQ, .fields = ERROR_FIELDS, .help = "what went wrong"},
    {0}};

static const struct api_field STATUS[] = {
    {"version", API_TEXT, REQ, .help = "version of kedged"},
    {"uptime_ms", API_U64, REQ, .help = "milliseconds since the daemon started"},
    {"machines", API_U64, REQ, .help = "machines that are replicated"},
    {"jobs_running", API_U64, REQ, .help = "jobs running now"},
    {"jobs_queued", API_U64, .help = "jobs that wait for a thread"},
    {"cycles_running", API_U64, .help = "cycles running now"},
    {"cycle_memory_bytes", API_U64, .help = "memory that the buffers of one cycle take"},
    {"data_dir", API_TEXT, REQ, .help = "where the catalog is"},
    {0}};

static const struct api_field NO_OPTIONS[] = {{0}};

static const struct api_field ENDPOINT[] = {
    {"name", API_TEXT, REQ, .help = "its name"},
    {"kind", API_TEXT, REQ, .help = "its kind"},
    {"options", API_OBJECT, REQ, .help = "as given when it was added"},
    {"machines", API_U64, .help = "machines that use it"},
    {0}};

static const struct api_field SOURCE_LIST[] = {
    {"sources", API_LIST, REQ, .fields = ENDPOINT, .help = "every source"}, {0}};
static const struct api_field TARGET_LIST[] = {
    {"targets", API_LIST, REQ, .fields = ENDPOINT, .help = "every target"}, {0}};

static const struct api_field NAMED[] = {
    {"name", API_TEXT, REQ, .help = "the name it has"}, {0}};

static const struct api_field FINDING[] = {
    {"severity", API_TEXT, REQ, .help = "ok, warning or blocker"},
    {"code", API_TEXT, REQ, .help = "stable name of the finding"},
    {"what", API_TEXT, REQ, .help = "the thing"},
    {"why", API_TEXT, REQ, .help = "what was found"},
    {"remedy", API_TEXT, REQ, .help = "what to do"},
    {0}};
static const struct api_field FINDINGS[] = {
    {"findings", API_LIST, REQ, .fields = FINDING, .help = "in the order of the checks"}, {0}};

static const struct api_field FOUND_DISK[] = {
    {"label", API_TEXT, REQ_OR_NULL, .help = "the hypervisor's name of the disk"},
    {"key", API_TEXT, REQ_OR_NULL, .help = "what identifies it at the source"},
    {"bytes", API_U64, REQ, .help = "size"},
    {"bus", API_TEXT, API_NULLABLE, .help = "virtio, scsi, sata, ..."},
    {"serial", API_TEXT, API_NULLABLE, .help = "serial number that the guest sees"},
    {0}};
static const struct api_field FOUND_NIC[] = {
    {"mac", API_TEXT, REQ_OR_NULL, .help = "MAC address"},
    {"model", API_TEXT, REQ_OR_NULL, .help = "device model"},
    {"network", API_TEXT, REQ_OR_NULL, .help = "network it is attached to"},
    {0}};
static const struct api_field FOUND_MACHINE[] = {
    {"source", API_TEXT, REQ, .help = "the source that has it"},
    {"name", API_TEXT, REQ, .help = "its name there"},
    {"key", API_TEXT, REQ, .help = "what identifies it there"},
    {"cpus", API_U64, REQ, .help = "virtual processors"},
    {"memory_bytes", API_U64, REQ, .help = "memory"},
    {"firmware", API_TEXT, REQ, .help = "bios or uefi"},
    {"running", API_BOOL, REQ, .help = "whether it runs now"},
    {"disks", API_LIST, REQ, .fields = FOUND_DISK, .help = "in boot order"},
    {"nics", API_LIST, REQ, .fields = FOUND_NIC, .help = "network interfaces"},
    {"replicating", API_BOOL, REQ, .help = "whether it is replicated already"},
    {0}};
static const struct api_field FOUND_ERROR[] = {
    {"source", API_TEXT, REQ, .help = "the source that does not answer"},
    {"kind", API_TEXT, REQ, .help = "kind of the error"},
    {"text", API_TEXT, REQ, .help = "why"},
    {0}};
static const struct api_field DISCOVERY[] = {
    {"machines", API_LIST, REQ, .fields = FOUND_MACHINE, .help = "what the sources have now"},
    {"errors", API_LIST, .fields = FOUND_ERROR, .help = "sources that do not answer, when all are asked"},
    {0}};

static const struct api_field DISK[] = {
    {"label", API_TEXT, REQ_OR_NULL, .help = "the hypervisor's name of the disk"},
    {"key", API_TEXT, REQ_OR_NULL, .help = "what identifies it at the source"},
    {"bytes", API_U64, REQ, .help = "size"},
    {0}};
static const struct api_field RECOVERY_POINT[] = {
    {"cycle", API_U64, REQ, .help = "the cycle that made it"},
    {"at_ms", API_TIME_MS, REQ, .help = "the instant that the replica holds"},
    {0}};
static const struct api_field JOB_SHORT[] = {
    {"id", API_U64, REQ, .help = "job"},
    {"operation", API_TEXT, REQ, .help = "what it does"},
    {"step", API_TEXT, REQ_OR_NULL, .help = "where it is"},
    {0}};
static const struct api_field CYCLE[] = {
    {"number", API_U64, REQ, .help = "1 is the initial cycle"},
    {"kind", API_TEXT, REQ, .help = "initial, delta, on-demand or resync"},
    {"phase", API_TEXT, REQ, .help = "snapshot, send, apply, compare or finish"},
    {"resumed", API_BOOL, REQ, .help = "goes on from an interrupted one"},
    {"started_ms", API_TIME_MS, REQ, .help = "when it began"},
    {"planned_bytes", API_U64, REQ, .help = "bytes of the change set"},
    {"done_bytes", API_U64, REQ, .help = "of these, dealt with"},
    {"read_bytes", API_U64, REQ, .help = "read from the source"},
    {"zero_bytes", API_U64, REQ, .help = "were zero"},
    {"same_bytes", API_U64, REQ, .help = "the replica held already"},
    {"content_bytes", API_U64, REQ, .help = "sent, before compression"},
    {"stored_bytes", API_U64, REQ, .help = "sent, compressed and encrypted"},
    {"applied_bytes", API_U64, REQ, .help = "written to the replica"},
    {"compared_bytes", API_U64, .help = "compared so far, in phase compare of a verify"},
    {"compare_total_bytes", API_U64, .help = "bytes to compare"},
    {"rate_bps", API_NUMBER, REQ_OR_NULL, .help = "done bytes a second, smoothed"},
    {"sent_bps", API_NUMBER, REQ_OR_NULL, .help = "stored bytes a second, smoothed"},
    {"eta_ms", API_U64, REQ_OR_NULL, .help = "milliseconds to its end"},
    {0}};
static const struct api_field LAST_CYCLE[] = {
    {"number", API_U64, REQ, .help = "1 is the initial cycle"},
    {"kind", API_TEXT, REQ, .help = "initial, delta, on-demand or resync"},
    {"state", API_TEXT, REQ, .help = "how it ended"},
    {"started_ms", API_TIME_MS, REQ, .help = "when it began"},
    {"ended_ms", API_TIME_MS, REQ_OR_NULL, .help = "when it ended"},
    {"snapshot_ms", API_TIME_MS, REQ_OR_NULL, .help = "the instant of its snapshot"},
    {"planned_bytes", API_U64, REQ, .help = "bytes of the change set"},
    {"read_bytes", API_U64, REQ, .help = "read from the source"},
    {"zero_bytes", API_U64, REQ, .help = "were zero"},
    {"same_bytes", API_U64, REQ, .help = "the replica held already"},
    {"content_bytes", API_U64, REQ, .help = "sent, before compression"},
    {"stored_bytes", API_U64, REQ, .help = "sent, compressed and encrypted"},
    {"applied_bytes", API_U64, REQ, .help = "written to the replica"},
    {"error", API_TEXT, REQ_OR_NULL, .help = "why it failed"},
    {0}};
static const struct api_field VM[] = {
    {"name", API_TEXT, REQ, .help = "name of the test or VM"},
    {"vm", API_TEXT, REQ_OR_NULL, .help = "what identifies it at the target"},
    {"how_booted", API_TEXT, REQ_OR_NULL, .help = "how the boot was seen"},
    {"boot_ms", API_U64, REQ_OR_NULL, .help = "milliseconds from start to boot"},
    {"screen_png", API_TEXT, REQ_OR_NULL, .help = "file with a picture of its screen"},
    {"serial_log", API_TEXT, REQ_OR_NULL, .help = "file with its serial console"},
    {"qmp_path", API_TEXT, REQ_OR_NULL, .help = "its QMP socket"},
    {"disk_paths", API_TEXTS, .help = "its disks, in boot order"},
    {"at_ms", API_TIME_MS, REQ_OR_NULL, .help = "when it was made"},
    {0}};

static const struct api_field MACHINE[] = {
    {"id", API_TEXT, REQ, .help = "32 hex digits, never reused"},
    {"name", API_TEXT, REQ, .help = "its name here"},
    {"source", API_TEXT, REQ, .help = "source it comes from"},
    {"target", API_TEXT, REQ, .help = "target it goes to"},
    {"state", API_TEXT, REQ, .help = "replication state, for programs"},
    {"status", API_TEXT, REQ, .help = "replication state, for people"},
    {"migration_state", API_TEXT, REQ, .help = "migration state, for programs"},
    {"migration_status", API_TEXT, REQ, .help = "migration state, for people"},
    {"last_error", API_OBJECT, REQ_OR_NULL, .fields = ERROR_FIELDS, .help = "what failed last"},
    {"cpus", API_U64, REQ, .help = "virtual processors"},
    {"memory_bytes", API_U64, REQ, .help = "memory"},
    {"firmware", API_TEXT, REQ, .help = "bios or uefi"},
    {"auto_repair", API_BOOL, .help = "resyncs by itself when change tracking is lost"},
    {"disks", API_LIST, REQ, .fields = DISK, .help = "in boot order"},
    {"recovery_point", API_OBJECT, REQ_OR_NULL, .fields = RECOVERY_POINT, .help = "what the replica holds"},
    {"next_cycle_at_ms", API_TIME_MS, REQ_OR_NULL, .help = "when the next cycle is due"},
    {"allowed_operations", API_TEXTS, REQ, .help = "operations that its state allows"},
    {"job", API_OBJECT, REQ_OR_NULL, .fields = JOB_SHORT, .help = "the job that works on it"},
    {"cycle", API_OBJECT, REQ_OR_NULL, .fields = CYCLE, .help = "the running cycle"},
    {"last_cycles", API_LIST, REQ, .fields = LAST_CYCLE, .help = "newest first, at most 10"},
    {"tests", API_LIST, REQ, .fields = VM, .help = "test migrations that run"},
    {"vm", API_OBJECT, REQ_OR_NULL, .fields = VM, .help = "the migrated VM"},
    {0}};
static const struct api_field MACHINE_LIST[] = {
    {"machines", API_LIST, REQ, .fields = MACHINE, .help = "every machine"}, {0}};

static const struct api_field JOB_STARTED[] = {
    {"job", API_U64, REQ, .help = "the job; see /v1/jobs/{job}"}, {0}};
static const struct api_field JOB[] = {
    {"id", API_U64, REQ, .help = "job"},
    {"machine", API_TEXT, REQ_OR_NULL, .help = "name of the machine"},
    {"machine_id", API_TEXT, REQ_OR_NULL, .help = "its id"},
    {"operation", API_TEXT, REQ, .help = "what it does"},
    {"state", API_TEXT, REQ, .help = "queued, running, succeeded, failed or canceled"},
    {"step", API_TEXT, REQ_OR_NULL, .help = "where it is"},
    {"steps_done", API_U64, REQ, .help = "steps finished"},
    {"steps_total", API_U64, REQ, .help = "steps altogether"},
    {"created_ms", API_TIME_MS, REQ, .help = "when it was asked for"},
    {"started_ms", API_TIME_MS, REQ_OR_NULL, .help = "when it began"},
    {"ended_ms", API_TIME_MS, REQ_OR_NULL, .help = "when it ended"},
    {"options", API_OBJECT, REQ_OR_NULL, .help = "as given"},
    {"result", API_OBJECT, REQ_OR_NULL, .help = "what came out, by operation"},
    {"error", API_OBJECT, REQ_OR_NULL, .fields = ERROR_FIELDS, .help = "why it failed"},
    {0}};
static const struct api_field JOB_LIST[] = {
    {"jobs", API_LIST, REQ, .fields = JOB, .help = "newest first"}, {0}};

static const struct api_field EVENT[] = {
    {"id", API_U64, REQ, .help = "rises by one or more"},
    {"ts_ms", API_TIME_MS, REQ, .help = "when"},
    {"machine", API_TEXT, REQ_OR_NULL, .help = "name of the machine"},
    {"job", API_U64, REQ_OR_NULL, .help = "job"},
    {"level", API_TEXT, REQ, .help = "info, warn or error"},
    {"event", API_TEXT, REQ, .help = "stable name of what happened"},
    {"text", API_TEXT, REQ, .help = "the same for people"},
    {0}};
static const struct api_field EVENT_LIST[] = {
    {"events", API_LIST, REQ, .fields = EVENT, .help = "oldest first"},
    {"next", API_U64, REQ, .help = "pass it as 'since' to go on"},
    {0}};

static const struct api_field THROTTLE[] = {
    {"bytes_per_second", API_U64, REQ, .max = 1000000000000000, .help = "upper bound of what leaves; 0 is none"}, {0}};

static const struct api_schema VIEWS[VIEW_COUNT] = {
    [VIEW_STATUS] = {"Status", "The daemon.", STATUS},
    [VIEW_SOURCE_LIST] = {"SourceList", "Sources.", SOURCE_LIST},
    [VIEW_TARGET_LIST] = {"TargetList", "Targets.", TARGET_LIST},
    [VIEW_NAMED] = {"Named", "What was changed.", NAMED},
    [VIEW_FINDINGS] = {"Findings", "What a check found.", FINDINGS},
    [VIEW_DISCOVERY] = {"Discovery", "Machines at the sources.", DISCOVERY},
    [VIEW_MACHINE] = {"Machine", "A replicated machine.", MACHINE},
    [VIEW_MACHINE_LIST] = {"MachineList", "Replicated machines.", MACHINE_LIST},
    [VIEW_JOB_STARTED] = {"JobStarted", "The job that was started, or found by its idempotency key.", JOB_STARTED},
    [VIEW_JOB] = {"Job", "A job.", JOB},
    [VIEW_JOB_LIST] = {"JobList", "Jobs.", JOB_LIST},
    [VIEW_EVENT_LIST] = {"EventList", "Events.", EVENT_LIST},
    [VIEW_THROTTLE] = {"Throttle", "The bound of what leaves.", THROTTLE},
    [VIEW_OPENAPI] = {"OpenApi", "This document.", NULL},
    [VIEW_ERROR] = {"Error", "Every answer that is not 2xx.", ERROR_BODY},
};

/* ---- what clients send ---- */

static const struct api_field SOURCE_BODY[] = {
    {"name", API_NAME, REQ, .help = "name to give it"},
    {"kind", API_TEXT, REQ, .choices = (const char *const[]){"qemu", "image", NULL}, .help = "its kind"},
    {"options", API_OBJECT, REQ, .help = "by kind"},
    {0}};
static const struct api_field TARGET_BODY[] = {
    {"name", API_NAME, REQ, .help = "name to give it"},
    {"kind", API_TEXT, REQ, .choices = (const char *const[]){"local", NULL}, .help = "its kind"},
    {"options", API_OBJECT, REQ, .help = "by kind"},
    {0}};
static const struct api_field REPLICATE_OPTIONS[] = {
    {"name", API_NAME, .help = "name here; without it the name at the source"},
    {"auto_repair", API_BOOL, .help = "resync by itself when change tracking is lost"},
    {"marker", API_TEXT, .max = 200, .help = "text on the serial console that proves a boot"},
    {0}};
static const struct api_field REPLICATE_BODY[] = {
    {"source", API_NAME, REQ, .help = "source that has the machine"},
    {"machine", API_TEXT, REQ, .min = 1, .max = 255, .help = "name or key at the source"},
    {"target", API_NAME, REQ, .help = "target to replicate to"},
    {"options", API_OBJECT, .fields = REPLICATE_OPTIONS, .help = "all optional"},
    {0}};

static const struct api_schema BODIES[BODY_COUNT] = {
    [BODY_SOURCE] = {"SourceRequest", "A source to add.", SOURCE_BODY},
    [BODY_TARGET] = {"TargetRequest", "A target to add.", TARGET_BODY},
    [BODY_REPLICATE] = {"ReplicateRequest", "A machine to replicate.", REPLICATE_BODY},
    [BODY_THROTTLE] = {"ThrottleRequest", "The new bound.", THROTTLE},
};

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
static const struct api_field LOCAL_OPTIONS[] = {
    {"dir", API_PATH, REQ, .help = "folder of replicas, tests, VMs and evidence"},
    {"format", API_TEXT, .choices = (const char *const[]){"raw", "qcow2", NULL}, .help = "format of replica disks"},
    {"accel", API_TEXT, .choices = (const char *const[]){"auto", "kvm", "tcg", NULL}, .help = "how VMs are run"},
    {"device_map", API_PATH, .help = "file of lines '<machine> <disk index> <block device>': replica disks on devices instead of files"},
    {0}};

static const struct api_kind SOURCE_KINDS[] = {
    {"qemu", "a running QEMU virtual machine", QEMU_OPTIONS},
    {"image", "disk images or block devices without change tracking", IMAGE_OPTIONS},
    {0}};
static const struct api_kind TARGET_KINDS[] = {
    {"local", "files and QEMU virtual machines on this host", LOCAL_OPTIONS},
    {0}};

static const struct api_field TEST_OPTIONS[] = {
    {"name", API_NAME, .help = "name of the test"},
    {"network", API_TEXT, .max = 64, .help = "network of the test; without it an isolated one"},
    {"marker", API_TEXT, .max = 200, .help = "text on the serial console that proves the boot"},
    {"boot_deadline_ms", API_U64, .min = 1, .max = 86400000, .help = "how long to wait for the boot"},
    {0}};
static const struct api_field CLEANUP_OPTIONS[] = {
    {"name", API_NAME, .help = "the test to remove; without it all of the machine"}, {0}};
static const struct api_field MIGRATE_OPTIONS[] = {
    {"shutdown", API_BOOL, .help = "shut the guest down first, so that nothing is lost"},
    {"marker", API_TEXT, .max = 200, .help = "text on the serial console that proves the boot"},
    {"boot_deadline_ms", API_U64, .min = 1, .max = 86400000, .help = "how long to wait for the boot"},
    {0}};

static const struct api_kind OPERATIONS[] = {
    {"sync", "a delta cycle now", NO_OPTIONS},
    {"pause", "no cycles until resumed", NO_OPTIONS},
    {"resume", "cycles again", NO_OPTIONS},
    {"stop", "end replication, remove the replica", NO_OPTIONS},
    {"test-migrate", "boot a VM from a clone; the replica is not touched", TEST_OPTIONS},
    {"test-cleanup", "remove test VMs", CLEANUP_OPTIONS},
    {"migrate", "last delta, then the VM at the target", MIGRATE_OPTIONS},
    {"complete", "remove what replication needed; the machine leaves the list", NO_OPTIONS},
    {"verify", "a delta, then source and replica compared sector by sector", NO_OPTIONS},
    {"resync", "compare the whole disk, send what differs", NO_OPTIONS},
    {0}};
/* clang-format on */

const struct api_schema *api_view_schema(enum api_view view)
{
    return &VIEWS[view];
}

const struct api_schema *api_body_schema(enum api_body body)
{
    return BODIES[body].name ? &BODIES[body] : NULL;
}

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
