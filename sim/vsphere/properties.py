# SPDX-License-Identifier: Apache-2.0
"""Properties of every managed type by name, and property paths such as config.hardware.device[2000].backing."""
import re

from . import vm_properties
from .model import (ComputeResource, Datacenter, DatastoreEntity, Folder, Host, Network, ResourcePool, Snapshot,
                    VirtualMachine, escaped)
from .tasks import Task, utc
from .vimtypes import TABLE, Data, Field, Ref


def _hosts_of(world):
    return world.of_type(Host)


def _host_config(host):
    version, number = host.settings["version"], host.settings["build"]
    product = Data("AboutInfo", name="VMware ESXi", fullName=f"VMware ESXi {version} build-{number}",
                   vendor="VMware, Inc.", version=version, build=number, localeVersion="INTL", localeBuild="000",
                   osType="vmnix-x86", productLineId="embeddedEsx", apiType="HostAgent",
                   apiVersion=version, licenseProductName="VMware ESX Server", licenseProductVersion="8.0")
    thumbprint = host.listener.certificate.sha1 if host.listener is not None else None
    return Data("HostConfigSummary", name=host.name, port=443, sslThumbprint=thumbprint, product=product,
                vmotionEnabled=True, faultToleranceEnabled=False)


def _host_runtime(host):
    return Data("HostRuntimeInfo", connectionState="connected" if host.connected else "notResponding",
                powerState="poweredOn" if host.connected else "unknown", inMaintenanceMode=False,
                bootTime=utc(host.world.clock.now() - 86400))


def _host_summary(host):
    hardware = Data("HostHardwareSummary", vendor="Simulated", model="Host",
                    uuid=f"00000000-0000-0000-0000-{host.moref:>012}", memorySize=256 << 30,
                    cpuModel="Simulated CPU", cpuMhz=2000, numCpuPkgs=2, numCpuCores=32, numCpuThreads=64,
                    numNics=2, numHBAs=2)
    return Data("HostListSummary", host=host.ref, hardware=hardware, runtime=_host_runtime(host), config=_host_config(host),
                quickStats=Data("HostListSummaryQuickStats", overallCpuUsage=1000, overallMemoryUsage=10000, uptime=86400),
                overallStatus="green", rebootRequired=False, managementServerIp=None if host.world.esxi else "127.0.0.1")


def _datastore_url(datastore):
    return f"ds:///vmfs/volumes/{datastore.moref}/"


def _datastore_summary(datastore):
    storage = datastore.storage
    provisioned = sum(link.capacity_bytes for link in list(storage.links.values()) if not link.preallocated)
    return Data("DatastoreSummary", datastore=datastore.ref, name=datastore.name, url=_datastore_url(datastore),
                capacity=storage.capacity_bytes, freeSpace=storage.free_bytes(), uncommitted=provisioned, accessible=True,
                multipleHostAccess=not datastore.world.esxi, type=storage.kind, maintenanceMode="normal")


def _datastore_info(datastore):
    storage = datastore.storage
    common = {"name": datastore.name, "url": _datastore_url(datastore), "freeSpace": storage.free_bytes(),
              "maxFileSize": 1 << 46, "maxVirtualDiskCapacity": 62 << 40, "maxMemoryFileSize": 1 << 46,
              "timestamp": utc(datastore.world.clock.now())}
    if storage.kind == "VMFS":
        volume = Data("HostVmfsVolume", type="VMFS", name=datastore.name, capacity=storage.capacity_bytes, blockSizeMb=1,
                      maxBlocks=63963136, majorVersion=6, version="6.82", uuid=datastore.moref,
                      extent=[Data("HostScsiDiskPartition", diskName="naa.6000", partition=1)], vmfsUpgradable=False)
        return Data("VmfsDatastoreInfo", maxPhysicalRDMFileSize=62 << 40, maxVirtualRDMFileSize=62 << 40, vmfs=volume,
                    **common)
    if storage.kind == "NFS":
        volume = Data("HostNasVolume", type="NFS", name=datastore.name, capacity=storage.capacity_bytes,
                      remoteHost="nas.lab", remotePath="/export/" + datastore.moref)
        return Data("NasDatastoreInfo", nas=volume, **common)
    return Data("DatastoreInfo", **common)


def _datastore_hosts(datastore):
    info = Data("HostMountInfo", path=f"/vmfs/volumes/{datastore.moref}", accessMode="readWrite", mounted=True,
                accessible=True)
    return [Data("DatastoreHostMount", key=h.ref, mountInfo=info) for h in _hosts_of(datastore.world)
            if h.datacenter is datastore.datacenter]


def _datastore_alarms(datastore):
    if datastore.alarm_time is None:
        return None
    return [Data("AlarmState", key=f"alarm-8.{datastore.moref}", entity=datastore.ref, alarm=Ref("Alarm", "alarm-8"),
                 overallStatus="red", time=utc(datastore.alarm_time), acknowledged=False)]


def _compute_summary(compute):
    common = {"totalCpu": 64000, "totalMemory": 256 << 30, "numCpuCores": 32, "numCpuThreads": 64, "effectiveCpu": 60000,
              "effectiveMemory": 250000, "numHosts": len(compute.hosts),
              "numEffectiveHosts": sum(h.connected for h in compute.hosts), "overallStatus": "green"}
    if compute.type == "ClusterComputeResource":
        return Data("ClusterComputeResourceSummary", currentFailoverLevel=0, numVmotions=0, **common)
    return Data("ComputeResourceSummary", **common)


def _refs(entities):
    return [e.ref for e in entities]


def _vms_on(datastore):
    return _refs(v for v in datastore.world.vms() if datastore in v.datastores())


ENTITY = {
    "name": lambda e: escaped(e.name), "parent": lambda e: e.parent.ref if e.parent is not None else None,
    "overallStatus": lambda e: "green", "configStatus": lambda e: "green", "alarmActionsEnabled": lambda e: True,
    "recentTask": lambda e: _refs(t for t in e.world.of_type(Task) if t.entity == e.ref),
    "effectiveRole": lambda e: [-1], "triggeredAlarmState": lambda e: None, "declaredAlarmState": lambda e: None,
    "disabledMethod": lambda e: None,
}
PROPERTIES = {
    VirtualMachine: {**ENTITY, **vm_properties.VIRTUAL_MACHINE},
    Snapshot: vm_properties.SNAPSHOT,
    Folder: {**ENTITY, "childType": lambda f: f.child_types, "childEntity": lambda f: _refs(f.children)},
    Datacenter: {**ENTITY, "vmFolder": lambda d: d.vm_folder.ref, "hostFolder": lambda d: d.host_folder.ref,
                 "datastoreFolder": lambda d: d.datastore_folder.ref, "networkFolder": lambda d: d.network_folder.ref,
                 "datastore": lambda d: _refs(d.datastores), "network": lambda d: _refs(d.networks)},
    ComputeResource: {**ENTITY, "host": lambda c: _refs(c.hosts), "resourcePool": lambda c: c.pool.ref,
                      "datastore": lambda c: _refs(c.hosts[0].datacenter.datastores) if c.hosts else [],
                      "network": lambda c: _refs(c.hosts[0].datacenter.networks) if c.hosts else [],
                      "summary": _compute_summary},
    ResourcePool: {**ENTITY, "owner": lambda p: p.owner.ref, "resourcePool": lambda p: [],
                   "vm": lambda p: _refs(v for h in p.owner.hosts for v in h.vms)},
    Host: {**ENTITY, "summary": _host_summary, "runtime": _host_runtime, "vm": lambda h: _refs(h.vms),
           "datastore": lambda h: _refs(h.datacenter.datastores), "network": lambda h: _refs(h.datacenter.networks),
           "datastoreBrowser": lambda h: Ref("HostDatastoreBrowser", "datastoreBrowser-" + h.moref)},
    DatastoreEntity: {**ENTITY, "summary": _datastore_summary, "info": _datastore_info, "host": _datastore_hosts,
                      "vm": _vms_on, "triggeredAlarmState": _datastore_alarms,
                      "overallStatus": lambda d: "red" if d.alarm_time is not None else "green",
                      "browser": lambda d: Ref("HostDatastoreBrowser", "datastoreBrowser-" + d.moref),
                      "capability": lambda d: Data(
                          "DatastoreCapability", directoryHierarchySupported=True, rawDiskMappingsSupported=True,
                          perFileThinProvisioningSupported=True, storageIORMSupported=True, nativeSnapshotSupported=False,
                          seSparseSupported=True, vmfsSparseSupported=True)},
    Network: {**ENTITY,
              "summary": lambda n: Data("NetworkSummary", network=n.ref, name=n.name, accessible=True, ipPoolName=""),
              "host": lambda n: _refs(_hosts_of(n.world)),
              "vm": lambda n: _refs(v for v in n.world.vms() if any(nic.network is n for nic in v.nics))},
    Task: {"info": lambda t: t.info()},
}


class UnknownProperty(Exception):
    """The path names no property of the type: InvalidProperty."""


def getters(entity):
    for cls in type(entity).__mro__:
        if cls in PROPERTIES:
            return PROPERTIES[cls]
    return getattr(entity, "getters", {})


def root_names(entity):
    """What `all` gives: every property that the simulator keeps."""
    return sorted(getters(entity))


STEP = re.compile(r'^([A-Za-z0-9]+)(?:\[("?)([^\]]*?)\2\])?$')


def _field_of(type_name, name, path):
    if type_name not in TABLE.own or name not in TABLE.fields(type_name):
        raise UnknownProperty(path)
    return TABLE.fields(type_name)[name]


def _pick(values, key):
    """device[2000], extraConfig["x"], rootSnapshot[..]: the element with that key."""
    for value in values:
        if isinstance(value, Data) and str(value.get("key")) == key:
            return value
        if isinstance(value, Ref) and value.value == key:
            return value
    return None


def get(entity, path, cache):
    """(value or None, Field) of a property path. `cache` keeps root properties of one entity within one request."""
    steps = path.split(".")
    match = STEP.match(steps[0])
    if match is None or match[1] not in getters(entity):
        known = match is not None and match[1] in TABLE.fields(entity.type)
        if not known:
            raise UnknownProperty(path)
        return None, TABLE.fields(entity.type)[match[1]]
    name = match[1]
    if name not in cache:
        cache[name] = getters(entity)[name](entity)
    value, field = cache[name], _field_of(entity.type, name, path)
    for number, step in enumerate(steps):
        if number > 0:
            match = STEP.match(step)
            if match is None or field.array:
                raise UnknownProperty(path)
            actual = value.type if isinstance(value, Data) else field.type
            field = _field_of(actual, match[1], path)
            value = value.get(match[1]) if isinstance(value, Data) else None
        if match[3] is not None:
            value = _pick(value or [], match[3])
            field = Field(field.name, field.type, False, field.optional)
    return value, field
