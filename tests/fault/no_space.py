#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""No space left at the log store, the state store, the replica, the catalog: a named error, a pause, and
it goes on by itself once there is room; nothing is lost.   no_space.py BUILD   (root: mounts tmpfs)"""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True
from lab import Failed, Lab  # noqa: E402

PLACES = {"log store": "k/data/log", "state store": "k/data/state", "replica": "replicas",
          "catalog": "k/data"}


class Full:
    """Each place on a file system of its own, so that filling one says nothing of the others."""

    def __init__(self, lab):
        self.lab = lab
        self.mounted = []

    def mount(self, place):
        path = self.lab.dir / place
        keep = {p.name: p.read_bytes() for p in path.iterdir() if p.is_file()} if path.is_dir() else {}
        path.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m,mode=700", "tmpfs", str(path)],
                       check=True)
        self.mounted.append(path)
        for name, data in keep.items():
            (path / name).write_bytes(data)
            (path / name).chmod(0o600)

    def fill(self, place):
        with open(self.lab.dir / place / "ballast", "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"x" * 65536)
            except OSError:
                pass
            try:
                while True:
                    f.write(b"x" * 4096)
            except OSError:
                pass

    def free(self, place):
        os.unlink(self.lab.dir / place / "ballast")

    def unmount(self):
        for path in reversed(self.mounted):
            subprocess.run(["umount", "-l", str(path)], check=False)


def machine(lab):
    return lab.json("status", "m1")


def wait_for(what, check, seconds=60):
    until = time.monotonic() + seconds
    while not check():
        if time.monotonic() > until:
            raise Failed(f"waited in vain for {what}")
        time.sleep(0.2)


def run_place(lab, full, place):
    before = machine(lab)["recovery_point"]["cycle"]
    lab.guest_writes(60)
    full.fill(PLACES[place])
    run = lab.kedge("sync", "m1", check=False, timeout=30)
    said = run.stderr.strip()
    if run.returncode == 0:
        raise Failed(f"{place}: the sync worked on a full file system")
    if "no space left" not in said.lower() and "disk is full" not in said.lower():
        raise Failed(f"{place}: the error does not say what is wrong: {said}")
    print(f"        {place}: {said}")
    if not lab.is_up():
        raise Failed(f"{place}: the daemon died")
    full.free(PLACES[place])

    def advanced():
        lab.kedge("sync", "m1", check=False)
        return machine(lab)["recovery_point"]["cycle"] > before
    wait_for(f"{place}: a new recovery point", advanced)
    lab.kedge("verify", "m1")
    lab.check_equal()
    lab.check_no_orphans()


def main():
    if os.geteuid() != 0:
        print("skipped: mounting needs root")
        sys.exit(77)
    lab = full = None
    with tempfile.TemporaryDirectory(prefix="kedge-full-", dir="/var/tmp") as top:
        try:
            lab = Lab(pathlib.Path(top) / "lab", sys.argv[1])
            full = Full(lab)
            lab.init()
            for place in ("k/data", "k/data/log", "k/data/state", "replicas"):
                full.mount(place)
            lab.start_kedged()
            lab.kedge("source", "add", "lab", "qemu", "--qmp", f"{lab.dir}/vm/kedge.qmp",
                      "--scratch-dir", f"{lab.dir}/vm")
            lab.kedge("target", "add", "here", "local", "--dir", f"{lab.dir}/replicas", "--accel",
                      "tcg")
            lab.kedge("replicate", "lab", "m1", "--target", "here")
            for place in PLACES:
                run_place(lab, full, place)
                print(f"ok      {place}", flush=True)
        except Failed as why:
            print(f"FAILED  {why}")
            print((lab.dir / "kedged.log").read_text(errors="replace")[-3000:])
            sys.exit(1)
        finally:
            lab.close()
            full.unmount()


main()
