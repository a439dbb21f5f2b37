/* SPDX-License-Identifier: Apache-2.0 */
/* See rig.h. */
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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define CALL_MS 20000

static void must(bool ok, const struct err *err)
{
    if (!ok)
        fail_msg("%s: %s", err_kind_name(err->kind), err->text);
}

static void run(const char *const argv[])
{
    struct err err = ERR_INIT;
    must(process_run(argv, CALL_MS, NULL, NULL, &err), &err);
}

static void create_image(const struct rig *rig, size_t disk, const char *size)
{
    char base[96];
    const char *path = rig->disk_paths[disk];
    const char *format = disk == 1 ? rig->format_1 : "qcow2";
    (void)snprintf(base, sizeof base, "%s/base", rig->dir);
    const char *const make_base[] = {"qemu-img", "create", "-q", "-f",
                                     "qcow2",    base,     size, NULL};
    const char *const overlay[] = {"qemu-img", "create", "-q",    "-f", "qcow2", "-b",
                                   base,       "-F",     "qcow2", path, NULL};
    const char *const plain[] = {"qemu-img", "create", "-q", "-f",
                                 format,     path,     size, NULL};
    bool is_overlay = disk == 0 && rig->has_base_image;
    if (is_overlay)
        run(make_base);
    run(is_overlay ? overlay : plain);
}

/* A failed test leaves by longjmp, its machine would stay. */
static int living[16];

static void end_living(void)
{
    for (size_t i = 0; i < ARRAY_COUNT(living); i++)
        if (living[i])
            (void)kill(living[i], SIGKILL);
}

static void remember(int pid)
{
    static bool is_set;
    if (!is_set)
        is_set = atexit(end_living) == 0;
    for (size_t i = 0; i < ARRAY_COUNT(living); i++)
        if (living[i] == 0) {
            living[i] = pid;
            return;
        }
}

static void forget(int pid)
{
    for (size_t i = 0; i < ARRAY_COUNT(living); i++)
        if (living[i] == pid)
            living[i] = 0;
}

void rig_init(struct rig *rig)
{
    static const uint64_t sizes[RIG_DISKS] = {64 * MIB, 24 * MIB + 512};
    struct err err = ERR_INIT;
    const char *const probe[] = {"qemu-system-x86_64", "--version", NULL};
    if (!process_run(probe, CALL_MS, NULL, NULL, &err)) {
        (void)printf("skipped: no qemu-system-x86_64\n");
        exit(77);
    }
    text_copy(rig->dir, sizeof rig->dir, "/tmp/kedge-rig-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    (void)snprintf(rig->qmp_path, sizeof rig->qmp_path, "%s/qmp", rig->dir);
    (void)snprintf(rig->scratch_dir, sizeof rig->scratch_dir, "%s/scratch", rig->dir);
    assert_int_equal(mkdir(rig->scratch_dir, 0700), 0);
    if (!rig->format_1)
        rig->format_1 = "qcow2";
    for (size_t i = 0; i < RIG_DISKS; i++) {
        char size[32];
        if (rig->disk_bytes[i] == 0)
            rig->disk_bytes[i] = sizes[i];
        (void)snprintf(size, sizeof size, "%llu", (unsigned long long)rig->disk_bytes[i]);
        (void)snprintf(rig->disk_paths[i], sizeof rig->disk_paths[i], "%s/disk%zu",
                       rig->dir, i);
        create_image(rig, i, size);
        rig->model[i] = calloc(1, rig->disk_bytes[i]);
    }
}

static void install_boot_sector(struct rig *rig)
{
    uint8_t sector[SECTOR_BYTES] = {0};
    char path[96], command[160];
    struct err err = ERR_INIT;
    must(text_unhex(rig->boot_sector, sector, strlen(rig->boot_sector) / 2, &err), &err);
    sector[510] = 0x55;
    sector[511] = 0xaa;
    (void)snprintf(path, sizeof path, "%s/boot", rig->dir);
    must(file_write_durable(path, sector, sizeof sector, 0600, &err), &err);
    (void)snprintf(command, sizeof command, "write -s %s 0 512", path);
    const char *const argv[] = {"qemu-io",          "-f", "qcow2", "-c", command,
                                rig->disk_paths[0], NULL};
    run(argv);
    memcpy(rig->model[0], sector, sizeof sector);
}

void rig_start(struct rig *rig)
{
    char qmp_arg[128], file0[160], drive1[200], log[96];
    struct err err = ERR_INIT;
    const char *argv[64];
    size_t n = 0;
    (void)snprintf(qmp_arg, sizeof qmp_arg, "unix:%s,server=on,wait=off", rig->qmp_path);
    (void)snprintf(file0, sizeof file0, "driver=file,node-name=f0,filename=%s",
                   rig->disk_paths[0]);
    (void)snprintf(drive1, sizeof drive1, "file=%s,if=none,id=dr1,format=%s",
                   rig->disk_paths[1], rig->format_1);
    (void)snprintf(log, sizeof log, "%s/log", rig->dir);
    const char *const fixed[] = {
        "qemu-system-x86_64",
        "-nodefaults",
        "-machine",
        "q35,accel=tcg",
        "-display",
        "none",
        "-m",
        "64",
        "-smp",
        "2",
        "-name",
        "rigged",
        "-uuid",
        "11111111-2222-3333-4444-555555555555",
        "-qmp",
        qmp_arg,
        "-blockdev",
        file0,
        "-blockdev",
        "driver=qcow2,node-name=d0,file=f0",
        "-drive",
        drive1,
        "-device",
        "nvme,drive=d0,serial=S0,id=disk0,bootindex=1",
        "-device",
        rig->device_1 ? rig->device_1 : "virtio-blk-pci,drive=dr1,serial=S1,id=disk1"};
    for (size_t i = 0; i < ARRAY_COUNT(fixed); i++)
        argv[n++] = fixed[i];
    if (!rig->boot_sector)
        argv[n++] = "-S";
    for (size_t i = 0; i < ARRAY_COUNT(rig->extra) && rig->extra[i]; i++)
        argv[n++] = rig->extra[i];
    argv[n] = NULL;
    if (rig->boot_sector)
        install_boot_sector(rig);
    (void)unlink(rig->qmp_path);
    must(process_start(argv, log, &rig->pid, &err), &err);
    remember(rig->pid);
    for (int i = 0;; i++) { /* the socket's file is there before it listens */
        struct err failed = ERR_INIT;
        AUTO(qmp_close) struct qmp *qmp = qmp_open(rig->qmp_path, CALL_MS, &failed);
        if (qmp)
            break;
        if (i == 2000)
            must(false, &failed);
        clock_sleep_ms(10);
    }
}

static void wait_gone(struct rig *rig)
{
    for (int i = 0; i < 1000 && process_is_alive(rig->pid); i++)
        clock_sleep_ms(10);
    assert_false(process_is_alive(rig->pid));
    forget(rig->pid);
    rig->pid = 0;
}

void rig_quit(struct rig *rig)
{
    json_decref(rig_call(rig, "quit", NULL));
    wait_gone(rig);
}

void rig_kill(struct rig *rig)
{
    assert_int_equal(kill(rig->pid, SIGKILL), 0);
    wait_gone(rig);
}

void rig_release(struct rig *rig)
{
    struct err err = ERR_INIT;
    if (rig->pid)
        rig_kill(rig);
    for (size_t i = 0; i < RIG_DISKS; i++)
        free(rig->model[i]);
    must(file_remove_tree(rig->dir, &err), &err);
}

json_t *rig_call(struct rig *rig, const char *command, json_t *arguments)
{
    struct err err = ERR_INIT;
    json_t *answer = NULL;
    AUTO(qmp_close) struct qmp *qmp = qmp_open(rig->qmp_path, CALL_MS, &err);
    must(qmp != NULL, &err);
    must(qmp_call(qmp, command, arguments, CALL_MS, &answer, &err), &err);
    return answer;
}

void rig_command(struct rig *rig, size_t disk, const char *text)
{
    char line[256];
    (void)snprintf(line, sizeof line, "qemu-io -d %s \"%s\"",
                   disk == 0 ? "disk0" : "/machine/peripheral/disk1/virtio-backend",
                   text);
    json_t *arguments = json_object();
    json_put_text(arguments, "command-line", line);
    AUTO(json_free) json_t *answer = rig_call(rig, "human-monitor-command", arguments);
    assert_string_equal(json_string_value(answer), "");
}

void rig_write(struct rig *rig, size_t disk, int pattern, uint64_t offset_bytes,
               uint64_t length_bytes)
{
    char text[128];
    (void)snprintf(text, sizeof text, "write -P %d %llu %llu", pattern,
                   (unsigned long long)offset_bytes, (unsigned long long)length_bytes);
    rig_command(rig, disk, text);
    memset(rig->model[disk] + offset_bytes, pattern, length_bytes);
}

char *rig_bitmaps(struct rig *rig, size_t disk)
{
    json_t *arguments = json_object();
    json_put_bool(arguments, "flat", true);
    AUTO(json_free) json_t *nodes = rig_call(rig, "query-named-block-nodes", arguments);
    struct buf text = {0};
    json_t *node, *bitmap;
    size_t i, j;
    json_array_foreach(nodes, i, node)
    {
        const char *file = json_string_value(json_object_get(node, "file"));
        const char *format = json_string_value(json_object_get(node, "drv"));
        if (strcmp(file, rig->disk_paths[disk]) != 0 ||
            strcmp(format, disk == 1 ? rig->format_1 : "qcow2") != 0)
            continue;
        json_array_foreach(json_object_get(node, "dirty-bitmaps"), j, bitmap)
        {
            const char *name = json_string_value(json_object_get(bitmap, "name"));
            if (name)
                buf_printf(&text, "%s%s%s%s", text.bytes ? " " : "", name,
                           json_is_true(json_object_get(bitmap, "recording")) ? "+" : "",
                           json_is_true(json_object_get(bitmap, "inconsistent")) ? "!"
                                                                                 : "");
        }
    }
    buf_append_text(&text, "");
    return buf_take_text(&text);
}

static size_t count_ours(const json_t *array, const char *key)
{
    const json_t *item;
    size_t i, count = 0;
    json_array_foreach(array, i, item)
    {
        const char *name = json_string_value(json_object_get(item, key));
        count += name && text_starts_with(name, "kedge-");
    }
    return count;
}

size_t rig_leftovers(struct rig *rig)
{
    AUTO(json_free) json_t *nodes = rig_call(rig, "query-named-block-nodes", NULL);
    AUTO(json_free) json_t *exports = rig_call(rig, "query-block-exports", NULL);
    size_t count = count_ours(nodes, "node-name") + count_ours(exports, "id");
    DIR *dir = opendir(rig->scratch_dir);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    (void)closedir(dir);
    return count;
}

struct source *rig_source(struct rig *rig, uint64_t scratch_max_bytes)
{
    struct err err = ERR_INIT;
    struct source *source = NULL;
    struct source_qemu_options options = {.qmp_path = rig->qmp_path,
                                          .scratch_dir = rig->scratch_dir,
                                          .scratch_max_bytes = scratch_max_bytes};
    must(source_qemu_open(&options, &source, &err), &err);
    return source;
}

struct machine_def *rig_machine(struct source *source)
{
    struct err err = ERR_INIT;
    struct machine_def *machines = NULL;
    size_t count = 0;
    must(source_discover(source, &machines, &count, &err), &err);
    assert_int_equal(count, 1);
    return machines;
}

struct snapshot *rig_open(struct source *source, const struct machine_def *machine,
                          uint64_t cycle, char change_ids[][CHANGE_ID_MAX],
                          const char *resume_handle)
{
    struct err err = ERR_INIT;
    struct snapshot *snapshot = NULL;
    struct snapshot_request request = {
        .machine = machine,
        /* A number is spent even when an older cycle goes on. */
        .cycle = resume_handle ? cycle + 1 : cycle,
        .resume_handle = resume_handle,
        .resume_cycle = cycle};
    for (size_t i = 0; i < machine->disk_count; i++)
        request.previous_change_ids[i] = change_ids ? change_ids[i] : "";
    must(source_snapshot_open(source, &request, NULL, &snapshot, &err), &err);
    return snapshot;
}

void rig_change_ids(struct snapshot *snapshot, size_t count, char ids[][CHANGE_ID_MAX])
{
    struct err err = ERR_INIT;
    for (size_t i = 0; i < count; i++) {
        struct snapshot_disk_info info;
        must(snapshot_disk_info(snapshot, i, &info, &err), &err);
        memcpy(ids[i], info.change_id, CHANGE_ID_MAX);
    }
}

uint8_t *rig_read_disk(struct snapshot *snapshot, size_t disk, size_t in_flight)
{
    enum { CHUNK = 64 * 1024 };
    struct err err = ERR_INIT;
    struct snapshot_disk_info info;
    AUTO(reader_close) struct reader *reader = NULL;
    AUTO(free) struct read_request *requests = xcalloc(in_flight, sizeof *requests);
    must(snapshot_disk_info(snapshot, disk, &info, &err), &err);
    must(snapshot_reader_open(snapshot, disk, &reader, &err), &err);
    uint8_t *data = malloc(info.disk_bytes);
    memset(data, 0xee, info.disk_bytes);
    uint64_t at = 0;
    size_t busy = 0;
    struct read_request *idle[64];
    for (size_t i = 0; i < in_flight; i++)
        idle[i] = &requests[i];
    size_t idle_count = in_flight;
    while (at < info.disk_bytes || busy) {
        while (idle_count && at < info.disk_bytes) {
            struct read_request *r = idle[--idle_count];
            *r = (struct read_request){.offset_bytes = at,
                                       .length_bytes =
                                           (uint32_t)MIN_OF(info.disk_bytes - at, CHUNK),
                                       .data = data + at};
            at += r->length_bytes;
            must(reader_submit(reader, r, &err), &err);
            busy++;
        }
        struct read_request *done = reader_next(reader, NULL, &err);
        must(done != NULL, &err);
        must(done->ok, &done->err);
        idle[idle_count++] = done;
        busy--;
    }
    return data;
}

uint8_t *rig_copy_model(const struct rig *rig, size_t disk)
{
    uint8_t *copy = malloc(rig->disk_bytes[disk]);
    memcpy(copy, rig->model[disk], rig->disk_bytes[disk]);
    return copy;
}

void rig_expect_disk(struct snapshot *snapshot, size_t disk, const uint8_t *expected,
                     uint64_t bytes)
{
    AUTO(free) uint8_t *data = rig_read_disk(snapshot, disk, 16);
    for (uint64_t at = 0; at < bytes; at += SECTOR_BYTES)
        if (memcmp(data + at, expected + at, SECTOR_BYTES) != 0)
            fail_msg("disk %zu differs at %llu: %02x, expected %02x", disk,
                     (unsigned long long)at, data[at], expected[at]);
}
