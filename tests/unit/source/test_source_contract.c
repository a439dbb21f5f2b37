/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What source.h promises, asked of every source: image (raw), image (qcow2), fault at
 * 0 %, qemu. Then what is special to image and fault.
 */
#include "rig.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MUST(expr, err)                                                                  \
    do {                                                                                 \
        if (!(expr))                                                                     \
            fail_msg("%s: %s: %s", #expr, err_kind_name((err).kind), (err).text);        \
    } while (0)

#define DISK_BYTES (3 * MIB + 512)

static char dir[64];

/* A raw disk: 1 MiB of data, 1 MiB hole, data to the end. */
static char *make_raw(const char *name)
{
    char *path = file_join(dir, name);
    AUTO(free) uint8_t *data = malloc(MIB);
    AUTO(close_fd) int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, DISK_BYTES), 0);
    for (size_t i = 0; i < MIB; i++)
        data[i] = (uint8_t)(i * 7 + i / 256 + 1);
    assert_int_equal(pwrite(fd, data, MIB, 0), MIB);
    assert_int_equal(pwrite(fd, data, MIB, 2 * MIB), MIB);
    assert_int_equal(pwrite(fd, data, 512, 3 * MIB), 512);
    return path;
}

static uint8_t *content(void)
{
    uint8_t *data = calloc(1, DISK_BYTES);
    for (size_t i = 0; i < MIB; i++)
        data[i] = data[2 * MIB + i] = (uint8_t)(i * 7 + i / 256 + 1);
    memcpy(data + 3 * MIB, data, 512);
    return data;
}

static char *make_qcow2(const char *name)
{
    AUTO(free) char *raw = make_raw("for-qcow2");
    char *path = file_join(dir, name);
    struct err err = ERR_INIT;
    const char *const argv[] = {"qemu-img", "convert", "-O", "qcow2", raw, path, NULL};
    MUST(process_run(argv, 20000, NULL, NULL, &err), err);
    return path;
}

static struct source *open_image(const char *path, const char *changes_path)
{
    struct source *source = NULL;
    struct err err = ERR_INIT;
    const char *const paths[] = {path};
    struct source_image_options options = {
        .name = "m1", .paths = paths, .path_count = 1, .changes_path = changes_path};
    MUST(source_image_open(&options, &source, &err), err);
    return source;
}

static struct snapshot *open_snapshot(struct source *source, struct machine_def *machine,
                                      const char *previous, const char *handle)
{
    struct err err = ERR_INIT;
    struct snapshot *snapshot = NULL;
    struct snapshot_request request = {.machine = machine,
                                       .cycle = handle ? 8 : 7,
                                       .previous_change_ids = {previous},
                                       .resume_handle = handle,
                                       .resume_cycle = 7};
    MUST(source_snapshot_open(source, &request, NULL, &snapshot, &err), err);
    return snapshot;
}

static void expect_refused(struct reader *reader, uint64_t offset, uint32_t length,
                           uint8_t *data, enum err_kind kind)
{
    struct err err = ERR_INIT;
    struct read_request request = {
        .offset_bytes = offset, .length_bytes = length, .data = data};
    assert_false(reader_submit(reader, &request, &err));
    assert_int_equal(err.kind, kind);
    assert_string_not_equal(err.text, "");
}

static void check_reader(struct snapshot *s)
{
    struct err err = ERR_INIT;
    struct reader *reader = NULL;
    AUTO(free) uint8_t *data = malloc(READ_MAX_BYTES);
    MUST(snapshot_reader_open(s, 0, &reader, &err), err);
    expect_refused(reader, 1, 512, data, FAIL_BUG);
    expect_refused(reader, 0, 511, data, FAIL_BUG);
    expect_refused(reader, 0, 0, data, FAIL_BUG);
    expect_refused(reader, 0, READ_MAX_BYTES + 512, data, FAIL_BUG);
    expect_refused(reader, 0, 512, NULL, FAIL_BUG);
    expect_refused(reader, DISK_BYTES, 512, data, FAIL_INPUT);
    expect_refused(reader, DISK_BYTES - 512, 1024, data, FAIL_INPUT);
    expect_refused(reader, UINT64_MAX - 511, 512, data, FAIL_INPUT);
    assert_null(reader_next(reader, NULL, &err));
    assert_int_equal(err.kind, FAIL_BUG);
    err_clear(&err);
    struct read_request many[READER_MAX_IN_FLIGHT + 1] = {0};
    for (size_t i = 0; i <= READER_MAX_IN_FLIGHT; i++) {
        many[i] = (struct read_request){.offset_bytes = i * 512,
                                        .length_bytes = 512,
                                        .data = data + i * 512,
                                        .tag = &many[i]};
        bool ok = reader_submit(reader, &many[i], &err);
        assert_int_equal(ok, i < READER_MAX_IN_FLIGHT);
    }
    AUTO(free) uint8_t *wanted = content();
    for (size_t i = 0; i < READER_MAX_IN_FLIGHT; i++) {
        struct read_request *done = reader_next(reader, NULL, &err);
        assert_non_null(done);
        assert_true(done->ok);
        assert_ptr_equal(done->tag, done);
        assert_memory_equal(done->data, wanted + done->offset_bytes, 512);
    }
    struct read_request last = {.length_bytes = 512, .data = data};
    struct cancel cancel;
    cancel_init(&cancel);
    MUST(reader_submit(reader, &last, &err), err);
    cancel_set(&cancel);
    err_clear(&err);
    assert_null(reader_next(reader, &cancel, &err));
    assert_int_equal(err.kind, FAIL_CANCELED);
    cancel_release(&cancel);
    reader_close(reader); /* with one in flight */
    reader_close(NULL);
}

/* Everything that holds for every source. Disk 0 holds content(). */
static void contract(struct source *source)
{
    struct err err = ERR_INIT;
    AUTO(free) struct machine_def *machine = rig_machine(source);
    AUTO(findings_release) struct findings findings = {0};
    assert_int_equal(machine->disks[0].disk_bytes, DISK_BYTES);
    assert_true(id_is_zero(&machine->id));
    MUST(source_check(source, machine, &findings, &err), err);
    assert_false(findings_have_blocker(&findings));
    struct snapshot *s = open_snapshot(source, machine, "", NULL);
    struct snapshot_disk_info info;
    MUST(snapshot_disk_info(s, 0, &info, &err), err);
    assert_int_equal(info.disk_bytes, DISK_BYTES);
    assert_int_equal(info.knowledge, CHANGES_NONE);
    assert_string_not_equal(info.why, "");
    AUTO(extents_release) struct extents set = {0};
    assert_false(snapshot_changes(s, 0, &set, &err));
    assert_int_equal(err.kind, FAIL_BUG);
    err_clear(&err);
    assert_false(snapshot_disk_info(s, 1000, &info, &err));
    assert_int_equal(err.kind, FAIL_BUG);
    err_clear(&err);
    MUST(snapshot_allocated(s, 0, &set, &err), err);
    assert_true(extents_contain(&set, 0, MIB));
    assert_true(extents_contain(&set, 2 * MIB, DISK_BYTES));
    assert_int_equal(extents_total_bytes(&set), 2 * MIB + 512);
    check_reader(s);
    AUTO(free) uint8_t *wanted = content();
    rig_expect_disk(s, 0, wanted, DISK_BYTES);
    char handle[SNAPSHOT_MAX];
    assert_false(snapshot_is_resumed(s));
    assert_in_range(strlen(snapshot_handle(s)), 1, SNAPSHOT_MAX - 1);
    text_copy(handle, sizeof handle, snapshot_handle(s));
    MUST(snapshot_end(s, SNAPSHOT_DETACHED, &err), err);
    s = open_snapshot(source, machine, "", handle);
    assert_true(snapshot_is_resumed(s));
    rig_expect_disk(s, 0, wanted, DISK_BYTES);
    MUST(snapshot_end(s, SNAPSHOT_APPLIED, &err), err);
    struct cancel cancel;
    cancel_init(&cancel);
    cancel_set(&cancel);
    struct snapshot_request request = {.machine = machine, .previous_change_ids = {""}};
    assert_false(source_snapshot_open(source, &request, &cancel, &s, &err));
    assert_int_equal(err.kind, FAIL_CANCELED);
    err_clear(&err);
    cancel_release(&cancel);
    (void)snprintf(machine->disks[0].key, sizeof machine->disks[0].key, "never-there");
    assert_false(source_snapshot_open(source, &request, NULL, &s, &err));
    assert_int_equal(err.kind, FAIL_GONE);
    err_clear(&err);
    machine->disk_count = 0;
    assert_false(source_snapshot_open(source, &request, NULL, &s, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    err_clear(&err);
    MUST(source_forget(source, machine, &err), err);
}

static void test_contract_image_raw(void **state)
{
    (void)state;
    AUTO(free) char *path = make_raw("contract-raw");
    AUTO(source_close) struct source *source = open_image(path, NULL);
    contract(source);
}

static size_t temp_folders(void)
{
    size_t count = 0;
    DIR *tmp = opendir(dir);
    for (const struct dirent *e; (e = readdir(tmp));)
        count += text_starts_with(e->d_name, "kedge-image-");
    (void)closedir(tmp);
    return count;
}

static void test_contract_image_qcow2(void **state)
{
    (void)state;
    AUTO(free) char *path = make_qcow2("contract-qcow2");
    AUTO(source_close) struct source *source = open_image(path, NULL);
    contract(source);
    assert_int_equal(temp_folders(), 0); /* no server, socket or folder stays */
}

static void test_contract_fault(void **state)
{
    (void)state;
    AUTO(free) char *path = make_raw("contract-fault");
    struct source_fault_options none = {.seed = 1};
    AUTO(source_close)
    struct source *source = source_fault_new(open_image(path, NULL), &none);
    contract(source);
}

static void test_contract_qemu(void **state)
{
    struct rig rig = {.disk_bytes = {DISK_BYTES, 1 * MIB}};
    struct err err = ERR_INIT;
    (void)state;
    rig_init(&rig);
    AUTO(free) char *raw = make_raw("for-qemu");
    const char *const argv[] = {"qemu-img", "convert",         "-n", "-O", "qcow2",
                                raw,        rig.disk_paths[0], NULL};
    MUST(process_run(argv, 20000, NULL, NULL, &err), err);
    rig_start(&rig);
    struct source *source = rig_source(&rig, 0);
    contract(source);
    source_close(source);
    rig_release(&rig);
}

/* ---- image ---- */

static void test_image_change_list(void **state)
{
    struct err err = ERR_INIT;
    struct snapshot_disk_info info;
    AUTO(extents_release) struct extents set = {0};
    static const struct {
        const char *text;
        bool is_good;
    } lists[] = {{"1024 512\n100 1\n512 100\n\n", true},
                 {"", true},
                 {"0 3146240", true},
                 {"0 3146241", false},
                 {"5", false},
                 {"-1 5", false},
                 {"1 2 3", false},
                 {"99999999999999999999 1", false},
                 {"1 9223372036854775807", false}};
    (void)state;
    AUTO(free) char *path = make_raw("list-raw");
    AUTO(free) char *list = file_join(dir, "list");
    AUTO(source_close) struct source *source = open_image(path, list);
    AUTO(free) struct machine_def *machine = rig_machine(source);
    struct snapshot *s = open_snapshot(source, machine, "", NULL);
    MUST(snapshot_disk_info(s, 0, &info, &err), err);
    assert_int_equal(info.knowledge, CHANGES_NONE);
    assert_string_not_equal(info.change_id, "");
    MUST(snapshot_end(s, SNAPSHOT_APPLIED, &err), err);
    s = open_snapshot(source, machine, info.change_id, NULL);
    assert_false(snapshot_changes(s, 0, &set, &err)); /* no list: never "nothing" */
    assert_int_equal(err.kind, FAIL_GONE);
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
        MUST(file_write_durable(list, lists[i].text, strlen(lists[i].text), 0600, &err),
             err);
        err_clear(&err);
        bool ok = snapshot_changes(s, 0, &set, &err);
        if (ok != lists[i].is_good)
            fail_msg("list %zu: %d %s", i, ok, err.text);
        if (i == 0) {
            assert_int_equal(set.count, 1);
            assert_int_equal(set.items[0].start_bytes, 0);
            assert_int_equal(set.items[0].end_bytes, 1536);
        }
    }
    MUST(snapshot_end(s, SNAPSHOT_FAILED, &err), err);
}

static void test_image_refusals(void **state)
{
    struct err err = ERR_INIT;
    struct snapshot *s = NULL;
    (void)state;
    AUTO(free) char *path = make_raw("odd");
    AUTO(source_close) struct source *source = open_image(path, NULL);
    AUTO(free) struct machine_def *machine = rig_machine(source);
    struct snapshot_request request = {.machine = machine, .previous_change_ids = {""}};
    assert_int_equal(truncate(path, DISK_BYTES + 1), 0);
    assert_false(source_snapshot_open(source, &request, NULL, &s, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    assert_non_null(strstr(err.text, "truncate -s 3146752"));
    err_clear(&err);
    assert_int_equal(truncate(path, 0), 0);
    assert_false(source_snapshot_open(source, &request, NULL, &s, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    err_clear(&err);
    /* A qcow2 that is none. */
    uint8_t junk[4096] = {'Q', 'F', 'I', 0xfb, 0, 0, 0, 3};
    junk[29] = 1;
    MUST(file_write_durable(path, junk, sizeof junk, 0600, &err), err);
    assert_false(source_snapshot_open(source, &request, NULL, &s, &err));
    print_message("%s\n", err.text);
    assert_int_equal(err.kind, FAIL_CONFLICT);
    err_clear(&err);
    assert_int_equal(unlink(path), 0);
    assert_false(source_snapshot_open(source, &request, NULL, &s, &err));
    assert_int_equal(err.kind, FAIL_GONE);
    AUTO(findings_release) struct findings findings = {0};
    MUST(source_check(source, machine, &findings, &err), err);
    assert_true(findings_have_blocker(&findings));
    assert_int_equal(temp_folders(), 0);
}

static void test_image_in_use(void **state)
{
    struct rig rig = {.format_1 = "raw"};
    struct err err = ERR_INIT;
    struct snapshot *s = NULL;
    (void)state;
    rig_init(&rig);
    rig_start(&rig);
    for (size_t i = 0; i < RIG_DISKS; i++) {
        AUTO(findings_release) struct findings findings = {0};
        AUTO(source_close) struct source *source = open_image(rig.disk_paths[i], NULL);
        AUTO(free) struct machine_def *machine = rig_machine(source);
        struct snapshot_request request = {.machine = machine,
                                           .previous_change_ids = {""}};
        err_clear(&err);
        assert_false(source_snapshot_open(source, &request, NULL, &s, &err));
        assert_int_equal(err.kind, FAIL_CONFLICT);
        MUST(source_check(source, machine, &findings, &err), err);
        assert_true(findings_have_blocker(&findings));
    }
    rig_release(&rig);
}

static void test_image_that_changed_is_no_resume(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    AUTO(free) char *path = make_raw("changes");
    AUTO(source_close) struct source *source = open_image(path, NULL);
    AUTO(free) struct machine_def *machine = rig_machine(source);
    struct snapshot *s = open_snapshot(source, machine, "", NULL);
    char handle[SNAPSHOT_MAX];
    text_copy(handle, sizeof handle, snapshot_handle(s));
    MUST(snapshot_end(s, SNAPSHOT_DETACHED, &err), err);
    clock_sleep_ms(20);
    AUTO(close_fd) int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "x", 1, 5), 1);
    s = open_snapshot(source, machine, "", handle);
    assert_false(snapshot_is_resumed(s));
    MUST(snapshot_end(s, SNAPSHOT_FAILED, &err), err);
}

/* ---- fault ---- */

/* Reads 4 KiB a thousand times: how many fail, how many come back changed. */
static void count_faults(const struct source_fault_options *options, size_t *ret_failed,
                         size_t *ret_changed, size_t *ret_first)
{
    struct err err = ERR_INIT;
    struct reader *reader = NULL;
    uint8_t data[4096];
    AUTO(free) char *path = make_raw("faulty");
    AUTO(free) uint8_t *wanted = content();
    AUTO(source_close)
    struct source *source = source_fault_new(open_image(path, NULL), options);
    AUTO(free) struct machine_def *machine = rig_machine(source);
    struct snapshot *s = open_snapshot(source, machine, "", NULL);
    MUST(snapshot_reader_open(s, 0, &reader, &err), err);
    *ret_failed = *ret_changed = 0;
    *ret_first = SIZE_MAX;
    for (size_t i = 0; i < 1000; i++) {
        struct read_request r = {
            .offset_bytes = i % 200 * 4096, .length_bytes = 4096, .data = data};
        MUST(reader_submit(reader, &r, &err), err);
        assert_ptr_equal(reader_next(reader, NULL, &err), &r);
        bool is_changed = r.ok && memcmp(data, wanted + r.offset_bytes, 4096) != 0;
        if (!r.ok)
            assert_int_equal(r.err.kind, options->kind);
        *ret_failed += !r.ok;
        *ret_changed += is_changed;
        if (*ret_first == SIZE_MAX && (!r.ok || is_changed))
            *ret_first = i;
    }
    reader_close(reader);
    MUST(snapshot_end(s, SNAPSHOT_FAILED, &err), err);
}

static void test_fault_rates(void **state)
{
    size_t failed, changed, first, again, ignored;
    struct source_fault_options options = {.seed = 42,
                                           .rate_per_million = 100000,
                                           .kind = FAIL_TRANSIENT,
                                           .after_reads = 500};
    (void)state;
    count_faults(&options, &failed, &changed, &first);
    assert_in_range(failed, 20, 90);
    assert_int_equal(changed, 0);
    assert_in_range(first, 500, 999);
    count_faults(&options, &again, &changed, &ignored);
    assert_int_equal(again, failed); /* the seed decides */
    assert_int_equal(ignored, first);
    options.corrupt = true;
    count_faults(&options, &failed, &changed, &first);
    assert_int_equal(failed, 0);
    assert_int_equal(changed, again);
    options =
        (struct source_fault_options){.rate_per_million = 1000000, .kind = FAIL_AUTH};
    AUTO(free) char *trigger = file_join(dir, "trigger");
    options.trigger_path = trigger;
    count_faults(&options, &failed, &changed, &first);
    assert_int_equal(failed, 0);
    struct err err = ERR_INIT;
    MUST(file_write_durable(trigger, "", 0, 0600, &err), err);
    count_faults(&options, &failed, &changed, &first);
    assert_int_equal(failed, 1000);
}

static int setup(void **state)
{
    (void)state;
    text_copy(dir, sizeof dir, "/tmp/kedge-source-XXXXXX");
    return mkdtemp(dir) && setenv("TMPDIR", dir, 1) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    return file_remove_tree(dir, &err) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contract_image_raw),
        cmocka_unit_test(test_contract_image_qcow2),
        cmocka_unit_test(test_contract_fault),
        cmocka_unit_test(test_contract_qemu),
        cmocka_unit_test(test_image_change_list),
        cmocka_unit_test(test_image_refusals),
        cmocka_unit_test(test_image_in_use),
        cmocka_unit_test(test_image_that_changed_is_no_resume),
        cmocka_unit_test(test_fault_rates),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
