/* SPDX-License-Identifier: Apache-2.0 */
/* Cycles whose log, journal or replica is damaged between the steps. */
#include "rig.h"

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

/* Whoever controls the state store puts an older replica state back; its seal is good. */
static void rolled_back_state_is_refused(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    char name[NAMES_MAX];
    uint8_t old[4096];
    size_t old_bytes = 0;
    fill(rig);
    cycle_must_work(rig, CYCLE_INITIAL);
    name_replica(&rig->machine.id, name);
    must(store_get(rig->state, name, 0, old, sizeof old, &old_bytes, &err), &err);
    churn(rig, 10);
    cycle_must_work(rig, CYCLE_DELTA);
    rig->applier.known_point = rig->cycle; /* as the catalog has it */
    churn(rig, 10);
    cycle_must_work(rig, CYCLE_DELTA);
    rig->applier.known_point = rig->cycle;
    must(store_put(rig->state, name, old, old_bytes, STORE_REPLACE, &err), &err);
    assert_false(run_cycle(rig, NULL, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    assert_non_null(strstr(err.text, "was rolled back"));
    err_clear(&err);
    must(store_remove(rig->state, name, &err), &err); /* gone altogether */
    assert_false(run_cycle(rig, NULL, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    check_replica(rig); /* untouched */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(damage_is_detected_and_healed, setup, teardown),
        cmocka_unit_test_setup_teardown(torn_apply_is_healed_by_the_next_cycle, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(redo_after_a_failed_write, setup, teardown),
        cmocka_unit_test_setup_teardown(missing_journal_entry_costs_the_map_not_the_data,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(grown_disk_is_brought_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(another_key_opens_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(rolled_back_state_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
