# SPDX-License-Identifier: Apache-2.0
"""One running simulator: the resources, its servers, and ready.json."""
import json
import os
import threading

from . import (build, catalog, certs, control, disks, key_vault, machines, network, operations, power, roles, snapshots,
               tags, tokens)
from .blobs import Account
from .content import Contents
from .faults import Faults
from .record import Counters, Recorder
from .server import Routes, Server, Throttle
from .world import World

MODULES = (tokens, operations, roles, disks, snapshots, network, machines, tags, catalog, power, key_vault)


class Lab:
    def __init__(self, config, run_dir):
        self.config, self.run_dir = config, run_dir
        os.makedirs(run_dir, exist_ok=True)
        self.faults, self.counters, self.recorder = Faults(config["seed"]), Counters(), Recorder(config["record_dir"])
        self.throttle, self.stopping = Throttle(config["throttle"]), threading.Event()
        self.tokens, self.roles = tokens.Tokens(config), roles.Roles(config["clients"])
        self.accounts = [Account(settings) for settings in config["storage_accounts"]]
        self.managed = Account(config["managed_account"]) if config["managed_account"] else None
        self.contents = Contents(config["disks_dir"])
        self.world = World(self)
        self.power = power.Power(self)
        build.fill(self.world, config)
        self.vaults = key_vault.Vaults(config["key_vaults"])
        self.routes = Routes()
        for module in MODULES:
            self.routes.include(module.routes)
        self._start_servers()

    def _start_servers(self):
        config, context, self.certificate = self.config, None, config_certificate(self.config, self.run_dir)
        self.scheme = "https" if self.certificate else "http"
        if self.certificate:
            context = certs.server_context(*self.certificate)
        self.server = Server(self, config["listen"], config["port"], context)
        self.control = control.Server(self, config["control_port"])

    def start(self):
        for server in (self.server, self.control):
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def stop(self):
        for server in (self.server, self.control):
            server.shutdown()
            server.server_close()
        self.power.stop_all()

    def write_ready(self, path):
        config, first = self.config, self.config["clients"][0]
        secret_file = os.path.join(self.run_dir, "secret")
        with open(os.open(secret_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(first["secret"])
        ready = {"pid": os.getpid(), "url": f"{self.scheme}://{config['listen']}:{self.server.server_address[1]}",
                 "port": self.server.server_address[1], "certificate": self.certificate[0] if self.certificate
                 else None,
                 "control": f"http://127.0.0.1:{self.control.server_address[1]}/_control", "tenant": config["tenant"],
                 "subscription": config["subscription"], "client": first["id"], "secret_file": secret_file,
                 "location": config["resource_groups"][0]["location"],
                 "resource_groups": [group["name"] for group in config["resource_groups"]]}
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(ready, file, indent=1)
        os.rename(path + ".new", path)
        return ready


def config_certificate(config, run_dir):
    """(certificate, key), or None for plain HTTP."""
    if not config["tls"]:
        return None
    if config["certificate"]:
        return config["certificate"], config["key"]
    return certs.make(os.path.join(run_dir, "tls"), [config["listen"]])
