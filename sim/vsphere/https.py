# SPDX-License-Identifier: Apache-2.0
"""The HTTPS port: /sdk (SOAP), the service version documents, /folder (datastore files)."""
import http.server
import os
import re
import socket
import ssl
import threading
import time

from . import datastore_http, soap

VERSIONS = """<?xml version="1.0" encoding="UTF-8" ?>
<namespaces version="1.0"><namespace><name>urn:{name}</name><version>{version}</version>
<priorVersions>{prior}</priorVersions></namespace></namespaces>
"""
PRIOR = ("8.0.0.1", "7.0.3.0", "7.0.2.0", "7.0", "6.9.1", "6.8.7", "6.7.3", "6.7.2", "6.7.1", "6.7", "6.5", "6.0", "5.5",
         "5.1", "5.0", "4.1", "4.0", "2.5u2", "2.5")
SESSION_COOKIE = re.compile(r'vmware_soap_session="?([0-9A-Za-z-]+)"?')


class Recorder:
    """Each exchange as two files, for validation against the schema."""

    def __init__(self, folder):
        self._folder, self._number, self._lock = folder, 0, threading.Lock()
        if folder:
            os.makedirs(folder, exist_ok=True)
            self._number = len(os.listdir(folder))      # an earlier run's exchanges stay

    def save(self, method, request, response):
        if not self._folder:
            return
        with self._lock:
            self._number += 1
            number = self._number
        for kind, content in (("request", request), ("response", response)):
            with open(os.path.join(self._folder, f"{number:06}-{method}-{kind}.xml"), "wb") as file:
                file.write(content)


class Server(http.server.ThreadingHTTPServer):
    """One thread per connection; the TLS handshake is made in that thread, so a slow peer holds up nobody."""
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, lab, address, port, context):
        self.lab, self.context = lab, context
        super().__init__((address, port), Handler)

    def finish_request(self, request, client_address):
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request.settimeout(120)
        try:
            with self.context.wrap_socket(request, server_side=True) as secure:
                self.RequestHandlerClass(secure, client_address, self)
        except (ssl.SSLError, OSError):
            self.lab.counters.add("tls_failures")

    def handle_error(self, request, client_address):
        """A peer that went away in mid-answer is nothing to print; anything else is a bug."""
        import sys
        import traceback
        if not isinstance(sys.exc_info()[1], (OSError, ssl.SSLError)):
            traceback.print_exc()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "VMware-sim", ""
    wbufsize = 1 << 16

    def log_message(self, format, *args):       # noqa: A002 - the name is the base class's
        pass

    def cookie(self):
        match = SESSION_COOKIE.search(self.headers.get("Cookie", ""))
        return match[1] if match else ""

    def reply(self, status, body, content_type="text/xml; charset=utf-8", headers=()):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self):
        lab = self.server.lab
        length = int(self.headers.get("Content-Length", 0))
        if length > soap.MAX_REQUEST_BYTES:
            self.close_connection = True
            self.reply(413, b"")
            return
        body = self.rfile.read(length)
        path = self.path.split("?")[0].rstrip("/")
        if path not in ("/sdk", "/sdk/vimService", "/sdk/vim25"):
            self.reply(404, b"")
            return
        name = re.search(rb"Body[^>]*>\s*<(?:[\w-]+:)?([\w]+)", body)
        name = name[1].decode() if name else ""
        if time.monotonic() < lab.down_until or lab.faults.strikes("soap.503", method=name):
            self.reply(503, b"503 Service Unavailable (Failed to connect to endpoint)", "text/plain")
            return
        slow = lab.faults.strikes("soap.slow", method=name)
        if slow:
            time.sleep(slow["ms"] / 1000)
        status, text, method, cookie = soap.serve(lab, body, self.cookie())
        answer = text.encode()
        lab.recorder.save(method, body, answer)
        if lab.faults.strikes("soap.cut", method=method):
            self._cut(status, answer)
            return
        headers = [("Cache-Control", "no-cache")]
        if cookie:
            headers.append(("Set-Cookie", f'vmware_soap_session="{cookie}"; Path=/; HttpOnly; Secure'))
        self.reply(status, answer, headers=headers)

    def _cut(self, status, answer):
        """Half of an answer, then the connection is gone without a goodbye."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer[:len(answer) // 2])
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self):
        lab = self.server.lab
        path = self.path.split("?")[0]
        if path in ("/sdk/vimServiceVersions.xml", "/sdk/nfcServiceVersions.xml"):
            version = lab.world.config["api_version"]
            name = "vim25" if "vim" in path else "nfc"
            prior = "".join(f"<version>{v}</version>" for v in PRIOR if v != version)
            self.reply(200, VERSIONS.format(name=name, version=version, prior=prior).encode(), "text/xml")
        elif path == "/folder" or path.startswith("/folder/"):
            datastore_http.serve(lab, self)
        else:
            self.reply(404, b"")

    do_HEAD = do_GET
