# SPDX-License-Identifier: Apache-2.0
"""The NFC service: tickets for a host's authd port. In no public schema; both urn:vim25 and urn:nfc are accepted."""
from .model import Entity, Host, VirtualMachine
from .soap import method
from .vimfault import VimFault, invalid_argument, not_found
from .vimtypes import Data, declare_method

PROVISIONING = "VirtualMachine.Provisioning."

declare_method("NfcGetVmFiles", "NfcService", "HostServiceTicket", "vm:ref")
for _name in ("NfcRandomAccessOpenReadonly", "NfcRandomAccessOpenDisk"):
    declare_method(_name, "NfcService", "HostServiceTicket", "vm:ref diskDeviceKey:int hostForAccess:ref?")
declare_method("NfcGetServerNfcLibVersion", "NfcService", "int", "hostForAccess:ref?")


def add_service(world):
    service = Entity(world, "NfcService", "ha-nfc-service" if world.esxi else "nfcService", "NfcService")
    service.getters = {}


def _vm(call):
    vm = call.world.entities.get(call.args["vm"].value)
    if not isinstance(vm, VirtualMachine):
        raise not_found(call.args["vm"])
    return vm


def _ticket(call, vm, host, privilege, writable=False):
    call.require(PROVISIONING + privilege, vm)
    if not host.connected:
        raise VimFault("HostNotConnected")
    ticket = call.lab.tickets.issue(vm, host, writable)
    thumbprint = host.listener.certificate.sha1
    if call.lab.faults.strikes("authd.wrong_thumbprint", vm=vm, host=host):
        thumbprint = call.lab.other_certificate.sha1
    return Data("HostServiceTicket", host=None if call.world.esxi else host.settings["address"], port=host.listener.port,
                sslThumbprint=thumbprint, service="nfc" if call.world.esxi else "vpxa-nfc", serviceVersion="1.1",
                sessionId=ticket.id)


@method("NfcGetVmFiles")
def _get_vm_files(call):
    vm = _vm(call)
    return _ticket(call, vm, vm.host, "GetVmFiles")


def _random_access(call, privilege, writable):
    vm = _vm(call)
    if vm.disk(call.args["diskDeviceKey"]) is None:
        raise invalid_argument("diskDeviceKey")
    host = vm.host
    if "hostForAccess" in call.args:
        host = call.world.find(call.args["hostForAccess"], Host)
        if host is None:
            raise not_found(call.args["hostForAccess"])
    return _ticket(call, vm, host, privilege, writable)


@method("NfcRandomAccessOpenReadonly")
def _open_readonly(call):
    return _random_access(call, "DiskRandomRead", False)


@method("NfcRandomAccessOpenDisk")
def _open_disk(call):
    return _random_access(call, "DiskRandomAccess", True)


@method("NfcGetServerNfcLibVersion")
def _lib_version(call):
    if "hostForAccess" not in call.args:
        raise invalid_argument("hostForAccess")
    host = call.world.find(call.args["hostForAccess"], Host)
    if host is None:
        raise not_found(call.args["hostForAccess"])
    version = host.settings["nfc_lib_version"]
    if version == "missing":
        raise VimFault("InvalidRequest", "Unable to resolve WSDL method name NfcGetServerNfcLibVersion for NfcService")
    return version
