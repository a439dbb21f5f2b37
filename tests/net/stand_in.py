#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""TLS servers that stand in for services of the cloud: a token issuer, and storage accounts with something
wrong. stand_in.py CONFIG: {"listeners": [{"address", "port", "cert", "tls": "1.1"?, "date_offset_s"?,
"status"?}], "log", "tenant"}. Says "ready" when all listen."""
import base64
import email.utils
import http.server
import json
import pathlib
import ssl
import sys
import threading
import time
import urllib.parse

config = json.loads(pathlib.Path(sys.argv[1]).read_text())
log = open(config["log"], "a", buffering=1)


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def token(scope):
    """A token as the storage emulator takes it: it looks at the claims and not at the signature."""
    now = int(time.time())
    claims = {"aud": scope.removesuffix("/.default"), "iss": f"https://sts.windows.net/{config['tenant']}/",
              "iat": now, "nbf": now - 60, "exp": now + 3600}
    return f"{part({'typ': 'JWT', 'alg': 'RS256'})}.{part(claims)}.c2lnbmF0dXJl"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def date_time_string(self, timestamp=None):
        return email.utils.formatdate(time.time() + self.server.date_offset_s, usegmt=True)

    def log_message(self, *_):
        pass

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        log.write(f"{self.headers.get('Host')} {self.command} {self.path.split('?')[0]}\n")
        if self.path.endswith("/oauth2/v2.0/token") and self.command == "POST":
            scope = urllib.parse.parse_qs(body).get("scope", [""])[0]
            self.send(200, {"token_type": "Bearer", "expires_in": 3600, "access_token": token(scope)})
        else:
            self.send(self.server.status, {"error": {"code": "AuthenticationFailed",
                                                     "message": "this is a stand-in"}})

    def send(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listener):
        self.date_offset_s = listener.get("date_offset_s", 0)
        self.status = listener.get("status", 400)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(listener["cert"])
        if listener.get("tls") == "1.1":
            self.tls.set_ciphers("DEFAULT@SECLEVEL=0")
            self.tls.minimum_version = ssl.TLSVersion.TLSv1
            self.tls.maximum_version = ssl.TLSVersion.TLSv1_1
        super().__init__((listener["address"], listener["port"]), Handler)

    def finish_request(self, request, client_address):
        try:  # in the thread of this connection: a handshake never stops the others
            with self.tls.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)
        except (OSError, ssl.SSLError):
            pass


for one in config["listeners"]:
    threading.Thread(target=Server(one).serve_forever, daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
