#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The client's requests against the published specifications, by two validators that are not ours.

test_azure_client.py PROGRAM: PROGRAM (the unit test test_compute_sim) makes every call of src/azure/compute.h against the simulated
Azure, which records them. oav reads the records (unknown properties, types); the requests are then asked again of prism, which plays
the service from the specification alone and refuses what it does not allow (values of enumerations, required parts). Both validators
must refuse what was spoiled on purpose."""
import copy
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import azure_lab
import test_azure_contract as contract

HERE = pathlib.Path(__file__).resolve().parent
PUBLIC = "https://management.azure.com"
TYPED = ("Disks_CreateOrUpdate", "Disks_Get", "Disks_Delete", "Disks_GrantAccess", "Disks_RevokeAccess",
         "NetworkInterfaces_CreateOrUpdate", "NetworkInterfaces_Get", "NetworkInterfaces_Delete", "VirtualMachines_CreateOrUpdate",
         "VirtualMachines_Get", "VirtualMachines_Delete", "VirtualMachines_RetrieveBootDiagnosticsData", "Usage_List")


def run_program(program, record):
    environment = {**contract.os.environ, "KEDGE_AZURE_RECORD": str(record)}
    run = subprocess.run([program], env=environment, capture_output=True, text=True, timeout=200, check=False)
    if run.returncode:
        sys.exit(f"{program} failed:\n{run.stdout}{run.stderr}")


def accepted(record):
    """The exchanges that the simulator did not refuse, each kind of request once."""
    seen = {}
    for file in sorted(record.iterdir()):
        live = json.loads(file.read_text())
        request = live["liveRequest"]
        if int(live["liveResponse"]["statusCode"]) < 400:
            seen.setdefault((request["method"], request["url"], json.dumps(request.get("body"))), (file.name, live))
    return [live for _, live in sorted(seen.values(), key=lambda named: named[0])]


def spoil(lives, bad):
    """An unknown property, a wrong type: what oav must see."""
    bad.mkdir()
    made = next(live for live in lives if live["liveRequest"]["method"] == "PUT" and "/disks/" in live["liveRequest"]["url"])
    unknown, wrong = copy.deepcopy(made), copy.deepcopy(made)
    unknown["liveRequest"]["body"]["properties"]["creationData"]["noSuchThing"] = 1
    wrong["liveRequest"]["body"]["location"] = 7
    for name, live in (("unknown", unknown), ("wrong", wrong)):
        (bad / f"{name}.json").write_text(json.dumps(live))


def check_oav(record, bad):
    run = subprocess.run(["node", HERE / "check_azure.mjs", contract.OAV, contract.SPECIFICATIONS, record, bad], capture_output=True,
                         text=True, timeout=200, check=False)
    print(run.stdout)
    named = [line.split(":")[0] for line in run.stdout.splitlines() if " -> " in line]
    if named != ["bad/unknown.json", "bad/wrong.json"]:
        sys.exit("oav: not the two spoiled ones: " + run.stdout + run.stderr)
    absent = [name for name in TYPED if f" x {name}\n" not in run.stdout]
    if absent:
        sys.exit(f"oav: never seen: {absent}")


class Prism:
    def __init__(self, folder):
        self._port, self._log = azure_lab.free_port(), folder / "prism.log"
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                ["node", pathlib.Path(contract.PRISM) / "dist/index.js", "mock", "-h", "127.0.0.1", "-p", str(self._port),
                 contract.one_document(folder / "specification")], stdout=log, stderr=log)

    def __enter__(self):
        end = time.monotonic() + 2 * azure_lab.START_S
        while b"is listening" not in self._log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > end:
                self.__exit__()
                sys.exit("prism did not start: " + self._log.read_text())
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(azure_lab.START_S)

    def ask(self, request):
        """Status and text of its answer."""
        body = request.get("body")
        headers = {name: value for name, value in request["headers"].items()
                   if name.lower() not in ("host", "content-length", "connection")}
        asked = urllib.request.Request(f"http://127.0.0.1:{self._port}" + request["url"].removeprefix(PUBLIC), method=request["method"],
                                       data=None if body is None else json.dumps(body).encode(),
                                       headers={**headers, "Authorization": "Bearer any"})
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return answer.status, ""
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def specified(live):
    path = live["liveRequest"]["url"].removeprefix(PUBLIC).lower()
    return any(f"/{kind}/" in path for kind in ("disks", "networkinterfaces", "virtualmachines")) and "operations/" not in path


def check_prism(lives, folder):
    asked = [live["liveRequest"] for live in lives if specified(live)]
    with Prism(folder) as prism:
        for request in asked:
            status, text = prism.ask(request)
            # It judges the request first; what it cannot make up afterwards is an answer.
            if status >= 400 and "SCHEMA_TOO_COMPLEX" not in text:
                sys.exit(f"prism: {request['method']} {request['url']}: {status}: {text}\n{json.dumps(request.get('body'), indent=1)}")
        bad = copy.deepcopy(next(r for r in asked if r["method"] == "PUT" and "/virtualMachines/" in r["url"]))
        bad["body"]["properties"]["storageProfile"]["osDisk"]["createOption"] = "Borrow"
        no_version = {**asked[0], "url": asked[0]["url"].partition("?")[0]}
        for request in (bad, no_version):
            if prism.ask(request)[0] != 422:
                sys.exit(f"prism took what is wrong: {request}")
    print(f"prism took {len(asked)} requests")


def main():
    for name, value, file in (("KEDGE_AZURE_SPEC", contract.SPECIFICATIONS, contract.FILES["disks"]),
                              ("KEDGE_PRISM", contract.PRISM, "dist/index.js"), ("KEDGE_OAV", contract.OAV, "package.json"),
                              ("KEDGE_AZURITE", contract.os.environ.get("KEDGE_AZURITE", ""), "package.json")):
        if not value or not (pathlib.Path(value) / file).exists():
            azure_lab.skip(f"{name} names no folder with {file}")
    with tempfile.TemporaryDirectory(prefix="kedge-azure-client-") as folder:
        root = pathlib.Path(folder)
        run_program(sys.argv[1], root / "record")
        lives = accepted(root / "record")
        spoil(lives, root / "bad")
        check_oav(root / "record", root / "bad")
        check_prism(lives, root)


if __name__ == "__main__":
    main()
