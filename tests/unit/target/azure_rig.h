/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An azure target for tests: the simulated Resource Manager, the storage emulator behind
 * it, and comparisons of what the target says with what both of them hold.
 */
#ifndef AZURE_RIG_H
#define AZURE_RIG_H

#include "check_target.h"

#include "azure/page_list.h"
#include "support/azure_sim.h"
#include "support/azurite.h"
#include "target/azure_layout.h"

struct rig {
    char dir[64];
    struct azurite *azurite;
    struct azure_sim *sim;
    struct blob_container *container; /* beside the target's own */
    struct target *target;
    struct target_azure_options options;
    char url[160], network[256], account[256];
};

/* Skips the program when the emulator is missing. */
void rig_begin(struct rig *rig);
void rig_end(struct rig *rig);
/* Closes the target and opens it anew with rig->options, as a restart does. */
void rig_reopen(struct rig *rig);

/* Random bytes into [0, data_bytes) of a replica disk, zeros behind them. */
void rig_fill(struct rig *rig, const struct machine_def *machine, size_t disk,
              size_t data_bytes, uint64_t seed);
/* What fill writes, as the simulator's content of that managed disk. */
void rig_check_content(struct rig *rig, const char *disk_name, uint64_t vhd_bytes,
                       size_t data_bytes, uint64_t seed);

/* The target's inventory is exactly what the simulator and the emulator hold, and all of
 * it is known to a layout. */
void rig_check_inventory(struct rig *rig);
/* Removes the resources without our tags: completed machines. Returns how many. */
size_t rig_drop_released(struct rig *rig);
/* Blobs and snapshots in the container. */
size_t rig_blobs(struct rig *rig);
size_t rig_snapshots(struct rig *rig);
/* A resource of the simulator's inventory by name; NULL: none. Of the last call. */
const json_t *rig_resource(struct rig *rig, const char *name);

#endif
