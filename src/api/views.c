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
    {"throttle_bps", API_U64, .help = "bound of bytes a second that leave now; 0 is none"},
    {"in_blackout", API_BOOL, .help = "a blackout window holds: no cycle begins"},
    {"blackout_until_ms", API_TIME_MS, API_NULLABLE, .help = "until then, when the windows leave time after it"},
    {"data_dir", API_TEXT, REQ, .help = "where the catalog is"},
    {0}};

static const struct api_field ORDER[] = {
    {"number", API_U64, REQ, .help = "ascending; never used twice"},
    {"what", API_TEXT, REQ, .help = "what is to be done: apply, create, test-start ..."},
    {"machine", API_TEXT, REQ, .help = "machine it is about, or empty"},
    {"target", API_TEXT, REQ, .help = "target it is for"},
    {"state", API_TEXT, REQ, .help = "waits, runs or ended"},
    {"taken_ms", API_TIME_MS, REQ, .help = "when it was taken"},
    {"segments_total", API_U64, REQ, .help = "segments of the cycle"},
    {"segments_verified", API_U64, REQ, .help = "of them checked"},
    {"segments_applied", API_U64, REQ, .help = "of them written"},
    {"written_bytes", API_U64, REQ, .help = "bytes written"},
    {"zeroed_bytes", API_U64, REQ, .help = "bytes made zero"},
    {"same_bytes", API_U64, REQ, .help = "bytes that the replica held"},
    {0}};
static const struct api_field APPLIER[] = {
    {"version", API_TEXT, REQ, .help = "version of kedged"},
    {"uptime_ms", API_U64, REQ, .help = "milliseconds since the daemon started"},
    {"data_dir", API_TEXT, REQ, .help = "its folder"},
    {"name", API_TEXT, REQ, .help = "name that targets give"},
    {"instance", API_TEXT, REQ, .help = "made at each start"},
    {"fenced", API_BOOL, REQ, .help = "it cannot reach the state store and does nothing"},
    {"silent_ms", API_U64, REQ, .help = "since it last showed that it lives"},
    {"done", API_U64, REQ, .help = "orders done since the start"},
    {"orders", API_LIST, REQ, .fields = ORDER, .help = "what it works on"},
    {"error", API_TEXT, REQ, .help = "of the state store, or empty"},
    {0}};
static const struct api_field APPLIER_SEEN[] = {
    {"name", API_TEXT, REQ, .help = "its name"},
    {"state", API_TEXT, REQ, .help = "working, silent, lost or not seen yet"},
    {"silent_ms", API_U64, REQ, .help = "since it was seen"},
    {"orders", API_U64, REQ, .help = "what it works on"},
    {"host", API_TEXT, REQ, .help = "where it runs"},
    {"version", API_TEXT, REQ, .help = "version of its kedged"},
    {0}};

static const struct api_field ENDPOINT[] = {
    {"name", API_TEXT, REQ, .help = "its name"},
    {"kind", API_TEXT, REQ, .help = "its kind"},
    {"options", API_OBJECT, REQ, .help = "as given when it was added"},
    {"machines", API_U64, .help = "machines that use it"},
    {0}};

static const struct api_field TARGET_END[] = {
    {"name", API_TEXT, REQ, .help = "its name"},
    {"kind", API_TEXT, REQ, .help = "its kind"},
    {"options", API_OBJECT, REQ, .help = "as given when it was added"},
    {"machines", API_U64, .help = "machines that use it"},
    {"applier", API_OBJECT, API_NULLABLE, .fields = APPLIER_SEEN, .help = "remote applier that works on it; null: this daemon"},
    {0}};

static const struct api_field SOURCE_LIST[] = {
    {"sources", API_LIST, REQ, .fields = ENDPOINT, .help = "every source"}, {0}};
static const struct api_field TARGET_LIST[] = {
    {"targets", API_LIST, REQ, .fields = TARGET_END, .help = "every target"}, {0}};

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
    {"datastore", API_TEXT, .help = "where its file lies"},
    {"file", API_TEXT, .help = "vsphere: its file, with datastore and folder"},
    {"mode", API_TEXT, .help = "vsphere: persistent, independent_persistent, ..."},
    {"sharing", API_TEXT, .help = "vsphere: how it is shared; empty or noSharing: not at all"},
    {"backing", API_TEXT, .help = "vsphere: what its data lies in"},
    {"thin", API_BOOL, .help = "vsphere: takes only the space that was written"},
    {"rdm", API_BOOL, .help = "vsphere: a raw device"},
    {"encrypted", API_BOOL, .help = "vsphere: encrypted there"},
    {"chain_links", API_U64, .help = "vsphere: files that its content is put together from"},
    {0}};
static const struct api_field FOUND_SNAPSHOT[] = {
    {"name", API_TEXT, REQ, .help = "its name"},
    {"description", API_TEXT, REQ, .help = "its description"},
    {"created_ms", API_TIME_MS, REQ_OR_NULL, .help = "when it was made"},
    {"kedge", API_BOOL, REQ, .help = "whether Kedge made it"},
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
    {"host", API_TEXT, .help = "where it runs"},
    {"id", API_TEXT, .help = "vsphere: its managed object"},
    {"folder", API_TEXT, .help = "vsphere: path of the folder it is in"},
    {"power", API_TEXT, .help = "vsphere: on, off or suspended"},
    {"connection", API_TEXT, .help = "vsphere: connected, or why it cannot be reached"},
    {"uuid", API_TEXT, .help = "vsphere: BIOS UUID"},
    {"hardware", API_TEXT, .help = "vsphere: version of its virtual hardware"},
    {"guest", API_TEXT, .help = "vsphere: operating system"},
    {"guest_host", API_TEXT, .help = "vsphere: the guest's own name"},
    {"guest_address", API_TEXT, .help = "vsphere: the guest's address"},
    {"tools", API_TEXT, .help = "vsphere: state of VMware Tools"},
    {"tools_running", API_BOOL, .help = "vsphere: whether they run"},
    {"secure_boot", API_BOOL, .help = "vsphere: boots with secure boot"},
    {"tracking", API_BOOL, .help = "vsphere: changed-block tracking is switched on"},
    {"consolidation_needed", API_BOOL, .help = "vsphere: its disks wait for consolidation"},
    {"fault_tolerant", API_BOOL, .help = "vsphere: fault tolerance is on"},
    {"encrypted", API_BOOL, .help = "vsphere: encrypted there"},
    {"snapshots", API_LIST, .fields = FOUND_SNAPSHOT, .help = "vsphere: what it has"},
    {0}};
static const struct api_field FOUND_PLACE[] = {
    {"kind", API_TEXT, REQ, .help = "Datacenter, Folder, ClusterComputeResource, ..."},
    {"id", API_TEXT, REQ, .help = "its managed object"},
    {"name", API_TEXT, REQ, .help = "its name"},
    {"path", API_TEXT, REQ, .help = "its path"},
    {0}};
static const struct api_field FOUND_HOST[] = {
    {"id", API_TEXT, REQ, .help = "its managed object"},
    {"name", API_TEXT, REQ, .help = "its name"},
    {"path", API_TEXT, REQ, .help = "its path"},
    {"version", API_TEXT, REQ, .help = "of ESXi"},
    {"build", API_TEXT, REQ, .help = "of ESXi"},
    {"connection", API_TEXT, REQ, .help = "connected, disconnected or notResponding"},
    {"power", API_TEXT, REQ, .help = "poweredOn, standBy, ..."},
    {"in_maintenance", API_BOOL, REQ, .help = "in maintenance mode"},
    {"cpu_threads", API_U64, REQ, .help = "logical processors"},
    {"memory_bytes", API_U64, REQ, .help = "memory"},
    {0}};
static const struct api_field FOUND_DATASTORE[] = {
    {"id", API_TEXT, REQ, .help = "its managed object"},
    {"name", API_TEXT, REQ, .help = "its name"},
    {"datacenter", API_TEXT, REQ, .help = "where it is"},
    {"type", API_TEXT, REQ, .help = "VMFS, NFS, vsan, ..."},
    {"capacity_bytes", API_U64, REQ, .help = "size"},
    {"free_bytes", API_U64, REQ, .help = "of these, free"},
    {"accessible", API_BOOL, REQ, .help = "whether it can be reached"},
    {"in_maintenance", API_BOOL, REQ, .help = "in maintenance mode"},
    {"shared", API_BOOL, REQ, .help = "by several hosts"},
    {0}};
static const struct api_field FOUND_NETWORK[] = {
    {"id", API_TEXT, REQ, .help = "its managed object"},
    {"name", API_TEXT, REQ, .help = "its name"},
    {0}};
static const struct api_field FOUND_SERVER[] = {
    {"name", API_TEXT, REQ, .help = "what it says it is"},
    {"version", API_TEXT, REQ, .help = "its version"},
    {"build", API_TEXT, REQ, .help = "its build"},
    {"vcenter", API_BOOL, REQ, .help = "a vCenter; else one host"},
    {0}};
static const struct api_field FOUND_INVENTORY[] = {
    {"source", API_TEXT, REQ, .help = "the source that has it"},
    {"server", API_OBJECT, REQ, .fields = FOUND_SERVER, .help = "what answers there"},
    {"places", API_LIST, REQ, .fields = FOUND_PLACE, .help = "datacenters, folders, clusters"},
    {"hosts", API_LIST, REQ, .fields = FOUND_HOST, .help = "ESXi hosts"},
    {"datastores", API_LIST, REQ, .fields = FOUND_DATASTORE, .help = "where disks lie"},
    {"networks", API_LIST, REQ, .fields = FOUND_NETWORK, .help = "networks"},
    {0}};
static const struct api_field FOUND_ERROR[] = {
    {"source", API_TEXT, REQ, .help = "the source that does not answer"},
    {"kind", API_TEXT, REQ, .help = "kind of the error"},
    {"text", API_TEXT, REQ, .help = "why"},
    {0}};
static const struct api_field DISCOVERY[] = {
    {"machines", API_LIST, REQ, .fields = FOUND_MACHINE, .help = "what the sources have now"},
    {"inventories", API_LIST, .fields = FOUND_INVENTORY, .help = "what is around the machines, of sources that know"},
    {"errors", API_LIST, .fields = FOUND_ERROR, .help = "sources that do not answer, when all are asked"},
    {0}};

static const struct api_field DISK[] = {
    {"label", API_TEXT, REQ_OR_NULL, .help = "the hypervisor's name of the disk"},
    {"key", API_TEXT, REQ_OR_NULL, .help = "what identifies it at the source"},
    {"bytes", API_U64, REQ, .help = "size"},
    {"datastore", API_TEXT, .help = "where its file lies at the source"},
    {"reading", API_TEXT, .help = "how the last cycle read it, and why not otherwise: nfc (nbdssl, skipz)"},
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
    {"checked_bytes", API_U64, .help = "read to check what the source calls unchanged"},
    {"lies", API_U64, .help = "disks whose change record was caught lying"},
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

static const struct api_field REFUSED[] = {
    {"operation", API_TEXT, REQ, .help = "what would be refused"},
    {"text", API_TEXT, REQ, .help = "the answer"},
    {0}};
static const struct api_field WAITING[] = {
    {"reason", API_TEXT, REQ, .help = "datastore-snapshots, host-disks, gateway-disks, gateway-cycles, blackout, gateway-down, or turn: it is about to start"},
    {"text", API_TEXT, REQ, .help = "the same for people"},
    {"resource", API_TEXT, REQ, .help = "name of the datastore, host or gateway"},
    {"used", API_U64, REQ, .help = "of it taken now"},
    {"limit", API_U64, REQ, .help = "the most that may be taken"},
    {"wanted", API_U64, REQ, .help = "what this machine needs of it"},
    {"holders", API_TEXTS, REQ, .help = "machines that hold it, at most 8"},
    {"holder_count", API_U64, REQ, .help = "how many hold it"},
    {"after", API_TEXT, REQ_OR_NULL, .help = "machine that goes first"},
    {"expected_at_ms", API_TIME_MS, REQ_OR_NULL, .help = "when it will probably start"},
    {0}};

static const struct api_field MACHINE[] = {
    {"id", API_TEXT, REQ, .help = "32 hex digits, never reused"},
    {"name", API_TEXT, REQ, .help = "its name here"},
    {"source", API_TEXT, REQ, .help = "source it comes from"},
    {"target", API_TEXT, REQ, .help = "target it goes to"},
    {"gateway", API_TEXT, .help = "gateway that moves its data"},
    {"applier", API_OBJECT, API_NULLABLE, .fields = APPLIER_SEEN, .help = "remote applier of its target; null: this daemon"},
    {"state", API_TEXT, REQ, .help = "replication state, for programs"},
    {"status", API_TEXT, REQ, .help = "replication state, for people"},
    {"migration_state", API_TEXT, REQ, .help = "migration state, for programs"},
    {"migration_status", API_TEXT, REQ, .help = "migration state, for people"},
    {"last_error", API_OBJECT, REQ_OR_NULL, .fields = ERROR_FIELDS, .help = "what failed last"},
    {"cpus", API_U64, REQ, .help = "virtual processors"},
    {"memory_bytes", API_U64, REQ, .help = "memory"},
    {"firmware", API_TEXT, REQ, .help = "bios or uefi"},
    {"host", API_TEXT, .help = "where it runs at the source"},
    {"auto_repair", API_BOOL, .help = "resyncs by itself when change tracking is lost"},
    {"disks", API_LIST, REQ, .fields = DISK, .help = "in boot order"},
    {"recovery_point", API_OBJECT, REQ_OR_NULL, .fields = RECOVERY_POINT, .help = "what the replica holds"},
    {"next_cycle_at_ms", API_TIME_MS, REQ_OR_NULL, .help = "when the next cycle is due"},
    {"waiting", API_OBJECT, API_NULLABLE, .fields = WAITING, .help = "why its next cycle, which is due, does not run"},
    {"allowed_operations", API_TEXTS, REQ, .help = "operations that its state allows"},
    {"refused_operations", API_LIST, .fields = REFUSED, .help = "the others, with state, reason and what would make each possible; only of one machine"},
    {"migration_job", API_U64, API_NULLABLE, .help = "the last test migration or migration"},
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
static const struct api_field JOB_STEP[] = {
    {"name", API_TEXT, REQ, .help = "what is done in it"},
    {"state", API_TEXT, REQ, .help = "done, running, failed or waiting"},
    {0}};
static const struct api_field JOB[] = {
    {"id", API_U64, REQ, .help = "job"},
    {"machine", API_TEXT, REQ_OR_NULL, .help = "name of the machine"},
    {"machine_id", API_TEXT, REQ_OR_NULL, .help = "its id"},
    {"operation", API_TEXT, REQ, .help = "what it does"},
    {"who", API_TEXT, REQ, .help = "asked for it: uid:N on the Unix socket, api-token on the port, kedged for the daemon itself; empty in old jobs"},
    {"state", API_TEXT, REQ, .help = "queued, running, succeeded, failed or canceled"},
    {"step", API_TEXT, REQ_OR_NULL, .help = "where it is"},
    {"steps_done", API_U64, REQ, .help = "steps finished"},
    {"steps_total", API_U64, REQ, .help = "steps altogether"},
    {"steps", API_LIST, .fields = JOB_STEP, .help = "the steps in order"},
    {"percent", API_U64, API_NULLABLE, .help = "of the cycle that it runs now"},
    {"status", API_TEXT, .help = "state for people; a migration whose boot was not seen is Completed with info"},
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
    {"level", API_TEXT, REQ, .help = "info, warning or error"},
    {"event", API_TEXT, REQ, .help = "stable name of what happened"},
    {"who", API_TEXT, REQ, .help = "made it happen: uid:N, api-token or kedged; empty in old events"},
    {"text", API_TEXT, REQ, .help = "the same for people"},
    {0}};
static const struct api_field EVENT_LIST[] = {
    {"events", API_LIST, REQ, .fields = EVENT, .help = "oldest first"},
    {"next", API_U64, REQ, .help = "pass it as 'since' to go on"},
    {0}};

static const struct api_field PLAN_ROW[] = {
    {"name", API_TEXT, REQ, .help = "the machine"},
    {"gateway", API_TEXT, REQ, .help = "gateway that moves its data"},
    {"host", API_TEXT, REQ, .help = "where it runs"},
    {"used_bytes", API_U64, REQ, .help = "what its initial cycle brings, or still has to"},
    {"churn_bytes_hour", API_U64, REQ, .help = "written, or if measured changed, in an hour"},
    {"refused", API_BOOL, REQ, .help = "beyond the number of machines that may replicate"},
    {"initial_start_ms", API_TIME_MS, REQ_OR_NULL, .help = "when its initial cycle starts"},
    {"initial_end_ms", API_TIME_MS, REQ_OR_NULL, .help = "when its initial cycle ends"},
    {"initial_wait_ms", API_U64, REQ_OR_NULL, .help = "milliseconds in the queue before"},
    {"delta_ms", API_U64, REQ_OR_NULL, .help = "milliseconds that a delta takes, on average"},
    {"delta_longest_ms", API_U64, REQ_OR_NULL, .help = "the longest one"},
    {"delta_bytes", API_U64, REQ_OR_NULL, .help = "read by the last one"},
    {"delta_every_ms", API_U64, REQ_OR_NULL, .help = "pause between two deltas"},
    {"keeps_up", API_BOOL, REQ, .help = "deltas stay shorter than the longest pause between them"},
    {"cutover_ms", API_U64, REQ_OR_NULL, .help = "from asking for the migration to the booted VM"},
    {"cutover_wait_ms", API_U64, REQ_OR_NULL, .help = "of it in the queue"},
    {0}};
static const struct api_field PLAN[] = {
    {"start_ms", API_TIME_MS, REQ, .help = "the plan begins"},
    {"machine_count", API_U64, REQ, .help = "machines in the plan"},
    {"initial_end_ms", API_TIME_MS, REQ_OR_NULL, .help = "when the last initial cycle ends"},
    {"delta_longest_ms", API_U64, REQ_OR_NULL, .help = "the longest delta"},
    {"cutover_longest_ms", API_U64, REQ_OR_NULL, .help = "the longest cutover"},
    {"cutover_at_once", API_U64, REQ, .help = "machines that are cut over at a time"},
    {"refused", API_U64, REQ, .help = "machines beyond the number that may replicate"},
    {"unfinished", API_U64, REQ, .help = "machines whose initial cycle does not end within the plan"},
    {"is_whole", API_BOOL, REQ, .help = "nothing was cut off at a year or at the bound of computing"},
    {"bandwidth_bps", API_U64, REQ, .help = "bytes a second that leave each gateway; 0 is no bound"},
    {"sent_pct", API_U64, REQ, .help = "bytes sent for a hundred read, where it was not measured"},
    {"machines", API_LIST, REQ, .fields = PLAN_ROW, .help = "as in the table, or by name"},
    {0}};
static const struct api_field PLAN_BODY[] = {
    {"machine", API_TEXT, .min = 1, .max = 63, .help = "only this one of the machines that replicate; the others are planned with it"},
    {"table", API_TEXT, .min = 1, .max = 1000000, .help = "a fleet as comma-separated values, its first line names the columns: name, size_gib; and if known used_pct, gateway, host, datastore, disks, churn_mib_per_h, pattern, read_mib_per_s. Without it the machines that replicate, with their measured rates"},
    {"bandwidth_bps", API_U64, .max = 1000000000000000, .help = "bytes a second that may leave each gateway; without it the throttle, else 1 Gbit/s"},
    {"sent_pct", API_U64, .min = 1, .max = 200, .help = "bytes sent for a hundred read; without it 70"},
    {"read_bps", API_U64, .max = 1000000000000000, .help = "bytes a second that one machine can be read with; 0 is no bound"},
    {"churn_bytes_hour", API_U64, .max = 1000000000000000, .help = "written to each machine in an hour; without it a twentieth of its size in a day"},
    {"blackout", API_TEXT, .max = 4096, .help = "blackout windows; without it those in force"},
    {"datastore_snapshots", API_U64, .max = 100000, .help = "limit; without it the configured one; 0 is none"},
    {"host_disks", API_U64, .max = 100000, .help = "limit, likewise"},
    {"gateway_disks", API_U64, .max = 100000, .help = "limit, likewise"},
    {"gateway_cycles", API_U64, .max = 100000, .help = "limit, likewise: job_threads"},
    {"gateway_machines", API_U64, .max = 1000000, .help = "limit, likewise"},
    {"total_machines", API_U64, .max = 1000000, .help = "limit, likewise"},
    {"overhead_ms", API_U64, .max = 86400000, .help = "of a cycle beside the transfer; without it 40 s"},
    {"shutdown_ms", API_U64, .max = 86400000, .help = "of the guest; without it 1 min"},
    {"boot_ms", API_U64, .max = 86400000, .help = "of the VM at the target; without it 2 min"},
    {"cutover_at_once", API_U64, .min = 1, .max = 10000, .help = "machines that are cut over at a time; without it 1 for each hundred"},
    {"start_ms", API_TIME_MS, .help = "the plan begins; without it now"},
    {"seed", API_U64, .max = INT64_MAX, .help = "of what varies; the same one gives the same plan"},
    {0}};

static const struct api_field THROTTLE[] = {
    {"bytes_per_second", API_U64, REQ, .help = "upper bound of what leaves now; 0 is none"},
    {"standing_bytes_per_second", API_U64, .help = "the bound that holds at all times; the lower of the two counts"},
    {"calendar", API_TEXT, .help = "the bounds by day and time, or nothing"},
    {"rule", API_TEXT, API_NULLABLE, .help = "the rule of the calendar that holds now"},
    {"next_change_ms", API_TIME_MS, API_NULLABLE, .help = "when another rule begins to hold"},
    {"time_zone", API_TEXT, .help = "zone of the calendar's times"},
    {0}};
static const struct api_field THROTTLE_BODY[] = {
    {"bytes_per_second", API_U64, .max = 1000000000000000, .help = "the bound that holds at all times; 0 is none"},
    {"calendar", API_TEXT, .max = 4096, .help = "bounds by day and time, like 'Mon-Fri 08:00-18:00 10MB/s; * 0'; empty for none"},
    {0}};

static const struct api_field BLACKOUT[] = {
    {"windows", API_TEXT, REQ, .help = "the windows in force, like 'Monday;7:00;7h | Tuesday;8:00;1d7h'"},
    {"time_zone", API_TEXT, REQ, .help = "zone of the windows' times"},
    {"file", API_TEXT, REQ_OR_NULL, .help = "the file they come from, if not from this interface"},
    {"inside", API_BOOL, REQ, .help = "no cycle begins now"},
    {"window", API_TEXT, REQ_OR_NULL, .help = "the window that holds now, or the next one"},
    {"until_ms", API_TIME_MS, REQ_OR_NULL, .help = "inside: when cycles begin again; null when the windows leave no time"},
    {"next_start_ms", API_TIME_MS, REQ_OR_NULL, .help = "outside: when the next window begins"},
    {0}};
static const struct api_field BLACKOUT_BODY[] = {
    {"windows", API_TEXT, REQ, .max = 4096, .help = "Day;H:MM;duration, separated by '|'; empty for none"},
    {0}};

static const struct api_field THING[] = {
    {"kind", API_TEXT, REQ, .help = "page blob, snapshot, blob, disk, nic, vm or file"},
    {"name", API_TEXT, REQ, .help = "its name"},
    {"id", API_TEXT, REQ, .help = "what the target's own tools call it"},
    {"machine", API_TEXT, REQ, .help = "machine it is of; empty when no layout tells"},
    {"machine_id", API_TEXT, REQ, .help = "id of that machine, as far as it is known"},
    {"role", API_TEXT, REQ, .help = "replica, test-NAME, vm or layout"},
    {"state", API_TEXT, REQ, .help = "as the target says, or empty"},
    {"size_bytes", API_U64, REQ, .help = "its size; 0: it has none"},
    {"allocated_bytes", API_U64, REQ, .help = "what is stored of it; 0: not known"},
    {"known", API_BOOL, REQ, .help = "a layout names it; otherwise it is an orphan"},
    {0}};
static const struct api_field INVENTORY[] = {
    {"things", API_LIST, REQ, .fields = THING, .help = "everything that Kedge made there"}, {0}};

static const struct api_field ORPHAN[] = {
    {"kind", API_TEXT, REQ, .help = "log objects, state objects, hash map, test machine, replica or source records"},
    {"machine", API_TEXT, REQ, .help = "name of the machine it was for, as far as it is known"},
    {"machine_id", API_TEXT, REQ, .help = "its id"},
    {"what", API_TEXT, REQ, .help = "what there is"},
    {"ours", API_BOOL, REQ, .help = "known to have been this vault's; anything else is left alone"},
    {0}};
static const struct api_field ORPHAN_LIST[] = {
    {"orphans", API_LIST, REQ, .fields = ORPHAN, .help = "what belongs to no machine and no job"}, {0}};

static const struct api_field NETWORK_STEP[] = {
    {"step", API_TEXT, REQ, .help = "settings, name, route, connect, tunnel, tls, clock, sign-in, write, speed, account or permissions"},
    {"verdict", API_TEXT, REQ, .help = "ok, skipped, warning or failed"},
    {"cause", API_TEXT, REQ, .help = "what was found"},
    {"remedy", API_TEXT, REQ, .help = "what to do, or empty"},
    {"took_ms", API_U64, REQ, .help = "how long it took"},
    {0}};
static const struct api_field NETWORK_ENDPOINT[] = {
    {"role", API_TEXT, REQ, .help = "what it is for us, like log-store"},
    {"label", API_TEXT, REQ, .help = "where the configuration has it"},
    {"host", API_TEXT, REQ, .help = "its name or address"},
    {"verdict", API_TEXT, REQ, .help = "the worst of its steps"},
    {"steps", API_LIST, REQ, .fields = NETWORK_STEP, .help = "in the order of the way to it; after one that failed they are skipped"},
    {0}};
static const struct api_field NETWORK_CHECK[] = {
    {"at_ms", API_TIME_MS, REQ, .help = "when it began"},
    {"took_ms", API_U64, REQ, .help = "how long it took"},
    {"verdict", API_TEXT, REQ, .help = "the worst of all: ok, skipped, warning or failed"},
    {"endpoints", API_LIST, REQ, .fields = NETWORK_ENDPOINT, .help = "every endpoint of the configuration"},
    {0}};
static const struct api_field NETWORK_CONNECTION[] = {
    {"role", API_TEXT, REQ, .help = "what it is for us"},
    {"host", API_TEXT, REQ, .help = "its name or address"},
    {"port", API_U64, REQ, .help = "its port"},
    {"address", API_TEXT, REQ, .help = "connected to last, or empty"},
    {"class", API_TEXT, REQ, .help = "private, public or local"},
    {"proxy", API_TEXT, REQ, .help = "through which proxy; empty: directly"},
    {"rule", API_TEXT, REQ, .help = "which rule said so"},
    {"at_ms", API_TIME_MS, REQ, .help = "time of the last answer; 0: none yet"},
    {"latency_ms", API_U64, REQ, .help = "of the last answer"},
    {"answers", API_U64, REQ, .help = "answers since start"},
    {"failures", API_U64, REQ, .help = "failures since start"},
    {"problem", API_TEXT, REQ, .help = "of the last failure since the last answer, or empty"},
    {0}};
static const struct api_field NETWORK[] = {
    {"connections", API_LIST, REQ, .fields = NETWORK_CONNECTION, .help = "what connections of this process saw, by role and host"},
    {"last_check", API_OBJECT, REQ_OR_NULL, .fields = NETWORK_CHECK, .help = "the last look at all endpoints"},
    {0}};
static const struct api_field NETWORK_COMMUNITY[] = {
    {"community", API_TEXT, REQ, .help = "like 12076:51004"},
    {"what", API_TEXT, REQ, .help = "what it stands for"},
    {0}};
static const struct api_field NETWORK_ADDRESS[] = {
    {"address", API_TEXT, REQ, .help = "URL pattern"},
    {"optional", API_BOOL, REQ, .help = "not needed in every set-up"},
    {0}};
static const struct api_field NETWORK_RULE[] = {
    {"rule", API_TEXT, REQ, .help = "bypass rule"},
    {"data", API_BOOL, REQ, .help = "replication data goes there; the others as wanted"},
    {0}};
static const struct api_field NETWORK_PLAN[] = {
    {"cloud", API_TEXT, REQ, .help = "public or usgov"},
    {"source_region", API_TEXT, REQ, .help = "region of the project"},
    {"target_region", API_TEXT, REQ, .help = "region where machines go"},
    {"communities", API_LIST, REQ, .fields = NETWORK_COMMUNITY, .help = "for the route filter of Microsoft peering"},
    {"storage_communities", API_LIST, REQ, .fields = NETWORK_COMMUNITY, .help = "instead of the regional ones, when only data is to take the circuit"},
    {"internet", API_LIST, REQ, .fields = NETWORK_ADDRESS, .help = "still needs the internet"},
    {"microsoft_peering", API_LIST, REQ, .fields = NETWORK_RULE, .help = "bypass rules with Microsoft peering"},
    {"private_peering", API_TEXTS, REQ, .help = "the only bypass rules with private peering"},
    {"appliance_json", API_TEXT, REQ, .help = "line of appliance.json that turns the list on"},
    {"source", API_TEXT, REQ, .help = "page that the communities are of"},
    {"source_date", API_TEXT, REQ, .help = "its date"},
    {0}};

static const struct api_field MASTER[] = {
    {"master", API_TEXT, REQ, .help = "its kind and version"},
    {"current", API_BOOL, REQ, .help = "the newest: new data keys are wrapped with it"},
    {"enabled", API_BOOL, REQ, .help = "false: the vault does not let it be used"},
    {"created_ms", API_TIME_MS, .help = "when it was made, if the vault says so"},
    {"machines", API_U64, REQ, .help = "machines whose data key it wraps"},
    {0}};
static const struct api_field KEYS[] = {
    {"kind", API_TEXT, REQ, .help = "file, vault-secret or vault-key"},
    {"where", API_TEXT, REQ, .help = "path of the file, or URL in the vault"},
    {"passphrase", API_BOOL, REQ, .help = "the file is wrapped with a passphrase"},
    {"masters", API_LIST, REQ, .fields = MASTER, .help = "master keys, the vault's newest first"},
    {"machines", API_U64, REQ, .help = "machines in all"},
    {"pending", API_U64, REQ, .help = "machines whose data key is not wrapped with the newest"},
    {0}};
static const struct api_field KEYS_ROTATED[] = {
    {"made", API_BOOL, REQ, .help = "a new master key was made"},
    {"master", API_TEXT, REQ, .help = "the newest, which wraps every data key now"},
    {"rewrapped", API_U64, REQ, .help = "data keys that were wrapped anew"},
    {"machines", API_U64, REQ, .help = "machines in all"},
    {0}};

static const struct api_schema VIEWS[VIEW_COUNT] = {
    [VIEW_STATUS] = {"Status", "The daemon.", STATUS},
    [VIEW_APPLIER] = {"Applier", "A daemon with only the applier role.", APPLIER},
    [VIEW_SOURCE_LIST] = {"SourceList", "Sources.", SOURCE_LIST},
    [VIEW_TARGET_LIST] = {"TargetList", "Targets.", TARGET_LIST},
    [VIEW_NAMED] = {"Named", "What was changed.", NAMED},
    [VIEW_FINDINGS] = {"Findings", "What a check found.", FINDINGS},
    [VIEW_INVENTORY] = {"Inventory", "What a target holds because of Kedge.", INVENTORY},
    [VIEW_DISCOVERY] = {"Discovery", "Machines at the sources.", DISCOVERY},
    [VIEW_MACHINE] = {"Machine", "A replicated machine.", MACHINE},
    [VIEW_MACHINE_LIST] = {"MachineList", "Replicated machines.", MACHINE_LIST},
    [VIEW_JOB_STARTED] = {"JobStarted", "The job that was started, or found by its idempotency key.", JOB_STARTED},
    [VIEW_JOB] = {"Job", "A job.", JOB},
    [VIEW_JOB_LIST] = {"JobList", "Jobs.", JOB_LIST},
    [VIEW_EVENT_LIST] = {"EventList", "Events.", EVENT_LIST},
    [VIEW_PLAN] = {"Plan", "What will be, in simulated time.", PLAN},
    [VIEW_THROTTLE] = {"Throttle", "The bound of what leaves.", THROTTLE},
    [VIEW_BLACKOUT] = {"Blackout", "Times in which no cycle begins.", BLACKOUT},
    [VIEW_NETWORK] = {"Network", "How connections go, and the last look at all.", NETWORK},
    [VIEW_NETWORK_CHECK] = {"NetworkCheck", "What the doctor found.", NETWORK_CHECK},
    [VIEW_NETWORK_PLAN] = {"NetworkPlan", "What replication over ExpressRoute needs.", NETWORK_PLAN},
    [VIEW_ORPHAN_LIST] = {"OrphanList", "What nobody owns any more.", ORPHAN_LIST},
    [VIEW_KEYS] = {"Keys", "Master keys, and what they wrap.", KEYS},
    [VIEW_KEYS_ROTATED] = {"KeysRotated", "What a rotation did.", KEYS_ROTATED},
    [VIEW_OPENAPI] = {"OpenApi", "This document.", NULL},
    [VIEW_ERROR] = {"Error", "Every answer that is not 2xx.", ERROR_BODY},
};

/* ---- what clients send ---- */

static const struct api_field SOURCE_BODY[] = {
    {"name", API_NAME, REQ, .help = "name to give it"},
    {"kind", API_TEXT, REQ, .choices = (const char *const[]){"vsphere", "qemu", "image", NULL}, .help = "its kind"},
    {"options", API_OBJECT, REQ, .help = "by kind"},
    {0}};
static const struct api_field TARGET_BODY[] = {
    {"name", API_NAME, REQ, .help = "name to give it"},
    {"kind", API_TEXT, REQ, .choices = (const char *const[]){"local", "azure", NULL}, .help = "its kind"},
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

static const struct api_field NETWORK_CHECK_BODY[] = {
    {"role", API_TEXT, .min = 1, .max = 63, .help = "only endpoints of this role; without it all"},
    {0}};
static const struct api_field NETWORK_PLAN_BODY[] = {
    {"source_region", API_TEXT, REQ, .min = 1, .max = 63, .help = "region of the project, like eastus"},
    {"target_region", API_TEXT, REQ, .min = 1, .max = 63, .help = "region where machines go"},
    {"cloud", API_TEXT, .min = 1, .max = 63, .help = "public (the default) or usgov"},
    {0}};

static const struct api_schema BODIES[BODY_COUNT] = {
    [BODY_SOURCE] = {"SourceRequest", "A source to add.", SOURCE_BODY},
    [BODY_TARGET] = {"TargetRequest", "A target to add.", TARGET_BODY},
    [BODY_REPLICATE] = {"ReplicateRequest", "A machine to replicate.", REPLICATE_BODY},
    [BODY_PLAN] = {"PlanRequest", "What is planned, and with which assumptions.", PLAN_BODY},
    [BODY_THROTTLE] = {"ThrottleRequest", "The new bound, the new calendar, or both.", THROTTLE_BODY},
    [BODY_BLACKOUT] = {"BlackoutRequest", "The new windows.", BLACKOUT_BODY},
    [BODY_NETWORK_CHECK] = {"NetworkCheckRequest", "What to look at.", NETWORK_CHECK_BODY},
    [BODY_NETWORK_PLAN] = {"NetworkPlanRequest", "From where to where.", NETWORK_PLAN_BODY},
};
/* clang-format on */

const struct api_schema *api_view_schema(enum api_view view)
{
    return &VIEWS[view];
}

const struct api_schema *api_body_schema(enum api_body body)
{
    return BODIES[body].name ? &BODIES[body] : NULL;
}
