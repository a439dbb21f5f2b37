/* SPDX-License-Identifier: Apache-2.0 */
/* Whole cycles: kinds, resume, options, devices. */
#include "rig.h"

#include "base/process.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

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

/* It is the device's own, and stays when the loop goes. */
static void set_read_only(const char *device, bool is_read_only)
{
    struct err err = ERR_INIT;
    const char *const argv[] = {"blockdev", is_read_only ? "--setro" : "--setrw", device,
                                NULL};
    must(process_run(argv, 10000, NULL, NULL, &err), &err);
}

static void drop_loop(const char *device)
{
    struct err err = ERR_INIT;
    const char *const argv[] = {"losetup", "-d", device, NULL};
    if (*device && !process_run(argv, 10000, NULL, NULL, &err))
        print_message("%s\n", err.text);
}

/* The disk of the machine grows: its device is too small, then a person grows it too. */
static void grow_on_device(struct rig *rig, const char *device)
{
    struct err err = ERR_INIT;
    char path[128];
    uint64_t bytes = DISK_BYTES + 2 * MIB + 512;
    const char *const argv[] = {"losetup", "-c", device, NULL};
    mem_vm_resize(rig->vm, 1, bytes);
    assert_false(target_disk_resize(rig->target, &rig->machine, 1, bytes, &err));
    print_message("%s\n", err.text);
    assert_non_null(strstr(err.text, device));
    err_clear(&err);
    (void)snprintf(path, sizeof path, "%s/device1", rig->dir);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "old bytes", 9, DISK_BYTES + MIB), 9);
    assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
    (void)close(fd);
    must(process_run(argv, 10000, NULL, NULL, &err), &err);
    must(target_disk_resize(rig->target, &rig->machine, 1, bytes, &err), &err);
    rig->machine.disks[1].disk_bytes = bytes;
    write_random(rig, 1, DISK_BYTES - 4096, 64 * KIB);
    cycle_must_work(rig, CYCLE_DELTA);
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
    set_read_only(devices[0], true);
    set_read_only(devices[1], false);
    assert_false(target_replica_create(rig->target, &rig->machine, &err));
    print_message("%s\n", err.text);
    assert_non_null(strstr(err.text, "is read-only"));
    err_clear(&err);
    set_read_only(devices[0], false);
    must(target_replica_create(rig->target, &rig->machine, &err), &err);
    fill(rig);
    cycle_must_work(rig, CYCLE_INITIAL);
    churn(rig, 60);
    cycle_must_work(rig, CYCLE_DELTA);
    grow_on_device(rig, devices[1]);
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

/* 64 TiB in segments of 4 MiB would not even fit into a manifest. */
static void segments_grow_with_the_plan(void **state)
{
    (void)state;
    assert_int_equal(cycle_segment_bytes(2 * MIB, 1 * TIB), 2 * MIB);
    assert_int_equal(cycle_segment_bytes(4 * MIB, 1 * TIB), 4 * MIB);
    assert_int_equal(cycle_segment_bytes(4 * MIB, 1 * TIB + 1), 8 * MIB);
    assert_int_equal(cycle_segment_bytes(16 * MIB, 1 * TIB + 1), 16 * MIB);
    assert_int_equal(cycle_segment_bytes(4 * MIB, 16 * TIB), 16 * MIB);
    assert_int_equal(cycle_segment_bytes(4 * MIB, 64 * TIB), 32 * MIB);
    assert_int_equal(cycle_segment_bytes(4 * MIB, UINT64_MAX), 64 * MIB);
}

/* The room kept back for other records once made each 1 MiB record a segment. */
static void compact_segments_are_filled(void **state)
{
    struct rig *rig = *state;
    rig->gateway.options.record_span_bytes = RECORD_SPAN_MAX_BYTES;
    rig->gateway.options.method = PACK_ZSTD;
    rig->gateway.options.level = -1;
    rig->gateway.options.segment_bytes = 8 * MIB;
    fill_big(rig); /* 20 MiB */
    cycle_must_work(rig, CYCLE_INITIAL);
    assert_in_range(atomic_load(&rig->sent.segments), 1, 5);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(initial_and_deltas, setup, teardown),
        cmocka_unit_test_setup_teardown(replica_on_block_devices, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_left_in_the_log, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_tracking_resyncs_only_what_differs, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(compact_and_stored_work, setup, teardown),
        cmocka_unit_test(segments_grow_with_the_plan),
        cmocka_unit_test_setup_teardown(compact_segments_are_filled, setup, teardown),
        cmocka_unit_test_setup_teardown(failed_read_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(resume_sends_only_what_was_in_flight, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(initial_cycle_resumes_too, setup, teardown),
        cmocka_unit_test_setup_teardown(torn_initial_cycle_leaves_no_old_bytes, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
