#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Simulated Azure: requests and answers against the published specifications, by two validators that are not ours.

prism stands between this test and the simulator and refuses what the specification does not allow (values of
enumerations, required parts, status codes); oav reads the recorded exchanges afterwards (unknown properties, types).
KEDGE_AZURE_SPEC names the folder of the specifications, KEDGE_PRISM and KEDGE_OAV the packages. The folder need not
have specifications of permissions, sizes (skus), resources by tag and storage accounts; polls of operations have none.
What was not validated is printed."""
import json
import os
import pathlib
import re
import subprocess
import time
import unittest

import azure_blob as blob
from azure_lab import COMPUTE, DISKS, MIB, NETWORK, START_S, Lab, free_port, skip

HERE = pathlib.Path(__file__).resolve().parent
SPECIFICATIONS, PRISM, OAV = (os.environ.get(name, "") for name in ("KEDGE_AZURE_SPEC", "KEDGE_PRISM", "KEDGE_OAV"))
COMPUTE_RP = "compute/resource-manager/Microsoft.Compute"
FILES = {"disks": f"{COMPUTE_RP}/DiskRP/stable/2024-03-02/disk.json",
         "snapshots": f"{COMPUTE_RP}/DiskRP/stable/2024-03-02/snapshot.json",
         "virtualMachines": f"{COMPUTE_RP}/ComputeRP/stable/2024-07-01/virtualMachine.json",
         "networkInterfaces": "network/resource-manager/Microsoft.Network/stable/2024-01-01/networkInterface.json"}


ACTIONS = "beginGetAccess|endGetAccess|instanceView|retrieveBootDiagnosticsData|powerOff|start|deallocate"


def one_document(root):
    """The paths of FILES in one specification, so that one process serves, with the definitions it leans on beside it;
    examples, which are files of their own, and the other paths are left out."""
    merged, waiting, written = {}, set(), set()

    def moved(value, file, base):
        """A part of `file`, with references as they are seen from `base`."""
        if isinstance(value, list):
            return [moved(item, file, base) for item in value]
        if not isinstance(value, dict):
            return value
        if isinstance(value.get("$ref"), str):
            path, _, rest = value["$ref"].partition("#")
            full = os.path.normpath(os.path.join(os.path.dirname(file), path)) if path else file
            waiting.add(full)
            return {"$ref": ("" if full == base else os.path.relpath(full, os.path.dirname(base) or ".")) + "#" + rest}
        return {name: moved(item, file, base) for name, item in value.items() if name != "x-ms-examples"}

    def load(file):
        return json.loads((pathlib.Path(SPECIFICATIONS) / file).read_text(encoding="utf-8-sig"))

    def write(file, document):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(json.dumps(document))
    for kind, file in FILES.items():
        document = load(file)
        merged = merged or {**{name: document[name] for name in ("swagger", "info", "host", "schemes", "consumes",
                                                                 "produces",
                                                                "security", "securityDefinitions")}, "paths": {}}
        wanted = re.compile(rf".*/{kind}(/{{\w+}}(/({ACTIONS}))?)?")
        merged["paths"].update({path: moved(value, file, "merged.json") for path, value in document["paths"].items()
                                if wanted.fullmatch(path)})
    write("merged.json", merged)
    while waiting - written:
        file = (waiting - written).pop()
        written.add(file)
        write(file, {**moved({**load(file), "paths": None}, file, file), "paths": {}})
    return root / "merged.json"


class Proxy:
    """prism in front of the simulator; polls of operations go past it, no specification has them."""

    def __init__(self, lab):
        self._lab, self._port, self._log = lab, free_port(), lab.path / "prism.log"
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                ["node", pathlib.Path(PRISM) / "dist/index.js", "proxy", "-h", "127.0.0.1", "-p", str(self._port),
                 "--errors",
                 one_document(lab.path / "specification"), lab.url], stdout=log, stderr=log)

    def __enter__(self):
        end = time.monotonic() + 2 * START_S
        while b"is listening" not in self._log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > end:
                self.__exit__()
                raise RuntimeError("prism did not start: " + self._log.read_text())
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(START_S)

    def url(self, path):
        return f"http://127.0.0.1:{self._port}{path}"


class Contract(unittest.TestCase):
    def setUp(self):
        self.lab = Lab({"tls": False, "private_endpoints": [{"name": "pe", "account": "seed"}]}, azurite=True)

    def through(self, method, path, version, body=None, good=(200, 201, 202, 204), end="Succeeded"):
        """By way of prism; a violation of the specification is an answer with 422 or 500."""
        url = self.proxy.url(path) + ("&" if "?" in path else "?") + "api-version=" + version
        status, headers, answer = self.lab.call(method, url, None, body, headers={} if body
                                                else {"Content-Length": "0"})
        self.assertIn(status, good, f"{method} {path}: {answer}")
        poll = headers.get("Azure-AsyncOperation")
        while poll and status < 300:
            state = self.lab.call("GET", poll, None)[2]
            if state["status"] != "InProgress":
                self.assertEqual(state["status"], end, state)
                return state.get("properties", {}).get("output", answer)
            time.sleep(0.02)
        return answer

    def flow(self):
        lab, azurite = self.lab, self.lab.azurite
        blob.page_blob(azurite, "seed/os", 4 * MIB, [(0, b"\x01" * 512)])
        body = lab.import_body("seed/os", osType="Linux", hyperVGeneration="V2")
        self.through("PUT", lab.disk_id("os"), DISKS, {**body, "sku": {"name": "StandardSSD_LRS"}, "tags": {"a": "b"}})
        self.through("GET", lab.disk_id("os"), DISKS)
        self.through("PUT", lab.disk_id("up"), DISKS, lab.upload_body(24 * MIB))
        access = self.through("POST", lab.disk_id("up") + "/beginGetAccess", DISKS,
                              {"access": "Write", "durationInSeconds": 600})
        self.assertEqual(blob.put_by_sas(azurite, access["accessSAS"], 24 * MIB, blob.footer(24 * MIB)), 201)
        self.through("POST", lab.disk_id("up") + "/endGetAccess", DISKS)
        self.through("GET", lab.group + "/providers/Microsoft.Compute/disks", DISKS)
        snapshot = lab.id("Microsoft.Compute/snapshots", "snap")
        self.through("PUT", snapshot, DISKS, {"location": "westeurope", "properties": {
            "incremental": True, "creationData": {"createOption": "Copy", "sourceResourceId": lab.disk_id("os")}}})
        self.through("GET", snapshot, DISKS)
        nsg = {"id": lab.id("Microsoft.Network/networkSecurityGroups", "nsg")}
        self.through("PUT", lab.nic_id("nic"), NETWORK, lab.nic_body("10.0.0.9", networkSecurityGroup=nsg))
        self.through("GET", lab.nic_id("nic"), NETWORK)
        # prism takes the listed values of an extensible enumeration for all there are, so the size is one of those.
        self.through("PUT", lab.vm_id("vm"), COMPUTE,
                     lab.vm_body([lab.disk_id("os"), lab.disk_id("up")], [lab.nic_id("nic")], "Standard_F4s_v2"))
        self.through("GET", lab.vm_id("vm"), COMPUTE)
        self.through("GET", lab.vm_id("vm") + "?$expand=instanceView", COMPUTE)
        self.through("GET", lab.vm_id("vm") + "/instanceView", COMPUTE)
        self.through("POST", lab.vm_id("vm") + "/retrieveBootDiagnosticsData", COMPUTE)
        for action in ("powerOff", "start", "deallocate"):
            self.through("POST", f"{lab.vm_id('vm')}/{action}", COMPUTE)
        self.through("DELETE", lab.vm_id("vm"), COMPUTE)
        self.through("DELETE", lab.nic_id("nic"), NETWORK)
        self.through("DELETE", snapshot, DISKS)
        for name in ("os", "up"):
            self.through("DELETE", lab.disk_id(name), DISKS)
        self.through("DELETE", lab.disk_id("up"), DISKS, good=(204,))
        self.assertEqual(lab.inventory(), {})

    def read(self):
        """What is only read: oav alone looks at these."""
        lab, network = self.lab, "Microsoft.Network/"
        for path, version in ((lab.id(network + "virtualNetworks", "vnet"), NETWORK), (lab.subnet_id("test"), NETWORK),
                              (lab.id(network + "networkSecurityGroups", "nsg"), NETWORK),
                              (lab.id(network + "privateEndpoints", "pe"), NETWORK),
                              (f"{lab.group}/providers/{network}networkInterfaces", NETWORK),
                              (f"{lab.subscription}/providers/Microsoft.Compute/locations/westeurope/usages", COMPUTE),
                              (f"{lab.subscription}/providers/Microsoft.Compute/locations/westeurope/vmSizes",
                               COMPUTE)):
            self.assertEqual(lab.call("GET", path, version)[0], 200, path)

    def prism_sees(self):
        """It must be able to fail: a bad request, a bad answer."""
        lab = self.lab
        body = lab.upload_body(24 * MIB)
        body["properties"]["creationData"]["createOption"] = 7
        self.through("PUT", lab.disk_id("bad"), DISKS, body, good=(422,))
        self.through("PUT", lab.disk_id("bad"), "", lab.upload_body(24 * MIB), good=(400, 422))
        lab.control("POST", "/resource", {"group": "rg-target", "type": "Microsoft.Compute/disks", "name": "odd",
                                          "body": {"properties": {"diskSizeGB": "large"}}})
        self.through("GET", lab.disk_id("odd"), DISKS, good=(500,))

    def spoil(self, record, bad):
        """Two exchanges that oav must not take: the odd disk's, and one with a property that is none."""
        bad.mkdir()
        files = sorted(record.iterdir())
        odd = next(f for f in files if "large" in f.read_text())
        odd.rename(bad / "odd.json")
        exchange = json.loads(next(f for f in files if f != odd and '"method": "PUT"' in f.read_text()).read_text())
        exchange["liveRequest"]["body"]["properties"]["noSuchProperty"] = 1
        (bad / "unknown.json").write_text(json.dumps(exchange))

    def test_contract(self):
        record, bad = self.lab.path / "record", self.lab.path / "bad"
        self.lab.record = str(record)
        with self.lab:
            with Proxy(self.lab) as self.proxy:
                self.flow()
                self.read()
                self.prism_sees()
            self.spoil(record, bad)
            run = subprocess.run(["node", HERE / "check_azure.mjs", OAV, SPECIFICATIONS, record, bad],
                                 capture_output=True, text=True,
                                 timeout=200, check=False)
            print(run.stdout)
            named = [line.split(":")[0] for line in run.stdout.splitlines() if " -> " in line]
            self.assertEqual(named, ["bad/odd.json", "bad/unknown.json"], run.stdout + run.stderr)
            self.assertIn("VirtualMachines_CreateOrUpdate", run.stdout)


if __name__ == "__main__":
    for name, file in (("KEDGE_AZURE_SPEC", pathlib.Path(SPECIFICATIONS) / FILES["disks"]),
                       ("KEDGE_PRISM", pathlib.Path(PRISM) / "dist/index.js"),
                       ("KEDGE_OAV", pathlib.Path(OAV) / "package.json")):
        if not os.environ.get(name) or not file.exists():
            skip(f"{name} names no folder with {file.name}")
    unittest.main()
