/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vddk lane and its child against a stand-in library: the bytes, the split into two
 * processes, and a library that is missing, too old, crashes or hangs.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "vsphere/vddk_api.h"
#include "vsphere/vddk_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define DISK_BYTES (8 * MIB + 512)
#define DEPTH      10
#define PASSWORD   "s3cret \xc3\xa4\"'"

static char dir[64];
static char raw_path[96];
static uint8_t *disk;

static struct secret *give_cookie(void *arg, struct err *err)
{
    static const char cookie[] = "vmware_soap_session=\"c00k1e\"";
    (void)arg;
    (void)err;
    return secret_new(cookie, sizeof cookie - 1);
}

static int set_up(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    text_copy(dir, sizeof dir, "/tmp/kedge-vddk-XXXXXX");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(raw_path, sizeof raw_path, "%s/disk.raw", dir);
    disk = xcalloc(1, DISK_BYTES);
    for (size_t i = 0; i < DISK_BYTES; i++)
        disk[i] = (uint8_t)(i * 31 + (i >> 9));
    assert_true(file_write_durable(raw_path, disk, DISK_BYTES, 0600, &err));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    free(disk);
    assert_true(file_remove_tree(dir, &err));
    return 0;
}

static void mark(const char *what)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s.%s", raw_path, what);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
}

static void unmark(const char *what)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s.%s", raw_path, what);
    (void)unlink(path);
}

struct rig {
    struct vddk_target target;
    struct vddk_lane_options options;
    struct secret *password;
    struct lane *lane;
    struct lane_counters counters;
    char file_name[128];
    uint8_t *data;
};

static void prepare(struct rig *rig, const char *library)
{
    *rig = (struct rig){.data = xcalloc(1, DISK_BYTES),
                        .password = secret_new(PASSWORD, strlen(PASSWORD))};
    rig->target =
        (struct vddk_target){.helper = getenv("KEDGE_VDDK"),
                             .library = library,
                             .server = "vc.test",
                             .port = 443,
                             .thumbprint = "AA:BB:CC",
                             .vm = "moref=vm-7",
                             .snapshot = "snapshot-3",
                             .transports = "nbdssl",
                             .open_flags = VDDK_OPEN_READ_ONLY | VDDK_OPEN_SKIPZ,
                             .user = "backup",
                             .password = rig->password,
                             .cookie = give_cookie};
    (void)snprintf(rig->file_name, sizeof rig->file_name, "[fake] %s", raw_path);
    rig->options = (struct vddk_lane_options){
        .target = &rig->target, .file_name = rig->file_name, .disk_bytes = DISK_BYTES};
}

static void finish(struct rig *rig)
{
    if (rig->lane)
        vddk_lane_counters(rig->lane, &rig->counters);
    vddk_lane_close(rig->lane);
    secret_free(rig->password);
    free(rig->data);
}

static void must_open(struct rig *rig)
{
    struct err err = ERR_INIT;
    if (!vddk_lane_open(&rig->options, &rig->lane, &err))
        fail_msg("open: %s", err.text);
}

/* The whole disk; returns how many reads failed. */
static size_t read_all(struct rig *rig, struct err *ret_err)
{
    struct lane_read reads[DEPTH];
    uint64_t offset = 0;
    size_t in_flight = 0;
    size_t failed = 0;
    for (size_t i = 0; i < DEPTH || in_flight > 0; i++) {
        struct err err = ERR_INIT;
        struct lane_read *read = &reads[i % DEPTH];
        if (i >= DEPTH) {
            read = vddk_lane_next(rig->lane, NULL, &err);
            if (!read)
                fail_msg("next: %s", err.text);
            in_flight--;
            if (!read->ok)
                *ret_err = read->err;
            failed += !read->ok;
            if (read->ok)
                assert_memory_equal(read->data, disk + read->offset_bytes,
                                    read->length_bytes);
        }
        if (offset == DISK_BYTES)
            continue;
        uint32_t length = (uint32_t)MIN_OF(i % 2 ? 65536 : 262144, DISK_BYTES - offset);
        *read = (struct lane_read){
            .offset_bytes = offset, .length_bytes = length, .data = rig->data + offset};
        assert_true(vddk_lane_submit(rig->lane, read, &err));
        offset += length;
        in_flight++;
    }
    return failed;
}

static void whole_disk(void **state)
{
    (void)state;
    static const char *const libraries[] = {"KEDGE_FAKE_VDDK", "KEDGE_FAKE_VDDK_SYNC"};
    for (size_t i = 0; i < 4; i++) {
        struct rig rig;
        struct err err = ERR_INIT;
        prepare(&rig, getenv(libraries[i / 2]));
        if (i % 2)
            rig.target.password = NULL; /* by the session's cookie */
        must_open(&rig);
        assert_int_equal(read_all(&rig, &err), 0);
        finish(&rig);
        assert_int_equal(rig.counters.read_bytes, DISK_BYTES);
        assert_int_equal(rig.counters.reconnects, 0);
    }
}

static bool holds(const char *path, const char *needle)
{
    AUTO(buf_release) struct buf text = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false; /* hardened: not even readable */
    uint8_t piece[4096];
    for (ssize_t n; (n = read(fd, piece, sizeof piece)) > 0;)
        buf_append(&text, piece, (size_t)n);
    (void)close(fd);
    return text.bytes && memmem(text.data, text.bytes, needle, strlen(needle));
}

/* The child's arguments and environment hold no secret; of ours it has one socket. */
static void child_knows_only_what_it_needs(void **state)
{
    (void)state;
    struct rig rig;
    struct err err = ERR_INIT;
    struct vddk_process process;
    char path[64];
    int extra = open(raw_path, O_RDONLY); /* deliberately without CLOEXEC */
    prepare(&rig, getenv("KEDGE_FAKE_VDDK"));
    assert_int_equal(setenv("KEDGE_TEST_SECRET", "in-our-environment", 1), 0);
    assert_true(vddk_process_open(&rig.options, NULL, &process, &err));
    assert_string_equal(process.mode, "nbdssl");
    (void)snprintf(path, sizeof path, "/proc/%d/cmdline", process.pid);
    assert_false(holds(path, "s3cret"));
    assert_true(holds(path, "kedge-vddk"));
    (void)snprintf(path, sizeof path, "/proc/%d/environ", process.pid);
    assert_false(holds(path, "s3cret"));
    assert_false(holds(path, "in-our-environment"));
    (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", process.pid, extra);
    char target[256];
    ssize_t n = extra > 4 ? readlink(path, target, sizeof target) : -1;
    assert_true(n < 0 || !strstr(target, "disk.raw"));
    vddk_process_close(&process);
    assert_int_equal(kill(process.pid ? process.pid : 1, 0), 0);
    (void)close(extra);
    finish(&rig);
}

static void refused(const char *library, const char *change, enum err_kind kind,
                    const char *text)
{
    struct rig rig;
    struct err err = ERR_INIT;
    prepare(&rig, library);
    if (strcmp(change, "password") == 0)
        rig.target.user = "somebody";
    else if (strcmp(change, "size") == 0)
        rig.options.disk_bytes -= 512;
    else if (strcmp(change, "file") == 0)
        rig.options.file_name = "[fake] /nowhere.raw";
    else if (strcmp(change, "helper") == 0)
        rig.target.helper = "/nowhere/kedge-vddk";
    bool ok = vddk_lane_open(&rig.options, &rig.lane, &err);
    finish(&rig);
    if (ok || err.kind != kind || !strstr(err.text, text))
        fail_msg("%s: %s: %s", change, err_kind_name(err.kind), err.text);
    assert_null(strstr(err.text, "s3cret"));
}

static void opening_is_refused(void **state)
{
    (void)state;
    const char *good = getenv("KEDGE_FAKE_VDDK");
    refused("/nowhere/libvixDiskLib.so", "", FAIL_INPUT, "libvixDiskLib.so");
    refused(getenv("KEDGE_FAKE_VDDK_OLD"), "", FAIL_IO, "does not start");
    refused(getenv("KEDGE_FAKE_VDDK_NO_READ"), "", FAIL_INPUT, "VixDiskLib_Read");
    refused(getenv("KEDGE_VDDK"), "", FAIL_INPUT, "vddk"); /* a program, no library */
    refused(good, "password", FAIL_IO, "connect: fake error 13");
    refused(good, "file", FAIL_IO, "open: fake error 13");
    refused(good, "size", FAIL_CONFLICT, "resized");
    refused(good, "helper", FAIL_INPUT, "/nowhere/kedge-vddk");
}

static void a_crash_costs_a_child_not_the_data(void **state)
{
    (void)state;
    static const char *const what[] = {"crash", "stall"};
    for (size_t i = 0; i < ARRAY_COUNT(what); i++) {
        struct rig rig;
        struct err err = ERR_INIT;
        prepare(&rig, getenv("KEDGE_FAKE_VDDK"));
        rig.options.silence_ms = 300;
        must_open(&rig);
        mark(what[i]);
        assert_int_equal(read_all(&rig, &err), 0);
        finish(&rig);
        assert_int_equal(rig.counters.reconnects, 1);
        assert_int_equal(rig.counters.read_bytes, DISK_BYTES);
    }
}

static void a_refused_read_fails_alone(void **state)
{
    (void)state;
    struct rig rig;
    struct err err = ERR_INIT;
    prepare(&rig, getenv("KEDGE_FAKE_VDDK"));
    must_open(&rig);
    mark("refuse");
    assert_int_equal(read_all(&rig, &err), 1);
    assert_int_equal(err.kind, FAIL_IO);
    assert_non_null(strstr(err.text, "fake error 13"));
    unmark("refuse");
    finish(&rig);
}

static void cancel_ends_the_wait(void **state)
{
    (void)state;
    struct rig rig;
    struct err err = ERR_INIT;
    struct cancel cancel;
    prepare(&rig, getenv("KEDGE_FAKE_VDDK_SYNC"));
    cancel_init(&cancel);
    must_open(&rig);
    struct lane_read read[6];
    mark("stall");
    for (size_t i = 0; i < ARRAY_COUNT(read); i++) {
        read[i] = (struct lane_read){
            .offset_bytes = i * 512, .length_bytes = 512, .data = rig.data + i * 512};
        assert_true(vddk_lane_submit(rig.lane, &read[i], &err));
    }
    for (size_t i = 0; i < 4; i++)
        assert_non_null(vddk_lane_next(rig.lane, &cancel, &err));
    cancel_set(&cancel);
    assert_null(vddk_lane_next(rig.lane, &cancel, &err));
    assert_int_equal(err.kind, FAIL_CANCELED);
    uint64_t before_ms = clock_mono_ms();
    finish(&rig);
    assert_true(clock_mono_ms() - before_ms < 5000);
    cancel_release(&cancel);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_disk),
        cmocka_unit_test(child_knows_only_what_it_needs),
        cmocka_unit_test(opening_is_refused),
        cmocka_unit_test(a_crash_costs_a_child_not_the_data),
        cmocka_unit_test(a_refused_read_fails_alone),
        cmocka_unit_test(cancel_ends_the_wait),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
