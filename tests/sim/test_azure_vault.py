#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Simulated key vault: what it gives and refuses; the vendor's own clients against it; and our client's requests and the vault's
answers against the published specification (prism between the two, and prism's mock instead of the vault).

The path of the program vault_calls is the argument. KEDGE_AZURE_SPEC names the folder of the specifications, KEDGE_PRISM,
KEDGE_KEYVAULT_SECRETS and KEDGE_KEYVAULT_KEYS the npm packages; without them those parts are skipped, and it says so."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import unittest
import urllib.parse

try:
    import cryptography  # noqa: F401 - the simulator's, for RSA keys
except ImportError:
    print("skipped: python3-cryptography is not installed")
    sys.exit(77)
from azure_lab import START_S, Lab, free_port

HERE = pathlib.Path(__file__).resolve().parent
CALLS = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else ""
SPECIFICATION = pathlib.Path(os.environ.get("KEDGE_AZURE_SPEC", "/nowhere")) / "keyvault/data-plane/Microsoft.KeyVault/stable/7.5"
PRISM = pathlib.Path(os.environ.get("KEDGE_PRISM", "/nowhere")) / "dist/index.js"
SDKS = [os.environ.get(name, "/nowhere") for name in ("KEDGE_KEYVAULT_SECRETS", "KEDGE_KEYVAULT_KEYS")]
CLIENTS = [{"id": "kedge", "secret": "s"}, {"id": "reader", "secret": "r"}]
READER = {"secrets": ["get"], "keys": ["get", "unwrapKey"]}


class Vault(unittest.TestCase):
    tls = True

    def setUp(self):
        self.lab = Lab({"clients": CLIENTS, "tls": self.tls, "key_vaults": [{"name": "kv1", "page": 3}]})
        self.lab.__enter__()
        self.addCleanup(self.lab.__exit__, None, None, None)
        self.tokens = {client["id"]: self.lab.get_token(client["id"], client["secret"], "https://vault.azure.net/.default")
                       for client in CLIENTS}

    def ask(self, method, path, body=None, who="kedge", version="7.5"):
        url = self.lab.url + path + ("&" if "?" in path else "?") + "api-version=" + version
        return self.lab.send(method, url, body, {"Authorization": "Bearer " + self.tokens[who]})

    def good(self, *arguments, **more):
        status, _, answer = self.ask(*arguments, **more)
        self.assertIn(status, (200, 204), answer)
        return answer

    def refused(self, status, code, *arguments, inner=None, **more):
        got, headers, answer = self.ask(*arguments, **more)
        self.assertEqual((got, answer["error"]["code"]), (status, code), answer)
        if inner:
            self.assertEqual(answer["error"]["innererror"]["code"], inner)
        return headers


class Model(Vault):
    def test_secrets(self):
        ids = [self.good("PUT", "/secrets/s", {"value": f"v{i}"})["id"] for i in range(5)]
        self.assertEqual(self.good("GET", "/secrets/s")["value"], "v4")
        self.assertEqual(self.good("GET", "/secrets/s/")["value"], "v4")
        self.assertEqual(self.good("GET", urllib.parse.urlsplit(ids[1]).path)["value"], "v1")
        found, path = [], "/secrets/s/versions"
        while path:
            page = self.good("GET", path) if path.startswith("/secrets/s/versions") and "?" not in path else \
                self.lab.send("GET", path, None, {"Authorization": "Bearer " + self.tokens["kedge"]})[2]
            self.assertLessEqual(len(page["value"]), 3)
            self.assertTrue(all("value" not in item for item in page["value"]))
            found += [item["id"] for item in page["value"]]
            path = page.get("nextLink")
        self.assertEqual(sorted(found), sorted(ids))
        self.refused(404, "SecretNotFound", "GET", "/secrets/other")
        self.refused(404, "SecretNotFound", "GET", "/secrets/s/0123")
        self.refused(400, "BadParameter", "PUT", "/secrets/s", {"value": "x" * 26000})
        self.refused(400, "BadParameter", "PUT", "/secrets/s", {})
        self.refused(400, "InvalidApiVersionParameter", "GET", "/secrets/s", version="1.0")
        where = urllib.parse.urlsplit(ids[4]).path
        self.good("PATCH", where, {"attributes": {"enabled": False}})
        self.refused(403, "Forbidden", "GET", "/secrets/s", inner="SecretDisabled")
        self.good("PATCH", where, {"attributes": {"enabled": True, "exp": 1}})
        self.refused(403, "Forbidden", "GET", "/secrets/s", inner="ForbiddenByPolicy")

    def test_soft_delete(self):
        self.good("PUT", "/secrets/s", {"value": "v"})
        self.good("DELETE", "/secrets/s")
        self.refused(404, "SecretNotFound", "GET", "/secrets/s")
        self.refused(409, "Conflict", "PUT", "/secrets/s", {"value": "w"}, inner="ObjectIsDeletedButRecoverable")
        self.good("POST", "/deletedsecrets/s/recover")
        self.assertEqual(self.good("GET", "/secrets/s")["value"], "v")
        self.good("DELETE", "/secrets/s")
        self.good("DELETE", "/deletedsecrets/s")
        self.refused(404, "SecretNotFound", "POST", "/deletedsecrets/s/recover")
        self.good("PUT", "/secrets/s", {"value": "w"})

    def test_keys(self):
        first = self.good("POST", "/keys/k/create", {"kty": "RSA", "key_size": 2048})["key"]
        old = urllib.parse.urlsplit(first["kid"]).path
        wrapped = self.good("POST", old + "/wrapkey", {"alg": "RSA-OAEP-256", "value": "AAECAwQ"})["value"]
        self.assertEqual(len(wrapped), 342)
        new = urllib.parse.urlsplit(self.good("POST", "/keys/k/rotate")["key"]["kid"]).path
        self.assertEqual(self.good("POST", old + "/unwrapkey", {"alg": "RSA-OAEP-256", "value": wrapped})["value"], "AAECAwQ")
        self.refused(400, "BadParameter", "POST", new + "/unwrapkey", {"alg": "RSA-OAEP-256", "value": wrapped})
        self.refused(400, "BadParameter", "POST", old + "/unwrapkey", {"alg": "RSA-OAEP", "value": wrapped})
        self.refused(400, "BadParameter", "POST", old + "/wrapkey", {"alg": "A256KW", "value": "AAEC"})
        self.refused(400, "BadParameter", "POST", old + "/wrapkey", {"alg": "RSA-OAEP-256", "value": "***"})
        self.good("PATCH", old, {"attributes": {"enabled": False}})
        self.refused(403, "Forbidden", "POST", old + "/unwrapkey", {"alg": "RSA-OAEP-256", "value": wrapped}, inner="KeyDisabled")

    def test_who_may(self):
        self.good("PUT", "/secrets/s", {"value": "v"})
        self.lab.control("POST", "/vault/policies", {"client": "reader", **READER})
        self.assertEqual(self.good("GET", "/secrets/s", who="reader")["value"], "v")
        self.refused(403, "Forbidden", "PUT", "/secrets/s", {"value": "w"}, who="reader", inner="AccessDenied")
        self.refused(403, "Forbidden", "GET", "/secrets/s/versions", who="reader", inner="AccessDenied")
        self.tokens["arm"] = self.lab.get_token("kedge", "s")
        headers = self.refused(401, "Unauthorized", "GET", "/secrets/s", who="arm")
        self.assertIn('resource="https://vault.azure.net"', headers["WWW-Authenticate"])


class Program:
    """Our client on a vault."""

    def credential(self):
        path = self.lab.path / "credential.json"
        secret = self.lab.path / "client-secret"
        secret.write_text("s\n")
        secret.chmod(0o600)
        path.write_text(json.dumps({"kind": "client-secret", "tenant": self.lab.ready["tenant"], "client": "kedge",
                                    "secret_file": str(secret), "authority": self.lab.url,
                                    **({"ca_file": self.lab.ready["certificate"]} if self.tls else {})}))
        return path

    def run_calls(self, url, kind, name, *more):
        run = subprocess.run([CALLS, self.credential(), url, kind, name, *more], capture_output=True, text=True, timeout=120)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)


class Clients(Vault, Program):
    def test_ours(self):
        if not CALLS:
            self.skipTest("vault_calls is not named")
        self.good("POST", "/keys/k/create", {"kty": "RSA", "key_size": 3072})
        self.run_calls(self.lab.url, "secrets", "ours")
        self.run_calls(self.lab.url, "keys", "k")

    def test_the_vendors(self):
        if not all(pathlib.Path(folder, "package.json").exists() for folder in SDKS):
            self.skipTest("KEDGE_KEYVAULT_SECRETS and KEDGE_KEYVAULT_KEYS name no packages")
        token = self.lab.path / "token"
        token.write_text(self.tokens["kedge"])
        run = subprocess.run(["node", HERE / "vault_sdk.mjs", *SDKS, self.lab.url, token], capture_output=True, text=True, timeout=120,
                             env={**os.environ, "NODE_EXTRA_CA_CERTS": self.lab.ready["certificate"]})
        self.assertEqual((run.returncode, run.stdout.strip()), (0, "ok"), run.stdout + run.stderr)


class Contract(Vault, Program):
    tls = False

    def prism(self, *arguments):
        port, log = free_port(), self.lab.path / "prism.log"
        with open(log, "wb") as out:
            process = subprocess.Popen(["node", PRISM, *arguments[:1], "-h", "127.0.0.1", "-p", str(port), "--errors", *arguments[1:]],
                                       stdout=out, stderr=out)

        def stop():
            process.terminate()
            process.wait(START_S)
        self.addCleanup(stop)
        end = time.monotonic() + 2 * START_S
        while b"is listening" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("prism did not start: " + log.read_text())
            time.sleep(0.1)
        return f"http://127.0.0.1:{port}"

    def specification(self):
        """Secrets and keys in one document, so that one process serves; an empty version in a path ("the newest") is said by the
        specification in words only, so it gets a path of its own."""
        merged = {}
        for kind in ("secrets", "keys"):
            document = json.loads((SPECIFICATION / f"{kind}.json").read_text(encoding="utf-8-sig").replace('"#/definitions/', f'"{kind}.json#/definitions/')
                                  .replace('"common.json', '"./common.json'))
            merged = merged or {**document, "paths": {}, "definitions": {}}
            for path, operations in document["paths"].items():
                for operation in operations.values():
                    operation.pop("x-ms-examples", None)        # files of their own
                merged["paths"][path] = operations
                get = operations.get("get")
                if path.endswith("-version}") and get:
                    newest = {**get, "operationId": get["operationId"] + "Newest",
                              "parameters": [p for p in get["parameters"] if not p.get("name", "").endswith("-version")]}
                    merged["paths"][path.rsplit("/", 1)[0] + "/"] = {"get": newest}
        folder = self.lab.path / "specification"
        shutil.copytree(SPECIFICATION, folder)
        for file in folder.glob("*.json"):
            if file.name in ("secrets.json", "keys.json"):
                document = json.loads(file.read_text(encoding="utf-8-sig"))
                file.write_text(json.dumps({**document, "paths": {}}))
        (folder / "merged.json").write_text(json.dumps(merged))
        return folder / "merged.json"

    def test_contract(self):
        if not CALLS or not SPECIFICATION.is_dir() or not PRISM.exists():
            self.skipTest("KEDGE_AZURE_SPEC names no specification, KEDGE_PRISM no package, or vault_calls is not named")
        self.good("POST", "/keys/k/create", {"kty": "RSA", "key_size": 2048})
        file = self.specification()
        proxy = self.prism("proxy", file, self.lab.url)
        self.run_calls(proxy, "secrets", "ours")
        self.run_calls(proxy, "keys", "k")
        # What prism refuses is refused: the proof that it looks.
        status, _, answer = self.lab.send("POST", proxy + "/keys/k/0123/wrapkey?api-version=7.5", {"alg": "NONE", "value": "AAEC"},
                                          {"Authorization": "Bearer " + self.tokens["kedge"]})
        self.assertEqual(status, 422, answer)

    def test_mock(self):
        if not CALLS or not SPECIFICATION.is_dir() or not PRISM.exists():
            self.skipTest("KEDGE_AZURE_SPEC names no specification, KEDGE_PRISM no package, or vault_calls is not named")
        mock = self.prism("mock", self.specification())
        self.run_calls(mock, "secrets", "ours", "loose")
        self.run_calls(mock, "keys", "k", "loose")


if __name__ == "__main__":
    unittest.main()
