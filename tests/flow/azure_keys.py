#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Master keys in a (simulated) Azure Key Vault under a real kedged: an RSA key that wraps, a secret that is fetched, and the move
from a file to a vault. A disk image is replicated; master keys are rotated while a cycle runs, old versions are disabled, the vault
goes away, kedged is killed: the next cycle is fine each time, and source and replica are equal. No guest is needed."""
import argparse
import filecmp
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "sim"))
try:
    import cryptography  # noqa: F401 - the simulator's, for RSA keys
except ImportError:
    print("skipped: python3-cryptography is not installed")
    sys.exit(77)
import azure_lab  # noqa: E402

MIB = 1 << 20
PATIENCE_S = 60


class Failed(Exception):
    pass


class Kedge:
    """One installation below a folder, with one machine from a disk image."""

    def __init__(self, folder, build, seed):
        self.dir, self.build, self.daemon = folder, build, None
        folder.mkdir()
        self.image, self.random = folder / "disk.img", random.Random(seed)
        self.image.write_bytes(self.random.randbytes(6 * MIB) + bytes(6 * MIB))
        self.config, self.log = folder / "k" / "kedge.conf", open(folder / "kedged.log", "ab")
        self.replicas = folder / "replicas"
        self.replicas.mkdir()

    def kedge(self, *words, check=True):
        run = subprocess.run([self.build / "src/cli/kedge", *words], capture_output=True, text=True, timeout=150,
                             env={**os.environ, "KEDGE_CONFIG": str(self.config)})
        if check and run.returncode:
            raise Failed(f"kedge {' '.join(map(str, words))}: {run.returncode}: {run.stderr}{run.stdout}")
        return run

    def json(self, *words):
        return json.loads(self.kedge(*words, "--json").stdout)

    def set(self, **options):
        lines = [line for line in self.config.read_text().splitlines() if line.split("=")[0].strip() not in options]
        self.config.write_text("\n".join(lines + [f"{key} = {value}" for key, value in options.items()]) + "\n")

    def start(self):
        self.daemon = subprocess.Popen([self.build / "src/daemon/kedged", "--config", self.config], stdin=subprocess.DEVNULL,
                                       stdout=self.log, stderr=self.log)
        until = time.monotonic() + PATIENCE_S
        while self.kedge("status", check=False).returncode:
            if self.daemon.poll() is not None or time.monotonic() > until:
                raise Failed("kedged did not come up: " + (self.dir / "kedged.log").read_text()[-2000:])
            time.sleep(0.05)

    def stop(self, sig=signal.SIGTERM):
        if self.daemon and self.daemon.poll() is None:
            self.daemon.send_signal(sig)
            self.daemon.wait(PATIENCE_S)

    def restart(self, sig=signal.SIGTERM):
        self.stop(sig)
        self.start()

    def add_machine(self):
        self.kedge("source", "add", "src", "image", "--path", self.image)
        self.kedge("target", "add", "dst", "local", "--dir", self.replicas)
        self.kedge("replicate", "src", "src")

    def write(self):
        with open(self.image, "r+b") as file:
            for _ in range(4):
                file.seek(self.random.randrange(0, 11 * MIB))
                file.write(self.random.randbytes(self.random.randrange(1, 200000)))

    def sync(self):
        """A cycle that carries something, and the proof."""
        self.write()
        self.kedge("sync", "src")
        replica, = self.replicas.glob("*/disk0.*")
        if not filecmp.cmp(self.image, replica, shallow=False):
            raise Failed("source and replica differ")

    def masters(self):
        view = self.json("keys", "status")
        return view, {m["master"]: m for m in view["masters"]}

    def expect(self, what, condition):
        if not condition:
            raise Failed(f"{what}: {json.dumps(self.masters()[0], indent=1)}")


class Vault:
    """The simulator's, as its owner sees it."""

    def __init__(self, lab, folder):
        self.lab, self.url = lab, lab.url
        self.token = lab.get_token(scope="https://vault.azure.net/.default")
        secret = folder / "client-secret"
        secret.write_text(pathlib.Path(lab.ready["secret_file"]).read_text())
        secret.chmod(0o600)
        self.credential = folder / "vault.json"
        self.credential.write_text(json.dumps({"kind": "client-secret", "tenant": lab.ready["tenant"], "client": lab.ready["client"],
                                               "secret_file": str(secret), "authority": lab.url,
                                               "ca_file": lab.ready["certificate"]}))

    def ask(self, method, path, body=None):
        status, _, answer = self.lab.send(method, f"{self.url}{path}?api-version=7.5", body, {"Authorization": "Bearer " + self.token})
        if status != 200:
            raise Failed(f"{method} {path}: {answer}")
        return answer

    def disable(self, kind, name, version):
        self.ask("PATCH", f"/{kind}/{name}/{version}", {"attributes": {"enabled": False}})


def a_key_of_the_vault(folder, build, lab):
    vault, here = Vault(lab, folder), Kedge(folder / "key", build, 1)
    first = urllib.parse.urlsplit(vault.ask("POST", "/keys/master/create", {"kty": "RSA", "key_size": 2048})["key"]["kid"]).path.split("/")[-1]
    here.kedge("init", here.dir / "k")
    (here.dir / "k/data/master.key").unlink()
    here.set(keys=f"vault:{vault.url}/keys/master", keys_credential=vault.credential)
    here.start()
    here.add_machine()
    here.sync()
    here.expect("one machine under the first version", here.masters()[1][f"vault-key:{first}"]["machines"] == 1)

    # Rotated while a cycle runs, and by the vault itself; each version opens what it wrapped.
    here.write()
    job = subprocess.Popen([build / "src/cli/kedge", "sync", "src"], env={**os.environ, "KEDGE_CONFIG": str(here.config)},
                           stdout=here.log, stderr=here.log)
    rotated = here.json("keys", "rotate")
    if job.wait(PATIENCE_S) or rotated["rewrapped"] != 1:
        raise Failed(f"the cycle beside the rotation: {rotated}")
    here.sync()
    vault.ask("POST", "/keys/master/rotate")
    here.expect("the vault's own rotation is seen", here.masters()[0]["pending"] == 1)
    here.restart()
    here.sync()
    here.kedge("keys", "rewrap")
    view, masters = here.masters()
    here.expect("all under the newest", view["pending"] == 0 and len(masters) == 3)
    for name, master in masters.items():
        if not master["current"]:
            here.expect("old versions wrap nothing", master["machines"] == 0)
            vault.disable("keys", "master", name.split(":")[1])
    here.restart(signal.SIGKILL)
    here.sync()

    # An outage: what is in use goes on; after a restart it waits, and says for what.
    lab.fault("http.503", path="^/(keys|secrets)")
    here.sync()
    here.restart()
    run = here.kedge("keys", "status", check=False)
    if run.returncode == 0 or "503" not in run.stderr:
        raise Failed(f"the outage is not told: {run.stdout}{run.stderr}")
    lab.control("DELETE", "/faults")
    here.sync()

    # Taken away: told as such, and given back.
    lab.control("POST", "/vault/policies", {"client": lab.ready["client"], "keys": ["get", "list"]})
    here.restart()
    here.write()
    run = here.kedge("sync", "src", check=False)
    if run.returncode == 0 or "Key Vault Crypto User" not in run.stderr + run.stdout:
        raise Failed(f"no permission is not told: {run.stdout}{run.stderr}")
    lab.control("POST", "/vault/policies", {"client": lab.ready["client"], "keys": ["get", "list", "wrapKey", "unwrapKey", "rotate"],
                                            "secrets": ["get", "list", "set"]})
    here.sync()
    return here


def from_a_file_to_a_secret(folder, build, lab):
    vault, here = Vault(lab, folder), Kedge(folder / "secret", build, 2)
    passphrase = folder / "passphrase"
    passphrase.write_text("a passphrase of the test\n")
    passphrase.chmod(0o600)
    here.kedge("init", here.dir / "k", "--passphrase", passphrase)
    key_file = here.dir / "k/data/master.key"
    if not key_file.read_text().startswith("kedge-master-key-2 scrypt "):
        raise Failed("the key is not wrapped with the passphrase")
    here.start()
    here.add_machine()
    here.sync()
    here.kedge("keys", "rotate")
    here.sync()
    here.stop()
    here.set(keys=f"vault:{vault.url}/secrets/kedge-master", keys_credential=vault.credential)
    here.start()
    here.sync()
    run = here.kedge("keys", "status", check=False)
    if run.returncode == 0 or "kedge keys rotate" not in run.stderr:
        raise Failed(f"a secret that is not there: {run.stdout}{run.stderr}")
    here.kedge("keys", "rotate")
    view, _ = here.masters()
    here.expect("moved to the vault", view["kind"] == "vault-secret" and view["pending"] == 0)
    here.stop()
    key_file.unlink()
    here.start()
    here.sync()
    first = view["masters"][0]["master"].split(":")[1]
    here.kedge("keys", "rotate")
    vault.disable("secrets", "kedge-master", first)
    here.restart(signal.SIGKILL)
    here.sync()
    events = [json.loads(line)["event"] for line in here.kedge("events", "--last", "200", "--json").stdout.splitlines()]
    if events.count("keys_rotated") != 3:
        raise Failed(f"rotations among the events: {events}")
    return here


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="kedge-keys-", dir="/var/tmp"))
    started, status = [], 1
    build = options.build.resolve()
    try:
        with azure_lab.Lab({"key_vaults": [{"name": "kv1"}]}) as lab:
            try:
                for part in (a_key_of_the_vault, from_a_file_to_a_secret):
                    started.append(part(folder, build, lab))
                    started[-1].stop()
                    print(f"ok      {part.__name__.replace('_', ' ')}", flush=True)
            finally:
                for log in folder.glob("*/kedged.log"):
                    if any(text in log.read_text() for text in ("a passphrase of the test", "kedge-sim-secret")):
                        raise Failed(f"{log.parent.name}: a secret is in the log")
        status = 0
    except Failed as why:
        print(f"FAILED  {why}")
        for log in folder.glob("*/kedged.log"):
            print(f"--- {log}\n" + "\n".join(log.read_text().splitlines()[-15:]))
    finally:
        for here in started:
            here.stop(signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(status)


main()
