/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gateway and applier together: a machine in memory, folders as stores, raw replicas.
 * After every committed cycle the replica must equal the machine at the instant of the
 * snapshot, byte by byte.
 */
#include "applier/applier.h"
#include "base/file.h"
#include "base/process.h"
#include "gateway/cycle.h"
#include "mem_source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

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
    bool was_resumed;
    uint64_t cycle;
    bool (*between)(struct rig *rig); /* after the send, before the apply */
    struct buf kept;
    const char *device_map; /* NULL: replica disks are files */
};

static uint64_t next_random(struct rig *rig)
{
    rig->rng ^= rig->rng << 13;
    rig->rng ^= rig->rng >> 7;
    rig->rng ^= rig->rng << 17;
    return rig->rng;
}

static void must(bool ok, const struct err *err)
{
    if (!ok)
        fail_msg("%s: %s", err_kind_name(err->kind), err->text);
}

static void write_random(struct rig *rig, size_t disk, uint64_t at, size_t bytes)
{
    uint8_t *data = xcalloc(1, bytes);
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t v = next_random(rig);
        memcpy(data + i, &v, MIN_OF(bytes - i, (size_t)(i % 64 < 32 ? 8 : 1)));
    }
    mem_vm_write(rig->vm, disk, at, data, bytes);
    free(data);
}

static void churn(struct rig *rig, size_t writes)
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

static void open_target(struct rig *rig)
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

static int setup(void **state)
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

static int teardown(void **state)
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

static void remember(struct rig *rig)
{
    for (size_t i = 0; i < DISKS; i++)
        memcpy(rig->at_snapshot[i], mem_vm_disk(rig->vm, i),
               rig->machine.disks[i].disk_bytes);
}

static void check_replica(struct rig *rig)
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
    return !rig->stream || apply_stream_push(rig->stream, segment, err);
}

static bool apply_it(struct rig *rig, struct cycle *cycle, struct err *err)
{
    if (!cycle_may_stream(cycle))
        return cycle_send(cycle, err) && (!rig->between || rig->between(rig)) &&
               apply_cycle(&rig->applier, cycle_plan(cycle)->cycle, err);
    if (!apply_stream_open(&rig->applier, cycle_plan(cycle), &rig->stream, err))
        return false;
    bool ok = cycle_send(cycle, err) && (!rig->between || rig->between(rig));
    if (ok)
        return apply_stream_finish(TAKE(rig->stream), err);
    apply_stream_cancel(TAKE(rig->stream));
    return false;
}

/* A whole cycle; streams when it may. */
static bool run_cycle(struct rig *rig, enum cycle_kind *ret_kind, struct err *err)
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

static void cycle_must_work(struct rig *rig, enum cycle_kind want)
{
    struct err err = ERR_INIT;
    enum cycle_kind kind = 0;
    must(run_cycle(rig, &kind, &err), &err);
    assert_int_equal(kind, want);
    check_replica(rig);
}

static void fill(struct rig *rig)
{
    for (size_t disk = 0; disk < DISKS; disk++)
        for (uint64_t at = 0; at < DISK_BYTES; at += 3 * MIB)
            write_random(rig, disk, at, MIB + 4096 * disk);
    churn(rig, 100);
}

static void initial_and_deltas(void **state)
{
    struct rig *rig = *state;
    fill(rig);
    cycle_must_work(rig, CYCLE_INITIAL);
    for (int i = 0; i < 5; i++) {
        churn(rig, 50);
        cycle_must_work(rig, CYCLE_DELTA);
        assert_true(atomic_load(&rig->sent.planned_bytes) < 8 * MIB);
    }
}

/* A loop device over a new file; "" when this machine cannot make one. */
static void make_loop(struct rig *rig, size_t disk, char *ret, size_t ret_bytes)
{
    char path[128];
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf out = {0};
    (void)snprintf(path, sizeof path, "%s/device%zu", rig->dir, disk);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && ftruncate(fd, DISK_BYTES) == 0);
    /* Old bytes: a device is not zeros when it is new to us. */
    uint8_t old[4096];
    memset(old, 0xa5, sizeof old);
    for (uint64_t at = 0; at < DISK_BYTES; at += sizeof old)
        assert_int_equal(pwrite(fd, old, sizeof old, (off_t)at), sizeof old);
    (void)close(fd);
    const char *const argv[] = {"losetup", "-f", "--show", path, NULL};
    ret[0] = 0;
    if (process_run(argv, 10000, NULL, &out, &err))
        (void)snprintf(ret, ret_bytes, "%.*s", (int)strcspn(buf_text(&out), "\n"),
                       buf_text(&out));
}

static void drop_loop(const char *device)
{
    struct err err = ERR_INIT;
    const char *const argv[] = {"losetup", "-d", device, NULL};
    if (*device && !process_run(argv, 10000, NULL, NULL, &err))
        print_message("%s\n", err.text);
}

static void replica_on_block_devices(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    char devices[DISKS][64], map[96];
    AUTO(buf_release) struct buf text = {0};
    for (size_t i = 0; i < DISKS; i++) {
        make_loop(rig, i, devices[i], sizeof devices[i]);
        buf_printf(&text, "testvm %zu %s\n", i, devices[i]);
    }
    if (!devices[0][0] || !devices[1][0]) {
        drop_loop(devices[0]);
        skip();
    }
    (void)snprintf(map, sizeof map, "%s/devices", rig->dir);
    must(file_write_durable(map, text.data, text.bytes, 0600, &err), &err);
    must(target_remove(rig->target, &rig->machine, &err), &err);
    target_close(rig->target);
    rig->device_map = map;
    open_target(rig);
    rig->applier.target = rig->target;
    must(target_replica_create(rig->target, &rig->machine, &err), &err);
    fill(rig);
    cycle_must_work(rig, CYCLE_INITIAL);
    churn(rig, 60);
    cycle_must_work(rig, CYCLE_DELTA);
    mem_vm_lose_tracking(rig->vm);
    churn(rig, 5);
    cycle_must_work(rig, CYCLE_RESYNC);
    target_close(rig->target);
    rig->target = NULL;
    for (size_t i = 0; i < DISKS; i++)
        drop_loop(devices[i]);
}

static void nothing_is_left_in_the_log(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    fill(rig);
    cycle_must_work(rig, CYCLE_INITIAL);
    churn(rig, 10);
    cycle_must_work(rig, CYCLE_DELTA);
    char prefix[NAMES_MAX];
    uint64_t bytes;
    name_plan(&rig->machine.id, 2, prefix);
    must(store_size(rig->state, prefix, &bytes, &err), &err);
    name_plan(&rig->machine.id, 1, prefix);
    assert_false(store_size(rig->state, prefix, &bytes, &err));
    name_manifest(&rig->machine.id, 2, prefix);
    assert_false(store_size(rig->log, prefix, &bytes, &err));
}

static void lost_tracking_resyncs_only_what_differs(void **state)
{
    struct rig *rig = *state;
    fill(rig);
    cycle_must_work(rig, CYCLE_INITIAL);
    cycle_must_work(rig, CYCLE_DELTA);
    mem_vm_lose_tracking(rig->vm);
    write_random(rig, 0, 5 * MIB, 128 * KIB);
    uint8_t *zeros = xcalloc(1, 2 * MIB);
    mem_vm_write(rig->vm, 1, 3 * MIB, zeros, 2 * MIB);
    free(zeros);
    cycle_must_work(rig, CYCLE_RESYNC);
    /* Whole blocks that are equal are not sent; those of which only a part was known are.
     */
    assert_true(atomic_load(&rig->sent.content_bytes) < 6 * MIB);
    assert_true(atomic_load(&rig->sent.same_bytes) > 4 * MIB);
    cycle_must_work(rig, CYCLE_DELTA);
}

static void compact_and_stored_work(void **state)
{
    struct rig *rig = *state;
    rig->gateway.options.record_span_bytes = RECORD_SPAN_MAX_BYTES;
    rig->gateway.options.method = PACK_ZSTD;
    rig->gateway.options.level = -1;
    fill(rig);
    cycle_must_work(rig, CYCLE_INITIAL);
    rig->gateway.options.method = PACK_STORED;
    churn(rig, 300);
    cycle_must_work(rig, CYCLE_DELTA);
    mem_vm_lose_tracking(rig->vm);
    churn(rig, 10);
    cycle_must_work(rig, CYCLE_RESYNC);
}

static void failed_read_loses_nothing(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    fill(rig);
    cycle_must_work(rig, CYCLE_INITIAL);
    churn(rig, 50);
    mem_vm_fail_reads(rig->vm, true);
    assert_false(run_cycle(rig, NULL, &err));
    assert_int_equal(err.kind, FAIL_IO);
    mem_vm_fail_reads(rig->vm, false);
    churn(rig, 5);
    cycle_must_work(rig, CYCLE_DELTA);
}

static void fill_big(struct rig *rig)
{
    for (uint64_t at = 0; at < 20 * MIB; at += 64 * KIB)
        write_random(rig, 0, at, 64 * KIB);
}

static void resume_sends_only_what_was_in_flight(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    fill(rig);
    cycle_must_work(rig, CYCLE_INITIAL);
    fill_big(rig);
    cancel_init(&rig->cancel);
    rig->gateway.cancel = &rig->cancel;
    rig->cancel_at = 3;
    assert_false(run_cycle(rig, NULL, &err));
    assert_int_equal(err.kind, FAIL_CANCELED);
    size_t acknowledged = rig->segments_seen;
    uint64_t done = atomic_load(&rig->sent.done_bytes);
    cancel_release(&rig->cancel);
    rig->gateway.cancel = NULL;
    rig->cancel_at = 0;
    cycle_must_work(rig, CYCLE_DELTA);
    assert_true(rig->was_resumed);
    assert_true(acknowledged >= 3);
    /* What this run read is what was planned less what had been acknowledged. */
    uint64_t left = atomic_load(&rig->sent.planned_bytes) - done;
    assert_in_range(atomic_load(&rig->sent.read_bytes), left,
                    left + 256 * KIB); /* gaps */
}

static void initial_cycle_resumes_too(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    fill_big(rig);
    cancel_init(&rig->cancel);
    rig->gateway.cancel = &rig->cancel;
    rig->cancel_at = 2;
    assert_false(run_cycle(rig, NULL, &err));
    cancel_release(&rig->cancel);
    rig->gateway.cancel = NULL;
    rig->cancel_at = 0;
    cycle_must_work(rig, CYCLE_INITIAL);
    assert_true(rig->was_resumed);
}

/* The initial cycle dies half applied and its snapshot is gone: the next one must also
 * bring what was written meanwhile, even where the source has no data any more. */
static void torn_initial_cycle_leaves_no_old_bytes(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    fill_big(rig);
    cancel_init(&rig->cancel);
    rig->gateway.cancel = &rig->cancel;
    rig->cancel_at = 3;
    assert_false(run_cycle(rig, NULL, &err));
    cancel_release(&rig->cancel);
    rig->gateway.cancel = NULL;
    rig->cancel_at = 0;
    mem_vm_lose_snapshot(rig->vm);
    mem_vm_lose_tracking(rig->vm);
    uint8_t *zeros = xcalloc(1, 16 * MIB);
    mem_vm_write(rig->vm, 0, MIB, zeros, 16 * MIB);
    free(zeros);
    cycle_must_work(rig, CYCLE_INITIAL);
    assert_false(rig->was_resumed);
}

/* ---- damage in the log store, between send and apply ---- */

struct listing {
    char names[64][STORE_NAME_MAX];
    size_t count;
};

static bool note_name(void *ctx, const char *name, uint64_t bytes, struct err *err)
{
    struct listing *listing = ctx;
    (void)bytes;
    (void)err;
    if (listing->count < 64)
        (void)snprintf(listing->names[listing->count++], STORE_NAME_MAX, "%s", name);
    return true;
}

static void list_segments(struct rig *rig, struct listing *ret)
{
    char prefix[NAMES_MAX], with_seg[NAMES_MAX + 8];
    struct err err = ERR_INIT;
    *ret = (struct listing){0};
    name_cycle_prefix(&rig->machine.id, rig->cycle, prefix);
    (void)snprintf(with_seg, sizeof with_seg, "%sseg/", prefix);
    must(store_list(rig->log, with_seg, note_name, ret, &err), &err);
    assert_true(ret->count >= 2);
}

static void rewrite(struct rig *rig, const char *name, void (*change)(struct buf *data))
{
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf data = {0};
    must(store_get_all(rig->log, name, SEGMENT_MAX_BYTES, &data, &err), &err);
    change(&data);
    must(store_put(rig->log, name, data.data, data.bytes, STORE_REPLACE, &err), &err);
}

static void flip_late_bit(struct buf *data)
{
    data->data[data->bytes - 100] ^= 4;
}

static void flip_header_bit(struct buf *data)
{
    data->data[20] ^= 1;
}

static void cut_end(struct buf *data)
{
    data->bytes -= 64;
}

static bool damage_flip(struct rig *rig)
{
    static struct listing list;
    list_segments(rig, &list);
    rewrite(rig, list.names[list.count - 1], flip_late_bit);
    return true;
}

static bool damage_header(struct rig *rig)
{
    static struct listing list;
    list_segments(rig, &list);
    rewrite(rig, list.names[0], flip_header_bit);
    return true;
}

static bool damage_cut(struct rig *rig)
{
    static struct listing list;
    list_segments(rig, &list);
    rewrite(rig, list.names[1], cut_end);
    return true;
}

static bool damage_delete(struct rig *rig)
{
    static struct listing list;
    struct err err = ERR_INIT;
    list_segments(rig, &list);
    must(store_remove(rig->log, list.names[1], &err), &err);
    return true;
}

static bool damage_swap(struct rig *rig)
{
    static struct listing list;
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf a = {0};
    AUTO(buf_release) struct buf b = {0};
    list_segments(rig, &list);
    must(store_get_all(rig->log, list.names[0], SEGMENT_MAX_BYTES, &a, &err), &err);
    must(store_get_all(rig->log, list.names[1], SEGMENT_MAX_BYTES, &b, &err), &err);
    must(store_put(rig->log, list.names[0], b.data, b.bytes, STORE_REPLACE, &err), &err);
    must(store_put(rig->log, list.names[1], a.data, a.bytes, STORE_REPLACE, &err), &err);
    return true;
}

static bool damage_manifest(struct rig *rig)
{
    char name[NAMES_MAX];
    name_manifest(&rig->machine.id, rig->cycle, name);
    rewrite(rig, name, flip_late_bit);
    return true;
}

/* A manifest of an older cycle put in the place of this one's. */
static bool replay_manifest(struct rig *rig)
{
    char name[NAMES_MAX];
    struct err err = ERR_INIT;
    name_manifest(&rig->machine.id, rig->cycle, name);
    must(store_put(rig->log, name, rig->kept.data, rig->kept.bytes, STORE_REPLACE, &err),
         &err);
    return true;
}

static bool keep_manifest(struct rig *rig)
{
    char name[NAMES_MAX];
    struct err err = ERR_INIT;
    name_manifest(&rig->machine.id, rig->cycle, name);
    buf_clear(&rig->kept);
    must(store_get_all(rig->log, name, MIB, &rig->kept, &err), &err);
    return true;
}

static void damage_is_detected_and_healed(void **state)
{
    struct rig *rig = *state;
    static bool (*const DAMAGES[])(struct rig *) = {
        damage_flip, damage_header,   damage_cut,     damage_delete,
        damage_swap, damage_manifest, replay_manifest};
    fill(rig);
    rig->between = keep_manifest;
    cycle_must_work(rig, CYCLE_INITIAL);
    for (size_t i = 0; i < ARRAY_COUNT(DAMAGES); i++) {
        struct err err = ERR_INIT;
        uint8_t *before[DISKS];
        for (size_t d = 0; d < DISKS; d++) {
            before[d] = xcalloc(1, DISK_BYTES);
            memcpy(before[d], rig->at_snapshot[d], DISK_BYTES);
        }
        fill_big(rig);
        rig->between = DAMAGES[i];
        assert_false(run_cycle(rig, NULL, &err));
        if (err.kind != FAIL_CORRUPT)
            fail_msg("damage %zu: %s: %s", i, err_kind_name(err.kind), err.text);
        for (size_t d = 0; d < DISKS; d++) {
            memcpy(rig->at_snapshot[d], before[d], DISK_BYTES);
            free(before[d]);
        }
        check_replica(rig); /* nothing of it was written */
        rig->between = NULL;
        cycle_must_work(rig, CYCLE_DELTA); /* and the next one heals */
    }
    buf_release(&rig->kept);
}

/* The log is damaged after the intent: the redo is impossible, the next cycle brings all
 * again. */
static void torn_apply_is_healed_by_the_next_cycle(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    struct cycle *cycle = NULL;
    fill(rig);
    cycle_must_work(rig, CYCLE_INITIAL);
    fill_big(rig);
    must(cycle_open(&rig->gateway, 1, false, &cycle, &err), &err);
    rig->cycle = cycle_plan(cycle)->cycle;
    must(cycle_send(cycle, &err), &err);
    struct target *plain = rig->applier.target;
    struct target_fault_options options = {
        .rate_per_million = 1000000, .after_writes = 40, .kind = FAIL_IO};
    rig->applier.target = target_fault_new(plain, &options);
    assert_false(apply_cycle(&rig->applier, rig->cycle, &err));
    assert_int_equal(err.kind, FAIL_IO);
    struct target *wrapped = rig->applier.target; /* owns plain: dropped with it */
    damage_flip(rig);
    must(cycle_end(cycle, SNAPSHOT_DETACHED, &err), &err);
    target_close(wrapped);
    open_target(rig);
    rig->applier.target = rig->target;
    assert_false(apply_recover(&rig->applier, &err));
    assert_int_equal(err.kind, FAIL_CORRUPT);
    mem_vm_lose_snapshot(rig->vm);
    cycle_must_work(rig, CYCLE_DELTA);
}

static void redo_after_a_failed_write(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    struct cycle *cycle = NULL;
    fill(rig);
    cycle_must_work(rig, CYCLE_INITIAL);
    fill_big(rig);
    must(cycle_open(&rig->gateway, 1, false, &cycle, &err), &err);
    remember(rig);
    rig->cycle = cycle_plan(cycle)->cycle;
    must(cycle_send(cycle, &err), &err);
    struct target_fault_options options = {
        .rate_per_million = 1000000, .after_writes = 40, .kind = FAIL_NO_SPACE};
    rig->applier.target = target_fault_new(rig->target, &options);
    assert_false(apply_cycle(&rig->applier, rig->cycle, &err));
    assert_int_equal(err.kind, FAIL_NO_SPACE);
    must(cycle_end(cycle, SNAPSHOT_DETACHED, &err), &err);
    target_close(rig->applier.target);
    open_target(rig);
    rig->applier.target = rig->target;
    must(apply_recover(&rig->applier, &err), &err);
    check_replica(rig);
    cycle_must_work(rig, CYCLE_DELTA);
}

/* Content hash: a journal with a missing entry must not leave old digests in the map. */
static void missing_journal_entry_costs_the_map_not_the_data(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    struct cycle *cycle = NULL;
    fill(rig);
    cycle_must_work(rig, CYCLE_INITIAL);
    fill_big(rig);
    must(cycle_open(&rig->gateway, 1, false, &cycle, &err), &err);
    rig->cycle = cycle_plan(cycle)->cycle;
    must(cycle_send(cycle, &err), &err);
    must(apply_cycle(&rig->applier, rig->cycle, &err), &err);
    char name[NAMES_MAX];
    name_journal(&rig->machine.id, rig->cycle, 0, 1, name);
    must(store_remove(rig->state, name, &err), &err);
    must(cycle_end(cycle, SNAPSHOT_APPLIED, &err), &err);
    mem_vm_lose_tracking(rig->vm);
    fill(rig);
    cycle_must_work(rig, CYCLE_RESYNC);
}

static void grown_disk_is_brought_whole(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    fill(rig);
    cycle_must_work(rig, CYCLE_INITIAL);
    mem_vm_resize(rig->vm, 1, DISK_BYTES + 8 * MIB);
    write_random(rig, 1, DISK_BYTES + MIB, MIB);
    rig->machine.disks[1].disk_bytes = DISK_BYTES + 8 * MIB;
    must(target_disk_resize(rig->target, &rig->machine, 1, DISK_BYTES + 8 * MIB, &err),
         &err);
    cycle_must_work(rig, CYCLE_DELTA);
}

static void another_key_opens_nothing(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    struct cycle *cycle = NULL;
    uint8_t raw[32] = {8};
    fill(rig);
    cycle_must_work(rig, CYCLE_INITIAL);
    AUTO(secret_free) struct secret *other = secret_new(raw, sizeof raw);
    rig->gateway.data_key = other;
    assert_false(cycle_open(&rig->gateway, 1, false, &cycle, &err));
    assert_int_equal(err.kind, FAIL_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(initial_and_deltas, setup, teardown),
        cmocka_unit_test_setup_teardown(replica_on_block_devices, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_left_in_the_log, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_tracking_resyncs_only_what_differs, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(compact_and_stored_work, setup, teardown),
        cmocka_unit_test_setup_teardown(failed_read_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(resume_sends_only_what_was_in_flight, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(initial_cycle_resumes_too, setup, teardown),
        cmocka_unit_test_setup_teardown(torn_initial_cycle_leaves_no_old_bytes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(damage_is_detected_and_healed, setup, teardown),
        cmocka_unit_test_setup_teardown(torn_apply_is_healed_by_the_next_cycle, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(redo_after_a_failed_write, setup, teardown),
        cmocka_unit_test_setup_teardown(missing_journal_entry_costs_the_map_not_the_data,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(grown_disk_is_brought_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(another_key_opens_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
