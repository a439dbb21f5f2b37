/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMs under QEMU: a command line from a machine definition, start, proof that it booted,
 * end. A VM is known by its run folder: sockets, log and process id file lie there, and
 * its command line names that folder, so it is found again after a crash of ours.
 *
 * Nothing here writes down anything: the caller keeps struct vm_process. One thread per
 * VM.
 */
#ifndef QEMU_VM_H
#define QEMU_VM_H

#include "base/cancel.h"
#include "block/machine.h"

struct vm_disk {
    const char *path;
    bool is_qcow2; /* what it sits on is told by the file itself, format included */
};

struct vm_spec {
    const struct machine_def *machine;
    const char *name;
    const char *run_dir;    /* exists; absolute */
    const char *serial_log; /* emptied at the start */
    const char *network;    /* "", "isolated", "user", "bridge:<name>" */
    const char *accel;      /* "kvm", "tcg" */
    const char *qemu_path;
    const char *kernel; /* "": boot from the first disk */
    const char *initrd;
    size_t disk_count;
    const struct vm_disk *disks;
    bool is_throwaway; /* a test: a power cut may lose what the guest synced */
};

struct vm_process {
    int pid;
    uint64_t start_ticks; /* since boot of the host: tells a recycled pid */
};

/* The words of a command line; items ends with NULL. */
struct vm_args {
    char **items;
    size_t count;
};
void vm_args_release(struct vm_args *args);
static inline void auto_vm_args_release(struct vm_args *args)
{
    vm_args_release(args);
}

/*
 * The command line: firmware, disk order, addresses and models as defined; disks boot in
 * order; no default devices; no way out of the host unless the network says so. Copies
 * the UEFI variables' template into run_dir once. FAIL_INPUT: the definition asks for
 * what QEMU has not; FAIL_GONE: the firmware is not installed.
 */
MUST_CHECK bool vm_args_make(const struct vm_spec *spec, struct vm_args *ret,
                             struct err *err);

/* Path of a socket of the VM of this folder ("qmp", "agent"): in the folder, or, when
 * that is too long for a socket address, in the run-time folder of the system. */
MUST_CHECK bool vm_socket_path(const char *run_dir, const char *which,
                               char out[MACHINE_PATH_BYTES], struct err *err);

/* Starts it with the processors stopped: nothing is written to a disk before vm_go. A
 * process that ends at once: FAIL_IO with its last words. */
MUST_CHECK bool vm_start(const struct vm_spec *spec, struct vm_process *ret,
                         struct err *err);
MUST_CHECK bool vm_go(const char *run_dir, struct err *err);

/* false also when another process has that id now. */
bool vm_is_alive(const struct vm_process *process);
/* SIGTERM (QEMU closes its disks properly), later SIGKILL. Another process with that id
 * is left alone. */
MUST_CHECK bool vm_stop(const struct vm_process *process, uint64_t grace_ms,
                        struct err *err);
/* Ends every VM whose command line names run_dir as its run folder. */
MUST_CHECK bool vm_kill_strays(const char *run_dir, struct err *err);

/* The last line QEMU itself wrote, "" none. */
void vm_last_words(const char *run_dir, char *out, size_t out_bytes);

/* "kvm" or "tcg" for the option "auto", "kvm", "tcg". Auto boots 512 bytes under KVM with
 * a deadline: a /dev/kvm that opens may still not run anything. The answer is kept for
 * the life of the process. scratch_dir: a place for the 512 bytes. */
const char *vm_accel_pick(const char *option, const char *qemu_path,
                          const char *scratch_dir);

/* true when UEFI machines can be started here. */
bool vm_firmware_is_there(void);

/* ---- proof of boot ---- */

struct vm_proof_options {
    const struct vm_process *process;
    const char *run_dir;
    const char *serial_log;
    const char *marker; /* "" none */
    const char *png_path;
    uint64_t deadline_ms;
};

struct vm_proof {
    char how[64]; /* "guest agent", "serial marker", "settled screen"; "" not proved */
    uint64_t took_ms;
    bool has_png;
};

/*
 * Watches until the guest agent answers, the marker stands on the serial console or, when
 * no marker is asked for, the screen is not blank and has not changed for some seconds
 * (the weakest proof: a boot menu settles, too). No proof before the deadline is not an
 * error: how is "". The picture is taken at the end in any case. FAIL_IO: the VM ended.
 */
MUST_CHECK bool vm_prove_boot(const struct vm_proof_options *options,
                              const struct cancel *cancel, struct vm_proof *ret,
                              struct err *err);

#endif
