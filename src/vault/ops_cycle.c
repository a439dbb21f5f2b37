/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations that are cycles: replicate, sync, resume, verify, resync; and pause, which
 * waits until the cycle that was running has let go of the machine.
 */
#include "vault/ops.h"

bool step_create_replica(struct work *work, struct err *err)
{
    AUTO(machine_io_close) struct machine_io io = {0};
    return machine_io_open(work, IO_TARGET, &io, err) &&
           target_replica_create(io.target, io.def, err);
}

bool step_cycle(struct work *work, struct err *err)
{
    return cycle_job_run(work, &(struct cycle_request){0}, err);
}

bool step_on_demand_cycle(struct work *work, struct err *err)
{
    return cycle_job_run(work, &(struct cycle_request){.on_demand = true}, err);
}

bool step_verify_cycle(struct work *work, struct err *err)
{
    return cycle_job_run(work, &(struct cycle_request){.on_demand = true, .verify = true},
                         err);
}

/* Without its change records the source cannot but compare everything. */
bool step_forget_changes(struct work *work, struct err *err)
{
    AUTO(machine_io_close) struct machine_io io = {0};
    return machine_io_open(work, IO_SOURCE, &io, err) &&
           source_forget(io.source, io.def, err);
}

bool step_resync_cycle(struct work *work, struct err *err)
{
    return cycle_job_run(work, &(struct cycle_request){.resync = true}, err);
}

/* The lease is ours: nothing runs. */
bool step_pause(struct work *work, struct err *err)
{
    (void)err;
    machine_change(work->vault, work->machine,
                   &(struct machine_change){.trigger = ON_DETACHED, .has_next = true});
    vault_event(work->vault, work->machine, work->job, "info", "paused",
                "replication is paused");
    return true;
}
