/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Migration: the guest is shut down (unless told not to), what changed since the last
 * cycle is brought over, the target VM is made of the replica disks. Each step can be run
 * again; after the last one the machine is migrated and only complete is left.
 */
#include "base/clock.h"
#include "base/text.h"
#include "vault/ops.h"
#include "vault/policy.h"

#define SHUTDOWN_DEADLINE_MS ((uint64_t)3 * 60 * 1000)

/* Kept in the job's result until there is a better one: what migrate_undo asks. */
static void note_running(struct work *work, const struct machine_io *io)
{
    struct err ignored = ERR_INIT;
    AUTO(free) struct machine_def *now = xcalloc(1, sizeof *now);
    if (!source_find(io->source, io->def->key, now, &ignored) || !now->is_running)
        return;
    json_t *result = json_object();
    json_put_bool(result, "source_was_running", true);
    job_set_result(work, result);
}

/* The last look before anything is touched. What an earlier process began goes on. */
static bool check_blackout(struct work *work, struct err *err)
{
    struct err why = ERR_INIT;
    if (work->job->was_interrupted ||
        policy_may_migrate(work->vault, clock_wall_ms(), &why))
        return true;
    if (!option_bool(work, "override_blackout", false)) {
        *err = why;
        return false;
    }
    vault_event(work->vault, work->machine, work->job, "warning", "blackout_overridden",
                "migrates inside a blackout window, as it was asked for");
    return true;
}

bool step_shutdown(struct work *work, struct err *err)
{
    AUTO(machine_io_close) struct machine_io io = {0};
    if (!check_blackout(work, err))
        return false;
    if (!option_bool(work, "shutdown", true))
        return true;
    if (!machine_io_open(work, IO_SOURCE, &io, err))
        return false;
    note_running(work, &io);
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

struct undo_check {
    const struct id *machine;
    bool is_unmigrated;
};

static bool note_unmigrated(void *ctx, const struct target_item *item, struct err *err)
{
    struct undo_check *check = ctx;
    (void)err;
    if (!item->test_name && !item->is_migrated &&
        id_equal(&item->machine->id, check->machine))
        check->is_unmigrated = true;
    return true;
}

/* The target itself says that the machine was not made there, or not any more. */
static bool is_surely_not_made(struct work *work)
{
    struct err why = ERR_INIT;
    AUTO(machine_io_close) struct machine_io io = {0};
    struct undo_check check = {.machine = &work->machine->id};
    return machine_io_open(work, IO_TARGET, &io, &why) &&
           target_list(io.target, note_unmigrated, &check, &why) && check.is_unmigrated;
}

/* Not when the target may have started the machine: then two would run. */
void migrate_undo(struct work *work)
{
    struct err why = ERR_INIT;
    AUTO(machine_io_close) struct machine_io io = {0};
    const struct job *job = work->job;
    bool was_running = json_is_true(json_object_get(job->result, "source_was_running"));
    if (!was_running || job->steps_done == 0 || !option_bool(work, "restart", true))
        return;
    if (job->steps_done + 1 >= job->steps_total && !is_surely_not_made(work))
        vault_event(work->vault, work->machine, job, "warning", "source_stays_off",
                    "the source machine stays off; see that none runs at the target "
                    "before you start it");
    else if (machine_io_open(work, IO_SOURCE, &io, &why) &&
             source_startup(io.source, io.def, NULL, &why))
        vault_event(work->vault, work->machine, job, "info", "source_up",
                    "the migration failed and no machine of it is at the target: the "
                    "source machine runs again");
    else
        vault_event(work->vault, work->machine, job, "error", "source_stays_off",
                    "the source machine was shut down for the migration and is off: %s",
                    why.text);
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
