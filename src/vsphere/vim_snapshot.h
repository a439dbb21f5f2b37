/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots of a machine: made without memory, removed with their files merged. The tree
 * of what is there already is in struct vim_machine.
 */
#ifndef VSPHERE_VIM_SNAPSHOT_H
#define VSPHERE_VIM_SNAPSHOT_H

#include "vsphere/vim_machine.h"

struct vim_snapshot_spec {
    const char *name;
    const char *description;
    bool is_quiesced; /* asked; whether it was is in the tree: the server drops
                       * the wish silently when no tools run */
    uint32_t quiesce_timeout_min; /* 5 .. 240, where the server knows
                                   * CreateSnapshotEx_Task; 0: the server's own */
};
/* memory=false. FAIL_CONFLICT: the machine's state does not allow it (the text says
 * which and what to do). */
MUST_CHECK bool vim_snapshot_create(struct vim *vim, const struct vim_ref *vm,
                                    const struct vim_snapshot_spec *spec,
                                    struct vim_wait *wait, struct vim_ref *ret_snapshot,
                                    struct err *err);

/* removeChildren=false, consolidate=true. FAIL_GONE: it was not there. Afterwards look at
 * vim_state.is_consolidation_needed. */
MUST_CHECK bool vim_snapshot_remove(struct vim *vim, const struct vim_ref *snapshot,
                                    struct vim_wait *wait, struct err *err);

/* Merges what removals left behind. FAIL_TRANSIENT: a file is locked by a reader. */
MUST_CHECK bool vim_consolidate(struct vim *vim, const struct vim_ref *vm,
                                struct vim_wait *wait, struct err *err);

/* The disks as the snapshot froze them, with the change ids to remember. */
struct vim_disks {
    const struct vim_disk *items;
    size_t count;
};
MUST_CHECK struct vim_disks *vim_snapshot_disks(struct vim *vim,
                                                const struct vim_ref *snapshot,
                                                const struct cancel *cancel,
                                                struct err *err);
void vim_disks_free(struct vim_disks *disks);
AUTO_CLEANUP(struct vim_disks, vim_disks_free);

#endif
