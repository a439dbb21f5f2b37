/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_MACHINE_H
#define GUEST_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the demo guest asks of its kernel and of the machine below. */

struct machine {
    char name[64];
    char kernel[80];
    char mac[32]; /* "none" without a network card */
    unsigned cpus;
    unsigned mem_mb;
};

/* Read a small text file without its last newline; false when it cannot be read. */
bool text_file_read(const char *path, char *ret_text, size_t text_bytes);

/* The number after "NAME=" on the kernel's command line, or the default. */
uint64_t cmdline_u64(const char *name, uint64_t value_default);

/* proc, sys, dev; the modules of the power button and of the network cards present. */
void machine_start(void);

/* Everything that is shown of the machine. */
void machine_describe(struct machine *ret_machine);

/*
 * Mount the file system labelled "kedge-data", whatever disk it is on, at /data, and make
 * the root writable too unless is_read_only. False with why set.
 */
bool machine_mount_disks(bool is_read_only, char *why, size_t why_bytes);

/* An input device that reports the power button, or -1. */
int power_button_open(void);

/* True when the power button was pressed since the last call. */
bool power_button_is_pressed(int fd);

/* Nothing is open for writing any more: leave both disks clean. False with why set. */
bool machine_unmount_disks(char *why, size_t why_bytes);

/* Switch the machine off; does not return. */
void machine_power_off(void);

#endif
