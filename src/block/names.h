/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the objects of a cycle are called in the log store and the state store, and the
 * sealed context of each. One place, because gateway and applier must agree. Pure.
 *
 *   state store   <machine>/replica                         the applier's own state
 *                 <machine>/<cycle>/plan                    the gateway's plan
 *                 <machine>/<cycle>/journal/<disk>-<seq>    one per acknowledged segment
 *   log store     <machine>/<cycle>/seg/<disk>-<seq>-<salt> segments
 *                 <machine>/<cycle>/manifest                the cycle is whole
 */
#ifndef BLOCK_NAMES_H
#define BLOCK_NAMES_H

#include "block/cycleobj.h"

#define NAMES_MAX 160

void name_replica(const struct id *machine, char out[NAMES_MAX]);
void name_cycle_prefix(const struct id *machine, uint64_t cycle, char out[NAMES_MAX]);
void name_plan(const struct id *machine, uint64_t cycle, char out[NAMES_MAX]);
void name_journal_prefix(const struct id *machine, uint64_t cycle, char out[NAMES_MAX]);
void name_journal(const struct id *machine, uint64_t cycle, uint32_t disk_index,
                  uint32_t seq, char out[NAMES_MAX]);
void name_segment(const struct id *machine, uint64_t cycle, uint32_t disk_index,
                  uint32_t seq, const uint8_t salt[SEGMENT_SALT_BYTES],
                  char out[NAMES_MAX]);
void name_manifest(const struct id *machine, uint64_t cycle, char out[NAMES_MAX]);

/* The cycle number in "<machine>/<cycle>/..."; false when the name is of another shape.
 */
bool name_parse_cycle(const struct id *machine, const char *name, uint64_t *ret_cycle);

/*
 * What the replica is, in one sealed object that the applier replaces durably.
 *   recovery_point  the cycle whose point in time the replica holds; 0: none yet
 *   applying        a verified cycle is being written: after a crash it is written
 *                   again (redo)
 *   doubt           a cycle whose writes may be there in part (a streamed initial cycle,
 *                   or a redo that became impossible): the next plan must hold all of
 *                   that plan's extents
 */
struct replica_state {
    struct id machine;
    uint64_t recovery_point;
    uint64_t recovery_wall_ms; /* the instant of its snapshot */
    uint64_t applying;
    uint64_t doubt;
};

void replica_state_encode(const struct replica_state *state, struct buf *out);
MUST_CHECK bool replica_state_decode(const uint8_t *data, size_t data_bytes,
                                     struct replica_state *ret, struct err *err);

#endif
