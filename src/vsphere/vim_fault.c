/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of faults. A row answers one question: what does the caller do next? So
 * "another task is running" is transient, "snapshots exist" is a conflict that a person
 * resolves. Declared faults and privileges of each method are in the published API;
 * remedies come from the vendor's knowledge base articles named beside them and from
 * what operators of such systems met.
 *
 * Sorted by type: looked up with a binary search (a unit test watches the order).
 */
#include "vsphere/vim_fault.h"

#include <stdlib.h>

#include "base/text.h"

static const struct vim_fault_rule rules[] = {
    {"AlreadyExists", FAIL_CONFLICT, NULL},
    {"ApplicationQuiesceFault", FAIL_CONFLICT,
     "look at the VSS writers and freeze scripts in the guest, or take a "
     "crash-consistent "
     "snapshot"},
    {"CannotAccessFile", FAIL_IO, "see that the host reaches the datastore"},
    {"CannotAccessVmComponent", FAIL_IO, "see that the host reaches the datastore"},
    {"CannotCreateFile", FAIL_IO, NULL},
    {"ConcurrentAccess", FAIL_TRANSIENT, "another client changed it at the same moment"},
    {"DatastoreNotWritableOnHost", FAIL_CONFLICT, "mount the datastore writable"},
    {"DeviceNotFound", FAIL_GONE, NULL},
    {"DuplicateName", FAIL_CONFLICT, NULL},
    {"FileAlreadyExists", FAIL_CONFLICT, NULL},
    {"FileFault", FAIL_IO,
     "see that the datastore is healthy and no other product holds the file"},
    {"FileLocked", FAIL_TRANSIENT, "wait until the reader that holds the file is gone"},
    {"FileNameTooLong", FAIL_INPUT, NULL},
    {"FileNotFound", FAIL_GONE, NULL},
    {"FileNotWritable", FAIL_CONFLICT, NULL},
    {"FileTooLarge", FAIL_LIMIT,
     "the datastore's block size is too small for this file (KB 1012384)"},
    {"FilesystemQuiesceFault", FAIL_CONFLICT,
     "the guest did not freeze in time: try again when it is less busy, or take a "
     "crash-consistent snapshot"},
    {"GenericVmConfigFault", FAIL_IO, NULL},
    {"HostCommunication", FAIL_TRANSIENT,
     "see that the vCenter reaches the host (management agents, network)"},
    {"HostConnectFault", FAIL_TRANSIENT, NULL},
    {"HostNotConnected", FAIL_TRANSIENT, "reconnect the host in the vCenter"},
    {"HostNotReachable", FAIL_TRANSIENT, "restore the host's network (KB 1004109)"},
    {"InaccessibleDatastore", FAIL_IO, "see that the host reaches the datastore"},
    {"InsufficientResourcesFault", FAIL_TRANSIENT, NULL},
    {"InvalidArgument", FAIL_INPUT, NULL},
    {"InvalidController", FAIL_INPUT, NULL},
    {"InvalidDatastore", FAIL_GONE, NULL},
    {"InvalidDatastorePath", FAIL_INPUT, NULL},
    {"InvalidDeviceBacking", FAIL_INPUT, NULL},
    {"InvalidDeviceSpec", FAIL_INPUT, NULL},
    {"InvalidLicense", FAIL_AUTH, "the host's licence does not allow it"},
    {"InvalidLogin", FAIL_AUTH, "check user name (with its domain) and password"},
    {"InvalidName", FAIL_INPUT, NULL},
    {"InvalidPowerState", FAIL_CONFLICT, NULL},
    {"InvalidProperty", FAIL_BUG, NULL},
    {"InvalidRequest", FAIL_CONFLICT,
     "this server does not offer it, or not in this form"},
    {"InvalidSnapshotFormat", FAIL_CONFLICT,
     "a disk was removed while it had snapshots: consolidate the machine's disks"},
    {"InvalidState", FAIL_CONFLICT, NULL},
    {"InvalidType", FAIL_BUG, NULL},
    {"InvalidVmConfig", FAIL_CONFLICT, NULL},
    {"InvalidVmState", FAIL_CONFLICT, NULL},
    {"LicenseRestricted", FAIL_AUTH, "the host's licence does not allow it"},
    {"ManagedObjectNotFound", FAIL_GONE, NULL},
    {"MethodAlreadyDisabledFault", FAIL_CONFLICT, NULL},
    {"MethodDisabled", FAIL_CONFLICT,
     "a product such as a backup has disabled this operation on the machine: let it "
     "finish, or have it enable the operation again"},
    {"MethodNotFound", FAIL_CONFLICT, "this server does not offer it"},
    {"MissingController", FAIL_INPUT, NULL},
    {"MultipleSnapshotsNotSupported", FAIL_CONFLICT, "remove the existing snapshots"},
    {"NoDiskSpace", FAIL_NO_SPACE, "free or add space on the datastore"},
    {"NoPermission", FAIL_AUTH,
     "grant the named privilege to the account on that object"},
    {"NotAuthenticated", FAIL_AUTH, "log in again"},
    {"NotEnoughLicenses", FAIL_AUTH, "the host's licence does not allow it"},
    {"NotFound", FAIL_GONE, NULL},
    {"NotImplemented", FAIL_CONFLICT, "this server does not offer it"},
    {"NotSupported", FAIL_CONFLICT,
     "this machine, disk or host does not allow it (fault tolerance, shared or raw "
     "disks, "
     "old virtual hardware)"},
    {"OperationDisabledByGuest", FAIL_CONFLICT, NULL},
    {"OperationNotSupportedByGuest", FAIL_CONFLICT, NULL},
    {"OutOfBounds", FAIL_LIMIT, NULL},
    {"RequestCanceled", FAIL_CANCELED, "somebody canceled the task"},
    {"RestrictedByAdministrator", FAIL_AUTH, NULL},
    {"RestrictedVersion", FAIL_AUTH,
     "the host's free licence allows no changes through the API: use a licensed host or "
     "its vCenter"},
    {"SecurityError", FAIL_AUTH, NULL},
    {"SnapshotDisabled", FAIL_CONFLICT,
     "snapshots are disabled in the machine's settings"},
    {"SnapshotFault", FAIL_IO, NULL},
    {"SnapshotIncompatibleDeviceInVm", FAIL_CONFLICT,
     "remove the device that no snapshot can freeze (raw or shared disk, passed-through "
     "PCI device)"},
    {"SnapshotLocked", FAIL_TRANSIENT, "another operation holds the snapshot"},
    {"SystemError", FAIL_IO, "see the server's log"},
    {"TaskInProgress", FAIL_TRANSIENT, "another task of this machine is running"},
    {"Timedout", FAIL_TRANSIENT, NULL},
    {"TooManyDevices", FAIL_LIMIT, NULL},
    {"TooManySnapshotLevels", FAIL_LIMIT,
     "remove or consolidate snapshots: a chain has at most 32"},
    {"ToolsUnavailable", FAIL_CONFLICT,
     "start VMware Tools or open-vm-tools in the guest, or allow a power-off"},
    {"UnexpectedFault", FAIL_IO, NULL},
    {"VAppTaskInProgress", FAIL_TRANSIENT, "another task of its vApp is running"},
    {"VmConfigFault", FAIL_CONFLICT, NULL},
    {"VmFaultToleranceIssue", FAIL_CONFLICT, "turn fault tolerance off for this machine"},
};

/* Faults whose type says too little: what the text holds decides. Order matters. */
static const struct {
    const char *type;
    const char *needle;
    struct vim_fault_rule rule;
} text_rules[] = {
    {"SystemError",
     "out of HTTP sessions",
     {NULL, FAIL_TRANSIENT, "close unused sessions or raise vpxd's maxSessionCount"}},
    {"GenericVmConfigFault",
     "lock",
     {NULL, FAIL_TRANSIENT, "wait until the reader that holds the file is gone"}},
    {"GenericVmConfigFault",
     "Change tracker",
     {NULL, FAIL_IO,
      "see that the datastore of the snapshot is healthy (KB 2042742), then reset change "
      "tracking"}},
    {"FileFault",
     "lock",
     {NULL, FAIL_TRANSIENT, "wait until the reader that holds the file is gone"}},
    {NULL, "Another task is already in progress", {NULL, FAIL_TRANSIENT, NULL}},
    {NULL, "no space left", {NULL, FAIL_NO_SPACE, "free or add space on the datastore"}},
};

static int compare(const void *key, const void *rule)
{
    return strcmp(key, ((const struct vim_fault_rule *)rule)->type);
}

const struct vim_fault_rule *vim_fault_rule_find(const char *type)
{
    return bsearch(type, rules, ARRAY_COUNT(rules), sizeof rules[0], compare);
}

static const struct vim_fault_rule *find_by_text(const char *type, const char *text)
{
    for (size_t i = 0; i < ARRAY_COUNT(text_rules); i++)
        if ((!text_rules[i].type || strcmp(text_rules[i].type, type) == 0) &&
            strcasestr(text, text_rules[i].needle))
            return &text_rules[i].rule;
    return vim_fault_rule_find(type);
}

/* Texts of a server reach logs and terminals: no control characters, bounded. */
static void clean_copy(char *out, size_t out_bytes, const char *text)
{
    text_copy(out, out_bytes, text ? text : "");
    for (char *c = out; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
        else if (*c == ';') /* what follows "; " in an error is our remedy */
            *c = ',';
}

bool vim_fault_set(struct err *err, const char *what, const struct vim_fault *fault)
{
    char type[64];
    char text[240];
    char detail[160];
    clean_copy(type, sizeof type,
               fault->type && *fault->type ? fault->type : "fault without a type");
    clean_copy(text, sizeof text, fault->text);
    clean_copy(detail, sizeof detail, fault->detail);
    bool says_it = !*detail || strstr(text, detail);
    const struct vim_fault_rule *rule = find_by_text(type, text);
    (void)err_set(err, rule ? rule->kind : FAIL_IO, "%s: %s%s%s%s%s%s", what, type,
                  *text ? ": " : "", text, says_it ? "" : " (", says_it ? "" : detail,
                  says_it ? "" : ")");
    if (rule && rule->remedy)
        (void)err_hint(err, "%s", rule->remedy);
    return false;
}
