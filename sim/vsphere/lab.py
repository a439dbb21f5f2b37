# SPDX-License-Identifier: Apache-2.0
"""One running simulator: the model, its servers, and ready.json."""
import json
import os
import threading

from . import authd, build, certs, control, methods, nfc_methods, vm_methods       # noqa: F401 - registers methods
from .counters import Counters
from .faults import Faults
from .guest import Workloads
from .https import Recorder, Server
from .model import Host
from .sessions import Sessions, Tickets


class Lab:
    def __init__(self, config, run_dir):
        self.config, self.run_dir = config, run_dir
        os.makedirs(run_dir, exist_ok=True)
        self.counters = Counters()
        self.faults = Faults(config["seed"])
        self.recorder = Recorder(config["record_dir"])
        self.world = build.world(config, run_dir)
        self.sessions = Sessions(self.world, self.counters)
        methods.add_managers(self.world, self.sessions)
        nfc_methods.add_service(self.world)
        self.tickets = Tickets(self.world, self.counters)
        self.workloads = Workloads()
        self.stopping = threading.Event()
        self.down_until = 0.0               # monotonic; see the action vcenter_restart
        self.address = config["listen"]
        self._certificates()
        context = self.certificate.server_context(config["tls_max_version"])
        self.server = Server(self, config["listen"], config["port"], context)
        self.control = control.Server(self, config["control_port"])
        for host in self.world.of_type(Host):
            host.listener = authd.Listener(self, host, self.certificate if self.world.esxi else self.host_certificate)

    def _certificates(self):
        hosts = self.world.of_type(Host)
        names = [h.name for h in hosts]
        addresses = [self.config["listen"]] + [h.settings["address"] for h in hosts]
        folder = os.path.join(self.run_dir, "tls")
        self.certificate = certs.make(folder, "vcenter", names if self.world.esxi else [], addresses)
        self.host_certificate = certs.make(folder, "host", names, addresses)
        self.other_certificate = certs.make(folder, "other", names, addresses)

    def start(self):
        for server in (self.server, self.control):
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        for host in self.world.of_type(Host):
            host.listener.start()

    def stop(self):
        self.stopping.set()
        self.workloads.stop_all()
        for server in (self.server, self.control):
            server.shutdown()
            server.server_close()
        for host in self.world.of_type(Host):
            host.listener.close()

    def _password_file(self, name, password):
        path = os.path.join(self.run_dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(password)
        return path

    def ready(self):
        """The content of ready.json; also writes the password files it names."""
        accounts = [{"username": a["username"], "password": a["password"],
                     "password_file": self._password_file(f"accounts/{n}", a["password"])}
                    for n, a in enumerate(self.config["accounts"])]
        hosts = [{"name": h.name, "moref": h.moref, "address": h.settings["address"], "authd_port": h.listener.port,
                  "sha1": h.listener.certificate.sha1, "sha256": h.listener.certificate.sha256}
                 for h in self.world.of_type(Host)]
        port = self.server.server_address[1]
        return {"pid": os.getpid(), "mode": self.config["mode"], "url": f"https://{self.address}:{port}/sdk",
                "address": self.address, "port": port, "sha1": self.certificate.sha1, "sha256": self.certificate.sha256,
                "certificate": self.certificate.path, "control": f"http://127.0.0.1:{self.control.server_address[1]}",
                "username": accounts[0]["username"], "password": accounts[0]["password"],
                "password_file": self._password_file("password", accounts[0]["password"]), "accounts": accounts,
                "hosts": hosts, "vms": len(self.world.vms())}

    def write_ready(self, path):
        ready = self.ready()
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(ready, file, indent=1)
        os.rename(path + ".new", path)
        return ready
