# SPDX-License-Identifier: Apache-2.0
"""Snapshots of a VM and what becomes of the links of its disks.

Creating one freezes each disk's leaf and puts a new delta on it, all disks at one instant. Removing one takes it off
the tree; the links it froze are then merged away by consolidate(), where no reader holds them and no other snapshot or
branch needs them. What could not be merged is what consolidationNeeded means.
"""
import contextlib
import dataclasses
import os
import re

from .links import DatastoreFull, Link, may_merge
from .model import Snapshot
from .vimfault import VimFault, invalid_argument

SNAPSHOT_MIN_FREE_BYTES = 1 << 20       # a datastore with less refuses a new delta
MERGE_GRAINS = 64                       # moved per holding of the disk's lock
MAX_SNAPSHOT_DEPTH = 32


def _delta(vm, parent):
    storage = parent.datastore
    stem = re.sub(r"(-\d{6})?\.vmdk$", "", parent.path)
    number = 1
    while f"{stem}-{number:06}.vmdk" in storage.links:
        number += 1
    backing = os.path.join(vm.world.run_dir, "disks", f"{vm.instance_uuid}-{vm.world.number('file')}.raw")
    return Link(storage, f"{stem}-{number:06}.vmdk", backing, parent.capacity_bytes, parent)


@contextlib.contextmanager
def all_disks_locked(vm):
    with contextlib.ExitStack() as stack:
        for disk in vm.disks:
            stack.enter_context(disk.lock)
        yield


def stun(vm):
    """The VM pauses for an instant; what was set about change tracking takes effect."""
    for disk in vm.disks:
        if vm.cbt and disk.tracker is None and disk.can_snapshot():
            vm.world.start_tracking(disk)
        elif not vm.cbt:
            disk.tracker = None


def check_possible(vm):
    """What a host refuses before it begins."""
    depth, one = 0, vm.current_snapshot
    while one is not None:
        depth, one = depth + 1, one.above
    if depth >= MAX_SNAPSHOT_DEPTH:
        raise VimFault("TooManySnapshotLevels", "The snapshot tree is too deep.")
    for disk in vm.disks:
        if disk.settings["rdm"] == "physical":
            raise VimFault("GenericVmConfigFault", reason="a physical-mode raw device mapping cannot be snapshotted")
        if disk.settings["sharing"] != "sharingNone" or disk.settings["bus_sharing"] != "noSharing":
            raise VimFault("GenericVmConfigFault", reason="a disk shared between virtual machines")
        if vm.power == "poweredOn" and disk.settings["mode"].startswith("independent"):
            raise VimFault("GenericVmConfigFault", reason="an independent disk of a powered-on virtual machine")
        if disk.leaf.datastore.free_bytes() < SNAPSHOT_MIN_FREE_BYTES:
            raise VimFault("NoDiskSpace", file=disk.leaf.ds_path, datastore=disk.leaf.datastore.name)
    if vm.settings["fault_tolerance"]:
        raise VimFault("NotSupported")


def create(vm, name, description, quiesced, with_change_ids=True):
    """Freeze all disks at one instant. The change id of a disk is cut in the same instant."""
    world = vm.world
    with world.lock, all_disks_locked(vm):
        frozen = {}
        for disk in vm.disks:
            change_id = disk.tracker.cut() if disk.tracker is not None and vm.cbt else None
            frozen[disk.key] = dataclasses.replace(disk, change_id=change_id if with_change_ids else None)
            if disk.can_snapshot():
                disk.leaf = _delta(vm, disk.leaf)
        number = vm.next_snapshot_number
        vm.next_snapshot_number += 1
        moref = f"{vm.moref}-snapshot-{number}" if world.esxi else f"snapshot-{world.number()}"
        snapshot = Snapshot(vm, moref, number, name, description, quiesced, frozen)
        snapshot.above = vm.current_snapshot
        (snapshot.above.below if snapshot.above else vm.roots).append(snapshot)
        vm.current_snapshot = snapshot
        stun(vm)
        world.touch(vm)
        return snapshot


def take_off(vm, snapshot, with_children):
    """Remove a snapshot from the tree; its links stay until consolidate(), but for those of a dead branch."""
    world = vm.world
    with world.lock, all_disks_locked(vm):
        siblings = snapshot.above.below if snapshot.above else vm.roots
        siblings.remove(snapshot)
        gone = [snapshot]
        if with_children:
            for one in gone:
                gone += one.below
        else:
            siblings += snapshot.below
            for child in snapshot.below:
                child.above = snapshot.above
        if vm.current_snapshot in gone:
            vm.current_snapshot = snapshot.above
        for one in gone:
            world.remove(one)
        drop_unused(vm, [disk.leaf for one in gone for disk in one.disks.values() if disk.can_snapshot()])
        world.touch(vm)


def _views(vm):
    """Every Disk object, live or frozen, in which a link can be referred to."""
    return list(vm.disks) + [disk for s in vm.snapshots() for disk in s.disks.values()]


def _unreferenced(vm):
    """(view, link, child) for links of a chain that no snapshot shows any more and whose child can go into them."""
    views = _views(vm)
    wanted = {id(view.leaf) for view in views}
    seen = set()
    for view in views:
        chain = view.leaf.chain()
        for child, link in zip(chain, chain[1:]):
            if id(link) not in wanted and id(link) not in seen:
                seen.add(id(link))
                yield view, link, child


def needs_consolidation(vm):
    return any(link.children == 1 for _, link, _ in _unreferenced(vm))


def drop_unused(vm, links):
    """Delete links, and then their parents, that nothing refers to."""
    wanted = {id(link) for view in _views(vm) for link in view.leaf.chain()}
    for link in links:
        while link is not None and id(link) not in wanted and not link.dropped:
            parent = link.parent
            link.drop()
            link = parent


def _merge(vm, view, link, child):
    """Merge child into link; the guest goes on writing meanwhile. False when a reader holds one of them."""
    done = False
    while not done:
        with view.lock:
            if not may_merge(link, child):
                return False
            done = link.merge_child(child, MERGE_GRAINS)
    with vm.world.lock, view.lock:
        if not may_merge(link, child) or not link.merge_child(child, 1 << 40):
            return False
        for other in _views(vm):
            if other.leaf is child:
                other.leaf = link
            for below in other.leaf.chain():
                if below.parent is child:
                    below.parent = link
        link.children = child.children
        child.parent = None
        child.drop()
    return True


def consolidate(vm, progress=lambda pct: None):
    """Merge all that can be merged. False when something had to stay. Raises NoDiskSpace."""
    world = vm.world
    total = max(1, len(list(_unreferenced(vm))))
    done, stuck = 0, set()
    try:
        while True:
            pair = next(((v, l, c) for v, l, c in _unreferenced(vm) if id(l) not in stuck), None)
            if pair is None:
                break
            if not _merge(vm, *pair):
                stuck.add(id(pair[1]))
            done += 1
            progress(min(99, 100 * done // total))
    except DatastoreFull as full:
        raise VimFault("NoDiskSpace", file=vm.disks[0].leaf.ds_path, datastore=str(full)) from None
    finally:
        with world.lock:
            vm.consolidation_needed = needs_consolidation(vm)
            world.touch(vm)
    return not vm.consolidation_needed


def revert(vm, snapshot):
    """Back to a snapshot: live deltas are thrown away, change tracking starts anew."""
    world = vm.world
    if snapshot.vm is not vm:
        raise invalid_argument("snapshot")
    with world.lock, all_disks_locked(vm):
        abandoned = [disk.leaf for disk in vm.disks if disk.can_snapshot()]
        vm.disks = [dataclasses.replace(frozen, change_id=None, tracker=None,
                                        leaf=_delta(vm, frozen.leaf) if frozen.can_snapshot() else frozen.leaf)
                    for frozen in snapshot.disks.values()]
        vm.current_snapshot = snapshot
        vm.power = snapshot.power if snapshot.power != "poweredOn" else "poweredOff"
        drop_unused(vm, abandoned)
        stun(vm)
        world.touch(vm)
