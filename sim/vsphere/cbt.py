# SPDX-License-Identifier: Apache-2.0
"""Changed-block tracking of one disk.

A tracker is one epoch: its UUID is the part of a change id before the slash. Writes are noted as block numbers under
the running sequence number; cut() names that number as a change id and starts the next one. What changed between two
change ids of an epoch is the union of the intervals in between, so it is exact (rounded to blocks): never less than
what was written. Any event that a real host answers with a reset makes a new tracker (tracking_uuid).
"""


def tracking_uuid(dice):
    """A UUID as change ids carry it: `52 f3 b6 37 30 8d ea 3e-58 70 c0 fd 61 44 26 62`."""
    raw = bytes([0x52]) + dice.randbytes(15)
    return " ".join(f"{b:02x}" for b in raw[:8]) + "-" + " ".join(f"{b:02x}" for b in raw[8:])


def runs(blocks, block_bytes, capacity_bytes):
    """Block numbers as ascending (start, length) in bytes, neighbours joined, clipped at the capacity."""
    areas = []
    for block in sorted(blocks):
        start = block * block_bytes
        end = min(start + block_bytes, capacity_bytes)
        if start >= end:
            continue
        if areas and areas[-1][1] == start:
            areas[-1][1] = end
        else:
            areas.append([start, end])
    return [(start, end - start) for start, end in areas]


class Tracker:
    def __init__(self, uuid, block_bytes):
        self.uuid = uuid
        self.block_bytes = block_bytes
        self.sequence = 1
        self.written = {1: set()}

    def mark(self, offset, length):
        first, last = offset // self.block_bytes, (offset + length - 1) // self.block_bytes
        self.written[self.sequence].update(range(first, last + 1))

    def cut(self):
        """The change id of this instant; what is written from now on is newer than it."""
        change_id = f"{self.uuid}/{self.sequence}"
        self.sequence += 1
        self.written[self.sequence] = set()
        return change_id

    def changed(self, since, until):
        """Blocks written after change id number `since` up to `until`."""
        blocks = set()
        for number in range(since + 1, until + 1):
            blocks |= self.written.get(number, set())
        return blocks

    def forget(self):
        """The fault cbt.silent_reset: earlier changes are lost under the same UUID."""
        self.written = {number: set() for number in self.written}


def parse(change_id):
    """(uuid, sequence) of a change id, or None."""
    uuid, slash, sequence = change_id.rpartition("/")
    if not slash or not sequence.isdigit():
        return None
    return uuid, int(sequence)
