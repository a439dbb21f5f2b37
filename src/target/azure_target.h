/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the azure target; nobody outside target/azure*.c and target_azure.c includes
 * this.
 *
 *   target_azure.c     the object, its table             azure_disks.c   replica disks
 *   azure_set.c        a VM with all that is made for it azure_proof.c   did it boot
 *   azure_test.c       test VMs                          azure_final.c   the migrated VM
 *   azure_check.c      pre-flight                        azure_list.c    what is there
 *   azure_permission.c what we may do                    azure_network.c which subnet
 *
 * In the container, below <machine id>/: replica.json (azure_layout.h), disk<N>.vhd.
 * In the resource group: what the layout names, tagged TAG_MACHINE, TAG_ROLE, TAG_TARGET.
 * Machines are told apart by their ids; a hold on one is taken by its id's text.
 */
#ifndef TARGET_AZURE_TARGET_H
#define TARGET_AZURE_TARGET_H

#include "azure/group_items.h"
#include "target/azure_layout.h"
#include "target/azure_size.h"
#include "target/azure_wish.h"
#include "target/lease.h"
#include "target/target.h"

#define AZURE_SIZE_BYTES 64

#define TAG_MACHINE "kedge-machine"
#define TAG_ROLE    "kedge-role"
#define TAG_TARGET  "kedge-target"

#define DISKS_TYPE    "Microsoft.Compute/disks"
#define VMS_TYPE      "Microsoft.Compute/virtualMachines"
#define NICS_TYPE     "Microsoft.Network/networkInterfaces"
#define NETWORKS_TYPE "Microsoft.Network/virtualNetworks"

struct azure {
    struct target base;
    /* Set by target_azure_open, never changed. */
    struct target_azure_options options;
    const char *tags[AZURE_MAX_USER_TAGS]; /* what options.tags points to */
    char *evidence_dir;
    struct blob_container *container;
    struct arm *arm;
    struct azure_access replica_access; /* how the storage account is reached */
    bool has_replica_access;
    bool is_emulated; /* no account of a known cloud: its limits do not hold */
    uint64_t poll_ms;
    struct leases leases; /* has its own lock */
};

/* ---- target_azure.c ---- */
/* NULL and "" are the same to options. */
bool azure_is_given(const char *option);
/* The machine has an id and a name that is one. */
MUST_CHECK bool azure_check_machine(const struct machine_def *machine, struct err *err);
/* Holds the machine to the end of the scope. */
#define AZURE_HOLD(azure, machine)                                                       \
    char hold_text_[ID_TEXT_BYTES];                                                      \
    HOLD_MACHINE(&(azure)->leases, id_text(&(machine)->id, hold_text_))
bool azure_is_open(struct azure *azure, const struct machine_def *machine,
                   bool only_writers);
/* The layout, with what an interrupted change of size left behind carried out. */
MUST_CHECK struct azure_layout *azure_open_layout(struct azure *azure,
                                                  const struct machine_def *machine,
                                                  struct err *err);
MUST_CHECK bool azure_save(struct azure *azure, const struct azure_layout *layout,
                           struct err *err);
/* The texts that tags point to. */
struct azure_tag_texts {
    char machine[ID_TEXT_BYTES];
    char role[MACHINE_NAME_BYTES + 8]; /* as AZURE_ROLE_BYTES */
};
/* Ours and the user's; role: "replica", "vm", "test-<name>"; NULL: the user's alone.
 * Borrows from all of them. */
struct azure_tags azure_tags_of(const struct azure *azure, const struct id *machine,
                                const char *role, const struct azure_wish *wish,
                                struct azure_tag_texts *texts);

/* ---- azure_disks.c ---- */
MUST_CHECK bool azure_finish_resize(struct azure *azure, struct azure_layout *layout,
                                    struct err *err);
/* What a disk would be; FAIL_LIMIT: too large for what was wished, or for Azure. */
MUST_CHECK bool azure_choose_kind(const struct azure_wish *wish,
                                  const struct machine_def *machine, size_t disk_index,
                                  enum azure_kind *ret, struct err *err);
bool azure_replica_create(struct target *target, const struct machine_def *machine,
                          struct err *err);
bool azure_disk_open(struct target *target, const struct machine_def *machine,
                     size_t disk_index, bool for_writing, struct replica_disk **ret,
                     struct err *err);
bool azure_disk_resize(struct target *target, const struct machine_def *machine,
                       size_t disk_index, uint64_t disk_bytes, struct err *err);
MUST_CHECK bool azure_remove_replicas(struct azure *azure, struct azure_layout *layout,
                                      struct err *err);

/* ---- azure_set.c ---- */
/* Removes a resource if it carries our tags for that machine and role; gone, or somebody
 * else's of that name: success. */
MUST_CHECK bool azure_item_remove(struct azure *azure, enum azure_item item,
                                  const char *id, const struct id *machine,
                                  const char *role, struct err *err);
/* "vm" or "test-<name>" */
#define AZURE_ROLE_BYTES (MACHINE_NAME_BYTES + 8)
const char *azure_set_role(const struct azure_set *set, char out[AZURE_ROLE_BYTES]);
/* What it takes to make a set that has its names in the saved layout. */
struct azure_build {
    struct azure *azure;
    struct azure_layout *layout;
    struct azure_set *set; /* in layout */
    const struct azure_wish *wish;
    const struct cancel *cancel;
    char size[AZURE_SIZE_BYTES];
};
/* Names for a new set ("" test: the migrated VM), nothing else. */
MUST_CHECK bool azure_set_name(struct azure *azure, const struct azure_layout *layout,
                               const struct azure_wish *wish, const char *test,
                               struct azure_set *ret, struct err *err);
/* NAMED -> FROZEN: a snapshot of every page blob, all of one instant. */
MUST_CHECK bool azure_set_freeze(struct azure_build *build, struct err *err);
/* FROZEN -> RUNS: disks and cards, then (start) the VM. Goes on where an earlier one
 * ended. Saves the layout for the migrated VM (under its hold), never for a test. */
MUST_CHECK bool azure_set_make(struct azure_build *build, bool start, struct err *err);
/* Removes every part, then the set from the layout. Gone already is success. */
MUST_CHECK bool azure_set_remove(struct azure *azure, struct azure_layout *layout,
                                 struct azure_set *set, struct err *err);
/* Snapshots that no set names. */
MUST_CHECK bool azure_sweep_snapshots(struct azure *azure,
                                      const struct azure_layout *layout, struct err *err);

/* ---- azure_choice.c ---- */
/* The size wished for, or the smallest that fits. FAIL_INPUT: none does. */
MUST_CHECK bool azure_pick_size(struct azure *azure, const struct azure_wish *wish,
                                const struct machine_def *machine, struct azure_size *ret,
                                struct err *err);
/* Its name alone; does not look whether the one wished for fits. */
MUST_CHECK bool azure_size_name(struct azure *azure, const struct azure_wish *wish,
                                const struct machine_def *machine,
                                char ret[AZURE_SIZE_BYTES], struct err *err);
/* The subnet of network card i. */
MUST_CHECK bool azure_subnet_of(struct azure *azure, const struct azure_wish *wish,
                                bool is_test, size_t nic, char ret[ARM_ID_BYTES],
                                struct err *err);
/* The first that will do in the seed's rule; exposed for tests. names: count of them.
 * NULL: none will. */
const char *azure_subnet_pick(const char *wanted, const char *const *names, size_t count);

/* ---- azure_proof.c ---- */
/* Waits for the proof of boot; fills info and keeps the evidence. A VM that did not come
 * up by the deadline is no error: how_booted stays "". */
MUST_CHECK bool azure_prove(struct azure *azure, const struct machine_def *machine,
                            const char *vm_id, const struct test_options *options,
                            const struct cancel *cancel, struct vm_info *info,
                            struct err *err);

/* ---- rows of the operations table ---- */
bool azure_check(struct target *target, const struct machine_def *machine,
                 struct findings *findings, struct err *err);
bool azure_test_start(struct target *target, const struct machine_def *machine,
                      const struct test_options *options, const struct cancel *cancel,
                      struct vm_info *ret, struct err *err);
bool azure_test_cleanup(struct target *target, const struct machine_def *machine,
                        const char *test_name, struct err *err);
bool azure_migrate(struct target *target, const struct machine_def *machine,
                   const struct test_options *options, const struct cancel *cancel,
                   struct vm_info *ret, struct err *err);
bool azure_complete(struct target *target, const struct machine_def *machine,
                    struct err *err);
bool azure_remove(struct target *target, const struct machine_def *machine,
                  struct err *err);
bool azure_list(struct target *target, target_each each, void *ctx, struct err *err);
bool azure_inventory(struct target *target, target_each_thing each, void *ctx,
                     struct err *err);

/* ---- azure_permission.c ---- */
void azure_check_permissions(struct azure *azure, struct findings *findings);

#endif
