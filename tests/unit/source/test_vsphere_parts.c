/* SPDX-License-Identifier: Apache-2.0 */
/* Of the vsphere source, what needs no server: change ids, pre-flight of a machine as the
 * server describes it, definitions, and reads cut into pieces over a lane. */
#include "source/vsphere.h"

#include "base/text.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* ---- change ids ---- */

#define EPOCH "52 f3 b6 37 30 8d ea 3e-58 70 c0 fd 61 44 26 62"

static const struct vsphere_identity DISK = {.instance_uuid = "5029-vm",
                                             .backing_uuid = "6000C29a",
                                             .file_name = "[ds 1] web/web-000001.vmdk",
                                             .device_key = 2000,
                                             .disk_bytes = 64 * MIB};

static enum change_knowledge compare(const struct vsphere_identity *now, const char *raw,
                                     char why[200])
{
    char kept[CHANGE_ID_MAX], ask[VSPHERE_RAW_BYTES];
    vsphere_change_id_print(&DISK, EPOCH "/7", kept);
    assert_true(kept[0]);
    enum change_knowledge k = vsphere_change_id_compare(kept, now, raw, ask, why);
    if (k == CHANGES_KNOWN)
        assert_string_equal(ask, EPOCH "/7");
    else
        assert_string_equal(ask, "");
    return k;
}

static void must_be_lost(const struct vsphere_identity *now, const char *raw,
                         const char *because)
{
    char why[200] = "";
    assert_int_equal(compare(now, raw, why), CHANGES_LOST);
    if (!strstr(why, because))
        fail_msg("'%s' does not name '%s'", why, because);
}

static void same_disk_is_known(void **state)
{
    char why[200];
    struct vsphere_identity now = DISK;
    (void)state;
    assert_int_equal(compare(&DISK, EPOCH "/8", why), CHANGES_KNOWN);
    /* Powered off meanwhile: nothing was written, the sequence need not rise. */
    assert_int_equal(compare(&DISK, EPOCH "/7", why), CHANGES_KNOWN);
    /* Another file in the same folder: consolidation renames the leaf. */
    now.file_name = "[ds 1] web/web.vmdk";
    assert_int_equal(compare(&now, EPOCH "/9", why), CHANGES_KNOWN);
}

static void every_difference_is_named(void **state)
{
    struct vsphere_identity now = DISK;
    (void)state;
    must_be_lost(&DISK, "52 00 00 00 00 00 00 00-58 70 c0 fd 61 44 26 62/8", "reset");
    must_be_lost(&DISK, EPOCH "/6", "from 7 to 6");
    must_be_lost(&DISK, "", "not effective");
    must_be_lost(&DISK, "garbage", "form");
    now.disk_bytes += SECTOR_BYTES;
    must_be_lost(&now, EPOCH "/8", "resized");
    now = DISK;
    now.backing_uuid = "6000C29b";
    must_be_lost(&now, EPOCH "/8", "another disk");
    now = DISK;
    now.device_key = 2001;
    must_be_lost(&now, EPOCH "/8", "another disk");
    now = DISK;
    now.instance_uuid = "5029-other";
    must_be_lost(&now, EPOCH "/8", "instance UUID");
    now = DISK;
    now.file_name = "[ds 2] web/web-000001.vmdk";
    must_be_lost(&now, EPOCH "/8", "moved");
}

static void what_cannot_be_read_is_lost(void **state)
{
    static const char *const BAD[] = {
        "1 ",
        "1 x",
        "2 67108864.2000.00000000.00000000.00000000 " EPOCH "/7",
        "1 67108864.2000.00000000.00000000.00000000",
        "1 67108864.2000.00000000.00000000.00000000 ",
        "kedge-7-abcdef:12",
        "1 99999999999999999999999.2000.0.0.0 x/1",
    };
    char ask[VSPHERE_RAW_BYTES], why[200];
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++)
        assert_int_equal(vsphere_change_id_compare(BAD[i], &DISK, EPOCH "/8", ask, why),
                         CHANGES_LOST);
    assert_int_equal(vsphere_change_id_compare("", &DISK, EPOCH "/8", ask, why),
                     CHANGES_NONE);
}

static void an_id_too_long_to_keep_is_none(void **state)
{
    char raw[CHANGE_ID_MAX], kept[CHANGE_ID_MAX];
    (void)state;
    memset(raw, 'a', sizeof raw - 1);
    raw[sizeof raw - 1] = 0;
    vsphere_change_id_print(&DISK, raw, kept);
    assert_string_equal(kept, "");
    struct vsphere_identity large = DISK;
    large.disk_bytes = 62 * TIB;
    large.device_key = -2147483647;
    vsphere_change_id_print(&large, EPOCH "/4294967295", kept);
    assert_true(kept[0]);
}

/* ---- pre-flight and definition ---- */

static struct vim_disk disk_like(int32_t key)
{
    return (struct vim_disk){.key = key,
                             .label = "Hard disk 1",
                             .disk_bytes = 64 * MIB,
                             .controller_type = "ParaVirtualSCSIController",
                             .bus_sharing = "noSharing",
                             .mode = "persistent",
                             .sharing = "sharingNone",
                             .backing = VIM_BACKING_FLAT,
                             .backing_type = "VirtualDiskFlatVer2BackingInfo",
                             .file_name = "[ds 1] web/web.vmdk",
                             .uuid = "6000",
                             .change_id = "",
                             .content_id = "",
                             .lun_uuid = ""};
}

static struct vim_machine machine_like(const struct vim_disk *disks, size_t count)
{
    return (struct vim_machine){.ref = {"VirtualMachine", "vm-1"},
                                .name = "web",
                                .folder_path = "DC0/vm/Prod",
                                .uuid = "42",
                                .instance_uuid = "50",
                                .vmx_file = "[ds 1] web/web.vmx",
                                .hardware = "vmx-19",
                                .hardware_version = 19,
                                .firmware = "efi",
                                .cpus = 2,
                                .memory_bytes = GIB,
                                .power = VIM_POWER_ON,
                                .connection = "connected",
                                .has_tools_running = true,
                                .is_cbt_supported = true,
                                .is_snapshot_supported = true,
                                .disks = disks,
                                .disk_count = count};
}

static const struct finding *find(const struct findings *findings, const char *code)
{
    for (size_t i = 0; i < findings->count; i++)
        if (strcmp(findings->items[i].code, code) == 0)
            return &findings->items[i];
    return NULL;
}

static void must_find(const struct vim_machine *machine, const char *code,
                      enum finding_severity severity, const char *text)
{
    AUTO(findings_release) struct findings findings = {0};
    struct machine_def def;
    vsphere_define(machine, "esx1", &def);
    vsphere_check_machine(machine, &def, 3600 * 1000 * 1000ull, &findings);
    const struct finding *f = find(&findings, code);
    if (!f)
        fail_msg("no finding '%s'", code);
    assert_int_equal(f->severity, severity);
    if (severity != FINDING_OK)
        assert_true(f->remedy[0]);
    if (!strstr(f->why, text) && !strstr(f->what, text))
        fail_msg("'%s: %s' does not name '%s'", f->what, f->why, text);
}

static void a_good_machine_has_no_blocker(void **state)
{
    AUTO(findings_release) struct findings findings = {0};
    struct vim_disk disk = disk_like(2000);
    struct vim_machine machine = machine_like(&disk, 1);
    struct machine_def def;
    (void)state;
    vsphere_define(&machine, "esx1", &def);
    vsphere_check_machine(&machine, &def, 0, &findings);
    assert_false(findings_have_blocker(&findings));
    for (size_t i = 0; i < findings.count; i++)
        assert_int_equal(findings.items[i].severity, FINDING_OK);
}

static void each_disk_obstacle_is_named(void **state)
{
    struct vim_disk disk = disk_like(2000);
    struct vim_machine machine = machine_like(&disk, 1);
    (void)state;
    disk.mode = "independent_persistent";
    must_find(&machine, "disk.independent", FINDING_BLOCKER, "Hard disk 1");
    disk = disk_like(2000);
    disk.backing = VIM_BACKING_RDM;
    disk.is_physical_rdm = true;
    must_find(&machine, "disk.rdm", FINDING_BLOCKER, "physical");
    disk.is_physical_rdm = false;
    must_find(&machine, "disk.rdm", FINDING_WARNING, "virtual mode");
    disk = disk_like(2000);
    disk.sharing = "sharingMultiWriter";
    must_find(&machine, "disk.multi_writer", FINDING_BLOCKER, "multi-writer");
    disk = disk_like(2000);
    disk.bus_sharing = "physicalSharing";
    must_find(&machine, "disk.bus_sharing", FINDING_BLOCKER, "bus sharing");
    disk = disk_like(2000);
    disk.is_encrypted = true;
    must_find(&machine, "disk.encrypted", FINDING_WARNING, "encrypted");
    disk = disk_like(2000);
    disk.disk_bytes = 1000;
    must_find(&machine, "disk.size", FINDING_BLOCKER, "1000");
}

static void each_machine_obstacle_is_named(void **state)
{
    struct vim_disk disk = disk_like(2000);
    struct vim_machine machine = machine_like(&disk, 1), good = machine;
    struct vim_disk many[MACHINE_MAX_DISKS + 1];
    (void)state;
    machine.hardware_version = 4;
    must_find(&machine, "machine.hardware", FINDING_BLOCKER, "4");
    machine = good;
    machine.is_cbt_supported = false;
    must_find(&machine, "machine.no_tracking", FINDING_BLOCKER, "not supported");
    machine = good;
    machine.is_fault_tolerant = true;
    must_find(&machine, "machine.fault_tolerance", FINDING_BLOCKER, "fault tolerance");
    machine = good;
    machine.has_passthrough = true;
    must_find(&machine, "machine.passthrough", FINDING_BLOCKER, "PCI");
    machine = good;
    machine.connection = "inaccessible";
    must_find(&machine, "machine.connection", FINDING_BLOCKER, "inaccessible");
    machine = good;
    machine.has_tools_running = false;
    must_find(&machine, "machine.no_tools", FINDING_WARNING, "Tools");
    machine = good;
    machine.is_consolidation_needed = true;
    must_find(&machine, "disk.consolidation_needed", FINDING_WARNING, "consolidation");
    for (size_t i = 0; i < ARRAY_COUNT(many); i++)
        many[i] = disk_like(2000 + (int32_t)i);
    machine = machine_like(many, ARRAY_COUNT(many));
    must_find(&machine, "machine.too_many_disks", FINDING_BLOCKER, "61");
    machine = machine_like(NULL, 0);
    must_find(&machine, "machine.no_disks", FINDING_BLOCKER, "no disk");
}

static void snapshots_are_named_with_their_age(void **state)
{
    struct vim_disk disk = disk_like(2000);
    struct vim_machine machine = machine_like(&disk, 1);
    struct vim_snapshot snapshot = {.ref = {"VirtualMachineSnapshot", "snapshot-1"},
                                    .name = "before upgrade",
                                    .description = "",
                                    .created_wall_ms = 3600 * 1000 * 1000ull - 7200000};
    (void)state;
    machine.snapshots = &snapshot;
    machine.snapshot_count = 1;
    must_find(&machine, "snapshot.exists", FINDING_BLOCKER, "before upgrade");
    must_find(&machine, "snapshot.exists", FINDING_BLOCKER, "2h");
    snapshot.name = "kedge-3-0011aabb";
    must_find(&machine, "snapshot.exists", FINDING_BLOCKER, "kedge-3");
    snapshot.description = "Kedge replication of machine 00, cycle 3.";
    must_find(&machine, "snapshot.kedge", FINDING_WARNING, "kedge-3");
}

static void only_snapshots_of_this_machine_are_ours(void **state)
{
    struct vsphere_snapshot *ours = xcalloc(1, sizeof *ours);
    char description[200];
    (void)state;
    ours->cycle = 12;
    ours->machine_id.bytes[0] = 7;
    vsphere_snapshot_name(ours);
    vsphere_snapshot_describe(ours, description, sizeof description);
    struct vim_snapshot there = {.name = ours->name, .description = description};
    struct id other = ours->machine_id;
    other.bytes[15] = 1;
    assert_true(text_starts_with(ours->name, "kedge-12-"));
    assert_true(vsphere_snapshot_is_ours(&there, &ours->machine_id));
    assert_false(vsphere_snapshot_is_ours(&there, &other));
    assert_true(vsphere_snapshot_is_kedge(&there));
    there.description = "";
    assert_false(vsphere_snapshot_is_ours(&there, &ours->machine_id));
    there.description = description;
    there.name = "nightly";
    assert_false(vsphere_snapshot_is_kedge(&there));
    free(ours);
}

static void definitions_keep_what_counts(void **state)
{
    struct vim_disk disk = disk_like(2016);
    struct vim_nic nic = {
        .type = "VirtualVmxnet3", .mac = "00:50:56:00:00:01", .network = "Bürö"};
    struct vim_machine machine = machine_like(&disk, 1);
    struct machine_def def;
    char name[200] = "";
    (void)state;
    machine.nics = &nic;
    machine.nic_count = 1;
    for (size_t i = 0; i < 40; i++)
        memcpy(name + 2 * i, "ü", 3);
    machine.name = name;
    vsphere_define(&machine, "esx1.lab", &def);
    assert_string_equal(def.key, "50");
    assert_string_equal(def.host, "esx1.lab");
    assert_int_equal(def.firmware, FIRMWARE_UEFI);
    assert_true(def.is_running);
    assert_string_equal(def.disks[0].key, "2016");
    assert_string_equal(def.disks[0].datastore, "ds 1");
    assert_string_equal(def.disks[0].bus, "pvscsi");
    assert_string_equal(def.nics[0].model, "vmxnet3");
    assert_string_equal(def.nics[0].network, "Bürö");
    /* 63 bytes would end in the middle of a character. */
    assert_int_equal(strlen(def.name), 62);
    machine.instance_uuid = "";
    vsphere_define(&machine, NULL, &def);
    assert_string_equal(def.key, "moref:vm-1");
}

/* ---- reads over a lane ---- */

/* Content: each sector begins with its number. Answers come newest first. */
struct test_lane {
    struct lane base;
    struct lane_read *stack;
    size_t in_flight, most, submits;
    uint64_t fail_at; /* a read that holds this offset fails; UINT64_MAX: none */
    bool refuses;
};

static bool lane_submit(struct lane *base, struct lane_read *read, struct err *err)
{
    struct test_lane *lane = (struct test_lane *)base;
    assert_true(read->length_bytes >= SECTOR_BYTES);
    assert_true(read->length_bytes <= LANE_READ_MAX_BYTES);
    assert_int_equal(read->length_bytes % SECTOR_BYTES, 0);
    assert_int_equal(read->offset_bytes % SECTOR_BYTES, 0);
    if (lane->refuses)
        return err_set(err, FAIL_INPUT, "not this one");
    read->next = lane->stack;
    lane->stack = read;
    lane->submits++;
    lane->in_flight++;
    lane->most = MAX_OF(lane->most, lane->in_flight);
    assert_true(lane->in_flight <= LANE_MAX_IN_FLIGHT);
    return true;
}

static struct lane_read *lane_next(struct lane *base, const struct cancel *cancel,
                                   struct err *err)
{
    struct test_lane *lane = (struct test_lane *)base;
    struct lane_read *read = lane->stack;
    if (!cancel_check(cancel, err))
        return NULL;
    if (!read) {
        (void)err_set(err, FAIL_BUG, "none in flight");
        return NULL;
    }
    lane->stack = read->next;
    lane->in_flight--;
    read->ok = !(lane->fail_at >= read->offset_bytes &&
                 lane->fail_at < read->offset_bytes + read->length_bytes);
    if (!read->ok)
        (void)err_set(&read->err, FAIL_TRANSIENT, "lost");
    for (uint64_t at = 0; read->ok && at < read->length_bytes; at += SECTOR_BYTES) {
        uint64_t number = (read->offset_bytes + at) / SECTOR_BYTES;
        memcpy(read->data + at, &number, sizeof number);
    }
    return read;
}

static void lane_close(struct lane *base)
{
    ((struct test_lane *)base)->refuses = true;
}

static const struct transport_ops LANE_OPS = {
    .name = "test", .submit = lane_submit, .next = lane_next, .lane_close = lane_close};
static const struct source_ops READER_OPS = {.kind = "test"};

static struct test_lane lane_new(void)
{
    return (struct test_lane){.base.ops = &LANE_OPS, .fail_at = UINT64_MAX};
}

static void fill_request(struct read_request *request, uint64_t offset, uint32_t length)
{
    *request = (struct read_request){
        .offset_bytes = offset, .length_bytes = length, .data = xcalloc(1, length)};
}

static void check_content(const struct read_request *request)
{
    for (uint64_t at = 0; at < request->length_bytes; at += SECTOR_BYTES) {
        uint64_t number;
        memcpy(&number, request->data + at, sizeof number);
        assert_int_equal(number, (request->offset_bytes + at) / SECTOR_BYTES);
    }
}

static void reads_are_cut_and_joined(void **state)
{
    static const uint32_t LENGTHS[] = {512, MIB, MIB + 512, 4 * MIB, 3 * MIB - 512};
    struct test_lane lane = lane_new();
    struct read_request requests[ARRAY_COUNT(LENGTHS)];
    struct err err = ERR_INIT;
    (void)state;
    struct reader *reader = vsphere_reader_new(&READER_OPS, NULL, 0, &lane.base);
    for (size_t i = 0; i < ARRAY_COUNT(LENGTHS); i++) {
        fill_request(&requests[i], i * 8 * MIB + 512, LENGTHS[i]);
        assert_true(vsphere_reader_submit(reader, &requests[i], &err));
    }
    assert_int_equal(lane.submits, 1 + 1 + 2 + 4 + 3);
    for (size_t i = 0; i < ARRAY_COUNT(LENGTHS); i++) {
        struct read_request *done = vsphere_reader_next(reader, NULL, &err);
        assert_non_null(done);
        assert_true(done->ok);
        check_content(done);
        free(done->data);
    }
    assert_null(vsphere_reader_next(reader, NULL, &err));
    assert_int_equal(err.kind, FAIL_BUG);
    vsphere_reader_close(reader);
}

static void many_large_reads_fit_a_small_lane(void **state)
{
    struct test_lane lane = lane_new();
    struct read_request *requests = xcalloc(READER_MAX_IN_FLIGHT, sizeof *requests);
    struct err err = ERR_INIT;
    (void)state;
    struct reader *reader = vsphere_reader_new(&READER_OPS, NULL, 0, &lane.base);
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < READER_MAX_IN_FLIGHT; i++) {
            fill_request(&requests[i], i * 4 * MIB, 4 * MIB);
            assert_true(vsphere_reader_submit(reader, &requests[i], &err));
        }
        struct read_request one_more = {.length_bytes = 512};
        struct err full = ERR_INIT;
        assert_false(vsphere_reader_submit(reader, &one_more, &full));
        for (size_t i = 0; i < READER_MAX_IN_FLIGHT; i++) {
            struct read_request *done = vsphere_reader_next(reader, NULL, &err);
            assert_non_null(done);
            assert_true(done->ok);
            check_content(done);
            free(done->data);
        }
    }
    assert_int_equal(lane.most, LANE_MAX_IN_FLIGHT);
    vsphere_reader_close(reader);
    free(requests);
}

/* A read whose piece fails comes back once, failed, after all its pieces; others are
 * whole. */
static void one_failed_piece_fails_its_read_alone(void **state)
{
    struct test_lane lane = lane_new();
    struct read_request *requests = xcalloc(40, sizeof *requests);
    struct err err = ERR_INIT;
    size_t failed = 0;
    (void)state;
    lane.fail_at = 21 * 4 * MIB + MIB + 512;
    struct reader *reader = vsphere_reader_new(&READER_OPS, NULL, 0, &lane.base);
    for (size_t i = 0; i < 40; i++) {
        fill_request(&requests[i], i * 4 * MIB, 4 * MIB);
        assert_true(vsphere_reader_submit(reader, &requests[i], &err));
    }
    for (size_t i = 0; i < 40; i++) {
        struct read_request *done = vsphere_reader_next(reader, NULL, &err);
        assert_non_null(done);
        if (done->ok)
            check_content(done);
        else
            assert_true(done == &requests[21] && done->err.kind == FAIL_TRANSIENT);
        failed += !done->ok;
        free(done->data);
    }
    assert_int_equal(failed, 1);
    assert_int_equal(lane.in_flight, 0);
    vsphere_reader_close(reader);
    free(requests);
}

static void a_lane_that_refuses_fails_the_read(void **state)
{
    struct test_lane lane = lane_new();
    struct read_request request;
    struct err err = ERR_INIT;
    (void)state;
    lane.refuses = true;
    struct reader *reader = vsphere_reader_new(&READER_OPS, NULL, 0, &lane.base);
    fill_request(&request, 0, 2 * MIB);
    assert_true(vsphere_reader_submit(reader, &request, &err));
    struct read_request *done = vsphere_reader_next(reader, NULL, &err);
    assert_ptr_equal(done, &request);
    assert_false(done->ok);
    assert_int_equal(done->err.kind, FAIL_INPUT);
    vsphere_reader_close(reader);
    free(request.data);
}

static void cancel_ends_the_wait(void **state)
{
    struct test_lane lane = lane_new();
    struct read_request request;
    struct cancel cancel;
    struct err err = ERR_INIT;
    (void)state;
    cancel_init(&cancel);
    cancel_set(&cancel);
    struct reader *reader = vsphere_reader_new(&READER_OPS, NULL, 0, &lane.base);
    fill_request(&request, 0, 512);
    assert_true(vsphere_reader_submit(reader, &request, &err));
    assert_null(vsphere_reader_next(reader, &cancel, &err));
    assert_int_equal(err.kind, FAIL_CANCELED);
    vsphere_reader_close(reader);
    free(request.data);
    cancel_release(&cancel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_disk_is_known),
        cmocka_unit_test(every_difference_is_named),
        cmocka_unit_test(what_cannot_be_read_is_lost),
        cmocka_unit_test(an_id_too_long_to_keep_is_none),
        cmocka_unit_test(a_good_machine_has_no_blocker),
        cmocka_unit_test(each_disk_obstacle_is_named),
        cmocka_unit_test(each_machine_obstacle_is_named),
        cmocka_unit_test(snapshots_are_named_with_their_age),
        cmocka_unit_test(only_snapshots_of_this_machine_are_ours),
        cmocka_unit_test(definitions_keep_what_counts),
        cmocka_unit_test(reads_are_cut_and_joined),
        cmocka_unit_test(many_large_reads_fit_a_small_lane),
        cmocka_unit_test(one_failed_piece_fails_its_read_alone),
        cmocka_unit_test(a_lane_that_refuses_fails_the_read),
        cmocka_unit_test(cancel_ends_the_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
