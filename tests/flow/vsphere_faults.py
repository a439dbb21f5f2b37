#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every fault that a vSphere can have, one case each, named for it: kedged replicates a machine of the
simulator, the fault strikes, and then the replica is right and no snapshot of ours is left behind.

    tests/flow/vsphere_faults.py BUILD [--only PART] [--keep]"""
import argparse
import pathlib
import shutil
import sys
import tempfile
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from vsphere_lab import Failed, VsphereLab, build_dir, wait_until  # noqa: E402

CASES = []


def case(**vm):
    """vm: of the machine's definition in the simulator; each case has one of its own."""
    def take(function):
        CASES.append((function.__name__, vm, function))
        return function
    return take


def disks(*mib):
    return [{"size_mib": m, "fill_mib": max(1, m // 2), "fill_seed": m} for m in mib]


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


def lost_event(t, vm, since):
    found = [e for e in t.events("tracking_lost") if e["machine"] == vm and e["id"] > since]
    must(found, "no event tracking_lost")
    return found


def last_event(t):
    return max(e["id"] for e in t.events())


def changed_by(t, vm, action):
    """Replicated; guest writes; then something happens to the change tracking."""
    t.replicate(vm)
    t.random_writes(vm, 30)
    since = last_event(t)
    action()
    t.random_writes(vm, 10)
    t.sync(vm)
    t.settle(vm)
    t.check_equal(vm)
    t.check_clean(vm)
    return since


# ---- answers of change tracking ----

def odd_answer(name, **parameters):
    def run(t, vm):
        t.replicate(vm)
        t.random_writes(vm, 60)
        t.fault(name, **parameters)
        t.sync(vm)
        must(t.struck(name) > 0, "the fault did not strike")
        must(t.last_cycle(vm)["kind"] == "on-demand", f"the cycle was {t.last_cycle(vm)['kind']}")
        t.check_equal(vm)
        good(t, vm)
    return run


for fault, more in (("cbt.empty_pages", {}), ("cbt.small_pages", {"areas": 3}),
                    ("cbt.past_capacity", {}), ("cbt.overlap", {}), ("cbt.unsorted", {})):
    CASES.append((fault.replace(".", "_"), {}, odd_answer(fault, **more)))


def broken_answer(name):
    def run(t, vm):
        t.replicate(vm)
        t.random_writes(vm, 30)
        since = last_event(t)
        t.fault(name)
        t.sync(vm)
        must(t.struck(name) > 0, "the fault did not strike")
        must(t.last_cycle(vm)["kind"] == "resync", f"the cycle was {t.last_cycle(vm)['kind']}")
        lost_event(t, vm, since)
        t.check_equal(vm)
        good(t, vm)
        must(t.last_cycle(vm)["kind"] == "on-demand", "tracking is not trusted again")
    return run


for fault in ("cbt.truncate", "cbt.start_offset_fault", "cbt.file_fault"):
    CASES.append((fault.replace(".", "_"), {}, broken_answer(fault)))


@case()
def lost_tracking_without_auto_repair_waits_for_resync(t, vm):
    t.replicate(vm, auto_repair=False)
    t.random_writes(vm, 30)
    t.fault("cbt.file_fault")
    run = t.sync(vm, check=False)
    must(run.returncode != 0, "the cycle went on")
    has(run.stderr, "change tracking", "lost", "resync")
    must(t.status(vm)["status"] == "Repair pending", t.status(vm)["status"])
    t.no_faults()
    t.check_clean(vm)
    t.kedge("resync", vm)
    must(t.last_cycle(vm)["kind"] == "resync", "no resync")
    t.check_equal(vm)
    good(t, vm)


def liar(name, **parameters):
    def run(t, vm):
        t.replicate(vm)
        since = last_event(t)
        if name == "cbt.omit_areas":
            t.fault(name, **parameters)
            t.random_writes(vm, 60, disk=0, zero_pct=0)
        else:
            t.random_writes(vm, 60, disk=0, zero_pct=0)
            t.fault(name, **parameters)
        t.sync(vm)
        must(t.struck(name) > 0, "the fault did not strike")
        alarms = [e for e in t.events("tracking_lies") if e["id"] > since]
        must(len(alarms) == 1, f"{len(alarms)} alarms: {alarms}")
        must(alarms[0]["level"] == "error", "the alarm is no error")
        has(alarms[0]["text"], "Hard disk 1", "KB 2090639", "KB 2136854")
        must(t.last_cycle(vm)["kind"] == "resync", "the disk was not compared whole")
        t.check_equal(vm)
        good(t, vm)
    return run


CASES.append(("cbt_omit_areas_is_a_lie_that_is_caught", {}, liar("cbt.omit_areas", fraction=1.0, count=1)))
CASES.append(("cbt_silent_reset_is_a_lie_that_is_caught", {}, liar("cbt.silent_reset", count=1)))


# ---- the identity of what is tracked ----

@case()
def reset_cbt(t, vm):
    since = changed_by(t, vm, lambda: t.do("reset_cbt", vm))
    has(lost_event(t, vm, since)[0]["text"], "reset")


@case()
def power_failure_resets_tracking(t, vm):
    def fail():
        t.do("power_failure", vm)
        t.do("power_on", vm)
    since = changed_by(t, vm, fail)
    has(lost_event(t, vm, since)[0]["text"], "reset")


@case()
def cbt_disabled_behind_our_back(t, vm):
    since = changed_by(t, vm, lambda: t.do("disable_cbt", vm))
    has(lost_event(t, vm, since)[0]["text"], "switched off")


@case()
def storage_vmotion_between_cycles(t, vm):
    since = changed_by(t, vm, lambda: t.do("storage_vmotion", vm, datastore="store2"))
    has(lost_event(t, vm, since)[0]["text"], "moved")
    must(t.status(vm)["disks"][0]["datastore"] == "store2", "the datastore was not followed")


@case()
def vmotion_between_cycles(t, vm):
    t.replicate(vm)
    must(t.status(vm)["host"] == "esx-01.lab", t.status(vm)["host"])
    t.do("vmotion", vm, host="esx-02.lab")
    t.random_writes(vm, 20)
    t.sync(vm)
    must(t.last_cycle(vm)["kind"] == "on-demand", "vMotion cost the tracking")
    must(t.status(vm)["host"] == "esx-02.lab", "the host was not followed")
    t.check_equal(vm)
    good(t, vm)


@case()
def resized_disk_is_resynced_alone(t, vm):
    def grow():
        t.do("resize_disk", vm, disk=2001, size_bytes=8 << 20)
    since = changed_by(t, vm, grow)
    found = lost_event(t, vm, since)
    must(len(found) == 1, f"{len(found)} disks were lost")
    has(found[0]["text"], "Hard disk 2", "resized")


@case()
def revert_to_a_snapshot(t, vm):
    def revert():
        t.do("create_snapshot", vm, name="old")
        t.random_writes(vm, 20)
        t.do("revert", vm, snapshot="old")
        t.do("remove_snapshot", vm, snapshot="old")
        if t.vm(vm)["power"] != "poweredOn":
            t.do("power_on", vm)
    since = changed_by(t, vm, revert)
    lost_event(t, vm, since)


@case()
def added_disk_is_named(t, vm):
    t.replicate(vm)
    t.do("add_disk", vm, size_bytes=1 << 20)
    run = t.sync(vm, check=False)
    must(run.returncode == 6, f"exit {run.returncode}: {run.stderr}")
    has(run.stderr, "new disk", "Hard disk 3")
    t.check_clean(vm)
    t.do("remove_disk", vm, disk=t.vm(vm)["disks"][-1]["key"])
    good(t, vm)


@case()
def removed_disk_is_named(t, vm):
    t.replicate(vm)
    t.do("remove_disk", vm, disk=2001)
    run = t.sync(vm, check=False)
    must(run.returncode != 0, "the cycle went on")
    has(run.stderr, "Hard disk 2", "not attached")
    t.check_clean(vm)


# ---- snapshots ----

@case()
def snapshot_stuck_at_95_percent(t, vm):
    t.replicate(vm)
    t.fault("snapshot.stuck_95", vm=vm, count=1, seconds=600)
    t.random_writes(vm, 5)
    t.kedge("sync", vm, "--no-wait")
    wait_until(lambda: t.struck("snapshot.stuck_95"), 20, "the task starts")
    wait_until(lambda: t.status(vm)["last_error"] or t.events("cycle_retry"), 40,
               "the task is given up")
    t.settle(vm, seconds=90)
    good(t, vm)


def create_fails(fault):
    def run(t, vm):
        t.replicate(vm)
        t.random_writes(vm, 10)
        t.fault("snapshot.create_fails", vm=vm, fault=fault)
        t.kedge("sync", vm, "--no-wait")
        wait_until(lambda: t.struck("snapshot.create_fails"), 20, "the task fails")
        time.sleep(0.3)
        t.check_clean(vm)
        t.no_faults()
        t.settle(vm, seconds=90)
        good(t, vm)
    return run


for fault in ("GenericVmConfigFault", "FileFault", "TaskInProgress", "InvalidState", "NoDiskSpace"):
    CASES.append((f"snapshot_create_fails_with_{fault}", {}, create_fails(fault)))


@case(quiesce=True)
def quiesce_fails_falls_back_aloud(t, vm):
    t.fault("snapshot.quiesce_fails", vm=vm)
    t.replicate(vm, source="quiet")
    told = [e for e in t.events("snapshot_notice") if e["machine"] == vm]
    must(told, "nobody was told")
    has(told[0]["text"], "quiescing failed", "crash-consistent")
    t.check_equal(vm)
    good(t, vm)


@case(quiesce=True)
def quiesce_ignored_is_noticed(t, vm):
    t.fault("snapshot.quiesce_ignored", vm=vm)
    t.replicate(vm, source="quiet")
    has(([e for e in t.events("snapshot_notice") if e["machine"] == vm] or [{"text": "nothing"}])[0]["text"],
        "not quiesced", "crash-consistent")
    good(t, vm)


@case(quiesce=True, tools="not_running")
def quiesce_without_tools_is_told(t, vm):
    t.replicate(vm, source="quiet")
    has(([e for e in t.events("snapshot_notice") if e["machine"] == vm] or [{"text": "nothing"}])[0]["text"], "Tools")
    good(t, vm)


@case()
def snapshot_without_change_ids_is_named_and_compared(t, vm):
    t.fault("snapshot.no_change_id", vm=vm)
    t.replicate(vm)
    told = [e for e in t.events("snapshot_notice") if e["machine"] == vm]
    has(told[0]["text"], "change id", "Hard disk 1")
    t.random_writes(vm, 20)
    t.sync(vm)
    must(t.last_cycle(vm)["kind"] == "resync", "the cycle believed in tracking")
    t.check_equal(vm)
    t.no_faults()
    good(t, vm)
    t.random_writes(vm, 20)
    good(t, vm)
    must(t.last_cycle(vm)["kind"] == "on-demand", "tracking is not used again")


@case()
def snapshot_remove_fails_twice(t, vm):
    t.replicate(vm)
    t.random_writes(vm, 10)
    t.fault("snapshot.remove_fails", vm=vm, count=2)
    t.sync(vm)
    t.check_clean(vm)
    t.check_equal(vm)
    good(t, vm)


@case()
def snapshot_remove_fails_until_the_next_cycle(t, vm):
    t.replicate(vm)
    t.random_writes(vm, 10)
    t.fault("snapshot.remove_fails", vm=vm)
    t.sync(vm)
    told = [e for e in t.events("cycle_end_failed") if e["machine"] == vm]
    has(told[0]["text"], "remove snapshot 'kedge-", "next cycle")
    t.check_equal(vm)
    must(t.snapshots(vm), "the fault did not strike")
    good(t, vm)


@case()
def consolidation_needed_is_done(t, vm):
    t.replicate(vm)
    t.random_writes(vm, 10)
    t.fault("snapshot.leaves_consolidation", vm=vm)
    t.sync(vm)
    must(t.struck("snapshot.leaves_consolidation"), "the fault did not strike")
    t.check_clean(vm)
    t.check_equal(vm)
    good(t, vm)


@case()
def consolidation_fails_twice_file_locked(t, vm):
    t.replicate(vm)
    t.random_writes(vm, 10)
    t.fault("snapshot.leaves_consolidation", vm=vm, count=1)
    t.fault("consolidate.fails", vm=vm, count=2)
    t.sync(vm)
    must(t.struck("consolidate.fails") >= 2, "the fault did not strike")
    t.check_clean(vm)
    good(t, vm)


@case()
def consolidation_fails_until_the_next_cycle(t, vm):
    t.replicate(vm)
    t.random_writes(vm, 10)
    t.fault("snapshot.leaves_consolidation", vm=vm, count=1)
    t.fault("consolidate.fails", vm=vm)
    t.sync(vm)
    told = [e for e in t.events("cycle_end_failed") if e["machine"] == vm]
    has(told[0]["text"], "consolidate")
    must(t.vm(vm)["consolidation_needed"], "the fault did not strike")
    good(t, vm)


@case()
def foreign_snapshot_is_refused_by_name(t, vm):
    t.replicate(vm)
    t.do("create_snapshot", vm, name="nightly backup")
    run = t.sync(vm, check=False)
    must(run.returncode == 6, f"exit {run.returncode}: {run.stderr}")
    has(run.stderr, "nightly backup", "delete it")
    must(t.snapshots(vm) == ["nightly backup"], f"snapshots: {t.snapshots(vm)}")
    t.do("remove_snapshot", vm, snapshot="nightly backup")
    good(t, vm)


@case(snapshots=["before upgrade"])
def existing_snapshot_blocks_before_anything_starts(t, vm):
    run = t.kedge("replicate", "vc", vm, "--target", "here", check=False)
    must(run.returncode == 6, f"exit {run.returncode}")
    has(run.stderr, "before upgrade")
    must(t.snapshots(vm) == ["before upgrade"], "something was changed")
    must(not t.vm(vm)["cbt"], "tracking was switched on")


# ---- the way: sessions, vCenter, NFC ----

def mid_cycle(t, vm, strike, size=30):
    """Something happens while an initial or delta cycle moves data."""
    t.replicate(vm)
    t.random_writes(vm, size * 8, zero_pct=0)
    t.kedge("throttle", "400K")
    t.kedge("sync", vm, "--no-wait")
    wait_until(lambda: (t.status(vm)["cycle"] or {}).get("stored_bytes", 0) > 0 or
               (t.status(vm)["cycle"] or {}).get("read_bytes", 0) > 0, 20, "the cycle moves data")
    strike()
    time.sleep(0.2)
    t.kedge("throttle", "0")
    t.settle(vm, seconds=120)
    good(t, vm)


@case()
def session_expired_in_mid_delta(t, vm):
    mid_cycle(t, vm, lambda: t.do("expire_sessions"))


@case()
def vcenter_restart_in_mid_delta(t, vm):
    mid_cycle(t, vm, lambda: t.do("vcenter_restart"))


@case()
def nfc_connections_cut_in_mid_delta(t, vm):
    mid_cycle(t, vm, lambda: t.do("cut_nfc"))


@case()
def vmotion_in_mid_delta(t, vm):
    mid_cycle(t, vm, lambda: t.do("vmotion", vm, host="esx-02.lab"))


@case()
def host_down_and_up_in_mid_delta(t, vm):
    def strike():
        t.do("host_down", host="esx-01.lab")
        time.sleep(1.5)
        t.do("host_up", host="esx-01.lab")
    mid_cycle(t, vm, strike)


@case()
def kedged_killed_in_mid_delta(t, vm):
    def strike():
        t.kill_kedged()
        must(any(s.startswith("kedge-") for s in t.snapshots(vm)), "no snapshot to find again")
        t.start_kedged()
    mid_cycle(t, vm, strike)


@case()
def canceled_cycle_leaves_no_snapshot(t, vm):
    t.replicate(vm)
    t.random_writes(vm, 200, zero_pct=0)
    t.kedge("throttle", "100K")
    t.kedge("sync", vm, "--no-wait")
    wait_until(lambda: t.status(vm)["cycle"], 20, "the cycle runs")
    job = t.status(vm)["job"]["id"]
    t.kedge("job", str(job), "--cancel")
    t.settle(vm)
    t.check_clean(vm)
    t.kedge("throttle", "0")
    good(t, vm)


@case()
def vm_deleted_in_mid_cycle(t, vm):
    t.replicate(vm)
    t.random_writes(vm, 200, zero_pct=0)
    t.kedge("throttle", "100K")
    t.kedge("sync", vm, "--no-wait")
    wait_until(lambda: t.status(vm)["cycle"], 20, "the cycle runs")
    t.do("delete_vm", vm)
    t.kedge("throttle", "0")
    wait_until(lambda: t.status(vm)["last_error"] or not t.status(vm)["job"], 60, "it is noticed")
    run = t.kedge("sync", vm, check=False, timeout=60)
    must(run.returncode != 0, "a machine that is gone was synced")
    has(run.stderr, vm)
    t.kedge("stop", vm)


def noisy_way(name, **parameters):
    """The client repairs it; what was asked twice is counted, nothing is lost."""
    def run(t, vm):
        t.replicate(vm)
        t.random_writes(vm, 100, zero_pct=0)
        t.fault(name, vm=vm if name.startswith(("nfc", "cbt")) else None, **parameters)
        t.kedge("sync", vm, "--no-wait")
        wait_until(lambda: t.struck(name), 20, "the fault strikes")
        t.settle(vm, seconds=90)
        good(t, vm)
    return run


for fault, more in (("soap.session_expired", {"count": 5, "probability": 0.5}),
                    ("soap.503", {"count": 2}), ("soap.cut", {"count": 1}),
                    ("soap.slow", {"ms": 300, "count": 5}),
                    ("nfc.cut", {"after_bytes": 100000, "count": 3}),
                    ("nfc.cut", {"after_bytes": 50000, "where": "header", "count": 2}),
                    ("nfc.out_of_memory", {"count": 2}), ("nfc.bad_magic", {"count": 2}),
                    ("nfc.duplicate_fragment", {"count": 2}),
                    ("nfc.length_overflow", {"count": 2}), ("nfc.foreign_opid", {"count": 2}),
                    ("nfc.unknown_type", {"count": 2}), ("nfc.error_mid_read", {"count": 2}),
                    ("nfc.zero_fragment", {"count": 2}), ("nfc.bad_packed", {"count": 2}),
                    ("nfc.slow", {"ms": 50, "count": 20}), ("nfc.refuse_open", {"count": 1}),
                    ("authd.wrong_thumbprint", {"count": 1}),
                    ("authd.wrong_certificate", {"count": 1}),
                    ("authd.tls2_other_certificate", {"count": 1}),
                    ("authd.expired_ticket", {"count": 1}), ("authd.busy", {"count": 1})):
    CASES.append((fault.replace(".", "_") + "".join(f"_{v}" for v in more.values()
                                                    if isinstance(v, str)),
                  {}, noisy_way(fault, **more)))


# ---- space ----

@case(datastore="small", guarded=True)
def full_datastore_starts_no_cycle(t, vm):
    t.replicate(vm, source="guarded")
    t.do("fill_datastore", datastore="small", free_bytes=10 << 20)
    run = t.kedge("sync", vm, "--no-wait", check=False)
    must(run.returncode == 0, run.stderr)
    wait_until(lambda: (t.status(vm)["last_error"] or {}).get("kind") == "no-space", 30,
               "the floor is named")
    has(t.status(vm)["last_error"]["text"], "small", "floor")
    t.check_clean(vm)
    t.do("fill_datastore", datastore="small", free_bytes=150 << 20)
    t.settle(vm, seconds=120)
    good(t, vm)
    told = [e for e in t.events("snapshot_notice") if e["machine"] == vm]
    must(told, "no warning under twice the floor")
    has(told[-1]["text"], "small")


@case(datastore="small", guarded=True, disks=[{"size_mib": 64, "fill_mib": 60}])
def datastore_that_fills_up_ends_the_cycle_early(t, vm):
    t.do("fill_datastore", datastore="small", free_bytes=500 << 20)
    t.kedge("throttle", "700K")
    t.kedge("replicate", "guarded", vm, "--target", "here", "--auto-repair", "--no-wait")
    wait_until(lambda: t.status(vm)["cycle"], 20, "the cycle runs")
    t.do("fill_datastore", datastore="small", free_bytes=10 << 20)
    wait_until(lambda: (t.status(vm)["last_error"] or {}).get("kind") == "no-space", 60,
               "the guard ends the cycle")
    has(t.status(vm)["last_error"]["text"], "ends early", "small")
    wait_until(lambda: not t.snapshots(vm), 20, "the snapshot is given back")
    t.kedge("throttle", "0")
    t.do("fill_datastore", datastore="small", free_bytes=500 << 20)
    t.settle(vm, cycles=2, seconds=120)
    good(t, vm)


@case(datastore="small", guarded=True)
def resumed_cycle_on_a_full_datastore_gives_its_snapshot_back(t, vm):
    t.do("fill_datastore", datastore="small", free_bytes=500 << 20)
    t.replicate(vm, source="guarded")
    t.random_writes(vm, 200, zero_pct=0)
    t.kedge("throttle", "100K")
    t.kedge("sync", vm, "--no-wait")
    wait_until(lambda: t.status(vm)["cycle"], 20, "the cycle runs")
    t.kill_kedged()
    must(t.snapshots(vm), "no snapshot to find again")
    t.do("fill_datastore", datastore="small", free_bytes=10 << 20)
    t.start_kedged()
    wait_until(lambda: not t.snapshots(vm), 30, "the snapshot is given back")
    t.kedge("throttle", "0")
    t.do("fill_datastore", datastore="small", free_bytes=500 << 20)
    t.settle(vm, seconds=120)
    good(t, vm)


# ---- transports ----

@case(power="off")
def https_reads_a_machine_that_is_off(t, vm):
    t.add_source("web", transports=["https"], match=vm)
    t.replicate(vm, source="web")
    must(t.status(vm)["disks"][0]["reading"] == "https", t.status(vm)["disks"][0]["reading"])
    t.check_equal(vm)
    for disk in t.vm(vm)["disks"]:
        t.ask("/write", {"vm": vm, "disk": disk["key"], "force": True,
                         "writes": [{"offset": 1 << 20, "length": 70000, "seed": 5}]})
    good(t, vm)


@case(power="off")
def refused_transport_falls_to_the_next_and_says_why(t, vm):
    t.fault("nfc.refuse_open", vm=vm)
    t.add_source("both", transports=["nfc", "https"], match=vm)
    t.replicate(vm, source="both")
    has(t.status(vm)["disks"][0]["reading"], "https; not nfc: ")
    t.check_equal(vm)
    good(t, vm)


@case()
def plain_nfc_without_compression(t, vm):
    t.add_source("plain", nfc_plain=True, nfc_compression="stored", match=vm)
    t.replicate(vm, source="plain")
    must(t.status(vm)["disks"][0]["reading"] == "nfc (nbd, stored)",
         t.status(vm)["disks"][0]["reading"])
    t.random_writes(vm, 50)
    good(t, vm)


@case()
def no_transport_names_every_reason(t, vm):
    t.fault("nfc.refuse_open", vm=vm)
    t.add_source("none", transports=["nfc", "https"], match=vm)
    t.kedge("replicate", "none", vm, "--target", "here", "--no-wait")
    wait_until(lambda: t.status(vm)["last_error"], 60, "it is told")
    has(t.status(vm)["last_error"]["text"], "no transport reads disk 'Hard disk", "nfc: ", "https: ")
    t.no_faults()
    t.settle(vm, cycles=1, seconds=120)
    good(t, vm)


@case()
def asked_again_bytes_are_shown(t, vm):
    t.replicate(vm)
    t.random_writes(vm, 200, zero_pct=0)
    t.fault("nfc.cut", vm=vm, after_bytes=300000, count=4)
    t.sync(vm)
    reading = " ".join(d["reading"] for d in t.status(vm)["disks"])
    has(reading, "reconnects", "asked again")
    t.check_equal(vm)
    good(t, vm)


# ---- migration ----

@case()
def shutdown_is_confirmed_before_the_last_snapshot(t, vm):
    t.replicate(vm)
    t.random_writes(vm, 20)
    t.api("POST", f"/v1/machines/{vm}/operations/migrate", {"shutdown": True, "boot_deadline_ms": 1000})
    t.settle(vm, seconds=120)
    must(t.vm(vm)["power"] == "poweredOff", t.vm(vm)["power"])
    t.check_clean(vm)


@case(tools="not_installed")
def shutdown_without_tools_is_refused(t, vm):
    t.replicate(vm)
    run = t.kedge("migrate", vm, check=False)
    must(run.returncode != 0, "it was migrated")
    has(run.stderr, "Tools", "power_off")
    must(t.vm(vm)["power"] == "poweredOn", "it was powered off")
    good(t, vm)


@case(tools="not_installed", power_off=True)
def shutdown_without_tools_powers_off_when_allowed(t, vm):
    t.replicate(vm, source="brute")
    t.kedge("migrate", vm, "--boot-deadline", "1s", check=False)
    must(t.vm(vm)["power"] == "poweredOff", t.vm(vm)["power"])


@case()
def source_runs_again_when_the_final_cycle_fails(t, vm):
    t.replicate(vm)
    t.random_writes(vm, 20)
    t.do("create_snapshot", vm, name="nightly")
    run = t.kedge("migrate", vm, check=False)
    must(run.returncode != 0, "it was migrated")
    has(run.stderr, "nightly")
    must(t.vm(vm)["power"] == "poweredOn", f"the source is {t.vm(vm)['power']}")
    must([e for e in t.events("source_up") if e["machine"] == vm], "nobody was told")
    t.do("remove_snapshot", vm, snapshot="nightly")
    good(t, vm)


# ---- bad input ----

@case()
def wrong_password_names_the_account(t, vm):
    path = t.dir / "wrong"
    path.write_text("not it\n")
    path.chmod(0o600)
    answer = t.add_source("bad", check=False, password_file=str(path))
    has(answer["error"]["text"], t.ready["username"])
    must(answer["error"]["kind"] == "auth", answer["error"]["kind"])


@case()
def wrong_fingerprint_shows_the_right_one(t, vm):
    answer = t.add_source("bad", check=False, fingerprint="AA:" * 31 + "AA")
    has(answer["error"]["text"].upper(), t.ready["sha256"].upper())


@case()
def untrusted_certificate_shows_its_fingerprint(t, vm):
    answer = t.add_source("bad", check=False, fingerprint=None)
    must("error" in answer, "it was trusted")


@case()
def unknown_vm_is_named(t, vm):
    run = t.kedge("replicate", "vc", "no-such-vm", "--target", "here", check=False)
    must(run.returncode != 0, "it replicates")
    has(run.stderr, "no-such-vm")


@case()
def readonly_account_names_each_privilege(t, vm):
    reader = t.ready["accounts"][1]
    t.add_source("reader", user=reader["username"], password_file=reader["password_file"], match=vm)
    run = t.kedge("replicate", "reader", vm, "--target", "here", check=False)
    must(run.returncode == 6, f"exit {run.returncode}: {run.stderr}")
    run = t.kedge("source", "check", "reader", check=False)
    has(run.stdout, "VirtualMachine.State.CreateSnapshot", "VirtualMachine.State.RemoveSnapshot",
        "VirtualMachine.Config.ChangeTracking", "VirtualMachine.Provisioning.DiskRandomRead",
        "VirtualMachine.Provisioning.GetVmFiles", vm, reader["username"])
    must(not t.snapshots(vm), "a snapshot was made")
    t.kedge("source", "remove", "reader")


@case()
def one_session_serves_many_cycles(t, vm):
    t.do("expire_sessions")  # of logouts that a fault before this case has swallowed
    t.ask("/counters/reset", {})
    t.replicate(vm)
    for _ in range(3):
        t.random_writes(vm, 5)
        t.sync(vm)
    wait_until(lambda: t.ask("/state")["sessions"] == 0, 10, "every session is logged out")
    must(t.ask("/counters")["logins"] <= 8, f"logins: {t.ask('/counters')}")


SOURCES = {"quiet": {"quiesce": True}, "guarded": {"datastore_floor": 100 << 20},
           "brute": {"power_off": True}}


def config_of(cases):
    vms = []
    for name, vm, _ in cases:
        vm = {k: v for k, v in vm.items() if k not in ("quiesce", "guarded", "power_off")}
        vms.append({"name": name.replace("_", "-")[:60], "disks": disks(8, 4), **vm})
    for vm in vms:
        for disk in vm["disks"]:
            disk.setdefault("datastore", vm.get("datastore", "datastore1"))
        vm.setdefault("host", "esx-01.lab")
    return {"accounts": [
        {"username": "administrator@vsphere.local", "password": "Kedge-sim-1!", "privileges": "all"},
        {"username": "reader@vsphere.local", "password": "p&<ä'\" 1", "privileges": "readonly"}],
        "datacenters": [{
            "name": "DC0", "datastores": [{"name": "datastore1"}, {"name": "store2"},
                                          {"name": "small", "capacity_gib": 1}],
            "clusters": [{"name": "C1", "hosts": [{"name": "esx-01.lab"}, {"name": "esx-02.lab"}]}],
            "vms": vms}]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=build_dir)
    parser.add_argument("--only", default="", help="cases whose name holds this; several with commas")
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    cases = [c for c in CASES if any(part in c[0] for part in args.only.split(","))]
    t = VsphereLab(tempfile.mkdtemp(prefix="kedge-vsphere-", dir="/var/tmp"), args.build,
                   config_of(cases))
    passed, failed = 0, []
    try:
        t.init()
        t.settings(tracking_check=1000000, listen="none", log_level="debug")
        t.start_kedged()
        t.add_ends()
        for name, options in SOURCES.items():
            t.add_source(name, **options)
        for name, _, function in cases:
            vm, began = name.replace("_", "-")[:60], time.monotonic()
            try:
                t.no_faults()
                function(t, vm)
                passed += 1
                print(f"ok      {name}  {time.monotonic() - began:.1f} s", flush=True)
            except Exception as error:  # the others still run
                failed.append(name)
                print(f"FAILED  {name}: {error}", flush=True)
                if not isinstance(error, Failed):
                    traceback.print_exc()
                t.kedge("throttle", "0", check=False)
                t.no_faults()
    finally:
        t.close()
        if args.keep or failed:
            print(f"everything is in {t.dir}")
        else:
            shutil.rmtree(t.dir, ignore_errors=True)
    print(f"{passed} passed, {len(failed)} failed")
    sys.exit(1 if failed or not passed else 0)


main()
