# SPDX-License-Identifier: Apache-2.0
"""The HTTPS port: finds the route of a request, checks token, permission and api-version before its handler is called,
counts, throttles, records, and lets the faults strike.

    routes = Routes()

    @routes.on("GET", "/secrets/{name}/{version}", audience="vault", versions=("7.5",))
    def get_secret(request):            # request.params["name"], request.query, request.json(), request.caller
        return Answer(200, {"value": ..})           # or raise Refusal(404, "SecretNotFound", "..")
"""
import http.server
import json
import re
import socket
import ssl
import sys
import threading
import time
import traceback
import urllib.parse
import uuid

from .refusal import Refusal

MAX_REQUEST_BYTES = 4 << 20             # what Resource Manager takes
BUSY = {500: ("InternalServerError", "Encountered internal server error. Diagnostic information: timestamp, tracking "
                                     "id."),
        503: ("ServerBusy", "The server is busy. Please retry after some time."),
        429: ("TooManyRequests", "The request is being throttled as the limit has been reached for operation type.")}


class Answer:
    """body: JSON, bytes, or None for none."""

    def __init__(self, status, body=None, headers=None, content_type=None):
        self.status, self.headers = status, dict(headers or {})
        if body is None or isinstance(body, bytes):
            self.content, self.content_type = body or b"", content_type
        else:
            self.content = json.dumps(body).encode()
            self.content_type = content_type or "application/json; charset=utf-8"


class Request:
    def __init__(self, lab, method, target, headers, body):
        split = urllib.parse.urlsplit(target)
        self.lab, self.method, self.headers, self.body = lab, method, headers, body
        self.target, self.path = target, urllib.parse.unquote(split.path)
        self.query = dict(urllib.parse.parse_qsl(split.query, keep_blank_values=True))
        self.host = headers.get("Host", "")
        self.base_url = f"{lab.scheme}://{self.host}"
        self.id = str(uuid.uuid4())
        self.params, self.caller = {}, None

    def json(self):
        """The body as an object."""
        kind = self.headers.get("Content-Type", "")
        if self.body and kind.split(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "UnsupportedMediaType", f"The content media type '{kind or '<null>'}' is not supported. "
                                                       "Only 'application/json' is supported.")
        try:
            value = json.loads(self.body) if self.body else None
        except ValueError as error:
            raise Refusal(400, "InvalidRequestContent", "The request content was invalid and could not be "
                                                        f"deserialized: '{error}'.") from None
        if not isinstance(value, dict):
            raise Refusal(400, "InvalidRequestContent", "The request content was invalid: an object is expected.")
        return value


class Route:
    def __init__(self, method, pattern, handler, options):
        parts = (f"(?P<{p[1:-1]}>[^/]+)" if p.startswith("{") else "(?P<scope>.*)" if p == "**" else re.escape(p)
                 for p in pattern.strip("/").split("/"))
        regex = "/".join(parts)
        self.regex = re.compile("/" + regex + "/?" if regex != "" else "/", re.IGNORECASE)
        self.method, self.handler, self.pattern = method, handler, pattern
        self.audience = options.pop("audience", "arm")      # "arm", "vault" .. of tokens.py; None: no token is needed
        self.versions = options.pop("versions", None)       # of api-version; None: not asked for
        self.action = options.pop("action", None)           # the permission; None: any caller may
        assert not options, options


class Routes:
    def __init__(self):
        self.list = []

    def on(self, method, pattern, **options):
        def register(handler):
            self.list.append(Route(method, pattern, handler, dict(options)))
            return handler
        return register

    def include(self, other):
        self.list += other.list

    def find(self, request):
        other_methods = False
        for route in self.list:
            match = route.regex.fullmatch(request.path)
            if match is None:
                continue
            if route.method == request.method:
                request.params = match.groupdict()
                return route
            other_methods = True
        if other_methods:
            raise Refusal(405, "MethodNotAllowed", f"The simulator has no {request.method} here.")
        raise Refusal(404, "NotFound", f"The simulator has nothing at '{request.path}' for {request.method}.")


class Throttle:
    """A token bucket over all requests; off unless configured."""

    def __init__(self, settings):
        self._lock, self._last = threading.Lock(), time.monotonic()
        self.set(settings)

    def set(self, settings):
        settings = settings or {}
        with self._lock:
            self._rate = float(settings.get("per_second", 0))
            self._burst = float(settings.get("burst", max(1.0, self._rate)))
            self._retry_after = int(settings.get("retry_after_s", 1))
            self._tokens = self._burst

    def check(self):
        with self._lock:
            if not self._rate:
                return
            now = time.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._last) * self._rate)
            self._last = now
            if self._tokens >= 1:
                self._tokens -= 1
                return
            retry_after = self._retry_after
        raise Refusal(429, *BUSY[429], headers={"Retry-After": str(retry_after)})


def check_version(route, request):
    if route.versions is None:
        return
    given = request.query.get("api-version")
    if not given:
        raise Refusal(400, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required "
                                                         "for all requests.")
    if given not in route.versions:
        raise Refusal(400, "InvalidApiVersionParameter", f"The api-version '{given}' is invalid. The supported "
                                                         f"versions are '{','.join(route.versions)}'.")


def answer_to(lab, request):
    """What the service answers; every refusal is an answer too."""
    try:
        lab.throttle.check()
        for name, status in (("http.500", 500), ("http.503", 503), ("http.429", 429)):
            struck = lab.faults.strikes(name, method=request.method, path=request.path)
            if struck:
                after = struck.get("retry_after_s")
                raise Refusal(status, *BUSY[status], headers={} if after is None else {"Retry-After": str(after)})
        route = lab.routes.find(request)
        if route.audience:
            request.caller = lab.tokens.check(request, route.audience)
        check_version(route, request)
        if route.action:
            lab.roles.check(request.caller, route.action, request.path)
        return route.handler(request)
    except Refusal as refusal:
        return Answer(refusal.status, refusal.body(), refusal.headers)
    except Exception:                       # noqa: BLE001 - a bug of the simulator: shown, and not taken for Azure's
        traceback.print_exc()
        return Answer(500, {"error": {"code": "SimulatorBug", "message": "see the simulator's output"}})


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "Azure-sim", ""
    wbufsize = 1 << 16

    def log_message(self, format, *args):       # noqa: A002 - the name is the base class's
        pass

    def _body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return None
        text = self.headers.get("Content-Length", "0")
        length = int(text) if text.isdigit() else MAX_REQUEST_BYTES + 1
        return self.rfile.read(length) if length <= MAX_REQUEST_BYTES else None

    def _serve(self):
        lab = self.server.lab
        body = self._body()
        if body is None:
            self.close_connection = True
            self._send(Answer(413, {"error": {"code": "RequestEntityTooLarge", "message": "Too large, or chunked."}}),
                       b"")
            return
        request = Request(lab, self.command, self.path, self.headers, body)
        where = {"method": request.method, "path": request.path}
        slow = lab.faults.strikes("http.slow", **where)
        if slow:
            time.sleep(slow["ms"] / 1000)
        if lab.faults.strikes("http.refused", **where):
            self._drop()
            return
        answer = answer_to(lab, request)
        answer.headers.setdefault("x-ms-request-id", request.id)
        answer.headers.setdefault("x-ms-correlation-request-id",
                                  request.headers.get("x-ms-correlation-request-id", request.id))
        lab.counters.add(request.method, request.path, answer.status)
        lab.recorder.save(request, answer)
        if lab.faults.strikes("http.lost_answer", **where):
            self._drop()
            return
        cut = lab.faults.strikes("http.cut", **where) if len(answer.content) > 1 else None
        self._send(answer, answer.content[:len(answer.content) // 2] if cut else answer.content)
        if cut:
            self._drop()

    def _send(self, answer, content):
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.content_type:
            self.send_header("Content-Type", answer.content_type)
        if answer.status not in (204, 304):
            self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        self.wfile.flush()

    def _drop(self):
        """The connection is gone without a goodbye."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_HEAD = _serve


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
            if self.context is None:
                self.RequestHandlerClass(request, client_address, self)
                return
            with self.context.wrap_socket(request, server_side=True) as secure:
                self.RequestHandlerClass(secure, client_address, self)
        except (ssl.SSLError, OSError):
            self.lab.counters.add("TLS", "failure", 0)

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (OSError, ssl.SSLError)):
            traceback.print_exc()
