#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Debian's pyVmomi, a client that knows nothing of this project, works against the simulated vSphere."""
import atexit
import hashlib
import os
import shutil
import ssl
import sys
import tempfile
import time
import unittest
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lab import Lab, skip  # noqa: E402

warnings.simplefilter("ignore")
try:
    from pyVim.connect import Disconnect, SmartConnect
    from pyVmomi import vim, vmodl
except ImportError:
    skip("python3-pyvmomi is not installed")

RECORD = os.environ.get("KEDGE_SIM_RECORD") or None
HOTADD = tempfile.mkdtemp(prefix="kedge-sim-")
atexit.register(shutil.rmtree, HOTADD)
VMS = [{"name": "wéb 01/ä", "folder": "Prod/Büro", "ips": ["10.0.0.5"], "hostname": "web", "firmware": "efi",
        "disks": [{"size_mib": 64, "fill_mib": 4}, {"size_mib": 32, "provisioning": "eager", "controller": "nvme"}]},
       {"name": "old", "snapshots": ["before"], "disks": [{"size_mib": 8}]},
       {"name": "odd", "power": "off", "fault_tolerance": True, "disks": [
           {"size_mib": 8, "rdm": "physical"}, {"size_mib": 8, "mode": "independent_persistent", "controller": "ide"},
           {"size_mib": 8, "encrypted": True, "bus_sharing": "virtualSharing", "controller": "lsilogic", "bus": 1}]}]
ACCOUNTS = [{"username": "administrator@vsphere.local", "password": "geheim <&> ü"},
            {"username": "reader", "password": "r", "privileges": "readonly"}]


def connect(lab, username=None, password=None):
    trust = ssl.create_default_context(cafile=lab.ready["certificate"])
    return SmartConnect(host=lab.ready["address"], port=lab.ready["port"], sslContext=trust,
                        user=username or lab.ready["username"], pwd=password or lab.ready["password"])


def wait(task):
    end = time.monotonic() + 20
    while task.info.state in ("queued", "running"):
        if time.monotonic() > end:
            raise TimeoutError(task.info)
        time.sleep(0.01)
    if task.info.state == "error":
        raise task.info.error
    return task.info.result


def all_of(si, kind):
    content = si.RetrieveContent()
    view = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
    try:
        return list(view.view)
    finally:
        view.Destroy()


class WithLab(unittest.TestCase):
    config = {"vms": VMS, "accounts": ACCOUNTS, "cbt": {"max_areas": 3}, "record_dir": RECORD,
              "hotadd_dir": HOTADD}

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(cls.config).__enter__()
        cls.si = connect(cls.lab)

    @classmethod
    def tearDownClass(cls):
        Disconnect(cls.si)
        cls.lab.__exit__(None, None, None)

    def vm(self, name):
        return next(v for v in all_of(self.si, vim.VirtualMachine) if v.name == name.replace("/", "%2f"))

    def setUp(self):
        self.lab.clear_faults()


class Session(WithLab):
    def test_a_wrong_password_is_InvalidLogin(self):
        with self.assertRaises(vim.fault.InvalidLogin):
            connect(self.lab, password="wrong")

    def test_the_session_is_active_until_logout(self):
        other = connect(self.lab)
        manager = other.RetrieveContent().sessionManager
        session = manager.currentSession
        self.assertTrue(manager.SessionIsActive(session.key, session.userName))
        Disconnect(other)
        with self.assertRaises(vim.fault.NotAuthenticated):
            other.CurrentTime()

    def test_an_idle_session_expires(self):
        other = connect(self.lab)
        self.lab.post("/clock", skip_seconds=1700)
        other.CurrentTime()
        self.si.CurrentTime()
        self.lab.post("/clock", skip_seconds=1900)
        with self.assertRaises(vim.fault.NotAuthenticated):
            other.CurrentTime()
        type(self).si = connect(self.lab)

    def test_vcenter_restart_ends_every_session(self):
        other = connect(self.lab)
        self.lab.do("vcenter_restart")
        with self.assertRaises(vim.fault.NotAuthenticated):
            other.CurrentTime()
        type(self).si = connect(self.lab)

    def test_a_reader_may_look_but_not_snapshot(self):
        other = connect(self.lab, "reader", "r")
        vm = next(v for v in all_of(other, vim.VirtualMachine) if v.name == "old")
        with self.assertRaises(vim.fault.NoPermission) as caught:
            vm.CreateSnapshot_Task("x", "", False, False)
        self.assertEqual(caught.exception.privilegeId, "VirtualMachine.State.CreateSnapshot")
        self.assertEqual(caught.exception.object, vm)
        Disconnect(other)


class Inventory(WithLab):
    def test_names_places_and_hardware(self):
        vm = self.vm("wéb 01/ä")
        self.assertEqual(vm.parent.name, "Büro")
        self.assertEqual(vm.runtime.host.name, "esx-01.lab")
        self.assertEqual(vm.config.firmware, "efi")
        self.assertEqual(vm.guest.ipAddress, "10.0.0.5")
        disks = [d for d in vm.config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk)]
        self.assertEqual([(d.key, d.capacityInBytes, d.backing.thinProvisioned) for d in disks],
                         [(2000, 64 << 20, True), (32000, 32 << 20, False)])
        self.assertEqual(disks[0].backing.datastore.summary.type, "VMFS")
        self.assertEqual([n.name for n in vm.network], ["VM Network"])

    def test_odd_disks_are_shown_as_such(self):
        devices = self.vm("odd").config.hardware.device
        disks = [d for d in devices if isinstance(d, vim.vm.device.VirtualDisk)]
        self.assertEqual(disks[0].backing.compatibilityMode, "physicalMode")
        self.assertEqual(disks[1].backing.diskMode, "independent_persistent")
        self.assertIsNotNone(disks[2].backing.keyId)
        shared = [d for d in devices if isinstance(d, vim.vm.device.VirtualLsiLogicController)]
        self.assertEqual(shared[0].sharedBus, "virtualSharing")

    def test_every_property_of_every_type(self):
        for kind in (vim.VirtualMachine, vim.HostSystem, vim.Datastore, vim.Network, vim.Folder, vim.Datacenter,
                     vim.ClusterComputeResource, vim.ResourcePool):
            found = all_of(self.si, kind)
            self.assertTrue(found, kind)
            spec = vmodl.query.PropertyCollector.FilterSpec(
                objectSet=[vmodl.query.PropertyCollector.ObjectSpec(obj=o) for o in found],
                propSet=[vmodl.query.PropertyCollector.PropertySpec(type=kind, all=True)])
            answer = self.si.content.propertyCollector.RetrieveContents([spec])
            self.assertEqual(len(answer), len(found))
            for one in answer:
                self.assertIn("name", [p.name for p in one.propSet])

    def test_pages(self):
        spec_class = vmodl.query.PropertyCollector
        view = self.si.content.viewManager.CreateContainerView(self.si.content.rootFolder, [vim.ManagedEntity], True)
        spec = spec_class.FilterSpec(
            objectSet=[spec_class.ObjectSpec(obj=view, skip=True, selectSet=[spec_class.TraversalSpec(
                name="v", type=vim.view.ContainerView, path="view", skip=False)])],
            propSet=[spec_class.PropertySpec(type=vim.ManagedEntity, pathSet=["name", "parent"])])
        collector = self.si.content.propertyCollector
        whole = collector.RetrievePropertiesEx([spec], spec_class.RetrieveOptions())
        self.assertIsNone(whole.token)
        page = collector.RetrievePropertiesEx([spec], spec_class.RetrieveOptions(maxObjects=4))
        names = [o.propSet[0].val for o in page.objects]
        while page.token:
            self.assertEqual(len(page.objects), 4)
            page = collector.ContinueRetrievePropertiesEx(page.token)
            names += [o.propSet[0].val for o in page.objects]
        self.assertEqual(names, [o.propSet[0].val for o in whole.objects])
        with self.assertRaises(vmodl.query.InvalidProperty):
            spec.propSet[0].pathSet = ["nonsense"]
            collector.RetrievePropertiesEx([spec], spec_class.RetrieveOptions())

    def test_search(self):
        vm = self.vm("old")
        index = self.si.content.searchIndex
        self.assertEqual(index.FindByUuid(None, vm.config.uuid, True, False), vm)
        self.assertEqual(index.FindByUuid(None, vm.config.instanceUuid, True, True), vm)
        self.assertEqual(index.FindByInventoryPath("DC0/vm/old"), vm)
        self.assertIsNone(index.FindByUuid(None, "0", True, False))

    def test_a_path_into_a_device_by_key(self):
        spec_class = vmodl.query.PropertyCollector
        spec = spec_class.FilterSpec(objectSet=[spec_class.ObjectSpec(obj=self.vm("old"))], propSet=[
            spec_class.PropertySpec(type=vim.VirtualMachine, pathSet=[
                "config.hardware.device[2000].backing", "summary.config.numCpu"])])
        values = {p.name: p.val for p in self.si.content.propertyCollector.RetrieveContents([spec])[0].propSet}
        self.assertEqual(values["config.hardware.device[2000].backing"].fileName, "[datastore1] old/old-000001.vmdk")
        self.assertEqual(values["summary.config.numCpu"], 2)

    def test_privileges_are_told(self):
        manager = self.si.content.authorizationManager
        vm = self.vm("old")
        found = manager.FetchUserPrivilegeOnEntities([vm], "reader")
        self.assertNotIn("VirtualMachine.State.CreateSnapshot", found[0].privileges)
        found = manager.FetchUserPrivilegeOnEntities([vm], "administrator@vsphere.local")
        self.assertIn("VirtualMachine.State.CreateSnapshot", found[0].privileges)

    def test_an_alarm_of_a_datastore(self):
        store = all_of(self.si, vim.Datastore)[0]
        self.lab.do("alarm", datastore=store.name)
        self.assertEqual(store.triggeredAlarmState[0].overallStatus, "red")
        self.lab.do("alarm", datastore=store.name, on=False)
        self.assertFalse(store.triggeredAlarmState)


class Snapshots(WithLab):
    def enable(self, vm):
        wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(changeTrackingEnabled=True)))
        wait(wait(vm.CreateSnapshot_Task("stun", "", False, False)).RemoveSnapshot_Task(False))

    def disks(self, config):
        return {d.key: d.backing for d in config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk)}

    def areas(self, vm, snapshot, key, since):
        size = next(d.capacityInBytes for d in snapshot.config.hardware.device if d.key == key)
        start, found, pages = 0, [], 0
        while start < size:
            page = vm.QueryChangedDiskAreas(snapshot, key, start, since)
            found += [(a.start, a.length) for a in page.changedArea or []]
            start, pages = page.startOffset + page.length, pages + 1
        return found, pages

    def test_a_cycle(self):
        vm = self.vm("wéb 01/ä")
        self.enable(vm)
        first = wait(vm.CreateSnapshot_Task("one", "d", False, False))
        self.assertEqual(vm.snapshot.rootSnapshotList[0].name, "one")
        frozen = self.disks(first.config)
        self.assertEqual(vm.config.name, "wéb 01%2fä")
        self.assertEqual(frozen[2000].fileName, "[datastore1] wéb 01_ä/wéb 01_ä.vmdk")
        self.assertEqual(self.disks(vm.config)[2000].parent.fileName, frozen[2000].fileName)
        allocated, _ = self.areas(vm, first, 2000, "*")
        self.assertEqual(sum(n for _, n in allocated), 4 << 20)
        before = self.lab.get("/sha256", vm=vm._moId, disk=2000, snapshot="one")
        writes = [{"offset": o, "length": 512, "seed": o} for o in (0, 200000, 400000, 800000, 60 << 20, (64 << 20) - 512)]
        self.lab.post("/write", vm=vm._moId, disk=2000, writes=writes)
        self.assertEqual(self.lab.get("/sha256", vm=vm._moId, disk=2000, snapshot="one"), before)
        self.assertNotEqual(self.lab.get("/sha256", vm=vm._moId, disk=2000), before)
        wait(first.RemoveSnapshot_Task(False, True))
        self.assertIsNone(vm.snapshot)
        self.assertFalse(vm.runtime.consolidationNeeded)
        self.assertIsNone(self.disks(vm.config)[2000].parent)
        second = wait(vm.CreateSnapshot_Task("two", "", False, False))
        changed, pages = self.areas(vm, second, 2000, frozen[2000].changeId)
        self.assertEqual(changed, [(w["offset"] // 65536 * 65536, 65536) for w in writes])
        self.assertEqual(pages, 2)
        with self.assertRaises(vmodl.fault.InvalidArgument) as caught:
            vm.QueryChangedDiskAreas(second, 2000, 64 << 20, frozen[2000].changeId)
        self.assertEqual(caught.exception.invalidProperty, "startOffset")
        self.lab.do("reset_cbt", vm=vm._moId)
        wait(second.RemoveSnapshot_Task(False))
        third = wait(vm.CreateSnapshot_Task("three", "", False, False))
        with self.assertRaises(vim.fault.FileFault):
            vm.QueryChangedDiskAreas(third, 2000, 0, frozen[2000].changeId)
        wait(third.RemoveSnapshot_Task(False))

    def test_tracking_needs_a_stun(self):
        vm = self.vm("old")
        wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(changeTrackingEnabled=True)))
        snapshot = wait(vm.CreateSnapshot_Task("x", "", False, False))
        self.assertIsNone(self.disks(snapshot.config)[2000].changeId)
        wait(snapshot.RemoveSnapshot_Task(False))
        snapshot = wait(vm.CreateSnapshot_Task("x", "", False, False))
        self.assertTrue(self.disks(snapshot.config)[2000].changeId)
        wait(snapshot.RemoveSnapshot_Task(False))

    def test_failures_of_tasks(self):
        vm = self.vm("wéb 01/ä")
        self.lab.fault("snapshot.create_fails", fault="FileFault", count=1)
        with self.assertRaises(vim.fault.FileFault):
            wait(vm.CreateSnapshot_Task("x", "", False, False))
        self.lab.fault("snapshot.quiesce_fails", count=1)
        with self.assertRaises(vim.fault.ApplicationQuiesceFault):
            wait(vm.CreateSnapshot_Task("x", "", False, True))
        snapshot = wait(vm.CreateSnapshot_Task("x", "", False, True))
        self.assertTrue(vm.snapshot.rootSnapshotList[0].quiesced)
        self.lab.fault("snapshot.leaves_consolidation", count=1)
        wait(snapshot.RemoveSnapshot_Task(False))
        self.assertTrue(vm.runtime.consolidationNeeded)
        self.lab.fault("consolidate.fails", count=1)
        with self.assertRaises(vim.fault.FileLocked):
            wait(vm.ConsolidateVMDisks_Task())
        wait(vm.ConsolidateVMDisks_Task())
        self.assertFalse(vm.runtime.consolidationNeeded)

    def test_stuck_at_95_until_cancelled(self):
        vm = self.vm("wéb 01/ä")
        self.lab.fault("snapshot.stuck_95", count=1)
        task = vm.CreateSnapshot_Task("x", "", False, False)
        end = time.monotonic() + 5
        while task.info.progress != 95 and time.monotonic() < end:
            time.sleep(0.01)
        self.assertEqual((task.info.state, task.info.progress), ("running", 95))
        with self.assertRaises(vim.fault.TaskInProgress):
            vm.CreateSnapshot_Task("y", "", False, False)
        task.CancelTask()
        with self.assertRaises(vmodl.fault.RequestCanceled):
            wait(task)

    def test_a_full_datastore_refuses_snapshots(self):
        vm = self.vm("wéb 01/ä")
        self.lab.do("fill_datastore", datastore="datastore1", free_bytes=1000)
        with self.assertRaises(vim.fault.NoDiskSpace):
            wait(vm.CreateSnapshot_Task("x", "", False, False))
        self.lab.do("fill_datastore", datastore="datastore1")

    def test_hotadd_shows_the_frozen_disk_as_a_device(self):
        vm, gateway = self.vm("wéb 01/ä"), self.vm("old")
        snapshot = wait(vm.CreateSnapshot_Task("x", "", False, False))
        frozen = self.disks(snapshot.config)[2000]
        truth = self.lab.get("/sha256", vm=vm._moId, disk=2000, snapshot="x")["sha256"]
        self.lab.post("/write", vm=vm._moId, disk=2000, writes=[{"offset": 0, "length": 4096, "seed": 1}])
        disk = vim.vm.device.VirtualDisk(key=-1, controllerKey=1000, unitNumber=5, capacityInKB=0, backing=(
            vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName=frozen.fileName, diskMode="independent_nonpersistent")))
        add = vim.vm.device.VirtualDeviceSpec(operation="add", device=disk)
        wait(gateway.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[add])))
        added = next(d for d in gateway.config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk)
                     and d.backing.fileName == frozen.fileName)
        self.assertEqual(added.backing.uuid, frozen.uuid)
        with open(os.path.join(HOTADD, "wwn-0x" + frozen.uuid.replace("-", "").lower()), "rb") as device:
            self.assertEqual(hashlib.sha256(device.read()).hexdigest(), truth)
        wait(snapshot.RemoveSnapshot_Task(False))
        self.assertTrue(vm.runtime.consolidationNeeded, "the attached disk holds its file")
        remove = vim.vm.device.VirtualDeviceSpec(operation="remove", device=added)
        wait(gateway.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[remove])))
        self.assertEqual(os.listdir(HOTADD), [])
        wait(vm.ConsolidateVMDisks_Task())

    def test_updates_arrive(self):
        spec_class = vmodl.query.PropertyCollector
        vm = self.vm("old")
        collector = self.si.content.propertyCollector
        spec = spec_class.FilterSpec(objectSet=[spec_class.ObjectSpec(obj=vm)], propSet=[
            spec_class.PropertySpec(type=vim.VirtualMachine, pathSet=["name", "runtime.powerState"])])
        one = collector.CreateFilter(spec, True)
        first = collector.WaitForUpdatesEx("", spec_class.WaitOptions(maxWaitSeconds=5))
        self.assertEqual(first.filterSet[0].objectSet[0].kind, "enter")
        self.assertIsNone(collector.WaitForUpdatesEx(first.version, spec_class.WaitOptions(maxWaitSeconds=0)))
        self.lab.do("power_off", vm="old")
        second = collector.WaitForUpdatesEx(first.version, spec_class.WaitOptions(maxWaitSeconds=5))
        changes = second.filterSet[0].objectSet[0].changeSet
        self.assertEqual([(c.name, c.val) for c in changes], [("runtime.powerState", "poweredOff")])
        with self.assertRaises(vmodl.query.InvalidCollectorVersion):
            collector.WaitForUpdatesEx("77", spec_class.WaitOptions(maxWaitSeconds=0))
        one.Destroy()
        self.lab.do("power_on", vm="old")

    def test_power(self):
        vm = self.vm("old")
        vm.ShutdownGuest()
        end = time.monotonic() + 5
        while vm.runtime.powerState != "poweredOff" and time.monotonic() < end:
            time.sleep(0.02)
        with self.assertRaises(vim.fault.InvalidPowerState):
            wait(vm.PowerOffVM_Task())
        wait(vm.PowerOnVM_Task())
        self.assertEqual(vm.runtime.powerState, "poweredOn")

    def test_physical_rdm_refuses_snapshots(self):
        with self.assertRaises(vim.fault.GenericVmConfigFault):
            wait(self.vm("odd").CreateSnapshot_Task("x", "", False, False))


class BareHost(WithLab):
    config = {"mode": "esxi", "vms": [{"name": "solo", "disks": [{"size_mib": 4}]}], "record_dir": RECORD}

    def test_inventory_and_snapshot(self):
        self.assertEqual(self.si.content.about.apiType, "HostAgent")
        self.assertEqual(self.si.content.rootFolder._moId, "ha-folder-root")
        vm = self.vm("solo")
        snapshot = wait(vm.CreateSnapshot_Task("s", "", False, False))
        self.assertEqual(snapshot._moId, "1-snapshot-1")
        wait(snapshot.RemoveSnapshot_Task(False))


if __name__ == "__main__":
    unittest.main(verbosity=1)
