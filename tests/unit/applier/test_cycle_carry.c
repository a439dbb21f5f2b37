/* SPDX-License-Identifier: Apache-2.0 */
/* An initial cycle whose snapshot is gone: the next one goes on from what had arrived. */
#include "rig.h"

#include <stdatomic.h>

/* Runs an initial cycle up to its segments-th acknowledged segment; then the hypervisor
 * dies, and with it the snapshot and the record of changes. */
static uint64_t die_in_initial(struct rig *rig, size_t segments)
{
    struct err err = ERR_INIT;
    cancel_init(&rig->cancel);
    rig->gateway.cancel = &rig->cancel;
    rig->cancel_at = segments;
    assert_false(run_cycle(rig, NULL, &err));
    assert_int_equal(err.kind, FAIL_CANCELED);
    cancel_release(&rig->cancel);
    rig->gateway.cancel = NULL;
    rig->cancel_at = 0;
    mem_vm_lose_snapshot(rig->vm);
    mem_vm_lose_tracking(rig->vm);
    return rig->cycle;
}

/* The name of one journal entry or segment of that cycle. */
struct first_name {
    char name[NAMES_MAX];
    size_t count;
};

static bool note_name(void *ctx, const char *name, uint64_t bytes, struct err *err)
{
    struct first_name *first = ctx;
    (void)bytes;
    (void)err;
    if (first->count++ == 0)
        (void)snprintf(first->name, sizeof first->name, "%s", name);
    return true;
}

static size_t find_entry(struct rig *rig, uint64_t cycle, char ret[NAMES_MAX])
{
    struct err err = ERR_INIT;
    struct first_name first = {0};
    char prefix[NAMES_MAX];
    name_journal_prefix(&rig->machine.id, cycle, prefix);
    must(store_list(rig->state, prefix, note_name, &first, &err), &err);
    memcpy(ret, first.name, sizeof first.name);
    return first.count;
}

static size_t find_segment(struct rig *rig, uint64_t cycle, char ret[NAMES_MAX])
{
    struct err err = ERR_INIT;
    struct first_name first = {0};
    char prefix[NAMES_MAX];
    name_cycle_prefix(&rig->machine.id, cycle, prefix);
    must(store_list(rig->log, prefix, note_name, &first, &err), &err);
    memcpy(ret, first.name, sizeof first.name);
    return first.count;
}

static void nothing_is_left_of(struct rig *rig, uint64_t cycle)
{
    char name[NAMES_MAX];
    assert_int_equal(find_entry(rig, cycle, name), 0);
    assert_int_equal(find_segment(rig, cycle, name), 0);
}

static void overwrite(struct rig *rig)
{
    uint8_t *zeros = xcalloc(1, 256 * KIB);
    write_random(rig, 0, 128 * KIB + 512, 3 * 512); /* a part of a block that was sent */
    write_random(rig, 0, 512 * KIB, 128 * KIB);
    mem_vm_write(rig->vm, 0, MIB, zeros, 256 * KIB); /* was data, is zero */
    free(zeros);
}

static void only_the_rest_is_sent_again(void **state)
{
    struct rig *rig = *state;
    fill_big(rig);
    uint64_t dead = die_in_initial(rig, 6);
    uint64_t sent = atomic_load(&rig->sent.done_bytes);
    assert_true(sent >= 6 * MIB);
    overwrite(rig);
    cycle_must_work(rig, CYCLE_INITIAL);
    assert_false(rig->was_resumed);
    assert_int_equal(rig->carried, dead);
    /* The disk has 20 MiB; what the dead one sent is not sent again, but for what changed
     * (overwrite, and 20 random writes of up to 32 KiB while it ran). */
    uint64_t again = atomic_load(&rig->sent.content_bytes);
    assert_true(again + sent <= 20 * MIB + 40 * 2 * BLOCK_BYTES);
    assert_true(atomic_load(&rig->sent.same_bytes) >= sent - 40 * 2 * BLOCK_BYTES);
    nothing_is_left_of(rig, dead);
    churn(rig, 10);
    cycle_must_work(rig, CYCLE_DELTA);
}

/* What the maps said while the carried cycle ran is not what they say once it is
 * committed: a block that goes back to what the dead cycle had sent must be sent. */
static void old_content_that_comes_back_is_sent(void **state)
{
    struct rig *rig = *state;
    uint8_t *old = xcalloc(1, 2 * MIB);
    fill_big(rig);
    memcpy(old, mem_vm_disk(rig->vm, 0), 2 * MIB);
    (void)die_in_initial(rig, 6);
    for (uint64_t at = 0; at < 2 * MIB; at += 64 * KIB)
        write_random(rig, 0, at, 512);
    cycle_must_work(rig, CYCLE_INITIAL);
    assert_int_not_equal(rig->carried, 0);
    mem_vm_lose_tracking(rig->vm);
    mem_vm_write(rig->vm, 0, 0, old, 2 * MIB);
    free(old);
    cycle_must_work(rig, CYCLE_RESYNC);
}

/* The log had it, the replica had not: the crew was stopped in mid queue, or the target's
 * host lost what was not flushed. */
static void what_the_replica_lost_is_written_again(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    fill_big(rig);
    (void)die_in_initial(rig, 6);
    for (size_t i = 0; i < DISKS; i++) {
        struct replica_disk *disk = NULL;
        struct replica_writer *writer = NULL;
        must(target_disk_open(rig->target, &rig->machine, i, true, &disk, &err), &err);
        must(replica_disk_writer_open(disk, &writer, &err), &err);
        must(replica_writer_zero(writer, 0, DISK_BYTES, &err), &err);
        must(replica_writer_drain(writer, &err), &err);
        replica_writer_close(writer);
        replica_disk_close(disk);
    }
    cycle_must_work(rig, CYCLE_INITIAL);
    assert_true(atomic_load(&rig->sent.same_bytes) > 4 * MIB);
}

static void carried_cycle_is_interrupted_and_resumed(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    fill_big(rig);
    (void)die_in_initial(rig, 6);
    overwrite(rig);
    cancel_init(&rig->cancel);
    rig->gateway.cancel = &rig->cancel;
    rig->cancel_at = 1;
    assert_false(run_cycle(rig, NULL, &err));
    cancel_release(&rig->cancel);
    rig->gateway.cancel = NULL;
    rig->cancel_at = 0;
    cycle_must_work(rig, CYCLE_INITIAL);
    assert_true(rig->was_resumed);
}

static void dies_again_and_again(void **state)
{
    struct rig *rig = *state;
    fill_big(rig);
    for (size_t round = 0; round < 4; round++) {
        uint64_t dead = die_in_initial(rig, 2 + round % 2);
        overwrite(rig);
        churn(rig, 20);
        if (round)
            assert_int_not_equal(rig->carried, 0);
        assert_true(dead > rig->carried);
    }
    cycle_must_work(rig, CYCLE_INITIAL);
    churn(rig, 10);
    cycle_must_work(rig, CYCLE_DELTA);
}

static void lost_journal_entry_costs_only_itself(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    char name[NAMES_MAX];
    fill_big(rig);
    uint64_t dead = die_in_initial(rig, 6);
    size_t entries = find_entry(rig, dead, name);
    must(store_remove(rig->state, name, &err), &err);
    cycle_must_work(rig, CYCLE_INITIAL);
    assert_int_equal(rig->carried, dead);
    assert_true(atomic_load(&rig->sent.same_bytes) >= (entries - 2) * MIB);
}

static void damaged_segment_means_all_is_sent(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    char name[NAMES_MAX];
    fill_big(rig);
    uint64_t dead = die_in_initial(rig, 6);
    assert_true(find_segment(rig, dead, name) >= 6);
    must(store_remove(rig->log, name, &err), &err);
    cycle_must_work(rig, CYCLE_INITIAL);
    assert_int_equal(rig->carried, 0);
    assert_int_equal(atomic_load(&rig->sent.same_bytes), 0);
    nothing_is_left_of(rig, dead);
}

static void damaged_journal_means_all_is_sent(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    char name[NAMES_MAX];
    static const uint8_t NOISE[64] = {1, 2, 3};
    fill_big(rig);
    uint64_t dead = die_in_initial(rig, 6);
    (void)find_entry(rig, dead, name);
    must(store_put(rig->state, name, NOISE, sizeof NOISE, STORE_REPLACE, &err), &err);
    cycle_must_work(rig, CYCLE_INITIAL);
    assert_int_equal(rig->carried, 0);
    nothing_is_left_of(rig, dead);
}

/* It failed by an error of the source instead of by a crash. */
static void failed_initial_is_carried_too(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    fill_big(rig);
    rig->fail_reads_at = 2;
    assert_false(run_cycle(rig, NULL, &err));
    assert_int_equal(err.kind, FAIL_IO);
    rig->fail_reads_at = 0;
    mem_vm_fail_reads(rig->vm, false);
    cycle_must_work(rig, CYCLE_INITIAL);
    assert_int_not_equal(rig->carried, 0);
    assert_true(atomic_load(&rig->sent.same_bytes) >= 2 * MIB);
}

static void grown_disk_is_carried(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    fill_big(rig);
    (void)die_in_initial(rig, 4);
    mem_vm_resize(rig->vm, 0, DISK_BYTES + MIB + 512);
    must(target_disk_resize(rig->target, &rig->machine, 0, DISK_BYTES + MIB + 512, &err),
         &err);
    rig->machine.disks[0].disk_bytes = DISK_BYTES + MIB + 512;
    write_random(rig, 0, DISK_BYTES - 4096, MIB);
    cycle_must_work(rig, CYCLE_INITIAL);
    assert_int_not_equal(rig->carried, 0);
}

#define CARRY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CARRY(only_the_rest_is_sent_again),
        CARRY(old_content_that_comes_back_is_sent),
        CARRY(what_the_replica_lost_is_written_again),
        CARRY(carried_cycle_is_interrupted_and_resumed),
        CARRY(dies_again_and_again),
        CARRY(lost_journal_entry_costs_only_itself),
        CARRY(damaged_segment_means_all_is_sent),
        CARRY(damaged_journal_means_all_is_sent),
        CARRY(failed_initial_is_carried_too),
        CARRY(grown_disk_is_carried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
