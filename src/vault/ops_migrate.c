/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Migration: the guest is shut down (unless told not to), what changed since the last
 * cycle is brought over, the target VM is made of the replica disks. Each step can be run
 * again; after the last one the machine is migrated and only complete is left.
 */
#include "base/clock.h"
#include "base/text.h"
#include "vault/ops.h"

#define SHUTDOWN_DEADLINE_MS ((uint64_t)3 * 60 * 1000)

bool step_shutdown(struct work *work, struct err *err)
{
    AUTO(machine_io_close) struct machine_io io = {0};
    if (!option_bool(work, "shutdown", true))
        return true;
    if (!machine_io_open(work, IO_SOURCE, &io, err))
        return false;
    uint64_t deadline_ms = option_u64(work, "shutdown_deadline_ms", SHUTDOWN_DEADLINE_MS);
    if (!source_shutdown(io.source, io.def, deadline_ms, &work->cancel, err)) {
        (void)err_wrap(err, "shut down the guest of '%s'", work->machine->name);
        (void)err_hint(err, "shut it down yourself and migrate again without shutdown");
        return false;
    }
    vault_event(work->vault, work->machine, work->job, "info", "source_down",
                "the guest of the source machine is shut down");
    return true;
}

static void tell_migrated(struct work *work, const struct vm_info *info)
{
    char took[TEXT_HUMAN_BYTES];
    if (info->how_booted[0])
        vault_event(work->vault, work->machine, work->job, "info", "migrated",
                    "machine '%s' runs on the target, booted in %s (%s)", info->name,
                    text_duration(info->boot_ms, took), info->how_booted);
    else
        vault_event(work->vault, work->machine, work->job, "warning", "migrated",
                    "machine '%s' was started on the target, its boot was not proved; "
                    "see its screen",
                    info->name);
}

bool step_migrate(struct work *work, struct err *err)
{
    AUTO(machine_io_close) struct machine_io io = {0};
    struct vm_info info = {0};
    struct test_options options = test_options_of(work, "");
    if (!machine_io_open(work, IO_KEY | IO_TARGET, &io, err) ||
        !replica_make_whole(&io, err) ||
        !target_migrate(io.target, io.def, &options, &work->cancel, &info, err))
        return false;
    json_t *vm = view_vm("", &info, clock_wall_ms());
    job_set_result(work, json_incref(vm));
    machine_change(work->vault, work->machine,
                   &(struct machine_change){
                       .trigger = info.how_booted[0] ? ON_MIGRATED : ON_MIGRATED_UNPROVED,
                       .vm = vm,
                       .migrated_now = true,
                       .has_next = true,
                       .clear_failure = true});
    tell_migrated(work, &info);
    return true;
}
