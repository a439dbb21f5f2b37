# SPDX-License-Identifier: Apache-2.0
"""What runs inside the VMs: single writes, batches of random writes, and workloads that write in the background."""
import hashlib
import random
import threading
import time

PIECE_BYTES = 4 << 20


class GuestError(Exception):
    """The guest cannot do that now: it is off, or the disk is not there."""


def write(vm, disk, offset, data, force=False):
    """One write of the guest, tracked. Raises GuestError or DatastoreFull."""
    if vm.power != "poweredOn" and not force:
        raise GuestError(f"'{vm.name}' is {vm.power}")
    if not data:
        return
    if offset < 0 or offset + len(data) > disk.capacity_bytes:
        raise GuestError(f"disk {disk.key} of '{vm.name}' ends at {disk.capacity_bytes} bytes")
    with disk.lock:
        disk.leaf.write(offset, data)
        if disk.tracker is not None:
            disk.tracker.mark(offset, len(data))


def random_writes(vm, disks, count, seed, limits):
    """`count` writes over the disks; limits: min_bytes, max_bytes, align, zero_pct. Returns the bytes written."""
    dice = random.Random(seed)
    align, total = limits["align"], 0
    for _ in range(count):
        disk = dice.choice(disks)
        length = dice.randint(limits["min_bytes"], min(limits["max_bytes"], disk.capacity_bytes)) // align * align or align
        offset = dice.randrange((disk.capacity_bytes - length) // align + 1) * align
        zero = dice.random() * 100 < limits["zero_pct"]
        write(vm, disk, offset, bytes(length) if zero else dice.randbytes(length))
        total += length
    return total


def content(disk, offset, length):
    """Bytes of a live or frozen disk."""
    with disk.lock:
        return bytes(disk.leaf.read(offset, length))


def sha256(disk):
    """SHA-256 of the whole disk at one instant; guest writes wait meanwhile."""
    digest = hashlib.sha256()
    with disk.lock:
        for offset in range(0, disk.capacity_bytes, PIECE_BYTES):
            digest.update(disk.leaf.read(offset, min(PIECE_BYTES, disk.capacity_bytes - offset)))
    return digest.hexdigest()


class Workload(threading.Thread):
    """Writes to one disk at a rate until stopped; pauses while the VM is off, ends when the disk or VM is gone."""

    def __init__(self, vm, disk_key, settings):
        super().__init__(name=f"workload-{vm.name}", daemon=True)
        self.vm, self.disk_key, self.settings = vm, disk_key, settings
        self.stopped = threading.Event()
        self.writes = self.failures = 0
        self.last_error = ""

    def run(self):
        dice, settings = random.Random(self.settings["seed"]), self.settings
        interval = 1 / settings["writes_per_second"]
        position, due = 0, time.monotonic()
        while not self.stopped.wait(max(0.0, due - time.monotonic())):
            due = max(due + interval, time.monotonic() - 1)
            disk = self.vm.disk(self.disk_key)
            if disk is None or not self.vm.alive:
                return
            span = min(settings["span_bytes"] or disk.capacity_bytes, disk.capacity_bytes)
            slots = max(1, span // settings["bytes"])
            slot = position % slots if settings["pattern"] == "sequential" else dice.randrange(slots)
            position += 1
            try:
                write(self.vm, disk, slot * settings["bytes"], dice.randbytes(settings["bytes"]))
                self.writes += 1
            except Exception as error:      # full datastore, VM off: the guest stalls and tries again
                self.failures += 1
                self.last_error = str(error)


class Workloads:
    def __init__(self):
        self._running = {}

    def start(self, vm, disk_key, settings):
        self.stop(vm, disk_key)
        self._running[(vm.moref, disk_key)] = workload = Workload(vm, disk_key, settings)
        workload.start()

    def stop(self, vm, disk_key=None):
        """Stop this VM's workloads; answers what they did."""
        stopped = [key for key in self._running if key[0] == vm.moref and disk_key in (None, key[1])]
        done = {"writes": 0, "failures": 0, "last_error": ""}
        for key in stopped:
            workload = self._running.pop(key)
            workload.stopped.set()
            workload.join()
            done["writes"] += workload.writes
            done["failures"] += workload.failures
            done["last_error"] = workload.last_error or done["last_error"]
        return done

    def stop_all(self):
        for workload in list(self._running.values()):
            workload.stopped.set()
