#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills the daemon at every fault point of every kind of job.

For each kind of job: one run tells which points it reaches. Then, for each of them, the daemon is started
with the point armed to end it (as kill -9 would), the job is asked for, the daemon is started again
without the point, and
  - the job ends: done, or rolled back with a reason after which asking again does it;
  - the catalog keeps its rules (catalog_check.py), and nothing is left over;
  - where there is a replica, it equals its source.

  job_sweep.py [--quick] [--sample N] [--seed S] [--only OPERATION] [--point NAME] BUILD
--quick: the points of jobs, catalog and target only; the others are crash_sweep's, too.
--sample: so many for each kind of job, drawn by the seed, which is printed. CI does both."""
import argparse
import pathlib
import random
import re
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import catalog_check  # noqa: E402
from lab import Failed, Lab, MARKER, Qmp  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
POINTS = re.findall(r"^X\((\w+)\)", (ROOT / "src/base/fault_points.def").read_text(), re.M)
QUICK = ("VAULT_", "TARGET_", "CATALOG_")
# A job commits several times, and so does the start: some visits beyond the last one do nothing.
MANY = {"CATALOG_BEFORE_COMMIT": (3, 5, 2, 4, 6, 8, 10, 13),
        "CATALOG_AFTER_COMMIT": (4, 6, 2, 3, 5, 8, 10, 13),
        "VAULT_BEFORE_STEP": (1, 2, 3, 4), "VAULT_AFTER_STEP": (1, 2, 3, 4),
        "FILE_BEFORE_RENAME": (1, 3), "STORE_BEFORE_PUT": (1, 3), "STORE_AFTER_PUT": (1, 3)}
BOOT = ("--marker", MARKER, "--boot-deadline", "60s")


class Bench:
    """One lab that every job is tried in, again and again."""

    def __init__(self, folder, build):
        self.lab = Lab(folder, build)
        self.lab.init()
        self.lab.start_kedged()
        self.lab.kedge("source", "add", "lab", "qemu", "--qmp", f"{self.lab.dir}/vm/kedge.qmp",
                       "--scratch-dir", f"{self.lab.dir}/vm")
        self.lab.kedge("target", "add", "here", "local", "--dir", f"{self.lab.dir}/replicas",
                       "--accel", "tcg")

    def machine(self):
        return {m["name"]: m for m in self.lab.json("list")["machines"]}.get("m1")

    def tests(self):
        return [t["name"] for t in self.machine()["tests"]]

    def settle(self):
        """Until no job is active and no cycle runs."""
        until = time.monotonic() + 60
        while True:
            active = [j for j in self.lab.json("jobs", "--limit", "20")["jobs"]
                      if j["state"] in ("queued", "running")]
            machine = self.machine()
            if not active and (machine is None or machine["cycle"] is None):
                return
            if time.monotonic() > until:
                raise Failed(f"never at rest: jobs {active}, machine {machine}")
            time.sleep(0.05)

    # ---- what comes before the job, what it is, when it is done ----

    def replicated(self):
        if self.machine() is None:
            self.lab.kedge("replicate", "lab", "m1", "--target", "here")

    def gone(self):
        machine = self.machine()
        if machine is None:
            return
        if machine["state"] == "migrated":
            self.completed()
        else:
            self.lab.kedge("stop", "m1")

    def paused(self):
        self.replicated()
        if self.machine()["state"] != "paused":
            self.lab.kedge("pause", "m1")

    def running(self):
        self.replicated()
        if self.machine()["state"] == "paused":
            self.lab.kedge("resume", "m1")
        if self.tests():
            self.lab.kedge("test-cleanup", "m1")

    def tested(self):
        self.running()
        self.lab.kedge("test-migrate", "m1", *BOOT)

    def migrated(self):
        self.running()
        self.lab.guest_writes(4)
        self.lab.kedge("migrate", "m1", "--no-shutdown", *BOOT)

    def completed(self):
        """The VM that a migration left goes, too: the next round begins anew."""
        machine = self.machine()
        if machine is not None:
            self.lab.kedge("complete", "m1")

    def clear_target(self):
        folder = self.lab.dir / "replicas" / "m1"
        for path in folder.rglob("*.sock") if folder.is_dir() else ():
            try:
                qmp = Qmp(path)
                qmp.call("quit")
                qmp.close()
            except (OSError, Failed, ValueError):
                pass
        shutil.rmtree(folder, ignore_errors=True)

    JOBS = {
        # operation: (before, command, is it done?)
        "replicate": ("gone", ("replicate", "lab", "m1", "--target", "here"),
                      lambda b: b.machine() is not None and b.machine()["recovery_point"]),
        "sync": ("running", ("sync", "m1"), lambda b: False),
        "verify": ("running", ("verify", "m1"), lambda b: False),
        "resync": ("running", ("resync", "m1"), lambda b: False),
        "pause": ("running", ("pause", "m1"), lambda b: b.machine()["state"] == "paused"),
        "resume": ("paused", ("resume", "m1"), lambda b: b.machine()["state"] == "delta-sync"),
        "test-migrate": ("running", ("test-migrate", "m1", *BOOT), lambda b: bool(b.tests())),
        "test-cleanup": ("tested", ("test-cleanup", "m1"), lambda b: not b.tests()),
        "stop": ("running", ("stop", "m1"), lambda b: b.machine() is None),
        "migrate": ("running", ("migrate", "m1", "--no-shutdown", *BOOT),
                    lambda b: b.machine()["vm"] is not None),
        "complete": ("migrated", ("complete", "m1"), lambda b: b.machine() is None),
    }

    def prepare(self, operation):
        before = self.JOBS[operation][0]
        if before != "gone" and (self.machine() is None
                                 or self.machine()["state"] == "migrated"):
            if self.machine() is not None:
                self.completed()
            self.clear_target()
        getattr(self, before)()
        if before == "gone":
            self.clear_target()
        else:
            self.lab.guest_writes(4)
        self.settle()

    def run(self, operation):
        """Asks until it is done; the daemon may die meanwhile."""
        _, command, is_done = self.JOBS[operation]
        last = None
        for tries in range(5):
            if not self.lab.is_up():
                self.lab.start_kedged()
            try:
                if tries:
                    self.settle()
                    if is_done(self):
                        return
                self.lab.kedge(*command)
                return
            except Failed as why:
                last = why
                time.sleep(0.2)
        raise Failed(f"{operation}: {last}")

    def check(self, operation):
        if not self.lab.is_up():
            self.lab.start_kedged()
        self.settle()
        self.lab.kill_kedged(sig=15)
        catalog_check.check(self.lab.dir / "k" / "data" / "catalog.db",
                            self.lab.dir / "replicas")
        self.lab.start_kedged()
        self.settle()
        orphans = self.lab.json("orphans", "list")["orphans"]
        if orphans:
            raise Failed(f"left over: {orphans}")
        machine = self.machine()
        if machine is None:
            return
        if machine["state"] == "delta-sync" and operation not in ("pause", "migrate"):
            self.lab.kedge("sync", "m1")
            if not machine["tests"]:
                self.lab.check_equal()
        self.settle()

    def try_point(self, operation, point, visit):
        self.prepare(operation)
        self.lab.kill_kedged(sig=15)
        self.lab.start_kedged(f"{point}=crash@{visit}")
        self.run(operation)
        self.lab.kill_kedged(sig=15)  # a point that was not reached is disarmed
        self.lab.start_kedged()
        self.settle()
        self.check(operation)

    def reached(self, operation):
        self.prepare(operation)
        visits = self.lab.dir / "visits"
        visits.unlink(missing_ok=True)
        self.lab.kill_kedged(sig=15)
        self.lab.start_kedged(visits=visits)
        self.run(operation)
        self.settle()
        found = set(visits.read_text().split())
        self.lab.kill_kedged(sig=15)
        self.lab.start_kedged()
        self.check(operation)
        return [p for p in POINTS if p in found]


def trials(points, options, rng):
    """(point, visit) to try, in the order in which a job reaches them."""
    found = []
    for point in points:
        if options.point and options.point != point:
            continue
        if options.quick and not options.point and not point.startswith(QUICK):
            continue
        visits = MANY.get(point, (1,))
        found += [(point, visit) for visit in (visits[:2] if options.quick else visits)]
    if options.sample and options.sample < len(found):
        drawn = set(rng.sample(range(len(found)), options.sample))
        found = [trial for i, trial in enumerate(found) if i in drawn]
    return found


def sweep(folder, options):
    failures, tried, rng = [], 0, random.Random(options.seed)
    bench = Bench(folder, options.build)
    try:
        for operation in Bench.JOBS:
            if options.only and options.only != operation:
                continue
            for point, visit in trials(bench.reached(operation), options, rng):
                tried += 1
                try:
                    bench.try_point(operation, point, visit)
                    print(f"ok      {operation} {point}@{visit}", flush=True)
                except (Failed, catalog_check.Broken) as why:
                    tail = (bench.lab.dir / "kedged.log").read_text(errors="replace")
                    failures.append(f"{operation} {point}@{visit}: {why}")
                    print(f"FAILED  {failures[-1]}\n  "
                          + "\n  ".join(tail.splitlines()[-12:]), flush=True)
                    bench.lab.close()
                    bench = Bench(folder, options.build)
    finally:
        bench.lab.close()
    return failures, tried


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--only")
    parser.add_argument("--point")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kedge-jobs-", dir="/var/tmp") as top:
        failures, tried = sweep(pathlib.Path(top) / "lab", options)
    print(f"{tried} crashes, {len(failures)} failures, {time.monotonic() - started:.0f} s")
    sys.exit(1 if failures or not tried else 0)


main()
