#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pulls the plug, many times. A whole job is recorded once: init, initial cycle, cycles with changes, a
grown disk. Then its files are made as they may be after a power cut at some instant (replay.py says by which
rules), and kedged is started on them:
  - what a command had reported as done is still so: sources, targets, machines, recovery points;
  - a replica whose state says "recovery point N" and nothing else holds exactly the disks of cycle N;
  - the next cycle works, after it the replica equals the source, and nothing is left over.

  power_cut.py [--cuts N] [--seed S] [--at RECORD MODE] BUILD

Everything below the lab's folder is on the disk that loses power: configuration, keys, catalog, both stores,
hash maps, replica. The source's disks are not."""
import argparse
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from lab import Failed, Lab  # noqa: E402
from replay import Disk, read_log  # noqa: E402

KIB, MIB = 1 << 10, 1 << 20
CONFLICT = 6  # exit code
SIZES = [3 * MIB, 2 * MIB]


class Images:
    """The source: two raw disks outside of the lab; versions are kept."""

    def __init__(self, folder, seed):
        self.paths = [folder / f"image{i}.raw" for i in range(len(SIZES))]
        self.random = random.Random(seed)
        self.now = []
        for size in SIZES:
            data = bytearray(size)
            for at in range(0, size, 512 * KIB):
                data[at:at + 200 * KIB] = self.random.randbytes(200 * KIB)
            self.now.append(data)
        self.put()

    def put(self):
        for path, data in zip(self.paths, self.now):
            path.write_bytes(data)

    def copy(self):
        return [bytes(data) for data in self.now]

    def change(self):
        for data in self.now:
            for _ in range(6):
                length = self.random.randrange(1, 100) * 512
                at = self.random.randrange((len(data) - length) // 512) * 512
                zero = self.random.random() < 0.3
                data[at:at + length] = bytes(length) if zero else self.random.randbytes(length)
        self.put()

    def grow(self):
        self.now[1].extend(self.random.randbytes(256 * KIB))
        self.put()


class Job:
    """What is done, and what must hold once it was reported."""

    def __init__(self, lab, images):
        self.lab, self.images = lab, images

    def machine(self):
        return {m["name"]: m for m in self.lab.json("list")["machines"]}.get("m1")

    def point(self):
        machine = self.machine()
        at = machine and machine["recovery_point"]
        return at["cycle"] if at else 0

    def names(self, what):
        return [end["name"] for end in self.lab.json(what, "list")[what + "s"]]

    def prepare(self):
        if "src" not in self.names("source"):
            paths = [arg for path in self.images.paths for arg in ("--path", str(path))]
            self.lab.kedge("source", "add", "src", "image", *paths)
        if "here" not in self.names("target"):
            self.lab.kedge("target", "add", "here", "local", "--dir", f"{self.lab.dir}/replicas",
                           "--accel", "tcg")

    def replicate(self):
        if self.machine() is None:
            name = self.lab.json("discover")["machines"][0]["name"]
            self.lab.kedge("replicate", "src", name, "--name", "m1", "--target", "here")
        until = time.monotonic() + 60
        while self.point() == 0:
            if time.monotonic() > until:
                raise Failed(f"no recovery point: {self.machine()}")
            time.sleep(0.02)

    def replica(self):
        found = []
        for i in range(len(SIZES)):
            found += sorted((self.lab.dir / "replicas").glob(f"*/disk{i}.raw"))
        return [path.read_bytes() for path in found]


class Recording:
    def __init__(self, top, build, seed):
        self.lab = Lab(top / "lab", build)
        self.lab.log.close()
        self.lab.log = open(top / "kedged.log", "ab")
        for path in self.lab.dir.iterdir():
            path.rmdir() if path.is_dir() else path.unlink()
        self.images = Images(top, seed)
        self.job = Job(self.lab, self.images)
        self.log = top / "record.log"
        self.promises = []  # (bytes of the log, what, argument)
        self.truth = {}     # cycle -> disks

    def promise(self, what, argument=None):
        self.promises.append((self.log.stat().st_size, what, argument))

    def committed(self):
        number = self.job.point()
        for cycle in range(max(self.truth, default=0) + 1, number + 1):
            self.truth[cycle] = self.images.copy()
        self.promise("point", number)

    def run(self):
        build = self.lab.build
        os.environ.update(LD_PRELOAD=str(build / "tests/fault/power_cut/power_cut_recorder.so"),
                          POWER_CUT_DIR=str(self.lab.dir), POWER_CUT_LOG=str(self.log))
        try:
            self.lab.kedge("init", str(self.lab.dir / "k"))
            self.promise("init")
            self.lab.start_kedged()
            self.job.prepare()
            self.promise("ends")
            self.job.replicate()
            self.promise("machine")
            while self.job.point() < 2:  # the first delta comes by itself
                time.sleep(0.02)
            self.committed()
            for round_number in range(3):
                self.images.change()
                if round_number == 1:
                    self.images.grow()
                self.lab.kedge("sync", "m1")
                self.committed()
            self.lab.kill_kedged()
        finally:
            for name in ("LD_PRELOAD", "POWER_CUT_DIR", "POWER_CUT_LOG"):
                os.environ.pop(name, None)
        self.images.change()

    def records(self):
        """All records, and for each promise the number of records after which it must hold."""
        records, ends, at = list(read_log(self.log)), [], 0
        for record in records:
            name, inode, offset, length, paths, data = record
            at += len(f"{name} {inode} {offset} {length} {' '.join(paths)}\n".encode()) + len(data)
            ends.append(at)
        held = [(sum(end <= size for end in ends), what, argument)
                for size, what, argument in self.promises]
        return records, held


def check_state(rec, promised):
    """Before kedged runs: what the replica says it is, it is."""
    lab = rec.lab
    run = subprocess.run([lab.build / "tests/fault/power_cut/replica_state", lab.dir / "k/data",
                          lab.dir / "k/data/master.key", "m1"], capture_output=True, text=True, check=False)
    if run.returncode:
        raise Failed(f"the state cannot be read: {run.stderr.strip()}")
    if run.stdout.strip() == "none":
        if "machine" in promised:
            raise Failed("the machine is gone")
        return
    point, applying, doubt = map(int, run.stdout.split())
    if point < promised.get("point", 0):
        raise Failed(f"recovery point {promised['point']} was reported, {point} is there")
    if point and not applying and not doubt:
        have = rec.job.replica()
        for i, (disk, want) in enumerate(zip(have, rec.truth[point])):
            # A disk that has grown for the next cycle still is the old one up to its old end.
            if disk[:len(want)] != want or any(disk[len(want):]):
                raise Failed(f"disk {i} is not that of recovery point {point}")


def check_cut(rec, promised):
    lab, job = rec.lab, rec.job
    rec.images.put()
    if "init" not in promised:
        if lab.kedge("init", str(lab.dir / "k"), revive=False, check=False).returncode:
            shutil.rmtree(lab.dir / "k")  # it names what is in its way and overwrites nothing
            lab.kedge("init", str(lab.dir / "k"), revive=False)
    if (lab.dir / "k/data/catalog.db").exists():
        check_state(rec, promised)
    lab.start_kedged()
    try:
        if "ends" in promised and (job.names("source"), job.names("target")) != (["src"], ["here"]):
            raise Failed("source or target are gone")
        job.prepare()
        job.replicate()
        until = time.monotonic() + 30
        while lab.kedge("sync", "m1", check=time.monotonic() > until).returncode == CONFLICT:
            time.sleep(0.1)  # the job that was interrupted comes first
        for i, (disk, want) in enumerate(zip(job.replica(), rec.images.now)):
            if disk != bytes(want):
                at = next(k for k in range(0, len(want), 512) if disk[k:k + 512] != want[k:k + 512])
                raise Failed(f"replica of disk {i} differs from the source at byte {at}")
        left = [str(p) for p in lab.dir.rglob("*") if p.name.endswith(".tmp") or p.match("*/seg/*")]
        if left:
            raise Failed(f"left over: {left[:3]}")
    finally:
        lab.kill_kedged()


def cut_at(rec, records, held, at, mode, seed):
    disk = Disk()
    for record in records[:at]:
        disk.step(record)
    disk.write_out(rec.lab.dir, random.Random(seed), mode)
    promised = {what: argument for number, what, argument in held if number <= at}
    try:
        check_cut(rec, promised)
    except (Failed, OSError) as why:
        last = records[at - 1] if at else ("nothing", 0, 0, 0, ["-"], b"")
        raise Failed(f"--at {at} {mode} (seed {seed}), after {last[0]} {' '.join(last[4])}: {why}") from why


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--cuts", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at", nargs=2, metavar=("RECORD", "MODE"))
    options = parser.parse_args()
    failures, started = [], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kedge-cut-", dir="/var/tmp") as top:
        rec = Recording(pathlib.Path(top), options.build.resolve(), options.seed)
        rec.run()
        records, held = rec.records()
        print(f"        {len(records)} records, promises after "
              f"{[number for number, _, _ in held]}", flush=True)
        choose = random.Random(options.seed)
        cuts = [(choose.randrange(1, len(records) + 1), choose.choice(["lost", "kept", "torn", "torn"]),
                 choose.randrange(1 << 30)) for _ in range(options.cuts)]
        if options.at:
            cuts = [(int(options.at[0]), options.at[1], seed) for seed in range(options.cuts)]
        for at, mode, seed in cuts:
            try:
                cut_at(rec, records, held, at, mode, seed)
            except Failed as why:
                failures.append(str(why))
                tail = (pathlib.Path(top) / "kedged.log").read_text(errors="replace").splitlines()[-4:]
                print(f"FAILED  {why}\n  " + "\n  ".join(tail), flush=True)
        print(f"{'FAILED' if failures else 'ok':7} {len(cuts)} power cuts, {len(failures)} failures, "
              f"{time.monotonic() - started:.0f} s")
    sys.exit(1 if failures else 0)


main()
