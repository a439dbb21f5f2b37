/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real VMs from a boot sector of 45 bytes: it writes itself to sector 1 of its disk
 * through the BIOS, prints a marker on COM1 and halts. So a test proves that the VM ran,
 * that it wrote, and where its writes went.
 */
#include "check_target.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/process.h"
#include "qemu/stray.h"
#include "qemu/vm.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DISK_BYTES  (2 * MIB)
#define MARKER      "KEDGE-TEST-BOOTED"
#define DEADLINE_MS 40000

static const uint8_t BOOT_SECTOR[] = {
    0x31, 0xc0,       /* xor ax, ax */
    0x8e, 0xd8,       /* mov ds, ax */
    0x8e, 0xc0,       /* mov es, ax */
    0x8e, 0xd0,       /* mov ss, ax */
    0xbc, 0x00, 0x7c, /* mov sp, 0x7c00 */
    0xbb, 0x00, 0x7c, /* mov bx, 0x7c00 */
    0xb8, 0x01, 0x03, /* mov ax, 0x0301: write one sector */
    0xb9, 0x02, 0x00, /* mov cx, 2: the second one */
    0xba, 0x80, 0x00, /* mov dx, 0x80: of the first disk */
    0xcd, 0x13,       /* int 0x13 */
    0xbe, 0x2a, 0x7c, /* mov si, text */
    0xac,             /* next: lodsb */
    0x84, 0xc0,       /* test al, al */
    0x74, 0x06,       /* jz end */
    0xba, 0xf8, 0x03, /* mov dx, 0x3f8 */
    0xee,             /* out dx, al */
    0xeb, 0xf5,       /* jmp next */
    0xf4,             /* end: hlt */
    0xeb, 0xfd,       /* jmp end */
};

static struct vm_info info; /* large */

static void make_sector(uint8_t sector[SECTOR_BYTES])
{
    memset(sector, 0, SECTOR_BYTES);
    memcpy(sector, BOOT_SECTOR, sizeof BOOT_SECTOR);
    memcpy(sector + sizeof BOOT_SECTOR, MARKER "\r\n", sizeof MARKER + 2);
    sector[510] = 0x55;
    sector[511] = 0xaa;
}

static void write_at(struct target *target, const struct machine_def *machine,
                     uint64_t offset, const uint8_t *data, size_t bytes)
{
    struct err err = ERR_INIT;
    AUTO(replica_disk_close) struct replica_disk *disk = NULL;
    AUTO(replica_writer_close) struct replica_writer *writer = NULL;
    assert_ok(target_disk_open(target, machine, 0, true, &disk, &err), err);
    assert_ok(replica_disk_writer_open(disk, &writer, &err), err);
    assert_ok(replica_writer_put(writer, offset, data, bytes, &err), err);
    assert_ok(replica_writer_drain(writer, &err), err);
    assert_ok(replica_disk_flush(disk, &err), err);
}

static bool sector_is_zero(struct target *target, const struct machine_def *machine,
                           uint64_t sector)
{
    struct err err = ERR_INIT;
    static uint8_t got[SECTOR_BYTES], zeros[SECTOR_BYTES];
    AUTO(replica_disk_close) struct replica_disk *disk = NULL;
    assert_ok(target_disk_open(target, machine, 0, false, &disk, &err), err);
    assert_ok(replica_disk_read(disk, sector * SECTOR_BYTES, got, sizeof got, &err), err);
    return memcmp(got, zeros, sizeof got) == 0;
}

static struct target *begin(char dir[64], struct machine_def *machine,
                            enum local_format format)
{
    struct err err = ERR_INIT;
    uint8_t sector[SECTOR_BYTES];
    make_temp_dir(dir);
    make_machine(machine, 1, DISK_BYTES);
    machine->nic_count = 1;
    (void)snprintf(machine->nics[0].mac, 18, "52:54:00:aa:bb:cc");
    struct target *target = open_local(dir, format, false);
    assert_ok(target_replica_create(target, machine, &err), err);
    make_sector(sector);
    write_at(target, machine, 0, sector, sizeof sector);
    return target;
}

static bool start(struct target *target, const struct machine_def *machine,
                  const char *name, const char *marker, uint64_t deadline_ms,
                  struct err *err)
{
    struct test_options options = {.test_name = name,
                                   .network = "isolated",
                                   .start = true,
                                   .marker = marker,
                                   .boot_deadline_ms = deadline_ms};
    memset(&info, 0, sizeof info);
    return target_test_start(target, machine, &options, NULL, &info, err);
}

static void check_png(const char *path)
{
    static const uint8_t SIGNATURE[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    static const uint8_t END[] = {'I', 'E', 'N', 'D', 0xae, 0x42, 0x60, 0x82};
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf png = {0};
    assert_ok(file_read(path, 16 * MIB, &png, &err), err);
    assert_true(png.bytes > 100);
    assert_memory_equal(png.data, SIGNATURE, sizeof SIGNATURE);
    assert_memory_equal(png.data + 12, "IHDR", 4);
    assert_memory_equal(png.data + png.bytes - sizeof END, END, sizeof END);
}

static void test_marker(void **unused)
{
    (void)unused;
    char dir[64], path[MACHINE_PATH_BYTES];
    struct err err = ERR_INIT;
    struct machine_def machine;
    uint8_t block[4096] = {1};
    AUTO(buf_release) struct buf log = {0};
    AUTO(buf_release) struct buf clone = {0};
    AUTO(target_close) struct target *target = begin(dir, &machine, LOCAL_RAW);
    assert_ok(start(target, &machine, "t1", MARKER, DEADLINE_MS, &err), err);
    assert_string_equal(info.how_booted, "serial marker");
    assert_string_equal(info.name, "m1-t1");
    assert_true(process_is_alive(info.pid));
    check_png(info.screen_png);
    assert_ok(file_read(info.serial_log, MIB, &log, &err), err);
    assert_non_null(strstr(buf_text(&log), MARKER));
    /* The guest wrote to its clone, and only there; the replica takes new data. */
    write_at(target, &machine, MIB, block, sizeof block);
    assert_true(sector_is_zero(target, &machine, 1));
    int pid = info.pid;
    (void)snprintf(path, sizeof path, "%s", info.disk_paths[0]);
    assert_ok(process_stop(pid, 10000, &err), err); /* QEMU closes the clone properly */
    const char *argv[] = {"qemu-io",        "-r", "-f", "qcow2", "-c",
                          "read -v 512 16", path, NULL};
    assert_ok(process_run(argv, 20000, NULL, &clone, &err), err);
    assert_non_null(strstr(buf_text(&clone), "31 c0 8e d8"));
    assert_ok(target_test_cleanup(target, &machine, "t1", &err), err);
    assert_false(process_is_alive(pid));
    assert_false(file_exists(path));
    assert_true(file_exists(info.screen_png));
    assert_true(file_exists(info.serial_log));
    assert_true(sector_is_zero(target, &machine, 1));
    assert_ok(target_remove(target, &machine, &err), err);
    drop_temp_dir(dir);
}

static void test_other_proofs(void **unused)
{
    (void)unused;
    char dir[64];
    struct err err = ERR_INIT;
    struct machine_def machine;
    AUTO(target_close) struct target *target = begin(dir, &machine, LOCAL_QCOW2);
    assert_ok(start(target, &machine, "screen", "", DEADLINE_MS, &err), err);
    assert_string_equal(info.how_booted, "settled screen");
    check_png(info.screen_png);
    /* Two VMs at once; a marker that never comes is no error, and no proof. */
    assert_ok(start(target, &machine, "none", "NEVER-PRINTED", 1500, &err), err);
    assert_string_equal(info.how_booted, "");
    check_png(info.screen_png);
    int pid = info.pid;
    assert_ok(target_remove(target, &machine, &err), err); /* ends both */
    assert_false(process_is_alive(pid));
    drop_temp_dir(dir);
}

static void test_vm_that_dies(void **unused)
{
    (void)unused;
    static const char SCRIPT[] = "#!/bin/sh\necho first line\necho 'no such board' >&2\n"
                                 "exit 1\n";
    char dir[64], script[128];
    struct err err = ERR_INIT;
    struct machine_def machine;
    struct target *target = begin(dir, &machine, LOCAL_RAW);
    target_close(target);
    (void)snprintf(script, sizeof script, "%s/qemu", dir);
    assert_ok(file_write_durable(script, SCRIPT, sizeof SCRIPT - 1, 0700, &err), err);
    struct target_local_options options = {
        .dir = dir, .accel = "tcg", .qemu_path = script};
    assert_ok(target_local_open(&options, &target, &err), err);
    if (start(target, &machine, "t1", MARKER, 1000, &err))
        fail_msg("it started");
    assert_int_equal(err.kind, FAIL_IO);
    assert_non_null(strstr(err.text, "no such board"));
    err_clear(&err);
    target_close(target);
    target = open_local(dir, LOCAL_RAW, false);
    machine.nics[0].mac[2] = '-'; /* refused, and nothing of it stays */
    assert_ok(target_replica_create(target, &machine, &err), err);
    assert_fails(start(target, &machine, "t1", MARKER, 1000, &err), FAIL_INPUT, err);
    machine.nics[0].mac[2] = ':';
    assert_ok(target_replica_create(target, &machine, &err), err);
    assert_ok(start(target, &machine, "t1", MARKER, DEADLINE_MS, &err), err);
    assert_ok(target_remove(target, &machine, &err), err);
    target_close(target);
    drop_temp_dir(dir);
}

static bool migrate(struct target *target, const struct machine_def *machine,
                    struct err *err)
{
    struct test_options options = {.network = "isolated",
                                   .start = true,
                                   .marker = MARKER,
                                   .boot_deadline_ms = DEADLINE_MS};
    return target_migrate(target, machine, &options, NULL, &info, err);
}

static void check_completed(const char *dir, struct target *target,
                            const struct machine_def *machine, int pid)
{
    struct err err = ERR_INIT;
    char path[256];
    assert_ok(target_complete(target, machine, &err), err);
    assert_ok(target_complete(target, machine, &err), err);
    assert_true(process_is_alive(pid));
    (void)snprintf(path, sizeof path, "%s/m1/replica.json", dir);
    assert_false(file_exists(path));
    (void)snprintf(path, sizeof path, "%s/m1/vm/vm.json", dir);
    assert_true(file_exists(path));
    (void)snprintf(path, sizeof path, "%s/m1/vm/start.sh", dir);
    assert_int_equal(access(path, X_OK), 0);
    (void)snprintf(path, sizeof path, "%s/m1/disk0.raw", dir);
    assert_true(file_exists(path));
    assert_fails(target_remove(target, machine, &err), FAIL_CONFLICT, err);
    assert_fails(target_replica_create(target, machine, &err), FAIL_CONFLICT, err);
}

static void test_migrate(void **unused)
{
    (void)unused;
    char dir[64];
    struct err err = ERR_INIT;
    struct machine_def machine;
    struct replica_disk *disk;
    AUTO(target_close) struct target *target = begin(dir, &machine, LOCAL_RAW);
    struct test_options no_start = {.test_name = "t1", .network = "", .marker = ""};
    assert_ok(target_test_start(target, &machine, &no_start, NULL, &info, &err), err);
    assert_fails(migrate(target, &machine, &err), FAIL_CONFLICT, err);
    assert_fails(target_complete(target, &machine, &err), FAIL_CONFLICT, err);
    assert_ok(target_test_cleanup(target, &machine, "t1", &err), err);
    assert_ok(migrate(target, &machine, &err), err);
    assert_string_equal(info.how_booted, "serial marker");
    assert_string_equal(info.name, "m1");
    check_png(info.screen_png);
    assert_false(sector_is_zero(target, &machine, 1)); /* the guest's own write */
    int pid = info.pid;
    assert_fails(target_disk_open(target, &machine, 0, true, &disk, &err), FAIL_CONFLICT,
                 err);
    assert_fails(start(target, &machine, "t2", "", 1000, &err), FAIL_CONFLICT, err);
    assert_fails(target_remove(target, &machine, &err), FAIL_CONFLICT, err);
    assert_fails(target_disk_resize(target, &machine, 0, MIB, &err), FAIL_CONFLICT, err);
    assert_ok(migrate(target, &machine, &err), err); /* asked again: the same VM */
    assert_int_equal(info.pid, pid);
    check_completed(dir, target, &machine, pid);
    assert_ok(process_stop(pid, 3000, &err), err);
    drop_temp_dir(dir);
}

/* Every bus, both boards, both firmwares, more disks than slots: QEMU takes the line. */
static void test_shapes(void **unused)
{
    (void)unused;
    static const char *const BUSES[] = {"ide", "nvme", "virtio", "scsi", ""};
    for (int shape = 0; shape < 3; shape++) {
        char dir[64];
        struct err err = ERR_INIT;
        struct machine_def machine;
        make_temp_dir(dir);
        make_machine(&machine, shape == 1 ? 40 : 5, DISK_BYTES);
        machine.memory_bytes = 128 * MIB;
        machine.cpus = 2;
        machine.firmware = shape == 2 ? FIRMWARE_UEFI : FIRMWARE_BIOS;
        (void)snprintf(machine.machine_type, 32, "%s", shape == 0 ? "pc" : "q35");
        for (size_t i = 0; i < machine.disk_count; i++) {
            (void)snprintf(machine.disks[i].bus, 32, "%s", BUSES[i % 5]);
            if (i % 3)
                (void)snprintf(machine.disks[i].serial, 64, "S,%zu", i);
        }
        machine.nic_count = 2;
        (void)snprintf(machine.nics[0].model, 32, "vmxnet3");
        (void)snprintf(machine.nics[1].model, 32, "virtio-net-pci");
        (void)snprintf(machine.nics[1].mac, 18, "52:54:00:00:00:01");
        AUTO(target_close) struct target *target = open_local(dir, LOCAL_RAW, false);
        if (shape == 2 && !vm_firmware_is_there()) {
            drop_temp_dir(dir);
            continue;
        }
        assert_ok(target_replica_create(target, &machine, &err), err);
        assert_ok(start(target, &machine, "t1", "NO", 200, &err), err);
        assert_true(process_is_alive(info.pid));
        assert_ok(target_test_cleanup(target, &machine, "t1", &err), err);
        (void)snprintf(machine.disks[0].bus, 32, "floppy");
        assert_ok(target_replica_create(target, &machine, &err), err);
        assert_fails(start(target, &machine, "t1", "NO", 200, &err), FAIL_INPUT, err);
        assert_ok(target_remove(target, &machine, &err), err);
        drop_temp_dir(dir);
    }
}

static void test_recycled_pid(void **unused)
{
    (void)unused;
    struct err err = ERR_INIT;
    pid_t pid = fork();
    if (pid == 0) {
        (void)pause();
        _exit(0);
    }
    struct vm_process other = {pid, stray_start_ticks(pid) + 1};
    assert_ok(vm_stop(&other, 0, &err), err);
    clock_sleep_ms(50);
    assert_true(process_is_alive(pid));
    other.start_ticks--;
    assert_ok(vm_stop(&other, 0, &err), err);
    assert_false(process_is_alive(pid));
}

#ifdef KEDGE_FAULTS
/* Runs `what` in a process of its own that dies at the point. */
static void crash_child(const char *dir, const char *what, const char *faults)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        (void)setenv("FAULTS", faults, 1);
        (void)execl("/proc/self/exe", "test_vm", dir, what, NULL);
        _exit(4);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 137);
}
#endif

static int child_main(const char *dir, const char *what)
{
    struct err err = ERR_INIT;
    struct machine_def machine;
    make_machine(&machine, 1, DISK_BYTES);
    if (!fault_init(&err))
        return 3;
    AUTO(target_close) struct target *target = open_local(dir, LOCAL_RAW, false);
    bool ok = strcmp(what, "test") == 0
                  ? start(target, &machine, "t1", MARKER, DEADLINE_MS, &err)
                  : migrate(target, &machine, &err);
    return ok ? 0 : 1;
}

static void test_crash(void **unused)
{
    (void)unused;
#ifdef KEDGE_FAULTS
    static const char *const POINTS[] = {"TARGET_BEFORE_VM=crash@1",
                                         "FILE_BEFORE_RENAME=crash@2",
                                         "TARGET_AFTER_VM=crash@1"};
    for (size_t i = 0; i < ARRAY_COUNT(POINTS); i++) {
        char dir[64], vm[128];
        struct err err = ERR_INIT;
        struct machine_def machine;
        struct target *target = begin(dir, &machine, LOCAL_RAW);
        target_close(target);
        crash_child(dir, "test", POINTS[i]);
        target = open_local(dir, LOCAL_RAW, false);
        assert_ok(target_test_cleanup(target, &machine, "t1", &err), err);
        assert_true(sector_is_zero(target, &machine, 1));
        assert_ok(start(target, &machine, "t1", MARKER, DEADLINE_MS, &err), err);
        assert_ok(target_test_cleanup(target, &machine, "t1", &err), err);
        crash_child(dir, "migrate", i == 1 ? "FILE_BEFORE_RENAME=crash@3" : POINTS[i]);
        assert_true(sector_is_zero(target, &machine, 1)); /* the guest never ran */
        assert_ok(migrate(target, &machine, &err), err);
        assert_string_equal(info.how_booted, "serial marker");
        int pid = info.pid;
        check_completed(dir, target, &machine, pid);
        (void)snprintf(vm, sizeof vm, "%s/m1/vm", dir);
        assert_ok(vm_kill_strays(vm, &err), err);
        assert_false(process_is_alive(pid));
        target_close(target);
        drop_temp_dir(dir);
    }
#else
    skip(); /* needs -Dfaults=true */
#endif
}

/* What is missing is found before anything starts. */
static void test_check(void **unused)
{
    (void)unused;
    char dir[64];
    struct err err = ERR_INIT;
    struct machine_def machine;
    struct target *target = NULL;
    AUTO(findings_release) struct findings findings = {0};
    make_temp_dir(dir);
    make_machine(&machine, 1, 1000 * TIB);
    (void)snprintf(machine.kernel, sizeof machine.kernel, "/no/such/kernel");
    struct target_local_options options = {
        .dir = dir, .accel = "tcg", .qemu_path = "/no/such/qemu"};
    assert_ok(target_local_open(&options, &target, &err), err);
    assert_ok(target_check(target, &machine, &findings, &err), err);
    assert_true(findings_have_blocker(&findings));
    bool has_tool = false, has_thin = false, has_kernel = false;
    for (size_t i = 0; i < findings.count; i++) {
        has_tool |= strcmp(findings.items[i].code, "target.tool-missing") == 0;
        has_thin |= strcmp(findings.items[i].code, "target.thin") == 0;
        has_kernel |= strcmp(findings.items[i].code, "target.no-kernel") == 0;
        assert_true(findings.items[i].remedy[0] != 0);
    }
    assert_true(has_tool && has_thin && has_kernel);
    target_close(target);
    drop_temp_dir(dir);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return child_main(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recycled_pid), cmocka_unit_test(test_check),
        cmocka_unit_test(test_marker),       cmocka_unit_test(test_other_proofs),
        cmocka_unit_test(test_vm_that_dies), cmocka_unit_test(test_migrate),
        cmocka_unit_test(test_shapes),       cmocka_unit_test(test_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
