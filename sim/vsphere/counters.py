# SPDX-License-Identifier: Apache-2.0
"""What was asked for and how much went over which lane; read through the control interface."""
import threading

LANES = ("nfc_plain", "nfc_tls", "folder")


class Counters:
    def __init__(self):
        self._lock = threading.Lock()
        self.reset()

    def reset(self):
        with self._lock:
            self._plain = {}
            self._methods = {}
            self._lanes = {lane: {"connections": 0, "reads": 0, "wire_bytes": 0, "disk_bytes": 0} for lane in LANES}
            self._max_handles = getattr(self, "_handles", 0)
            self._handles = self._max_handles

    def add(self, name, amount=1):
        with self._lock:
            self._plain[name] = self._plain.get(name, 0) + amount

    def method(self, name):
        with self._lock:
            self._methods[name] = self._methods.get(name, 0) + 1

    def lane(self, lane, **amounts):
        with self._lock:
            for name, amount in amounts.items():
                self._lanes[lane][name] += amount

    def handles(self, change):
        with self._lock:
            self._handles += change
            self._max_handles = max(self._max_handles, self._handles)

    def listing(self):
        with self._lock:
            return {**self._plain, "methods": dict(self._methods), "lanes": {k: dict(v) for k, v in self._lanes.items()},
                    "nfc_handles": self._handles, "nfc_handles_most": self._max_handles}
