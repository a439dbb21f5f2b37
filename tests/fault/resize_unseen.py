#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A disk is cut and grown back to its old size between two cycles: QEMU forgets the bits of what was cut off
and sets none for what comes back, so the change record says nothing, and the size is the same. What notices
it is the check of the record against the hash map (src/gateway/tracking_check.c): it draws blocks at random,
so not surely in the first cycle, but each cycle draws again.   resize_unseen.py BUILD"""
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True
from lab import Failed, Lab  # noqa: E402

MIB = 1 << 20
CYCLES = 6  # each finds it with a chance of more than 99 of 100


def run(lab):
    lab.init()
    lab.start_kedged()
    lab.kedge("source", "add", "lab", "qemu", "--qmp", f"{lab.dir}/vm/kedge.qmp",
              "--scratch-dir", f"{lab.dir}/vm")
    lab.kedge("target", "add", "here", "local", "--dir", f"{lab.dir}/replicas", "--accel", "tcg")
    lab.kedge("replicate", "lab", "m1", "--target", "here")
    lab.kedge("sync", "m1")
    lab.check_equal()
    for mib in (1, lab.disks["data"]):
        lab.qmp.call("block_resize", **{"node-name": "data", "size": mib * MIB})
    for cycle in range(1, CYCLES + 1):
        lab.kedge("sync", "m1")
        try:
            lab.check_equal()
        except Failed:
            continue
        print(f"ok      a disk that was cut and grown back is repaired in cycle {cycle}", flush=True)
        lab.check_no_orphans()
        return
    raise Failed(f"not noticed in {CYCLES} cycles")


def main():
    with tempfile.TemporaryDirectory(prefix="kedge-resize-", dir="/var/tmp") as top:
        lab = Lab(pathlib.Path(top) / "lab", sys.argv[1])
        try:
            run(lab)
        except Failed as why:
            print(f"FAILED  {why}\n{(lab.dir / 'kedged.log').read_text()[-2000:]}", flush=True)
            sys.exit(1)
        finally:
            lab.close()


main()
