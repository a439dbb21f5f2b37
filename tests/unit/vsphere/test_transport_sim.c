/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each transport against the simulated vSphere, which knows nothing of our code: the
 * bytes that are read are those of the disk, whatever happens on the way; what cannot be
 * read is refused by name.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "support/vsphere_sim.h"
#include "vsphere/nfc_budget.h"
#include "vsphere/transport.h"
#include "vsphere/vim_machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>

#include <cmocka.h>

#define DISK_BYTES (24 * MIB)
#define DEPTH      12
#define READ_BYTES (256 * KIB)

#define LAB                                                                              \
    "\"vms\": ["                                                                         \
    "{\"name\": \"off-1\", \"power\": \"off\","                                          \
    " \"disks\": [{\"size_mib\": 24, \"fill_mib\": 14, \"fill_seed\": 5}]},"             \
    "{\"name\": \"on \\u00e4\", \"power\": \"on\", \"snapshots\": [\"one\"],"            \
    " \"disks\": [{\"size_mib\": 24, \"fill_mib\": 10, \"fill_seed\": 6}]}]"

static struct vsphere_sim *sim;
static struct vim *vim;

static void no_faults(void)
{
    json_decref(vsphere_sim_control(sim, "DELETE", "/faults", NULL));
}

struct rig {
    struct vim_machine *machine;
    struct transport_disk disk;
    struct transport_options options;
    struct transport *transport;
    struct lane *lane;
    struct lane_counters counters;
    char sha256[65]; /* of the disk, as the simulator says */
    uint8_t *got;
};

/* is_frozen: the disk under the newest snapshot instead of the current one. */
static void start(struct rig *rig, const char *vm, bool is_frozen)
{
    struct err err = ERR_INIT;
    struct vim_ref ref;
    AUTO(buf_release) struct buf path = {0};
    *rig = (struct rig){.got = xcalloc(1, DISK_BYTES), .options.silence_ms = 2000};
    assert_true(vim_machine_find(vim, VIM_FIND_NAME, vm, NULL, &ref, &err));
    rig->machine = vim_machine_get(vim, &ref, NULL, &err);
    assert_non_null(rig->machine);
    const struct vim_disk *disk = &rig->machine->disks[0];
    assert_int_equal(disk->disk_bytes, DISK_BYTES);
    rig->disk.device_key = disk->key;
    rig->disk.disk_bytes = disk->disk_bytes;
    assert_true(!is_frozen || disk->chain_count > 0);
    text_copy(rig->disk.file_name, sizeof rig->disk.file_name,
              is_frozen ? disk->chain[0] : disk->file_name);
    buf_printf(&path, "/sha256?vm=%s&disk=0%s", ref.id, is_frozen ? "&snapshot=one" : "");
    AUTO(json_free)
    json_t *answer = vsphere_sim_control(sim, "GET", buf_text(&path), NULL);
    const char *sha256 = NULL;
    assert_true(json_get_text(answer, "sha256", &sha256, &err));
    text_copy(rig->sha256, sizeof rig->sha256, sha256);
}

static bool open_lane(struct rig *rig, const char *name, struct err *err)
{
    const struct transport_ops *ops = transport_find(name);
    struct transport_machine machine = {
        .vim = vim,
        .vm = rig->machine->ref,
        .host = rig->machine->host,
        .is_powered_on = rig->machine->power == VIM_POWER_ON,
        .datacenter = vim_about(vim)->is_vcenter ? "DC0" : "",
        .disks = &rig->disk,
        .disk_count = 1,
        .options = rig->options};
    assert_non_null(ops);
    return ops->open(&machine, NULL, &rig->transport, err) &&
           ops->lane_open(rig->transport, 0, &rig->lane, err);
}

static void must_open(struct rig *rig, const char *name)
{
    struct err err = ERR_INIT;
    if (!open_lane(rig, name, &err))
        fail_msg("%s: %s", name, err.text);
}

/* Reads the whole disk; `at_half` is a control action in the middle, or NULL. */
static void read_all(struct rig *rig, const char *at_half)
{
    struct lane_read reads[DEPTH];
    const struct transport_ops *ops = rig->lane->ops;
    uint64_t offset = 0;
    size_t in_flight = 0;
    for (size_t i = 0; i < DEPTH || in_flight > 0; i++) {
        struct err err = ERR_INIT;
        struct lane_read *read = &reads[i % DEPTH];
        if (i >= DEPTH) {
            read = ops->next(rig->lane, NULL, &err);
            if (!read || !read->ok)
                fail_msg("read: %s", read ? read->err.text : err.text);
            in_flight--;
        }
        if (at_half && offset >= DISK_BYTES / 2) {
            vsphere_sim_do(sim, "/do", at_half);
            at_half = NULL;
        }
        if (offset == DISK_BYTES)
            continue;
        *read = (struct lane_read){.offset_bytes = offset,
                                   .length_bytes = READ_BYTES,
                                   .data = rig->got + offset};
        assert_true(ops->submit(rig->lane, read, &err));
        offset += READ_BYTES;
        in_flight++;
    }
    uint8_t digest[32];
    char hex[65];
    assert_int_equal(EVP_Digest(rig->got, DISK_BYTES, digest, NULL, EVP_sha256(), NULL),
                     1);
    text_hex(digest, sizeof digest, hex);
    assert_string_equal(hex, rig->sha256);
}

static void stop(struct rig *rig)
{
    if (rig->lane) {
        rig->lane->ops->counters(rig->lane, &rig->counters);
        rig->lane->ops->lane_close(rig->lane);
    }
    if (rig->transport)
        rig->transport->ops->close(rig->transport);
    vim_machine_free(rig->machine);
    free(rig->got);
    assert_int_equal(nfc_budget_used("127.0.0.1"), 0);
}

static void nfc_each_way(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 8; way++) {
        struct rig rig;
        struct nfc_quirks quirks = nfc_quirks_default();
        quirks.compression = (enum nfc_compression)(way / 2);
        start(&rig, "off-1", false);
        rig.options.quirks = &quirks;
        rig.options.is_plain = way % 2;
        must_open(&rig, "nfc");
        read_all(&rig, NULL);
        stop(&rig);
        assert_int_equal(rig.counters.read_bytes, DISK_BYTES);
        assert_int_equal(rig.counters.reconnects, 0);
        if (quirks.compression != NFC_STORED)
            assert_true(rig.counters.wire_bytes < DISK_BYTES * 7 / 10);
    }
}

static void https_whole_disk(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, "off-1", false);
    must_open(&rig, "https");
    read_all(&rig, NULL);
    stop(&rig);
    assert_int_equal(rig.counters.read_bytes, DISK_BYTES);
    assert_int_equal(rig.counters.reconnects, 0);
}

/* The live disk is refused with the way out; the frozen one under it is read. */
static void running_machine(void **state)
{
    (void)state;
    struct rig rig;
    struct err err = ERR_INIT;
    start(&rig, "on \xc3\xa4", true);
    must_open(&rig, "nfc");
    read_all(&rig, NULL);
    stop(&rig);
    start(&rig, "on \xc3\xa4", true);
    text_copy(rig.disk.file_name, sizeof rig.disk.file_name,
              rig.machine->disks[0].file_name);
    assert_false(open_lane(&rig, "nfc", &err));
    assert_non_null(strstr(err.text, rig.disk.file_name));
    stop(&rig);
    err_clear(&err);
    start(&rig, "on \xc3\xa4", true);
    assert_false(open_lane(&rig, "https", &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    assert_non_null(strstr(err.text, "use nfc"));
    stop(&rig);
}

static void nfc_survives(void **state)
{
    (void)state;
    static const char *const faults[] = {
        "\"nfc.cut\", \"after_bytes\": 3000000",
        "\"nfc.cut\", \"where\": \"header\", \"after\": 3, \"count\": 2",
        "\"nfc.stall\", \"after\": 5, \"count\": 1",
        "\"nfc.bad_magic\", \"after\": 5, \"count\": 2",
        "\"nfc.duplicate_fragment\", \"after\": 5, \"count\": 2",
        "\"nfc.length_overflow\", \"after\": 5, \"count\": 2",
        "\"nfc.foreign_opid\", \"after\": 5, \"count\": 2",
        "\"nfc.unknown_type\", \"after\": 5, \"count\": 2",
        "\"nfc.error_mid_read\", \"after\": 5, \"count\": 1",
        "\"nfc.zero_fragment\", \"after\": 5, \"count\": 2",
        "\"nfc.bad_packed\", \"after\": 5, \"count\": 2",
        "\"nfc.out_of_memory\", \"after\": 5, \"count\": 2",
        "\"authd.busy\", \"count\": 2",
        "\"authd.expired_ticket\", \"count\": 2",
        "\"soap.503\", \"method\": \"NfcGetVmFiles\", \"count\": 2",
    };
    for (size_t i = 0; i < ARRAY_COUNT(faults); i++) {
        struct rig rig;
        AUTO(buf_release) struct buf json = {0};
        bool is_of_reads = text_starts_with(faults[i], "\"nfc");
        start(&rig, "off-1", false);
        buf_printf(&json, "{\"name\": %s, \"on\": true}", faults[i]);
        vsphere_sim_do(sim, "/faults", buf_text(&json));
        must_open(&rig, "nfc");
        read_all(&rig, NULL);
        stop(&rig);
        no_faults();
        if (is_of_reads && (rig.counters.reconnects == 0 ||
                            rig.counters.asked_again_bytes > DISK_BYTES * 2))
            fail_msg("%s: %llu reconnects, %llu asked again", faults[i],
                     (unsigned long long)rig.counters.reconnects,
                     (unsigned long long)rig.counters.asked_again_bytes);
    }
}

static void what_happens_meanwhile(void **state)
{
    (void)state;
    static const struct {
        const char *transport;
        const char *action;
        bool cuts;
    } cases[] = {
        {"nfc", "{\"action\": \"cut_nfc\"}", true},
        {"nfc", "{\"action\": \"expire_sessions\"}", false},
        {"nfc", "{\"action\": \"vcenter_restart\"}", false},
        {"https", "{\"action\": \"expire_sessions\"}", true},
        {"https", "{\"action\": \"vcenter_restart\"}", true},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct rig rig;
        start(&rig, "off-1", false);
        must_open(&rig, cases[i].transport);
        read_all(&rig, cases[i].action);
        stop(&rig);
        if (cases[i].cuts && rig.counters.reconnects == 0)
            fail_msg("%s, %s: nothing was repeated", cases[i].transport, cases[i].action);
    }
}

/* Sessions gone and connections cut: the new ticket needs a new login first. */
static void cut_after_the_session_expired(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, "off-1", false);
    must_open(&rig, "nfc");
    vsphere_sim_do(sim, "/do", "{\"action\": \"expire_sessions\"}");
    read_all(&rig, "{\"action\": \"cut_nfc\"}");
    stop(&rig);
    assert_int_equal(rig.counters.reconnects, 1);
}

static void opening_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *transport;
        const char *fault;
        enum err_kind kind;
        const char *text;
    } cases[] = {
        {"nfc", "authd.wrong_thumbprint", FAIL_AUTH, "the ticket names"},
        {"nfc", "authd.wrong_certificate", FAIL_AUTH, "the ticket names"},
        {"nfc", "authd.tls2_other_certificate", FAIL_AUTH, "another certificate"},
        {"nfc", "authd.expired_ticket", FAIL_TRANSIENT, "authd"},
        {"nfc", "nfc.refuse_open", FAIL_NONE, "off-1.vmdk"},
        {"nfc", "nfc.out_of_memory", FAIL_TRANSIENT, "memory"},
        {"https", "folder.no_ranges", FAIL_CONFLICT, "ignores ranges"},
        {"https", "folder.error", FAIL_CONFLICT, "500"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct rig rig;
        struct err err = ERR_INIT;
        AUTO(buf_release) struct buf json = {0};
        start(&rig, "off-1", false);
        rig.options.attempts = 2;
        buf_printf(&json, "{\"name\": \"%s\", \"on\": true}", cases[i].fault);
        vsphere_sim_do(sim, "/faults", buf_text(&json));
        bool ok = open_lane(&rig, cases[i].transport, &err);
        no_faults();
        stop(&rig);
        if (ok || (cases[i].kind && err.kind != cases[i].kind) ||
            !strstr(err.text, cases[i].text))
            fail_msg("%s: %s: %s", cases[i].fault, err_kind_name(err.kind), err.text);
    }
}

static void a_file_that_is_not_there(void **state)
{
    (void)state;
    static const char *const transports[] = {"nfc", "https"};
    for (size_t i = 0; i < ARRAY_COUNT(transports); i++) {
        struct rig rig;
        struct err err = ERR_INIT;
        start(&rig, "off-1", false);
        text_copy(rig.disk.file_name, sizeof rig.disk.file_name,
                  "[datastore1] off-1/other.vmdk");
        assert_false(open_lane(&rig, transports[i], &err));
        assert_non_null(strstr(err.text, "other.vmdk"));
        stop(&rig);
    }
}

static void another_size_than_the_snapshot_says(void **state)
{
    (void)state;
    static const char *const transports[] = {"nfc", "https"};
    for (size_t i = 0; i < ARRAY_COUNT(transports); i++) {
        struct rig rig;
        struct err err = ERR_INIT;
        start(&rig, "off-1", false);
        rig.disk.disk_bytes -= MIB;
        assert_false(open_lane(&rig, transports[i], &err));
        assert_int_equal(err.kind, FAIL_CONFLICT);
        assert_non_null(strstr(err.text, "resized"));
        stop(&rig);
    }
}

static void folder_reads_are_repeated(void **state)
{
    (void)state;
    static const char *const faults[] = {
        "{\"name\": \"folder.cut\", \"on\": true, \"after\": 3, \"count\": 12}",
        "{\"name\": \"folder.error\", \"on\": true, \"after\": 3, \"count\": 4}",
        "{\"name\": \"folder.slow\", \"on\": true, \"ms\": 20}",
    };
    for (size_t i = 0; i < ARRAY_COUNT(faults); i++) {
        struct rig rig;
        start(&rig, "off-1", false);
        vsphere_sim_do(sim, "/faults", faults[i]);
        must_open(&rig, "https");
        read_all(&rig, NULL);
        stop(&rig);
        no_faults();
        assert_true(i == 2 || rig.counters.reconnects >= 4);
    }
}

/* The way to the vendor's library: named when it is missing; with a stand-in for it, the
 * server's fingerprint and the session reach it. */
static void vddk_way(void **state)
{
    (void)state;
    struct rig rig;
    struct err err = ERR_INIT;
    start(&rig, "off-1", false);
    assert_false(open_lane(&rig, "vddk", &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    assert_non_null(strstr(err.text, "vddk_library"));
    rig.options.vddk_library = "/nowhere/libvixDiskLib.so";
    err_clear(&err);
    assert_false(open_lane(&rig, "vddk", &err));
    assert_non_null(strstr(err.text, "/nowhere"));
    if (!getenv("KEDGE_FAKE_VDDK"))
        fail_msg("KEDGE_FAKE_VDDK is not set");
    AUTO(free) char *raw = file_join(vsphere_sim_dir(sim), "disk.raw");
    AUTO(free) char *told = file_join(vsphere_sim_dir(sim), "disk.raw.thumbprint");
    AUTO(free) char *ready = file_join(vsphere_sim_dir(sim), "ready.json");
    AUTO(buf_release) struct buf content = {0};
    AUTO(buf_release) struct buf thumbprint = {0};
    AUTO(buf_release) struct buf json = {0};
    buf_reserve(&content, DISK_BYTES);
    memset(content.data, 7, DISK_BYTES);
    assert_true(file_write_durable(raw, content.data, DISK_BYTES, 0600, &err));
    (void)snprintf(rig.disk.file_name, sizeof rig.disk.file_name, "[fake] %s", raw);
    rig.options.vddk_library = getenv("KEDGE_FAKE_VDDK");
    rig.options.vddk_helper = getenv("KEDGE_VDDK");
    must_open(&rig, "vddk");
    struct lane_read read = {.length_bytes = READ_BYTES, .data = rig.got};
    assert_true(rig.lane->ops->submit(rig.lane, &read, &err));
    assert_ptr_equal(rig.lane->ops->next(rig.lane, NULL, &err), &read);
    assert_true(read.ok);
    assert_memory_equal(rig.got, content.data, READ_BYTES);
    assert_true(file_read(told, 1000, &thumbprint, &err));
    assert_true(file_read(ready, MIB, &json, &err));
    AUTO(json_free)
    json_t *parsed = json_parse("ready", buf_text(&json), json.bytes, &err);
    const char *sha1 = NULL;
    assert_true(json_get_text(parsed, "sha1", &sha1, &err));
    assert_string_equal(buf_text(&thumbprint), sha1);
    stop(&rig);
}

static int start_with(const char *config)
{
    sim = vsphere_sim_start(config);
    vim = vsphere_sim_login(sim);
    return 0;
}

static int start_sim(void **state)
{
    (void)state;
    return start_with("{\"nfc\": {\"interleave\": true, \"shuffle\": true}, " LAB "}");
}

/* A bare host: its tickets name no host, its service is "nfc". */
static int start_esxi(void **state)
{
    (void)state;
    return start_with("{\"mode\": \"esxi\", " LAB "}");
}

/* An older host: library version 7, no SHA-256 in authd. */
static int start_old(void **state)
{
    (void)state;
    return start_with(
        "{\"nfc\": {\"announce_sha256\": false, \"announce_nfcssl\": false}, "
        "\"datacenters\": [{\"name\": \"DC0\", \"hosts\": [{\"name\": "
        "\"old.lab\", \"nfc_lib_version\": 7, \"version\": \"7.0.3\"}], " LAB "}]}");
}

static int end_sim(void **state)
{
    (void)state;
    vim_close(vim);
    vsphere_sim_stop(sim);
    return 0;
}

static void bare_host(void **state)
{
    nfc_each_way(state);
    running_machine(state);
}

static void bare_host_https(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, "off-1", false);
    must_open(&rig, "https");
    read_all(&rig, NULL);
    stop(&rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(nfc_each_way),
        cmocka_unit_test(https_whole_disk),
        cmocka_unit_test(running_machine),
        cmocka_unit_test(nfc_survives),
        cmocka_unit_test(what_happens_meanwhile),
        cmocka_unit_test(cut_after_the_session_expired),
        cmocka_unit_test(opening_is_refused),
        cmocka_unit_test(a_file_that_is_not_there),
        cmocka_unit_test(another_size_than_the_snapshot_says),
        cmocka_unit_test(folder_reads_are_repeated),
        cmocka_unit_test(vddk_way),
    };
    static const struct CMUnitTest esxi_tests[] = {
        cmocka_unit_test(bare_host),
        cmocka_unit_test(bare_host_https),
    };
    static const struct CMUnitTest old_tests[] = {cmocka_unit_test(nfc_each_way)};
    return cmocka_run_group_tests(tests, start_sim, end_sim) +
           cmocka_run_group_tests(esxi_tests, start_esxi, end_sim) +
           cmocka_run_group_tests(old_tests, start_old, end_sim);
}
