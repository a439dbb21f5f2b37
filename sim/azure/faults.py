# SPDX-License-Identifier: Apache-2.0
"""Switches for everything that can go wrong. Code asks strikes(name, ..) where a fault can happen; nothing else here
knows what the fault does. sim/README.md lists them for users."""
import random
import re
import threading

# name: (own parameters with defaults, what happens)
FAULTS = {
    "http.500": ({"retry_after_s": None}, "status 500, nothing took effect"),
    "http.503": ({"retry_after_s": 0}, "status 503, nothing took effect"),
    "http.429": ({"retry_after_s": 0}, "status 429, nothing took effect"),
    "http.slow": ({"ms": 1000}, "the request is looked at late"),
    "http.refused": ({}, "the connection is closed, nothing took effect"),
    "http.lost_answer": ({}, "the request takes effect, the connection is closed instead of an answer"),
    "http.cut": ({}, "the request takes effect, the connection is closed in the middle of the answer's body"),
    "operation.slow": ({"ms": 1000}, "the operation takes so much longer"),
    "operation.fails": ({"code": "InternalOperationError", "message": "An internal execution error occurred. Please "
                         "retry later.", "status": 409}, "the operation ends as Failed, its work is not done"),
    "operation.canceled": ({}, "the operation ends as Canceled, its work is not done"),
    "vm.not_available": ({"size": None}, "SkuNotAvailable for a new VM (of that size)"),
    "vm.allocation_fails": ({}, "a new VM's operation ends as Failed with AllocationFailed, the VM stays as Failed"),
}
COMMON = {"on": True, "count": None, "probability": 1.0, "after": 0, "method": None, "path": None}


class Faults:
    def __init__(self, seed):
        self._lock = threading.Lock()
        self._dice = random.Random(seed)
        self._active = {name: [] for name in FAULTS}
        self._struck = {name: 0 for name in FAULTS}

    def switch(self, request):
        """Switch one fault on (beside others of its name) or off; ValueError tells what is wrong with the request."""
        given = dict(request)
        name = given.pop("name", None)
        if name not in FAULTS:
            raise ValueError(f"no fault '{name}'; known: {', '.join(sorted(FAULTS))}")
        known = {**COMMON, **FAULTS[name][0]}
        unknown = set(given) - set(known)
        if unknown:
            raise ValueError(f"{name}: unknown {sorted(unknown)}; known: {sorted(known)}")
        re.compile(given.get("path") or "")
        with self._lock:
            if given.get("on", True):
                self._active[name].append({**known, **given})
            else:
                self._active[name] = []

    def clear(self):
        with self._lock:
            for active in self._active.values():
                active.clear()

    def strikes(self, name, method=None, path=None):
        """The parameters of the fault when it happens here and now, else None."""
        if not self._active[name]:          # the ordinary case, without the lock
            return None
        with self._lock:
            for fault in self._active[name]:
                if self._hits(fault, method, path):
                    if fault["count"] == 0:
                        self._active[name].remove(fault)
                    self._struck[name] += 1
                    return fault
        return None

    def _hits(self, fault, method, path):
        if fault["method"] is not None and fault["method"] != method:
            return False
        if fault["path"] is not None and not re.search(fault["path"], path or "", re.IGNORECASE):
            return False
        if fault["after"] > 0:
            fault["after"] -= 1
            return False
        if fault["probability"] < 1 and self._dice.random() >= fault["probability"]:
            return False
        if fault["count"] is not None:
            fault["count"] -= 1
        return True

    def listing(self):
        with self._lock:
            return [{"name": name, "meaning": meaning, "parameters": parameters, "on": len(self._active[name]),
                     "struck": self._struck[name]} for name, (parameters, meaning) in FAULTS.items()]
