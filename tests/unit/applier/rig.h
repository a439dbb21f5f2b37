/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gateway and applier together: a machine in memory, folders as stores, raw replicas.
 * After every committed cycle the replica must equal the machine at the instant of the
 * snapshot, byte by byte.
 */
#ifndef TESTS_APPLIER_RIG_H
#define TESTS_APPLIER_RIG_H

#include "applier/applier.h"
#include "base/file.h"
#include "gateway/cycle.h"
#include "mem_source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define DISK_BYTES (24 * MIB)
#define DISKS      2

struct rig {
    char dir[64];
    struct mem_vm *vm;
    struct source *source;
    struct store *log, *state;
    struct target *target;
    struct machine_def machine;
    struct secret *key;
    struct cycle_progress sent;
    struct apply_progress applied;
    struct cycle_context gateway;
    struct apply_context applier;
    uint8_t *at_snapshot[DISKS]; /* the truth */
    uint64_t rng;
    char map_dir[96];
    /* Of the cycle that runs. */
    struct apply_stream *stream;
    struct cancel cancel;
    size_t cancel_at, segments_seen;
    size_t fail_reads_at; /* segments; 0: never */
    bool was_resumed;
    uint64_t cycle;
    uint64_t carried;                 /* dead cycle that this one goes on from */
    bool (*between)(struct rig *rig); /* after the send, before the apply */
    struct buf kept;
    const char *device_map; /* NULL: replica disks are files */
};

void must(bool ok, const struct err *err);
void write_random(struct rig *rig, size_t disk, uint64_t at, size_t bytes);
void churn(struct rig *rig, size_t writes);
void open_target(struct rig *rig);
int setup(void **state);
int teardown(void **state);
void remember(struct rig *rig);
void check_replica(struct rig *rig);
bool run_cycle(struct rig *rig, enum cycle_kind *ret_kind, struct err *err);
void cycle_must_work(struct rig *rig, enum cycle_kind want);
void fill(struct rig *rig);
void fill_big(struct rig *rig);

#endif
