#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What can happen to a machine of a vSphere, its change tracking, its snapshots and its migration, one case
each, named for it: kedged replicates a machine of the simulator, the fault strikes, and then the replica is
right and no snapshot of ours is left behind. Faults on the way to it: vsphere_reading.py.

    tests/flow/vsphere_faults.py BUILD [--only PART] [--keep]"""
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from vsphere_lab import Cases, good, has, last_event, must, run_cases, wait_until  # noqa: E402

CASES = Cases()


def lost_event(t, vm, since):
    found = [e for e in t.events("tracking_lost") if e["machine"] == vm and e["id"] > since]
    must(found, "no event tracking_lost")
    return found


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
    CASES.add(fault.replace(".", "_"), odd_answer(fault, **more))


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
    CASES.add(fault.replace(".", "_"), broken_answer(fault))


@CASES.case()
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


CASES.add("cbt_omit_areas_is_a_lie_that_is_caught", liar("cbt.omit_areas", fraction=1.0, count=1))
CASES.add("cbt_silent_reset_is_a_lie_that_is_caught", liar("cbt.silent_reset", count=1))


# ---- the identity of what is tracked ----

@CASES.case()
def reset_cbt(t, vm):
    since = changed_by(t, vm, lambda: t.do("reset_cbt", vm))
    has(lost_event(t, vm, since)[0]["text"], "reset")


@CASES.case()
def power_failure_resets_tracking(t, vm):
    def fail():
        t.do("power_failure", vm)
        t.do("power_on", vm)
    since = changed_by(t, vm, fail)
    has(lost_event(t, vm, since)[0]["text"], "reset")


@CASES.case()
def cbt_disabled_behind_our_back(t, vm):
    since = changed_by(t, vm, lambda: t.do("disable_cbt", vm))
    has(lost_event(t, vm, since)[0]["text"], "switched off")


@CASES.case()
def storage_vmotion_between_cycles(t, vm):
    since = changed_by(t, vm, lambda: t.do("storage_vmotion", vm, datastore="store2"))
    has(lost_event(t, vm, since)[0]["text"], "moved")
    must(t.status(vm)["disks"][0]["datastore"] == "store2", "the datastore was not followed")


@CASES.case()
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


@CASES.case()
def resized_disk_is_resynced_alone(t, vm):
    def grow():
        t.do("resize_disk", vm, disk=2001, size_bytes=8 << 20)
    since = changed_by(t, vm, grow)
    found = lost_event(t, vm, since)
    must(len(found) == 1, f"{len(found)} disks were lost")
    has(found[0]["text"], "Hard disk 2", "resized")


@CASES.case()
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


@CASES.case()
def added_disk_is_named(t, vm):
    t.replicate(vm)
    t.do("add_disk", vm, size_bytes=1 << 20)
    run = t.sync(vm, check=False)
    must(run.returncode == 6, f"exit {run.returncode}: {run.stderr}")
    has(run.stderr, "new disk", "Hard disk 3")
    t.check_clean(vm)
    t.do("remove_disk", vm, disk=t.vm(vm)["disks"][-1]["key"])
    good(t, vm)


@CASES.case()
def removed_disk_is_named(t, vm):
    t.replicate(vm)
    t.do("remove_disk", vm, disk=2001)
    run = t.sync(vm, check=False)
    must(run.returncode != 0, "the cycle went on")
    has(run.stderr, "Hard disk 2", "not attached")
    t.check_clean(vm)


# ---- snapshots ----

@CASES.case()
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
    CASES.add(f"snapshot_create_fails_with_{fault}", create_fails(fault))


@CASES.case()
def quiesce_fails_falls_back_aloud(t, vm):
    t.fault("snapshot.quiesce_fails", vm=vm)
    t.replicate(vm, source="quiet")
    told = [e for e in t.events("snapshot_notice") if e["machine"] == vm]
    must(told, "nobody was told")
    has(told[0]["text"], "quiescing failed", "crash-consistent")
    t.check_equal(vm)
    good(t, vm)


@CASES.case()
def quiesce_ignored_is_noticed(t, vm):
    t.fault("snapshot.quiesce_ignored", vm=vm)
    t.replicate(vm, source="quiet")
    has(([e for e in t.events("snapshot_notice") if e["machine"] == vm] or [{"text": "nothing"}])[0]["text"],
        "not quiesced", "crash-consistent")
    good(t, vm)


@CASES.case(tools="not_running")
def quiesce_without_tools_is_told(t, vm):
    t.replicate(vm, source="quiet")
    has(([e for e in t.events("snapshot_notice") if e["machine"] == vm] or [{"text": "nothing"}])[0]["text"], "Tools")
    good(t, vm)


@CASES.case()
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


@CASES.case()
def snapshot_remove_fails_twice(t, vm):
    t.replicate(vm)
    t.random_writes(vm, 10)
    t.fault("snapshot.remove_fails", vm=vm, count=2)
    t.sync(vm)
    t.check_clean(vm)
    t.check_equal(vm)
    good(t, vm)


@CASES.case()
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


@CASES.case()
def consolidation_needed_is_done(t, vm):
    t.replicate(vm)
    t.random_writes(vm, 10)
    t.fault("snapshot.leaves_consolidation", vm=vm)
    t.sync(vm)
    must(t.struck("snapshot.leaves_consolidation"), "the fault did not strike")
    t.check_clean(vm)
    t.check_equal(vm)
    good(t, vm)


@CASES.case()
def consolidation_fails_twice_file_locked(t, vm):
    t.replicate(vm)
    t.random_writes(vm, 10)
    t.fault("snapshot.leaves_consolidation", vm=vm, count=1)
    t.fault("consolidate.fails", vm=vm, count=2)
    t.sync(vm)
    must(t.struck("consolidate.fails") >= 2, "the fault did not strike")
    t.check_clean(vm)
    good(t, vm)


@CASES.case()
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


@CASES.case()
def foreign_snapshot_is_refused_by_name(t, vm):
    t.replicate(vm)
    t.do("create_snapshot", vm, name="nightly backup")
    run = t.sync(vm, check=False)
    must(run.returncode == 6, f"exit {run.returncode}: {run.stderr}")
    has(run.stderr, "nightly backup", "delete it")
    must(t.snapshots(vm) == ["nightly backup"], f"snapshots: {t.snapshots(vm)}")
    t.do("remove_snapshot", vm, snapshot="nightly backup")
    good(t, vm)


@CASES.case(snapshots=["before upgrade"])
def existing_snapshot_blocks_before_anything_starts(t, vm):
    run = t.kedge("replicate", "vc", vm, "--target", "here", check=False)
    must(run.returncode == 6, f"exit {run.returncode}")
    has(run.stderr, "before upgrade")
    must(t.snapshots(vm) == ["before upgrade"], "something was changed")
    must(not t.vm(vm)["cbt"], "tracking was switched on")


# ---- migration ----

@CASES.case()
def shutdown_is_confirmed_before_the_last_snapshot(t, vm):
    t.replicate(vm)
    t.random_writes(vm, 20)
    t.api("POST", f"/v1/machines/{vm}/operations/migrate", {"shutdown": True, "boot_deadline_ms": 1000})
    t.settle(vm, seconds=120)
    must(t.vm(vm)["power"] == "poweredOff", t.vm(vm)["power"])
    t.check_clean(vm)


@CASES.case(tools="not_installed")
def shutdown_without_tools_is_refused(t, vm):
    t.replicate(vm)
    run = t.kedge("migrate", vm, check=False)
    must(run.returncode != 0, "it was migrated")
    has(run.stderr, "Tools", "power_off")
    must(t.vm(vm)["power"] == "poweredOn", "it was powered off")
    good(t, vm)


@CASES.case(tools="not_installed")
def shutdown_without_tools_powers_off_when_allowed(t, vm):
    t.replicate(vm, source="brute")
    t.kedge("migrate", vm, "--boot-deadline", "1s", check=False)
    must(t.vm(vm)["power"] == "poweredOff", t.vm(vm)["power"])


@CASES.case()
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


run_cases(CASES)
