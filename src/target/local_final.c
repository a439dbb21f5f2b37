/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last steps: the VM on the replica disks themselves, forgetting the replication, or
 * stopping it.
 *
 * The replica belongs to the VM from the instant the layout says is_migrated. That is
 * written after QEMU has opened the disks with stopped processors, and before the guest
 * runs: QEMU failing to start costs nothing, and no write of the guest is ever followed
 * by one of the applier.
 */
#include "target/local.h"

#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "http/machine_json.h"
#include "qemu/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define STOP_GRACE_MS    3000
#define COPY_CHUNK_BYTES (1 * MIB)

/* The VM must not depend on a file of the replication's source. */
static bool copy_file(const char *from, const char *to, struct err *err)
{
    AUTO(close_fd) int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return err_errno(err, errno,
                         "open '%s', which the machine boots from, on this host", from);
    AUTO(close_fd) int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out < 0)
        return err_errno(err, errno, "create '%s'", to);
    AUTO(free) uint8_t *chunk = xcalloc(1, COPY_CHUNK_BYTES);
    uint64_t at = 0;
    for (;;) {
        ssize_t n = read(in, chunk, COPY_CHUNK_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, errno, "read '%s'", from);
        if (n == 0)
            break;
        if (!file_pwrite_full(out, to, chunk, (size_t)n, at, err))
            return false;
        at += (size_t)n;
    }
    return fsync(out) == 0 || err_errno(err, errno, "sync '%s'", to);
}

struct final_vm {
    struct vm_spec spec;
    struct vm_disk disks[MACHINE_MAX_DISKS];
    char *paths[MACHINE_MAX_DISKS];
    char *run_dir;
    char *kernel;
    char *initrd;
};

static void final_vm_free(struct final_vm *vm)
{
    if (!vm)
        return;
    for (size_t i = 0; i < MACHINE_MAX_DISKS; i++)
        free(vm->paths[i]);
    free(vm->run_dir);
    free(vm->kernel);
    free(vm->initrd);
    free(vm);
}
AUTO_CLEANUP(struct final_vm, final_vm_free);

static struct final_vm *describe(struct local *local, const struct local_layout *layout,
                                 const struct test_options *options, struct vm_info *info)
{
    struct final_vm *vm = xcalloc(1, sizeof *vm);
    const struct machine_def *machine = &layout->machine;
    vm->run_dir = file_join(layout->dir, "vm");
    vm->kernel = machine->kernel[0] ? file_join(vm->run_dir, "kernel") : xstrdup("");
    vm->initrd = machine->initrd[0] ? file_join(vm->run_dir, "initrd") : xstrdup("");
    info->disk_count = layout->disk_count;
    for (size_t i = 0; i < layout->disk_count; i++) {
        vm->paths[i] = local_layout_file(layout, i, 0);
        vm->disks[i] = (struct vm_disk){vm->paths[i], layout->is_qcow2};
        text_copy(info->disk_paths[i], sizeof info->disk_paths[i], vm->paths[i]);
    }
    vm->spec = (struct vm_spec){
        .machine = machine,
        .name = info->name,
        .run_dir = vm->run_dir,
        .serial_log = info->serial_log,
        .network = options->network ? options->network : "",
        .accel = vm_accel_pick(local->accel, local->qemu_path, local->dir),
        .qemu_path = local->qemu_path,
        .kernel = vm->kernel,
        .initrd = vm->initrd,
        .disk_count = layout->disk_count,
        .disks = vm->disks,
    };
    return vm;
}

/* In single quotes, as the shell wants it. */
static void put_quoted(struct buf *out, const char *word)
{
    buf_append_text(out, "'");
    for (; *word; word++)
        if (*word == '\'')
            buf_append_text(out, "'\\''");
        else
            buf_append(out, word, 1);
    buf_append_text(out, "'");
}

/* vm.json for programs, start.sh for people. */
static bool write_definition(const struct final_vm *vm, const struct vm_args *args,
                             struct err *err)
{
    AUTO(json_free) json_t *json = json_object();
    AUTO(buf_release) struct buf text = {0};
    AUTO(buf_release) struct buf script = {0};
    AUTO(free) char *json_path = file_join(vm->run_dir, "vm.json");
    AUTO(free) char *script_path = file_join(vm->run_dir, "start.sh");
    json_t *words = json_array();
    buf_append_text(&script, "#!/bin/sh\n# Starts this VM; end it from inside, or over "
                             "its monitor socket.\nexec");
    for (size_t i = 0; i < args->count; i++) {
        (void)json_array_append_new(words,
                                    json_string(args->items[i])); /* else shorter */
        buf_append_text(&script, i && args->items[i][0] == '-' ? " \\\n    " : " ");
        put_quoted(&script, args->items[i]);
    }
    buf_append_text(&script, "\n");
    json_put_text(json, "name", vm->spec.name);
    json_put_take(json, "machine", machine_to_json(vm->spec.machine));
    json_put_take(json, "arguments", words);
    json_print_pretty(json, &text);
    buf_append_text(&text, "\n");
    return file_write_durable(script_path, script.data, script.bytes, 0700, err) &&
           file_write_durable(json_path, text.data, text.bytes, 0600, err);
}

static bool prepare(const struct final_vm *vm, struct err *err)
{
    AUTO(vm_args_release) struct vm_args args = {0};
    const struct machine_def *machine = vm->spec.machine;
    if (!file_make_dirs(vm->run_dir, err))
        return false;
    if ((machine->kernel[0] && !file_exists(vm->kernel) &&
         !copy_file(machine->kernel, vm->kernel, err)) ||
        (machine->initrd[0] && !file_exists(vm->initrd) &&
         !copy_file(machine->initrd, vm->initrd, err)))
        return false;
    return vm_args_make(&vm->spec, &args, err) && write_definition(vm, &args, err);
}

static bool start_final(struct local_layout *layout, const struct final_vm *vm,
                        const struct test_options *options, struct vm_process *process,
                        struct err *err)
{
    *process = (struct vm_process){layout->vm_pid, layout->vm_pid_start_ticks};
    if (layout->is_migrated && vm_is_alive(process))
        return vm_go(vm->run_dir, err); /* done already; it may still stand still */
    if (!prepare(vm, err) || FAULT(TARGET_BEFORE_VM, err))
        return false;
    *process = (struct vm_process){0};
    if (options->start && !vm_start(&vm->spec, process, err))
        return false;
    layout->is_migrated = true;
    layout->vm_pid = process->pid;
    layout->vm_pid_start_ticks = process->start_ticks;
    if (!local_layout_save(layout, err)) {
        struct err second = ERR_INIT; /* the first failure is the one to tell */
        if (!vm_stop(process, 0, &second))
            log_debug("vm_left", "pid=%d", process->pid);
        return false;
    }
    return !FAULT(TARGET_AFTER_VM, err) && (!options->start || vm_go(vm->run_dir, err));
}

static bool check_migrate(struct local *local, struct local_layout *layout,
                          struct err *err)
{
    const char *name = layout->machine.name;
    if (layout->test_count)
        return err_set(err, FAIL_CONFLICT,
                       "machine '%s' has test '%s'; clean up its tests first", name,
                       layout->tests[0].name);
    if (lease_exists(&local->leases, name, false))
        return err_set(
            err, FAIL_CONFLICT,
            "a disk of machine '%s' is open; try again when the cycle or check "
            "is done",
            name);
    return layout->is_migrated || local_chain_collapse(local, layout, err);
}

static bool migrate_held(struct local *local, const struct machine_def *machine,
                         const struct test_options *options, struct vm_info *info,
                         struct vm_process *process, struct err *err)
{
    HOLD_MACHINE(&local->leases, machine->name);
    AUTO(local_layout_free)
    struct local_layout *layout = local_layout_open(local->dir, machine->name, err);
    if (!layout || !check_migrate(local, layout, err))
        return false;
    text_copy(info->name, sizeof info->name, layout->machine.name);
    if (!local_evidence(layout, info->name, info, err))
        return false;
    AUTO(final_vm_free)
    struct final_vm *vm = describe(local, layout, options, info);
    if (!vm_socket_path(vm->run_dir, "qmp", info->qmp_path, err) ||
        !start_final(layout, vm, options, process, err))
        return err_wrap(err, "VM '%s'", info->name);
    info->pid = process->pid;
    return true;
}

bool local_migrate(struct target *target, const struct machine_def *machine,
                   const struct test_options *options, const struct cancel *cancel,
                   struct vm_info *ret, struct err *err)
{
    struct local *local = (struct local *)target;
    struct vm_process process = {0};
    AUTO(free) struct vm_info *info = xcalloc(1, sizeof *info);
    AUTO(buf_release) struct buf run_dir = {0};
    if (!local_check_machine(machine, err) ||
        !migrate_held(local, machine, options, info, &process, err))
        return false;
    buf_printf(&run_dir, "%s/%s/vm", local->dir, machine->name);
    if (process.pid == 0)
        info->screen_png[0] = info->serial_log[0] = info->qmp_path[0] = 0;
    else if (!local_prove(&process, buf_text(&run_dir), options, cancel, info, err))
        return false;
    *ret = *info;
    return true;
}

static bool has_vm(const struct local *local, const char *machine)
{
    AUTO(buf_release) struct buf path = {0};
    buf_printf(&path, "%s/%s/vm/vm.json", local->dir, machine);
    return file_exists(buf_text(&path));
}

bool local_complete(struct target *target, const struct machine_def *machine,
                    struct err *err)
{
    struct local *local = (struct local *)target;
    if (!local_check_machine(machine, err))
        return false;
    HOLD_MACHINE(&local->leases, machine->name);
    AUTO(local_layout_free)
    struct local_layout *layout = local_layout_open(local->dir, machine->name, err);
    if (!layout && err->kind == FAIL_GONE && has_vm(local, machine->name)) {
        err_clear(err);
        return true;
    }
    if (!layout)
        return false;
    if (!layout->is_migrated)
        return err_set(err, FAIL_CONFLICT,
                       "machine '%s' was not migrated; migrate it before completing",
                       machine->name);
    AUTO(free) char *tests = file_join(layout->dir, "tests");
    AUTO(free) char *path = file_join(layout->dir, "replica.json");
    return file_remove_tree(tests, err) && file_remove_durable(path, err);
}

static bool stop_tests(const struct local_layout *layout, struct err *err)
{
    for (size_t i = 0; i < layout->test_count; i++) {
        struct vm_process process = {layout->tests[i].pid,
                                     layout->tests[i].pid_start_ticks};
        AUTO(free) char *run_dir = local_layout_test_dir(layout, layout->tests[i].name);
        if (!vm_stop(&process, STOP_GRACE_MS, err) || !vm_kill_strays(run_dir, err) ||
            !local_drop_run_dir(run_dir, err))
            return false;
    }
    return true;
}

static bool remove_layout(struct local *local, const struct machine_def *machine,
                          struct err *err)
{
    struct err why = ERR_INIT;
    AUTO(local_layout_free)
    struct local_layout *layout = local_layout_open(local->dir, machine->name, &why);
    if (!layout && why.kind == FAIL_GONE && !has_vm(local, machine->name))
        return true;
    if (!layout && why.kind != FAIL_GONE) {
        *err = why;
        return false;
    }
    if (!layout || layout->is_migrated)
        return err_set(err, FAIL_CONFLICT,
                       "machine '%s' was migrated: its disks belong to the VM",
                       machine->name);
    if (lease_exists(&local->leases, machine->name, false))
        return err_set(err, FAIL_CONFLICT,
                       "a disk of machine '%s' is open; stop its cycle", machine->name);
    AUTO(free) char *path = file_join(layout->dir, "replica.json");
    return stop_tests(layout, err) && file_remove_durable(path, err);
}

bool local_remove(struct target *target, const struct machine_def *machine,
                  struct err *err)
{
    struct local *local = (struct local *)target;
    if (!local_check_machine(machine, err))
        return false;
    HOLD_MACHINE(&local->leases, machine->name);
    AUTO(free) char *dir = file_join(local->dir, machine->name);
    return remove_layout(local, machine, err) && file_remove_tree(dir, err);
}
