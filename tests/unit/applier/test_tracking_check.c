/* SPDX-License-Identifier: Apache-2.0 */
/* Change tracking is checked: a source that calls changed blocks unchanged is caught, its
 * disk is compared whole in that very cycle, and the replica is right afterwards. */
#include "rig.h"

#include <stdatomic.h>

#define BLOCK ((uint64_t)BLOCK_BYTES)

static void be_thorough(struct rig *rig)
{
    /* Draws are with repetition: twenty per block leave none out, e^-20 apiece. */
    rig->gateway.options.check_ppm = 20 * 1000000;
}

static bool caught(struct rig *rig, uint64_t *ret_offset_bytes)
{
    struct err err = ERR_INIT;
    struct cycle *cycle = NULL;
    uint64_t other;
    must(cycle_open(&rig->gateway, 1, false, &cycle, &err), &err);
    bool is_caught = cycle_caught_lie(cycle, 0, ret_offset_bytes);
    assert_false(cycle_caught_lie(cycle, 1, &other));
    assert_int_equal(cycle_plan(cycle)->disks[0].by_hash, is_caught);
    assert_false(cycle_plan(cycle)->disks[1].by_hash);
    must(cycle_end(cycle, SNAPSHOT_FAILED, &err), &err);
    return is_caught;
}

static void an_honest_source_is_never_accused(void **state)
{
    struct rig *rig = *state;
    be_thorough(rig);
    fill(rig);
    cycle_must_work(rig, CYCLE_INITIAL);
    for (int i = 0; i < 10; i++) {
        churn(rig, 30);
        cycle_must_work(rig, CYCLE_DELTA);
        assert_int_equal(atomic_load(&rig->sent.lies), 0);
        assert_true(atomic_load(&rig->sent.checked_bytes) > 4 * MIB);
    }
}

static void a_lie_is_caught_and_healed_in_the_same_cycle(void **state)
{
    struct rig *rig = *state;
    uint64_t offset;
    be_thorough(rig);
    fill(rig);
    cycle_must_work(rig, CYCLE_INITIAL);
    churn(rig, 10);
    mem_vm_lie(rig->vm, true);
    write_random(rig, 0, 6 * MIB + 5 * BLOCK + 512, 512); /* fill has content there */
    mem_vm_lie(rig->vm, false);
    assert_true(caught(rig, &offset));
    assert_int_equal(offset, 6 * MIB + 5 * BLOCK);
    /* The guest's writes of cycle_must_work itself are noted. */
    cycle_must_work(rig, CYCLE_RESYNC);
    assert_int_equal(atomic_load(&rig->sent.lies), 1);
    assert_true(atomic_load(&rig->sent.same_bytes) >
                atomic_load(&rig->sent.content_bytes));
    churn(rig, 10);
    cycle_must_work(rig, CYCLE_DELTA);
}

static void without_the_check_the_lie_goes_through(void **state)
{
    struct rig *rig = *state;
    uint64_t offset;
    rig->gateway.options.check_ppm = 0;
    fill(rig);
    cycle_must_work(rig, CYCLE_INITIAL);
    mem_vm_lie(rig->vm, true);
    write_random(rig, 0, 6 * MIB, 512);
    mem_vm_lie(rig->vm, false);
    assert_false(caught(rig, &offset));
    assert_int_equal(atomic_load(&rig->sent.checked_bytes), 0);
}

/* A share of the disk is read, not more, whatever it is. */
static void the_cost_is_bounded(void **state)
{
    struct rig *rig = *state;
    fill(rig);
    fill_big(rig);
    cycle_must_work(rig, CYCLE_INITIAL);
    cycle_must_work(rig, CYCLE_DELTA);
    assert_true(atomic_load(&rig->sent.checked_bytes) <= DISKS * 16 * BLOCK);
    rig->gateway.options.check_ppm = UINT32_MAX;
    cycle_must_work(rig, CYCLE_DELTA);
    assert_true(atomic_load(&rig->sent.checked_bytes) <=
                DISKS * TRACKING_CHECK_MAX_BYTES);
}

/* Without digests of exactly the base nothing is compared, and nothing is accused. */
static void a_lost_map_accuses_nobody(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    be_thorough(rig);
    fill(rig);
    cycle_must_work(rig, CYCLE_INITIAL);
    churn(rig, 20);
    must(file_remove_tree(rig->map_dir, &err), &err);
    cycle_must_work(rig, CYCLE_DELTA);
    assert_int_equal(atomic_load(&rig->sent.checked_bytes), 0);
}

static void a_grown_disk_is_no_lie(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    be_thorough(rig);
    mem_vm_resize(rig->vm, 0, DISK_BYTES - 512);
    rig->machine.disks[0].disk_bytes = DISK_BYTES - 512;
    must(target_disk_resize(rig->target, &rig->machine, 0, DISK_BYTES - 512, &err), &err);
    fill(rig);
    write_random(rig, 0, DISK_BYTES - 1024, 512);
    cycle_must_work(rig, CYCLE_INITIAL);
    mem_vm_resize(rig->vm, 0, DISK_BYTES);
    must(target_disk_resize(rig->target, &rig->machine, 0, DISK_BYTES, &err), &err);
    rig->machine.disks[0].disk_bytes = DISK_BYTES;
    cycle_must_work(rig, CYCLE_DELTA);
    assert_int_equal(atomic_load(&rig->sent.lies), 0);
}

static void a_read_that_fails_fails_the_cycle(void **state)
{
    struct rig *rig = *state;
    struct err err = ERR_INIT;
    struct cycle *cycle = NULL;
    be_thorough(rig);
    fill(rig);
    cycle_must_work(rig, CYCLE_INITIAL);
    mem_vm_fail_reads(rig->vm, true);
    assert_false(cycle_open(&rig->gateway, 1, false, &cycle, &err));
    assert_int_equal(err.kind, FAIL_IO);
    mem_vm_fail_reads(rig->vm, false);
    cycle_must_work(rig, CYCLE_DELTA);
}

/* A resync that was asked for reads everything although the record says "nothing". */
static void compare_all_believes_no_record(void **state)
{
    struct rig *rig = *state;
    fill(rig);
    cycle_must_work(rig, CYCLE_INITIAL);
    rig->gateway.compare_all = true;
    cycle_must_work(rig, CYCLE_RESYNC);
    assert_int_equal(atomic_load(&rig->sent.planned_bytes), DISKS * DISK_BYTES);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_honest_source_is_never_accused),
        TEST(a_lie_is_caught_and_healed_in_the_same_cycle),
        TEST(without_the_check_the_lie_goes_through),
        TEST(the_cost_is_bounded),
        TEST(a_lost_map_accuses_nobody),
        TEST(a_grown_disk_is_no_lie),
        TEST(a_read_that_fails_fails_the_cycle),
        TEST(compare_all_believes_no_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
