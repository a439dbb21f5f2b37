# SPDX-License-Identifier: Apache-2.0
"""vSphere's faults as exceptions."""
from .vimtypes import Data, TABLE

MESSAGES = {
    "NotAuthenticated": "The session is not authenticated.",
    "InvalidLogin": "Cannot complete login due to an incorrect user name or password.",
    "NoPermission": "Permission to perform this operation was denied.",
    "ManagedObjectNotFound": "The object has already been deleted or has not been completely created",
    "TaskInProgress": "Another task is already in progress.",
    "InvalidPowerState": "The attempted operation cannot be performed in the current state.",
    "InvalidState": "The operation is not allowed in the current state.",
    "ToolsUnavailable": "Cannot complete operation because VMware Tools is not running in this virtual machine.",
    "ApplicationQuiesceFault": "An error occurred while quiescing the virtual machine. "
                               "See the virtual machine's event log for details.",
    "GenericVmConfigFault": "An error occurred while taking a snapshot: msg.snapshot.error-FAILED.",
    "FileLocked": "Unable to access file since it is locked",
    "NoDiskSpace": "There is not enough space on the file system for the selected operation.",
    "InvalidRequest": "", "RequestCanceled": "The task was canceled by a user.",
    "NotSupported": "The operation is not supported on the object.",
    "ConcurrentAccess": "The operation cannot be completed because the object was changed by another.",
    "HostNotConnected": "Unable to communicate with the remote host, since it is disconnected."}


class VimFault(Exception):
    """A fault to be answered to a request or to end a task with."""

    def __init__(self, type_name, message=None, **fields):
        self.message = MESSAGES.get(type_name, type_name) if message is None else message
        self.data = Data(type_name, **fields)
        super().__init__(f"{type_name}: {self.message}")


def by_name(name, vm=None):
    """A fault of any type of the table, its required fields filled in; for the fault switches."""
    if name not in TABLE.faults:
        raise ValueError(f"no fault type '{name}'; known: {', '.join(sorted(TABLE.faults))}")
    file = vm.disks[0].leaf.ds_path if vm is not None and vm.disks else "[datastore1] x/x.vmdk"
    fixed = {"file": file, "reason": "made to fail", "datastore": vm.home.name if vm is not None else "datastore1",
             "existingState": vm.power if vm is not None else "poweredOn", "fileSize": 1 << 41, "deviceIndex": 0,
             "name": "x", "device": "disk", "privilegeId": "System.View", "method": "x"}
    fields = {}
    for field in TABLE.fields(name).values():
        if not field.optional:
            ref = vm.ref if vm is not None else None
            fields[field.name] = ref if field.type == "ref" else fixed.get(field.name, "x")
    if "file" in TABLE.fields(name):
        return VimFault(name, f"Error caused by file {file}" if name == "FileFault" else None, **fields)
    return VimFault(name, **fields)


def invalid_argument(name):
    return VimFault("InvalidArgument", f"A specified parameter was not correct: {name}", invalidProperty=name)


def not_found(ref):
    return VimFault("ManagedObjectNotFound", obj=ref)
