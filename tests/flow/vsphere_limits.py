#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The limits that protect a source, in a whole kedged against the simulated vSphere: 8 disks of a host and 15
snapshots of a datastore at once. While six machines replicate, the source itself is asked again and again how
many disks have a snapshot of ours; a machine that waits says for what and for whom.

    tests/flow/vsphere_limits.py BUILD [--keep]"""
import argparse
import pathlib
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from vsphere_lab import Failed, VsphereLab, build_dir  # noqa: E402

HOST_DISKS, DATASTORE_SNAPSHOTS = 8, 15
# name: host, datastore, disks. a and b cannot be on esx-01 together, d and e not on store2 together.
VMS = {"a": ("esx-01.lab", "store1", 5), "b": ("esx-01.lab", "store1", 4), "c": ("esx-02.lab", "store1", 3),
       "d": ("esx-02.lab", "store2", 4), "e": ("esx-03.lab", "store2", 7), "f": ("esx-04.lab", "store2", 6)}


def config():
    return {"datacenters": [{
        "name": "Lab", "datastores": [{"name": s, "capacity_gib": 200} for s in ("store1", "store2")],
        "clusters": [{"name": "C1", "hosts": [{"name": f"esx-0{i}.lab"} for i in range(1, 5)]}],
        "vms": [{"name": name, "host": host, "datastore": store,
                 "disks": [{"size_mib": 4, "fill_mib": 3, "fill_seed": i} for i in range(count)]}
                for name, (host, store, count) in VMS.items()]}]}


def frozen(lab):
    """Machines with a snapshot of ours, as the source says."""
    return [name for name in VMS if any(s.startswith("kedge-") for s in lab.snapshots(name))]


def check_limits(names):
    for host in {v[0] for v in VMS.values()}:
        disks = sum(VMS[n][2] for n in names if VMS[n][0] == host)
        if disks > HOST_DISKS:
            raise Failed(f"{disks} disks of host {host} at once: {names}")
    for store in {v[1] for v in VMS.values()}:
        disks = sum(VMS[n][2] for n in names if VMS[n][1] == store)
        if disks > DATASTORE_SNAPSHOTS:
            raise Failed(f"{disks} snapshots on datastore {store} at once: {names}")


def watch(lab):
    """Until every machine has its recovery point; what was seen meanwhile."""
    waits, together, until = {}, 0, time.monotonic() + 240
    while True:
        names = frozen(lab)
        check_limits(names)
        together = max(together, len(names))
        machines = lab.json("list")["machines"]
        for machine in machines:
            if machine["waiting"]:
                waits.setdefault(machine["name"], (machine["waiting"], machine["status"]))
        if all(m["recovery_point"] for m in machines):
            return waits, together
        if time.monotonic() > until:
            raise Failed(f"still no recovery point: {[m['name'] for m in machines if not m['recovery_point']]}")


def expect_wait(waits, name, reason, *words):
    if name not in waits:
        raise Failed(f"'{name}' never waited; those that did: {list(waits)}")
    waiting, status = waits[name]
    text = waiting["text"]
    if waiting["reason"] != reason or any(w not in text for w in words) or "queued" not in status:
        raise Failed(f"'{name}' waits for {waiting['reason']} with '{text}' as '{status}'")
    print(f"{name}: {status}: {text}")


def run(lab):
    lab.init()
    lab.settings(job_threads=8)
    lab.start_kedged()
    lab.add_ends()
    lab.kedge("throttle", "4M")
    for name in VMS:
        lab.kedge("replicate", "vc", name, "--target", "here", "--no-wait")
    waits, together = watch(lab)
    lab.kedge("throttle", "0")
    expect_wait(waits, "b", "host-disks", "5 of 8 disks", "esx-01.lab", "a")
    expect_wait(waits, "f", "datastore-snapshots", "11 of 15", "store2", "d", "e")
    if together < 3:
        raise Failed(f"at most {together} machines at once: the limits alone do not ask for that")
    for name in VMS:
        lab.settle(name)
        lab.check_equal(name)
        lab.check_clean(name)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=build_dir)
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    lab = VsphereLab(tempfile.mkdtemp(prefix="kedge-limits-", dir="/var/tmp"), args.build, config())
    failed = True
    try:
        run(lab)
        failed = False
    except Failed as error:
        print(f"FAILED: {error}")
    finally:
        lab.close()
        if failed or args.keep:
            print(f"everything is in {lab.dir}")
        else:
            shutil.rmtree(lab.dir, ignore_errors=True)
    sys.exit(1 if failed else 0)


main()
