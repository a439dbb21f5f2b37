#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""QEMU is killed in the middle of the initial cycle, with it the snapshot: the next cycle must send only
what had not arrived, and what the guest wrote since. Also with kedged killed at the same instant (a power
cut of a host that runs both), and kedged alone: then the very same cycle goes on.   dead_source.py BUILD"""
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True
from lab import Failed, Lab  # noqa: E402

MIB = 1 << 20
DISKS = {"root": 192, "data": 32}
BEFORE = 24 * MIB


def machine(lab):
    return {m["name"]: m for m in lab.json("list")["machines"]}.get("m1")


def wait_until_sent(lab, want, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        cycle = (machine(lab) or {}).get("cycle")
        if cycle and cycle["stored_bytes"] >= want:  # acknowledged, and random: not packed
            return
        time.sleep(0.02)
    raise Failed(f"the initial cycle did not come to {want} bytes: {machine(lab)}")


def last_cycles(lab):
    return lab.json("status", "m1")["last_cycles"]


def kill_and_restart(lab, who):
    if "QEMU" in who:
        lab.qemu.kill()
        lab.qemu.wait()
    if "kedged" in who:
        lab.kill_kedged()
    else:
        time.sleep(1)  # the job sees its source die
    if "QEMU" in who:
        lab.start_qemu()
    lab.guest_writes(10)
    if "kedged" in who:
        lab.start_kedged()


def finish(lab):
    lab.kedge("throttle", "0")
    until = time.monotonic() + 60
    while machine(lab)["recovery_point"] is None:
        lab.kedge("sync", "m1", check=False)
        if time.monotonic() > until:
            raise Failed(f"no recovery point: {machine(lab)}")
    lab.kedge("sync", "m1")
    lab.check_equal()
    lab.check_no_orphans()


def check_bytes(lab, who):
    cycles = sorted(last_cycles(lab), key=lambda c: c["number"])
    initial = [c for c in cycles if c["kind"] == "initial"]
    # What a daemon that died had counted is not in the catalog; what it goes on with is counted again.
    before = BEFORE if "kedged" in who else initial[0]["stored_bytes"]
    last, same = initial[-1]["content_bytes"], initial[-1]["same_bytes"]
    print(f"        {before} bytes acknowledged before, {last} after, {same} the same", flush=True)
    if "QEMU" not in who:
        if len(initial) != 1 or same:
            raise Failed(f"the cycle was not resumed but begun again: {initial}")
        return
    # All blocks that hold data: 700 KiB of each 2 MiB (see make_disks), in whole blocks.
    whole = sum(mib // 2 * 12 * 65536 for mib in DISKS.values())
    changed = len(DISKS) * 10 * 2 * 65536
    if last > whole - before + changed:
        raise Failed(f"{last} bytes sent again; {before} had arrived of {whole}")


def run(folder, build, who):
    lab = Lab(folder, build, disks=DISKS)
    try:
        lab.init()
        lab.start_kedged()
        lab.kedge("source", "add", "lab", "qemu", "--qmp", f"{lab.dir}/vm/kedge.qmp",
                  "--scratch-dir", f"{lab.dir}/vm")
        lab.kedge("target", "add", "here", "local", "--dir", f"{lab.dir}/replicas", "--accel", "tcg")
        lab.kedge("throttle", "12M")
        lab.kedge("replicate", "lab", "m1", "--target", "here", "--no-wait")
        wait_until_sent(lab, BEFORE)
        kill_and_restart(lab, who)
        finish(lab)
        check_bytes(lab, who)
    finally:
        lab.close()


def main():
    failures = 0
    with tempfile.TemporaryDirectory(prefix="kedge-dead-", dir="/var/tmp") as top:
        for who in ("QEMU", "QEMU and kedged", "kedged"):
            try:
                run(pathlib.Path(top) / "lab", sys.argv[1], who)
                print(f"ok      killed in the initial cycle: {who}", flush=True)
            except Failed as why:
                failures += 1
                print(f"FAILED  {who}: {why}\n"
                      f"{(pathlib.Path(top) / 'lab/kedged.log').read_text()[-2000:]}", flush=True)
    sys.exit(1 if failures else 0)


main()
