# SPDX-License-Identifier: Apache-2.0
"""The control interface: JSON over HTTP on loopback for tests, demo and bench. sim/README.md documents it."""
import base64
import http.server
import json
import threading
import urllib.parse

from . import actions, guest
from .links import DatastoreFull
from .model import DatastoreEntity, Host
from .vimfault import VimFault

ROUTES = {}
RANDOM_WRITES = {"min_bytes": 512, "max_bytes": 65536, "align": 512, "zero_pct": 10}
WORKLOAD = {"writes_per_second": None, "bytes": 4096, "pattern": "random", "seed": 1, "span_bytes": None}


class Refused(Exception):
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def route(verb, path):
    def register(handler):
        ROUTES[(verb, path)] = handler
        return handler
    return register


def find_vm(lab, request):
    name = request.get("vm")
    for vm in lab.world.vms():
        if name in (vm.name, vm.moref, vm.instance_uuid):
            return vm
    raise Refused(404, f"no VM '{name}'")


def find_disk(vm, request, disks=None):
    """The disk that `disk` names (key or index, default the first); with `snapshot` the frozen one."""
    disks = list(vm.disks) if disks is None else disks
    if request.get("snapshot"):
        disks = list(find_snapshot(vm, request).disks.values())
    number = int(request.get("disk", 0))
    for disk in disks:
        if disk.key == number:
            return disk
    if 0 <= number < len(disks) and number < 60:
        return disks[number]
    raise Refused(404, f"'{vm.name}' has no disk {number}")


def find_snapshot(vm, request):
    wanted = request.get("snapshot")
    for snapshot in vm.snapshots():
        if wanted in (snapshot.moref, snapshot.name):
            return snapshot
    raise Refused(404, f"'{vm.name}' has no snapshot '{wanted}'")


def _show_disk(disk):
    return {"key": disk.key, "file": disk.leaf.ds_path, "size_bytes": disk.capacity_bytes, "uuid": disk.uuid,
            "tracking": disk.tracker is not None, "change_id": disk.change_id,
            "links": [{"file": link.ds_path, "allocated_bytes": link.allocated_bytes(), "readers": link.readers}
                      for link in disk.leaf.chain()]}


def _show_vm(vm):
    snapshots = [{"moref": s.moref, "name": s.name, "description": s.description, "quiesced": s.quiesced,
                  "parent": s.above.moref if s.above else None, "disks": [_show_disk(d) for d in s.disks.values()]}
                 for s in vm.snapshots()]
    return {"name": vm.name, "moref": vm.moref, "uuid": vm.uuid, "instance_uuid": vm.instance_uuid, "power": vm.power,
            "host": vm.host.name, "datastore": vm.home.name, "cbt": vm.cbt, "consolidation_needed": vm.consolidation_needed,
            "busy": vm.task is not None, "disks": [_show_disk(d) for d in vm.disks], "snapshots": snapshots}


@route("GET", "/state")
def _state(lab, _request):
    world = lab.world
    return {"mode": lab.config["mode"], "port": lab.server.server_address[1], "vms": len(world.vms()),
            "sessions": lab.sessions.count(),
            "hosts": [{"name": h.name, "moref": h.moref, "connected": h.connected, "authd_port": h.listener.port,
                       "nfc_memory_bytes": h.listener.memory.used_bytes, "nfc_connections": h.listener.connection_count()}
                      for h in world.of_type(Host)],
            "datastores": [{"name": d.name, "moref": d.moref, "capacity_bytes": d.storage.capacity_bytes,
                            "used_bytes": d.storage.used_bytes + d.storage.filler_bytes,
                            "free_bytes": d.storage.free_bytes(), "files": len(d.storage.links)}
                           for d in world.of_type(DatastoreEntity)]}


@route("GET", "/vms")
def _vms(lab, _request):
    with lab.world.lock:
        return [_show_vm(vm) for vm in lab.world.vms()]


@route("GET", "/vm")
def _vm(lab, request):
    with lab.world.lock:
        return _show_vm(find_vm(lab, request))


def _bytes_of(write):
    if "base64" in write:
        return base64.b64decode(write["base64"])
    length = int(write["length"])
    if "seed" in write:
        return guest.random.Random(write["seed"]).randbytes(length)
    return bytes([write.get("byte", 0)]) * length


@route("POST", "/write")
def _write(lab, request):
    vm = find_vm(lab, request)
    disk, total = find_disk(vm, request), 0
    for one in request["writes"]:
        data = _bytes_of(one)
        guest.write(vm, disk, int(one["offset"]), data, request.get("force", False))
        total += len(data)
    return {"bytes": total}


@route("POST", "/random_writes")
def _random_writes(lab, request):
    vm = find_vm(lab, request)
    disks = [find_disk(vm, request)] if "disk" in request else list(vm.disks)
    limits = {name: int(request.get(name, default)) for name, default in RANDOM_WRITES.items()}
    return {"bytes": guest.random_writes(vm, disks, int(request["count"]), request.get("seed", 1), limits)}


@route("POST", "/workload")
def _workload(lab, request):
    vm = find_vm(lab, request)
    if request.get("stop"):
        return lab.workloads.stop(vm)
    settings = {name: request.get(name, default) for name, default in WORKLOAD.items()}
    if not settings["writes_per_second"] or settings["pattern"] not in ("random", "sequential"):
        raise Refused(400, "give writes_per_second, and pattern random or sequential")
    lab.workloads.start(vm, find_disk(vm, request).key, settings)
    return {}


@route("GET", "/content")
def _content(lab, request):
    disk = find_disk(find_vm(lab, request), request)
    offset = int(request.get("offset", 0))
    length = int(request.get("length", disk.capacity_bytes - offset))
    if offset < 0 or length < 0 or offset + length > disk.capacity_bytes:
        raise Refused(416, f"the disk has {disk.capacity_bytes} bytes")
    return guest.content(disk, offset, length)


@route("GET", "/sha256")
def _sha256(lab, request):
    disk = find_disk(find_vm(lab, request), request)
    return {"sha256": guest.sha256(disk), "bytes": disk.capacity_bytes}


@route("GET", "/counters")
def _counters(lab, _request):
    return {**lab.counters.listing(), "sessions": lab.sessions.count(),
            "nfc_memory_bytes": {h.name: h.listener.memory.used_bytes for h in lab.world.of_type(Host)}}


@route("POST", "/counters/reset")
def _counters_reset(lab, _request):
    lab.counters.reset()
    return {}


@route("POST", "/clock")
def _clock(lab, request):
    lab.world.clock.skipped += float(request["skip_seconds"])
    lab.world.touch()
    return {}


@route("GET", "/faults")
def _faults(lab, _request):
    return lab.faults.listing()


@route("POST", "/faults")
def _switch_fault(lab, request):
    lab.faults.switch(request)
    return {}


@route("DELETE", "/faults")
def _clear_faults(lab, _request):
    lab.faults.clear()
    return {}


@route("POST", "/do")
def _do(lab, request):
    handler = actions.ACTIONS.get(request.get("action"))
    if handler is None:
        raise Refused(404, f"no action '{request.get('action')}'; known: {', '.join(sorted(actions.ACTIONS))}")
    return handler(lab, request, find_vm, find_disk, find_snapshot) or {}


@route("POST", "/shutdown")
def _shutdown(lab, _request):
    threading.Timer(0.1, lab.stopping.set).start()
    return {}


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, lab, port):
        self.lab = lab
        super().__init__(("127.0.0.1", port), Handler)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):       # noqa: A002 - the name is the base class's
        pass

    def _serve(self):
        url = urllib.parse.urlsplit(self.path)
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        status = 200
        try:
            request = dict(urllib.parse.parse_qsl(url.query))
            if body:
                request.update(json.loads(body))
            handler = ROUTES.get((self.command, url.path))
            if handler is None:
                raise Refused(404, f"no {self.command} {url.path}")
            answer = handler(self.server.lab, request)
        except Refused as refused:
            status, answer = refused.status, {"error": str(refused)}
        except (guest.GuestError, DatastoreFull, VimFault) as error:
            status, answer = 409, {"error": f"{type(error).__name__}: {error}"}
        except (KeyError, ValueError, TypeError, LookupError) as error:
            status, answer = 400, {"error": f"{type(error).__name__}: {error}"}
        raw = isinstance(answer, bytes)
        content = answer if raw else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream" if raw else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _serve
