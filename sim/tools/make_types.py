#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Prints sim/vsphere/vim_types.txt: names, order and types of the part of vim25 that the simulator speaks.

The source is the type registry of python3-pyvmomi (Apache-2.0). Run it on a machine that has that package when a
type is to be added: name the type in DATA or MANAGED below and redirect the output to sim/vsphere/vim_types.txt.
"""
import pathlib
import sys
from importlib import util

DATA = """
DynamicData DynamicProperty KeyAnyValue LocalizableMessage LocalizedMethodFault Description OptionValue KeyValue
ObjectContent MissingProperty MissingObject RetrieveResult RetrieveOptions PropertyFilterSpec PropertySpec ObjectSpec
SelectionSpec TraversalSpec UpdateSet PropertyFilterUpdate ObjectUpdate PropertyChange WaitOptions
AboutInfo ServiceContent UserSession HostServiceTicket SessionManagerGenericServiceTicket
SessionManagerServiceRequestSpec SessionManagerHttpServiceRequestSpec
EntityPrivilege PrivilegeAvailability UserPrivilegeResult
TaskInfo TaskReason TaskReasonUser
DiskChangeInfo DiskChangeExtent VirtualMachineGuestQuiesceSpec
VirtualMachineConfigSpec VirtualDeviceConfigSpec
VirtualMachineCapability VirtualMachineConfigInfo VirtualMachineFileInfo VirtualMachineFlagInfo
VirtualMachineDefaultPowerOpInfo VirtualMachineBootOptions ToolsConfigInfo VirtualHardware
VirtualDevice VirtualDeviceBackingInfo VirtualDeviceFileBackingInfo VirtualDeviceDeviceBackingInfo
VirtualDeviceConnectInfo VirtualController VirtualSCSIController ParaVirtualSCSIController VirtualLsiLogicController
VirtualLsiLogicSASController VirtualIDEController VirtualSATAController VirtualAHCIController VirtualNVMEController
VirtualPCIController VirtualDisk VirtualDiskFlatVer2BackingInfo VirtualDiskRawDiskMappingVer1BackingInfo CryptoKeyId
VirtualEthernetCard VirtualVmxnet VirtualVmxnet3 VirtualE1000 VirtualE1000e VirtualEthernetCardNetworkBackingInfo
VirtualMachineRuntimeInfo VirtualMachineSummary VirtualMachineConfigSummary VirtualMachineGuestSummary
VirtualMachineStorageSummary VirtualMachineQuickStats FaultToleranceConfigInfo FaultTolerancePrimaryConfigInfo
GuestInfo GuestNicInfo GuestDiskInfo
VirtualMachineSnapshotInfo VirtualMachineSnapshotTree VirtualMachineFileLayoutEx VirtualMachineFileLayoutExFileInfo
VirtualMachineFileLayoutExDiskLayout VirtualMachineFileLayoutExDiskUnit
HostListSummary HostHardwareSummary HostRuntimeInfo HostConfigSummary HostListSummaryQuickStats
HostVMotionCompatibility AboutInfo
DatastoreSummary DatastoreInfo VmfsDatastoreInfo NasDatastoreInfo LocalDatastoreInfo HostFileSystemVolume
DatastoreCapability DatastoreHostMount HostMountInfo HostVmfsVolume HostNasVolume
HostScsiDiskPartition
NetworkSummary AlarmState ComputeResourceSummary ClusterComputeResourceSummary
ElementDescription AuthorizationDescription AuthorizationPrivilege AuthorizationRole
MethodFault RuntimeFault VimFault NotAuthenticated NoPermission SecurityError InvalidRequest InvalidArgument InvalidType
ManagedObjectNotFound MethodNotFound NotSupported NotImplemented RequestCanceled SystemError InvalidLogin InvalidProperty
InvalidCollectorVersion FileFault FileLocked FileNotFound NoDiskSpace CannotAccessFile FileTooLarge HostCommunication
HostNotConnected HostNotReachable TaskInProgress InvalidState InvalidPowerState SnapshotFault ApplicationQuiesceFault
FilesystemQuiesceFault MemorySnapshotOnIndependentDisk TooManySnapshotLevels VmConfigFault GenericVmConfigFault
ToolsUnavailable ConcurrentAccess Timedout NotFound AlreadyExists InvalidName RestrictedVersion
InsufficientResourcesFault SnapshotNoChange InvalidDeviceSpec InvalidDatastore DatastoreNotWritableOnHost
InvalidVmConfig MigrationFault InvalidFormat VirtualHardwareCompatibilityIssue DeviceNotSupported
MultiWriterNotSupported RDMNotSupported InvalidSnapshotFormat
RawDiskNotSupported HostConnectFault CannotMoveVmWithNativeDeltaDisk
""".split()

MANAGED = """
ManagedEntity ExtensibleManagedObject Folder Datacenter ComputeResource ClusterComputeResource ResourcePool HostSystem
Datastore Network VirtualMachine VirtualMachineSnapshot Task View ManagedObjectView ContainerView ViewManager
ServiceInstance SessionManager PropertyCollector PropertyFilter SearchIndex AuthorizationManager TaskManager
""".split()

# The API's methods that the simulator carries out, by wsdl name.
METHODS = """
RetrieveServiceContent CurrentTime Login Logout SessionIsActive AcquireGenericServiceTicket
CreateContainerView DestroyView CreateFilter DestroyPropertyFilter RetrieveProperties RetrievePropertiesEx
ContinueRetrievePropertiesEx CancelRetrievePropertiesEx WaitForUpdates WaitForUpdatesEx CheckForUpdates
CancelWaitForUpdates CreatePropertyCollector DestroyPropertyCollector
FindByUuid FindByInventoryPath FindByDnsName FindAllByUuid FindChild
HasPrivilegeOnEntities HasPrivilegeOnEntity FetchUserPrivilegeOnEntities
ReconfigVM_Task CreateSnapshot_Task CreateSnapshotEx_Task RemoveSnapshot_Task RemoveAllSnapshots_Task
RevertToSnapshot_Task RevertToCurrentSnapshot_Task ConsolidateVMDisks_Task QueryChangedDiskAreas
PowerOnVM_Task PowerOffVM_Task ShutdownGuest CancelTask Destroy_Task
""".split()


def registry():
    """What pyVmomi's modules register, taken by standing in for the functions they register with."""
    found = {"data": {}, "enum": {}, "managed": {}}
    import pyVmomi.VmomiSupport as support

    def data(name, wsdl, parent, _version, props=None):
        found["data"][name] = (wsdl, parent, props or [])

    def managed(name, wsdl, parent, _version, props=None, methods=None):
        found["managed"][name] = (wsdl, parent, props or [], methods or [])

    support.CreateDataType, support.CreateManagedType = data, managed
    support.CreateEnumType = lambda name, wsdl, _version, _values: found["enum"].update({name: wsdl})
    for module in ("CoreTypes", "QueryTypes", "ServerObjects"):
        path = pathlib.Path(support.__file__).parent / (module + ".py")
        spec = util.spec_from_file_location("registry_" + module, path)
        spec.loader.exec_module(util.module_from_spec(spec))
    return found


class Table:
    def __init__(self, found):
        self.found = found
        self.optional = __import__("pyVmomi.VmomiSupport").VmomiSupport.F_OPTIONAL
        self.wsdl = {name: entry[0] for kind in ("data", "managed") for name, entry in found[kind].items()}
        self.wsdl.update(found["enum"])
        self.wsdl.update({"vmodl.MethodFault": "MethodFault", "vmodl.RuntimeFault": "RuntimeFault",
                          "vmodl.DynamicData": "DynamicData", "vmodl.DataObject": "-", "vmodl.PropertyPath": "string",
                          "vmodl.TypeName": "string", "vmodl.MethodName": "string", "vmodl.DateTime": "dateTime",
                          "vmodl.URI": "string", "vmodl.Binary": "base64Binary"})
        self.managed_names = {n for n in found["managed"]}

    def type_of(self, name):
        array = name.endswith("[]")
        base = name[:-2] if array else name
        if base in self.managed_names or base == "vmodl.ManagedObject":
            wsdl = "ref"
        elif base == "vmodl.LocalizedMethodFault":
            wsdl = "LocalizedMethodFault"
        elif base == "vmodl.MethodFault" and not array:
            wsdl = "LocalizedMethodFault"      # a fault inside data travels in this wrapper
        else:
            wsdl = self.wsdl.get(base, base.rsplit(".", 1)[-1])
        return wsdl + ("[]" if array else "")

    def field(self, field):
        return f"{field[0]}:{self.type_of(field[1])}{'?' if field[3] & self.optional else ''}"

    def lines(self):
        yield "fault MethodFault - faultCause:LocalizedMethodFault? faultMessage:LocalizableMessage[]?"
        yield "fault RuntimeFault MethodFault"
        yield "data LocalizedMethodFault DynamicData fault:MethodFault localizedMessage:string?"
        for name, (wsdl, parent, props) in sorted(self.found["data"].items(), key=lambda e: e[1][0]):
            if wsdl in DATA:
                kind = "fault" if "fault" in name.lower() and "." in name and self.is_fault(name) else "data"
                above = self.wsdl.get(parent, "-")
                yield " ".join([kind, wsdl, above] + [self.field(p) for p in props])
        for name, (wsdl, parent, props, methods) in sorted(self.found["managed"].items(), key=lambda e: e[1][0]):
            if wsdl in MANAGED:
                yield " ".join(["managed", wsdl, self.wsdl.get(parent, "-")] + [self.field(p) for p in props])
            for method in methods:
                if method[1] in METHODS:
                    yield self.method(wsdl, method)

    def method(self, owner, method):
        result = self.type_of(method[4][1])
        return " ".join(["method", owner, method[1], result, method[5] or "-"] + [self.field(p) for p in method[3]])

    def is_fault(self, name):
        while name in self.found["data"]:
            if name in ("vmodl.MethodFault", "vmodl.RuntimeFault"):
                return True
            name = self.found["data"][name][1]
        return name in ("vmodl.MethodFault", "vmodl.RuntimeFault")


if __name__ == "__main__":
    print("# SPDX-License-Identifier: Apache-2.0")
    print("# Made by sim/tools/make_types.py from python3-pyvmomi's registry (Apache-2.0). One line each:")
    print("# data|fault|managed NAME PARENT field:type[?] ...    method OWNER NAME RESULT PRIVILEGE param:type[?] ...")
    print("# `ref` is a managed object reference, [] an array, ? optional.")
    table = Table(registry())
    for line in table.lines():
        print(line)
    missing = set(DATA) - {w for w, _, _ in table.found["data"].values()} - {
        "MethodFault", "RuntimeFault", "LocalizedMethodFault"}
    if missing:
        sys.exit(f"not in the registry: {sorted(missing)}")
