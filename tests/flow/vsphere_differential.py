#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Short cycles without end: random guest writes before and during each, random faults of the simulator,
kedged killed now and then; after every cycle that was applied the replica is, byte for byte, what the guest
had when the cycle's snapshot was made, and nothing of ours is left at the source.

    tests/flow/vsphere_differential.py BUILD [--cycles 150] [--seed N] [--machines 2] [--keep]

A run is repeated by its seed as far as threads allow. With --cycles 5000 it takes hours."""
import argparse
import hashlib
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from vsphere_lab import Failed, VsphereLab, build_dir, wait_until  # noqa: E402

# name, parameters; each strikes at most a few times, so that a cycle comes through. Lies of change
# tracking are not here: they are found by samples, and one that was not hit is no failure.
FAULTS = [
    ("cbt.empty_pages", {}), ("cbt.small_pages", {"areas": 2}), ("cbt.past_capacity", {}),
    ("cbt.overlap", {}), ("cbt.unsorted", {}), ("cbt.truncate", {"count": 1}),
    ("cbt.file_fault", {"count": 1}), ("cbt.start_offset_fault", {"count": 1}),
    ("snapshot.create_fails", {"count": 1, "fault": "TaskInProgress"}),
    ("snapshot.create_fails", {"count": 1, "fault": "FileFault"}),
    ("snapshot.no_change_id", {"count": 1}), ("snapshot.remove_fails", {"count": 1}),
    ("snapshot.leaves_consolidation", {"count": 1}), ("consolidate.fails", {"count": 1}),
    ("soap.session_expired", {"count": 1, "after": 4}), ("soap.503", {"count": 2}),
    ("soap.cut", {"count": 1, "after": 3}), ("soap.slow", {"count": 3, "ms": 100}),
    ("nfc.cut", {"count": 3, "after_bytes": 200000}),
    ("nfc.cut", {"count": 2, "after_bytes": 70000, "where": "header"}),
    ("nfc.out_of_memory", {"count": 2}), ("nfc.bad_magic", {"count": 1, "after": 4}),
    ("nfc.duplicate_fragment", {"count": 1}), ("nfc.length_overflow", {"count": 1}),
    ("nfc.foreign_opid", {"count": 1}), ("nfc.unknown_type", {"count": 1}),
    ("nfc.error_mid_read", {"count": 1}), ("nfc.zero_fragment", {"count": 1}),
    ("nfc.bad_packed", {"count": 1}), ("nfc.slow", {"count": 10, "ms": 20}),
    ("authd.busy", {"count": 1}), ("authd.expired_ticket", {"count": 1}),
    ("authd.wrong_thumbprint", {"count": 1}), ("authd.tls2_other_certificate", {"count": 1}),
]
ACTIONS = ["reset_cbt", "disable_cbt", "vmotion", "storage_vmotion", "resize_disk", "power_failure",
           "expire_sessions", "vcenter_restart", "cut_nfc", "expire_tickets"]


class Machine:
    """One VM and what is done to it; a thread of its own."""

    def __init__(self, lab, name, seed, deadline):
        self.lab, self.name, self.deadline = lab, name, deadline
        self.random = random.Random(seed)
        self.cycles = self.compared = self.failed = self.kinds = 0
        self.kinds = {}
        self.error = None
        self.grown = 0

    def act(self, action):
        if action == "vmotion":
            self.lab.do("vmotion", self.name, host=self.random.choice(["esx-01.lab", "esx-02.lab"]))
        elif action == "storage_vmotion":
            self.lab.do("storage_vmotion", self.name,
                        datastore=self.random.choice(["datastore1", "store2"]))
        elif action == "resize_disk":
            if self.grown < 5:
                self.grown += 1
                self.lab.do("resize_disk", self.name, disk=2001,
                            size_bytes=(4 + self.grown) * (1 << 20) + 512)
        elif action == "power_failure":
            self.lab.do("power_failure", self.name)
            self.lab.do("power_on", self.name)
        elif action in ("expire_sessions", "vcenter_restart", "cut_nfc", "expire_tickets"):
            self.lab.do(action)
        else:
            self.lab.do(action, self.name)

    def trouble(self):
        if self.random.random() < 0.6:
            name, parameters = self.random.choice(FAULTS)
            more = {} if name.startswith("soap") else {"vm": self.name}
            self.lab.fault(name, **parameters, **more)
        if self.random.random() < 0.25:
            try:
                self.act(self.random.choice(ACTIONS[:6]))
            except Failed as error:  # the machine is busy with a task of ours
                if "409" not in str(error) and "400" not in str(error):
                    raise

    def frozen(self):
        return [hashlib.sha256(self.lab.content(self.name, d["key"])).hexdigest()
                for d in self.lab.vm(self.name)["disks"]]

    def run_cycle(self):
        lab, rng = self.lab, self.random
        lab.random_writes(self.name, rng.randrange(0, 40), max_bytes=rng.choice([512, 8192, 262144]))
        self.trouble()
        want = self.frozen()
        before = {c["number"] for c in lab.status(self.name)["last_cycles"]}
        lab.kedge("sync", self.name, "--no-wait")
        names = set()
        disturb = rng.random() < 0.3
        wait_until(lambda: names.update(n for n in lab.snapshots(self.name) if "-enables" not in n)
                   or names or not lab.status(self.name)["job"], 60, "a snapshot is made")
        lab.random_writes(self.name, 10)  # none of these may be in the replica
        if disturb and names:
            self.act(rng.choice(ACTIONS[6:]))
        lab.settle(self.name, seconds=120)
        done = [c for c in lab.status(self.name)["last_cycles"] if c["number"] not in before]
        self.cycles += 1
        # With one cycle row, its snapshot was made before the writes: what is wanted is known.
        if len(done) == 1 and done[0]["state"] == "applied" and len(names) == 1:
            self.kinds[done[0]["kind"]] = self.kinds.get(done[0]["kind"], 0) + 1
            self.compare(want)
        else:
            self.failed += 1
            self.heal()

    def compare(self, want):
        for index, digest in enumerate(want):
            path = self.lab.replica_of(self.name, index)
            if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                raise Failed(f"'{self.name}': disk {index} is not what the snapshot held; "
                             f"cycle {self.lab.last_cycle(self.name)}")
        self.compared += 1

    def heal(self):
        """Whatever happened, a quiet cycle brings the guest's disks as they are."""
        for _ in range(3):
            self.lab.ask("/faults", method="DELETE")
            is_broken = self.lab.status(self.name)["status"] == "Repair pending"
            run = self.lab.kedge("resync" if is_broken else "sync", self.name, check=False)
            self.lab.settle(self.name, seconds=120)
            if run.returncode == 0:
                break
        self.lab.check_equal(self.name)
        self.lab.check_clean(self.name)

    def main(self, cycles):
        try:
            self.lab.kedge("replicate", "vc", self.name, "--target", "here", "--auto-repair")
            self.lab.settle(self.name, cycles=2)
            while self.cycles < cycles and time.monotonic() < self.deadline:
                self.run_cycle()
            self.heal()
        except Exception as error:  # told by the main thread
            self.error = error


def config_of(count):
    vms = [{"name": f"vm{i}", "host": "esx-01.lab", "datastore": "datastore1",
            "disks": [{"size_mib": 8, "fill_mib": 3, "fill_seed": i}, {"size_mib": 4, "fill_mib": 2}]}
           for i in range(count)]
    return {"datacenters": [{
        "name": "DC0", "datastores": [{"name": "datastore1"}, {"name": "store2"}],
        "clusters": [{"name": "C1", "hosts": [{"name": "esx-01.lab"}, {"name": "esx-02.lab"}]}],
        "vms": vms}]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=build_dir)
    parser.add_argument("--cycles", type=int, default=150, help="in all")
    parser.add_argument("--seconds", type=int, default=100000, help="at most")
    parser.add_argument("--machines", type=int, default=2)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    lab = VsphereLab(tempfile.mkdtemp(prefix="kedge-vsphere-", dir="/var/tmp"), args.build,
                     config_of(args.machines), seed=args.seed)
    began, failed = time.monotonic(), True
    machines = [Machine(lab, f"vm{i}", args.seed + i, began + args.seconds)
                for i in range(args.machines)]
    try:
        lab.init()
        lab.settings(tracking_check=1000000)
        lab.start_kedged()
        lab.add_ends()
        threads = [threading.Thread(target=m.main, args=(args.cycles // args.machines,))
                   for m in machines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for m in machines:
            print(f"{m.name}: {m.cycles} cycles, {m.compared} compared with their snapshot, "
                  f"{m.failed} disturbed and healed, kinds {m.kinds}")
            if m.error:
                print(f"FAILED {m.name}: {m.error!r}")
        struck = sum(f["struck"] for f in lab.ask("/faults"))
        print(f"{struck} faults struck in {time.monotonic() - began:.0f} s")
        failed = any(m.error for m in machines) or not all(m.compared for m in machines)
    finally:
        lab.close()
        if failed or args.keep:
            print(f"everything is in {lab.dir}")
        else:
            shutil.rmtree(lab.dir, ignore_errors=True)
    sys.exit(1 if failed else 0)


main()
