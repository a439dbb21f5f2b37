/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual machine: what it is, its devices, its power. Quantities are converted to
 * bytes here, names are decoded (%2f, %5c, %25) and valid UTF-8. Texts are never NULL:
 * "" when the server says nothing; they live as long as the struct they hang on.
 */
#ifndef VSPHERE_VIM_MACHINE_H
#define VSPHERE_VIM_MACHINE_H

#include "vsphere/vim_task.h"

enum vim_power { VIM_POWER_UNKNOWN, VIM_POWER_ON, VIM_POWER_OFF, VIM_POWER_SUSPENDED };
const char *vim_power_name(enum vim_power power); /* "on", "off", ... */

/* What a disk's data lies in. */
enum vim_backing {
    VIM_BACKING_OTHER,      /* a type we do not know: backing_type names it */
    VIM_BACKING_FLAT,       /* VirtualDiskFlatVer2BackingInfo */
    VIM_BACKING_SPARSE,     /* VirtualDiskSparseVer2BackingInfo */
    VIM_BACKING_SE_SPARSE,  /* VirtualDiskSeSparseBackingInfo */
    VIM_BACKING_RDM,        /* VirtualDiskRawDiskMappingVer1BackingInfo */
    VIM_BACKING_RAW,        /* VirtualDiskRawDiskVer2BackingInfo */
    VIM_BACKING_LOCAL_PMEM, /* VirtualDiskLocalPMemBackingInfo */
};

struct vim_disk {
    int32_t key; /* 2000 ...: the same in the machine and in each of its snapshots */
    const char *label;   /* "Hard disk 1", in the server's language */
    uint64_t disk_bytes; /* capacity */
    int32_t controller_key;
    const char *controller_type; /* "ParaVirtualSCSIController", "VirtualAHCIController",
                                  * ...; "" when the controller is not in the list */
    int32_t controller_bus;      /* -1 unknown */
    int32_t unit;                /* -1 unknown */
    const char *bus_sharing;     /* of the controller: "noSharing", "virtualSharing",
                                  * "physicalSharing"; "" */
    const char *mode;            /* "persistent", "independent_persistent", ... */
    const char *sharing; /* of the disk: "sharingNone", "sharingMultiWriter"; "" */
    enum vim_backing backing;
    const char *backing_type; /* xsi:type as the server wrote it */
    const char *file_name;    /* "[datastore] dir/name.vmdk" */
    struct vim_ref datastore;
    const char *uuid;      /* of the backing: survives moves, not re-creation */
    const char *change_id; /* opaque; "": no tracking on this disk */
    const char *content_id;
    bool is_thin;
    bool is_eagerly_scrubbed;
    bool is_encrypted;        /* backing.keyId */
    bool is_physical_rdm;     /* compatibilityMode physicalMode */
    const char *lun_uuid;     /* of an RDM; "" */
    const char *const *chain; /* file names of the parents, nearest first */
    size_t chain_count;
};

/* A mode whose data no snapshot freezes: independent_*, nonpersistent, undoable. */
bool vim_disk_is_independent(const struct vim_disk *disk);

struct vim_nic {
    int32_t key;
    const char *label;
    const char *type;    /* "VirtualVmxnet3", "VirtualE1000e", ... */
    const char *mac;     /* "00:50:56:.." as the server wrote it */
    const char *network; /* name for people; of a distributed port group its name when
                          * the inventory or vim_machine_get could resolve it, else its
                          * key */
    struct vim_ref
        network_ref; /* not set for distributed port groups that we cannot see */
    const char *portgroup_key; /* "dvportgroup-17"; "" for other networks */
    bool is_connected;
};

/* One of the machine's snapshots; parents come before their children. */
struct vim_snapshot {
    struct vim_ref ref;
    int32_t id;
    const char *name;
    const char *description;
    uint64_t created_wall_ms; /* 0: the server did not say */
    enum vim_power power;
    bool is_quiesced;
    bool is_current;
    int32_t parent_index; /* in vim_machine.snapshots; -1: a root */
};

struct vim_machine {
    struct vim_ref ref;
    const char *name;
    const char *folder_path; /* "DC0/vm/Linux"; "" unless from the inventory */
    struct vim_ref parent;   /* folder or vApp; may be unset */
    struct vim_ref host;     /* where it runs or is registered */
    struct vim_ref resource_pool;
    const char *uuid;          /* BIOS UUID: what the guest sees */
    const char *instance_uuid; /* unique within a vCenter */
    const char *vmx_file;      /* "[datastore] dir/name.vmx" */
    const char *hardware;      /* "vmx-19" */
    unsigned hardware_version; /* 19; 0 unknown */
    const char *firmware;      /* "bios", "efi" */
    bool has_secure_boot;
    bool has_tpm;
    const char *guest_id;        /* "ubuntu64Guest" */
    const char *guest_name;      /* "Ubuntu Linux (64-bit)" */
    const char *guest_host_name; /* told by the tools */
    const char *guest_address;
    uint32_t cpus;
    uint32_t cores_per_socket;
    uint64_t memory_bytes;
    enum vim_power power;
    const char *connection; /* "connected", "disconnected", "orphaned", "inaccessible",
                             * "invalid" */
    bool is_template;
    bool has_tools_running;
    const char *tools_status; /* toolsVersionStatus2: "guestToolsCurrent", ... */
    bool is_cbt_supported;    /* capability.changeTrackingSupported; true when the server
                               * does not say */
    bool is_cbt_enabled;      /* the machine's flag; the truth is each change_id */
    bool is_consolidation_needed;
    bool is_fault_tolerant;
    bool is_encrypted;            /* config.keyId */
    bool has_passthrough;         /* a PCI device of the host: no snapshots */
    bool is_snapshot_supported;   /* capability.snapshotOperationsSupported; true when the
                                   * server does not say */
    const struct vim_disk *disks; /* by controller, then unit */
    size_t disk_count;
    const struct vim_nic *nics;
    size_t nic_count;
    const struct vim_snapshot *snapshots;
    size_t snapshot_count;
    const struct vim_ref *datastores;
    size_t datastore_count;
};

/* All of one machine; the caller frees. A machine that is inaccessible has texts "" and
 * counts 0 where the server knows nothing. */
MUST_CHECK struct vim_machine *vim_machine_get(struct vim *vim, const struct vim_ref *vm,
                                               const struct cancel *cancel,
                                               struct err *err);
void vim_machine_free(struct vim_machine *machine);
AUTO_CLEANUP(struct vim_machine, vim_machine_free);

enum vim_find { VIM_FIND_MOREF, VIM_FIND_INSTANCE_UUID, VIM_FIND_UUID, VIM_FIND_NAME };
/* FAIL_GONE: no such machine; FAIL_CONFLICT: several have that name or UUID (the text
 * names their ids). A moref is checked to be there. */
MUST_CHECK bool vim_machine_find(struct vim *vim, enum vim_find by, const char *text,
                                 const struct cancel *cancel, struct vim_ref *ret,
                                 struct err *err);

/* What changes from one moment to the next; one small call. */
struct vim_state {
    enum vim_power power;
    char connection[32];
    bool has_tools_running;
    bool is_cbt_enabled;
    bool is_consolidation_needed;
    struct vim_ref host;
    struct vim_ref current_snapshot; /* not set: none */
};
MUST_CHECK bool vim_state_get(struct vim *vim, const struct vim_ref *vm,
                              const struct cancel *cancel, struct vim_state *ret,
                              struct err *err);

/* Power. Being in that state already is success. wait: as in vim_task.h, may be NULL. */
MUST_CHECK bool vim_power_on(struct vim *vim, const struct vim_ref *vm,
                             struct vim_wait *wait, struct err *err);
MUST_CHECK bool vim_power_off(struct vim *vim, const struct vim_ref *vm,
                              struct vim_wait *wait, struct err *err);
/* Asks the guest to shut down and returns at once. FAIL_CONFLICT: no tools running, or
 * it is not powered on. */
MUST_CHECK bool vim_guest_shutdown(struct vim *vim, const struct vim_ref *vm,
                                   const struct cancel *cancel, struct err *err);
/* Waits until the machine has that power state; FAIL_TRANSIENT past the deadline. */
MUST_CHECK bool vim_power_wait(struct vim *vim, const struct vim_ref *vm,
                               enum vim_power power, struct vim_wait *wait,
                               struct err *err);

/* An existing disk file on a machine (hot-add). */
struct vim_attach {
    const char *file_name; /* "[datastore] dir/name.vmdk" */
    int32_t controller_key;
    int32_t unit;     /* free on that controller (7 is the SCSI controller's own);
                       * -1: the server chooses */
    const char *mode; /* NULL: "independent_nonpersistent": what is written is lost */
};
/* *ret_key: the key of the new device. */
MUST_CHECK bool vim_disk_attach(struct vim *vim, const struct vim_ref *vm,
                                const struct vim_attach *attach, struct vim_wait *wait,
                                int32_t *ret_key, struct err *err);
/* Takes the device from the machine; its file stays. Not there: success. */
MUST_CHECK bool vim_disk_detach(struct vim *vim, const struct vim_ref *vm,
                                int32_t device_key, struct vim_wait *wait,
                                struct err *err);

#endif
