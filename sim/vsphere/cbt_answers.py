# SPDX-License-Identifier: Apache-2.0
"""Answers of QueryChangedDiskAreas: pages of changed areas, and every way in which they can be odd or wrong."""
import random

from .cbt import parse, runs
from .links import GRAIN
from .vimfault import VimFault, invalid_argument
from .vimtypes import Data


def _file_fault(disk):
    path = f"/vmfs/volumes/{disk.leaf.datastore.name}/{disk.leaf.path}"
    return VimFault("FileFault", f"Error caused by file {path}", file=path)


def _star(lab, disk):
    """changeId `*`: the allocated areas."""
    mode = lab.world.config["cbt"]["star"]
    capacity = disk.capacity_bytes
    if mode == "fault" or disk.tracker is None:
        raise _file_fault(disk)
    if mode == "whole" or disk.leaf.datastore.kind != "VMFS":
        return [(0, capacity)]
    return runs(disk.leaf.allocated_grains(), GRAIN, capacity)


def _areas(lab, disk, change_id):
    """All areas between a change id and the snapshot, ascending."""
    if change_id == "*":
        return _star(lab, disk)
    asked, own = parse(change_id), parse(disk.change_id or "")
    if disk.change_id is None and disk.tracker is not None:      # the current disk of a powered-off VM
        own = (disk.tracker.uuid, disk.tracker.sequence)
    if asked is None:
        raise invalid_argument("changeId")
    if own is None or asked[0] != own[0] or not 0 < asked[1] <= own[1]:
        raise _file_fault(disk)
    return runs(disk.tracker.changed(asked[1], own[1]), disk.tracker.block_bytes, disk.capacity_bytes)


def _page(areas, start, capacity, most, window):
    """(length, areas) of the answer that begins at `start`: at most `most` areas and `window` bytes."""
    end = capacity if window is None else min(capacity, start + window)
    found = []
    for area_start, length in areas:
        begin, stop = max(area_start, start), min(area_start + length, end)
        if begin < stop:
            if len(found) == most:
                end = found[-1][0] + found[-1][1]
                break
            found.append((begin, stop - begin))
    return end - start, found


def _odd(lab, vm, start, length, found, capacity):
    """Apply the faults that change an answer."""
    faults = lab.faults
    dice = random.Random(start)
    if faults.strikes("cbt.overlap", vm=vm) and found:
        first = found[0]
        found = [first, (first[0] + first[1] // 2 // 512 * 512, first[1] - first[1] // 2 // 512 * 512)] + found
    if faults.strikes("cbt.unsorted", vm=vm):
        dice.shuffle(found)
    if start + length >= capacity and faults.strikes("cbt.past_capacity", vm=vm):
        length += 1 << 20
        found = found + [(capacity - 512, 4096), (capacity + 65536, 65536)]
    if faults.strikes("cbt.truncate", vm=vm):
        length, found = 0, []
    return length, found


def query(lab, vm, disk, start, change_id):
    faults = lab.faults
    capacity = disk.capacity_bytes
    if faults.strikes("cbt.file_fault", vm=vm):
        raise _file_fault(disk)
    if not 0 <= start < capacity or faults.strikes("cbt.start_offset_fault", vm=vm):
        raise invalid_argument("startOffset")
    if disk.tracker is not None and faults.strikes("cbt.silent_reset", vm=vm):
        disk.tracker.forget()
    areas = _areas(lab, disk, change_id)
    lie = faults.strikes("cbt.omit_areas", vm=vm) if change_id != "*" else None
    if lie:
        dice = random.Random(len(areas))
        areas = [area for area in areas if dice.random() >= lie["fraction"]]
    small = faults.strikes("cbt.small_pages", vm=vm)
    empty = faults.strikes("cbt.empty_pages", vm=vm)
    length, found = _page(areas, start, capacity, small["areas"] if small else lab.world.config["cbt"]["max_areas"],
                          empty["page_bytes"] if empty else None)
    length, found = _odd(lab, vm, start, length, found, capacity)
    return Data("DiskChangeInfo", startOffset=start, length=length,
                changedArea=[Data("DiskChangeExtent", start=s, length=n) for s, n in found] or None)
