/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of hotadd that need no server: the crew of a lane, the record, the UUID. */
#include "base/file.h"
#include "vsphere/hotadd_gateway.h"
#include "vsphere/lane_crew.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define DISK_BYTES (8 * MIB)

static char records[] = "/tmp/kedge-hotadd-XXXXXX";

/* Four reads that each wait for the other three. */
struct meeting {
    pthread_mutex_t lock;
    pthread_cond_t all;
    unsigned count;
    bool is_closed;
};

static bool meet(void *file, struct lane_read *read, struct err *err)
{
    struct meeting *meeting = file;
    struct timespec end;
    int why = 0;
    (void)read;
    (void)clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 20;
    LOCK_GUARD(&meeting->lock);
    meeting->count++;
    (void)pthread_cond_broadcast(&meeting->all);
    while (meeting->count < 4 && why == 0)
        why = pthread_cond_timedwait(&meeting->all, &meeting->lock, &end);
    return meeting->count >= 4 || err_set(err, FAIL_IO, "alone");
}

static void end_meeting(void *file)
{
    ((struct meeting *)file)->is_closed = true;
}

static void reads_do_not_wait_for_one_another(void **state)
{
    (void)state;
    struct meeting meeting = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0,
                              false};
    struct lane_crew_options options = {.disk_bytes = MIB,
                                        .thread_count = 8,
                                        .file = &meeting,
                                        .read = meet,
                                        .close = end_meeting};
    struct lane_read reads[4];
    struct lane *lane = NULL;
    struct err err = ERR_INIT;
    assert_true(lane_crew_open(&options, &lane, &err));
    for (size_t i = 0; i < 4; i++) {
        reads[i] = (struct lane_read){.length_bytes = 512};
        assert_true(lane_crew_submit(lane, &reads[i], &err));
    }
    for (size_t i = 0; i < 4; i++) {
        struct lane_read *read = lane_crew_next(lane, NULL, &err);
        assert_true(read && read->ok);
    }
    lane_crew_close(lane);
    assert_true(meeting.is_closed);
}

static void requests_out_of_the_disk_are_refused(void **state)
{
    (void)state;
    static const struct lane_read bad[] = {
        {.offset_bytes = DISK_BYTES, .length_bytes = 512},
        {.offset_bytes = DISK_BYTES - 512, .length_bytes = 1024},
        {.offset_bytes = 1, .length_bytes = 512},
        {.offset_bytes = 0, .length_bytes = 0},
        {.offset_bytes = 0, .length_bytes = LANE_READ_MAX_BYTES + 512},
        {.offset_bytes = UINT64_MAX - 511, .length_bytes = 512},
    };
    struct meeting meeting = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0,
                              false};
    struct lane_crew_options options = {.disk_bytes = DISK_BYTES,
                                        .thread_count = 1,
                                        .file = &meeting,
                                        .read = meet,
                                        .close = end_meeting};
    struct lane *lane = NULL;
    struct err err = ERR_INIT;
    assert_true(lane_crew_open(&options, &lane, &err));
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct lane_read read = bad[i];
        err_clear(&err);
        assert_false(lane_crew_submit(lane, &read, &err));
        assert_int_equal(err.kind, FAIL_INPUT);
    }
    err_clear(&err);
    assert_null(lane_crew_next(lane, NULL, &err));
    assert_int_equal(err.kind, FAIL_BUG);
    lane_crew_close(lane);
}

static bool count_name(void *arg, const char *name, struct err *err)
{
    (void)name, (void)err;
    (*(size_t *)arg)++;
    return true;
}

static void a_record_is_locked_by_one(void **state)
{
    (void)state;
    size_t count = 0;
    struct hotadd_record *first = NULL;
    struct hotadd_record *second = NULL;
    struct err err = ERR_INIT;
    char name[HOTADD_NAME_BYTES];
    hotadd_record_name("fe80::1", "../../vm-1", name);
    assert_null(strchr(name, '/'));
    assert_true(hotadd_record_open(records, name, 0, NULL, &first, &err));
    assert_false(hotadd_record_open(records, name, 150, NULL, &second, &err));
    assert_int_equal(err.kind, FAIL_TRANSIENT);
    struct hotadd_entry entry = {"server", "vm-1", "[ds] a b/\xc3\xa4.vmdk"};
    assert_true(hotadd_record_add(first, &entry, &err));
    struct hotadd_entry other = {"server", "vm-1", "[ds] c/c.vmdk"};
    assert_true(hotadd_record_add(first, &other, &err));
    other.vm_id[0] = ' ';
    err_clear(&err);
    assert_false(hotadd_record_add(first, &other, &err));
    hotadd_record_close(first);
    assert_true(hotadd_record_open(records, name, 0, NULL, &first, &err));
    assert_int_equal(first->count, 2);
    assert_string_equal(first->entries[0].file_name, entry.file_name);
    assert_true(hotadd_record_drop(first, 0, &err));
    assert_string_equal(first->entries[0].file_name, "[ds] c/c.vmdk");
    assert_true(hotadd_record_drop(first, 0, &err));
    hotadd_record_close(first);
    assert_true(hotadd_record_each(records, count_name, &count, &err));
    assert_int_equal(count, 0);
}

static void a_broken_record_is_not_believed(void **state)
{
    (void)state;
    static const char *const texts[] = {"x",           "a b\n",           "a b [ds] c",
                                        " b [ds] c\n", "a b [ds] c\nd\n", "\n"};
    AUTO(free) char *path = file_join(records, "x.attached");
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        struct hotadd_record *record = NULL;
        struct err err = ERR_INIT;
        assert_true(file_write_durable(path, texts[i], strlen(texts[i]), 0600, &err));
        if (hotadd_record_open(records, "x.attached", 0, NULL, &record, &err))
            fail_msg("'%s' was taken", texts[i]);
        assert_int_equal(err.kind, FAIL_CORRUPT);
    }
    struct err err = ERR_INIT;
    assert_true(file_remove_durable(path, &err));
}

static void a_uuid_is_turned_round(void **state)
{
    (void)state;
    char turned[HOTADD_UUID_BYTES];
    assert_true(hotadd_uuid_turned("00112233-4455-6677-8899-aabbccddeeff", turned));
    assert_string_equal(turned, "33221100-5544-7766-8899-aabbccddeeff");
    assert_false(hotadd_uuid_turned("00112233-4455-6677-8899-aabbccddeef", turned));
    assert_false(hotadd_uuid_turned("00112233-4455-6677-8899-aabbccddeefg", turned));
    assert_false(hotadd_uuid_turned("001122334455-6677-8899-aabb-ccddeeff", turned));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_do_not_wait_for_one_another),
        cmocka_unit_test(requests_out_of_the_disk_are_refused),
        cmocka_unit_test(a_record_is_locked_by_one),
        cmocka_unit_test(a_broken_record_is_not_believed),
        cmocka_unit_test(a_uuid_is_turned_round),
    };
    struct err err = ERR_INIT;
    if (!mkdtemp(records))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return file_remove_tree(records, &err) ? failed : 1;
}
