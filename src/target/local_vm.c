/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Test VMs: a clone of every disk, a VM on the clones, its end.
 *
 * Order, so that a crash anywhere leaves a state the next call understands:
 *   freeze (the layout names the test) -> VM started with stopped processors -> the
 * layout has its process -> the guest runs -> proof of boot, with the machine free for
 * cycles. A test that can't be started is taken back as a whole; what it showed stays as
 * evidence.
 */
#include "target/local.h"

#include "base/fault.h"
#include "base/file.h"
#include "base/text.h"
#include "qemu/vm.h"

#include <unistd.h>

#define STOP_GRACE_MS 3000

bool local_evidence(const struct local_layout *layout, const char *vm_name,
                    struct vm_info *info, struct err *err)
{
    AUTO(free) char *dir = file_join(layout->dir, "evidence");
    if (!file_make_dirs(dir, err))
        return false;
    int a =
        snprintf(info->screen_png, sizeof info->screen_png, "%s/%s.png", dir, vm_name);
    int b = snprintf(info->serial_log, sizeof info->serial_log, "%s/%s.serial.log", dir,
                     vm_name);
    if (a < 0 || b < 0 || (size_t)b >= sizeof info->serial_log)
        return err_set(err, FAIL_INPUT,
                       "path of '%s' is too long; choose a shorter folder", dir);
    return true;
}

bool local_prove(const struct vm_process *process, const char *run_dir,
                 const struct test_options *options, const struct cancel *cancel,
                 struct vm_info *info, struct err *err)
{
    struct vm_proof proof;
    struct vm_proof_options watch = {
        .process = process,
        .run_dir = run_dir,
        .serial_log = info->serial_log,
        .marker = options->marker ? options->marker : "",
        .png_path = info->screen_png,
        .deadline_ms = options->boot_deadline_ms,
    };
    if (!vm_prove_boot(&watch, cancel, &proof, err))
        return err_wrap(err, "VM '%s'", info->name);
    text_copy(info->how_booted, sizeof info->how_booted, proof.how);
    info->boot_ms = proof.took_ms;
    if (!proof.has_png)
        info->screen_png[0] = 0;
    return true;
}

bool local_drop_run_dir(const char *run_dir, struct err *err)
{
    static const char *const SOCKETS[] = {"qmp", "agent"};
    char path[MACHINE_PATH_BYTES];
    for (size_t i = 0; i < ARRAY_COUNT(SOCKETS); i++) {
        if (!vm_socket_path(run_dir, SOCKETS[i], path, err))
            return false;
        (void)unlink(path); /* mostly not there any more */
    }
    return file_remove_tree(run_dir, err);
}

static bool remove_test(struct local *local, struct local_layout *layout, size_t at,
                        struct err *err)
{
    const struct local_test *test = &layout->tests[at];
    struct vm_process process = {test->pid, test->pid_start_ticks};
    AUTO(free) char *run_dir = local_layout_test_dir(layout, test->name);
    if (FAULT(TARGET_BEFORE_CLEANUP, err) || !vm_stop(&process, STOP_GRACE_MS, err) ||
        !vm_kill_strays(run_dir, err))
        return false;
    local_layout_drop_test(layout, at);
    return local_layout_save(layout, err) && local_drop_run_dir(run_dir, err) &&
           local_chain_collapse(local, layout, err);
}

bool local_test_cleanup(struct target *target, const struct machine_def *machine,
                        const char *test_name, struct err *err)
{
    struct local *local = (struct local *)target;
    struct err why = ERR_INIT;
    if (!local_check_machine(machine, err) || !text_check_name("test", test_name, err))
        return false;
    HOLD_MACHINE(&local->leases, machine->name);
    AUTO(local_layout_free)
    struct local_layout *layout = local_layout_open(local->dir, machine->name, &why);
    if (!layout && why.kind == FAIL_GONE)
        return true;
    if (!layout) {
        *err = why;
        return false;
    }
    size_t at = local_layout_find_test(layout, test_name);
    if (at < layout->test_count)
        return remove_test(local, layout, at, err);
    return layout->is_migrated || local_chain_collapse(local, layout, err);
}

static void describe_clones(const struct local_layout *layout, const char *run_dir,
                            struct vm_info *info)
{
    info->disk_count = layout->disk_count;
    for (size_t i = 0; i < layout->disk_count; i++)
        (void)snprintf(info->disk_paths[i], sizeof info->disk_paths[i],
                       "%s/disk%zu.qcow2", run_dir, i);
}

static bool start_vm(struct local *local, struct local_layout *layout,
                     const char *run_dir, const struct test_options *options,
                     struct vm_info *info, struct err *err)
{
    struct vm_disk disks[MACHINE_MAX_DISKS];
    struct local_test *test = &layout->tests[layout->test_count - 1];
    struct vm_process process;
    for (size_t i = 0; i < layout->disk_count; i++)
        disks[i] = (struct vm_disk){info->disk_paths[i], true};
    struct vm_spec spec = {
        .machine = &layout->machine,
        .name = info->name,
        .run_dir = run_dir,
        .serial_log = info->serial_log,
        .network = options->network ? options->network : "",
        .accel = vm_accel_pick(local->accel, local->qemu_path, local->dir),
        .qemu_path = local->qemu_path,
        .kernel = layout->machine.kernel,
        .initrd = layout->machine.initrd,
        .disk_count = layout->disk_count,
        .disks = disks,
        .is_throwaway = true,
    };
    if (FAULT(TARGET_BEFORE_VM, err) || !vm_start(&spec, &process, err))
        return false;
    test->pid = process.pid;
    test->pid_start_ticks = process.start_ticks;
    info->pid = process.pid;
    return local_layout_save(layout, err) && !FAULT(TARGET_AFTER_VM, err) &&
           vm_go(run_dir, err);
}

/* Under the hold: the clone, and the VM up to its first instruction. */
static bool make_test(struct local *local, struct local_layout *layout,
                      const struct test_options *options, struct vm_info *info,
                      struct err *err)
{
    struct local_test test = {0};
    size_t before = layout->test_count;
    AUTO(free) char *run_dir = local_layout_test_dir(layout, options->test_name);
    text_copy(test.name, sizeof test.name, options->test_name);
    (void)snprintf(info->name, sizeof info->name, "%s-%s", layout->machine.name,
                   options->test_name);
    if (!local_evidence(layout, info->name, info, err) ||
        !vm_socket_path(run_dir, "qmp", info->qmp_path, err) ||
        !local_chain_collapse(local, layout, err) ||
        !local_chain_freeze(local, layout, &test, err))
        return false;
    describe_clones(layout, run_dir, info);
    if (!options->start || start_vm(local, layout, run_dir, options, info, err))
        return true;
    struct err second = ERR_INIT; /* the first failure is the one to tell */
    (void)remove_test(local, layout, before, &second);
    return false;
}

static bool make_test_held(struct local *local, const struct machine_def *machine,
                           const struct test_options *options, struct vm_info *info,
                           struct vm_process *process, struct err *err)
{
    HOLD_MACHINE(&local->leases, machine->name);
    AUTO(local_layout_free)
    struct local_layout *layout = local_layout_open(local->dir, machine->name, err);
    if (!layout)
        return false;
    if (layout->is_migrated)
        return err_set(err, FAIL_CONFLICT,
                       "machine '%s' was migrated: its replica is in use by the VM",
                       machine->name);
    if (local_layout_find_test(layout, options->test_name) < layout->test_count)
        return err_set(err, FAIL_CONFLICT,
                       "test '%s' of machine '%s' exists; clean it up first, or choose "
                       "another name",
                       options->test_name, machine->name);
    if (!make_test(local, layout, options, info, err))
        return false;
    const struct local_test *test = &layout->tests[layout->test_count - 1];
    *process = (struct vm_process){test->pid, test->pid_start_ticks};
    return true;
}

bool local_test_start(struct target *target, const struct machine_def *machine,
                      const struct test_options *options, const struct cancel *cancel,
                      struct vm_info *ret, struct err *err)
{
    struct local *local = (struct local *)target;
    struct vm_process process = {0};
    AUTO(free) struct vm_info *info = xcalloc(1, sizeof *info);
    AUTO(buf_release) struct buf run_dir = {0};
    if (!local_check_machine(machine, err) ||
        !text_check_name("test", options->test_name, err) ||
        !make_test_held(local, machine, options, info, &process, err))
        return false;
    if (options->on_cloned)
        options->on_cloned(options->on_cloned_ctx);
    buf_printf(&run_dir, "%s/%s/tests/%s", local->dir, machine->name, options->test_name);
    if (options->start) {
        if (!local_prove(&process, buf_text(&run_dir), options, cancel, info, err)) {
            struct err second = ERR_INIT; /* the first failure is the one to tell */
            (void)local_test_cleanup(target, machine, options->test_name, &second);
            return false;
        }
    } else {
        info->screen_png[0] = info->serial_log[0] = info->qmp_path[0] = 0;
    }
    *ret = *info;
    return true;
}
