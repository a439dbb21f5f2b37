# SPDX-License-Identifier: Apache-2.0
"""Answers to reads: fragments of at most the session's buffer size, packed one by one, in order or shuffled, of one
request or of several at once, and with whatever the fault switches do to them.

The plain way is made to be fast: a window of up to 4 MiB is read with few system calls and leaves with one.
"""
import dataclasses
import time

from . import nfc_wire as wire
from . import packing
from .links import Link

WINDOW_BYTES = 4 << 20
TINY_MAX_BYTES = 65536


@dataclasses.dataclass
class Read:
    op_id: int
    link: Link
    packing: int
    offset: int
    total: int


class Answer:
    """The fragments of one or more reads of a session."""

    def __init__(self, session, reads):
        self.session, self.reads = session, reads
        self.connection, self.faults = session.connection, session.lab.faults

    def _struck(self, name):
        return self.faults.strikes(name, vm=self.session.ticket.vm, host=self.session.listener.host)

    def send(self):
        if not self.reads or not self._before():
            return
        before = self.connection.sent_bytes
        if len(self.reads) == 1:
            for parts in self._windows(self.reads[0]):
                self._leave(self._spoil(self.reads[0], parts))
        else:
            self._interleaved()
        counters = self.session.lab.counters
        counters.lane(self.session.lane, reads=len(self.reads), disk_bytes=sum(r.total for r in self.reads),
                      wire_bytes=self.connection.sent_bytes - before)

    def _before(self):
        """Faults that come instead of an answer or before it; False when there is no answer."""
        for name in ("nfc.stall", "nfc.slow", "datastore.slow"):
            wait = self._struck(name)
            if wait:
                self._sleep(wait["ms"] / 1000)
        if self._struck("nfc.out_of_memory"):
            for read in self.reads:
                self.session.fail(read.op_id, 5, f"Failed to allocate the requested {read.total + 24} bytes")
            return False
        if self.session.cut_after is None:
            cut = self._struck("nfc.cut")
            if cut:
                self.session.cut_after = (cut["after_bytes"], cut["where"])
        if self._struck("nfc.unknown_type"):
            self.connection.send([wire.message(99, self.reads[0].op_id, bytes(8))])
        if self._struck("nfc.foreign_opid"):
            foreign = dataclasses.replace(self.reads[0], op_id=self.reads[0].op_id + 7777)
            self.connection.send(self._fragment(foreign, 0, bytes(512), packing.NONE))
        return True

    def _sleep(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.session.lab.stopping.is_set():
            time.sleep(min(0.05, max(0.0, end - time.monotonic())))

    @staticmethod
    def _fragment(read, at, data, kind, plain_bytes=None):
        plain = len(data) if plain_bytes is None else plain_bytes
        return [wire.FRAGMENT.pack(wire.MAGIC, wire.IO, 44, read.op_id, 0, 1, kind, read.offset, read.total, at, plain,
                                   len(data), 0), data]

    def _fragments(self, read, start, buffer, view):
        """[header, data] pairs of one window that begins `start` bytes into the request."""
        size, pairs = self.session.buffer_bytes, []
        for at in range(0, len(view), size):
            end = min(at + size, len(view))
            if read.packing == packing.NONE:
                pairs.append(self._fragment(read, start + at, view[at:end], packing.NONE))
                continue
            kind, data = packing.encode(read.packing, buffer[at:end])
            pairs.append(self._fragment(read, start + at, data, kind, end - at))
        return pairs

    def _windows(self, read):
        """Lists of fragments, one list per window of the request."""
        size = max(self.session.buffer_bytes, WINDOW_BYTES // self.session.buffer_bytes * self.session.buffer_bytes)
        for start in range(0, read.total, size):
            length = min(size, read.total - start)
            buffer = bytearray(length)
            view = memoryview(buffer)
            read.link.read_into(read.offset + start, view)
            pairs = self._fragments(read, start, buffer, view)
            if self.session.lab.config["nfc"]["shuffle"]:
                self.session.dice.shuffle(pairs)
            yield pairs

    def _interleaved(self):
        """Fragments of several reads in random order between the reads."""
        queues = []
        for read in self.reads:
            queues.append([pair for pairs in self._windows(read) for pair in self._spoil(read, pairs)])
        mixed = []
        while queues:
            queue = self.session.dice.choice(queues)
            mixed.append(queue.pop(0))
            if not queue:
                queues.remove(queue)
        self._leave(mixed)

    def _leave(self, pairs):
        if self.session.cut_after is not None:
            self._leave_until_cut(pairs)
            return
        parts = [part for pair in pairs for part in pair]
        if sum(len(p) for p in parts) <= 2 * TINY_MAX_BYTES and self._struck("nfc.tiny_writes"):
            self.connection.send_tiny(parts, self.session.dice)
        else:
            self.connection.send(parts)

    def _leave_until_cut(self, pairs):
        left, where = self.session.cut_after
        for header, data in pairs:
            if len(data) > left:
                if where == "header":
                    self.connection.send([header[:wire.FRAGMENT.size // 2]])
                else:
                    self.connection.send([header, data[:left]])
                self.connection.cut()
            self.connection.send([header, data])
            left -= len(data)
        self.session.cut_after = (left, where)

    def _spoil(self, read, pairs):
        """Faults inside an answer; each is told by one name."""
        session = self.session
        header, data = pairs[0]
        if self._struck("nfc.corrupt_data"):
            kind, at, plain_bytes = (wire.FRAGMENT.unpack(header)[n] for n in (6, 9, 10))
            plain = bytearray(packing.decode(kind, data, plain_bytes))
            plain[len(plain) // 2] ^= 0x40
            pairs[0] = self._fragment(read, at, bytes(plain), packing.NONE)
        if self._struck("nfc.bad_packed"):
            kind = read.packing or packing.FASTLZ
            at, plain_bytes = wire.FRAGMENT.unpack(header)[9:11]
            pairs[0] = self._fragment(read, at, session.dice.randbytes(100), kind, plain_bytes)
        if self._struck("nfc.bad_magic"):
            pairs[0] = [b"\0\0\0\0" + pairs[0][0][4:], pairs[0][1]]
        if self._struck("nfc.duplicate_fragment"):
            pairs = [pairs[0]] + pairs
        if self._struck("nfc.length_overflow"):
            pairs[0] = self._fragment(read, read.total - 512, bytes(1024), packing.NONE)
        if self._struck("nfc.zero_fragment"):
            pairs = [self._fragment(read, 0, b"", packing.NONE)] + pairs
        if self._struck("nfc.error_mid_read"):
            pairs = pairs[:1] + [[wire.error(read.op_id, 1, "read error"), b""]]
        return pairs
