# SPDX-License-Identifier: Apache-2.0
"""What the properties of virtual machines and snapshots show, built from the model whenever they are asked for."""
import zlib

from .model import CONTROLLERS, escaped
from .tasks import utc
from .vimtypes import TABLE, Data, Ref

CAPABILITIES_OFF = {"disableSnapshotsSupported", "lockSnapshotsSupported", "vmNpivWwnSupported",
                    "npivWwnOnNonRdmVmSupported", "vmNpivWwnDisableSupported", "vmNpivWwnUpdateSupported",
                    "recordReplaySupported", "hostBasedReplicationSupported", "guestAutoLockSupported",
                    "vPMCSupported", "toolsAutoUpdateSupported"}
NOT_PUBLIC = {"settingDisplayTopologyModesSupported", "vmfsNativeSnapshotSupported", "toolsRebootPredictSupported",
              "messageBusSupported"}       # pyVmomi knows them, the published schema does not
NIC_TYPES = {"vmxnet3": "VirtualVmxnet3", "e1000": "VirtualE1000", "e1000e": "VirtualE1000e"}


def capability(vm):
    fields = {f.name: f.name not in CAPABILITIES_OFF for f in TABLE.fields("VirtualMachineCapability").values()
              if not f.optional and f.name not in NOT_PUBLIC}
    fields["changeTrackingSupported"] = vm.settings["hardware_version"] >= 7
    return Data("VirtualMachineCapability", **fields)


def _flat_backing(vm, disk, link, change_id, shared):
    """The chain of backings, youngest first; a delta is vmfsSparse on small disks, seSparse else."""
    parent = _flat_backing(vm, disk, link.parent, None, shared) if link.parent is not None else None
    is_delta = link.parent is not None
    return Data("VirtualDiskFlatVer2BackingInfo", fileName=link.ds_path, datastore=vm.world.datastore_of(link).ref,
                backingObjectId="", diskMode=disk.settings["mode"], split=False, writeThrough=False,
                thinProvisioned=link.provisioning == "thin",
                eagerlyScrub=True if link.provisioning == "eager" else None, uuid=disk.uuid,
                contentId=f"{zlib.crc32((disk.uuid + link.path).encode()):08x}", changeId=change_id, parent=parent,
                deltaDiskFormat="redoLogFormat" if is_delta else None, digestEnabled=False,
                deltaGrainSize=8 if is_delta else None, deltaDiskFormatVariant="vmfsSparseVariant" if is_delta else None,
                sharing=shared, keyId=Data("CryptoKeyId", keyId="key-1") if disk.settings["encrypted"] else None)


def _raw_backing(vm, disk, link, change_id, shared):
    parent = _raw_backing(vm, disk, link.parent, None, shared) if link.parent is not None else None
    return Data("VirtualDiskRawDiskMappingVer1BackingInfo", fileName=link.ds_path,
                datastore=vm.world.datastore_of(link).ref, backingObjectId="", lunUuid="02000000006000c29" + disk.uuid[:8],
                deviceName=f"vml.02000000006000c29{disk.uuid[:8]}",
                compatibilityMode=disk.settings["rdm"] + "Mode", diskMode=disk.settings["mode"], uuid=disk.uuid,
                changeId=change_id, parent=parent, sharing=shared)


def virtual_disk(vm, disk, change_id):
    make = _raw_backing if disk.settings["rdm"] else _flat_backing
    backing = make(vm, disk, disk.leaf, change_id, disk.settings["sharing"])
    summary = f"{disk.capacity_bytes // 1024:,} KB"
    return Data("VirtualDisk", key=disk.key, deviceInfo=Data("Description", label=disk.label, summary=summary),
                backing=backing, controllerKey=disk.controller_key, unitNumber=disk.unit,
                capacityInKB=disk.capacity_bytes // 1024, capacityInBytes=disk.capacity_bytes,
                diskObjectId=f"{vm.moref}-{disk.key}", nativeUnmanagedLinkedClone=False)


def _controllers(vm, disks):
    pci = Data("Description", label="PCI controller 0", summary="PCI controller 0")
    yield Data("VirtualPCIController", key=100, deviceInfo=pci, busNumber=0)
    for key, kind, type_name, bus, sharing in vm.controllers:
        _, _, label, parent, _ = CONTROLLERS[kind]
        text = f"{label} {bus}"
        extra = {}
        if "SCSI" in label:
            extra = {"hotAddRemove": True, "sharedBus": sharing, "scsiCtlrUnitNumber": 7}
        yield Data(type_name, key=key, deviceInfo=Data("Description", label=text, summary=text), controllerKey=parent,
                   unitNumber=3 + bus if parent else None, busNumber=bus,
                   device=[d.key for d in disks if d.controller_key == key] or None, **extra)


def _nics(vm):
    for number, nic in enumerate(vm.nics):
        backing = Data("VirtualEthernetCardNetworkBackingInfo", deviceName=nic.network.name, useAutoDetect=False,
                       network=nic.network.ref)
        yield Data(NIC_TYPES.get(nic.type, "VirtualVmxnet3"), key=nic.key,
                   deviceInfo=Data("Description", label=f"Network adapter {number + 1}", summary=nic.network.name),
                   backing=backing, controllerKey=100, unitNumber=7 + number,
                   connectable=Data("VirtualDeviceConnectInfo", startConnected=True, allowGuestControl=True,
                                    connected=vm.power == "poweredOn", status="ok"),
                   addressType="manual", macAddress=nic.mac, wakeOnLanEnabled=True, uptCompatibilityEnabled=False)


def live_change_id(disk):
    """What the VM's own config shows; it is the id that the next snapshot will get, useless for queries."""
    return f"{disk.tracker.uuid}/{disk.tracker.sequence}" if disk.tracker is not None else None


def config(vm, disks=None):
    """VirtualMachineConfigInfo of the VM, or with a snapshot's disks that of the snapshot."""
    settings = vm.settings
    shown = vm.disks if disks is None else disks
    devices = list(_controllers(vm, shown)) + list(_nics(vm))
    devices += [virtual_disk(vm, d, live_change_id(d) if disks is None else d.change_id) for d in shown]
    directory = f"[{vm.home.name}] {vm.directory}/"
    secure = Data("VirtualMachineBootOptions", efiSecureBootEnabled=settings["secure_boot"], bootRetryEnabled=False)
    fault_tolerance = None
    if settings["fault_tolerance"]:
        fault_tolerance = Data("FaultTolerancePrimaryConfigInfo", role=1, instanceUuids=[vm.instance_uuid],
                               configPaths=[directory], secondaries=[vm.ref])
    return Data(
        "VirtualMachineConfigInfo", changeVersion=str(vm.version), modified=utc(vm.boot_time), name=escaped(vm.name),
        guestFullName=settings["guest_name"], version=f"vmx-{settings['hardware_version']:02}", uuid=vm.uuid,
        createDate=utc(vm.boot_time), instanceUuid=vm.instance_uuid, locationId="564d0000-0000-0000-0000-000000000000",
        template=settings["template"], guestId=settings["guest_id"], alternateGuestName="",
        annotation=settings["annotation"],
        files=Data("VirtualMachineFileInfo", vmPathName=f"{directory}{vm.directory}.vmx", snapshotDirectory=directory,
                   suspendDirectory=directory, logDirectory=directory),
        tools=Data("ToolsConfigInfo", toolsVersion=12352 if settings["tools"] != "not_installed" else 0,
                   syncTimeWithHost=False),
        flags=Data("VirtualMachineFlagInfo", enableLogging=True, diskUuidEnabled=True),
        defaultPowerOps=Data("VirtualMachineDefaultPowerOpInfo", powerOffType="soft"),
        hardware=Data("VirtualHardware", numCPU=settings["cpus"], numCoresPerSocket=1, memoryMB=settings["memory_mib"],
                      device=devices),
        bootOptions=secure, ftInfo=fault_tolerance, changeTrackingEnabled=vm.cbt, firmware=settings["firmware"],
        keyId=Data("CryptoKeyId", keyId="key-1") if settings["encrypted"] else None)


def _tools(vm):
    state = vm.settings["tools"] if vm.power == "poweredOn" or vm.settings["tools"] == "not_installed" else "not_running"
    return {"running": ("toolsOk", "guestToolsRunning"), "not_running": ("toolsNotRunning", "guestToolsNotRunning"),
            "not_installed": ("toolsNotInstalled", "guestToolsNotRunning")}[state]


def tools_running(vm):
    return _tools(vm)[0] == "toolsOk"


def guest(vm):
    status, running = _tools(vm)
    up = status == "toolsOk"
    ips = vm.settings["ips"]
    nets = [Data("GuestNicInfo", network=n.network.name, ipAddress=ips if number == 0 else None, macAddress=n.mac,
                 connected=True, deviceConfigId=n.key) for number, n in enumerate(vm.nics)]
    version_status = "guestToolsCurrent" if status != "toolsNotInstalled" else "guestToolsNotInstalled"
    return Data("GuestInfo", toolsStatus=status, toolsVersionStatus=version_status, toolsVersionStatus2=version_status,
                toolsRunningStatus=running, toolsVersion="12352" if status != "toolsNotInstalled" else "0",
                guestId=vm.settings["guest_id"] if up else None, guestFamily="linuxGuest" if up else None,
                guestFullName=vm.settings["guest_name"] if up else None,
                hostName=vm.settings["hostname"] if up else None, ipAddress=ips[0] if up and ips else None,
                net=nets if up else None, guestState="running" if vm.power == "poweredOn" else "notRunning",
                guestOperationsReady=up, interactiveGuestOperationsReady=False, guestStateChangeSupported=up)


def runtime(vm):
    return Data("VirtualMachineRuntimeInfo", host=vm.host.ref,
                connectionState="connected" if vm.host.connected else "disconnected", powerState=vm.power,
                faultToleranceState="running" if vm.settings["fault_tolerance"] else "notConfigured",
                toolsInstallerMounted=False, bootTime=utc(vm.boot_time) if vm.power == "poweredOn" else None,
                maxCpuUsage=2000, maxMemoryUsage=vm.settings["memory_mib"], numMksConnections=0,
                recordReplayState="inactive", onlineStandby=False, consolidationNeeded=vm.consolidation_needed,
                paused=False, snapshotInBackground=False,
                cryptoState="unlocked" if vm.settings["encrypted"] else None)


def _committed(vm):
    return sum(link.allocated_bytes() for disk in vm.disks for link in disk.leaf.chain())


def summary(vm):
    settings = vm.settings
    status, running = _tools(vm)
    shown = Data("VirtualMachineConfigSummary", name=escaped(vm.name), template=settings["template"],
                 vmPathName=f"[{vm.home.name}] {vm.directory}/{vm.directory}.vmx", memorySizeMB=settings["memory_mib"],
                 numCpu=settings["cpus"], numEthernetCards=len(vm.nics), numVirtualDisks=len(vm.disks), uuid=vm.uuid,
                 instanceUuid=vm.instance_uuid, guestId=settings["guest_id"], guestFullName=settings["guest_name"],
                 annotation=settings["annotation"])
    in_guest = Data("VirtualMachineGuestSummary", toolsStatus=status, toolsRunningStatus=running,
                    hostName=settings["hostname"], ipAddress=settings["ips"][0] if settings["ips"] else None)
    committed = _committed(vm)
    whole = sum(d.capacity_bytes for d in vm.disks)
    return Data("VirtualMachineSummary", vm=vm.ref, runtime=runtime(vm), guest=in_guest, config=shown,
                storage=Data("VirtualMachineStorageSummary", committed=committed, uncommitted=max(0, whole - committed),
                             unshared=committed, timestamp=utc(vm.world.clock.now())),
                quickStats=Data("VirtualMachineQuickStats", overallCpuUsage=10, guestMemoryUsage=100,
                                guestHeartbeatStatus="green"), overallStatus="green")


def layout_ex(vm):
    files, disks = [], []
    for disk in vm.disks:
        units = []
        for link in reversed(disk.leaf.chain()):
            key = len(files)
            files.append(Data("VirtualMachineFileLayoutExFileInfo", key=key, name=link.ds_path, type="diskDescriptor",
                              size=512))
            data_name = link.ds_path.removesuffix(".vmdk") + ("-delta.vmdk" if link.parent else "-flat.vmdk")
            files.append(Data("VirtualMachineFileLayoutExFileInfo", key=key + 1, name=data_name, type="diskExtent",
                              size=link.allocated_bytes()))
            units.append(Data("VirtualMachineFileLayoutExDiskUnit", fileKey=[key, key + 1]))
        disks.append(Data("VirtualMachineFileLayoutExDiskLayout", key=disk.key, chain=units))
    return Data("VirtualMachineFileLayoutEx", file=files or None, disk=disks or None, timestamp=utc(vm.world.clock.now()))


def _tree(snapshot):
    return Data("VirtualMachineSnapshotTree", snapshot=snapshot.ref, vm=snapshot.vm.ref, name=snapshot.name,
                description=snapshot.description, id=snapshot.number, createTime=utc(snapshot.created),
                state=snapshot.power, quiesced=snapshot.quiesced,
                childSnapshotList=[_tree(s) for s in snapshot.below] or None, replaySupported=False)


def snapshot_info(vm):
    if not vm.roots:
        return None
    return Data("VirtualMachineSnapshotInfo", currentSnapshot=vm.current_snapshot.ref if vm.current_snapshot else None,
                rootSnapshotList=[_tree(s) for s in vm.roots])


VIRTUAL_MACHINE = {
    "capability": capability, "config": config, "guest": guest, "runtime": runtime, "summary": summary,
    "layoutEx": layout_ex, "snapshot": snapshot_info,
    "rootSnapshot": lambda vm: [s.ref for s in vm.roots] or None,
    "environmentBrowser": lambda vm: Ref("EnvironmentBrowser", "envbrowser-" + vm.moref),
    "resourcePool": lambda vm: None if vm.settings["template"] else vm.host.compute.pool.ref,
    "datastore": lambda vm: [d.ref for d in vm.datastores()],
    "network": lambda vm: [n.ref for n in dict.fromkeys(nic.network for nic in vm.nics)],
    "guestHeartbeatStatus": lambda vm: "green" if tools_running(vm) else "gray",
}
SNAPSHOT = {
    "config": lambda s: config(s.vm, list(s.disks.values())),
    "childSnapshot": lambda s: [c.ref for c in s.below] or None,
    "vm": lambda s: s.vm.ref,
}
