# SPDX-License-Identifier: Apache-2.0
"""The control interface: JSON over HTTP on loopback for tests. sim/README.md documents it."""
import hashlib
import http.server
import json
import os
import threading
import urllib.parse
import uuid

from . import machine_checks, network
from .world import Resource

ROUTES = {}


class Refused(Exception):
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def route(verb, path):
    def register(handler):
        ROUTES[(verb, "/_control" + path)] = handler
        return handler
    return register


def _resource(lab, request):
    """By id, or by name when it is the only one of that name."""
    wanted = request.get("id") or request.get("name") or ""
    found = lab.world.find(wanted)
    if found is None:
        named = [r for r in lab.world.all() if r.name.lower() == wanted.lower()]
        found = named[0] if len(named) == 1 else None
    if found is None:
        raise Refused(404, f"no resource '{wanted}', or several")
    return found


@route("GET", "/inventory")
def _inventory(lab, request):
    """Every resource that a request made (all=1: configured ones and strangers' too), and whether all is at rest."""
    with lab.world.lock:
        shown = [{"id": r.id, "type": r.type, "name": r.name, "group": r.group, "origin": r.origin,
                  "location": r.location,
                  "tags": r.body.get("tags", {}), "provisioning": r.properties.get("provisioningState", ""),
                  "state": r.properties.get("diskState", lab.power.state(r) or ""),
                  "managed_by": r.body.get("managedBy", ""),
                  "bytes": r.properties.get("diskSizeBytes", 0), "sas": r.grant is not None, "busy": r.busy is not None,
                  "file": r.content.path if r.content else None, "body": r.body}
                 for r in lab.world.all() if request.get("all") or r.origin == "request"]
        return {"resources": shown, "idle": lab.world.operations.idle()}


@route("GET", "/content")
def _content(lab, request):
    resource = _resource(lab, request)
    if resource.content is None or resource.content.path is None:
        raise Refused(409, f"'{resource.name}' has no content, or --disks is not given")
    digest = hashlib.sha256()
    with open(resource.content.path, "rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
    return {"sha256": digest.hexdigest(), "bytes": os.path.getsize(resource.content.path),
            "file": resource.content.path}


@route("GET", "/counters")
def _counters(lab, _request):
    return lab.counters.listing()


@route("POST", "/counters/reset")
def _counters_reset(lab, _request):
    lab.counters.reset()
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


@route("POST", "/throttle")
def _throttle(lab, request):
    lab.throttle.set(request)
    return {}


@route("POST", "/settings")
def _settings(lab, request):
    """Figures that may change while it runs."""
    for name in ("operation_ms", "retry_after_s", "page_items", "token_seconds", "guest_agent", "restrictions"):
        if name in request:
            lab.config[name] = request.pop(name)
    if "quotas" in request:
        lab.world.quotas.update(request.pop("quotas"))
    if request:
        raise Refused(400, f"unknown settings {sorted(request)}")
    return {}


@route("POST", "/roles")
def _roles(lab, request):
    """{"client", "roles": [..]}"""
    client = next((c for c in lab.config["clients"] if c["id"] == request["client"]), None)
    lab.roles.set(client["object_id"] if client else request["client"], request["roles"])
    return {}


@route("POST", "/tokens/revoke")
def _revoke(lab, _request):
    lab.tokens.revoke()
    return {}


@route("POST", "/tokens/secret")
def _secret(lab, request):
    lab.tokens.rotate_secret(request["client"], request["secret"])
    return {}


@route("POST", "/tokens/clock")
def _clock(lab, request):
    """The token check's clock goes ahead."""
    lab.tokens.skipped_s += float(request["skip_seconds"])
    return {}


@route("POST", "/cancel")
def _cancel(lab, request):
    """Operations that run on a resource (a part of its path) end as Canceled."""
    return {"canceled": lab.world.operations.cancel(request["path"])}


@route("POST", "/sas/expire")
def _expire(lab, request):
    resource = _resource(lab, request)
    if resource.grant is None:
        raise Refused(409, f"no SAS of '{resource.name}' is out")
    resource.grant.expire()
    return {}


@route("POST", "/power")
def _power(lab, request):
    """{"name", "state": "stopped"}: as if the guest had shut down."""
    lab.power.stop(_resource(lab, request), request["state"])
    return {}


@route("POST", "/resource")
def _add_resource(lab, request):
    """Somebody else's resource: {"group", "type", "name", "body": {..}}. A NIC or disk takes its place as any other."""
    body = request["body"]
    with lab.world.lock:
        resource_id = lab.world.id_of(request["group"], request["type"], request["name"])
        if lab.world.find(resource_id):
            raise Refused(409, f"'{resource_id}' is there")
        full = {"id": resource_id, "name": request["name"], "type": request["type"],
                "location": lab.config["locations"][0],
                "tags": {}, **body, "properties": {"provisioningState": "Succeeded", **body.get("properties", {})}}
        if request["type"].endswith(("/disks", "/snapshots")):
            full.setdefault("sku", {"name": "Standard_LRS", "tier": "Standard"})
            full["properties"] = {"creationData": {"createOption": "Empty"}, "diskState": "Unattached", "diskSizeGB": 1,
                                  "diskSizeBytes": 1 << 30, **full["properties"]}
        if request["type"] == network.KIND:
            full["properties"] = {"ipConfigurations": [], "enableAcceleratedNetworking": False, **full["properties"]}
        if request["type"] == machine_checks.KIND:
            full["properties"] = {"hardwareProfile": {"vmSize": "Standard_B2s"}, "vmId": str(uuid.uuid4()),
                                  "networkProfile":
                                  {"networkInterfaces": []},
                                  "storageProfile": {"osDisk": {"managedDisk": {"id": "/stranger"}}, "dataDisks": []},
                                  **full["properties"]}
        resource = lab.world.add(Resource(resource_id, request["type"], request["group"], full))
        resource.origin = "control"
        if request["type"] == machine_checks.KIND:
            resource.request, resource.power, resource.vm_id = full, "running", full["properties"]["vmId"]
        if "diskSizeBytes" in full["properties"]:
            resource.content = lab.contents.given(resource.name, full["properties"]["diskSizeBytes"],
                                                  request["type"].endswith("/snapshots"))
    return {"id": resource_id}


@route("DELETE", "/resource")
def _remove_resource(lab, request):
    """Gone behind everybody's back, whatever its state."""
    resource = _resource(lab, request)
    with lab.world.lock:
        lab.world.remove(resource)
    return {}


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
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status = 200
        try:
            request = dict(urllib.parse.parse_qsl(url.query))
            if body:
                request.update(json.loads(body))
            handler = ROUTES.get((self.command, url.path))
            if handler is None:
                raise Refused(404, f"no {self.command} {url.path}; known: "
                                   f"{', '.join(sorted(' '.join(r) for r in ROUTES))}")
            answer = handler(self.server.lab, request)
        except Refused as refused:
            status, answer = refused.status, {"error": str(refused)}
        except (KeyError, ValueError, TypeError, LookupError, OSError) as error:
            status, answer = 400, {"error": f"{type(error).__name__}: {error}"}
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _serve
