# SPDX-License-Identifier: Apache-2.0
"""Microsoft.Compute/virtualMachines: made of attached disks and network interfaces, started, stopped, deleted."""
import uuid

from . import disks, network
from . import machine_checks as checks
from .machine_checks import KIND
from .operations import COMPUTE
from .refusal import Refusal, conflict, not_found, not_simulated
from .server import Answer, Routes
from .shapes import check
from .sizes import BY_LOWER_NAME
from .world import GROUP, Resource, page, utc_now

VERSIONS = ("2024-07-01", "2024-03-01", "2024-11-01", "2023-09-01")
POWER_NAMES = {"running": "VM running", "stopped": "VM stopped", "deallocated": "VM deallocated",
               "starting": "VM starting"}
routes = Routes()


def cores_in_use(world, location, without=None):
    """{"cores": .., family: ..}: a deallocated machine still counts, as the service counts it."""
    used = {"cores": 0}
    for vm in world.of_type(KIND):
        size = BY_LOWER_NAME[vm.properties["hardwareProfile"]["vmSize"].lower()]
        if vm.location == location and vm is not without:
            used["cores"] += size.cpus
            used[size.family] = used.get(size.family, 0) + size.cpus
    return used


def _linked(request, vm_id, found_disks, nics):
    """Permissions on what the machine is made of."""
    roles, here = request.lab.roles, (KIND + "/write", vm_id)
    for disk in found_disks:
        roles.check(request.caller, disks.KIND + "/write", disk.id, here)
    for nic, _ in nics:
        roles.check(request.caller, network.KIND + "/join/action", nic.id, here)


@routes.on("PUT", GROUP + "/providers/" + KIND + "/{name}", versions=VERSIONS, action=KIND + "/write")
def put(request):
    lab, world, body = request.lab, request.lab.world, request.json()
    check(checks.BODY, body)
    checks.check_name(request.params["name"])
    body = disks.clean(body, checks.BODY)
    with world.lock:
        vm_id, vm = world.named(request, KIND)
        body["location"] = location = world.place(request, body, KIND, vm)
        if vm is not None and (vm.busy or not world.is_broken(vm)):
            return _update(request, vm, body)
        if vm is not None:                  # a PUT over one whose creation failed makes it again, of the same OS disk
            _same_os_disk(vm, body)
        size = checks.size_of(lab, body["properties"]["hardwareProfile"]["vmSize"], location, body.get("zones") or [])
        checks.check_placement(world, body)
        found_disks = checks.check_disks(world, body, vm_id, size)
        nics = checks.check_nics(world, body, vm_id, size)
        _linked(request, vm_id, found_disks, nics)
        checks.check_cores(world, size, location, world.quotas.get(size.family), cores_in_use(world, location, vm))
        if vm is not None:
            _release(world, vm)
        vm = world.add(Resource(vm_id, KIND, world.group(request), _body(request, vm_id, body, found_disks)))
        vm.origin, vm.request, vm.vm_id = "request", body, vm.properties["vmId"]
        vm.power = "starting"
        for disk in found_disks:
            disk.body["managedBy"] = vm_id
            disk.properties["diskState"] = "Attached"
        for nic, is_primary in nics:
            network.attach(nic, vm_id, is_primary)
        operation = world.operations.start(request, COMPUTE, location, lambda: _create(lab, vm, found_disks), vm,
                                           lambda state: vm.properties.update(provisioningState=state))
        return Answer(201, vm.body, {k: v for k, v in operation.headers(request).items() if k != "Location"})


def _body(request, vm_id, given, found_disks):
    """What GET shows of a new machine."""
    properties = dict(given["properties"])
    profile = dict(properties["storageProfile"])
    by_id = {disk.id.lower(): disk for disk in found_disks}

    def attached(item):
        disk = by_id[item["managedDisk"]["id"].lower()]
        return {"caching": "None", "deleteOption": "Detach", **item, "name": disk.name,
                "diskSizeGB": disk.properties["diskSizeGB"],
                "managedDisk": {"id": disk.id, "storageAccountType": disk.body["sku"]["name"]}}
    profile["osDisk"] = attached({"caching": "ReadWrite", **profile["osDisk"]})
    profile["dataDisks"] = [{"toBeDetached": False, **attached(item)} for item in
                            sorted(profile.get("dataDisks") or [], key=lambda i: i["lun"])]
    properties.update({"storageProfile": profile, "vmId": str(uuid.uuid4()), "provisioningState": "Creating",
                       "timeCreated": utc_now()})
    body = {"name": request.params["name"], "id": vm_id, "type": KIND, "location": given["location"],
            "tags": given.get("tags", {}),
            "properties": properties}
    if given.get("zones"):
        body["zones"] = given["zones"]
    return body


def _create(lab, vm, found_disks):
    if lab.faults.strikes("vm.allocation_fails"):
        vm.power = "stopped"
        raise Refusal(409, "AllocationFailed", "Allocation failed. We do not have sufficient capacity for the "
                                               "requested VM size in this region. Read more about improving likelihood "
                                               "of allocation success at https://aka.ms/allocation-guidance")

    def finish():
        lab.power.start(vm, found_disks)
        vm.properties["provisioningState"] = "Succeeded"
        return dict(vm.body)
    return finish


def _same_os_disk(vm, body):
    disks_of_both = [(p["osDisk"].get("managedDisk") or {}).get("id", "").lower() for p in
                     (vm.request["properties"]["storageProfile"], body["properties"]["storageProfile"])]
    if disks_of_both[0] != disks_of_both[1]:
        raise conflict("PropertyChangeNotAllowed", "Changing property 'osDisk.managedDisk.id' is not allowed.",
                       "osDisk.managedDisk.id")


def _update(request, vm, body):
    """A PUT over a machine: tags, diagnostics and license may change; the rest must be what is there."""
    if vm.busy:
        if vm.busy.method == "PUT" and vm.busy.body == request.body:
            headers = vm.busy.headers(request)
            return Answer(201, vm.body, {k: v for k, v in headers.items() if k != "Location"})
        request.lab.world.not_busy(vm)
    _same_os_disk(vm, body)
    made, given = vm.request["properties"], body["properties"]
    for key in set(made) | set(given):
        if key not in ("diagnosticsProfile", "licenseType") and made.get(key) != given.get(key):
            raise not_simulated(f"change of '{key}' of a VM that is there")
    if (vm.body.get("zones") or []) != (body.get("zones") or []):
        raise conflict("PropertyChangeNotAllowed", "Changing property 'zones' is not allowed.", "zones")
    for key in ("diagnosticsProfile", "licenseType"):
        if key in given:
            vm.properties[key] = given[key]
    vm.body["tags"], vm.request = body.get("tags", {}), body
    return Answer(200, vm.body)


# ---- reading ----

def _status(code, text, level="Info", message=None):
    status = {"code": code, "level": level, "displayStatus": text, "time": utc_now()}
    return {**status, "message": message} if message else status


def instance_view(lab, vm):
    state, power = vm.properties["provisioningState"], lab.power.state(vm)
    statuses = [_status(f"ProvisioningState/{state.lower()}", f"Provisioning {state.lower()}",
                        "Error" if state == "Failed" else "Info")]
    statuses.append(_status(f"PowerState/{power}", POWER_NAMES.get(power, power)))
    found = attached_disks(lab.world, vm)
    view = {"statuses": statuses, "disks": [{"name": d.name,
                                             "statuses": [_status("ProvisioningState/succeeded",
                                                                  "Provisioning succeeded")]}
                                            for d in found]}
    if found:
        view["hyperVGeneration"] = found[0].properties.get("hyperVGeneration", "V1")
    if power == "running" and lab.config["guest_agent"]:
        view["vmAgent"] = {"vmAgentVersion": "2.7.41491", "statuses": [_status("ProvisioningState/succeeded", "Ready",
                                                                               message="Guest Agent is running")]}
    enabled = ((vm.properties.get("diagnosticsProfile") or {}).get("bootDiagnostics") or {}).get("enabled")
    if enabled:
        view["bootDiagnostics"] = {}
    return view


def attached_disks(world, vm):
    profile = vm.properties["storageProfile"]
    found = [world.find(item["managedDisk"]["id"]) for item in (profile["osDisk"], *profile["dataDisks"])]
    return [disk for disk in found if disk is not None]


def _need(request):
    vm_id, vm = request.lab.world.named(request, KIND)
    if vm is None:
        raise not_found(vm_id, request.params["group"])
    return vm


@routes.on("GET", GROUP + "/providers/" + KIND + "/{name}", versions=VERSIONS, action=KIND + "/read")
def get(request):
    with request.lab.world.lock:
        vm, expand = _need(request), request.query.get("$expand", "")
        if expand.lower() not in ("", "instanceview"):
            raise not_simulated(f"$expand={expand}")
        if not expand:
            return Answer(200, vm.body)
        view = instance_view(request.lab, vm)
        return Answer(200, {**vm.body, "properties": {**vm.properties, "instanceView": view}})


@routes.on("GET", GROUP + "/providers/" + KIND + "/{name}/instanceView", versions=VERSIONS,
           action=KIND + "/instanceView/read")
def get_view(request):
    with request.lab.world.lock:
        return Answer(200, instance_view(request.lab, _need(request)))


@routes.on("GET", GROUP + "/providers/" + KIND, versions=VERSIONS, action=KIND + "/read")
def list_group(request):
    with request.lab.world.lock:
        group = request.lab.world.group(request)
        return Answer(200, page(request, [v.body for v in request.lab.world.of_type(KIND, group)]))


@routes.on("GET", "/subscriptions/{sub}/providers/" + KIND, versions=VERSIONS, action=KIND + "/read")
def list_all(request):
    with request.lab.world.lock:
        request.lab.world.subscription(request)
        return Answer(200, page(request, [v.body for v in request.lab.world.of_type(KIND)]))


@routes.on("POST", GROUP + "/providers/" + KIND + "/{name}/retrieveBootDiagnosticsData", versions=VERSIONS,
           action=KIND + "/retrieveBootDiagnosticsData/action")
def boot_diagnostics(request):
    with request.lab.world.lock:
        vm = _need(request)
        if not ((vm.properties.get("diagnosticsProfile") or {}).get("bootDiagnostics") or {}).get("enabled"):
            raise conflict("OperationNotAllowed", "The operation 'retrieveBootDiagnosticsData' is not allowed: boot "
                                                  f"diagnostics are not enabled on VM '{vm.name}'.")
        return Answer(200, request.lab.power.diagnostics(vm, request.base_url))


# ---- power and deletion ----

def _change_power(request, work):
    world = request.lab.world
    if request.body:
        raise Refusal(400, "InvalidRequestContent", "The request content was invalid: no body is expected.")
    with world.lock:
        vm = _need(request)
        if vm.busy and vm.busy.path.lower() == request.path.lower():
            return Answer(202, None, vm.busy.headers(request))
        world.not_busy(vm)
        if vm.properties["provisioningState"] != "Succeeded":
            raise conflict("OperationNotAllowed", f"VM '{vm.name}' is in provisioning state "
                                                  f"{vm.properties['provisioningState']}.")
        operation = world.operations.start(request, COMPUTE, vm.location, lambda: work(request.lab, vm), vm)
        return Answer(202, None, operation.headers(request))


def _set_disks(lab, vm, state):
    found = attached_disks(lab.world, vm)
    for disk in found:
        disk.properties["diskState"] = state
    return found


def _start(lab, vm):
    return lambda: lab.power.start(vm, _set_disks(lab, vm, "Attached"))


def _power_off(lab, vm):
    lab.power.stop(vm, "stopped")
    return lambda: None


def _deallocate(lab, vm):
    lab.power.stop(vm, "deallocated")

    def finish():
        _set_disks(lab, vm, "Reserved")
    return finish


for _name, _work in (("start", _start), ("powerOff", _power_off), ("deallocate", _deallocate)):
    routes.on("POST", GROUP + "/providers/" + KIND + "/{name}/" + _name, versions=VERSIONS,
              action=f"{KIND}/{_name}/action")(
        lambda request, work=_work: _change_power(request, work))


@routes.on("DELETE", GROUP + "/providers/" + KIND + "/{name}", versions=VERSIONS, action=KIND + "/delete")
def delete(request):
    lab, world = request.lab, request.lab.world
    with world.lock:
        _, vm = world.named(request, KIND)
        if vm is None:
            return Answer(204)
        if vm.busy:
            if vm.busy.method == "DELETE":
                return Answer(202, None, vm.busy.headers(request))
            world.not_busy(vm)
        before = vm.properties["provisioningState"]
        operation = world.operations.start(request, COMPUTE, vm.location, lambda: _delete(lab, vm), vm,
                                           lambda _state: vm.properties.update(provisioningState=before))
        vm.properties["provisioningState"] = "Deleting"
        return Answer(202, None, operation.headers(request))


def _release(world, vm):
    """Its disks and network interfaces are free; the lock is held. What deleteOption says is not looked at."""
    for disk in attached_disks(world, vm):
        disk.body.pop("managedBy", None)
        disk.properties["diskState"] = "Unattached"
    for item in vm.properties["networkProfile"]["networkInterfaces"]:
        nic = world.find(item["id"])
        if nic is not None:
            network.detach(nic)


def _delete(lab, vm):
    """The machine goes; its disks and network interfaces are left, or go with it where their deleteOption says so."""
    lab.power.stop(vm, "stopped")
    world, profile = lab.world, vm.properties["storageProfile"]

    def finish():
        _release(world, vm)
        parts = [(item, item["managedDisk"]["id"]) for item in (profile["osDisk"], *profile["dataDisks"])]
        parts += [(i.get("properties") or {}, i["id"]) for i in vm.properties["networkProfile"]["networkInterfaces"]]
        for item, resource_id in parts:
            resource = world.find(resource_id)
            if resource is not None and item.get("deleteOption") == "Delete":
                disks.discard(world, resource)
        world.remove(vm)
    return finish
