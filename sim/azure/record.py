# SPDX-License-Identifier: Apache-2.0
"""Each exchange as a file that the npm package oav validates against the published specifications, and how many of
which kind there were."""
import json
import os
import re
import threading

PUBLIC = "https://management.azure.com"
NAME = re.compile(r"(/(?:subscriptions|resourceGroups|disks|snapshots|networkInterfaces|virtualMachines|locations|"
                  r"[dD]iskOperations|operations|operationResults)/)[^/]+")


class Recorder:
    def __init__(self, folder):
        self._folder, self._number, self._lock = folder, 0, threading.Lock()
        if folder:
            os.makedirs(folder, exist_ok=True)
    def save(self, request, answer):
        """Resource Manager's exchanges only; tokens are nobody's business."""
        if not self._folder or not request.path.lower().startswith("/subscriptions"):
            return
        with self._lock:
            self._number += 1
            number = self._number
        headers = {name: value for name, value in request.headers.items() if name.lower() != "authorization"}
        live = {"liveRequest": {"method": request.method, "url": PUBLIC + request.target, "headers": headers},
                "liveResponse": {"statusCode": str(answer.status), "headers": dict(answer.headers)}}
        if answer.content_type:
            live["liveResponse"]["headers"]["Content-Type"] = answer.content_type
        for part, content in (("liveRequest", request.body), ("liveResponse", answer.content)):
            try:
                live[part]["body"] = json.loads(content) if content else None
            except ValueError:
                live[part]["body"] = content.decode("utf-8", "replace")
            if live[part]["body"] is None:
                del live[part]["body"]
        path = os.path.join(self._folder,
                            f"{os.getpid():07}-{number:06}.json")        # several simulators may record into one
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(live, file, indent=1)
        os.rename(path + ".new", path)


class Counters:
    """Requests by method, kind of path and status: names of resources are left out."""

    def __init__(self):
        self._lock, self._counts = threading.Lock(), {}

    def add(self, method, path, status):
        key = f"{method} {NAME.sub(lambda m: m[1] + '*', path)} {status}"
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + 1

    def reset(self):
        with self._lock:
            self._counts = {}

    def listing(self):
        with self._lock:
            return dict(sorted(self._counts.items()))
