/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pre-flight of a vSphere machine, the part that the machine itself shows: everything
 * that would stop a cycle or make it slow, found before anything starts. Changes nothing.
 * Hosts, datastores and privileges: vsphere_reach.c.
 */
#include "source/vsphere.h"

#include "base/clock.h"
#include "base/text.h"

#include <inttypes.h>

static struct finding *add(struct findings *findings, enum finding_severity severity,
                           const char *code, const struct vim_machine *machine,
                           const struct vim_disk *disk)
{
    struct finding *finding = findings_add(findings, severity, code);
    if (disk)
        (void)snprintf(finding->what, sizeof finding->what,
                       "disk '%.60s' of machine '%.80s'", disk->label, machine->name);
    else
        (void)snprintf(finding->what, sizeof finding->what, "machine '%.120s'",
                       machine->name);
    return finding;
}

#define WHY(finding, ...)                                                                \
    (void)snprintf((finding)->why, sizeof(finding)->why, __VA_ARGS__)
#define REMEDY(finding, ...)                                                             \
    (void)snprintf((finding)->remedy, sizeof(finding)->remedy, __VA_ARGS__)

/* ---- disks ---- */

static bool is_bus_shared(const struct vim_disk *disk)
{
    return disk->bus_sharing[0] && strcmp(disk->bus_sharing, "noSharing") != 0;
}

static bool is_multi_writer(const struct vim_disk *disk)
{
    return disk->sharing[0] && strcmp(disk->sharing, "sharingNone") != 0;
}

bool vsphere_disk_is_frozen(const struct vim_disk *disk, const char **ret_why,
                            const char **ret_remedy)
{
    const char *why = "", *remedy = "";
    if (vim_disk_is_independent(disk)) {
        why = "has an independent mode, which snapshots leave out";
        remedy = "power the machine off and set the disk's mode to 'dependent'";
    } else if (disk->backing == VIM_BACKING_RDM && disk->is_physical_rdm) {
        why = "is a raw device mapping in physical mode, which cannot be frozen";
        remedy = "change it to virtual compatibility mode, or copy it to a virtual disk";
    } else if (disk->backing == VIM_BACKING_RAW) {
        why = "is a raw device, which cannot be frozen";
        remedy = "copy it to a virtual disk";
    } else if (is_multi_writer(disk)) {
        why = "is shared with other machines (multi-writer), which snapshots do not "
              "allow";
        remedy = "end the sharing, or replicate its data by other means";
    } else if (is_bus_shared(disk)) {
        why = "is on a controller with SCSI bus sharing, which snapshots do not allow";
        remedy = "set the controller's bus sharing to 'none'";
    }
    *ret_why = why;
    *ret_remedy = remedy;
    return !why[0];
}

static const char *code_of(const struct vim_disk *disk)
{
    if (vim_disk_is_independent(disk))
        return "disk.independent";
    if (disk->backing == VIM_BACKING_RDM || disk->backing == VIM_BACKING_RAW)
        return "disk.rdm";
    return is_multi_writer(disk) ? "disk.multi_writer" : "disk.bus_sharing";
}

static void check_disk(const struct vim_machine *machine, const struct vim_disk *disk,
                       struct findings *findings)
{
    const char *why, *remedy;
    struct finding *f;
    size_t before = findings->count;
    if (!vsphere_disk_is_frozen(disk, &why, &remedy)) {
        f = add(findings, FINDING_BLOCKER, code_of(disk), machine, disk);
        WHY(f, "it %s", why);
        REMEDY(f, "%s", remedy);
    } else if (disk->backing == VIM_BACKING_RDM) {
        f = add(findings, FINDING_WARNING, "disk.rdm", machine, disk);
        WHY(f, "it is a raw device mapping in virtual mode; the replica is a plain disk");
        REMEDY(f, "nothing to do when a plain disk at the target will do");
    } else if (disk->backing == VIM_BACKING_OTHER) {
        f = add(findings, FINDING_WARNING, "disk.backing", machine, disk);
        WHY(f, "its kind '%.60s' is not known to Kedge", disk->backing_type);
        REMEDY(f, "run a cycle with verify before you rely on it");
    }
    if (disk->is_encrypted) {
        f = add(findings, FINDING_WARNING, "disk.encrypted", machine, disk);
        WHY(f, "it is encrypted by vSphere; it is read in the clear through its host, "
               "and the replica is not encrypted by vSphere");
        REMEDY(f, "give the account Cryptographer.Access; protect the target's storage");
    }
    if (disk->disk_bytes == 0 || disk->disk_bytes % SECTOR_BYTES) {
        f = add(findings, FINDING_BLOCKER, "disk.size", machine, disk);
        WHY(f, "%" PRIu64 " bytes are not whole sectors of 512", disk->disk_bytes);
        REMEDY(f, "resize it");
    }
    if (findings->count == before) {
        char size[TEXT_HUMAN_BYTES];
        f = add(findings, FINDING_OK, "disk", machine, disk);
        WHY(f, "%s, %s, '%.200s'", text_bytes(disk->disk_bytes, size),
            disk->is_thin ? "thin" : "thick", disk->file_name);
    }
}

/* The machine as it was enabled against the machine as it is. */
static void check_disk_set(const struct vim_machine *machine,
                           const struct machine_def *def, struct findings *findings)
{
    struct finding *f;
    if (machine->disk_count == 0) {
        f = add(findings, FINDING_BLOCKER, "machine.no_disks", machine, NULL);
        WHY(f, "it has no disk");
        REMEDY(f, "attach one");
    } else if (machine->disk_count > MACHINE_MAX_DISKS) {
        f = add(findings, FINDING_BLOCKER, "machine.too_many_disks", machine, NULL);
        WHY(f, "it has %zu disks; %d can be replicated", machine->disk_count,
            MACHINE_MAX_DISKS);
        REMEDY(f, "detach some");
    }
    for (size_t i = 0; i < def->disk_count; i++) {
        if (vsphere_disk_find(machine->disks, machine->disk_count, def->disks[i].key))
            continue;
        f = findings_add(findings, FINDING_BLOCKER, "disk.gone");
        (void)snprintf(f->what, sizeof f->what, "disk '%.60s' of machine '%.80s'",
                       def->disks[i].label, machine->name);
        WHY(f, "it is not attached any more (device %s)", def->disks[i].key);
        REMEDY(f, "attach it again, or stop and replicate the machine without it");
    }
}

/* ---- the machine ---- */

static void check_snapshots(const struct vim_machine *machine,
                            const struct machine_def *def, uint64_t now_ms,
                            struct findings *findings)
{
    for (size_t i = 0; i < machine->snapshot_count; i++) {
        const struct vim_snapshot *snapshot = &machine->snapshots[i];
        char age[TEXT_HUMAN_BYTES] = "unknown";
        if (!id_is_zero(&def->id) && vsphere_snapshot_is_ours(snapshot, &def->id))
            continue;
        if (snapshot->created_wall_ms && snapshot->created_wall_ms <= now_ms)
            text_duration(now_ms - snapshot->created_wall_ms, age);
        bool is_kedge = vsphere_snapshot_is_kedge(snapshot);
        struct finding *f =
            add(findings, is_kedge ? FINDING_WARNING : FINDING_BLOCKER,
                is_kedge ? "snapshot.kedge" : "snapshot.exists", machine, NULL);
        WHY(f, "it has a snapshot '%.120s', age %s%s", snapshot->name, age,
            is_kedge ? ", made by Kedge" : "");
        if (is_kedge)
            REMEDY(f, "none when it is being replicated: the cycle removes it; else "
                      "delete it in the vSphere client");
        else
            REMEDY(f, "delete it (its content becomes the machine's), or wait until the "
                      "backup that made it has ended");
    }
    if (machine->is_consolidation_needed) {
        struct finding *f =
            add(findings, FINDING_WARNING, "disk.consolidation_needed", machine, NULL);
        WHY(f, "its disks need consolidation: an earlier removal of a snapshot left "
               "files behind");
        REMEDY(f, "the first cycle consolidates; do it now in the vSphere client when "
                  "that should not wait");
    }
}

static void check_tracking(const struct vim_machine *machine, struct findings *findings)
{
    bool is_old =
        machine->hardware_version && machine->hardware_version < VSPHERE_MIN_HARDWARE;
    struct finding *f;
    if (is_old) {
        f = add(findings, FINDING_BLOCKER, "machine.hardware", machine, NULL);
        WHY(f, "virtual hardware version %u cannot track changes",
            machine->hardware_version);
        REMEDY(f, "upgrade the virtual hardware to version %d or later",
               VSPHERE_MIN_HARDWARE);
    } else if (!machine->is_cbt_supported) {
        f = add(findings, FINDING_BLOCKER, "machine.no_tracking", machine, NULL);
        WHY(f, "its host says that changed-block tracking is not supported for it");
        REMEDY(f, "see fault tolerance, passthrough devices and the virtual hardware's "
                  "version");
    } else {
        f = add(findings, FINDING_OK, "machine.tracking", machine, NULL);
        WHY(f, "changed-block tracking is %s",
            machine->is_cbt_enabled ? "on" : "off; the first cycle switches it on");
    }
}

static void check_kind(const struct vim_machine *machine, struct findings *findings)
{
    struct finding *f;
    if (machine->connection[0] && strcmp(machine->connection, "connected") != 0) {
        f = add(findings, FINDING_BLOCKER, "machine.connection", machine, NULL);
        WHY(f, "the server shows it as '%.40s'", machine->connection);
        REMEDY(f, "bring its host and datastore back, or register it again");
    }
    if (machine->is_template) {
        f = add(findings, FINDING_BLOCKER, "machine.template", machine, NULL);
        WHY(f, "it is a template");
        REMEDY(f, "convert it to a machine");
    }
    if (machine->is_fault_tolerant) {
        f = add(findings, FINDING_BLOCKER, "machine.fault_tolerance", machine, NULL);
        WHY(f, "fault tolerance is on, which allows neither snapshots nor tracking");
        REMEDY(f, "turn fault tolerance off");
    }
    if (machine->has_passthrough) {
        f = add(findings, FINDING_BLOCKER, "machine.passthrough", machine, NULL);
        WHY(f, "it has a PCI device of its host, which does not allow snapshots");
        REMEDY(f, "remove the device");
    } else if (!machine->is_snapshot_supported) {
        /* Some servers leave the capability at its default, false. */
        f = add(findings, FINDING_WARNING, "machine.no_snapshots", machine, NULL);
        WHY(f, "its host does not say that it can have snapshots");
        REMEDY(f, "see shared disks, passthrough devices and the host's licence");
    }
    if (machine->is_encrypted) {
        f = add(findings, FINDING_WARNING, "machine.encrypted", machine, NULL);
        WHY(f, "it is encrypted by vSphere; the replica is not");
        REMEDY(f, "give the account Cryptographer.Access; protect the target's storage");
    }
    if (machine->power == VIM_POWER_SUSPENDED) {
        f = add(findings, FINDING_WARNING, "machine.suspended", machine, NULL);
        WHY(f, "it is suspended: its disks are replicated, its memory is not, and it "
               "cannot be shut down for a migration");
        REMEDY(f, "resume or power it off before the migration");
    }
    if (machine->power == VIM_POWER_ON && !machine->has_tools_running) {
        f = add(findings, FINDING_WARNING, "machine.no_tools", machine, NULL);
        WHY(f, "no VMware Tools run in the guest: it can be neither quiesced nor shut "
               "down from outside");
        REMEDY(f, "install or start VMware Tools (open-vm-tools), or shut the guest "
                  "down by hand before the migration");
    }
    if (machine->nic_count > MACHINE_MAX_NICS) {
        f = add(findings, FINDING_WARNING, "machine.nics", machine, NULL);
        WHY(f, "it has %zu network cards; the first %d are kept", machine->nic_count,
            MACHINE_MAX_NICS);
        REMEDY(f, "add the others at the target by hand");
    }
}

void vsphere_check_machine(const struct vim_machine *machine,
                           const struct machine_def *def, uint64_t now_ms,
                           struct findings *findings)
{
    check_kind(machine, findings);
    check_snapshots(machine, def, now_ms, findings);
    check_tracking(machine, findings);
    for (size_t i = 0; i < machine->disk_count; i++)
        check_disk(machine, &machine->disks[i], findings);
    check_disk_set(machine, def, findings);
}

bool vsphere_check(struct source *base, const struct machine_def *def,
                   struct findings *findings, struct err *err)
{
    struct vsphere_source *source = (struct vsphere_source *)base;
    AUTO(vim_machine_free)
    struct vim_machine *machine = vsphere_machine_get(source, def, NULL, err);
    if (!machine)
        return false;
    vsphere_check_machine(machine, def, clock_wall_ms(), findings);
    vsphere_check_places(source, machine, findings);
    return true;
}
