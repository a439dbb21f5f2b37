/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PID 1 of the demo guest: the production machine that the demo and the tests replicate.
 *
 * It checks everything it ever wrote, says so on the serial port, then goes on writing: a
 * record on the root disk, the same record on the data disk, and overwrites of a churn
 * file on each, as guest-format.c lays down. It must never write after a failed check,
 * and never after kedge.hold=1.
 *
 * Kernel command line: kedge.rate=N records a second (10), kedge.churn_kib=N KiB a second
 * on each disk (512), kedge.hold=1, kedge.off_after=SECONDS, kedge.name=NAME.
 */
#include "guest-format.h"
#include "guest-machine.h"
#include "guest-screen.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S        UINT64_C(1000000000)
#define NS_PER_MS       UINT64_C(1000000)
#define REPORT_NS       (5 * NS_PER_S)
#define BOOT_COUNT_PATH "/var/lib/kedge/boot-count"

struct disk {
    enum guest_disk id;
    const char *dir;
    uint64_t churn_file_bytes;
    int dir_fd;
    int records_fd;
    int churn_fd;
    struct records_state records;
    struct churn_state churn;
    uint64_t churn_gen;   /* generations written, durable or not */
    uint64_t churn_bytes; /* written since this boot */
};

/*
 * MODE_FAILED  a check or a write went wrong, why is set; nothing is written any more
 * MODE_HELD    all checked, kedge.hold=1; nothing is written
 * MODE_WRITING all checked
 */
enum guest_mode { MODE_FAILED, MODE_HELD, MODE_WRITING };

struct guest {
    struct machine machine;
    struct disk disks[DISK_COUNT];
    uint32_t boot;
    uint64_t rate;
    uint64_t churn_bps;
    uint64_t off_after_ns; /* 0: never */
    uint64_t start_ns;
    bool is_held;
    int button_fd;
    char why[200];
};

static struct guest guest = {
    .disks = {{.id = DISK_ROOT,
               .dir = "/var/lib/kedge",
               .churn_file_bytes = 16u << 20,
               .dir_fd = -1,
               .records_fd = -1,
               .churn_fd = -1},
              {.id = DISK_DATA,
               .dir = "/data/kedge",
               .churn_file_bytes = 32u << 20,
               .dir_fd = -1,
               .records_fd = -1,
               .churn_fd = -1}},
};

static uint64_t clock_ns(clockid_t id)
{
    struct timespec now = {0};
    (void)clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static bool fail(const char *what)
{
    (void)snprintf(guest.why, sizeof(guest.why), "%s: %s", what, strerror(errno));
    return false;
}

static bool disk_open(struct disk *disk)
{
    int flags = guest.is_held ? O_RDONLY | O_CLOEXEC : O_RDWR | O_CREAT | O_CLOEXEC;
    struct stat st;

    disk->dir_fd = open(disk->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (disk->dir_fd < 0)
        return fail(disk->dir);
    disk->records_fd = openat(disk->dir_fd, "records.log", flags, 0644);
    if (disk->records_fd < 0)
        return fail("open records.log");
    disk->churn_fd = openat(disk->dir_fd, "churn.bin", flags, 0644);
    if (disk->churn_fd < 0 || fstat(disk->churn_fd, &st) != 0)
        return fail("open churn.bin");
    if (guest.is_held || (uint64_t)st.st_size >= CHURN_FILE_MIN_BYTES)
        return true;
    errno = posix_fallocate(disk->churn_fd, 0, (off_t)disk->churn_file_bytes);
    if (errno != 0 || fsync(disk->churn_fd) != 0 || fsync(disk->dir_fd) != 0)
        return fail("allocate churn.bin");
    return true;
}

static bool disk_verify(struct disk *disk)
{
    char *why = guest.why;
    if (!records_verify(disk->records_fd, disk->id, &disk->records, why,
                        sizeof(guest.why)))
        return false;
    if (disk->records.count > 0)
        disk->churn_gen = disk->records.last.churn_gen;
    return churn_verify(disk->churn_fd, disk->id, disk->churn_gen, &disk->churn, why,
                        sizeof(guest.why));
}

/* Churn goes past the page cache, so that no block is changed while it is being written.
 */
static bool disk_start_writing(struct disk *disk)
{
    off_t end = (off_t)(disk->records.count * RECORD_BYTES);
    if (ftruncate(disk->records_fd, end) != 0)
        return fail("cut records.log");
    if (fcntl(disk->churn_fd, F_SETFL, O_RDWR | O_DIRECT) != 0)
        return fail("open churn.bin past the cache");
    return true;
}

/* A disk with a file open for writing can be neither unmounted nor made read-only. */
static void disk_close(struct disk *disk)
{
    (void)close(disk->records_fd);
    (void)close(disk->churn_fd);
    (void)close(disk->dir_fd);
}

/* The file has the number of this boot; a held machine leaves it as it is. */
static bool boot_count_advance(void)
{
    char text[32];
    guest.boot = 1;
    if (text_file_read(BOOT_COUNT_PATH, text, sizeof(text)))
        (void)sscanf(text, "%" SCNu32, &guest.boot);
    if (guest.is_held)
        return true;
    int fd = open(BOOT_COUNT_PATH ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return fail("write the boot count");
    bool is_good = dprintf(fd, "%" PRIu32 "\n", guest.boot + 1) > 0 && fsync(fd) == 0;
    (void)close(fd);
    if (!is_good || rename(BOOT_COUNT_PATH ".new", BOOT_COUNT_PATH) != 0 ||
        fsync(guest.disks[DISK_ROOT].dir_fd) != 0)
        return fail("write the boot count");
    return true;
}

static bool disk_churn(struct disk *disk)
{
    static _Alignas(CHURN_BLOCK_BYTES)
        uint8_t bytes[CHURN_MAX_BLOCKS * CHURN_BLOCK_BYTES];
    uint64_t gen = disk->churn_gen + 1;
    struct churn_plan plan = churn_plan_get(disk->id, gen, disk->churn.blocks);
    size_t plan_bytes = (size_t)plan.blocks * CHURN_BLOCK_BYTES;

    for (uint64_t i = 0; i < plan.blocks; i++)
        churn_encode(disk->id, gen, plan.first_block + i, bytes + i * CHURN_BLOCK_BYTES);
    if (pwrite(disk->churn_fd, bytes, plan_bytes,
               (off_t)(plan.first_block * CHURN_BLOCK_BYTES)) != (ssize_t)plan_bytes)
        return fail("write churn.bin");
    disk->churn_gen = gen;
    disk->churn_bytes += plan_bytes;
    return true;
}

/* Write record number and wait until it, and the churn before it, is on the disk. */
static bool disk_append(struct disk *disk, uint64_t number)
{
    uint8_t bytes[RECORD_BYTES];
    struct record record = {.number = number,
                            .churn_gen = disk->churn_gen,
                            .realtime_ns = clock_ns(CLOCK_REALTIME),
                            .boot = guest.boot,
                            .disk = disk->id};

    record_encode(&record, bytes);
    if (fdatasync(disk->churn_fd) != 0)
        return fail("sync churn.bin");
    if (pwrite(disk->records_fd, bytes, sizeof(bytes),
               (off_t)((number - 1) * RECORD_BYTES)) != (ssize_t)sizeof(bytes))
        return fail("write records.log");
    if (fdatasync(disk->records_fd) != 0)
        return fail("sync records.log");
    disk->records.count = number;
    disk->records.last = record;
    return true;
}

static uint64_t last_record(void)
{
    return guest.disks[DISK_ROOT].records.count;
}

static void screen_page(const char *state, enum guest_mode mode)
{
    const struct disk *disks = guest.disks;
    char text[64];

    screen_clear("KEDGE DEMO GUEST");
    screen_line(0, "name", SCREEN_TITLE, guest.machine.name);
    screen_line(1, "kernel", SCREEN_PLAIN, guest.machine.kernel);
    (void)snprintf(text, sizeof(text), "%u CPU, %u MB, %s", guest.machine.cpus,
                   guest.machine.mem_mb, guest.machine.mac);
    screen_line(2, "machine", SCREEN_PLAIN, text);
    (void)snprintf(text, sizeof(text), "%" PRIu32, guest.boot);
    screen_line(4, "boot", SCREEN_TITLE, text);
    (void)snprintf(text, sizeof(text), "root %" PRIu64 "   data %" PRIu64,
                   disks[DISK_ROOT].records.count, disks[DISK_DATA].records.count);
    screen_line(5, "records", SCREEN_TITLE, text);
    (void)snprintf(text, sizeof(text), "root %" PRIu64 " KiB   data %" PRIu64 " KiB",
                   disks[DISK_ROOT].churn_bytes / 1024,
                   disks[DISK_DATA].churn_bytes / 1024);
    screen_line(6, "overwritten", SCREEN_PLAIN, text);
    (void)snprintf(text, sizeof(text), "%" PRIu64 " s",
                   (clock_ns(CLOCK_BOOTTIME) - guest.start_ns) / NS_PER_S);
    screen_line(7, "since ready", SCREEN_PLAIN, text);
    screen_line(9, "check", mode != MODE_FAILED ? SCREEN_GOOD : SCREEN_BAD,
                mode != MODE_FAILED ? "every record and every block right" : guest.why);
    screen_line(10, "state", mode != MODE_FAILED ? SCREEN_GOOD : SCREEN_BAD, state);
    screen_show();
}

static bool guest_verify(void)
{
    struct disk *disks = guest.disks;
    if (!machine_mount_disks(guest.is_held, guest.why, sizeof(guest.why)))
        return false;
    for (int i = 0; i < DISK_COUNT; i++)
        if (!disk_open(&disks[i]) || !disk_verify(&disks[i]))
            return false;
    if (!records_compare(&disks[DISK_ROOT].records, &disks[DISK_DATA].records, guest.why,
                         sizeof(guest.why)))
        return false;
    for (int i = 0; i < DISK_COUNT && !guest.is_held; i++)
        if (!disk_start_writing(&disks[i]))
            return false;
    return boot_count_advance();
}

/* One step of the writer: churn up to what is due, then one record on each disk. */
static bool writer_step(uint64_t run_ns)
{
    struct disk *disks = guest.disks;
    uint64_t due_bytes = guest.churn_bps * (run_ns / NS_PER_MS) / 1000;

    /* A pair that the last power cut left half-written is completed first. */
    if (disks[DISK_DATA].records.count < last_record())
        return disk_append(&disks[DISK_DATA], last_record());
    for (int i = 0; i < DISK_COUNT; i++)
        for (int n = 0; n < 32 && disks[i].churn_bytes < due_bytes; n++)
            if (!disk_churn(&disks[i]))
                return false;
    return disk_append(&disks[DISK_ROOT], last_record() + 1) &&
           disk_append(&disks[DISK_DATA], last_record());
}

/* Until the power button or the end of kedge.off_after; false at a failed write. */
static bool guest_run(enum guest_mode mode)
{
    static const char *const states[] = {"FAILED, nothing is written",
                                         "holding still, nothing is written", "writing"};
    bool is_writing = mode == MODE_WRITING;
    uint64_t step_ns = is_writing && guest.rate > 0 ? NS_PER_S / guest.rate : 0;
    uint64_t next_ns = 0, report_ns = REPORT_NS, screen_ns = 0;

    for (;;) {
        uint64_t run_ns = clock_ns(CLOCK_BOOTTIME) - guest.start_ns;
        if (guest.off_after_ns > 0 && run_ns >= guest.off_after_ns)
            return true;
        if (is_writing && run_ns >= next_ns) {
            if (!writer_step(run_ns))
                return false;
            next_ns = next_ns + step_ns > run_ns ? next_ns + step_ns : run_ns + step_ns;
        }
        if (run_ns >= screen_ns) {
            screen_page(states[mode], mode);
            screen_ns = run_ns + NS_PER_S;
        }
        if (is_writing && run_ns >= report_ns) {
            (void)dprintf(1, "kedge-guest: writing last=%" PRIu64 "\n", last_record());
            report_ns = run_ns + REPORT_NS;
        }
        struct pollfd poll_fd = {.fd = guest.button_fd, .events = POLLIN};
        uint64_t now_ns = clock_ns(CLOCK_BOOTTIME) - guest.start_ns;
        uint64_t until_ns = is_writing && next_ns < screen_ns ? next_ns : screen_ns;
        uint64_t wait_ms = until_ns > now_ns ? (until_ns - now_ns) / NS_PER_MS + 1 : 0;
        if (poll(&poll_fd, 1, (int)wait_ms) > 0 &&
            power_button_is_pressed(guest.button_fd))
            return true;
    }
}

static void guest_start(void)
{
    machine_start();
    guest.is_held = cmdline_u64("kedge.hold", 0) != 0;
    guest.rate = cmdline_u64("kedge.rate", 10);
    guest.churn_bps = cmdline_u64("kedge.churn_kib", 512) * 1024;
    guest.off_after_ns = cmdline_u64("kedge.off_after", 0) * NS_PER_S;
    guest.button_fd = power_button_open();
    machine_describe(&guest.machine);
    screen_open();
    if (guest.button_fd < 0)
        (void)dprintf(1, "kedge-guest: no power button\n");
}

/* The lines that tests wait for; the last one only when all is right. */
static void guest_report(enum guest_mode mode)
{
    if (mode == MODE_FAILED) {
        (void)dprintf(1, "kedge-guest: CHECK FAILED %s\n", guest.why);
        return;
    }
    (void)dprintf(1,
                  "kedge-guest: boot=%" PRIu32 " records=%" PRIu64
                  " check=ok mac=%s cpus=%u mem_mb=%u\n",
                  guest.boot, last_record(), guest.machine.mac, guest.machine.cpus,
                  guest.machine.mem_mb);
    screen_page("ready", mode);
    (void)dprintf(1, "kedge-guest: ready boot=%" PRIu32 " last=%" PRIu64 "\n", guest.boot,
                  last_record());
}

static void guest_stop(enum guest_mode mode)
{
    screen_page("switching off", mode);
    for (int i = 0; i < DISK_COUNT; i++)
        disk_close(&guest.disks[i]);
    bool is_clean = machine_unmount_disks(guest.why, sizeof(guest.why));
    if (mode == MODE_FAILED)
        (void)dprintf(1, "kedge-guest: shutdown after failure\n");
    else if (is_clean)
        (void)dprintf(1, "kedge-guest: clean shutdown last=%" PRIu64 "\n", last_record());
    else
        (void)dprintf(1, "kedge-guest: UNMOUNT FAILED %s\n", guest.why);
    machine_power_off();
}

int main(void)
{
    enum guest_mode mode = MODE_FAILED;

    guest_start();
    if (guest_verify())
        mode = guest.is_held ? MODE_HELD : MODE_WRITING;
    guest.start_ns = clock_ns(CLOCK_BOOTTIME);
    guest_report(mode);
    if (!guest_run(mode)) {
        (void)dprintf(1, "kedge-guest: WRITE FAILED %s\n", guest.why);
        mode = MODE_FAILED;
        (void)guest_run(mode);
    }
    guest_stop(mode);
}
