/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stop and complete: what replication left at the target, in the stores and at the source
 * goes, then the data key, then the machine's row. In this order an interrupted clean-up
 * still knows what to go on with; every step takes "gone already" for success.
 */
#include "vault/debts.h"
#include "vault/ops.h"

bool step_target_complete(struct work *work, struct err *err)
{
    AUTO(machine_io_close) struct machine_io io = {0};
    return machine_io_open(work, IO_TARGET, &io, err) &&
           target_complete(io.target, io.def, err);
}

bool step_target_remove(struct work *work, struct err *err)
{
    AUTO(machine_io_close) struct machine_io io = {0};
    struct err why = ERR_INIT;
    if (machine_io_open(work, IO_TARGET, &io, &why) &&
        target_remove(io.target, io.def, &why))
        return true;
    if (why.kind == FAIL_GONE)
        return true;
    *err = why;
    return false;
}

static bool forget_at_source(struct work *work, struct err *err)
{
    AUTO(machine_io_close) struct machine_io io = {0};
    return machine_io_open(work, IO_SOURCE, &io, err) &&
           source_forget(io.source, io.def, err);
}

/* A source machine that is no more keeps nothing of ours. After a migration that is what
 * often happens, so it must not hold up complete. */
bool step_source_forget(struct work *work, struct err *err)
{
    struct err why = ERR_INIT;
    if (forget_at_source(work, &why) || why.kind == FAIL_GONE)
        return true;
    bool may_skip =
        work->job->operation == OP_COMPLETE || option_bool(work, "force", false);
    if (!may_skip || why.kind == FAIL_CANCELED) {
        *err = why;
        (void)err_hint(err, "start the source machine again, or stop with force");
        return err_wrap(err, "clean up at the source");
    }
    vault_event(
        work->vault, work->machine, work->job, "warning", "source_unreachable",
        "%s; what replication left at the source is removed when it answers again",
        why.text);
    return debt_add(work->vault, work->machine, err);
}

bool step_cycles_forget(struct work *work, struct err *err)
{
    AUTO(machine_io_close) struct machine_io io = {0};
    return machine_io_open(work, 0, &io, err) && cycle_forget(&io.cycle, err);
}

/* The wrapped data key goes with the row: what was sealed with it is unreadable now. */
bool step_leave(struct work *work, struct err *err)
{
    if (!record_machine_remove(work->vault, work->machine, err))
        return false;
    vault_event(work->vault, work->machine, work->job, "info",
                work->job->operation == OP_COMPLETE ? "completed" : "stopped",
                work->job->operation == OP_COMPLETE
                    ? "the migration is complete, the machine left the list"
                    : "replication was stopped, the machine left the list");
    LOCK_GUARD(&work->vault->lock);
    machine_move(&work->machine->facts, ON_REMOVED);
    return true;
}
