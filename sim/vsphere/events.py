# SPDX-License-Identifier: Apache-2.0
"""What happens to VMs besides snapshots: power, vMotion, disks coming and going, change tracking being reset.

Called by SOAP methods and by the control interface; each takes effect at once, under World.lock.
"""
import os
import threading

from . import build, snapshots
from .config import DISK
from .links import GRAIN, Link
from .model import Host
from .vimfault import VimFault


def set_tracking(vm, on):
    """config.changeTrackingEnabled; effective at once for a powered-off VM, else at the next stun."""
    with vm.world.lock:
        vm.cbt = on
        if vm.power != "poweredOn":
            snapshots.stun(vm)
        vm.world.touch(vm)


def reset_tracking(vm):
    """Every earlier change id becomes void."""
    with vm.world.lock, snapshots.all_disks_locked(vm):
        for disk in vm.disks:
            disk.tracker = None
        if vm.cbt:
            snapshots.stun(vm)
        vm.world.touch(vm)


def set_power(vm, wanted):
    with vm.world.lock:
        vm.power = wanted
        if wanted == "poweredOn":
            vm.boot_time = vm.world.clock.now()
            snapshots.stun(vm)
        vm.world.touch(vm)


def power_failure(vm):
    """The host lost power under the VM: it is off and its change tracking is not trusted any more."""
    set_power(vm, "poweredOff")
    reset_tracking(vm)


def shut_down_later(vm, milliseconds):
    timer = threading.Timer(milliseconds / 1000, lambda: vm.alive and set_power(vm, "poweredOff"))
    timer.daemon = True
    timer.start()


def vmotion(vm, host_name):
    """Another host; change tracking stays."""
    world = vm.world
    host = next((h for h in world.of_type(Host) if host_name in (h.name, h.moref)), None)
    if host is None:
        raise LookupError(f"no host '{host_name}'")
    with world.lock:
        vm.host.vms.remove(vm)
        old, vm.host = vm.host, host
        host.vms.append(vm)
        snapshots.stun(vm)
        world.touch(vm, host, old)


def storage_vmotion(vm, datastore_name):
    """All files move to another datastore under another folder name; change tracking is reset."""
    world = vm.world
    target = next((d for d in vm.datacenter.datastores if datastore_name in (d.name, d.moref)), None)
    if target is None:
        raise LookupError(f"no datastore '{datastore_name}'")
    with world.lock, snapshots.all_disks_locked(vm):
        name = build.file_name(vm.name)
        directory = name + "_1" if vm.directory == name else name
        links = {link: None for disk in vm.disks for link in disk.leaf.chain()}
        links.update({link: None for s in vm.snapshots() for d in s.disks.values() for link in d.leaf.chain()})
        for link in links:
            link.rename(target.storage, f"{directory}/{link.path.split('/', 1)[1]}")
        vm.home, vm.directory = target, directory
        world.touch(vm)
    reset_tracking(vm)


def resize_disk(vm, key, size_bytes):
    """Extend a disk; refused while there are snapshots, as on a real host. Its change tracking is reset."""
    world = vm.world
    disk = vm.disk(key)
    if vm.roots or (disk is not None and disk.leaf.parent is not None):
        raise VimFault("InvalidState")
    if disk is None or size_bytes < disk.capacity_bytes or size_bytes % 512:
        raise LookupError(f"no disk {key}, or a size that is smaller or no multiple of 512 bytes")
    with world.lock, disk.lock:
        link = disk.leaf
        if link.preallocated:
            link.datastore.take(size_bytes - link.capacity_bytes)
        link.extend(size_bytes)
        disk.tracker = None
        snapshots.stun(vm)
        world.touch(vm)


def add_disk(vm, size_bytes):
    with vm.world.lock:
        disk = build.add_disk(vm.world, vm, {**DISK, "size_bytes": size_bytes})
        vm.world.touch(vm)
        return disk


def attach(vm, ds_path, mode, size_bytes, create):
    """Hotadd: an existing file becomes a disk of this VM, under the UUID that the file has; or a new empty disk."""
    world = vm.world
    with world.lock:
        if create:
            return add_disk(vm, size_bytes)
        name, _, path = ds_path.removeprefix("[").partition("] ")
        store = next((d for d in vm.datacenter.datastores if d.name == name), None)
        link = store.storage.links.get(path) if store is not None else None
        if link is None:
            raise VimFault("FileNotFound", file=ds_path)
        disk = build.add_disk(world, vm, {**DISK, "size_bytes": link.capacity_bytes, "mode": mode})
        disk.leaf.drop()
        disk.leaf, disk.borrowed = link, link.acquire()
        disk.uuid = next((d.uuid for d in _all_disks(world) if link in d.leaf.chain() and d is not disk), disk.uuid)
        world.touch(vm)
    _show_device(vm, disk)
    return disk


def _all_disks(world):
    for vm in world.vms():
        yield from vm.disks
        for snapshot in vm.snapshots():
            yield from snapshot.disks.values()


def _device_path(vm, disk):
    return os.path.join(vm.world.config["hotadd_dir"], "wwn-0x" + disk.uuid.replace("-", "").lower())


def _show_device(vm, disk):
    """What the guest of the VM would see as a block device: a file of the frozen content in hotadd_dir."""
    if vm.world.config["hotadd_dir"] is None:
        return
    os.makedirs(vm.world.config["hotadd_dir"], exist_ok=True)
    with open(_device_path(vm, disk) + ".new", "wb") as file:
        file.truncate(disk.capacity_bytes)
        for grain in sorted(disk.leaf.allocated_grains()):
            start = grain * GRAIN
            os.pwrite(file.fileno(), disk.leaf.read(start, min(GRAIN, disk.capacity_bytes - start)), start)
    os.rename(_device_path(vm, disk) + ".new", _device_path(vm, disk))


def remove_disk(vm, key, delete_file):
    with vm.world.lock:
        disk = vm.disk(key)
        if disk is None:
            raise VimFault("InvalidDeviceSpec", deviceIndex=0)
        vm.disks.remove(disk)
        if disk.borrowed is not None:
            Link.release(disk.borrowed)
            if vm.world.config["hotadd_dir"] is not None:
                os.unlink(_device_path(vm, disk))
        elif delete_file:
            snapshots.drop_unused(vm, [disk.leaf])
        vm.world.touch(vm)


def delete(vm):
    """The VM, its snapshots and its files are gone, whoever reads them."""
    world = vm.world
    with world.lock, snapshots.all_disks_locked(vm):
        vm.alive = False
        links = [link for d in vm.disks for link in d.leaf.chain() if d.borrowed is None]
        links += [link for s in vm.snapshots() for d in s.disks.values() for link in d.leaf.chain()]
        for snapshot in vm.snapshots():
            world.remove(snapshot)
        vm.roots, vm.current_snapshot, vm.disks = [], None, []
        for link in dict.fromkeys(links):
            if not link.dropped:
                link.drop()
        vm.host.vms.remove(vm)
        vm.parent.children.remove(vm)
        world.remove(vm)
        world.touch(vm.parent, vm.host)
