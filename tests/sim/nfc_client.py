# SPDX-License-Identifier: Apache-2.0
"""A small NFC client for tests of the simulator: one request at a time or several in flight, every reply checked."""
import hashlib
import os
import pathlib
import re
import socket
import ssl
import struct
import sys
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "sim"))
from vsphere import packing  # noqa: E402

ENVELOPE = ('<?xml version="1.0"?><e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" '
            'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><e:Body>%s</e:Body></e:Envelope>')


class NfcError(Exception):
    """An AIO ERROR message."""


class Gone(Exception):
    """The server closed the connection."""


class Soap:
    """Just enough SOAP to log in and get tickets."""

    def __init__(self, lab):
        self.lab, self.cookie = lab, ""
        self.trust = ssl.create_default_context(cafile=lab.ready["certificate"])
        manager = "ha-sessionmgr" if lab.ready["mode"] == "esxi" else "SessionManager"
        self.call("Login", "SessionManager", manager, f"<userName>{lab.ready['username']}</userName>"
                  f"<password>{lab.ready['password']}</password>")

    def call(self, method, kind, moref, body="", namespace="urn:vim25"):
        text = ENVELOPE % f'<{method} xmlns="{namespace}"><_this type="{kind}">{moref}</_this>{body}</{method}>'
        request = urllib.request.Request(self.lab.ready["url"], text.encode(), {
            "Content-Type": "text/xml", "SOAPAction": '"urn:vim25/8.0.1.0"', "Cookie": self.cookie})
        try:
            with urllib.request.urlopen(request, context=self.trust) as answer:
                if answer.headers["Set-Cookie"]:
                    self.cookie = answer.headers["Set-Cookie"].split(";")[0]
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from None

    def nfc_service(self):
        text = self.call("RetrieveInternalContent", "ServiceInstance", "ServiceInstance")
        return re.search(r"<nfcService[^>]*>([^<]+)<", text)[1]

    def ticket(self, vm_moref, method="NfcGetVmFiles", rest="", namespace="urn:vim25"):
        body = f'<vm type="VirtualMachine">{vm_moref}</vm>{rest}'
        text = self.call(method, "NfcService", self.nfc_service(), body, namespace)
        return dict(re.findall(r"<(\w+)>([^<]*)</\1>", text))


class Nfc:
    """One connection with one AIO session."""

    def __init__(self, ticket, secure=True, buffer=(65536, 1), version=11, check=True):
        self.sock = socket.create_connection((ticket.get("host", "127.0.0.1"), int(ticket["port"])), timeout=10)
        self.op_id, self.check = 0, check
        self.banner = self._plain_line()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        first = context.wrap_socket(self.sock.dup())
        self.certificates = [first.getpeercert(True)]
        if check and hashlib.sha1(self.certificates[0]).hexdigest().upper() != ticket["sslThumbprint"].replace(":", ""):
            raise RuntimeError("thumbprint")
        first.sendall(f"SESSION {ticket['sessionId']}\r\nBANNER \r\n".encode())
        self._expect(first, b"220")
        if "SHA256 supported" in self.banner:
            first.sendall(b"THUMBPRINT_SHA2 PlainText\r\n")
            self.sha256 = self._expect(first, b"200")[4:]
        first.sendall(f"PROXY {ticket['service']}{'ssl' if secure else ''}\r\n".encode())
        self.connected = self._expect(first, b"200")
        os.close(first.detach())
        if secure:
            self.sock = context.wrap_socket(self.sock)
            self.certificates.append(self.sock.getpeercert(True))
        self._classic(version)
        self.message(2, struct.pack("<IIII", 0, *buffer, 0), 16)
        self.message(9, bytes(12), 12)
        self.message(22, struct.pack("<I", 1), 4)

    def _plain_line(self):
        line = b""
        while not line.endswith(b"\n"):
            byte = self.sock.recv(1)
            if not byte:
                raise Gone(line)
            line += byte
        return line.decode().strip()

    @staticmethod
    def _expect(sock, code):
        line = b""
        while not line.endswith(b"\n"):
            byte = sock.recv(1)
            if not byte:
                raise Gone(line)
            line += byte
        if not line.startswith(code):
            raise RuntimeError(line)
        return line.decode().strip()

    def receive(self, length):
        data = bytearray()
        while len(data) < length:
            more = self.sock.recv(length - len(data))
            if not more:
                raise Gone
            data += more
        return bytes(data)

    def _frame(self, kind, fields=b""):
        self.sock.sendall((struct.pack("<I", kind) + fields).ljust(264, b"\0"))

    def _classic(self, version):
        if version >= 11:
            self._frame(43, b"PlainText")
        self._frame(33)
        reply = self.receive(264)
        if struct.unpack_from("<I", reply)[0] != 36 or struct.unpack_from("<I", reply, 16)[0] != 1:
            raise RuntimeError(("36", reply[:20]))
        self._frame(51, struct.pack("<I", version))
        self.server_version = struct.unpack_from("<II", self.receive(264))[1]
        self._frame(54, struct.pack("<II", 4, 7))
        self.sock.sendall(b"testnbdmode")
        self._frame(55, struct.pack("<I", 3))
        self._frame(52)
        if struct.unpack_from("<I", self.receive(264))[0] != 52:
            raise RuntimeError("52")

    def send(self, kind, payload, extra=b""):
        op_id = self.op_id
        self.op_id += 1
        self.sock.sendall(struct.pack("<IIII", 0xA100DA7A, kind, len(payload), op_id) + payload + extra)
        return op_id

    def header(self):
        magic, kind, size, op_id = struct.unpack("<IIII", self.receive(16))
        if magic != 0xA100DA7A:
            raise RuntimeError("magic")
        payload = self.receive(size)
        if kind == 1:
            raise NfcError(payload)
        return kind, op_id, payload

    def message(self, kind, payload, reply_bytes, extra=b""):
        op_id = self.send(kind, payload, extra)
        got, op, reply = self.header()
        if (got, op, len(reply)) != (kind, op_id, reply_bytes):
            raise RuntimeError((kind, got, op, len(reply)))
        return reply

    def open(self, path, flags=0x1E):
        name = path.encode()
        reply = self.message(4, struct.pack("<IIIIII", len(name), 0, 0, 0, 2, flags).ljust(60, b"\0"), 60, name)
        handle, kind, echoed, _, capacity, sector = struct.unpack_from("<QIIIQI", reply, 8)
        if kind != 2 or echoed != flags or sector != 512:
            raise RuntimeError("OPEN_FILE reply")
        return handle, capacity

    def ask(self, handle, offset, length, kind=0):
        return self.send(7, struct.pack("<QIIQIIIII", handle, 1, kind, offset, length, 0, length, length, 0))

    def collect(self, wanted):
        """{opId: (offset, length, packing)} -> {opId: bytes}; any order of fragments and requests."""
        data = {op: bytearray(length) for op, (_, length, _) in wanted.items()}
        left = {op: length for op, (_, length, _) in wanted.items()}
        seen = {op: set() for op in wanted}
        self.kinds = set()
        while any(left.values()):
            kind, op, payload = self.header()
            if kind != 7 or op not in wanted or len(payload) != 44:
                raise RuntimeError(("reply", kind, op))
            _, _, used, offset, total, at, plain, extra, _ = struct.unpack("<QIIQIIIII", payload)
            start, length, asked = wanted[op]
            if offset != start or total != length or not plain or at + plain > length or at in seen[op]:
                raise RuntimeError(("fragment", offset, total, at, plain))
            if used not in (0, asked):
                raise RuntimeError("packing not asked for")
            seen[op].add(at)
            self.kinds.add(used)
            raw = self.receive(extra if used else plain)
            data[op][at:at + plain] = packing.decode(used, raw, plain)
            left[op] -= plain
        return {op: bytes(d) for op, d in data.items()}

    def read(self, handle, offset, length, kind=0):
        op = self.ask(handle, offset, length, kind)
        return self.collect({op: (offset, length, kind)})[op]

    def close(self):
        self.message(3, bytes(4), 4)
        self._frame(4)
        self.sock.close()
