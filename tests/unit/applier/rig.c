/* SPDX-License-Identifier: Apache-2.0 */
/* The rig of the cycle tests. */
#include "rig.h"

static uint64_t next_random(struct rig *rig)
{
    rig->rng ^= rig->rng << 13;
    rig->rng ^= rig->rng >> 7;
    rig->rng ^= rig->rng << 17;
    return rig->rng;
}

void must(bool ok, const struct err *err)
{
    if (!ok)
        fail_msg("%s: %s", err_kind_name(err->kind), err->text);
}

void write_random(struct rig *rig, size_t disk, uint64_t at, size_t bytes)
{
    uint8_t *data = xcalloc(1, bytes);
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t v = next_random(rig);
        memcpy(data + i, &v, MIN_OF(bytes - i, (size_t)(i % 64 < 32 ? 8 : 1)));
    }
    mem_vm_write(rig->vm, disk, at, data, bytes);
    free(data);
}

void churn(struct rig *rig, size_t writes)
{
    for (size_t i = 0; i < writes; i++) {
        size_t disk = next_random(rig) % DISKS;
        size_t bytes = (1 + next_random(rig) % 64) * 512;
        uint64_t at = next_random(rig) % ((DISK_BYTES - bytes) / 512) * 512;
        if (next_random(rig) % 8 == 0) {
            uint8_t *zeros = xcalloc(1, bytes);
            mem_vm_write(rig->vm, disk, at, zeros, bytes);
            free(zeros);
        } else {
            write_random(rig, disk, at, bytes);
        }
    }
}

void open_target(struct rig *rig)
{
    struct err err = ERR_INIT;
    struct buf path = {0};
    buf_printf(&path, "%s/target", rig->dir);
    struct target_local_options options = {
        .dir = buf_text(&path), .accel = "tcg", .device_map_path = rig->device_map};
    must(target_local_open(&options, &rig->target, &err), &err);
    buf_release(&path);
}

static bool on_segment(void *ctx, const struct manifest_segment *segment,
                       struct err *err);

int setup(void **state)
{
    struct rig *rig = xcalloc(1, sizeof *rig);
    struct err err = ERR_INIT;
    struct buf path = {0};
    rig->rng = 88172645463325252u;
    (void)snprintf(rig->dir, sizeof rig->dir, "/tmp/kedge-cycle-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    rig->vm = mem_vm_new(DISKS, DISK_BYTES);
    rig->source = mem_source_new(rig->vm);
    mem_vm_define(rig->vm, "testvm", &rig->machine);
    buf_printf(&path, "%s/log", rig->dir);
    rig->log = store_dir_open(buf_text(&path), &err);
    must(rig->log != NULL, &err);
    rig->state = store_memory_new();
    open_target(rig);
    must(target_replica_create(rig->target, &rig->machine, &err), &err);
    uint8_t raw[32] = {7};
    rig->key = secret_new(raw, sizeof raw);
    (void)snprintf(rig->map_dir, sizeof rig->map_dir, "%s/maps", rig->dir);
    rig->gateway = (struct cycle_context){.machine = &rig->machine,
                                          .data_key = rig->key,
                                          .source = rig->source,
                                          .log_store = rig->log,
                                          .state_store = rig->state,
                                          .map_dir = rig->map_dir,
                                          .progress = &rig->sent,
                                          .options = cycle_options_default(),
                                          .on_segment = on_segment,
                                          .on_segment_ctx = rig};
    rig->gateway.options.segment_bytes = 2 * MIB;
    rig->applier = (struct apply_context){.machine = &rig->machine,
                                          .data_key = rig->key,
                                          .target = rig->target,
                                          .log_store = rig->log,
                                          .state_store = rig->state,
                                          .progress = &rig->applied};
    for (size_t i = 0; i < DISKS; i++)
        rig->at_snapshot[i] = xcalloc(1, DISK_BYTES * 2);
    buf_release(&path);
    *state = rig;
    return 0;
}

int teardown(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    target_close(rig->target);
    store_close(rig->log);
    store_close(rig->state);
    source_close(rig->source);
    mem_vm_free(rig->vm);
    secret_free(rig->key);
    must(file_remove_tree(rig->dir, &err), &err);
    for (size_t i = 0; i < DISKS; i++)
        free(rig->at_snapshot[i]);
    free(rig);
    return 0;
}

void remember(struct rig *rig)
{
    for (size_t i = 0; i < DISKS; i++)
        memcpy(rig->at_snapshot[i], mem_vm_disk(rig->vm, i),
               rig->machine.disks[i].disk_bytes);
}

void check_replica(struct rig *rig)
{
    struct err err = ERR_INIT;
    for (size_t i = 0; i < DISKS; i++) {
        struct replica_disk *disk = NULL;
        uint64_t bytes = rig->machine.disks[i].disk_bytes;
        uint8_t *have = xcalloc(1, bytes);
        must(target_disk_open(rig->target, &rig->machine, i, false, &disk, &err), &err);
        must(replica_disk_read(disk, 0, have, bytes, &err), &err);
        for (uint64_t at = 0; at < bytes; at += 512)
            if (memcmp(have + at, rig->at_snapshot[i] + at, 512) != 0)
                fail_msg("disk %zu differs at byte %llu", i, (unsigned long long)at);
        replica_disk_close(disk);
        free(have);
    }
}

static bool on_segment(void *ctx, const struct manifest_segment *segment, struct err *err)
{
    struct rig *rig = ctx;
    rig->segments_seen++;
    if (rig->cancel_at && rig->segments_seen == rig->cancel_at)
        cancel_set(&rig->cancel);
    if (rig->fail_reads_at && rig->segments_seen == rig->fail_reads_at)
        mem_vm_fail_reads(rig->vm, true);
    return !rig->stream || apply_stream_push(rig->stream, segment, err);
}

static bool apply_it(struct rig *rig, struct cycle *cycle, struct err *err)
{
    if (!cycle_may_stream(cycle))
        return cycle_send(cycle, err) && (!rig->between || rig->between(rig)) &&
               apply_cycle(&rig->applier, cycle_plan(cycle)->cycle, err);
    if (!apply_stream_open(&rig->applier, cycle_plan(cycle), &rig->stream, err))
        return false;
    rig->carried = apply_stream_carried(rig->stream);
    bool ok = cycle_carry(cycle, rig->carried, err) && cycle_send(cycle, err) &&
              (!rig->between || rig->between(rig));
    if (ok)
        return apply_stream_finish(TAKE(rig->stream), err);
    apply_stream_cancel(TAKE(rig->stream));
    return false;
}

/* A whole cycle; streams when it may. */
bool run_cycle(struct rig *rig, enum cycle_kind *ret_kind, struct err *err)
{
    struct cycle *cycle = NULL;
    rig->segments_seen = 0;
    if (!apply_recover(&rig->applier, err) ||
        !cycle_open(&rig->gateway, 1, false, &cycle, err))
        return false;
    rig->was_resumed = cycle_is_resumed(cycle);
    if (!rig->was_resumed)
        remember(rig);
    if (ret_kind)
        *ret_kind = cycle_plan(cycle)->kind;
    rig->cycle = cycle_plan(cycle)->cycle;
    churn(rig, 20); /* the guest goes on: none of this may show in the replica */
    bool ok = apply_it(rig, cycle, err);
    struct err late = ERR_INIT;
    enum snapshot_outcome outcome = ok                           ? SNAPSHOT_APPLIED
                                    : err->kind == FAIL_CANCELED ? SNAPSHOT_DETACHED
                                                                 : SNAPSHOT_FAILED;
    bool ended = cycle_end(cycle, outcome, &late);
    if (ok && !ended)
        *err = late;
    return ok && ended;
}

void cycle_must_work(struct rig *rig, enum cycle_kind want)
{
    struct err err = ERR_INIT;
    enum cycle_kind kind = 0;
    must(run_cycle(rig, &kind, &err), &err);
    assert_int_equal(kind, want);
    check_replica(rig);
}

void fill(struct rig *rig)
{
    for (size_t disk = 0; disk < DISKS; disk++)
        for (uint64_t at = 0; at < DISK_BYTES; at += 3 * MIB)
            write_random(rig, disk, at, MIB + 4096 * disk);
    churn(rig, 100);
}

void fill_big(struct rig *rig)
{
    for (uint64_t at = 0; at < 20 * MIB; at += 64 * KIB)
        write_random(rig, 0, at, 64 * KIB);
}
