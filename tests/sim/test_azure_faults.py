#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Simulated Azure: each fault does what its name says, and nothing else; tokens of a foreign issuer; boot command."""
import base64
import hashlib
import http.client
import json
import pathlib
import subprocess
import tempfile
import time
import unittest

from azure_lab import COMPUTE, DISKS, MIB, NETWORK, SIM, Lab

GONE = (ConnectionError, http.client.IncompleteRead, http.client.BadStatusLine, OSError)


class Faults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab()
        cls.lab.__enter__()
        cls.addClassCleanup(cls.lab.__exit__, None, None, None)

    def tearDown(self):
        self.lab.control("DELETE", "/faults")
        self.lab.control("POST", "/throttle", {})
        self.lab.control("POST", "/settings", {"quotas": {"disks": None}, "operation_ms": 20})

    def put(self, name):
        return self.lab.call("PUT", self.lab.disk_id(name), DISKS, self.lab.upload_body(24 * MIB))

    def settled(self, name):
        while True:
            found = self.lab.inventory().get(name)
            if found is None or not found["busy"]:
                return found
            time.sleep(0.02)

    def struck(self, name):
        return next(f["struck"] for f in self.lab.control("GET", "/faults") if f["name"] == name)

    def test_refusing(self):
        """Status 500, 503, 429: nothing took effect; narrowed by method and path; counted."""
        for number, (name, status) in enumerate((("http.500", 500), ("http.503", 503), ("http.429", 429))):
            disk = f"r{number}"
            self.lab.fault(name, count=2, after=1, method="PUT", path=f"/disks/{disk}$",
                           **({"retry_after_s": 7} if status != 500 else {}))
            before = self.struck(name)
            self.assertEqual(self.put("other" + disk)[0], 202)
            self.assertEqual(self.put(disk)[0], 202)
            self.settled(disk)
            for _ in range(2):
                got, headers, _ = self.put(disk)
                self.assertEqual((got, headers["Retry-After"]), (status, None if status == 500 else "7"))
                self.assertEqual(self.lab.call("GET", self.lab.disk_id(disk), DISKS)[0], 200)
            self.assertEqual(self.put(disk)[0], 200)
            self.assertEqual(self.struck(name) - before, 2)

    def test_rate(self):
        """The same seed and the same order of requests give the same faults, as many as asked for."""
        self.lab.fault("http.503", probability=0.5)
        statuses = [self.lab.call("GET", self.lab.group, "2021-04-01")[0] for _ in range(60)]
        self.assertEqual(set(statuses), {200, 503})

    def test_connection(self):
        self.lab.fault("http.refused", count=1, path="/disks/c0")
        self.assertRaises(GONE, self.put, "c0")
        self.assertNotIn("c0", self.lab.inventory())
        self.lab.fault("http.lost_answer", count=1, path="/disks/c1")
        self.assertRaises(GONE, self.put, "c1")
        self.assertEqual(self.settled("c1")["provisioning"], "Succeeded")
        self.lab.fault("http.cut", count=1, path="/disks/c2")
        self.assertRaises(GONE, self.put, "c2")
        self.assertEqual(self.settled("c2")["provisioning"], "Succeeded")

    def test_operations(self):
        self.lab.fault("operation.fails", count=1, path="/disks/o0$", code="DiskServiceError", message="broken")
        end, answer = self.lab.run("PUT", self.lab.disk_id("o0"), DISKS, self.lab.upload_body(24 * MIB))
        self.assertEqual((end, answer["error"]["message"]), ("DiskServiceError", "broken"))
        self.assertEqual(self.lab.inventory()["o0"]["provisioning"], "Failed")
        self.assertEqual(self.lab.run("DELETE", self.lab.disk_id("o0"), DISKS)[0], "Succeeded")
        self.lab.fault("operation.canceled", count=1, path="/disks/o1$")
        self.assertEqual(self.lab.run("PUT", self.lab.disk_id("o1"), DISKS, self.lab.upload_body(24 * MIB))[0],
                         "Canceled")
        self.lab.fault("operation.fails", count=1, method="DELETE", path="/disks/o1$")
        self.assertEqual(self.lab.run("DELETE", self.lab.disk_id("o1"), DISKS)[0], "InternalOperationError")
        self.assertIn("o1", self.lab.inventory())

    def test_slow_delete(self):
        self.assertEqual(self.lab.run("PUT", self.lab.disk_id("slow"), DISKS, self.lab.upload_body(24 * MIB))[0],
                         "Succeeded")
        self.lab.fault("operation.slow", method="DELETE", ms=600000)
        status, headers, _ = self.lab.call("DELETE", self.lab.disk_id("slow"), DISKS)
        self.assertEqual(status, 202)
        self.assertEqual(self.lab.call("GET", self.lab.disk_id("slow"), DISKS)[2]["properties"]["provisioningState"],
                         "Deleting")
        again = self.lab.call("DELETE", self.lab.disk_id("slow"), DISKS)
        self.assertEqual(again[1]["Location"], headers["Location"])
        self.assertEqual(self.put("slow")[0], 409)
        self.lab.control("POST", "/cancel", {"path": "/disks/slow"})
        self.assertEqual(self.settled("slow")["provisioning"], "Succeeded")

    def test_throttle(self):
        self.lab.control("POST", "/throttle", {"per_second": 0.001, "burst": 3, "retry_after_s": 5})
        answers = [self.lab.call("GET", self.lab.group, "2021-04-01") for _ in range(5)]
        self.assertEqual([a[0] for a in answers], [200, 200, 200, 429, 429])
        self.assertEqual(answers[-1][1]["Retry-After"], "5")

    def test_quota(self):
        there = self.lab.control("GET", "/inventory?all=1")["resources"]
        count = len([r for r in there if r["type"].endswith("/disks")])
        self.lab.control("POST", "/settings", {"quotas": {"disks": count + 1}})
        self.assertEqual(self.put("q0")[0], 202)
        status, _, answer = self.put("q1")
        self.assertEqual((status, answer["error"]["code"]), (409, "QuotaExceeded"))

    def test_machine(self):
        disk = self.lab.stranger_disk("m-os", osType="Linux", hyperVGeneration="V2")
        self.assertEqual(self.lab.run("PUT", self.lab.nic_id("m-nic"), NETWORK, self.lab.nic_body())[0], "Succeeded")
        body = self.lab.vm_body([disk], [self.lab.nic_id("m-nic")])
        self.lab.fault("vm.not_available", count=1, size="Standard_D2s_v5")
        self.assertEqual(self.lab.run("PUT", self.lab.vm_id("m"), COMPUTE, body)[0], "SkuNotAvailable")
        self.assertNotIn("m", self.lab.inventory())
        self.lab.fault("vm.allocation_fails", count=1)
        self.assertEqual(self.lab.run("PUT", self.lab.vm_id("m"), COMPUTE, body)[0], "AllocationFailed")
        self.assertEqual(self.lab.inventory()["m"]["provisioning"], "Failed")
        view = self.lab.call("GET", self.lab.vm_id("m") + "/instanceView", COMPUTE)[2]
        self.assertEqual(view["statuses"][0]["code"], "ProvisioningState/failed")
        self.assertEqual(self.lab.run("DELETE", self.lab.vm_id("m"), COMPUTE)[0], "Succeeded")
        self.assertEqual(self.lab.run("PUT", self.lab.vm_id("m"), COMPUTE, body)[0], "Succeeded")

    def test_name_taken(self):
        disk = self.lab.stranger_disk("theirs")
        status, _, answer = self.put("theirs")
        self.assertEqual((status, answer["error"]["code"]), (409, "PropertyChangeNotAllowed"))
        self.lab.control("POST", "/resource", {"group": "rg-target", "type": "Microsoft.Compute/virtualMachines",
                                               "name": "theirs-vm", "body": {}})
        self.assertEqual(self.lab.call("GET", self.lab.vm_id("theirs-vm") + "/instanceView", COMPUTE)[0], 200)
        self.assertEqual(self.lab.run("PUT", self.lab.nic_id("t-nic"), NETWORK, self.lab.nic_body())[0], "Succeeded")
        body = self.lab.vm_body([disk], [self.lab.nic_id("t-nic")])
        self.assertEqual(self.lab.run("PUT", self.lab.vm_id("theirs-vm"), COMPUTE, body)[0], "PropertyChangeNotAllowed")

    def test_made_again(self):
        """What failed is made by the same request come again; tags are replaced by PATCH."""
        self.lab.fault("operation.fails", count=1, path="/disks/again$")
        body = {**self.lab.upload_body(24 * MIB), "tags": {"a": "1", "b": "2"}}
        self.assertEqual(self.lab.run("PUT", self.lab.disk_id("again"), DISKS, body)[0], "InternalOperationError")
        self.assertEqual(self.lab.run("PUT", self.lab.disk_id("again"), DISKS, body)[0], "Succeeded")
        self.assertEqual(self.lab.call("PATCH", self.lab.disk_id("again"), DISKS, {"tags": {"c": "3"}})[0], 200)
        self.assertEqual(self.lab.inventory()["again"]["tags"], {"c": "3"})
        self.assertEqual(self.lab.call("PATCH", self.lab.disk_id("again"), DISKS, {"properties": {}})[0], 501)
        disk = self.lab.stranger_disk("again-os", osType="Linux", hyperVGeneration="V2")
        self.assertEqual(self.lab.run("PUT", self.lab.nic_id("again"), NETWORK, self.lab.nic_body())[0], "Succeeded")
        machine = self.lab.vm_body([disk], [self.lab.nic_id("again")])
        self.lab.fault("vm.allocation_fails", count=1)
        self.assertEqual(self.lab.run("PUT", self.lab.vm_id("again-vm"), COMPUTE, machine)[0], "AllocationFailed")
        self.assertEqual(self.lab.run("PUT", self.lab.vm_id("again-vm"), COMPUTE, machine)[0], "Succeeded")
        self.assertEqual(self.lab.call("PATCH", self.lab.vm_id("again-vm"), COMPUTE, {"tags": {"c": "3"}})[2]["tags"],
                         {"c": "3"})
        self.assertEqual(self.lab.call("PATCH", self.lab.nic_id("again"), NETWORK, {"tags": {"c": "3"}})[2]["tags"],
                         {"c": "3"})


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer(unittest.TestCase):
    """Tokens made with the openssl command; the simulator has the public key only."""

    def token(self, folder, key="key.pem", algorithm="RS256", **claims):
        now = int(time.time())
        claims = {"iss": "https://issuer.invalid/", "aud": "https://management.azure.com", "exp": now + 600,
                  "nbf": now, "sub": "me", **claims}
        head = encode(json.dumps({"alg": algorithm, "kid": "k1"}).encode())
        signed = f"{head}.{encode(json.dumps(claims).encode())}"
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", folder / key], input=signed.encode(),
                                   capture_output=True,
                                   check=True).stdout
        return f"{signed}.{encode(signature)}"

    def test_published_keys(self):
        """Keys fetched from an issuer's address: the issuer is another simulator."""
        with Lab({"tenant": "33333333-3333-3333-3333-333333333333"}) as issuer:
            lab = Lab({"issuers": [{"issuer": f"https://sts.windows.net/{issuer.ready['tenant']}/",
                                    "ca_file": issuer.ready["certificate"],
                                    "jwks_url": f"{issuer.url}/{issuer.ready['tenant']}/discovery/v2.0/keys"}]})
            with lab:
                self.assertEqual(lab.call("GET", lab.group, "2021-04-01", token=issuer.token)[0], 200)
                self.assertEqual(issuer.call("GET", issuer.group, "2021-04-01", token=lab.token)[0], 401)

    def test_issuer(self):
        lab = Lab()
        for name in ("key.pem", "other.pem"):
            subprocess.run(["openssl", "genrsa", "-out", lab.path / name, "2048"], check=True, capture_output=True)
        modulus = subprocess.run(["openssl", "rsa", "-in", lab.path / "key.pem", "-noout", "-modulus"], check=True,
                                 capture_output=True).stdout
        n = bytes.fromhex(modulus.decode().strip().split("=")[1])
        jwks = lab.path / "jwks.json"
        jwks.write_text(json.dumps({"keys": [{"kty": "RSA", "kid": "k1", "n": encode(n), "e": "AQAB"}]}))
        lab.config["issuers"] = [{"issuer": "https://issuer.invalid/", "jwks_file": str(jwks)}]
        with lab:
            now = int(time.time())
            for code, changes in ((None, {}), ("InvalidAuthenticationToken", {"key": "other.pem"}),
                                  ("InvalidAuthenticationToken", {"iss": "https://another.invalid/"}),
                                  ("InvalidAuthenticationTokenAudience", {"aud": "https://storage.azure.com"}),
                                  ("ExpiredAuthenticationToken", {"exp": now - 10}),
                                  ("ExpiredAuthenticationToken", {"exp": None}),
                                  ("InvalidAuthenticationToken", {"nbf": now + 3600})):
                lab.token = self.token(lab.path, **changes)
                status, headers, answer = lab.call("GET", lab.group, "2021-04-01")
                self.assertEqual((status, answer.get("error", {}).get("code")), (401 if code else 200, code), changes)
                if code:
                    self.assertIn("Bearer authorization_uri=", headers["WWW-Authenticate"])
            # No signature at all, whatever the header says of it.
            lab.token = self.token(lab.path, algorithm="none").rsplit(".", 1)[0] + "."
            self.assertEqual(lab.call("GET", lab.group, "2021-04-01")[0], 401)


BOOT = """#!/bin/sh
folder=$1; shift
echo "$@" >"$folder/arguments"
sha256sum "$3" "$4" >"$folder/serial.log"
printf '\\211PNG' >"$folder/screen.png"
[ "$1" != ends ] || exit 0
trap 'echo stopped >"$folder/stopped"; exit 0' TERM
while :; do sleep 0.1; done
"""


class Boot(unittest.TestCase):
    def make(self, lab, name):
        disks = [lab.stranger_disk(f"{name}-{n}", osType="Linux", hyperVGeneration="V2") for n in range(2)]
        self.assertEqual(lab.run("PUT", lab.nic_id(name), NETWORK, lab.nic_body())[0], "Succeeded")
        return lab.run("PUT", lab.vm_id(name), COMPUTE, lab.vm_body(disks, [lab.nic_id(name)]))

    def power(self, lab, name):
        return lab.call("GET", lab.vm_id(name) + "/instanceView", COMPUTE)[2]["statuses"][1]["code"]

    def wait(self, what):
        end = time.monotonic() + 60
        while not what():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)

    def test_boot(self):
        lab = Lab()
        command = lab.path / "boot"
        command.write_text(BOOT)
        command.chmod(0o755)
        lab.options = ("--boot", str(command))
        with lab:
            for name in ("vm-0", "vm-1", "ends-0", "ends-1"):
                (lab.disks / f"{name}.raw").write_bytes(name.encode())
            self.assertEqual(self.make(lab, "vm")[0], "Succeeded")
            folder = lab.path / "run/vms/vm"
            self.wait(lambda: (folder / "screen.png").exists())
            self.assertEqual((folder / "arguments").read_text().split(),
                             ["vm", "V2", *(str(lab.disks / f"vm-{n}.raw") for n in range(2))])
            addresses = lab.call("POST", lab.vm_id("vm") + "/retrieveBootDiagnosticsData", COMPUTE)[2]
            self.assertIn(hashlib.sha256(b"vm-0").hexdigest().encode(),
                          lab.send("GET", addresses["serialConsoleLogBlobUri"])[2])
            self.assertEqual(lab.send("GET", addresses["consoleScreenshotBlobUri"])[2], b"\x89PNG")
            self.assertEqual(self.power(lab, "vm"), "PowerState/running")
            self.assertEqual(lab.run("POST", lab.vm_id("vm") + "/powerOff", COMPUTE)[0], "Succeeded")
            self.assertTrue((folder / "stopped").exists())
            self.assertEqual(self.make(lab, "ends")[0], "Succeeded")
            self.wait(lambda: self.power(lab, "ends") == "PowerState/stopped")
            self.assertEqual(lab.run("POST", lab.vm_id("vm") + "/start", COMPUTE)[0], "Succeeded")
            self.wait(lambda: self.power(lab, "vm") == "PowerState/running")
        self.assertFalse(pathlib.Path(folder).exists())


class Configuration(unittest.TestCase):
    def test_refused(self):
        """What is not known is said at the start, not met later."""
        for config, word in (({"ports": 1}, "ports"), ({"networks": [{"prefix": "10.0.0.0/16"}]}, "'name' is missing"),
                             ({"networks": [{"name": "v", "subnets": [{"name": "s", "prefix": "10.9.0.0/24"}]}]},
                              "not inside"),
                             ({"boot": "/bin/true", "disks_dir": None}, "boot needs"),
                             ({"certificate": "x"}, "belong together"),
                             ({"managed_account": {"name": "a", "endpoint": "https://127.0.0.1:1"}},
                              "key or key_file")):
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / "config.json"
                path.write_text(json.dumps(config))
                run = subprocess.run([SIM / "kedge-azure-sim", "--config", path, "--run-dir", folder],
                                     capture_output=True, text=True,
                                     check=False)
                self.assertEqual(run.returncode, 2, run.stderr)
                self.assertIn(word, run.stderr)


if __name__ == "__main__":
    unittest.main()
