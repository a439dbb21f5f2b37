# SPDX-License-Identifier: Apache-2.0
"""The NFC server of a host: handshake in classic frames, then one AIO session that opens and reads disk files.

A session may hold several open files; each holds its chain's readers, so snapshots under it are not merged away. The
session's buffers come out of the host's memory. Reads only: a write is answered like one on a read-only ticket.
"""
import random
import struct

from . import nfc_wire as wire
from .links import GRAIN, Link
from .nfc_read import Answer, Read
from .nfc_wire import Closed                        # noqa: F401 - authd catches nfc.Closed
from .nfc_wire import Connection

DEFAULT_BUFFER_BYTES = 65536
MAX_BUFFER_BYTES = 2 << 20
MAX_BUFFER_COUNT = 64
FLAG_READ_ONLY = 0x04
FILE_TYPE_DISK = 2
E_NO_MEMORY, E_READ_ONLY, E_PERMISSION, E_NOT_FOUND, E_LOCKED, E_INVALID = 5, 0x0B, 0x0B, 4, 16392, 3
MAX_CHUNKS = 524288
INTERLEAVED_READS = 4


class OpenFile:
    def __init__(self, disk, link):
        self.disk, self.link = disk, link
        self.chain = link.acquire()


class Session:
    def __init__(self, listener, ticket, sock, lane):
        self.listener, self.lab, self.ticket, self.lane = listener, listener.lab, ticket, lane
        self.connection = Connection(sock)
        self.files, self.next_handle = {}, 0x100000001
        self.buffer_bytes = DEFAULT_BUFFER_BYTES
        self.memory = 0
        self.dice = random.Random(ticket.id)
        self.cut_after = None                       # fault nfc.cut: (data bytes left, "header" or "data")
        self._next_request = None

    def serve(self):
        self.lab.counters.lane(self.lane, connections=1)
        try:
            if self._handshake():
                self._aio()
        finally:
            for handle in list(self.files):
                self._close_file(handle)
            self.listener.memory.give(self.memory)

    # --- classic frames

    def _frame(self):
        data = self.connection.receive(wire.FRAME_BYTES)
        return struct.unpack_from("<I", data)[0], data

    def _handshake(self):
        """True when the AIO session may begin."""
        version = self.listener.host.settings["nfc_lib_version"]
        version = 0 if version == "missing" else version
        while True:
            kind, data = self._frame()
            if kind == wire.HANDSHAKE and version < 11:
                self.connection.send([wire.frame(wire.COMPLETE)])
                return False
            if kind == wire.PARAMS:
                self.connection.send([wire.frame(wire.PARAMS_REPLY, 1 if version >= 1 else 0, at=16)])
            elif kind == wire.VERSION:
                self.connection.send([wire.frame(wire.VERSION, version)])
            elif kind == wire.CONNECTION_DATA:
                name_bytes, op_bytes = struct.unpack_from("<II", data, 4)
                if max(name_bytes, op_bytes) > wire.PATH_MAX_BYTES:
                    raise Closed
                self.connection.receive(name_bytes + op_bytes)
            elif kind == wire.AIO_OPEN:
                self.connection.send([wire.frame(wire.AIO_OPEN)])
                return True
            elif kind not in (wire.HANDSHAKE, wire.FEATURES):
                self.connection.send([wire.frame(wire.COMPLETE)])
                return False

    # --- AIO

    def _request(self):
        """(type, payload, opId) of the next message; a classic frame 4 or a wrong magic ends the connection."""
        magic, kind, size, op_id = wire.HEADER.unpack(self.connection.receive(wire.HEADER.size))
        if magic != wire.MAGIC or wire.REQUEST_BYTES.get(kind) != size:
            raise Closed
        return kind, self.connection.receive(size), op_id

    def _aio(self):
        handlers = {wire.OPEN_SESSION: self._open_session, wire.SET_SOCK_OPTS: self._set_sock_opts,
                    wire.SET_RES_POOL: self._set_res_pool, wire.OPEN_FILE: self._open_file,
                    wire.DDB_GET: self._ddb_get, wire.QUERY_ALLOCATED: self._query_allocated,
                    wire.CLOSE_FILE: self._close_file_request, wire.IO: self._io}
        while True:
            kind, payload, op_id = self._next_request or self._request()
            self._next_request = None
            if kind == wire.CLOSE_SESSION:
                self.connection.send([wire.message(kind, op_id, payload)])
                self.connection.receive(wire.FRAME_BYTES)       # the classic frame 4 that ends it all
                return
            handlers[kind](op_id, payload)

    def fail(self, op_id, code, text):
        self.connection.send([wire.error(op_id, code, text)])

    def _open_session(self, op_id, payload):
        _, size, count, _ = struct.unpack("<IIII", payload)
        size, count = size or DEFAULT_BUFFER_BYTES, count or 1
        wanted = size * count
        if size > MAX_BUFFER_BYTES or size % 512 or count > MAX_BUFFER_COUNT:
            self.fail(op_id, E_INVALID, f"invalid buffer size {size} x {count}")
            return
        short = self.lab.faults.strikes("nfc.out_of_memory", vm=self.ticket.vm, host=self.listener.host)
        if short or not self.listener.memory.take(wanted):
            self.fail(op_id, E_NO_MEMORY, f"Failed to allocate the requested {wanted + 24} bytes")
            return
        self.memory += wanted
        self.buffer_bytes = size
        self.connection.send([wire.message(wire.OPEN_SESSION, op_id, bytes(16))])

    def _set_sock_opts(self, op_id, _payload):
        self.connection.send([wire.message(wire.SET_SOCK_OPTS, op_id, struct.pack("<III", 263536, 263536, 1))])

    def _set_res_pool(self, op_id, payload):
        self.connection.send([wire.message(wire.SET_RES_POOL, op_id, payload)])

    def _refusal(self, path, flags):
        """(code, text, None, None) when the file may not be opened, else (0, "", disk, link)."""
        world, vm = self.lab.world, self.ticket.vm
        name, _, inside = path.removeprefix("[").partition("] ")
        store = next((d for d in vm.datacenter.datastores if d.name == name), None)
        link = store.storage.links.get(inside) if store is not None else None
        if link is None or not vm.alive:
            return E_NOT_FOUND, "The file specified is not a virtual disk", None, None
        views = list(vm.disks) + [d for s in vm.snapshots() for d in s.disks.values()]
        disk = next((d for d in views if link in d.leaf.chain()), None)
        if disk is None:
            return E_PERMISSION, "NfcAioProcessOpenFileMsg: permission check failed", None, None
        if not flags & FLAG_READ_ONLY:
            return E_READ_ONLY, "VIX_E_FILE_READ_ONLY", None, None
        if any(one.power == "poweredOn" and d.leaf is link for one in world.vms() for d in one.disks):
            return E_LOCKED, "Thin/TBZ/Sparse disks cannot be opened in multiwriter mode", None, None
        return 0, "", disk, link

    def _open_file(self, op_id, payload):
        path_bytes, = struct.unpack_from("<I", payload)
        kind, flags = struct.unpack_from("<II", payload, 16)
        if path_bytes > wire.PATH_MAX_BYTES:
            raise Closed
        path = self.connection.receive(path_bytes).decode("utf-8", "replace")
        if kind != FILE_TYPE_DISK:
            self.fail(op_id, E_INVALID, "only virtual disks are served")
            return
        if self.lab.faults.strikes("nfc.refuse_open", vm=self.ticket.vm, host=self.listener.host):
            self.fail(op_id, E_LOCKED, "DiskLib error 16392: Failed to lock the file")
            return
        with self.lab.world.lock:
            code, text, disk, link = self._refusal(path, flags)
            if not code:
                handle, self.next_handle = self.next_handle, self.next_handle + 1
                self.files[handle] = OpenFile(disk, link)
        if code:
            self.fail(op_id, code, text)
            return
        self.lab.counters.handles(1)
        cylinders = min(16383, link.capacity_bytes // (512 * 16 * 63)) or 1
        reply = bytearray(60)
        struct.pack_into("<QII", reply, 8, handle, FILE_TYPE_DISK, flags)
        struct.pack_into("<QIIII", reply, 28, link.capacity_bytes, 512, cylinders, 16, 63)
        self.connection.send([wire.message(wire.OPEN_FILE, op_id, bytes(reply))])

    def _close_file(self, handle):
        file = self.files.pop(handle, None)
        if file is not None:
            Link.release(file.chain)
            self.lab.counters.handles(-1)
        return file

    def _close_file_request(self, op_id, payload):
        if self._close_file(struct.unpack("<Q", payload)[0]) is None:
            self.fail(op_id, E_INVALID, "no such handle")
        else:
            self.connection.send([wire.message(wire.CLOSE_FILE, op_id, payload)])

    def _file(self, op_id, handle):
        file = self.files.get(handle)
        if file is None:
            self.fail(op_id, E_INVALID, "no such handle")
        elif file.link.dropped:
            self.fail(op_id, E_NOT_FOUND, "the file is gone")
            return None
        return file

    def _ddb_get(self, op_id, payload):
        handle, key_bytes, _ = struct.unpack("<QII", payload)
        if key_bytes > wire.PATH_MAX_BYTES:
            raise Closed
        key = self.connection.receive(key_bytes).decode("ascii", "replace")
        file = self._file(op_id, handle)
        if file is None:
            return
        raw = file.disk.uuid.replace("-", "")
        halves = [" ".join(half[i:i + 2] for i in range(0, 16, 2)) for half in (raw[:16], raw[16:])]
        values = {"adapterType": "lsilogic", "logicalSectorSize": "512", "physicalSectorSize": "512",
                  "uuid": "-".join(halves),
                  "geometry.heads": "16", "geometry.sectors": "63",
                  "geometry.cylinders": str(min(16383, file.link.capacity_bytes // (512 * 16 * 63)) or 1)}
        value = values.get(key, "").encode()
        self.connection.send([wire.message(wire.DDB_GET, op_id, bytes(12) + struct.pack("<I", len(value)), value)])

    def _query_allocated(self, op_id, payload):
        handle, _, chunk, start, count, _ = struct.unpack("<QQQQQQ", payload)
        file = self._file(op_id, handle)
        if file is None:
            return
        if not chunk or chunk % 512 or start % chunk or not 0 < count <= MAX_CHUNKS or (
                start + (count - 1) * chunk >= file.link.capacity_bytes):
            self.fail(op_id, E_INVALID, "start and length must be multiples of the chunk, inside the disk")
            return
        bitmap = bytearray((count + 31) // 32 * 4)
        for grain in file.link.allocated_grains():
            first = max(0, (grain * GRAIN - start) // chunk)
            last = min(count - 1, ((grain + 1) * GRAIN - 1 - start) // chunk)
            for bit in range(first, last + 1):
                bitmap[bit >> 3] |= 1 << (bit & 7)
        self.connection.send([wire.message(wire.QUERY_ALLOCATED, op_id, struct.pack(
            "<QQQQQQ", 0, 0, chunk, start, count, 0), bytes(bitmap))])

    # --- reads

    def _parse_read(self, op_id, payload):
        """A Read, or None after an ERROR was sent."""
        handle, direction, packing, offset, total, _, _, _, _ = wire.IO_REQUEST.unpack(payload)
        if direction != 1:
            self.fail(op_id, E_READ_ONLY, "VIX_E_FILE_READ_ONLY")
            raise Closed                            # the data that follows is not taken
        file = self._file(op_id, handle)
        if file is None:
            return None
        if packing > 3 or not total or offset % 512 or total % 512 or offset + total > file.link.capacity_bytes:
            self.fail(op_id, E_INVALID, "the read is not aligned or reaches past the end of the disk")
            return None
        return Read(op_id, file.link, packing, offset, total)

    def _io(self, op_id, payload):
        reads = [self._parse_read(op_id, payload)]
        if self.lab.config["nfc"]["interleave"]:
            while len(reads) < INTERLEAVED_READS and self.connection.has_message():
                kind, more, op = self._request()
                if kind != wire.IO:
                    self._next_request = (kind, more, op)
                    break
                reads.append(self._parse_read(op, more))
        Answer(self, [read for read in reads if read is not None]).send()
