/* SPDX-License-Identifier: Apache-2.0 */
/* Points in time and change records of a real QEMU: what a cycle relies on. */
#include "rig.h"

#include "base/clock.h"
#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>

#include <pthread.h>
#include <unistd.h>

#include <cmocka.h>

#define MUST(expr, err)                                                                  \
    do {                                                                                 \
        if (!(expr))                                                                     \
            fail_msg("%s: %s: %s", #expr, err_kind_name((err).kind), (err).text);        \
    } while (0)

static void end(struct snapshot *snapshot, enum snapshot_outcome outcome)
{
    struct err err = ERR_INIT;
    MUST(snapshot_end(snapshot, outcome, &err), err);
}

static void expect_changes(struct snapshot *snapshot, size_t disk,
                           const struct extent *items, size_t count)
{
    struct err err = ERR_INIT;
    struct extents wanted = {0}, changes = {0};
    struct snapshot_disk_info info;
    MUST(snapshot_disk_info(snapshot, disk, &info, &err), err);
    assert_string_equal(info.why, "");
    assert_int_equal(info.knowledge, CHANGES_KNOWN);
    MUST(snapshot_changes(snapshot, disk, &changes, &err), err);
    extents_add_unsorted(&wanted, items, count);
    extents_coarsen(&wanted, 65536, info.disk_bytes);
    if (!extents_equal(&wanted, &changes))
        for (size_t i = 0; i < changes.count; i++)
            print_message("changed: %llu..%llu\n",
                          (unsigned long long)changes.items[i].start_bytes,
                          (unsigned long long)changes.items[i].end_bytes);
    assert_true(extents_equal(&wanted, &changes));
    extents_release(&wanted);
    extents_release(&changes);
}

static enum change_knowledge knowledge(struct snapshot *snapshot, size_t disk)
{
    struct err err = ERR_INIT;
    struct snapshot_disk_info info;
    MUST(snapshot_disk_info(snapshot, disk, &info, &err), err);
    print_message("disk %zu: knowledge %d %s\n", disk, info.knowledge, info.why);
    return info.knowledge;
}

/* First cycle, applied: ids of both disks. */
static void first_cycle(struct source *source, const struct machine_def *machine,
                        char ids[][CHANGE_ID_MAX])
{
    struct snapshot *s = rig_open(source, machine, 1, NULL, NULL);
    rig_change_ids(s, RIG_DISKS, ids);
    end(s, SNAPSHOT_APPLIED);
}

static void expect_one_recording(struct rig *rig)
{
    for (size_t i = 0; i < RIG_DISKS; i++) {
        AUTO(free) char *names = rig_bitmaps(rig, i);
        assert_null(strchr(names, ' '));
        assert_non_null(strchr(names, '+'));
    }
    assert_int_equal(rig_leftovers(rig), 0);
}

static void test_stable_and_exact(void **state)
{
    struct rig *rig = *state;
    AUTO(source_close) struct source *source = rig_source(rig, 0);
    AUTO(free) struct machine_def *machine = rig_machine(source);
    char ids[RIG_DISKS][CHANGE_ID_MAX];
    rig_write(rig, 0, 1, 0, 8 * MIB);
    rig_write(rig, 1, 2, 4 * MIB, 4 * MIB);
    struct snapshot *s = rig_open(source, machine, 1, NULL, NULL);
    assert_int_equal(knowledge(s, 0), CHANGES_NONE);
    assert_false(snapshot_is_resumed(s));
    AUTO(free) uint8_t *at0 = rig_copy_model(rig, 0);
    AUTO(free) uint8_t *at1 = rig_copy_model(rig, 1);
    rig_write(rig, 0, 3, 1 * MIB, 2 * MIB);
    rig_write(rig, 0, 4, 40 * MIB + 512, 512);
    rig_write(rig, 1, 5, rig->disk_bytes[1] - 512, 512);
    rig_command(rig, 1, "write -z 4M 1M");
    memset(rig->model[1] + 4 * MIB, 0, 1 * MIB);
    rig_expect_disk(s, 0, at0, rig->disk_bytes[0]);
    rig_expect_disk(s, 1, at1, rig->disk_bytes[1]);
    struct err err = ERR_INIT;
    struct extents data = {0};
    MUST(snapshot_allocated(s, 0, &data, &err), err);
    /* A hole that the guest filled meanwhile may count: its zeros were saved. */
    assert_in_range(extents_total_bytes(&data), 8 * MIB, 8 * MIB + 64 * KIB);
    assert_true(extents_contain(&data, 0, 8 * MIB));
    extents_release(&data);
    rig_change_ids(s, RIG_DISKS, ids);
    end(s, SNAPSHOT_APPLIED);
    expect_one_recording(rig);
    /* What was written while the first was open is the second's change. */
    s = rig_open(source, machine, 2, ids, NULL);
    expect_changes(s, 0,
                   (struct extent[]){{1 * MIB, 3 * MIB}, {40 * MIB, 40 * MIB + 1024}}, 2);
    expect_changes(s, 1,
                   (struct extent[]){{4 * MIB, 5 * MIB},
                                     {rig->disk_bytes[1] - 512, rig->disk_bytes[1]}},
                   2);
    rig_write(rig, 0, 6, 0, 64 * KIB);
    AUTO(free) uint8_t *second = rig_read_disk(s, 0, 1);
    assert_int_equal(second[0], 1);
    assert_int_equal(second[1 * MIB], 3);
    rig_change_ids(s, RIG_DISKS, ids);
    end(s, SNAPSHOT_APPLIED);
    s = rig_open(source, machine, 3, ids, NULL);
    expect_changes(s, 0, (struct extent[]){{0, 64 * KIB}}, 1);
    expect_changes(s, 1, NULL, 0);
    end(s, SNAPSHOT_APPLIED);
    expect_one_recording(rig);
}

static void test_failed_cycles_lose_nothing(void **state)
{
    struct rig *rig = *state;
    AUTO(source_close) struct source *source = rig_source(rig, 0);
    AUTO(free) struct machine_def *machine = rig_machine(source);
    char ids[RIG_DISKS][CHANGE_ID_MAX];
    first_cycle(source, machine, ids);
    rig_write(rig, 0, 1, 1 * MIB, 65536);
    for (uint64_t cycle = 2; cycle < 5; cycle++) {
        struct snapshot *s = rig_open(source, machine, cycle, ids, NULL);
        rig_write(rig, 0, 2, cycle * 2 * MIB, 65536); /* while it is open */
        end(s, SNAPSHOT_FAILED);
        expect_one_recording(rig);
    }
    struct snapshot *s = rig_open(source, machine, 5, ids, NULL);
    expect_changes(s, 0,
                   (struct extent[]){{1 * MIB, 1 * MIB + 1},
                                     {4 * MIB, 4 * MIB + 1},
                                     {6 * MIB, 6 * MIB + 1},
                                     {8 * MIB, 8 * MIB + 1}},
                   4);
    rig_expect_disk(s, 0, rig->model[0], rig->disk_bytes[0]);
    end(s, SNAPSHOT_APPLIED);
    expect_one_recording(rig);
}

static void test_resume_with_and_without_handle(void **state)
{
    struct rig *rig = *state;
    AUTO(source_close) struct source *source = rig_source(rig, 0);
    AUTO(free) struct machine_def *machine = rig_machine(source);
    char ids[RIG_DISKS][CHANGE_ID_MAX], handle[SNAPSHOT_MAX];
    first_cycle(source, machine, ids);
    rig_write(rig, 0, 1, 0, 65536);
    struct snapshot *s = rig_open(source, machine, 2, ids, NULL);
    (void)snprintf(handle, sizeof handle, "%s", snapshot_handle(s));
    AUTO(free) uint8_t *then = rig_copy_model(rig, 0);
    end(s, SNAPSHOT_DETACHED); /* as a process that died would leave it */
    rig_write(rig, 0, 2, 0, 1 * MIB);
    /* Discovery in between shows the disks as they are. */
    AUTO(free) struct machine_def *again = rig_machine(source);
    assert_string_equal(again->disks[0].key, machine->disks[0].key);
    assert_string_equal(again->disks[1].key, machine->disks[1].key);
    s = rig_open(source, machine, 2, ids, handle);
    assert_true(snapshot_is_resumed(s));
    assert_string_equal(snapshot_handle(s), handle);
    expect_changes(s, 0, (struct extent[]){{0, 65536}}, 1);
    rig_expect_disk(s, 0, then, rig->disk_bytes[0]);
    end(s, SNAPSHOT_DETACHED);
    /* A handle of another cycle, or garbage, is no resume; nothing is lost by it. */
    s = rig_open(source, machine, 3, ids, handle);
    assert_false(snapshot_is_resumed(s));
    expect_changes(s, 0, (struct extent[]){{0, 1 * MIB}}, 1);
    rig_expect_disk(s, 0, rig->model[0], rig->disk_bytes[0]);
    end(s, SNAPSHOT_DETACHED);
    s = rig_open(source, machine, 4, ids, "kedge-4-../../etc");
    assert_false(snapshot_is_resumed(s));
    expect_changes(s, 0, (struct extent[]){{0, 1 * MIB}}, 1);
    end(s, SNAPSHOT_APPLIED);
    expect_one_recording(rig);
}

static void test_clean_restart_keeps_records(void **state)
{
    struct rig *rig = *state;
    AUTO(source_close) struct source *source = rig_source(rig, 0);
    AUTO(free) struct machine_def *machine = rig_machine(source);
    char ids[RIG_DISKS][CHANGE_ID_MAX];
    first_cycle(source, machine, ids);
    rig_write(rig, 0, 1, 1 * MIB, 65536);
    rig_write(rig, 1, 1, 2 * MIB, 65536);
    rig_quit(rig);
    rig_start(rig);
    rig_write(rig, 0, 2, 3 * MIB, 65536);
    struct snapshot *s = rig_open(source, machine, 2, ids, NULL);
    expect_changes(s, 0,
                   (struct extent[]){{1 * MIB, 1 * MIB + 1}, {3 * MIB, 3 * MIB + 1}}, 2);
    expect_changes(s, 1, (struct extent[]){{2 * MIB, 2 * MIB + 1}}, 1);
    /* And a restart in the middle of a cycle: it fails, the record stays whole. */
    rig_write(rig, 0, 3, 5 * MIB, 65536);
    rig_quit(rig);
    rig_start(rig);
    rig_write(rig, 0, 4, 7 * MIB, 65536);
    end(s, SNAPSHOT_FAILED);
    expect_one_recording(rig);
    s = rig_open(source, machine, 3, ids, NULL);
    expect_changes(s, 0,
                   (struct extent[]){{1 * MIB, 1 * MIB + 1},
                                     {3 * MIB, 3 * MIB + 1},
                                     {5 * MIB, 5 * MIB + 1},
                                     {7 * MIB, 7 * MIB + 1}},
                   4);
    end(s, SNAPSHOT_APPLIED);
}

static void test_killed_qemu_is_lost_not_wrong(void **state)
{
    struct rig *rig = *state;
    AUTO(source_close) struct source *source = rig_source(rig, 0);
    AUTO(free) struct machine_def *machine = rig_machine(source);
    char ids[RIG_DISKS][CHANGE_ID_MAX];
    first_cycle(source, machine, ids);
    rig_kill(rig); /* never stored: missing */
    rig_start(rig);
    struct snapshot *s = rig_open(source, machine, 2, ids, NULL);
    assert_int_equal(knowledge(s, 0), CHANGES_LOST);
    assert_int_equal(knowledge(s, 1), CHANGES_LOST);
    rig_change_ids(s, RIG_DISKS, ids);
    end(s, SNAPSHOT_APPLIED);
    rig_quit(rig); /* stored */
    rig_start(rig);
    rig_write(rig, 0, 1, 1 * MIB, 65536);
    rig_command(rig, 0, "flush");
    rig_kill(rig); /* stored but stale: inconsistent */
    rig_start(rig);
    s = rig_open(source, machine, 3, ids, NULL);
    assert_int_equal(knowledge(s, 0), CHANGES_LOST);
    rig_expect_disk(s, 0, rig->model[0], rig->disk_bytes[0]);
    end(s, SNAPSHOT_FAILED);
    /* Killed in the middle of a cycle. */
    s = rig_open(source, machine, 4, ids, NULL);
    assert_int_equal(knowledge(s, 0), CHANGES_LOST);
    rig_change_ids(s, RIG_DISKS, ids);
    end(s, SNAPSHOT_APPLIED);
    rig_quit(rig);
    rig_start(rig);
    s = rig_open(source, machine, 5, ids, NULL);
    assert_int_equal(knowledge(s, 0), CHANGES_KNOWN);
    rig_kill(rig);
    rig_start(rig);
    end(s, SNAPSHOT_FAILED);
    s = rig_open(source, machine, 6, ids, NULL);
    assert_int_equal(knowledge(s, 0), CHANGES_LOST);
    rig_change_ids(s, RIG_DISKS, ids);
    end(s, SNAPSHOT_APPLIED);
    expect_one_recording(rig);
}

static void test_resized_disk(void **state)
{
    struct rig *rig = *state;
    AUTO(source_close) struct source *source = rig_source(rig, 0);
    AUTO(free) struct machine_def *machine = rig_machine(source);
    char ids[RIG_DISKS][CHANGE_ID_MAX];
    first_cycle(source, machine, ids);
    uint64_t old_bytes = rig->disk_bytes[1], new_bytes = 32 * MIB;
    json_t *arguments = json_object();
    json_put_text(arguments, "device", "dr1");
    json_put_u64(arguments, "size", new_bytes);
    json_decref(rig_call(rig, "block_resize", arguments));
    rig_write(rig, 1, 1, 1 * MIB, 65536);
    struct snapshot *s = rig_open(source, machine, 2, ids, NULL);
    struct err err = ERR_INIT;
    struct snapshot_disk_info info;
    MUST(snapshot_disk_info(s, 1, &info, &err), err);
    assert_int_equal(info.disk_bytes, new_bytes);
    struct extents changes = {0};
    MUST(snapshot_changes(s, 1, &changes, &err), err);
    assert_int_equal(changes.count, 2);
    assert_true(extents_contain(&changes, 1 * MIB, 1 * MIB + 65536));
    assert_true(extents_contain(&changes, old_bytes, new_bytes));
    extents_release(&changes);
    AUTO(free) uint8_t *data = rig_read_disk(s, 1, 16);
    for (uint64_t i = old_bytes; i < new_bytes; i++)
        assert_int_equal(data[i], 0);
    end(s, SNAPSHOT_APPLIED);
    expect_one_recording(rig);
}

static void test_full_scratch_spares_the_guest(void **state)
{
    struct rig *rig = *state;
    AUTO(source_close) struct source *source = rig_source(rig, 4 * MIB);
    AUTO(free) struct machine_def *machine = rig_machine(source);
    char ids[RIG_DISKS][CHANGE_ID_MAX];
    rig_write(rig, 0, 1, 0, 32 * MIB);
    first_cycle(source, machine, ids);
    struct snapshot *s = rig_open(source, machine, 2, ids, NULL);
    for (uint64_t at = 0; at < 16 * MIB; at += 1 * MIB)
        rig_write(rig, 0, 9, at, 1 * MIB);
    struct err err = ERR_INIT;
    struct reader *reader = NULL;
    AUTO(free) uint8_t *buffer = malloc(65536);
    struct read_request request = {
        .offset_bytes = 0, .length_bytes = 65536, .data = buffer};
    MUST(snapshot_reader_open(s, 0, &reader, &err), err);
    MUST(reader_submit(reader, &request, &err), err);
    struct read_request *done = reader_next(reader, NULL, &err);
    if (done) { /* the watch may speak first */
        assert_false(done->ok);
        err = done->err;
    }
    print_message("%s\n", err.text);
    assert_int_equal(err.kind, FAIL_NO_SPACE);
    assert_non_null(strstr(err.text, "scratch_max"));
    reader_close(reader);
    end(s, SNAPSHOT_FAILED);
    expect_one_recording(rig);
    /* The guest's writes all arrived, and the next cycle brings them. */
    s = rig_open(source, machine, 3, ids, NULL);
    expect_changes(s, 0, (struct extent[]){{0, 16 * MIB}}, 1);
    rig_expect_disk(s, 0, rig->model[0], rig->disk_bytes[0]);
    end(s, SNAPSHOT_APPLIED);
}

struct reading {
    struct snapshot *snapshot;
    const uint8_t *expected;
    uint64_t bytes;
};

static void *read_one(void *context)
{
    const struct reading *r = context;
    rig_expect_disk(r->snapshot, 0, r->expected, r->bytes);
    return NULL;
}

static void test_several_readers(void **state)
{
    struct rig *rig = *state;
    AUTO(source_close) struct source *source = rig_source(rig, 0);
    AUTO(free) struct machine_def *machine = rig_machine(source);
    for (int i = 0; i < 64; i++)
        rig_write(rig, 0, i + 1, (uint64_t)i * MIB, 512 * KIB);
    struct snapshot *s = rig_open(source, machine, 1, NULL, NULL);
    AUTO(free) uint8_t *then = rig_copy_model(rig, 0);
    struct reading reading = {s, then, rig->disk_bytes[0]};
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_one, &reading), 0);
    for (int i = 0; i < 64; i++)
        rig_write(rig, 0, 200, (uint64_t)(63 - i) * MIB, 64 * KIB);
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    /* Cancel: next ends at once, close drops what is in flight. */
    struct err err = ERR_INIT;
    struct cancel cancel;
    struct reader *reader = NULL;
    AUTO(free) uint8_t *buffer = malloc(1 * MIB);
    struct read_request request = {.length_bytes = 1 * MIB, .data = buffer};
    cancel_init(&cancel);
    MUST(snapshot_reader_open(s, 0, &reader, &err), err);
    MUST(reader_submit(reader, &request, &err), err);
    cancel_set(&cancel);
    assert_null(reader_next(reader, &cancel, &err));
    assert_int_equal(err.kind, FAIL_CANCELED);
    reader_close(reader);
    cancel_release(&cancel);
    end(s, SNAPSHOT_FAILED);
    assert_int_equal(rig_leftovers(rig), 0);
    AUTO(free) char *names = rig_bitmaps(rig, 0);
    assert_string_equal(names, ""); /* a failed first cycle leaves nothing */
}

static void test_forget(void **state)
{
    struct rig *rig = *state;
    AUTO(source_close) struct source *source = rig_source(rig, 0);
    AUTO(free) struct machine_def *machine = rig_machine(source);
    char ids[RIG_DISKS][CHANGE_ID_MAX];
    struct err err = ERR_INIT;
    first_cycle(source, machine, ids);
    end(rig_open(source, machine, 2, ids, NULL), SNAPSHOT_DETACHED);
    MUST(source_forget(source, machine, &err), err);
    MUST(source_forget(source, machine, &err), err);
    for (size_t i = 0; i < RIG_DISKS; i++) {
        AUTO(free) char *names = rig_bitmaps(rig, i);
        assert_string_equal(names, "");
    }
    assert_int_equal(rig_leftovers(rig), 0);
    /* The old ids are worth nothing now, and say so. */
    struct snapshot *s = rig_open(source, machine, 3, ids, NULL);
    assert_int_equal(knowledge(s, 0), CHANGES_LOST);
    end(s, SNAPSHOT_FAILED);
    /* The foreign: neither a change id nor a name of another tool hurts. */
    (void)snprintf(ids[0], CHANGE_ID_MAX, "52 de c0 d9/7");
    s = rig_open(source, machine, 4, ids, NULL);
    assert_int_equal(knowledge(s, 0), CHANGES_LOST);
    end(s, SNAPSHOT_APPLIED);
}

/* Counts up, writes the number to sector 1 of disk 0, then of disk 1, for ever. */
#define BOOT_WRITES                                                                      \
    "31c08ed88ec0ff06007eb80103b90200ba8000bb007ecd13b80103b90200ba8100bb007ecd13ebde"

static unsigned read_number(struct snapshot *s, size_t disk)
{
    uint8_t sector[SECTOR_BYTES];
    struct err err = ERR_INIT;
    struct reader *reader = NULL;
    struct read_request request = {
        .offset_bytes = SECTOR_BYTES, .length_bytes = SECTOR_BYTES, .data = sector};
    MUST(snapshot_reader_open(s, disk, &reader, &err), err);
    MUST(reader_submit(reader, &request, &err), err);
    assert_ptr_equal(reader_next(reader, NULL, &err), &request);
    assert_true(request.ok);
    reader_close(reader);
    return sector[0] | (unsigned)sector[1] << 8;
}

/* A guest that never stops writing: NVMe and virtio, one an overlay. */
static void test_two_disks_at_one_instant(void **state)
{
    enum { CYCLES = 30 };
    struct rig rig = {.boot_sector = BOOT_WRITES, .has_base_image = true};
    struct err err = ERR_INIT;
    char ids[RIG_DISKS][CHANGE_ID_MAX] = {{0}};
    unsigned last = 0, moved = 0;
    (void)state;
    rig_init(&rig);
    rig_start(&rig);
    AUTO(source_close) struct source *source = rig_source(&rig, 0);
    AUTO(free) struct machine_def *machine = rig_machine(source);
    for (uint64_t cycle = 1; cycle <= CYCLES || (moved < 10 && cycle < 300); cycle++) {
        struct snapshot *s = rig_open(source, machine, cycle, ids, NULL);
        clock_sleep_ms(20);
        unsigned first = read_number(s, 0), second = read_number(s, 1);
        if ((uint16_t)(first - second) > 1)
            fail_msg("disk 0 is at %u, disk 1 at %u", first, second);
        assert_int_equal(read_number(s, 0), first); /* and stays there */
        moved += first != last;
        last = first;
        rig_change_ids(s, RIG_DISKS, ids);
        MUST(snapshot_end(s, SNAPSHOT_APPLIED, &err), err);
    }
    print_message("%u different instants, the last at write %u\n", moved, last);
    assert_in_range(moved, 10, 300);
    rig_release(&rig);
}

static int setup(void **state)
{
    struct rig *rig = xcalloc(1, sizeof *rig);
    rig_init(rig);
    rig_start(rig);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    rig_release(*state);
    free(*state);
    return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_stable_and_exact),
        CASE(test_failed_cycles_lose_nothing),
        CASE(test_resume_with_and_without_handle),
        CASE(test_clean_restart_keeps_records),
        CASE(test_killed_qemu_is_lost_not_wrong),
        CASE(test_resized_disk),
        CASE(test_full_scratch_spares_the_guest),
        CASE(test_several_readers),
        CASE(test_forget),
        cmocka_unit_test(test_two_disks_at_one_instant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
