/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what a server tells (wire_*) to what we work with: bytes, decoded names, devices
 * sorted into disks and network cards. Internal to src/vsphere; pure. What is built lives
 * in the arena.
 */
#ifndef VSPHERE_VIM_BUILD_H
#define VSPHERE_VIM_BUILD_H

#include "vsphere/vim_snapshot.h"
#include "vsphere/wire_types.h"

/* Port group key -> name, as far as we could read them. */
struct vim_portgroup {
    const char *key;
    const char *name;
};
struct vim_portgroups {
    const struct vim_portgroup *items;
    size_t count;
};

MUST_CHECK bool vim_build_machine(const struct wire_MachineProperties *told,
                                  const struct vim_portgroups *portgroups,
                                  struct wire_arena *arena, struct vim_machine *ret,
                                  struct err *err);

MUST_CHECK bool vim_build_disks(const struct wire_DeviceProperties *told,
                                struct wire_arena *arena, struct vim_disks *ret,
                                struct err *err);

enum vim_power vim_power_from_name(const char *name); /* "poweredOn"; NULL: unknown */

/* "a%2fb" -> "a/b": the server writes "/", "\" and "%" of names so. NULL becomes "".
 * NULL with FAIL_LIMIT. */
MUST_CHECK const char *vim_name_decode(struct wire_arena *arena, const char *name,
                                       struct err *err);

#endif
