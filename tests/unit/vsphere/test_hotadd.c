/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hotadd against the simulated vSphere, which shows attached disks as files: the bytes
 * are the frozen ones, and whatever happens no disk of ours stays attached and none of
 * others is taken off.
 */
#include "base/file.h"
#include "base/text.h"
#include "support/vsphere_sim.h"
#include "vsphere/hotadd_gateway.h"
#include "vsphere/transport.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/evp.h>

#include <cmocka.h>

#define DISK_BYTES (8 * MIB)
#define READ_BYTES (128 * KIB)
#define DEPTH      12
#define GATEWAY    "gateway"

static struct vsphere_sim *sim;
static struct vim *vim;
static char dir[] = "/tmp/kedge-hotadd-XXXXXX";
static char *devices;
static char *records;

struct rig {
    struct vim_machine *machine;
    struct transport_disk disks[2]; /* as "one" froze them */
    struct transport_options options;
    struct transport *transport;
    struct cancel cancel;
};

static struct vim_machine *machine_of(struct vim *session, const char *name)
{
    struct err err = ERR_INIT;
    struct vim_ref ref;
    if (!vim_machine_find(session, VIM_FIND_NAME, name, NULL, &ref, &err))
        fail_msg("%s: %s", name, err.text);
    struct vim_machine *machine = vim_machine_get(session, &ref, NULL, &err);
    assert_non_null(machine);
    return machine;
}

static void start_with(struct rig *rig, struct vim *session, const char *name)
{
    *rig = (struct rig){.machine = machine_of(session, name),
                        .options = {.silence_ms = 5000,
                                    .hotadd_machine = GATEWAY,
                                    .hotadd_record_dir = records,
                                    .hotadd_device_dir = devices}};
    cancel_init(&rig->cancel);
    for (size_t i = 0; i < 2 && i < rig->machine->disk_count; i++) {
        const struct vim_disk *disk = &rig->machine->disks[i];
        assert_true(disk->chain_count > 0);
        rig->disks[i] = (struct transport_disk){.device_key = disk->key,
                                                .disk_bytes = disk->disk_bytes};
        text_copy(rig->disks[i].file_name, sizeof rig->disks[i].file_name,
                  disk->chain[0]);
    }
}

static void start(struct rig *rig)
{
    start_with(rig, vim, "source");
}

static bool open_transport(struct rig *rig, struct vim *session, const char *name,
                           struct err *err)
{
    struct transport_machine machine = {.vim = session,
                                        .vm = rig->machine->ref,
                                        .host = rig->machine->host,
                                        .is_powered_on = true,
                                        .datacenter = "DC0",
                                        .disks = rig->disks,
                                        .disk_count = MIN_OF(rig->machine->disk_count, 2),
                                        .options = rig->options};
    return transport_find(name)->open(&machine, &rig->cancel, &rig->transport, err);
}

static void must_open(struct rig *rig)
{
    struct err err = ERR_INIT;
    if (!open_transport(rig, vim, "hotadd", &err))
        fail_msg("open: %s", err.text);
}

static struct lane *must_lane(struct rig *rig, size_t disk)
{
    struct err err = ERR_INIT;
    struct lane *lane = NULL;
    if (!rig->transport->ops->lane_open(rig->transport, disk, &lane, &err))
        fail_msg("lane: %s", err.text);
    return lane;
}

static void stop(struct rig *rig)
{
    if (rig->transport)
        rig->transport->ops->close(rig->transport);
    vim_machine_free(rig->machine);
    cancel_release(&rig->cancel);
}

/* The gateway's disks beside its own; bare: no file, device or record is left. */
static size_t attached(void)
{
    AUTO(vim_machine_free) struct vim_machine *gateway = machine_of(vim, GATEWAY);
    return gateway->disk_count - 1;
}

static bool count_name(void *arg, const char *name, struct err *err)
{
    (void)name, (void)err;
    (*(size_t *)arg)++;
    return true;
}

static size_t recorded(void)
{
    struct err err = ERR_INIT;
    size_t count = 0;
    assert_true(hotadd_record_each(records, count_name, &count, &err));
    return count;
}

static void must_be_clean(void)
{
    assert_int_equal(attached(), 0);
    assert_int_equal(recorded(), 0);
}

static void fault_on(const char *text)
{
    AUTO(buf_release) struct buf json = {0};
    buf_printf(&json, "{\"on\": true, \"name\": %s}", text);
    vsphere_sim_do(sim, "/faults", buf_text(&json));
}

static void no_faults(void)
{
    json_decref(vsphere_sim_control(sim, "DELETE", "/faults", NULL));
}

static void read_all(struct lane *lane, uint8_t *got)
{
    struct lane_read reads[DEPTH];
    uint64_t offset = 0;
    size_t in_flight = 0;
    for (size_t i = 0; i < DEPTH || in_flight > 0; i++) {
        struct err err = ERR_INIT;
        struct lane_read *read = &reads[i % DEPTH];
        if (i >= DEPTH) {
            read = lane->ops->next(lane, NULL, &err);
            if (!read || !read->ok)
                fail_msg("read: %s", read ? read->err.text : err.text);
            in_flight--;
        }
        if (offset == DISK_BYTES)
            continue;
        *read = (struct lane_read){
            .offset_bytes = offset, .length_bytes = READ_BYTES, .data = got + offset};
        assert_true(lane->ops->submit(lane, read, &err));
        offset += READ_BYTES;
        in_flight++;
    }
}

static void must_be_frozen(const struct rig *rig, struct lane *lane, size_t disk)
{
    AUTO(free) uint8_t *got = xcalloc(1, DISK_BYTES);
    AUTO(buf_release) struct buf path = {0};
    uint8_t digest[32];
    char hex[65];
    const char *wanted = NULL;
    struct err err = ERR_INIT;
    read_all(lane, got);
    assert_int_equal(EVP_Digest(got, DISK_BYTES, digest, NULL, EVP_sha256(), NULL), 1);
    text_hex(digest, sizeof digest, hex);
    buf_printf(&path, "/sha256?vm=%s&disk=%zu&snapshot=one", rig->machine->ref.id, disk);
    AUTO(json_free)
    json_t *answer = vsphere_sim_control(sim, "GET", buf_text(&path), NULL);
    assert_true(json_get_text(answer, "sha256", &wanted, &err));
    assert_string_equal(hex, wanted);
}

/* ---- reading ---- */

static void reads_what_the_snapshot_froze(void **state)
{
    (void)state;
    struct rig rig;
    struct lane_counters counters;
    start(&rig);
    vsphere_sim_do(sim, "/random_writes", "{\"vm\": \"source\", \"count\": 40}");
    must_open(&rig);
    must_be_clean();
    struct lane *lanes[3] = {must_lane(&rig, 0), must_lane(&rig, 1), must_lane(&rig, 0)};
    assert_int_equal(attached(), 2);
    for (size_t i = 0; i < ARRAY_COUNT(lanes); i++)
        must_be_frozen(&rig, lanes[i], i % 2);
    lanes[0]->ops->counters(lanes[0], &counters);
    assert_int_equal(counters.read_bytes, DISK_BYTES);
    for (size_t i = 0; i < ARRAY_COUNT(lanes); i++)
        lanes[i]->ops->lane_close(lanes[i]);
    assert_int_equal(attached(), 2);
    cancel_set(&rig.cancel); /* a cycle that was given up detaches too */
    stop(&rig);
    must_be_clean();
}

/* ---- what is left behind ---- */

/* Another process (this program, see main) attaches a disk and is killed. */
static void crash_with_a_disk_attached(void)
{
    AUTO(free) char *password_file = file_join(vsphere_sim_dir(sim), "password");
    char pin[2 * HTTP_PIN_BYTES + 1];
    text_hex(vsphere_sim_pin(sim), HTTP_PIN_BYTES, pin);
    const char *const argv[] = {"test_hotadd",
                                vsphere_sim_url(sim),
                                vsphere_sim_user(sim),
                                password_file,
                                pin,
                                devices,
                                records,
                                NULL};
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
        _exit(1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(attached(), 1);
    assert_int_equal(recorded(), 1);
}

static int crash(char **argv)
{
    uint8_t pin[HTTP_PIN_BYTES];
    struct rig rig;
    struct err err = ERR_INIT;
    struct vim_options options = {.url = argv[1], .user = argv[2], .pin = pin};
    AUTO(secret_free) struct secret *password = secret_read_file(argv[3], &err);
    assert_true(password && text_unhex(argv[4], pin, sizeof pin, &err));
    options.password = password;
    AUTO(vim_close) struct vim *session = vim_open(&options, NULL, &err);
    assert_non_null(session);
    devices = argv[5];
    records = argv[6];
    start_with(&rig, session, "source");
    assert_true(open_transport(&rig, session, "hotadd", &err));
    (void)must_lane(&rig, 0);
    return kill(getpid(), SIGKILL);
}

static void the_next_open_takes_off_what_a_crash_left(void **state)
{
    (void)state;
    static const char *const next[] = {"source", "other"};
    for (size_t i = 0; i < ARRAY_COUNT(next); i++) {
        struct rig rig;
        crash_with_a_disk_attached();
        start_with(&rig, vim, next[i]);
        must_open(&rig);
        must_be_clean();
        struct lane *lane = must_lane(&rig, 0);
        must_be_frozen(&rig, lane, 0);
        lane->ops->lane_close(lane);
        stop(&rig);
        must_be_clean();
    }
}

/* A crash between the record and the attaching, or after somebody detached it by hand. */
static void a_record_without_a_disk_goes(void **state)
{
    (void)state;
    struct rig rig;
    struct hotadd_gateway gateway;
    struct hotadd_record *record = NULL;
    struct hotadd_entry entry = {0};
    char name[HOTADD_NAME_BYTES];
    struct err err = ERR_INIT;
    start(&rig);
    assert_true(hotadd_gateway_find(vim, GATEWAY, NULL, &gateway, &err));
    hotadd_record_name(gateway.server, rig.machine->ref.id, name);
    text_copy(entry.server, sizeof entry.server, gateway.server);
    text_copy(entry.vm_id, sizeof entry.vm_id, gateway.vm.id);
    text_copy(entry.file_name, sizeof entry.file_name, rig.disks[0].file_name);
    assert_true(hotadd_record_open(records, name, 0, NULL, &record, &err));
    assert_true(hotadd_record_add(record, &entry, &err));
    text_copy(entry.vm_id, sizeof entry.vm_id, "vm-999999"); /* we were another one */
    assert_true(hotadd_record_add(record, &entry, &err));
    hotadd_record_close(record);
    must_open(&rig);
    must_be_clean();
    stop(&rig);
}

/* The way of another product: attached in the same mode, in no record of ours. */
static int32_t attach_foreign(const char *file_name, const char *mode)
{
    AUTO(vim_machine_free) struct vim_machine *gateway = machine_of(vim, GATEWAY);
    struct vim_attach attach = {.file_name = file_name,
                                .controller_key = gateway->disks[0].controller_key,
                                .unit = 9,
                                .mode = mode};
    struct err err = ERR_INIT;
    int32_t key = 0;
    assert_true(vim_disk_attach(vim, &gateway->ref, &attach, NULL, &key, &err));
    return key;
}

static void detach_foreign(int32_t key)
{
    AUTO(vim_machine_free) struct vim_machine *gateway = machine_of(vim, GATEWAY);
    struct err err = ERR_INIT;
    assert_true(vim_disk_detach(vim, &gateway->ref, key, NULL, &err));
}

static void disks_of_others_stay(void **state)
{
    (void)state;
    struct rig rig;
    struct err err = ERR_INIT;
    struct lane *lane = NULL;
    start(&rig);
    int32_t key = attach_foreign(rig.disks[1].file_name, NULL);
    must_open(&rig);
    lane = must_lane(&rig, 0);
    assert_int_equal(attached(), 2);
    lane->ops->lane_close(lane);
    /* The very file that we would attach. */
    assert_false(rig.transport->ops->lane_open(rig.transport, 1, &lane, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    assert_non_null(strstr(err.text, "not by us"));
    assert_non_null(strstr(err.text, rig.disks[1].file_name));
    stop(&rig);
    assert_int_equal(attached(), 1);
    assert_int_equal(recorded(), 0);
    detach_foreign(key);
    must_be_clean();
}

/* Recorded by us, but what is attached now is somebody's own disk with that file. */
static void a_persistent_disk_is_never_taken_off(void **state)
{
    (void)state;
    struct rig rig;
    crash_with_a_disk_attached();
    {
        AUTO(vim_machine_free) struct vim_machine *gateway = machine_of(vim, GATEWAY);
        detach_foreign(gateway->disks[1].key);
    }
    start(&rig);
    int32_t key = attach_foreign(rig.disks[0].file_name, "persistent");
    must_open(&rig);
    assert_int_equal(attached(), 1);
    stop(&rig);
    assert_int_equal(attached(), 1);
    assert_int_equal(recorded(), 0);
    detach_foreign(key);
}

/* ---- what goes wrong ---- */

static void refusals_are_named_and_nfc_reads(void **state)
{
    (void)state;
    static const struct {
        const char *fault;
        enum err_kind kind;
        const char *text;
    } cases[] = {
        {"\"soap.method_fault\", \"method\": \"ReconfigVM_Task\", \"fault\": "
         "\"GenericVmConfigFault\"",
         FAIL_IO, "GenericVmConfigFault"},
        {"\"soap.method_fault\", \"method\": \"ReconfigVM_Task\", \"fault\": "
         "\"InvalidDeviceSpec\"",
         FAIL_CONFLICT, "InvalidDeviceSpec"},
        {"\"soap.method_fault\", \"method\": \"ReconfigVM_Task\", \"fault\": "
         "\"RestrictedVersion\"",
         FAIL_AUTH, "licence"},
        {"\"soap.503\", \"method\": \"ReconfigVM_Task\", \"count\": 1", FAIL_TRANSIENT,
         "503"},
        {"\"soap.cut\", \"method\": \"ReconfigVM_Task\", \"count\": 1", FAIL_TRANSIENT,
         "attach"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct rig rig;
        struct err err = ERR_INIT;
        struct lane *lane = NULL;
        start(&rig);
        must_open(&rig);
        fault_on(cases[i].fault);
        bool ok = rig.transport->ops->lane_open(rig.transport, 0, &lane, &err);
        no_faults();
        if (ok || err.kind != cases[i].kind || !strstr(err.text, cases[i].text) ||
            !strstr(err.text, rig.disks[0].file_name))
            fail_msg("%s: %s: %s", cases[i].fault, err_kind_name(err.kind), err.text);
        struct transport *hotadd = TAKE(rig.transport);
        hotadd->ops->close(hotadd);
        must_be_clean();
        err_clear(&err);
        assert_true(open_transport(&rig, vim, "nfc", &err));
        lane = must_lane(&rig, 0);
        must_be_frozen(&rig, lane, 0);
        lane->ops->lane_close(lane);
        stop(&rig);
    }
}

/* The answer to the attaching was lost, but it happened: the same lane opens later. */
static void a_lost_answer_is_repaired(void **state)
{
    (void)state;
    struct rig rig;
    struct err err = ERR_INIT;
    struct lane *lane = NULL;
    start(&rig);
    must_open(&rig);
    fault_on("\"soap.cut\", \"method\": \"ReconfigVM_Task\", \"count\": 1");
    assert_false(rig.transport->ops->lane_open(rig.transport, 0, &lane, &err));
    no_faults();
    assert_int_equal(recorded(), 1);
    lane = must_lane(&rig, 0);
    must_be_frozen(&rig, lane, 0);
    lane->ops->lane_close(lane);
    stop(&rig);
    must_be_clean();
}

static void detaching_is_tried_again(void **state)
{
    (void)state;
    static const char *const faults[] = {
        "\"soap.503\", \"method\": \"ReconfigVM_Task\", \"count\": 2",
        "\"soap.cut\", \"method\": \"ReconfigVM_Task\", \"count\": 1",
        "\"soap.session_expired\", \"method\": \"ReconfigVM_Task\", \"count\": 1",
    };
    for (size_t i = 0; i < ARRAY_COUNT(faults); i++) {
        struct rig rig;
        start(&rig);
        must_open(&rig);
        struct lane *lane = must_lane(&rig, 0);
        lane->ops->lane_close(lane);
        fault_on(faults[i]);
        stop(&rig);
        no_faults();
        must_be_clean();
    }
}

/* What cannot be taken off at the end is taken off by the next open. */
static void a_disk_that_stays_is_remembered(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    must_open(&rig);
    struct lane *lane = must_lane(&rig, 0);
    lane->ops->lane_close(lane);
    fault_on("\"soap.method_fault\", \"method\": \"ReconfigVM_Task\", \"fault\": "
             "\"NoPermission\"");
    stop(&rig);
    assert_int_equal(attached(), 1);
    assert_int_equal(recorded(), 1);
    struct err err = ERR_INIT;
    start(&rig);
    assert_false(open_transport(&rig, vim, "hotadd", &err));
    assert_int_equal(err.kind, FAIL_AUTH);
    assert_non_null(strstr(err.text, "left attached"));
    no_faults();
    must_open(&rig);
    must_be_clean();
    stop(&rig);
}

static void another_size_is_refused(void **state)
{
    (void)state;
    struct rig rig;
    struct err err = ERR_INIT;
    struct lane *lane = NULL;
    start(&rig);
    rig.disks[0].disk_bytes -= MIB;
    must_open(&rig);
    assert_false(rig.transport->ops->lane_open(rig.transport, 0, &lane, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    assert_non_null(strstr(err.text, "resized"));
    must_be_clean();
    stop(&rig);
}

static void a_device_that_does_not_appear(void **state)
{
    (void)state;
    struct rig rig;
    struct err err = ERR_INIT;
    struct lane *lane = NULL;
    start(&rig);
    rig.options.hotadd_device_dir = records;
    rig.options.silence_ms = 300;
    must_open(&rig);
    assert_false(rig.transport->ops->lane_open(rig.transport, 0, &lane, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    assert_non_null(strstr(err.text, "disk.EnableUUID"));
    must_be_clean();
    err_clear(&err);
    cancel_set(&rig.cancel); /* given up while it waits */
    assert_false(rig.transport->ops->lane_open(rig.transport, 0, &lane, &err));
    assert_int_equal(err.kind, FAIL_CANCELED);
    stop(&rig);
    must_be_clean();
}

static void not_this_machine(void **state)
{
    (void)state;
    static const struct {
        const char *gateway;
        const char *text;
    } cases[] = {
        {"nobody", "nobody"},
        {"source", "the machine it runs in"},
        {"4d414348-494e-4520-5445-535400000001", "4d414348"},
        {NULL, "not a machine of this server"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct rig rig;
        struct err err = ERR_INIT;
        start(&rig);
        rig.options.hotadd_machine = cases[i].gateway;
        bool ok = open_transport(&rig, vim, "hotadd", &err);
        bool is_unreadable = !cases[i].gateway && strstr(err.text, "name it");
        if (ok || err.kind != FAIL_CONFLICT ||
            (!is_unreadable && !strstr(err.text, cases[i].text)))
            fail_msg("%s: %s: %s", cases[i].gateway, err_kind_name(err.kind), err.text);
        stop(&rig);
    }
}

static void a_gateway_without_a_scsi_controller(void **state)
{
    (void)state;
    struct rig rig;
    struct err err = ERR_INIT;
    struct lane *lane = NULL;
    start(&rig);
    rig.options.hotadd_machine = "sata";
    must_open(&rig);
    assert_false(rig.transport->ops->lane_open(rig.transport, 0, &lane, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    assert_non_null(strstr(err.text, "SCSI"));
    stop(&rig);
    assert_int_equal(recorded(), 0);
}

static void found_by_bios_uuid_in_either_order(void **state)
{
    (void)state;
    AUTO(vim_machine_free) struct vim_machine *gateway = machine_of(vim, GATEWAY);
    char turned[HOTADD_UUID_BYTES];
    const char *const uuids[] = {gateway->uuid, turned};
    assert_true(hotadd_uuid_turned(gateway->uuid, turned));
    assert_string_not_equal(turned, gateway->uuid);
    for (size_t i = 0; i < ARRAY_COUNT(uuids); i++) {
        struct vim_ref ref;
        struct err err = ERR_INIT;
        if (!hotadd_find_by_bios_uuid(vim, uuids[i], NULL, &ref, &err))
            fail_msg("%s: %s", uuids[i], err.text);
        assert_true(vim_ref_equal(&ref, &gateway->ref));
    }
}

/* Two machines at once through one gateway: units and keys are not mixed up. */
static void *read_source(void *unused)
{
    (void)unused;
    struct rig rig;
    start(&rig);
    for (unsigned round = 0; round < 3; round++) {
        must_open(&rig);
        struct lane *lane = must_lane(&rig, 0);
        must_be_frozen(&rig, lane, 0);
        lane->ops->lane_close(lane);
        struct transport *hotadd = TAKE(rig.transport);
        hotadd->ops->close(hotadd);
    }
    stop(&rig);
    return NULL;
}

static void two_machines_side_by_side(void **state)
{
    (void)state;
    pthread_t thread;
    struct rig rig;
    start_with(&rig, vim, "other");
    must_open(&rig); /* held: the sweep of the other leaves it alone */
    struct lane *lane = must_lane(&rig, 0);
    assert_int_equal(pthread_create(&thread, NULL, read_source, NULL), 0);
    must_be_frozen(&rig, lane, 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(attached(), 1);
    must_be_frozen(&rig, lane, 0);
    lane->ops->lane_close(lane);
    stop(&rig);
    must_be_clean();
}

#define SNAPPED(name, disks)                                                             \
    "{\"name\": \"" name                                                                 \
    "\", \"power\": \"on\", \"snapshots\": [\"one\"], \"disks\": [" disks "]}"

static int start_sim(void **state)
{
    AUTO(buf_release) struct buf config = {0};
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    devices = file_join(dir, "devices");
    records = file_join(dir, "records");
    buf_printf(&config,
               "{\"hotadd_dir\": \"%s\", \"vms\": ["
               "{\"name\": \"" GATEWAY "\", \"disks\": [{\"size_mib\": 2}]},"
               "{\"name\": \"sata\", \"disks\": [{\"size_mib\": 2, \"controller\": "
               "\"sata\"}]}," SNAPPED("source",
                                      "{\"size_mib\": 8, \"fill_mib\": 5, \"fill_seed\": "
                                      "5}, "
                                      "{\"size_mib\": 8, \"fill_mib\": 3, \"fill_seed\": "
                                      "6}") "," SNAPPED("other", "{\"size_mib\": 8, "
                                                                 "\"fill_mib\": 4}") "]}",
               devices);
    sim = vsphere_sim_start(buf_text(&config));
    vim = vsphere_sim_login(sim);
    return 0;
}

static int end_sim(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    vim_close(vim);
    vsphere_sim_stop(sim);
    free(devices);
    free(records);
    return file_remove_tree(dir, &err) ? 0 : -1;
}

int main(int argc, char **argv)
{
    if (argc == 7)
        return crash(argv);
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_the_snapshot_froze),
        cmocka_unit_test(the_next_open_takes_off_what_a_crash_left),
        cmocka_unit_test(a_record_without_a_disk_goes),
        cmocka_unit_test(disks_of_others_stay),
        cmocka_unit_test(a_persistent_disk_is_never_taken_off),
        cmocka_unit_test(refusals_are_named_and_nfc_reads),
        cmocka_unit_test(a_lost_answer_is_repaired),
        cmocka_unit_test(detaching_is_tried_again),
        cmocka_unit_test(a_disk_that_stays_is_remembered),
        cmocka_unit_test(another_size_is_refused),
        cmocka_unit_test(a_device_that_does_not_appear),
        cmocka_unit_test(not_this_machine),
        cmocka_unit_test(a_gateway_without_a_scsi_controller),
        cmocka_unit_test(found_by_bios_uuid_in_either_order),
        cmocka_unit_test(two_machines_side_by_side),
    };
    return cmocka_run_group_tests(tests, start_sim, end_sim);
}
