# SPDX-License-Identifier: Apache-2.0
"""Starts a simulated Azure for a test, with the storage emulator beside it when the test wants one, and speaks to the
simulator by the standard library alone."""
import base64
import json
import os
import pathlib
import secrets
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

SIM = pathlib.Path(__file__).resolve().parents[2] / "sim"
DISKS, COMPUTE, NETWORK, RESOURCES = "2024-03-02", "2024-07-01", "2024-01-01", "2021-04-01"
MIB = 1 << 20
START_S = 60


def skip(reason):
    print(f"skipped: {reason}")
    os._exit(77)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Azurite:
    """The emulator with the accounts seed (a user's) and mdimpexp (the service's own)."""

    def __init__(self, folder):
        self.folder, package = folder, os.environ.get("KEDGE_AZURITE", "")
        self.script = pathlib.Path(package) / "dist/src/blob/main.js"
        if not package or not self.script.exists():
            skip("KEDGE_AZURITE names no azurite package")
        self.key, self.port = base64.b64encode(secrets.token_bytes(64)).decode(), free_port()
        self.ca = folder / "azurite.pem"

    def start(self):
        key = self.folder / "azurite.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", self.ca,
                        "-days", "2",
                        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"], check=True,
                        capture_output=True)
        log = self.folder / "azurite.log"
        with open(log, "wb") as out:
            self.process = subprocess.Popen(
                ["node", self.script, "--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--cert", self.ca,
                 "--key", key,
                 "--location", self.folder / "azurite", "--silent", "--disableTelemetry", "--skipApiVersionCheck"],
                stdout=out, stderr=out, env={**os.environ, "AZURITE_ACCOUNTS": f"seed:{self.key};mdimpexp:{self.key}"})
        end = time.monotonic() + START_S
        while b"successfully listens" not in log.read_bytes():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("azurite did not start: " + log.read_text())
            time.sleep(0.05)

    def account(self, name):
        return {"name": name, "key": self.key, "endpoint": f"https://127.0.0.1:{self.port}", "ca_file": str(self.ca)}


class Lab:
    """with Lab(configuration, azurite=True) as lab: ...   Everything lies in a temporary folder."""

    def __init__(self, config=None, azurite=False):
        self._folder = tempfile.TemporaryDirectory(prefix="kedge-azure-")
        self.path, self.config = pathlib.Path(self._folder.name), dict(config or {})
        self.record, self.options = os.environ.get("KEDGE_AZURE_RECORD"), ()
        self.azurite = Azurite(self.path) if azurite else None
        self.disks = self.path / "disks"

    def __enter__(self):
        try:
            return self._start()
        except BaseException:
            self._stop()
            raise

    def _start(self):
        if self.azurite:
            self.azurite.start()
            self.config.setdefault("storage_accounts", [self.azurite.account("seed")])
            self.config.setdefault("managed_account", self.azurite.account("mdimpexp"))
        (self.path / "config.json").write_text(json.dumps(self.config), encoding="utf-8")
        self._log = open(self.path / "log", "w", encoding="utf-8")
        self.process = subprocess.Popen([SIM / "kedge-azure-sim", "--config", self.path / "config.json", "--run-dir",
                                         self.path / "run",
                                         "--disks", self.disks, *(("--record", self.record) if self.record else ()),
                                         *self.options], stdout=self._log, stderr=subprocess.STDOUT)
        ready, end = self.path / "run" / "ready.json", time.monotonic() + START_S
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the simulator did not start: " + (self.path / "log").read_text())
            time.sleep(0.02)
        self.ready = json.loads(ready.read_text())
        self.url = self.ready["url"]
        certificate = self.ready["certificate"]
        self.context = ssl.create_default_context(cafile=certificate) if certificate else None
        self.subscription = "/subscriptions/" + self.ready["subscription"]
        self.group = self.subscription + "/resourceGroups/rg-target"
        self.token = self.get_token()
        return self

    def _stop(self):
        for process in (getattr(self, "process", None), getattr(self.azurite, "process", None)):
            if process and process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in (getattr(self, "process", None), getattr(self.azurite, "process", None)):
            if process:
                process.wait(START_S)

    def __exit__(self, *_):
        self._stop()
        self._log.close()
        log = (self.path / "log").read_text()
        self._folder.cleanup()
        if "Traceback" in log or self.process.returncode != 0:
            raise RuntimeError(f"the simulator ended with {self.process.returncode}:\n{log}")

    # ---- HTTP ----

    def send(self, method, url, body=None, headers=None, raw=None, context=None):
        """(status, headers, JSON or bytes)"""
        headers, data = dict(headers or {}), raw
        if body is not None:
            data = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            answer = urllib.request.urlopen(request, context=context
                                            or (self.context if url.startswith("https") else None), timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            content = answer.read()
            is_json = "json" in answer.headers.get("Content-Type", "")
            return answer.status, answer.headers, json.loads(content) if is_json and content else content

    def get_token(self, client=None, secret=None, scope="https://management.azure.com/.default", whole=False):
        client = client or self.ready["client"]
        secret = secret or pathlib.Path(self.ready["secret_file"]).read_text()
        form = urllib.parse.urlencode({"grant_type": "client_credentials", "client_id": client,
                                       "client_secret": secret, "scope": scope})
        answer = self.send("POST", f"{self.url}/{self.ready['tenant']}/oauth2/v2.0/token", raw=form.encode())
        return answer if whole else answer[2]["access_token"]

    def call(self, method, path, version, body=None, token=None, headers=None):
        """One request to Resource Manager: (status, headers, body). path: a resource id, or a whole address."""
        url = path
        if not path.startswith("http"):
            url = self.url + urllib.parse.quote(path, safe="/?&=$")
            if version is not None:
                url += f"{'&' if '?' in path else '?'}api-version={version}"
        token = self.token if token is None else token
        return self.send(method, url, body, {**({"Authorization": "Bearer " + token} if token else {}),
                                             **(headers or {})})

    def run(self, method, path, version, body=None):
        """With its operation: ("Succeeded" or another end, the last body)."""
        status, headers, answer = self.call(method, path, version, body)
        if status >= 400:
            return answer["error"]["code"], answer
        poll = headers.get("Azure-AsyncOperation")
        if not poll:
            return "Succeeded", answer
        while True:
            status, _, answer = self.call("GET", poll, None)
            if status >= 400:
                return answer["error"]["code"], answer
            if answer["status"] != "InProgress":
                return answer["error"]["code"] if answer["status"] == "Failed" else answer["status"], answer
            time.sleep(0.02)

    def control(self, method, path, body=None):
        status, _, answer = self.send(method, self.ready["control"] + path, body)
        if status != 200:
            raise RuntimeError(f"{method} {path}: {answer}")
        return answer

    def fault(self, name, **parameters):
        return self.control("POST", "/faults", {"name": name, **parameters})

    def inventory(self):
        return {r["name"]: r for r in self.control("GET", "/inventory")["resources"]}

    # ---- bodies ----

    def id(self, kind, name, group="rg-target"):
        return f"{self.subscription}/resourceGroups/{group}/providers/{kind}/{name}"

    def disk_id(self, name):
        return self.id("Microsoft.Compute/disks", name)

    def nic_id(self, name):
        return self.id("Microsoft.Network/networkInterfaces", name)

    def vm_id(self, name):
        return self.id("Microsoft.Compute/virtualMachines", name)

    def subnet_id(self, name="default"):
        return self.id("Microsoft.Network/virtualNetworks", "vnet") + "/subnets/" + name

    def seed_url(self, blob):
        return f"https://127.0.0.1:{self.azurite.port}/seed/{blob}"

    def import_body(self, blob, **properties):
        return {"location": "westeurope", "properties": {"creationData": {
            "createOption": "Import", "sourceUri": self.seed_url(blob),
            "storageAccountId": self.id("Microsoft.Storage/storageAccounts", "seed")}, **properties}}

    @staticmethod
    def upload_body(size_bytes, **properties):
        return {"location": "westeurope", "properties": {"creationData": {"createOption": "Upload",
                                                                          "uploadSizeBytes": size_bytes + 512},
                                                         **properties}}

    def stranger_disk(self, name, **properties):
        """A disk that is there, without bytes: for tests of virtual machines."""
        self.control("POST", "/resource", {"group": "rg-target", "type": "Microsoft.Compute/disks", "name": name,
                                           "body": {"properties": properties}})
        return self.disk_id(name)

    def nic_body(self, address=None, subnet="default", **properties):
        configuration = {"subnet": {"id": self.subnet_id(subnet)}, "privateIPAllocationMethod": "Static" if address
                         else "Dynamic"}
        if address:
            configuration["privateIPAddress"] = address
        return {"location": "westeurope", "properties": {"ipConfigurations": [{"name": "ipconfig1",
                                                                               "properties": configuration}],
                                                         **properties}}

    def vm_body(self, disks, nics, size="Standard_D2s_v5", **properties):
        """disks, nics: ids; the first disk is the OS disk."""
        data = [{"lun": n, "createOption": "Attach", "managedDisk": {"id": disk}} for n, disk in enumerate(disks[1:])]
        return {"location": "westeurope", "properties": {
            "hardwareProfile": {"vmSize": size},
            "storageProfile": {"osDisk": {"osType": "Linux", "createOption": "Attach",
                                          "managedDisk": {"id": disks[0]}}, "dataDisks": data},
            "networkProfile": {"networkInterfaces": [{"id": nic, "properties": {"primary": n == 0}} for n,
                                                     nic in enumerate(nics)]},
            "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}}, **properties}}
