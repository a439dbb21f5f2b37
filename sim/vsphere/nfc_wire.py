# SPDX-License-Identifier: Apache-2.0
"""NFC on the wire: numbers of messages, their layouts, and a connection that reads exactly and writes at once."""
import select
import socket
import ssl
import struct

FRAME_BYTES = 264
COMPLETE, PARAMS, PARAMS_REPLY, HANDSHAKE, VERSION, AIO_OPEN, CONNECTION_DATA, FEATURES = 4, 33, 36, 43, 51, 52, 54, 55
MAGIC = 0xA100DA7A
HEADER = struct.Struct("<IIII")                     # magic, type, payload bytes, opId
(ERROR, OPEN_SESSION, CLOSE_SESSION, OPEN_FILE, CLOSE_FILE, IO, SET_SOCK_OPTS, DDB_GET, QUERY_ALLOCATED, SET_RES_POOL) = (
    1, 2, 3, 4, 5, 7, 9, 11, 13, 22)
REQUEST_BYTES = {OPEN_SESSION: 16, CLOSE_SESSION: 4, OPEN_FILE: 60, CLOSE_FILE: 8, IO: 44, SET_SOCK_OPTS: 12, DDB_GET: 16,
                 QUERY_ALLOCATED: 48, SET_RES_POOL: 4}
IO_REQUEST = struct.Struct("<QIIQIIIII")            # handle, direction, packing, offset, total, 0, length, length, 0
FRAGMENT = struct.Struct("<IIIIQIIQIIIII")          # header; 0, 1, packing, offset, total, at, plain bytes, extra bytes, 0
PATH_MAX_BYTES = 4096
IOV_MAX = 512


class Closed(Exception):
    """The peer is gone or broke the protocol: the connection ends."""


class Connection:
    """A plain or TLS socket. Reading takes what is there and keeps the rest for the next message."""

    def __init__(self, sock):
        self._socket = sock
        self._tls = isinstance(sock, ssl.SSLSocket)
        self._buffer = bytearray()
        self.sent_bytes = 0

    def receive(self, length):
        while len(self._buffer) < length:
            more = self._socket.recv(65536)
            if not more:
                raise Closed
            self._buffer += more
        data = bytes(self._buffer[:length])
        del self._buffer[:length]
        return data

    def has_message(self):
        """Whether a further request is already there."""
        if len(self._buffer) >= HEADER.size:
            return True
        if self._tls and self._socket.pending():
            return True
        return bool(select.select([self._socket], [], [], 0)[0])

    def send(self, parts):
        """All parts, in as few system calls as possible."""
        self.sent_bytes += sum(len(p) for p in parts)
        if self._tls:
            self._socket.sendall(b"".join(parts))
            return
        for first in range(0, len(parts), IOV_MAX):
            self._send_some([memoryview(p) for p in parts[first:first + IOV_MAX]])

    def _send_some(self, views):
        while views:
            sent = self._socket.sendmsg(views)
            while views and sent >= len(views[0]):
                sent -= len(views[0])
                views.pop(0)
            if sent:
                views[0] = views[0][sent:]

    def send_tiny(self, parts, dice):
        data = b"".join(parts)
        at = 0
        while at < len(data):
            size = dice.randint(1, 7)
            self._socket.sendall(data[at:at + size])
            at += size

    def cut(self):
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        raise Closed


def frame(kind, number=0, at=4):
    """A classic 264-byte frame with one number in it."""
    data = bytearray(FRAME_BYTES)
    struct.pack_into("<I", data, 0, kind)
    struct.pack_into("<I", data, at, number) if number else None
    return bytes(data)


def message(kind, op_id, payload, extra=b""):
    return HEADER.pack(MAGIC, kind, len(payload), op_id) + payload + extra


def error(op_id, code, text):
    """The layout of this payload is not known from any real host: a code, the text's length, the text."""
    data = text.encode()
    return message(ERROR, op_id, struct.pack("<II", code, len(data)) + data)
