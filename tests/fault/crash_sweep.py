#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Visits every named fault point with a crash and with an error, then kills at random.

For each point: a fresh machine and daemon; the whole job is run with the point armed; whatever happens,
the daemon is started again without it, the job is finished, and
  - replica and source are equal, compared by qemu-img,
  - nothing is left over: segments, temporary files, exports, scratch files, bitmaps,
  - the point was reached (a point that nothing reaches fails the sweep).

  crash_sweep.py [--quick] [--only NAME] [--kills N] BUILD
--quick: for CI: each point once with a crash, errors for one visit, few random kills."""
import argparse
import pathlib
import re
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from lab import Failed, Lab, MARKER  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
POINTS = re.findall(r"^X\((\w+)\)", (ROOT / "src/base/fault_points.def").read_text(), re.M)
# Only between two daemons: tests/flow/remote_applier.py visits them.
POINTS = [point for point in POINTS if not point.startswith("ORDER_")]
# Needs a test VM or a migration to be reached; the others are reached by cycles alone.
LONG = ("TARGET_",)


def steps(lab, long):
    """(name, is it done already?, do it). Each may be asked again after a crash."""
    def machine():
        return {m["name"]: m for m in lab.json("list")["machines"]}.get("m1")

    def sources():
        return [s["name"] for s in lab.json("source", "list")["sources"]]

    def targets():
        return [t["name"] for t in lab.json("target", "list")["targets"]]

    def has_recovery_point():
        m = machine()
        return m is not None and m["recovery_point"] is not None

    def replicate():
        if machine() is None:
            lab.kedge("replicate", "lab", "m1", "--target", "here")
        until = time.monotonic() + 60
        while not has_recovery_point():
            if time.monotonic() > until:
                raise Failed(f"no recovery point: {machine()}")
            time.sleep(0.1)

    yield ("source add", lambda: "lab" in sources(), lambda: lab.kedge(
        "source", "add", "lab", "qemu", "--qmp", f"{lab.dir}/vm/kedge.qmp", "--scratch-dir",
        f"{lab.dir}/vm"))
    yield ("target add", lambda: "here" in targets(), lambda: lab.kedge(
        "target", "add", "here", "local", "--dir", f"{lab.dir}/replicas", "--accel", "tcg"))
    yield ("replicate", has_recovery_point, replicate)
    for _ in range(2):
        lab.guest_writes()
        yield ("sync", lambda: False, lambda: lab.kedge("sync", "m1"))
    if long:
        def tests():
            return [t["name"] for t in machine()["tests"]]
        yield ("test-migrate", lambda: bool(tests()), lambda: lab.kedge(
            "test-migrate", "m1", "--marker", MARKER, "--boot-deadline", "60s"))
        lab.guest_writes()
        yield ("sync", lambda: False, lambda: lab.kedge("sync", "m1"))
        yield ("test-cleanup", lambda: not tests(), lambda: lab.kedge("test-cleanup", "m1"))
    yield ("keys rotate", lambda: False, lambda: lab.kedge("keys", "rotate"))
    yield ("verify", lambda: False, lambda: lab.kedge("verify", "m1"))


def migrate_steps(lab):
    def machine():
        return {m["name"]: m for m in lab.json("list")["machines"]}.get("m1")

    yield ("migrate", lambda: machine()["vm"] is not None, lambda: lab.kedge(
        "migrate", "m1", "--no-shutdown", "--marker", MARKER, "--boot-deadline", "60s"))
    yield ("complete", lambda: machine() is None, lambda: lab.kedge("complete", "m1"))


def attempt(lab, name, done, act):
    """Does the step; a crash of the daemon or an error means: start again, ask again."""
    for tries in range(6):
        if not lab.is_up():
            lab.start_kedged()
        try:
            if tries and done():
                return
            act()
            return
        except Failed as why:
            last = why
            time.sleep(0.3 if lab.is_up() else 0)
    raise Failed(f"step '{name}': {last}")


def run_point(folder, build, point, action, visit, visits):
    lab = Lab(folder, build)
    try:
        lab.init()
        lab.start_kedged(f"{point}={action}@{visit}", visits)
        long = point.startswith(LONG)
        for step in steps(lab, long):
            attempt(lab, *step)
        lab.check_equal()
        lab.check_no_orphans()
        if long:
            for step in migrate_steps(lab):
                attempt(lab, *step)
    except Exception as why:
        tail = (lab.dir / "kedged.log").read_text(errors="replace").splitlines()[-12:]
        raise Failed(f"{point}={action}@{visit}: {why}\n  " + "\n  ".join(tail)) from why
    finally:
        lab.close()


def random_kills(folder, build, count, seed):
    """kill -9 at random instants under load; after each restart the next sync must work."""
    lab = Lab(folder, build, seed=seed)
    killed = 0
    try:
        lab.init()
        lab.start_kedged()
        for step in list_until_sync(lab):
            attempt(lab, *step)
        for i in range(count):
            lab.guest_writes(4)
            lab.kedge("sync", "m1", "--no-wait", check=False)
            time.sleep(lab.random.random() * 0.35)
            lab.kill_kedged()
            killed += 1
            lab.start_kedged()
            if i % 5 == 4:
                attempt(lab, "sync", lambda: False, lambda: lab.kedge("sync", "m1"))
                lab.check_equal()
                lab.check_no_orphans()
        attempt(lab, "verify", lambda: False, lambda: lab.kedge("verify", "m1"))
        lab.check_equal()
        lab.check_no_orphans()
    except Exception as why:
        tail = (lab.dir / "kedged.log").read_text(errors="replace").splitlines()[-12:]
        raise Failed(f"after {killed} kills, seed {seed}: {why}\n  " + "\n  ".join(tail)) from why
    finally:
        lab.close()


def list_until_sync(lab):
    for step in steps(lab, False):
        if step[0] == "sync":
            return
        yield step


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--kills", type=int)
    options = parser.parse_args()
    failures = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kedge-sweep-", dir="/var/tmp") as top:
        visits = pathlib.Path(top) / "visits"
        plan = [(p, a, v) for p in POINTS for a, v in (
            [("crash", 1), ("error", 1)] if options.quick
            else [("crash", 1), ("crash", 2), ("error", 1), ("error", 2)])]
        for point, action, visit in plan:
            if options.only and options.only != point:
                continue
            try:
                run_point(pathlib.Path(top) / "lab", options.build, point, action, visit, visits)
                print(f"ok      {point}={action}@{visit}", flush=True)
            except Failed as why:
                failures.append(str(why))
                print(f"FAILED  {why}", flush=True)
        reached = set(visits.read_text().split()) if visits.exists() else set()
        missed = [p for p in POINTS if p not in reached and not options.only]
        if missed:
            failures.append(f"points that nothing reached: {' '.join(missed)}")
            print(f"FAILED  {failures[-1]}", flush=True)
        kills = options.kills if options.kills is not None else (10 if options.quick else 200)
        if kills and not options.only:
            try:
                random_kills(pathlib.Path(top) / "lab", options.build, kills, int(started * 1000))
                print(f"ok      {kills} random kills", flush=True)
            except Failed as why:
                failures.append(str(why))
                print(f"FAILED  {why}", flush=True)
    print(f"{len(failures)} failures, {time.monotonic() - started:.0f} s")
    sys.exit(1 if failures else 0)


main()
