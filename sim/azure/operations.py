# SPDX-License-Identifier: Apache-2.0
"""Long-running operations as Resource Manager has them: an answer with Azure-AsyncOperation and Location, both polled
until the work is done. A resource has at most one at a time."""
import datetime
import threading
import traceback
import uuid

from .refusal import Refusal
from .server import Answer, Routes

COMPUTE, DISK = "Microsoft.Compute/operations", "Microsoft.Compute/DiskOperations"
NETWORK = "Microsoft.Network/operations"
VERSIONS = {"Microsoft.Compute": ("2024-07-01", "2024-03-02", "2024-11-01"),
            "Microsoft.Network": ("2024-01-01", "2024-05-01")}
routes = Routes()


def utc_now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds")


class Operation:
    def __init__(self, request, kind, location, subject):
        self.id, self.secret = str(uuid.uuid4()), str(uuid.uuid4())
        self.kind, self.location, self.subject = kind, location, subject
        self.method, self.path, self.body = request.method, request.path, request.body
        self.subscription, self.version = request.params["sub"], request.query["api-version"]
        self.started, self.ended, self.status = utc_now(), None, "InProgress"
        self.refusal, self.output = None, None
        self.cancel, self.done = threading.Event(), threading.Event()

    def headers(self, request):
        namespace, leaf = self.kind.split("/")
        base = (f"{request.base_url}/subscriptions/{self.subscription}/providers/{namespace}/locations/{self.location}"
                f"/{leaf}/{self.id}")
        query = f"p={self.secret}&api-version={self.version}"
        located = base.replace("/operations/", "/operationResults/") + "?" + query if namespace == "Microsoft.Network" \
            else f"{base}?{query}&monitor=true"
        return {"Azure-AsyncOperation": f"{base}?{query}", "Location": located,
                "Retry-After": str(request.lab.config["retry_after_s"])}

    def show(self):
        shown = {"startTime": self.started, "status": self.status, "name": self.id}
        if self.ended:
            shown["endTime"] = self.ended
        if self.refusal:
            shown["error"] = self.refusal.error()
        elif self.output is not None and self.status == "Succeeded":
            shown["properties"] = {"output": self.output}
        return shown


def _attempt(function):
    """(status, refusal, what it gave)"""
    try:
        return "Succeeded", None, function()
    except Refusal as refusal:
        return "Failed", refusal, None
    except Exception:                       # noqa: BLE001 - a bug of the simulator: shown
        traceback.print_exc()
        return "Failed", Refusal(500, "SimulatorBug", "see the simulator's output"), None


class Operations:
    def __init__(self, lab):
        self._lab, self._all = lab, {}

    def start(self, request, kind, location, work, subject=None, failed=None):
        """Called with the world's lock held. work(): in a thread of its own, without the lock; gives finish() or raises
        a Refusal. finish(): with the lock held, in one step with the operation's end; gives the output or raises a
        Refusal. failed(state): what becomes of the subject otherwise, with the lock held."""
        operation = Operation(request, kind, location, subject)
        self._all[operation.id] = operation
        if subject is not None:
            subject.busy = operation
        threading.Thread(target=self._run, args=(operation, work, failed), daemon=True).start()
        return operation

    def _work(self, operation, work):
        faults, where = self._lab.faults, {"method": operation.method, "path": operation.path}
        slow = faults.strikes("operation.slow", **where)
        if operation.cancel.wait((self._lab.config["operation_ms"] + (slow["ms"] if slow else 0)) / 1000) \
                or faults.strikes("operation.canceled", **where):
            return "Canceled", Refusal(409, "OperationCanceled", "The operation has been canceled."), None
        fails = faults.strikes("operation.fails", **where)
        if fails:
            return "Failed", Refusal(fails["status"], fails["code"], fails["message"]), None
        return _attempt(work)

    def _run(self, operation, work, failed):
        status, refusal, finish = self._work(operation, work)
        with self._lab.world.lock:
            output = None
            if status == "Succeeded":
                status, refusal, output = _attempt(finish)
            operation.refusal, operation.output, operation.ended = refusal, output, utc_now()
            if operation.subject is not None and operation.subject.busy is operation:
                operation.subject.busy = None
            if status != "Succeeded" and failed:
                failed(status)
            operation.status = status
        operation.done.set()

    def find(self, operation_id):
        return self._all.get(operation_id.lower())

    def cancel(self, resource_path):
        """What runs on that resource; how many there were."""
        running = [o for o in self._all.values() if o.status == "InProgress"
                   and resource_path.lower() in o.path.lower()]
        for operation in running:
            operation.cancel.set()
        return len(running)

    def idle(self):
        return all(operation.status != "InProgress" for operation in list(self._all.values()))


def _polled(request):
    operation = request.lab.world.operations.find(request.params["id"])
    if operation is None or request.query.get("p") != operation.secret:
        raise Refusal(404, "NotFound", f"The operation '{request.params['id']}' was not found.")
    return operation


def _status(request):
    operation = _polled(request)
    if request.query.get("monitor") == "true":
        return _result(request)
    with request.lab.world.lock:
        headers = {} if operation.ended else {"Retry-After": str(request.lab.config["retry_after_s"])}
        return Answer(200, operation.show(), headers)


def _result(request):
    operation = _polled(request)
    with request.lab.world.lock:
        if not operation.ended:
            return Answer(202, None, {"Location": operation.headers(request)["Location"],
                                      "Retry-After": str(request.lab.config["retry_after_s"])})
        if operation.refusal:
            raise operation.refusal
        return Answer(204) if operation.output is None else Answer(200, operation.output)


for _namespace, _versions in VERSIONS.items():
    _base = f"/subscriptions/{{sub}}/providers/{_namespace}/locations/{{location}}"
    routes.on("GET", _base + "/operations/{id}", versions=_versions)(_status)
    routes.on("GET", _base + "/diskOperations/{id}", versions=_versions)(_status)
    routes.on("GET", _base + "/operationResults/{id}", versions=_versions)(_result)
