/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who uses a machine at a target: a hold keeps the shape of one machine to one thread, so
 * that cycles may open its disks while a test of it is still booting; a lease says that
 * one of its disks is open. The lock inside is never held over I/O. Any thread.
 */
#ifndef TARGET_LEASE_H
#define TARGET_LEASE_H

#include "block/machine.h"

/* One open replica disk: keeps what lies below it from being changed. */
struct lease {
    struct lease *next;
    char machine[MACHINE_NAME_BYTES];
    bool for_writing;
};

/* A machine whose shape one thread is changing. */
struct hold {
    struct hold *next;
    struct leases *leases;
    char machine[MACHINE_NAME_BYTES];
};

struct leases {
    /* Guarded by lock. */
    pthread_mutex_t lock;
    pthread_cond_t hold_gone;
    struct lease *open;
    struct hold *holds;
};

void leases_init(struct leases *leases);
void leases_release(struct leases *leases); /* every disk is closed before */

/* machine: any text that names it at this target. */
MUST_CHECK struct lease *lease_take(struct leases *leases, const char *machine,
                                    bool for_writing);
void lease_drop(struct leases *leases, struct lease *lease); /* NULL is fine */
bool lease_exists(struct leases *leases, const char *machine, bool only_writers);
/* Whether no other disk of its machine is open. */
bool lease_is_only(struct leases *leases, const struct lease *lease);

/* Waits until no other thread changes the shape of this machine. */
MUST_CHECK struct hold *hold_take(struct leases *leases, const char *machine);
void hold_drop(struct hold *hold); /* NULL is fine */
AUTO_CLEANUP(struct hold, hold_drop);
/* Holds the machine to the end of the scope. */
#define HOLD_MACHINE(leases, machine)                                                    \
    AUTO(hold_drop)                                                                      \
    __attribute__((unused)) struct hold *hold_ = hold_take(leases, machine)

#endif
