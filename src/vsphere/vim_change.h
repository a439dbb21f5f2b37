/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changed block tracking: switching it, and what changed between a remembered change id
 * and a snapshot.
 */
#ifndef VSPHERE_VIM_CHANGE_H
#define VSPHERE_VIM_CHANGE_H

#include "block/extents.h"
#include "vsphere/vim_task.h"

/* Sets the machine's flag. On a running machine it takes effect with the next stun: make
 * and remove a snapshot, then see that each disk has a change id. FAIL_CONFLICT:
 * snapshots exist, or the machine cannot track. */
MUST_CHECK bool vim_cbt_set(struct vim *vim, const struct vim_ref *vm, bool is_enabled,
                            struct vim_wait *wait, struct err *err);

#define VIM_CHANGE_ALL "*" /* as change id: what is allocated at all */

struct vim_change_query {
    struct vim_ref vm;
    struct vim_ref snapshot; /* always one: without it the server answers only for
                              * powered-off machines */
    int32_t device_key;
    uint64_t disk_bytes;   /* of the frozen disk; no answer beyond it counts */
    const char *change_id; /* "uuid/7" or VIM_CHANGE_ALL */
};

/*
 * The whole answer, asked page by page to the end of the disk: canonical, within
 * [0, disk_bytes), replacing *ret's old content. Pages may be empty, overlap, come
 * unsorted or reach past the end. Nothing changed: an empty set.
 *
 * FAIL_CORRUPT: the tracking of this disk cannot answer (FileFault, InvalidArgument,
 * NotFound for this change id, an answer that cannot be right): read the whole disk;
 * never "no changes". FAIL_GONE: machine or snapshot is not there. FAIL_LIMIT: more than
 * VIM_CHANGE_MAX_AREAS.
 */
#define VIM_CHANGE_MAX_AREAS (16u * 1024 * 1024)
MUST_CHECK bool vim_changed_extents(struct vim *vim, const struct vim_change_query *query,
                                    const struct cancel *cancel, struct extents *ret,
                                    struct err *err);

/* The part of a change id before "/": another epoch means another tracking: the ids do
 * not compare. *ret_sequence: the number behind it. false: not of that form. */
#define VIM_EPOCH_BYTES 64
MUST_CHECK bool vim_change_id_split(const char *change_id,
                                    char ret_epoch[VIM_EPOCH_BYTES],
                                    uint64_t *ret_sequence);

#endif
