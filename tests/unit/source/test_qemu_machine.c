/* SPDX-License-Identifier: Apache-2.0 */
/* What the QEMU source says of a machine, and how it shuts one down. */
#include "rig.h"

#include "base/clock.h"
#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>

#include <unistd.h>

#include <cmocka.h>

#define MUST(expr, err)                                                                  \
    do {                                                                                 \
        if (!(expr))                                                                     \
            fail_msg("%s: %s: %s", #expr, err_kind_name((err).kind), (err).text);        \
    } while (0)

/* Waits for the power button as ACPI reports it on q35, then turns the machine off. */
#define BOOT_OBEYS "fbba0206b80001efba0006f4edf6c40174f9ba0406b80020eff4ebfd"
/* Halts for ever. */
#define BOOT_IGNORES "fbf4ebfd"

static const struct finding *find(const struct findings *findings, const char *code)
{
    for (size_t i = 0; i < findings->count; i++)
        if (strcmp(findings->items[i].code, code) == 0)
            return &findings->items[i];
    return NULL;
}

static void start(struct rig *rig)
{
    rig_init(rig);
    rig_start(rig);
}

static void test_discover(void **state)
{
    struct rig rig = {.extra = {"-device",
                                "virtio-net-pci,mac=52:54:00:12:34:56,netdev=n0",
                                "-netdev", "user,id=n0,restrict=on", "-cdrom",
                                "/dev/null", "-device", "e1000,mac=52:54:00:12:34:57"}};
    (void)state;
    start(&rig);
    AUTO(source_close) struct source *source = rig_source(&rig, 0);
    AUTO(free) struct machine_def *m = rig_machine(source);
    assert_string_equal(m->name, "rigged");
    assert_string_equal(m->key, "11111111-2222-3333-4444-555555555555");
    assert_int_equal(m->cpus, 2);
    assert_int_equal(m->memory_bytes, 64 * MIB);
    assert_int_equal(m->firmware, FIRMWARE_BIOS);
    assert_string_equal(m->machine_type, "q35");
    assert_false(m->is_running);
    assert_int_equal(m->disk_count, 2);
    assert_string_equal(m->disks[0].key, "d0");
    assert_string_equal(m->disks[0].bus, "nvme");
    assert_string_equal(m->disks[0].serial, "S0");
    assert_string_equal(m->disks[0].label, "disk0");
    assert_int_equal(m->disks[0].disk_bytes, rig.disk_bytes[0]);
    assert_string_equal(m->disks[1].key, "dr1");
    assert_string_equal(m->disks[1].bus, "virtio");
    assert_string_equal(m->disks[1].serial, "S1");
    assert_int_equal(m->nic_count, 2);
    assert_string_equal(m->nics[0].mac, "52:54:00:12:34:56");
    assert_string_equal(m->nics[0].model, "virtio-net-pci");
    assert_string_equal(m->nics[0].network, "n0");
    assert_string_equal(m->nics[1].mac, "52:54:00:12:34:57");
    rig_release(&rig);
}

static void test_check(void **state)
{
    struct rig rig = {.format_1 = "raw"};
    struct err err = ERR_INIT;
    AUTO(findings_release) struct findings findings = {0};
    (void)state;
    start(&rig);
    AUTO(source_close) struct source *source = rig_source(&rig, 0);
    AUTO(free) struct machine_def *m = rig_machine(source);
    MUST(source_check(source, m, &findings, &err), err);
    assert_false(findings_have_blocker(&findings));
    const struct finding *raw = find(&findings, "disk.bitmap_not_persistent");
    assert_non_null(raw);
    assert_int_equal(raw->severity, FINDING_WARNING);
    assert_non_null(strstr(raw->what, "dr1"));
    assert_int_equal(rig_leftovers(&rig), 0); /* a check changes nothing */
    /* A disk more or less than was enabled, a foreign job, a missing folder. */
    findings_release(&findings);
    findings = (struct findings){0};
    AUTO(free) char *target = file_join(rig.dir, "foreign");
    json_t *job = json_object();
    json_put_text(job, "device", "d0");
    json_put_text(job, "target", target);
    json_put_text(job, "job-id", "foreign");
    json_put_text(job, "sync", "none");
    json_decref(rig_call(&rig, "drive-backup", job));
    m->disk_count = 1;
    (void)snprintf(m->disks[0].key, sizeof m->disks[0].key, "was-there");
    MUST(file_remove_tree(rig.scratch_dir, &err), err);
    MUST(source_check(source, m, &findings, &err), err);
    assert_non_null(find(&findings, "disk.gone"));
    assert_non_null(find(&findings, "disk.new"));
    assert_non_null(find(&findings, "qemu.block_job"));
    assert_non_null(find(&findings, "scratch.dir"));
    for (size_t i = 0; i < findings.count; i++)
        if (findings.items[i].severity != FINDING_OK)
            assert_string_not_equal(findings.items[i].remedy, "");
    /* Nobody there. */
    findings_release(&findings);
    findings = (struct findings){0};
    rig_kill(&rig);
    MUST(source_check(source, m, &findings, &err), err);
    assert_non_null(find(&findings, "qmp.unreachable"));
    struct machine_def *none = NULL;
    size_t count;
    assert_false(source_discover(source, &none, &count, &err));
    print_message("%s\n", err.text);
    assert_int_equal(err.kind, FAIL_TRANSIENT);
    rig_release(&rig);
}

/* Disk set changes and foreign users of the disk: an error that says what to do, and the
 * machine as it was. */
static void test_refusals(void **state)
{
    struct rig rig = {0};
    struct err err = ERR_INIT;
    struct snapshot *s = NULL;
    (void)state;
    start(&rig);
    AUTO(source_close) struct source *source = rig_source(&rig, 0);
    AUTO(free) struct machine_def *m = rig_machine(source);
    struct snapshot_request request = {
        .machine = m, .cycle = 1, .previous_change_ids = {"", ""}};
    m->disk_count = 1;
    assert_false(source_snapshot_open(source, &request, NULL, &s, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    assert_non_null(strstr(err.text, "dr1"));
    err_clear(&err);
    m->disk_count = 2;
    (void)snprintf(m->disks[1].key, sizeof m->disks[1].key, "gone");
    assert_false(source_snapshot_open(source, &request, NULL, &s, &err));
    assert_int_equal(err.kind, FAIL_GONE);
    err_clear(&err);
    (void)snprintf(m->disks[1].key, sizeof m->disks[1].key, "dr1");
    AUTO(free) char *target = file_join(rig.dir, "foreign");
    json_t *job = json_object();
    json_put_text(job, "device", "dr1");
    json_put_text(job, "target", target);
    json_put_text(job, "job-id", "foreign");
    json_put_text(job, "sync", "none");
    json_decref(rig_call(&rig, "drive-backup", job));
    assert_false(source_snapshot_open(source, &request, NULL, &s, &err));
    print_message("%s\n", err.text);
    assert_int_equal(err.kind, FAIL_TRANSIENT);
    assert_non_null(strstr(err.text, "foreign"));
    err_clear(&err);
    job = json_object();
    json_put_text(job, "device", "foreign");
    json_decref(rig_call(&rig, "block-job-cancel", job));
    clock_sleep_ms(200);
    /* Another NBD server in that QEMU. */
    AUTO(free) char *socket_path = file_join(rig.dir, "other");
    json_t *address = json_object(), *data = json_object(), *server = json_object();
    json_put_text(data, "path", socket_path);
    json_put_text(address, "type", "unix");
    json_put_take(address, "data", data);
    json_put_take(server, "addr", address);
    json_decref(rig_call(&rig, "nbd-server-start", server));
    assert_false(source_snapshot_open(source, &request, NULL, &s, &err));
    print_message("%s\n", err.text);
    assert_non_null(strstr(err.text, "nbd-server-stop"));
    err_clear(&err);
    json_decref(rig_call(&rig, "nbd-server-stop", NULL));
    assert_int_equal(rig_leftovers(&rig), 0);
    MUST(source_snapshot_open(source, &request, NULL, &s, &err), err);
    MUST(snapshot_end(s, SNAPSHOT_FAILED, &err), err);
    rig_release(&rig);
}

/* QEMU 7.2 would end itself, and the guest with it. */
static void test_iothread_is_refused(void **state)
{
    struct rig rig = {.device_1 =
                          "virtio-blk-pci,drive=dr1,serial=S1,id=disk1,iothread=io1",
                      .extra = {"-object", "iothread,id=io1"}};
    struct err err = ERR_INIT;
    struct snapshot *s = NULL;
    AUTO(findings_release) struct findings findings = {0};
    (void)state;
    start(&rig);
    AUTO(source_close) struct source *source = rig_source(&rig, 0);
    AUTO(free) struct machine_def *m = rig_machine(source);
    MUST(source_check(source, m, &findings, &err), err);
    const struct finding *found = find(&findings, "disk.iothread");
    assert_non_null(found);
    assert_int_equal(found->severity, FINDING_BLOCKER);
    assert_non_null(strstr(found->what, "dr1"));
    struct snapshot_request request = {
        .machine = m, .cycle = 1, .previous_change_ids = {"", ""}};
    assert_false(source_snapshot_open(source, &request, NULL, &s, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    assert_int_equal(rig_leftovers(&rig), 0);
    rig_release(&rig);
}

static void test_raw_disk_is_tracked_while_qemu_lives(void **state)
{
    struct rig rig = {.format_1 = "raw"};
    struct err err = ERR_INIT;
    struct snapshot_disk_info info;
    char ids[RIG_DISKS][CHANGE_ID_MAX];
    (void)state;
    start(&rig);
    AUTO(source_close) struct source *source = rig_source(&rig, 0);
    AUTO(free) struct machine_def *m = rig_machine(source);
    struct snapshot *s = rig_open(source, m, 1, NULL, NULL);
    rig_change_ids(s, RIG_DISKS, ids);
    MUST(snapshot_end(s, SNAPSHOT_APPLIED, &err), err);
    rig_write(&rig, 1, 5, 0, 64 * KIB);
    s = rig_open(source, m, 2, ids, NULL);
    MUST(snapshot_disk_info(s, 1, &info, &err), err);
    assert_int_equal(info.knowledge, CHANGES_KNOWN);
    rig_expect_disk(s, 1, rig.model[1], rig.disk_bytes[1]);
    rig_change_ids(s, RIG_DISKS, ids);
    MUST(snapshot_end(s, SNAPSHOT_APPLIED, &err), err);
    rig_quit(&rig);
    rig_start(&rig);
    s = rig_open(source, m, 3, ids, NULL);
    MUST(snapshot_disk_info(s, 0, &info, &err), err);
    assert_int_equal(info.knowledge, CHANGES_KNOWN);
    MUST(snapshot_disk_info(s, 1, &info, &err), err);
    assert_int_equal(info.knowledge, CHANGES_LOST);
    assert_non_null(strstr(info.why, "raw"));
    MUST(snapshot_end(s, SNAPSHOT_FAILED, &err), err);
    rig_release(&rig);
}

static void test_shutdown(void **state)
{
    struct rig rig = {.boot_sector = BOOT_OBEYS};
    struct err err = ERR_INIT;
    (void)state;
    start(&rig);
    AUTO(source_close) struct source *source = rig_source(&rig, 0);
    AUTO(free) struct machine_def *m = rig_machine(source);
    assert_true(m->is_running);
    struct snapshot *s = rig_open(source, m, 1, NULL, NULL);
    MUST(source_shutdown(source, m, 60000, NULL, &err), err);
    MUST(source_shutdown(source, m, 1000, NULL, &err), err); /* off already */
    rig_expect_disk(s, 0, rig.model[0], rig.disk_bytes[0]);
    MUST(snapshot_end(s, SNAPSHOT_APPLIED, &err), err);
    s = rig_open(source, m, 2, NULL, NULL); /* the machine is off, its disks are there */
    rig_expect_disk(s, 0, rig.model[0], rig.disk_bytes[0]);
    MUST(snapshot_end(s, SNAPSHOT_FAILED, &err), err);
    rig_release(&rig);
}

static void test_shutdown_refused_or_impossible(void **state)
{
    struct rig rig = {.boot_sector = BOOT_IGNORES};
    struct err err = ERR_INIT;
    struct cancel cancel;
    (void)state;
    start(&rig);
    AUTO(source_close) struct source *source = rig_source(&rig, 0);
    AUTO(free) struct machine_def *m = rig_machine(source);
    assert_false(source_shutdown(source, m, 1500, NULL, &err));
    print_message("%s\n", err.text);
    assert_int_equal(err.kind, FAIL_TRANSIENT);
    err_clear(&err);
    cancel_init(&cancel);
    cancel_set(&cancel);
    assert_false(source_shutdown(source, m, 60000, &cancel, &err));
    assert_int_equal(err.kind, FAIL_CANCELED);
    cancel_release(&cancel);
    err_clear(&err);
    json_decref(rig_call(&rig, "stop", NULL));
    assert_false(source_shutdown(source, m, 60000, NULL, &err));
    print_message("%s\n", err.text);
    assert_int_equal(err.kind, FAIL_CONFLICT);
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_discover),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_iothread_is_refused),
        cmocka_unit_test(test_raw_disk_is_tracked_while_qemu_lives),
        cmocka_unit_test(test_shutdown),
        cmocka_unit_test(test_shutdown_refused_or_impossible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
