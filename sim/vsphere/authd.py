# SPDX-License-Identifier: Apache-2.0
"""The authentication daemon of one host: greeting, TLS, the line dialogue, and the way into the NFC server.

The greeting is plain text, then TLS (#1) begins at once. After "200 Connect" TLS#1 is left without close_notify: plain
NFC goes on over the bare socket, or over a fresh TLS (#2) on the same connection. OpenSSL reads record by record here
(no read-ahead), so nothing of what follows TLS#1 is lost.
"""
import os
import socket
import ssl
import threading

from . import nfc

GREETING = ("220 VMware Authentication Daemon Version 1.10: SSL Required, ServerDaemonProtocol:SOAP, "
            "MKSDisplayProtocol:VNC , VMXARGS supported")
LINE_MAX_BYTES = 4096
TIMEOUT_SECONDS = 60
IDLE_SECONDS = 3600                         # an open disk was seen to stay open for half an hour without a read
SERVICES = {"vpxa-nfc": False, "vpxa-nfcssl": True, "nfc": False, "nfcssl": True}


class HostMemory:
    """The host's NFC buffer memory, shared by all its sessions."""

    def __init__(self, limit_bytes):
        self._lock = threading.Lock()
        self.limit_bytes, self.used_bytes = limit_bytes, 0

    def take(self, amount):
        with self._lock:
            if self.used_bytes + amount > self.limit_bytes:
                return False
            self.used_bytes += amount
            return True

    def give(self, amount):
        with self._lock:
            self.used_bytes -= amount


class Refused(Exception):
    """The dialogue ends; the connection is closed."""


class Dialogue:
    """The commands inside TLS#1, up to PROXY."""

    def __init__(self, listener, secure):
        self._listener, self._secure, self._pending = listener, secure, b""
        self.ticket = None

    def _line(self):
        while b"\n" not in self._pending:
            if len(self._pending) > LINE_MAX_BYTES:
                raise Refused
            more = self._secure.recv(LINE_MAX_BYTES)
            if not more:
                raise Refused
            self._pending += more
        line, _, self._pending = self._pending.partition(b"\n")
        return line.rstrip(b"\r").decode("utf-8", "replace")

    def _say(self, text):
        self._secure.sendall(text.encode() + b"\r\n")

    def _session(self, ticket_id):
        lab = self._listener.lab
        burnt = lab.tickets.burn(ticket_id, self._listener.host)
        expired = lab.faults.strikes("authd.expired_ticket", host=self._listener.host)
        self.ticket = None if expired else burnt

    def run(self):
        """Converse until PROXY succeeds; the answer is whether TLS#2 follows."""
        lab = self._listener.lab
        for _ in range(64):
            command, _, argument = self._line().partition(" ")
            if command == "SESSION":
                self._session(argument.strip())
            elif command == "BANNER":
                self._say(self._listener.greeting())
            elif command == "THUMBPRINT_SHA2" and lab.config["nfc"]["announce_sha256"]:
                if argument != "PlainText":
                    self._say("501 Invalid arguments")
                else:
                    self._say(f"200 {self._listener.certificate.sha256}")
            elif command == "PROXY":
                if self.ticket is None:
                    self._say("530 Login incorrect")
                    raise Refused
                if argument not in SERVICES:
                    self._say("504 Service not available")
                    raise Refused
                self._say("200 Connect ha-nfcssl" if SERVICES[argument] else "200 Connect ha-nfc")
                if self._pending:
                    raise Refused           # the client must not speak before it has read the answer
                return SERVICES[argument]
            elif command == "USER":
                self._say("331 Password required")
            elif command == "PASS":
                self._say("530 Login incorrect")
            else:
                self._say("530 Please login with USER and PASS")
        raise Refused


class Listener:
    """authd of one host: accepts connections, each served by a thread."""

    def __init__(self, lab, host, certificate):
        self.lab, self.host, self.certificate = lab, host, certificate
        self.memory = HostMemory(lab.config["nfc"]["memory_bytes"])
        version = lab.config["tls_max_version"]
        self._context = certificate.server_context(version)
        self._other_context = lab.other_certificate.server_context(version)
        self._lock = threading.Lock()
        self._connections = set()
        self._socket = None
        self.port = host.settings["authd_port"]
        self._listen()

    def greeting(self):
        announced = self.lab.config["nfc"]
        return (GREETING + (", NFCSSL supported/t" if announced["announce_nfcssl"] else "")
                + (", SHA256 supported" if announced["announce_sha256"] else ""))

    def _listen(self):
        self._socket = socket.create_server((self.host.settings["address"], self.port), backlog=128)
        self.port = self._socket.getsockname()[1]

    def start(self):
        threading.Thread(target=self._accept, args=(self._socket,), daemon=True).start()

    def reopen(self):
        if self._socket is None:
            self._listen()
            self.start()

    def close(self):
        """The host is gone: no port, no connections."""
        listening, self._socket = self._socket, None
        if listening is not None:
            listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        self.cut_all()

    def cut_all(self):
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        return len(connections)

    def connection_count(self):
        return len(self._connections)

    def _accept(self, listening):
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with self._lock:
            self._connections.add(connection)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(TIMEOUT_SECONDS)
            self._converse(connection)
        except (OSError, ssl.SSLError, Refused, nfc.Closed):
            self.lab.counters.add("nfc_connections_lost")
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _converse(self, connection):
        if self.lab.faults.strikes("authd.busy", host=self.host):
            connection.sendall(b"552 Too many connections\r\n")
            return
        connection.sendall(self.greeting().encode() + b"\r\n")
        wrong = self.lab.faults.strikes("authd.wrong_certificate", host=self.host)
        first = bytes(connection.recv(1, socket.MSG_PEEK))
        if first != b"\x16":                # anything but a TLS handshake: a plain command
            return
        secure = self._tls(connection, self._other_context if wrong else self._context)
        dialogue = Dialogue(self, secure)
        try:
            second = dialogue.run()
        finally:
            os.close(secure.detach())       # without close_notify; the connection itself stays open
        ticket = dialogue.ticket
        if second:
            other = self.lab.faults.strikes("authd.tls2_other_certificate", vm=ticket.vm, host=self.host)
            secure = self._tls(connection, self._other_context if other else self._context)
            try:
                secure.settimeout(IDLE_SECONDS)
                nfc.Session(self, ticket, secure, "nfc_tls").serve()
            finally:
                os.close(secure.detach())
        else:
            connection.settimeout(IDLE_SECONDS)
            nfc.Session(self, ticket, connection, "nfc_plain").serve()

    @staticmethod
    def _tls(connection, context):
        """TLS over a duplicate of the descriptor, so that detaching it leaves the connection to us."""
        raw = connection.dup()
        raw.settimeout(TIMEOUT_SECONDS)
        return context.wrap_socket(raw, server_side=True)
