# SPDX-License-Identifier: Apache-2.0
"""A laboratory of vSphere: the simulator of sim/, whose guests are written to through its control port, a
kedged with its own folders, and the command line. What must hold after a cycle is asked of both ends: the
replica against the content that the snapshot froze, and that nothing of ours is left at the source."""
import argparse
import base64
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "fault"))
import lab  # noqa: E402

Failed = lab.Failed
SECTOR = 512


class VsphereLab(lab.Lab):
    """config: of the simulator. options: of the source, beside where the simulator is."""

    def __init__(self, folder, build, config, options=None, seed=1):
        super().__init__(folder, build, disks={"none": 1}, seed=seed)
        self.config = config
        self.options = {"transports": ["nfc"], "end_deadline_ms": 4000,
                        "snapshot_deadline_ms": 8000, **(options or {})}
        self.sim = None

    # ---- the simulator ----

    def start_sim(self):
        config = self.dir / "sim.json"
        config.write_text(json.dumps(self.config))
        ready = self.dir / "sim" / "ready.json"
        ready.unlink(missing_ok=True)
        self.sim = subprocess.Popen([ROOT / "sim" / "kedge-vsphere-sim", "--config", config,
                                     "--run-dir", self.dir / "sim"],
                                    stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.ready = self.retry(lambda: json.loads(ready.read_text()), 20)

    def ask(self, path, body=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.ready["control"] + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                kind = answer.headers.get("Content-Type", "")
                raw = answer.read()
        except urllib.error.HTTPError as error:
            raise Failed(f"simulator {path}: {error.code} {error.read().decode()}") from error
        return json.loads(raw) if "json" in kind else raw

    def do(self, action, vm=None, **more):
        body = {"action": action, **more}
        if vm:
            body["vm"] = vm
        return self.ask("/do", body)

    def fault(self, name, **parameters):
        self.ask("/faults", {"name": name, "on": True, **parameters})

    def no_faults(self):
        self.ask("/faults", method="DELETE")

    def struck(self, name):
        return {fault["name"]: fault["struck"] for fault in self.ask("/faults")}[name]

    def vm(self, name):
        return self.ask(f"/vm?vm={urllib.request.quote(name)}")

    def snapshots(self, name):
        return [s["name"] for s in self.vm(name)["snapshots"]]

    def write(self, name, disk, offset, data):
        self.ask("/write", {"vm": name, "disk": disk, "writes": [
            {"offset": offset, "base64": base64.b64encode(data).decode()}]})

    def random_writes(self, name, count=20, **more):
        self.ask("/random_writes", {"vm": name, "count": count,
                                    "seed": self.random.randrange(1 << 30), **more})

    def content(self, name, disk, snapshot=None):
        query = f"/content?vm={urllib.request.quote(name)}&disk={disk}"
        return self.ask(query + (f"&snapshot={snapshot}" if snapshot else ""))

    def sha256(self, name, disk, snapshot=None):
        query = f"/sha256?vm={urllib.request.quote(name)}&disk={disk}"
        return self.ask(query + (f"&snapshot={snapshot}" if snapshot else ""))["sha256"]

    # ---- Kedge ----

    def init(self):
        self.start_sim()
        self.kedge("init", str(self.dir / "k"))

    def settings(self, **values):
        """Into the configuration of kedged; before it is started."""
        path = self.dir / "k" / "kedge.conf"
        lines = [line for line in path.read_text().splitlines()
                 if line.split("=")[0].strip() not in values]
        path.write_text("\n".join(lines + [f"{k} = {v}" for k, v in values.items()]) + "\n")

    def add_ends(self, **more):
        self.add_source("vc", **more)
        self.kedge("target", "add", "here", "local", "--dir", str(self.dir / "replicas"))

    def add_source(self, name, check=True, **more):
        """Through the API: all options, also those that the command line does not have."""
        options = {"url": self.ready["url"], "user": self.ready["username"],
                   "password_file": self.ready["password_file"],
                   "fingerprint": self.ready["sha256"], "datastore_floor": 0,
                   **self.options, **more}
        return self.api("POST", "/v1/sources",
                        {"name": name, "kind": "vsphere", "options": options}, check)

    def api(self, method, path, body=None, check=True):
        argv = ["curl", "-s", "--unix-socket", self.dir / "k" / "run" / "kedged.sock", "-X", method,
                "-H", "Content-Type: application/json", f"http://kedge{path}"]
        if body is not None:
            argv += ["-d", json.dumps(body)]
        run = subprocess.run(argv, capture_output=True, check=True)
        answer = json.loads(run.stdout or b"{}")
        if check and "error" in answer:
            raise Failed(f"{method} {path}: {answer['error']['text']}")
        return answer

    def replica_of(self, machine, index):
        return self.dir / "replicas" / machine / f"disk{index}.raw"

    def status(self, machine):
        return self.json("status", machine)

    def last_cycle(self, machine):
        return self.status(machine)["last_cycles"][0]

    def events(self, name=None):
        found, since = [], 0
        while True:
            page = self.api("GET", f"/v1/events?since={since}&limit=1000")
            if not page["events"]:
                return [e for e in found if name is None or e["event"] == name]
            found, since = found + page["events"], page["next"]

    def replicate(self, vm, auto_repair=True, source="vc"):
        """Initial cycle and the delta that follows by itself; nothing runs afterwards."""
        extra = ["--auto-repair"] if auto_repair else []
        self.kedge("replicate", source, vm, "--target", "here", *extra)
        self.settle(vm, cycles=2)

    def settle(self, machine, cycles=0, seconds=60):
        def is_idle():
            status = self.status(machine)
            done = [c for c in status["last_cycles"] if c["state"] == "applied"]
            return not status["job"] and not status["cycle"] and len(done) >= cycles
        wait_until(is_idle, seconds, f"'{machine}' comes to rest")

    def sync(self, machine, check=True):
        return self.kedge("sync", machine, check=check)

    # ---- what must hold ----

    def check_equal(self, vm, machine=None):
        """Nobody writes now: the replica is the guest's disk."""
        for index, disk in enumerate(self.vm(vm)["disks"]):
            path = self.replica_of(machine or vm, index)
            have = hashlib.sha256(path.read_bytes()).hexdigest()
            if have != self.sha256(vm, disk["key"]):
                raise Failed(f"disk {index} of '{vm}' differs{self.first_difference(vm, disk['key'], path)}")

    def first_difference(self, vm, disk, path):
        want, have = self.content(vm, disk), path.read_bytes()
        if len(want) != len(have):
            return f": {len(want)} bytes at the source, {len(have)} in the replica"
        for at in range(0, len(want), SECTOR):
            if want[at:at + SECTOR] != have[at:at + SECTOR]:
                return f" at byte {at}"
        return ""

    def check_clean(self, vm):
        """No snapshot of ours, nothing to consolidate, no connection left."""
        state = self.vm(vm)
        ours = [s["name"] for s in state["snapshots"] if s["name"].startswith("kedge-")]
        if ours:
            raise Failed(f"snapshots left on '{vm}': {ours}")
        if state["consolidation_needed"]:
            raise Failed(f"'{vm}' needs consolidation")
        links = [d["key"] for d in state["disks"] if len(d["links"]) != 1]
        if links and not state["snapshots"]:
            raise Failed(f"'{vm}' still runs on delta links: disks {links}")

    def close(self):
        self.kill_kedged()
        if self.sim:
            self.sim.terminate()
            self.sim.wait(20)
        subprocess.run(["pkill", "-KILL", "-f", f"qemu-.*{self.dir}/"], check=False)
        self.log.close()

    def remove(self):
        self.close()
        shutil.rmtree(self.dir, ignore_errors=True)


def wait_until(condition, seconds, what):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise Failed(f"waited {seconds} s in vain: {what}")
        time.sleep(0.05)


def build_dir(argument):
    return pathlib.Path(os.path.realpath(argument))


# ---- cases ----

# Sources beside "vc" that cases replicate from.
SOURCES = {"quiet": {"quiesce": True}, "guarded": {"datastore_floor": 100 << 20},
           "brute": {"power_off": True}}
GATEWAY = "gateway"  # the machine that kedged runs in, for hotadd
READER, ATTACHER = 1, 2  # in ready["accounts"]: may only read; may not attach a disk to GATEWAY


def must(condition, text):
    if not condition:
        raise Failed(text)


def has(text, *words):
    for word in words:
        must(word in text, f"'{word}' is not named in: {text}")


def good(t, vm):
    """With the fault gone a cycle works, nothing is left."""
    t.no_faults()
    t.sync(vm)
    t.settle(vm)
    t.check_equal(vm)
    t.check_clean(vm)


def last_event(t):
    return max(e["id"] for e in t.events())


def disks(*mib):
    return [{"size_mib": m, "fill_mib": max(1, m // 2), "fill_seed": m} for m in mib]


class Cases(list):
    """(name, the machine's definition in the simulator, function of the lab and the machine's name): each
    case has a machine of its own, named for it."""

    def case(self, **vm):
        def take(function):
            self.add(function.__name__, function, **vm)
            return function
        return take

    def add(self, name, function, **vm):
        self.append((name, vm, function))


def config_of(cases, folder):
    vms = [{"name": machine_of(name), "disks": disks(8, 4), **vm} for name, vm, _ in cases]
    vms.append({"name": GATEWAY, "disks": disks(2)})
    for vm in vms:
        for disk in vm["disks"]:
            disk.setdefault("datastore", vm.get("datastore", "datastore1"))
        vm.setdefault("host", "esx-01.lab")
    return {"hotadd_dir": f"{folder}/devices", "accounts": [
        {"username": "administrator@vsphere.local", "password": "Kedge-sim-1!", "privileges": "all"},
        {"username": "reader@vsphere.local", "password": "p&<ä'\" 1", "privileges": "readonly"},
        {"username": "attacher@vsphere.local", "password": "Kedge-sim-2!", "privileges": "all",
         "deny_on": {GATEWAY: ["VirtualMachine.Config.AddExistingDisk"]}}],
        "datacenters": [{
            "name": "DC0", "datastores": [{"name": "datastore1"}, {"name": "store2"},
                                          {"name": "small", "capacity_gib": 1}, {"name": "fake"}],
            "clusters": [{"name": "C1", "hosts": [{"name": "esx-01.lab"}, {"name": "esx-02.lab"}]}],
            "vms": vms}]}


def machine_of(case_name):
    return case_name.replace("_", "-")[:60]


def run_case(t, name, function):
    """None, or what went wrong, printed."""
    began = time.monotonic()
    try:
        t.no_faults()
        function(t, machine_of(name))
        print(f"ok      {name}  {time.monotonic() - began:.1f} s", flush=True)
        return None
    except Exception as error:  # the others still run
        print(f"FAILED  {name}: {error}", flush=True)
        if not isinstance(error, Failed):
            traceback.print_exc()
        t.kedge("throttle", "0", check=False)
        t.no_faults()
        return error


def run_cases(every):
    """The program of a file of cases; see its head."""
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=build_dir)
    parser.add_argument("--only", default="", help="cases whose name holds this; several with commas")
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    cases = [c for c in every if any(part in c[0] for part in args.only.split(","))]
    folder = tempfile.mkdtemp(prefix="kedge-vsphere-", dir="/var/tmp")
    t = VsphereLab(folder, args.build, config_of(cases, folder))
    os.chdir(t.dir)
    failed = []
    try:
        t.init()
        t.settings(tracking_check=1000000, listen="none", log_level="debug")
        t.start_kedged()
        t.add_ends()
        for name, options in SOURCES.items():
            t.add_source(name, **options)
        failed = [name for name, _, function in cases if run_case(t, name, function)]
    except BaseException:
        failed.append("the laboratory")
        raise
    finally:
        t.close()
        if args.keep or failed:
            print(f"everything is in {t.dir}")
        else:
            shutil.rmtree(t.dir, ignore_errors=True)
    print(f"{len(cases) - len(failed)} passed, {len(failed)} failed")
    sys.exit(1 if failed or not cases else 0)
