/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts: data objects in and out, envelopes, faults, machines from answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/file.h"
#include "vsphere/vim_build.h"
#include "vsphere/vim_change.h"
#include "vsphere/vim_fault.h"
#include "vsphere/vim_property.h"
#include "vsphere/vim_soap.h"

#define SOAP_START                                                                       \
    "<S:Envelope xmlns:S='http://schemas.xmlsoap.org/soap/envelope/' "                   \
    "xmlns:_XMLSchema-instance='" XML_XSI "'><S:Body>"
#define SOAP_END "</S:Body></S:Envelope>"

struct read_machine {
    struct wire_arena arena;
    struct wire_MachineProperties told;
};

/* What vim_property.c does with one object. */
static bool read_object(void *arg, struct xml_reader *reader, struct err *err)
{
    struct read_machine *read = arg;
    for (struct xml_mark page = xml_mark(reader); xml_next(reader, &page, err);)
        for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);)
            if (xml_is(reader, "propSet") &&
                !vim_property_read(reader, wire_type_MachineProperties(), &read->arena,
                                   &read->told, err))
                return false;
    return !xml_failed(reader);
}

static bool read_answer(const char *method, const char *body, vim_return_fn on_return,
                        void *arg, struct err *err)
{
    struct vim_fault_seen fault;
    struct vim_soap_answer answer = {
        .method = method,
        .body = body,
        .body_bytes = strlen(body),
        .on_return = on_return,
        .arg = arg,
    };
    return vim_soap_read(&answer, &fault, err);
}

static void read_golden(struct read_machine *read, struct vim_machine *machine)
{
    AUTO(buf_release) struct buf text = {0};
    struct err err = ERR_INIT;
    assert_true(file_read(KEDGE_GOLDEN "/vim25/machine.xml", MIB, &text, &err));
    if (!read_answer("RetrievePropertiesEx", buf_text(&text), read_object, read, &err))
        fail_msg("%s", err.text);
    static const struct vim_portgroup groups[] = {{"dvportgroup-9", "x"},
                                                  {"dvportgroup-17", "Prod %2f 1"}};
    const struct vim_portgroups portgroups = {groups, 2};
    *machine = (struct vim_machine){0};
    if (!vim_build_machine(&read->told, &portgroups, &read->arena, machine, &err))
        fail_msg("%s", err.text);
}

static void test_machine_of_a_real_answer(void **state)
{
    (void)state;
    struct read_machine read = {0};
    struct vim_machine m;
    read_golden(&read, &m);
    assert_string_equal(m.name, "B\xc3\xbcro / \xe6\x97\xa5\xe6\x9c\xac % a\\b");
    assert_string_equal(m.vmx_file, "[Daten 1] b\xc3\xbcro/b\xc3\xbcro.vmx");
    assert_string_equal(m.firmware, "efi");
    assert_int_equal(m.hardware_version, 21);
    assert_int_equal(m.cpus, 4);
    assert_int_equal(m.memory_bytes, 8 * GIB);
    assert_int_equal(m.power, VIM_POWER_ON);
    assert_string_equal(m.host.id, "host-21");
    assert_true(m.has_tpm && m.is_encrypted && m.is_fault_tolerant);
    assert_true(m.is_cbt_supported && m.is_cbt_enabled && m.is_consolidation_needed);
    assert_true(m.has_tools_running && m.is_snapshot_supported);
    assert_false(m.is_template || m.has_passthrough);
    assert_string_equal(m.guest_name, "");
    assert_int_equal(m.datastore_count, 2);
    assert_string_equal(m.datastores[1].id, "datastore-12");

    assert_int_equal(m.nic_count, 2);
    assert_string_equal(m.nics[0].network, "Prod / 1");
    assert_true(m.nics[0].is_connected);
    assert_string_equal(m.nics[1].network, "VM Network / DMZ");
    assert_string_equal(m.nics[1].type, "VirtualE1000e");
    wire_arena_release(&read.arena);
}

static void test_disks_of_a_real_answer(void **state)
{
    (void)state;
    struct read_machine read = {0};
    struct vim_machine m;
    read_golden(&read, &m);
    assert_int_equal(m.disk_count, 3);
    const struct vim_disk *first = &m.disks[0];
    const struct vim_disk *second = &m.disks[1];
    const struct vim_disk *third = &m.disks[2];

    assert_int_equal(first->key, 2000);
    assert_int_equal(first->disk_bytes, 16 * GIB);
    assert_int_equal(first->backing, VIM_BACKING_FLAT);
    assert_true(first->is_thin && first->is_encrypted);
    assert_string_equal(first->change_id, "");
    assert_int_equal(first->chain_count, 0);
    assert_false(vim_disk_is_independent(first));

    assert_int_equal(second->key, 2001);
    assert_int_equal(second->backing, VIM_BACKING_SE_SPARSE);
    assert_string_equal(second->controller_type, "ParaVirtualSCSIController");
    assert_int_equal(second->controller_bus, 0);
    assert_int_equal(second->unit, 1);
    assert_int_equal(second->chain_count, 2);
    assert_string_equal(second->chain[1], "[Daten 1] b\xc3\xbcro/b\xc3\xbcro_1.vmdk");
    char epoch[VIM_EPOCH_BYTES];
    uint64_t sequence = 0;
    assert_true(vim_change_id_split(second->change_id, epoch, &sequence));
    assert_string_equal(epoch, "52 f3 b6 37 30 8d ea 3e-58 70 c0 fd 61 44 26 62");
    assert_int_equal(sequence, 7);

    assert_int_equal(third->disk_bytes, GIB); /* from KiB: bytes are absent */
    assert_int_equal(third->backing, VIM_BACKING_RDM);
    assert_true(third->is_physical_rdm && vim_disk_is_independent(third));
    assert_string_equal(third->bus_sharing, "physicalSharing");
    assert_string_equal(third->sharing, "sharingMultiWriter");
    wire_arena_release(&read.arena);
}

static void test_snapshots_of_a_real_answer(void **state)
{
    (void)state;
    struct read_machine read = {0};
    struct vim_machine m;
    read_golden(&read, &m);
    assert_int_equal(m.snapshot_count, 2);
    assert_string_equal(m.snapshots[0].name, "vor / Update");
    assert_int_equal(m.snapshots[0].parent_index, -1);
    assert_false(m.snapshots[0].is_current);
    assert_int_equal(m.snapshots[0].created_wall_ms, 1793514600250ull);
    assert_int_equal(m.snapshots[1].parent_index, 0);
    assert_true(m.snapshots[1].is_current && m.snapshots[1].is_quiesced);
    assert_int_equal(m.snapshots[1].created_wall_ms, 1793601000000ull);
    wire_arena_release(&read.arena);
}

static void test_times(void **state)
{
    (void)state;
    assert_int_equal(wire_time_ms("1970-01-01T00:00:01Z"), 1000);
    assert_int_equal(wire_time_ms("1970-01-01T01:00:01.5+01:00"), 1500);
    assert_int_equal(wire_time_ms("1970-01-01T00:00:01.123456789-00:30"), 1801123);
    assert_int_equal(wire_time_ms("1969-01-01T00:00:00Z"), 0);
    assert_int_equal(wire_time_ms("yesterday"), 0);
    assert_int_equal(wire_time_ms(""), 0);
    assert_int_equal(wire_time_ms(NULL), 0);
}

static void test_change_ids_of_other_forms(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "*", "abc", "/7", "abc/", "abc/x", "abc/-1", "abc/99999999999999999999999"};
    char epoch[VIM_EPOCH_BYTES];
    uint64_t sequence = 0;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_false(vim_change_id_split(bad[i], epoch, &sequence));
    char longer[100];
    memset(longer, 'a', sizeof longer);
    memcpy(longer + 70, "/1", 3);
    assert_false(vim_change_id_split(longer, epoch, &sequence));
}

static void test_request_in_the_order_of_the_schema(void **state)
{
    (void)state;
    struct wire_QueryChangedDiskAreas args = {
        ._this = {"VirtualMachine", "vm-1&2"},
        .changeId = "52 <a>/1",
        .startOffset = WIRE_INT(4398046511104),
        .deviceKey = WIRE_INT(2000),
    };
    AUTO(buf_release) struct buf out = {0};
    struct err err = ERR_INIT;
    assert_true(vim_soap_write(wire_type_QueryChangedDiskAreas(), &args, &out, &err));
    assert_non_null(strstr(
        buf_text(&out),
        "<QueryChangedDiskAreas xmlns=\"urn:vim25\">"
        "<_this type=\"VirtualMachine\">vm-1&amp;2</_this><deviceKey>2000</deviceKey>"
        "<startOffset>4398046511104</startOffset><changeId>52 &lt;a&gt;/1</changeId>"
        "</QueryChangedDiskAreas>"));
}

static void test_request_that_cannot_be_written(void **state)
{
    (void)state;
    AUTO(buf_release) struct buf out = {0};
    struct err err = ERR_INIT;
    struct wire_Login no_password = {._this = {"SessionManager", "s"}, .userName = "u"};
    assert_false(vim_soap_write(wire_type_Login(), &no_password, &out, &err));
    assert_int_equal(err.kind, FAIL_BUG);
    err_clear(&err);
    struct wire_Login control = {._this = {"SessionManager", "s"},
                                 .userName = "u",
                                 .password = "se\x01"
                                             "cret"};
    assert_false(vim_soap_write(wire_type_Login(), &control, &out, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    assert_null(strstr(err.text, "cret"));
}

static bool read_areas(void *arg, struct xml_reader *reader, struct err *err)
{
    AUTO(wire_arena_release) struct wire_arena arena = {.max_bytes = 64 * KIB};
    return wire_read(wire_type_DiskChangeInfo(), reader, &arena, arg, err);
}

static void test_answers_of_wrong_form(void **state)
{
    (void)state;
#define ANSWER(inner)                                                                    \
    SOAP_START "<QueryChangedDiskAreasResponse xmlns='urn:vim25'><returnval>" inner      \
               "</returnval></QueryChangedDiskAreasResponse>" SOAP_END
    static const struct {
        const char *body;
        enum err_kind kind;
    } cases[] = {
        {ANSWER("<startOffset>0</startOffset><length> 8 </length>"), FAIL_NONE},
        {ANSWER("<length>8</length><startOffset>0</startOffset><newer><x/></newer>"),
         FAIL_NONE},
        {ANSWER("<startOffset>0</startOffset>"), FAIL_CORRUPT},
        {ANSWER("<startOffset>x</startOffset><length>8</length>"), FAIL_CORRUPT},
        {ANSWER("<startOffset></startOffset><length>8</length>"), FAIL_CORRUPT},
        {ANSWER("<startOffset>1.5</startOffset><length>8</length>"), FAIL_CORRUPT},
        {ANSWER("<startOffset>9223372036854775808</startOffset><length>8</length>"),
         FAIL_CORRUPT},
        {ANSWER("<startOffset><a/></startOffset><length>8</length>"), FAIL_CORRUPT},
        {ANSWER("<startOffset>0</startOffset><length>8</length><changedArea/>"),
         FAIL_CORRUPT},
        {SOAP_START "<OtherResponse/>" SOAP_END, FAIL_CORRUPT},
        {SOAP_START SOAP_END, FAIL_CORRUPT},
        {"<S:Envelope xmlns:S='http://schemas.xmlsoap.org/soap/envelope/'/>",
         FAIL_CORRUPT},
        {"<html/>", FAIL_CORRUPT},
        {"", FAIL_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct wire_DiskChangeInfo page = {0};
        struct err err = ERR_INIT;
        bool ok =
            read_answer("QueryChangedDiskAreas", cases[i].body, read_areas, &page, &err);
        assert_int_equal(ok, cases[i].kind == FAIL_NONE);
        assert_int_equal(err.kind, cases[i].kind);
        if (!ok)
            assert_non_null(strstr(err.text, "QueryChangedDiskAreas"));
    }
}

static void test_numbers_have_their_width(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        bool is_fine;
    } cases[] = {
        {"<d><key>2147483647</key></d>", true},
        {"<d><key>-2147483648</key></d>", true},
        {"<d><key>2147483648</key></d>", false},
        {"<d><key>4294969296</key></d>", false}, /* 2000 when cut */
        {"<d><key>1</key><capacityInKB>4294969296</capacityInKB></d>", true},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        AUTO(wire_arena_release) struct wire_arena arena = {0};
        struct err err = ERR_INIT;
        AUTO(xml_reader_close)
        struct xml_reader *reader =
            xml_reader_open("test", cases[i].body, strlen(cases[i].body), &err);
        struct wire_VirtualDevice device;
        bool ok = wire_read(wire_type_VirtualDevice(), reader, &arena, &device, &err);
        assert_int_equal(ok, cases[i].is_fine);
        assert_int_equal(err.kind, ok ? FAIL_NONE : FAIL_CORRUPT);
    }
}

static void test_an_answer_beyond_its_memory(void **state)
{
    (void)state;
    AUTO(buf_release) struct buf body = {0};
    buf_append_text(&body, SOAP_START "<QueryChangedDiskAreasResponse><returnval>"
                                      "<startOffset>0</startOffset><length>8</length>");
    for (int i = 0; i < 2000; i++)
        buf_append_text(&body, "<changedArea><start>0</start><length>1</length>"
                               "</changedArea>");
    buf_append_text(&body, "</returnval></QueryChangedDiskAreasResponse>" SOAP_END);
    struct wire_DiskChangeInfo page;
    struct err err = ERR_INIT;
    assert_false(
        read_answer("QueryChangedDiskAreas", buf_text(&body), read_areas, &page, &err));
    assert_int_equal(err.kind, FAIL_LIMIT);
}

static void test_faults_of_every_form(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        enum err_kind kind;
        const char *holds;
    } cases[] = {
        {SOAP_START
         "<S:Fault><faultcode>ServerFaultCode</faultcode>"
         "<faultstring>Cannot complete login</faultstring>"
         "<detail><InvalidLoginFault xmlns='urn:vim25' "
         "_XMLSchema-instance:type='InvalidLogin'/></detail></S:Fault>" SOAP_END,
         FAIL_AUTH, "InvalidLogin: Cannot complete login; check user name"},
        {SOAP_START "<S:Fault><faultstring/><detail>"
                    "<NotAuthenticatedFault/></detail></S:Fault>" SOAP_END,
         FAIL_AUTH, "NotAuthenticated"},
        {SOAP_START
         "<S:Fault><faultstring></faultstring><detail>"
         "<NoPermissionFault _XMLSchema-instance:type='vim25:NoPermission'>"
         "<object type='VirtualMachine'>vm-1</object><privilegeId>"
         "VirtualMachine.State.CreateSnapshot</privilegeId></NoPermissionFault>"
         "</detail></S:Fault>" SOAP_END,
         FAIL_AUTH, "VirtualMachine.State.CreateSnapshot on VirtualMachine vm-1"},
        {SOAP_START "<S:Fault><faultstring>x</faultstring></S:Fault>" SOAP_END, FAIL_IO,
         "fault without a type: x"},
        {SOAP_START "<S:Fault><faultstring>busy\x09;\x0a x</faultstring><detail>"
                    "<TaskInProgressFault _XMLSchema-instance:type='TaskInProgress'/>"
                    "</detail></S:Fault>" SOAP_END,
         FAIL_TRANSIENT, "another task of this machine is running"},
        {SOAP_START "<S:Fault><faultstring>y</faultstring><detail><FutureFault "
                    "_XMLSchema-instance:type='Future'/></detail></S:Fault>" SOAP_END,
         FAIL_IO, "Future: y"},
        {SOAP_START "<S:Fault><faultstring>a<b/></faultstring></S:Fault>" SOAP_END,
         FAIL_CORRUPT, "faultstring"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct err err = ERR_INIT;
        assert_false(read_answer("Login", cases[i].body, NULL, NULL, &err));
        assert_int_equal(err.kind, cases[i].kind);
        if (!strstr(err.text, cases[i].holds))
            fail_msg("'%s' is not in '%s'", cases[i].holds, err.text);
    }
}

static void test_texts_of_faults_decide_where_types_do_not(void **state)
{
    (void)state;
    static const struct {
        struct vim_fault fault;
        enum err_kind kind;
    } cases[] = {
        {{"FileFault", "Error caused by file x.vmdk", NULL}, FAIL_IO},
        {{"FileFault", "Failed to lock the file", NULL}, FAIL_TRANSIENT},
        {{"GenericVmConfigFault", "Unable to lock", NULL}, FAIL_TRANSIENT},
        {{"GenericVmConfigFault", "Something", NULL}, FAIL_IO},
        {{"GenericVmConfigFault", "No space left on device", NULL}, FAIL_NO_SPACE},
        {{"SystemError", "Out of HTTP sessions: Limited to 2000", NULL}, FAIL_TRANSIENT},
        {{NULL, NULL, NULL}, FAIL_IO},
        {{"", "", ""}, FAIL_IO},
        {{"MethodNotFound", "", NULL}, FAIL_CONFLICT},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct err err = ERR_INIT;
        assert_false(vim_fault_set(&err, "x", &cases[i].fault));
        assert_int_equal(err.kind, cases[i].kind);
    }
    struct err err = ERR_INIT;
    struct vim_fault escape = {"A\x1b[31m", "b\r\nc", "d"};
    assert_false(vim_fault_set(&err, "x", &escape));
    assert_null(strpbrk(err.text, "\x1b\r\n"));
}

/* bsearch needs the order; a row out of order would never be found. */
static void test_fault_rules_are_found(void **state)
{
    (void)state;
    static const char *const types[] = {
        "AlreadyExists",
        "FileFault",
        "FileLocked",
        "HostNotConnected",
        "InvalidLogin",
        "ManagedObjectNotFound",
        "NoDiskSpace",
        "NoPermission",
        "NotAuthenticated",
        "RequestCanceled",
        "SnapshotIncompatibleDeviceInVm",
        "TaskInProgress",
        "TooManySnapshotLevels",
        "VmFaultToleranceIssue",
    };
    for (size_t i = 0; i < ARRAY_COUNT(types); i++)
        assert_non_null(vim_fault_rule_find(types[i]));
    assert_null(vim_fault_rule_find("Nothing"));
    assert_null(vim_fault_rule_find(""));
}

/* No field may be read or written past what its struct is. */
static void test_descriptions_fit_their_structs(void **state)
{
    (void)state;
    const struct wire_type *types[] = {
        wire_type_MachineProperties(),
        wire_type_VirtualDevice(),
        wire_type_MethodFault(),
        wire_type_ServiceContent(),
    };
    for (size_t i = 0; i < ARRAY_COUNT(types); i++)
        for (size_t f = 0; f < types[i]->field_count; f++) {
            assert_true(types[i]->fields[f].offset < types[i]->struct_bytes);
            for (size_t g = 0; g < f; g++) /* an element lands in one field */
                assert_string_not_equal(types[i]->fields[f].name,
                                        types[i]->fields[g].name);
        }
    assert_true(wire_type_MachineProperties()->field_count <= VIM_PATHS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_machine_of_a_real_answer),
        cmocka_unit_test(test_disks_of_a_real_answer),
        cmocka_unit_test(test_snapshots_of_a_real_answer),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_change_ids_of_other_forms),
        cmocka_unit_test(test_request_in_the_order_of_the_schema),
        cmocka_unit_test(test_request_that_cannot_be_written),
        cmocka_unit_test(test_answers_of_wrong_form),
        cmocka_unit_test(test_numbers_have_their_width),
        cmocka_unit_test(test_an_answer_beyond_its_memory),
        cmocka_unit_test(test_faults_of_every_form),
        cmocka_unit_test(test_texts_of_faults_decide_where_types_do_not),
        cmocka_unit_test(test_fault_rules_are_found),
        cmocka_unit_test(test_descriptions_fit_their_structs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
