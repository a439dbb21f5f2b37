# SPDX-License-Identifier: Apache-2.0
"""Actions of POST /do: everything that an operator, a host or fate does to the simulated world."""
import time

from . import events, snapshots
from .model import DatastoreEntity, Host

ACTIONS = {}


def _action(name):
    def register(handler):
        ACTIONS[name] = handler
        return handler
    return register


def _on_vm(name, work):
    """An action of a VM: work(vm, request)."""
    ACTIONS[name] = lambda lab, request, find_vm, find_disk, find_snapshot: work(find_vm(lab, request), request)


_on_vm("power_on", lambda vm, r: events.set_power(vm, "poweredOn"))
_on_vm("power_off", lambda vm, r: events.set_power(vm, "poweredOff"))
_on_vm("power_failure", lambda vm, r: events.power_failure(vm))
_on_vm("vmotion", lambda vm, r: events.vmotion(vm, r["host"]))
_on_vm("storage_vmotion", lambda vm, r: events.storage_vmotion(vm, r["datastore"]))
_on_vm("reset_cbt", lambda vm, r: events.reset_tracking(vm))
_on_vm("delete_vm", lambda vm, r: events.delete(vm))


def _set_cbt(vm, on):
    events.set_tracking(vm, on)
    snapshots.stun(vm)


_on_vm("disable_cbt", lambda vm, r: _set_cbt(vm, False))
_on_vm("enable_cbt", lambda vm, r: _set_cbt(vm, True))


@_action("revert")
def _revert(lab, request, find_vm, find_disk, find_snapshot):
    vm = find_vm(lab, request)
    snapshots.revert(vm, find_snapshot(vm, request))


@_action("create_snapshot")
def _create_snapshot(lab, request, find_vm, find_disk, find_snapshot):
    vm = find_vm(lab, request)
    snapshots.check_possible(vm)
    return {"snapshot": snapshots.create(vm, request["name"], "", False).moref}


@_action("remove_snapshot")
def _remove_snapshot(lab, request, find_vm, find_disk, find_snapshot):
    vm = find_vm(lab, request)
    snapshots.take_off(vm, find_snapshot(vm, request), False)
    return {"consolidated": snapshots.consolidate(vm)}


@_action("resize_disk")
def _resize_disk(lab, request, find_vm, find_disk, find_snapshot):
    vm = find_vm(lab, request)
    events.resize_disk(vm, find_disk(vm, request).key, int(request["size_bytes"]))


@_action("add_disk")
def _add_disk(lab, request, find_vm, find_disk, find_snapshot):
    return {"key": events.add_disk(find_vm(lab, request), int(request["size_bytes"])).key}


@_action("remove_disk")
def _remove_disk(lab, request, find_vm, find_disk, find_snapshot):
    vm = find_vm(lab, request)
    events.remove_disk(vm, find_disk(vm, request).key, True)


@_action("rename")
def _rename(lab, request, find_vm, find_disk, find_snapshot):
    vm = find_vm(lab, request)
    vm.name = request["name"]
    lab.world.touch(vm)


def _host(lab, request):
    host = next((h for h in lab.world.of_type(Host) if request["host"] in (h.name, h.moref)), None)
    if host is None:
        raise LookupError(f"no host '{request['host']}'")
    return host


def _datastore(lab, request):
    name = request["datastore"]
    found = next((d for d in lab.world.of_type(DatastoreEntity) if name in (d.name, d.moref)), None)
    if found is None:
        raise LookupError(f"no datastore '{name}'")
    return found


@_action("host_down")
def _host_down(lab, request, *_find):
    host = _host(lab, request)
    host.connected = False
    host.listener.close()
    lab.world.touch(host, *host.vms)


@_action("host_up")
def _host_up(lab, request, *_find):
    host = _host(lab, request)
    host.listener.reopen()
    host.connected = True
    lab.world.touch(host, *host.vms)


@_action("vcenter_restart")
def _vcenter_restart(lab, request, *_find):
    """All sessions and tickets are gone; for `seconds` every SOAP request is answered with 503."""
    lab.down_until = time.monotonic() + float(request.get("seconds", 0))
    lab.sessions.end_all()
    lab.tickets.drop_all()
    lab.world.touch()


@_action("expire_sessions")
def _expire_sessions(lab, request, *_find):
    lab.sessions.end_all()
    lab.world.touch()


@_action("expire_tickets")
def _expire_tickets(lab, request, *_find):
    lab.tickets.drop_all()


@_action("cut_nfc")
def _cut_nfc(lab, request, *_find):
    return {"cut": sum(h.listener.cut_all() for h in lab.world.of_type(Host))}


@_action("fill_datastore")
def _fill_datastore(lab, request, *_find):
    """Something else takes the space, so that free_bytes are left (absent: give it all back)."""
    datastore = _datastore(lab, request)
    storage = datastore.storage
    free = request.get("free_bytes")
    storage.filler_bytes = 0 if free is None else max(0, storage.capacity_bytes - storage.used_bytes - int(free))
    lab.world.touch(datastore)


@_action("alarm")
def _alarm(lab, request, *_find):
    datastore = _datastore(lab, request)
    datastore.alarm_time = lab.world.clock.now() if request.get("on", True) else None
    lab.world.touch(datastore)
