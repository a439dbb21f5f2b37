# SPDX-License-Identifier: Apache-2.0
"""Starts a simulator for a test and speaks its control interface."""
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

SIM = pathlib.Path(__file__).resolve().parents[2] / "sim"


class ControlError(Exception):
    pass


class Lab:
    """with Lab(configuration) as lab: ...   Everything lies in a temporary folder."""

    def __init__(self, config, keep=None):
        self._folder = tempfile.TemporaryDirectory(prefix="kedge-sim-")
        self.path = pathlib.Path(keep or self._folder.name)
        (self.path / "config.json").write_text(json.dumps(config), encoding="utf-8")

    def __enter__(self):
        ready = self.path / "run" / "ready.json"
        self._log = open(self.path / "log", "w", encoding="utf-8")
        self.process = subprocess.Popen([SIM / "kedge-vsphere-sim", "--config", self.path / "config.json", "--run-dir",
                                         self.path / "run"], stdout=self._log, stderr=subprocess.STDOUT)
        end = time.monotonic() + 20
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the simulator did not start: " + (self.path / "log").read_text())
            time.sleep(0.02)
        self.ready = json.loads(ready.read_text())
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(10)
        self._log.close()
        log = (self.path / "log").read_text()
        self._folder.cleanup()
        if "Traceback" in log:
            raise RuntimeError("the simulator printed a traceback:\n" + log)
        if status != 0:
            raise RuntimeError(f"the simulator ended with {status}:\n{log}")

    def call(self, verb, path, body=None, **query):
        url = self.ready["control"] + path + ("?" + urllib.parse.urlencode(query) if query else "")
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data, method=verb), timeout=60) as answer:
                content = answer.read()
                return content if answer.headers["Content-Type"] == "application/octet-stream" else json.loads(content)
        except urllib.error.HTTPError as error:
            raise ControlError(f"{verb} {path}: {error.code} {error.read().decode()}") from None

    def get(self, path, **query):
        return self.call("GET", path, None, **query)

    def post(self, path, **body):
        return self.call("POST", path, body)

    def do(self, action, **body):
        return self.call("POST", "/do", {"action": action, **body})

    def fault(self, name, **body):
        return self.call("POST", "/faults", {"name": name, **body})

    def clear_faults(self):
        return self.call("DELETE", "/faults")


def skip(reason):
    print(f"skipped: {reason}")
    os._exit(77)
