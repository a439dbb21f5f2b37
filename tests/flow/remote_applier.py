#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two daemons: one with vault and gateway, one with only the applier role, which writes the replica. They meet
in two containers of the storage service's emulator, and nowhere else: the folder of the replica cannot be seen
by the first one (a mount namespace hides it), and counters in front of its log container show that no
replication data comes back to it. Initial cycle, deltas, each of the two killed at each point of an order and in
the middle of a cycle, an applier that is silent, a job that is canceled while it is.

    tests/flow/remote_applier.py BUILD [--keep]

KEDGE_AZURITE names the folder of the npm package azurite; without it the test is skipped."""
import argparse
import base64
import json
import os
import pathlib
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

MIB = 1 << 20
DISK_MIB = 48
VAULT_POINTS = ("ORDER_BEFORE_PUT", "ORDER_AFTER_PUT", "ORDER_AFTER_RESULT")
APPLIER_POINTS = ("ORDER_BEFORE_WORK", "APPLY_AFTER_INTENT", "APPLY_IN_WRITE", "ORDER_BEFORE_REPLY",
                  "ORDER_AFTER_REPLY")


class Failed(Exception):
    pass


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def wait_until(condition, what, seconds=90):
    until = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > until:
            raise Failed(f"waited {seconds} s: {what}")
        time.sleep(0.1)
    return value


class Counter:
    """A relay that counts what goes each way; TLS passes through it as it is."""

    def __init__(self, port):
        self.to_port, self.sent, self.received = port, 0, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.relay, args=(near,), daemon=True).start()

    def relay(self, near):
        with near:
            try:
                with socket.create_connection(("127.0.0.1", self.to_port)) as far:
                    while True:
                        for ready in select.select([near, far], [], [])[0]:
                            data = ready.recv(1 << 16)
                            if not data:
                                return
                            if ready is near:
                                self.sent += len(data)
                                far.sendall(data)
                            else:
                                self.received += len(data)
                                near.sendall(data)
            except OSError:
                return


class Daemon:
    def __init__(self, lab, name, hidden=None):
        self.lab, self.name, self.hidden, self.process = lab, name, hidden, None
        self.dir = lab.dir / name
        self.config = self.dir / "kedge.conf"

    def init(self, log, state, **settings):
        self.lab.run([self.lab.kedge_path, "init", self.dir])
        lines = [line for line in self.config.read_text().splitlines()
                 if not line.lstrip("# ").startswith(("log_store", "state_store", *settings))]
        for key, counter, place in (("log_store", log, "logs"), ("state_store", state, "states")):
            lines += [f"{key} = blob:https://127.0.0.1:{counter.port}/lsakedge/{place}",
                      f"{key}_credential = {self.lab.dir}/access.json"]
        lines += [f"{key} = {value}" for key, value in settings.items()]
        self.config.write_text("\n".join(lines) + "\n")

    def start(self, faults=None, wait=True):
        env = dict(os.environ, **({"FAULTS": faults} if faults else {}))
        argv = [str(self.lab.build / "src/daemon/kedged"), "--config", str(self.config)]
        if self.hidden:
            argv = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(self.hidden), *argv]
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen(argv, env=env, stdout=log, stderr=log, cwd="/")
        if wait:
            wait_until(self.answers, f"{self.name} comes up")

    def answers(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended: {self.tail()}")
        return self.kedge("status" if self.name == "vault" else "applier", "--json", check=False) is not None

    def tail(self):
        return (self.dir / "log").read_text(errors="replace")[-1500:]

    def kedge(self, *argv, check=True):
        run = subprocess.run([self.lab.kedge_path, "--config", self.config, *argv], capture_output=True, text=True,
                             timeout=300)
        if run.returncode == 0:
            return run.stdout
        if check:
            raise Failed(f"kedge {' '.join(map(str, argv))}: {run.stderr.strip()}")
        return None

    def json(self, *argv):
        return json.loads(self.kedge(*argv, "--json"))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def wait_for_crash(self):
        wait_until(lambda: self.process.poll() is not None, f"{self.name} crashes at its point")
        if self.process.returncode != 137:
            raise Failed(f"{self.name} ended with {self.process.returncode}: {self.tail()}")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
                raise Failed(f"{self.name} did not stop") from None


class Lab:
    def __init__(self, build, folder):
        self.build, self.dir = pathlib.Path(build), pathlib.Path(folder)
        self.kedge_path = str(self.build / "src/cli/kedge")
        self.random = random.Random(7)
        self.image = self.dir / "m1.raw"
        self.azurite = None
        self.replicas = self.dir / "east-disks"

    def run(self, argv, **more):
        subprocess.run([str(a) for a in argv], check=True, stdout=subprocess.DEVNULL, **more)

    def start_azurite(self):
        main = pathlib.Path(os.environ["KEDGE_AZURITE"]) / "dist/src/blob/main.js"
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.dir / "tls.key", "-out",
                  self.dir / "tls.pem", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
                  "subjectAltName=IP:127.0.0.1"], stderr=subprocess.DEVNULL)
        key = base64.b64encode(os.urandom(64)).decode()
        (self.dir / "account.key").touch(mode=0o600)
        (self.dir / "account.key").write_text(key)
        (self.dir / "access.json").write_text(json.dumps(
            {"kind": "shared-key", "key_file": f"{self.dir}/account.key", "ca_file": f"{self.dir}/tls.pem"}))
        with open(self.dir / "azurite.log", "wb") as log:
            self.azurite = subprocess.Popen(
                ["node", str(main), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--cert",
                 str(self.dir / "tls.pem"), "--key", str(self.dir / "tls.key"), "--location",
                 str(self.dir / "azurite"), "--silent", "--disableTelemetry", "--skipApiVersionCheck"],
                env=dict(os.environ, AZURITE_ACCOUNTS=f"lsakedge:{key}"), stdout=log, stderr=log)
        wait_until(lambda: "successfully listens" in (self.dir / "azurite.log").read_text(), "azurite listens")
        return port

    def set_up(self):
        port = self.start_azurite()
        self.vault_log, self.vault_state, self.applier_log, self.applier_state = (Counter(port) for _ in range(4))
        self.replicas.mkdir()
        self.vault = Daemon(self, "vault", hidden=self.replicas)
        self.applier = Daemon(self, "applier")
        self.vault.init(self.vault_log, self.vault_state, applier_lost="2s", tracking_check=0, delta_min="9h")
        self.applier.init(self.applier_log, self.applier_state, roles="applier", applier_name="east",
                          applier_lease="3s")
        shutil.copy(self.vault.dir / "data/master.key", self.applier.dir / "data/master.key")
        with open(self.image, "wb") as f:
            f.truncate(DISK_MIB * MIB)
        self.write(0, 24 * MIB)

    def write(self, at, size):
        with open(self.image, "r+b") as f:
            f.seek(at)
            f.write(self.random.randbytes(size))

    def churn(self):
        for _ in range(6):
            self.write(self.random.randrange(DISK_MIB * 4 - 4) * (MIB // 4), self.random.randrange(1, 2 * MIB // 4))

    def machine(self):
        return self.vault.json("status", "m1")

    def replica(self):
        return self.replicas / "m1/disk0.raw"

    def check_equal(self):
        run = subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "raw", self.image, self.replica()],
                             capture_output=True, text=True)
        if run.returncode:
            raise Failed(f"source and replica differ: {run.stdout}{run.stderr}")

    def sync(self):
        self.vault.kedge("sync", "m1")
        self.check_equal()

    def settle(self):
        wait_until(lambda: (m := self.machine())["job"] is None and m["cycle"] is None, "nothing runs any more")

    def events(self, name):
        lines = self.vault.kedge("events", "--last", "200", "--json").splitlines()
        return [e for e in map(json.loads, lines) if e["event"] == name]

    def tear_down(self):
        for daemon in (getattr(self, "vault", None), getattr(self, "applier", None)):
            if daemon and daemon.process and daemon.process.poll() is None:
                daemon.process.send_signal(signal.SIGCONT)
                daemon.kill()
        if self.azurite:
            self.azurite.kill()
            self.azurite.wait()


BEGAN = time.monotonic()


def say(text):
    print(f"== {time.monotonic() - BEGAN:5.1f} s  {text}", flush=True)


def first_cycles(lab):
    say("a target at the applier")
    lab.vault.start()
    lab.vault.kedge("source", "add", "lab", "image", "--path", lab.image)
    lab.applier.start()
    lab.vault.kedge("target", "add", "cloud", "local", "--dir", lab.replicas, "--applier", "east")
    target = lab.vault.json("target", "list")["targets"][0]
    if target["applier"]["name"] != "east" or target["applier"]["state"] != "working":
        raise Failed(f"target list: {target}")

    say("initial cycle and deltas")
    lab.vault.kedge("replicate", "lab", "lab", "--target", "cloud", "--name", "m1")
    lab.settle()
    lab.check_equal()
    for _ in range(2):
        lab.churn()
        lab.sync()
    back, fetched = lab.vault_log.received, lab.applier_log.received
    if back > 2 * MIB or fetched < 24 * MIB:
        raise Failed(f"{back} bytes of the log container came to the vault, {fetched} to the applier")
    if os.listdir(f"/proc/{lab.vault.process.pid}/root{lab.replicas}") or not os.listdir(lab.replicas):
        raise Failed("the vault can see the replica's folder")
    if lab.machine()["applier"]["state"] != "working":
        raise Failed("status does not show the applier")
    refused = lab.vault.kedge("verify", "m1", check=False)
    if refused is not None:
        raise Failed("verify compared what it cannot read")
    lab.settle()


def crashes(lab):
    for daemon, points in ((lab.applier, APPLIER_POINTS), (lab.vault, VAULT_POINTS)):
        for point in points:
            say(f"{daemon.name} crashes at {point}")
            lab.churn()
            daemon.stop()
            daemon.start(faults=f"{point}=crash@1")
            # The vault may be gone before it answers.
            lab.vault.kedge("sync", "m1", "--no-wait", check=daemon is lab.applier)
            daemon.wait_for_crash()
            daemon.start()
            lab.settle()
            lab.check_equal()


def kills(lab):
    say("both killed in the middle of cycles")
    for i in range(2):
        lab.churn()
        lab.vault.kedge("sync", "m1", "--no-wait", check=False)  # refused while an earlier one goes on
        time.sleep(0.3 + 0.4 * i)
        lab.vault.kill()
        lab.applier.kill()
        lab.vault.start()
        lab.applier.start()
    lab.settle()
    lab.sync()


def silence(lab):
    say("an applier that is silent: told, waited for, the job canceled")
    before = len(lab.events("applier_lost"))
    lab.churn()
    lab.applier.process.send_signal(signal.SIGSTOP)
    lab.vault.kedge("sync", "m1", "--no-wait")
    job = wait_until(lambda: lab.machine()["job"], "the job runs")["id"]
    wait_until(lambda: len(lab.events("applier_lost")) > before, "an event tells of the lost applier")
    if lab.machine()["applier"]["state"] != "lost" or not lab.machine()["job"]:
        raise Failed(f"the job does not wait for the applier: {lab.machine()}")
    lab.vault.kedge("job", str(job), "--cancel")
    wait_until(lambda: lab.vault.json("job", str(job))["state"] == "canceled", "the job is canceled")
    lab.applier.process.send_signal(signal.SIGCONT)
    wait_until(lambda: lab.machine()["applier"]["state"] == "working", "the applier is back")
    wait_until(lambda: lab.events("applier_back"), "an event tells of it")
    lab.settle()
    lab.sync()


def the_end(lab):
    say("stopped: nothing of the machine is left")
    lab.vault.kedge("stop", "m1")
    if list(lab.replicas.glob("m1/disk*")):
        raise Failed("the replica is still there")
    lab.vault.stop()
    lab.applier.stop()
    names = subprocess.run(
        [sys.executable, str(pathlib.Path(__file__).parent / "blob_names.py"),
         f"https://127.0.0.1:{lab.applier_state.to_port}/lsakedge", lab.dir / "account.key", lab.dir / "tls.pem",
         "states"], check=True, capture_output=True, text=True).stdout.split()
    if names != ["orders/east/key"]:
        raise Failed(f"left in the state container: {names}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--keep", action="store_true", help="do not remove the folder")
    options = parser.parse_args()
    if not (pathlib.Path(os.environ.get("KEDGE_AZURITE", "/")) / "dist/src/blob/main.js").is_file():
        skip("KEDGE_AZURITE names no azurite package")
    if not shutil.which("qemu-img"):
        skip("there is no qemu-img")
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode:
        skip("no mount namespace can be made here")
    folder = tempfile.mkdtemp(prefix="kedge-applier-", dir="/var/tmp")
    lab = Lab(pathlib.Path(options.build).resolve(), folder)
    has_faults = b"ORDER_BEFORE_WORK" in (lab.build / "src/daemon/kedged").read_bytes()
    try:
        lab.set_up()
        first_cycles(lab)
        if has_faults:
            crashes(lab)
        else:
            say("built without fault points: no crashes at them")
        kills(lab)
        silence(lab)
        the_end(lab)
        say("ok")
    except Failed as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        for daemon in (lab.vault, lab.applier):
            print(f"--- {daemon.name}\n{daemon.tail()}", file=sys.stderr)
        return 1
    finally:
        lab.tear_down()
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
