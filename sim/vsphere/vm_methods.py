# SPDX-License-Identifier: Apache-2.0
"""Methods of virtual machines and snapshots: reconfigure, snapshot, consolidate, power, changed areas."""
from . import cbt_answers, events, snapshots, tasks
from .config import ConfigError
from .soap import method
from .vimfault import VimFault, by_name, invalid_argument
from .vm_properties import tools_running


def _start(call, vm, work, exclusive=True):
    if exclusive and not vm.host.connected:
        raise VimFault("HostNotConnected")
    return tasks.start(call.world, call.method, call.this, call.account.username, work, vm if exclusive else None).ref


def _milliseconds(call, name):
    return call.world.config["tasks"][name]


def _create_snapshot(call, quiesce):
    vm, faults = call.this, call.lab.faults
    if not call.args["name"]:
        raise VimFault("InvalidName", "", name="")
    name, description = call.args["name"], call.args.get("description", "")
    quiesce = quiesce and vm.power == "poweredOn" and tools_running(vm)

    def work(task):
        stuck = faults.strikes("snapshot.stuck_95", vm=vm)
        if stuck:
            task.stay(95, stuck["seconds"], lambda: not vm.alive)
        broken = faults.strikes("snapshot.create_fails", vm=vm)
        if broken:
            task.take(_milliseconds(call, "snapshot_ms"))
            raise by_name(broken["fault"], vm)
        if quiesce and faults.strikes("snapshot.quiesce_fails", vm=vm):
            raise VimFault("ApplicationQuiesceFault")
        snapshots.check_possible(vm)
        task.take(_milliseconds(call, "snapshot_ms"))
        if not vm.alive:
            raise VimFault("ManagedObjectNotFound", obj=vm.ref)
        really = quiesce and not faults.strikes("snapshot.quiesce_ignored", vm=vm)
        with_ids = not faults.strikes("snapshot.no_change_id", vm=vm)
        return snapshots.create(vm, name, description, really, with_ids).ref
    return _start(call, vm, work)


@method("CreateSnapshot_Task")
def _create_snapshot_task(call):
    return _create_snapshot(call, call.args["quiesce"])


@method("CreateSnapshotEx_Task")
def _create_snapshot_ex_task(call):
    return _create_snapshot(call, "quiesceSpec" in call.args)


def _remove(call, vm, chosen, with_children):
    """chosen: the snapshots to take off, in order."""
    faults = call.lab.faults

    def work(task):
        broken = faults.strikes("snapshot.remove_fails", vm=vm)
        if broken:
            task.take(_milliseconds(call, "remove_ms"))
            raise by_name(broken["fault"], vm)
        for snapshot in chosen:
            if snapshot.moref in call.world.entities:
                snapshots.take_off(vm, snapshot, with_children)
        task.take(_milliseconds(call, "remove_ms"), 0, 50)
        if faults.strikes("snapshot.leaves_consolidation", vm=vm):
            with call.world.lock:
                vm.consolidation_needed = snapshots.needs_consolidation(vm)
                call.world.touch(vm)
        else:
            snapshots.consolidate(vm, lambda pct: task.show(progress=50 + pct // 2))
    return _start(call, vm, work)


@method("RemoveSnapshot_Task")
def _remove_snapshot_task(call):
    return _remove(call, call.this.vm, [call.this], call.args["removeChildren"])


@method("RemoveAllSnapshots_Task")
def _remove_all_snapshots_task(call):
    return _remove(call, call.this, list(call.this.roots), True)


@method("ConsolidateVMDisks_Task")
def _consolidate_task(call):
    vm = call.this

    def work(task):
        task.take(_milliseconds(call, "consolidate_ms"))
        broken = call.lab.faults.strikes("consolidate.fails", vm=vm)
        if broken:
            raise by_name(broken["fault"], vm)
        if not snapshots.consolidate(vm, lambda pct: task.show(progress=pct)):
            raise VimFault("FileLocked", file=vm.disks[0].leaf.ds_path)
    return _start(call, vm, work)


def _revert(call, vm, snapshot):
    def work(task):
        task.take(_milliseconds(call, "snapshot_ms"))
        snapshots.revert(vm, snapshot)
    return _start(call, vm, work)


@method("RevertToSnapshot_Task")
def _revert_to_snapshot_task(call):
    return _revert(call, call.this.vm, call.this)


@method("RevertToCurrentSnapshot_Task")
def _revert_to_current_snapshot_task(call):
    if call.this.current_snapshot is None:
        raise VimFault("NotFound")
    return _revert(call, call.this, call.this.current_snapshot)


def _change_devices(call, vm, changes):
    """hotadd: attach an existing file as a disk, or detach a disk (keeping or deleting its file)."""
    for number, change in enumerate(changes):
        device = change["device"]
        if device.type != "VirtualDisk":
            raise VimFault("InvalidDeviceSpec", deviceIndex=number)
        if change.get("operation") == "remove":
            call.require("VirtualMachine.Config.RemoveDisk", vm)
        else:
            call.require("VirtualMachine.Config.AddExistingDisk", vm)

    def apply():
        for number, change in enumerate(changes):
            device = change["device"]
            if change.get("operation") == "remove":
                events.remove_disk(vm, device["key"], change.get("fileOperation") == "destroy")
                continue
            backing = device.get("backing", {})
            try:
                events.attach(vm, backing.get("fileName", ""), backing.get("diskMode", "persistent"),
                              device.get("capacityInKB", 0) * 1024, change.get("fileOperation") == "create")
            except (ConfigError, LookupError):
                raise VimFault("InvalidDeviceSpec", deviceIndex=number) from None
    return apply


@method("ReconfigVM_Task")
def _reconfigure_task(call):
    vm, spec = call.this, call.args["spec"]
    if "changeTrackingEnabled" in spec:
        call.require("VirtualMachine.Config.ChangeTracking", vm)
        if spec["changeTrackingEnabled"] and vm.settings["hardware_version"] < 7:
            raise VimFault("NotSupported")
    other = set(spec) - {"changeTrackingEnabled", "deviceChange", "changeVersion"}
    if other:
        call.require("VirtualMachine.Config.Settings", vm)
    devices = _change_devices(call, vm, spec.get("deviceChange", []))

    def work(task):
        task.take(_milliseconds(call, "reconfigure_ms"))
        devices()
        if "changeTrackingEnabled" in spec:
            events.set_tracking(vm, spec["changeTrackingEnabled"])
        with call.world.lock:
            vm.name = spec.get("name", vm.name)
            for key, setting in (("annotation", "annotation"), ("numCPUs", "cpus"), ("memoryMB", "memory_mib")):
                vm.settings[setting] = spec.get(key, vm.settings[setting])
            call.world.touch(vm)
    return _start(call, vm, work)


def _power(call, wanted):
    vm = call.this

    def work(task):
        if vm.power == wanted:
            raise VimFault("InvalidPowerState", requestedState=wanted, existingState=vm.power)
        task.take(_milliseconds(call, "power_ms"))
        events.set_power(vm, wanted)
    return _start(call, vm, work)


@method("PowerOnVM_Task")
def _power_on_task(call):
    return _power(call, "poweredOn")


@method("PowerOffVM_Task")
def _power_off_task(call):
    return _power(call, "poweredOff")


@method("ShutdownGuest")
def _shutdown_guest(call):
    vm = call.this
    if vm.power != "poweredOn":
        raise VimFault("InvalidPowerState", requestedState="poweredOff", existingState=vm.power)
    if not tools_running(vm):
        raise VimFault("ToolsUnavailable")
    events.shut_down_later(vm, _milliseconds(call, "shutdown_ms"))


@method("Destroy_Task")
def _destroy_task(call):
    vm = call.this
    if vm.type != "VirtualMachine":
        raise VimFault("NotSupported")
    call.require("VirtualMachine.Inventory.Delete", vm)
    if vm.power == "poweredOn":
        raise VimFault("InvalidPowerState", requestedState="poweredOff", existingState=vm.power)
    return _start(call, vm, lambda task: events.delete(vm))


@method("CancelTask")
def _cancel_task(call):
    if call.this.state in ("success", "error"):
        raise VimFault("InvalidState")
    call.this.cancelled.set()


@method("QueryChangedDiskAreas")
def _query_changed_disk_areas(call):
    vm, args = call.this, call.args
    if "snapshot" in args:
        snapshot = call.world.entities.get(args["snapshot"].value)
        if snapshot is None or snapshot not in vm.snapshots():
            raise VimFault("ManagedObjectNotFound", obj=args["snapshot"])
        disk = snapshot.disks.get(args["deviceKey"])
    else:
        if vm.power == "poweredOn":
            raise VimFault("InvalidState")
        disk = vm.disk(args["deviceKey"])
    if disk is None:
        raise invalid_argument("deviceKey")
    return cbt_answers.query(call.lab, vm, disk, args["startOffset"], args["changeId"])
