/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which accelerator works here. A /dev/kvm that opens proves nothing: on hosts that are
 * VMs themselves it may be there and run guests not at all, or a hundred times slower
 * than emulation would. So a guest of 512 bytes is run: it counts in a loop for what real
 * hardware does in a blink, then resets the machine, which ends QEMU (-no-reboot).
 */
#include "qemu/vm.h"

#include "base/file.h"
#include "base/log.h"
#include "base/process.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROBE_DEADLINE_MS 5000

/* Guarded by lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_known;
static bool kvm_works;

/* Boot sector, 16-bit real mode. */
static const uint8_t PROBE[] = {
    0x66, 0xb9, 0x00, 0x00, 0x00, 0x04, /* mov ecx, 0x04000000 */
    0x66, 0x49,                         /* loop: dec ecx */
    0x75, 0xfc,                         /* jnz loop */
    0xb0, 0xfe,                         /* mov al, 0xfe */
    0xe6, 0x64,                         /* out 0x64, al: reset */
    0xf4,                               /* hlt */
    0xeb, 0xfd,                         /* jmp hlt */
};

static bool probe(const char *qemu_path, const char *scratch_dir, struct err *err)
{
    uint8_t sector[SECTOR_BYTES] = {0};
    struct id id = id_random();
    char hex[ID_TEXT_BYTES];
    AUTO(buf_release) struct buf path = {0};
    AUTO(buf_release) struct buf drive = {0};
    memcpy(sector, PROBE, sizeof PROBE);
    sector[SECTOR_BYTES - 2] = 0x55;
    sector[SECTOR_BYTES - 1] = 0xaa;
    buf_printf(&path, "%s/.accel-%s.tmp", scratch_dir, id_text(&id, hex));
    buf_append_text(&drive, "if=ide,format=raw,file=");
    for (const char *c = buf_text(&path); *c; c++)
        buf_append(&drive, *c == ',' ? ",," : c, *c == ',' ? 2 : 1);
    const char *argv[] = {qemu_path,    "-machine", "pc,accel=kvm",   "-cpu",     "host",
                          "-m",         "16",       "-nodefaults",    "-display", "none",
                          "-no-reboot", "-drive",   buf_text(&drive), NULL};
    bool ok = file_write_durable(buf_text(&path), sector, sizeof sector, 0600, err) &&
              process_run(argv, PROBE_DEADLINE_MS, NULL, NULL, err);
    (void)unlink(buf_text(&path));
    return ok;
}

const char *vm_accel_pick(const char *option, const char *qemu_path,
                          const char *scratch_dir)
{
    struct err err = ERR_INIT;
    char quoted[LOG_QUOTED_BYTES];
    if (strcmp(option, "auto") != 0)
        return strcmp(option, "kvm") == 0 ? "kvm" : "tcg";
    LOCK_GUARD(&lock); /* held over the probe: others wait for its answer */
    if (!is_known) {
        kvm_works =
            access("/dev/kvm", R_OK | W_OK) == 0 && probe(qemu_path, scratch_dir, &err);
        is_known = true;
        log_debug("accel_probe", "kvm=%d reason=%s", kvm_works,
                  log_quote(err.text, quoted));
    }
    return kvm_works ? "kvm" : "tcg";
}
