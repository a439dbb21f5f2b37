#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The way to a vSphere and how disks are read, one case each, named for it: sessions, NFC, space, transports,
accounts. kedged replicates a machine of the simulator, the fault strikes, and then the replica is right and
nothing of ours is left behind. Faults of the machine itself: vsphere_faults.py.

    tests/flow/vsphere_reading.py BUILD [--only PART] [--keep]"""
import hashlib
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from vsphere_lab import ATTACHER, GATEWAY, READER, Cases, good, has, must, run_cases, wait_until  # noqa: E402

CASES = Cases()


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


@CASES.case()
def session_expired_in_mid_delta(t, vm):
    mid_cycle(t, vm, lambda: t.do("expire_sessions"))


@CASES.case()
def network_check_looks_at_vcenter_and_hosts(t, vm):
    """The hosts are those that disk data was read from."""
    t.replicate(vm)
    t.settle(vm)
    report = t.json("network", "check")
    seen = {e["role"]: [e["verdict"], e["steps"][-1]["step"]] for e in report["endpoints"]}
    must(seen == {"vcenter": ["ok", "clock"], "esxi": ["ok", "connect"]}, f"the doctor says {report}")


@CASES.case()
def vcenter_restart_in_mid_delta(t, vm):
    mid_cycle(t, vm, lambda: t.do("vcenter_restart"))


@CASES.case()
def nfc_connections_cut_in_mid_delta(t, vm):
    mid_cycle(t, vm, lambda: t.do("cut_nfc"))


@CASES.case()
def vmotion_in_mid_delta(t, vm):
    mid_cycle(t, vm, lambda: t.do("vmotion", vm, host="esx-02.lab"))


@CASES.case()
def host_down_and_up_in_mid_delta(t, vm):
    def strike():
        t.do("host_down", host="esx-01.lab")
        time.sleep(1.5)
        t.do("host_up", host="esx-01.lab")
    mid_cycle(t, vm, strike)


@CASES.case()
def kedged_killed_in_mid_delta(t, vm):
    def strike():
        t.kill_kedged()
        must(any(s.startswith("kedge-") for s in t.snapshots(vm)), "no snapshot to find again")
        t.start_kedged()
    mid_cycle(t, vm, strike)


@CASES.case()
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


@CASES.case()
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
    CASES.add(fault.replace(".", "_") + "".join(f"_{v}" for v in more.values() if isinstance(v, str)),
              noisy_way(fault, **more))


# ---- space ----

@CASES.case(datastore="small")
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


@CASES.case(datastore="small", disks=[{"size_mib": 64, "fill_mib": 60}])
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


@CASES.case(datastore="small")
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

@CASES.case(power="off")
def https_reads_a_machine_that_is_off(t, vm):
    t.add_source("web", transports=["https"], match=vm)
    t.replicate(vm, source="web")
    must(t.status(vm)["disks"][0]["reading"] == "https", t.status(vm)["disks"][0]["reading"])
    t.check_equal(vm)
    for disk in t.vm(vm)["disks"]:
        t.ask("/write", {"vm": vm, "disk": disk["key"], "force": True,
                         "writes": [{"offset": 1 << 20, "length": 70000, "seed": 5}]})
    good(t, vm)


@CASES.case(power="off")
def refused_transport_falls_to_the_next_and_says_why(t, vm):
    t.fault("nfc.refuse_open", vm=vm)
    t.add_source("both", transports=["nfc", "https"], match=vm)
    t.replicate(vm, source="both")
    has(t.status(vm)["disks"][0]["reading"], "https; not nfc: ")
    t.check_equal(vm)
    good(t, vm)


@CASES.case()
def plain_nfc_without_compression(t, vm):
    t.add_source("plain", nfc_plain=True, nfc_compression="stored", match=vm)
    t.replicate(vm, source="plain")
    must(t.status(vm)["disks"][0]["reading"] == "nfc (nbd, stored)",
         t.status(vm)["disks"][0]["reading"])
    t.random_writes(vm, 50)
    good(t, vm)


@CASES.case()
def no_transport_names_every_reason(t, vm):
    t.fault("nfc.refuse_open", vm=vm)
    t.add_source("none", transports=["nfc", "https"], match=vm)
    t.kedge("replicate", "none", vm, "--target", "here", "--no-wait")
    wait_until(lambda: t.status(vm)["last_error"], 60, "it is told")
    has(t.status(vm)["last_error"]["text"], "no transport reads disk 'Hard disk", "nfc: ", "https: ")
    t.no_faults()
    t.settle(vm, cycles=1, seconds=120)
    good(t, vm)


@CASES.case()
def asked_again_bytes_are_shown(t, vm):
    t.replicate(vm)
    t.random_writes(vm, 200, zero_pct=0)
    t.fault("nfc.cut", vm=vm, after_bytes=300000, count=4)
    t.sync(vm)
    reading = " ".join(d["reading"] for d in t.status(vm)["disks"])
    has(reading, "reconnects", "asked again")
    t.check_equal(vm)
    good(t, vm)


# ---- vddk ----

def show_to_library(t, vm):
    """The stand-in for the vendor's library reads "[fake] PATH" as a file below its working directory."""
    for disk in t.vm(vm)["disks"]:
        path = t.dir / disk["file"].removeprefix("[fake] ")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(t.content(vm, disk["key"]))
        yield path


@CASES.case(datastore="fake")
def vddk_logs_in_by_password(t, vm):
    t.add_source("vendor", transports=["vddk"], match=vm,
                 vddk_library=str(t.build / "tests/unit/vsphere/libfake_vddk.so"))
    paths = list(show_to_library(t, vm))
    t.replicate(vm, source="vendor")
    for path, disk in zip(paths, t.status(vm)["disks"]):
        must(disk["reading"] == "vddk", disk["reading"])
        told = pathlib.Path(f"{path}.login").read_text()
        must(told == "password", f"it was logged in to by {told}")
    t.check_equal(vm)
    t.random_writes(vm, 30)
    list(show_to_library(t, vm))
    good(t, vm)


# ---- hotadd ----

def hotadd_source(t, name, vm, **more):
    t.add_source(name, transports=["hotadd", "nfc"], hotadd_machine=GATEWAY,
                 hotadd_device_dir=t.config["hotadd_dir"], match=vm, **more)


def attached(t):
    return len(t.vm(GATEWAY)["disks"]) - 1


def records(t):
    return sorted(p.name for p in (t.dir / "k" / "data" / "hotadd").glob("*.attached"))


def detached(t):
    must(attached(t) == 0, f"{attached(t)} disks are left attached")
    must(not records(t), f"records left: {records(t)}")
    devices = t.dir / "devices"
    must(not devices.exists() or not list(devices.iterdir()), "devices are left")


def slow_delta(t, vm, source):
    """A delta that has read little yet, its disks attached."""
    t.replicate(vm, source=source)
    detached(t)
    t.random_writes(vm, 200, zero_pct=0)
    t.kedge("throttle", "400K")
    t.kedge("sync", vm, "--no-wait")
    wait_until(lambda: attached(t) == 2, 20, "both disks are attached")


@CASES.case()
def hotadd_reads_what_the_snapshot_froze(t, vm):
    hotadd_source(t, "added", vm)
    slow_delta(t, vm, "added")
    must(len(records(t)) == 1, f"records in data_dir: {records(t)}")
    keys = [disk["key"] for disk in t.vm(vm)["disks"]]
    frozen = [t.sha256(vm, key, snapshot=t.snapshots(vm)[0]) for key in keys]
    t.random_writes(vm, 50, zero_pct=0)  # the guest goes on: not of this cycle
    t.kedge("throttle", "0")
    t.settle(vm)
    must(t.last_cycle(vm)["kind"] == "on-demand", t.last_cycle(vm)["kind"])
    for index, digest in enumerate(frozen):
        have = hashlib.sha256(t.replica_of(vm, index).read_bytes()).hexdigest()
        must(have == digest, f"disk {index} of the replica is not what was frozen")
        must(t.status(vm)["disks"][index]["reading"] == "hotadd", t.status(vm)["disks"][index]["reading"])
    detached(t)
    t.check_clean(vm)
    good(t, vm)
    detached(t)


@CASES.case()
def hotadd_that_may_not_attach_falls_to_nfc_and_says_why(t, vm):
    account = t.ready["accounts"][ATTACHER]
    hotadd_source(t, "refused", vm, user=account["username"], password_file=account["password_file"])
    t.replicate(vm, source="refused")
    shown = t.kedge("status", vm).stdout
    has(shown, "by nfc (nbdssl, skipz); not hotadd: ", "attach", "AddExistingDisk")
    t.check_equal(vm)
    detached(t)
    good(t, vm)
    shown = t.kedge("source", "check", "refused", check=False).stdout
    has(shown, "VirtualMachine.Config.AddExistingDisk", GATEWAY, account["username"])
    must("VirtualMachine.Config.RemoveDisk" not in shown, "a privilege that it has is missed")


@CASES.case()
def hotadd_outside_of_the_server_falls_to_nfc_and_says_why(t, vm):
    hotadd_source(t, "outside", vm)
    t.add_source("nowhere", transports=["hotadd", "nfc"], hotadd_machine="no-such-gateway", match=vm)
    t.replicate(vm, source="nowhere")
    has(t.status(vm)["disks"][0]["reading"], "nfc (nbdssl, skipz); not hotadd: ", "no-such-gateway")
    has(t.kedge("source", "check", "nowhere", check=False).stdout, "no-such-gateway", "hotadd_machine")
    must("no-such-gateway" not in t.kedge("source", "check", "outside", check=False).stdout, "it is there")
    good(t, vm)


@CASES.case()
def hotadd_kedged_killed_with_disks_attached(t, vm):
    hotadd_source(t, "killed", vm)
    slow_delta(t, vm, "killed")
    t.kill_kedged()
    must(attached(t) == 2, "the disks went with kedged")
    t.start_kedged()
    t.kedge("throttle", "0")
    t.settle(vm, seconds=120)
    detached(t)
    good(t, vm)
    detached(t)


@CASES.case()
def hotadd_disk_left_attached_does_not_block_consolidation(t, vm):
    hotadd_source(t, "left", vm)
    slow_delta(t, vm, "left")
    t.kill_kedged()
    t.do("remove_snapshot", vm, snapshot=t.snapshots(vm)[0])  # by hand; the frozen files are held
    must(t.vm(vm)["consolidation_needed"], "the simulator consolidates under an attached disk")
    t.start_kedged()
    t.kedge("throttle", "0")
    t.settle(vm, seconds=120)
    detached(t)
    t.check_clean(vm)
    good(t, vm)
    detached(t)


# ---- bad input ----

@CASES.case()
def wrong_password_names_the_account(t, vm):
    path = t.dir / "wrong"
    path.write_text("not it\n")
    path.chmod(0o600)
    answer = t.add_source("bad", check=False, password_file=str(path))
    has(answer["error"]["text"], t.ready["username"])
    must(answer["error"]["kind"] == "auth", answer["error"]["kind"])


@CASES.case()
def wrong_fingerprint_shows_the_right_one(t, vm):
    answer = t.add_source("bad", check=False, fingerprint="AA:" * 31 + "AA")
    has(answer["error"]["text"].upper(), t.ready["sha256"].upper())


@CASES.case()
def untrusted_certificate_shows_its_fingerprint(t, vm):
    answer = t.add_source("bad", check=False, fingerprint=None)
    must("error" in answer, "it was trusted")


@CASES.case()
def unknown_vm_is_named(t, vm):
    run = t.kedge("replicate", "vc", "no-such-vm", "--target", "here", check=False)
    must(run.returncode != 0, "it replicates")
    has(run.stderr, "no-such-vm")


@CASES.case()
def readonly_account_names_each_privilege(t, vm):
    reader = t.ready["accounts"][READER]
    t.add_source("reader", user=reader["username"], password_file=reader["password_file"], match=vm)
    run = t.kedge("replicate", "reader", vm, "--target", "here", check=False)
    must(run.returncode == 6, f"exit {run.returncode}: {run.stderr}")
    run = t.kedge("source", "check", "reader", check=False)
    has(run.stdout, "VirtualMachine.State.CreateSnapshot", "VirtualMachine.State.RemoveSnapshot",
        "VirtualMachine.Config.ChangeTracking", "VirtualMachine.Provisioning.DiskRandomRead",
        "VirtualMachine.Provisioning.GetVmFiles", vm, reader["username"])
    must(not t.snapshots(vm), "a snapshot was made")
    t.kedge("source", "remove", "reader")


@CASES.case()
def one_session_serves_many_cycles(t, vm):
    t.do("expire_sessions")  # of logouts that a fault before this case has swallowed
    t.ask("/counters/reset", {})
    t.replicate(vm)
    for _ in range(3):
        t.random_writes(vm, 5)
        t.sync(vm)
    wait_until(lambda: t.ask("/state")["sessions"] == 0, 10, "every session is logged out")
    must(t.ask("/counters")["logins"] <= 8, f"logins: {t.ask('/counters')}")


run_cases(CASES)
