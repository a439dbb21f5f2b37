/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of target.h for replica disks, over every implementation: raw files, raw
 * without O_DIRECT and io_uring, qcow2, and the fault target that is told to do nothing.
 * A model in memory says what must be there.
 */
#include "check_target.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#define DISK_BYTES ((24 * MIB) + SECTOR_BYTES)

struct backend {
    const char *name;
    enum local_format format;
    bool plain_writes;
    bool with_fault;
};

static const struct backend BACKENDS[] = {
    {"raw", LOCAL_RAW, false, false},
    {"raw-plain", LOCAL_RAW, true, false},
    {"qcow2", LOCAL_QCOW2, false, false},
    {"fault-0", LOCAL_RAW, false, true},
};

struct fixture {
    char dir[64];
    const struct backend *backend;
    struct target *target;
    struct machine_def machine;
    struct replica_disk *disk;
    uint8_t *model;
    uint8_t *read;
};

static void reopen(struct fixture *fix)
{
    struct err err = ERR_INIT;
    replica_disk_close(fix->disk);
    fix->disk = NULL;
    assert_ok(target_disk_open(fix->target, &fix->machine, 0, true, &fix->disk, &err),
              err);
}

static void begin(struct fixture *fix, const struct backend *backend)
{
    struct err err = ERR_INIT;
    memset(fix, 0, sizeof *fix);
    make_temp_dir(fix->dir);
    fix->backend = backend;
    fix->target = open_local(fix->dir, backend->format, backend->plain_writes);
    if (backend->with_fault) {
        struct target_fault_options options = {.seed = 1, .kind = FAIL_IO};
        fix->target = target_fault_new(fix->target, &options);
    }
    make_machine(&fix->machine, 1, DISK_BYTES);
    assert_ok(target_replica_create(fix->target, &fix->machine, &err), err);
    reopen(fix);
    fix->model = calloc(1, DISK_BYTES);
    fix->read = malloc(DISK_BYTES);
}

static void end(struct fixture *fix)
{
    replica_disk_close(fix->disk);
    target_close(fix->target);
    drop_temp_dir(fix->dir);
    free(fix->model);
    free(fix->read);
}

static void check_content(struct fixture *fix)
{
    struct err err = ERR_INIT;
    memset(fix->read, 0xee, DISK_BYTES);
    assert_ok(replica_disk_read(fix->disk, 0, fix->read, DISK_BYTES, &err), err);
    for (size_t i = 0; i < DISK_BYTES; i++)
        if (fix->read[i] != fix->model[i])
            fail_msg("%s: byte %zu is %02x, not %02x", fix->backend->name, i,
                     fix->read[i], fix->model[i]);
}

static void put(struct fixture *fix, struct replica_writer *writer, uint64_t offset,
                size_t bytes, uint64_t seed, bool use_room)
{
    struct err err = ERR_INIT;
    uint8_t *other = malloc(bytes);
    uint8_t *data = use_room ? replica_writer_room(writer) : other;
    fill_random(data, bytes, seed);
    memcpy(fix->model + offset, data, bytes);
    assert_ok(replica_writer_put(writer, offset, data, bytes, &err), err);
    free(other);
}

static void zero(struct fixture *fix, struct replica_writer *writer, uint64_t start,
                 uint64_t stop)
{
    struct err err = ERR_INIT;
    memset(fix->model + start, 0, stop - start);
    assert_ok(replica_writer_zero(writer, start, stop, &err), err);
}

static void finish(struct fixture *fix, struct replica_writer *writer)
{
    struct err err = ERR_INIT;
    assert_ok(replica_writer_drain(writer, &err), err);
    assert_ok(replica_disk_flush(fix->disk, &err), err);
    replica_writer_close(writer);
}

/* Long joined runs, tails, jumps forward and back, single sectors, from room and not. */
static void check_sequences(struct fixture *fix)
{
    struct err err = ERR_INIT;
    struct replica_writer *writer;
    assert_ok(replica_disk_writer_open(fix->disk, &writer, &err), err);
    for (uint64_t at = 0; at < 9 * MIB; at += 64 * KIB)
        put(fix, writer, at, 64 * KIB, at + 1, true);
    for (uint64_t at = 20 * MIB; at > 16 * MIB; at -= 64 * KIB)
        put(fix, writer, at - 64 * KIB, 64 * KIB, at + 2, true);
    for (uint64_t at = 10 * MIB; at < 12 * MIB; at += 2 * 4096)
        put(fix, writer, at, 4096, at + 3, at % 3 == 0);
    put(fix, writer, 12 * MIB + 512, MIB - 512, 77, true);   /* unaligned memory */
    put(fix, writer, 13 * MIB + 512, MIB - 1536, 78, false); /* congruent memory */
    put(fix, writer, DISK_BYTES - 512, 512, 79, true);
    put(fix, writer, 14 * MIB + 512, 512, 80, true);
    put(fix, writer, 15 * MIB, 512, 81, false);
    put(fix, writer, 15 * MIB, 1024, 82, true); /* again: the later one wins */
    put(fix, writer, 15 * MIB, 0, 83, true);
    finish(fix, writer);
    check_content(fix);
    reopen(fix);
    check_content(fix);
}

static void check_zeros(struct fixture *fix)
{
    struct err err = ERR_INIT;
    struct replica_writer *writer;
    assert_ok(replica_disk_writer_open(fix->disk, &writer, &err), err);
    put(fix, writer, 2 * MIB, 3 * MIB / 4, 90, true);
    zero(fix, writer, 2 * MIB + 64 * KIB, 2 * MIB + 192 * KIB); /* just put */
    zero(fix, writer, 5 * MIB + 512, 6 * MIB + 1024);
    put(fix, writer, 5 * MIB + 512, 512, 91, true); /* after the zero */
    zero(fix, writer, 21 * MIB, DISK_BYTES - 512);  /* a hole already */
    zero(fix, writer, 7 * MIB, 7 * MIB);
    finish(fix, writer);
    check_content(fix);
}

/* Everything that is not zero is in the set; what was never written is not. */
static void check_allocated(struct fixture *fix)
{
    struct err err = ERR_INIT;
    AUTO(extents_release) struct extents set = {0};
    assert_ok(replica_disk_allocated(fix->disk, &set, &err), err);
    for (uint64_t at = 0; at < DISK_BYTES; at += SECTOR_BYTES) {
        bool is_zero = fix->model[at] == 0 && memcmp(fix->model + at, fix->model + at + 1,
                                                     SECTOR_BYTES - 1) == 0;
        if (!is_zero && !extents_contain(&set, at, at + SECTOR_BYTES))
            fail_msg("%s: data at %llu is not in the set", fix->backend->name,
                     (unsigned long long)at);
    }
    assert_false(extents_contain(&set, 22 * MIB, 22 * MIB + SECTOR_BYTES));
    assert_false(extents_contain(&set, 21 * MIB, 23 * MIB));
    assert_true(extents_total_bytes(&set) <= 20 * MIB);
}

static void check_bounds(struct fixture *fix)
{
    struct err err = ERR_INIT;
    struct replica_writer *writer;
    static uint8_t data[4096];
    assert_ok(replica_disk_writer_open(fix->disk, &writer, &err), err);
    assert_fails(replica_writer_put(writer, DISK_BYTES, data, 512, &err), FAIL_INPUT,
                 err);
    assert_fails(replica_writer_put(writer, DISK_BYTES - 512, data, 1024, &err),
                 FAIL_INPUT, err);
    assert_fails(replica_writer_put(writer, 100, data, 512, &err), FAIL_INPUT, err);
    assert_fails(replica_writer_put(writer, 512, data, 100, &err), FAIL_INPUT, err);
    assert_fails(replica_writer_put(writer, UINT64_MAX - 511, data, 1024, &err),
                 FAIL_INPUT, err);
    assert_fails(replica_writer_zero(writer, 1024, 512, &err), FAIL_INPUT, err);
    assert_fails(replica_writer_zero(writer, 0, DISK_BYTES + 512, &err), FAIL_INPUT, err);
    assert_fails(replica_disk_read(fix->disk, DISK_BYTES, data, 512, &err), FAIL_INPUT,
                 err);
    finish(fix, writer);
    check_content(fix);
}

/* What was not drained is dropped, and its memory with it. */
static void check_drop(struct fixture *fix)
{
    struct err err = ERR_INIT;
    struct replica_writer *writer;
    assert_ok(replica_disk_writer_open(fix->disk, &writer, &err), err);
    for (int i = 0; i < 40; i++) {
        uint8_t *room = replica_writer_room(writer);
        memset(room, 0x5a, 256 * KIB);
        assert_ok(
            replica_writer_put(writer, (uint64_t)i * 512 * KIB, room, 256 * KIB, &err),
            err);
    }
    replica_writer_close(writer);
    assert_ok(replica_disk_read(fix->disk, 0, fix->model, DISK_BYTES, &err), err);
}

struct half {
    struct fixture *fix;
    uint64_t first;
};

static void *write_half(void *arg)
{
    struct half *half = arg;
    struct err err = ERR_INIT;
    struct replica_writer *writer;
    uint64_t state = half->first + 5;
    assert_ok(replica_disk_writer_open(half->fix->disk, &writer, &err), err);
    /* Every other 64 KiB and 4 KiB piece: both writers meet on every boundary, long runs
     * of one between short ones of the other. */
    for (uint64_t at = half->first; at < 8 * MIB; at += 2 * 4096) {
        bool use_room = next_random(&state) % 2;
        put(half->fix, writer, at, 4096, at + 7, use_room);
    }
    for (uint64_t at = 8 * MIB + half->first * 64; at < 20 * MIB; at += 512 * KIB)
        put(half->fix, writer, at, 256 * KIB, at + 9, true);
    assert_ok(replica_writer_drain(writer, &err), err);
    replica_writer_close(writer);
    return NULL;
}

static void check_two_writers(struct fixture *fix)
{
    struct err err = ERR_INIT;
    struct half halves[2] = {{fix, 0}, {fix, 4096}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_half, &halves[i]), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_ok(replica_disk_flush(fix->disk, &err), err);
    check_content(fix);
    reopen(fix);
    check_content(fix);
}

/* Many random cycles of puts and zeros against the model. */
static void check_random(struct fixture *fix)
{
    struct err err = ERR_INIT;
    uint64_t state = 4711;
    for (int round = 0; round < 6; round++) {
        struct replica_writer *writer;
        assert_ok(replica_disk_writer_open(fix->disk, &writer, &err), err);
        for (int i = 0; i < 60; i++) {
            uint64_t sectors = DISK_BYTES / SECTOR_BYTES;
            uint64_t at = next_random(&state) % (sectors - 2048);
            uint64_t count = 1 + next_random(&state) % (i % 2 ? 2048 : 9);
            if (next_random(&state) % 4 == 0)
                zero(fix, writer, at * 512, (at + count) * 512);
            else
                put(fix, writer, at * 512, count * 512, next_random(&state),
                    next_random(&state) % 2);
        }
        finish(fix, writer);
        check_content(fix);
    }
}

static void test_contract(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < ARRAY_COUNT(BACKENDS); i++) {
        struct fixture fix;
        print_message("backend %s\n", BACKENDS[i].name);
        begin(&fix, &BACKENDS[i]);
        assert_int_equal(replica_disk_bytes(fix.disk), DISK_BYTES);
        check_content(&fix);
        check_sequences(&fix);
        check_zeros(&fix);
        check_allocated(&fix);
        check_bounds(&fix);
        check_drop(&fix);
        check_two_writers(&fix);
        check_random(&fix);
        end(&fix);
    }
}

static void check_all_bytes(struct fixture *fix, uint64_t from, uint64_t to, uint8_t want)
{
    struct err err = ERR_INIT;
    assert_ok(replica_disk_read(fix->disk, from, fix->read, to - from, &err), err);
    for (uint64_t i = 0; i < to - from; i++)
        if (fix->read[i] != want)
            fail_msg("%s: byte %llu is not %02x", fix->backend->name,
                     (unsigned long long)(from + i), want);
}

static void test_resize(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < 3; i++) {
        struct fixture fix;
        struct err err = ERR_INIT;
        struct replica_writer *writer;
        begin(&fix, &BACKENDS[i]);
        assert_ok(replica_disk_writer_open(fix.disk, &writer, &err), err);
        memset(replica_writer_room(writer), 0x11, MIB);
        for (uint64_t at = 0; at < 8 * MIB; at += MIB) {
            uint8_t *room = replica_writer_room(writer);
            memset(room, 0x11, MIB);
            assert_ok(replica_writer_put(writer, at, room, MIB, &err), err);
        }
        finish(&fix, writer);
        assert_fails(target_disk_resize(fix.target, &fix.machine, 0, 4 * MIB, &err),
                     FAIL_CONFLICT, err);
        replica_disk_close(fix.disk);
        fix.disk = NULL;
        assert_fails(target_disk_resize(fix.target, &fix.machine, 0, 100, &err),
                     FAIL_INPUT, err);
        assert_fails(target_disk_resize(fix.target, &fix.machine, 7, MIB, &err),
                     FAIL_INPUT, err);
        assert_ok(target_disk_resize(fix.target, &fix.machine, 0, 4 * MIB, &err), err);
        reopen(&fix);
        assert_int_equal(replica_disk_bytes(fix.disk), 4 * MIB);
        replica_disk_close(fix.disk);
        fix.disk = NULL;
        assert_ok(target_disk_resize(fix.target, &fix.machine, 0, 12 * MIB, &err), err);
        reopen(&fix);
        assert_int_equal(replica_disk_bytes(fix.disk), 12 * MIB);
        check_all_bytes(&fix, 0, 4 * MIB, 0x11);
        check_all_bytes(&fix, 4 * MIB, 12 * MIB, 0); /* not what was there before */
        end(&fix);
    }
}

static void test_create_again(void **unused)
{
    (void)unused;
    struct fixture fix;
    struct err err = ERR_INIT;
    begin(&fix, &BACKENDS[0]);
    assert_ok(target_replica_create(fix.target, &fix.machine, &err), err);
    fix.machine.disks[0].disk_bytes += 512;
    assert_fails(target_replica_create(fix.target, &fix.machine, &err), FAIL_CONFLICT,
                 err);
    fix.machine.disks[0].disk_bytes -= 512;
    fix.machine.id = id_random();
    assert_fails(target_replica_create(fix.target, &fix.machine, &err), FAIL_CONFLICT,
                 err);
    (void)snprintf(fix.machine.name, sizeof fix.machine.name, "../evil");
    assert_fails(target_replica_create(fix.target, &fix.machine, &err), FAIL_INPUT, err);
    (void)snprintf(fix.machine.name, sizeof fix.machine.name, "m2");
    struct replica_disk *other;
    assert_fails(target_disk_open(fix.target, &fix.machine, 0, false, &other, &err),
                 FAIL_GONE, err);
    fix.machine.disks[0].disk_bytes = 100;
    assert_fails(target_replica_create(fix.target, &fix.machine, &err), FAIL_INPUT, err);
    end(&fix);
}

static bool note_thing(void *ctx, const struct target_thing *thing, struct err *err)
{
    (void)err;
    ++*(size_t *)ctx;
    assert_string_equal(thing->kind, "file");
    assert_string_equal(thing->machine, "m1");
    assert_string_equal(thing->role, "replica");
    assert_int_equal(thing->size_bytes, DISK_BYTES);
    assert_true(thing->is_known && thing->allocated_bytes < MIB);
    return true;
}

static void test_inventory(void **unused)
{
    (void)unused;
    struct fixture fix;
    struct err err = ERR_INIT;
    size_t count = 0;
    AUTO(findings_release) struct findings findings = {0};
    begin(&fix, &BACKENDS[3]); /* the fault target passes it on */
    assert_ok(target_inventory(fix.target, note_thing, &count, &err), err);
    assert_int_equal(count, 1);
    assert_ok(target_check(fix.target, NULL, &findings, &err), err);
    assert_false(findings_have_blocker(&findings));
    end(&fix);
}

/* A replica file that somebody cut, and a layout that somebody damaged: named, not used.
 */
static void test_damage(void **unused)
{
    (void)unused;
    struct fixture fix;
    struct err err = ERR_INIT;
    char path[256];
    begin(&fix, &BACKENDS[0]);
    replica_disk_close(fix.disk);
    fix.disk = NULL;
    (void)snprintf(path, sizeof path, "%s/m1/disk0.raw", fix.dir);
    assert_int_equal(truncate(path, 4096), 0);
    assert_fails(target_disk_open(fix.target, &fix.machine, 0, true, &fix.disk, &err),
                 FAIL_CORRUPT, err);
    (void)snprintf(path, sizeof path, "%s/m1/replica.json", fix.dir);
    assert_int_equal(truncate(path, 40), 0);
    assert_fails(target_disk_open(fix.target, &fix.machine, 0, true, &fix.disk, &err),
                 FAIL_CORRUPT, err);
    end(&fix);
}

static void test_fault(void **unused)
{
    (void)unused;
    char dir[64];
    struct err err = ERR_INIT;
    struct machine_def machine;
    struct target_fault_options options = {
        .seed = 3, .rate_per_million = 1000000, .after_writes = 2, .kind = FAIL_NO_SPACE};
    make_temp_dir(dir);
    make_machine(&machine, 1, MIB);
    static uint8_t data[4096], back[4096];
    for (int corrupt = 0; corrupt < 2; corrupt++) {
        AUTO(target_close) struct target *target = NULL;
        AUTO(replica_disk_close) struct replica_disk *disk = NULL;
        AUTO(replica_writer_close) struct replica_writer *writer = NULL;
        options.corrupt = corrupt;
        target = target_fault_new(open_local(dir, LOCAL_RAW, true), &options);
        assert_ok(target_replica_create(target, &machine, &err), err);
        assert_ok(target_disk_open(target, &machine, 0, true, &disk, &err), err);
        assert_ok(replica_disk_writer_open(disk, &writer, &err), err);
        fill_random(data, sizeof data, 9);
        assert_ok(replica_writer_put(writer, 0, data, 4096, &err), err);
        assert_ok(replica_writer_put(writer, 4096, data, 4096, &err), err);
        if (!corrupt) {
            assert_fails(replica_writer_put(writer, 8192, data, 4096, &err),
                         FAIL_NO_SPACE, err);
            continue;
        }
        assert_ok(replica_writer_put(writer, 8192, data, 4096, &err), err);
        assert_ok(replica_writer_drain(writer, &err), err);
        assert_ok(replica_disk_read(disk, 8192, back, 4096, &err), err);
        int bits = 0;
        for (size_t i = 0; i < 4096; i++)
            bits += __builtin_popcount((unsigned)(data[i] ^ back[i]));
        assert_int_equal(bits, 1);
    }
    drop_temp_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contract),     cmocka_unit_test(test_resize),
        cmocka_unit_test(test_create_again), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_fault),        cmocka_unit_test(test_inventory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
